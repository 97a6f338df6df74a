//! Filter columns: how their values become keys, and how scan keys (`access/skey.h`) become conditions.

use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};

use super::column_equality;
use super::opclass::support_number;
use crate::error::{Error, Kind, Result};
use crate::ivf::search::filter::{Accept, Clause, Condition, Filter};
use crate::memory::Grow;
use crate::page::{Columns, Key};
use crate::pg::compat::{attribute_name, attribute_type, key_columns};
use crate::pg::datum::alloc::Scratch;
use crate::pg::settings::reloptions::method_name;
use crate::pg::types::array::elements;
use crate::value::key::{self, Comparison, Range};

/// The last strategy: arrays that share an element. Strategy 6 is for arrays that contain another array; 1 to
/// 5 are those of a B-tree.
pub const OVERLAPS: u16 = 7;

/// How the values of an operator class become keys. Support function 1 of the class returns this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
enum Form {
    Bool = 101,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Uuid,
    Hash,
    Labels,
}

use Form::{Bool, Float4, Float8, Hash, Int2, Int4, Int8, Labels, Numeric, Uuid};

impl Form {
    fn from_number(number: i16) -> Option<Self> {
        let all = [Bool, Int2, Int4, Int8, Float4, Float8, Numeric, Uuid, Hash, Labels];
        all.into_iter().find(|f| *f as i16 == number)
    }

    /// Bytes of a key.
    fn width(self) -> u8 {
        match self {
            Bool | Int2 | Int4 | Float4 | Hash => 4,
            Int8 | Float8 | Numeric | Uuid | Labels => 8,
        }
    }

    /// Whether different values may share a key, so that the condition must be checked again on rows that
    /// pass.
    fn is_lossy(self) -> bool {
        matches!(self, Numeric | Uuid | Hash | Labels)
    }
}

/// Whether a number that support function 1 returns belongs to a class for filter columns.
pub fn is_filter_class(number: i16) -> bool {
    Form::from_number(number).is_some()
}

/// Whether different values of the columns of a class may share a key.
///
/// # Safety
/// A class of ours, by its operator family and its type.
pub unsafe fn is_lossy(family: pg_sys::Oid, of_type: pg_sys::Oid) -> bool {
    // SAFETY: lookups in the catalog; support function 1 of a class takes no arguments.
    unsafe {
        let support = pg_sys::get_opfamily_proc(family, of_type, of_type, 1);
        if support == pg_sys::InvalidOid {
            return true;
        }
        let number = pg_sys::OidFunctionCall0Coll(support, pg_sys::InvalidOid).value() as i16;
        Form::from_number(number).is_none_or(Form::is_lossy)
    }
}

/// Support function of `bool_ops`.
#[pg_extern(sql = false)]
fn ivf_bool_key() -> i16 {
    Form::Bool as i16
}

/// Support function of `int2_ops`.
#[pg_extern(sql = false)]
fn ivf_int2_key() -> i16 {
    Form::Int2 as i16
}

/// Support function of `int4_ops` and `date_ops`.
#[pg_extern(sql = false)]
fn ivf_int4_key() -> i16 {
    Form::Int4 as i16
}

/// Support function of `int8_ops`, `money_ops`, `time_ops`, `timestamp_ops` and `timestamptz_ops`.
#[pg_extern(sql = false)]
fn ivf_int8_key() -> i16 {
    Form::Int8 as i16
}

/// Support function of `float4_ops`.
#[pg_extern(sql = false)]
fn ivf_float4_key() -> i16 {
    Form::Float4 as i16
}

/// Support function of `float8_ops`.
#[pg_extern(sql = false)]
fn ivf_float8_key() -> i16 {
    Form::Float8 as i16
}

/// Support function of `numeric_ops`: the nearest double.
#[pg_extern(sql = false)]
fn ivf_numeric_key() -> i16 {
    Form::Numeric as i16
}

/// Support function of `uuid_ops`: the first eight bytes.
#[pg_extern(sql = false)]
fn ivf_uuid_key() -> i16 {
    Form::Uuid as i16
}

/// Support function of the classes that support only equality: the type's own hash.
#[pg_extern(sql = false)]
fn ivf_hash_key() -> i16 {
    Form::Hash as i16
}

/// Support function of `array_ops`: one bit of 64 for each element.
#[pg_extern(sql = false)]
fn ivf_labels_key() -> i16 {
    Form::Labels as i16
}

