//! Logs that are whole, signed, and say what no honest gateway can have done.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use audit::event::{
    Code, Completion, Entry, Event, Id, Intent, Passage, Release, Request, Start, Stop, Time,
};
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::seal::reader::{self, Reader, Scope};
use audit::verify::{Breach, Finding, Note, Oddity, Report, Verdict, verify};

use crate::checkpoints::signer;

const PATIENCE: Duration = Duration::from_secs(20);

fn request(number: u8, method: &'static str) -> Request<'static> {
    Request {
        request_id: Id::new([number; 16]),
        connection_id: Id::new([1; 16]),
        client: None,
        user: None,
        method: Some(method),
        route: None,
        rule: None,
        resource: None,
        interaction: None,
        subjects: None,
        target: None,
        integrity: None,
    }
}

fn intent(number: u8) -> Event<'static> {
    Event::Intent(Intent {
        request: request(number, "POST"),
        content_length: None,
    })
}

fn release(number: u8, method: &'static str) -> Event<'static> {
    Event::Release(Release {
        request: request(number, method),
        status: 200,
        content_type: None,
        bytes: None,
        digest: None,
        upstream: "ehr",
        attempts: 1,
    })
}

fn passage(number: u8) -> Event<'static> {
    Event::Passage(Passage {
        request: request(number, "GET"),
        offset: 0,
        bytes: 1,
        sender: None,
    })
}

fn completion(number: u8, status: Option<u16>) -> Event<'static> {
    Event::Completion(Completion {
        request: request(number, "GET"),
        status,
        bytes: 0,
        code: Code::ClientGone,
    })
}

fn start() -> Event<'static> {
    Event::Start(Start {
        program: "gateway",
        version: "1",
        pid: 1,
    })
}

fn stop() -> Event<'static> {
    Event::Stop(Stop { reason: "signal" })
}

/// A signed log with these events, in the clear or sealed.
fn write(directory: &Path, is_sealed: bool, events: Vec<Event<'_>>) {
    let (_, public) = reader::draw(&mut system_random).unwrap();
    let reader = Reader::parse(public.as_bytes(), Scope::Entries).unwrap();
    let options = Options {
        readers: is_sealed.then_some(reader).into_iter().collect(),
        ..crate::signed::options(directory, Some(signer(1)))
    };
    let (log, committer) = Log::open(&options).unwrap();
    for (second, event) in (1_795_000_000..).zip(events) {
        let time = Time(second * 1_000_000_000);
        let entry = Entry { time, event };
        log.append_blocking(&entry, PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
}

fn judged(is_sealed: bool, events: Vec<Event<'_>>) -> (tempfile::TempDir, Report) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), is_sealed, events);
    let report = verify(directory.path()).unwrap();
    (directory, report)
}

#[test]
fn what_no_honest_gateway_leaves_is_tampered_in_the_clear_and_sealed() {
    let cases = [
        (Breach::Unintended, vec![release(1, "POST")]),
        (
            Breach::SecondRelease,
            vec![release(1, "GET"), release(1, "GET")],
        ),
        (Breach::Unreleased, vec![passage(1)]),
        (Breach::EndUnreleased, vec![completion(1, Some(200))]),
    ];
    for is_sealed in [false, true] {
        for (expected, events) in cases.clone() {
            let (directory, report) = judged(is_sealed, events);
            assert_eq!(report.verdict(), Verdict::Tampered, "{expected:?}");
            let is_expected = |finding: &Finding| matches!(finding, Finding::Meaning { breach, .. } if *breach == expected);
            let [finding] = &report.findings[..] else {
                panic!("{:?}", report.findings);
            };
            assert!(is_expected(finding), "{finding}");
            let ran = Command::new(env!("CARGO_BIN_EXE_audit"))
                .arg("verify")
                .arg(directory.path())
                .output()
                .unwrap();
            assert_eq!(ran.status.code(), Some(1));
            let told = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(told.contains(&format!("\nfinding: {finding}\n")), "{told}");
            assert!(told.contains("(45 CFR 164.312(b)"), "{told}");
        }
    }
}

#[test]
fn every_way_in_which_a_request_can_end_is_good() {
    let stories = || {
        vec![
            start(),
            intent(1),
            release(1, "POST"),
            release(2, "GET"),
            passage(2),
            completion(2, Some(200)),
            completion(3, None),
            intent(4),
            completion(4, None),
            // A safe method with an intent, because its route asks for one.
            intent(5),
            release(5, "GET"),
            stop(),
            start(),
            intent(6),
        ]
    };
    for is_sealed in [false, true] {
        let (directory, report) = judged(is_sealed, stories());
        assert_eq!(report.findings, [], "sealed: {is_sealed}");
        assert_eq!(report.notes, []);
        // It was killed there; the next run says so, and so does `verify`.
        write(directory.path(), is_sealed, vec![start(), stop()]);
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.verdict(), Verdict::Good);
        let odd = |note: &Note| match note {
            Note::Odd { oddity, times, .. } => (*oddity, *times),
            other => panic!("{other}"),
        };
        let odd: Vec<_> = report.notes.iter().map(odd).collect();
        let expected = [
            (Oddity::Died, 1),
            (Oddity::Unanswered, 1),
            (Oddity::ClockBack, 1),
        ];
        assert_eq!(odd, expected);
    }
}
