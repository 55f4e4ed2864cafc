//! A witness cosigns a log only while it grows, over HTTP as C2SP tlog-witness has it, and forgets
//! nothing when it is killed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use audit::checkpoints::witnessed::Witnessed;
use audit::event::Time;
use audit::files::Directory;
use audit::log::Log;
use audit::merkle::checkpoint::Checkpoint;
use audit::merkle::hash::Hash;
use audit::merkle::key::{Algorithm, Cosigner, Verifier};
use audit::merkle::note::{Note, Signature};
use audit::merkle::range::Head;
use audit::prove;
use audit::queue::Share;
use audit::verify::{Asked, Cosigned, Finding, Report, Verdict, WitnessedFault, verify_watched};
use audit::witness::{Logs, NotCosigned, Refusal, StoreError, Witness, judge, name_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use signed_note::{StandardVerifier, VerifierList};

use crate::checkpoints::signer;
use crate::clinic::audit;
use crate::entry;
use crate::signed::{PATIENCE, copy, options};

/// Adds entries to the log in a directory.
fn grow(directory: &Path, count: u64) {
    grow_by(directory, 0, count);
}

/// Adds these entries.
fn grow_by(directory: &Path, first: u64, count: u64) {
    let (log, committer) = Log::open(&options(directory, Some(signer(1)))).unwrap();
    for number in first..first + count {
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

/// A request that the log in a directory makes of a witness that remembers `old` entries.
fn request(directory: &Path, old: u64) -> String {
    prove::grown(directory, old, None).unwrap().to_string()
}

fn size(directory: &Path) -> u64 {
    let note = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn cosigner() -> Cosigner {
    Cosigner::new("witness.example/w1".parse().unwrap(), &[7; 32]).unwrap()
}

fn logs() -> Logs {
    Logs::parse(signer(1).verifier().to_string().as_bytes()).unwrap()
}

fn open(state: &Path) -> Witness {
    Witness::open(state, logs(), cosigner()).unwrap()
}

const NOW: u64 = 1_700_000_000;

fn ask(witness: &mut Witness, body: &str) -> Result<Signature, Refusal> {
    witness
        .add_checkpoint(body.as_bytes(), NOW)
        .map_err(|error| match error {
            NotCosigned::Refused(refusal) => refusal,
            other => panic!("{other}"),
        })
}

/// A log, and the state of a witness, side by side.
struct Pair {
    place: tempfile::TempDir,
}

impl Pair {
    fn new() -> Pair {
        let place = tempfile::tempdir().unwrap();
        let pair = Pair { place };
        grow(&pair.log(), 5);
        pair
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("log")
    }

    fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }
}

#[test]
fn a_log_that_grows_is_cosigned_each_time_and_remembered_over_a_restart() {
    let pair = Pair::new();
    let mut witness = open(&pair.state());
    let mut old = 0;
    for _ in 0..3 {
        ask(&mut witness, &request(&pair.log(), old)).unwrap();
        old = size(&pair.log());
        // The same again is answered again: an answer may have been lost.
        ask(&mut witness, &request(&pair.log(), old)).unwrap();
        drop(witness);
        witness = open(&pair.state());
        assert_eq!(
            ask(&mut witness, &request(&pair.log(), 0)),
            Err(Refusal::Conflict { size: old })
        );
        grow(&pair.log(), 300);
    }
    let name = name_of(signer(1).verifier().name().as_str());
    let note = witness.latest(&name).unwrap();
    let (log, own) = (
        [signer(1).verifier().clone()],
        [cosigner().verifier().clone()],
    );
    let opened = Checkpoint::open(note.as_bytes(), log[0].name().as_str(), &log, &own).unwrap();
    assert_eq!(opened.checkpoint().head().size, old);
    assert_eq!(opened.cosigned()[0].posix_seconds(), Some(NOW));
    assert_eq!(witness.latest("other"), None);
}

#[test]
fn an_independent_implementation_verifies_the_cosignature() {
    let pair = Pair::new();
    let body = request(&pair.log(), 0);
    let cosignature = ask(&mut open(&pair.state()), &body).unwrap();
    // It knows no cosignatures: what was signed becomes a note of a key of the same bytes.
    let line = cosignature.to_string();
    let bytes = STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
    let (_, signed) = bytes.split_first_chunk::<4>().unwrap();
    let (time, signature) = signed.split_first_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*time), NOW);
    let own = cosigner();
    let plain = Verifier::new(
        own.verifier().name().clone(),
        Algorithm::Ed25519,
        *own.verifier().public(),
    );
    let checkpoint = body.split_once("\n\n").unwrap().1;
    let (text, _) = checkpoint.split_once("\n\n").unwrap();
    let claim = STANDARD.encode([&plain.id().0[..], signature].concat());
    let note = format!(
        "cosignature/v1\ntime {NOW}\n{text}\n\n\u{2014} {} {claim}\n",
        plain.name()
    );
    let theirs = StandardVerifier::new(&plain.to_string()).unwrap();
    let note = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verified = note.verify(&VerifierList::new(vec![Box::new(theirs)]));
    assert_eq!(verified.unwrap().0.len(), 1);
}

#[test]
fn what_is_not_proved_to_have_grown_is_refused_and_changes_nothing() {
    let pair = Pair::new();
    let yesterday = pair.place.path().join("yesterday");
    copy(&pair.log(), &yesterday);
    grow(&pair.log(), 20);
    let mut witness = open(&pair.state());
    ask(&mut witness, &request(&pair.log(), 0)).unwrap();
    let known = size(&pair.log());
    let expected = Refusal::Conflict { size: known };
    // Yesterday's copy, as it is, and grown into another log of the same key.
    assert_eq!(
        ask(&mut witness, &request(&yesterday, 0)),
        Err(expected.clone())
    );
    grow_by(&yesterday, 1000, 21);
    assert!(size(&yesterday) > known);
    assert_eq!(ask(&mut witness, &request(&yesterday, 0)), Err(expected));
    let forked = ask(&mut witness, &request(&yesterday, known)).unwrap_err();
    assert!(matches!(forked, Refusal::Unproved { .. }), "{forked}");
    assert_eq!(forked.status(), 422);
    // The true one goes on.
    grow(&pair.log(), 1);
    ask(&mut witness, &request(&pair.log(), known)).unwrap();
}

#[test]
fn each_refusal_has_its_reason_in_the_order_of_the_specification() {
    let pair = Pair::new();
    let old = size(&pair.log());
    let mut witness = open(&pair.state());
    let first = request(&pair.log(), 0);
    ask(&mut witness, &first).unwrap();
    grow(&pair.log(), 30);
    let good = request(&pair.log(), old);
    let (proof, note) = good.split_once("\n\n").unwrap();
    let hash = Hash::EMPTY;
    let origin = signer(1).verifier().name().as_str().to_owned();
    let signed = |head: Head, seed: u8, origin: &str| {
        let checkpoint = Checkpoint::new(origin, head, &[]).unwrap();
        checkpoint.sign(&signer(seed)).unwrap().to_string()
    };
    let larger = Head {
        size: old + 30,
        root: hash,
    };
    let empty_root = format!("{origin}\n0\n{}\n", Hash::new([1; 32]));
    let empty_root = Note::new(empty_root.clone(), Signature::new(&empty_root, &signer(1)));
    let empty_root = empty_root.unwrap();
    for (body, status) in [
        (String::new(), 400),
        ("old 5".to_owned(), 400),
        (format!("{proof}\n{note}"), 400),
        (good.replace("old ", "old 0"), 400),
        (good.replace("old ", "new "), 400),
        (format!("{proof}\n{}\n\n{note}", "A".repeat(44)), 400),
        (
            format!("{proof}\n{}\n{note}", format!("{hash}\n").repeat(64)),
            400,
        ),
        (good.replace(&origin, "other.example/log"), 404),
        (format!("old 9\n\n{}", signed(larger, 1, "other")), 404),
        // Signed by nobody known, or not at all as it says.
        (format!("old {old}\n\n{}", signed(larger, 2, &origin)), 403),
        (
            good.replace(&format!("\n{}\n", size(&pair.log())), "\n99\n"),
            403,
        ),
        // Larger than the checkpoint's.
        (format!("old {}\n\n{note}", old + 999), 400),
        (format!("old {}\n\n{note}", old - 1), 409),
        (format!("old {}\n\n{note}", old + 1), 409),
        (first.clone(), 409),
        (format!("old 0\n\n{empty_root}"), 422),
        (format!("old {old}\n\n{note}"), 422),
        (format!("{proof}\n{hash}\n\n{note}"), 422),
        (format!("old {old}\n\n{}", signed(larger, 1, &origin)), 422),
        (
            format!(
                "old {old}\n\n{}",
                signed(
                    Head {
                        size: old,
                        root: hash
                    },
                    1,
                    &origin
                )
            ),
            422,
        ),
    ] {
        let refusal = ask(&mut witness, &body).unwrap_err();
        assert_eq!(refusal.status(), status, "{refusal}: {body}");
    }
    // A proof where none belongs, from a witness that remembers nothing.
    let fresh = |body: &str| judge(body.as_bytes(), &logs(), |_| Head::EMPTY);
    let proof = first.replacen("\n\n", &format!("\n{hash}\n\n"), 1);
    assert_eq!(fresh(&proof).unwrap_err().status(), 422);
    // Signatures of others do not matter, and are not kept.
    let theirs = Signature::new("anything\n", &signer(9));
    let more = format!("{first}{theirs}\n");
    let kept = fresh(&more).unwrap().into_note();
    assert_eq!(kept.signatures().len(), 1);
    // Of the refused nothing is remembered.
    ask(&mut witness, &good).unwrap();
}

#[test]
fn a_state_that_is_not_as_it_was_left_or_is_in_use_stops_the_start() {
    let pair = Pair::new();
    let mut witness = open(&pair.state());
    ask(&mut witness, &request(&pair.log(), 0)).unwrap();
    let again = Witness::open(&pair.state(), logs(), cosigner());
    assert!(matches!(again, Err(StoreError::Locked)), "{again:?}");
    drop(witness);
    let file = pair
        .state()
        .join(name_of(signer(1).verifier().name().as_str()));
    let whole = std::fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, changed).unwrap();
        // What is not ours to check is the signature of the log.
        match Witness::open(&pair.state(), logs(), cosigner()) {
            Err(StoreError::Changed { .. }) => {}
            Ok(_) => {
                let behind = whole[at..].iter().filter(|byte| **byte == b'\n');
                assert_eq!(behind.count(), 2, "the byte {at} does not matter");
            }
            Err(error) => panic!("{error}"),
        }
    }
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let cut = Witness::open(&pair.state(), logs(), cosigner());
    assert!(matches!(cut, Err(StoreError::Changed { .. })));
    std::fs::write(&file, &whole).unwrap();
    let other = Cosigner::new("witness.example/w1".parse().unwrap(), &[8; 32]).unwrap();
    let other = Witness::open(&pair.state(), logs(), other);
    assert!(matches!(other, Err(StoreError::Changed { .. })));
    // What a crash left aside is nothing.
    std::fs::write(pair.state().join("aside.new"), "half").unwrap();
    ask(&mut open(&pair.state()), &request(&pair.log(), 0)).unwrap_err();
}

