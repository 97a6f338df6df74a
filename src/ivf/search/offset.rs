//! How far the values of a query are from what sketches say of them.
//!
//! Sketches of arrays of vectors estimate all values of one query a little too high, and those of another
//! all too low: the vectors of the query differ from the directions that replace them, whatever the row is.
//! This difference is larger than that between rows, which is what bounds cover. So a scan measures it on
//! the rows with the best estimates, before it takes a row for certain.

/// The difference for one query.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset {
    sum: f64,
    count: u32,
    wanted: u32,
}

impl Offset {
    /// Rows on which it is measured (`docs/decisions/031-arrays-of-vectors.md` has what it saves).
    pub const ROWS: u32 = 20;

    /// Nothing is known, if it is to be measured.
    pub fn start(is_measured: bool) -> Self {
        Self { wanted: if is_measured { Self::ROWS } else { 0 }, ..Self::default() }
    }

    /// Whether no more rows are needed.
    pub fn is_known(&self) -> bool {
        self.count >= self.wanted
    }

    /// Rows that are needed.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Takes a row, by its value in the unit of the bounds and the estimate. Later rows change nothing.
    pub fn note(&mut self, key: f64, estimate: f32) {
        let difference = key - f64::from(estimate);
        if !self.is_known() && difference.is_finite() {
            self.sum += difference;
            self.count += 1;
        }
    }

    /// What values are greater by than estimates, on average.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / f64::from(self.count) }
    }
}
