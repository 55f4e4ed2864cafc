//! A log that has lost something goes on only when an operator accepts the loss, and then says for
//! ever what was lost, and by whose hand.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use audit::error::OpenError;
use audit::event::{Discontinuity, Entry, Event, Time};
use audit::log::Log;
use audit::loss::{Acceptance, Loss, LossError, accept, assess};
use audit::prove;
use audit::verify::{Asked, Finding, Note, Report, Verdict, verify_watched};

use crate::checkpoints::signer;
use crate::signed::{PATIENCE, files, options};
use crate::{entry, numbers};

const ACCEPTANCE: Acceptance<'_> = Acceptance {
    reason: "disk replaced, ticket 4711",
    uid: 1000,
    login_uid: Some(1001),
    now: Time(1_700_000_100_000_000_000),
};

/// Adds entries in one run, each in a batch of its own.
fn run(directory: &Path, count: u64) {
    let (log, committer) = Log::open(&options(directory, Some(signer(1)))).unwrap();
    for number in 0..count {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

/// A signed log of three runs, so of three segments.
fn make() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for count in [3, 4, 20] {
        run(directory.path(), count);
    }
    directory
}

fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join("wal").join(format!("{number:016}.seg"))
}

/// The number of the last segment.
fn last(directory: &Path) -> u64 {
    (1..1000)
        .find(|number| !segment(directory, *number + 1).exists())
        .unwrap()
}

fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn judge(directory: &Path) -> Report {
    let key = signer(1);
    let asked = Asked {
        key: Some(key.verifier()),
        strict: true,
        ..Asked::default()
    };
    verify_watched(directory, &asked, &mut |_, _| ()).unwrap()
}

fn signed(directory: &Path) -> u64 {
    judge(directory).signed.unwrap().entries
}

fn start(directory: &Path) -> Result<(), OpenError> {
    let (_, committer) = Log::open(&options(directory, Some(signer(1))))?;
    committer.close(PATIENCE).unwrap();
    Ok(())
}

fn lose(directory: &Path) -> Option<Loss> {
    accept(directory, Some(signer(1).verifier()), &ACCEPTANCE).unwrap()
}

/// The log is refused, its loss is accepted, and then it goes on and verifies.
#[track_caller]
fn assert_goes_on(directory: &Path, before: u64) -> Loss {
    assert!(start(directory).is_err(), "a loss does not pass by itself");
    let all = files(directory).len();
    let assessed = assess(directory, Some(signer(1).verifier())).unwrap();
    assert_eq!(files(directory).len(), all, "to look changes nothing");
    let loss = lose(directory).expect("something is lost");
    assert_eq!(assessed, Some(loss.clone()));
    assert!(loss.to >= before, "what was signed is not used again");
    run(directory, 2);
    let report = judge(directory);
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!(report.lost, loss.to - loss.from);
    assert_eq!(report.unsigned(), 0);
    let told = report.notes.iter().any(|note| {
        matches!(note, Note::Lost { from, to, uid: 1000, reason, .. }
            if (*from, *to) == (loss.from, loss.to) && reason == ACCEPTANCE.reason)
    });
    assert!(told, "{:?}", report.notes);
    // Whoever kept the last checkpoint sees a log that only grew.
    prove::grown(directory, before, None).unwrap();
    loss
}

#[test]
fn a_log_that_was_cut_goes_on_and_its_signed_tree_with_it() {
    let directory = make();
    let directory = directory.path();
    let before = signed(directory);
    let cut_at = segment(directory, 3);
    cut(&cut_at, 4096 * 6);
    assert!(matches!(start(directory), Err(OpenError::Shorter { .. })));
    let loss = assert_goes_on(directory, before);
    assert!(loss.from < before && loss.to == before);
    assert_eq!(loss.damage, []);
    // What is left can be proved; what is lost cannot, and is no error of the log.
    for entry in [0, loss.from - 1, loss.to, loss.to + 1] {
        prove::included(directory, entry).unwrap();
    }
    for entry in loss.from..loss.to {
        assert!(matches!(
            prove::included(directory, entry),
            Err(prove::ProveError::Entry { .. })
        ));
    }
    let said = audit::read::entry_at(directory, loss.to).unwrap().unwrap();
    let Event::Discontinuity(said) = audit::entry::decode(&said).unwrap().event else {
        panic!("the first entry behind a loss tells of it");
    };
    assert_eq!((said.from, said.to), (loss.from, loss.to));
    assert_eq!((said.uid, said.login_uid), (1000, Some(1001)));
}

