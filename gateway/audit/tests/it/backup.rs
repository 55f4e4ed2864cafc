//! A backup is a whole log of its own, up to date or as it was; it stands against a log that was put back
//! or changed since; and the way back from it is on record.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit::backup::{self, BackupError, Stage};
use audit::error::OpenError;
use audit::event::{Close, Code, Event, Id};
use audit::log::Log;
use audit::loss::{self, Acceptance};
use audit::queue::Share;
use audit::verify::Asked;
use serde_json::Value;

use crate::clinic::{Clinic, Exchange, audit, json_lines, second, text, whom, word};
use crate::signed::{PATIENCE, copy};

const PUMP: &str = "devices:urn:example:pump-1";

/// One run of a writer that leaves so many requests. Each is a batch or a few.
fn run(clinic: &Clinic, from: u64, count: u64) {
    let mut writer = clinic.write();
    for number in from..from + count {
        writer.read(&Exchange::of(
            number,
            PUMP,
            whom(&[clinic.id(number)], false),
        ));
    }
    writer.end();
}

/// A log of some runs, with its public key beside it.
fn clinic() -> Clinic {
    let clinic = Clinic::new();
    let key = clinic.keys.signer.verifier().to_string();
    std::fs::write(clinic.path("log.vkey"), key).unwrap();
    run(&clinic, 0, 300);
    run(&clinic, 300, 20);
    clinic
}

fn place(clinic: &Clinic) -> PathBuf {
    clinic.path("backup/audit")
}

/// Makes a backup of a log.
fn back_up(clinic: &Clinic, log: &Path) -> Output {
    let to = place(clinic);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let key = clinic.path("log.vkey");
    audit(&[
        "backup",
        word(log),
        "--to",
        word(&to),
        "--key",
        word(&key),
        "--json",
    ])
}

#[track_caller]
fn backed_up(clinic: &Clinic) -> Value {
    let output = back_up(clinic, &clinic.log());
    json_lines(&output).remove(0)
}

/// The drill.
fn drill(clinic: &Clinic, backup: &Path, more: &[&str]) -> Output {
    let key = clinic.path("log.vkey");
    let mut words = vec!["restore", word(backup), "--verify", "--key", word(&key)];
    words.extend(more);
    audit(&words)
}

/// A backup as it is: paths, and what they hold.
fn held(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let items = std::fs::read_dir(&path).unwrap();
            open.extend(items.map(|item| item.unwrap().path()));
        } else {
            let name = path.strip_prefix(directory).unwrap().to_owned();
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// The backup is refused with this exit code and these words, is as it was, and nothing lies beside it.
#[track_caller]
fn assert_refused(clinic: &Clinic, log: &Path, code: i32, words: &str) {
    let to = place(clinic);
    let before = to.exists().then(|| held(&to));
    let refused = back_up(clinic, log);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(code), "{said}");
    assert!(said.contains(words) && said.contains("hint: "), "{said}");
    assert_eq!(to.exists().then(|| held(&to)), before);
    assert!(!clinic.path("backup/audit.aside").exists());
}

#[test]
fn a_backup_is_a_log_that_verifies_and_reads_and_whoever_makes_it_is_on_record() {
    let clinic = clinic();
    let made = backed_up(&clinic);
    let to = place(&clinic);
    assert_eq!(made["verdict"], "good");
    assert_eq!(made["entries"], made["new_entries"]);
    assert_eq!(made["unsigned_entries"], 0);
    let key = clinic.path("log.vkey");
    let verified = audit(&["verify", word(&to), "--strict", "--key", word(&key)]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
    assert!(text(&verified.stdout).contains("note: this is a backup"));
    let reader = clinic.path("reader.key");
    let shown = audit(&["show", word(&to), "--json", "--reader", word(&reader)]);
    let said = text(&shown.stderr);
    assert!(said.contains("note: this read is not on record"), "{said}");
    let releases = |lines: Vec<Value>| -> Vec<Value> {
        let mut lines = lines;
        lines.retain(|line| line["type"] == "release");
        lines
    };
    let there = releases(json_lines(&shown));
    let here = releases(json_lines(&clinic.run(&["show", "--json"])));
    assert_eq!(there.len(), 320);
    assert_eq!(there, here);
    // The act is on record, in the log and not in the backup.
    let acts = json_lines(&clinic.run(&["show", "--json", "--type", "backup"]));
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0]["entries"], made["entries"]);
    assert_eq!(acts[0]["by"]["uid"], rustix::process::getuid().as_raw());
    // For its owner alone.
    for path in held(&to).keys() {
        let mut path = to.join(path);
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600, "{path:?}");
        while path.pop() && path.starts_with(&to) {
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        }
    }
    assert!(!clinic.path("backup/audit.aside").exists());
}

