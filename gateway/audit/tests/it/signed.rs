//! A signed log as a whole: what signs it, what finds every change to it, and what an independent
//! implementation says of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::error::OpenError;
use audit::event::{Event, UnsignedTail};
use audit::keeping::Classes;
use audit::log::{Log, Options};
use audit::merkle::hash;
use audit::merkle::key::{Signer, Verifier};
use audit::merkle::rotation::Chain;
use audit::queue::{Limits, Share};
use audit::read::{Reader, Step, entries};
use audit::storage::{Disk, Durability};
use audit::verify::{Asked, CheckpointFault, Finding, Report, TileFault, Verdict, verify_watched};
use signed_note::{StandardVerifier, VerifierList};
use tlog_tiles::tile::{Tile as TheirTile, TileHashReader, TileReader};
use tlog_tiles::tlog;

use crate::checkpoints::signer;
use crate::entry;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(directory: &Path, signer: Option<Arc<Signer>>) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Buffered,
        segment_bytes: 2 * 1024 * 1024,
        limits: Limits {
            entries: 200_000,
            bytes: 64 * 1024 * 1024,
        },
        readers: Vec::new(),
        signer,
        is_known: false,
        classes: Classes::default(),
        rotations: Chain::default(),
    }
}

/// Adds entries in one run.
pub(crate) fn run(directory: &Path, from: u64, count: u64) {
    let (log, committer) = Log::open(&options(directory, Some(signer(1)))).unwrap();
    for number in from..from + count {
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

/// A signed log of three runs; the first tile is full.
fn make() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (from, count) in [(0, 250), (250, 10), (260, 40)] {
        run(directory.path(), from, count);
    }
    directory
}

fn judge(directory: &Path, key: &Verifier) -> Report {
    let asked = Asked {
        key: Some(key),
        strict: true,
        ..Asked::default()
    };
    verify_watched(directory, &asked, &mut |_, _| ()).unwrap()
}

/// The same for a log that is being written to: the entries of these tests are years old, which a
/// strict verification would mind while they wait for their signature.
fn judge_live(directory: &Path, key: &Verifier) -> Report {
    let asked = Asked {
        key: Some(key),
        strict: false,
        ..Asked::default()
    };
    verify_watched(directory, &asked, &mut |_, _| ()).unwrap()
}

fn verdict(directory: &Path) -> (Verdict, Vec<Finding>) {
    let report = judge(directory, signer(1).verifier());
    (report.verdict(), report.findings)
}

#[track_caller]
fn assert_found(directory: &Path, verdict_expected: Verdict, finding: impl Fn(&Finding) -> bool) {
    let (verdict, findings) = verdict(directory);
    assert_eq!(verdict, verdict_expected, "{findings:?}");
    assert!(findings.iter().any(finding), "{findings:?}");
}

fn is_fault(finding: &Finding, expected: &CheckpointFault) -> bool {
    matches!(finding, Finding::Checkpoint { fault, .. } if fault == expected)
}

/// All files of the tree, with their paths.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.join("tile"), directory.join("checkpoints")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|item| item.unwrap().path()),
            );
        } else {
            found.push(path);
        }
    }
    found.push(directory.join("checkpoint"));
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to);
        } else {
            std::fs::copy(item.path(), to).unwrap();
        }
    }
}

fn history(directory: &Path) -> PathBuf {
    let days = std::fs::read_dir(directory.join("checkpoints")).unwrap();
    let mut days: Vec<PathBuf> = days.map(|day| day.unwrap().path()).collect();
    days.sort();
    days.pop().unwrap()
}

/// The records of the last day.
fn records(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(history(directory)).unwrap();
    let mut records = Vec::new();
    let mut record = String::new();
    let mut blank = 0;
    for line in text.lines() {
        record.push_str(line);
        record.push('\n');
        blank += usize::from(line.is_empty());
        if blank == 2 {
            blank = 0;
            records.push(std::mem::take(&mut record));
        }
    }
    assert_eq!(record, "");
    records
}

