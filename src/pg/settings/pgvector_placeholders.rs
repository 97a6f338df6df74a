//! pgvector's settings (`hnsw.ef_search`, `ivfflat.probes`, …), where the database's `hnsw` and `ivfflat` are
//! ours.
//!
//! If two libraries define the same setting, loading the second one fails, and pgvector's library may be
//! loaded later. So our settings are placeholders, which the server also creates for names that no library
//! has defined (guc.c): a library that defines the setting later takes over its value. The server's
//! placeholders have no default and accept any text. Ours have pgvector's defaults, and check values with
//! pgvector's errors.
//!
//! They are created in one of three cases: an index under one of these names is used for the first time in a
//! session; the first statement after this library was loaded is parsed, in a database that has these access
//! methods; a later command names one of the settings (`pgvector_commands.rs`). They are never created in
//! parallel mode, in which settings cannot change.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

use pgrx::{FromDatum, pg_sys};

use crate::pg::compat::{find_setting, replace_setting_text};
use crate::pg::types::call;

/// The values that a setting takes.
enum Values {
    Integers(c_int, c_int),
    Reals(f64, f64),
    Names(&'static [&'static str]),
}

struct Setting {
    name: &'static CStr,
    about: &'static CStr,
    default: &'static CStr,
    values: Values,
}

const COUNT: usize = 7;

static SETTINGS: [Setting; COUNT] = [
    Setting {
        name: c"hnsw.ef_search",
        about: c"Length of pgvector's candidate list; vector_search derives a recall target from it.",
        default: c"40",
        values: Values::Integers(1, 1000),
    },
    Setting {
        name: c"hnsw.iterative_scan",
        about: c"How pgvector continues a scan; vector_search uses ivf.iterative_scan instead.",
        default: c"off",
        values: Values::Names(&["off", "relaxed_order", "strict_order"]),
    },
    Setting {
        name: c"hnsw.max_scan_tuples",
        about: c"Rows that a scan of pgvector visits at most; vector_search ignores it.",
        default: c"20000",
        values: Values::Integers(1, c_int::MAX),
    },
    Setting {
        name: c"hnsw.scan_mem_multiplier",
        about: c"Memory of pgvector's scans; vector_search ignores it.",
        default: c"1",
        values: Values::Reals(1.0, 1000.0),
    },
    Setting {
        name: c"ivfflat.probes",
        about: c"Lists that pgvector reads; vector_search reads at least the same share of its lists.",
        default: c"1",
        values: Values::Integers(1, 32_768),
    },
    Setting {
        name: c"ivfflat.iterative_scan",
        about: c"How pgvector continues a scan; vector_search uses ivf.iterative_scan instead.",
        default: c"off",
        values: Values::Names(&["off", "relaxed_order"]),
    },
    Setting {
        name: c"ivfflat.max_probes",
        about: c"Lists that a scan of pgvector reads at most; vector_search ignores it.",
        default: c"32768",
        values: Values::Integers(1, 32_768),
    },
];

const PREFIXES: [&CStr; 2] = [c"hnsw", c"ivfflat"];

const CHECKS: [pg_sys::GucStringCheckHook; COUNT] = [
    Some(check::<0>),
    Some(check::<1>),
    Some(check::<2>),
    Some(check::<3>),
    Some(check::<4>),
    Some(check::<5>),
    Some(check::<6>),
];

/// The server stores the current texts of the settings here; null for a setting that is not ours.
static mut TEXTS: [*mut c_char; COUNT] = [std::ptr::null_mut(); COUNT];

thread_local! {
    static MADE: Cell<bool> = const { Cell::new(false) };
    /// How often [`look`] may look. If an error ends it, such as a cancel, the next statement looks again.
    /// An error that lasts must not end all statements of the session.
    static LOOKS: Cell<u32> = const { Cell::new(4) };
    static MARKED: Cell<bool> = const { Cell::new(true) };
}

/// Whether settings may change now.
fn is_time() -> bool {
    // SAFETY: reading the backend's state.
    unsafe { pg_sys::ParallelWorkerNumber < 0 && !pg_sys::IsInParallelMode() && pg_sys::IsTransactionState() }
}

