//! How soon is one patient's access report there? From a log of 1,000,000 sealed entries with an index, as
//! `audit report access` makes it: the index is judged, the rows are looked up, each entry is opened.
//!
//! `PHIGATE_BENCH_ENTRIES` says how many entries, `PHIGATE_BENCH_DIR` on whose disk.

use std::path::Path;
use std::time::Duration;

use audit::event::{Entry, Event, Id, Pseudonym, Release, Request, Subjects, Time};
use audit::index;
use audit::keeping::Classes;
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::{Limits, Share};
use audit::report::collect::{Asked, Read, collect};
use audit::seal::reader::{self, Reader, Scope};
use audit::select::Names;
use audit::storage::Durability;
use audit::unseal::Unsealer;
use criterion::{Criterion, criterion_group, criterion_main};

/// Entries of a patient.
const EACH: u64 = 100;

fn patient(number: u64) -> Pseudonym {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Pseudonym::new(bytes)
}

/// Patients take turns, so that the entries of one lie all over the log.
fn release(number: u64, entries: u64) -> Entry<'static> {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut subjects = Subjects::new();
    subjects.add(patient(number % (entries / EACH)), Subjects::MOST);
    Entry {
        time: Time(1_793_491_200_000_000_000 + number * 1_000_000),
        event: Event::Release(Release {
            request: Request {
                request_id: Id::new(id),
                connection_id: Id::new([9; 16]),
                client: Some("devices:urn:example:pump-1"),
                user: None,
                method: Some("GET"),
                route: Some("records"),
                rule: Some("pump"),
                resource: Some("Observation"),
                interaction: Some("search-type"),
                subjects: Some(subjects),
                target: None,
            },
            status: 200,
            content_type: Some("application/fhir+json"),
            bytes: Some(1000),
            digest: None,
            upstream: "fhir",
            attempts: 1,
        }),
    }
}

fn write(directory: &Path, reader: Reader, entries: u64) {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Buffered,
        segment_bytes: 64 * 1024 * 1024,
        limits: Limits {
            entries: 65_536,
            bytes: 64 * 1024 * 1024,
        },
        readers: vec![reader],
        signer: None,
        is_known: false,
        classes: Classes::default(),
        rotations: Chain::default(),
    };
    let (log, committer) = Log::open(&options).expect("a log");
    for number in 0..entries {
        let entry = release(number, entries);
        // Now and then all that is queued is waited for, so that there is room.
        if number % 10_000 == 0 {
            let patience = Duration::from_mins(1);
            log.append_blocking(&entry, patience).expect("a record");
        } else {
            log.append_unwaited(&entry, Share::Proven).expect("room");
        }
    }
    committer.close(Duration::from_mins(1)).expect("an end");
}

fn reports(criterion: &mut Criterion) {
    let entries = std::env::var("PHIGATE_BENCH_ENTRIES");
    let entries: u64 = entries.map_or(1_000_000, |text| text.parse().expect("a number"));
    let place = match std::env::var_os("PHIGATE_BENCH_DIR") {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let place = place.expect("a directory");
    let directory = place.path().join("audit");
    let (secret, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let unsealer = || {
        let secret = reader::parse_secret(secret.as_bytes()).expect("a key");
        Unsealer::new(&directory, Some(secret)).expect("a log")
    };
    write(&directory, reader, entries);
    index::update(&directory, unsealer(), &mut |_| ()).expect("an index");

    let asked = Asked {
        names: Names::linked([patient(7)]).expect("one name"),
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
