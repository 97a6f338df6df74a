//! Differences between the majors, except those that concern a single struct field.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

/// The point at which a long maintenance command sleeps for its cost-based delay and reacts to cancel.
pub fn vacuum_delay_point() {
    // SAFETY: no buffer lock is held by the callers.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        pg_sys::vacuum_delay_point(false);
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        pg_sys::vacuum_delay_point();
    }
}

/// Runs `work` with the table of an index that is being vacuumed.
///
/// # Safety
/// A live structure of VACUUM, which has locked the table.
pub unsafe fn with_table_of<R>(
    info: *mut pg_sys::IndexVacuumInfo,
    work: impl FnOnce(pg_sys::Relation) -> R,
) -> R {
    // SAFETY: the caller vouches for the structure; the table stays locked.
    unsafe {
        #[cfg(not(feature = "pg15"))]
        return work((*info).heaprel);
        #[cfg(feature = "pg15")]
        {
            let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
            let table = pg_sys::IndexGetRelation((*(*info).index).rd_id, false);
            let table = pg_sys::table_open(table, lock);
            let result = work(table);
            pg_sys::table_close(table, lock);
            result
        }
    }
}

/// Whether this server sends its log to others now.
pub fn sends_wal() -> bool {
    // SAFETY: reads this backend's copy of what the others do; numbers begin with 1.
    unsafe {
        (1..=pg_sys::pgstat_fetch_stat_numbackends()).any(|number| {
            #[cfg(feature = "pg15")]
            let backend = pg_sys::pgstat_fetch_stat_local_beentry(number);
            #[cfg(not(feature = "pg15"))]
            let backend = pg_sys::pgstat_get_local_beentry_by_index(number);
            let sender = pg_sys::BackendType::B_WAL_SENDER;
            backend.as_ref().is_some_and(|backend| backend.backendStatus.st_backendType == sender)
        })
    }
}

/// Calls `walker` on each child of a plan state node; ends when it returns true.
///
/// # Safety
/// `state` is a live node of a started plan.
pub unsafe fn planstate_children(
    state: *mut pg_sys::PlanState,
    walker: unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut std::ffi::c_void) -> bool,
    context: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the caller vouches for the node.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::ffi::pg_guard_ffi_boundary(|| planstate_tree_walker(state, walker, context));
        #[cfg(not(feature = "pg15"))]
        pg_sys::planstate_tree_walker_impl(state, Some(walker), context)
    }
}

#[cfg(feature = "pg15")]
unsafe extern "C-unwind" {
    // Not among pgrx' bindings of this major (nodeFuncs.h).
    fn planstate_tree_walker(
        state: *mut pg_sys::PlanState,
        walker: unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut std::ffi::c_void) -> bool,
        context: *mut std::ffi::c_void,
    ) -> bool;
}

/// Locks a relation against writes that a serializable transaction has to know of, as a scan of an index does
/// whose access method has no finer locks (`index_beginscan`, indexam.c).
///
/// # Safety
/// The relation is open; the snapshot is that of the scan.
pub unsafe fn predicate_lock_relation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot) {
    // SAFETY: the caller vouches for both.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| PredicateLockRelation(relation, snapshot)) }
}

unsafe extern "C-unwind" {
    // Not among pgrx' bindings (predicate.h).
    fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
}

/// The record of a setting (guc_tables.h), null if there is none of this name.
pub fn find_setting(name: &CStr) -> *mut pg_sys::config_generic {
    #[cfg(not(feature = "pg15"))]
    // SAFETY: a lookup by name that does not mind if there is none.
    unsafe {
        pg_sys::find_option(name.as_ptr(), false, true, pg_sys::LOG as i32)
    }
    #[cfg(feature = "pg15")]
    // SAFETY: the server's table of as many records as it counts, each with a name.
    unsafe {
        let count = pg_sys::GetNumConfigOptions().max(0) as usize;
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), count);
        let is = |record: &&*mut pg_sys::config_generic| {
            CStr::from_ptr((***record).name).to_bytes().eq_ignore_ascii_case(name.to_bytes())
        };
        all.iter().find(is).map_or(std::ptr::null_mut(), |record| *record)
    }
}

/// Replaces the text that was passed to a check hook (guc.h) by a copy of `text`. The copy is null if there
/// is no memory.
///
/// # Safety
/// The place is the one that the hook was given.
pub unsafe fn replace_setting_text(place: *mut *mut c_char, text: &CStr) {
    // SAFETY: the caller vouches for the place, whose text is of the server's allocator for settings.
    unsafe {
        #[cfg(not(feature = "pg15"))]
        {
            pg_sys::guc_free((*place).cast());
            *place = pg_sys::guc_strdup(pg_sys::LOG as i32, text.as_ptr());
        }
        #[cfg(feature = "pg15")]
        {
            libc::free((*place).cast());
            *place = libc::strdup(text.as_ptr());
        }
    }
}

