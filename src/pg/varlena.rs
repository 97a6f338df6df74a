//! Datums of our types, as pgvector lays them out, and of core's `bit`.

use std::marker::PhantomData;
use std::ops::Deref;

use half::f16;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::error::raise;
use crate::error::{Error, Kind};
use crate::value::bits::Bits;
use crate::value::sparse::{self, Sparse, SparseBuf};
use crate::value::{Element, MAX_DIMS};

/// How the bytes of a datum are laid out.
///
/// # Safety
/// A value that `fits` can be read as the layout says.
pub unsafe trait Layout {
    /// The SQL type.
    const TYPE: &'static str;

    /// Whether a detoasted value of `size` bytes can be what its header says.
    ///
    /// # Safety
    /// The pointer is a varlena with a 4-byte header, aligned for int4, of that size.
    unsafe fn fits(value: *const u8, size: usize) -> bool;
}

/// A value in Postgres' memory, detoasted. As an argument it lives as long as the call; the copy that
/// detoasting may have made is freed on drop.
pub struct Value<L> {
    start: *mut u8,
    copied: bool,
    layout: PhantomData<L>,
}

impl<L: Layout> Value<L> {
    /// The value of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of the layout's type and stays valid while the value lives.
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a varlena; a detoasted one has a 4-byte header and is aligned for int4.
        let (plain, fits) = unsafe {
            let plain = pg_sys::pg_detoast_datum(pointer);
            (plain, L::fits(plain.cast(), pgrx::varsize_any(plain)))
        };
        if !fits {
            let message = format!("a stored {} is damaged: its size does not fit its header", L::TYPE);
            raise(Error::new(Kind::Data, message));
        }
        Self { start: plain.cast(), copied: plain != pointer, layout: PhantomData }
    }

    /// Memory for a new value of `size` bytes in the current context, its length set.
    ///
    /// # Safety
    /// The caller writes all that follows the length.
    unsafe fn allocate(size: usize) -> Self {
        // SAFETY: palloc returns maxaligned memory of `size` bytes or raises.
        unsafe {
            let start = pg_sys::palloc(size);
            pgrx::set_varsize_4b(start.cast(), size as i32);
            Self { start: start.cast(), copied: false, layout: PhantomData }
        }
    }

    /// All bytes after the length.
    pub fn bytes(&self) -> &[u8] {
        const LENGTH: usize = size_of::<i32>();
        // SAFETY: the value has a 4-byte header with its size.
        unsafe {
            let size = pgrx::varsize_any(self.start.cast());
            std::slice::from_raw_parts(self.start.add(LENGTH), size - LENGTH)
        }
    }
}

/// `vl_len_ int32 | dim int16 | unused int16 = 0 | dim elements`
pub struct Dense<E>(PhantomData<E>);

#[repr(C)]
struct DenseHeader {
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
        // SAFETY: the size is looked at first.
        size >= size_of::<DenseHeader>()
            && unsafe {
                let dims = (*value.cast::<DenseHeader>()).dims;
                dims >= 1 && size == size_of::<DenseHeader>() + size_of::<E>() * dims as usize
            }
    }
}

