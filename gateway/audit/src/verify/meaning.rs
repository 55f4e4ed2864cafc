//! Whether the records say what an honest gateway can have done: rules of meaning, a row each.
//!
//! Nothing is opened. The header of a sealed entry tells its kind, its time, which records belong to
//! one request, and whether one of these must stand before it (`seal::sealed`); of a log in the clear
//! the entries say so themselves. A rule that an honest gateway cannot break, whatever becomes of the
//! process, the disk or the client, is a finding; what a crash or a clock can bring about is a note.
//!
//! **What may happen to a request** that is no finding: it ends without a release (the client went
//! away, the log was out), with an intent or without; its release is followed by a refusal, because it
//! was not durable in time; it ends with its release, and nothing says how; it just stops, because the
//! process did.
//!
//! **Memory is bounded**, because somebody else may have made the log: so many requests that were
//! intended, and so many that were released lately, are remembered. A passage or end whose request may
//! be among the forgotten ones is counted in a note, never taken for a finding; a second release is
//! looked for among those that are remembered. A `start` forgets all: no request outlives its process.
//! So does a loss that was accepted (`loss`): the log goes on in another process.
//!
//! Not here: what only a reader's key can tell.

use super::breach::{Breach, Oddity};
use super::report::{Finding, Note, Report};
use super::requests::{Request, Requests, Seen};
use crate::event::{Entry, Event, Time};
use crate::seal::sealed::{Header, Kind, facts, owes};

use By::{Finding as Wrong, Note as Odd};

/// So many intents without an outcome are remembered, and twice as many releases. More intents than the
/// queue has places cannot be open in an honest log.
const REMEMBERED: usize = 1 << 18;

/// A clock may go back so far from one run to the next, nanoseconds (IHE ITI TF-1 7: a second).
const CLOCK: u64 = 1_000_000_000;

struct Rule {
    of: Kind,
    /// What it is broken by.
    by: By,
    /// Where it comes from.
    cites: &'static str,
    judge: fn(&Fact, &Past) -> Judgment,
}

enum By {
    Finding(Breach),
    Note(Oddity),
}

/// Audit controls: what happens is recorded.
const P0: &str = "45 CFR 164.312(b)";
/// No byte of an answer leaves before its record is durable (`gateway::release`).
const P1: &str = "45 CFR 164.312(b): released, then sent";
/// Nothing with an effect is forwarded before its intent is durable (`gateway::admission`).
const P2: &str = "45 CFR 164.312(b): intended, then forwarded";
/// Consistent Time.
const CT: &str = "IHE ITI TF-1 7";

/// Of one record the first breach counts.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { of: Kind::INTENT,     by: Wrong(Breach::Nameless),      cites: P2, judge: |fact, _| fact.request.is_none().into() },
    Rule { of: Kind::RELEASE,    by: Wrong(Breach::Nameless),      cites: P1, judge: |fact, _| fact.request.is_none().into() },
    Rule { of: Kind::PASSAGE,    by: Wrong(Breach::Nameless),      cites: P1, judge: |fact, _| fact.request.is_none().into() },
    Rule { of: Kind::COMPLETION, by: Wrong(Breach::Nameless),      cites: P1, judge: |fact, _| fact.request.is_none().into() },
    Rule { of: Kind::REFUSAL,    by: Wrong(Breach::Nameless),      cites: P0, judge: |fact, _| fact.request.is_none().into() },
    Rule { of: Kind::RELEASE,    by: Wrong(Breach::SecondRelease), cites: P1, judge: |_, past| matches!(past.release, Seen::Open | Seen::Over).into() },
    Rule { of: Kind::RELEASE,    by: Wrong(Breach::Unintended),    cites: P2, judge: |fact, past| asked(past.intent, fact.owes) },
    Rule { of: Kind::PASSAGE,    by: Wrong(Breach::Unreleased),    cites: P1, judge: |_, past| asked(past.release, true) },
    Rule { of: Kind::COMPLETION, by: Wrong(Breach::EndUnreleased), cites: P1, judge: |fact, past| asked(past.release, fact.owes) },

    Rule { of: Kind::START,      by: Odd(Oddity::Died),            cites: P0, judge: |_, past| past.is_running.into() },
    Rule { of: Kind::START,      by: Odd(Oddity::Unanswered),      cites: P2, judge: |_, past| Judgment::times(past.open) },
    Rule { of: Kind::START,      by: Odd(Oddity::ClockBack),       cites: CT, judge: |fact, past| past.is_later_than(fact.time).into() },
    Rule { of: Kind::CLOCK,      by: Odd(Oddity::ClockBack),       cites: CT, judge: |fact, _| fact.step_us.is_some_and(i64::is_negative).into() },
];

/// How a rule judges a record.
enum Judgment {
    Holds,
    Broken {
        times: u64,
    },
    /// What it asks for may have been forgotten.
    Unknown,
}

impl Judgment {
    fn times(times: u64) -> Judgment {
        match times {
            0 => Judgment::Holds,
            times => Judgment::Broken { times },
        }
    }
}

/// Where a record is asked for, it must have been seen, and its request must not be over.
fn asked(seen: Seen, is_asked: bool) -> Judgment {
    match seen {
        _ if !is_asked => Judgment::Holds,
        Seen::Open => Judgment::Holds,
        Seen::Over | Seen::No => Judgment::Broken { times: 1 },
        Seen::Forgotten => Judgment::Unknown,
    }
}

impl From<bool> for Judgment {
    fn from(is_broken: bool) -> Judgment {
        Judgment::times(is_broken.into())
    }
}

