//! A log with readers: they read it, nobody else does, and whoever has no key verifies it.

use std::path::Path;
use std::time::Duration;

use audit::error::OpenError;
use audit::event::{Entry, Event, Stop, Time};
use audit::keeping::Classes;
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::Limits;
use audit::read::{Reader as Walk, Step, entries};
use audit::seal::hpke::SecretKey;
use audit::seal::reader::{self, Reader, Scope};
use audit::storage::Durability;
use audit::unseal::Unsealer;
use audit::verify::{Finding, Note, Verdict, verify};

use crate::entry;

const PATIENCE: Duration = Duration::from_secs(10);

/// A reader's pair.
fn pair() -> (SecretKey, Reader) {
    let (secret, public) = reader::draw(&mut system_random).unwrap();
    (
        reader::parse_secret(secret.as_bytes()).unwrap(),
        Reader::parse(public.as_bytes(), Scope::Targets).unwrap(),
    )
}

fn options(directory: &Path, readers: &[Reader]) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Buffered,
        segment_bytes: 2 * 1024 * 1024,
        limits: Limits {
            entries: 1000,
            bytes: 1024 * 1024,
        },
        readers: readers.to_vec(),
        signer: None,
        is_known: false,
        classes: Classes::default(),
        rotations: Chain::default(),
    }
}

/// One run of a writer.
fn run(directory: &Path, readers: &[Reader], numbers: std::ops::Range<u64>) {
    let (log, committer) = Log::open(&options(directory, readers)).unwrap();
    for number in numbers {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

/// The numbers that a reader finds, and how many entries do not open for it.
fn read(directory: &Path, secret: Option<SecretKey>) -> (Vec<u64>, usize) {
    let mut unsealer = Unsealer::new(directory, secret).unwrap();
    let mut walk = Walk::new(directory);
    let (mut numbers, mut closed) = (Vec::new(), 0);
    loop {
        match walk.step().unwrap() {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                for (_, leaf) in entries(sequence, &records) {
                    let Ok(bytes) = unsealer.unseal(leaf) else {
                        closed += 1;
                        continue;
                    };
                    if let Event::Close(close) = audit::entry::decode(&bytes).unwrap().event {
                        numbers.push(close.requests);
                    }
                }
            }
            Step::End => return (numbers, closed),
            Step::Fault(fault) => panic!("{fault}"),
        }
    }
}

/// The records of keys in a log.
fn records(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let below = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    for month in below(&directory.join("keys")) {
        for class in below(&month) {
            found.extend(below(&class));
        }
    }
    found.sort();
    found
}

#[test]
fn a_reader_reads_all_runs_and_nobody_else_reads_any() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, reader) = pair();
    let (other, _) = pair();
    run(directory.path(), &[reader], 0..5);
    run(directory.path(), &[reader], 5..9);
    assert_eq!(read(directory.path(), Some(secret)), ((0..9).collect(), 0));
    assert_eq!(read(directory.path(), Some(other)), (Vec::new(), 9));
    assert_eq!(read(directory.path(), None), (Vec::new(), 9));
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!((report.entries, report.notes.len()), (9 + 2 * 2, 0));
    assert_eq!(records(directory.path()).len(), 2, "a key for each run");
}

#[test]
fn a_reader_that_comes_later_reads_what_is_written_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let (first, one) = pair();
    let (second, two) = pair();
    run(directory.path(), &[], 0..2);
    run(directory.path(), &[one], 2..4);
    run(directory.path(), &[one, two], 4..6);
    assert_eq!(read(directory.path(), Some(first)).0, [0, 1, 2, 3, 4, 5]);
    assert_eq!(read(directory.path(), Some(second)), (vec![0, 1, 4, 5], 2));
    assert_eq!(verify(directory.path()).unwrap().verdict(), Verdict::Good);
}

#[test]
fn what_names_anybody_stands_nowhere_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = pair();
    let canary = "devices:urn:example:canary-4711";
    let (log, committer) = Log::open(&options(directory.path(), &[reader])).unwrap();
    let decision = Entry {
        time: Time(1_700_000_000_000_000_000),
        event: Event::Decision(audit::event::Decision {
            control: "readable-audit",
            paragraph: canary,
            key: canary,
            rationale: canary,
        }),
    };
    log.append_blocking(&decision, PATIENCE).unwrap();
    let slot = log.reserve(audit::queue::Share::Proven).unwrap();
    slot.fill(&decision);
    log.append_unwaited(&decision, audit::queue::Share::Unproven)
        .unwrap();
    committer.close(PATIENCE).unwrap();
    let wal = std::fs::read_dir(directory.path().join("wal")).unwrap();
    let mut files: Vec<_> = wal.map(|file| file.unwrap().path()).collect();
    files.extend(records(directory.path()));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let needle = b"canary";
        assert!(!bytes.windows(needle.len()).any(|part| part == needle));
    }
    assert_eq!(verify(directory.path()).unwrap().entries, 5);
}

#[test]
fn a_record_of_a_key_that_is_gone_or_changed_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = pair();
    run(directory.path(), &[reader], 0..1);
    let record = records(directory.path()).remove(0);
    let whole = std::fs::read(&record).unwrap();
    let findings = || verify(directory.path()).unwrap().findings;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&record, &changed).unwrap();
        assert!(
            matches!(findings()[..], [Finding::MissingKey { .. }]),
            "byte {at}"
        );
    }
    std::fs::remove_file(&record).unwrap();
    assert!(matches!(findings()[..], [Finding::MissingKey { .. }]));
    std::fs::write(&record, &whole).unwrap();
    assert_eq!(findings(), []);
    let stranger = record.with_file_name("notes");
    std::fs::write(&stranger, "mine").unwrap();
    assert!(matches!(&findings()[..], [Finding::Stranger { name }] if name.ends_with("/notes")));
    std::fs::remove_file(&stranger).unwrap();
    std::fs::write(directory.path().join("keys/2026-11.txt"), "mine").unwrap();
    assert!(matches!(findings()[..], [Finding::Stranger { .. }]));
}

