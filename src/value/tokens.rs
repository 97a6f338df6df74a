//! Arrays of vectors of the same dimensions, such as one vector for each token of a text.

use super::element::Element;
use super::limits::check_same;
use crate::error::Result;
use crate::memory::Grow;

/// Dimensions that the vectors of an indexed set may have.
pub const MAX_INDEXED_DIMS: usize = 2000;

/// An array of vectors, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tokens<'a> {
    dims: usize,
    numbers: &'a [f32],
}

impl<'a> Tokens<'a> {
    /// Dimensions of each vector; zero if there is none.
    pub fn dims(self) -> usize {
        self.dims
    }

    /// The vectors.
    pub fn vectors(self) -> std::slice::ChunksExact<'a, f32> {
        self.numbers.chunks_exact(self.dims.max(1))
    }

    /// The first vectors, at least one if there is one.
    #[must_use]
    pub fn first(self, vectors: usize) -> Self {
        let numbers = vectors.max(1).saturating_mul(self.dims).min(self.numbers.len());
        Self { numbers: &self.numbers[..numbers], ..self }
    }

    /// The set with memory of its own.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_buf(self) -> Result<TokensBuf> {
        let mut buf = TokensBuf { dims: self.dims, ..TokensBuf::default() };
        buf.numbers.try_extend(self.numbers)?;
        Ok(buf)
    }
}

/// An array of vectors with memory of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokensBuf {
    dims: usize,
    numbers: Vec<f32>,
}

impl TokensBuf {
    /// Adds a vector.
    ///
    /// # Errors
    /// Other dimensions than the first one's; out of memory.
    pub fn push<T: Element>(&mut self, vector: &[T]) -> Result<()> {
        if self.numbers.is_empty() {
            self.dims = vector.len();
        }
        check_same("vector", self.dims, vector.len())?;
        let before = self.numbers.len();
        self.numbers.try_resize(before + vector.len(), 0.0)?;
        T::widen_to(vector, &mut self.numbers[before..]);
        Ok(())
    }

    /// Removes all vectors.
    pub fn clear(&mut self) {
        self.numbers.clear();
        self.dims = 0;
    }

    /// The set without its memory.
    pub fn view(&self) -> Tokens<'_> {
        Tokens { dims: self.dims, numbers: &self.numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn vectors_have_the_same_dimensions() {
        let mut buf = TokensBuf::default();
        assert_eq!((buf.view().dims(), buf.view().vectors().len()), (0, 0));
        buf.push(&[f16::from_f32(0.5), f16::ONE]).unwrap();
        buf.push(&[3.0f32, 4.0]).unwrap();
        assert_eq!(buf.view().vectors().collect::<Vec<_>>(), [[0.5, 1.0], [3.0, 4.0]]);
        assert_eq!(buf.view().first(0).vectors().collect::<Vec<_>>(), [[0.5, 1.0]]);
        assert_eq!(buf.view().first(9), buf.view());
        assert_eq!(TokensBuf::default().view().first(3), TokensBuf::default().view());
        let error = buf.push(&[1.0f32]).unwrap_err();
        assert_eq!(error.message, "different vector dimensions 2 and 1");
        assert_eq!(buf.view().to_buf().unwrap(), buf);
    }
}
