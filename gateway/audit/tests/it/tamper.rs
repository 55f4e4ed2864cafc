//! Every change to a log is found: bytes, batches, segments, files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use audit::error::OpenError;
use audit::keeping::Classes;
use audit::log::{Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::Limits;
use audit::storage::Durability;
use audit::verify::{Finding, Verdict, verify};

use crate::clinic::{Clinic, Exchange, text, whom};
use crate::{entry, numbers};

fn options(directory: &Path) -> Options {
    Options {
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
    }
}

/// A log of three runs with four batches each.
fn make() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let (log, committer) = Log::open(&options(directory.path())).unwrap();
        for number in 0..4 {
            log.append_blocking(&entry(run * 4 + number), Duration::from_secs(10))
                .unwrap();
        }
        committer.close(Duration::from_secs(10)).unwrap();
    }
    assert_eq!(verify(directory.path()).unwrap().verdict(), Verdict::Good);
    assert_eq!(numbers(directory.path()), (0..12).collect::<Vec<_>>());
    directory
}

fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join("wal").join(format!("{number:016}.seg"))
}

#[test]
fn every_changed_byte_of_every_file_is_found() {
    let directory = make();
    for number in 1..=3 {
        let path = segment(directory.path(), number);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            let report = verify(directory.path()).unwrap();
            assert_ne!(
                report.verdict(),
                Verdict::Good,
                "byte {at} of segment {number}"
            );
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn swapped_and_repeated_batches_are_found() {
    let directory = make();
    let path = segment(directory.path(), 2);
    let whole = std::fs::read(&path).unwrap();
    let block = |at: usize| whole[at * 4096..(at + 1) * 4096].to_vec();
    for order in [
        [0, 2, 1, 3, 4],
        [0, 1, 1, 2, 3],
        [0, 1, 2, 4, 3],
        [0, 2, 3, 4, 1],
    ] {
        std::fs::write(&path, order.map(block).concat()).unwrap();
        assert_eq!(
            verify(directory.path()).unwrap().verdict(),
            Verdict::Tampered,
            "{order:?}"
        );
    }
}

#[test]
fn a_batch_of_another_log_is_found() {
    let (ours, theirs) = (make(), make());
    let path = segment(ours.path(), 2);
    let mut spliced = std::fs::read(&path).unwrap();
    let other = std::fs::read(segment(theirs.path(), 2)).unwrap();
    spliced[8192..12288].copy_from_slice(&other[8192..12288]);
    std::fs::write(&path, spliced).unwrap();
    assert_eq!(verify(ours.path()).unwrap().verdict(), Verdict::Tampered);
}

#[test]
fn a_segment_cut_anywhere_but_at_the_very_end_of_the_log_is_found() {
    let directory = make();
    for number in 1..=3 {
        let path = segment(directory.path(), number);
        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(64) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let verdict = verify(directory.path()).unwrap().verdict();
            // A cut exactly behind a batch of the last segment leaves a shorter log that is whole:
            // only a signed head can tell, and there is none yet.
            if number == 3 && length % 4096 == 0 && length > 0 {
                assert_eq!(verdict, Verdict::Good, "{length}");
            } else {
                assert_ne!(verdict, Verdict::Good, "segment {number} cut at {length}");
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_removed_segment_is_found_and_the_log_does_not_open() {
    for number in 1..=2 {
        let directory = make();
        std::fs::remove_file(segment(directory.path(), number)).unwrap();
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.verdict(), Verdict::Truncated);
        assert!(
            report
                .findings
                .contains(&Finding::MissingSegment { segment: number })
        );
        assert!(
            matches!(Log::open(&options(directory.path())), Err(OpenError::Missing { segment }) if segment == number)
        );
    }
}

#[test]
fn a_good_batch_behind_a_bad_one_is_damage_and_the_log_does_not_open() {
    let directory = make();
    let path = segment(directory.path(), 3);
    let mut changed = std::fs::read(&path).unwrap();
    changed[5000] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::Tampered
    );
    assert!(matches!(
        Log::open(&options(directory.path())),
        Err(OpenError::Damaged {
            segment: 3,
            offset: 4096,
            ..
        })
    ));
    assert_eq!(
        std::fs::read(&path).unwrap(),
        changed,
        "evidence is left as it was found"
    );
}

#[test]
fn remains_longer_than_a_batch_are_damage_and_the_log_does_not_open() {
    let directory = make();
    let path = segment(directory.path(), 3);
    let whole = std::fs::read(&path).unwrap();
    for (longer, is_damage) in [(0, false), (1, true)] {
        let mut changed = whole.clone();
        changed.resize(whole.len() + audit::frame::MAX_BATCH + longer, 7);
        std::fs::write(&path, &changed).unwrap();
        let opened = Log::open(&options(directory.path()));
        if is_damage {
            assert!(
                matches!(opened, Err(OpenError::Damaged { segment: 3, .. })),
                "{:?}",
                opened.err()
            );
            let found = std::fs::read(&path).unwrap();
            assert!(found == changed, "evidence is left as it was found");
        } else {
            let (_log, committer) = opened.unwrap();
            committer.close(Duration::from_secs(10)).unwrap();
            std::fs::remove_file(segment(directory.path(), 4)).unwrap();
            std::fs::remove_file(directory.path().join("wal").join(format!(
                "{:016}-{}.torn",
                3,
                whole.len()
            )))
            .unwrap();
        }
    }
}

#[test]
fn a_torn_last_batch_is_set_aside_and_recorded() {
    let directory = make();
    let path = segment(directory.path(), 3);
    let mut torn = std::fs::read(&path).unwrap();
    let cut = torn.len() - 4096;
    torn[cut + 100..].fill(0);
    torn.resize(torn.len() + 65_536, 0);
    std::fs::write(&path, &torn).unwrap();
    let report = verify(directory.path()).unwrap();
    assert_eq!(
        report.verdict(),
        Verdict::Truncated,
        "{:?}",
        report.findings
    );

    let (_log, committer) = Log::open(&options(directory.path())).unwrap();
    committer.close(Duration::from_secs(10)).unwrap();
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!(numbers(directory.path()), (0..11).collect::<Vec<_>>());

    let aside = directory
        .path()
        .join("wal")
        .join(format!("{:016}-{cut}.torn", 3));
    std::fs::write(&aside, b"other bytes").unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::Tampered
    );
    std::fs::remove_file(&aside).unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::Tampered
    );
}

#[test]
fn bytes_added_behind_the_end_are_found() {
    let directory = make();
    for number in 1..=3 {
        let path = segment(directory.path(), number);
        let whole = std::fs::read(&path).unwrap();
        let mut longer = whole.clone();
        longer.resize(longer.len() + 20_000, 0);
        longer.push(1);
        std::fs::write(&path, &longer).unwrap();
        assert_eq!(
            verify(directory.path()).unwrap().verdict(),
            Verdict::Tampered,
            "segment {number}"
        );
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_file_that_does_not_belong_is_found_and_the_log_does_not_open() {
    let directory = make();
    std::fs::write(directory.path().join("wal/0000000000000004.seg.bak"), b"").unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::Tampered
    );
    assert!(matches!(
        Log::open(&options(directory.path())),
        Err(OpenError::Stranger { .. })
    ));
}

#[test]
fn nothing_is_not_a_good_log() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::CannotVerify
    );
    std::fs::create_dir(directory.path().join("wal")).unwrap();
    assert_eq!(
        verify(directory.path()).unwrap().verdict(),
        Verdict::CannotVerify
    );
}