#[test]
fn a_backup_that_is_brought_up_to_date_is_the_same_as_a_fresh_one_and_links_what_cannot_change() {
    let clinic = clinic();
    let to = place(&clinic);
    let mut before = backed_up(&clinic);
    let first = to.join("wal/0000000000000001.seg");
    let inode = std::fs::metadata(&first).unwrap().ino();
    for round in 0..4 {
        // Over the ends of tiles and segments.
        run(&clinic, 1000 * (round + 1), 170 + 40 * round);
        let made = backed_up(&clinic);
        let new = made["new_entries"].as_u64().unwrap();
        assert_eq!(
            before["entries"].as_u64().unwrap() + new,
            made["entries"].as_u64().unwrap()
        );
        assert!(new > 170, "{made}");
        let fresh = clinic.path(&format!("fresh-{round}"));
        let key = clinic.path("log.vkey");
        // Not on record, so that the log is the same.
        let quiet = clinic.path("copied");
        let _ = std::fs::remove_dir_all(&quiet);
        copy(&clinic.log(), &quiet);
        std::fs::write(quiet.join("BACKUP"), audit::lock::BACKUP_TEXT).unwrap();
        let output = audit(&[
            "backup",
            word(&quiet),
            "--to",
            word(&fresh),
            "--key",
            word(&key),
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(held(&to), held(&fresh), "{round}");
        before = made;
    }
    assert_eq!(std::fs::metadata(&first).unwrap().ino(), inode);
    // Nothing new: nothing to do, and that is no error.
    let again = back_up(&clinic, &to_copy(&clinic));
    let again = json_lines(&again).remove(0);
    assert_eq!(again["new_entries"], 0);
    assert_eq!(again["entries"], before["entries"]);
}

/// The log on a medium that nobody can write to.
fn to_copy(clinic: &Clinic) -> PathBuf {
    clinic.path("copied")
}

#[test]
fn a_log_that_is_written_and_signed_is_backed_up_at_every_moment() {
    let clinic = clinic();
    let (log, committer) = Log::open(&clinic.options()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (log, stop) = (log.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    let event = Event::Close(Close {
                        connection_id: Id::new([1; 16]),
                        code: Code::Complete,
                        requests: number,
                        milliseconds: 0,
                    });
                    let entry = audit::event::Entry {
                        time: second(number),
                        event,
                    };
                    // A disk that is busy with other tests may not keep up: then there is no room.
                    let _ = log.append_unwaited(&entry, Share::Proven);
                    number += 1;
                }
                log.kick();
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let verifier = clinic.keys.signer.verifier();
    let asked = Asked {
        key: Some(verifier),
        strict: true,
        ..Asked::default()
    };
    let to = clinic.path("live");
    let (mut entries, mut rounds, mut grown) = (0, 0, 0);
    while grown < 5 {
        rounds += 1;
        assert!(rounds < 500, "nothing is signed");
        let begun = backup::begin(&clinic.log(), &to).unwrap();
        let made = begun.make(&asked, &mut |_| ()).unwrap();
        assert_eq!(made.before, entries);
        assert!(made.head.size >= entries);
        grown += u32::from(made.head.size > entries);
        entries = made.head.size;
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    committer.close(Duration::from_mins(2)).unwrap();
    let done = drill(&clinic, &to, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
}

#[test]
fn nothing_is_copied_of_a_log_whose_gateway_does_not_answer() {
    let clinic = clinic();
    let writer = clinic.write();
    assert_refused(&clinic, &clinic.log(), 4, "so nothing was copied");
    assert!(!place(&clinic).exists());
    writer.end();
    backed_up(&clinic);
}

#[test]
fn a_log_that_was_put_back_is_refused_by_its_backup_and_so_is_one_that_went_on_from_there() {
    let clinic = clinic();
    let yesterday = clinic.path("yesterday");
    copy(&clinic.log(), &yesterday);
    run(&clinic, 400, 50);
    backed_up(&clinic);
    let today = clinic.path("today");
    std::fs::rename(clinic.log(), &today).unwrap();
    copy(&yesterday, &clinic.log());
    assert_refused(&clinic, &clinic.log(), 2, "cut or rolled back");
    // Longer than the backup, and another one.
    run(&clinic, 400, 10);
    run(&clinic, 900, 100);
    assert_refused(&clinic, &clinic.log(), 1, "rolled back or written anew");
    let acts = json_lines(&clinic.run(&["show", "--json", "--type", "backup"]));
    assert_eq!(acts.len(), 0, "what is refused changes no evidence");
    std::fs::remove_dir_all(clinic.log()).unwrap();
    std::fs::rename(&today, clinic.log()).unwrap();
    backed_up(&clinic);
}

#[test]
fn the_backup_of_another_log_and_a_history_that_was_changed_are_refused() {
    let (clinic, other) = (clinic(), clinic_of_its_own());
    backed_up(&clinic);
    assert_refused(&clinic, &other.log(), 1, "the backup of another log");
    // A checkpoint that the backup holds is taken out of the history.
    run(&clinic, 400, 50);
    let days = std::fs::read_dir(clinic.log().join("checkpoints")).unwrap();
    let day = days.map(|day| day.unwrap().path()).min().unwrap();
    let text = std::fs::read_to_string(&day).unwrap();
    let (_, rest) = text.split_once("\n\n\u{2014}").unwrap();
    let (_, rest) = rest.split_once("\n\n").unwrap();
    std::fs::write(&day, rest).unwrap();
    assert_refused(
        &clinic,
        &clinic.log(),
        1,
        "does not go on from what its backup holds",
    );
}

/// Another log, under the same name.
fn clinic_of_its_own() -> Clinic {
    let other = Clinic::new();
    run(&other, 0, 500);
    other
}

#[test]
fn what_was_changed_in_the_log_since_does_not_get_into_the_backup() {
    let clinic = clinic();
    backed_up(&clinic);
    run(&clinic, 400, 300);
    let whole = clinic.path("whole");
    copy(&clinic.log(), &whole);
    let last_segment = held(&whole)
        .into_keys()
        .filter(|path| path.starts_with("wal"))
        .max()
        .unwrap();
    let changed = [
        (last_segment, 5000),
        (PathBuf::from("tile/0/001"), 40),
        (PathBuf::from("checkpoint"), 30),
    ];
    for (path, at) in changed {
        let file = clinic.log().join(&path);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        // Put back as a whole: an act on record would change the log.
        let refused = back_up(&clinic, &clinic.log());
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{path:?}: {}{}",
            text(&refused.stdout),
            text(&refused.stderr)
        );
        let done = drill(&clinic, &place(&clinic), &[]);
        assert_eq!(done.status.code(), Some(0), "{path:?}");
        std::fs::remove_dir_all(clinic.log()).unwrap();
        copy(&whole, &clinic.log());
    }
    backed_up(&clinic);
}

#[test]
fn the_drill_finds_every_change_of_a_backup_and_such_a_one_is_not_brought_up_to_date() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    run(&clinic, 400, 50);
    let all = held(&to);
    for (path, whole) in &all {
        let mut changed = whole.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        std::fs::write(to.join(path), &changed).unwrap();
        let done = drill(&clinic, &to, &[]);
        assert_ne!(done.status.code(), Some(0), "{path:?}");
        let refused = back_up(&clinic, &clinic.log());
        let is_remade = path.ends_with("BACKUP") || path.ends_with("checkpoint");
        // What is taken from the log again may be mended by that.
        if refused.status.code() == Some(0) {
            assert!(!is_linked(path) || is_remade, "{path:?}");
            let done = drill(&clinic, &to, &[]);
            assert_eq!(done.status.code(), Some(0), "{path:?}");
        } else {
            assert_eq!(std::fs::read(to.join(path)).unwrap(), changed);
        }
        std::fs::remove_dir_all(&to).unwrap();
        for (path, whole) in &all {
            std::fs::create_dir_all(to.join(path).parent().unwrap()).unwrap();
            std::fs::write(to.join(path), whole).unwrap();
        }
        for path in [&to, &to.join("wal")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    std::fs::write(to.join("wal/added"), "x").unwrap();
    assert_eq!(drill(&clinic, &to, &[]).status.code(), Some(1));
}

/// Whether a file of a backup is taken over into the next one.
fn is_linked(path: &Path) -> bool {
    path.starts_with("keys")
        || path.ends_with("tile/0/000")
        || path.ends_with("0000000000000001.seg")
}

#[test]
fn the_drill_needs_a_key_from_outside_and_proves_with_a_readers_that_the_records_can_be_read() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    let unproved = audit(&["restore", word(&to), "--verify"]);
    assert_eq!(
        unproved.status.code(),
        Some(3),
        "{}",
        text(&unproved.stderr)
    );
    let reader = clinic.path("reader.key");
    let done = drill(&clinic, &to, &["--reader", word(&reader), "--json"]);
    let proved = json_lines(&done).remove(0);
    let opened = |document: &Value| -> u64 {
        let epochs = document["epochs"].as_array().unwrap();
        epochs
            .iter()
            .map(|key| key["opened"].as_u64().unwrap())
            .sum()
    };
    assert_eq!(opened(&proved), 320);
    let stranger = clinic_of_its_own();
    let other = stranger.path("reader.key");
    let done = drill(&clinic, &to, &["--reader", word(&other)]);
    assert_eq!(done.status.code(), Some(3));
    assert!(
        text(&done.stdout).contains("0 of "),
        "{}",
        text(&done.stdout)
    );
    assert!(text(&done.stderr).contains("does not open for this reader"));
}

#[test]
fn a_record_of_a_key_that_the_log_lost_stays_in_its_backup_and_that_is_told() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    let is_key = |path: &PathBuf| path.starts_with("keys");
    let key = held(&to).into_keys().find(is_key).unwrap();
    std::fs::remove_file(clinic.log().join(&key)).unwrap();
    run(&clinic, 400, 10);
    let output = back_up(&clinic, &clinic.log());
    let made = json_lines(&output).remove(0);
    let name = key.strip_prefix("keys").unwrap();
    assert_eq!(made["missing_keys"], serde_json::json!([name]));
    assert!(
        text(&output.stderr).contains("put it back"),
        "{}",
        text(&output.stderr)
    );
    assert!(to.join(&key).exists());
    let reader = clinic.path("reader.key");
    let done = drill(&clinic, &to, &["--reader", word(&reader)]);
    assert_eq!(done.status.code(), Some(0));
    // Nobody has it: there is no whole log to be copied.
    std::fs::remove_dir_all(&to).unwrap();
    assert_refused(&clinic, &clinic.log(), 1, "the record of a key");
}

#[test]
fn a_restored_log_goes_on_and_says_that_it_was_restored() {
    let clinic = clinic();
    backed_up(&clinic);
    let (key, reader) = (clinic.path("log.vkey"), clinic.path("reader.key"));
    let backup = place(&clinic);
    let lost = clinic.path("lost");
    std::fs::rename(clinic.log(), &lost).unwrap();
    let restore = |to: &Path, reason: &str| {
        audit(&[
            "restore",
            word(&backup),
            "--to",
            word(to),
            "--reason",
            reason,
            "--key",
            word(&key),
            "--reader",
            word(&reader),
        ])
    };
    let before = held(&backup);
    let empty = restore(&clinic.log(), "  ");
    assert_eq!(empty.status.code(), Some(64), "{}", text(&empty.stderr));
    let full = restore(&lost, "disk replaced");
    assert_eq!(full.status.code(), Some(4));
    assert!(text(&full.stderr).contains("is not empty"));
    assert!(!clinic.log().exists());
    // What a crash left aside is in nobody's way.
    std::fs::create_dir_all(clinic.path("audit.aside/log/wal")).unwrap();
    std::fs::write(clinic.path("audit.aside/audit"), "").unwrap();
    let done = restore(&clinic.log(), "disk replaced, ticket 4711");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(!clinic.path("audit.aside").exists());
    assert_eq!(held(&backup), before, "the backup is as it was");
    let told = json_lines(&clinic.run(&["show", "--json", "--unrecorded", "--type", "restored"]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["reason"], "disk replaced, ticket 4711");
    let held_entries = json_lines(&drill(&clinic, &backup, &["--json"]))[0]["entries"].clone();
    assert_eq!(told[0]["entries"], held_entries);
    assert_eq!(told[0]["by"]["uid"], rustix::process::getuid().as_raw());
    // Also before the gateway signs that.
    let verified = clinic.run(&["verify", "--strict"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
    // It goes on, is signed, and is backed up to the same place again.
    run(&clinic, 500, 10);
    let verified = clinic.run(&["verify", "--strict"]);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
    backed_up(&clinic);
    let again = restore(&clinic.log(), "once more");
    assert_eq!(again.status.code(), Some(4));
}

#[test]
fn nobody_adds_to_a_backup() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    let before = held(&to);
    let options = audit::log::Options {
        directory: to.clone(),
        ..clinic.options()
    };
    assert!(matches!(Log::open(&options), Err(OpenError::Backup)));
    let reader = clinic.path("reader.key");
    audit(&["show", word(&to), "--reader", word(&reader)]);
    let key = clinic.path("log.vkey");
    let words = ["--accept-loss", "--reason", "x", "--key", word(&key)];
    audit(&[&["recover", word(&to)], &words[..]].concat());
    assert_eq!(held(&to), before);
    // Something else in the place of its mark is no mark.
    std::fs::write(to.join("BACKUP"), "anything").unwrap();
    assert_eq!(drill(&clinic, &to, &[]).status.code(), Some(1));
}

#[test]
fn a_place_that_is_not_its_own_is_refused_and_left_as_it_is() {
    let clinic = clinic();
    let log = clinic.log();
    let key = clinic.path("log.vkey");
    let to = |to: &Path| {
        let said = audit(&["backup", word(&log), "--to", word(to), "--key", word(&key)]);
        (said.status.code(), text(&said.stderr))
    };
    let before = held(&log);
    for inside in [log.join("backup"), log.clone(), clinic.path("")] {
        let (code, said) = to(&inside);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("lies in the log, or the log in it"), "{said}");
    }
    assert_eq!(held(&log), before);
    let foreign = clinic.path("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("precious"), "x").unwrap();
    assert!(to(&foreign).1.contains("holds something that is no backup"));
    assert_eq!(held(&foreign).len(), 1);
    let link = clinic.path("link");
    std::os::unix::fs::symlink(&foreign, &link).unwrap();
    assert!(to(&link).1.contains("is a symbolic link"));
    let file = clinic.path("file");
    std::fs::write(&file, "x").unwrap();
    assert!(to(&file).1.contains("is no directory"));
    let aside = clinic.path("new.aside");
    std::fs::create_dir(&aside).unwrap();
    for precious in ["precious", "log"] {
        std::fs::write(aside.join(precious), "x").unwrap();
        assert!(to(&clinic.path("new")).1.contains("holds something"));
        assert_eq!(held(&aside).len(), 1);
        std::fs::remove_file(aside.join(precious)).unwrap();
    }
    assert!(to(&clinic.path("no/such/place")).1.contains("cannot find"));
    // An empty one is fine, and one that others write to is not.
    let empty = clinic.path("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(to(&empty).0, Some(0));
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(to(&empty).1.contains("can be written to by others"));
}

#[test]
fn two_backups_to_one_place_do_not_run_at_once_nor_one_and_a_drill() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    let begun = backup::begin(&clinic.log(), &to).unwrap();
    assert!(matches!(
        backup::begin(&clinic.log(), &to),
        Err(BackupError::Busy { .. })
    ));
    let said = drill(&clinic, &to, &[]);
    assert_eq!(said.status.code(), Some(4));
    assert!(text(&said.stderr).contains("somebody else works on"));
    drop(begun);
    assert!(!clinic.path("backup/audit.aside").exists());
    let drilled = std::fs::File::open(&to).unwrap();
    drilled.lock_shared().unwrap();
    assert_refused(&clinic, &clinic.log(), 4, "somebody else works on");
    drop(drilled);
    backed_up(&clinic);
}

#[test]
fn a_write_that_fails_leaves_the_backup_as_it_was() {
    let clinic = clinic();
    backed_up(&clinic);
    run(&clinic, 400, 300);
    let to = place(&clinic);
    let before = held(&to);
    // No file may be longer than this: the segments are. A signal would end the program.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_audit"))
        .args(["backup", word(&read_only(&clinic)), "--to", word(&to)])
        .args(["--key", word(&clinic.path("log.vkey"))])
        .output()
        .unwrap();
    let said = text(&limited.stderr);
    assert_eq!(limited.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot write"), "{said}");
    assert_eq!(held(&to), before);
    assert!(!clinic.path("backup/audit.aside").exists());
}

/// A copy of the log to which nothing is added.
fn read_only(clinic: &Clinic) -> PathBuf {
    let copied = clinic.path("read-only");
    let _ = std::fs::remove_dir_all(&copied);
    copy(&clinic.log(), &copied);
    std::fs::write(copied.join("BACKUP"), audit::lock::BACKUP_TEXT).unwrap();
    copied
}

#[test]
fn what_an_attempt_left_aside_is_finished_or_removed_by_the_next() {
    let clinic = clinic();
    backed_up(&clinic);
    let to = place(&clinic);
    let aside = clinic.path("backup/audit.aside");
    let before = held(&to);
    let mark = || {
        std::fs::create_dir(&aside).unwrap();
        std::fs::write(aside.join("audit"), "").unwrap();
    };
    // Ended in the making.
    mark();
    copy(&to, &aside.join("log"));
    std::fs::remove_dir_all(aside.join("log/tile")).unwrap();
    assert_eq!(backed_up(&clinic)["verdict"], "good");
    // Ended between the two steps of a file system that knows no exchange.
    mark();
    std::fs::rename(&to, aside.join("old")).unwrap();
    copy(&aside.join("old"), &aside.join("log"));
    let made = backed_up(&clinic);
    assert_ne!(made["new_entries"], made["entries"], "it was put back");
    // Ended before what was there is removed.
    mark();
    copy(&to, &aside.join("log"));
    backed_up(&clinic);
    assert!(!aside.exists());
    assert!(held(&to).len() >= before.len());
}

#[test]
fn a_link_in_what_lies_aside_leads_nobody_out_of_it() {
    use std::os::unix::fs::symlink;
    let clinic = clinic();
    backed_up(&clinic);
    let aside = clinic.path("backup/audit.aside");
    let precious = clinic.path("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("shadow"), "root").unwrap();
    let planted: [&dyn Fn(); 4] = [
        &|| symlink(precious.join("shadow"), aside.join("audit")).unwrap(),
        &|| symlink(precious.join("not-there"), aside.join("audit")).unwrap(),
        &|| {
            std::fs::write(aside.join("audit"), "").unwrap();
            std::fs::create_dir(aside.join("old")).unwrap();
            symlink(&precious, aside.join("old/keys")).unwrap();
        },
        &|| {
            std::fs::write(aside.join("audit"), "").unwrap();
            symlink(&precious, aside.join("old")).unwrap();
        },
    ];
    let copied = clinic.path("copied");
    copy(&place(&clinic), &copied);
    let to = place(&clinic);
    for (at, plant) in planted.iter().enumerate() {
        std::fs::create_dir(&aside).unwrap();
        plant();
        let backup = back_up(&clinic, &clinic.log());
        let mut words = vec!["restore", word(&copied), "--to", word(&to)];
        words.extend(["--reason", "a test"]);
        for refused in [backup, audit(&words)] {
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(4), "{at}: {said}");
            assert!(said.contains("audit.aside holds something"), "{at}: {said}");
        }
        let left = held(&precious);
        assert_eq!(left[Path::new("shadow")], b"root", "{at}");
        assert_eq!(left.len(), 1, "{at}");
        std::fs::remove_dir_all(&aside).unwrap();
    }
    // A link below the records of keys is removed like a file, and not followed.
    std::fs::create_dir_all(aside.join("old/keys")).unwrap();
    std::fs::write(aside.join("audit"), "").unwrap();
    symlink(&precious, aside.join("old/keys/2026-11")).unwrap();
    symlink(precious.join("shadow"), aside.join("old/keys/key")).unwrap();
    backed_up(&clinic);
    assert_eq!(held(&precious)[Path::new("shadow")], b"root");
    assert!(!aside.exists());
}

#[test]
fn root_does_not_take_over_what_another_user_left_aside() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run here: what lies aside belongs to another user: this is not root");
        return;
    }
    let clinic = clinic();
    let aside = clinic.path("backup/audit.aside");
    std::fs::create_dir_all(aside.join("log")).unwrap();
    std::fs::write(aside.join("audit"), "").unwrap();
    for theirs in ["", "audit"] {
        std::os::unix::fs::chown(aside.join(theirs), Some(12_345), None).unwrap();
        let refused = back_up(&clinic, &clinic.log());
        assert_eq!(refused.status.code(), Some(4), "{theirs}");
        assert!(aside.join("log").exists());
        std::os::unix::fs::chown(&aside, Some(0), None).unwrap();
    }
}

#[test]
fn nobody_waits_for_a_pipe_that_lies_in_a_log_or_a_backup() {
    let clinic = clinic();
    backed_up(&clinic);
    run(&clinic, 400, 30);
    let key = clinic.path("log.vkey");
    // Whoever waited would be ended with 124.
    let run = |words: &[&str]| {
        let audit = env!("CARGO_BIN_EXE_audit");
        let mut limited = Command::new("timeout");
        let output = limited.arg("60").arg(audit).args(words).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let pipe = |path: &Path| {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    let days = |log: &Path| {
        let days = std::fs::read_dir(log.join("checkpoints")).unwrap();
        let day = days.map(|day| day.unwrap().file_name()).max().unwrap();
        format!("checkpoints/{}", day.to_str().unwrap())
    };
    let day = days(&clinic.log());
    let first = "wal/0000000000000001.seg";
    let names = ["BACKUP", "LOCK", "checkpoint", day.as_str(), first];
    for name in names {
        let (log, backup) = (clinic.path("piped"), clinic.path("held"));
        for (from, to) in [(clinic.log(), &log), (place(&clinic), &backup)] {
            copy(&from, to);
            let _ = std::fs::remove_file(to.join(name));
            pipe(&to.join(name));
        }
        if ["BACKUP", "LOCK"].contains(&name) {
            let (code, said) = run(&["verify", word(&log), "--key", word(&key)]);
            assert_eq!(code, 1, "{name}: {said}");
            assert!(said.contains(name), "{name}: {said}");
        }
        let to = place(&clinic);
        let (code, said) = run(&["backup", word(&log), "--to", word(&to)]);
        assert!(code < 5, "{name}: {code} {said}");
        let (code, said) = run(&["backup", word(&clinic.log()), "--to", word(&backup)]);
        assert!(code < 5, "{name}: {code} {said}");
        let words = ["restore", word(&backup), "--verify", "--key", word(&key)];
        // What was brought up to date has a mark of its own again.
        let (code, said) = run(&words);
        assert!(code < 5, "{name}: {code} {said}");
        for path in [log, backup] {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    // A directory of that name is no mark of a backup either.
    std::fs::create_dir(clinic.log().join("BACKUP")).unwrap();
    let (code, said) = run(&["verify", word(&clinic.log()), "--key", word(&key)]);
    assert_eq!(code, 1, "{said}");
}

/// A log with a month whose time is over.
fn old_clinic() -> Clinic {
    let clinic = Clinic::new();
    let key = clinic.keys.signer.verifier().to_string();
    std::fs::write(clinic.path("log.vkey"), key).unwrap();
    let long_ago = jiff::Timestamp::from_second(1_541_030_400).unwrap();
    let time = audit::event::Time(u64::try_from(long_ago.as_nanosecond()).unwrap());
    let mut writer = Clinic::write_as_of(&clinic.options(), time);
    let since = 1_541_030_400_u64.wrapping_sub(second(0).0 / 1_000_000_000);
    writer.read(&Exchange::of(since, PUMP, whom(&[clinic.id(1)], false)));
    writer.end();
    clinic
}

#[test]
fn a_destruction_that_is_not_signed_is_waited_for_and_nobody_is_told_to_put_a_key_back() {
    for is_held in [false, true] {
        let clinic = old_clinic();
        if is_held {
            backed_up(&clinic);
        }
        let words = ["destroy", "--due", "--reason", "retention schedule 12"];
        let ended = clinic.run(&words);
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        assert_refused(&clinic, &clinic.log(), 3, "that is not signed yet");
        let said = text(&back_up(&clinic, &clinic.log()).stderr);
        assert!(!said.contains("put it back"), "{said}");
        // The next start signs it.
        run(&clinic, 0, 10);
        let made = backed_up(&clinic);
        assert_eq!(made["missing_keys"], serde_json::json!([]));
        let is_old = |path: &PathBuf| path.starts_with("keys/2018-11");
        assert!(!held(&place(&clinic)).keys().any(is_old));
    }
}

#[test]
fn of_a_destruction_that_was_cut_short_the_backup_keeps_no_more_than_the_log() {
    use audit::event::{By, Destruction, Digest};
    let clinic = old_clinic();
    backed_up(&clinic);
    let by = By {
        uid: 0,
        login_uid: None,
        served: false,
    };
    let announced = Event::Destruction(Destruction {
        epoch: "2018-11/standard",
        done: false,
        keys: 1,
        digest: Digest::of(b""),
        reason: "retention schedule 12",
        by,
    });
    audit::reading::put(&clinic.log(), announced).unwrap();
    let month = clinic.log().join("keys/2018-11/standard");
    for key in std::fs::read_dir(month).unwrap() {
        std::fs::remove_file(key.unwrap().path()).unwrap();
    }
    assert_refused(&clinic, &clinic.log(), 3, "that is not signed yet");
    run(&clinic, 0, 10);
    let output = back_up(&clinic, &clinic.log());
    assert_eq!(
        json_lines(&output)[0]["missing_keys"],
        serde_json::json!([])
    );
    assert!(!text(&output.stderr).contains("put it back"));
    let is_old = |path: &PathBuf| path.starts_with("keys/2018-11");
    assert!(!held(&place(&clinic)).keys().any(is_old));
}

#[test]
fn a_log_that_is_not_signed_is_not_backed_up() {
    let clinic = Clinic::new();
    std::fs::create_dir(clinic.path("backup")).unwrap();
    let to = place(&clinic);
    let log = clinic.log();
    let none = audit(&["backup", word(&log), "--to", word(&to)]);
    assert_eq!(none.status.code(), Some(3), "{}", text(&none.stderr));
    let options = audit::log::Options {
        signer: None,
        ..clinic.options()
    };
    let (_, committer) = Log::open(&options).unwrap();
    committer.close(PATIENCE).unwrap();
    let unsigned = audit(&["backup", word(&log), "--to", word(&to)]);
    assert_eq!(unsigned.status.code(), Some(3));
    assert!(text(&unsigned.stderr).contains("nothing in the log is signed"));
    assert!(!to.exists());
}

/// Cuts the last segment and accepts that.
fn lose(clinic: &Clinic, blocks: u64) {
    let wal = clinic.log().join("wal");
    let segments = std::fs::read_dir(&wal).unwrap();
    let last = segments.map(|item| item.unwrap().path()).max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    if blocks == 0 {
        // Damage, which stays as evidence.
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(b"damage", 4096 + 90).unwrap();
    } else {
        file.set_len(4096 * blocks).unwrap();
    }
    let acceptance = Acceptance {
        reason: "a test",
        uid: 0,
        login_uid: None,
        now: second(0),
    };
    let key = clinic.keys.signer.verifier();
    let lost = loss::accept(&clinic.log(), Some(key), &acceptance).unwrap();
    assert!(lost.is_some());
}

#[test]
fn what_the_log_lost_and_its_backup_holds_is_kept() {
    for blocks in [0, 1] {
        let clinic = clinic();
        backed_up_quietly(&clinic);
        lose(&clinic, blocks);
        assert_refused(
            &clinic,
            &clinic.log(),
            2,
            "not what its backup holds any more",
        );
        run(&clinic, 500, 10);
        assert_refused(
            &clinic,
            &clinic.log(),
            2,
            "not what its backup holds any more",
        );
    }
}

/// A backup that leaves the log as it is.
#[track_caller]
fn backed_up_quietly(clinic: &Clinic) {
    let output = back_up(clinic, &read_only(clinic));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_loss_behind_the_backup_is_backed_up_with_its_evidence() {
    for blocks in [0, 1] {
        let clinic = clinic();
        backed_up_quietly(&clinic);
        run(&clinic, 400, 30);
        lose(&clinic, blocks);
        assert_refused(&clinic, &clinic.log(), 3, "a loss was accepted");
        run(&clinic, 500, 10);
        backed_up_quietly(&clinic);
        let said = text(&drill(&clinic, &place(&clinic), &[]).stdout);
        assert!(said.contains("note: LOST"), "{said}");
        // From nothing too.
        std::fs::remove_dir_all(place(&clinic)).unwrap();
        backed_up_quietly(&clinic);
    }
}

#[test]
fn what_a_crash_left_in_quarantine_is_backed_up() {
    let clinic = clinic();
    backed_up_quietly(&clinic);
    run(&clinic, 400, 30);
    let segments = std::fs::read_dir(clinic.log().join("wal")).unwrap();
    let last = segments.map(|item| item.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend([7; 5000]);
    std::fs::write(&last, bytes).unwrap();
    run(&clinic, 500, 10);
    backed_up_quietly(&clinic);
    let torn = |path: &PathBuf| path.extension().is_some_and(|end| end == "torn");
    assert!(held(&place(&clinic)).keys().any(torn));
    run(&clinic, 600, 10);
    backed_up_quietly(&clinic);
    assert!(held(&place(&clinic)).keys().any(torn));
}

#[test]
fn root_restores_for_the_user_of_the_gateway() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run here: root restores for another user: this is not root");
        return;
    }
    let clinic = clinic();
    backed_up(&clinic);
    let owner = 12_345;
    // The user comes here on the way to what is its own.
    let above = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(clinic.path(""), above).unwrap();
    // What is there is theirs, or the directory that it is made in.
    for (theirs, to) in [("theirs", "theirs"), ("home", "home/audit")] {
        let (theirs, to) = (clinic.path(theirs), clinic.path(to));
        std::fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(owner), Some(owner)).unwrap();
        let done = audit(&[
            "restore",
            word(&place(&clinic)),
            "--to",
            word(&to),
            "--reason",
            "a test",
            "--key",
            word(&clinic.path("log.vkey")),
        ]);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        for path in held(&to).keys() {
            let found = std::fs::metadata(to.join(path)).unwrap();
            assert_eq!(found.uid(), owner, "{path:?}");
        }
        assert_eq!(std::fs::metadata(&to).unwrap().uid(), owner);
    }
}

#[test]
fn progress_is_told_segment_by_segment() {
    let clinic = clinic();
    let mut seen = Vec::new();
    let begun = backup::begin(&clinic.log(), &clinic.path("new")).unwrap();
    begun
        .make(&Asked::default(), &mut |stage| seen.push(stage))
        .unwrap();
    assert_eq!(seen.first(), Some(&Stage::Copying(1, 2)));
    assert!(seen.contains(&Stage::Verifying(2, 2)), "{seen:?}");
}
