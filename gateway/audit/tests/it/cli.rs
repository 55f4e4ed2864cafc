//! The program `audit` keeps its exit codes and prints what it promises.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use audit::log::{Log, Options};
use audit::queue::Limits;
use audit::storage::Durability;

use crate::entry;

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_audit"))
        .args(arguments)
        .output()
        .unwrap()
}

fn make(directory: &Path) {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Buffered,
        segment_bytes: 2 * 1024 * 1024,
        limits: Limits {
            entries: 1000,
            bytes: 1024 * 1024,
        },
    };
    let (log, committer) = Log::open(&options).unwrap();
    for number in 0..3 {
        log.append_blocking(&entry(number), Duration::from_secs(10))
            .unwrap();
    }
    committer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn verify_tells_good_tampered_nothing_and_unreadable_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    assert_eq!(audit(&["verify", path]).status.code(), Some(3));
    make(directory.path());
    let good = audit(&["verify", path]);
    assert_eq!(good.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&good.stdout)
            .starts_with("good: 3 entries in 3 batches and 1 segments")
    );
    assert_eq!(
        audit(&["verify", path, "--strict"]).status.code(),
        Some(3),
        "nothing is signed"
    );
    let segment = directory.path().join("wal/0000000000000001.seg");
    let mut changed = std::fs::read(&segment).unwrap();
    changed[5000] ^= 1;
    std::fs::write(&segment, changed).unwrap();
    let tampered = audit(&["verify", path]);
    assert_eq!(tampered.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&tampered.stdout).contains("segment 1 at byte 4096"));
    let missing = audit(&["verify", "/no/such/directory"]);
    assert_eq!(missing.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("hint: "));
}

#[test]
fn show_prints_one_json_object_a_line_with_the_fields_that_programs_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let shown = audit(&["show", "--json", directory.path().to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0));
    let lines: Vec<serde_json::Value> = String::from_utf8(shown.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let fields = "request_id connection_id type time client user method route rule resource status bytes outcome code";
    for field in fields.split(' ') {
        assert!(lines[0].get(field).is_some(), "{field} is missing");
    }
    assert_eq!(lines[2]["type"], "close");
    assert_eq!(lines[2]["requests"], 2);
    assert_eq!(lines[2]["time"], "2023-11-14T22:13:20.000000Z");
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    assert_eq!(audit(&["verify"]).status.code(), Some(64));
    assert_eq!(audit(&["nonsense"]).status.code(), Some(64));
    assert_eq!(audit(&[]).status.code(), Some(64));
    for arguments in [
        &["--help"][..],
        &["verify", "--help"],
        &["show", "--help"],
        &["--version"],
    ] {
        assert_eq!(audit(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn reading_a_directory_without_a_log_says_where_to_look() {
    let directory = tempfile::tempdir().unwrap();
    let shown = audit(&["show", directory.path().to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(1));
    let told = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(
        told.starts_with("error: cannot read ") && told.contains("\nhint: "),
        "{told}"
    );
}
