//! A worker's appends: they end when they are durable, they end when they cannot be, and one
//! wake-up a batch is enough.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use audit::appender::{Append, Appender};
use audit::error::AppendError;
use audit::log::Log;
use audit::queue::{Limits, Share};

use crate::disk::{Fault, SimulatedDisk};
use crate::entry;

struct Unpark(std::thread::Thread, AtomicU64);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Drives a worker and its appends on this thread, as a runtime would; returns the outcomes and how
/// often the thread was woken.
fn run(
    worker: &Appender,
    log: &Log,
    mut appends: Vec<Append>,
) -> (Vec<Result<u64, AppendError>>, u64) {
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicU64::new(0)));
    let bell = Waker::from(Arc::clone(&unpark));
    let mut drive = pin!(worker.drive());
    let mut outcomes = vec![None; appends.len()];
    let until = Instant::now() + Duration::from_secs(20);
    while outcomes.iter().any(Option::is_none) {
        assert!(Instant::now() < until, "an append never ended");
        let Poll::Pending = drive.as_mut().poll(&mut Context::from_waker(&bell));
        let mut none = Context::from_waker(Waker::noop());
        for (append, outcome) in appends.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(done) = Pin::new(append).poll(&mut none)
            {
                *outcome = Some(done.map(|receipt| receipt.sequence()));
            }
        }
        log.kick();
        if outcomes.iter().any(Option::is_none) {
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
    (
        outcomes.into_iter().flatten().collect(),
        unpark.1.load(Ordering::SeqCst),
    )
}

fn open(entries: usize) -> (SimulatedDisk, Log, audit::log::Committer) {
    let disk = SimulatedDisk::default();
    let limits = Limits {
        entries,
        bytes: 1024 * 1024,
    };
    let (log, committer) = Log::open_on(Arc::new(disk.clone()), 4 * 1024 * 1024, limits).unwrap();
    (disk, log, committer)
}

#[test]
fn appends_end_in_their_order_and_a_batch_wakes_the_worker_once() {
    let (disk, log, committer) = open(1000);
    let worker = Appender::new(&log);
    // What the committer took before the disk stalled is a batch, all the rest is another.
    let stall = disk.stall();
    let appends: Vec<_> = (0..20)
        .map(|number| worker.append(&entry(number), Share::Proven).unwrap())
        .collect();
    drop(stall);
    let (outcomes, wakes) = run(&worker, &log, appends);
    assert_eq!(outcomes, (0..20).map(Ok).collect::<Vec<_>>());
    let batches = log.status().batches;
    assert!(batches <= 2, "{batches} batches");
    assert!(
        wakes <= batches + 1,
        "{wakes} wake-ups for {batches} batches"
    );
    committer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn what_nobody_waits_for_goes_with_what_is_waited_for_and_soon_in_any_case() {
    let (_disk, log, committer) = open(1000);
    let worker = Appender::new(&log);
    let rounds = 20;
    for round in 0..rounds {
        log.append_unwaited(&entry(2 * round), Share::Proven)
            .unwrap();
        log.kick();
        // Time enough for a committer that would write it at once.
        std::thread::sleep(Duration::from_micros(500));
        let waited = worker.append(&entry(2 * round + 1), Share::Proven);
        let (outcomes, _) = run(&worker, &log, vec![waited.unwrap()]);
        assert_eq!(outcomes, [Ok(2 * round + 1)]);
    }
    let batches = log.status().batches;
    assert!(batches < rounds * 3 / 2, "{batches} batches");
    log.append_unwaited(&entry(99), Share::Proven).unwrap();
    log.kick();
    let until = Instant::now() + Duration::from_secs(20);
    while log.status().durable <= 2 * rounds {
        assert!(Instant::now() < until, "it waits for ever");
        std::thread::yield_now();
    }
    committer.close(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_dropped_append_is_recorded_all_the_same() {
    let (disk, log, committer) = open(1000);
    let worker = Appender::new(&log);
    drop(worker.append(&entry(7), Share::Proven).unwrap());
    log.kick();
    committer.close(Duration::from_secs(10)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    disk.dump(directory.path());
    assert_eq!(crate::numbers(directory.path()), [7]);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (disk, log, _committer) = open(3);
    let worker = Appender::new(&log);
    let stall = disk.stall();
    let held: Vec<_> = (0..3)
        .map(|number| worker.append(&entry(number), Share::Proven).unwrap())
        .collect();
    assert_eq!(
        worker.append(&entry(3), Share::Proven).unwrap_err(),
        AppendError::Full
    );
    drop(stall);
    let (outcomes, _) = run(&worker, &log, held);
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(worker.append(&entry(4), Share::Proven).is_ok());
}

#[test]
fn everybody_who_waits_is_told_when_the_disk_fails() {
    let (disk, log, _committer) = open(1000);
    disk.wait_for_spare();
    disk.fail_at(0, u64::MAX / 2, Fault::Failed);
    let worker = Appender::new(&log);
    let appends: Vec<_> = (0..5)
        .map(|number| worker.append(&entry(number), Share::Proven).unwrap())
        .collect();
    let (outcomes, _) = run(&worker, &log, appends);
    assert_eq!(outcomes, vec![Err(AppendError::Unavailable); 5]);
    assert_eq!(
        worker.append(&entry(9), Share::Proven).unwrap_err(),
        AppendError::Unavailable
    );
}

#[test]
fn no_append_waits_longer_than_it_is_allowed_to() {
    let (disk, log, _committer) = open(1000);
    let worker = Appender::new(&log);
    let _stall = disk.stall();
    let append = worker.append(&entry(0), Share::Proven).unwrap();
    let mut append = pin!(append);
    let mut none = Context::from_waker(Waker::noop());
    assert!(append.as_mut().poll(&mut none).is_pending());
    worker.expire(Instant::now() + Duration::from_millis(1));
    assert_eq!(
        append.as_mut().poll(&mut none),
        Poll::Ready(Err(AppendError::Stalled))
    );
}
