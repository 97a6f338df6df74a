//! Indexes that earlier versions have written: they are read, changed, verified, and brought to the newest
//! format.
//!
//! The files in `tests/ivf/earlier` (`earlier_pages.rs`) have the pages of such indexes, written by the code
//! of that version.

use std::cell::RefCell;
use std::rc::Rc;

use vector_search::ivf::build::Options;
use vector_search::ivf::directory::read_root;
use vector_search::ivf::search::{Order, Settings};
use vector_search::page::Columns;
use vector_search::value::Metric;

use crate::earlier_pages::{DIMS, pages, row};
use crate::plain::plain_blocks;
use crate::renew::renewed;
use crate::world::{BY_RECALL, DEFAULT, EXACT, Table, World, assert_same, options};

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
        let store = pages(version);
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
