//! Options of an index: `WITH (lists, bits, probes, recall_target, recalibrate, renew, dimensions)`, and
//! those of pgvector's access methods.

use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::guc::MAX_LISTS;
use crate::value::Metric;
use crate::value::sparse;

/// The options as stored in the relation cache (`rd_options`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct StoredIvf {
    vl_len: i32,
    lists: i32,
    bits: i32,
    probes: i32,
    recall_target: f64,
    recalibrate: bool,
    renew: bool,
    dimensions: i32,
    code_dimensions: i32,
}

/// Options of one index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexOptions {
    /// Number of lists; 0 chooses by the number of rows.
    pub lists: i32,
    /// Bits per dimension, 1, 4 or 8; `None` if not set.
    pub bits: Option<u8>,
    /// Dimensions of the one-bit codes; 0 for all.
    pub code_dimensions: i32,
    /// Number of lists to probe, if it is set for the index. Otherwise the recall target decides.
    pub probes: Option<u32>,
    /// Recall target, if it is set for the index.
    pub recall_target: Option<f64>,
    /// Whether VACUUM measures again how many lists each target needs.
    pub recalibrate: bool,
    /// Whether VACUUM replaces the lists when that is due.
    pub renew: bool,
    /// Dimensions of the rows, if the column's type does not tell them.
    pub dimensions: Option<usize>,
    /// The options of an index under one of pgvector's names.
    pub foreign: Option<Foreign>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            lists: 0,
            bits: None,
            code_dimensions: 0,
            probes: None,
            recall_target: None,
            recalibrate: true,
            renew: true,
            dimensions: None,
            foreign: None,
        }
    }
}

/// Options of pgvector's access methods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Foreign {
    /// `ivfflat`
    IvfFlat { lists: i32 },
    /// `hnsw`
    Hnsw { m: i32, ef_construction: i32 },
}

/// The options of `ivfflat` in `rd_options`.
#[repr(C)]
#[derive(Clone, Copy)]
struct StoredIvfFlat {
    vl_len: i32,
    lists: i32,
    dimensions: i32,
}

/// The options of `hnsw` in `rd_options`.
#[repr(C)]
#[derive(Clone, Copy)]
struct StoredHnsw {
    vl_len: i32,
    m: i32,
    ef_construction: i32,
    dimensions: i32,
}

const IVFFLAT_LISTS: i32 = 100;
const HNSW_M: i32 = 16;
const HNSW_EF_CONSTRUCTION: i32 = 64;

/// The default of `bits` for vectors.
pub const DEFAULT_BITS: u8 = 4;
/// Stands for "not set".
const NO_BITS: i32 = 0;

/// The relation option kinds, registered once per process.
struct OptionKinds {
    ivf: pg_sys::relopt_kind::Type,
    ivfflat: pg_sys::relopt_kind::Type,
    hnsw: pg_sys::relopt_kind::Type,
}

static KINDS: OnceLock<OptionKinds> = OnceLock::new();

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
    KINDS.get_or_init(|| {
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
                NO_BITS,
                c"Valid values are \"1\", \"4\" and \"8\".".as_ptr(),
                LOCK,
            );
            let code = c"Dimensions that the first stage of a scan compares; 0 compares all";
            let (name, most) = (c"code_dimensions", Metric::L2.most_dims() as i32);
            pg_sys::add_int_reloption(kind, name.as_ptr(), code.as_ptr(), 0, 0, most, LOCK);
            // Only scans read these options, so changing them needs no rebuild and blocks nobody.
            let light = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
            let probes = c"Number of lists a scan reads at first; 0 follows the recall target";
            pg_sys::add_int_reloption(kind, c"probes".as_ptr(), probes.as_ptr(), 0, 0, MAX_LISTS, light);
            let target = c"Share of the true nearest rows that a scan should find";
            // 0 stands for "not set".
            let name = c"recall_target";
            pg_sys::add_real_reloption(kind, name.as_ptr(), target.as_ptr(), 0.0, 0.5, 1.0, light);
            let recalibrate = c"Whether VACUUM calibrates the index again when its rows have changed much";
            pg_sys::add_bool_reloption(kind, c"recalibrate".as_ptr(), recalibrate.as_ptr(), true, light);
            let renew = c"Whether VACUUM replaces the lists when the rows have changed much";
            pg_sys::add_bool_reloption(kind, c"renew".as_ptr(), renew.as_ptr(), true, light);
            add_dimensions(kind, LOCK);
            let ivfflat = pg_sys::add_reloption_kind();
            let text = c"Number of inverted lists that pgvector would make";
            let (name, most) = (c"lists".as_ptr(), 32_768);
            pg_sys::add_int_reloption(ivfflat, name, text.as_ptr(), IVFFLAT_LISTS, 1, most, LOCK);
            add_dimensions(ivfflat, LOCK);
            let hnsw = pg_sys::add_reloption_kind();
            let text = c"Connections per layer that pgvector would make";
            pg_sys::add_int_reloption(hnsw, c"m".as_ptr(), text.as_ptr(), HNSW_M, 2, 100, LOCK);
            let (name, text) = (c"ef_construction".as_ptr(), c"Candidates that pgvector would look at");
            let default = HNSW_EF_CONSTRUCTION;
            pg_sys::add_int_reloption(hnsw, name, text.as_ptr(), default, 4, 1000, LOCK);
            add_dimensions(hnsw, LOCK);
            OptionKinds { ivf: kind, ivfflat, hnsw }
        }
    });
}

