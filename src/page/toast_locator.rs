//! Guesses the page of the row with a number, in a table to which rows were mostly appended in the order of
//! their numbers.
//!
//! A TOAST table is such a table, because a counter numbers its values. A search reads a dozen values, and
//! searching the TOAST index for each of them took a tenth of a warm query. A guess may be wrong; the numbers
//! on the page show it.

/// Numbers are in groups of this size; one position is remembered for each group.
const GROUP: u32 = 256;
/// Largest number of groups remembered; each takes twelve bytes.
const GROUPS: usize = 1 << 14;
/// Two rows whose numbers differ by at least this much are used to compute the number of pages per row.
const APART: u32 = 8;
/// Limit for the number of pages per row.
const MOST_PAGES: f32 = 64.0;
/// A wrong guess counts as much as this many right ones. It has read up to three pages in vain, and the index
/// must still be searched.
const WRONG: i32 = 3;
/// The balance of right and wrong guesses is kept within these limits, so that only about the last hundred
/// guesses count if a table starts to behave differently.
const SCORES: std::ops::RangeInclusive<i32> = -64..=64;
/// Below this score only one value in [`RETRY`] is guessed, which may show that guesses are right again.
const WORTH_GUESSING: i32 = -32;
const RETRY: u32 = 64;

/// A position in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// The page.
    pub blkno: u32,
    /// The share of the page's rows that are before it, from 0 to 1.
    pub part: f32,
}

/// What is known of a table.
#[derive(Default)]
pub struct ToastLocator {
    /// The row found last in each group, at index (group modulo length); empty before the first row is found.
    known: Vec<(u32, Position)>,
    /// Number of pages from one row to the next, once known.
    step: Option<f32>,
    /// See [`SCORES`].
    score: i32,
    /// Number of guesses that were requested.
    asked: u32,
}

impl ToastLocator {
    fn slot(number: u32) -> usize {
        (number / GROUP) as usize % GROUPS
    }

    /// The row of the same group that was found last.
    fn near(&self, number: u32) -> Option<(u32, Position)> {
        let known = self.known.get(Self::slot(number)).copied();
        known.filter(|&(other, _)| other != 0 && other / GROUP == number / GROUP)
    }

    /// The likely position of a row; `None` if a guess is not worth a page read. No row has the number 0.
    pub fn guess(&mut self, number: u32) -> Option<Position> {
        let near = self.near(number)?;
        self.asked = self.asked.wrapping_add(1);
        (self.is_worth_guessing() || self.asked.is_multiple_of(RETRY))
            .then(|| self.from(near, number))
            .flatten()
    }

    /// The likely position of a row; `None` if too many guesses were wrong.
    pub fn likely(&self, number: u32) -> Option<Position> {
        let near = self.near(number)?;
        self.is_worth_guessing().then(|| self.from(near, number)).flatten()
    }

    /// The likely position of a row, computed from the position of another row.
    pub fn from(&self, (other, position): (u32, Position), number: u32) -> Option<Position> {
        let rows = f64::from(number) - f64::from(other);
        let step = if rows == 0.0 { 0.0 } else { self.step? };
        let at = f64::from(position.blkno) + f64::from(position.part) + rows * f64::from(step);
        // If a row is the first of a page, the sum of fractions may be a little too small.
        let blkno = (at + 1e-3).floor();
        (blkno >= 0.0 && blkno < f64::from(u32::MAX))
            .then_some(Position { blkno: blkno as u32, part: (at - blkno).max(0.0) as f32 })
    }

    /// Records where a row was found.
    pub fn found(&mut self, number: u32, position: Position) {
        if let Some((other, at)) = self.near(number)
            && number.abs_diff(other) >= APART
        {
            let rows = f64::from(number) - f64::from(other);
            let pages = f64::from(position.blkno) - f64::from(at.blkno) + f64::from(position.part - at.part);
            let step = (pages / rows) as f32;
            if (0.0..MOST_PAGES).contains(&step) {
                self.step = Some(self.step.map_or(step, |mean| mean + (step - mean) / 8.0));
            }
        }
        if self.known.is_empty() {
            self.known.resize(GROUPS, (0, Position::default()));
        }
        self.known[Self::slot(number)] = (number, position);
    }

    /// Records whether a guess was right: whether the page, or the pages tried after it, had the row.
    pub fn count_guess(&mut self, right: bool) {
        let score = self.score + if right { 1 } else { -WRONG };
        self.score = score.clamp(*SCORES.start(), *SCORES.end());
    }

    fn is_worth_guessing(&self) -> bool {
        self.score >= WORTH_GUESSING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The position of row `number` in a table with `per_page` rows per page, whose first row has the number
    /// 1000.
    fn position(number: u32, per_page: u32) -> Position {
        let row = number - 1000;
        Position { blkno: row / per_page, part: (row % per_page) as f32 / per_page as f32 }
    }

    #[test]
    fn rows_in_order_are_guessed_from_their_neighbours() {
        for per_page in [1, 2, 3, 7] {
            let mut locator = ToastLocator::default();
            assert_eq!(locator.guess(5000), None, "nothing is known");
            for number in [4900, 4920, 5100] {
                locator.found(number, position(number, per_page));
            }
            for number in (4864..5120).step_by(7) {
                let guess = locator.guess(number).unwrap();
                assert_eq!(guess.blkno, position(number, per_page).blkno, "{number} {per_page}");
                locator.found(number, position(number, per_page));
            }
            assert_eq!(locator.guess(40_000), None, "of another group nothing is known");
        }
    }

    #[test]
    fn the_page_itself_leads_on() {
        let mut locator = ToastLocator::default();
        for number in [2050, 2150] {
            locator.found(number, position(number, 2));
        }
        let seen = (9000, Position { blkno: 7, part: 0.5 });
        assert_eq!(locator.from(seen, 9011), Some(Position { blkno: 13, part: 0.0 }));
        assert_eq!(locator.from(seen, 8000), None, "before the first page");
    }

    #[test]
    fn who_is_always_wrong_is_seldom_asked() {
        let mut locator = ToastLocator::default();
        for number in [1100, 1150, 1190] {
            locator.found(number, position(number, 2));
        }
        let mut guesses = 0;
        for _ in 0..6400 {
            if locator.guess(1200).is_some() {
                guesses += 1;
                locator.count_guess(false);
            }
        }
        assert!((90..150).contains(&guesses), "{guesses}");
        for _ in 0..100 {
            locator.count_guess(true);
        }
        assert!(locator.guess(1200).is_some(), "rows lie in order again");
    }
}