#[test]
fn what_cannot_be_remembered_is_not_cosigned() {
    let pair = Pair::new();
    let mut witness = open(&pair.state());
    // In place of the file that is written aside stands what cannot be written to.
    let aside = pair.state().join("aside.new");
    std::fs::create_dir(&aside).unwrap();
    let body = request(&pair.log(), 0);
    let failed = witness.add_checkpoint(body.as_bytes(), NOW);
    assert!(matches!(failed, Err(NotCosigned::Store(_))), "{failed:?}");
    let name = name_of(signer(1).verifier().name().as_str());
    assert_eq!(witness.latest(&name), None);
    std::fs::remove_dir(&aside).unwrap();
    ask(&mut witness, &body).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_requests_are_refused_and_never_panic(
        bytes: Vec<u8>,
        text in "(old [0-9]{1,3}\n)?([A-Za-z0-9+/]{43}=\n){0,3}\n?[a-z./]{0,9}\n[0-9]{1,3}\n([A-Za-z0-9+/]{43}=\n){0,2}\n?(\u{2014} [a-z]{1,3} [A-Za-z0-9+/]{8}\n){0,3}",
    ) {
        for body in [bytes, text.into_bytes()] {
            prop_assert!(judge(&body, &logs(), |_| Head::EMPTY).is_err());
        }
    }
}

