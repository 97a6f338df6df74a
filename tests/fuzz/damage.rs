//! Damage of pages, as an input says.

use vector_search::error::{Kind, Result};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Change, Page, Store};

/// At most this many places are damaged.
const EDITS: usize = 6;

/// Damages a copy of an index. Each edit is a page, a place, how, and up to eight bytes:
///
/// | byte | meaning |
/// |---|---|
/// | 0 | page: below 128 one of the first four, from which all others are reached; otherwise any |
/// | 1, 2 | place: 2 bits (0: near the page's beginning, 1: at its end, otherwise anywhere) and 14 bits |
/// | 3 | how: 2 bits for 1, 2, 4 or 8 bytes; then 2 bits: 0 and 1 set them, 2 inverts bits, 3 a whole page |
pub fn damaged(store: &MemoryStore, mut edits: &[u8]) -> MemoryStore {
    let mut store = store.snapshot();
    for _ in 0..EDITS {
        let Some((&[page, low, high, how], rest)) = edits.split_first_chunk() else { break };
        let width = (1 << (how & 3)).min(rest.len());
        let (bytes, rest) = rest.split_at(width);
        let nblocks = store.nblocks().unwrap() as usize;
        if nblocks == 0 {
            break;
        }
        let place = u16::from_le_bytes([low, high]);
        let blkno = chosen(page, nblocks);
        match how >> 2 & 3 {
            3 => store = with_page(store, blkno, place, bytes),
            how => edit(&store, blkno, place, bytes, how == 2),
        }
        edits = rest;
    }
    store
}

fn chosen(number: u8, nblocks: usize) -> usize {
    match usize::from(number) {
        number @ 0..128 => number % nblocks.min(4),
        number => (number - 128) * nblocks / 128,
    }
}

fn edit(store: &MemoryStore, blkno: usize, place: u16, bytes: &[u8], inverts: bool) {
    let size = Page::zeroed().bytes().len();
    let at = usize::from(place & 0x3fff);
    let at = match place >> 14 {
        0 => at % 160,
        1 => size - 1 - at % 32,
        _ => at % size,
    };
    store.damage(blkno as u32, |page| {
        for (old, new) in page.bytes_mut()[at..].iter_mut().zip(bytes) {
            *old = if inverts { *old ^ new } else { *new };
        }
    });
}

/// A page is lost, is another one, or the file ends before it.
fn with_page(store: MemoryStore, blkno: usize, place: u16, bytes: &[u8]) -> MemoryStore {
    let nblocks = store.nblocks().unwrap() as usize;
    let page = match place & 3 {
        0 => Page::zeroed(),
        1 | 2 => {
            let other = chosen(bytes.first().copied().unwrap_or(0), nblocks);
            (*store.read(other as u32).unwrap()).clone()
        }
        _ => return with_pages(&store, blkno),
    };
    store.damage(blkno as u32, |damaged| *damaged = page);
    store
}

fn with_pages(store: &MemoryStore, pages: usize) -> MemoryStore {
    let short = MemoryStore::new();
    for blkno in 0..pages as u32 {
        let page = store.read(blkno).unwrap();
        let add = |change: &mut dyn Change| -> Result<()> {
            let (_, handle) = change.extend()?;
            *change.page_mut(handle) = (*page).clone();
            Ok(())
        };
        short.change(add).unwrap();
    }
    short
}

/// Fails if an error does not say that the index is damaged, or that it needs another version.
pub fn allowed<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let kinds = [Kind::Corrupted, Kind::NotSupported];
            assert!(kinds.contains(&error.kind), "{:?}: {error}", error.kind);
            None
        }
    }
}
