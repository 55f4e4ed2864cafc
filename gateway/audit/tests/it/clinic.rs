//! A log as a clinic has one: keys, a reader, patients with several names, requests with all their
//! records. For the tests of whatever reads it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use audit::appender::Appender;
use audit::event::{
    Code, Completion, Entry, Event, Handshake, Hex16, Id, Intent, Passage, Pseudonym, Refusal,
    Release, Request, Subjects, Time, Unknown,
};
use audit::keeping::Classes;
use audit::keys::Keys;
use audit::log::{Committer, Log, Options};
use audit::merkle::rotation::Chain;
use audit::queue::{Limits, Share};
use audit::seal::reader::{Reader, Scope};
use audit::storage::Durability;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the upstream is known as.
pub(crate) const BASE: &str = "https://fhir.example/fhir";

/// Record numbers of the clinic.
pub(crate) const MRN: &str = "urn:oid:1.2.3.4";

/// 2026-11-01T00:00:00Z, and so many seconds more.
pub(crate) fn second(after: u64) -> Time {
    Time((1_793_491_200 + after) * 1_000_000_000)
}

pub(crate) fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_audit"))
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The objects that were printed, one a line; the program ended well.
#[track_caller]
pub(crate) fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A directory with keys and a log.
pub(crate) struct Clinic {
    place: tempfile::TempDir,
    pub(crate) keys: Keys,
}

impl Clinic {
    pub(crate) fn new() -> Clinic {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().to_str().unwrap();
        let made = audit(&["keygen", "--name", "clinic.example/audit", "--out", out]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let keys = std::fs::read(place.path().join("audit.keys")).unwrap();
        Clinic {
            keys: Keys::parse(&keys).unwrap(),
            place,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("audit")
    }

    /// Runs the program with a verb on the log.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let log = self.log();
        let mut all = words.to_vec();
        all.push(log.to_str().unwrap());
        audit(&all)
    }

    /// The patient with this id on the upstream.
    pub(crate) fn id(&self, id: u64) -> Pseudonym {
        self.keys.patients.pseudonym(BASE, &id.to_string())
    }

    /// The patient with this record number.
    pub(crate) fn mrn(&self, number: u64) -> Pseudonym {
        let value = format!("mrn-{number}");
        self.keys.patients.pseudonym(MRN, &value)
    }

    pub(crate) fn options(&self) -> Options {
        Clinic::options_in(self.place.path())
    }

    /// The options of the log in a clinic's directory.
    pub(crate) fn options_in(place: &Path) -> Options {
        let public = std::fs::read(place.join("reader.pem")).unwrap();
        let keys = std::fs::read(place.join("audit.keys")).unwrap();
        Options {
            directory: place.join("audit"),
            durability: Durability::Buffered,
            segment_bytes: 2 * 1024 * 1024,
            limits: Limits {
                entries: 100_000,
                bytes: 64 * 1024 * 1024,
            },
            readers: vec![Reader::parse(&public, Scope::Targets).unwrap()],
            signer: Some(Arc::new(Keys::parse(&keys).unwrap().signer)),
            is_known: false,
            classes: Classes::default(),
            rotations: Chain::default(),
        }
    }

    /// A run of a writer.
    pub(crate) fn write(&self) -> Writer {
        Clinic::write_with(&self.options())
    }

    /// A run of a writer of another month.
    pub(crate) fn write_as_of(options: &Options, month: Time) -> Writer {
        let (log, committer) = Log::open_as_of(options, month).unwrap();
        Writer {
            log,
            committer,
            next: 0,
        }
    }

    /// A run of a writer that was told so.
    pub(crate) fn write_with(options: &Options) -> Writer {
        let (log, committer) = Log::open(options).unwrap();
        Writer {
            log,
            committer,
            next: 0,
        }
    }
}

/// Whom a record concerns: these, the first two of whom are one patient if `linked`.
pub(crate) fn whom(patients: &[Pseudonym], linked: bool) -> Subjects {
    let mut subjects = Subjects::new();
    for patient in patients {
        subjects.add(*patient, Subjects::MOST);
    }
    if linked {
        subjects.link(0, 1);
    }
    subjects
}

/// A request.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) at: u64,
    pub(crate) client: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) subjects: Subjects,
}

impl Exchange {
    pub(crate) fn of(at: u64, client: &'static str, subjects: Subjects) -> Exchange {
        Exchange {
            at,
            client,
            route: "records",
            status: 200,
            subjects,
        }
    }
}

pub(crate) struct Writer {
    pub(crate) log: Log,
    committer: Committer,
    /// Numbers the requests of this run, for their ids.
    next: u64,
}