/// A comparison of a filter column.
#[derive(Clone, Copy)]
pub struct Compared<V> {
    /// The strategy of its operator.
    pub strategy: u16,
    /// The type of the operator's other side.
    pub of: pg_sys::Oid,
    /// Whether rows are wanted for which it is false. Comparisons that have an opposite are not negated.
    pub negated: bool,
    /// What the column is compared with.
    pub value: V,
}

/// A condition on a filter column, for which rows are wanted.
#[derive(Clone, Copy)]
pub enum Test<V> {
    /// A comparison with a value.
    Compared(Compared<V>),
    /// The same with an element of an array, or with `all` of its elements.
    Listed {
        /// The comparison with the array.
        compared: Compared<V>,
        /// Whether it must hold for all elements.
        all: bool,
    },
    /// A boolean column has this value.
    Is(bool),
    /// The column is NULL.
    Null,
    /// It is not NULL.
    NotNull,
}

/// A condition and its column.
#[derive(Clone, Copy)]
pub struct Tested<V> {
    /// The number of the filter column, from 0.
    pub column: usize,
    /// The condition.
    pub test: Test<V>,
}

impl<V: Copy> Tested<V> {
    /// The same condition with another value.
    pub fn map<W>(&self, mut with: impl FnMut(V) -> W) -> Tested<W> {
        let mut compared = |c: Compared<V>| Compared {
            strategy: c.strategy,
            of: c.of,
            negated: c.negated,
            value: with(c.value),
        };
        let test = match self.test {
            Test::Compared(c) => Test::Compared(compared(c)),
            Test::Listed { compared: c, all } => Test::Listed { compared: compared(c), all },
            Test::Is(value) => Test::Is(value),
            Test::Null => Test::Null,
            Test::NotNull => Test::NotNull,
        };
        Tested { column: self.column, test }
    }
}

/// One filter column of an index.
struct Column {
    form: Form,
    collation: pg_sys::Oid,
    /// The type whose values are hashed: the column's, or its elements'.
    hashed: pg_sys::Oid,
    /// The type's hash function, if one is needed. It is kept as long as the backend lives.
    hash: *mut pg_sys::FmgrInfo,
}

/// The filter columns of an index.
pub struct FilterColumns {
    columns: Vec<Column>,
    /// Memory that the server's functions allocate when values are converted to keys. It is reset after each
    /// row.
    memory: Scratch,
}

impl FilterColumns {
    /// The columns of an open index after the first, which must be a vector. What they need is allocated in
    /// the current memory context.
    ///
    /// # Errors
    /// Columns that an index cannot have, or cannot have at this position.
    pub fn of(index: pg_sys::Relation) -> Result<Self> {
        let refused = |message: String, hint: &str| {
            Err(Error::new(Kind::NotSupported, message).with_hint(hint.to_owned()))
        };
        if is_filter_class(support_number(index, 0)?) {
            let hint = "Name the vector column first, then the columns to filter by.";
            return refused(
                format!("the first column of an {} index must be a vector", method_name(index)),
                hint,
            );
        }
        let mut columns = Vec::new();
        for column in 1..key_columns(index) {
            let Some(form) = Form::from_number(support_number(index, column)?) else {
                // SAFETY: the index has that many columns.
                let name = unsafe { attribute_name((*index).rd_att, column) };
                let message = format!("column \"{name}\" cannot be a filter column: it is a vector");
                return refused(message, "An ivf index has one vector, its first column.");
            };
            // SAFETY: the index has that many columns and collations.
            columns.push(unsafe { Column::of(index, column, form)? });
        }
        let memory = Scratch::new(!columns.is_empty());
        Ok(Self { columns, memory })
    }

    /// Raises an error if an index that is being built cannot have these columns.
    ///
    /// # Errors
    /// A column whose type compares values differently from its operator class.
    pub fn check(&self, index: pg_sys::Relation) -> Result<()> {
        (1..).zip(&self.columns).try_for_each(|(number, column)| {
            // SAFETY: an open index, and its columns.
            unsafe { column_equality::check(index, number, column.form == Labels, column.hashed) }
        })
    }

    /// The layout of their keys on pages.
    ///
    /// # Errors
    /// More columns than there can be.
    pub fn layout(&self) -> Result<Columns> {
        Columns::new(&self.columns.iter().map(|c| c.form.width()).collect::<Vec<_>>())
    }

