//! `growing FAMILY [quick]`: what grows, in memory and on the disk below it, without a gateway; for
//! `benches/growth`. Prints points for `load plot`: a name, a size and a figure, between tabs. Times are CPU time.
//!
//! | family | against | figures |
//! |---|---|---|
//! | `rates` | clients that came | ns: a check of the rate, a rule by a pattern, an identity read |
//! | `cells` | clients that came | bytes of memory that the rates keep of each |
//! | `tree` | entries of the log | us: a checkpoint over 4,096 more, proofs made and checked |
//! | `log` | entries of the log | us: CPU time of an append, all threads; a patient's report with the index |
//!
//! The tree is simulated up to 100 M entries: all its leaves are equal, so each level has one hash, every
//! tile can be made when it is asked for, and the proofs hold. What is not in it is the disk.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of a bench prints its points and says what is wrong"
)]

#[path = "../benches/logs/mod.rs"]
mod logs;

use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audit::index;
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::merkle::checkpoint::Checkpoint;
use audit::merkle::hash::{self, Hash};
use audit::merkle::key::Signer;
use audit::merkle::proof::{Consistency, Inclusion};
use audit::merkle::tile::{self, Edge, Kind, Tile, TileNodes, Tiles};
use audit::queue::Share;
use audit::report::collect::{Asked, collect};
use audit::seal::reader::{self, Reader, Scope};
use audit::select::Names;
use audit::unseal::Unsealer;
use config::{CertificateName, ListenerName, NameKind, TrustName};
use gateway::authorize;
use gateway::headers::Origin;
use gateway::identity::{ClientIdentity, IssuerKey};
use gateway::limit::Rates;
use gateway::peer::{Channel, Client, Peer, Protocol};
use gateway::tls::OwnCertificate;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::sign::CertifiedKey;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (family, is_quick) = match words.as_slice() {
        [family] => (*family, false),
        [family, "quick"] => (*family, true),
        _ => ("", false),
    };
    match family {
        "rates" => rates(is_quick),
        "cells" => cells(is_quick),
        "tree" => tree(),
        "log" => log(is_quick),
        _ => {
            eprintln!("error: there is no such family\nhint: growing rates|cells|tree|log [quick]");
            return 64.into();
        }
    }
    ExitCode::SUCCESS
}

fn point(name: &str, size: u64, figure: f64) {
    println!("{name}\t{size}\t{figure}");
}

/// CPU time of this thread that it takes, in nanoseconds: the median of nine stretches of 20 ms or more.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let mut stretch = |times: u64| {
        let begun = cpu_time(ClockId::ThreadCPUTime);
        for _ in 0..times {
            work();
        }
        cpu_time(ClockId::ThreadCPUTime).saturating_sub(begun)
    };
    let mut times = 1;
    while stretch(times) < Duration::from_millis(20) {
        times *= 2;
    }
    let mut all: Vec<f64> = (0..9)
        .map(|_| stretch(times).as_secs_f64() * 1e9 / float(times))
        .collect();
    all.sort_by(f64::total_cmp);
    all[4]
}