#[test]
fn a_clean_stop_signs_all_and_the_first_entry_names_the_key() {
    let directory = make();
    let report = judge(directory.path(), signer(1).verifier());
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!((report.entries, report.unsigned()), (301, 0));
    let signed = report.signed.unwrap();
    assert_eq!((signed.entries, signed.self_asserted), (301, false));
    assert!(signed.checkpoints >= 4);
    let bytes = audit::read::entry_at(directory.path(), 0).unwrap().unwrap();
    let Event::SigningKey(named) = audit::entry::decode(&bytes).unwrap().event else {
        panic!("another entry comes first");
    };
    assert_eq!(named.key, signer(1).verifier().to_string());
}

#[test]
fn what_is_durable_is_signed_within_a_moment_and_the_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let receipt = log.append_blocking(&entry(0), PATIENCE).unwrap();
    let mut tries = 0;
    while log.status().signed <= receipt.sequence() {
        tries += 1;
        assert!(tries < 1000, "nothing is signed");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = log.status();
    assert!(status.signed <= status.durable && status.signed_at.is_some());
    let report = judge(directory.path(), signer(1).verifier());
    assert!(report.live);
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!(report.signed.unwrap().entries, 2);
    committer.close(PATIENCE).unwrap();
}

#[test]
fn a_log_that_is_written_and_signed_verifies_at_every_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (log, stop) = (log.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..200 {
                    log.append_unwaited(&entry(number), Share::Proven).unwrap();
                    number += 1;
                }
                log.append_blocking(&entry(number), PATIENCE).unwrap();
                number += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let (mut signed, mut rounds) = (0, 0);
    while signed < 20_000 || rounds < 20 {
        rounds += 1;
        let report = judge_live(directory.path(), signer(1).verifier());
        assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
        assert!(report.live);
        signed = report.signed.unwrap().entries;
        assert!(signed <= report.entries);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    committer.close(PATIENCE).unwrap();
    assert_eq!(verdict(directory.path()), (Verdict::Good, Vec::new()));
}

#[test]
fn a_verification_of_a_live_log_ends_however_fast_the_log_grows() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let fill = || {
        for number in 0..60_000 {
            log.append_unwaited(&entry(number), Share::Proven).unwrap();
        }
        log.append_blocking(&entry(0), PATIENCE).unwrap();
    };
    fill();
    let key = signer(1);
    let asked = Asked {
        key: Some(key.verifier()),
        strict: false,
        ..Asked::default()
    };
    let mut begun = Vec::new();
    let report = verify_watched(directory.path(), &asked, &mut |segment, last| {
        begun.push((segment, last));
        fill();
    });
    let report = report.unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    let there = begun[0].1;
    assert!(there > 1, "{begun:?}");
    assert_eq!(
        begun.last().unwrap().0,
        there,
        "no further than it was long"
    );
    committer.close(PATIENCE).unwrap();
}

