//! How many lists a filtered scan needs, estimated from the rows that have passed the filter columns so far.
//!
//! If one row in ten passes, the ten nearest passing rows are as far away as the hundred nearest of all rows,
//! and in as many lists. If passing rows are in few lists, the other lists say nothing about how near passing
//! rows are. So lists count in proportion to the *evenness*: the share of rows that pass, divided by the
//! share in lists in which rows pass. In that case passing rows are also the farther part of the rows within
//! their distance, and the calibrated number of lists finds fewer of these. So the allowed loss is multiplied
//! by a power of the evenness, [`LOSS`]. Measured with a filter on the first principal component that passes
//! the half of the rows without the query:
//! | rows | lists count by | loss is multiplied by | recall (target) |
//! | 30,000 × 384 | evenness | evenness | .910 (.9), .948 (.95), .992 (.99) |
//! | 30,000 × 384 | evenness | evenness² | .968 (.95) |
//! | 30,000 × 384 | its square root | evenness | .917 (.95) |
//! | 116,659 × 768 | evenness | evenness | .945 to .949 (.95) |
//! | 116,659 × 768 | evenness | evenness^1.25 | .945, .953, .957 (.95, three builds) |
//! | 116,659 × 768 | evenness | evenness^1.5, as it is | .953 (.95) |

use super::effort::whole;
use super::list_scan::Stats;

/// If fewer than this many windows of rows pass in the whole index, all of them are read. This takes little
/// time, because the codes of other rows are not compared, and an estimate from so few rows would be random.
const FEW_WINDOWS: f64 = 20.0;
/// The allowed loss is reduced by this power of the evenness. It is between the two powers that were measured
/// (1.25 and 2, see above).
const LOSS: f64 = 1.5;

/// What the lists read so far have shown.
#[derive(Default)]
pub struct Selectivity {
    /// Lists, with those that were left out.
    lists: f64,
    read: f64,
    /// Rows of the lists read.
    rows: f64,
    passed: f64,
    /// Sum over passing rows: the share of the other rows of the row's list that pass.
    company: f64,
}

impl Selectivity {
    /// Counts a list by the counters before and after it was read.
    pub fn add(&mut self, before: Stats, after: Stats) {
        let passed = (after.codes - before.codes) as f64;
        let rows = passed + (after.excluded - before.excluded) as f64;
        self.lists += 1.0;
        self.read += 1.0;
        self.rows += rows;
        self.passed += passed;
        if passed > 1.0 {
            self.company += passed * (passed - 1.0) / (rows - 1.0);
        }
    }

    /// Counts a list that was skipped because none of its rows passes.
    pub fn skip(&mut self) {
        self.lists += 1.0;
    }

    /// Rows of all lists, if skipped lists have as many rows as the others.
    fn all_rows(&self) -> f64 {
        self.rows * self.lists / self.read
    }

    /// How evenly passing rows are distributed over lists: the share of rows that pass, divided by the share
    /// in lists in which rows pass.
    fn evenness(&self) -> f64 {
        let share = self.passed / self.all_rows();
        share / share.max(self.company / self.passed)
    }

    /// Whether enough lists of `all` have been read for a window of passing rows. Lists count in proportion
    /// to the evenness. `needed(rows, factor)` is the number of lists for `rows` rows without a filter, if
    /// the allowed loss is multiplied by `factor`.
    pub fn is_enough(
        &self,
        window: u64,
        (dither, all): (f64, u32),
        needed: &impl Fn(f64, f64) -> f64,
    ) -> bool {
        if self.passed == 0.0 {
            return false;
        }
        let window = window as f64;
        if self.passed / self.lists * f64::from(all) < FEW_WINDOWS * window {
            // So few rows pass in the whole index that comparing all of them is cheap.
            return false;
        }
        let even = self.evenness();
        let rows = window * self.all_rows() / self.passed;
        self.lists * even >= f64::from(whole(needed(rows, even.powf(LOSS)), dither))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after twenty lists: all rows of two lists pass, and the other eighteen were skipped or, with
    /// `read`, were read and had no passing row.
    fn one_in_ten(read: bool) -> Selectivity {
        let mut passing = Selectivity::default();
        let mut stats = Stats::default();
        for list in 0..20 {
            let before = stats;
            match list % 10 {
                0 => stats.codes += 12_500,
                _ if read => stats.excluded += 12_500,
                _ => {
                    passing.skip();
                    continue;
                }
            }
            passing.add(before, stats);
        }
        passing
    }

    #[test]
    fn lists_left_out_count_as_those_without_a_row_that_passes() {
        // One list for each twenty rows.
        let needed = |rows: f64, _: f64| rows / 20.0;
        for (window, enough) in [(2, true), (5, false), (10, false), (100, false)] {
            for read in [true, false] {
                let passing = one_in_ten(read);
                assert!((passing.evenness() - 0.1).abs() < 1e-3, "{}", passing.evenness());
                assert_eq!(passing.is_enough(window, (0.0, 80), &needed), enough, "{window} {read}");
            }
        }
        let mut none = Selectivity::default();
        none.skip();
        assert!(!none.is_enough(10, (0.0, 80), &needed), "no row has passed");
    }
}
