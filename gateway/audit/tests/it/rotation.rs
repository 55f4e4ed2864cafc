//! The key of a log is rotated: who signs where, who vouches for what, and what nobody can pretend.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use audit::checkpoints::{Keeper, Means};
use audit::error::OpenError;
use audit::event::{Entry, Event, SigningKey, Time};
use audit::keys::Keys;
use audit::log::{Log, Options};
use audit::loss::{Acceptance, accept};
use audit::merkle::checkpoint::Checkpoint;
use audit::merkle::hash::{self, Hash};
use audit::merkle::key::Verifier;
use audit::merkle::note::{Note, Signature};
use audit::merkle::range::{Frontier, Head};
use audit::merkle::rotation::{Chain, Rotation};
use audit::queue::Share;
use audit::verify::{Asked, Finding, InForce, Report, RotationFault, Verdict, verify_watched};

use crate::checkpoints::signer;
use crate::clinic::{audit, text};
use crate::directory::{Crash, Fault, SimulatedDirectory};
use crate::entry;
use crate::signed::{PATIENCE, options};

const NOW: Time = Time(1_700_000_000_000_000_000);

fn key(seed: u8) -> Verifier {
    signer(seed).verifier().clone()
}

/// What the log says that it holds.
fn last_head(log: &Path) -> Head {
    let note = std::fs::read(log.join("checkpoint")).unwrap();
    let note = Note::parse(&note).unwrap();
    Checkpoint::parse(note.text()).unwrap().head()
}

/// The options of a log whose keys led to this one.
fn led(log: &Path, seed: u8, chain: &Chain) -> Options {
    Options {
        rotations: chain.clone(),
        ..options(log, Some(signer(seed)))
    }
}

