//! Barren lists: lists whose summaries show that no row passes the conditions on filter columns.

use super::filter::Filter;
use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::memory::{fallibly, out_of_memory};
use crate::page::summary::{self, SUMMARY_SIZE};
use crate::page::{PageKind, Store, Summary};

/// For each list, whether it is barren; empty if there is no filter or no summary. The summaries are read
/// once per scan, because the scan's snapshot does not see rows that are inserted later.
pub(super) fn lists<S: Store>(store: &S, directory: &Directory, filter: &Filter) -> Result<Vec<bool>> {
    let (lists, columns) = (directory.lists(), directory.meta.columns.widths().len());
    let mut barren = Vec::new();
    if filter.is_empty() || directory.summaries_position(0).is_none() {
        return Ok(barren);
    }
    fallibly(|| barren.try_reserve_exact(lists as usize)).map_err(|_| out_of_memory(lists as usize))?;
    store.prefetch_pages(directory.meta.summaries_first, summary::pages(lists, columns));
    while barren.len() < lists as usize
        && let Some((blkno, _)) = directory.summaries_position(barren.len() as u32)
    {
        let page = store.read(blkno)?;
        page.expect_owned(blkno, PageKind::Summaries, directory.meta.first_list)?;
        let left = lists as usize - barren.len();
        for of_list in page.content().chunks_exact(SUMMARY_SIZE * columns).take(left) {
            let summary = |column| Summary::read(&of_list[column * SUMMARY_SIZE..]);
            barren.push(!filter.may_pass(summary));
        }
    }
    store.end_prefetch();
    Ok(barren)
}
