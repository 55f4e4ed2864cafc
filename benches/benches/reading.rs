//! How soon is one patient's access report there? From a log of 1,000,000 sealed entries with an index, as
//! `audit report access` makes it: the index is judged, the rows are looked up, each entry is opened.
//!
//! `PHIGATE_BENCH_ENTRIES` says how many entries, `PHIGATE_BENCH_DIR` on whose disk.

mod logs;

use std::time::Duration;

use audit::index;
use audit::keys::system_random;
use audit::report::collect::{Asked, Read, collect};
use audit::seal::reader::{self, Reader, Scope};
use audit::select::Names;
use audit::unseal::Unsealer;
use criterion::{Criterion, criterion_group, criterion_main};

/// Entries of a patient.
const EACH: u64 = 100;

fn reports(criterion: &mut Criterion) {
    let entries = logs::entries(1_000_000);
    let place = logs::place();
    let directory = place.path().join("audit");
    let (secret, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let unsealer = || {
        let secret = reader::parse_secret(secret.as_bytes()).expect("a key");
        Unsealer::new(&directory, Some(secret)).expect("a log")
    };
    // Patients take turns, so that the entries of one lie all over the log.
    let patients = entries / EACH;
    let released = (0..entries).map(|number| logs::release(number, number % patients, "GET"));
    let (_, committer) = logs::fill(&logs::options(&directory, reader), released);
    committer.close(Duration::from_mins(1)).expect("an end");
    index::update(&directory, unsealer(), &mut |_| ()).expect("an index");

    let asked = Asked {
        names: Names::linked([logs::patient(7)]).expect("one name"),
        since: None,
        until: None,
        index: true,
    };
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    group.bench_function(format!("access/{entries}"), |bench| {
        bench.iter(|| {
            let found = collect(&directory, unsealer(), &asked).expect("a report");
            assert_eq!(found.list.len() as u64, EACH);
            assert!(matches!(found.read, Read::Index { .. }), "{:?}", found.read);
        });
    });
    group.finish();
}

criterion_group!(benches, reports);
criterion_main!(benches);
