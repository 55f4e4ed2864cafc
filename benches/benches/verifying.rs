//! How fast is a log verified, and how soon is one open again that a crash left behind? Sealed entries of
//! requests with effects, signed; in segments of the default size, of which recovery has to read the last one,
//! and in a single one.
//!
//! `PHIGATE_BENCH_ENTRIES` says how many entries (without it 600,000, which are some 170 MB; a GiB takes
//! 3,700,000), `PHIGATE_BENCH_DIR` on whose disk. The throughput of recovery is that of the whole log.

mod logs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::merkle::key::Signer;
use audit::read::{Reader as Walk, Step};
use audit::seal::reader::{self, Reader, Scope};
use audit::verify::{Verdict, verify};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// How long a segment is where the operator says nothing.
const SEGMENT: u64 = 64 * 1024 * 1024;

/// A log as a crash leaves it: all that was written is there, and nothing says that it ended.
fn crashed(place: &Path, name: &str, entries: u64, segment_bytes: u64) -> (PathBuf, Options) {
    let (_, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let origin = "bench.example/audit".parse().expect("a name");
    let running = place.join("running");
    let options = Options {
        segment_bytes,
        signer: Some(Arc::new(Signer::new(origin, &[1; 32]).expect("a key"))),
        ..logs::options(&running, reader)
    };
    let requests = (0..entries / 3).flat_map(|number| logs::creation(number, number % 1000));
    let (log, committer) = logs::fill(&options, requests);
    // Signed up to here, so that verifying has all of it to do.
    let last = logs::release(entries, 7, "GET");
    let last = log.append_blocking(&last, Duration::from_mins(1));
    let last = last.expect("a record").sequence();
    while log.status().signed <= last {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let left = place.join(name);
    copy(&["-a"], &options.directory, &left);
    // It was prepared for what never came.
    std::fs::remove_file(left.join("wal/spare")).ok();
    committer.close(Duration::from_mins(1)).expect("an end");
    std::fs::remove_dir_all(running).expect("gone");
    (left, options)
}

fn copy(how: &[&str], from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    let done = cp.args(how).arg(from).arg(to).status();
    assert!(done.expect("cp").success(), "cp");
}

/// Opens copies of the log, one after the other: the time from the start to the first entry.
fn recover(place: &Path, left: &Path, options: &Options, times: u64) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..times {
        let directory = place.join("opened");
        // The segments are only read; whatever is written in place is copied.
        copy(&["-al"], left, &directory);
        let history = left.join("checkpoints");
        copy(&["-a", "--remove-destination"], &history, &directory);
        let began = Instant::now();
        let (log, committer) = Log::open(&Options {
            directory: directory.clone(),
            // What begins anew is as large as it is by default.
            segment_bytes: SEGMENT,
            ..options.clone()
        })
        .expect("the log opens");
        taken += began.elapsed();
        drop(log);
        committer.close(Duration::from_mins(1)).expect("an end");
        std::fs::remove_dir_all(directory).expect("gone");
    }
    taken
}

/// How much of the segments holds entries, bytes.
fn written(left: &Path) -> u64 {
    let mut reader = Walk::new(left);
    let mut bytes = 0;
    loop {
        match reader.step().expect("a log") {
            Step::Segment(header) => bytes += header.previous_end,
            Step::Batch { .. } => {}
            Step::End | Step::Fault(_) => return bytes + reader.position().offset,
        }
    }
}

fn reading_all(criterion: &mut Criterion) {
    let entries = logs::entries(600_000);
    let place = logs::place();
    let (left, options) = crashed(place.path(), "segments", entries, SEGMENT);
    let (single, _) = crashed(place.path(), "segment", entries, entries * 512);
    let report = verify(&left).expect("a log");
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.findings);

    let mut group = criterion.benchmark_group("log");
    group.sample_size(10);
    group.throughput(Throughput::Elements(report.entries));
    group.bench_function("verify", |bench| {
        bench.iter(|| verify(&left).expect("a log"));
    });
    for (name, left) in [("recovery", &left), ("recovery, a single segment", &single)] {
        group.throughput(Throughput::Bytes(written(left)));
        group.bench_function(name, |bench| {
            bench.iter_custom(|times| recover(place.path(), left, &options, times));
        });
    }
    group.finish();
}

criterion_group!(benches, reading_all);
criterion_main!(benches);
