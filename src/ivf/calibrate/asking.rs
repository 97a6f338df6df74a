//! The queries of a calibration.

use std::cmp::Ordering;

use super::batch::LEAST_QUERIES;
use crate::error::Result;
use crate::ivf::code::to_point;
use crate::ivf::directory::Directory;
use crate::ivf::elements::write_elements;
use crate::ivf::sketch::Sketched;
use crate::memory::{self, Grow};

/// Queries in the coordinates of an index.
#[derive(Default)]
pub struct Asking {
    /// `padded` coordinates each, one after the other.
    pub points: Vec<f32>,
    /// Their elements, as extended records have them, or nothing.
    pub records: Vec<u8>,
}

impl Asking {
    /// Adds a query, unless an index does not have such values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn push(&mut self, directory: &Directory, value: Sketched<'_>, unit: &mut Vec<f32>) -> Result<()> {
        let (before, record) = (self.points.len(), self.records.len());
        self.points.try_resize(before + directory.padded(), 0.0)?;
        unit.try_resize(directory.dims(), 0.0)?;
        let point = &mut self.points[before..];
        if !to_point(directory, value.coordinates, unit, point) || point.iter().any(|x| !x.is_finite()) {
            self.points.truncate(before);
            return Ok(());
        }
        if directory.codec.has_elements() && value.sparse.is_some() {
            self.records.try_resize(record + directory.codec.extended_size(), 0)?;
            write_elements(directory, value, &mut self.records[record..])?;
        }
        Ok(())
    }

    /// The record of a query, if records are known.
    pub(super) fn record(&self, directory: &Directory, query: usize) -> Option<&[u8]> {
        let size = directory.codec.extended_size();
        self.records.get(query * size..)?.get(..size).filter(|record| !record.is_empty())
    }

    /// Without rows that are equal to earlier ones; these are kept only as far as there would be fewer than
    /// [`LEAST_QUERIES`] without them.
    ///
    /// If many rows are equal, they find each other in one list. The average over all rows would then allow
    /// that the other rows, and the users' queries, find next to nothing.
    pub(super) fn distinct(&self, padded: usize) -> Result<Option<Self>> {
        let count = self.points.len() / padded;
        let point = |i: &usize| &self.points[i * padded..][..padded];
        let mut order = memory::collected(0..count)?;
        let compare = |a: &usize, b: &usize| {
            let mut compared = point(a).iter().zip(point(b)).map(|(x, y)| x.total_cmp(y));
            compared.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        order.sort_unstable_by(|a, b| compare(a, b).then(a.cmp(b)));
        let mut again = memory::filled(false, count)?;
        for pair in order.windows(2) {
            again[pair[1]] = compare(&pair[0], &pair[1]).is_eq();
        }
        let repeated = again.iter().filter(|again| **again).count();
        if repeated == 0 {
            return Ok(None);
        }
        let of_record = self.records.len() / count;
        let mut missing = LEAST_QUERIES.saturating_sub(count - repeated);
        let mut kept = Self::default();
        for (i, again) in again.iter().enumerate() {
            if *again && missing == 0 {
                continue;
            }
            missing -= usize::from(*again);
            kept.points.try_extend(point(&i))?;
            kept.records.try_extend(&self.records[i * of_record..][..of_record])?;
        }
        Ok(Some(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_ask_once() {
        let rows = |of: &mut dyn Iterator<Item = u16>| -> Asking {
            let numbers: Vec<u16> = of.collect();
            Asking {
                points: numbers.iter().flat_map(|i| [f32::from(*i), -1.0]).collect(),
                records: numbers.iter().flat_map(|i| i.to_le_bytes()).collect(),
            }
        };
        assert!(rows(&mut (0..60)).distinct(2).unwrap().is_none());
        let half = rows(&mut (0..120).map(|i| if i % 2 == 0 { 500 } else { i })).distinct(2).unwrap();
        let once = rows(&mut [500, 1].into_iter().chain((3..120).step_by(2)));
        let half = half.unwrap();
        assert_eq!((half.points, half.records), (once.points, once.records));
        // So few that some are asked again
        let few = rows(&mut (0..500).map(|i| i % 20)).distinct(2).unwrap().unwrap();
        assert_eq!((few.points.len() / 2, few.records.len() / 2), (LEAST_QUERIES, LEAST_QUERIES));
        let fewer = rows(&mut (0..30).map(|_| 1)).distinct(2).unwrap().unwrap();
        assert_eq!(fewer.points.len() / 2, 30);
    }
}
