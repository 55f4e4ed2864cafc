//! The program `audit` keeps its exit codes and prints what it promises.

use std::path::Path;
use std::time::Duration;

use audit::frame::{BLOCK, Place, SegmentHeader, decode_batch, encode_batch};
use audit::keeping::Classes;
use audit::log::{Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::Limits;
use audit::storage::Durability;

use crate::clinic::{audit, text};
use crate::entry;

fn make(directory: &Path) {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Buffered,
        segment_bytes: 2 * 1024 * 1024,
        limits: Limits {
            entries: 1000,
            bytes: 1024 * 1024,
        },
        readers: Vec::new(),
        signer: None,
        is_known: false,
        classes: Classes::default(),
        rotations: Chain::default(),
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
            .starts_with("good: 3 entries in 3 batches and 1 segment, ")
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
    let shown = audit(&[
        "show",
        "--json",
        "--unrecorded",
        directory.path().to_str().unwrap(),
    ]);
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
fn wrong_usage_is_told_as_errors_and_hints() {
    for arguments in [
        &["verify"][..],
        &["nonsense"],
        &["show", "a", "--jsn"],
        &["verify", "a", "--quiet", "--json"],
    ] {
        let told = text(&audit(arguments).stderr);
        for line in told.lines().filter(|line| !line.starts_with(' ')) {
            let known = line.starts_with("error: ") || line.starts_with("hint: ");
            assert!(known, "{arguments:?}: {told}");
        }
        assert!(
            told.starts_with("error: ") && told.contains("\nhint: "),
            "{told}"
        );
    }
    let manual = audit(&["manual", "/no/such/directory"]);
    assert_eq!(manual.status.code(), Some(1));
    assert!(text(&manual.stderr).contains("\nhint: name a directory"));
}

#[test]
fn a_directory_that_is_no_log_is_not_called_tampered_and_the_log_in_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    std::fs::write(directory.path().join("gateway.toml"), "").unwrap();
    let log = directory.path().join("audit");
    std::fs::create_dir(&log).unwrap();
    make(&log);
    for wrong in [path.to_owned(), format!("{path}/audit/wal")] {
        let verified = audit(&["verify", &wrong]);
        assert_eq!(
            verified.status.code(),
            Some(3),
            "{}",
            text(&verified.stdout)
        );
        let hint = format!("hint: name {path}/audit\n");
        assert!(text(&verified.stderr).contains(&hint), "{hint}");
    }
    // The lock alone says that there was a log.
    std::fs::remove_dir_all(log.join("wal")).unwrap();
    let gone = audit(&["verify", log.to_str().unwrap()]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(text(&gone.stdout).contains("finding: there was a log"));
}

#[test]
fn a_signature_that_was_asked_for_is_missed_in_the_report_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    make(directory.path());
    let strict = audit(&["verify", path, "--strict"]);
    assert_eq!(strict.status.code(), Some(3), "nothing is signed");
    assert!(text(&strict.stdout).contains("finding: nothing in this log is signed"));
    assert_eq!(text(&strict.stderr), "");
    let json = audit(&["verify", path, "--strict", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["verdict"], "cannot verify");
    let finding = json["findings"][0].as_str().unwrap();
    assert!(finding.contains("is signed"), "{finding}");
}

#[test]
fn a_key_that_is_not_there_or_no_key_is_told_apart_from_a_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    std::fs::create_dir(&log).unwrap();
    make(&log);
    let key = directory.path().join("log.vkey");
    let verify = || {
        let words = [
            "verify",
            log.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let verified = audit(&words);
        (verified.status.code(), text(&verified.stderr))
    };
    let (code, told) = verify();
    assert_eq!(code, Some(4));
    assert!(
        told.contains("cannot read the key") && told.contains("\nhint: "),
        "{told}"
    );
    for garbage in ["", "garbage", &"x".repeat(5000)] {
        std::fs::write(&key, garbage).unwrap();
        let (code, told) = verify();
        assert_eq!(code, Some(64), "{garbage}");
        assert!(
            told.contains("holds no public key") && told.contains("\nhint: "),
            "{told}"
        );
    }
    let known = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8\n";
    std::fs::write(&key, known).unwrap();
    assert_eq!(verify().0, Some(3));
}

#[test]
fn a_quiet_verification_says_only_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    make(directory.path());
    let good = audit(&["verify", path, "--quiet"]);
    assert_eq!(good.status.code(), Some(0));
    assert_eq!((text(&good.stdout), text(&good.stderr)), Default::default());
    std::fs::write(directory.path().join("stranger"), "").unwrap();
    let bad = audit(&["verify", path, "--quiet"]);
    assert_eq!(bad.status.code(), Some(1));
    let said = text(&bad.stdout);
    assert!(
        said.contains("finding: \"stranger\"") && !said.contains("note: "),
        "{said}"
    );
}

/// Puts something that is no entry in the place of the second one, with hashes that hold.
fn spoil_second_entry(segment: &mut [u8]) {
    let header = SegmentHeader::decode(segment).unwrap();
    let (mut read, mut written) = (header.hash(), header.hash());
    for (sequence, block) in (0..3).zip(segment.chunks_exact_mut(BLOCK).skip(1)) {
        let place = |previous| Place {
            segment: 1,
            sequence,
            previous,
        };
        let batch = decode_batch(block, &place(read)).unwrap();
        let entry = if sequence == 1 {
            b"no entry".to_vec()
        } else {
            batch.entries().next().unwrap().to_vec()
        };
        read = batch.hash;
        let length = u32::try_from(entry.len()).unwrap();
        let record = [&length.to_le_bytes()[..], &entry].concat();
        let mut out = Vec::new();
        written = encode_batch(&place(written), 1, &record, &mut out);
        block.copy_from_slice(&out);
    }
}

#[test]
fn an_entry_that_cannot_be_read_fails_the_command_and_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let segment = directory.path().join("wal/0000000000000001.seg");
    let mut whole = std::fs::read(&segment).unwrap();
    spoil_second_entry(&mut whole);
    std::fs::write(&segment, whole).unwrap();
    let shown = audit(&[
        "show",
        "--json",
        "--unrecorded",
        directory.path().to_str().unwrap(),
    ]);
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown.stderr));
    assert!(
        text(&shown.stderr).contains("error: entry 1: "),
        "{}",
        text(&shown.stderr)
    );
    assert_eq!(text(&shown.stdout).lines().count(), 2);
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

