//! Copies of codes in second lists: never a row twice, never a wrong one, and fewer lists to read.

use std::collections::{BTreeMap, HashSet};

use vector_search::ivf::build::Options;
use vector_search::ivf::calibrate::{Queries, recalibrate};
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::filter::{Accept, Condition, Filter};
use vector_search::ivf::search::{Order, Search, Settings};
use vector_search::ivf::{build::Silent, check, info, insert, vacuum};
use vector_search::page::{Columns, NO_BLOCK, PageKind, Store, Tid};
use vector_search::quant::pack;
use vector_search::value::Metric;

use crate::world::*;

fn with_copies(dims: usize, metric: Metric, lists: u32, share: f32) -> Options {
    Options { lists, copies: Some(share), ..options(dims, metric) }
}

fn number(t: Tid) -> u64 {
    u64::from(t.block) * 100 + u64::from(t.offset) - 1
}

/// Checks the index, and that every copy is the code of a live row for the list it lies in. Returns how many.
fn verify(world: &World) -> u64 {
    let report = world.check();
    assert_eq!(report.stale_copies, 0);
    let directory = world.directory();
    let Some(layout) = directory.copies else {
        assert_eq!(report.copies, 0);
        return 0;
    };
    let mut code = RowCode::new(&directory);
    let mut copies = 0;
    for list in 0..directory.lists() {
        let mut block = directory.copies_head(list).0;
        while block != NO_BLOCK {
            let page = world.store.read(block).unwrap();
            for index in 0..layout.blocks() {
                let view = layout.block(&page, index);
                for slot in (0..32).filter(|s| view.live() >> s & 1 == 1) {
                    let own = layout.own_list(view, slot);
                    let (at, bit) = directory.codes.slot_of(view.reference(slot)).unwrap();
                    let codes = world.store.read(view.reference(slot).block).unwrap();
                    assert_eq!((codes.kind(), codes.owner()), (Some(PageKind::Codes), own));
                    let record = directory.codes.block(&codes, at).reference(bit);
                    let tid = match directory.extended {
                        Some(layout) => {
                            layout.record(&world.store.read(record.block).unwrap(), record.offset.into()).0
                        }
                        None => record,
                    };
                    let table = world.table.borrow();
                    assert!(code.encode(&directory, &table[&number(tid)]));
                    code.encode_copy(&directory, list);
                    let mut signs = vec![0; view.codes().len()];
                    pack::write_signs(&mut signs, 0, slot, &code.signs);
                    let same = view.codes().iter().zip(&signs).all(|(held, own)| held & own == *own);
                    assert!(same, "the copy in slot {slot} of block {block} is of its row");
                    let factors = view.add()[2 * slot..][..2].try_into().unwrap();
                    let (add, held) = (code.factors.add.to_f32(), half::f16::from_le_bytes(factors).to_f32());
                    assert!((add - held).abs() <= 0.01 * add.abs() + 1e-3, "{add} {held}");
                    copies += 1;
                }
            }
            block = page.next();
        }
    }
    assert_eq!(report.copies, copies);
    copies
}

/// Every way to search gives rows of the table in order, none twice.
fn assert_sound(world: &World, query: &[f32], exact: bool) {
    let all = world.truth(query, usize::MAX, None);
    let values: BTreeMap<Tid, f64> = all.iter().copied().collect();
    let lists = world.directory().lists();
    for order in [Order::Strict, Order::Relaxed, Order::Off] {
        for probes in [1, 2, lists / 2, lists - 1] {
            for limit in [None, Some(10), Some(200)] {
                let settings = Settings { probes, order, limit, ..DEFAULT };
                let rows = world.search(query, settings, usize::MAX);
                let different: HashSet<Tid> = rows.iter().map(|r| r.0).collect();
                assert_eq!(different.len(), rows.len(), "no row twice: {settings:?}");
                assert!(rows.iter().all(|r| values.get(&r.0) == Some(&r.1)), "{settings:?}");
                assert!(order == Order::Relaxed || rows.is_sorted_by(|a, b| a.1 <= b.1), "{settings:?}");
                if order == Order::Relaxed {
                    assert_eq!(rows.len(), all.len(), "{settings:?}");
                }
            }
        }
    }
    if exact {
        assert_same(&world.search(query, EXACT, usize::MAX), &all, "exhaustive");
    }
}