#[test]
fn damage_anywhere_in_the_last_segment_is_set_aside_and_stays_evidence() {
    // Each batch of the last segment, its first block; and the header of the segment.
    for block in [0, 1, 2, 7, 20] {
        let directory = make();
        let directory = directory.path();
        let before = signed(directory);
        overwrite(&segment(directory, 3), block * 4096 + 90, b"damage");
        let loss = assert_goes_on(directory, before);
        let [damage] = &loss.damage[..] else {
            panic!("{block}: {:?}", loss.damage)
        };
        let (at, path) = if block == 0 {
            (
                0,
                directory.join("wal/0000000000000002-0000000000000003.lost"),
            )
        } else {
            (damage.offset, segment(directory, 3))
        };
        assert_eq!((damage.segment, damage.offset), (3, at), "{block}");
        assert_eq!(at, block * 4096, "{block}");
        // The evidence is looked after.
        overwrite(&path, at + 200, b"another");
        assert_eq!(judge(directory).verdict(), Verdict::Tampered, "{block}");
    }
}

#[test]
fn segments_that_do_not_follow_are_set_aside_whole() {
    for gone in [1, 2] {
        let directory = make();
        let directory = directory.path();
        let before = signed(directory);
        std::fs::remove_file(segment(directory, gone)).unwrap();
        let loss = assert_goes_on(directory, before);
        let stranded: Vec<u64> = loss.damage.iter().map(|damage| damage.segment).collect();
        assert_eq!(stranded, (gone + 1..=3).collect::<Vec<_>>());
        let aside = format!("wal/{:016}-0000000000000003.lost", gone - 1);
        assert!(directory.join(aside).exists());
        assert_eq!(
            lose(directory),
            None,
            "what was accepted is no loss any more"
        );
    }
}

#[test]
fn a_log_whose_segments_are_all_gone_goes_on_behind_what_was_signed() {
    let directory = make();
    let directory = directory.path();
    let before = signed(directory);
    for number in 1..=3 {
        std::fs::remove_file(segment(directory, number)).unwrap();
    }
    let loss = assert_goes_on(directory, before);
    assert_eq!((loss.from, loss.to), (0, before));
}

