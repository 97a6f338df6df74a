//! Datums of our types, as pgvector lays them out, and of core's `bit`.

use std::cell::{Cell, UnsafeCell};
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

/// A value, detoasted. As an argument it lives as long as the call; the copy that detoasting may have made is
/// freed on drop.
pub struct Value<L> {
    held: Held,
    layout: PhantomData<L>,
}

/// Where the bytes of a value are, from its 4-byte header on.
#[derive(Clone, Copy)]
enum Held {
    /// In Postgres' memory, and somebody else's.
    There(*mut u8),
    /// In Postgres' memory, a copy of our own.
    Copied(*mut u8),
    /// In a slot of [`SLOTS`]: it is stored with a 1-byte header, not aligned.
    Here(usize),
}

/// Room for a value that has a 1-byte header: up to 126 bytes after it, and 4 of a header.
#[repr(align(8))]
struct Slot(UnsafeCell<[u8; 136]>);

/// Room for as many such values as a function has arguments. A call of the server's allocator would take longer than
/// all else.
struct Slots {
    slots: [Slot; Slots::COUNT],
    /// A bit for each slot in use.
    used: Cell<u8>,
}

// SAFETY: values are made, used and dropped on the backend's main thread only, as all that has to do with datums.
unsafe impl Sync for Slots {}

static SLOTS: Slots =
    Slots { slots: [const { Slot(UnsafeCell::new([0; 136])) }; Slots::COUNT], used: Cell::new(0) };

impl Slots {
    const COUNT: usize = 4;

    /// A slot that nobody uses, from now on in use.
    fn take(&self) -> Option<usize> {
        let free = (!self.used.get()).trailing_zeros() as usize;
        (free < Self::COUNT).then(|| {
            self.used.set(self.used.get() | 1 << free);
            free
        })
    }

    fn give_back(&self, slot: usize) {
        self.used.set(self.used.get() & !(1 << slot));
    }

    fn start(&self, slot: usize) -> *mut u8 {
        self.slots[slot].0.get().cast()
    }
}

impl<L: Layout> Value<L> {
    /// The value of a datum that is not null.
    ///
    /// # Safety
    /// The datum is of the layout's type and stays valid while the value lives.
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        // The server's code is called for values that need it only, for such a call costs more than many distances.
        let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a varlena. One with a 1-byte header that is not external is as long as that says,
        // 127 bytes at most.
        let held = unsafe {
            if pgrx::varatt_is_4b_u(pointer) {
                Held::There(pointer.cast())
            } else if pgrx::varatt_is_1b(pointer)
                && !pgrx::varatt_is_1b_e(pointer)
                && let Some(slot) = SLOTS.take()
            {
                let (start, size) = (SLOTS.start(slot), pgrx::varsize_1b(pointer) - 1);
                pgrx::set_varsize_4b(start.cast(), size as i32 + 4);
                start.add(4).copy_from_nonoverlapping(pointer.cast::<u8>().add(1), size);
                Held::Here(slot)
            } else {
                Held::Copied(pg_sys::pg_detoast_datum(pointer).cast())
            }
        };
        let value = Self { held, layout: PhantomData };
        let start = value.start();
        // SAFETY: a detoasted value has a 4-byte header and is aligned for int4.
        if unsafe { !L::fits(start, pgrx::varsize_4b(start.cast())) } {
            let message = format!("a stored {} is damaged: its size does not fit its header", L::TYPE);
            raise(Error::new(Kind::Data, message));
        }
        value
    }

    /// Where the value's header is.
    fn start(&self) -> *const u8 {
        match self.held {
            Held::There(start) | Held::Copied(start) => start,
            Held::Here(slot) => SLOTS.start(slot),
        }
    }

    /// Memory for a new value of `size` bytes in the current context, its length set.
    ///
    /// # Safety
    /// The caller writes all that follows the length.
    unsafe fn allocate(size: usize) -> (Self, *mut u8) {
        // SAFETY: palloc returns maxaligned memory of `size` bytes or raises.
        unsafe {
            let start = pg_sys::palloc(size);
            pgrx::set_varsize_4b(start.cast(), size as i32);
            (Self { held: Held::There(start.cast()), layout: PhantomData }, start.cast())
        }
    }

    /// The datum, which outlives this.
    pub fn into_raw(self) -> pg_sys::Datum {
        let start = match self.held {
            Held::There(start) | Held::Copied(start) => {
                std::mem::forget(self);
                start
            }
            Held::Here(_) => {
                let size = size_of::<i32>() + self.bytes().len();
                // SAFETY: the bytes, with the header before them, fill the memory.
                unsafe {
                    let (_, start) = Self::allocate(size);
                    start.copy_from_nonoverlapping(self.start(), size);
                    start
                }
            }
        };
        pg_sys::Datum::from(start)
    }

    /// All bytes after the length.
    pub fn bytes(&self) -> &[u8] {
        const LENGTH: usize = size_of::<i32>();
        // SAFETY: the value has a 4-byte header with its size.
        unsafe {
            let size = pgrx::varsize_4b(self.start().cast());
            std::slice::from_raw_parts(self.start().add(LENGTH), size - LENGTH)
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
            let (value, start) = Self::allocate(size_of::<DenseHeader>() + size_of_val(elements));
            let header = start.cast::<DenseHeader>();
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
            let header = self.start().cast::<DenseHeader>();
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
            let (value, start) = Self::allocate(size_of::<SparseHeader>() + 8 * count);
            let header = start.cast::<SparseHeader>();
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
            let header = self.start().cast::<SparseHeader>();
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
            let (value, start) = Self::allocate(size_of::<BitHeader>() + bytes.len());
            let header = start.cast::<BitHeader>();
            (*header).bits = length as i32;
            header.add(1).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            value
        }
    }

    /// The bits in place.
    pub fn bits(&self) -> Bits<'_> {
        // SAFETY: checked or written at construction: the header is followed by the bytes.
        unsafe {
            let header = self.start().cast::<BitHeader>();
            let length = (*header).bits as usize;
            Bits { length, bytes: std::slice::from_raw_parts(header.add(1).cast(), length.div_ceil(8)) }
        }
    }
}

impl<L> Drop for Value<L> {
    fn drop(&mut self) {
        match self.held {
            Held::Here(slot) => SLOTS.give_back(slot),
            // SAFETY: detoasting made this copy with palloc, and nothing else points at it.
            Held::Copied(start) if !std::thread::panicking() => unsafe { pg_sys::pfree(start.cast()) },
            _ => {}
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
    /// A value of these bytes in the current memory context.
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: header and bytes fill the memory.
        unsafe {
            let (value, start) = Self::allocate(size_of::<i32>() + bytes.len());
            start.add(size_of::<i32>()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
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
