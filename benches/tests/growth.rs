//! What `benches/growth` stands on, as a person runs it: the script's words, and `load plot`.
//!
//! What this file does not do: it measures nothing; a busy machine must not fail it.

// Helpers of tests are not within `#[test]`, which is all that clippy.toml lets unwrap.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// `benches/growth` with these words.
fn growth(words: &[&str]) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/growth"))
        .args(words)
        .output()
        .unwrap()
}

/// `load plot` of these points, into this folder.
fn plot(points: &str, folder: &Path) -> Output {
    let (file, out) = (folder.join("points.tsv"), folder.join("plot.svg"));
    fs::write(&file, points).unwrap();
    Command::new(env!("CARGO_BIN_EXE_load"))
        .arg("plot")
        .arg(file)
        .args(["--title", "Routes", "--sizes", "routes"])
        .args(["--figures", "CPU us a request", "--out"])
        .arg(out)
        .output()
        .unwrap()
}

#[test]
fn points_become_a_table_and_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot("h1\t1\t40\nh1\t1000\t50\n", folder.path());
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(table.contains("| routes | h1 |"), "{table}");
    assert!(table.contains("| 1,000 | 50.0 |"), "{table}");
    let plot = fs::read_to_string(folder.path().join("plot.svg")).unwrap();
    assert!(plot.starts_with("<svg "), "{plot}");
    assert!(plot.contains(">CPU us a request</text>"), "{plot}");
}

#[test]
fn what_is_no_point_leaves_no_plot() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot("h1\t1\t40\nh1 1000 50\n", folder.path());
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("line 2 is no point"), "{words}");
    assert!(!folder.path().join("plot.svg").exists());
}

#[test]
fn wrong_words_are_told_before_anything_is_built() {
    for (words, told) in [
        (
            &["--only", "everything"][..],
            "there is no family everything",
        ),
        (&["--only"], "--only takes a value"),
        (&["--fast"], "there is no option --fast"),
        (&["--rounds", "0"], "--rounds is a number"),
    ] {
        let output = growth(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
    let help = growth(&["--help"]);
    let said = String::from_utf8_lossy(&help.stdout);
    assert_eq!(help.status.code(), Some(0));
    assert!(said.contains("routes rules identities"), "{said}");
}
