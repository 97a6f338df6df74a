//! Blocks with plain codes: inserts make them, scans and all others read them like packed ones.

use std::cell::RefCell;
use std::rc::Rc;

use vector_search::error::Kind;
use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::vacuum::refresh;
use vector_search::ivf::directory::{Directory, read_root};
use vector_search::ivf::progress::Silent;
use vector_search::ivf::{check, vacuum};
use vector_search::page::meta::META_BLOCK;
use vector_search::page::{Columns, Meta, PageKind, Root, Store};
use vector_search::value::Metric;

use crate::neighbours::{Asked, MEMORY, neighbours};
use crate::renew::renewed;
use crate::world::*;

/// The codes pages of an index's lists: block number, the plain block, and the slots in use of each block.
fn pages(world: &World) -> Vec<(u32, Option<usize>, Vec<u32>)> {
    // Lists in use and those that are to take their place lie in the same way.
    let layout = world.directory().codes.with_plain();
    let mut pages = Vec::new();
    for blkno in 0..world.store.nblocks().unwrap() {
        let page = world.store.read(blkno).unwrap();
        if page.kind() == Some(PageKind::Codes) {
            let owned = layout.blocks_on(&page).map(|block| block.owned().count_ones()).collect();
            pages.push((blkno, layout.plain(&page), owned));
        }
    }
    pages
}

/// The number of plain blocks.
pub fn plain_blocks(world: &World) -> usize {
    pages(world).iter().filter(|page| page.1.is_some()).count()
}

/// Makes an index seem to be of the oldest format, in which inserts write packed codes.
fn as_earlier(world: &World) {
    let root = read_root(&world.store).unwrap();
    let meta = Meta { may_be_plain: false, ..root.current };
    let written = world.store.change(|change| {
        let handle = change.open(META_BLOCK)?;
        Root::of(meta).write(change.page_mut(handle));
        Ok(())
    });
    written.unwrap();
}

fn assert_right(world: &World, query: &[f32], what: &str) {
    world.check();
    assert_same(&world.search(query, EXACT, usize::MAX), &world.truth(query, usize::MAX, None), what);
}

#[test]
fn blocks_are_plain_until_they_are_full() {
    // A page has some blocks, and rows of the build and of inserts pass the end of a page.
    for (rows, widths) in [(1, &[][..]), (20, &[]), (24, &[8, 8]), (25, &[]), (32, &[]), (250, &[4])] {
        let mut mixture = Mixture::new(48, 3, 0.5, rows);
        let columns = Columns::new(widths).unwrap();
        let options = Options { lists: 1, columns, ..options(48, Metric::L2) };
        let world = World::build(table(&mut mixture, rows), &options);
        assert_eq!(plain_blocks(&world), 0, "builds pack all blocks");
        let (query, packed) = (mixture.draw(), if rows % 32 > 24 { rows.next_multiple_of(32) } else { 0 });
        for n in rows..rows + 300 {
            world.insert(n, mixture.draw());
            let now = n + 1;
            for (blkno, plain, owned) in pages(&world) {
                let unfinished = owned.iter().position(|owned| !matches!(owned, 0 | 32));
                let expected = unfinished.filter(|_| now > packed);
                assert_eq!(plain, expected, "{rows} and {now} rows: block {blkno} has {owned:?}");
            }
            if now % 32 < 3 || now % 7 == 0 {
                assert_right(&world, &query, &format!("{rows} and {now} rows"));
            }
        }
    }
}

#[test]
fn slots_that_vacuum_has_freed_are_taken_again() {
    for (bits, metric) in [(4, Metric::L2), (1, Metric::Cosine), (8, Metric::InnerProduct)] {
        let mut mixture = Mixture::new(100, 3, 0.5, 4);
        let options = Options { lists: 1, bits, ..options(100, metric) };
        let world = World::build(table(&mut mixture, 33), &options);
        let query = mixture.draw();
        let mut next = 33;
        let mut insert = |count: u64, mixture: &mut Mixture| {
            for n in next..next + count {
                world.insert(n, mixture.draw());
                assert_right(&world, &query, &format!("{metric:?}, {n}"));
            }
            next += count;
        };
        insert(9, &mut mixture);
        let owned = |world: &World| pages(world).iter().flat_map(|page| page.2.clone()).sum::<u32>();
        // All rows of the plain block, some of them, and rows of both blocks.
        for dead in [|n: u64| n >= 32, |n: u64| n > 45 && n.is_multiple_of(2), |n: u64| n.is_multiple_of(3)] {
            let before = (owned(&world), plain_blocks(&world));
            let gone = world.delete(dead).removed;
            assert!(gone > 2 && before.1 == 1);
            assert_eq!((owned(&world), plain_blocks(&world)), before, "slots keep their records");
            assert_right(&world, &query, &format!("{metric:?}, after {gone} have gone"));
            insert(gone, &mut mixture);
            assert_eq!((owned(&world), plain_blocks(&world)), before, "no slot is new");
            insert(4, &mut mixture);
        }
        insert(11, &mut mixture);
        assert_eq!(pages(&world)[0].2[..3], [32, 32, 1], "{metric:?}: the block has been packed");
        vacuum::count(&world.store, &|| Ok(())).unwrap();
    }
}