impl Writer {
    pub(crate) fn append(&self, time: Time, event: Event<'_>) {
        let entry = Entry { time, event };
        // The queue holds more than any of these tests writes.
        self.log.append_unwaited(&entry, Share::Proven).unwrap();
    }

    fn request<'a>(&mut self, exchange: &Exchange, client: &'a str) -> Request<'a> {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&exchange.at.to_be_bytes());
        id[8..].copy_from_slice(&self.next.to_be_bytes());
        Request {
            request_id: Id::new(id),
            connection_id: Id::new([9; 16]),
            client: Some(client),
            user: None,
            method: Some("GET"),
            route: Some(exchange.route),
            rule: Some("pump"),
            resource: Some("Observation"),
            interaction: Some("search-type"),
            subjects: Some(Subjects::new()),
            target: None,
            integrity: None,
        }
    }

    /// A request that was read in one piece: a release alone.
    pub(crate) fn read(&mut self, exchange: &Exchange) -> String {
        let (id, entry) = self.release(exchange);
        self.append(entry.time, entry.event);
        id
    }

    /// The same, with the target as it was received.
    pub(crate) fn read_target(&mut self, exchange: &Exchange, target: &[u8]) -> String {
        let (id, entry) = self.release(exchange);
        let worker = Appender::new(&self.log);
        let append = worker.append_with_target(entry, target, Share::Proven);
        drop(append.unwrap());
        id
    }

    fn release(&mut self, exchange: &Exchange) -> (String, Entry<'static>) {
        self.next += 1;
        let mut request = self.request(exchange, exchange.client);
        request.subjects = Some(exchange.subjects.clone());
        let id = request.request_id.to_string();
        let event = Event::Release(Release {
            request,
            status: exchange.status,
            content_type: Some("application/fhir+json"),
            bytes: Some(1000),
            digest: None,
            upstream: "fhir",
            attempts: 1,
        });
        let time = second(exchange.at);
        (id, Entry { time, event })
    }

    /// A request with effects whose answer was streamed, and whose patient came late.
    pub(crate) fn stream(&mut self, exchange: &Exchange) -> String {
        self.next += 1;
        let base = self.request(exchange, exchange.client);
        let id = base.request_id.to_string();
        let mut open = Subjects::new();
        open.leave_open(Unknown::Open);
        let request = |subjects: Option<Subjects>| Request {
            subjects,
            method: Some("POST"),
            ..base.clone()
        };
        let at = second(exchange.at);
        let intent = Intent {
            request: request(Some(open.clone())),
            content_length: Some(10),
        };
        self.append(at, Event::Intent(intent));
        let release = Release {
            request: request(Some(open)),
            status: exchange.status,
            content_type: Some("application/fhir+ndjson"),
            bytes: None,
            digest: None,
            upstream: "fhir",
            attempts: 1,
        };
        self.append(at, Event::Release(release));
        let passage = Passage {
            request: request(Some(exchange.subjects.clone())),
            offset: 0,
            bytes: 2000,
            sender: None,
        };
        self.append(at, Event::Passage(passage));
        let completion = Completion {
            request: request(None),
            status: Some(exchange.status),
            bytes: 1500,
            code: Code::ClientGone,
        };
        self.append(at, Event::Completion(completion));
        id
    }

    /// A request that was refused.
    pub(crate) fn refuse(&mut self, exchange: &Exchange) -> String {
        self.next += 1;
        let mut request = self.request(exchange, exchange.client);
        request.subjects = Some(exchange.subjects.clone());
        let id = request.request_id.to_string();
        self.append(
            second(exchange.at),
            Event::Refusal(Refusal {
                request,
                address: "192.0.2.1:4711".parse().unwrap(),
                status: 403,
                code: Code::NotPermitted,
                detail: None,
                attempts: 0,
            }),
        );
        id
    }

    /// A connection.
    pub(crate) fn connect(&mut self, at: u64, client: &str) {
        self.append(
            second(at),
            Event::Handshake(Handshake {
                connection_id: Id::new([9; 16]),
                listener: "devices",
                address: "192.0.2.1:4711".parse().unwrap(),
                client: Some(client),
                certificate: None,
                version: Hex16(0x0304),
                suite: Hex16(0x1301),
                group: None,
                alpn: Some("h2"),
                sni: None,
                ja4: "",
            }),
        );
    }

    pub(crate) fn end(self) {
        self.committer.close(PATIENCE).unwrap();
    }
}

/// The path as a word of a command.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
