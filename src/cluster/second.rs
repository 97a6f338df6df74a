//! The second list of a row: where to look for it when its own list is not read.
//!
//! Sun, Simcha, Dopson, Guo, Kumar, "SOAR: improved indexing for approximate nearest neighbor search" (NeurIPS
//! 2023): a query misses a row's list where the row's residual points towards the query. A second list helps where
//! its residual is short and does not point the same way.

use crate::kernel;

/// The second list of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// The list.
    pub list: u32,
    /// What it leaves to be missed, by the square of the first residual: small where a copy helps; infinite where
    /// there is no second list.
    pub loss: f32,
}

impl Default for Second {
    fn default() -> Self {
        Self { list: 0, loss: f32::INFINITY }
    }
}

impl Second {
    /// Considers a list at `squared` distance from the row, whose residual there has the product `along` with the
    /// first one, which has `first` as its square.
    pub fn consider(&mut self, list: u32, squared: f32, along: f32, first: f32) {
        let loss = (squared + along * along / first) / first;
        if loss < self.loss {
            *self = Self { list, loss };
        }
    }
}

/// The second list of `row` among `lists`, for the residual from its first one. `centroids` are of the row's
/// dimensions, one after the other.
pub(super) fn second(
    row: &[f32],
    first: u32,
    lists: &[u32],
    centroids: &[f32],
    residual: &mut Vec<f32>,
) -> Second {
    let centroid = |list: u32| &centroids[list as usize * row.len()..][..row.len()];
    residual.clear();
    residual.extend(row.iter().zip(centroid(first)).map(|(x, c)| x - c));
    let squared = kernel::inner_product(residual, residual);
    let along_row = kernel::inner_product(row, residual);
    let mut found = Second::default();
    for &list in lists.iter().filter(|&&list| list != first) {
        let along = along_row - kernel::inner_product(centroid(list), residual);
        found.consider(list, kernel::l2_squared(row, centroid(list)), along, squared);
    }
    found
}