#[test]
fn a_random_history_keeps_copies_true() {
    for (metric, bits) in [(Metric::L2, 4), (Metric::Cosine, 1), (Metric::InnerProduct, 8)] {
        let mut mixture = Mixture::new(40, 30, 0.9, 3);
        let mut random = Random(7);
        let options = Options { bits, ..with_copies(40, metric, 12, 0.5) };
        let world = World::build(table(&mut mixture, 900), &options);
        let built = verify(&world);
        assert!((300..=600).contains(&built), "{built} copies");
        let mut next = 900;
        for step in 0..6 {
            for _ in 0..150 {
                let vector = if random.below(20) == 0 { vec![0.0; 40] } else { mixture.draw() };
                world.insert(next, vector);
                next += 1;
            }
            let copies = verify(&world);
            if step % 2 == 1 {
                let third = random.below(3) as u64;
                world.delete(|n| n % 3 == third);
                assert!(verify(&world) < copies);
            }
            assert_sound(&world, &mixture.draw(), true);
        }
        assert!(verify(&world) > built / 2, "inserted rows have copies");
        // Whoever is gone leaves no copy, and their space is used again.
        world.delete(|_| true);
        assert_eq!(verify(&world), 0);
        let blocks = world.store.blocks().unwrap();
        for n in 0..400 {
            world.insert(n, mixture.draw());
        }
        assert!(verify(&world) > 0);
        assert_eq!(world.store.blocks().unwrap(), blocks);
    }
}

#[test]
fn copies_find_what_few_lists_miss() {
    let mut mixture = Mixture::new(64, 400, 1.2, 2);
    let rows = table(&mut mixture, 12_000);
    let queries: Vec<Vec<f32>> = (0..80).map(|_| mixture.draw()).collect();
    let worlds = [0.0, 0.5].map(|share| World::build(rows.clone(), &with_copies(64, Metric::L2, 48, share)));
    assert_eq!(verify(&worlds[0]), 0);
    let copies = verify(&worlds[1]);
    assert!((5000..7000).contains(&copies), "{copies}");
    let hits = worlds.each_ref().map(|world| {
        let settings = Settings { probes: 3, order: Order::Off, ..DEFAULT };
        let hits = |query: &Vec<f32>| {
            let truth = world.truth(query, 10, None);
            world.search(query, settings, 10).iter().filter(|row| truth.contains(row)).count()
        };
        queries.iter().map(hits).sum::<usize>()
    });
    assert!(hits[1] as f64 > 1.1 * hits[0] as f64, "{hits:?}");
    // The calibration knows it.
    let probes = worlds.each_ref().map(|world| world.directory().meta.probes);
    assert!(probes[0].iter().zip(&probes[1]).all(|(without, with)| without >= with), "{probes:?}");
    assert!(f64::from(probes[0][5]) > 1.2 * f64::from(probes[1][5]), "{probes:?}");
    // And finds the same again.
    let vectors: Vec<f32> = rows.values().take(300).flatten().copied().collect();
    let before = worlds[1].directory().meta.clone();
    let after = recalibrate(&worlds[1].store, &vectors, Queries::Rows, &Silent).unwrap();
    assert_eq!(after.copy_limit, before.copy_limit);
    let ratio = f64::from(after.probes[5]) / f64::from(before.probes[5]);
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
    verify(&worlds[1]);
}