/// The type modifier of a column.
///
/// # Safety
/// The descriptor has that many attributes.
pub unsafe fn typmod(descriptor: pg_sys::TupleDesc, attribute: usize) -> i32 {
    // SAFETY: the caller vouches for the descriptor.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        return (*pg_sys::TupleDescAttr(descriptor, attribute as i32)).atttypmod;
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        (*(*descriptor).attrs.as_ptr().add(attribute)).atttypmod
    }
}

/// The type of a column.
///
/// # Safety
/// The descriptor has that many attributes.
pub unsafe fn attribute_type(descriptor: pg_sys::TupleDesc, attribute: usize) -> pg_sys::Oid {
    // SAFETY: the caller vouches for the descriptor.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        return (*pg_sys::TupleDescAttr(descriptor, attribute as i32)).atttypid;
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        (*(*descriptor).attrs.as_ptr().add(attribute)).atttypid
    }
}

/// The name of a column.
///
/// # Safety
/// The descriptor has that many attributes.
pub unsafe fn attribute_name(descriptor: pg_sys::TupleDesc, attribute: usize) -> String {
    // SAFETY: the caller vouches for the descriptor; a name ends with a NUL.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        let name = &raw const (*pg_sys::TupleDescAttr(descriptor, attribute as i32)).attname;
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        let name = &raw const (*(*descriptor).attrs.as_ptr().add(attribute)).attname;
        let text = std::ffi::CStr::from_ptr((&raw const (*name).data).cast());
        text.to_string_lossy().into_owned()
    }
}

/// Whether the rows of an open relation are kept by the server's own access method, `heap`.
///
/// # Safety
/// The relation is open.
pub unsafe fn is_heap(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller vouches for the relation.
    unsafe { std::ptr::eq((*relation).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) }
}

/// Number of columns of an open index.
pub fn key_columns(index: pg_sys::Relation) -> usize {
    // SAFETY: an open index has its pg_index row.
    unsafe { (*(*index).rd_index).indnkeyatts.max(0) as usize }
}

/// Counts an index scan in the statistics views.
///
/// # Safety
/// `scan` is a live scan of an open index.
pub unsafe fn count_index_scan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the caller vouches for the scan.
    unsafe {
        pgrx::PgRelation::from_pg((*scan).indexRelation).count_index_scan();
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        if !(*scan).instrument.is_null() {
            (*(*scan).instrument).nsearches += 1;
        }
    }
}

/// Begins an index scan with `keys` scan keys.
///
/// # Safety
/// The relations are open and belong together; they and the snapshot outlive the scan.
pub unsafe fn begin_index_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the caller vouches for all of them.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0);
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0, NO_HINTS);
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        pg_sys::index_beginscan(table, index, snapshot, keys, 0)
    }
}

/// No flag of a scan (`SO_NONE`, tableam.h).
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
const NO_HINTS: u32 = 0;

/// Begins fetching rows of a table by their addresses.
///
/// # Safety
/// The table is open, and outlives what is returned.
pub unsafe fn begin_fetch(table: pg_sys::Relation) -> *mut pg_sys::IndexFetchTableData {
    // SAFETY: the caller vouches for the table.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
        return pg_sys::table_index_fetch_begin(table);
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        pg_sys::table_index_fetch_begin(table, NO_HINTS)
    }
}

/// Counters of a plan's node (instrument.h).
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
pub type NodeInstrumentation = pg_sys::Instrumentation;
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
pub use pg_sys::NodeInstrumentation;

/// What a hook is told of a statement's constants (queryjumble.h).
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
pub type Jumble = *mut pg_sys::JumbleState;
/// What a hook is told of a statement's constants (queryjumble.h).
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
pub type Jumble = *const pg_sys::JumbleState;

/// A snapshot that sees the TOAST chunks of every row that `_seen_by` sees (`SnapshotToast`,
/// heapam_visibility.c).
///
/// # Safety
/// The snapshot is valid.
pub unsafe fn toast_snapshot(_seen_by: pg_sys::Snapshot) -> pg_sys::SnapshotData {
    pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_TOAST,
        // For `old_snapshot_threshold`, which is gone in 17.
        // SAFETY: the caller vouches for the snapshot.
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        lsn: unsafe { (*_seen_by).lsn },
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        // SAFETY: as above.
        whenTaken: unsafe { (*_seen_by).whenTaken },
        ..Default::default()
    }
}

/// `ReadRecentBuffer`: pins `buffer` if it holds this block of the relation.
///
/// # Safety
/// The relation is open; `buffer` is the number of a shared buffer.
pub unsafe fn read_recent_buffer(relation: pg_sys::Relation, blkno: u32, buffer: pg_sys::Buffer) -> bool {
    // SAFETY: the caller vouches for both.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        let file = (*relation).rd_locator;
        pg_sys::ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, blkno, buffer)
    }
}

