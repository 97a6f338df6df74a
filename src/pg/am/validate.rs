//! `amvalidate`: whether an operator class fits the access method (compare `blvalidate.c`).

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::filter_columns::{OVERLAPS, is_filter_class};
use super::opclass::{METRIC_PROC, ORDER_STRATEGY};
use crate::error::{Error, Kind};
use crate::pg::error::raise;

/// Checks an operator class, and reports faults at level INFO.
#[pg_guard]
pub unsafe extern "C-unwind" fn amvalidate(opclass: pg_sys::Oid) -> bool {
    // SAFETY: catalog lookups by OID; each cache entry is released after its last use.
    unsafe {
        let entry = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::CLAOID as i32, opclass.into());
        if entry.is_null() {
            let message = format!("cache lookup failed for operator class {}", opclass.to_u32());
            raise(Error::new(Kind::Internal, message));
        }
        let class = pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_opclass>(entry);
        let (family, input) = ((*class).opcfamily, (*class).opcintype);
        let method = access_method((*class).opcmethod);
        let name = CStr::from_ptr((*class).opcname.data.as_ptr()).to_string_lossy().into_owned();
        pg_sys::ReleaseSysCache(entry);
        let found = functions(family).into_iter().chain(operators(family)).collect::<Vec<_>>();
        let filters = found.iter().any(|m| m.is_of_filters(input));
        let mut wrong: Vec<String> = found.iter().filter_map(|m| m.wrong(input, filters)).collect();
        let its_own =
            |m: &Member| matches!(m, Member::Function { number: METRIC_PROC, left, .. } if *left == input);
        if !found.iter().any(its_own) {
            wrong.push(format!("lacks support function {METRIC_PROC}"));
        }
        if !found.iter().any(|m| matches!(m, Member::Operator { .. })) {
            wrong.push(match filters {
                true => "lacks an operator".into(),
                false => format!("lacks an operator for strategy {ORDER_STRATEGY}"),
            });
        }
        for what in &wrong {
            pgrx::info!("operator class \"{name}\" of access method {method} {what}");
        }
        wrong.is_empty()
    }
}

/// The name of an access method.
unsafe fn access_method(oid: pg_sys::Oid) -> String {
    // SAFETY: a catalog lookup by OID; null or a NUL-terminated copy.
    unsafe {
        let name = pg_sys::get_am_name(oid);
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// A member of an operator family.
enum Member {
    Function {
        number: u16,
        function: pg_sys::Oid,
        left: pg_sys::Oid,
        right: pg_sys::Oid,
    },
    Operator {
        strategy: i16,
        operator: pg_sys::Oid,
        purpose: c_char,
        sort_family: pg_sys::Oid,
        left: pg_sys::Oid,
        right: pg_sys::Oid,
    },
}

impl Member {
    /// The fault of the member, if it has one.
    unsafe fn fault(&self, input: pg_sys::Oid, filters: bool) -> Option<String> {
        // SAFETY: catalog lookups by OID.
        unsafe {
            match *self {
                Self::Function { number, .. } if number != METRIC_PROC => {
                    Some(format!("contains support function {number}, which does not exist"))
                }
                // Classes for filter columns are in one family if their types can be compared with each
                // other.
                Self::Function { left, right, .. } if left != right || left != input && !filters => {
                    Some("contains a support function for another type".into())
                }
                Self::Function { number, function, .. } => {
                    let fits = returns_number(function);
                    (!fits).then(|| format!("has a support function {number} with a wrong signature"))
                }
                Self::Operator { strategy, purpose, operator, .. } if filters => {
                    let search = purpose == pg_sys::AMOP_SEARCH as c_char
                        && (1..=OVERLAPS as i16).contains(&strategy)
                        && pg_sys::get_op_rettype(operator) == pg_sys::BOOLOID;
                    (!search).then(|| {
                        format!("contains an operator that no filter column has, of strategy {strategy}")
                    })
                }
                Self::Operator { strategy, .. } if strategy != ORDER_STRATEGY as i16 => {
                    Some(format!("contains an operator of strategy {strategy}, which does not exist"))
                }
                Self::Operator { left, right, .. } if left != input || right != input => {
                    Some("contains an operator for another type".into())
                }
                Self::Operator { purpose, .. } if purpose != pg_sys::AMOP_ORDER as c_char => {
                    Some("contains an operator that is not FOR ORDER BY".into())
                }
                Self::Operator { operator, sort_family, .. } => {
                    let result = pg_sys::get_op_rettype(operator);
                    let less = pg_sys::BTLessStrategyNumber as i16;
                    let sortable = result == pg_sys::FLOAT8OID
                        && pg_sys::get_opfamily_member(sort_family, result, result, less)
                            != pg_sys::InvalidOid;
                    (!sortable).then(|| "has an operator whose result cannot be sorted as float8".into())
                }
            }
        }
    }

    fn wrong(&self, input: pg_sys::Oid, filters: bool) -> Option<String> {
        // SAFETY: only catalog lookups.
        unsafe { self.fault(input, filters) }
    }

    /// Whether this is the support function of a class for filter columns of type `input`.
    unsafe fn is_of_filters(&self, input: pg_sys::Oid) -> bool {
        let Self::Function { number: METRIC_PROC, function, left, .. } = *self else { return false };
        // SAFETY: called only with the signature that the function must have.
        unsafe {
            left == input
                && returns_number(function)
                && is_filter_class(pg_sys::OidFunctionCall0Coll(function, pg_sys::InvalidOid).value() as i16)
        }
    }
}

/// Whether a function can be support function 1: no argument, an int2.
unsafe fn returns_number(function: pg_sys::Oid) -> bool {
    // SAFETY: catalog lookups by OID.
    unsafe { pg_sys::get_func_rettype(function) == pg_sys::INT2OID && pg_sys::get_func_nargs(function) == 0 }
}

unsafe fn functions(family: pg_sys::Oid) -> Vec<Member> {
    // SAFETY: a search by the first key of the cache; its rows are pg_amproc rows.
    unsafe {
        members(pg_sys::SysCacheIdentifier::AMPROCNUM as i32, family, |tuple| {
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_amproc>(tuple);
            Member::Function {
                number: row.amprocnum as u16,
                function: row.amproc,
                left: row.amproclefttype,
                right: row.amprocrighttype,
            }
        })
    }
}

unsafe fn operators(family: pg_sys::Oid) -> Vec<Member> {
    // SAFETY: a search by the first key of the cache; its rows are pg_amop rows.
    unsafe {
        members(pg_sys::SysCacheIdentifier::AMOPSTRATEGY as i32, family, |tuple| {
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_amop>(tuple);
            Member::Operator {
                strategy: row.amopstrategy,
                operator: row.amopopr,
                purpose: row.amoppurpose,
                sort_family: row.amopsortfamily,
                left: row.amoplefttype,
                right: row.amoprighttype,
            }
        })
    }
}

unsafe fn members(
    cache: i32,
    family: pg_sys::Oid,
    read: impl Fn(pg_sys::HeapTuple) -> Member,
) -> Vec<Member> {
    let none = pg_sys::Datum::null();
    // SAFETY: the list is released after its rows were copied out.
    unsafe {
        let list = pg_sys::SearchSysCacheList(cache, 1, family.into(), none, none);
        let all = (*list).members.as_slice((*list).n_members.max(0) as usize);
        let found = all.iter().map(|m| read(&raw mut (**m).tuple)).collect();
        pg_sys::ReleaseCatCacheList(list);
        found
    }
}
