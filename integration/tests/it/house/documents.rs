//! Documents say what is so: codes, threats, links, commands.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use audit::code::Code;
use integration::program::{self, Program};
use integration::sources::{self, Source};
use integration::wait::OrFail;
use regex::Regex;

/// Codes that no test brings about, and why.
const UNREACHED: &[(&str, &str)] = &[
    ("internal", "it says that an invariant broke"),
    (
        "withheld",
        "the log must fail between a durable release and the first byte of its answer",
    ),
];

/// What `docs/codes.md` has to be.
fn codes() -> String {
    let mut text = String::from(
        "# Codes\n\n\
         How something ended, or why it was refused: the `code` of a record (`audit show`), the label of\n\
         a metric, the end of the `type` of a problem document (`urn:phigate:problem:`*code*). A name is\n\
         never reused and never changes its meaning. This file is made from `gateway/audit/src/code.rs`;\n\
         a test compares the two, and `BLESS=1 integration/test --only house` writes it anew.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for code in Code::ALL {
        let _ = writeln!(text, "| `{code}` | {} |", code.meaning());
    }
    text
}

#[test]
fn the_document_of_codes_is_the_table_of_the_log() {
    let path = sources::root().join("docs/codes.md");
    let expected = codes();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).or_fail("write docs/codes.md");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/codes.md is not the table of code.rs: BLESS=1 integration/test --only house"
    );
}

#[test]
fn every_code_is_reached_by_a_test_or_it_is_said_why_not() {
    let outside: String = sources::files("integration/tests/it", "rs")
        .iter()
        // Not by the list above.
        .filter(|path| !path.iter().any(|part| part == "house"))
        .map(sources::read)
        .collect();
    let inside: String = ["gateway/src", "gateway/audit/src", "gateway/audit/tests"]
        .iter()
        .flat_map(|folder| sources::files(folder, "rs"))
        .map(|path| tests_of(&path))
        .collect();
    let unreached: BTreeSet<&str> = UNREACHED.iter().map(|(name, _)| *name).collect();
    for code in Code::ALL {
        let name = code.name();
        let word = Regex::new(&format!(
            r#""(?:(?:refusal|handshake_refused|completion|close|noise) )?{name}""#
        ))
        .unwrap();
        let variant = format!("Code::{code:?}");
        let reached = word.is_match(&outside) || holds_word(&inside, &variant);
        assert!(
            reached != unreached.contains(name),
            "{name}: reached by a test {reached}, listed as unreached {}",
            !reached
        );
    }
}

/// The tests within a file.
fn tests_of(path: &Path) -> String {
    let text = sources::read(path);
    if path.iter().any(|part| part == "tests") {
        return text;
    }
    let heads = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(crate) mod "];
    let start = heads.iter().filter_map(|head| text.find(head)).min();
    let start = start.unwrap_or(text.len());
    text[start..].to_owned()
}

fn holds_word(text: &str, word: &str) -> bool {
    Regex::new(&format!(r"{}(?-u:\b)", regex::escape(word)))
        .unwrap()
        .is_match(text)
}

/// The cells of the rows of the one table of a document.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[test]
fn every_row_of_the_threats_names_tests_that_exist() {
    let quoted = Regex::new(r"`([^`]+)`").unwrap();
    let rows = rows(&sources::read("THREATS.md"));
    assert!(rows.len() > 20, "the rows can be read: {}", rows.len());
    for row in rows {
        let [attack, construction, tests] = row.as_slice() else {
            panic!("three cells in {row:?}");
        };
        let names: Vec<&str> = quoted
            .captures_iter(tests)
            .map(|found| found.get(1).map_or("", |name| name.as_str()))
            .collect();
        for name in &names {
            assert!(exists(name), "{attack}: there is no test {name}");
        }
        let said = ["not yet: ", "outside the promise: "]
            .iter()
            .any(|words| construction.contains(words) || tests.contains(words));
        assert!(!names.is_empty() || said, "{attack}: nothing shows it");
        for path in quoted.captures_iter(construction) {
            let path = &path[1];
            if path.contains('/') || path.contains(".rs") {
                assert!(
                    sources::root().join(path).exists(),
                    "{attack}: there is no {path}"
                );
            }
        }
    }
}

