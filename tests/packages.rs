//! Rules about packages: META.json follows the specification of PGXN (version 1.0.0), and all packages have
//! the version, the files and the majors of the source.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn meta() -> Value {
    serde_json::from_str(&read("META.json")).expect("META.json is JSON")
}

const MANDATORY: [&str; 7] =
    ["name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"];
const OPTIONAL: [&str; 7] =
    ["description", "generated_by", "tags", "no_index", "prereqs", "release_status", "resources"];
const LICENSES: [&str; 12] = [
    "agpl_3",
    "apache_2_0",
    "artistic_2",
    "bsd",
    "gpl_2",
    "gpl_3",
    "lgpl_2_1",
    "lgpl_3_0",
    "mit",
    "mozilla_1_0",
    "postgresql",
    "unrestricted",
];
const PHASES: [&str; 5] = ["configure", "build", "test", "runtime", "develop"];
const RELATIONS: [&str; 4] = ["requires", "recommends", "suggests", "conflicts"];

/// What the specification finds wrong. Custom keys begin with x_.
fn faults(meta: &Value) -> Vec<String> {
    let Some(fields) = meta.as_object() else { return vec!["it is no object".to_owned()] };
    let mut faults = Vec::new();
    for key in MANDATORY.iter().filter(|key| !fields.contains_key(**key)) {
        faults.push(format!("{key} is missing"));
    }
    for key in fields.keys() {
        let known = MANDATORY.contains(&key.as_str()) || OPTIONAL.contains(&key.as_str());
        if !known && !key.to_lowercase().starts_with("x_") {
            faults.push(format!("{key} is no key"));
        }
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or("");
    if !is_term(text("name")) {
        faults.push("name is no term".to_owned());
    }
    if !is_version(text("version")) {
        faults.push("version is no semantic version".to_owned());
    }
    if text("abstract").is_empty() {
        faults.push("abstract is empty".to_owned());
    }
    if !texts(fields.get("maintainer")).is_some_and(|m| !m.is_empty() && m.iter().all(|m| !m.is_empty())) {
        faults.push("maintainer is neither a text nor a list of texts".to_owned());
    }
    if !texts(fields.get("license")).is_some_and(|l| !l.is_empty() && l.iter().all(|l| LICENSES.contains(l)))
    {
        faults.push("license is not one of the specification's".to_owned());
    }
    if !["", "stable", "testing", "unstable"].contains(&text("release_status")) {
        faults.push("release_status is unknown".to_owned());
    }
    if fields.get("tags").is_some_and(|t| texts(Some(t)).is_none_or(|t| t.iter().any(|t| !is_tag(t)))) {
        faults.push("a tag is empty, too long or has a slash".to_owned());
    }
    if meta["meta-spec"]["version"].as_str().is_none_or(|v| v != "1.0.0") {
        faults.push("meta-spec has another version".to_owned());
    }
    provided(fields, &mut faults);
    required(fields, &mut faults);
    faults
}

fn provided(fields: &Map<String, Value>, faults: &mut Vec<String>) {
    let provides = fields.get("provides").and_then(Value::as_object);
    let Some(provides) = provides.filter(|p| !p.is_empty()) else {
        return faults.push("provides has no extension".to_owned());
    };
    for (name, extension) in provides {
        if !is_term(name) {
            faults.push(format!("provides {name}, which is no term"));
        }
        for key in ["file", "version"] {
            if extension[key].as_str().is_none_or(str::is_empty) {
                faults.push(format!("{name} has no {key}"));
            }
        }
        if !is_version(extension["version"].as_str().unwrap_or("")) {
            faults.push(format!("{name} has no semantic version"));
        }
    }
}

fn required(fields: &Map<String, Value>, faults: &mut Vec<String>) {
    let Some(prereqs) = fields.get("prereqs") else { return };
    let empty = Map::new();
    for (phase, relations) in prereqs.as_object().unwrap_or(&empty) {
        if !PHASES.contains(&phase.as_str()) {
            faults.push(format!("prereqs: {phase} is no phase"));
        }
        for (relation, packages) in relations.as_object().unwrap_or(&empty) {
            if !RELATIONS.contains(&relation.as_str()) {
                faults.push(format!("prereqs: {relation} is no relation"));
            }
            for (package, range) in packages.as_object().unwrap_or(&empty) {
                if !is_term(package) || !range.as_str().is_some_and(is_range) {
                    faults.push(format!("prereqs: {package} {range}"));
                }
            }
        }
    }
}

/// A text, or a list of texts.
fn texts(value: Option<&Value>) -> Option<Vec<&str>> {
    match value? {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// At least two characters, none of them a slash, a backslash, a blank or a control character.
fn is_term(text: &str) -> bool {
    text.chars().count() >= 2
        && !text.chars().any(|c| c == '/' || c == '\\' || c.is_whitespace() || c.is_control())
}

fn is_tag(text: &str) -> bool {
    let is_printed = |c: char| c != '/' && c != '\\' && !c.is_control();
    !text.is_empty() && text.chars().count() <= 255 && text.chars().all(is_printed)
}

fn is_version(text: &str) -> bool {
    let number = text.split(['-', '+']).next().unwrap_or("");
    let parts: Vec<&str> = number.split('.').collect();
    let is_number = |p: &&str| {
        !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (*p == "0" || !p.starts_with('0'))
    };
    parts.len() == 3 && parts.iter().all(is_number)
}

fn is_range(text: &str) -> bool {
    text.split(',').all(|part| {
        let version = part.trim().trim_start_matches(['<', '>', '=', '!']).trim();
        version == "0" || is_version(version)
    })
}

#[test]
fn meta_json_follows_the_specification() {
    assert_eq!(faults(&meta()), Vec::<String>::new());
}

/// The checks above find what they look for.
#[test]
fn faults_of_meta_json_are_found() {
    let broken: [(&str, Value); 10] = [
        ("name", json!("vector search")),
        ("version", json!("0.2")),
        ("version", json!("0.02.1")),
        ("abstract", json!("")),
        ("maintainer", json!([])),
        ("license", json!("PostgreSQL")),
        ("release_status", json!("ready")),
        ("provides", json!({"vector_search": {"version": "0.2.1"}})),
        ("prereqs", json!({"runtime": {"requires": {"PostgreSQL": ">= 15"}}})),
        ("meta-spec", json!({"version": "2.0.0"})),
    ];
    for (key, value) in broken {
        let mut meta = meta();
        meta[key] = value.clone();
        assert!(!faults(&meta).is_empty(), "{key} = {value} is accepted");
        meta.as_object_mut().unwrap().remove(key);
        assert!(MANDATORY.contains(&key) != faults(&meta).is_empty(), "without {key}");
    }
    let mut meta = meta();
    meta["licence"] = json!("postgresql");
    assert_eq!(faults(&meta), ["licence is no key"]);
}

/// The control files' extensions, their versions and documentation.
#[test]
fn meta_json_says_what_the_source_says() {
    let meta = meta();
    assert_eq!(meta["version"], env!("CARGO_PKG_VERSION"));
    let compat = read("sql/compat/vector.control");
    let compat = compat.lines().find_map(|l| l.strip_prefix("default_version = '")).unwrap();
    let provides = meta["provides"].as_object().unwrap();
    assert_eq!(provides["vector_search"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(provides["vector"]["version"], compat.trim_end_matches('\''));
    for (name, extension) in provides {
        for key in ["file", "docfile"] {
            let file = extension[key].as_str().unwrap();
            assert!(root().join(file).is_file(), "{name}: {file} does not exist");
        }
    }
    for folder in meta["no_index"]["directory"].as_array().unwrap() {
        assert!(root().join(folder.as_str().unwrap()).is_dir(), "no_index: {folder} does not exist");
    }
}

/// It is not left to cargo-pgrx to fill in, because it would look at the dependencies of the default feature
/// (docs/decisions/032-two-versions-of-pgrx.md).
#[test]
fn the_control_file_has_the_source_s_version() {
    let line = format!("default_version = '{}'", env!("CARGO_PKG_VERSION"));
    assert!(read("vector_search.control").lines().any(|l| l == line), "vector_search.control: {line}");
}

/// The majors that the scripts accept.
fn majors() -> BTreeSet<u32> {
    let script = read("scripts/lib.sh");
    let list = script.lines().find_map(|l| l.trim().strip_suffix(") ;;")).expect("a list of majors");
    list.split('|').map(|major| major.trim().parse().unwrap()).collect()
}

#[test]
fn packages_have_the_source_s_version_and_majors() {
    let majors = majors();
    let (first, last) = (majors.first().unwrap(), majors.last().unwrap());
    let range = format!(">= {first}.0.0, < {}.0.0", last + 1);
    assert_eq!(meta()["prereqs"]["runtime"]["requires"]["PostgreSQL"], range);

    let spec = read("packaging/vector_search.spec");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        spec.contains(&format!("pgversion: %global pgversion {version}}}")),
        "the spec's default version"
    );
    assert!(spec.contains(&format!(" - {version}-1\n")), "the spec's changelog has no entry for {version}");
}

/// A Dockerfile copies what exists, and the compose file builds it.
#[test]
fn container_files_name_what_exists() {
    let compose = read("packaging/compose.yaml");
    assert!(compose.contains("dockerfile: packaging/Dockerfile"));
    let dockerfile = read("packaging/Dockerfile");
    let mut scripts = 0;
    for word in dockerfile.split_whitespace().filter(|w| w.starts_with("scripts/")) {
        assert!(Path::new(&root().join(word)).is_file(), "packaging/Dockerfile: {word} does not exist");
        scripts += 1;
    }
    assert!(scripts > 0, "scripts were found");
    let rust = read("rust-toolchain.toml");
    let channel = rust.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let minor = channel.rsplit_once('.').unwrap().0;
    assert!(dockerfile.contains(&format!("FROM rust:{minor}-")), "packaging/Dockerfile: Rust {minor}");
}