    /// The keys of a row.
    ///
    /// # Safety
    /// `values` and `nulls` are those of the index's columns, the vector first.
    pub unsafe fn keys(&self, values: *const pg_sys::Datum, nulls: *const bool, keys: &mut Vec<Key>) {
        keys.clear();
        // SAFETY: the caller vouches for as many values and flags as columns. Keys are numbers.
        self.memory.within(|| unsafe {
            keys.extend(
                self.columns
                    .iter()
                    .enumerate()
                    .map(|(i, column)| (!*nulls.add(i + 1)).then(|| column.key(*values.add(i + 1)))),
            );
        });
    }

    /// The conditions of a scan, and whether they must be checked again on rows that pass.
    ///
    /// # Safety
    /// The keys are those of a scan of the index.
    ///
    /// # Errors
    /// A condition that the index cannot answer.
    pub unsafe fn filter(&self, keys: &[pg_sys::ScanKeyData]) -> Result<(Filter, bool)> {
        // SAFETY: as the caller says. What comes out are numbers.
        self.memory.within(|| unsafe { self.conditions(keys) })
    }

    unsafe fn conditions(&self, keys: &[pg_sys::ScanKeyData]) -> Result<(Filter, bool)> {
        let mut filter = Filter::default();
        let mut recheck = false;
        for key in keys {
            let flags = key.sk_flags.cast_unsigned();
            let Some(column) = (key.sk_attno as usize).checked_sub(2) else {
                if flags & pg_sys::SK_SEARCHNULL != 0 {
                    let message = "an index has no rows whose vector is NULL";
                    return Err(Error::new(Kind::NotSupported, message));
                }
                continue;
            };
            let Some(found) = self.columns.get(column) else {
                return Err(Error::new(Kind::Internal, "a scan key is for no column of the index"));
            };
            // SAFETY: as the caller says.
            let accept = unsafe { found.accept(key)? };
            recheck |= found.form.is_lossy() && !matches!(accept, Accept::Null | Accept::NotNull);
            filter.clauses.push(Clause::One(Condition { column, accept }));
        }
        Ok((filter, recheck))
    }
}

impl FilterColumns {
    /// The clauses of a filter, as far as keys tell whether a row fulfils them. `value` evaluates what a
    /// condition compares with.
    ///
    /// # Safety
    /// The clauses are those of a scan of the index, and their values of the types that they say.
    ///
    /// # Errors
    /// Out of memory.
    pub unsafe fn clauses<V: Copy>(
        &self,
        clauses: &[Clause<Tested<V>>],
        value: impl Fn(V) -> Option<pg_sys::Datum>,
    ) -> Result<Vec<Clause>> {
        let mut failed = Ok(());
        let mut condition = |tested: &Tested<V>| {
            let accept = self.columns.get(tested.column).map_or(Ok(None), |column| {
                // SAFETY: as the caller says.
                unsafe { column.tested(tested.map(&value).test) }
            });
            match accept {
                Ok(accept) => accept.map(|accept| Clause::One(Condition { column: tested.column, accept })),
                Err(error) => {
                    failed = Err(error);
                    None
                }
            }
        };
        let known = self
            .memory
            .within(|| clauses.iter().filter_map(|clause| clause.narrowed(&mut condition)).collect());
        failed.map(|()| known)
    }
}

impl Column {
    /// The keys of rows that may fulfil a condition; `None` if any row may.
    unsafe fn tested(&self, test: Test<Option<pg_sys::Datum>>) -> Result<Option<Accept>> {
        // SAFETY: the caller passes values of the types that the condition takes.
        unsafe {
            let (compared, listed) = match test {
                Test::Null => return Ok(Some(Accept::Null)),
                Test::NotNull => return Ok(Some(Accept::NotNull)),
                Test::Is(value) => {
                    let key = self.key(pg_sys::Datum::from(value));
                    return Ok(Some(Accept::Within(key, key)));
                }
                Test::Compared(compared) => (compared, None),
                Test::Listed { compared, all } => (compared, Some(all)),
            };
            let Compared { strategy, of, negated, value } = compared;
            let array = if listed.is_some() { pg_sys::SK_SEARCHARRAY } else { 0 };
            let key = pg_sys::ScanKeyData {
                sk_flags: (array | if value.is_none() { pg_sys::SK_ISNULL } else { 0 }).cast_signed(),
                sk_strategy: strategy,
                sk_subtype: of,
                sk_argument: value.unwrap_or(pg_sys::Datum::null()),
                ..pg_sys::ScanKeyData::default()
            };
            let of_all = listed == Some(true) && value.is_some();
            Ok(match (negated, of_all) {
                (false, false) => Some(self.accept(&key)?),
                (false, true) => self.accept_all(&key)?,
                // Of values that share a key some may be equal, others not. `x <> ANY (a)` excludes few rows.
                (true, all) if self.form.is_lossy() || listed.is_some() != all => None,
                (true, _) => match self.accept(&key)? {
                    Accept::Within(low, high) if low == high => Some(Accept::NoneOf(vec![low])),
                    Accept::OneOf(keys) if !keys.is_empty() => Some(Accept::NoneOf(keys)),
                    // Compared with NULL.
                    nothing if value.is_none() => Some(nothing),
                    // All rows pass; those without a value do if an array is empty.
                    _ => None,
                },
            })
        }
    }

