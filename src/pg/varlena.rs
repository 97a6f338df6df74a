//! Datums of our types, as pgvector lays them out, and of core's `bit`.

use std::marker::PhantomData;
use std::ops::Deref;

use half::f16;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::aligned::Aligned;
use super::error::raise;
use super::memory::allocate;
use crate::error::{self, Error, Kind};
use crate::value::bits::Bits;
use crate::value::sparse::{self, Sparse, SparseBuf};
use crate::value::{Element, MAX_DIMS};

/// How the bytes of a datum are laid out.
///
/// # Safety
/// A value that `fits`, or is `is_plain`, can be read as the layout says.
pub unsafe trait Layout {
    /// The SQL type.
    const TYPE: &'static str;

    /// Whether a detoasted value of `size` bytes can be what its header says.
    ///
    /// # Safety
    /// The pointer is a varlena with a 4-byte header, aligned for int4, of that size.
    unsafe fn fits(value: *const u8, size: usize) -> bool;

    /// Whether a stored value has a 4-byte header, is neither compressed nor out of line, and is what its header says.
    ///
    /// # Safety
    /// The pointer is a varlena of the type.
    #[inline(always)]
    unsafe fn is_plain(value: *const u8) -> bool {
        // SAFETY: a varlena with such a header is aligned for int4 and has a size.
        unsafe { pgrx::varatt_is_4b_u(value.cast()) && Self::fits(value, pgrx::varsize_4b(value.cast())) }
    }
}

/// A value, detoasted. As an argument it lives as long as the call; the copy that detoasting may have made is
/// freed on drop.
pub struct Value<L> {
    /// Its 4-byte header.
    start: *mut u8,
    held: Held,
    layout: PhantomData<L>,
}

/// Where the bytes of a value are. A plain number, so that a value stays in two registers.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// In Postgres' memory, and somebody else's.
    There,
    /// In Postgres' memory, a copy of our own.
    Copied,
    /// In memory of the caller's: it is stored with a 1-byte header, not aligned.
    Here,
}

#[cold]
fn damaged(name: &str) -> ! {
    raise(Error::new(Kind::Data, format!("a stored {name} is damaged: its size does not fit its header")))
}

impl<L: Layout> Value<L> {
    /// The value of a datum that is plain ([`Layout::is_plain`]).
    ///
    /// # Safety
    /// It is, of the layout's type, and stays valid while the value lives.
    #[inline(always)]
    pub unsafe fn in_place(datum: pg_sys::Datum) -> Self {
        Self { start: datum.cast_mut_ptr(), held: Held::There, layout: PhantomData }
    }

