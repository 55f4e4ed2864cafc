//! Every read is an entry, or says that it is none.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::clinic::{BASE, Clinic, Exchange, json_lines, text, whom, word};

const PUMP: &str = "devices:urn:example:pump-1";

/// A log of one request, which nobody serves.
fn clinic() -> Clinic {
    let clinic = Clinic::new();
    let mut writer = clinic.write();
    writer.read(&Exchange::of(1, PUMP, whom(&[clinic.id(1)], false)));
    writer.end();
    clinic
}

/// The reads that are on record.
fn reads(clinic: &Clinic) -> Vec<Value> {
    json_lines(&clinic.run(&["show", "--json", "--unrecorded", "--type", "log_read"]))
}

#[track_caller]
fn is_good(clinic: &Clinic) {
    let key = clinic.keys.signer.verifier().to_string();
    std::fs::write(clinic.path("log.vkey"), key).unwrap();
    let verified = clinic.run(&["verify", "--strict"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
}

#[test]
fn a_read_of_a_log_that_nobody_serves_is_an_entry_that_the_next_start_signs() {
    let clinic = clinic();
    let name = format!("{BASE}|1");
    let asked = [
        "show",
        "--json",
        "--patient",
        &name,
        "--until",
        "2026-11-30",
        "--client",
        "x",
    ];
    assert_eq!(clinic.run(&asked).status.code(), Some(0));
    let found = reads(&clinic);
    assert_eq!(found.len(), 1);
    let read = &found[0];
    assert_eq!(read["uid"], rustix::process::getuid().as_raw());
    assert_eq!(read["verb"], "show");
    assert_eq!(read["filters"], serde_json::json!(["patient", "client"]));
    assert_eq!(
        read["patients"],
        serde_json::json!([clinic.id(1).to_string()])
    );
    assert_eq!(read["until"], "2026-12-01T00:00:00.000000Z");
    assert_eq!(read["served"], false);
    is_good(&clinic);
    clinic.write().end();
    is_good(&clinic);
    let verified = text(&clinic.run(&["verify"]).stdout);
    assert!(
        verified.contains(", 0 entries at the end not signed yet"),
        "{verified}"
    );
    assert_eq!(reads(&clinic).len(), 1);
}

#[test]
fn whoever_shows_indexes_or_reports_is_on_record_and_whoever_verifies_or_proves_is_not() {
    let clinic = clinic();
    let log = clinic.log();
    let name = format!("{BASE}|1");
    clinic.run(&["show"]);
    clinic.run(&["index"]);
    clinic.run(&["report", "access", "--patient", &name]);
    let file = clinic.path("recipients.toml");
    std::fs::write(&file, "").unwrap();
    clinic.run(&[
        "report",
        "disclosures",
        "--patient",
        &name,
        "--recipients",
        word(&file),
    ]);
    clinic.run(&["verify"]);
    clinic.run(&["prove", "--entry", "0"]);
    let refused = clinic.run(&["show", "--type", "nonsense"]);
    assert_eq!(refused.status.code(), Some(64));
    let verbs: Vec<_> = reads(&clinic)
        .iter()
        .map(|read| read["verb"].clone())
        .collect();
    assert_eq!(
        verbs,
        ["show", "index", "report access", "report disclosures"]
    );
    assert!(log.join("index.sqlite").exists());
}

#[test]
fn nothing_is_read_of_a_log_whose_gateway_does_not_answer_unless_somebody_insists() {
    let clinic = clinic();
    let writer = clinic.write();
    let refused = clinic.run(&["show", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "", "not a word of it");
    let said = text(&refused.stderr);
    assert!(
        said.contains("so nothing was read") && said.contains("--unrecorded"),
        "{said}"
    );
    let read = clinic.run(&["show", "--json", "--unrecorded"]);
    assert_eq!(read.status.code(), Some(0));
    assert!(text(&read.stderr).contains("note: this read is not on record"));
    assert!(text(&read.stdout).contains("\"type\":\"release\""));
    writer.end();
    assert_eq!(reads(&clinic).len(), 0);
}

#[test]
fn a_log_that_cannot_go_on_is_read_unrecorded_and_left_as_it_is() {
    let clinic = clinic();
    let exposed = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(clinic.log(), exposed).unwrap();
    let read = clinic.run(&["show"]);
    assert_eq!(read.status.code(), Some(0));
    let said = text(&read.stderr);
    assert!(said.contains("note: this read is not on record"), "{said}");
    let whole = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(clinic.log(), whole).unwrap();
    assert_eq!(reads(&clinic).len(), 0);
    // One that was cut: what is missing must not be grown over.
    let wal = clinic.log().join("wal");
    let segments = || std::fs::read_dir(&wal).unwrap().count();
    let mut writer = clinic.write();
    writer.read(&Exchange::of(2, PUMP, whom(&[], false)));
    writer.end();
    let cut = wal.join("0000000000000002.seg");
    std::fs::remove_file(cut).unwrap();
    let before = segments();
    let read = clinic.run(&["show"]);
    let said = text(&read.stderr);
    assert!(said.contains("the log was cut or rolled back"), "{said}");
    assert_eq!(segments(), before);
}

#[test]
fn root_reads_and_leaves_nothing_that_the_logs_owner_cannot_go_on_with() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run here: root reads the log of another user: this is not root");
        return;
    }
    let clinic = clinic();
    let owner = 12_345;
    let given = Command::new("chown")
        .args(["-R", &format!("{owner}:{owner}")])
        .arg(clinic.log())
        .status();
    assert!(given.unwrap().success());
    assert_eq!(clinic.run(&["show"]).status.code(), Some(0));
    let found = reads(&clinic);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["uid"], 0, "root read, whoever wrote it down");
    fn all(folder: &Path, owner: u32) {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.uid(), owner, "{}", path.display());
            if found.is_dir() {
                all(&path, owner);
            }
        }
    }
    all(&clinic.log(), owner);
}