fn cpu_time(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    now.try_into().expect("a clock that does not run backwards")
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

// --- identities --------------------------------------------------------------------------------

/// A role that names all devices by one pattern, as operators do.
const CONFIGURATION: &str = r#"
[audit]
directory = "audit"
rationale = "a bench of rules"
[trust.devices]
roots = ["root.pem"]
revocation = { crls = ["crl"] }
[certificates.api]
chain = "chain.pem"
key = "file:key.pem"
[listeners.devices]
listen = ["127.0.0.1:8443"]
certificates = ["api"]
clients = { certificates = "required", trust = "devices" }
[upstreams.fhir]
servers = ["unix:/run/fhir.sock"]
[roles]
pump = { clients = ["urn:example:pump-*"] }
[[routes]]
name = "all"
hosts = ["api.example"]
path = "/"
methods = ["GET"]
listeners = ["devices"]
allow = ["pump"]
upstream = "fhir"
"#;

/// Makes peers that differ in their name alone.
struct Peers {
    certificate: Vec<u8>,
    digits: std::ops::Range<usize>,
    issuer: IssuerKey,
    trust: TrustName,
    shown: Arc<gateway::hosts::Hosts>,
    listener: ListenerName,
}

impl Peers {
    fn new() -> Peers {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let own = params.self_signed(&key).expect("a certificate");
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = gateway::tls::provider();
        let certified = CertifiedKey::from_der(vec![own.der().clone()], private.into(), &provider);
        let now = i64::try_from(UnixTime::now().as_secs()).expect("a time");
        let name = CertificateName::parse("own").expect("a name");
        let own = OwnCertificate::judge(name, certified.expect("a key"), now).expect("a server");
        let name = "urn:example:pump-0000000";
        let uri = name.try_into().expect("an ASCII name");
        params.subject_alt_names = vec![SanType::URI(uri)];
        let device = params.self_signed(&key).expect("a certificate");
        let certificate = device.der().to_vec();
        let at = certificate
            .windows(name.len())
            .position(|part| part == name.as_bytes())
            .expect("the name stands in it");
        let end = at + name.len();
        Peers {
            certificate,
            digits: end - 7..end,
            issuer: IssuerKey([7; 32]),
            trust: TrustName::parse("devices").expect("a name"),
            shown: Arc::clone(own.hosts()),
            listener: ListenerName::parse("devices").expect("a name"),
        }
    }

    /// As a verified chain is read; no signature is asked about here.
    fn identity(&mut self, number: u64) -> ClientIdentity {
        let digits = format!("{number:07}");
        self.certificate[self.digits.clone()].copy_from_slice(digits.as_bytes());
        let path = [CertificateDer::from(self.certificate.as_slice())];
        ClientIdentity::read(&self.trust, NameKind::SanUri, &path, &[self.issuer])
            .expect("an identity")
    }

    fn peer(&mut self, number: u64) -> Peer {
        let address = "192.0.2.1:4711".parse().expect("an address");
        Peer {
            connection: audit::event::Id::new([1; 16]),
            address,
            origin: Origin::of(address),
            listener: self.listener.clone(),
            client: Client::Known(Arc::new(self.identity(number))),
            channel: Channel {
                version: 0x0304,
                suite: 0x1301,
                group: Some(0x001d),
                protocol: Protocol::Http1,
                sni: None,
                shown: Arc::clone(&self.shown),
                ja4: "".into(),
            },
        }
    }
}

/// Every client came a moment ago, and may come often.
fn seen(peers: &mut Peers, clients: u64) -> Rates {
    let often = NonZeroU32::new(1_000_000).expect("not zero");
    let rates = Rates::new(often, Duration::from_hours(1)).expect("a rate");
    for number in 0..clients {
        rates.check(&peers.peer(number)).expect("it may come");
    }
    rates
}

fn rates(is_quick: bool) {
    let mut peers = Peers::new();
    let config = config::parse(Path::new("bench.toml"), CONFIGURATION).expect("a good one");
    let allow = &config.routes[0].allow.value;
    for clients in sizes(is_quick) {
        let rates = seen(&mut peers, clients);
        let some: Vec<Peer> = (0..clients.min(1000))
            .map(|number| peers.peer(number * clients / clients.min(1000)))
            .collect();
        let mut next = some.iter().cycle();
        let mut turn = || next.next().expect("a cycle has no end");
        let check = nanoseconds(|| {
            black_box(rates.check(turn()).is_ok());
        });
        point("the rate of a client checked", clients, check);
        let mut next = some.iter().cycle();
        let rule = nanoseconds(|| {
            let Some(Client::Known(known)) = next.next().map(|peer| &peer.client) else {
                return;
            };
            let known = Some((known.trust(), known.name()));
            black_box(authorize::rule(known, allow, &config.roles).is_ok());
        });
        point("a rule by a pattern", clients, rule);
        let mut number = 0;
        let read = nanoseconds(|| {
            number = (number + 1) % clients;
            black_box(peers.identity(number));
        });
        point("an identity read from its certificate", clients, read);
    }
}

fn sizes(is_quick: bool) -> impl Iterator<Item = u64> {
    let most = if is_quick { 100_000 } else { 1_000_000 };
    let all = [1, 100, 10_000, 100_000, 1_000_000];
    all.into_iter().filter(move |size| *size <= most)
}

/// Bytes of resident memory of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("proc_pid_status(5)");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.expect("a size").parse().expect("a number");
    kib * 1024
}

fn cells(is_quick: bool) {
    let mut peers = Peers::new();
    // What the first ones allocate for all is not theirs.
    drop(seen(&mut peers, 1000));
    for clients in sizes(is_quick).filter(|clients| *clients >= 10_000) {
        let before = resident();
        let rates = seen(&mut peers, clients);
        let grown = resident().saturating_sub(before).max(1);
        drop(rates);
        point(
            "memory kept for rates",
            clients,
            float(grown) / float(clients),
        );
    }
}

// --- the log -----------------------------------------------------------------------------------

/// The tree of equal leaves.
struct Equal {
    levels: Vec<Hash>,
    /// The full tile of each level of tiles.
    tiles: Vec<Vec<u8>>,
}

impl Equal {
    fn new(leaf: Hash) -> Equal {
        let levels = std::iter::successors(Some(leaf), |below| Some(hash::node(below, below)));
        let levels: Vec<Hash> = levels.take(64).collect();
        let full = |hash: &Hash| tile::encode(&[*hash; tile::WIDTH as usize]);
        Equal {
            tiles: levels
                .iter()
                .step_by(tile::HEIGHT.into())
                .map(full)
                .collect(),
            levels,
        }
    }
}

