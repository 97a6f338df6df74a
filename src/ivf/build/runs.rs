//! Sorts coded rows from table order to list order: in runs in memory, which are written to the spool if
//! needed and merged by list.

use super::input::Spool;
use crate::error::Result;
use crate::ivf::code::RowCode;
use crate::ivf::directory::Directory;
use crate::memory::{self, Grow};
use crate::page::{Key, TID_SIZE, Tid};

/// A coded row as bytes: list, squared residual, two factors, address, signs, extended part, keys.
pub struct Record;

const LIST: usize = 0;
const RESIDUAL: usize = 4;
const FACTORS: usize = 8;
const TID: usize = 12;
const SIGNS: usize = TID + TID_SIZE;

/// A decoded [`Record`].
pub struct Row<'a> {
    /// Additive factor, f16 bits.
    pub add: u16,
    /// Multiplicative factor, f16 bits.
    pub rescale: u16,
    /// Heap address.
    pub tid: Tid,
    /// Sign bits.
    pub signs: &'a [u8],
    /// Factors and codes of the extended record.
    pub extended: &'a [u8],
    /// The keys, as `Columns::read_row` reads them.
    pub keys: &'a [u8],
}

impl Record {
    /// Bytes of a record.
    pub fn size(directory: &Directory) -> usize {
        let codec = &directory.codec;
        SIGNS + codec.sign_bytes() + codec.extended_size() + directory.meta.columns.row_size()
    }

    /// Writes a coded row.
    pub fn write(out: &mut [u8], directory: &Directory, tid: Tid, code: &RowCode, keys: &[Key]) {
        out[LIST..LIST + 4].copy_from_slice(&code.list.to_le_bytes());
        out[RESIDUAL..RESIDUAL + 4].copy_from_slice(&code.residual.to_le_bytes());
        out[FACTORS..FACTORS + 2].copy_from_slice(&code.factors.add.to_bits().to_le_bytes());
        out[FACTORS + 2..FACTORS + 4].copy_from_slice(&code.factors.rescale.to_bits().to_le_bytes());
        out[TID..SIGNS].copy_from_slice(&tid.to_bytes());
        let (signs, rest) = out[SIGNS..].split_at_mut(code.signs.len());
        let (extended, rest) = rest.split_at_mut(code.extended.len());
        signs.copy_from_slice(&code.signs);
        extended.copy_from_slice(&code.extended);
        directory.meta.columns.write_row(keys, rest);
    }

    /// The list and squared residual.
    pub fn list(record: &[u8]) -> (u32, f32) {
        let word = |at: usize| [record[at], record[at + 1], record[at + 2], record[at + 3]];
        (u32::from_le_bytes(word(LIST)), f32::from_le_bytes(word(RESIDUAL)))
    }

    /// The rest.
    pub fn read<'a>(record: &'a [u8], directory: &Directory) -> Row<'a> {
        let tid = std::array::from_fn(|i| record[TID + i]);
        let (signs, rest) = record[SIGNS..].split_at(directory.codec.sign_bytes());
        let (extended, keys) = rest.split_at(directory.codec.extended_size());
        Row {
            add: u16::from_le_bytes([record[FACTORS], record[FACTORS + 1]]),
            rescale: u16::from_le_bytes([record[FACTORS + 2], record[FACTORS + 3]]),
            tid: Tid::from_bytes(&tid),
            signs,
            extended,
            keys,
        }
    }
}

/// All coded rows of a build.
pub struct Runs {
    lists: usize,
    size: usize,
    limit: usize,
    memory: Vec<u8>,
    spilled: Vec<Spilled>,
    counts: Vec<u32>,
}

/// A run on the spool, in list order.
struct Spilled {
    offset: u64,
    /// Number of the first record of each list, and of the end.
    starts: Vec<u32>,
}

impl Runs {
    /// Rows of `size` bytes for `lists` lists; more than `limit` bytes go to the spool.
    pub fn new(lists: usize, size: usize, limit: usize) -> Result<Self> {
        let counts = memory::filled(0, lists)?;
        Ok(Self { lists, size, limit, memory: Vec::new(), spilled: Vec::new(), counts })
    }

    /// No rows.
    pub fn empty(lists: usize) -> Result<Self> {
        Self::new(lists, 1, 0)
    }

    /// Rows of a list.
    pub fn count(&self, list: usize) -> u32 {
        self.counts[list]
    }

    /// Adds records.
    pub fn add(&mut self, records: &[u8], spool: &mut dyn Spool) -> Result<()> {
        for record in records.chunks_exact(self.size) {
            self.counts[Record::list(record).0 as usize] += 1;
        }
        self.memory.try_extend(records)?;
        // Half of the limit is left for growing the vector and for the order array of the sort.
        if self.memory.len() + records.len() > self.limit / 2 { self.spill(spool) } else { Ok(()) }
    }

    /// Record numbers of the run in memory by list, and where each list begins among them.
    fn order(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let mut starts = memory::filled(0u32, self.lists + 1)?;
        for record in self.memory.chunks_exact(self.size) {
            starts[Record::list(record).0 as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = memory::collected(starts.iter().copied())?;
        let mut order = memory::filled(0u32, self.memory.len() / self.size)?;
        for (i, record) in self.memory.chunks_exact(self.size).enumerate() {
            let at = &mut next[Record::list(record).0 as usize];
            order[*at as usize] = i as u32;
            *at += 1;
        }
        Ok((order, starts))
    }

    fn spill(&mut self, spool: &mut dyn Spool) -> Result<()> {
        const CHUNK: usize = 1 << 18;
        let (order, starts) = self.order()?;
        let mut offset = None;
        let mut chunk = Vec::with_capacity(CHUNK + self.size);
        for i in order {
            chunk.extend_from_slice(&self.memory[i as usize * self.size..][..self.size]);
            if chunk.len() >= CHUNK {
                let at = spool.write(&chunk)?;
                offset.get_or_insert(at);
                chunk.clear();
            }
        }
        let at = spool.write(&chunk)?;
        self.spilled.push(Spilled { offset: offset.unwrap_or(at), starts });
        self.memory.clear();
        Ok(())
    }

    /// Puts the run in memory in order; call once, before [`Sorted::each`].
    pub fn sort(self) -> Result<Sorted> {
        let (order, starts) = self.order()?;
        Ok(Sorted { runs: self, order, starts })
    }
}

/// All coded rows, readable by list.
pub struct Sorted {
    runs: Runs,
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Sorted {
    /// Rows of a list.
    pub fn count(&self, list: usize) -> u32 {
        self.runs.count(list)
    }

    /// Calls `f` with every record of a list, always in the same order.
    pub fn each(
        &self,
        list: usize,
        spool: &mut dyn Spool,
        mut f: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        const CHUNK: usize = 1 << 16;
        let size = self.runs.size;
        let mut chunk = Vec::new();
        for run in &self.runs.spilled {
            let (mut at, end) = (run.starts[list] as usize, run.starts[list + 1] as usize);
            while at < end {
                let n = (CHUNK / size).max(1).min(end - at);
                chunk.resize(n * size, 0);
                spool.read(run.offset + (at * size) as u64, &mut chunk)?;
                chunk.chunks_exact(size).try_for_each(&mut f)?;
                at += n;
            }
        }
        for &i in &self.order[self.starts[list] as usize..self.starts[list + 1] as usize] {
            f(&self.runs.memory[i as usize * size..][..size])?;
        }
        Ok(())
    }
}
