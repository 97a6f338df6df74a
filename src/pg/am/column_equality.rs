//! Checks that the type of a filter column compares its values in the same way as the column's operator
//! class.
//!
//! If a type has no operator class, the server takes the default class of a type to which it is
//! binary-coercible: for `citext` that of `text`. The type's own operators are not in that class, so
//! conditions with them never reach the index.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Kind, Result};
use crate::pg::compat::attribute_name;

/// Hint for a column that an index cannot have.
pub const LEAVE_OUT: &str = "Leave the column out: conditions on it are then evaluated on the rows.";

/// Refuses a column if its type has an operator `=` that is not in the operator class, or if values that are
/// equal by `=` have different hashes.
///
/// # Safety
/// The index is open and has that many columns; `hashed` is the base type of the column's values, or of the
/// elements of its arrays (`labels`).
pub unsafe fn check(index: pg_sys::Relation, column: usize, labels: bool, hashed: pg_sys::Oid) -> Result<()> {
    // SAFETY: as the caller says; the type cache keeps its entries for ever.
    unsafe {
        let flags = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_PROC;
        let entry = pg_sys::lookup_type_cache(hashed, flags as i32);
        let (own, hash_family) = ((*entry).eq_opr, (*entry).hash_opf);
        let (family, input) = (*(*index).rd_opfamily.add(column), *(*index).rd_opcintype.add(column));
        let is_in = |family| own == pg_sys::InvalidOid || pg_sys::op_in_opfamily(own, family);
        let hashes = hash_family == pg_sys::InvalidOid || is_in(hash_family);
        if hashes && (labels || is_in(family)) {
            return Ok(());
        }
        let (own_type, class_type) = (type_name(hashed), type_name(input));
        let (detail, hint) = match hashes {
            false => (
                format!(
                    "Values of type {own_type} that its operator = takes for equal may have different hashes."
                ),
                LEAVE_OUT.to_owned(),
            ),
            true => (
                format!(
                    "Values of type {own_type} are compared by its own operators, which the class does not \
                     have."
                ),
                format!(
                    "Index an expression with a cast to {class_type}, and write it in conditions; or have a \
                     superuser CREATE OPERATOR CLASS {own_type}_ops DEFAULT FOR TYPE {own_type} USING ivf AS \
                     OPERATOR 3 =, FUNCTION 1 ivf_hash_key()."
                ),
            ),
        };
        let name = attribute_name((*index).rd_att, column);
        let message = format!(
            "column \"{name}\" cannot be a filter column with an operator class for type {class_type}"
        );
        Err(Error::new(Kind::NotSupported, message).with_detail(detail).with_hint(hint))
    }
}

/// A type's name, as SQL writes it.
unsafe fn type_name(of: pg_sys::Oid) -> String {
    // SAFETY: a lookup, which also answers for types that are gone; the text is copied.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(of)).to_string_lossy().into_owned() }
}
