//! The query of a scan, in the forms that the parts of the scan need.

use super::effort;
use super::onward::Onward;
use super::route::Router;
use super::settings::Settings;
use crate::error::Result;
use crate::ivf::code::to_point;
use crate::ivf::directory::Directory;
use crate::ivf::sketch::Sketched;
use crate::kernel;
use crate::quant::QueryCode;
use crate::quant::elements::QueryElements;
use crate::value::Metric;

/// A query that is answered by codes. Its memory is used again for the next query.
pub(super) struct CodedQuery {
    /// The query's code, and the tables for comparing rows with it.
    pub code: QueryCode,
    /// The query in the coordinates of the index.
    pub point: Vec<f32>,
    /// Memory for the query's direction.
    unit: Vec<f32>,
    /// The query's dither: rounds numbers of lists up or down.
    pub dither: f64,
    /// Additional lists of a far query; known after the lists are scored.
    further: Option<f64>,
    /// Whether the scan reads on for what its first lists have, until that is decided.
    pub onward: Option<Onward>,
    /// Whether `code` has the query's elements.
    has_elements: bool,
}

impl CodedQuery {
    /// Allocates the memory for queries of an index.
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
            onward: None,
            has_elements: false,
        }
    }

    /// Sets the query, in the coordinates of the index. Returns false if it has no such coordinates, which is
    /// so for a zero vector and cosine distance.
    pub fn transform(&mut self, directory: &Directory, query: &[f32]) -> bool {
        to_point(directory, query, &mut self.unit, &mut self.point)
    }

    /// Takes the elements of the query, if the records of the index have elements. Returns false if they are
    /// not known, or there is no memory for them.
    pub fn take_elements(&mut self, directory: &Directory, query: Sketched<'_>) -> bool {
        if !directory.codec.has_elements() {
            return true;
        }
        let taken = |vector| directory.set_elements(&mut self.code, vector).is_ok();
        self.has_elements = query.sparse.is_some_and(taken);
        self.has_elements
    }

    /// Begins a query whose elements are not known.
    pub fn forget_elements(&mut self) {
        self.has_elements = false;
    }

    /// The query as the rows' elements are compared with it, if its elements are known.
    pub fn elements(&self) -> Option<&QueryElements> {
        self.code.elements.as_deref().filter(|_| self.has_elements)
    }

    /// Makes the code and the tables of the transformed query.
    pub fn encode(&mut self, directory: &Directory) {
        self.code.set(&directory.codec, &self.point);
        self.code.set_length(directory.length(&self.point));
        self.dither = effort::dither(&self.point);
        self.further = None;
        self.onward = None;
    }

    /// Lets the router score the lists for the query, only the first time.
    ///
    /// # Errors
    /// Out of memory.
    pub fn route(
        &mut self,
        directory: &Directory,
        router: &mut Router,
        (settings, is_filtered): (&Settings, bool),
    ) -> Result<()> {
        if self.further.is_none() {
            router.set(directory, &self.point)?;
            self.take_scores(directory, router, (settings, is_filtered));
        }
        Ok(())
    }

    /// Notes what the scores of the lists say of the query.
    pub fn take_scores(
        &mut self,
        directory: &Directory,
        router: &Router,
        (settings, is_filtered): (&Settings, bool),
    ) {
        let further = effort::further(directory, settings.recall_target, router);
        self.further = Some(further);
        // With a filter every query would seem far, because the nearest rows may not pass.
        self.onward = if is_filtered { None } else { Onward::new(directory, settings, further, self.dither) };
    }

    /// Number of additional lists, if the query is far.
    pub fn further(&self) -> f64 {
        self.further.unwrap_or(0.0)
    }

    /// Ends reading on after so many lists: those beyond the usual ones are additional from now on.
    pub fn end_onward(&mut self, read: u32) {
        if let Some(onward) = self.onward.take() {
            self.further = Some(self.further() + onward.further(read));
        }
    }

    /// Whether codes cannot order rows for the query. This is so if its square, or the operator's sum for its
    /// product with a row, may be infinite. Bounds do not hold for such values: such a row is first or last,
    /// wherever it is.
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
        // Half of the range is left for rounding errors of the sums.
        most.is_nan() || most >= 0.5 * f64::from(f32::MAX)
    }
}
