//! Rules about the source that the compiler does not check: which room may use which, where `unsafe` and
//! threads may be, that callbacks are guarded, that SQL declarations match the Rust functions, that files,
//! functions and lines are short, and that files do not depend on each other in circles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "architecture/circles.rs"]
mod circles;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in order; each may use itself and what comes before it.
const ROOMS: [&str; 11] =
    ["error", "memory", "mru", "random", "kernel", "value", "kmeans", "quant", "page", "ivf", "pg"];
/// Which of the rooms before it a room may use.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("error", &[]),
    ("memory", &["error", "random"]),
    ("mru", &[]),
    ("random", &[]),
    ("kernel", &["random"]),
    ("value", &["error", "memory", "kernel"]),
    ("kmeans", &["error", "memory", "random", "kernel"]),
    ("quant", &["error", "memory", "random", "kernel"]),
    ("page", &["error", "memory", "value", "kernel"]),
    ("ivf", &["error", "memory", "random", "kernel", "value", "kmeans", "quant", "page"]),
    ("pg", &["error", "memory", "mru", "random", "kernel", "value", "kmeans", "quant", "page", "ivf"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// The Rust files below a folder.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&root().join(folder), &mut out);
    assert!(!out.is_empty(), "{folder} is where it is looked for");
    out
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The file without comments.
fn code(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn rooms_use_only_rooms_below() {
    for (path, text) in sources() {
        let room = room(&path);
        if room == "lib" {
            continue;
        }
        let allowed =
            MAY_USE.iter().find(|(r, _)| *r == room).unwrap_or_else(|| panic!("{room} is no room")).1;
        for used in code(&text).split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if ROOMS.contains(&used.as_str()) && used != room {
                assert!(allowed.contains(&used.as_str()), "{}: {room} uses {used}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_threads_and_postgres_are_in_their_rooms() {
    for (path, text) in sources() {
        let room = room(&path);
        let text = code(&text);
        let has = |what: &str| text.contains(what);
        let file = path.display();
        if room != "kernel" && room != "pg" {
            assert!(!has("unsafe "), "{file}: unsafe outside kernel and pg");
        }
        if room != "pg" {
            assert!(!has("pgrx::"), "{file}: Postgres outside pg");
        }
        if !["kmeans", "pg", "ivf"].contains(&room.as_str()) {
            assert!(!has("rayon::") && !has("std::thread::spawn"), "{file}: threads outside kmeans");
        }
        assert!(!has("TODO") && !has("unimplemented!") && !has("todo!("), "{file}: unfinished");
    }
}

/// C's `char` is signed on x86-64 only: `i8` in its place does not compile on ARM.
#[test]
fn characters_of_c_have_their_own_type() {
    let mut named = 0;
    for (path, text) in files("src/pg") {
        let text = code(&text);
        let words = || text.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(!words().any(|word| word == "i8"), "{}: i8; C's char is c_char", path.display());
        named += words().filter(|word| *word == "c_char").count();
    }
    assert!(named > 5, "characters were found");
}

#[test]
fn callbacks_are_guarded() {
    let mut seen = 0;
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let declares = line.trim_start();
            if declares.starts_with("pub unsafe extern \"C-unwind\" fn")
                || declares.starts_with("unsafe extern \"C-unwind\" fn")
                || declares.starts_with("pub extern \"C-unwind\" fn")
            {
                let body = i + lines[i..].iter().take_while(|l| !l.ends_with('{')).count();
                // Guarded by pgrx' attribute, or by the guard of functions that run once for each row.
                let guarded = lines[i.saturating_sub(3)..i].iter().any(|l| l.contains("#[pg_guard]"))
                    || lines[body..lines.len().min(body + 5)].iter().any(|l| l.contains("call::guarded(||"));
                assert!(guarded, "{}:{}: a callback without #[pg_guard]", path.display(), i + 1);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "callbacks were found");
}

#[test]
fn files_stay_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

/// Largest number of characters of a line, and of lines of a function.
const WIDTH: usize = 110;
const HEIGHT: usize = 70;

#[test]
fn lines_and_functions_stay_short() {
    let mut functions = 0;
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(files) {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let width = line.chars().count();
            assert!(width <= WIDTH, "{}:{}: {width} characters", path.display(), i + 1);
            // rustfmt puts the closing brace of a function below its first word.
            let indent = line.len() - line.trim_start().len();
            if declares_function(line) && !line.ends_with([';', '}']) {
                let end = format!("{}}}", " ".repeat(indent));
                let declared = format!("{})", " ".repeat(indent));
                let is_end = |l: &&str| **l == end || l.starts_with(&declared) && l.ends_with(';');
                let height = 1 + lines[i..].iter().position(is_end).unwrap_or(0);
                assert!(height <= HEIGHT, "{}:{}: a function of {height} lines", path.display(), i + 1);
                functions += 1;
            }
        }
    }
    assert!(functions > 1000, "functions were found");
}

fn declares_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let before =
        |w: &&str| w.starts_with("pub") || ["const", "unsafe", "extern"].contains(w) || w.starts_with('"');
    words.find(|w| !before(w)) == Some("fn")
}

/// SQL types and the Rust types that may stand for them.
const TYPES: &[(&str, &[&str])] = &[
    ("vector", &["Vector"]),
    ("halfvec", &["HalfVector"]),
    ("sparsevec", &["SparseVector"]),
    ("cstring", &["&CStr", "CString", "Text"]),
    ("oid", &["pg_sys::Oid"]),
    ("integer", &["i32"]),
    ("int", &["i32"]),
    ("int8", &["i64"]),
    ("bigint", &["i64"]),
    ("double", &["f64"]),
    ("int2", &["i16"]),
    ("bool", &["bool"]),
    ("boolean", &["bool"]),
    ("internal", &["Internal", "pg_sys::FunctionCallInfo"]),
    ("float8", &["f64"]),
    ("bytea", &["Vec<u8>", "Bytes"]),
    ("bit", &["BitString"]),
    ("jsonb", &["JsonB"]),
    ("regclass", &["pg_sys::Oid"]),
    ("index_am_handler", &["Internal"]),
    ("int4", &["i32"]),
    ("real", &["f32"]),
    ("text", &["String"]),
    // A set of rows goes into a tuplestore of the call.
    ("table", &[""]),
];

struct Signature {
    arguments: Vec<String>,
    result: String,
}

/// The functions that Rust exports, by name.
fn rust_functions() -> BTreeMap<String, Signature> {
    let mut out = BTreeMap::new();
    for (_, text) in sources() {
        let externs = text.split("#[pg_extern(sql = false").skip(1);
        // The functions in a `sql_functions!` are those that are indented once.
        let blocks =
            text.split("\nsql_functions! {").skip(1).map(|block| block.split("\n}\n").next().unwrap());
        for part in externs.chain(blocks.flat_map(|block| block.split("\n    fn ").skip(1))) {
            let at = part.find("fn ").filter(|at| *at < part.find('{').unwrap_or(0));
            let (at, part) = match at {
                Some(at) => (at, part.to_owned()),
                None => (0, format!("fn {part}")),
            };
            let declaration = &part[at + 3..part.find('{').unwrap()];
            let (name, rest) = declaration.split_once('(').unwrap();
            let close = rest.rfind(')').unwrap();
            let arguments = rest[..close]
                .split(',')
                .filter(|a| a.contains(':'))
                .map(|a| a.split_once(':').unwrap().1.trim().to_owned())
                .collect();
            let result = rest[close + 1..].trim().trim_start_matches("->").trim().to_owned();
            out.insert(name.split('<').next().unwrap().trim().to_owned(), Signature { arguments, result });
        }
    }
    out
}

fn matches(sql: &str, rust: &str) -> bool {
    let sql = sql.trim().to_lowercase();
    let rust = rust.trim_start_matches("Option<").trim_end_matches('>');
    if sql.ends_with("[]") {
        return rust.contains("Array");
    }
    let rust = if rust == "Vec<u8" { "Vec<u8>" } else { rust };
    let known = TYPES.iter().find(|(s, _)| *s == sql);
    known.unwrap_or_else(|| panic!("the SQL type {sql} is not in the table of this test")).1.contains(&rust)
}

/// The SQL scripts of some folders without their comments, by their paths.
fn scripts(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let code = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|l| l.split("--").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
    };
    let scripts = paths.filter(|path| path.extension().is_some_and(|e| e == "sql"));
    scripts.map(|path| (path.clone(), code(&path))).collect()
}

#[test]
fn sql_declares_what_rust_takes() {
    let functions = rust_functions();
    let mut declared = 0;
    let mut used = Vec::new();
    for (_, text) in scripts(&["sql", "sql/compat"]) {
        let text = text.replace("double precision", "double");
        // A body in PL/pgSQL has no Rust.
        let text: String = text.split("$function$").step_by(2).collect::<Vec<_>>().join(" ");
        let in_rust = |s: &&str| s.contains("CREATE FUNCTION") && !s.contains("LANGUAGE plpgsql");
        for statement in text.split(';').filter(in_rust) {
            let (head, tail) = statement.split_once("'MODULE_PATHNAME'").expect("a C function");
            let symbol = tail.split('\'').nth(1).unwrap();
            let name = symbol.strip_suffix("_wrapper").unwrap();
            let rust = functions.get(name).unwrap_or_else(|| panic!("{symbol} does not exist"));
            used.push(name.to_owned());
            let open = head.find('(').unwrap();
            let close = head.find("RETURNS").map(|r| head[..r].rfind(')').unwrap()).unwrap();
            let arguments: Vec<String> = head[open + 1..close]
                .split(',')
                .map(|a| a.split("DEFAULT").next().unwrap().trim().to_owned())
                .filter(|a| !a.is_empty())
                .map(|a| a.split_whitespace().last().unwrap().to_owned())
                .collect();
            let result = head[head.find("RETURNS").unwrap() + 7..].split_whitespace().next().unwrap();
            // A trailing FunctionCallInfo is no argument of SQL.
            let mut takes = rust.arguments.clone();
            if takes.last().is_some_and(|t| t == "pg_sys::FunctionCallInfo") && takes.len() > arguments.len()
            {
                takes.pop();
            }
            assert_eq!(takes.len(), arguments.len(), "{name}: number of arguments");
            for (sql, rust) in arguments.iter().zip(&takes) {
                assert!(matches(sql, rust), "{name}: SQL says {sql}, Rust {rust}");
            }
            assert!(matches(result, &rust.result), "{name}: SQL returns {result}, Rust {}", rust.result);
            declared += 1;
        }
    }
    assert!(declared > 30, "declarations were found");
    // Extension `vector`, as it was installed before its classes were served, has this function.
    used.push("ivf_unsupported_metric".into());
    for name in functions.keys() {
        assert!(used.contains(name), "{name} is exported and not declared");
    }
}

/// Scripts of extensions run as a superuser, and the search path contains a schema where others may create
/// objects. So what a statement evaluates must be named with its schema (CVE-2020-14350). What it creates is
/// the extension's own and needs none.
#[test]
fn scripts_evaluate_nothing_that_others_may_replace() {
    let mut evaluating = 0;
    for (path, text) in scripts(&["sql", "sql/compat", "tests/upgrade"]) {
        for statement in statements(&text) {
            let found = replaceable(&statement);
            evaluating += usize::from(found.is_some());
            assert_eq!(found.unwrap_or_default(), Vec::<String>::new(), "{}: {statement}", path.display());
        }
    }
    assert!(evaluating > 1, "statements that evaluate something were found");
    let names = |statement: &str| replaceable(statement).unwrap();
    assert_eq!(names("UPDATE t SET a = true WHERE b = 3"), ["="]);
    assert_eq!(names("SELECT format('%s', 1 || 'x')"), ["||", "format"]);
    assert_eq!(
        names("SELECT pg_catalog.format('a = b', 1 OPERATOR(pg_catalog.+) 2)::pg_catalog.text"),
        [""; 0]
    );
    assert!(replaceable("CREATE OPERATOR = (LEFTARG = vector)").is_none());
}

/// Statements of a script that has no comments, with empty strings; a body in dollar quotes is part of its
/// statement.
fn statements(text: &str) -> Vec<String> {
    let code: String = text.split('\'').step_by(2).collect::<Vec<_>>().join("''");
    let mut out = Vec::new();
    for (i, part) in code.replace("$function$", "$check$").split("$check$").enumerate() {
        match (i % 2, out.last_mut()) {
            (1, Some(last)) => *last = format!("{last} {part}"),
            _ => out.extend(part.split(';').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty())),
        }
    }
    out
}

/// The operators and functions without a schema in a statement that evaluates expressions. Other statements
/// give an empty result.
fn replaceable(statement: &str) -> Option<Vec<String>> {
    let code: String = statement.split('\'').step_by(2).collect::<Vec<_>>().join("''");
    let first = code.split_whitespace().next()?.to_uppercase();
    if !["UPDATE", "SELECT", "INSERT", "DELETE", "DO", "WITH", "MERGE"].contains(&first.as_str()) {
        return None;
    }
    // Assignments are not operators: those of UPDATE before its condition, and those of PL/pgSQL and RAISE.
    let assigned = ["ERRCODE =", "MESSAGE =", "HINT =", ":="];
    let mut code = assigned.iter().fold(code, |code, word| code.replace(word, " "));
    if first == "UPDATE" {
        let end = code.find("WHERE").unwrap_or(code.len());
        code = format!("{} {}", code[..end].replace('=', " "), &code[end..]);
    }
    let mut found = Vec::new();
    let symbol = |c: char| "+-*/<>=~!@#%^&|`?".contains(c);
    let mut rest = code.as_str();
    while let Some(at) = rest.find(symbol) {
        let operator: String = rest[at..].chars().take_while(|&c| symbol(c)).collect();
        if !rest[..at].ends_with("OPERATOR(pg_catalog.") {
            found.push(operator.clone());
        }
        rest = &rest[at + operator.len()..];
    }
    for (at, _) in code.match_indices('(') {
        let name = |c: char| c.is_alphanumeric() || "_.".contains(c);
        let called: String = code[..at].chars().rev().take_while(|&c| name(c)).collect();
        let called: String = called.chars().rev().collect();
        let known = ["OPERATOR", "IN", "AND", "OR", "EXISTS", "VALUES", "WHERE"];
        if !called.is_empty() && !called.starts_with("pg_catalog.") && !known.contains(&called.as_str()) {
            found.push(called);
        }
    }
    Some(found)
}
