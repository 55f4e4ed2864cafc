//! The keeper of the tree: a crash or a fault at any of its steps changes nothing in the end, and
//! what no crash explains keeps the log from opening.

use std::path::Path;
use std::sync::Arc;

use audit::checkpoints::{KeepError, Keeper, Means, last_note};
use audit::entry as encoding;
use audit::error::OpenError;
use audit::event::{Entry, Event, SigningKey, Time};
use audit::files::{Directory, Files};
use audit::log::Log;
use audit::merkle::key::Signer;
use audit::merkle::rotation::Chain;
use audit::queue::Share;
use audit::verify::{CheckpointFault, Finding, Verdict, verify};

use crate::directory::{Crash, Fault, SimulatedDirectory};
use crate::entry;
use crate::signed::{PATIENCE, options};

const NOW: Time = Time(1_700_000_000_000_000_000);
const DAY: u64 = 86_400_000_000_000;

/// How far the log is durable, step by step: within a tile, at its end, beyond, and far beyond.
const STEPS: [u64; 6] = [0, 3, 256, 257, 300, 700];
const ALL: u64 = STEPS[STEPS.len() - 1];

pub(crate) fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::new("example.com/log".parse().unwrap(), &[seed; 32]).unwrap())
}

/// A log of [`ALL`] entries that nobody has signed yet. The first one names the key.
fn unsigned() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), None)).unwrap();
    let key = signer(1).verifier().to_string();
    let named = Entry {
        time: NOW,
        event: Event::SigningKey(SigningKey {
            key: &key,
            rotation: None,
        }),
    };
    let mut next = 1;
    log.append_blocking(&named, PATIENCE).unwrap();
    // Batches end where the steps do.
    for step in &STEPS[1..] {
        for number in next..step - 1 {
            log.append_unwaited(&entry(number), Share::Proven).unwrap();
        }
        log.append_blocking(&entry(step - 1), PATIENCE).unwrap();
        next = *step;
    }
    committer.close(PATIENCE).unwrap();
    directory
}

fn means(log: &Path, files: &SimulatedDirectory) -> Means {
    Means {
        directory: log.to_owned(),
        files: Arc::new(files.clone()),
        signer: signer(1),
        is_known: false,
        rotations: Chain::default(),
        buffered: false,
    }
}

/// Keeps the tree of the log as it grows step by step; ends at the first fault. Each step is on the
/// next day but one pair. Returns how far it came.
fn keep(log: &Path, files: &SimulatedDirectory) -> u64 {
    let Ok(mut keeper) = Keeper::open(means(log, files), 0, NOW) else {
        return 0;
    };
    for (step, day) in STEPS.into_iter().zip([0, 0, 1, 1, 2, 3]) {
        if keeper.advance(step, Time(NOW.0 + day * DAY)).is_err() {
            return step;
        }
    }
    ALL
}

/// The directory of the log with these files beside its segments, as `verify` sees it.
fn joined(log: &Path, files: &SimulatedDirectory) -> tempfile::TempDir {
    let joined = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(log.join("wal"), joined.path().join("wal")).unwrap();
    files.dump(joined.path());
    joined
}

/// Tiles and the head of the last checkpoint: what must be the same whatever came in between.
fn outcome(files: &SimulatedDirectory) -> (Vec<(String, Vec<u8>)>, String) {
    let files = files.files();
    let head = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let head: Vec<&str> = head.lines().take(3).collect();
    let head = head.join("\n");
    let full = |path: &str| path.starts_with("tile/") && !path.contains(".p/");
    let tiles = files.into_iter().filter(|(path, _)| full(path));
    (tiles.collect(), head)
}

#[track_caller]
fn assert_good(log: &Path, files: &SimulatedDirectory, signed: u64, what: &str) {
    let joined = joined(log, files);
    let report = verify(joined.path()).unwrap();
    assert_eq!(
        report.verdict(),
        Verdict::Good,
        "{what}: {:?}",
        report.findings
    );
    assert_eq!(report.signed.unwrap().entries, signed, "{what}");
}

