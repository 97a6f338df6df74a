//! Replaces all lists of an index, while it is in use, by lists made for the rows that it has now.
//!
//! An index that has grown, shrunk or drifted since its build is slow: its lists are too long, or unlike its
//! rows. It gets new lists in five steps. After each step the index is right:
//!
//! 1. **Train** on rows of the table, as a build does.
//! 2. **Publish** the new lists, empty but for one page each. Those in use remain. From this change on,
//!    inserted rows go to the new lists, and scans read both. The lists in use get no more rows.
//! 3. **Copy** their rows: read from the table, coded again, written to pages that nothing refers to. The
//!    last codes page of each list leads to the page that takes new rows.
//! 4. **Flip**: one change makes the new lists those in use. Their directory names the copied pages first.
//! 5. **Free** the pages of the old lists, once nobody can read them any more.
//!
//! If a crash or an error interrupts it between 2 and 4, the next maintenance goes on with 3. `ivf/README.md`
//! says why inserts, scans and vacuums may run at the same time.

mod again;
mod compact;
mod copy;
mod due;
mod frozen;
mod leave;
mod measure;
mod publish;
mod space;

use rayon::ThreadPool;

pub use self::again::{is_due_again, is_loose_at_rest};
pub use self::compact::{Compacted, compact};
pub use self::due::{Reason, is_due, is_mostly_free, rows};
use self::space::{Space, retire};
pub use self::space::{Transactions, change_root, end_in_use, none_reads, sweep};
use super::build::{Options, Routing, Source, Spool, model};
use super::directory::{Directory, read_root};
use super::progress::{Phase, Progress};
use crate::error::{Error, Kind, Result};
use crate::page::root::LEAVING;
use crate::page::{Meta, Root, Store};

/// One free page is lent to inserts for so many lists, while rows are copied.
const LISTS_OF_LENT: u32 = 4;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Rows that were copied.
    pub rows: u64,
    /// Lists now.
    pub lists: u32,
}

/// Replaces the lists of an index, or goes on where that was interrupted. One caller at a time, and no vacuum
/// beside it; `source` gives every row of the table that any snapshot may see, most likely more than the
/// index has.
///
/// # Errors
/// Damage, out of memory, and the errors of the source, the store, the spool and [`Progress::tick`]. The
/// index is right whatever happens.
pub fn renew<S: Store>(
    store: &S,
    options: &Options,
    source: &mut dyn Source,
    spool: &mut dyn Spool,
    (pool, transactions): (&ThreadPool, &dyn Transactions),
    progress: &dyn Progress,
) -> Result<Renewed> {
    let mut space = Space::find(store, transactions, LISTS_OF_LENT, progress)?;
    let (routing, queries) = match read_root(store)?.next {
        Some(_) => (Routing::Directory, None),
        None => {
            let model = model::train(options, source, pool, progress)?;
            publish::publish(store, &model, &mut space)?;
            (Routing::by_means(&model)?, Some(model.queries))
        }
    };
    let (current, next) = Directory::load_all(store)?;
    let Some(next) = next else {
        return Err(Error::new(Kind::Internal, "the lists that were published are not there"));
    };
    let queries = match queries {
        Some(queries) => queries,
        None => measure::rows(&next, source)?,
    };
    let asked = measure::Asked::of(store, &current, source, progress)?;
    progress.phase(Phase::Assigning);
    let coded =
        copy::code(store, &current, (next, routing), options, (source, &mut *spool), (pool, progress))?;
    progress.phase(Phase::Writing);
    let meta = copy::write(store, coded, spool, &mut space, (asked.is_some(), progress))?;
    progress.phase(Phase::Calibrating);
    let mut meta = measure::calibrate(store, meta, &queries, progress)?;
    if let Some(asked) = &asked {
        asked.apply(&mut meta);
    }
    let renewed = Renewed { rows: meta.built_rows, lists: meta.lists };
    flip(store, meta, space.count(), transactions)?;
    copy::begin_with_first_pages(store, progress)?;
    retire(store, transactions)?;
    space.give_back()?;
    Ok(renewed)
}

/// Makes the new lists those in use. So many pages are left `free`.
fn flip<S: Store>(store: &S, mut current: Meta, free: u32, transactions: &dyn Transactions) -> Result<()> {
    current.ready = true;
    // The new lists have no rows that are dead to everybody here.
    transactions.forget_ended();
    change_root(store, |root| {
        current.generation = root.next_generation();
        let replaced = transactions.now();
        *root = Root { current, next: None, retired: LEAVING, free, replaced, unmoved: 0 };
    })
}
