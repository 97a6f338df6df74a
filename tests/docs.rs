//! Rules about the documentation: links and anchors lead somewhere, every chapter is in the table of contents
//! of the site, the README stays short, and every option, setting and function is described.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

const README_LINES: usize = 220;
const ARCHITECTURE_LINES: usize = 115;
const FIRST_PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Largest number of characters of a line of prose; tables and code may be wider.
const WIDTH: usize = 130;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every markdown file of the checkout by its path from the root.
fn pages() -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, out: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let hidden = name.starts_with('.') && name != ".github";
                if !hidden && !["target", "results", "node_modules"].contains(&name.as_str()) {
                    walk(&path, out);
                }
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                out.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&root(), &mut out);
    out
}

/// The lines outside fenced code, by number.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut code = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// A line without its `code spans`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// The anchors that GitHub and mdBook make of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let mut anchor = String::new();
        for c in heading.trim().to_lowercase().chars() {
            match c {
                ' ' => anchor.push('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => anchor.push(c),
                _ => {}
            }
        }
        let times = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        *times += 1;
    }
    anchors
}

/// The targets of the links and pictures of a line.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned()).collect()
}

/// `to`, relative to `page`'s folder, with `..` resolved.
fn resolve(page: &Path, to: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.parent().unwrap().join(to).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{}: {to} leaves the checkout", page.display()),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let (mut broken, mut seen) = (Vec::new(), 0);
    for (page, text) in &pages {
        for (number, line) in prose(text) {
            for to in targets(line) {
                if to.contains("://") || to.starts_with("mailto:") {
                    continue;
                }
                seen += 1;
                let (file, anchor) = to.split_once('#').unwrap_or((&to, ""));
                let path = if file.is_empty() { page.clone() } else { resolve(page, file) };
                let there = root().join(&path).exists();
                let anchored =
                    anchor.is_empty() || pages.get(&path).is_some_and(|t| anchors(t).contains(anchor));
                if !there || !anchored {
                    broken.push(format!("{}:{number}: {to}", page.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(seen > 100, "{seen} links were found");
}

/// A code span may continue in the next line, but not if that line begins like an item of a list, a heading,
/// a quotation or a table: Markdown then ends the paragraph there.
#[test]
fn no_code_span_becomes_a_list() {
    let mut broken = Vec::new();
    for (page, text) in &pages() {
        let (mut open, mut before) = (false, 0);
        for (number, line) in prose(text) {
            let start = line.trim_start();
            let begins = ["- ", "+ ", "* ", "# ", "> ", "|"].iter().any(|mark| start.starts_with(mark));
            if open && begins && number == before + 1 {
                broken.push(format!("{}:{number}: {line}", page.display()));
            }
            open &= !begins && !start.is_empty();
            open ^= line.matches('`').count() % 2 == 1;
            before = number;
        }
    }
    assert!(broken.is_empty(), "code spans that are broken by their next line:\n{}", broken.join("\n"));
}

#[test]
fn every_chapter_is_in_the_table_of_contents() {
    let pages = pages();
    let summary = Path::new("docs/SUMMARY.md");
    let listed: BTreeSet<PathBuf> = prose(&pages[summary])
        .iter()
        .flat_map(|(_, line)| targets(line))
        .map(|to| resolve(summary, &to))
        .collect();
    // scripts/docs.sh adds the pages of single benchmark runs.
    let of_a_run = |page: &Path| page.starts_with("docs/benchmarks") && page.components().count() > 3;
    let missing: Vec<String> = pages
        .keys()
        .filter(|page| page.starts_with("docs") && *page != summary && !listed.contains(*page))
        .filter(|page| !of_a_run(page))
        .map(|page| page.display().to_string())
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list:\n{}", missing.join("\n"));
}

#[test]
fn the_first_pages_stay_short() {
    let pages = pages();
    for (page, most) in [("README.md", README_LINES), ("ARCHITECTURE.md", ARCHITECTURE_LINES)] {
        let lines = pages[Path::new(page)].lines().count();
        assert!(lines <= most, "{page} has {lines} lines; move details to docs/");
    }
    let mut wide = Vec::new();
    for (page, text) in &pages {
        let listing = page.starts_with("docs/benchmarks") || page.ends_with("SUMMARY.md");
        let written_here = page.starts_with("docs") && !listing;
        if !written_here && !FIRST_PAGES.iter().any(|first| page == Path::new(first)) {
            continue;
        }
        let tables_too = page == Path::new("README.md");
        for (number, line) in prose(text) {
            if line.chars().count() > WIDTH && (tables_too || !line.trim_start().starts_with('|')) {
                wide.push(format!("{}:{number}", page.display()));
            }
        }
    }
    assert!(wide.is_empty(), "more than {WIDTH} characters:\n{}", wide.join("\n"));
}

/// The names between `before` and `after` in a file of the source.
fn names(file: &str, before: &str, after: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn options_settings_and_functions_are_described() {
    let reference = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let settings = names("src/pg/settings/guc.rs", "c\"ivf.", "\"");
    let functions: BTreeSet<String> = names("sql/ivf.sql", "CREATE FUNCTION ", "(")
        .into_iter()
        .filter(|name| !name.ends_with("_metric") && name != "ivfhandler")
        .collect();
    assert!(settings.len() >= 3 && functions.len() >= 5, "{settings:?} {functions:?}");
    for setting in settings {
        let setting = setting.trim_end_matches('.');
        assert!(reference.contains(&format!("`ivf.{setting}`")), "docs/reference.md lacks ivf.{setting}");
    }
    for function in functions {
        assert!(reference.contains(&format!("`{function}(")), "docs/reference.md lacks {function}");
    }
    for option in names("src/pg/settings/reloptions.rs", "element(c\"", "\"") {
        let described = reference.contains(&format!("`{option}`"))
            || fs::read_to_string(root().join("docs/pgvector.md")).unwrap().contains(&option);
        assert!(described, "docs/ lacks the option {option}");
    }
    for operators in ["vector.sql", "halfvec.sql", "sparsevec.sql", "bit.sql"] {
        for operator in names(&format!("sql/{operators}"), "CREATE OPERATOR ", " (") {
            if operator.starts_with(char::is_alphabetic) {
                continue; // OPERATOR CLASS, OPERATOR FAMILY
            }
            assert!(reference.contains(&format!("`{operator}`")), "docs/reference.md lacks {operator}");
        }
    }
}

/// The tests that docs/faults.md names exist, and each of the scenarios has some.
#[test]
fn faults_are_held_by_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows =
        text.lines().filter(|line| line.split('|').nth(1).is_some_and(|n| n.trim().parse::<u32>().is_ok()));
    let (mut scenarios, mut tests) = (0, 0);
    for row in rows {
        scenarios += 1;
        assert!(row.contains('`') || row.contains("come from"), "no test: {row}");
        for name in row.split('`').skip(1).step_by(2) {
            if let Some((file, test)) = name.split_once("::") {
                let source = fs::read_to_string(root().join("tests").join(file));
                let source = source.unwrap_or_else(|_| panic!("docs/faults.md: {file} does not exist"));
                assert!(source.contains(&format!("fn {test}(")), "docs/faults.md: {file} has no {test}");
                tests += 1;
            } else if name.ends_with(".sql") {
                assert!(root().join("tests").join(name).exists(), "docs/faults.md: {name} does not exist");
            }
        }
    }
    assert!(scenarios == 32 && tests > 60, "{scenarios} scenarios, {tests} tests");
}
