//! Where in a table the row with a number likely lies, when rows were mostly appended in the order of their
//! numbers.
//!
//! So it is with a TOAST table, whose values are numbered by a counter: a search reads a dozen values of it,
//! and to descend its index for each of them was a tenth of a warm query. A guess may be wrong: the page
//! tells who lies there.

/// Numbers of one group share what is remembered of them.
const GROUP: u32 = 256;
/// Groups remembered, at most; twelve bytes each.
const GROUPS: usize = 1 << 14;
/// Rows so far apart or farther tell how densely they lie.
const APART: u32 = 8;
/// A row takes no more pages than this.
const MOST_PAGES: f32 = 64.0;
/// What a wrong guess counts beside a right one: it has read up to three pages in vain,
/// and the index is still to be descended.
const WRONG: i32 = 3;
/// Right guesses less wrong ones, as far as they count: a table that changes its habit is known by its last
/// hundred guesses.
const SCORES: std::ops::RangeInclusive<i32> = -64..=64;
/// Below this score no guesses are made, but for one in [`RETRY`], which may show that they are right again.
const WORTH_GUESSING: i32 = -32;
const RETRY: u32 = 64;

/// A position in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// The page.
    pub blkno: u32,
    /// How much of the page's rows lies before it, from 0 to 1.
    pub part: f32,
}

/// What is known of a table.
#[derive(Default)]
pub struct ToastLocator {
    /// Of each group, the row found last, by its number's group; empty before the first is.
    known: Vec<(u32, Position)>,
    /// Pages from a row to the next, once it is known.
    step: Option<f32>,
    /// See [`SCORES`].
    score: i32,
    /// How many guesses were asked for.
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

    /// Where a row may lie, if it is worth a look. No row has the number 0.
    pub fn guess(&mut self, number: u32) -> Option<Position> {
        let near = self.near(number)?;
        self.asked = self.asked.wrapping_add(1);
        (self.is_worth_guessing() || self.asked.is_multiple_of(RETRY))
            .then(|| self.from(near, number))
            .flatten()
    }

    /// Where a row may lie, unless guesses have been bad.
    pub fn likely(&self, number: u32) -> Option<Position> {
        let near = self.near(number)?;
        self.is_worth_guessing().then(|| self.from(near, number)).flatten()
    }

    /// Where a row may lie when another lies at a position.
    pub fn from(&self, (other, position): (u32, Position), number: u32) -> Option<Position> {
        let rows = f64::from(number) - f64::from(other);
        let step = if rows == 0.0 { 0.0 } else { self.step? };
        let at = f64::from(position.blkno) + f64::from(position.part) + rows * f64::from(step);
        // Where a row begins a page, sums of fractions may be a little less.
        let blkno = (at + 1e-3).floor();
        (blkno >= 0.0 && blkno < f64::from(u32::MAX))
            .then_some(Position { blkno: blkno as u32, part: (at - blkno).max(0.0) as f32 })
    }

    /// A row was found.
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

    /// Whether a guess, or the pages that it led to, had the row.
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

    /// Row `number` of a table with so many rows a page, appended from 1000 on.
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
