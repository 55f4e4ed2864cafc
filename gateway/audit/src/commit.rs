//! The committer: the one thread that writes the log.
//!
//! It takes all that has gathered in the queue, writes it as one batch or several, publishes how far
//! the log is durable after each, and wakes who waits. Once a second it looks after itself: the live
//! file, free space, a disk that came back, the clock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::clock::{Change, Clock, Told, Watch};
use crate::entry;
use crate::event::{Entry, Event, Interrupted, Time};
use crate::queue::{Queue, Share};
use crate::segments::{Segments, WriteError};
use crate::shared::{Shared, State};

/// What was taken from the queue and is not durable yet.
#[derive(Debug, Default)]
struct Backlog {
    records: Vec<u8>,
    /// How much of it is durable, bytes.
    done: usize,
    /// Sequence number of the first record that is not.
    sequence: u64,
}

/// The committer thread.
pub(crate) struct Commit {
    shared: Arc<Shared>,
    segments: Segments,
    backlog: Backlog,
    /// Whether the log stays in the month that it was opened in.
    is_of_a_month: bool,
    /// Since when the log is unavailable.
    interrupted: Option<Time>,
    clock: Option<Watched>,
    load: Load,
}

/// Whether many entries come, so that a moment's wait makes one batch of several. A write costs the same
/// however much is in it, and more than all else of an entry.
#[derive(Debug)]
struct Load {
    since: Instant,
    entries: usize,
    is_high: bool,
}

impl Load {
    /// How long entries are counted.
    const SPAN: Duration = Duration::from_millis(10);

    /// So many in this time are many: 5,000 a second.
    const MANY: usize = 50;

    fn add(&mut self, entries: usize) {
        self.entries += entries;
        let now = Instant::now();
        if now.duration_since(self.since) >= Self::SPAN {
            self.is_high =
                self.entries >= Self::MANY && now.duration_since(self.since) < 2 * Self::SPAN;
            (self.since, self.entries) = (now, 0);
        }
    }
}

/// A clock, and what is known of it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watch: Watch,
}

impl Commit {
    /// How often the committer looks after itself: the live file, free space, a disk that came
    /// back, the clock.
    const TICK: Duration = Duration::from_secs(1);

    /// What nobody waits for may wait so long for something that is waited for: mostly it is how an answer
    /// ended, and the next answer is not far.
    const LATER: Duration = Duration::from_millis(5);

    /// Under load, entries are gathered for so long at the most.
    const MOMENT: Duration = Duration::from_micros(300);

    /// When none has come for so long, all who could have asked are waiting.
    const PAUSE: Duration = Duration::from_micros(150);

    /// So many are enough for one batch.
    const ENOUGH: usize = 256;

    /// A committer that goes on in these segments.
    pub(crate) fn new(
        shared: Arc<Shared>,
        segments: Segments,
        clock: Option<Watched>,
        is_of_a_month: bool,
    ) -> Commit {
        Commit {
            shared,
            segments,
            backlog: Backlog::default(),
            is_of_a_month,
            interrupted: None,
            clock,
            load: Load {
                since: Instant::now(),
                entries: 0,
                is_high: false,
            },
        }
    }

