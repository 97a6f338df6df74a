//! Runs code that a table's owner has put into an index as that owner.
//!
//! Whoever owns a table chooses the functions in its index expressions and predicates. Maintenance evaluates
//! these functions for every row, whoever calls it, so they must not run with the caller's rights
//! (CVE-2022-1552). Core's `reindex_index` (index.c) and amcheck's `amcheck_lock_relation_and_check` do the
//! same as this file.

use pgrx::pg_sys;

/// Runs `work` as the owner of `table`, in a security-restricted operation, with a search path that nobody
/// else can put objects into. Settings that the work changes (`SET`, `set_config`) are restored.
///
/// If `work` raises an ERROR, the code here that restores them is skipped. Then the abort of the transaction
/// or subtransaction restores the user, the restriction and the settings (`AbortTransaction`,
/// `AbortSubTransaction`, xact.c).
///
/// # Safety
/// The table is open and locked. The caller's own rights have been checked.
pub unsafe fn as_owner<R>(table: pg_sys::Relation, work: impl FnOnce() -> R) -> R {
    let (mut user, mut restrictions) = (pg_sys::InvalidOid, 0);
    // SAFETY: an open relation has its pg_class row; a level of settings is left by the one call that names
    // it.
    let level = unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut restrictions);
        let restricted = restrictions | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
        pg_sys::SetUserIdAndSecContext((*(*table).rd_rel).relowner, restricted);
        let level = pg_sys::NewGUCNestLevel();
        crate::pg::compat::restrict_search_path();
        level
    };
    let result = work();
    // SAFETY: the user and the restrictions are those that were found; the level is the one entered above.
    unsafe {
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::SetUserIdAndSecContext(user, restrictions);
    }
    result
}