/// Registers option `dimensions`.
///
/// # Safety
/// At library load.
unsafe fn add_dimensions(kind: pg_sys::relopt_kind::Type, lock: pg_sys::LOCKMODE) {
    let text =
        c"Dimensions of the rows of a column without declared dimensions; 0 takes those of the first row";
    let (name, most) = (c"dimensions".as_ptr(), sparse::MAX_DIMS as i32);
    // SAFETY: the caller loads the library; strings are constants.
    unsafe { pg_sys::add_int_reloption(kind, name, text.as_ptr(), 0, 0, most, lock) }
}

/// A table of options for `build_reloptions`.
type Elements<const N: usize> = [pg_sys::relopt_parse_elt; N];

fn element(
    name: &std::ffi::CStr,
    kind: pg_sys::relopt_type::Type,
    offset: usize,
) -> pg_sys::relopt_parse_elt {
    // SAFETY: an all-zero element is valid; fields that a major lacks stay zero.
    let mut element: pg_sys::relopt_parse_elt = unsafe { std::mem::zeroed() };
    element.optname = name.as_ptr();
    element.opttype = kind;
    element.offset = offset as i32;
    element
}

/// Parses and checks options into a `T`.
///
/// # Safety
/// The elements describe `T`, which begins with a varlena's length.
unsafe fn parse<T, const N: usize>(
    options: pg_sys::Datum,
    validate: bool,
    kind: pg_sys::relopt_kind::Type,
    elements: &Elements<N>,
) -> *mut pg_sys::bytea {
    // SAFETY: the caller vouches for the table.
    unsafe {
        pg_sys::build_reloptions(options, validate, kind, size_of::<T>(), elements.as_ptr(), N as i32).cast()
    }
}

/// `amoptions` of `ivf`.
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(options: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    use pg_sys::relopt_type::{RELOPT_TYPE_BOOL, RELOPT_TYPE_ENUM, RELOPT_TYPE_INT, RELOPT_TYPE_REAL};
    use std::mem::offset_of;
    let Some(kinds) = KINDS.get() else { return std::ptr::null_mut() };
    let elements = [
        element(c"lists", RELOPT_TYPE_INT, offset_of!(StoredIvf, lists)),
        element(c"bits", RELOPT_TYPE_ENUM, offset_of!(StoredIvf, bits)),
        element(c"probes", RELOPT_TYPE_INT, offset_of!(StoredIvf, probes)),
        element(c"recall_target", RELOPT_TYPE_REAL, offset_of!(StoredIvf, recall_target)),
        element(c"recalibrate", RELOPT_TYPE_BOOL, offset_of!(StoredIvf, recalibrate)),
        element(c"renew", RELOPT_TYPE_BOOL, offset_of!(StoredIvf, renew)),
        element(c"dimensions", RELOPT_TYPE_INT, offset_of!(StoredIvf, dimensions)),
        element(c"code_dimensions", RELOPT_TYPE_INT, offset_of!(StoredIvf, code_dimensions)),
    ];
    // SAFETY: the table describes `Stored`.
    unsafe { parse::<StoredIvf, _>(options, validate, kinds.ivf, &elements) }
}

