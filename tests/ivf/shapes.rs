//! Extreme sizes, widths and values.

use vector_search::error::Kind;
use vector_search::ivf::build::{self, Options};
use vector_search::ivf::directory::Directory;
use vector_search::ivf::search::{Probes, Search, Settings};
use vector_search::ivf::{check, info};
use vector_search::page::memory::MemoryStore;
use vector_search::value::{Metric, TotalF64};

use crate::random::Random;
use crate::world::*;

#[test]
fn every_width_works() {
    for dims in [1, 2, 3, 63, 64, 65, 100, 384, 768, 1000, 1536, 1985, 2048, 4096, 16_000] {
        let mut mixture = Mixture::new(dims, 3, 0.5, dims as u64);
        let rows = if dims > 2000 { 70 } else { 150 };
        let metric = if dims == 1 { Metric::L2 } else { Metric::Cosine };
        for bits in [1, 4, 8] {
            let options = Options { lists: 2, bits, ..options(dims, metric) };
            let world = World::build(table(&mut mixture, rows), &options);
            for n in 0..40 {
                world.insert(1000 + n, mixture.draw());
            }
            world.delete(|n| n % 5 == 0);
            world.insert(2001, mixture.draw());
            world.check();
            let query = mixture.draw();
            let found = world.search(&query, EXACT, usize::MAX);
            let what = format!("{dims} dimensions, {bits} bits");
            assert_same(&found, &world.truth(&query, usize::MAX, None), &what);
        }
    }
}

#[test]
fn tables_smaller_than_their_lists_work() {
    for rows in [0, 1, 2, 31, 32, 33, 65] {
        let mut mixture = Mixture::new(8, 2, 0.5, 9);
        let options = Options { lists: 50, ..options(8, Metric::L2) };
        let world = World::build(table(&mut mixture, rows), &options);
        world.check();
        let query = mixture.draw();
        assert_eq!(world.search(&query, EXACT, 100), world.truth(&query, 100, None));
        let settings = Settings { limit: Some(100), ..DEFAULT };
        assert_eq!(world.search(&query, settings, 100).len(), rows.min(100) as usize);
    }
}

#[test]
fn an_empty_index_takes_rows() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
        let store = MemoryStore::new();
        build::build_empty(&store, &options(24, metric)).unwrap();
        let world = World { table: Default::default(), store, metric };
        assert_eq!(world.search(&[1.0; 24], DEFAULT, 10), []);
        let mut mixture = Mixture::new(24, 20, 0.5, 10);
        (0..1500).for_each(|n| world.insert(n, mixture.draw()));
        world.check();
        let query = mixture.draw();
        let what = format!("{metric:?}");
        assert_same(&world.search(&query, DEFAULT, 10), &world.truth(&query, 10, None), &what);
    }
}

#[test]
fn rows_without_direction_are_not_indexed_under_cosine() {
    let mut mixture = Mixture::new(8, 2, 0.5, 11);
    let mut rows = table(&mut mixture, 50);
    rows.insert(50, vec![0.0; 8]);
    let world = World::build(rows, &options(8, Metric::Cosine));
    world.insert(51, vec![0.0; 8]);
    assert_eq!(world.check().live, 50);
    assert_eq!(world.search(&mixture.draw(), EXACT, 100).len(), 50);
}

#[test]
fn null_and_zero_queries_give_every_row_once() {
    let mut mixture = Mixture::new(8, 2, 0.5, 12);
    let options = Options { lists: 5, ..options(8, Metric::Cosine) };
    let world = World::build(table(&mut mixture, 500), &options);
    for query in [None, Some([0.0; 8].as_slice())] {
        let mut search = Search::new(world.directory(), DEFAULT);
        for _ in 0..2 {
            search.start(DEFAULT, query);
            let mut heap = world.heap(&[0.0; 8]);
            let mut tids: Vec<_> =
                std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).map(|r| r.0).collect();
            tids.sort_unstable();
            assert_eq!(tids, (0..500).map(tid).collect::<Vec<_>>());
        }
    }
}

#[test]
fn huge_and_tiny_values_keep_their_order() {
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        for magnitude in [1e-38f32, 1e-20, 1e-3, 300.0, 1e10, 1e19, 3e38] {
            let mut mixture = Mixture::new(12, 4, 0.3, 13);
            let mut rows = table(&mut mixture, 200);
            for (n, row) in &mut rows {
                let factor = if n % 4 == 0 { 1.0 } else { magnitude };
                row.iter_mut().for_each(|x| *x = (*x / 8.0).clamp(-1.0, 1.0) * factor);
            }
            let world = World::build(rows, &Options { lists: 4, ..options(12, metric) });
            world.insert(500, vec![magnitude; 12]);
            world.check();
            for query in [vec![magnitude; 12], vec![0.5; 12], vec![-magnitude; 12]] {
                let found = world.search(&query, EXACT, usize::MAX);
                let truth = world.truth(&query, usize::MAX, None);
                let values = |rows: &[(vector_search::page::Tid, f64)]| {
                    rows.iter().map(|r| TotalF64(r.1)).collect::<Vec<_>>()
                };
                let (found, truth) = (values(&found), values(&truth));
                let at = found.iter().zip(&truth).position(|(a, b)| a != b);
                assert_eq!((at, found.len()), (None, truth.len()), "{metric:?} {magnitude}");
            }
        }
    }
}

