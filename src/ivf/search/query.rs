//! The query of a scan, in the forms in which its parts take it.

use super::effort;
use super::route::Router;
use crate::error::Result;
use crate::ivf::code::to_point;
use crate::ivf::directory::Directory;
use crate::kernel;
use crate::quant::QueryCode;
use crate::value::Metric;

/// A query by codes; the memory is used again for the next one.
pub(super) struct CodedQuery {
    /// Its code, and the tables by which rows are compared with it.
    pub code: QueryCode,
    /// The query in the coordinates of the index.
    pub point: Vec<f32>,
    /// Memory for its direction.
    unit: Vec<f32>,
    /// Decides between two whole numbers of lists.
    pub dither: f64,
    /// Lists that it takes beside those that others do, once the lists are scored.
    further: Option<f64>,
}

impl CodedQuery {
    /// Memory for the queries of an index.
    pub fn new(directory: &Directory) -> Self {
        let mut code = QueryCode::new(&directory.codec, &vec![0.0; directory.padded()]);
        if directory.metric() == Metric::InnerProduct {
            code.distrust_beyond(directory.codec.longest());
        }
        Self {
            code,
            point: vec![0.0; directory.padded()],
            unit: vec![0.0; directory.dims()],
            dither: 0.0,
            further: None,
        }
    }

    /// Takes a query in the coordinates of the index. False if it has none: a zero vector under cosine.
    pub fn transform(&mut self, directory: &Directory, query: &[f32]) -> bool {
        to_point(directory, query, &mut self.unit, &mut self.point)
    }

    /// Makes the code and the tables of the query transformed.
    pub fn encode(&mut self, directory: &Directory) {
        self.code.set(&directory.codec, &self.point);
        self.dither = effort::dither(&self.point);
        self.further = None;
    }

    /// Has the router score the lists for the query, once.
    ///
    /// # Errors
    /// Out of memory.
    pub fn route(&mut self, directory: &Directory, router: &mut Router, target: f32) -> Result<()> {
        if self.further.is_none() {
            router.set(directory, &self.point)?;
            self.further = Some(effort::further(directory, target, router));
        }
        Ok(())
    }

    /// Lists that it takes beside those that others do.
    pub fn further(&self) -> f64 {
        self.further.unwrap_or(0.0)
    }

    /// Whether codes say nothing about the query: its square, or the product with a row as the operator sums
    /// it, may be infinite. Bounds do not hold for such values: they come first, or last, wherever the row
    /// is.
    pub fn may_overflow(&self, directory: &Directory, query: &[f32]) -> bool {
        if !kernel::inner_product(&self.point, &self.point).is_finite() {
            return true;
        }
        if directory.metric() != Metric::InnerProduct {
            return false;
        }
        let length = |squared: f64| squared.sqrt();
        let origin = length(f64::from(kernel::inner_product(&directory.origin, &directory.origin)));
        let centroids = (0..directory.lists()).map(|list| f64::from(directory.norm(list)));
        let row = origin + length(centroids.fold(0.0, f64::max)) + directory.codec.longest();
        let query = length(query.iter().map(|x| f64::from(*x) * f64::from(*x)).sum());
        let most = query * row / f64::from(directory.meta.scale);
        // Half of it for what the sums of floats err by.
        most.is_nan() || most >= 0.5 * f64::from(f32::MAX)
    }
}