#[test]
fn the_build_gives_copies_where_they_pay() {
    // Groups that lie apart: the rows near a query are all in its list.
    let mut easy = Mixture::new(32, 200, 0.03, 4);
    let world = World::build(table(&mut easy, 11_000), &options(32, Metric::L2));
    assert_eq!(info::info(&world.store, &|| Ok(())).unwrap().copies, 0);
    assert_eq!(world.directory().meta.version(), 1);
    // No groups at all, and many lists to read.
    let mut hard = Mixture::new(32, 1, 1.0, 4);
    let many = Options { lists: 300, ..options(32, Metric::L2) };
    let world = World::build(table(&mut hard, 11_000), &many);
    let copies = info::info(&world.store, &|| Ok(())).unwrap().copies;
    assert!(copies > 1500, "{copies}");
    assert_eq!(copies, verify(&world));
    assert_eq!(world.directory().meta.version(), 3);
    // One list has no second one; blocks that fill pages have no room.
    let world = World::build(table(&mut hard, 200), &with_copies(32, Metric::L2, 1, 0.5));
    assert_eq!(verify(&world), 0);
    let mut wide = Mixture::new(2500, 3, 1.0, 4);
    let world = World::build(table(&mut wide, 200), &with_copies(2500, Metric::L2, 4, 0.5));
    assert_eq!(verify(&world), 0);
}

#[test]
fn little_memory_changes_no_copy() {
    let mut mixture = Mixture::new(64, 100, 1.0, 5);
    let rows = table(&mut mixture, 6000);
    let options = Options { memory: 1 << 20, ..with_copies(64, Metric::L2, 20, 0.3) };
    let world = World::build(rows, &options);
    assert!(verify(&world) > 1000);
}

#[test]
fn rows_that_pass_are_found_once() {
    let mut mixture = Mixture::new(32, 200, 1.2, 6);
    let columns = Columns::new(&[4, 8]).unwrap();
    let world = World::build(
        table(&mut mixture, 11_000),
        &Options { columns, ..with_copies(32, Metric::L2, 0, 0.5) },
    );
    world.delete(|n| n % 4 == 1);
    for n in 11_000..13_000 {
        world.insert(n, mixture.draw());
    }
    verify(&world);
    let accept = Accept::Within(0, 50);
    let filter = Filter { conditions: vec![Condition { column: 0, accept }] };
    let passes = |n: u64| keys(n)[0].is_some_and(|key| key <= 50);
    let (mut hits, mut wanted) = (0, 0);
    for _ in 0..40 {
        let query = mixture.draw();
        let mut truth = world.truth(&query, usize::MAX, None);
        truth.retain(|(t, _)| passes(number(*t)));
        for (settings, take) in [(DEFAULT, 10), (EXACT, usize::MAX)] {
            let mut search = Search::new(world.directory(), settings);
            search.start_filtered(settings, Some(&query), filter.clone());
            let mut heap = world.heap(&query);
            let rows = std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap());
            let rows: Vec<(Tid, f64)> = rows.take(take).collect();
            if settings == EXACT {
                assert_same(&rows, &truth, "filtered");
            } else {
                assert!(search.stats().copies > 0);
                hits += rows.iter().filter(|row| truth[..10].contains(row)).count();
                wanted += rows.len();
            }
        }
    }
    assert_eq!(wanted, 400);
    assert!(hits >= 376, "{hits} of 400");
}

fn tids(store: &impl Store) -> (Vec<Tid>, check::Report) {
    let mut tids = Vec::new();
    let mut visit = |t| {
        tids.push(t);
        Ok(())
    };
    let report = check::check(store, &mut visit, &|| Ok(())).unwrap();
    tids.sort_unstable();
    (tids, report)
}

