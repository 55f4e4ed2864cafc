//! How long does a durable append take, with 1, 8 and 64 in flight? One worker, one committer, sealed
//! entries; a round is so many appends that are queued together and waited for together.
//!
//! The rows `p50` and `p99` are percentiles of single appends while 64 are always in flight, each that ends
//! replaced by another: what criterion prints as a time is the percentile of each sample.
//!
//! The log lies in a new folder below `PHIGATE_BENCH_DIR`, else below the build's own folder: its disk
//! is what is measured.

mod logs;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use audit::appender::{Append, Appender};
use audit::event::{Close, Code, Entry, Event, Id, Time};
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::queue::Share;
use audit::seal::reader::{self, Reader, Scope};
use audit::storage::Durability;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn entry(number: u64) -> Entry<'static> {
    Entry {
        time: Time(1_795_000_000_000_000_000 + number),
        event: Event::Close(Close {
            connection_id: Id::new([1; 16]),
            code: Code::Complete,
            requests: number,
            milliseconds: 0,
        }),
    }
}

/// Appends so many entries and waits until all of them are durable.
fn round(worker: &Appender, log: &Log, count: u64) {
    let bell = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut drive = pin!(worker.drive());
    let append = |number| {
        worker
            .append(&entry(number), Share::Proven)
            .expect("the log takes entries")
    };
    let mut waiting: Vec<Append> = (0..count).map(append).collect();
    log.kick();
    let mut none = Context::from_waker(Waker::noop());
    loop {
        let Poll::Pending = drive.as_mut().poll(&mut Context::from_waker(&bell));
        waiting.retain_mut(|append| match Pin::new(append).poll(&mut none) {
            Poll::Pending => true,
            Poll::Ready(done) => {
                done.expect("the entry is durable");
                false
            }
        });
        if waiting.is_empty() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Appends for as long as it takes to see so many end, with `in_flight` of them under way: how long each
/// took, in order of length.
fn steady(worker: &Appender, log: &Log, in_flight: usize, count: u64) -> Vec<Duration> {
    let bell = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut drive = pin!(worker.drive());
    let append = |number| {
        let begun = Instant::now();
        let append = worker.append(&entry(number), Share::Proven);
        (begun, append.expect("the log takes entries"))
    };
    let mut none = Context::from_waker(Waker::noop());
    let mut waiting: Vec<(Instant, Append)> = Vec::with_capacity(in_flight);
    let (mut number, mut taken) = (0, Vec::new());
    while number < count || !waiting.is_empty() {
        while waiting.len() < in_flight && number < count {
            waiting.push(append(number));
            number += 1;
        }
        log.kick();
        let Poll::Pending = drive.as_mut().poll(&mut Context::from_waker(&bell));
        let before = waiting.len();
        waiting.retain_mut(|(begun, append)| match Pin::new(append).poll(&mut none) {
            Poll::Pending => true,
            Poll::Ready(done) => {
                done.expect("the entry is durable");
                taken.push(begun.elapsed());
                false
            }
        });
        if waiting.len() == before {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    taken.sort_unstable();
    taken
}

fn latencies(criterion: &mut Criterion) {
    let below = std::env::var_os("PHIGATE_BENCH_DIR").map_or_else(
        || env!("CARGO_TARGET_TMPDIR").into(),
        std::path::PathBuf::from,
    );
    let directory = tempfile::tempdir_in(below).expect("a folder");
    let (_, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let options = Options {
        durability: Durability::Durable,
        ..logs::options(&directory.path().join("audit"), reader)
    };
    let (log, committer) = Log::open(&options).expect("a log");
    let worker = Appender::new(&log);
    let mut group = criterion.benchmark_group("append");
    for in_flight in [1, 8, 64] {
        group.throughput(Throughput::Elements(in_flight));
        group.bench_function(format!("{in_flight} in flight"), |bench| {
            bench.iter(|| round(&worker, &log, in_flight));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    for (name, of_a_hundred) in [("p50", 50), ("p99", 99)] {
        group.bench_function(format!("64 in flight, {name}"), |bench| {
            bench.iter_custom(|times| {
                let taken = steady(&worker, &log, 64, times.max(20_000));
                taken[taken.len() * of_a_hundred / 100] * u32::try_from(times).unwrap_or(u32::MAX)
            });
        });
    }
    group.finish();
    drop(worker);
    committer
        .close(Duration::from_secs(30))
        .expect("all is on record");
}

criterion_group!(appending, latencies);
criterion_main!(appending);