impl<E: Element> Value<Dense<E>> {
    /// A new value in the current memory context.
    pub fn new(elements: &[E]) -> Self {
        assert!(!elements.is_empty() && elements.len() <= MAX_DIMS, "checked by the caller");
        // SAFETY: header and elements fill the memory.
        unsafe {
            let value = Self::allocate(size_of::<DenseHeader>() + size_of_val(elements));
            let header = value.start.cast::<DenseHeader>();
            (*header).dims = elements.len() as i16;
            (*header).unused = 0;
            header.add(1).cast::<E>().copy_from_nonoverlapping(elements.as_ptr(), elements.len());
            value
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

/// `vl_len_ int32 | dim int32 | nnz int32 | unused int32 = 0 | nnz × int32 index from 0 | nnz × float4`
pub struct SparseLayout;

#[repr(C)]
struct SparseHeader {
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
        let count = vector.values.len();
        assert!(vector.indices.len() == count, "an index for each value");
        // SAFETY: header, indices and values fill the memory.
        unsafe {
            let value = Self::allocate(size_of::<SparseHeader>() + 8 * count);
            let header = value.start.cast::<SparseHeader>();
            (*header).dims = vector.dims as i32;
            (*header).count = count as i32;
            (*header).unused = 0;
            let indices = header.add(1).cast::<i32>();
            indices.copy_from_nonoverlapping(vector.indices.as_ptr(), count);
            indices.add(count).cast::<f32>().copy_from_nonoverlapping(vector.values.as_ptr(), count);
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

/// `vl_len_ int32 | bits int32 | bytes` (utils/varbit.h)
pub struct BitLayout;

#[repr(C)]
struct BitHeader {
    length: i32,
    bits: i32,
}

/// A `bit` value.
pub type BitString = Value<BitLayout>;

// SAFETY: `fits` compares the size with the number of bits.
unsafe impl Layout for BitLayout {
    const TYPE: &'static str = "bit";

    unsafe fn fits(value: *const u8, size: usize) -> bool {
        // SAFETY: the size is looked at first.
        size >= size_of::<BitHeader>()
            && unsafe {
                let bits = usize::try_from((*value.cast::<BitHeader>()).bits);
                bits.is_ok_and(|bits| size == size_of::<BitHeader>() + bits.div_ceil(8))
            }
    }
}

impl BitString {
    /// A bit string in the current memory context: the first `length` of `bytes`' bits, highest first; the bits
    /// after them are zero.
    pub fn new(bytes: &[u8], length: usize) -> Self {
        assert_eq!(bytes.len(), length.div_ceil(8));
        // SAFETY: header and bytes fill the memory.
        unsafe {
            let value = Self::allocate(size_of::<BitHeader>() + bytes.len());
            let header = value.start.cast::<BitHeader>();
            (*header).bits = length as i32;
            header.add(1).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            value
        }
    }

    /// The bits in place.
    pub fn bits(&self) -> Bits<'_> {
        // SAFETY: checked or written at construction: the header is followed by the bytes.
        unsafe {
            let header = self.start.cast::<BitHeader>();
            let length = (*header).bits as usize;
            Bits { length, bytes: std::slice::from_raw_parts(header.add(1).cast(), length.div_ceil(8)) }
        }
    }
}

impl<L> Drop for Value<L> {
    fn drop(&mut self) {
        if self.copied && !std::thread::panicking() {
            // SAFETY: detoasting made this copy with palloc, and nothing else points at it.
            unsafe { pg_sys::pfree(self.start.cast()) };
        }
    }
}

impl<L: Layout> FromDatum for Value<L> {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: pgrx hands over the datum of an argument or column declared as the type.
        (!is_null).then(|| unsafe { Self::from_raw(datum) })
    }
}

impl<L: Layout> IntoDatum for Value<L> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let start = self.start;
        std::mem::forget(self);
        Some(pg_sys::Datum::from(start))
    }

    fn type_oid() -> pg_sys::Oid {
        // Only asked by pgrx' SPI and array helpers, which nothing here uses with these types.
        pg_sys::InvalidOid
    }
}

// SAFETY: unboxes through FromDatum, which matches the datum's layout.
unsafe impl<'fcx, L: Layout> ArgAbi<'fcx> for Value<L> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is declared as the type in sql/.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(value) => value,
            None => raise(Error::new(Kind::NullNotAllowed, "a vector argument must not be null")),
        }
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum().into() }
    }
}

// SAFETY: the returned datum points at a palloc'd value in the caller's memory context.
unsafe impl<L: Layout> BoxRet for Value<L> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: see above.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

pgrx::impl_sql_translatable!(Vector, "vector");
pgrx::impl_sql_translatable!(HalfVector, "halfvec");
pgrx::impl_sql_translatable!(SparseVector, "sparsevec");
pgrx::impl_sql_translatable!(BitString, "bit");

/// What kind of value an index is over. Numbers are those of the operator classes' support function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// `vector`
    Vector = 0,
    /// `halfvec`
    Half = 1,
    /// `bit`
    Bits = 2,
}

impl Indexed {
    /// Calls `with` with the coordinates of a datum that is not null; `buffer` is memory for them where needed.
    ///
    /// # Safety
    /// The datum is of this kind.
    pub unsafe fn coordinates<R>(
        self,
        datum: pg_sys::Datum,
        buffer: &mut Vec<f32>,
        with: impl FnOnce(&[f32]) -> R,
    ) -> R {
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            match self {
                Self::Vector => with(&Vector::from_raw(datum)),
                Self::Half => with(f16::widen_all(&HalfVector::from_raw(datum), buffer)),
                Self::Bits => with(BitString::from_raw(datum).bits().coordinates(buffer)),
            }
        }
    }

    /// Bytes of a value of so many dimensions.
    pub fn size(self, dims: usize) -> usize {
        match self {
            Self::Vector => size_of::<DenseHeader>() + 4 * dims,
            Self::Half => size_of::<DenseHeader>() + 2 * dims,
            Self::Bits => size_of::<BitHeader>() + dims.div_ceil(8),
        }
    }

    /// The operators' complaint about values of different dimensions.
    pub fn different(self, indexed: usize, query: usize) -> Error {
        let what = match self {
            Self::Vector => "vector dimensions",
            Self::Half => "halfvec dimensions",
            Self::Bits => "bit lengths",
        };
        Error::new(Kind::Data, format!("different {what} {indexed} and {query}"))
    }
}
