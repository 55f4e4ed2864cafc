//! The index: what it finds is what the log holds, it is never believed, and it may go at any time.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::clinic::{BASE, Clinic, Exchange, audit, text, whom, word};

const PUMP: &str = "devices:urn:example:pump-1";

/// Patient 1 is in requests 0, 3, 6 and so on, under two names; the others are not.
fn write(clinic: &Clinic, from: u64, count: u64) {
    let mut writer = clinic.write();
    for number in from..from + count {
        let (one, other) = (clinic.id(1), clinic.mrn(1));
        let subjects = match number % 6 {
            0 => whom(&[one, other], true),
            3 => whom(&[other], false),
            _ => whom(&[clinic.id(2 + number)], false),
        };
        let exchange = Exchange::of(number, PUMP, subjects);
        if number.is_multiple_of(2) {
            writer.read(&exchange);
        } else {
            writer.stream(&exchange);
        }
    }
    writer.end();
}

fn index(clinic: &Clinic) -> String {
    let made = clinic.run(&["index"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    text(&made.stdout)
}

/// The report on patient 1, and what was said of how it was made.
fn report(clinic: &Clinic, more: &[&str]) -> (Value, String) {
    let log = clinic.log();
    let name = format!("{BASE}|1");
    let words = ["report", "access", word(&log), "--patient", &name, "--json"];
    let made = audit(&[&words[..], more].concat());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let report: Value = serde_json::from_slice(&made.stdout).unwrap();
    (report["requests"].clone(), text(&made.stderr))
}

fn file(clinic: &Clinic, name: &str) -> PathBuf {
    clinic.log().join(name)
}

#[test]
fn with_an_index_as_without_the_same_is_told() {
    let clinic = Clinic::new();
    write(&clinic, 0, 60);
    let (whole, said) = report(&clinic, &[]);
    assert!(
        said.contains("note: there is no index: the whole log was read"),
        "{said}"
    );
    assert_eq!(whole.as_array().unwrap().len(), 20);
    assert!(index(&clinic).contains("made anew: there is no index\n"));
    let (indexed, said) = report(&clinic, &[]);
    assert_eq!((&indexed, said.as_str()), (&whole, ""));
    // What came since is read from the log, and links that came since lead back into the index.
    write(&clinic, 60, 30);
    let (indexed, said) = report(&clinic, &[]);
    assert_eq!((indexed.as_array().unwrap().len(), said.as_str()), (30, ""));
    assert_eq!(indexed, report(&clinic, &["--whole"]).0);
    let told = index(&clinic);
    assert!(!told.contains("made anew"), "{told}");
    assert_eq!(report(&clinic, &[]).0, indexed);
    let told = index(&clinic);
    let reads = "the last report, and this reading itself";
    assert!(told.contains(", 2 of them new\n"), "{reads}: {told}");
}

#[test]
fn a_link_behind_the_index_leads_to_what_is_in_it() {
    let clinic = Clinic::new();
    let mut writer = clinic.write();
    writer.read(&Exchange::of(1, PUMP, whom(&[clinic.mrn(1)], false)));
    writer.end();
    index(&clinic);
    assert_eq!(report(&clinic, &[]).0, serde_json::json!([]));
    let mut writer = clinic.write();
    writer.read(&Exchange::of(
        2,
        PUMP,
        whom(&[clinic.id(1), clinic.mrn(1)], true),
    ));
    writer.end();
    let (found, said) = report(&clinic, &[]);
    assert_eq!((found.as_array().unwrap().len(), said.as_str()), (2, ""));
}

#[test]
fn an_index_is_for_its_owner_and_no_evidence() {
    let clinic = Clinic::new();
    write(&clinic, 0, 12);
    index(&clinic);
    for name in ["index.sqlite", "index.seal", "index.lock"] {
        let mode = std::fs::metadata(file(&clinic, name))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    let bytes = std::fs::read(file(&clinic, "index.sqlite")).unwrap();
    for secret in ["mrn-1", BASE] {
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    std::fs::write(file(&clinic, "syslog.cursor"), "7").unwrap();
    let verified = clinic.run(&["verify"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
    for stranger in ["Index", "an-index", "cursor", "syslog.cursor.old"] {
        std::fs::write(file(&clinic, stranger), "").unwrap();
        let verified = clinic.run(&["verify"]);
        assert_eq!(verified.status.code(), Some(1), "{stranger}");
        std::fs::remove_file(file(&clinic, stranger)).unwrap();
    }
}

/// Whatever was done to the index, the report is right, says so, and the next update makes it anew.
#[track_caller]
fn is_not_believed(clinic: &Clinic, whole: &Value, why: &str) {
    let (found, said) = report(clinic, &[]);
    assert_eq!(&found, whole, "{why}");
    assert!(said.contains("the whole log was read"), "{why}: {said}");
    assert!(index(clinic).contains("made anew: "), "{why}");
    assert_eq!(report(clinic, &[]), (found, String::new()), "{why}");
}

#[test]
fn a_damaged_or_changed_index_is_never_believed() {
    let clinic = Clinic::new();
    write(&clinic, 0, 30);
    let (whole, _) = report(&clinic, &["--whole"]);
    index(&clinic);
    let path = file(&clinic, "index.sqlite");
    let good = std::fs::read(&path).unwrap();
    for at in [20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        is_not_believed(&clinic, &whole, "a changed byte");
    }
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    is_not_believed(&clinic, &whole, "half of it");
    std::fs::write(&path, "no database").unwrap();
    is_not_believed(&clinic, &whole, "something else");
    std::fs::remove_file(file(&clinic, "index.seal")).unwrap();
    is_not_believed(&clinic, &whole, "without its seal");
    // One that hides, by whoever may write to the directory and has no reader's key.
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM patients", []).unwrap();
    drop(connection);
    is_not_believed(&clinic, &whole, "one that hides");
    // One that another reader made.
    let other = Clinic::new();
    write(&other, 0, 30);
    index(&other);
    for name in ["index.sqlite", "index.seal"] {
        std::fs::copy(file(&other, name), file(&clinic, name)).unwrap();
    }
    is_not_believed(&clinic, &whole, "another's");
}

#[test]
fn an_index_of_a_longer_log_is_not_used() {
    let clinic = Clinic::new();
    write(&clinic, 0, 12);
    let kept = clinic.path("kept");
    let copy = |from: &PathBuf, to: &PathBuf| {
        let made = std::process::Command::new("cp")
            .arg("-r")
            .arg(from)
            .arg(to)
            .status();
        assert!(made.unwrap().success());
    };
    copy(&clinic.log(), &kept);
    write(&clinic, 12, 12);
    index(&clinic);
    let index_files = ["index.sqlite", "index.seal"];
    for name in index_files {
        std::fs::rename(file(&clinic, name), kept.join(name)).unwrap();
    }
    std::fs::remove_dir_all(clinic.log()).unwrap();
    copy(&kept, &clinic.log());
    let (whole, _) = report(&clinic, &["--whole"]);
    assert_eq!(whole.as_array().unwrap().len(), 4);
    is_not_believed(&clinic, &whole, "rolled back");
}

#[test]
fn what_was_destroyed_does_not_live_on_in_the_index() {
    let clinic = Clinic::new();
    write(&clinic, 0, 12);
    index(&clinic);
    let keys = file(&clinic, "keys");
    let records = |found: &mut Vec<PathBuf>| {
        let mut folders = vec![keys.clone()];
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
    };
    let mut first = Vec::new();
    records(&mut first);
    write(&clinic, 12, 6);
    index(&clinic);
    let pseudonym = clinic.id(3);
    let holds = || {
        let bytes = std::fs::read(file(&clinic, "index.sqlite")).unwrap();
        bytes.windows(16).any(|part| part == pseudonym.bytes())
    };
    assert!(holds(), "request 1 is of patient 3");
    std::fs::remove_file(&first[0]).unwrap();
    let log = clinic.log();
    let name = format!("{BASE}|1");
    let words = ["report", "access", word(&log), "--patient", &name, "--json"];
    let made = audit(&words);
    assert_eq!(made.status.code(), Some(1), "what is gone cannot be told");
    assert!(text(&made.stderr).contains("a key that this reader has not got any more"));
    let report: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(report["requests"].as_array().unwrap().len(), 2);
    assert_eq!(report["complete"], false);
    let told = index(&clinic);
    assert!(told.contains("whose key is gone: dropped"), "{told}");
    assert!(!holds(), "not even in what the database gave up");
    let again = audit(&words);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["requests"], report["requests"]);
    assert_eq!(again["sealed_to_others"], report["sealed_to_others"]);
}

#[test]
fn an_index_takes_a_readers_key() {
    let clinic = Clinic::new();
    write(&clinic, 0, 3);
    std::fs::rename(clinic.path("reader.key"), clinic.path("kept")).unwrap();
    let refused = clinic.run(&["index"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("hint: --reader names"));
    std::fs::rename(clinic.path("kept"), clinic.path("reader.key")).unwrap();
    index(&clinic);
    assert_eq!(report(&clinic, &[]).1, "");
}