    /// The keys for which a comparison holds with all elements of an array.
    unsafe fn accept_all(&self, scan_key: &pg_sys::ScanKeyData) -> Result<Option<Accept>> {
        let Some(comparison) = Comparison::from_strategy(scan_key.sk_strategy) else { return Ok(None) };
        // SAFETY: the argument is an array of the operator's type.
        unsafe {
            let own = scan_key.sk_subtype;
            let array = pg_sys::pg_detoast_datum(scan_key.sk_argument.cast_mut_ptr());
            let values = elements(array.cast()).into_iter().flatten();
            let ranges = values.map(|value| self.range(comparison, pg_sys::getBaseType(own), value));
            let common = ranges.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
            // All rows fulfil a comparison with an empty array, also those without a value.
            Ok(common.map(|(low, high)| Accept::Within(low, high)))
        }
    }

    unsafe fn of(index: pg_sys::Relation, column: usize, form: Form) -> Result<Self> {
        // SAFETY: the caller passes a column of an open index; the type cache keeps its entries for ever.
        unsafe {
            let collation = *(*index).rd_indcollation.add(column);
            let indexed = pg_sys::getBaseType(attribute_type((*index).rd_att, column));
            let hashed = match form {
                Hash => indexed,
                Labels => pg_sys::getBaseType(pg_sys::get_base_element_type(indexed)),
                _ => return Ok(Self { form, collation, hashed: indexed, hash: std::ptr::null_mut() }),
            };
            let entry = pg_sys::lookup_type_cache(hashed, pg_sys::TYPECACHE_HASH_PROC_FINFO as i32);
            if (*entry).hash_proc == pg_sys::InvalidOid {
                let name = attribute_name((*index).rd_att, column);
                let message =
                    format!("column \"{name}\" cannot be a filter column: its type has no hash function");
                return Err(Error::new(Kind::NotSupported, message).with_hint(column_equality::LEAVE_OUT));
            }
            Ok(Self { form, collation, hashed, hash: &raw mut (*entry).hash_proc_finfo })
        }
    }

    /// The key of a value of the column.
    unsafe fn key(&self, datum: pg_sys::Datum) -> u64 {
        let bits = datum.value() as u64;
        // SAFETY: the datum is of the column's type.
        unsafe {
            match self.form {
                Bool => u64::from(bits & 0xff != 0),
                Int2 => key::of_i32(i32::from(bits as i16)),
                Int4 => key::of_i32(bits as i32),
                Int8 => key::of_i64(bits.cast_signed()),
                Float4 => key::of_f32(f32::from_bits(bits as u32)),
                Float8 => key::of_f64(f64::from_bits(bits)),
                Numeric => key::of_f64(double(datum)),
                Uuid => u64::from_be_bytes(*datum.cast_mut_ptr::<[u8; 8]>()),
                Hash => u64::from(self.hash(datum)),
                Labels => self.signature(datum),
            }
        }
    }