#[test]
fn entries_that_were_never_signed_are_judged_and_a_start_says_how_many_it_found() {
    let directory = make();
    let signed = judge(directory.path(), signer(1).verifier()).entries;
    // What a crash leaves: durable, and not signed yet.
    let disk = Disk::open(directory.path().join("wal"), Durability::Buffered).unwrap();
    let limits = options(directory.path(), None).limits;
    let (log, committer) = Log::open_on(Arc::new(disk), 2 * 1024 * 1024, limits).unwrap();
    for number in 0..5 {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let report = judge(directory.path(), signer(1).verifier());
    assert_eq!(report.verdict(), Verdict::CannotVerify);
    assert!(
        matches!(
            report.findings[..],
            [Finding::UnsignedTail { entries: 5, .. }]
        ),
        "{:?}",
        report.findings
    );
    let lenient = audit::verify::verify(directory.path()).unwrap();
    assert_eq!(lenient.verdict(), Verdict::Good);
    run(directory.path(), 0, 1);
    let report = judge(directory.path(), signer(1).verifier());
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    let said = audit::read::entry_at(directory.path(), signed + 5)
        .unwrap()
        .unwrap();
    assert_eq!(
        audit::entry::decode(&said).unwrap().event,
        Event::UnsignedTail(UnsignedTail { signed, entries: 5 })
    );
}

#[test]
fn every_changed_byte_of_checkpoints_and_history_is_found_and_of_tiles_too() {
    let directory = make();
    for path in files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        let is_tile = path.to_string_lossy().contains("/tile/");
        for at in (0..whole.len()).step_by(if is_tile { 13 } else { 1 }) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            let (verdict, findings) = verdict(directory.path());
            assert_eq!(verdict, Verdict::Tampered, "{path:?} {at}: {findings:?}");
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(verdict(directory.path()).0, Verdict::Good);
}

#[test]
fn every_truncation_of_checkpoints_and_history_and_tiles_is_found() {
    let directory = make();
    for path in files(directory.path()) {
        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(if whole.len() > 4000 { 61 } else { 1 }) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (verdict, findings) = verdict(directory.path());
            assert_ne!(verdict, Verdict::Good, "{path:?} {length}: {findings:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let is_superseded = path.ends_with("tile/1/000.p/1") || superseded(&path, directory.path());
        if !is_superseded {
            assert_eq!(
                verdict(directory.path()).0,
                Verdict::Tampered,
                "{path:?} removed"
            );
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(verdict(directory.path()).0, Verdict::Good);
}

/// A partial tile of an earlier checkpoint: a wider one holds all that it holds.
fn superseded(path: &Path, directory: &Path) -> bool {
    let Some(width) = path
        .file_name()
        .and_then(|name| name.to_str()?.parse::<u16>().ok())
    else {
        return false;
    };
    let wider = |other: &PathBuf| {
        let other_width = other
            .file_name()
            .and_then(|name| name.to_str()?.parse::<u16>().ok());
        other.parent() == path.parent() && other_width > Some(width)
    };
    path.to_string_lossy().contains(".p/") && files(directory).iter().any(wider)
}

#[test]
fn checkpoints_that_are_taken_out_moved_or_repeated_are_found() {
    let directory = make();
    let path = history(directory.path());
    let whole = records(directory.path());
    let count = whole.len();
    assert!(count >= 4);
    let write = |records: &[&String]| {
        let text: String = records.iter().map(|record| record.as_str()).collect();
        std::fs::write(&path, text).unwrap();
        verdict(directory.path())
    };
    let all: Vec<&String> = whole.iter().collect();
    for out in 0..count {
        let mut left = all.clone();
        left.remove(out);
        assert_eq!(write(&left).0, Verdict::Tampered, "without {out}");
    }
    for at in 0..count - 1 {
        let mut swapped = all.clone();
        swapped.swap(at, at + 1);
        assert_eq!(write(&swapped).0, Verdict::Tampered, "{at} swapped");
        let mut twice = all.clone();
        twice.insert(at, all[at]);
        assert_eq!(write(&twice).0, Verdict::Tampered, "{at} twice");
    }
    assert_eq!(write(&all).0, Verdict::Good);
}

#[test]
fn a_checkpoint_that_does_not_grow_is_found() {
    use audit::merkle::hash::Hash;
    use audit::merkle::note::{Note, Signature};
    let directory = make();
    // Whoever has the key signs the same entries once more, linked as it should be.
    let last = std::fs::read_to_string(directory.path().join("checkpoint")).unwrap();
    let (text, _) = last.split_once("\n\n").unwrap();
    let text = format!("{text}\n");
    let link = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let link = Hash::new(link.as_ref().try_into().unwrap());
    let head: Vec<&str> = text.lines().take(3).collect();
    let again = format!("{}\nprevious {link}\n", head.join("\n"));
    let signature = Signature::new(&again, &signer(1));
    let note = Note::new(again, signature).unwrap().to_string();
    let day = history(directory.path());
    let history = std::fs::read_to_string(&day).unwrap();
    std::fs::write(day, format!("{history}{note}\n")).unwrap();
    std::fs::write(directory.path().join("checkpoint"), note).unwrap();
    let (verdict, findings) = verdict(directory.path());
    assert_eq!(verdict, Verdict::Tampered, "{findings:?}");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(is_fault(
        &findings[0],
        &CheckpointFault::Order { size: 301 }
    ));
}

#[test]
fn a_signature_of_nobody_beside_a_good_one_is_found() {
    use audit::merkle::note::{Note, Signature};
    let directory = make();
    let path = directory.path().join("checkpoint");
    let last = std::fs::read_to_string(&path).unwrap();
    let mut note = Note::parse(last.as_bytes()).unwrap();
    note.add(Signature::new(note.text(), &signer(2))).unwrap();
    let note = note.to_string();
    let day = history(directory.path());
    let changed = std::fs::read_to_string(&day).unwrap().replace(&last, &note);
    std::fs::write(day, changed).unwrap();
    std::fs::write(path, note).unwrap();
    assert_found(directory.path(), Verdict::Tampered, |finding| {
        is_fault(finding, &CheckpointFault::Signature)
    });
}

#[test]
fn an_older_checkpoint_in_the_place_of_the_last_is_found() {
    let directory = make();
    let path = directory.path().join("checkpoint");
    for (age, record) in records(directory.path()).iter().rev().enumerate() {
        std::fs::write(&path, record.strip_suffix('\n').unwrap()).unwrap();
        match age {
            // A crash between history and checkpoint leaves the last but one.
            0 | 1 => assert_eq!(verdict(directory.path()).0, Verdict::Good),
            _ => assert_found(directory.path(), Verdict::Tampered, |finding| {
                is_fault(finding, &CheckpointFault::Stale)
            }),
        }
    }
}

#[test]
fn a_log_cut_exactly_behind_a_batch_is_found_by_its_checkpoint_and_does_not_open() {
    let directory = make();
    let segment = directory.path().join("wal/0000000000000003.seg");
    let whole = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &whole[..4096]).unwrap();
    assert_found(directory.path(), Verdict::Truncated, |finding| {
        matches!(
            finding,
            Finding::Shorter {
                signed: 301,
                entries: 261
            }
        )
    });
    let refused = Log::open(&options(directory.path(), Some(signer(1))));
    assert!(matches!(
        refused.err(),
        Some(OpenError::Shorter {
            signed: 301,
            entries: 261
        })
    ));
}

#[test]
fn yesterdays_directory_is_found_by_a_checkpoint_that_was_kept_outside() {
    let directory = tempfile::tempdir().unwrap();
    let yesterday = tempfile::tempdir().unwrap();
    run(directory.path(), 0, 50);
    copy(directory.path(), yesterday.path());
    run(directory.path(), 50, 50);
    assert_eq!(
        verdict(yesterday.path()).0,
        Verdict::Good,
        "by itself it is whole"
    );
    std::fs::copy(
        directory.path().join("checkpoint"),
        yesterday.path().join("checkpoint"),
    )
    .unwrap();
    assert_found(yesterday.path(), Verdict::Tampered, |finding| {
        is_fault(finding, &CheckpointFault::NotInHistory)
    });
    assert_found(yesterday.path(), Verdict::Tampered, |finding| {
        matches!(
            finding,
            Finding::Shorter {
                signed: 101,
                entries: 51
            }
        )
    });
    let refused = Log::open(&options(yesterday.path(), Some(signer(1))));
    assert!(matches!(refused.err(), Some(OpenError::History { .. })));
}

#[test]
fn a_log_that_was_written_and_signed_anew_is_found_by_the_key_from_outside() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(2)))).unwrap();
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    assert_found(directory.path(), Verdict::Tampered, |finding| {
        matches!(finding, Finding::OtherKey { .. })
    });
    // With nothing from outside it looks whole, and the report says that nobody else says so.
    let asked = |strict| Asked {
        key: None,
        strict,
        ..Asked::default()
    };
    let report = verify_watched(directory.path(), &asked(false), &mut |_, _| ()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good);
    assert!(report.signed.unwrap().self_asserted);
    let strict = verify_watched(directory.path(), &asked(true), &mut |_, _| ()).unwrap();
    assert_eq!(strict.verdict(), Verdict::CannotVerify);
    assert_eq!(strict.findings, [Finding::SelfAsserted]);
}

