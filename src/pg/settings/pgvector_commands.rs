//! Commands that name one of pgvector's settings: `SHOW hnsw.ef_search`, `SET ivfflat.probes = 10`,
//! `ALTER ROLE app SET hnsw.ef_search = 100`, `CREATE FUNCTION … SET hnsw.ef_search = 100`.
//!
//! The hooks call the next hook without pgrx's jump buffer. So an error passes unchanged, with its position
//! in the query and the name of the constraint, which pgrx would lose. The hooks hold nothing that must be
//! dropped, so they may be jumped over.

use std::ffi::{CStr, c_char};

use pgrx::{PgList, pg_sys};

use super::pgvector_placeholders::{are_made, as_defined, as_placeholders, is_foreign, look, make_if_served};
use crate::pg::compat::Jumble;
use crate::pg::types::call;

static mut NEXT_HOOK: pg_sys::ProcessUtility_hook_type = None;
static mut NEXT_ANALYZE_HOOK: pg_sys::post_parse_analyze_hook_type = None;

/// Installs the hooks; called once per process.
pub fn install_hooks() {
    // SAFETY: at library load, on the only thread.
    unsafe {
        NEXT_HOOK = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
        NEXT_ANALYZE_HOOK = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(analyzed);
    }
}

/// Called for each statement after it has been parsed, and so before SHOW looks up a setting.
unsafe extern "C-unwind" fn analyzed(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: Jumble,
) {
    // SAFETY: the server passes live structures; hooks are chained as all extensions do.
    unsafe {
        call::guarded(|| {
            look();
            pg_sys::Datum::null()
        });
        if let Some(next) = NEXT_ANALYZE_HOOK {
            next(state, query, jumble);
        }
    }
}

/// What a command does with pgvector's settings.
#[derive(Clone, Copy, PartialEq)]
enum Touches {
    Nothing,
    /// Reads or sets one.
    Now,
    /// Stores one for later.
    Later,
}

unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the server passes a live command; hooks are chained as all extensions do.
    unsafe {
        let later = call::guarded(|| pg_sys::Datum::from(prepare((*statement).utilityStmt)));
        match NEXT_HOOK {
            Some(next) => {
                next(statement, query, read_only, context, parameters, environment, destination, completion);
            }
            None => standard_ProcessUtility(
                statement,
                query,
                read_only,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
        }
        if later.value() != 0 {
            call::guarded(|| {
                as_placeholders();
                pg_sys::Datum::null()
            });
        }
    }
}

/// Creates the settings if a command names one. Returns whether the command stores one for later sessions, in
/// which case its value is checked.
unsafe fn prepare(command: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller passes a live command.
    let touches = unsafe { touches(command) };
    if touches != Touches::Nothing {
        make_if_served();
    }
    let later = touches == Touches::Later && are_made();
    if later {
        as_defined();
    }
    later
}

unsafe fn touches(command: *mut pg_sys::Node) -> Touches {
    use pg_sys::NodeTag;
    // SAFETY: a live command, whose tag tells its type.
    unsafe {
        let (named, touches) = match (*command).type_ {
            NodeTag::T_VariableSetStmt => (sets(command.cast()), Touches::Now),
            NodeTag::T_VariableShowStmt => {
                (names((*command.cast::<pg_sys::VariableShowStmt>()).name), Touches::Now)
            }
            NodeTag::T_AlterSystemStmt => {
                (sets((*command.cast::<pg_sys::AlterSystemStmt>()).setstmt), Touches::Now)
            }
            NodeTag::T_AlterRoleSetStmt => {
                (sets((*command.cast::<pg_sys::AlterRoleSetStmt>()).setstmt), Touches::Later)
            }
            NodeTag::T_AlterDatabaseSetStmt => {
                (sets((*command.cast::<pg_sys::AlterDatabaseSetStmt>()).setstmt), Touches::Later)
            }
            NodeTag::T_CreateFunctionStmt => {
                (has_set((*command.cast::<pg_sys::CreateFunctionStmt>()).options), Touches::Later)
            }
            NodeTag::T_AlterFunctionStmt => {
                (has_set((*command.cast::<pg_sys::AlterFunctionStmt>()).actions), Touches::Later)
            }
            _ => return Touches::Nothing,
        };
        if named { touches } else { Touches::Nothing }
    }
}

/// Whether a name is that of one of pgvector's settings.
unsafe fn names(name: *const c_char) -> bool {
    // SAFETY: null or a name.
    !name.is_null() && is_foreign(unsafe { CStr::from_ptr(name) })
}

unsafe fn sets(set: *mut pg_sys::VariableSetStmt) -> bool {
    // SAFETY: null or a live node.
    unsafe { !set.is_null() && names((*set).name) }
}

/// Whether one of a function's options is a SET of such a setting.
unsafe fn has_set(options: *mut pg_sys::List) -> bool {
    // SAFETY: a list of options, of which those named "set" have such a statement.
    unsafe {
        PgList::<pg_sys::DefElem>::from_pg(options).iter_ptr().any(|option| {
            let argument = (*option).arg;
            !argument.is_null()
                && (*argument).type_ == pg_sys::NodeTag::T_VariableSetStmt
                && sets(argument.cast())
        })
    }
}
