//! The index is valid after every single change of a build, an insert and a vacuum.

use vector_search::ivf::build::Options;
use vector_search::ivf::code::RowCode;
use vector_search::ivf::directory::Directory;
use vector_search::ivf::{check, insert, vacuum};
use vector_search::page::memory::MemoryStore;
use vector_search::page::{Columns, Tid};
use vector_search::value::Metric;

use crate::world::*;

fn tids(store: &MemoryStore) -> Vec<Tid> {
    let mut tids = Vec::new();
    check::check(
        store,
        &mut |t| {
            tids.push(t);
            Ok(())
        },
        &|| Ok(()),
    )
    .unwrap();
    tids.sort_unstable();
    tids
}

#[test]
fn a_stopped_build_is_recognised() {
    let mut mixture = Mixture::new(16, 4, 0.5, 1);
    let rows = table(&mut mixture, 300);
    let columns = Columns::new(&[4, 8]).unwrap();
    let options = Options { lists: 3, columns, ..options(16, Metric::L2) };
    let whole = MemoryStore::new();
    build_into(&whole, &rows, &options).unwrap();
    for stop in 0..whole.changes() {
        let store = MemoryStore::new();
        store.stop_after(Some(stop));
        assert!(build_into(&store, &rows, &options).is_err());
        assert!(Directory::load(&store.snapshot()).is_err(), "an unfinished index is not read");
        assert!(check::check(&store.snapshot(), &mut |_| Ok(()), &|| Ok(())).is_err());
    }
    assert_eq!(tids(&whole.snapshot()).len(), 300);
}

/// Inserts rows one by one. Each insert is stopped after each of its changes, the index is checked, and the
/// insert is repeated.
fn inserts(dims: usize, rows: u64, widths: &[u8]) {
    let mut mixture = Mixture::new(dims, 3, 0.5, 2);
    let columns = Columns::new(widths).unwrap();
    let options = Options { lists: 2, columns, ..options(dims, Metric::L2) };
    let world = World::build(table(&mut mixture, 60), &options);
    let mut stopped = 0;
    for n in 100..100 + rows {
        let vector = mixture.draw();
        let before = tids(&world.store);
        let keys = &keys(n)[..widths.len()];
        for stop in 0.. {
            let store = world.store.snapshot();
            store.stop_after(Some(stop));
            let directory = Directory::load(&store).unwrap();
            let mut code = RowCode::new(&directory).unwrap();
            if insert::insert(&store, &directory, &mut code, tid(n), &vector, keys).is_ok() {
                break;
            }
            stopped += 1;
            let after = tids(&store.snapshot());
            let with: Vec<Tid> = before.iter().copied().chain([tid(n)]).collect();
            assert!(after == before || after == with, "stopped after {stop} changes");
            // The next insert works after a crash.
            store.stop_after(None);
            if after == before {
                let directory = Directory::load(&store).unwrap();
                let mut code = RowCode::new(&directory).unwrap();
                insert::insert(&store, &directory, &mut code, tid(n), &vector, keys).unwrap();
                assert_eq!(tids(&store), with);
            }
        }
        world.insert(n, vector);
    }
    assert!(stopped >= rows, "{stopped} states seen");
    world.check();
}

#[test]
fn a_stopped_insert_leaves_a_valid_index() {
    inserts(48, 250, &[]);
    inserts(2500, 40, &[]);
    inserts(48, 150, &[4, 8]);
}

#[test]
fn a_stopped_vacuum_leaves_a_valid_index() {
    let mut mixture = Mixture::new(48, 3, 0.5, 3);
    let world = World::build(table(&mut mixture, 700), &Options { lists: 3, ..options(48, Metric::L2) });
    let all = tids(&world.store);
    let dead = |t: Tid| t.offset.is_multiple_of(3);
    for stop in 0.. {
        let store = world.store.snapshot();
        store.stop_after(Some(stop));
        let done = vacuum::bulk_delete(&store, &mut |t| dead(t), &|| Ok(())).is_ok();
        let left = tids(&store.snapshot());
        assert!(
            all.iter().filter(|t| !dead(**t)).all(|t| left.binary_search(t).is_ok()),
            "no live row is lost"
        );
        if done {
            assert!(left.iter().all(|t| !dead(*t)));
            assert!(stop > 3);
            break;
        }
        // The next vacuum finishes the work.
        store.stop_after(None);
        vacuum::bulk_delete(&store, &mut |t| dead(t), &|| Ok(())).unwrap();
        assert!(tids(&store).iter().all(|t| !dead(*t)));
    }
}