#[test]
fn other_entries_with_tiles_to_match_are_found_by_the_checkpoints() {
    let (ours, theirs) = (make(), tempfile::tempdir().unwrap());
    run(theirs.path(), 1000, 300);
    for part in ["wal", "tile"] {
        std::fs::remove_dir_all(ours.path().join(part)).unwrap();
        copy(&theirs.path().join(part), &ours.path().join(part));
    }
    assert_found(ours.path(), Verdict::Tampered, |finding| {
        is_fault(finding, &CheckpointFault::Root { size: 301 })
    });
    let refused = Log::open(&options(ours.path(), Some(signer(1))));
    assert!(matches!(refused.err(), Some(OpenError::Root { size: 301 })));
}

#[test]
fn a_signed_log_without_its_signatures_is_found_and_does_not_open() {
    let directory = make();
    std::fs::remove_dir_all(directory.path().join("checkpoints")).unwrap();
    std::fs::remove_file(directory.path().join("checkpoint")).unwrap();
    for key in [None, Some(signer(1).verifier())] {
        let asked = Asked {
            key,
            strict: false,
            ..Asked::default()
        };
        let report = verify_watched(directory.path(), &asked, &mut |_, _| ()).unwrap();
        assert_eq!(report.verdict(), Verdict::Tampered);
        assert!(
            report
                .findings
                .contains(&Finding::NoCheckpoint { sequence: 0 })
        );
    }
    let refused = Log::open(&options(directory.path(), Some(signer(1))));
    assert!(matches!(refused.err(), Some(OpenError::NoCheckpoint)));
}