    /// One bit for each element of an array.
    unsafe fn signature(&self, datum: pg_sys::Datum) -> u64 {
        // SAFETY: the datum is an array of this column's elements.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let elements = elements(array.cast()).into_iter().flatten();
            elements.fold(0, |bits, element| bits | 1 << (self.hash(element) % 64))
        }
    }

    /// The bits of any of the arrays in an array, or those of all of them. (The arrays are of a domain.)
    unsafe fn signatures(&self, datum: pg_sys::Datum, any: bool) -> Option<u64> {
        // SAFETY: the datum is an array, whose elements are arrays of this column's elements.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let arrays = elements(array).into_iter().flatten();
            let bits = arrays.map(|array| self.signature(array));
            bits.reduce(|a, b| if any { a | b } else { a & b })
        }
    }

    unsafe fn hash(&self, datum: pg_sys::Datum) -> u32 {
        // SAFETY: the function hashes values of this type.
        unsafe { pg_sys::FunctionCall1Coll(self.hash, self.collation, datum).value() as u32 }
    }

    /// The keys that a scan key accepts.
    unsafe fn accept(&self, scan_key: &pg_sys::ScanKeyData) -> Result<Accept> {
        let flags = scan_key.sk_flags.cast_unsigned();
        if flags & pg_sys::SK_SEARCHNULL != 0 {
            return Ok(Accept::Null);
        }
        if flags & pg_sys::SK_SEARCHNOTNULL != 0 {
            return Ok(Accept::NotNull);
        }
        let nothing = Accept::Within(key::NONE.0, key::NONE.1);
        if flags & pg_sys::SK_ISNULL != 0 {
            return Ok(nothing);
        }
        let (strategy, argument) = (scan_key.sk_strategy, scan_key.sk_argument);
        // SAFETY: arguments are of the types that the operators of this class take.
        unsafe {
            if self.form == Labels {
                let bits = match flags & pg_sys::SK_SEARCHARRAY {
                    0 => Some(self.key(argument)),
                    _ => self.signatures(argument, strategy == OVERLAPS),
                };
                return Ok(bits.map_or(nothing, |bits| match strategy {
                    OVERLAPS => Accept::AnyBits(bits),
                    _ => Accept::AllBits(bits),
                }));
            }
            let unknown = || Error::new(Kind::Internal, format!("ivf has no strategy {strategy} here"));
            let comparison = Comparison::from_strategy(strategy).ok_or_else(unknown)?;
            let own =
                if scan_key.sk_subtype == pg_sys::InvalidOid { self.hashed } else { scan_key.sk_subtype };
            let range = |datum| self.range(comparison, pg_sys::getBaseType(own), datum);
            if flags & pg_sys::SK_SEARCHARRAY == 0 {
                let (low, high) = range(argument);
                return Ok(Accept::Within(low, high));
            }
            // By-reference elements are in the detoasted copy, which is freed when the scratch memory is
            // reset.
            let array = pg_sys::pg_detoast_datum(argument.cast_mut_ptr());
            let ranges = elements(array.cast()).into_iter().flatten().map(range).filter(|r| r.0 <= r.1);
            if comparison == Comparison::Equal {
                let mut keys = Vec::new();
                for (low, _) in ranges {
                    keys.try_push(low)?;
                }
                keys.sort_unstable();
                keys.dedup();
                return Ok(Accept::OneOf(keys));
            }
            // All ranges begin, or all end, at the same key, so the widest contains the others.
            let widest = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            Ok(widest.map_or(nothing, |(low, high)| Accept::Within(low, high)))
        }
    }

    /// The keys for which `comparison` with a value of type `of` is true.
    unsafe fn range(&self, comparison: Comparison, of: pg_sys::Oid, datum: pg_sys::Datum) -> Range {
        let bits = datum.value() as u64;
        // SAFETY: the datum is of the type that the operator takes.
        unsafe {
            let integer = || match pg_sys::get_typlen(of) {
                2 => i64::from(bits as i16),
                4 => i64::from(bits as i32),
                _ => bits.cast_signed(),
            };
            let float = || match of {
                pg_sys::FLOAT4OID => f64::from(f32::from_bits(bits as u32)),
                _ => f64::from_bits(bits),
            };
            match self.form {
                Int2 | Int4 => comparison.with_narrow(integer()),
                Int8 => comparison.with(key::of_i64(integer())),
                Float4 => comparison.with_single(float()),
                Float8 => comparison.with(key::of_f64(float())),
                Bool => comparison.with(self.key(datum)),
                Numeric | Uuid | Hash | Labels => comparison.about(self.key(datum)),
            }
        }
    }
}

/// A `numeric` as a double.
unsafe fn double(datum: pg_sys::Datum) -> f64 {
    // SAFETY: the datum is a numeric, which is not null.
    unsafe { direct_function_call::<f64>(pg_sys::numeric_float8_no_overflow, &[Some(datum)]) }
        .unwrap_or(f64::NAN)
}
