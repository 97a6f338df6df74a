//! Array arguments and results as Postgres lays them out (utils/array.h), without a datum per element.

use std::borrow::Cow;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{FromDatum, pg_sys};

use crate::error::{self, Error, Kind};
use crate::memory as fallible;
use crate::pg::datum::alloc::allocate;
use crate::pg::datum::dense::Vector;
use crate::pg::datum::value::{Layout, Value};
use crate::pg::error::{OrRaise, raise};
use crate::value::limits::check_typmod;
use crate::value::vector::{put_numbers, put_slice};
use crate::value::{Element, numeric};

/// Start of the elements of a one-dimensional array without nulls: header, dimension, lower bound, aligned.
const HEADER: usize = (size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>()).next_multiple_of(8);

/// An array in Postgres' memory, detoasted. It lives as long as the call.
pub struct Array {
    header: *mut pg_sys::ArrayType,
}

unsafe extern "C-unwind" {
    // The bindings of pgrx for these functions set up a jump buffer at each call.
    fn DirectFunctionCall1Coll(
        function: unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
        collation: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::Datum;
    fn numeric_float4(info: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
}

/// Element types whose datums in an array are just their bytes.
///
/// # Safety
/// `OID` is a fixed-length type with the size and alignment of `Self`, for which any bytes are valid.
pub unsafe trait Plain: Copy {
    /// The SQL type.
    const OID: pg_sys::Oid;
}

// SAFETY: int4 is an i32.
unsafe impl Plain for i32 {
    const OID: pg_sys::Oid = pg_sys::INT4OID;
}

// SAFETY: float4 is an f32.
unsafe impl Plain for f32 {
    const OID: pg_sys::Oid = pg_sys::FLOAT4OID;
}

// SAFETY: float8 is an f64.
unsafe impl Plain for f64 {
    const OID: pg_sys::Oid = pg_sys::FLOAT8OID;
}

/// The elements of an array, `None` for NULL ones. By-reference elements point into the array.
///
/// # Safety
/// The array is detoasted.
pub unsafe fn elements(array: *mut pg_sys::ArrayType) -> Vec<Option<pg_sys::Datum>> {
    let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    let (mut length, mut by_value, mut align) = (0i16, false, 0 as std::ffi::c_char);
    // SAFETY: the caller vouches for the array; the server allocates and fills as many datums and flags as it
    // counts.
    unsafe {
        // Not the type of whoever uses them, such as an operator of text for varchar[], or of a domain.
        let of = (*array).elemtype;
        pg_sys::get_typlenbyvalalign(of, &raw mut length, &raw mut by_value, &raw mut align);
        let to = (&raw mut datums, &raw mut nulls, &raw mut count);
        pg_sys::deconstruct_array(array, of, i32::from(length), by_value, align, to.0, to.1, to.2);
        let count = usize::try_from(count).unwrap_or(0);
        let elements =
            fallible::collected((0..count).map(|i| (!*nulls.add(i)).then(|| *datums.add(i)))).or_raise();
        for memory in [datums.cast(), nulls.cast::<std::ffi::c_void>()] {
            if !memory.is_null() {
                pg_sys::pfree(memory);
            }
        }
        elements
    }
}

impl Array {
    /// The array of a datum that is not null.
    ///
    /// # Safety
    /// The datum is an array and outlives this.
    pub unsafe fn from_raw(datum: pg_sys::Datum) -> Self {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes an array: a varlena.
        let plain = unsafe {
            match pgrx::varatt_is_4b_u(value) {
                true => value,
                false => pg_sys::pg_detoast_datum(value),
            }
        };
        Self { header: plain.cast() }
    }

    /// The datum.
    pub fn into_raw(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.header)
    }

    /// A one-dimensional array in the current memory context.
    pub fn new<T: Plain>(elements: &[T]) -> Self {
        Self::filled(elements.len(), |to: &mut [T]| to.copy_from_slice(elements))
    }

    /// A one-dimensional array in the current memory context. Its elements are zero until `fill` writes them.
    pub fn filled<T: Plain>(count: usize, fill: impl FnOnce(&mut [T])) -> Self {
        let size = HEADER + count * size_of::<T>();
        let memory = allocate(size);
        // SAFETY: the memory is maxaligned and nobody else's yet; the elements follow the header and may be
        // zeros.
        unsafe {
            memory.write_bytes(0, size);
            let header = memory.cast::<pg_sys::ArrayType>();
            pgrx::set_varsize_4b(header.cast(), size as i32);
            (*header).ndim = 1;
            (*header).elemtype = T::OID;
            header.add(1).cast::<[i32; 2]>().write([count as i32, 1]);
            fill(std::slice::from_raw_parts_mut(memory.add(HEADER).cast::<T>(), count));
            Self { header }
        }
    }

    /// The elements of an array of vectors.
    pub fn vectors(&self) -> Vec<Vector> {
        // SAFETY: the argument is declared as vector[].
        let elements = unsafe { elements(self.header) };
        let vector = |datum: Option<pg_sys::Datum>| match datum {
            // SAFETY: as above; the elements lie in the array.
            Some(datum) => unsafe { Vector::from_raw(datum) },
            None => raise(Error::new(Kind::NullNotAllowed, "array must not contain nulls")),
        };
        fallible::collected(elements.into_iter().map(vector)).or_raise()
    }

    /// The elements as datums, `None` for NULLs.
    pub fn nullable(&self) -> Vec<Option<pg_sys::Datum>> {
        // SAFETY: the elements are of the type that the array names.
        unsafe { elements(self.header) }
    }

    /// The elements of a one-dimensional array of values of this type.
    ///
    /// # Errors
    /// NULLs, several dimensions, out of memory.
    pub fn values<L: Layout>(&self) -> error::Result<Vec<Value<L>>> {
        self.check_flat()?;
        // SAFETY: the argument is declared as an array of the type; there are no NULLs, and the elements lie
        // in the array.
        unsafe {
            let elements = elements(self.header);
            fallible::collected(
                elements.into_iter().map(|datum| Value::from_raw(datum.unwrap_or(pg_sys::Datum::null()))),
            )
        }
    }

    /// Number of dimensions; 0 for an empty array.
    pub fn dimensions(&self) -> i32 {
        // SAFETY: an array has a header.
        unsafe { (*self.header).ndim }
    }

    /// Type of the elements.
    pub fn element_type(&self) -> pg_sys::Oid {
        // SAFETY: an array has a header.
        unsafe { (*self.header).elemtype }
    }

    /// Whether the array has a null bitmap.
    pub fn has_null_bitmap(&self) -> bool {
        // SAFETY: an array has a header.
        unsafe { (*self.header).dataoffset != 0 }
    }

    /// Whether an element is null.
    pub fn contains_nulls(&self) -> bool {
        if !self.has_null_bitmap() {
            return false;
        }
        // SAFETY: an array has a header.
        unsafe { pg_sys::array_contains_nulls(self.header) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        if self.dimensions() == 1 {
            // SAFETY: the dimensions follow the header; the server made sure that they are not negative.
            return unsafe { *self.header.add(1).cast::<i32>() } as usize;
        }
        // SAFETY: as above.
        let items = unsafe { pg_sys::ArrayGetNItems(self.dimensions(), self.header.add(1).cast()) };
        items as usize
    }

    /// The elements of an array of `T` without nulls.
    pub fn elements<T: Plain>(&mut self) -> &mut [T] {
        assert!(self.element_type() == T::OID && !self.contains_nulls(), "checked by the caller");
        if self.dimensions() == 0 {
            return &mut [];
        }
        // SAFETY: the elements, aligned for their type, start at the data offset (ARR_DATA_PTR); without
        // nulls none is left out.
        unsafe {
            let offset = match (*self.header).dataoffset {
                0 => size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>() * self.dimensions() as usize,
                offset => offset as usize,
            };
            let first = self.header.cast::<u8>().add(offset.next_multiple_of(8)).cast::<T>();
            std::slice::from_raw_parts_mut(first, self.len())
        }
    }

    /// The elements of a `numeric[]` without nulls, rounded as a cast to `real` does (or its error).
    fn numerics(&self) -> Vec<f32> {
        let (mut datums, mut count) = (std::ptr::null_mut(), 0);
        // SAFETY: the array is a numeric[]: varlena, aligned as int4. Nulls are not asked for.
        unsafe {
            let element = pg_sys::NUMERICOID;
            let nulls = std::ptr::null_mut();
            pg_sys::deconstruct_array(
                self.header,
                element,
                -1,
                false,
                b'i' as _,
                &mut datums,
                nulls,
                &mut count,
            );
        }
        // SAFETY: deconstruct_array made `count` datums.
        let datums = unsafe { std::slice::from_raw_parts(datums, count as usize) };
        let mut numbers = fallible::filled(0.0, datums.len()).or_raise();
        // One jump buffer for all calls, each of which may raise an error.
        // SAFETY: numeric_float4 takes one numeric and returns a float4; nothing in the closure is to be
        // dropped.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for (to, number) in numbers.iter_mut().zip(datums) {
                    // The server's cast prints the number and reads it again.
                    *to = match plain_bytes(*number).and_then(numeric::to_real) {
                        Some(real) => real,
                        None => {
                            let real = DirectFunctionCall1Coll(numeric_float4, pg_sys::InvalidOid, *number);
                            f32::from_bits(real.value() as u32)
                        }
                    };
                }
            });
        }
        numbers
    }

    /// The number of elements, if the array can become a value of `typmod` dimensions.
    pub fn check_numbers(
        &self,
        check: impl Fn(usize) -> error::Result<()>,
        typmod: i32,
    ) -> error::Result<usize> {
        self.check_flat()?;
        let count = self.len();
        check(count)?;
        check_typmod(typmod, count)?;
        Ok(count)
    }

    /// Writes the numbers of a checked array to `out`, which has the same length.
    pub fn put_numbers<E: Element>(&mut self, out: &mut [E]) -> error::Result<()> {
        match self.element_type() {
            pg_sys::INT4OID => put_numbers(self.elements::<i32>().iter().map(|x| *x as f32), out),
            pg_sys::FLOAT4OID => put_slice(self.elements(), out),
            pg_sys::FLOAT8OID => put_numbers(self.elements::<f64>().iter().map(|x| *x as f32), out),
            pg_sys::NUMERICOID => put_slice(&self.numerics(), out),
            _ => Err(unsupported()),
        }
    }

    /// The numbers of a checked array, whatever they are: NaN and infinities too.
    pub fn numbers(&mut self) -> error::Result<Cow<'_, [f32]>> {
        Ok(match self.element_type() {
            pg_sys::INT4OID => self.elements::<i32>().iter().map(|x| *x as f32).collect(),
            pg_sys::FLOAT4OID => Cow::Borrowed(self.elements()),
            pg_sys::FLOAT8OID => self.elements::<f64>().iter().map(|x| *x as f32).collect(),
            pg_sys::NUMERICOID => Cow::Owned(self.numerics()),
            _ => return Err(unsupported()),
        })
    }

    /// The type modifiers in a `cstring[]`, as integers (or Postgres' error).
    pub fn integer_typmods(&self) -> Vec<i32> {
        let mut count = 0;
        // SAFETY: ArrayGetIntegerTypmods checks the array and returns `count` palloc'd integers.
        unsafe {
            let first = pg_sys::ArrayGetIntegerTypmods(self.header, &mut count);
            std::slice::from_raw_parts(first, count as usize).to_vec()
        }
    }

    /// Checks that the array can become a vector: one dimension, no nulls.
    fn check_flat(&self) -> error::Result<()> {
        if self.dimensions() > 1 {
            return Err(Error::new(Kind::Data, "array must be 1-D"));
        }
        if self.has_null_bitmap() && self.contains_nulls() {
            return Err(Error::new(Kind::NullNotAllowed, "array must not contain nulls"));
        }
        Ok(())
    }

    /// Whether it has one dimension with the usual lower bound, which a new array would have.
    pub fn starts_at_one(&self) -> bool {
        // SAFETY: the lower bounds follow the dimensions, which follow the header.
        self.dimensions() == 1 && unsafe { (*self.header.add(1).cast::<[i32; 2]>())[1] } == 1
    }

    /// The elements as the state of an average, which was passed to `caller`.
    pub fn state(&mut self, caller: &str) -> error::Result<&mut [f64]> {
        let flat = self.dimensions() == 1 && self.len() >= 1 && !self.has_null_bitmap();
        if flat && self.element_type() == pg_sys::FLOAT8OID {
            return Ok(self.elements());
        }
        Err(Error::new(Kind::Internal, format!("{caller}: expected state array")))
    }
}

