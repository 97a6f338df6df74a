//! Options of an index: `WITH (lists, bits, probes, recall_target)`.

use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::guc::MAX_LISTS;

/// The options as stored in the relation cache (`rd_options`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stored {
    vl_len: i32,
    lists: i32,
    bits: i32,
    probes: i32,
    recall_target: f64,
}

/// Options of one index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexOptions {
    /// Number of lists; 0 chooses by the number of rows.
    pub lists: i32,
    /// Bits per dimension: 1, 4 or 8.
    pub bits: u8,
    /// Lists to probe; 0 follows the recall target.
    pub probes: i32,
    /// Recall target; 0 if the index sets none.
    pub recall_target: f64,
}

const DEFAULT_BITS: i32 = 4;

/// The relation option kind, registered once per process.
struct OptionKind(pg_sys::relopt_kind::Type);

static KIND: OnceLock<OptionKind> = OnceLock::new();

/// Names of the values of `bits`, which `add_enum_reloption` keeps a pointer to.
struct BitsNames([pg_sys::relopt_enum_elt_def; 4]);

// SAFETY: constant names and numbers, never written; Postgres' C code reads them from one thread.
unsafe impl Sync for BitsNames {}

static BITS: BitsNames = BitsNames([
    pg_sys::relopt_enum_elt_def { string_val: c"1".as_ptr(), symbol_val: 1 },
    pg_sys::relopt_enum_elt_def { string_val: c"4".as_ptr(), symbol_val: 4 },
    pg_sys::relopt_enum_elt_def { string_val: c"8".as_ptr(), symbol_val: 8 },
    pg_sys::relopt_enum_elt_def { string_val: std::ptr::null(), symbol_val: 0 },
]);

/// Registers the options; called once per process.
pub fn define() {
    const LOCK: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    KIND.get_or_init(|| {
        // SAFETY: registration at library load, as reloptions.c asks; strings are constants.
        unsafe {
            let kind = pg_sys::add_reloption_kind();
            let lists = c"Number of lists; 0 chooses by the number of rows";
            pg_sys::add_int_reloption(kind, c"lists".as_ptr(), lists.as_ptr(), 0, 0, MAX_LISTS, LOCK);
            pg_sys::add_enum_reloption(
                kind,
                c"bits".as_ptr(),
                c"Bits stored per dimension".as_ptr(),
                BITS.0.as_ptr().cast_mut(),
                DEFAULT_BITS,
                c"Valid values are \"1\", \"4\" and \"8\".".as_ptr(),
                LOCK,
            );
            // Read by scans only: changing them needs no rebuild and blocks nobody.
            let light = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
            let probes = c"Number of lists a scan reads at first; 0 follows the recall target";
            pg_sys::add_int_reloption(kind, c"probes".as_ptr(), probes.as_ptr(), 0, 0, MAX_LISTS, light);
            let target = c"Share of the true nearest rows that a scan should find";
            // 0 stands for "not set".
            let name = c"recall_target";
            pg_sys::add_real_reloption(kind, name.as_ptr(), target.as_ptr(), 0.0, 0.5, 1.0, light);
            OptionKind(kind)
        }
    });
}

/// `amoptions`: parses and checks the options.
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(options: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    let Some(kind) = KIND.get() else { return std::ptr::null_mut() };
    let element = |name: &std::ffi::CStr, kind, offset: usize| {
        // SAFETY: an all-zero element is valid; fields that a major lacks stay zero.
        let mut element: pg_sys::relopt_parse_elt = unsafe { std::mem::zeroed() };
        element.optname = name.as_ptr();
        element.opttype = kind;
        element.offset = offset as i32;
        element
    };
    let elements = [
        element(c"lists", pg_sys::relopt_type::RELOPT_TYPE_INT, std::mem::offset_of!(Stored, lists)),
        element(c"bits", pg_sys::relopt_type::RELOPT_TYPE_ENUM, std::mem::offset_of!(Stored, bits)),
        element(c"probes", pg_sys::relopt_type::RELOPT_TYPE_INT, std::mem::offset_of!(Stored, probes)),
        element(
            c"recall_target",
            pg_sys::relopt_type::RELOPT_TYPE_REAL,
            std::mem::offset_of!(Stored, recall_target),
        ),
    ];
    // SAFETY: the table describes `Stored`, whose size is given.
    unsafe {
        pg_sys::build_reloptions(
            options,
            validate,
            kind.0,
            size_of::<Stored>(),
            elements.as_ptr(),
            elements.len() as i32,
        )
        .cast()
    }
}

impl IndexOptions {
    /// The options of an open index.
    pub fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: rd_options is null or what `amoptions` returned.
        let stored = unsafe {
            let options = (*relation).rd_options.cast::<Stored>();
            if options.is_null() {
                Stored { vl_len: 0, lists: 0, bits: DEFAULT_BITS, probes: 0, recall_target: 0.0 }
            } else {
                *options
            }
        };
        Self {
            lists: stored.lists,
            bits: stored.bits as u8,
            probes: stored.probes,
            recall_target: stored.recall_target,
        }
    }
}