/// Creates the settings that no library has defined. Called when an access method under one of pgvector's
/// names is used.
pub fn make() {
    if MADE.get() || !is_time() {
        return;
    }
    let mut made = false;
    for (place, setting) in SETTINGS.iter().enumerate() {
        // Some are made already if an error has ended this before.
        if is_defined(setting.name) || is_ours(setting) {
            made |= is_ours(setting);
            continue;
        }
        made = true;
        // SAFETY: constant texts; the server owns what it puts into TEXTS. It replaces a placeholder that the
        // session has set, and warns of a value that the check refuses.
        unsafe {
            pg_sys::DefineCustomStringVariable(
                setting.name.as_ptr(),
                setting.about.as_ptr(),
                std::ptr::null(),
                (&raw mut TEXTS).cast::<*mut c_char>().add(place),
                setting.default.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GUC_CUSTOM_PLACEHOLDER as c_int,
                CHECKS[place],
                None,
                None,
            );
        }
    }
    if made {
        // Reserving a prefix removes the placeholders that have it.
        as_defined();
        for prefix in PREFIXES {
            // SAFETY: a constant text, which is copied.
            unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) };
        }
        as_placeholders();
    }
    MADE.set(true);
}

/// As [`make`], if the database has these access methods. Looks once in a session, unless it fails.
#[inline]
pub fn look() {
    if !MARKED.get() {
        as_placeholders();
    }
    if LOOKS.get() > 0 && is_time() {
        LOOKS.set(LOOKS.get() - 1);
        make_if_served();
        LOOKS.set(0);
    }
}

/// As [`make`], if the database has these access methods.
#[cold]
pub fn make_if_served() {
    if !MADE.get() && is_time() && is_served() {
        make();
    }
}

/// Whether this session has our settings, or those of pgvector's library.
pub fn are_made() -> bool {
    MADE.get()
}

/// Whether a library has defined a setting.
fn is_defined(name: &CStr) -> bool {
    // SAFETY: the record of a setting, if there is one.
    unsafe {
        let found = find_setting(name);
        !found.is_null() && (*found).flags & pg_sys::GUC_CUSTOM_PLACEHOLDER as c_int == 0
    }
}

/// Whether the record of a setting is ours: one that pgvector's library has taken over is another record.
fn is_ours(setting: &Setting) -> bool {
    // SAFETY: the record of a setting, if there is one.
    unsafe {
        let found = find_setting(setting.name);
        !found.is_null() && std::ptr::eq((*found).short_desc, setting.about.as_ptr())
    }
}

/// Whether `hnsw` is an access method of this database and ours.
fn is_served() -> bool {
    let cache = |id: pg_sys::SysCacheIdentifier::Type| id as i32;
    // SAFETY: catalog lookups in a transaction; each entry is released after its last use.
    unsafe {
        if pg_sys::MyDatabaseId == pg_sys::InvalidOid {
            return false;
        }
        let method = pg_sys::get_am_oid(c"hnsw".as_ptr(), true);
        if method == pg_sys::InvalidOid {
            return false;
        }
        let entry = pg_sys::SearchSysCache1(cache(pg_sys::SysCacheIdentifier::AMOID), method.into());
        if entry.is_null() {
            return false;
        }
        let handler = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_am>(entry)).amhandler;
        pg_sys::ReleaseSysCache(entry);
        let functions = cache(pg_sys::SysCacheIdentifier::PROCOID);
        let entry = pg_sys::SearchSysCache1(functions, handler.into());
        if entry.is_null() {
            return false;
        }
        let mut is_null = false;
        let symbol = pg_sys::Anum_pg_proc_prosrc as pg_sys::AttrNumber;
        let symbol = pg_sys::SysCacheGetAttr(functions, entry, symbol, &raw mut is_null);
        // In pgvector the handler is called "hnswhandler".
        let ours = String::from_datum(symbol, is_null).is_some_and(|symbol| symbol == "hnswhandler_wrapper");
        pg_sys::ReleaseSysCache(entry);
        ours
    }
}

/// Makes our settings count as defined by a library. Then their prefix can be reserved without removing them,
/// and values that a command stores for later sessions are checked.
pub fn as_defined() {
    MARKED.set(false);
    mark(false);
}

/// Undoes [`as_defined`]. If a command fails with an error, the next statement undoes it ([`look`]).
pub fn as_placeholders() {
    MARKED.set(true);
    mark(true);
}

