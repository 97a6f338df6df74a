//! Indexes that earlier versions have written: they are read, changed, verified, and brought to the newest
//! format.
//!
//! The files in `tests/ivf/earlier` have the pages of such indexes, written by the code of that version: 640
//! rows of 24 dimensions by [`row`], of which every tenth was deleted again. In a file, runs of bytes that
//! are not zero follow one another: the number of zeros before it, its length, its bytes.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use vector_search::ivf::build::Options;
use vector_search::ivf::directory::read_root;
use vector_search::ivf::search::{Order, Settings};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Columns, Page, Store};
use vector_search::value::Metric;

use crate::plain::plain_blocks;
use crate::renew::renewed;
use crate::world::{BY_RECALL, DEFAULT, EXACT, Table, World, assert_same, options};

const DIMS: u64 = 24;

/// Row `n` of the table that the index was made for.
fn row(n: u64, bits: bool) -> Vec<f32> {
    let number = |mixed: u64| (mixed >> 40) as f32 / 16_777_216.0;
    let value = |j: u64| {
        let own = number((n * 31 + j).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let near = number((n % 7 * 13 + j).wrapping_mul(0xD1B5_4A32_D192_ED03));
        2.0 * near + own
    };
    (0..DIMS).map(value).map(|x| if bits { f32::from(x > 1.5) } else { x }).collect()
}

/// The pages of a file.
fn pages(name: &str) -> MemoryStore {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ivf/earlier").join(name);
    let (file, mut bytes) = (std::fs::read(path).unwrap(), Vec::new());
    let mut rest = file.as_slice();
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let number = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|j| head[i + j])) as usize;
        bytes.resize(bytes.len() + number(0), 0);
        bytes.extend_from_slice(&tail[..number(4)]);
        rest = &tail[number(4)..];
    }
    let store = MemoryStore::new();
    for bytes in bytes.chunks_exact(Page::zeroed().bytes().len()) {
        let add = store.change(|change| {
            let (_, handle) = change.extend()?;
            change.page_mut(handle).bytes_mut().copy_from_slice(bytes);
            Ok(())
        });
        add.unwrap();
    }
    store
}

fn assert_right(world: &World, what: &str) {
    world.check();
    let mut near = 0;
    for n in [3, 100, 333, 901] {
        let query = row(n, world.metric == Metric::Hamming);
        assert_same(&world.search(&query, EXACT, 1000), &world.truth(&query, 1000, None), what);
        let relaxed = Settings { order: Order::Relaxed, probes: BY_RECALL, limit: Some(10), ..DEFAULT };
        let found = world.search(&query, relaxed, 10);
        let truth = world.truth(&query, 10, None);
        near += found.iter().filter(|row| row.1 <= truth[9].1).count();
    }
    assert!(near >= 28, "{what}: {near} of 40 neighbours");
}

#[test]
fn indexes_of_earlier_versions_are_used_and_renewed() {
    for (version, metric, widths) in [
        (1, Metric::L2, &[][..]),
        (2, Metric::Cosine, &[4, 8]),
        (3, Metric::Hamming, &[]),
        (4, Metric::InnerProduct, &[4, 8]),
    ] {
        let store = pages(&format!("format-{version}.pages"));
        assert_eq!(read_root(&store).unwrap().version(), version);
        let bits = metric == Metric::Hamming;
        let table: Table = (0..640).filter(|n| n % 10 != 3).map(|n| (n, row(n, bits))).collect();
        let world = World { table: Rc::new(RefCell::new(table)), store, metric };
        assert_right(&world, &format!("format {version} as it was written"));
        (700..1000).for_each(|n| world.insert(n, row(n, bits)));
        world.delete(|n| n % 5 == 1);
        assert_right(&world, &format!("format {version}, changed"));
        assert_eq!(read_root(&world.store).unwrap().version(), version);
        assert_eq!(plain_blocks(&world), 0, "earlier versions do not know plain codes");
        let columns = Columns::new(widths).unwrap();
        let options = Options { columns, lists: 6, ..options(DIMS as usize, metric) };
        renewed(&world, &world.store, &options, true).unwrap();
        assert_eq!(read_root(&world.store).unwrap().version(), 5);
        assert_right(&world, &format!("format {version}, renewed"));
        (1100..1200).for_each(|n| world.insert(n, row(n, bits)));
        assert_right(&world, &format!("format {version}, renewed and changed"));
    }
}