// The evidence beside the log.

/// Cosigns the last checkpoint of the log, and keeps that beside it. The clock goes on by a day.
fn cosign(directory: &Path, witness: &Cosigner, day: u64) -> Note {
    let note = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    let mut note = Note::parse(note.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let seconds = NOW + day * 86_400;
    note.add(checkpoint.cosign(witness, seconds).unwrap())
        .unwrap();
    let files = Directory::new(directory);
    let mut evidence = Witnessed::open(&files, witness.verifier().id()).unwrap();
    let now = Time::from_unix_seconds(seconds.cast_signed());
    evidence.keep(&files, &note, now).unwrap();
    note
}

fn other_witness() -> Cosigner {
    Cosigner::new("witness.example/w2".parse().unwrap(), &[8; 32]).unwrap()
}

/// A log of three runs, each cosigned by one witness, and the second by another one.
fn witnessed() -> Pair {
    let pair = Pair::new();
    for day in 0..3 {
        grow(&pair.log(), 100);
        cosign(&pair.log(), &cosigner(), day);
        if day == 1 {
            cosign(&pair.log(), &other_witness(), day);
        }
    }
    grow(&pair.log(), 7);
    pair
}

fn judged(directory: &Path, witnesses: &[Verifier], cosigned: &[Cosigned]) -> Report {
    let key = signer(1).verifier().clone();
    let asked = Asked {
        key: Some(&key),
        strict: true,
        witnesses,
        cosigned,
    };
    verify_watched(directory, &asked, &mut |_, _| ()).unwrap()
}

fn with_key(directory: &Path) -> Report {
    judged(directory, &[cosigner().verifier().clone()], &[])
}

#[track_caller]
fn assert_found(report: &Report, verdict: Verdict, finding: impl Fn(&Finding) -> bool) {
    assert_eq!(report.verdict(), verdict, "{:?}", report.findings);
    assert!(report.findings.iter().any(finding), "{:?}", report.findings);
}

fn is_witnessed(finding: &Finding, expected: &WitnessedFault) -> bool {
    matches!(finding, Finding::Witnessed { fault, .. } if fault == expected)
}

fn folder(pair: &Pair, witness: &Cosigner) -> PathBuf {
    let id = witness.verifier().id().to_string();
    pair.log().join("witnessed").join(id)
}

#[test]
fn verify_says_who_witnessed_how_much_until_when() {
    let pair = witnessed();
    let report = with_key(&pair.log());
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    let [one, other] = &report.witnessed[..] else {
        panic!("{:?}", report.witnessed);
    };
    let (one, other) = if one.is_verified {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!(one.name.as_deref(), Some("witness.example/w1"));
    assert_eq!((one.entries, one.records, one.is_verified), (306, 3, true));
    let until = Time::from_unix_seconds((NOW + 2 * 86_400).cast_signed());
    assert_eq!(one.until, Some(until));
    assert_eq!(
        (other.entries, other.is_verified, other.until),
        (206, false, None)
    );
    assert_eq!(report.unwitnessed(), report.entries - 306);
    // Without a key nothing is verified, and the whole log is its tail.
    let report = judged(&pair.log(), &[], &[]);
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    assert_eq!(report.unwitnessed(), report.entries);
    let log = pair.log().to_str().unwrap().to_owned();
    let said = String::from_utf8(audit(&["verify", &log]).stdout).unwrap();
    assert!(
        said.contains("witnessed: 306 entries by witness.example/w1+"),
        "{said}"
    );
    assert!(
        said.contains("note: no key of these witnesses was given"),
        "{said}"
    );
    // A key of another witness of this name is not the one that signed here.
    let report = judged(&pair.log(), &[other_witness().verifier().clone()], &[]);
    assert_eq!(report.unwitnessed(), report.entries - 206);
}

#[test]
fn a_log_shorter_than_what_is_cosigned_is_truncated_and_another_one_is_tampered_with() {
    let pair = Pair::new();
    let yesterday = pair.place.path().join("yesterday");
    copy(&pair.log(), &yesterday);
    grow(&pair.log(), 50);
    let note = cosign(&pair.log(), &cosigner(), 0);
    let cosigned = [Cosigned {
        from: "outside".to_owned(),
        note: note.to_string().into_bytes(),
    }];
    let keys = [cosigner().verifier().clone()];
    let report = judged(&pair.log(), &keys, &cosigned);
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    // Yesterday's copy, with what was cosigned since, beside it or from outside.
    assert_eq!(with_key(&yesterday).verdict(), Verdict::Good);
    let beyond = |finding: &Finding| matches!(finding, Finding::Beyond { cosigned, .. } if *cosigned == size(&pair.log()));
    assert_found(
        &judged(&yesterday, &keys, &cosigned),
        Verdict::Truncated,
        beyond,
    );
    copy(&pair.log().join("witnessed"), &yesterday.join("witnessed"));
    assert_found(&with_key(&yesterday), Verdict::Truncated, beyond);
    assert_found(&judged(&yesterday, &[], &[]), Verdict::Truncated, beyond);
    // The same grown into another log.
    grow_by(&yesterday, 1000, 80);
    let root = WitnessedFault::Root {
        size: size(&pair.log()),
    };
    let is_root = |finding: &Finding| is_witnessed(finding, &root);
    assert_found(&judged(&yesterday, &[], &[]), Verdict::Tampered, is_root);
    std::fs::remove_dir_all(yesterday.join("witnessed")).unwrap();
    assert_found(
        &judged(&yesterday, &keys, &cosigned),
        Verdict::Tampered,
        is_root,
    );
    // A log that is gone, or signed by nobody any more.
    let empty = pair.place.path().join("empty");
    std::fs::create_dir_all(empty.join("wal")).unwrap();
    copy(&pair.log().join("witnessed"), &empty.join("witnessed"));
    assert_eq!(with_key(&empty).verdict(), Verdict::Truncated);
}

#[test]
fn a_checkpoint_from_outside_counts_only_with_both_signatures() {
    let pair = witnessed();
    let note = std::fs::read(pair.log().join("checkpoint")).unwrap();
    let keys = [cosigner().verifier().clone()];
    let asked = |note: Vec<u8>, keys: &[Verifier]| {
        let from = "outside".to_owned();
        judged(&pair.log(), keys, &[Cosigned { from, note }])
    };
    let is_outside = |finding: &Finding| matches!(finding, Finding::Outside { .. });
    assert_found(&asked(note, &keys), Verdict::CannotVerify, is_outside);
    assert_found(
        &asked(b"no note".to_vec(), &keys),
        Verdict::CannotVerify,
        is_outside,
    );
    let foreign = Checkpoint::new("example.com/log", Head::EMPTY, &[]).unwrap();
    let mut foreign = foreign.sign(&signer(2)).unwrap();
    let text = Checkpoint::parse(foreign.text()).unwrap();
    foreign.add(text.cosign(&cosigner(), NOW).unwrap()).unwrap();
    let foreign = foreign.to_string().into_bytes();
    assert_found(&asked(foreign, &keys), Verdict::CannotVerify, is_outside);
}

#[test]
fn every_changed_byte_of_the_evidence_is_found_with_the_key_of_its_witness() {
    let pair = witnessed();
    std::fs::remove_dir_all(folder(&pair, &other_witness())).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder(&pair, &cosigner()))
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "one a day");
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        let cosignature = whole.len()
            - 2
            - whole[..whole.len() - 2]
                .iter()
                .rev()
                .position(|byte| *byte == b'\n')
                .unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(file, changed).unwrap();
            assert_ne!(with_key(&pair.log()).verdict(), Verdict::Good, "byte {at}");
            // Without it, all but the cosignature itself.
            let found = judged(&pair.log(), &[], &[]).verdict() != Verdict::Good;
            assert!(found || at >= cosignature, "byte {at} of {cosignature}");
        }
        std::fs::write(file, &whole).unwrap();
    }
    assert_eq!(with_key(&pair.log()).verdict(), Verdict::Good);
    // What does not belong there.
    for stranger in ["witnessed/note", "witnessed/0123456", "witnessed/0123456G"] {
        let path = pair.log().join(stranger);
        std::fs::write(&path, "x").unwrap();
        assert_found(
            &with_key(&pair.log()),
            Verdict::Tampered,
            |finding| matches!(finding, Finding::Stranger { name } if name == stranger),
        );
        std::fs::remove_file(path).unwrap();
    }
    // Records in another order, twice, or under the name of another witness.
    let [first, second, _] = &files[..] else {
        panic!("{files:?}");
    };
    let whole = std::fs::read(first).unwrap();
    let twice = [whole.clone(), whole.clone()].concat();
    std::fs::write(first, twice).unwrap();
    assert_found(&with_key(&pair.log()), Verdict::Tampered, |finding| {
        is_witnessed(finding, &WitnessedFault::Order { size: 106 })
    });
    std::fs::write(first, &whole).unwrap();
    let other = folder(&pair, &other_witness());
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(second, other.join("2023-11-15")).unwrap();
    assert_found(
        &judged(&pair.log(), &[], &[]),
        Verdict::Tampered,
        |finding| is_witnessed(finding, &WitnessedFault::Cosignature),
    );
}

