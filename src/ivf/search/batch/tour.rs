//! An order of lists in which neighbours come together, so that queries of a batch read the same lists.

use crate::error::Result;
use crate::ivf::directory::Directory;
use crate::ivf::progress::Progress;
use crate::memory;

/// All lists, each followed by the nearest that has not come yet. That compares all centroids with each
/// other, which takes about as long as to route one query for each list.
///
/// # Errors
/// Out of memory, and those of `progress`.
pub fn tour(directory: &Directory, progress: &dyn Progress) -> Result<Vec<u32>> {
    let mut rest = memory::collected(0..directory.lists())?;
    let mut order = memory::with_capacity(rest.len())?;
    let mut dots = memory::filled(0, rest.len())?;
    let mut distances = memory::filled(0.0, rest.len())?;
    let mut at = 0;
    while at < rest.len() {
        progress.tick()?;
        let list = rest.swap_remove(at);
        order.push(list);
        let (codes, scale) = directory.centroid(list);
        directory.dots(codes, 0..distances.len(), &mut dots);
        for (distance, (dot, norm, ..)) in distances.iter_mut().zip(directory.products(&dots)) {
            *distance = norm - 2.0 * scale * dot;
        }
        let distance = |at: &usize| distances[rest[*at] as usize];
        at = (0..rest.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
    }
    Ok(order)
}