#[test]
fn a_signed_log_does_not_go_on_without_a_key_or_with_another() {
    let directory = make();
    let refused = Log::open(&options(directory.path(), None));
    assert!(matches!(refused.err(), Some(OpenError::NoKey)));
    let refused = Log::open(&options(directory.path(), Some(signer(2))));
    assert!(matches!(refused.err(), Some(OpenError::OtherKey { .. })));
    assert_eq!(
        verdict(directory.path()).0,
        Verdict::Good,
        "and is as it was"
    );
}

#[test]
fn every_file_that_does_not_belong_is_found() {
    let directory = make();
    for name in [
        "tile/stranger",
        "tile/0/001.p/200",
        "tile/0/002",
        "tile/0/0",
        "tile/2/000.p/1",
        "tile/0/000.p/255x",
        "tile/0/x000/000",
        "tile/entries/000.p/1",
        "tile/a/b/c/d/e/f/g/h/i/j/k",
        "checkpoints/stranger",
        "checkpoint.bak",
    ] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"x").unwrap();
        assert_found(
            directory.path(),
            Verdict::Tampered,
            |finding| matches!(finding, Finding::Stranger { name: found } if name.starts_with(found.as_str())),
        );
        std::fs::remove_file(&path).unwrap();
        let (verdict, findings) = verdict(directory.path());
        if name.starts_with("tile/a") {
            std::fs::remove_dir_all(directory.path().join("tile/a")).unwrap();
        } else {
            assert_eq!(verdict, Verdict::Good, "{name}: {findings:?}");
        }
    }
    // One that could belong there, and holds something else.
    std::fs::create_dir_all(directory.path().join("tile/0/000.p")).unwrap();
    std::fs::write(directory.path().join("tile/0/000.p/7"), [7; 7 * 32]).unwrap();
    assert_found(directory.path(), Verdict::Tampered, |finding| {
        matches!(
            finding,
            Finding::Tile {
                fault: TileFault::Differs,
                ..
            }
        )
    });
}