#[test]
fn a_tree_that_grows_is_signed_at_each_step_and_only_as_far_as_is_durable() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    let mut keeper = Keeper::open(means(log.path(), &files), 0, NOW).unwrap();
    for step in STEPS {
        keeper.advance(step, NOW).unwrap();
        assert_eq!(keeper.signed(), step);
        assert_good(log.path(), &files, step, "step");
    }
    // The full tiles have replaced their partial ones.
    let paths: Vec<String> = files.files().into_keys().collect();
    assert_eq!(
        paths,
        [
            "checkpoint",
            "checkpoints/2023-11-14",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/188",
            "tile/1/000.p/1",
            "tile/1/000.p/2",
        ]
    );
}

#[test]
fn no_part_of_a_batch_is_signed() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    let mut keeper = Keeper::open(means(log.path(), &files), 0, NOW).unwrap();
    let mut within = 0;
    for durable in 1..=ALL {
        match keeper.advance(durable, NOW) {
            Ok(()) => assert_eq!(keeper.signed(), durable),
            Err(KeepError::Unreadable { .. }) => {
                within += 1;
                assert!(keeper.signed() < durable);
            }
            Err(error) => panic!("{durable}: {error}"),
        }
    }
    assert!(within > 0, "every batch has one entry");
    assert_good(log.path(), &files, ALL, "in the end");
}

#[test]
fn of_a_buffered_log_nothing_is_signed_that_is_not_synced() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    let means = Means {
        buffered: true,
        ..means(log.path(), &files)
    };
    let mut keeper = Keeper::open(means, 0, NOW).unwrap();
    // On this disk there is no segment that could be synced.
    let failed = keeper.advance(STEPS[1], NOW);
    assert!(
        matches!(
            failed,
            Err(KeepError::Disk {
                doing: "sync a segment",
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(keeper.signed(), 0);
    files.make_directory("wal").unwrap();
    files.write_at("wal/0000000000000001.seg", 0, b"").unwrap();
    keeper.advance(STEPS[1], NOW).unwrap();
    assert_eq!(keeper.signed(), STEPS[1]);
}

#[test]
fn nothing_is_written_while_nothing_grows() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    assert_eq!(keep(log.path(), &files), ALL);
    let before = files.files();
    let mut keeper = Keeper::open(means(log.path(), &files), ALL, NOW).unwrap();
    files.fail_at(0, u64::MAX, Fault::Failed);
    keeper.advance(ALL, NOW).unwrap();
    assert!(!files.has_failed());
    assert_eq!(files.files(), before);
}

#[test]
fn a_crash_at_any_step_comes_to_the_same_state() {
    let log = unsigned();
    let whole = SimulatedDirectory::default();
    assert_eq!(keep(log.path(), &whole), ALL);
    let seeds = if std::env::var_os("PHIGATE_LONG").is_some() {
        64
    } else {
        8
    };
    let crashes: Vec<Crash> = [Crash::Lost, Crash::Kept]
        .into_iter()
        .chain((0..seeds).map(Crash::Some))
        .collect();
    let mut operations = 0;
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0.. {
            let files = SimulatedDirectory::default();
            files.fail_at(operation, u64::MAX, fault);
            let reached = keep(log.path(), &files);
            if !files.has_failed() {
                operations = operation;
                break;
            }
            for crash in &crashes {
                let what = format!("{fault:?} at {operation}, {crash:?}");
                let crashed = files.crash(*crash);
                no_crash_looks_like_tampering(log.path(), &crashed, reached, &what);
                let mut keeper = Keeper::open(means(log.path(), &crashed), reached, NOW)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(keeper.signed() <= reached);
                keeper.advance(ALL, Time(NOW.0 + 4 * DAY)).unwrap();
                assert_eq!(outcome(&crashed), outcome(&whole), "{what}");
                assert_good(log.path(), &crashed, ALL, &what);
            }
        }
    }
    assert!(operations > 100, "{operations}");
}

/// Before the next start: at most a checkpoint that is unfinished.
fn no_crash_looks_like_tampering(log: &Path, files: &SimulatedDirectory, reached: u64, what: &str) {
    let joined = joined(log, files);
    let report = verify(joined.path()).unwrap();
    let excused = |finding: &Finding| match finding {
        Finding::Checkpoint { fault, .. } => *fault == CheckpointFault::Cut,
        // The first entry of this log was there before its first checkpoint.
        Finding::NoCheckpoint { .. } => reached == 0,
        _ => false,
    };
    assert!(
        report.findings.iter().all(excused),
        "{what}: {:?}",
        report.findings
    );
}

#[test]
fn a_fault_at_any_step_is_passed_by_trying_again() {
    let log = unsigned();
    let whole = SimulatedDirectory::default();
    assert_eq!(keep(log.path(), &whole), ALL);
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0.. {
            let files = SimulatedDirectory::default();
            let mut keeper = Keeper::open(means(log.path(), &files), 0, NOW).unwrap();
            files.fail_at(operation, 1, fault);
            for (step, day) in STEPS.into_iter().zip([0, 0, 1, 1, 2, 3]) {
                let now = Time(NOW.0 + day * DAY);
                if keeper.advance(step, now).is_err() {
                    // Midnight passes between the two attempts.
                    let later = Time(now.0 + DAY);
                    keeper.advance(step, later).unwrap();
                }
                assert_eq!(keeper.signed(), step, "{fault:?} at {operation}");
            }
            let what = format!("{fault:?} at {operation}");
            assert_good(log.path(), &files, ALL, &what);
            // What was told to be durable is.
            assert_good(log.path(), &files.crash(Crash::Lost), ALL, &what);
            assert_eq!(outcome(&files), outcome(&whole), "{what}");
            if !files.has_failed() {
                break;
            }
        }
    }
}