    /// The value of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of the layout's type and stays valid while the value lives.
    #[inline(always)]
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise is passed on.
        unsafe { Self::checked(datum, |stored| Self::detoasted(stored)) }
    }

    /// The same, for which no memory is allocated where the value has a 1-byte header.
    ///
    /// # Safety
    /// As for [`Value::from_raw`]; the memory outlives the value, and nothing else is put into it.
    #[inline(always)]
    pub unsafe fn from_raw_in(memory: &mut Aligned, datum: pg_sys::Datum) -> Self {
        // The server's code is called for values that need it only, for such a call costs more than many distances.
        let made_plain = |stored: *mut u8| {
            // SAFETY: the caller passes a varlena.
            unsafe {
                if pgrx::varatt_is_1b(stored.cast()) && !pgrx::varatt_is_1b_e(stored.cast()) {
                    Self { start: memory.copy(stored), held: Held::Here, layout: PhantomData }
                } else {
                    Self::detoasted(stored)
                }
            }
        };
        // SAFETY: the caller's promise is passed on.
        unsafe { Self::checked(datum, made_plain) }
    }

    #[inline(always)]
    unsafe fn checked(datum: pg_sys::Datum, made_plain: impl FnOnce(*mut u8) -> Self) -> Self {
        let start = datum.cast_mut_ptr::<u8>();
        // SAFETY: the caller passes a varlena. In its plain form, or made plain, it has a 4-byte header and is aligned for
        // int4.
        unsafe {
            let value = match pgrx::varatt_is_4b_u(start.cast()) {
                true => Self::in_place(datum),
                false => made_plain(start),
            };
            if !L::fits(value.start, pgrx::varsize_4b(value.start.cast())) {
                damaged(L::TYPE);
            }
            value
        }
    }

    #[inline(never)]
    unsafe fn detoasted(stored: *mut u8) -> Self {
        // SAFETY: the caller passes a varlena.
        let start = unsafe { pg_sys::pg_detoast_datum(stored.cast()) };
        Self { start: start.cast(), held: Held::Copied, layout: PhantomData }
    }

    /// Memory for a new value of `size` bytes in the current context, its length set.
    ///
    /// # Safety
    /// The caller writes all that follows the length.
    unsafe fn allocate(size: usize) -> Self {
        let start = allocate(size);
        // SAFETY: the memory is maxaligned and larger than a length.
        unsafe { pgrx::set_varsize_4b(start.cast(), size as i32) };
        Self { start, held: Held::There, layout: PhantomData }
    }

    /// The same of zeros.
    fn zeroed(size: usize) -> Self {
        // Few bytes are cleared in line, in memory that always has so many: a call would take longer.
        const FEW: usize = 64;
        // SAFETY: zeros are written to all of the memory, which has at least so many bytes.
        unsafe {
            let start = allocate(size.max(FEW));
            match size {
                ..=FEW => start.cast::<[u8; FEW]>().write([0; FEW]),
                _ => start.write_bytes(0, size),
            }
            pgrx::set_varsize_4b(start.cast(), size as i32);
            Self { start, held: Held::There, layout: PhantomData }
        }
    }

    /// The datum, which outlives this: an argument is given back as it came, if it was not out of line.
    pub fn into_raw(self) -> pg_sys::Datum {
        let start = match self.held {
            Held::There | Held::Copied => std::mem::ManuallyDrop::new(self).start,
            // SAFETY: it was copied to where it is.
            Held::Here => unsafe { Aligned::origin(self.start) },
        };
        pg_sys::Datum::from(start)
    }

    /// All bytes after the length.
    pub fn bytes(&self) -> &[u8] {
        const LENGTH: usize = size_of::<i32>();
        // SAFETY: the value has a 4-byte header with its size.
        unsafe {
            let size = pgrx::varsize_4b(self.start.cast());
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

    #[inline(always)]
    unsafe fn is_plain(value: *const u8) -> bool {
        // SAFETY: no stored form of a value of the type has less than the six bytes that are read; what is read of a damaged
        // one that has lies in the same shared or allocated memory.
        let (header, dims) =
            unsafe { (value.cast::<u32>().read_unaligned(), value.add(4).cast::<i16>().read_unaligned()) };
        // The size that goes with the dimensions, as a header of four bytes has it (varatt.h): that of another form would be odd
        // or smaller.
        let size = size_of::<DenseHeader>() as i32 + size_of::<E>() as i32 * i32::from(dims);
        dims >= 1 && header == plain_header(size as u32)
    }
}

/// The 4-byte header of a plain value of so many bytes.
#[inline(always)]
const fn plain_header(size: u32) -> u32 {
    if cfg!(target_endian = "big") { size } else { size << 2 }
}

impl<E: Element> Value<Dense<E>> {
    /// A new value in memory that `allocate` gives for so many bytes, its header written.
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

    /// A new value in the current memory context, whose elements, at first zeros, `fill` writes.
    pub fn filled(dims: usize, fill: impl FnOnce(&mut [E]) -> error::Result<()>) -> error::Result<Self> {
        // SAFETY: the elements follow the header, and all zeros are an element; the memory is nobody else's yet.
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
        assert_eq!(vector.indices.len(), vector.values.len(), "an index for each value");
        Self::filled(vector.dims, vector.values.len(), |indices, values| {
            indices.copy_from_slice(&vector.indices);
            values.copy_from_slice(&vector.values);
        })
    }

    /// A new value in the current memory context, whose indices and values, at first zeros, `fill` writes.
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
    /// A bit string of `length` bits in the current memory context, whose bytes, at first zeros, `fill` writes: the
    /// first bit is the highest of the first byte, and those after the last stay zero.
    pub fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let bytes = length.div_ceil(8);
        // SAFETY: the bytes follow the header and fill the memory, which is nobody else's yet.
        unsafe {
            let value = Self::zeroed(size_of::<BitHeader>() + bytes);
            let header = value.start.cast::<BitHeader>();
            (*header).bits = length as i32;
            let first = header.add(1).cast::<u8>();
            fill(std::slice::from_raw_parts_mut(first, bytes));
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

/// Frees a copy that detoasting made. Not given the value itself, whose address nobody shall want.
#[cold]
#[inline(never)]
fn free(start: *mut u8) {
    if !std::thread::panicking() {
        // SAFETY: detoasting made this copy with palloc, and nothing else points at it.
        unsafe { pg_sys::pfree(start.cast()) }
    }
}

impl<L> Drop for Value<L> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.held {
            Held::There | Held::Here => {}
            Held::Copied => free(self.start),
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
        Some(self.into_raw())
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

/// `vl_len_ int32 | bytes`
pub struct BytesLayout;

/// A `bytea` value.
pub type Bytes = Value<BytesLayout>;

// SAFETY: a header suffices.
unsafe impl Layout for BytesLayout {
    const TYPE: &'static str = "bytea";

    unsafe fn fits(_: *const u8, size: usize) -> bool {
        size >= size_of::<i32>()
    }
}

impl Bytes {
    /// A value of so many bytes in the current memory context, which, at first zeros, `fill` writes.
    pub fn filled(count: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        // SAFETY: the bytes follow the length and fill the memory, which is nobody else's yet.
        unsafe {
            let value = Self::zeroed(size_of::<i32>() + count);
            let first = value.start.add(size_of::<i32>());
            fill(std::slice::from_raw_parts_mut(first, count));
            value
        }
    }
}

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
        let memory = &mut Aligned::new();
        // SAFETY: the caller vouches for the datum, which the value does not outlive.
        unsafe {
            match self {
                Self::Vector => with(&Vector::from_raw_in(memory, datum)),
                Self::Half => with(f16::widen_all(&HalfVector::from_raw_in(memory, datum), buffer)),
                Self::Bits => with(BitString::from_raw_in(memory, datum).bits().coordinates(buffer)),
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