/// Two indexes with the same rows, one with plain blocks and one of an earlier format.
fn pair(options: &Options, grown: u64) -> ([World; 2], Mixture) {
    let mut mixture = Mixture::new(options.dims, 9, 0.6, 11);
    let rows = table(&mut mixture, 2000);
    let more: Vec<Vec<f32>> = (0..grown).map(|_| mixture.draw()).collect();
    let worlds = [false, true].map(|earlier| {
        let world = World::build(rows.clone(), options);
        if earlier {
            as_earlier(&world);
        }
        (2000..).zip(&more).for_each(|(n, row)| world.insert(n, row.clone()));
        world.delete(|n| n % 10 == 3);
        (5000..).zip(&more[..50]).for_each(|(n, row)| world.insert(n, row.clone()));
        world.check();
        world
    });
    assert!(plain_blocks(&worlds[0]) > 10 && plain_blocks(&worlds[1]) == 0);
    (worlds, mixture)
}

#[test]
fn plain_and_packed_codes_say_the_same() {
    for (bits, metric) in [(4, Metric::L2), (1, Metric::Cosine), (8, Metric::InnerProduct)] {
        let options = Options { lists: 20, bits, ..options(72, metric) };
        let ([plain, packed], mut mixture) = pair(&options, 600);
        let asked: Vec<Asked> = (0..60).map(|_| (mixture.draw(), None)).collect();
        for (query, _) in &asked[..20] {
            for settings in [DEFAULT, EXACT] {
                let truth = packed.search(query, settings, 100);
                assert_same(&plain.search(query, settings, 100), &truth, &format!("{metric:?}"));
            }
        }
        for settings in [DEFAULT, EXACT] {
            let of = |world: &World| neighbours(world, &asked, settings, MEMORY);
            let (of_plain, of_packed) = (of(&plain), of(&packed));
            for (found, truth) in of_plain.iter().zip(&of_packed) {
                assert_same(found, truth, &format!("{metric:?}, many at once"));
            }
        }
    }
}

#[test]
fn vacuum_measures_plain_codes_as_packed_ones() {
    let options = Options { lists: 20, ..options(72, Metric::L2) };
    let (worlds, _) = pair(&options, 1200);
    let [plain, packed] = worlds.map(|world| {
        vacuum::count(&world.store, &|| Ok(())).unwrap();
        let before = world.directory().meta.clone();
        assert!(refresh(&world.store, true, 7, &Silent).unwrap());
        let meta = Meta { may_be_plain: false, instance: 0, ..world.directory().meta.clone() };
        assert!(meta.efforts != before.efforts, "it is measured again");
        meta
    });
    assert_eq!(plain, packed);
}

#[test]
fn lists_that_take_the_place_of_others_may_have_plain_blocks() {
    let options = Options { lists: 6, ..options(72, Metric::Cosine) };
    let mut mixture = Mixture::new(72, 9, 0.6, 12);
    let world = World::build(table(&mut mixture, 600), &options);
    as_earlier(&world);
    (600..700).for_each(|n| world.insert(n, mixture.draw()));
    assert_eq!(plain_blocks(&world), 0);
    // Rows are inserted while the lists are being replaced.
    for stop in 1.. {
        let store = world.store.snapshot();
        store.stop_after(Some(stop));
        assert!(renewed(&world, &store, &options, true).is_err());
        let store = store.snapshot();
        let root = read_root(&store).unwrap();
        if root.next.is_none() {
            // The file's format may be the newest already; the lists in use are as they were.
            let table = Rc::new(RefCell::new(world.table.borrow().clone()));
            let world = World { table, store, metric: world.metric };
            (700..760).for_each(|n| world.insert(n, mixture.draw()));
            assert_eq!(plain_blocks(&world), 0);
            world.check();
        } else {
            let world = World { table: world.table.clone(), store, metric: world.metric };
            (700..760).for_each(|n| world.insert(n, mixture.draw()));
            let before = plain_blocks(&world);
            assert!(before > 3, "{before} plain blocks");
            let query = mixture.draw();
            assert_right(&world, &query, "being replaced");
            renewed(&world, &world.store, &options, true).unwrap();
            assert_right(&world, &query, "replaced");
            (760..900).for_each(|n| world.insert(n, mixture.draw()));
            assert_right(&world, &query, "replaced, and changed");
            break;
        }
    }
}

#[test]
fn a_wrong_form_of_codes_is_noticed() {
    let mut mixture = Mixture::new(48, 3, 0.5, 6);
    let options = Options { lists: 4, ..options(48, Metric::L2) };
    let world = World::build(table(&mut mixture, 400), &options);
    // Blocks with any number of rows, in either form.
    (400..560).for_each(|n| world.insert(n, mixture.draw()));
    let directory = Directory::load(&world.store).unwrap();
    let (mut refused, blocks) = (0, directory.codes.blocks() as u32);
    for (blkno, _, owned) in pages(&world) {
        let right = world.store.read(blkno).unwrap().count();
        for count in (2..blocks + 4).chain([0, u32::MAX]).filter(|count| *count != right) {
            let store = world.store.snapshot();
            store.damage(blkno, |page| page.set_count(count));
            let error = check::check(&store, &mut |_| Ok(()), &|| Ok(())).unwrap_err();
            assert_eq!(error.kind, Kind::Corrupted, "block {blkno} with {owned:?}: {count}");
            refused += 1;
        }
    }
    assert!(refused > 30);
}