/// Their reader of our directory.
pub(crate) struct Theirs(pub(crate) PathBuf);

impl TileReader for Theirs {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        // Their paths name the height; those of C2SP do not.
        let path = |tile: &TheirTile| self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
        Ok(tiles
            .iter()
            .map(|tile| std::fs::read(path(tile)).unwrap())
            .collect())
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

/// Opens the last checkpoint and proves entries, all with their code.
pub(crate) fn they_verify(directory: &Path, key: &Verifier) -> u64 {
    let note = std::fs::read(directory.join("checkpoint")).unwrap();
    let note = signed_note::Note::from_bytes(&note).unwrap();
    let key = StandardVerifier::new(&key.to_string()).unwrap();
    let (known, unknown) = note
        .verify(&VerifierList::new(vec![Box::new(key)]))
        .unwrap();
    assert_eq!((known.len(), unknown.len()), (1, 0));
    let checkpoint = tlog_tiles::checkpoint::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/log");
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let tiles = Theirs(directory.to_owned());
    let reader = TileHashReader::new(size, root, &tiles);
    assert_eq!(tlog::tree_hash(size, &reader).unwrap(), root);
    let mut walk = Reader::new(directory);
    while walk.sequence() < size {
        if let Step::Batch {
            sequence, records, ..
        } = walk.step().unwrap()
        {
            for (index, entry) in entries(sequence, &records) {
                if index < size && (index % 97 == 0 || size - index < 3) {
                    let path = tlog::prove_record(size, index, &reader).unwrap();
                    let leaf = tlog::record_hash(entry);
                    assert_eq!(leaf.0, *hash::leaf(entry).bytes());
                    tlog::check_record(&path, size, root, index, leaf).unwrap();
                }
            }
        }
    }
    size
}

#[test]
fn an_independent_implementation_verifies_tiles_and_checkpoint_of_a_live_log() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3 {
        for number in 0..5000 {
            log.append_unwaited(&entry(round * 5000 + number), Share::Proven)
                .unwrap();
        }
        let receipt = log.append_blocking(&entry(0), PATIENCE).unwrap();
        let mut tries = 0;
        while log.status().signed <= receipt.sequence() {
            tries += 1;
            assert!(tries < 1000, "nothing is signed");
            std::thread::sleep(Duration::from_millis(20));
        }
        seen.insert(they_verify(directory.path(), signer(1).verifier()));
    }
    committer.close(PATIENCE).unwrap();
    seen.insert(they_verify(directory.path(), signer(1).verifier()));
    assert!(seen.len() >= 3, "{seen:?}");
}

#[test]
fn tiles_that_a_live_log_made_since_the_walk_are_no_finding() {
    let directory = make();
    let earlier = tempfile::tempdir().unwrap();
    copy(directory.path(), earlier.path());
    run(directory.path(), 300, 400);
    // As if the walk had ended before the last run, and the count began after it.
    std::fs::remove_dir_all(earlier.path().join("tile")).unwrap();
    copy(&directory.path().join("tile"), &earlier.path().join("tile"));
    let lock = std::fs::File::create(earlier.path().join("LOCK")).unwrap();
    lock.lock().unwrap();
    assert_eq!(verdict(earlier.path()), (Verdict::Good, Vec::new()));
    // Without a writer nothing explains them.
    drop(lock);
    assert_eq!(verdict(earlier.path()).0, Verdict::Tampered);
}
