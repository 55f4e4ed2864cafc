//! What a log says of the clock whose times it bears: in entries when something becomes of it, in each
//! checkpoint, in its figures; and that it says no better than the kernel does.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit::clock::{Clock, Reading, Stamp, State, Unknown};
use audit::event::{Event, Time};
use audit::log::{Committer, Log, Status};
use audit::merkle::checkpoint::Checkpoint;
use audit::merkle::note::Note as SignedNote;
use audit::queue::Share;
use audit::read::{Reader, Step, entries};
use audit::verify::{Note, Oddity, Report, Verdict, verify};

use crate::checkpoints::signer;
use crate::entry;
use crate::signed::{PATIENCE, options, they_verify};

const GOOD: State = State::Synchronized { max_error_us: 1500 };
const LOST: State = State::Unsynchronized {
    max_error_us: 16_000_000,
};
const UNKNOWN: State = State::Unknown(Unknown::Refused);
const HOUR: i64 = 3_600_000_000;

/// A clock that stands still until it is told.
#[derive(Debug)]
struct Simulated(Mutex<Reading>);

impl Simulated {
    fn new(state: State) -> Arc<Simulated> {
        Arc::new(Simulated(Mutex::new(Reading {
            time: Time(1_700_000_000_000_000_000),
            boot: Duration::from_secs(1000),
            slack: Duration::ZERO,
            state,
        })))
    }

    fn becomes(&self, state: State) {
        self.0.lock().unwrap().state = state;
    }

    fn is_set_by(&self, micros: i64) {
        let mut shown = self.0.lock().unwrap();
        shown.time = Time(shown.time.0.checked_add_signed(micros * 1000).unwrap());
    }
}

impl Clock for Simulated {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }
}

/// A log that somebody writes to, with its clock.
struct Running {
    log: Log,
    committer: Committer,
}

impl Running {
    fn open(directory: &Path, clock: &Arc<Simulated>) -> Running {
        let options = options(directory, Some(signer(1)));
        let clock: Arc<dyn Clock> = clock.clone();
        let (log, committer) = Log::open_with_clock(&options, clock).unwrap();
        Running { log, committer }
    }

    /// Waits until the log says this of itself, and all that is in it is signed.
    #[track_caller]
    fn until(&self, says: impl Fn(&Status) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.log.status();
            if says(&status) && status.queued == 0 && status.signed == status.durable {
                return;
            }
            assert!(Instant::now() < until, "{status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn close(self) {
        self.committer.close(PATIENCE).unwrap();
    }
}

/// An entry about the clock, in a line.
fn line(change: &str, state: &str, max_error_us: Option<u64>, step_us: Option<i64>) -> String {
    format!("{change}: {state}, {max_error_us:?}, {step_us:?}")
}

fn said(change: &str, state: State, step_us: Option<i64>) -> String {
    line(change, state.name(), state.max_error_us(), step_us)
}

/// All that the entries of a log say of its clock.
fn all_said(directory: &Path) -> Vec<String> {
    let (mut reader, mut found) = (Reader::new(directory), Vec::new());
    loop {
        match reader.step().unwrap() {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                for (_, bytes) in entries(sequence, &records) {
                    if let Event::Clock(it) = audit::entry::decode(bytes).unwrap().event {
                        assert_eq!(it.reason, (it.state == "unknown").then_some("refused"));
                        found.push(line(it.change, it.state, it.max_error_us, it.step_us));
                    }
                }
            }
            Step::End => return found,
            Step::Fault(fault) => panic!("{fault}"),
        }
    }
}

/// What each checkpoint of the history says of the clock, in order; the same only once.
fn stamped(directory: &Path) -> Vec<Option<(Time, String)>> {
    let mut days: Vec<_> = std::fs::read_dir(directory.join("checkpoints"))
        .unwrap()
        .map(|day| day.unwrap().path())
        .collect();
    days.sort();
    let mut found = Vec::new();
    for day in days {
        let history = std::fs::read_to_string(day).unwrap();
        for note in records(&history) {
            let checkpoint = Checkpoint::parse(note.text()).unwrap();
            let stamp = Stamp::among(checkpoint.extensions()).unwrap();
            found.push(stamp.map(|stamp| (stamp.time, stamp.state.name().to_owned())));
        }
    }
    found.dedup();
    found
}

/// The notes of a history: each is followed by an empty line, and holds one.
fn records(history: &str) -> Vec<SignedNote> {
    let mut notes = Vec::new();
    let (mut note, mut blank) = (String::new(), 0);
    for line in history.split_inclusive('\n') {
        blank += usize::from(line == "\n");
        if blank == 2 {
            notes.push(SignedNote::parse(note.as_bytes()).unwrap());
            (note, blank) = (String::new(), 0);
        } else {
            note.push_str(line);
        }
    }
    assert!(note.is_empty(), "{note}");
    notes
}

fn names(stamped: Vec<Option<(Time, String)>>) -> Vec<String> {
    let mut names: Vec<_> = stamped
        .into_iter()
        .map(|stamp| stamp.map_or("-".to_owned(), |(_, name)| name))
        .collect();
    names.dedup();
    names
}

#[track_caller]
fn good(directory: &Path) -> Report {
    let report = verify(directory).unwrap();
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);
    report
}

