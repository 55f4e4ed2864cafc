//! How tasks of a worker are started: on its own thread, where nothing needs to be sent anywhere.

use std::future::Future;

/// Starts tasks on the thread that asks. hyper is given this.
#[derive(Debug, Clone, Copy)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