/// Marks our settings as placeholders, or as defined.
fn mark(placeholders: bool) {
    let flag = pg_sys::GUC_CUSTOM_PLACEHOLDER as c_int;
    for setting in &SETTINGS {
        if is_ours(setting) {
            // SAFETY: the record that is ours.
            unsafe {
                let found = find_setting(setting.name);
                match placeholders {
                    true => (*found).flags |= flag,
                    false => (*found).flags &= !flag,
                }
            }
        }
    }
}

/// Whether a setting's name has one of the prefixes.
pub fn is_foreign(name: &CStr) -> bool {
    PREFIXES.iter().any(|prefix| {
        let (name, prefix) = (name.to_bytes(), prefix.to_bytes());
        name.len() > prefix.len()
            && name[prefix.len()] == b'.'
            && name[..prefix.len()].eq_ignore_ascii_case(prefix)
    })
}

/// The check hook of a setting (guc.h). Returns whether the value is accepted, and replaces it by its usual
/// form.
unsafe extern "C-unwind" fn check<const PLACE: usize>(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server passes a value of its own, which the hook may replace.
    let fits = unsafe { call::guarded(|| pg_sys::Datum::from(checked(&SETTINGS[PLACE], value))) };
    fits.value() != 0
}

unsafe fn checked(setting: &Setting, value: *mut *mut c_char) -> bool {
    // SAFETY: the caller passes a place with a text or null.
    unsafe {
        if (*value).is_null() {
            return false;
        }
        match usual(setting, CStr::from_ptr(*value)) {
            Ok(text) => {
                if text.as_c_str() != CStr::from_ptr(*value) {
                    replace_setting_text(value, &text);
                }
                !(*value).is_null()
            }
            Err(Refused { message, hint }) => {
                // Without this the server's message would be `invalid value for parameter`.
                let keep = |text: String| {
                    let text = CString::new(text).unwrap_or_default();
                    pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, text.as_ptr())
                };
                if let Some(message) = message {
                    pg_sys::GUC_check_errmsg_string = keep(message);
                }
                if let Some(hint) = hint {
                    pg_sys::GUC_check_errhint_string = keep(hint);
                }
                false
            }
        }
    }
}

/// Why a value is refused.
#[derive(Default)]
struct Refused {
    message: Option<String>,
    hint: Option<String>,
}

/// A value in the form in which settings of its kind are shown.
fn usual(setting: &Setting, value: &CStr) -> Result<CString, Refused> {
    let mut hint = std::ptr::null();
    let refused = |hint: *const c_char| {
        // SAFETY: null or one of the server's constant texts.
        let hint = (!hint.is_null()).then(|| unsafe { CStr::from_ptr(hint) }.to_string_lossy().into_owned());
        Refused { message: None, hint }
    };
    let outside = |value: String, least: String, most: String| {
        let name = setting.name.to_string_lossy();
        let range = format!("({least} .. {most})");
        let message = format!("{value} is outside the valid range for parameter \"{name}\" {range}");
        Refused { message: Some(message), hint: None }
    };
    let text = match setting.values {
        Values::Integers(least, most) => {
            let mut number = 0;
            // SAFETY: a text, and places for a number and a constant text.
            if !unsafe { pg_sys::parse_int(value.as_ptr(), &raw mut number, 0, &raw mut hint) } {
                return Err(refused(hint));
            }
            if !(least..=most).contains(&number) {
                return Err(outside(number.to_string(), least.to_string(), most.to_string()));
            }
            number.to_string()
        }
        Values::Reals(least, most) => {
            let mut number = 0.0;
            // SAFETY: as above.
            if !unsafe { pg_sys::parse_real(value.as_ptr(), &raw mut number, 0, &raw mut hint) } {
                return Err(refused(hint));
            }
            if !(least..=most).contains(&number) {
                return Err(outside(general(number), general(least), general(most)));
            }
            general(number)
        }
        Values::Names(names) => {
            let found = names.iter().find(|name| value.to_bytes().eq_ignore_ascii_case(name.as_bytes()));
            let Some(name) = found else {
                let hint = format!("Available values: {}.", names.join(", "));
                return Err(Refused { message: None, hint: Some(hint) });
            };
            (*name).to_owned()
        }
    };
    CString::new(text).map_err(|_| Refused::default())
}

/// A number in the format in which the server shows settings, `%g`.
fn general(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let mut text = [0 as c_char; 32];
    // SAFETY: there is room for six digits, a sign, a point and an exponent; snprintf ends what it writes.
    unsafe {
        libc::snprintf(text.as_mut_ptr(), text.len(), c"%g".as_ptr(), number);
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    }
}