#[test]
fn evidence_that_a_crash_tore_is_mended_at_the_next_start_and_goes_on() {
    let pair = witnessed();
    let files = Directory::new(&pair.log());
    let mut days: Vec<_> = std::fs::read_dir(folder(&pair, &cosigner()))
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    days.sort();
    let last = days.last().unwrap();
    let whole = std::fs::read(last).unwrap();
    for cut in (0..whole.len()).step_by(5) {
        std::fs::write(last, [&whole[..], &whole[..cut]].concat()).unwrap();
        if cut > 0 {
            assert_found(&with_key(&pair.log()), Verdict::Truncated, |finding| {
                is_witnessed(finding, &WitnessedFault::Cut)
            });
        }
        Witnessed::mend(&files).unwrap();
        assert_eq!(std::fs::read(last).unwrap(), whole, "cut at {cut}");
        let evidence = Witnessed::open(&files, cosigner().verifier().id()).unwrap();
        assert_eq!(evidence.size(), Some(306));
    }
    // The same again is not kept twice, and what is larger goes on where it ended.
    let size_before = whole.len();
    cosign(&pair.log(), &cosigner(), 2);
    assert!(std::fs::read(last).unwrap().len() > size_before);
    let size_now = std::fs::read(last).unwrap().len();
    cosign(&pair.log(), &cosigner(), 2);
    assert_eq!(std::fs::read(last).unwrap().len(), size_now);
    // A clock that was set back begins no new day.
    grow(&pair.log(), 1);
    cosign(&pair.log(), &cosigner(), 0);
    assert_eq!(with_key(&pair.log()).verdict(), Verdict::Good);
    // What is torn before the last file is no crash's doing.
    std::fs::write(&days[0], &whole[..20]).unwrap();
    assert_found(&with_key(&pair.log()), Verdict::Tampered, |finding| {
        matches!(finding, Finding::Witnessed { .. })
    });
}

