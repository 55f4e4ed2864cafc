//! A fixed rate: which request is meant to start when, and a clock that is finer than the
//! runtime's, whose timers tick in milliseconds.
//!
//! A request whose time has come is taken by the connection that has been idle longest. When none
//! is idle it waits, and its latency counts from the time at which it was meant to start: a server
//! that stalls cannot hide the requests that a polite client would not have sent (coordinated
//! omission). What this file does not do: it sends nothing.

use crate::tally::Tally;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::time::Instant;

const NANOSECONDS: u128 = 1_000_000_000;

/// Far more requests than a run has; a semaphore has room for them.
const MAX_RELEASE: usize = 1 << 30;

/// When each request is meant to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// Requests a second, not zero.
    rate: u32,
}

impl Schedule {
    /// From `start`, at this many requests a second; a rate of zero is taken as one.
    pub(crate) fn new(start: Instant, rate: u32) -> Self {
        Self {
            start,
            rate: rate.max(1),
        }
    }

    /// When the request with this number, counted from zero, is meant to start.
    fn at(&self, number: u64) -> Instant {
        let nanoseconds = (u128::from(number) * NANOSECONDS).div_ceil(self.rate.into());
        self.start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How many requests are meant to have started by then.
    fn due(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let due = elapsed * u128::from(self.rate) / NANOSECONDS + 1;
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// Hands out the requests of a schedule as their times come.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: OnceCell<Schedule>,
    /// One permit for each request that was released and not taken; at the end one more for each
    /// taker, so that nobody waits for ever.
    permits: Semaphore,
    released: Cell<u64>,
    taken: Cell<u64>,
}

impl Pacer {
    /// Hands out nothing before [`run`](Self::run).
    pub(crate) fn new() -> Self {
        Self {
            schedule: OnceCell::new(),
            permits: Semaphore::new(0),
            released: Cell::new(0),
            taken: Cell::new(0),
        }
    }

    /// The intended start of the next request, as soon as it has come; `None` when the run is over
    /// and all were taken.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.permits.acquire().await.ok()?.forget();
        let number = self.taken.get();
        if number == self.released.get() {
            return None;
        }
        self.taken.set(number + 1);
        Some(self.schedule.get()?.at(number))
    }

    /// Requests whose time has come and that no connection has been free to take.
    pub(crate) fn waiting(&self) -> u64 {
        self.released.get() - self.taken.get()
    }

    /// Hands out the requests of a schedule until the run is over, then tells the `takers` that
    /// there are no more, also when the timer fails. Called once.
    pub(crate) async fn run(
        &self,
        schedule: Schedule,
        tally: &Tally,
        takers: usize,
    ) -> io::Result<()> {
        let schedule = *self.schedule.get_or_init(|| schedule);
        let outcome = self.hand_out(schedule, tally).await;
        self.permits.add_permits(takers);
        outcome
    }

    async fn hand_out(&self, schedule: Schedule, tally: &Tally) -> io::Result<()> {
        let mut timer = Timer::new()?;
        loop {
            // Asked first: what fell due just before the end is released after it.
            let is_last = tally.is_over();
            let due = schedule.due(Instant::now());
            let new = usize::try_from(due - self.released.get()).unwrap_or(usize::MAX);
            self.permits.add_permits(new.min(MAX_RELEASE));
            self.released.set(due);
            if is_last {
                return Ok(());
            }
            timer.until(schedule.at(due)).await?;
        }
    }
}

/// A one-shot timer of the kernel (timerfd_create(2)), exact to its high-resolution clock. The
/// runtime waits for it as for the reading end of a pipe, which it is in every respect that counts:
/// `AsyncFd` cannot be had without unsafe code.
#[derive(Debug)]
struct Timer {
    armed: OwnedFd,
    expired: Receiver,
}

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let armed = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let expired = Receiver::from_owned_fd_unchecked(armed.try_clone()?)?;
        Ok(Self { armed, expired })
    }

    async fn until(&mut self, moment: Instant) -> io::Result<()> {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Behind schedule: let the connections run before more is handed out.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let value = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(&self.armed, TimerfdTimerFlags::empty(), &once)?;
        // Eight bytes come. Room for more tells the runtime that there is nothing left to read.
        self.expired.read(&mut [0; 16]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::tally::MAX_FAULTS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_request_is_due_at_its_own_time_and_not_a_nanosecond_before(
            number in 1_u64..10_000_000,
            rate in 1_u32..1_000_000,
        ) {
            let schedule = Schedule::new(Instant::now(), rate);
            let at = schedule.at(number);
            prop_assert!(schedule.due(at) > number);
            prop_assert!(schedule.due(at - Duration::from_nanos(1)) <= number);
        }

        #[test]
        fn a_second_holds_as_many_requests_as_the_rate_says(rate in 1_u32..1_000_000) {
            let schedule = Schedule::new(Instant::now(), rate);
            let second = Duration::from_secs(1) - Duration::from_nanos(1);
            prop_assert_eq!(schedule.due(schedule.start + second), u64::from(rate));
        }
    }

    #[tokio::test]
    async fn requests_are_handed_out_at_their_times_and_each_once() {
        let (tally, start, pacer) = (Tally::new(), Instant::now(), Pacer::new());
        let take = async {
            let mut taken = Vec::new();
            while let Some(intended) = pacer.next().await {
                assert!(Instant::now() >= intended);
                taken.push(intended);
                if taken.len() == 50 {
                    tally.end(Instant::now());
                }
            }
            taken
        };
        let schedule = Schedule::new(start, 1000);
        let (ran, taken) = tokio::join!(pacer.run(schedule, &tally, 1), take);
        ran.unwrap();
        assert!(taken.len() >= 50);
        assert_eq!(pacer.waiting(), 0);
        for (number, intended) in (0..).zip(&taken) {
            assert_eq!(*intended, start + Duration::from_millis(number));
        }
    }

    #[tokio::test]
    async fn what_nobody_could_take_in_time_is_still_handed_out_after_the_end() {
        let (tally, pacer) = (Tally::new(), Pacer::new());
        let start = Instant::now() - Duration::from_millis(10);
        tally.end(Instant::now());
        let schedule = Schedule::new(start, 1000);
        pacer.run(schedule, &tally, 2).await.unwrap();
        assert!(pacer.waiting() >= 10);
        let mut count = 0;
        while pacer.next().await.is_some() {
            count += 1;
        }
        assert!(count >= 10);
        assert_eq!((pacer.waiting(), pacer.next().await), (0, None));
    }

    #[tokio::test]
    async fn a_run_that_is_given_up_ends_at_once() {
        let (tally, pacer) = (Tally::new(), Pacer::new());
        for _ in 0..MAX_FAULTS {
            tally.fault(&Fault::Closed);
        }
        let schedule = Schedule::new(Instant::now(), 1);
        pacer.run(schedule, &tally, 1).await.unwrap();
        assert!(pacer.next().await.is_some());
        assert_eq!(pacer.next().await, None);
    }
}