/// Counts a page found in shared buffers in the statistics views, as `ReadBuffer` does.
///
/// # Safety
/// The relation is open.
pub unsafe fn count_buffer_hit(relation: pg_sys::Relation) {
    // SAFETY: the caller vouches for the relation; its counters are this backend's.
    unsafe {
        // `pgstat_should_count_relation` (pgstat.h).
        if (*relation).pgstat_info.is_null() {
            if !(*relation).pgstat_enabled {
                return;
            }
            pg_sys::pgstat_assoc_relation(relation);
        }
        let counters = (*relation).pgstat_info;
        #[cfg(feature = "pg15")]
        {
            (*counters).t_counts.t_blocks_fetched += 1;
            (*counters).t_counts.t_blocks_hit += 1;
        }
        #[cfg(not(feature = "pg15"))]
        {
            (*counters).counts.blocks_fetched += 1;
            (*counters).counts.blocks_hit += 1;
        }
    }
}

/// Adds the cost of a page found in shared buffers, if this backend runs a VACUUM with a cost-based delay and
/// `is_due` says so. `ReadRecentBuffer` leaves this to its caller, as it leaves the statistics.
pub fn charge_buffer_hit(is_due: impl FnOnce() -> bool) {
    // SAFETY: settings and counters of this backend.
    unsafe {
        if pg_sys::VacuumCostActive && is_due() {
            pg_sys::VacuumCostBalance += pg_sys::VacuumCostPageHit;
        }
    }
}

/// Raises an error if rows that a snapshot sees may have been removed from a page because of
/// `old_snapshot_threshold` (`TestForOldSnapshot`, bufmgr.h). PostgreSQL 17 no longer has this setting.
///
/// # Safety
/// The snapshot is null or valid; the relation is open.
#[cfg(any(feature = "pg15", feature = "pg16"))]
#[inline]
pub unsafe fn test_for_old_snapshot(
    snapshot: pg_sys::Snapshot,
    relation: pg_sys::Relation,
    page: &crate::page::Page,
) {
    // SAFETY: a setting of the server's start; the caller vouches for the rest.
    unsafe {
        if pg_sys::old_snapshot_threshold < 0 || snapshot.is_null() {
            return;
        }
        // A page begins with its LSN, the high half first (bufpage.h).
        let bytes = page.bytes();
        let half = |at: usize| {
            u64::from(u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
        };
        let lsn = half(0) << 32 | half(4);
        let mvcc = (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC;
        if mvcc && (*snapshot).lsn != 0 && lsn > (*snapshot).lsn {
            pg_sys::TestForOldSnapshot_impl(snapshot, relation);
        }
    }
}

/// Whether the current user owns a relation.
pub fn owns_relation(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks up a catalog row; a missing relation raises.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, pg_sys::GetUserId())
    }
}

/// Sets `search_path`, at the current nesting level of settings, to the safe value for maintenance.
pub fn restrict_search_path() {
    // SAFETY: settings of this backend; the strings are constants.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        pg_sys::RestrictSearchPath();
        // Older majors: what `RestrictSearchPath` does (guc.c).
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// The order of a pathkey: its B-tree strategy or, in PostgreSQL 18, its comparison type, which has the same
/// numbers.
///
/// # Safety
/// A pathkey of the planner's.
pub unsafe fn direction(key: *mut pg_sys::PathKey) -> u32 {
    // SAFETY: the caller vouches for the key.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        return (*key).pk_cmptype;
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        {
            (*key).pk_strategy as u32
        }
    }
}

/// The members of an equivalence class that belong to one table; for a child table also those of its parents.
///
/// # Safety
/// Both are the planner's.
pub unsafe fn class_members(
    class: *mut pg_sys::EquivalenceClass,
    table: *mut pg_sys::RelOptInfo,
) -> Vec<*mut pg_sys::EquivalenceMember> {
    // SAFETY: the caller vouches for both; children's members are kept by the number of the table from 18 on.
    unsafe {
        let members = pgrx::PgList::from_pg((*class).ec_members);
        #[allow(unused_mut)]
        let mut members: Vec<_> = members.iter_ptr().collect();
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        if !(*class).ec_childmembers.is_null() && ((*table).relid as i32) < (*class).ec_childmembers_size {
            let children = *(*class).ec_childmembers.add((*table).relid as usize);
            members.extend(pgrx::PgList::from_pg(children).iter_ptr());
        }
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        let _ = table;
        members
    }
}