#[test]
fn a_small_memory_spills_and_builds_the_same() {
    let mut mixture = Mixture::new(96, 20, 0.5, 14);
    let rows = table(&mut mixture, 6000);
    let options = Options { lists: 20, memory: 1 << 20, ..options(96, Metric::L2) };
    let world = World::build(rows, &options);
    world.check();
    let query = mixture.draw();
    assert_same(&world.search(&query, EXACT, 200), &world.truth(&query, 200, None), "spilled");
}

#[test]
fn rescans_use_the_same_memory_and_give_the_same() {
    let mut mixture = Mixture::new(32, 10, 0.5, 15);
    let options = Options { lists: 10, ..options(32, Metric::L2) };
    let world = World::build(table(&mut mixture, 2000), &options);
    let queries: Vec<_> = (0..20).map(|_| mixture.draw()).collect();
    let mut search = Search::new(world.directory(), DEFAULT);
    for query in queries.iter().chain(queries.iter().rev()) {
        search.start(DEFAULT, Some(query));
        let mut heap = world.heap(query);
        let rows: Vec<_> =
            std::iter::from_fn(|| search.next(&world.store, &mut heap).unwrap()).take(10).collect();
        assert_eq!(rows, world.search(query, DEFAULT, 10));
    }
}

#[test]
fn few_rows_are_fetched_from_the_heap() {
    let mut mixture = Mixture::new(256, 100, 0.8, 16);
    let world = World::build(table(&mut mixture, 5000), &options(256, Metric::Cosine));
    let mut fetched = 0;
    for _ in 0..20 {
        let query = mixture.draw();
        let mut search = Search::new(world.directory(), DEFAULT);
        search.start(DEFAULT, Some(&query));
        let mut heap = world.heap(&query);
        for _ in 0..10 {
            search.next(&world.store, &mut heap).unwrap().unwrap();
        }
        fetched += heap.fetched;
    }
    assert!(fetched < 20 * 30, "{fetched} rows fetched for 200");
}

#[test]
fn the_index_tells_about_itself() {
    let mut mixture = Mixture::new(768, 10, 0.5, 17);
    let options = Options { lists: 8, ..options(768, Metric::Cosine) };
    let world = World::build(table(&mut mixture, 2000), &options);
    world.delete(|n| n % 10 == 0);
    let info = info::info(&world.store, 0, &|| Ok(())).unwrap();
    assert_eq!((info.live_rows, info.dead_rows, info.lists, info.bits), (1800, 200, 8, 4));
    assert!(info.size_bytes < 2000 * 600, "{} bytes", info.size_bytes);
    assert!(info.calibration.len() > 5);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let mut mixture = Mixture::new(64, 5, 0.5, 18);
    let options = Options { lists: 4, ..options(64, Metric::L2) };
    let world = World::build(table(&mut mixture, 700), &options);
    let query = mixture.draw();
    let mut random = Random(19);
    let blocks = {
        use vector_search::page::Store;
        world.store.nblocks().unwrap()
    };
    let mut noticed = 0;
    for round in 0..400 {
        let store = world.store.snapshot();
        let blkno = random.below(blocks as usize) as u32;
        let (at, byte) = (random.below(8192), random.next() as u8);
        store.damage(blkno, |page| match round % 4 {
            0 => page.bytes_mut()[at] = byte,
            1 => page.bytes_mut()[8176 + at % 16] = byte,
            2 => page.bytes_mut().fill(0),
            _ => page.bytes_mut()[24 + at % 400] = byte,
        });
        let checked = check::check(&store, &mut |_| Ok(()), &|| Ok(()));
        if let Err(error) = checked {
            assert!(matches!(error.kind, Kind::Corrupted | Kind::NotSupported), "{error}");
            noticed += 1;
        }
        if let Ok(directory) = Directory::load(&store) {
            let mut search = Search::new(directory.into(), EXACT);
            search.start(EXACT, Some(&query));
            let mut heap = world.heap(&query);
            for _ in 0..50 {
                match search.next(&store, &mut heap) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(error.kind, Kind::Corrupted, "{error}");
                        break;
                    }
                }
            }
        }
    }
    assert!(noticed > 100, "the verifier noticed {noticed} of 400");
}

#[test]
fn settings_out_of_reach_are_harmless() {
    let mut mixture = Mixture::new(8, 4, 0.5, 20);
    let world = World::build(table(&mut mixture, 300), &Options { lists: 4, ..options(8, Metric::L2) });
    let query = mixture.draw();
    for probes in [1, 4, u32::MAX] {
        for limit in [None, Some(0), Some(1), Some(u64::MAX)] {
            let rows = world.search(&query, Settings { probes: Probes::Lists(probes), limit, ..DEFAULT }, 5);
            assert_eq!(rows.len(), 5);
        }
    }
}