/// The bytes after the length of a value that is neither compressed nor out of line.
///
/// # Safety
/// The datum is a varlena, which outlives the bytes.
unsafe fn plain_bytes<'a>(datum: pg_sys::Datum) -> Option<&'a [u8]> {
    let start = datum.cast_mut_ptr::<u8>();
    // SAFETY: the caller passes a varlena, which is as long as its header says.
    unsafe {
        let (header, size) = match start.cast() {
            value if pgrx::varatt_is_4b_u(value) => (4, pgrx::varsize_4b(value)),
            value if pgrx::varatt_is_1b(value) && !pgrx::varatt_is_1b_e(value) => {
                (1, pgrx::varsize_1b(value))
            }
            _ => return None,
        };
        Some(std::slice::from_raw_parts(start.add(header), size.checked_sub(header)?))
    }
}

fn unsupported() -> Error {
    Error::new(Kind::Data, "unsupported array type")
}

impl FromDatum for Array {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: pgrx hands over the datum of an argument declared as an array.
        (!is_null).then(|| unsafe { Self::from_raw(datum) })
    }
}

// SAFETY: unboxes through FromDatum, which matches the datum's layout.
unsafe impl<'fcx> ArgAbi<'fcx> for Array {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the argument is declared as an array in sql/.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(array) => array,
            None => raise(Error::new(Kind::NullNotAllowed, "an array argument must not be null")),
        }
    }
}

// SAFETY: the datum returned points at an array in memory that outlives the call.
unsafe impl BoxRet for Array {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: see above.
        unsafe { fcinfo.return_raw_datum(self.into_raw()) }
    }
}

pgrx::impl_sql_translatable!(Array, "anyarray");