/// Adds entries in one run.
fn run(options: &Options, count: u64) {
    let (log, committer) = Log::open(options).unwrap();
    for number in 0..count {
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

fn refusal(options: &Options) -> Option<OpenError> {
    Log::open(options).err()
}

fn judge(log: &Path, outside: Option<u8>) -> Report {
    let key = outside.map(key);
    let asked = Asked {
        key: key.as_ref(),
        strict: outside.is_some(),
        ..Asked::default()
    };
    verify_watched(log, &asked, &mut |_, _| ()).unwrap()
}

#[track_caller]
fn assert_good(log: &Path, outside: Option<u8>, signed: u64, what: &str) -> Vec<InForce> {
    let report = judge(log, outside);
    let found = &report.findings;
    assert_eq!(report.verdict(), Verdict::Good, "{what}: {found:?}");
    let report = report.signed.unwrap();
    assert_eq!(report.entries, signed, "{what}");
    report.keys
}

/// The first key signs 301 entries, two others some more. Where each begins.
fn rotated(log: &Path) -> (Chain, Vec<InForce>) {
    let mut chain = Chain::default();
    run(&led(log, 1, &chain), 300);
    let mut begins = vec![InForce {
        key: key(1),
        from: 0,
    }];
    for seed in [2, 3] {
        let behind = last_head(log);
        let rotation = Rotation::sign(&signer(seed - 1), &signer(seed), behind).unwrap();
        chain.push(rotation).unwrap();
        begins.push(InForce {
            key: key(seed),
            from: behind.size,
        });
        run(&led(log, seed, &chain), 20);
        run(&led(log, seed, &chain), 20);
    }
    (chain, begins)
}

#[test]
fn a_log_whose_key_was_rotated_verifies_with_each_of_its_keys_and_no_other() {
    let log = tempfile::tempdir().unwrap();
    let (_, begins) = rotated(log.path());
    for outside in [Some(1), Some(2), Some(3), None] {
        let keys = assert_good(log.path(), outside, 383, "whole");
        assert_eq!(keys, begins, "{outside:?}");
    }
    assert!(judge(log.path(), None).signed.unwrap().self_asserted);
    let report = judge(log.path(), Some(4));
    assert_eq!(report.verdict(), Verdict::Tampered);
    let told = |finding: &Finding| matches!(finding, Finding::OtherKey { .. });
    assert!(report.findings.iter().any(told), "{:?}", report.findings);
    assert_eq!(report.signed.unwrap().entries, 0, "the others sign nothing");
}

#[test]
fn the_entry_that_hands_over_holds_the_rotation_and_stands_once() {
    let log = tempfile::tempdir().unwrap();
    let (chain, begins) = rotated(log.path());
    let mut found = Vec::new();
    for sequence in 0..383 {
        let bytes = audit::read::entry_at(log.path(), sequence)
            .unwrap()
            .unwrap();
        if let Event::SigningKey(named) = audit::entry::decode(&bytes).unwrap().event {
            found.push((
                sequence,
                named.key.to_owned(),
                named.rotation.map(str::to_owned),
            ));
        }
    }
    let notes = [None]
        .into_iter()
        .chain(chain.rotations().iter().map(|r| Some(r.note().to_owned())));
    let expected = begins.iter().zip(notes);
    let expected: Vec<_> = expected
        .map(|(at, note)| (at.from, at.key.to_string(), note))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_key_that_never_signed_is_passed_on_the_way_to_the_next() {
    let log = tempfile::tempdir().unwrap();
    let mut chain = Chain::default();
    run(&led(log.path(), 1, &chain), 10);
    for seed in [2, 3, 4] {
        let rotation = Rotation::sign(&signer(seed - 1), &signer(seed), last_head(log.path()));
        chain.push(rotation.unwrap()).unwrap();
    }
    run(&led(log.path(), 4, &chain), 10);
    for outside in [1, 2, 3, 4] {
        let keys = assert_good(log.path(), Some(outside), 24, "whole");
        let from: Vec<u64> = keys.iter().map(|key| key.from).collect();
        assert_eq!(from, [0, 11, 12, 13]);
    }
}

#[test]
fn a_log_goes_on_with_keys_that_it_led_to_and_not_back_nor_with_any_others() {
    let log = tempfile::tempdir().unwrap();
    run(&led(log.path(), 1, &Chain::default()), 10);
    let mut chain = Chain::default();
    let behind = last_head(log.path());
    chain
        .push(Rotation::sign(&signer(1), &signer(2), behind).unwrap())
        .unwrap();
    // A rotation that somebody else made.
    let mut others = Chain::default();
    others
        .push(Rotation::sign(&signer(3), &signer(2), behind).unwrap())
        .unwrap();
    for refused in [
        led(log.path(), 2, &Chain::default()),
        led(log.path(), 2, &others),
    ] {
        let refused = refusal(&refused);
        assert!(
            matches!(refused, Some(OpenError::OtherKey { .. })),
            "{refused:?}"
        );
    }
    run(&led(log.path(), 2, &chain), 10);
    for back in [
        led(log.path(), 1, &Chain::default()),
        led(log.path(), 3, &chain),
    ] {
        let refused = refusal(&back);
        assert!(
            matches!(refused, Some(OpenError::OtherKey { .. })),
            "{refused:?}"
        );
    }
    assert_good(log.path(), Some(2), 22, "refused starts change nothing");
}

#[test]
fn a_log_that_lost_what_a_rotation_tells_of_does_not_go_on() {
    let log = tempfile::tempdir().unwrap();
    let (chain, _) = rotated(log.path());
    // The log as it was before, with the keys of now.
    let earlier = tempfile::tempdir().unwrap();
    run(&led(earlier.path(), 1, &Chain::default()), 10);
    let refused = refusal(&led(earlier.path(), 3, &chain));
    let told = matches!(
        refused,
        Some(OpenError::Shorter {
            signed: 301,
            entries: 11
        })
    );
    assert!(told, "{refused:?}");
    // As long, and another.
    run(&led(earlier.path(), 1, &Chain::default()), 400);
    let refused = refusal(&led(earlier.path(), 3, &chain));
    assert!(
        matches!(refused, Some(OpenError::Root { size: 301 })),
        "{refused:?}"
    );
    // Nothing at all.
    let empty = tempfile::tempdir().unwrap();
    let refused = refusal(&led(empty.path(), 3, &chain));
    let told = matches!(
        refused,
        Some(OpenError::Shorter {
            signed: 342,
            entries: 0
        })
    );
    assert!(told, "{refused:?}");
}

/// Where the hand-over stands in the log of [`made`], and how far the old key signed before it.
const PLACE: u64 = 300;
const OLD: [u64; 4] = [0, 3, 256, 257];
const ALL: u64 = 400;

/// A log that nobody has signed yet, in which an entry hands over. What it holds is made of the head
/// behind the last entry that the old key signs.
fn made(handover: impl FnOnce(Head) -> (String, String)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (log, committer) = Log::open(&options(directory.path(), None)).unwrap();
    let name = |key: &str, rotation: Option<&str>| {
        let event = Event::SigningKey(SigningKey { key, rotation });
        log.append_blocking(&Entry { time: NOW, event }, PATIENCE)
            .unwrap();
    };
    // Batches end where the steps do.
    let fill = |from: u64, to: u64| {
        for number in from..to - 1 {
            log.append_unwaited(&entry(number), Share::Proven).unwrap();
        }
        log.append_blocking(&entry(to - 1), PATIENCE).unwrap();
    };
    name(&key(1).to_string(), None);
    fill(1, 3);
    fill(3, 256);
    fill(256, 257);
    let mut tree = Frontier::new();
    for sequence in 0..257 {
        let leaf = audit::read::entry_at(directory.path(), sequence).unwrap();
        tree.append(hash::leaf(&leaf.unwrap()));
    }
    fill(257, PLACE);
    let (named, note) = handover(tree.head());
    name(&named, Some(&note));
    fill(PLACE + 1, ALL);
    committer.close(PATIENCE).unwrap();
    directory
}

fn honest(behind: Head) -> Rotation {
    Rotation::sign(&signer(1), &signer(2), behind).unwrap()
}

fn told(rotation: &Rotation) -> (String, String) {
    (rotation.new_key().to_string(), rotation.note().to_owned())
}

fn means(log: &Path, files: &SimulatedDirectory, seed: u8, chain: &Chain) -> Means {
    Means {
        directory: log.to_owned(),
        files: Arc::new(files.clone()),
        signer: signer(seed),
        rotations: chain.clone(),
        is_known: false,
        buffered: false,
    }
}

/// Signs as far as it goes: with the old key, then with the new one, whose entry becomes durable behind
/// its start. How far the log was durable when it ended, and with which key.
fn keep(log: &Path, files: &SimulatedDirectory, chain: &Chain) -> (u64, u8) {
    let Ok(mut keeper) = Keeper::open(means(log, files, 1, &Chain::default()), 0, NOW) else {
        return (0, 1);
    };
    for step in OLD {
        if keeper.advance(step, NOW).is_err() {
            return (step, 1);
        }
    }
    let Ok(mut keeper) = Keeper::open(means(log, files, 2, chain), PLACE, NOW) else {
        return (PLACE, 2);
    };
    assert_eq!(keeper.owed(), chain.rotations());
    for step in [PLACE, PLACE + 1, ALL] {
        if keeper.advance(step, NOW).is_err() {
            return (step, 2);
        }
        let signed = if step == PLACE { 257 } else { step };
        assert_eq!(keeper.signed(), signed, "nothing without the hand-over");
    }
    (ALL, 2)
}

fn joined(log: &Path, files: &SimulatedDirectory) -> tempfile::TempDir {
    let joined = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(log.join("wal"), joined.path().join("wal")).unwrap();
    files.dump(joined.path());
    joined
}

#[test]
fn a_crash_at_any_step_of_the_hand_over_comes_to_the_same_state() {
    let mut chain = Chain::default();
    let log = made(|behind| {
        chain.push(honest(behind)).unwrap();
        told(&honest(behind))
    });
    let whole = SimulatedDirectory::default();
    assert_eq!(keep(log.path(), &whole, &chain), (ALL, 2));
    let seeds = if std::env::var_os("PHIGATE_LONG").is_some() {
        64
    } else {
        2
    };
    let crashes: Vec<Crash> = [Crash::Lost, Crash::Kept]
        .into_iter()
        .chain((0..seeds).map(Crash::Some))
        .collect();
    let mut ended = std::collections::BTreeSet::new();
    for fault in [Fault::Failed, Fault::FailedButDone, Fault::Torn] {
        for operation in 0.. {
            let files = SimulatedDirectory::default();
            files.fail_at(operation, u64::MAX, fault);
            let (durable, seed) = keep(log.path(), &files, &chain);
            if !files.has_failed() {
                break;
            }
            ended.insert((durable, seed));
            for crash in &crashes {
                let what = format!("{fault:?} at {operation}, {crash:?}");
                let crashed = files.crash(*crash);
                if seed == 1 {
                    // The keys are changed behind what the old ones signed.
                    let first = means(log.path(), &crashed, 1, &Chain::default());
                    let mut keeper = Keeper::open(first, durable, NOW)
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    keeper.advance(257, NOW).unwrap();
                }
                let durable = durable.max(PLACE);
                let back = Keeper::open(
                    means(log.path(), &crashed, 1, &Chain::default()),
                    durable,
                    NOW,
                );
                if durable > PLACE {
                    assert!(
                        matches!(back.err(), Some(OpenError::OtherKey { .. })),
                        "{what}: back"
                    );
                }
                let mut keeper = Keeper::open(means(log.path(), &crashed, 2, &chain), durable, NOW)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                let owed = if durable > PLACE {
                    &[][..]
                } else {
                    chain.rotations()
                };
                assert_eq!(keeper.owed(), owed, "{what}");
                keeper.advance(ALL, NOW).unwrap();
                let joined = joined(log.path(), &crashed);
                for outside in [1, 2] {
                    assert_good(joined.path(), Some(outside), ALL, &what);
                }
            }
        }
    }
    let steps = [
        (0, 1),
        (3, 1),
        (256, 1),
        (257, 1),
        (PLACE, 2),
        (PLACE + 1, 2),
        (ALL, 2),
    ];
    assert!(ended.into_iter().eq(steps), "each step failed once");
}

#[test]
fn nothing_is_signed_with_the_new_key_when_another_entry_stands_in_the_place_of_the_hand_over() {
    let mut chain = Chain::default();
    let log = made(|behind| {
        chain.push(honest(behind)).unwrap();
        (key(1).to_string(), String::new())
    });
    let files = SimulatedDirectory::default();
    let mut keeper = Keeper::open(means(log.path(), &files, 1, &Chain::default()), 0, NOW).unwrap();
    keeper.advance(257, NOW).unwrap();
    let mut keeper = Keeper::open(means(log.path(), &files, 2, &chain), PLACE, NOW).unwrap();
    keeper.advance(ALL, NOW).unwrap_err();
    assert_eq!(keeper.signed(), 257);
}

/// The log of [`made`] with checkpoints behind 3, 256, 257, 300, 301 and 400 entries; who signed that of
/// a size is for `by` to say, or that there is none.
fn signed_by(log: &Path, by: impl Fn(u64) -> Option<u8>) -> tempfile::TempDir {
    let files = SimulatedDirectory::default();
    // A keeper that never saw an entry hand over.
    let mut keeper = Keeper::open(means(log, &files, 1, &Chain::default()), 0, NOW).unwrap();
    for step in OLD.into_iter().chain([PLACE, PLACE + 1, ALL]) {
        keeper.advance(step, NOW).unwrap();
    }
    let forged = joined(log, &files);
    let day = forged.path().join("checkpoints/2023-11-14");
    let history = std::fs::read_to_string(&day).unwrap();
    let mut notes = Vec::new();
    for record in history
        .split_inclusive("=\n\n")
        .filter(|record| !record.trim().is_empty())
    {
        notes.push(record.to_owned());
    }
    // Each is two parts: what is signed, and who signed.
    let mut again = String::new();
    let mut last = String::new();
    for note in notes.chunks(2) {
        let [text, _] = note else { panic!("{note:?}") };
        let text = text.strip_suffix('\n').unwrap();
        let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
        if let Some(seed) = by(size) {
            let signature = Signature::new(text, &signer(seed));
            last = Note::new(text.to_owned(), signature).unwrap().to_string();
            again.push_str(&last);
            again.push('\n');
        }
    }
    std::fs::write(&day, again).unwrap();
    std::fs::write(forged.path().join("checkpoint"), last).unwrap();
    forged
}

#[test]
fn a_checkpoint_that_the_wrong_one_of_both_keys_signed_is_found() {
    let log = made(|behind| told(&honest(behind)));
    let judged = |outside, by: &dyn Fn(u64) -> Option<u8>| {
        judge(signed_by(log.path(), by).path(), Some(outside))
    };
    let honest = |size| Some(if size <= PLACE { 1 } else { 2 });
    for outside in [1, 2] {
        let report = judged(outside, &honest);
        assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
        for wrong in [3, 256, 257, PLACE, PLACE + 1, ALL] {
            let one_wrong =
                |size| honest(size).map(|seed| if size == wrong { 3 - seed } else { seed });
            let report = judged(outside, &one_wrong);
            assert_eq!(report.verdict(), Verdict::Tampered, "{outside}: {wrong}");
        }
        // Who holds only one of them signs all.
        for seed in [1, 2] {
            let report = judged(outside, &|_| Some(seed));
            assert_eq!(
                report.verdict(),
                Verdict::Tampered,
                "{outside}: all by {seed}"
            );
        }
    }
}

#[test]
fn a_log_that_the_new_key_never_signed_is_not_its_own_although_a_rotation_is_there() {
    let log = made(|behind| told(&honest(behind)));
    let old_alone = signed_by(log.path(), |size| (size <= PLACE).then_some(1));
    let report = judge(old_alone.path(), Some(2));
    assert_eq!(report.verdict(), Verdict::Tampered);
    let told = |finding: &Finding| matches!(finding, Finding::OtherKey { .. });
    assert!(report.findings.iter().any(told), "{:?}", report.findings);
    // What a thief of the old key can do: whoever knows no later one believes it. Witnesses do not.
    let asked = Asked {
        key: Some(&key(1)),
        ..Asked::default()
    };
    let report = verify_watched(old_alone.path(), &asked, &mut |_, _| ()).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
}

#[test]
fn a_rotation_that_lacks_a_signature_or_stands_elsewhere_is_found() {
    let signed = |text: &str, seeds: &[u8]| {
        let mut note = Note::new(text.to_owned(), Signature::new(text, &signer(seeds[0]))).unwrap();
        for seed in &seeds[1..] {
            note.add(Signature::new(text, &signer(*seed))).unwrap();
        }
        note.to_string()
    };
    let text_of = |rotation: &Rotation| {
        Note::parse(rotation.note().as_bytes())
            .unwrap()
            .text()
            .to_owned()
    };
    let rotation = |old, new, behind| Rotation::sign(&signer(old), &signer(new), behind).unwrap();
    type Case<'a> = (
        &'a str,
        Box<dyn Fn(Head) -> (String, String) + 'a>,
        fn(&RotationFault) -> bool,
    );
    let two = key(2).to_string();
    let wrong = |fault: &RotationFault| matches!(fault, RotationFault::Wrong(_));
    let behind = |fault: &RotationFault| matches!(fault, RotationFault::Behind { .. });
    let cases: [Case<'_>; 8] = [
        (
            "without the old key",
            Box::new(|head| (two.clone(), signed(&text_of(&honest(head)), &[2]))),
            wrong,
        ),
        (
            "without the new key",
            Box::new(|head| (two.clone(), signed(&text_of(&honest(head)), &[1]))),
            wrong,
        ),
        (
            "another's signature",
            Box::new(|head| (two.clone(), signed(&text_of(&honest(head)), &[3, 2]))),
            wrong,
        ),
        ("nothing", Box::new(|_| (two.clone(), String::new())), wrong),
        (
            "another key named",
            Box::new(|head| (key(3).to_string(), honest(head).note().to_owned())),
            |fault| *fault == RotationFault::Named,
        ),
        (
            "from another key",
            Box::new(|head| told(&rotation(3, 2, head))),
            |fault| *fault == RotationFault::Elsewhere,
        ),
        (
            "behind other entries",
            Box::new(|head| {
                told(&honest(Head {
                    root: Hash::new([9; 32]),
                    ..head
                }))
            }),
            behind,
        ),
        (
            "behind later entries",
            Box::new(|head| {
                told(&honest(Head {
                    size: PLACE + 1,
                    ..head
                }))
            }),
            behind,
        ),
    ];
    for (what, handover, expected) in cases {
        let log = made(handover);
        let forged = signed_by(log.path(), |size| Some(if size <= PLACE { 1 } else { 2 }));
        for outside in [1, 2] {
            let report = judge(forged.path(), Some(outside));
            assert_eq!(report.verdict(), Verdict::Tampered, "{what}");
            let told = |finding: &Finding| matches!(finding, Finding::Rotation { sequence: PLACE, fault } if expected(fault));
            assert!(
                report.findings.iter().any(told),
                "{what}: {:?}",
                report.findings
            );
        }
    }
}

#[test]
fn a_rotated_log_that_was_cut_is_cut_for_who_has_the_last_key_and_good_for_nobody() {
    let log = tempfile::tempdir().unwrap();
    rotated(log.path());
    let segments = std::fs::read_dir(log.path().join("wal")).unwrap();
    let mut segments: Vec<_> = segments.map(|segment| segment.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    segments.sort();
    // Those of the last key are gone but for the name of the first.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&segments[3])
        .unwrap();
    file.set_len(4096).unwrap();
    std::fs::remove_file(&segments[4]).unwrap();
    let report = judge(log.path(), Some(3));
    assert_eq!(
        report.verdict(),
        Verdict::Truncated,
        "{:?}",
        report.findings
    );
    for outside in [1, 2] {
        let report = judge(log.path(), Some(outside));
        assert_ne!(report.verdict(), Verdict::Good);
        let told = |finding: &Finding| matches!(finding, Finding::Shorter { .. });
        assert!(report.findings.iter().any(told), "{:?}", report.findings);
    }
}

#[test]
fn a_rotation_that_was_lost_is_passed_for_who_has_the_key_that_it_led_to_and_for_nobody_else() {
    let log = tempfile::tempdir().unwrap();
    let (chain, _) = rotated(log.path());
    let segment = |number: u64| log.path().join(format!("wal/{number:016}.seg"));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment(4))
        .unwrap();
    file.set_len(4096).unwrap();
    std::fs::remove_file(segment(5)).unwrap();
    let acceptance = Acceptance {
        reason: "the disk was replaced",
        uid: 1000,
        login_uid: None,
        now: NOW,
    };
    accept(log.path(), Some(&key(3)), &acceptance).unwrap();
    run(&led(log.path(), 3, &chain), 10);
    let report = judge(log.path(), Some(3));
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    for outside in [1, 2] {
        let report = judge(log.path(), Some(outside));
        assert_eq!(report.verdict(), Verdict::Tampered, "{:?}", report.findings);
    }
}

#[test]
fn a_loss_behind_a_rotation_is_accepted_with_any_key_that_led_there() {
    for outside in [1, 2, 3] {
        let log = tempfile::tempdir().unwrap();
        let (chain, _) = rotated(log.path());
        let before = last_head(log.path()).size;
        let last = log.path().join("wal/0000000000000005.seg");
        std::fs::remove_file(last).unwrap();
        let acceptance = Acceptance {
            reason: "the disk was replaced",
            uid: 1000,
            login_uid: None,
            now: NOW,
        };
        let loss = accept(log.path(), Some(&key(outside)), &acceptance).unwrap();
        assert_eq!(loss.unwrap().to, before);
        run(&led(log.path(), 3, &chain), 10);
        assert_good(log.path(), Some(outside), last_head(log.path()).size, "");
    }
}

/// A log with keys of `audit keygen`, run once with them; then rotated into `next`.
fn by_hand() -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let made = audit(&["keygen", "--name", "example.com/log", "--out", &path("")]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    run_with(place.path(), "audit.keys", 20);
    let first = Keys::parse(&std::fs::read(path("audit.keys")).unwrap()).unwrap();
    std::fs::write(path("log.vkey"), first.signer.verifier().to_string()).unwrap();
    std::fs::create_dir(path("next")).unwrap();
    let made = audit(&[
        "rotate",
        &path("audit"),
        "--keys",
        &path("audit.keys"),
        "--out",
        &path("next"),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let printed = text(&made.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[..2],
        [path("next/log.rotations"), path("next/audit.keys")]
    );
    (place, lines[2].to_owned())
}

fn run_with(place: &Path, keys: &str, count: u64) {
    let keys = Keys::parse(&std::fs::read(place.join(keys)).unwrap()).unwrap();
    let options = Options {
        rotations: keys.rotations,
        ..options(&place.join("audit"), Some(Arc::new(keys.signer)))
    };
    run(&options, count);
}

#[test]
fn keys_that_were_rotated_by_the_program_are_gone_on_with_and_named_by_verify() {
    let (place, new) = by_hand();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().mode() & 0o777;
    assert_eq!(
        (mode("next/audit.keys"), mode("next/log.rotations")),
        (0o600, 0o644)
    );
    // The gateway may go on with the old keys until it is started anew.
    run_with(place.path(), "audit.keys", 5);
    run_with(place.path(), "next/audit.keys", 5);
    let old = std::fs::read_to_string(path("log.vkey")).unwrap();
    let good = audit(&["verify", "--strict", &path("audit")]);
    let said = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!(
            "signed with: {old} from entry 0 on\nsigned with: {new} from entry 26 on\n"
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!("key: {old} from {}", path("log.vkey"))),
        "{said}"
    );
    std::fs::write(path("new.vkey"), &new).unwrap();
    let good = audit(&[
        "verify",
        "--json",
        "--key",
        &path("new.vkey"),
        &path("audit"),
    ]);
    let said: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(said["verdict"], "good");
    assert_eq!(
        said["keys"][1],
        serde_json::json!({ "key": new, "from_entry": 26 })
    );
}

#[test]
fn keys_are_made_and_rotated_with_a_passphrase_and_open_with_no_other() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    for directory in ["clear", "next", "last"] {
        std::fs::create_dir(path(directory)).unwrap();
    }
    std::fs::write(path("pass"), "drawn for this test\n").unwrap();
    std::fs::write(path("other"), "drawn for another one\n").unwrap();
    std::fs::write(path("short"), "short\n").unwrap();
    let keygen = |out: &str, passphrase: &str| {
        let (out, file) = (path(out), path(passphrase));
        let name = ["--name", "example.com/log", "--passphrase-file", &file];
        audit(&[&["keygen", "--out", &out][..], &name].concat())
    };
    for (passphrase, told) in [("short", "12 bytes or more"), ("absent", "cannot read")] {
        let refused = keygen("", passphrase);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
        assert!(!Path::new(&path("audit.keys")).exists());
    }
    assert_eq!(keygen("", "pass").status.code(), Some(0));
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    let pass = read("pass");
    let keys = Keys::open(&read("audit.keys"), Some(&pass)).unwrap();
    run(
        &options(&place.path().join("audit"), Some(Arc::new(keys.signer))),
        5,
    );
    let rotate = |keys: &str, out: &str, passphrase: &[&str]| {
        let (log, keys, out) = (path("audit"), path(keys), path(out));
        let files: Vec<String> = passphrase.iter().map(|name| path(name)).collect();
        let mut arguments = vec!["rotate", &log, "--keys", &keys, "--out", &out];
        for file in &files {
            arguments.extend(["--passphrase-file", file]);
        }
        audit(&arguments)
    };
    for (passphrase, told) in [(&["other"][..], "another one"), (&[], "no passphrase")] {
        let refused = rotate("audit.keys", "next", passphrase);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
    }
    assert_eq!(
        rotate("audit.keys", "next", &["pass"]).status.code(),
        Some(0)
    );
    let next = Keys::open(&read("next/audit.keys"), Some(&pass)).unwrap();
    assert_eq!(next.rotations.rotations().len(), 1);
    let secret = text(&read("next/audit.keys"));
    assert!(!secret.contains("KEY+") && secret.lines().count() == 1);
}

#[test]
fn proofs_are_checked_across_a_rotation_with_the_key_of_before() {
    let (place, new) = by_hand();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).unwrap();
    write("new.vkey", new.as_bytes());
    let old = std::fs::read(path("audit/checkpoint")).unwrap();
    write("old", &old);
    run_with(place.path(), "next/audit.keys", 5);
    let log = path("audit");
    let proof = audit(&["prove", &log, "--entry", "3", "--leaf", &path("leaf")]);
    write("proof", &proof.stdout);
    let grown = audit(&["prove", &log, "--from", "21"]);
    write("grown", &grown.stdout);
    let check = |proof: &str, key: &str, with: [&str; 2], rotations: bool| {
        let (proof, key, rotated) = (path(proof), path(key), path("next/log.rotations"));
        let mut arguments = vec!["check", &proof, "--key", &key];
        let file = path(with[1]);
        arguments.extend([with[0], &file]);
        if rotations {
            arguments.extend(["--rotations", &rotated]);
        }
        audit(&arguments).status.code()
    };
    for (proof, with) in [("proof", ["--leaf", "leaf"]), ("grown", ["--old", "old"])] {
        assert_eq!(check(proof, "log.vkey", with, true), Some(0), "{proof}");
        assert_eq!(check(proof, "new.vkey", with, true), Some(0), "{proof}");
        assert_eq!(check(proof, "log.vkey", with, false), Some(1), "{proof}");
    }
    // A key leads on, and not back: what the old one alone signed is no proof for who has the new one.
    let early = Note::parse(&old).unwrap();
    let text = text(&proof.stdout);
    let head = text.split_once("\n\n").unwrap().0;
    write("early", format!("{head}\n\n{early}").as_bytes());
    assert_eq!(
        check("early", "new.vkey", ["--leaf", "leaf"], true),
        Some(1)
    );
}

#[test]
fn what_cannot_be_rotated_is_told_with_a_hint_and_nothing_is_replaced() {
    let (place, _) = by_hand();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let list = || std::fs::read_dir(path("next")).unwrap().count();
    let next = std::fs::read(path("next/audit.keys")).unwrap();
    std::fs::create_dir(path("other")).unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    audit(&[
        "keygen",
        "--name",
        "example.com/log",
        "--out",
        &path("other"),
    ]);
    for (log, keys, out, told) in [
        ("audit", "audit.keys", "next", "cannot write"),
        ("audit", "audit.keys", "absent", "cannot write"),
        ("audit", "absent", "other", "cannot read"),
        (
            "audit",
            "reader.key",
            "other",
            "cannot be gone on with: line 1",
        ),
        (
            "audit",
            "other/audit.keys",
            "empty",
            "not one of these keys",
        ),
        ("empty", "audit.keys", "empty", "not signed yet"),
    ] {
        let refused = audit(&[
            "rotate",
            &path(log),
            "--keys",
            &path(keys),
            "--out",
            &path(out),
        ]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(told) && said.contains("\nhint: "), "{said}");
        assert_eq!(text(&refused.stdout), "");
    }
    assert_eq!(std::fs::read_dir(path("empty")).unwrap().count(), 0);
    assert_eq!(
        (list(), std::fs::read(path("next/audit.keys")).unwrap()),
        (2, next)
    );
    // Keys upon keys that never sign.
    let mut keys = path("next/audit.keys");
    for number in 1..=4 {
        let out = path(&format!("more{number}"));
        std::fs::create_dir(&out).unwrap();
        let made = audit(&["rotate", &path("audit"), "--keys", &keys, "--out", &out]);
        assert_eq!(made.status.code(), Some(i32::from(number == 4)), "{number}");
        keys = format!("{out}/audit.keys");
    }
    run_with(place.path(), "more3/audit.keys", 3);
    assert_eq!(
        audit(&["verify", "--strict", &path("audit")]).status.code(),
        Some(0)
    );
}
