//! The new lists come to be: without rows, in addition to those in use.

use super::space::{Space, change_root};
use crate::error::{Error, Kind, REINDEX, Result};
use crate::ivf::build::model::Model;
use crate::ivf::build::write::{Pages, new_codes, summaries_page};
use crate::ivf::directory::{Directory, Entry, entry_size, read_root};
use crate::memory;
use crate::page::lists::{self, LISTS_PER_PAGE, ListState};
use crate::page::{Meta, NO_BLOCK, Page, PageKind, Store, summary, tape};

/// Writes the lists of a model, one page each, and makes them those that take new rows.
///
/// # Errors
/// Out of memory, or the store's errors.
pub fn publish<S: Store>(store: &S, model: &Model, space: &mut Space<'_, S>) -> Result<()> {
    let root = read_root(store)?;
    let directory = &model.directory;
    let lists = directory.lists();
    let first_list = root.current.first_list.checked_add(root.current.lists);
    let first_list = first_list.filter(|first| first.checked_add(lists).is_some());
    let mut meta = Meta {
        may_be_plain: true,
        first_list: first_list.ok_or_else(used_up)?,
        generation: root.next_generation(),
        ready: true,
        // Without radii their weight says nothing.
        radius_weight: 0.0,
        ..directory.meta.clone()
    };
    calibrate_like(&root.current, &mut meta);
    let owner = meta.first_list;
    if let Some(bytes) = directory.origin_bytes() {
        meta.origin_first = write_tape(store, space, (PageKind::Origin, owner), &bytes)?;
    }
    // Fixed pages come before lists: a move leaves them there if it finds no run of free pages for them.
    meta.lists_first = space.take(lists.div_ceil(LISTS_PER_PAGE))?;
    debug_assert!(meta.lists_first != NO_BLOCK, "an index has lists");
    let columns = meta.columns.widths().len();
    if columns > 0 {
        let count = summary::pages(lists, columns);
        meta.summaries_first = space.take(count)?;
        let mut pages = Pages::reserved(store, meta.summaries_first);
        (0..count).try_for_each(|_| pages.push(summaries_page(owner)).map(drop))?;
        pages.flush()?;
    }
    let mut entries = memory::collected(model.entries.iter().cloned())?;
    let origin = (directory.origin.clone(), directory.codec.shared_projection());
    let with_owner = Directory::new(meta.clone(), origin, entries.iter().cloned())?;
    let states = write_tails(store, space, &with_owner, &mut entries)?;
    meta.directory_first = write_directory(store, space, owner, &entries)?;
    write_states(store, meta.lists_first, owner, &states)?;
    change_root(store, |root| {
        root.current.generation = meta.generation;
        root.next = Some(meta);
    })
}

/// Gives new lists the calibration of those in use, for their number, until they have been measured.
fn calibrate_like(current: &Meta, meta: &mut Meta) {
    let (more, all) = (meta.lists as f32 / current.lists as f32, meta.lists as f32);
    let mut tables = current.tables();
    tables.as_flattened_mut().iter_mut().for_each(|lists| *lists = (*lists * more).min(all));
    meta.set_measured(tables);
}

/// Writes the page of each list that takes new rows.
fn write_tails<S: Store>(
    store: &S,
    space: &mut Space<'_, S>,
    directory: &Directory,
    entries: &mut [Entry],
) -> Result<Vec<ListState>> {
    let step = 1 + directory.codes.more() as u32;
    let mut states = memory::with_capacity(entries.len())?;
    for (list, entry) in entries.iter_mut().enumerate() {
        let head = space.take(step)?;
        let mut pages = Pages::reserved(store, head);
        new_codes(directory, list, head).into_iter().try_for_each(|page| pages.push(page).map(drop))?;
        pages.flush()?;
        (entry.head, entry.contiguous) = (head, step);
        states.push(ListState {
            head,
            insert: head,
            contiguous: step,
            calibrated: 1,
            ..ListState::default()
        });
    }
    Ok(states)
}

/// Writes a directory, and says where.
///
/// # Errors
/// Out of memory, or the store's errors.
pub fn write_directory<S: Store>(
    store: &S,
    space: &mut Space<'_, S>,
    owner: u32,
    entries: &[Entry],
) -> Result<u32> {
    let padded = entries.first().map_or(0, |entry| entry.codes.len());
    let first = space.take(tape::pages(entry_size(padded) * entries.len()))?;
    write_directory_at(store, first, owner, entries)?;
    Ok(first)
}

/// Writes a directory to reserved pages from `first` on.
///
/// # Errors
/// Out of memory, or the store's errors.
pub fn write_directory_at<S: Store>(store: &S, first: u32, owner: u32, entries: &[Entry]) -> Result<()> {
    let padded = entries.first().map_or(0, |entry| entry.codes.len());
    let mut bytes = memory::with_capacity(entry_size(padded) * entries.len())?;
    entries.iter().for_each(|entry| entry.write(&mut bytes));
    write_tape_at(store, first, (PageKind::Directory, owner), &bytes)
}

fn write_tape<S: Store>(
    store: &S,
    space: &mut Space<'_, S>,
    kind: (PageKind, u32),
    bytes: &[u8],
) -> Result<u32> {
    let first = space.take(tape::pages(bytes.len()))?;
    write_tape_at(store, first, kind, bytes)?;
    Ok(first)
}

fn write_tape_at<S: Store>(store: &S, first: u32, kind: (PageKind, u32), bytes: &[u8]) -> Result<()> {
    let mut pages = Pages::reserved(store, first);
    tape::write(kind, bytes, |page| pages.push(page).map(drop))?;
    pages.flush()
}

fn write_states<S: Store>(store: &S, first: u32, owner: u32, states: &[ListState]) -> Result<()> {
    let mut pages = Pages::reserved(store, first);
    for states in states.chunks(LISTS_PER_PAGE as usize) {
        let mut page = Page::zeroed();
        page.init(PageKind::Lists, owner);
        states.iter().enumerate().for_each(|(i, state)| lists::write(&mut page, i, state));
        pages.push(page)?;
    }
    pages.flush()
}

fn used_up() -> Error {
    Error::new(Kind::LimitExceeded, "ivf index has used up the numbers of its lists").with_hint(REINDEX)
}
