//! What is counted in a run, and when: nothing before the window and nothing after it.
//!
//! Throughput counts what ended within the window. Latency of a closed loop is taken of the same
//! requests; at a fixed rate it is taken of the requests that were *meant to start* within the
//! window, however late they ended, because those that wait longest are the ones that end outside.
//! What this file does not do: it reads no clock of its own and computes no figures.

use crate::fault::Fault;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// After this many faults a run is given up: its figures are worth nothing, and reconnecting
/// without end would be an attack.
pub(crate) const MAX_FAULTS: u64 = 100;

/// Longer latencies are recorded as this.
const LONGEST: Duration = Duration::from_mins(2);

/// The counters of one run, shared by its tasks on one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    begin: Cell<Option<Instant>>,
    end: Cell<Option<Instant>>,
    opened: Cell<u64>,
    in_flight: Cell<u64>,
    requests: Cell<u64>,
    answered: Cell<u64>,
    bytes: Cell<u64>,
    reconnects: Cell<u64>,
    handshakes: Cell<Handshakes>,
    latency: RefCell<Histogram<u64>>,
    start_delay: RefCell<Histogram<u64>>,
    faults: RefCell<Faults>,
    /// Told at every fault and every connection that was opened.
    progress: Notify,
}

/// How TLS handshakes within the window ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handshakes {
    /// With certificates of both sides.
    pub(crate) full: u64,
    /// By a ticket (RFC 8446 2.2).
    pub(crate) resumed: u64,
}

/// What went wrong, in the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// By kind.
    pub(crate) by_kind: BTreeMap<&'static str, u64>,
    /// The first of them in words.
    pub(crate) first: Option<String>,
}

/// What a run has counted.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Requests that ended well within the window.
    pub(crate) requests: u64,
    /// Requests that ended well at any time.
    pub(crate) answered: u64,
    /// Bytes of bodies that passed within the window.
    pub(crate) bytes: u64,
    /// Connections that the server ended in good order and that were opened anew.
    pub(crate) reconnects: u64,
    pub(crate) handshakes: Handshakes,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the intended start to the first byte written, in nanoseconds.
    pub(crate) start_delay: Histogram<u64>,
    pub(crate) faults: Faults,
}

impl Tally {
    /// Nothing counted, and the window not yet begun.
    pub(crate) fn new() -> Self {
        Self {
            begin: Cell::new(None),
            end: Cell::new(None),
            opened: Cell::new(0),
            in_flight: Cell::new(0),
            requests: Cell::new(0),
            answered: Cell::new(0),
            bytes: Cell::new(0),
            reconnects: Cell::new(0),
            handshakes: Cell::new(Handshakes::default()),
            latency: RefCell::new(histogram()),
            start_delay: RefCell::new(histogram()),
            faults: RefCell::new(Faults::default()),
            progress: Notify::new(),
        }
    }

    /// The window begins.
    pub(crate) fn begin(&self, now: Instant) {
        self.begin.set(Some(now));
    }

    /// The window ends, and with it the run: requests under way are finished, none is begun.
    pub(crate) fn end(&self, now: Instant) {
        self.end.set(Some(now));
    }

    /// Whether the run is over, so that no request is begun.
    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some() || self.is_given_up()
    }

    /// Whether the window has begun and not ended.
    pub(crate) fn is_measuring(&self) -> bool {
        self.begin.get().is_some() && self.end.get().is_none()
    }

    /// Whether there were too many faults to go on.
    pub(crate) fn is_given_up(&self) -> bool {
        self.faults.borrow().count() >= MAX_FAULTS
    }

    /// A connection is open and has been used.
    pub(crate) fn opened(&self) {
        self.opened.set(self.opened.get() + 1);
        self.progress.notify_one();
    }

    /// How many connections were opened.
    pub(crate) fn open_count(&self) -> u64 {
        self.opened.get()
    }

    /// Until another connection is open or a fault has happened.
    pub(crate) async fn progress(&self) {
        self.progress.notified().await;
    }

    /// A request is begun.
    pub(crate) fn started(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// Requests that were begun and have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// A request of a closed loop was answered well.
    pub(crate) fn answered(&self, started: Instant, now: Instant) {
        self.settle();
        self.answered.set(self.answered.get() + 1);
        if self.is_measuring() {
            self.requests.set(self.requests.get() + 1);
            record(&self.latency, now - started);
        }
    }

    /// A request that was meant to start at a certain time, and was sent later, was answered well.
    pub(crate) fn answered_at_rate(&self, intended: Instant, sent: Instant, now: Instant) {
        self.settle();
        self.answered.set(self.answered.get() + 1);
        if self.is_measuring() {
            self.requests.set(self.requests.get() + 1);
        }
        if self.is_within(intended) {
            record(&self.latency, now.saturating_duration_since(intended));
            record(&self.start_delay, sent.saturating_duration_since(intended));
        }
    }

    /// A request that was begun failed.
    pub(crate) fn failed(&self, fault: &Fault) {
        self.settle();
        self.fault(fault);
    }

    /// A request that was begun was not processed, and the server said so (RFC 9113 6.8).
    pub(crate) fn withdrawn(&self) {
        self.settle();
    }

    /// Something failed outside a request.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.faults
            .borrow_mut()
            .add(fault.kind(), 1, || fault.to_string());
        self.progress.notify_one();
    }

    /// Requests that nobody waits for any longer.
    pub(crate) fn stalled(&self, requests: u64) {
        if requests > 0 {
            self.faults.borrow_mut().add("stalled", requests, || {
                "requests were still without an answer long after the window".to_owned()
            });
        }
    }

    /// Bytes of a body passed.
    pub(crate) fn passed(&self, bytes: u64) {
        if self.is_measuring() {
            self.bytes.set(self.bytes.get() + bytes);
        }
    }

    /// The server ended a connection in good order.
    pub(crate) fn reconnected(&self) {
        if self.is_measuring() {
            self.reconnects.set(self.reconnects.get() + 1);
        }
    }

    /// A TLS handshake is complete.
    pub(crate) fn handshaken(&self, resumed: bool) {
        if self.is_measuring() {
            let mut handshakes = self.handshakes.get();
            if resumed {
                handshakes.resumed += 1;
            } else {
                handshakes.full += 1;
            }
            self.handshakes.set(handshakes);
        }
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.get(),
            answered: self.answered.get(),
            bytes: self.bytes.get(),
            reconnects: self.reconnects.get(),
            handshakes: self.handshakes.get(),
            latency: self.latency.borrow().clone(),
            start_delay: self.start_delay.borrow().clone(),
            faults: self.faults.borrow().clone(),
        }
    }

    fn settle(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    fn is_within(&self, moment: Instant) -> bool {
        self.begin.get().is_some_and(|begin| begin <= moment)
            && self.end.get().is_none_or(|end| moment < end)
    }
}

