//! Datums of `vector` and `halfvec`, as pgvector lays them out.

use std::marker::PhantomData;
use std::ops::Deref;

use half::f16;

use super::value::{Layout, Value};
use crate::error;
use crate::value::{Element, MAX_DIMS};

/// `vl_len_ int32 | dim int16 | unused int16 = 0 | dim elements`
pub struct Dense<E>(PhantomData<E>);

#[repr(C)]
pub(super) struct DenseHeader {
    length: i32,
    dims: i16,
    unused: i16,
}

/// A `vector` value.
pub type Vector = Value<Dense<f32>>;
/// A `halfvec` value.
pub type HalfVector = Value<Dense<f16>>;

// SAFETY: `fits` compares the size with the dimensions, and all bytes are valid elements.
unsafe impl<E: Element> Layout for Dense<E> {
    const TYPE: &'static str = E::TYPE;

    unsafe fn fits(value: *const u8, size: usize) -> bool {
        // SAFETY: the size is checked first.
        size >= size_of::<DenseHeader>()
            && unsafe {
                let dims = (*value.cast::<DenseHeader>()).dims;
                dims >= 1 && size == size_of::<DenseHeader>() + size_of::<E>() * dims as usize
            }
    }

    #[inline(always)]
    unsafe fn is_plain(value: *const u8) -> bool {
        // SAFETY: every stored form of a value of the type has at least the six bytes that are read. If a
        // damaged value has fewer, the bytes read are still in the same shared or allocated memory.
        let (header, dims) =
            unsafe { (value.cast::<u32>().read_unaligned(), value.add(4).cast::<i16>().read_unaligned()) };
        // The header of a plain value with these dimensions (varatt.h). A header of another form would be odd
        // or smaller.
        let size = size_of::<DenseHeader>() as i32 + size_of::<E>() as i32 * i32::from(dims);
        dims >= 1 && header == plain_header(size as u32)
    }
}

/// The 4-byte header of a plain value of `size` bytes.
#[inline(always)]
const fn plain_header(size: u32) -> u32 {
    if cfg!(target_endian = "big") { size } else { size << 2 }
}

impl<E: Element> Value<Dense<E>> {
    /// A new value, with its header written, in memory of its size from `allocate`.
    ///
    /// # Safety
    /// The elements are written by the caller, if not by `allocate`.
    unsafe fn with_dims(dims: usize, allocate: impl FnOnce(usize) -> Self) -> Self {
        assert!((1..=MAX_DIMS).contains(&dims), "checked by the caller");
        // SAFETY: the memory has room for the header; the caller writes the rest.
        unsafe {
            let value = allocate(size_of::<DenseHeader>() + size_of::<E>() * dims);
            let header = value.start.cast::<DenseHeader>();
            (*header).dims = dims as i16;
            (*header).unused = 0;
            value
        }
    }

    /// A new value in the current memory context.
    pub fn new(elements: &[E]) -> Self {
        Self::joined(elements, &[])
    }

    /// A new value in the current memory context, of the elements of both.
    pub fn joined(a: &[E], b: &[E]) -> Self {
        // SAFETY: the elements fill what follows the header.
        unsafe {
            let value = Self::with_dims(a.len() + b.len(), |size| Self::allocate(size));
            let first = value.start.add(size_of::<DenseHeader>()).cast::<E>();
            first.copy_from_nonoverlapping(a.as_ptr(), a.len());
            first.add(a.len()).copy_from_nonoverlapping(b.as_ptr(), b.len());
            value
        }
    }

    /// A new value in the current memory context. Its elements are zero until `fill` writes them.
    pub fn filled(dims: usize, fill: impl FnOnce(&mut [E]) -> error::Result<()>) -> error::Result<Self> {
        // SAFETY: the elements follow the header, and all zeros are an element; the memory is nobody else's
        // yet.
        unsafe {
            let value = Self::with_dims(dims, Self::zeroed);
            let first = value.start.add(size_of::<DenseHeader>()).cast::<E>();
            fill(std::slice::from_raw_parts_mut(first, dims))?;
            Ok(value)
        }
    }
}

impl<E: Element> Deref for Value<Dense<E>> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        // SAFETY: checked or written at construction: the header is followed by `dims` aligned elements.
        unsafe {
            let header = self.start.cast::<DenseHeader>();
            std::slice::from_raw_parts(header.add(1).cast::<E>(), (*header).dims as usize)
        }
    }
}

pgrx::impl_sql_translatable!(Vector, "vector");
pgrx::impl_sql_translatable!(HalfVector, "halfvec");