/// `build_expression_pathkey`: the pathkey of an ascending order by a float8 expression of one table, or of a
/// constant if `table` is null.
///
/// # Safety
/// All is the planner's, which has merged its equivalence classes.
pub unsafe fn expression_pathkeys(
    root: *mut pg_sys::PlannerInfo,
    expression: *mut pg_sys::Expr,
    table: *mut pg_sys::RelOptInfo,
) -> *mut pg_sys::List {
    // `<` of float8 (pg_operator.dat).
    let less = pg_sys::Oid::from(672);
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        let tables = table.as_ref().map_or(std::ptr::null_mut(), |table| table.relids);
        // The server makes such classes for base relations, and those of partitions from them
        // (`get_eclass_for_sort_expr`, equivclass.c, asserts it). A class with this expression as its only
        // member is right for a partition, too.
        let part = pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL;
        let is_part = table.as_ref().is_some_and(|table| table.reloptkind == part);
        if is_part {
            (*table).reloptkind = pg_sys::RelOptKind::RELOPT_BASEREL;
        }
        #[cfg(feature = "pg15")]
        let keys =
            pg_sys::build_expression_pathkey(root, expression, std::ptr::null_mut(), less, tables, true);
        #[cfg(not(feature = "pg15"))]
        let keys = pg_sys::build_expression_pathkey(root, expression, less, tables, true);
        if is_part {
            (*table).reloptkind = part;
        }
        keys
    }
}

/// Whether the planner may assume that a column of a table has no NULL.
///
/// # Safety
/// The planner's table of this OID, with its own rows, and one of its columns.
pub unsafe fn is_not_null(
    table: *mut pg_sys::RelOptInfo,
    oid: pg_sys::Oid,
    column: pg_sys::AttrNumber,
) -> bool {
    // SAFETY: the caller vouches for the table; the entry is released after its last use.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        {
            let _ = table;
            let cache = pg_sys::SysCacheIdentifier::ATTNUM as i32;
            let entry = pg_sys::SearchSysCache2(cache, oid.into(), column.into());
            if entry.is_null() {
                return false;
            }
            let found = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_attribute>(entry)).attnotnull;
            pg_sys::ReleaseSysCache(entry);
            found
        }
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        {
            let _ = oid;
            pg_sys::bms_is_member(column.into(), (*table).notnullattnums)
        }
    }
}

/// Whether a column is among those of `find_nonnullable_vars`.
///
/// # Safety
/// Both are the planner's.
pub unsafe fn is_among(column: *mut pg_sys::Var, columns: *mut pg_sys::List) -> bool {
    // SAFETY: the caller vouches for both; a list of columns, from 16 on of a set for each table.
    unsafe {
        #[cfg(feature = "pg15")]
        return pgrx::PgList::<pg_sys::Var>::from_pg(columns)
            .iter_ptr()
            .any(|c| (*c).varno == (*column).varno && (*c).varattno == (*column).varattno);
        #[cfg(not(feature = "pg15"))]
        {
            let set = pgrx::PgList::<pg_sys::Bitmapset>::from_pg(columns).get_ptr((*column).varno as usize);
            let member = i32::from((*column).varattno) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            set.is_some_and(|set| pg_sys::bms_is_member(member, set))
        }
    }
}

/// How many elements an array of a condition is expected to have.
///
/// # Safety
/// Both are the planner's.
pub unsafe fn estimate_array_length(root: *mut pg_sys::PlannerInfo, array: *mut pg_sys::Node) -> f64 {
    // SAFETY: the caller vouches for both.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        {
            let _ = root;
            pg_sys::estimate_array_length(array).into()
        }
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        pg_sys::estimate_array_length(root, array)
    }
}

/// The cost of a sort before it returns the first of `rows` rows, including the cost of its whole input.
///
/// # Safety
/// Both are the planner's.
pub unsafe fn sort_startup_cost(
    root: *mut pg_sys::PlannerInfo,
    sort: *mut pg_sys::SortPath,
    rows: f64,
) -> f64 {
    // SAFETY: the caller vouches for both; the costs go into a path of our own.
    unsafe {
        let mut again = pg_sys::Path::default();
        let input = (*sort).subpath;
        pg_sys::cost_sort(
            &raw mut again,
            root,
            (*sort).path.pathkeys,
            #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
            (*input).disabled_nodes,
            (*input).total_cost,
            (*input).rows,
            (*(*input).pathtarget).width,
            0.0,
            pg_sys::work_mem,
            rows,
        );
        again.startup_cost
    }
}

/// How many nodes of a path are disabled by a setting. Before PostgreSQL 18 the cost contains this.
///
/// # Safety
/// A path of the planner's.
pub unsafe fn disabled_nodes(_path: *mut pg_sys::Path) -> i32 {
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    // SAFETY: the caller vouches for the path.
    return unsafe { (*_path).disabled_nodes };
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    0
}
