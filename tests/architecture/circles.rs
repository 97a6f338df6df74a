//! Files do not depend on each other in circles, except those listed here. So to understand a file, one need
//! read only the files that it depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, root, sources};

/// Circles that are allowed, and why.
const NATURAL: &[(&[&str], &str)] = &[
    (
        &["src/ivf/search/mod.rs", "src/ivf/search/range_scan.rs", "src/ivf/search/rounds.rs"],
        "the methods of one type, Search: what a consumer calls, the rounds, and searches without an order",
    ),
    (
        &["src/kernel/avx2.rs", "src/kernel/avx2/floats.rs"],
        "an instruction set and its floats, which end as all its loops do",
    ),
    (
        &["src/value/overlap.rs", "src/value/sparse.rs"],
        "the type of sparse vectors, and the arithmetic of two of them, which it calls",
    ),
];

/// A file's module path, without the crate.
fn module(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut names: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    names
}

/// The file without comments and the tests in it.
fn body(text: &str) -> String {
    // The path in `pub(in path)` does not count as a use.
    let code = code(text).replace("pub(in crate::", "pub(in ");
    let tests = code.find("\n#[cfg(test)]\nmod tests {");
    code[..tests.unwrap_or(code.len())].to_owned()
}

/// `a::{b, c::{d, e}}` as single paths.
fn flattened(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inside = rest.trim_end().strip_suffix('}').unwrap();
    let (mut branches, mut depth) = (vec![String::new()], 0);
    for c in inside.chars() {
        match c {
            ',' if depth == 0 => branches.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                branches.last_mut().unwrap().push(c);
            }
        }
    }
    let branches = branches.iter().filter(|branch| !branch.trim().is_empty());
    branches.flat_map(|branch| flattened(&format!("{}{}", before.trim(), branch.trim()))).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths in a file that begin with one of these words.
fn paths(body: &str, first: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let (imports, mut others) = body.split(';').fold((Vec::new(), String::new()), |mut both, part| {
        match part.rfind("use ").filter(|at| !part[..*at].ends_with(is_word) && !part[*at..].contains("fn "))
        {
            Some(at) => {
                both.0.push(part[at + 4..].to_owned());
                both.1.push_str(&part[..at]);
            }
            None => both.1.push_str(part),
        }
        both
    });
    let begins = |path: &String| first.contains(&path.split("::").next().unwrap());
    found.extend(imports.iter().flat_map(|tree| flattened(tree)).filter(begins));
    while let Some(at) = others.find("::") {
        let head: String = others[..at].chars().rev().take_while(|c| is_word(*c)).collect();
        let head: String = head.chars().rev().collect();
        let nested = others[..at - head.len()].ends_with("::");
        let rest: String = others[at..].chars().take_while(|c| is_word(*c) || *c == ':').collect();
        if !nested && first.contains(&head.as_str()) {
            found.push(format!("{head}{rest}"));
        }
        others = others[at + rest.len().max(2)..].to_owned();
    }
    found
}

/// The files that each file uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let named: Vec<(String, String)> = sources()
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(root()).unwrap().display().to_string(), body(&text)))
        .collect();
    let files: BTreeMap<Vec<String>, &String> = named.iter().map(|(path, _)| (module(path), path)).collect();
    let mut uses = BTreeMap::new();
    for (path, body) in &named {
        let here = module(path);
        let is_child = |of: &Vec<String>| of.len() == here.len() + 1 && of.starts_with(&here);
        let children = files.keys().filter(|m| is_child(m)).map(|m| m.last().unwrap().as_str());
        let first: Vec<&str> = ["crate", "super", "self"].into_iter().chain(children).collect();
        let mut used = BTreeSet::new();
        for found in paths(body, &first) {
            let mut base = here.clone();
            for name in found.split("::").map(str::trim) {
                match name {
                    "crate" => base.clear(),
                    "super" => drop(base.pop()),
                    "self" => {}
                    name => base.push(name.to_owned()),
                }
            }
            while !files.contains_key(&base) {
                base.pop();
            }
            used.insert(files[&base].clone());
        }
        used.remove(path);
        uses.insert(path.clone(), used);
    }
    uses
}

/// All files that a file needs, directly or not.
fn needed(uses: &BTreeMap<String, BTreeSet<String>>, file: &str) -> BTreeSet<String> {
    let (mut all, mut open) = (BTreeSet::new(), vec![file.to_owned()]);
    while let Some(next) = open.pop() {
        open.extend(uses[&next].iter().filter(|file| all.insert((*file).clone())).cloned());
    }
    all
}

#[test]
fn files_form_no_circles_but_natural_ones() {
    let uses = uses();
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 300, "uses were found");
    let needs: BTreeMap<&String, BTreeSet<String>> =
        uses.keys().map(|file| (file, needed(&uses, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, needed) in &needs {
        if needed.contains(*file) {
            let circle: Vec<&str> =
                needed.iter().filter(|other| needs[other].contains(*file)).map(String::as_str).collect();
            circles.insert(circle);
        }
    }
    let mut wrong = Vec::new();
    for circle in circles.iter().filter(|circle| !NATURAL.iter().any(|(files, _)| files == circle)) {
        let edges = |a: &&str| {
            circle.iter().filter(|b| uses[*a].contains(**b)).map(|b| format!("{a} → {b}")).collect::<Vec<_>>()
        };
        wrong.push(circle.iter().flat_map(edges).collect::<Vec<_>>().join("\n"));
    }
    assert!(wrong.is_empty(), "files that need each other:\n{}", wrong.join("\n\n"));
    for (files, why) in NATURAL {
        assert!(circles.contains(*files), "no circle any more: {files:?} ({why})");
    }
}

#[test]
fn paths_are_found() {
    let text = "use crate::a::{self, b::{C, D}};\nfn f() { child::g(super::H::new(), x::y) }\nuse super::k;";
    let found = paths(text, &["crate", "super", "child"]);
    let expected =
        ["crate::a::self", "crate::a::b::C", "crate::a::b::D", "super::k", "child::g", "super::H::new"];
    assert_eq!(found, expected);
}
