//! Every mistake is told at its place, in words that help: one file each in `tests/mistakes`, with
//! what is printed beside it.
//!
//! To accept new words after reading them: `BLESS=1 cargo test -p config --test mistakes`.

use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, Findings, Severity};

#[test]
fn each_mistake_is_told_as_it_was_agreed() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files() {
        let told = told(&file);
        let agreed_file = file.with_extension("txt");
        if bless {
            fs::write(&agreed_file, &told).unwrap();
        }
        let agreed = fs::read_to_string(&agreed_file).unwrap_or_default();
        if told != agreed {
            wrong.push(format!(
                "{}\n--- agreed\n{agreed}\n--- told\n{told}",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_finding_is_left_without_a_mistake_of_its_own() {
    let texts: Vec<PathBuf> = entries("txt");
    for text in &texts {
        assert!(
            text.with_extension("toml").exists(),
            "{} has no file",
            text.display()
        );
    }
    assert!(
        files().len() >= 60,
        "only {} mistakes are written down",
        files().len()
    );
}

#[test]
fn each_finding_stands_within_its_file() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
        for finding in findings(&text).list() {
            let (line, column) = (finding.place.line as usize, finding.place.column as usize);
            assert!((1..=lines.len()).contains(&line), "{finding}");
            assert!((1..=lines[line - 1] + 1).contains(&column), "{finding}");
        }
    }
}

#[test]
fn no_secret_is_repeated() {
    for file in entries("txt") {
        let text = fs::read_to_string(&file).unwrap().to_lowercase();
        for secret in ["hunter2", "pin-value", "1234", "begin private"] {
            assert!(!text.contains(secret), "{}", file.display());
        }
    }
}

fn told(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a file of this folder is text");
    let findings = findings(&text);
    assert!(!findings.is_empty(), "{} holds no mistake", file.display());
    format!("{findings}\n")
}

fn findings(text: &str) -> Findings {
    match config::parse(Path::new("gateway.toml"), text) {
        Ok(Config { warnings, .. }) => warnings,
        Err(errors) => {
            assert!(
                errors
                    .list()
                    .iter()
                    .all(|finding| finding.severity == Severity::Error)
            );
            errors
        }
    }
}

fn files() -> Vec<PathBuf> {
    entries("toml")
}

fn entries(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is part of the crate")
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}