/// What the rules know of a record.
#[derive(Debug)]
struct Fact {
    kind: Kind,
    time: Time,
    request: Option<Request>,
    owes: bool,
    /// By how much it says that the clock was set, microseconds.
    step_us: Option<i64>,
}

/// What stands before a record.
struct Past {
    /// The intent of its request.
    intent: Seen,
    /// The release of its request.
    release: Seen,
    /// Intents of this run without an outcome.
    open: u64,
    /// Whether a run began and has not ended.
    is_running: bool,
    /// The latest time of the run before, by the clock as it was last set.
    latest: Option<Time>,
}

impl Past {
    fn is_later_than(&self, Time(now): Time) -> bool {
        self.latest
            .is_some_and(|Time(before)| now.saturating_add(CLOCK) < before)
    }
}

/// The rules at work, along a log.
pub(super) struct Meaning {
    requests: Requests,
    is_running: bool,
    latest: Option<Time>,
    noted: Vec<Noted>,
    unjudged: Option<(u64, u64)>,
}

struct Noted {
    oddity: Oddity,
    first: u64,
    times: u64,
    cites: &'static str,
}

impl Meaning {
    pub(super) fn new() -> Meaning {
        Meaning::remembering(REMEMBERED)
    }

    fn remembering(limit: usize) -> Meaning {
        Meaning {
            requests: Requests::new(limit),
            is_running: false,
            latest: None,
            noted: Vec::new(),
            unjudged: None,
        }
    }

    /// Judges a sealed entry, the next of the log, by what stands in the clear.
    pub(super) fn sealed(&mut self, sequence: u64, header: &Header, report: &mut Report) {
        let request = header.join.map(|join| {
            let mut request = [0; 16];
            request[..8].copy_from_slice(&join);
            request
        });
        let fact = Fact {
            kind: header.kind,
            time: header.time,
            request,
            owes: header.owes,
            // Stands in the clear.
            step_us: None,
        };
        self.judge(sequence, &fact, report);
    }

    /// Judges an entry in the clear, the next of the log; `bytes` are its own.
    pub(super) fn clear(
        &mut self,
        sequence: u64,
        bytes: &[u8],
        entry: &Entry<'_>,
        report: &mut Report,
    ) {
        let Some((time, kind)) = facts(bytes) else {
            // It was read as an entry, so it begins like one.
            return;
        };
        let fact = Fact {
            kind,
            time,
            request: entry.event.request().map(|it| *it.request_id.bytes()),
            owes: owes(&entry.event),
            step_us: match &entry.event {
                Event::Clock(it) => it.step_us,
                _ => None,
            },
        };
        self.judge(sequence, &fact, report);
    }

    /// Tells what is no finding.
    pub(super) fn end(self, report: &mut Report) {
        for noted in self.noted {
            report.notes.push(Note::Odd {
                oddity: noted.oddity,
                first: noted.first,
                times: noted.times,
                cites: noted.cites,
            });
        }
        if let Some((first, records)) = self.unjudged {
            report.notes.push(Note::Unjudged { first, records });
        }
    }

    fn judge(&mut self, sequence: u64, fact: &Fact, report: &mut Report) {
        let past = self.past(fact);
        for rule in RULES.iter().filter(|rule| rule.of == fact.kind) {
            match ((rule.judge)(fact, &past), &rule.by) {
                (Judgment::Holds, _) => {}
                (Judgment::Broken { .. }, By::Finding(breach)) => {
                    report.find(Finding::Meaning {
                        sequence,
                        breach: *breach,
                        cites: rule.cites,
                    });
                    break;
                }
                (Judgment::Broken { times }, By::Note(oddity)) => {
                    self.note(*oddity, sequence, times, rule.cites);
                }
                (Judgment::Unknown, _) => self.unjudged.get_or_insert((sequence, 0)).1 += 1,
            }
        }
        self.take(fact);
    }

    fn past(&self, fact: &Fact) -> Past {
        let (intent, release) = match &fact.request {
            Some(request) => (
                self.requests.intent(request),
                self.requests.release(request),
            ),
            None => (Seen::No, Seen::No),
        };
        Past {
            intent,
            release,
            open: self.requests.open(),
            is_running: self.is_running,
            latest: self.latest,
        }
    }

    /// Remembers a record for those behind it.
    fn take(&mut self, fact: &Fact) {
        // Where the clock was set, that is told: what follows is judged by the time from there on.
        let is_anew = fact.kind == Kind::START || fact.step_us.is_some();
        if is_anew || self.is_running {
            let before = self.latest.filter(|_| !is_anew);
            self.latest = before.max(Some(fact.time));
        }
        match fact.kind {
            Kind::START | Kind::STOP => {
                self.is_running = fact.kind == Kind::START;
                if self.is_running {
                    self.requests.clear();
                }
            }
            // What ended the run before may be among what was lost, and so may be what it left open.
            Kind::DISCONTINUITY => {
                self.is_running = false;
                self.requests.clear();
            }
            _ => {}
        }
        let Some(request) = fact.request else {
            return;
        };
        match fact.kind {
            Kind::INTENT => self.requests.intended(request),
            Kind::RELEASE => self.requests.released(request),
            Kind::PASSAGE => self.requests.touch(&request),
            Kind::COMPLETION => self.requests.ended(&request),
            Kind::REFUSAL => self.requests.answered(&request),
            _ => {}
        }
    }

    fn note(&mut self, oddity: Oddity, first: u64, times: u64, cites: &'static str) {
        match self.noted.iter_mut().find(|noted| noted.oddity == oddity) {
            Some(noted) => noted.times += times,
            None => self.noted.push(Noted {
                oddity,
                first,
                times,
                cites,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