/// `amoptions` of `ivfflat`.
#[pg_guard]
pub unsafe extern "C-unwind" fn ivfflat_amoptions(
    options: pg_sys::Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let Some(kinds) = KINDS.get() else { return std::ptr::null_mut() };
    let integer = pg_sys::relopt_type::RELOPT_TYPE_INT;
    let elements = [
        element(c"lists", integer, std::mem::offset_of!(StoredIvfFlat, lists)),
        element(c"dimensions", integer, std::mem::offset_of!(StoredIvfFlat, dimensions)),
    ];
    // SAFETY: the table describes `StoredIvfFlat`.
    unsafe { parse::<StoredIvfFlat, _>(options, validate, kinds.ivfflat, &elements) }
}

/// `amoptions` of `hnsw`.
#[pg_guard]
pub unsafe extern "C-unwind" fn hnsw_amoptions(options: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    use std::mem::offset_of;
    let Some(kinds) = KINDS.get() else { return std::ptr::null_mut() };
    let integer = pg_sys::relopt_type::RELOPT_TYPE_INT;
    let elements = [
        element(c"m", integer, offset_of!(StoredHnsw, m)),
        element(c"ef_construction", integer, offset_of!(StoredHnsw, ef_construction)),
        element(c"dimensions", integer, offset_of!(StoredHnsw, dimensions)),
    ];
    // SAFETY: the table describes `StoredHnsw`.
    unsafe { parse::<StoredHnsw, _>(options, validate, kinds.hnsw, &elements) }
}

/// An `amoptions` callback.
pub type AmOptions = unsafe extern "C-unwind" fn(pg_sys::Datum, bool) -> *mut pg_sys::bytea;

/// The callback's address, by which an index of the access method `ivfflat` is recognised.
pub static IVFFLAT: AmOptions = ivfflat_amoptions;
/// As [`IVFFLAT`].
pub static HNSW: AmOptions = hnsw_amoptions;

/// The name of an open index's access method, one of the three that are served here.
pub fn method_name(index: pg_sys::Relation) -> &'static str {
    match IndexOptions::of(index).foreign {
        None => "ivf",
        Some(foreign) => foreign.method_name(),
    }
}

impl Foreign {
    /// The name of the access method.
    pub fn method_name(self) -> &'static str {
        match self {
            Self::IvfFlat { .. } => "ivfflat",
            Self::Hnsw { .. } => "hnsw",
        }
    }
}

/// A number that is set.
fn not_zero(number: i32) -> Option<usize> {
    usize::try_from(number).ok().filter(|&number| number > 0)
}

impl IndexOptions {
    /// The options of an open index.
    pub fn of(relation: pg_sys::Relation) -> Self {
        let mut options = Self::default();
        // SAFETY: an open index has its access method's table; rd_options is null or what that one's
        // `amoptions` returned.
        unsafe {
            let parser = (*(*relation).rd_indam).amoptions;
            let is = |one: AmOptions| parser.is_some_and(|f| std::ptr::fn_addr_eq(f, one));
            let stored = (*relation).rd_options;
            if is(IVFFLAT) {
                let stored = stored.cast::<StoredIvfFlat>().as_ref();
                let lists = stored.map_or(IVFFLAT_LISTS, |s| s.lists);
                options.dimensions = stored.and_then(|s| not_zero(s.dimensions));
                options.foreign = Some(Foreign::IvfFlat { lists });
            } else if is(HNSW) {
                let stored = stored.cast::<StoredHnsw>().as_ref();
                let (m, ef_construction) =
                    stored.map_or((HNSW_M, HNSW_EF_CONSTRUCTION), |s| (s.m, s.ef_construction));
                options.dimensions = stored.and_then(|s| not_zero(s.dimensions));
                options.foreign = Some(Foreign::Hnsw { m, ef_construction });
            } else if let Some(stored) = stored.cast::<StoredIvf>().as_ref() {
                options.lists = stored.lists;
                options.bits = u8::try_from(stored.bits).ok().filter(|&bits| bits > 0);
                options.probes = u32::try_from(stored.probes).ok().filter(|&probes| probes > 0);
                options.recall_target = Some(stored.recall_target).filter(|&target| target > 0.0);
                options.recalibrate = stored.recalibrate;
                options.renew = stored.renew;
                options.dimensions = not_zero(stored.dimensions);
                options.code_dimensions = stored.code_dimensions;
            }
        }
        options
    }
}