#[test]
fn a_last_checkpoint_that_cannot_be_written_again_and_again_keeps_no_log_from_opening() {
    let log = unsigned();
    let place = tempfile::tempdir().unwrap();
    let means = || Means {
        files: Arc::new(Directory::new(place.path())),
        ..means(log.path(), &SimulatedDirectory::default())
    };
    let checkpoint = place.path().join("checkpoint");
    let mut keeper = Keeper::open(means(), 0, NOW).unwrap();
    keeper.advance(STEPS[0], NOW).unwrap();
    let last = std::fs::read(&checkpoint).unwrap();
    // Something that no file takes the place of.
    std::fs::remove_file(&checkpoint).unwrap();
    std::fs::create_dir(&checkpoint).unwrap();
    for step in &STEPS[1..4] {
        keeper.advance(*step, NOW).unwrap_err();
    }
    drop(keeper);
    std::fs::remove_dir(&checkpoint).unwrap();
    std::fs::write(&checkpoint, last).unwrap();
    let mut keeper = Keeper::open(means(), ALL, NOW).unwrap();
    keeper.advance(ALL, NOW).unwrap();
    assert_eq!(keeper.signed(), ALL);
}

#[test]
fn a_clock_that_was_set_back_begins_no_new_day() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    let mut keeper = Keeper::open(means(log.path(), &files), 0, NOW).unwrap();
    for (step, time) in [(3, NOW.0 + DAY), (256, NOW.0 - 5 * DAY), (257, 0)] {
        keeper.advance(step, Time(time)).unwrap();
    }
    let days = files.list("checkpoints").unwrap().unwrap();
    assert_eq!(days, ["2023-11-14", "2023-11-15"]);
    assert_good(log.path(), &files, 257, "set back");
}

