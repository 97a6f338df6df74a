//! Sparse vectors in extended records (`quant/elements.rs`), as an index has them.

use super::directory::Directory;
use super::sketch::Sketched;
use crate::error::{Error, Kind, Result};
use crate::kernel;
use crate::memory;
use crate::quant::QueryCode;
use crate::quant::elements::{Operator, QueryElements, Values, read_record, write_record};
use crate::value::Metric;
use crate::value::sparse::Sparse;

fn operator(metric: Metric) -> Operator {
    match metric {
        Metric::Cosine => Operator::Cosine,
        Metric::InnerProduct => Operator::Product,
        Metric::L1 => Operator::Taxicab,
        Metric::L2 | Metric::Hamming | Metric::Jaccard => Operator::Euclidean,
    }
}

/// Writes the extended record of a value, in an index whose records have elements; in others does nothing.
///
/// # Errors
/// Out of memory.
pub(super) fn write_elements(directory: &Directory, value: Sketched<'_>, out: &mut [u8]) -> Result<()> {
    if !directory.codec.has_elements() {
        return Ok(());
    }
    let Some(vector) = value.sparse else {
        return Err(Error::new(Kind::Internal, "a row without its elements"));
    };
    write_record(operator(directory.metric()), directory.sketch().elements(vector), out)
}

/// Reads from an extended record the row's sketch, of length one by cosine. Returns false if it is unknown.
pub(super) fn read_sketch(directory: &Directory, record: &[u8], sketch: &mut [f32]) -> bool {
    sketch.fill(0.0);
    let mut squared = 0.0;
    let mut known = read_record(record, |key, x| {
        let (at, is_negative) = directory.sketch().place(key);
        sketch[at] += if is_negative { -x } else { x };
        squared += x * x;
    });
    let found = kernel::norm_squared(sketch);
    let length = if directory.metric() == Metric::Cosine { 1.0 } else { f64::from(squared).sqrt() };
    if found > 0.0 {
        sketch.iter_mut().for_each(|x| *x = (f64::from(*x) * length / found.sqrt()) as f32);
    } else {
        known &= directory.metric() != Metric::Cosine;
    }
    known
}

impl Directory {
    fn of_elements<'a>(&self, code: &'a mut QueryCode) -> Result<&'a mut QueryElements> {
        if code.elements.is_none() {
            let values = Values {
                operator: operator(self.metric()),
                scale: self.meta.scale.into(),
                mean: self.meta.deviation.known(self.dims()).mean.into(),
                collide: self.sketch().keys_collide(),
            };
            code.elements = Some(Box::new(QueryElements::new(values)?));
        }
        code.elements.as_deref_mut().ok_or_else(|| Error::new(Kind::Internal, "no elements of a query"))
    }

    /// Takes the elements of a query, in an index whose records have such.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn set_elements(&self, code: &mut QueryCode, vector: Sparse<'_>) -> Result<()> {
        let elements = self.sketch().elements(vector);
        self.of_elements(code)?.set(elements)
    }

    /// Takes the elements of a row as a query, from its extended record.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn set_record(&self, code: &mut QueryCode, record: &[u8]) -> Result<()> {
        let mut elements = memory::with_capacity(record.len())?;
        read_record(record, |key, x| elements.push((key, x)));
        self.of_elements(code)?.set(elements.into_iter())
    }

    /// Takes a query of which only the coordinates are known: those of a sketch.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn set_sketch(&self, code: &mut QueryCode, point: &[f32]) -> Result<()> {
        if !self.codec.has_elements() {
            return Ok(());
        }
        let mut sketch = memory::with_capacity(self.padded())?;
        self.transform_back(point, &mut sketch)?;
        let length = kernel::norm_squared(&sketch).sqrt() as f32;
        self.of_elements(code)?.set_sketch(length, |key| {
            let (at, is_negative) = self.sketch().place(key);
            if is_negative { -sketch[at] } else { sketch[at] }
        });
        Ok(())
    }
}