#[test]
fn an_entry_under_a_key_that_the_log_told_nothing_of_is_found() {
    use audit::frame::{Place, SegmentHeader, encode_batch};
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = pair();
    run(directory.path(), &[reader], 0..1);
    // The last entry, which is sealed, alone in a log of its own.
    let mut walk = Walk::new(directory.path());
    let mut leaf = Vec::new();
    while let step @ (Step::Segment(_) | Step::Batch { .. }) = walk.step().unwrap() {
        if let Step::Batch {
            sequence, records, ..
        } = step
            && let Some((_, last)) = entries(sequence, &records).last()
        {
            leaf = last.to_vec();
        }
    }
    let header = SegmentHeader {
        log: [1; 16],
        number: 1,
        first_sequence: 0,
        previous: [0; 32],
        previous_end: 0,
        previous_failed: false,
    };
    let place = Place {
        segment: 1,
        sequence: 0,
        previous: header.hash(),
    };
    let length = u32::try_from(leaf.len()).unwrap().to_le_bytes();
    let mut batch = Vec::new();
    encode_batch(&place, 1, &[&length[..], &leaf].concat(), &mut batch);
    let alone = tempfile::tempdir().unwrap();
    std::fs::create_dir(alone.path().join("wal")).unwrap();
    let path = alone.path().join("wal/0000000000000001.seg");
    std::fs::write(path, [&header.encode()[..], &batch].concat()).unwrap();
    let report = verify(alone.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Tampered, "{:?}", report.findings);
    assert!(
        matches!(
            report.findings[..],
            [Finding::UnknownKey { sequence: 0, .. }]
        ),
        "{:?}",
        report.findings
    );
}

#[test]
fn what_a_start_that_was_killed_leaves_is_no_finding() {
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = pair();
    run(directory.path(), &[reader], 0..1);
    // The second run dies between the record of its key and the entry that tells of it.
    let elsewhere = tempfile::tempdir().unwrap();
    run(elsewhere.path(), &[reader], 0..1);
    let record = records(directory.path()).remove(0);
    let unused = records(elsewhere.path()).remove(0);
    let place = record.with_file_name(unused.file_name().unwrap());
    std::fs::copy(&unused, &place).unwrap();
    std::fs::write(record.with_extension("new"), "torn").unwrap();
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert!(matches!(&report.notes[..], [Note::UnusedKey { .. }]));
    // And goes on at the next start.
    run(directory.path(), &[reader], 1..2);
    assert_eq!(verify(directory.path()).unwrap().verdict(), Verdict::Good);
}

#[test]
fn a_log_does_not_open_without_a_record_of_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = pair();
    let open = |readers: &[Reader]| Log::open(&options(directory.path(), readers));
    assert!(matches!(
        open(&[reader, reader]),
        Err(OpenError::Key { .. })
    ));
    std::fs::write(directory.path().join("keys"), "in the way").unwrap();
    let error = open(&[reader]).unwrap_err();
    assert!(matches!(error, OpenError::Record { .. }), "{error}");
    assert!(!directory.path().join("wal/0000000000000001.seg").exists());
    std::fs::remove_file(directory.path().join("keys")).unwrap();
    run(directory.path(), &[reader], 0..1);
}

#[test]
fn an_entry_that_is_too_long_is_refused_and_the_log_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, reader) = pair();
    let (log, committer) = Log::open(&options(directory.path(), &[reader])).unwrap();
    let long = "x".repeat(20_000);
    for event in [
        Event::Stop(Stop { reason: &long }),
        Event::Decision(audit::event::Decision {
            control: &long,
            paragraph: "",
            key: "",
            rationale: "",
        }),
    ] {
        let entry = Entry {
            time: Time(1),
            event,
        };
        assert_eq!(
            log.append_blocking(&entry, PATIENCE),
            Err(audit::error::AppendError::TooLong)
        );
    }
    log.append_blocking(&entry(7), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    assert_eq!(read(directory.path(), Some(secret)), (vec![7], 0));
}

#[test]
fn foreign_keys_without_end_are_looked_for_so_often_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, reader) = pair();
    run(directory.path(), &[reader], 0..1);
    let told = audit::read::entry_at(directory.path(), 1).unwrap().unwrap();
    let leaf = audit::read::entry_at(directory.path(), 2).unwrap().unwrap();
    let record = records(directory.path()).remove(0);
    let away = directory.path().with_extension("away");
    std::fs::rename(&record, &away).unwrap();
    let mut unsealer = Unsealer::new(directory.path(), Some(secret)).unwrap();
    for number in 0..2000_u64 {
        let mut foreign = leaf.clone();
        foreign[19..27].copy_from_slice(&number.to_be_bytes());
        assert!(unsealer.unseal(&foreign).is_err());
    }
    // It has given up looking, and begins again when the log tells of a key.
    std::fs::rename(&away, &record).unwrap();
    assert!(unsealer.unseal(&leaf).is_err());
    assert!(unsealer.unseal(&told).is_ok());
    assert!(unsealer.unseal(&leaf).is_ok());
}
