//! Logs for the benches that read one: sealed, and of as many requests as asked for.

#![allow(dead_code, reason = "not every bench asks for all of it")]

use std::path::Path;
use std::time::Duration;

use audit::event::{
    Code, Completion, Entry, Event, Id, Intent, Pseudonym, Release, Request, Subjects, Time,
};
use audit::keeping::Classes;
use audit::log::{Committer, Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::{Limits, Share};
use audit::seal::reader::Reader;
use audit::storage::Durability;

/// How a log of a bench is kept: in the system's cache, since nobody waits for it.
pub(crate) fn options(directory: &Path, reader: Reader) -> Options {
    Options {
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
    }
}

/// Writes so many entries, and leaves the log open.
pub(crate) fn fill(
    options: &Options,
    entries: impl Iterator<Item = Entry<'static>>,
) -> (Log, Committer) {
    let (log, committer) = Log::open(options).expect("a log");
    let patience = Duration::from_mins(1);
    for (number, entry) in entries.enumerate() {
        // Now and then all that is queued is waited for, so that there is room.
        if number % 10_000 == 0 {
            log.append_blocking(&entry, patience).expect("a record");
        } else {
            log.append_unwaited(&entry, Share::Proven).expect("room");
        }
    }
    (log, committer)
}

/// Where a bench keeps its logs: below `PHIGATE_BENCH_DIR`, whose disk is measured then.
pub(crate) fn place() -> tempfile::TempDir {
    match std::env::var_os("PHIGATE_BENCH_DIR") {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    }
    .expect("a directory")
}

/// How many entries: `PHIGATE_BENCH_ENTRIES`, or else so many.
pub(crate) fn entries(or: u64) -> u64 {
    let entries = std::env::var("PHIGATE_BENCH_ENTRIES");
    entries.map_or(or, |text| text.parse().expect("a number"))
}

/// The id of a patient.
pub(crate) fn patient(number: u64) -> Pseudonym {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Pseudonym::new(bytes)
}

/// A request of a patient that was answered.
pub(crate) fn release(number: u64, of: u64, method: &'static str) -> Entry<'static> {
    Entry {
        time: time(number),
        event: Event::Release(Release {
            request: request(number, of, method),
            status: 200,
            content_type: Some("application/fhir+json"),
            bytes: Some(1000),
            digest: None,
            upstream: "fhir",
            attempts: 1,
        }),
    }
}

/// A request with effects, all of it.
pub(crate) fn creation(number: u64, of: u64) -> [Entry<'static>; 3] {
    let request = request(number, of, "POST");
    let intent = Event::Intent(Intent {
        request: request.clone(),
        content_length: Some(1000),
    });
    let completion = Event::Completion(Completion {
        request: Request {
            subjects: None,
            ..request
        },
        status: Some(200),
        bytes: 1000,
        code: Code::Complete,
    });
    let time = time(number);
    [
        Entry {
            time,
            event: intent,
        },
        release(number, of, "POST"),
        Entry {
            time,
            event: completion,
        },
    ]
}

fn time(number: u64) -> Time {
    Time(1_793_491_200_000_000_000 + number * 1_000_000)
}

fn request(number: u64, of: u64, method: &'static str) -> Request<'static> {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut subjects = Subjects::new();
    subjects.add(patient(of), Subjects::MOST);
    Request {
        request_id: Id::new(id),
        connection_id: Id::new([9; 16]),
        client: Some("devices:urn:example:pump-1"),
        user: None,
        method: Some(method),
        route: Some("records"),
        rule: Some("pump"),
        resource: Some("Observation"),
        interaction: Some("create"),
        subjects: Some(subjects),
        target: None,
        integrity: None,
    }
}