#[test]
fn entries_that_are_whole_but_not_those_that_were_signed_are_lost_too() {
    let (directory, other) = (make(), tempfile::tempdir().unwrap());
    let directory = directory.path();
    let before = signed(directory);
    // Another end for the same log: the last run again, with other entries.
    for name in ["checkpoint", "LOCK"] {
        std::fs::copy(directory.join(name), other.path().join(name)).unwrap();
    }
    std::fs::create_dir(other.path().join("wal")).unwrap();
    for number in [1, 2] {
        std::fs::copy(segment(directory, number), segment(other.path(), number)).unwrap();
    }
    std::fs::remove_file(other.path().join("checkpoint")).unwrap();
    let (log, committer) = Log::open(&options(other.path(), None)).unwrap();
    for number in 100..120 {
        log.append_blocking(&entry(number), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    std::fs::copy(segment(other.path(), 3), segment(directory, 3)).unwrap();
    assert!(matches!(start(directory), Err(OpenError::Root { .. })));
    let loss = assert_goes_on(directory, before);
    assert_eq!(loss.damage.len(), 1);
    assert!(
        !numbers(directory).contains(&110),
        "what was put there is not read"
    );
}

#[test]
fn a_loss_after_a_loss_is_accepted_like_the_first() {
    let directory = make();
    let directory = directory.path();
    let mut before = signed(directory);
    for round in 1..=3 {
        let number = last(directory);
        cut(&segment(directory, number), 4096 * 2);
        assert!(start(directory).is_err());
        let loss = lose(directory).unwrap();
        assert_eq!(loss.to, before);
        run(directory, 3);
        let report = judge(directory);
        assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
        let told = |note: &&Note| matches!(note, Note::Lost { .. });
        assert_eq!(report.notes.iter().filter(told).count(), round);
        before = signed(directory);
    }
}

#[test]
fn what_is_whole_or_torn_by_a_crash_is_no_loss() {
    let directory = make();
    let directory = directory.path();
    assert_eq!(lose(directory), None);
    // The remains of a write that did not finish, behind the end.
    let path = segment(directory, 3);
    let end = std::fs::metadata(&path).unwrap().len();
    overwrite(&path, end, &[7; 5000]);
    assert_eq!(lose(directory), None);
    start(directory).unwrap();
}

#[test]
fn an_attempt_that_was_ended_by_a_crash_is_finished_by_the_next() {
    let directory = make();
    let directory = directory.path();
    let before = signed(directory);
    std::fs::remove_file(segment(directory, 1)).unwrap();
    // The crash came when one of two had its new name, and the next segment none.
    let aside = directory.join("wal/0000000000000000-0000000000000003.lost");
    std::fs::rename(segment(directory, 3), aside).unwrap();
    std::fs::write(directory.join("wal/spare"), [1; 4096]).unwrap();
    let report = judge(directory);
    assert_ne!(report.verdict(), Verdict::Good);
    let loss = assert_goes_on(directory, before);
    assert_eq!(loss.damage.len(), 2);
}

#[test]
fn an_acceptance_that_did_not_end_keeps_an_unsigned_log_too_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for _ in 0..3 {
        let (log, committer) = Log::open(&options(directory, None)).unwrap();
        log.append_blocking(&entry(1), PATIENCE).unwrap();
        committer.close(PATIENCE).unwrap();
    }
    let aside = directory.join("wal/0000000000000002-0000000000000003.lost");
    std::fs::rename(segment(directory, 3), aside).unwrap();
    let refused = Log::open(&options(directory, None)).err();
    assert!(
        matches!(refused, Some(OpenError::Missing { segment: 3 })),
        "{refused:?}"
    );
    let loss = accept(directory, None, &ACCEPTANCE).unwrap().unwrap();
    assert_eq!(loss.damage.len(), 1);
    Log::open(&options(directory, None)).unwrap();
}

#[test]
fn without_what_was_signed_nothing_goes_on() {
    let directory = make();
    let directory = directory.path();
    cut(&segment(directory, 3), 4096 * 6);
    let tree = |result| matches!(result, Err(LossError::Tree(_)));
    assert!(matches!(assess(directory, None), Err(LossError::NoKey)));
    assert!(tree(assess(directory, Some(signer(2).verifier()))));
    let empty = Acceptance {
        reason: " ",
        ..ACCEPTANCE
    };
    let key = signer(1);
    let refused = accept(directory, Some(key.verifier()), &empty);
    assert!(matches!(refused, Err(LossError::Reason)));
    let tile = files(directory)
        .into_iter()
        .find(|path| path.to_string_lossy().contains("tile/0"))
        .unwrap();
    let bytes = std::fs::read(&tile).unwrap();
    std::fs::remove_file(&tile).unwrap();
    assert!(tree(assess(directory, Some(key.verifier()))));
    std::fs::write(&tile, bytes).unwrap();
    std::fs::remove_file(directory.join("checkpoint")).unwrap();
    assert!(tree(assess(directory, Some(key.verifier()))));
}

#[test]
fn a_log_that_is_served_cannot_be_recovered() {
    let directory = make();
    let (_log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let refused = accept(directory.path(), Some(signer(1).verifier()), &ACCEPTANCE);
    assert!(
        matches!(refused, Err(LossError::Open(OpenError::Locked))),
        "{refused:?}"
    );
    committer.close(PATIENCE).unwrap();
}

#[test]
fn an_entry_in_the_midst_of_a_segment_tells_of_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), Some(signer(1)))).unwrap();
    let told = Entry {
        time: ACCEPTANCE.now,
        event: Event::Discontinuity(Discontinuity {
            from: 0,
            to: 0,
            damage: Vec::new(),
            reason: "pretended",
            uid: 0,
            login_uid: None,
        }),
    };
    for _ in 0..3 {
        log.append_blocking(&told, PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let report = judge(directory.path());
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!(report.notes, [], "nothing was lost");
}

#[test]
fn a_gap_that_no_entry_accounts_for_is_no_part_of_a_log() {
    use audit::frame::{Place, SegmentHeader, encode_batch};
    let directory = make();
    let directory = directory.path();
    cut(&segment(directory, 3), 4096 * 6);
    let loss = lose(directory).unwrap();
    // The segment that goes on, with another entry in the place of the one that tells of the loss.
    let path = segment(directory, 4);
    let block = std::fs::read(&path).unwrap();
    let header = SegmentHeader::decode(&block[..4096]).unwrap();
    let place = Place {
        segment: 4,
        sequence: loss.to,
        previous: header.hash(),
    };
    for silent in [true, false] {
        let (mut leaf, mut batch) = (Vec::new(), Vec::new());
        let mut told =
            audit::entry::decode(audit::frame::split(&block[4096 + 72..]).next().unwrap());
        let mut harmless = entry(1);
        if let Ok(told) = &mut told
            && let Event::Discontinuity(loss) = &mut told.event
        {
            // It tells of fewer than are missing.
            loss.from += 1;
        }
        let entry = if silent {
            &mut harmless
        } else {
            told.as_mut().unwrap()
        };
        audit::entry::encode(entry, &mut leaf);
        let length = u32::try_from(leaf.len()).unwrap().to_le_bytes();
        encode_batch(&place, 1, &[&length[..], &leaf].concat(), &mut batch);
        std::fs::write(&path, [&block[..4096], &batch].concat()).unwrap();
        assert!(start(directory).is_err(), "{silent}");
        let report = judge(directory);
        assert_eq!(report.verdict(), Verdict::Tampered, "{:?}", report.findings);
        let changed = |finding: &Finding| matches!(finding, Finding::Changed { .. });
        assert!(report.findings.iter().any(changed), "{:?}", report.findings);
    }
}
