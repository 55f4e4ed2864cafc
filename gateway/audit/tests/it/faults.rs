//! What was acknowledged survives: every operation of the disk fails in turn, in every way.

use std::sync::Arc;
use std::time::Duration;

use audit::error::{AppendError, OpenError};
use audit::keeping::Classes;
use audit::log::Log;
use audit::merkle::rotation::Chain;
use audit::queue::{Limits, Share};
use audit::storage::Storage;
use audit::verify::{Note, Verdict, verify};

use crate::disk::{Fault, SimulatedDisk};
use crate::{entry, numbers};

const SEGMENT: u64 = 2 * 1024 * 1024;
const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 1024 * 1024,
};
const PATIENCE: Duration = Duration::from_secs(20);

fn open(disk: &SimulatedDisk) -> (Log, audit::log::Committer) {
    Log::open_on(Arc::new(disk.clone()), SEGMENT, LIMITS).expect("opens")
}

/// Appends until the disk fails, then crashes; returns what was acknowledged and the disk.
fn run_until_crash(operation: u64, fault: Fault) -> (Vec<u64>, SimulatedDisk) {
    let disk = SimulatedDisk::default();
    disk.fail_at(operation, u64::MAX / 2, fault);
    let mut acknowledged = Vec::new();
    if let Ok((log, _committer)) = Log::open_on(Arc::new(disk.clone()), SEGMENT, LIMITS) {
        for number in 0..12 {
            if log.append_blocking(&entry(number), PATIENCE).is_ok() {
                acknowledged.push(number);
            }
        }
    }
    let crashed = disk.crash();
    (acknowledged, crashed)
}

/// What a log holds that is good, and what it tells of itself.
#[track_caller]
fn held(disk: &SimulatedDisk) -> (Vec<u64>, Vec<Note>) {
    let directory = tempfile::tempdir().unwrap();
    disk.dump(directory.path());
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    (numbers(directory.path()), report.notes)
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_at_any_operation() {
    let mut some = false;
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0..24 {
            let (acknowledged, disk) = run_until_crash(operation, fault);
            some |= !acknowledged.is_empty();
            let (log, committer) = open(&disk);
            log.append_blocking(&entry(1000), PATIENCE)
                .expect("the log goes on");
            committer.close(PATIENCE).expect("closes");
            let directory = tempfile::tempdir().unwrap();
            disk.dump(directory.path());
            let report = verify(directory.path()).unwrap();
            assert_eq!(
                report.verdict(),
                Verdict::Good,
                "{fault:?} at {operation}: {:?}",
                report.findings
            );
            let found = numbers(directory.path());
            let kept = found
                .iter()
                .filter(|number| acknowledged.contains(number))
                .count();
            assert_eq!(
                kept,
                acknowledged.len(),
                "{fault:?} at {operation}: {acknowledged:?} in {found:?}"
            );
            assert_eq!(found.last(), Some(&1000));
        }
    }
    assert!(some, "no run got as far as an acknowledgment");
}

fn open_briefly(disk: &SimulatedDisk) -> Result<(Log, audit::log::Committer), OpenError> {
    Log::open_briefly_on(Arc::new(disk.clone()), SEGMENT, LIMITS)
}

/// Comes for two entries and goes; returns those that were acknowledged.
fn short_run(disk: &SimulatedDisk, first: u64) -> Vec<u64> {
    let Ok((log, committer)) = open_briefly(disk) else {
        return Vec::new();
    };
    let acknowledged = |number: &u64| log.append_blocking(&entry(*number), PATIENCE).is_ok();
    let numbers = (first..first + 2).filter(acknowledged).collect();
    let _ = committer.close(PATIENCE);
    numbers
}

#[test]
fn what_short_runs_had_acknowledged_is_there_after_a_crash_at_any_operation() {
    let mut most = 0;
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0..24 {
            let disk = SimulatedDisk::default();
            disk.fail_at(operation, u64::MAX / 2, fault);
            let acknowledged: Vec<_> = (0..4).flat_map(|run| short_run(&disk, 2 * run)).collect();
            most = most.max(acknowledged.len());
            let disk = disk.crash();
            assert_eq!(short_run(&disk, 100).len(), 2, "the log goes on");
            assert_eq!(short_run(&disk, 102).len(), 2, "and on");
            let (found, _) = held(&disk);
            assert!(
                acknowledged.iter().all(|number| found.contains(number)),
                "{fault:?} at {operation}: {acknowledged:?} in {found:?}"
            );
            assert!(found.ends_with(&[100, 101, 102, 103]));
        }
    }
    assert_eq!(most, 8, "no run was undisturbed");
}