/// What the start says to a directory that was changed in this way.
fn start(log: &Path, durable: u64, change: impl FnOnce(&SimulatedDirectory)) -> Option<OpenError> {
    let files = SimulatedDirectory::default();
    assert_eq!(keep(log, &files), ALL);
    change(&files);
    let before = files.files();
    let started = Keeper::open(means(log, &files), durable, NOW);
    if started.is_err() {
        assert_eq!(files.files(), before, "a refused start changes nothing");
    }
    started.err()
}

fn flip(files: &SimulatedDirectory, path: &str, at: usize) {
    let byte = files.files()[path][at] ^ 1;
    files.write_at(path, at as u64, &[byte]).unwrap();
}

#[test]
fn what_no_crash_explains_keeps_the_log_from_opening() {
    let log = unsigned();
    let start = |change: &dyn Fn(&SimulatedDirectory)| start(log.path(), ALL, change);
    let last = "checkpoints/2023-11-17";
    assert!(start(&|_| ()).is_none());
    // Tiles of the right edge.
    for tile in ["tile/0/002.p/188", "tile/1/000.p/2"] {
        let changed = start(&|files| flip(files, tile, 7));
        assert!(
            matches!(changed, Some(OpenError::Root { size: ALL })),
            "{changed:?}"
        );
        let gone = start(&|files| files.remove(tile).unwrap());
        assert!(matches!(gone, Some(OpenError::Tile { .. })), "{gone:?}");
        let cut = start(&|files| files.cut(tile, 31).unwrap());
        assert!(matches!(cut, Some(OpenError::Tile { .. })), "{cut:?}");
    }
    // The last checkpoint, and the history it stands in.
    for at in 0..100 {
        let changed = start(&|files| flip(files, "checkpoint", at));
        assert!(
            matches!(changed, Some(OpenError::History { .. })),
            "{at}: {changed:?}"
        );
        let changed = start(&|files| flip(files, last, at));
        assert!(
            matches!(
                changed,
                Some(
                    OpenError::History { .. }
                        | OpenError::Checkpoint { .. }
                        | OpenError::OtherKey { .. }
                )
            ),
            "{at}: {changed:?}"
        );
    }
    let cut = start(&|files| files.remove(last).unwrap());
    assert!(matches!(cut, Some(OpenError::History { .. })), "{cut:?}");
    let gone = start(&|files| {
        for day in files.list("checkpoints").unwrap().unwrap() {
            files.remove(&format!("checkpoints/{day}")).unwrap();
        }
    });
    assert!(matches!(gone, Some(OpenError::History { .. })), "{gone:?}");
    let added = start(&|files| {
        let end = files.files()[last].len() as u64;
        files.write_at(last, end, &vec![b'x'; 20_000]).unwrap();
    });
    assert!(
        matches!(added, Some(OpenError::History { .. })),
        "{added:?}"
    );
    let stranger = start(&|files| files.write_at("checkpoints/notes", 0, b"").unwrap());
    assert!(
        matches!(stranger, Some(OpenError::Stranger { .. })),
        "{stranger:?}"
    );
}

#[test]
fn whole_notes_behind_a_damaged_one_are_evidence_and_never_cut() {
    let log = unsigned();
    let first = "checkpoints/2023-11-14";
    // The notes that other days hold, behind the two of this day, as if all had been on one day.
    let gather = |files: &SimulatedDirectory| {
        for day in ["2023-11-15", "2023-11-16", "2023-11-17"] {
            let path = format!("checkpoints/{day}");
            let notes = files.files()[&path].clone();
            let end = files.files()[first].len() as u64;
            files.write_at(first, end, &notes).unwrap();
            files.remove(&path).unwrap();
        }
    };
    let whole = start(log.path(), ALL, gather);
    assert!(whole.is_none(), "{whole:?}");
    let notes = {
        let files = SimulatedDirectory::default();
        keep(log.path(), &files);
        gather(&files);
        String::from_utf8(files.files()[first].clone()).unwrap()
    };
    let boundary = "\n\nexample.com/log\n";
    let behind = notes.match_indices(boundary).map(|(at, _)| at + 2);
    let begins: Vec<usize> = std::iter::once(0).chain(behind).collect();
    for pair in begins.windows(2) {
        for at in (pair[0]..pair[1] - 2).step_by(29) {
            let damaged = start(log.path(), ALL, |files| {
                gather(files);
                files.write_at(first, at as u64, &[0]).unwrap();
                // Not what `checkpoint` says is to save it: that one is put back too.
                files.remove("checkpoint").unwrap();
                if let Some(before) = begins.iter().rposition(|&begin| begin < pair[0]) {
                    let note = &notes[begins[before]..pair[0] - 1];
                    files.write_at("checkpoint", 0, note.as_bytes()).unwrap();
                }
            });
            assert!(
                matches!(damaged, Some(OpenError::History { .. })),
                "{at}: {damaged:?}"
            );
        }
    }
}