#[test]
fn every_state_of_an_insert_and_a_vacuum_is_valid() {
    let mut mixture = Mixture::new(48, 30, 1.0, 8);
    let world = World::build(table(&mut mixture, 300), &with_copies(48, Metric::L2, 4, 0.5));
    for n in 300..700 {
        let vector = mixture.draw();
        let before = tids(&world.store).0;
        for stop in 0.. {
            let store = world.store.snapshot();
            store.stop_after(Some(stop));
            let directory = Directory::load(&store).unwrap();
            let done = insert::insert(&store, &directory, tid(n), &vector, &[]).is_ok();
            let (after, report) = tids(&store.snapshot());
            assert_eq!(report.stale_copies, 0);
            assert!(after == before || after.len() == before.len() + 1);
            if done {
                break;
            }
        }
        world.insert(n, vector);
    }
    let copies = verify(&world);
    assert!(copies > 200, "{copies}");
    let (all, _) = tids(&world.store);
    let dead = |t: Tid| t.offset.is_multiple_of(3);
    for stop in 0.. {
        let store = world.store.snapshot();
        store.stop_after(Some(stop));
        let done = vacuum::bulk_delete(&store, &mut |t| dead(t), &|| Ok(())).is_ok();
        let (left, report) = tids(&store.snapshot());
        assert_eq!(report.stale_copies, 0, "a row's copy goes first");
        assert!(all.iter().filter(|t| !dead(**t)).all(|t| left.binary_search(t).is_ok()));
        if done {
            assert!(left.iter().all(|t| !dead(*t)));
            assert!(report.copies < copies && stop > 8);
            break;
        }
        store.stop_after(None);
        vacuum::bulk_delete(&store, &mut |t| dead(t), &|| Ok(())).unwrap();
        assert!(tids(&store).0.iter().all(|t| !dead(*t)));
    }
}

#[test]
fn damaged_copies_are_errors() {
    let mut mixture = Mixture::new(48, 30, 1.0, 9);
    let rows = table(&mut mixture, 600);
    let query = mixture.draw();
    let search = |world: &World| {
        let settings = Settings { probes: 2, order: Order::Off, ..DEFAULT };
        let mut search = Search::new(world.directory(), settings);
        search.start(settings, Some(&query));
        let mut heap = world.heap(&query);
        while search.next(&world.store, &mut heap)?.is_some() {}
        Ok::<(), vector_search::error::Error>(())
    };
    // A list that does not exist, another list's page, a slot that does not exist.
    for (what, damage) in [("list", 0), ("page", 1), ("slot", 2)] {
        let world = World::build(rows.clone(), &with_copies(48, Metric::L2, 6, 1.0));
        search(&world).unwrap();
        let directory = world.directory();
        let layout = directory.copies.unwrap();
        for list in 0..directory.lists() {
            let mut at = directory.copies_head(list).0;
            while at != NO_BLOCK {
                let next = world.store.read(at).unwrap().next();
                world.store.damage(at, |page| {
                    for index in 0..layout.blocks() {
                        let mut block = layout.block_mut(page, index);
                        let live = block.as_ref().live();
                        for slot in (0..32).filter(|s| live >> s & 1 == 1) {
                            let mut reference = block.as_ref().reference(slot);
                            match damage {
                                0 => layout.put_keys(&mut block, slot, &[Some(77)]),
                                1 => reference.block = 0,
                                _ => reference.offset = u16::MAX,
                            }
                            let view = block.as_ref();
                            let half =
                                |bytes: &[u8; 64]| u16::from_le_bytes([bytes[2 * slot], bytes[2 * slot + 1]]);
                            let (add, rescale) = (half(view.add()), half(view.rescale()));
                            block.put(slot, add, rescale, reference);
                        }
                    }
                });
                at = next;
            }
        }
        assert!(search(&world).is_err(), "{what}");
        assert!(check::check(&world.store, &mut |_| Ok(()), &|| Ok(())).is_err(), "{what}");
        let vectors: Vec<f32> = rows.values().take(60).flatten().copied().collect();
        assert!(recalibrate(&world.store, &vectors, Queries::Rows, &Silent).is_err(), "{what}");
    }
}