#[test]
fn short_runs_share_a_segment_until_it_is_full_and_a_failed_write_ends_one() {
    let disk = SimulatedDisk::default();
    let segments = |disk: &SimulatedDisk| Storage::list(disk).unwrap().len();
    for run in 0..100 {
        assert_eq!(short_run(&disk, 2 * run).len(), 2);
    }
    assert_eq!(segments(&disk), 1);
    let (log, committer) = open_briefly(&disk).unwrap();
    // No spare is prepared: the next operation writes the batch.
    disk.fail_at(0, 1, Fault::Torn);
    log.append_blocking(&entry(200), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    assert_eq!(segments(&disk), 2);
    // Two blocks a run: 2 MiB are 256 of them and the header.
    for run in 101..400 {
        assert_eq!(short_run(&disk, 2 * run).len(), 2);
    }
    assert_eq!(segments(&disk), 3);
    let (found, _) = held(&disk);
    let expected: Vec<_> = (0..=200).chain(202..800).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_write_that_fails_once_is_made_again_in_a_fresh_segment() {
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        let disk = SimulatedDisk::default();
        let (log, committer) = open(&disk);
        log.append_blocking(&entry(0), PATIENCE).unwrap();
        disk.wait_for_spare();
        disk.fail_at(0, 1, fault);
        log.append_blocking(&entry(1), PATIENCE)
            .expect("written at the second attempt");
        log.append_blocking(&entry(2), PATIENCE).unwrap();
        committer.close(PATIENCE).unwrap();
        let (numbers, notes) = held(&disk);
        assert_eq!(numbers, [0, 1, 2]);
        let given_up = notes.contains(&Note::GivenUp { segment: 1 });
        assert_eq!(given_up, fault != Fault::Failed, "{fault:?}");
    }
}

#[test]
fn while_the_disk_fails_nothing_is_acknowledged_and_afterwards_the_log_goes_on_by_itself() {
    let disk = SimulatedDisk::default();
    let (log, committer) = open(&disk);
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    let owed = log.reserve(Share::Proven).unwrap();
    disk.fail_at(0, u64::MAX / 2, Fault::Failed);
    assert_eq!(
        log.append_blocking(&entry(1), PATIENCE),
        Err(AppendError::Unavailable)
    );
    assert!(!log.status().available);
    assert!(log.reserve(Share::Proven).is_err());
    owed.fill(&entry(2));
    disk.heal();
    let mut tries = 0;
    while !log.status().available {
        tries += 1;
        assert!(tries < 200, "the log did not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    log.append_blocking(&entry(3), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    let directory = tempfile::tempdir().unwrap();
    disk.dump(directory.path());
    assert_eq!(verify(directory.path()).unwrap().verdict(), Verdict::Good);
    // What was refused may be there; what was owed must be.
    assert_eq!(numbers(directory.path()), [0, 1, 2, 3]);
}

#[test]
fn a_live_segment_that_disappears_ends_the_log_for_good() {
    let disk = SimulatedDisk::default();
    let (log, _committer) = open(&disk);
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    Storage::remove(&disk, "0000000000000001.seg").unwrap();
    let mut tries = 0;
    while log.status().available {
        tries += 1;
        assert!(tries < 200, "nobody noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        log.append_blocking(&entry(1), PATIENCE),
        Err(AppendError::Unavailable)
    );
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let disk = SimulatedDisk::default();
    let (log, committer) = open(&disk);
    for number in 0..1200 {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let directory = tempfile::tempdir().unwrap();
    disk.dump(directory.path());
    let report = verify(directory.path()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert!(report.segments >= 3);
    assert_eq!(numbers(directory.path()), (0..1200).collect::<Vec<_>>());
}

#[test]
fn a_second_writer_on_one_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = audit::log::Options {
        directory: directory.path().to_owned(),
        durability: audit::storage::Durability::Durable,
        segment_bytes: SEGMENT,
        limits: LIMITS,
        readers: Vec::new(),
        signer: None,
        is_known: false,
        classes: Classes::default(),
        rotations: Chain::default(),
    };
    let (log, committer) = Log::open(&options).unwrap();
    assert!(matches!(Log::open(&options), Err(OpenError::Locked)));
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    let (_log, committer) = Log::open(&options).expect("free again");
    committer.close(PATIENCE).unwrap();
}

#[test]
fn a_write_that_failed_and_landed_never_hides_what_was_written_after_a_restart() {
    let disk = SimulatedDisk::default();
    let (log, _committer) = open(&disk);
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    disk.wait_for_spare();
    // The write reports an error and lands. The next segment gets its header and its name, and the
    // disk fails for good before the batch is in it.
    disk.fail_at(0, 1, Fault::FailedButDone);
    disk.then_fail_at(3, u64::MAX / 2, Fault::Failed);
    assert_eq!(
        log.append_blocking(&entry(1), PATIENCE),
        Err(AppendError::Unavailable)
    );
    let crashed = disk.crash();
    let (log, committer) = open(&crashed);
    for number in [101, 102] {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    assert_eq!(held(&crashed).0, [0, 101, 102]);
}

#[test]
fn a_segment_whose_naming_failed_and_landed_is_made_anew() {
    let disk = SimulatedDisk::default();
    let (log, committer) = open(&disk);
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    disk.wait_for_spare();
    // The write fails, and so does the naming of the next segment, which has its name all the same.
    disk.fail_at(0, 1, Fault::Failed);
    disk.then_fail_at(2, 1, Fault::FailedButDone);
    assert_eq!(
        log.append_blocking(&entry(1), PATIENCE),
        Err(AppendError::Unavailable)
    );
    let mut tries = 0;
    while !log.status().available {
        tries += 1;
        assert!(tries < 200, "the log did not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    log.append_blocking(&entry(2), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    assert_eq!(held(&disk).0, [0, 1, 2]);
}

#[test]
fn a_spare_that_does_not_fit_is_not_begun() {
    let disk = SimulatedDisk::default();
    disk.leave(SEGMENT - 1);
    let refused = Log::open_on(Arc::new(disk.clone()), SEGMENT, LIMITS);
    assert!(
        matches!(&refused, Err(OpenError::Disk { error, .. })
            if error.kind() == std::io::ErrorKind::StorageFull),
        "{refused:?}"
    );
    let left = Storage::list(&disk).unwrap();
    assert_eq!(left, Vec::<String>::new(), "what is left is not filled up");
    disk.leave(SEGMENT);
    let (_log, committer) = open(&disk);
    committer.close(PATIENCE).unwrap();
}

#[test]
fn remains_that_were_forged_are_never_shown() {
    let disk = SimulatedDisk::default();
    let (log, committer) = open(&disk);
    log.append_blocking(&entry(0), PATIENCE).unwrap();
    disk.wait_for_spare();
    disk.fail_at(0, 1, Fault::FailedButDone);
    log.append_blocking(&entry(1), PATIENCE).unwrap();
    committer.close(PATIENCE).unwrap();
    let directory = tempfile::tempdir().unwrap();
    disk.dump(directory.path());
    assert_eq!(numbers(directory.path()), [0, 1]);
    // Whoever can write the file writes another batch in the place of the remains; the chain asks
    // for no secret.
    let path = directory.path().join("wal/0000000000000001.seg");
    let mut segment = std::fs::read(&path).unwrap();
    let (remains, place) = audit::frame::decode_anywhere(&segment[8192..]).unwrap();
    let mut forged = Vec::new();
    let mut bytes = Vec::new();
    audit::entry::encode(&entry(666), &mut bytes);
    let mut records = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    records.extend_from_slice(&bytes);
    audit::frame::encode_batch(&place, remains.count, &records, &mut forged);
    segment[8192..8192 + forged.len()].copy_from_slice(&forged);
    std::fs::write(&path, segment).unwrap();
    assert_eq!(numbers(directory.path()), [0, 1]);
}

#[test]
fn the_end_of_a_log_is_found_without_reading_a_byte_more_than_twice() {
    const LARGE: u64 = 16 * 1024 * 1024;
    // Nothing but blocks that were never written, and many short batches before them.
    for entries in [0, 1, 400] {
        let disk = SimulatedDisk::default();
        let (log, _committer) = Log::open_on(Arc::new(disk.clone()), LARGE, LIMITS).expect("opens");
        for number in 0..entries {
            log.append_blocking(&entry(number), PATIENCE).unwrap();
        }
        let crashed = disk.crash();
        let before = crashed.read();
        let (_log, committer) = open(&crashed);
        let read = crashed.read() - before;
        committer.close(PATIENCE).expect("closes");
        assert!(
            read < 2 * LARGE + LARGE / 8,
            "{entries}: {read} bytes of {LARGE}"
        );
        assert!(
            entries == 0 || read > LARGE,
            "{entries}: the segment is looked through"
        );
    }
}