/// A signed log in a directory of its own, with room for its key beside it.
fn signed() -> (tempfile::TempDir, std::path::PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("audit");
    std::fs::create_dir(&log).unwrap();
    for run in 0..2 {
        let options = crate::signed::options(&log, Some(crate::checkpoints::signer(1)));
        let (appended, committer) = Log::open(&options).unwrap();
        for number in 0..300 {
            let share = audit::queue::Share::Proven;
            let number = run * 300 + number;
            appended.append_unwaited(&entry(number), share).unwrap();
        }
        committer.close(Duration::from_secs(10)).unwrap();
    }
    (place, log)
}

fn path(place: &tempfile::TempDir, name: &str) -> String {
    place.path().join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_key_is_the_one_that_is_named_else_the_one_beside_the_log_else_the_logs_own_word() {
    let (place, log) = signed();
    let log = log.to_str().unwrap();
    let verifier = crate::checkpoints::signer(1).verifier().to_string();
    let asserted = audit(&["verify", log]);
    let told = text(&asserted.stdout);
    assert_eq!(asserted.status.code(), Some(0), "{told}");
    assert!(told.contains("\nsigned: 601 entries in "), "{told}");
    assert!(
        told.contains(", 0 entries at the end not signed yet\n"),
        "{told}"
    );
    assert!(
        told.contains("\nkey: self-asserted, example.com/log+"),
        "{told}"
    );
    let strict = audit(&["verify", log, "--strict"]);
    assert_eq!(strict.status.code(), Some(3));
    assert!(text(&strict.stdout).contains("\nfinding: only the log itself says"));

    let beside = path(&place, "log.vkey");
    std::fs::write(&beside, format!("{verifier}\n")).unwrap();
    let good = audit(&["verify", log, "--strict"]);
    assert_eq!(good.status.code(), Some(0));
    assert!(text(&good.stdout).contains(&format!("\nkey: {verifier} from {beside}\n")));
    let json = audit(&["verify", log, "--strict", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["signed"], true);
    assert_eq!(
        (&json["signed_entries"], &json["unsigned_entries"]),
        (&601.into(), &0.into())
    );
    assert_eq!(json["key_self_asserted"], false);
    assert_eq!(json["key"], verifier.as_str());

    let other = path(&place, "other.vkey");
    let another = crate::checkpoints::signer(2).verifier().to_string();
    std::fs::write(&other, another).unwrap();
    let wrong = audit(&["verify", log, "--key", &other]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stdout).contains("\nfinding: the log is signed with another key"));
    std::fs::write(&beside, "garbage").unwrap();
    assert_eq!(audit(&["verify", log]).status.code(), Some(64));
}

#[test]
fn a_proof_that_an_entry_is_in_the_log_is_checked_without_the_log() {
    let (place, log) = signed();
    let log = log.to_str().unwrap();
    let (leaf, other) = (path(&place, "17.leaf"), path(&place, "18.leaf"));
    let (proof, key) = (path(&place, "17.tlog-proof"), path(&place, "key"));
    std::fs::write(&key, crate::checkpoints::signer(1).verifier().to_string()).unwrap();
    let made = audit(&["prove", log, "--entry", "17", "--leaf", &leaf]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stdout).starts_with("c2sp.org/tlog-proof@v1\nindex 17\n"));
    std::fs::write(&proof, &made.stdout).unwrap();
    audit(&["prove", log, "--entry", "18", "--leaf", &other]);
    std::fs::remove_dir_all(log).unwrap();
    let good = audit(&["check", &proof, "--key", &key, "--leaf", &leaf]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let said = "good: it is entry 17 of the log example.com/log of 601 entries\n";
    assert_eq!(text(&good.stdout), said);
    let refused = audit(&["check", &proof, "--key", &key, "--leaf", &other]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("\nhint: "));
    let another = crate::checkpoints::signer(2).verifier().to_string();
    std::fs::write(&key, another).unwrap();
    let refused = audit(&["check", &proof, "--key", &key, "--leaf", &leaf]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_proof_that_the_log_only_grew_is_checked_against_a_checkpoint_that_was_kept() {
    let (place, log) = signed();
    let history = std::fs::read_dir(log.join("checkpoints")).unwrap();
    let history = std::fs::read_to_string(history.last().unwrap().unwrap().path()).unwrap();
    let log = log.to_str().unwrap();
    let (old, proof, key) = (
        path(&place, "old"),
        path(&place, "grown"),
        path(&place, "key"),
    );
    std::fs::write(&key, crate::checkpoints::signer(1).verifier().to_string()).unwrap();
    let at = history.find("example.com/log\n301\n").unwrap();
    let note: Vec<&str> = history[at..].splitn(3, "\n\n").take(2).collect();
    std::fs::write(&old, format!("{}\n", note.join("\n\n"))).unwrap();
    let made = audit(&["prove", log, "--from", "301"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stdout).starts_with("old 301\n"));
    let to = audit(&["prove", log, "--from", "301", "--to", "601"]);
    assert_eq!(to.stdout, made.stdout);
    std::fs::write(&proof, &made.stdout).unwrap();
    let good = audit(&["check", &proof, "--key", &key, "--old", &old]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let said = "good: the log example.com/log of 601 entries begins with the one of 301 entries\n";
    assert_eq!(text(&good.stdout), said);
    let none = audit(&["prove", log, "--from", "1", "--to", "302"]);
    assert_eq!(none.status.code(), Some(1));
    let told = text(&none.stderr);
    assert!(
        told.contains("the one before is of 301; the next one is of 601"),
        "{told}"
    );
    let from_smaller = audit(&["prove", log, "--from", "5", "--to", "301"]);
    assert_eq!(from_smaller.status.code(), Some(0));
}

#[test]
fn what_cannot_be_proved_is_told_with_a_hint() {
    let (place, log) = signed();
    let log = log.to_str().unwrap();
    let empty = path(&place, "");
    let tile = path(&place, "audit/tile/0/000");
    for (arguments, code) in [
        (&["prove", log][..], 64),
        (&["prove", log, "--entry", "1", "--from", "2"], 64),
        (&["prove", log, "--leaf", "x", "--from", "2"], 64),
        (&["prove", log, "--entry", "601"], 1),
        (&["prove", log, "--entry", "18446744073709551615"], 1),
        (&["prove", log, "--from", "602"], 1),
        (&["prove", &empty, "--entry", "1"], 1),
        (&["prove", log, "--entry", "1", "--leaf", &tile], 1),
        (
            &["check", "absent", "--key", "absent", "--leaf", "absent"],
            4,
        ),
        (&["check", "absent"], 64),
    ] {
        let refused = audit(arguments);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains("hint: "), "{arguments:?}: {told}");
    }
    let mut changed = std::fs::read(&tile).unwrap();
    changed[40 * 32] ^= 1;
    std::fs::write(&tile, changed).unwrap();
    let refused = audit(&["prove", log, "--entry", "17"]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "no proof that will not hold"
    );
    assert_eq!(text(&refused.stdout), "");
}

#[test]
fn a_loss_is_told_before_it_is_accepted_and_accepted_only_for_a_reason() {
    let (place, log) = signed();
    let verifier = crate::checkpoints::signer(1).verifier().to_string();
    std::fs::write(path(&place, "log.vkey"), verifier).unwrap();
    let directory = log.to_str().unwrap();
    let whole = audit(&["recover", directory]);
    assert_eq!(whole.status.code(), Some(0));
    assert!(text(&whole.stdout).starts_with("nothing is lost"));

    let segment = std::fs::OpenOptions::new()
        .write(true)
        .open(log.join("wal/0000000000000002.seg"));
    segment.unwrap().set_len(4096).unwrap();
    let told = audit(&["recover", directory]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        text(&told.stdout).starts_with("lost: 300 signed entries from 301 on"),
        "{}",
        text(&told.stdout)
    );
    assert!(text(&told.stderr).contains("hint: look for a copy"));
    for half in [&["--accept-loss"][..], &["--reason", "why"]] {
        let misused = audit(&[&["recover", directory], half].concat());
        assert_eq!(misused.status.code(), Some(64), "{half:?}");
    }
    let why = "the disk\u{1b}[2J was replaced";
    let accepted = audit(&["recover", directory, "--accept-loss", "--reason", why]);
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}",
        text(&accepted.stderr)
    );
    assert!(text(&accepted.stdout).contains("\naccepted: the log goes on with entry 601"));
    // The entry that says so waits for its signature, like any other.
    let verified = audit(&["verify", directory]);
    let said = text(&verified.stdout);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert!(
        said.contains("\nnote: LOST: 300 signed entries from 301 on"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let json = audit(&["verify", directory, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["lost_entries"], 300);
    let shown = audit(&["show", directory, "--json"]);
    assert!(text(&shown.stdout).contains("\"type\":\"discontinuity\""));
    assert_eq!(audit(&["recover", directory]).status.code(), Some(0));
}