impl Faults {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    fn add(&mut self, kind: &'static str, count: u64, words: impl FnOnce() -> String) {
        *self.by_kind.entry(kind).or_default() += count;
        self.first.get_or_insert_with(words);
    }
}

/// Three significant digits from a nanosecond to `LONGEST`.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(nanoseconds(LONGEST), 3)
        .expect("120 s in nanoseconds with three digits is within the histogram's range")
}

fn record(histogram: &RefCell<Histogram<u64>>, time: Duration) {
    histogram.borrow_mut().saturating_record(nanoseconds(time));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_what_ends_within_the_window_counts() {
        let (tally, now) = (Tally::new(), Instant::now());
        tally.started();
        tally.answered(now, now + MS);
        tally.passed(5);
        tally.begin(now);
        tally.started();
        tally.started();
        tally.answered(now, now + 2 * MS);
        tally.passed(7);
        tally.end(now + 3 * MS);
        assert_eq!(tally.in_flight(), 1);
        tally.answered(now, now + 4 * MS);
        tally.passed(9);

        let counts = tally.counts();
        assert_eq!((counts.requests, counts.bytes), (1, 7));
        assert_eq!(counts.answered, 3, "before and after it too");
        assert_eq!(counts.latency.len(), 1);
        assert_eq!(tally.in_flight(), 0);
        assert!(tally.is_over());
    }

    #[test]
    fn at_a_fixed_rate_a_request_that_ends_late_is_not_forgotten() {
        let (tally, now) = (Tally::new(), Instant::now());
        tally.begin(now);
        tally.answered_at_rate(now - MS, now, now + MS); // meant to start before the window
        tally.answered_at_rate(now, now + MS, now + 4 * MS);
        tally.end(now + 10 * MS);
        tally.answered_at_rate(now + 9 * MS, now + 15 * MS, now + 50 * MS);
        tally.answered_at_rate(now + 10 * MS, now + 15 * MS, now + 51 * MS); // after it

        let counts = tally.counts();
        assert_eq!(counts.requests, 2);
        assert_eq!(counts.latency.len(), 2);
        assert!(counts.latency.max() > nanoseconds(40 * MS));
        assert!(counts.start_delay.max() >= nanoseconds(6 * MS));
    }

    #[test]
    fn latency_is_kept_to_three_digits() {
        let (tally, now) = (Tally::new(), Instant::now());
        tally.begin(now);
        for us in 1..=1000 {
            tally.answered(now, now + Duration::from_micros(us));
        }
        let latency = tally.counts().latency;
        for (quantile, expected) in [(0.5, 500_000), (0.99, 990_000), (0.999, 999_000)] {
            let found = latency.value_at_quantile(quantile);
            assert!(
                found.abs_diff(expected) <= expected / 1000,
                "{quantile}: {found}"
            );
        }
    }

    #[test]
    fn a_latency_beyond_the_longest_is_recorded_as_the_longest() {
        let (tally, now) = (Tally::new(), Instant::now());
        tally.begin(now);
        tally.answered(now, now + 10 * LONGEST);
        let latency = tally.counts().latency;
        assert_eq!(latency.len(), 1);
        assert!(latency.max() >= nanoseconds(LONGEST));
    }

    #[test]
    fn too_many_faults_end_the_run() {
        let tally = Tally::new();
        for _ in 1..MAX_FAULTS {
            tally.fault(&Fault::Closed);
        }
        assert!(!tally.is_over());
        tally.fault(&Fault::Interim);
        assert!(tally.is_over());
        let faults = tally.counts().faults;
        assert_eq!(faults.count(), MAX_FAULTS);
        assert_eq!(faults.by_kind["interim"], 1);
        assert_eq!(faults.first, Some(Fault::Closed.to_string()));
    }
}
