//! The work that a scan is expected to do, for the planner.

use super::directory::Directory;
use super::search::{self, Probes};
use crate::kernel;
use crate::page::summary;
use crate::value::Metric;

/// The work of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Lists probed.
    pub lists: f64,
    /// Codes pages read (in runs of consecutive pages, one per list).
    pub pages: f64,
    /// One-bit codes compared.
    pub codes: f64,
    /// Number of extended records evaluated; in the worst case each is on another page.
    pub extended: f64,
    /// Number of heap rows whose exact value is computed.
    pub rows: f64,
}

/// Expected work to return the `wanted` nearest of `rows` indexed rows. Never falls when `probes`,
/// `target`, `rows` or `wanted` grow.
///
/// `passing` is the share of the rows that pass the filter columns; `wanted` counts only these. `read` is the
/// share of the lists that summaries do not exclude; `None` if the scan reads no summaries.
pub fn estimate(
    directory: &Directory,
    rows: f64,
    (probes, target): (Probes, f32),
    wanted: f64,
    (passing, read): (f64, Option<f64>),
) -> Work {
    let total = f64::from(directory.lists());
    let rows = rows.max(1.0);
    let passing = passing.clamp(1.0 / rows, 1.0);
    let wanted = wanted.min(rows * passing).max(1.0);
    // The lists for the number of rows among which `wanted` rows pass.
    let among = wanted / passing;
    let calibrated = search::lists(directory, target, among);
    let lists = match probes {
        Probes::ForRecall { least } => calibrated.max(f64::from(least)),
        // The scan continues with further lists if the requested ones do not hold enough rows.
        Probes::Lists(lists) => f64::from(lists).max(among / rows * total),
    }
    .clamp(1.0, total);
    let share = lists / total;
    let codes = rows * share;
    let per_page = directory.codes.rows() as f64 / (1.0 + directory.codes.more() as f64);
    // A list's last page is half full on average.
    let pages = codes / per_page + lists * 0.5;
    let (pages, lists) = match read {
        Some(read) => {
            let columns = directory.meta.columns.widths().len();
            (pages * read + f64::from(summary::pages(directory.lists(), columns)), lists * read)
        }
        None => (pages, lists),
    };
    // Blocks without a passing row are skipped.
    let codes = codes * (1.0 - (1.0 - passing).powf(kernel::BLOCK_ROWS as f64));
    let reached = rows * share * passing;
    // Measured: about 60 records beyond nine per row wanted survive the first stage (ten rows: 96-150).
    // About twice as many survive a first stage in a leading space.
    let more = if directory.codec.projection().is_some() { 2.0 } else { 1.0 };
    let extended = more * (60.0 + 9.0 * wanted);
    let extended = if directory.extended.is_some() { extended.min(reached) } else { 0.0 };
    let beyond = match directory.extended {
        Some(_) => 1.2,
        None if directory.codec.is_exact() => 1.0,
        None => 3.0,
    };
    if directory.sketch().is_lossy() {
        let reached = Work { lists, pages, codes, extended, rows: reached.max(wanted) };
        return match directory.codec.has_elements() {
            true => of_elements(reached, (target, directory.metric()), wanted),
            false => of_sketches(reached, target, wanted),
        };
    }
    Work { lists, pages, codes, extended, rows: (beyond * wanted + 1.0).min(reached.max(wanted)) }
}

/// Sketches exclude fewer rows, and none from an exact scan. Measured for ten rows: 50 at .95, 100 at .99.
fn of_sketches(reached: Work, target: f32, wanted: f64) -> Work {
    if target >= 1.0 {
        return Work { extended: 0.0, ..reached };
    }
    let rows = (20.0 + 4.0 * wanted).min(reached.rows);
    Work { rows, extended: (8.0 * reached.extended).min(reached.rows), ..reached }
}

/// Sketches exclude four fifths of the rows, but none by L1 or from an exact scan; the elements in extended
/// records exclude nearly all others.
fn of_elements(reached: Work, (target, metric): (f32, Metric), wanted: f64) -> Work {
    let share = if target >= 1.0 || metric == Metric::L1 { 1.0 } else { 0.2 };
    let rows = (1.5 * wanted + 5.0).min(reached.rows);
    Work { rows, extended: (share * reached.rows).max(rows), ..reached }
}

/// What a summary can show about a condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    /// Exactly whether a row passes: for a range that is open at one end, and for NULL or NOT NULL.
    Surely,
    /// Whether a row passes an equality with one of this number of keys, unless another key shares a bit of
    /// the Bloom filter with them.
    ByMarks(f64),
}

/// Expected share of lists (of `rows` rows each) that a scan must read for a condition, if each row passes
/// independently with probability `passing`.
pub fn lists_read(shown: Shown, passing: f64, rows: f64) -> f64 {
    let passes = 1.0 - (1.0 - passing.clamp(0.0, 1.0)).powf(rows.max(1.0));
    match shown {
        Shown::Surely => passes,
        // This assumes that all rows have different keys.
        Shown::ByMarks(keys) => {
            let free = (-rows / f64::from(summary::MARKS)).exp();
            passes + (1.0 - passes) * (1.0 - free.powf(keys))
        }
    }
}

/// The planner is told that this number of codes costs one operator call (`cpu_operator_cost`), because a
/// distance between two vectors takes about this many times as long as comparing a code of the same
/// dimensions.
pub const CODES_PER_OPERATOR: f64 = kernel::BLOCK_ROWS as f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewer_rows_pass_the_fewer_lists_are_read() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} {b}");
        close(lists_read(Shown::Surely, 0.001, 250.0), 0.221);
        close(lists_read(Shown::Surely, 0.0, 250.0), 0.0);
        close(lists_read(Shown::Surely, 1.0, 250.0), 1.0);
        // Half of 512 marks and some twice.
        close(lists_read(Shown::ByMarks(1.0), 0.0, 250.0), 0.386);
        close(lists_read(Shown::ByMarks(10.0), 0.0, 250.0), 0.992);
        close(lists_read(Shown::ByMarks(1.0), 0.001, 250.0), 0.522);
        close(lists_read(Shown::ByMarks(1.0), 0.001, 1.0), 0.003);
    }
}
