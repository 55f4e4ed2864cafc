//! How long an upstream may do nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time-out that costs nothing until somebody waits.
pub(super) struct Timer {
    patience: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    since: Option<Instant>,
}

impl Timer {
    pub(super) fn new(patience: Duration) -> Timer {
        Timer {
            patience,
            sleep: None,
            since: None,
        }
    }

    /// Something happened: the wait begins anew.
    pub(super) fn restart(&mut self) {
        self.since = None;
    }

    /// Ends when nothing has happened for as long as is allowed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let due = since + self.patience;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        Future::poll(sleep.as_mut(), context)
    }
}