#[test]
fn a_log_that_is_being_written_verifies_at_every_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path())).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (log, stop) = (log.clone(), std::sync::Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                log.append_blocking(&entry(number), Duration::from_secs(10))
                    .unwrap();
                number += 1;
                if number % 64 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            number
        })
    };
    for _ in 0..30 {
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
        assert!(report.live);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.join().unwrap();
    committer.close(Duration::from_secs(10)).unwrap();
    assert_eq!(numbers(directory.path()).len() as u64, written);
}

#[test]
fn a_change_in_a_log_that_is_being_written_is_found_but_for_its_very_last_batch() {
    let directory = make();
    let (log, committer) = Log::open(&options(directory.path())).unwrap();
    for number in 12..20 {
        log.append_blocking(&entry(number), Duration::from_secs(10))
            .unwrap();
    }
    let path = segment(directory.path(), 4);
    // The writer keeps its descriptor; what the reader finds is what lies on the disk.
    let whole = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let put =
        |at: u64, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
    for batch in [1, 4, 7_u64] {
        let at = batch * 4096;
        let place = usize::try_from(at).unwrap();
        put(at + 100, &[whole[place + 100] ^ 1]);
        let report = verify(directory.path()).unwrap();
        assert!(report.live);
        assert_eq!(
            report.verdict(),
            Verdict::Tampered,
            "a flipped bit in batch {batch}"
        );
        put(at, &[0; 4096]);
        assert_eq!(
            verify(directory.path()).unwrap().verdict(),
            Verdict::Tampered,
            "batch {batch} erased"
        );
        put(at, &whole[place..place + 4096]);
        assert_eq!(verify(directory.path()).unwrap().verdict(), Verdict::Good);
    }
    committer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_lock_that_somebody_else_holds_makes_no_tampered_log_good() {
    let directory = make();
    let path = segment(directory.path(), 3);
    let mut changed = std::fs::read(&path).unwrap();
    changed[4096 + 100] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let lock = std::fs::File::open(directory.path().join("LOCK")).unwrap();
    lock.lock().unwrap();
    let report = verify(directory.path()).unwrap();
    assert!(report.live, "as far as the lock tells");
    assert_eq!(report.verdict(), Verdict::Tampered);
}

/// Every file below a directory, by its path in it.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for found in std::fs::read_dir(folder).unwrap() {
            let found = found.unwrap();
            if found.file_type().unwrap().is_dir() {
                folders.push(found.path());
            } else {
                files.push(found.path().strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn what_is_no_file_is_good_nowhere_and_nobody_waits_for_it() {
    let clinic = Clinic::new();
    let mut writer = clinic.write();
    let patient = whom(&[clinic.id(1)], true);
    for at in 0..300 {
        writer.read(&Exchange::of(at, "pump-1", patient.clone()));
    }
    writer.end();
    let (log, aside) = (clinic.log(), clinic.path("aside"));
    // Whoever waited would be ended with 124.
    let verify = || {
        let mut limited = Command::new("timeout");
        let limited = limited.args(["60", env!("CARGO_BIN_EXE_audit"), "verify"]);
        let output = limited.arg(&log).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), text(&said))
    };
    let (code, said) = verify();
    assert_eq!(code, Some(0), "{said}");
    let names = files_of(&log);
    assert!(names.len() > 5, "{names:?}");
    for name in names.iter().filter(|name| name.as_os_str() != "LOCK") {
        let path = log.join(name);
        std::fs::rename(&path, &aside).unwrap();
        // The very same bytes, but from outside.
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        let linked = verify();
        std::fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let piped = verify();
        for (code, said) in [linked, piped] {
            let told = code == Some(1) || (code == Some(4) && said.contains("is no file"));
            assert!(told, "{name:?}: {code:?} {said}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(verify().0, Some(0));
}
