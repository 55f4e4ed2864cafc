//! Waiting, but not for too long, without setting a timer for each wait.
//!
//! Most waits of a request are none: what is waited for is there already. And a timer that is set and
//! taken back for each request costs more than the request's head takes to read.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, timeout};

/// How long somebody may do nothing. It sets its timer at the first wait, and moves it only when it
/// goes off too early: so it can be kept from one request to the next.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    since: Option<Instant>,
}

impl Timer {
    /// Something happened: the wait begins anew.
    pub fn restart(&mut self) {
        self.since = None;
    }

    /// Ends when nothing has happened for as long as `patience`.
    pub fn poll(&mut self, patience: Duration, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.poll_until(since + patience, context)
    }

    /// Ends at this time.
    pub fn poll_until(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while Future::poll(sleep.as_mut(), context).is_ready() {
            if sleep.deadline() >= due {
                self.sleep = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// Waits for something that mostly is there at once, and then needs no timer.
///
/// # Errors
/// [`Elapsed`] when it did not come within this time.
pub async fn unless_late<T>(
    within: Duration,
    awaited: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut awaited = pin!(awaited);
    match poll_fn(|context| Poll::Ready(awaited.as_mut().poll(context))).await {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => timeout(within, awaited).await,
    }
}

/// The time of the clock on the wall, seconds since 1970: for what says when it was signed. An exchange can
/// last, so it is asked where something is signed or judged.
pub fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn wait(timer: &mut Timer) {
        poll_fn(|context| timer.poll(PATIENCE, context)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_nothing_happened_for_so_long() {
        let (mut timer, began) = (Timer::default(), Instant::now());
        wait(&mut timer).await;
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_meanwhile_begins_the_wait_anew_also_with_a_timer_that_is_set() {
        let (mut timer, began) = (Timer::default(), Instant::now());
        for _ in 0..5 {
            let early = timeout(PATIENCE / 2, wait(&mut timer)).await;
            assert!(early.is_err());
            timer.restart();
        }
        let last = Instant::now();
        wait(&mut timer).await;
        assert_eq!(last.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(began.elapsed().as_secs(), 35);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_comes_before_the_one_that_was_set_is_kept_too() {
        let (mut timer, began) = (Timer::default(), Instant::now());
        for due in [100, 7, 50] {
            let due = began + Duration::from_secs(due);
            let early = timeout(
                Duration::from_secs(1),
                poll_fn(|context| timer.poll_until(due, context)),
            );
            assert!(early.await.is_err());
        }
        let due = began + Duration::from_secs(20);
        poll_fn(|context| timer.poll_until(due, context)).await;
        assert_eq!(began.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_given_up_and_what_is_there_is_taken() {
        assert_eq!(unless_late(PATIENCE, async { 7 }).await, Ok(7));
        let began = Instant::now();
        let never = std::future::pending::<()>();
        assert!(unless_late(PATIENCE, never).await.is_err());
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