// The server.

/// `audit witness serve`, killed when it is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    key: Verifier,
}

impl Server {
    /// The key and the list of logs lie in `place`; made when they do not.
    fn start(place: &Path) -> Server {
        let path = |name: &str| place.join(name).to_str().unwrap().to_owned();
        if !place.join("witness.key").exists() {
            let made = audit(&[
                "witness",
                "keygen",
                "--name",
                "w.example/1",
                "--out",
                &path(""),
            ]);
            assert!(made.status.success(), "{made:?}");
            std::fs::write(place.join("logs"), format!("{}\n", signer(1).verifier())).unwrap();
        }
        let mut process = Command::new(env!("CARGO_BIN_EXE_audit"))
            .args(["witness", "serve", "--listen", "127.0.0.1:0"])
            .args(["--key", &path("witness.key"), "--logs", &path("logs")])
            .args(["--state", &path("state")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let key = said.next().unwrap().unwrap();
        let address = said.next().unwrap().unwrap();
        Server {
            address: address.rsplit('/').next().unwrap().parse().unwrap(),
            key: key.strip_prefix("key: ").unwrap().parse().unwrap(),
            process,
        }
    }

    /// Sends bytes, and reads to the end.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may answer, and close, before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn post(&self, body: &str) -> (u16, String, String) {
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        split(&self.exchange([head.as_bytes(), body.as_bytes()].concat().as_slice()))
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n");
        split(&self.exchange(request.as_bytes()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Status, content type, content.
fn split(answer: &str) -> (u16, String, String) {
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "))
        .unwrap_or_default();
    (status, kind.to_owned(), content.to_owned())
}

#[test]
fn the_server_answers_as_the_specification_says() {
    let pair = Pair::new();
    let server = Server::start(pair.place.path());
    let name = name_of(signer(1).verifier().name().as_str());
    let checkpoint = format!("/{name}/checkpoint");
    assert_eq!(server.get(&checkpoint).0, 404);
    let first = request(&pair.log(), 0);
    let (status, kind, content) = server.post(&first);
    assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"));
    // One line, which makes the checkpoint a cosigned one.
    let note = first.split_once("\n\n").unwrap().1;
    let cosigned = format!("{note}{content}");
    let log = [signer(1).verifier().clone()];
    let own = [server.key.clone()];
    let origin = log[0].name().as_str();
    let opened = Checkpoint::open(cosigned.as_bytes(), origin, &log, &own).unwrap();
    assert_eq!(opened.cosigned().len(), 1);
    assert_eq!(server.get(&checkpoint), (200, kind, cosigned));
    let known = size(&pair.log());
    grow(&pair.log(), 10);
    let conflict = (409, "text/x.tlog.size".to_owned(), format!("{known}\n"));
    assert_eq!(server.post(&request(&pair.log(), 0)), conflict);
    assert_eq!(server.post(&request(&pair.log(), known)).0, 200);
    assert_eq!(server.post("").0, 400);
    let other = first.replace(origin, "other.example/log");
    assert_eq!(server.post(&other).0, 404);
    let unsigned = first.replacen(&format!("\n{known}\n"), "\n4\n", 1);
    assert_eq!(server.post(&unsigned).0, 403);
    let unproved = format!("old {}\n\n{note}", size(&pair.log()));
    assert_eq!(server.post(&unproved).0, 400);
}

#[test]
fn the_server_bounds_what_it_reads() {
    let pair = Pair::new();
    let server = Server::start(pair.place.path());
    let status = |request: &str| split(&server.exchange(request.as_bytes())).0;
    assert_eq!(server.post(&"x".repeat(300 * 1024)).0, 400);
    assert_eq!(
        status(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nold 5\r\n0\r\n\r\n"
        ),
        400
    );
    assert_eq!(
        status("GET /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"),
        405
    );
    assert_eq!(
        status("DELETE /x/checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"),
        405
    );
    assert_eq!(server.get("/").0, 404);
    assert_eq!(server.get("/../state/LOCK").0, 404);
    assert_eq!(server.get("//etc/passwd/checkpoint").0, 404);
    assert_eq!(status("garbage\r\n\r\n"), 400);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert_eq!(status(&long), 431);
    // After all of that it serves.
    assert_eq!(server.post(&request(&pair.log(), 0)).0, 200);
}

#[test]
fn a_witness_that_was_killed_remembers_what_it_cosigned_and_answers_again() {
    let pair = Pair::new();
    let server = Server::start(pair.place.path());
    assert_eq!(server.post(&request(&pair.log(), 0)).0, 200);
    let known = size(&pair.log());
    drop(server);
    let server = Server::start(pair.place.path());
    assert_eq!(server.post(&request(&pair.log(), 0)).0, 409);
    // Whoever lost the answer asks with what the witness has, and gets another one.
    assert_eq!(server.post(&request(&pair.log(), known)).0, 200);
    // A second one on the same state is refused.
    let path = |name: &str| pair.place.path().join(name).to_str().unwrap().to_owned();
    let second = audit(&[
        "witness",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--key",
        &path("witness.key"),
        "--logs",
        &path("logs"),
        "--state",
        &path("state"),
    ]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another witness has this state"), "{said}");
    assert!(said.contains("hint: one witness a directory"), "{said}");
}

#[test]
fn the_witness_says_what_is_wrong_with_its_files() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let serve = |key: &str, logs: &str| {
        let listen = ["witness", "serve", "--listen", "127.0.0.1:0"];
        let files = ["--key", key, "--logs", logs, "--state"];
        let ran = audit(&[&listen[..], &files, &[&path("state")]].concat());
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let keygen = || {
        audit(&[
            "witness",
            "keygen",
            "--name",
            "w.example/1",
            "--out",
            &path(""),
        ])
    };
    assert!(keygen().status.success());
    let again = keygen();
    assert_eq!(again.status.code(), Some(1));
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(told.contains("hint: whoever knows this witness"), "{told}");
    std::fs::write(path("logs"), "# nothing\n").unwrap();
    for (key, logs, code, told) in [
        ("absent", "logs", 1, "cannot read"),
        ("witness.vkey", "logs", 1, "holds no key of a witness"),
        ("witness.key", "absent", 1, "cannot read"),
        ("witness.key", "logs", 64, "it names no log"),
        ("witness.key", "witness.key", 64, "line 1: "),
    ] {
        let (found, said) = serve(&path(key), &path(logs));
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
        let secret = std::fs::read_to_string(path("witness.key")).unwrap();
        assert!(!said.contains(&secret[40..60]), "{said}");
    }
}