#[test]
fn the_end_of_a_long_history_is_found_without_reading_all_of_it() {
    let log = unsigned();
    let last = "checkpoints/2023-11-17";
    let long = start(log.path(), ALL, |files| {
        // Two hundred times the checkpoints of the days before, as a day of many would look.
        let mut notes = Vec::new();
        for _ in 0..200 {
            notes.extend_from_slice(&files.files()["checkpoints/2023-11-16"]);
        }
        notes.extend_from_slice(&files.files()[last]);
        files.write_at(last, 0, &notes).unwrap();
    });
    assert!(long.is_none(), "{long:?}");
}

#[test]
fn a_last_checkpoint_that_is_gone_keeps_the_log_from_opening() {
    let log = unsigned();
    let gone = start(log.path(), ALL, |files| files.remove("checkpoint").unwrap());
    assert!(matches!(gone, Some(OpenError::History { .. })), "{gone:?}");
}

#[test]
fn a_key_that_has_signed_a_log_begins_no_other_one_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let forgotten = Means {
        is_known: true,
        ..means(directory.path(), &SimulatedDirectory::default())
    };
    let refused = Keeper::open(forgotten, 0, NOW).err();
    assert!(matches!(refused, Some(OpenError::Forgotten)), "{refused:?}");
}

#[test]
fn a_log_that_is_shorter_than_its_checkpoint_does_not_open() {
    let log = unsigned();
    let shorter = start(log.path(), ALL - 1, |_| ());
    assert!(
        matches!(shorter, Some(OpenError::Shorter { signed: ALL, entries }) if entries == ALL - 1),
        "{shorter:?}"
    );
}

#[test]
fn a_log_that_says_that_it_is_signed_and_has_no_checkpoint_does_not_open() {
    let log = unsigned();
    let bare = Keeper::open(means(log.path(), &SimulatedDirectory::default()), ALL, NOW);
    assert!(matches!(bare.err(), Some(OpenError::NoCheckpoint)));
}