#[test]
fn a_clock_that_is_lost_and_comes_back_is_in_entries_checkpoints_and_figures() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Simulated::new(GOOD);
    let running = Running::open(directory.path(), &clock);
    running.until(|status| status.clock == Some(GOOD));
    let entries = running.log.status().durable;
    clock.becomes(LOST);
    running.until(|status| status.clock == Some(LOST) && status.durable == entries + 1);
    clock.becomes(GOOD);
    running.until(|status| status.clock == Some(GOOD) && status.durable == entries + 2);
    assert_eq!(running.log.status().clock_steps, 0);
    running.close();
    let expected = [
        said("begun", GOOD, None),
        said("lost", LOST, None),
        said("back", GOOD, None),
    ];
    assert_eq!(all_said(directory.path()), expected);
    let expected = ["synchronized", "unsynchronized", "synchronized"];
    assert_eq!(names(stamped(directory.path())), expected);
    let report = good(directory.path());
    let clock = report.signed.as_ref().unwrap().clock;
    assert_eq!(clock.unsynchronized, 1);
    assert_eq!(clock.max_error_us, Some(1500));
    assert!(
        matches!(
            report.notes[..],
            [Note::Clock {
                unsynchronized: 1,
                since: None,
                ..
            }]
        ),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_clock_that_is_set_back_or_ahead_is_in_an_entry_with_how_far() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Simulated::new(GOOD);
    let running = Running::open(directory.path(), &clock);
    clock.is_set_by(-HOUR);
    running.until(|status| status.clock_steps == 1);
    clock.is_set_by(2 * HOUR);
    running.until(|status| status.clock_steps == 2);
    // What a service that keeps the time does in between is none.
    clock.is_set_by(300_000);
    clock.becomes(LOST);
    running.until(|status| status.clock == Some(LOST));
    assert_eq!(running.log.status().clock_steps, 2);
    running.close();
    let expected = [
        said("begun", GOOD, None),
        said("stepped", GOOD, Some(-HOUR)),
        said("stepped", GOOD, Some(2 * HOUR)),
        said("lost", LOST, None),
    ];
    assert_eq!(all_said(directory.path()), expected);
    // A checkpoint bears the time that the clock showed as it was signed.
    let times: Vec<_> = stamped(directory.path())
        .into_iter()
        .map(|stamp| stamp.unwrap().0.unix_seconds() - 1_700_000_000)
        .collect();
    assert_eq!(times, [0, -3600, 3600, 3600]);
    let report = good(directory.path());
    let backs: Vec<_> = report
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Odd { oddity, times, .. } => Some((*oddity, *times)),
            _ => None,
        })
        .collect();
    assert_eq!(backs, [(Oddity::ClockBack, 1)]);
}

#[test]
fn a_kernel_that_does_not_say_is_unknown_and_never_synchronized() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::open(directory.path(), &Simulated::new(UNKNOWN));
    running.until(|status| status.clock == Some(UNKNOWN));
    running.close();
    assert_eq!(all_said(directory.path()), [said("begun", UNKNOWN, None)]);
    assert_eq!(names(stamped(directory.path())), ["unknown"]);
    let report = good(directory.path());
    let clock = report.signed.as_ref().unwrap().clock;
    assert!(clock.checkpoints > 0 && clock.unsynchronized == clock.checkpoints);
    assert_eq!(clock.max_error_us, None);
    assert!(
        matches!(report.notes[..], [Note::Clock { since: Some(_), .. }]),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_log_of_before_goes_on_and_its_checkpoints_say_what_they_said() {
    let directory = tempfile::tempdir().unwrap();
    let run = |clock: Option<&Arc<Simulated>>, number| {
        let options = options(directory.path(), Some(signer(1)));
        let (log, committer) = match clock {
            None => Log::open(&options).unwrap(),
            Some(clock) => Log::open_with_clock(&options, Arc::<Simulated>::clone(clock)).unwrap(),
        };
        log.append_unwaited(&entry(number), Share::Proven).unwrap();
        committer.close(PATIENCE).unwrap();
        assert_eq!(log.status().clock.is_some(), clock.is_some());
    };
    run(None, 0);
    let report = good(directory.path());
    assert_eq!(report.signed.unwrap().clock.checkpoints, 0);
    assert_eq!(report.notes, []);
    run(Some(&Simulated::new(GOOD)), 1);
    let report = good(directory.path());
    assert!(report.signed.unwrap().clock.checkpoints > 0);
    assert_eq!(report.notes, []);
    assert_eq!(names(stamped(directory.path())), ["-", "synchronized"]);
    // An older gateway can go on with it, and what it does not say is no good word for the clock.
    run(None, 2);
    let report = good(directory.path());
    assert!(report.signed.unwrap().clock.since.is_some());
    assert!(matches!(report.notes[..], [Note::Clock { .. }]));
    assert_eq!(names(stamped(directory.path())), ["-", "synchronized", "-"]);
}

#[test]
fn what_a_checkpoint_says_of_the_clock_is_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    for state in [GOOD, LOST, UNKNOWN] {
        let running = Running::open(directory.path(), &Simulated::new(state));
        let entries = u64::try_from(all_said(directory.path()).len()).unwrap();
        running.until(|status| status.durable > entries);
        running.close();
        let size = they_verify(directory.path(), signer(1).verifier());
        let report = good(directory.path());
        assert_eq!((report.entries, report.unsigned()), (size, 0));
    }
}

#[test]
fn a_changed_word_on_the_clock_is_found_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::open(directory.path(), &Simulated::new(LOST));
    running.until(|status| status.clock == Some(LOST));
    running.close();
    good(directory.path());
    let day = std::fs::read_dir(directory.path().join("checkpoints"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for path in [directory.path().join("checkpoint"), day] {
        let note = std::fs::read_to_string(&path).unwrap();
        let better = note.replace("unsynchronized", "synchronized");
        assert_ne!(note, better);
        std::fs::write(&path, better).unwrap();
        assert_eq!(
            verify(directory.path()).unwrap().verdict(),
            Verdict::Tampered
        );
        std::fs::write(&path, note).unwrap();
    }
    good(directory.path());
}
