//! The input of a build: options, the rows, and a temporary file for rows that do not fit in memory.

use crate::error::Result;
use crate::ivf::sketch::{Sketch, Sketched};
use crate::page::meta::SketchOf;
use crate::page::{Columns, Key, Tid};
use crate::value::{Metric, Original};

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// Dimensions of every vector.
    pub dims: usize,
    /// What the index orders by.
    pub metric: Metric,
    /// Number of lists, or 0 to choose by the number of rows.
    pub lists: u32,
    /// Bits per dimension: 1, 4 or 8.
    pub bits: u8,
    /// Dimensions of the one-bit codes, or 0 for those of the vectors; see `build/leading.rs`.
    pub code_dims: u32,
    /// Seed of every random choice.
    pub seed: u64,
    /// Memory that the build may use, in bytes.
    pub memory: usize,
    /// The filter columns.
    pub columns: Columns,
    /// What sketches are made of, if the rows are sketches of `dims` coordinates.
    pub sketch: SketchOf,
}

impl Options {
    /// How values become coordinates.
    ///
    /// # Errors
    /// Out of memory.
    pub fn sketch(&self) -> Result<Sketch> {
        Sketch::of_meta(self.sketch, self.dims)
    }
}

/// Takes rows: address, value, and the keys in the filter columns.
pub type RowSink<'a> = dyn FnMut(Tid, Sketched<'_>, &[Key]) -> Result<()> + 'a;

/// Takes values of which sketches are made.
pub type OriginalSink<'a> = dyn FnMut(Original<'_>) -> Result<()> + 'a;

/// The rows of a sample at some positions.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// Those ahead.
    positions: &'a [usize],
    seen: usize,
}

impl<'a> Chosen<'a> {
    /// Positions, which ascend; 0 is the first row.
    pub fn new(positions: &'a [usize]) -> Self {
        Self { positions, seen: 0 }
    }

    /// Whether the next row is one of them.
    pub fn takes_next(&mut self) -> bool {
        let taken = self.positions.first() == Some(&self.seen);
        self.seen += 1;
        if taken {
            self.positions = &self.positions[1..];
        }
        taken
    }

    /// Whether all of them have been passed.
    pub fn is_over(&self) -> bool {
        self.positions.is_empty()
    }
}

/// Where the rows come from.
pub trait Source {
    /// About how many rows there are.
    fn rows_hint(&self) -> u64;
    /// Passes at most `want` random rows to `sink`, in random order.
    fn sample(&mut self, want: usize, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>;
    /// Passes the rows at these positions of the sample, which ascend, but with the coordinates that they
    /// have as queries. Rows are left out if there are fewer, or if the table has changed.
    fn sample_queries(
        &mut self,
        positions: &[usize],
        sink: &mut dyn FnMut(Sketched<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut chosen = Chosen::new(positions);
        let want = positions.last().map_or(0, |last| last + 1);
        self.sample(want, &mut |row| if chosen.takes_next() { sink(row.into()) } else { Ok(()) })
    }
    /// Passes at most `want` random rows to `sink` as the table has them, if the index is over sketches of
    /// them.
    fn sample_originals(&mut self, _want: usize, _sink: &mut OriginalSink<'_>) -> Result<()> {
        Ok(())
    }
    /// Passes every row to `sink`, with its keys.
    fn scan(&mut self, sink: &mut RowSink<'_>) -> Result<()>;
    /// Passes those of these rows to `sink` that exist, where others change the table during a scan.
    fn look_up(&mut self, _rows: &[Tid], _sink: &mut RowSink<'_>) -> Result<()> {
        Ok(())
    }
}

/// A temporary file.
pub trait Spool {
    /// Appends `bytes` and returns their offset.
    fn write(&mut self, bytes: &[u8]) -> Result<u64>;
    /// Reads back.
    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()>;
}
