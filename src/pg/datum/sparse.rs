//! Datums of `sparsevec`, as pgvector lays them out.

use super::value::{Layout, Value};
use crate::value::sparse::{self, Sparse, SparseBuf};

/// `vl_len_ int32 | dim int32 | nnz int32 | unused int32 = 0 | nnz × int32 index from 0 | nnz × float4`
pub struct SparseLayout;

#[repr(C)]
pub(super) struct SparseHeader {
    length: i32,
    dims: i32,
    count: i32,
    unused: i32,
}

/// A `sparsevec` value.
pub type SparseVector = Value<SparseLayout>;

// SAFETY: `fits` compares the size with the number of elements, and all bytes are valid numbers.
unsafe impl Layout for SparseLayout {
    const TYPE: &'static str = sparse::TYPE;

    unsafe fn fits(value: *const u8, size: usize) -> bool {
        // SAFETY: the size is looked at first.
        size >= size_of::<SparseHeader>()
            && unsafe {
                let SparseHeader { dims, count, .. } = *value.cast();
                let fits = usize::try_from(count).map(|n| size == size_of::<SparseHeader>() + 8 * n);
                dims >= 1 && fits == Ok(true)
            }
    }
}

impl SparseVector {
    /// A new value in the current memory context.
    pub fn new(vector: &SparseBuf) -> Self {
        assert_eq!(vector.indices.len(), vector.values.len(), "an index for each value");
        Self::filled(vector.dims, vector.values.len(), |indices, values| {
            indices.copy_from_slice(&vector.indices);
            values.copy_from_slice(&vector.values);
        })
    }

    /// A new value in the current memory context. Its indices and values are zero until `fill` writes them.
    pub fn filled(dims: usize, count: usize, fill: impl FnOnce(&mut [i32], &mut [f32])) -> Self {
        // SAFETY: indices and values follow the header and fill the memory, which is nobody else's yet.
        unsafe {
            let value = Self::zeroed(size_of::<SparseHeader>() + 8 * count);
            let header = value.start.cast::<SparseHeader>();
            (*header).dims = dims as i32;
            (*header).count = count as i32;
            let indices = header.add(1).cast::<i32>();
            let values = indices.add(count).cast::<f32>();
            fill(
                std::slice::from_raw_parts_mut(indices, count),
                std::slice::from_raw_parts_mut(values, count),
            );
            value
        }
    }

    /// The vector in place.
    pub fn view(&self) -> Sparse<'_> {
        // SAFETY: checked or written at construction: the header is followed by as many indices, then values.
        unsafe {
            let header = self.start.cast::<SparseHeader>();
            let count = (*header).count as usize;
            let indices = header.add(1).cast::<i32>();
            Sparse {
                dims: (*header).dims as usize,
                indices: std::slice::from_raw_parts(indices, count),
                values: std::slice::from_raw_parts(indices.add(count).cast(), count),
            }
        }
    }
}

pgrx::impl_sql_translatable!(SparseVector, "sparsevec");
