//! How the code is laid out: the order of the modules, the head of each file, sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use integration::sources::{self, Source};
use integration::wait::OrFail;
use regex::Regex;

/// Programs that are no library.
const PROGRAMS: &[&str] = &["benches/floor/main.rs", "benches/load/main.rs"];

/// The roots of the crates: the order of their modules is the law.
fn roots() -> Vec<String> {
    let libraries = sources::members()
        .into_iter()
        .map(|member| format!("{member}/src/lib.rs"));
    let programs = PROGRAMS.iter().map(|program| (*program).to_owned());
    libraries.chain(programs).collect()
}

/// Folders of Rust that ships or measures, with the harness.
fn folders() -> Vec<String> {
    let folder = |root: String| root.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    roots().into_iter().filter_map(folder).collect()
}

/// Lines of a file, its tests aside, and of a function. About 400 and 70 are where to look for a
/// seam; here is where one must be found.
const LONGEST_FILE: usize = 700;
const LONGEST_FUNCTION: usize = 120;

/// The modules of a crate, in the order of its root.
fn modules(root: &str) -> Vec<String> {
    let line = Regex::new(r"(?m)^(?:pub(?:\([a-z]+\))? )?mod ([a-z0-9_]+);").unwrap();
    line.captures_iter(&sources::read(root))
        .map(|found| found[1].to_owned())
        .collect()
}

/// What a root hands on under its own name: `Error` stands in `error`.
fn handed_on(root: &str) -> BTreeMap<String, String> {
    let line =
        Regex::new(r"(?m)^(?:pub )?use (?:crate::)?([a-z0-9_]+)::(?:\{([^}]*)\}|([A-Za-z0-9_]+));")
            .unwrap();
    let text = sources::read(root);
    let mut names = BTreeMap::new();
    for found in line.captures_iter(&text) {
        let group = found.get(2).or(found.get(3)).or_fail("read a line of use");
        for name in group.as_str().split(',') {
            let name = name.trim().rsplit("::").next().unwrap_or_default();
            names.insert(name.to_owned(), found[1].to_owned());
        }
    }
    names
}

/// The first names behind `crate::` in a file's code.
fn imports(source: &Source) -> BTreeSet<String> {
    let one = Regex::new(r"\$?(?-u:\b)crate::([A-Za-z0-9_]+)").unwrap();
    let group = Regex::new(r"(?-u:\b)crate::\{((?:[^{}]|\{[^{}]*\})*)\}").unwrap();
    let inner = Regex::new(r"\{[^{}]*\}").unwrap();
    let mut names: BTreeSet<String> = one
        .captures_iter(&source.code)
        // A macro's `$crate` names whoever calls it.
        .filter(|found| !found[0].starts_with('$'))
        .map(|found| found[1].to_owned())
        .collect();
    for found in group.captures_iter(&source.code) {
        let flat = inner.replace_all(&found[1], "");
        names.extend(flat.split(',').filter_map(|name| {
            let name = name.trim().split([':', ' ']).next()?;
            (!name.is_empty() && name != "self").then(|| name.to_owned())
        }));
    }
    names
}

#[test]
fn a_file_imports_only_what_stands_above_it() {
    let mut wrong = Vec::new();
    let mut edges = 0;
    for root in &roots() {
        let order = modules(root);
        let names = handed_on(root);
        let place = |name: &str| order.iter().position(|known| known == name);
        let folder = Path::new(root).parent().or_fail("find its folder");
        for source in Source::all(&folder.to_string_lossy()) {
            let inner = source.path.strip_prefix(folder).or_fail("be below it");
            let own = inner.iter().next().or_fail("have a name").to_string_lossy();
            let Some(own) = place(own.trim_end_matches(".rs")) else {
                continue;
            };
            for name in imports(&source) {
                let module = names.get(&name).unwrap_or(&name);
                let Some(other) = place(module) else {
                    wrong.push(format!(
                        "{}: crate::{name} is no module",
                        source.path.display()
                    ));
                    continue;
                };
                edges += 1;
                if other > own {
                    wrong.push(format!("{} imports {module}", source.path.display()));
                }
            }
        }
    }
    assert!(edges > 200, "the imports can be read: {edges}");
    assert!(
        wrong.is_empty(),
        "below their own place in the list:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_module_stands_between_blank_lines() {
    // rustfmt sorts those that touch each other.
    for root in &roots() {
        let text = sources::read(root);
        let lines: Vec<&str> = text.lines().collect();
        let is_module =
            |line: &str| line.ends_with(';') && line.trim_start_matches("pub ").starts_with("mod ");
        for pair in lines.windows(2) {
            assert!(
                !(is_module(pair[0]) && is_module(pair[1])),
                "{root}: {} touches {}",
                pair[0],
                pair[1]
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let folders = folders();
    let folders = folders
        .iter()
        .flat_map(|folder| sources::files(folder, "rs"));
    let tests = sources::members();
    let tests = tests
        .iter()
        .map(|member| format!("{member}/tests"))
        .filter(|folder| sources::root().join(folder).is_dir())
        .flat_map(|folder| sources::files(&folder, "rs"));
    let silent: Vec<_> = folders
        .chain(tests)
        .filter(|path| !sources::read(path).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "without `//!` at the top: {silent:?}");
}

#[test]
fn no_file_and_no_function_is_longer_than_can_be_read() {
    let mut long = Vec::new();
    let head =
        Regex::new(r"^( *)(?:pub(?:\([a-z ]+\))? )?(?:const )?(?:async )?fn ([A-Za-z0-9_]+)")
            .unwrap();
    for folder in folders() {
        for source in Source::all(&folder) {
            let lines: Vec<&str> = source.code.lines().collect();
            if lines.len() > LONGEST_FILE {
                long.push(format!("{}: {}", source.path.display(), lines.len()));
            }
            for (first, line) in lines.iter().enumerate() {
                let Some(found) = head.captures(line) else {
                    continue;
                };
                let end = format!("{}}}", &found[1]);
                let length = lines[first..].iter().position(|line| *line == end);
                if length.is_some_and(|length| length >= LONGEST_FUNCTION) {
                    let (path, name) = (source.path.display(), &found[2]);
                    long.push(format!("{path}: {name}: {length:?}"));
                }
            }
        }
    }
    assert!(long.is_empty(), "{long:?}");
}