impl Tiles for &Equal {
    type Error = Infallible;

    fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Infallible> {
        let Kind::Hashes { level } = tile.kind() else {
            return Ok(None);
        };
        let length = usize::from(tile.width()) * Hash::BYTES;
        Ok(Some(self.tiles[usize::from(level)][..length].to_vec()))
    }
}

fn tree() {
    // As long as a release of the demo is.
    let entry = [0x5a; 438];
    let equal = Equal::new(hash::leaf(&entry));
    let origin = "bench.example/audit".parse().expect("a name");
    let signer = Signer::new(origin, &[1; 32]).expect("a key");
    for exponent in 3..=8 {
        let size = 10_u64.pow(exponent);
        let edge = Edge::read(&equal, size).expect("a tree");
        let head = edge.head();
        let signed = nanoseconds(|| {
            let mut edge = edge.clone();
            for _ in 0..4096 {
                let leaf = hash::leaf(black_box(&entry));
                edge.append(leaf, |_, hashes| drop(black_box(tile::encode(hashes))));
            }
            for (_, hashes) in edge.partial() {
                black_box(tile::encode(hashes));
            }
            let checkpoint = Checkpoint::new("bench.example/audit", edge.head(), &[]);
            let checkpoint = checkpoint.expect("a checkpoint");
            black_box(checkpoint.sign(&signer).expect("signed"));
        });
        point("a checkpoint over 4,096 more entries", size, signed / 1e3);
        let index = size / 3;
        let prove = || {
            let mut nodes = TileNodes::new(&equal, size);
            Inclusion::prove(&mut nodes, black_box(index), size).expect("a proof")
        };
        let proof = prove();
        let leaf = equal.levels[0];
        proof.verify(&leaf, &head).expect("a proof that holds");
        point(
            "an entry's proof made",
            size,
            nanoseconds(|| drop(prove())) / 1e3,
        );
        let checked = nanoseconds(|| {
            black_box(proof.verify(black_box(&leaf), &head).is_ok());
        });
        point("an entry's proof checked", size, checked / 1e3);
        let grown = nanoseconds(|| {
            let mut nodes = TileNodes::new(&equal, size);
            black_box(Consistency::prove(&mut nodes, index, size).expect("a proof"));
        });
        point("a proof that the log only grew made", size, grown / 1e3);
    }
}

/// Entries of a patient.
const EACH: u64 = 100;

/// The entries of which an append's cost is told: the last ones before each size.
const LAST: u64 = 10_000;

fn log(is_quick: bool) {
    let most = if is_quick { 100_000 } else { 1_000_000 };
    let sizes = [10_000, 100_000, 1_000_000_u64];
    for size in sizes.into_iter().filter(|size| *size <= most) {
        log_of(size);
    }
}

fn log_of(size: u64) {
    let place = logs::place();
    let directory = place.path().join("audit");
    let (secret, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let origin = "bench.example/audit".parse().expect("a name");
    let unsealer = || {
        let secret = reader::parse_secret(secret.as_bytes()).expect("a key");
        Unsealer::new(&directory, Some(secret)).expect("a log")
    };
    let options = Options {
        signer: Some(Arc::new(Signer::new(origin, &[1; 32]).expect("a key"))),
        ..logs::options(&directory, reader)
    };
    let (log, committer) = Log::open(&options).expect("a log");
    // Patients take turns, so that the entries of one lie all over the log.
    let patients = size / EACH;
    append(&log, 0..size - LAST, patients);
    let before = cpu_time(ClockId::ProcessCPUTime);
    append(&log, size - LAST..size, patients);
    let after = cpu_time(ClockId::ProcessCPUTime);
    let taken = after.saturating_sub(before).as_secs_f64();
    let each = taken * 1e6 / float(LAST);
    point("an append, all threads", size, each);
    drop(log);
    let ended = committer.close(Duration::from_mins(1));
    ended.expect("an end");
    index::update(&directory, unsealer(), &mut |_| ()).expect("an index");
    let asked = Asked {
        names: Names::linked([logs::patient(7)]).expect("one name"),
        since: None,
        until: None,
        index: true,
    };
    let report = nanoseconds(|| {
        let found = collect(&directory, unsealer(), &asked).expect("a report");
        assert_eq!(found.list.len() as u64, EACH);
    });
    let name = "a patient's report of 100 requests, indexed";
    point(name, size, report / 1e3);
}

/// Appends these entries, and waits until all of them are written.
fn append(log: &Log, numbers: std::ops::Range<u64>, patients: u64) {
    let patience = Duration::from_mins(1);
    let last = numbers.end.saturating_sub(1);
    for number in numbers {
        let entry = logs::release(number, number % patients, "GET");
        if number % LAST == 0 || number == last {
            log.append_blocking(&entry, patience).expect("a record");
        } else {
            log.append_unwaited(&entry, Share::Proven).expect("room");
        }
    }
}