/// Whether a test has this name: `module::test` of this crate, or `crate path::test` of another.
fn exists(name: &str) -> bool {
    let (folder, path) = match name.split_once(' ') {
        Some(("audit", path)) => ("gateway/audit", path),
        Some(("http1", path)) => ("gateway/http1", path),
        Some(("ocsp", path)) => ("pki/ocsp", path),
        Some((folder, path)) => (folder, path),
        None => ("integration", name),
    };
    let mut parts: Vec<&str> = path.split("::").collect();
    let Some(test) = parts.pop().filter(|_| !parts.is_empty()) else {
        return false;
    };
    let declared = Regex::new(&format!(r"(?-u:\b)fn {test}\(")).unwrap();
    // A module is a file, a folder, or at the end of a file.
    let parts: Vec<&str> = parts.into_iter().filter(|part| *part != "tests").collect();
    let in_module = |path: &PathBuf| {
        let mut rest = path.iter().map(|part| part.to_string_lossy().into_owned());
        parts
            .iter()
            .all(|part| rest.any(|name| name.trim_end_matches(".rs") == *part))
    };
    ["src", "tests"]
        .iter()
        .map(|kind| format!("{folder}/{kind}"))
        .filter(|folder| sources::root().join(folder).is_dir())
        .flat_map(|folder| sources::files(&folder, "rs"))
        .filter(in_module)
        .any(|path| declared.is_match(&tests_of(&path)))
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^) ]+)\)").unwrap();
    let mut count = 0;
    for path in sources::files(".", "md") {
        let text = sources::read(&path);
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = path.parent().unwrap_or(Path::new(""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            let whole = sources::root().join(&file);
            assert!(whole.exists(), "{}: {target}", path.display());
            if !anchor.is_empty() && whole.is_file() {
                assert!(
                    headings(&sources::read(&file)).contains(anchor),
                    "{}: {target} has no such heading",
                    path.display()
                );
            }
        }
    }
    assert!(count > 5, "the links can be read: {count}");
}

/// The anchors of a document.
fn headings(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// The lines of the blocks of commands in a document, without comments.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split(" #").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

#[test]
fn the_commands_of_the_documents_exist() {
    let mut count = 0;
    for document in sources::files(".", "md") {
        for command in commands(&sources::read(&document)) {
            let mut words: Vec<&str> = command.split_whitespace().collect();
            if let ["cargo", "run", "--release", "--bin", name, "--", ..] = words.as_slice() {
                let name = *name;
                words.drain(..6);
                words.insert(0, name);
            }
            match words.as_slice() {
                [program @ ("gateway" | "audit" | "pki"), rest @ ..] => {
                    count += 1;
                    is_a_command(program, rest, &command);
                }
                [built, ..] if built.starts_with("target/") => {
                    count += 1;
                    let name = built.rsplit('/').next().unwrap_or_default();
                    // Fails when no build makes it.
                    let _ = program::binary(name);
                }
                [script, ..] if script.contains('/') => {
                    count += 1;
                    let path = sources::root().join(script);
                    assert!(path.is_file(), "{}: {command}", document.display());
                }
                _ => {}
            }
        }
    }
    assert!(count > 8, "the commands can be read: {count}");
}

/// The help of a command names every option that the line uses.
#[track_caller]
fn is_a_command(program: &str, words: &[&str], line: &str) {
    let is_name = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let subcommand: Vec<&str> = words.iter().take_while(is_name).copied().collect();
    let help = Program::ours(program)
        .args(subcommand)
        .arg("--help")
        .run()
        .expect_code(0);
    for option in words.iter().filter(|word| word.starts_with("--")) {
        let option = option.split('=').next().unwrap_or(option);
        let known = Regex::new(&format!(r"{option}(?-u:\b)")).unwrap();
        assert!(known.is_match(&help.stdout), "{line}: no {option}");
    }
}

#[test]
fn the_schema_in_the_checkout_is_the_one_that_the_gateway_prints() {
    let printed = Program::ours("gateway").arg("schema").run().expect_code(0);
    assert_eq!(
        printed.stdout.trim(),
        sources::read("config/schema.json").trim()
    );
}

#[test]
fn the_script_of_the_tests_lists_every_crate_and_module() {
    let listed = Program::of_the_machine("bash")
        .arg(sources::root().join("integration/test"))
        .arg("--list")
        .run()
        .expect_code(0)
        .stdout;
    let main = Source::read(Path::new("integration/tests/it/main.rs"));
    let modules = main.lines_with(&["mod "]);
    let modules = modules
        .iter()
        .filter_map(|line| line.rsplit("mod ").next())
        .map(|name| name.trim_end_matches(';'));
    let members = sources::members();
    let crates = members
        .iter()
        .filter_map(|member| member.rsplit('/').next());
    for name in modules.chain(crates) {
        assert!(
            listed
                .lines()
                .any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is missing in the table of integration/test"
        );
    }
}

#[test]
fn what_the_promises_rest_on_stands_in_the_source_with_the_test_that_misses_it() {
    Program::of_the_machine("bash")
        .arg(sources::root().join("integration/removals"))
        .arg("--check")
        .run()
        .expect_code(0);
}