    /// Works until the log is closed.
    pub(crate) fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let closing = self.wait();
            if !closing {
                self.linger();
                if self.load.is_high {
                    self.gather();
                }
            }
            if looked.elapsed() >= Self::TICK {
                looked = Instant::now();
                self.look();
            }
            self.commit();
            if closing && State::load(&self.shared.state) == State::Unavailable {
                self.resume();
                self.commit();
            }
            if closing
                && (self.shared.queue().is_empty()
                    || State::load(&self.shared.state) != State::Ready)
            {
                break;
            }
        }
        if State::load(&self.shared.state) == State::Ready
            && let Err(error) = self.segments.finish()
        {
            tracing::warn!(%error, "the last audit segment could not be shortened; the next start does it");
        }
        self.shared.set_state(State::Closed);
    }

    /// Waits until there is something to do, at most a tick. Returns whether the log is closing.
    fn wait(&self) -> bool {
        let queue = self.shared.queue();
        let idle = |queue: &mut Queue| {
            (queue.is_empty() || State::load(&self.shared.state) != State::Ready)
                && !self.shared.closing.load(Ordering::Acquire)
        };
        drop(
            self.shared
                .work
                .wait_timeout_while(queue, Self::TICK, idle)
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.shared.closing.load(Ordering::Acquire)
    }

    /// Lets what nobody waits for wait for company.
    fn linger(&self) {
        let alone = |queue: &mut Queue| {
            !queue.is_hurried()
                && (1..Self::ENOUGH).contains(&queue.waiting())
                && !self.shared.closing.load(Ordering::Acquire)
        };
        drop(
            self.shared
                .work
                .wait_timeout_while(self.shared.queue(), Self::LATER, alone)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Lets more entries come, as long as they do, for a moment at the most.
    fn gather(&self) {
        let shared = &self.shared;
        let until = Instant::now() + Self::MOMENT;
        shared.gathering.store(true, Ordering::Release);
        let mut queue = shared.queue();
        let mut gathered = queue.waiting();
        while (1..Self::ENOUGH).contains(&gathered)
            && Instant::now() < until
            && !shared.closing.load(Ordering::Acquire)
        {
            queue = shared
                .work
                .wait_timeout(queue, Self::PAUSE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if std::mem::replace(&mut gathered, queue.waiting()) == gathered {
                break;
            }
        }
        // Before the queue is free again: who queues something from here on tells us of it.
        shared.gathering.store(false, Ordering::Release);
    }

    fn look(&mut self) {
        if let Ok(free) = self.segments.free() {
            self.shared.free.store(free, Ordering::Relaxed);
        }
        match State::load(&self.shared.state) {
            State::Ready => {
                if let Err(error) = self.segments.check() {
                    self.fail(&error);
                }
                self.turn();
            }
            State::Unavailable => self.resume(),
            State::Lost | State::Closed => {}
        }
        self.look_at_clock();
    }

    /// Records what became of the clock. What finds no room in the queue is told of at the next look.
    fn look_at_clock(&mut self) {
        let Some(Watched { clock, watch }) = &mut self.clock else {
            return;
        };
        let reading = clock.read();
        let mut steps = 0;
        while let Some(told) = watch.look(&reading) {
            let entry = Entry {
                time: reading.time,
                event: told.event(),
            };
            let mut leaf = Vec::new();
            entry::encode(&entry, &mut leaf);
            if self.shared.queue().push(&leaf, Share::Proven).is_err() {
                break;
            }
            steps += u64::from(matches!(told.change, Change::Stepped { .. }));
            watch.take(&told, &reading);
            alert(&told);
        }
        self.shared.clock_is(reading.state, steps);
    }

    /// Goes over to the keys of the month that began, if one did. Entries wait as long as it takes to make a
    /// few small files durable; where that does not succeed they go on under the keys of the month before.
    fn turn(&self) {
        if self.is_of_a_month {
            return;
        }
        if let Err(error) = self.shared.turn(now()) {
            tracing::warn!(%error, "there are no audit keys for this month yet: those of the last one serve");
        }
    }

    /// Writes all that is queued.
    fn commit(&mut self) {
        if State::load(&self.shared.state) != State::Ready {
            return;
        }
        if self.backlog.done == self.backlog.records.len() {
            self.backlog.records.clear();
            self.backlog.done = 0;
            let (sequence, entries) = self.shared.queue().take(&mut self.backlog.records);
            self.backlog.sequence = sequence;
            self.load.add(entries);
        }
        if let Err(error) = self.write_backlog() {
            self.fail(&error);
        }
    }

    fn write_backlog(&mut self) -> Result<(), WriteError> {
        while self.backlog.done < self.backlog.records.len() {
            let began = Instant::now();
            let written = self
                .segments
                .append(&self.backlog.records[self.backlog.done..])?;
            self.backlog.done += written.records_bytes;
            self.backlog.sequence += u64::from(written.count);
            let shared = &self.shared;
            shared.queue().settle(
                written.count as usize,
                written.records_bytes,
                self.backlog.sequence,
            );
            shared.batches.fetch_add(1, Ordering::Relaxed);
            shared
                .bytes
                .fetch_add(written.disk_bytes, Ordering::Relaxed);
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            shared.write_micros.fetch_add(micros, Ordering::Relaxed);
            shared.publish(self.backlog.sequence);
        }
        Ok(())
    }

    fn fail(&mut self, error: &WriteError) {
        tracing::error!(%error, "the audit log cannot be written: requests are refused until it can");
        self.interrupted.get_or_insert_with(now);
        self.shared.refused.store(0, Ordering::Relaxed);
        self.shared.set_state(match error {
            WriteError::Disk(_) => State::Unavailable,
            WriteError::Gone => State::Lost,
        });
    }

    /// Tries whether the disk takes entries again: first what is owed, then the note of it.
    fn resume(&mut self) {
        if let Err(error) = self.segments.renew().and_then(|()| self.write_backlog()) {
            tracing::debug!(%error, "the audit log still cannot be written");
            return;
        }
        if let Some(since) = self.interrupted.take() {
            let refused = self.shared.refused.load(Ordering::Relaxed);
            let entry = Entry {
                time: now(),
                event: Event::Interrupted(Interrupted { since, refused }),
            };
            let mut bytes = Vec::new();
            entry::encode(&entry, &mut bytes);
            // A full queue drains now that the disk is back; the note can then be missed, not an entry.
            let _ = self.shared.queue().push(&bytes, Share::Proven);
        }
        tracing::info!("the audit log can be written again");
        self.shared.set_state(State::Ready);
    }
}

/// Tells the operator what became of the clock.
pub(crate) fn alert(told: &Told) {
    let Told { change, state } = told;
    match change {
        Change::Begun if state.is_synchronized() => {}
        Change::Begun | Change::Lost => tracing::warn!(
            hint = state.advice(),
            "the system's clock is not known to be right: {state}; every record and checkpoint bears its time"
        ),
        Change::Back => tracing::info!("the system's clock is right again: {state}"),
        Change::Stepped { by_us: ..0 } => tracing::warn!(
            step_us = change.step_us(),
            "the system's clock was set back: times on record overlap"
        ),
        Change::Stepped { .. } => tracing::warn!(
            step_us = change.step_us(),
            "the system's clock was set ahead"
        ),
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(since: Duration) -> Load {
        Load {
            since: Instant::now().checked_sub(since).unwrap(),
            entries: 0,
            is_high: false,
        }
    }

    #[test]
    fn load_is_many_entries_in_a_short_time_and_ends_with_it() {
        let mut quiet = load(Load::SPAN);
        quiet.add(Load::MANY - 1);
        assert!(!quiet.is_high);
        // As many over a long time are few, and what was high before is so no longer.
        let mut over = load(100 * Load::SPAN);
        over.is_high = true;
        over.add(Load::MANY);
        assert!(!over.is_high);
        // Tried again where this thread got no CPU just then.
        let is_seen = (0..100).any(|_| {
            let mut busy = load(Load::SPAN);
            busy.add(Load::MANY);
            busy.is_high
        });
        assert!(is_seen);
    }
}