#[test]
fn entries_that_are_not_those_that_were_signed_keep_the_log_from_opening() {
    let (ours, theirs) = (unsigned(), tempfile::tempdir().unwrap());
    let (log, committer) = Log::open(&options(theirs.path(), None)).unwrap();
    for number in 0..ALL {
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let files = SimulatedDirectory::default();
    assert_eq!(keep(ours.path(), &files), ALL);
    let other = Keeper::open(means(theirs.path(), &files), ALL, NOW);
    assert!(matches!(other.err(), Some(OpenError::Root { size: ALL })));
}

#[test]
fn another_key_does_not_go_on_with_the_log() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    assert_eq!(keep(log.path(), &files), ALL);
    let named = Signer::new("example.com/other".parse().unwrap(), &[1; 32]).unwrap();
    for other in [signer(2), Arc::new(named)] {
        let means = Means {
            signer: other,
            ..means(log.path(), &files)
        };
        let refused = Keeper::open(means, ALL, NOW).err();
        assert!(
            matches!(refused, Some(OpenError::OtherKey { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_tile_that_is_there_and_differs_is_never_written_over() {
    let log = unsigned();
    let files = SimulatedDirectory::default();
    let mut keeper = Keeper::open(means(log.path(), &files), 0, NOW).unwrap();
    keeper.advance(3, NOW).unwrap();
    files.make_directory("tile/0/000.p").unwrap();
    files.write_at("tile/0/000", 0, b"evidence").unwrap();
    for _ in 0..2 {
        let refused = keeper.advance(256, NOW);
        assert!(
            matches!(refused, Err(KeepError::Differs { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(keeper.signed(), 3);
    assert_eq!(files.files()["tile/0/000"], b"evidence");
}

#[test]
fn a_log_that_is_long_when_it_is_first_signed_is_signed_from_its_first_entry() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), None)).unwrap();
    for number in 0..ALL {
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let mut entry_bytes = Vec::new();
    encoding::encode(&entry(0), &mut entry_bytes);
    assert_eq!(
        audit::read::entry_at(directory.path(), 0).unwrap(),
        Some(entry_bytes)
    );
    for _ in 0..2 {
        let signing = options(directory.path(), Some(signer(1)));
        let (log, committer) = Log::open(&signing).unwrap();
        assert!(log.status().signed >= ALL);
        committer.close(PATIENCE).unwrap();
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
        let signed = report.signed.unwrap();
        // The one entry more says which key signs; it stands once.
        assert_eq!((signed.entries, signed.self_asserted), (ALL + 1, true));
        assert_eq!(signed.key.as_ref(), Some(signer(1).verifier()));
    }
}

/// Keeps the tree of a log on a directory whose disk fails from some operation on, for each operation and
/// fault in turn; it works again when `then` is called, with how far the log reached.
fn after_each_fault(log: &Path, then: impl Fn(&SimulatedDirectory, u64, &str)) {
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0.. {
            let files = SimulatedDirectory::default();
            files.fail_at(operation, u64::MAX, fault);
            let reached = keep(log, &files);
            if !files.has_failed() {
                assert!(operation > 0, "no operation fails");
                break;
            }
            files.fail_at(u64::MAX, 0, fault);
            then(&files, reached, &format!("{fault:?} at {operation}"));
        }
    }
}

/// How far the tree is signed once the power was lost.
fn signed_after_loss(log: &Path, files: &SimulatedDirectory, reached: u64) -> u64 {
    let lost = files.crash(Crash::Lost);
    let keeper = Keeper::open(means(log, &lost), reached, NOW).unwrap();
    keeper.signed()
}

#[test]
fn what_a_witness_can_be_told_is_on_the_disk_whatever_happens_then() {
    let log = unsigned();
    after_each_fault(log.path(), |files, reached, what| {
        // While it runs, a witness is told what the file `checkpoint` says at any moment.
        let pointed = audit::files::read(files, "checkpoint", 4096).unwrap();
        let pointed = pointed.map_or(0, |note| size(&note));
        let signed = signed_after_loss(log.path(), files, reached);
        assert!(signed >= pointed, "{what}: {pointed}");
        // After a kill, it is told what the history says: then the power is lost too.
        let told = last_note(files).unwrap();
        let told = told.map_or(0, |note| size(note.as_bytes()));
        assert!(told >= pointed, "{what}");
        let signed = signed_after_loss(log.path(), files, reached);
        assert!(signed >= told, "{what}: {told}");
    });
}

#[test]
fn what_a_killed_process_left_is_on_the_disk_after_the_next_start() {
    let log = unsigned();
    after_each_fault(log.path(), |files, reached, what| {
        // What a process wrote that was killed is there for the next one; then the power is lost.
        let taken_up = Keeper::open(means(log.path(), files), reached, NOW).unwrap();
        let signed = signed_after_loss(log.path(), files, reached);
        assert!(
            signed >= taken_up.signed(),
            "{what}: {signed} of {}",
            taken_up.signed()
        );
    });
}

/// How many entries a note is about.
fn size(note: &[u8]) -> u64 {
    let note = String::from_utf8(note.to_vec()).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}
