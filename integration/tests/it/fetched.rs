//! Revocation lists that are fetched over plain HTTP: in force within seconds, kept over a restart, and nothing
//! that a server of lists says or withholds takes a revocation back or lets somebody in.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use integration::authority::Credentials;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::line::End;
use integration::origin::{Conversation, Origin};
use integration::program::Program;
use integration::streams::Streams;
use integration::wait::{self, OrFail};
use integration::world::{DEVICE, World};

use crate::revoked::{await_words, is_revoked_soon, until_revoked};

/// The port of a place's server of lists.
const LISTS: u16 = 20_085;

/// What is answered in place of a list.
type Instead = Arc<dyn Fn(&mut Conversation) -> std::io::Result<()> + Send + Sync>;

/// A server of the lists in a folder, that says when they did not change; or answers as it is told.
struct Publisher {
    origin: Origin,
    instead: Arc<Mutex<Option<Instead>>>,
}

impl Publisher {
    #[track_caller]
    fn of(world: &World, folder: &str) -> Publisher {
        let folder = world.place.path(folder);
        let instead: Arc<Mutex<Option<Instead>>> = Arc::default();
        let told = Arc::clone(&instead);
        let origin = Origin::start(world.place.at(LISTS), move |conversation| {
            while conversation.request()? {
                conversation.body()?;
                let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match told {
                    Some(answer) => answer(conversation)?,
                    None => conversation.write(list(&folder, conversation))?,
                }
            }
            Ok(())
        });
        Publisher { origin, instead }
    }

    /// Answers like this from now on.
    fn answers(
        &self,
        answer: impl Fn(&mut Conversation) -> std::io::Result<()> + Send + Sync + 'static,
    ) {
        *self.instead.lock().unwrap() = Some(Arc::new(answer));
    }

    /// Answers with these bytes from now on.
    fn says(&self, answer: impl Into<Vec<u8>>) {
        let answer = answer.into();
        self.answers(move |conversation| conversation.write(&answer));
    }

    /// Answers with lists again.
    fn recovers(&self) {
        *self.instead.lock().unwrap() = None;
    }
}

/// 200 with the list, 304 where the client has it, 404.
fn list(folder: &std::path::Path, conversation: &Conversation) -> Vec<u8> {
    let seen = conversation.current();
    let name = seen.target.trim_start_matches("/crl/").to_owned();
    let Ok(content) = fs::read(folder.join(name)) else {
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    };
    let sum = content
        .iter()
        .fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    let tag = format!("\"{sum:x}\"");
    if seen.header("if-none-match") == Some(&tag) {
        return format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n\r\n").into_bytes();
    }
    with_head(&format!("etag: {tag}\r\n"), &content)
}

fn with_head(fields: &str, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n");
    [head.as_bytes(), content].concat()
}

/// The lists that `pki` publishes.
fn names(world: &World) -> Vec<String> {
    let folder = fs::read_dir(world.place.path("pki/crl")).or_fail("list the lists");
    let names = folder.map(|item| item.or_fail("list the lists").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.rsplit('.').next() == Some("crl"))
        .collect()
}

/// The configuration in which those are fetched.
fn fetching(world: &World) -> String {
    let server = world.place.at(LISTS);
    let urls: Vec<_> = names(world)
        .iter()
        .map(|name| format!("\"http://{server}/crl/{name}\""))
        .collect();
    format!(
        "[trust.devices]\nintermediates = [\"pki/crl/issuing.pem\"]\nrevocation = {{ crls = [{}], kept = \"fetched\", refresh = \"1s\" }}",
        urls.join(", ")
    )
}

#[track_caller]
fn await_fetches(gateway: &Gateway, outcome: &str, more: f64) {
    let name =
        format!("phigate_revocation_fetches_total{{trust=\"devices\",outcome=\"{outcome}\"}}");
    let before = gateway.metric(&name);
    wait::until(&format!("{more} fetches that are {outcome}"), || {
        (gateway.metric(&name) >= before + more).then_some(())
    });
}

#[test]
fn a_revocation_that_is_published_over_http_is_in_force_within_seconds() {
    let world = World::new();
    let _origin = world.plain_origin();
    let publisher = Publisher::of(&world, "pki/crl");
    // As often as it is asked for when nothing is said.
    let gateway = world.gateway(&fetching(&world).replace(", refresh = \"1s\"", ""));
    let mut line = world.line();
    line.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/before").unwrap().status, 200);
    await_fetches(&gateway, "unchanged", 1.0);
    world.authority.revoke(DEVICE);
    is_revoked_soon(&world.caller(), Instant::now());
    assert_ne!(line.rest().1, End::Open, "the connection has ended");
    streams.end();
    let seen = publisher.origin.seen();
    let conditional = |seen: &&integration::origin::Seen| seen.header("if-none-match").is_some();
    assert!(seen.iter().filter(conditional).count() > 0);
    assert_eq!(gateway.metric("phigate_generation"), 1.0);
    gateway.await_record("the lists", |record| {
        record.kind() == "revocation" && record.number("serials") == Some(1)
    });
}

#[test]
fn what_was_fetched_last_stands_while_the_server_is_down_and_over_a_restart() {
    let world = World::new();
    let _origin = world.plain_origin();
    let publisher = Publisher::of(&world, "pki/crl");
    let lost = world
        .authority
        .device(&world.place.path("lost"), "urn:example:pump-2");
    let configuration = fetching(&world);
    let mut gateway = world.gateway(&configuration);
    world.authority.revoke("urn:example:pump-2");
    let lost = world.nobody().with(&lost);
    until_revoked(&lost);
    drop(publisher);
    await_words(&mut gateway, "was not fetched: no connection");
    await_fetches(&gateway, "failed", 1.0);
    assert_eq!(lost.alert(), Some(44));
    world.is_served();
    let unfetched = "phigate_revocation_unfetched{trust=\"devices\"}";
    wait::until("all of them to fail", || {
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        let count = names(&world).len() as f64;
        (gateway.metric(unfetched) == count).then_some(())
    });
    // Once for each list, however often it was tried.
    let log = gateway.process().stderr();
    assert_eq!(log.matches("was not fetched").count(), names(&world).len());
    drop(gateway.stop());
    let mut gateway = world.gateway(&configuration);
    assert_eq!(lost.alert(), Some(44));
    world.is_served();
    let _publisher = Publisher::of(&world, "pki/crl");
    await_words(&mut gateway, "is fetched again");
    wait::until("none to fail", || {
        (gateway.metric(unfetched) == 0.0).then_some(())
    });
}

#[test]
fn who_is_covered_by_a_list_that_was_never_fetched_is_refused_until_it_comes() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = fetching(&world);
    // A look at it asks nobody.
    let file = world.place.write(
        "looked.toml",
        world.configuration().with(&configuration).text(),
    );
    Program::ours("gateway")
        .args(["check", "--config"])
        .arg(&file)
        .run()
        .expect_code(0);
    let gateway = world.gateway(&configuration);
    assert_eq!(world.caller().alert(), Some(48));
    gateway.await_short("handshake_refused revocation_unknown");
    let _publisher = Publisher::of(&world, "pki/crl");
    wait::until("the first lists", || {
        let answer = world.caller().ask("GET /x").ok()?;
        (answer.status == 200).then_some(())
    });
    world.is_served();
}

#[test]
fn a_reload_that_turns_to_fetched_lists_lets_nobody_in_that_was_revoked_and_keeps_nobody_out() {
    let world = World::new();
    let _origin = world.plain_origin();
    let lost = world
        .authority
        .device(&world.place.path("lost"), "urn:example:pump-2");
    world.authority.revoke("urn:example:pump-2");
    let gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/before").unwrap().status, 200);
    let lost = world.nobody().with(&lost);
    // Nobody serves the lists yet: those in force stand for them.
    assert!(gateway.reload_with(&world.configuration().with(&fetching(&world))));
    assert_eq!(lost.alert(), Some(44));
    assert_eq!(streams.ask("GET", "/after").unwrap().status, 200);
    let _publisher = Publisher::of(&world, "pki/crl");
    await_fetches(&gateway, "unchanged", 2.0);
    assert_eq!(lost.alert(), Some(44));
    assert_eq!(streams.ask("GET", "/after").unwrap().status, 200);
    world.is_served();
}

#[test]
fn whatever_else_a_server_of_lists_says_changes_nothing_and_is_told_once() {
    let world = World::new();
    let _origin = world.plain_origin();
    let publisher = Publisher::of(&world, "pki/crl");
    let lost = world
        .authority
        .device(&world.place.path("lost"), "urn:example:pump-2");
    let configuration = fetching(&world);
    let mut gateway = world.gateway(&configuration);
    let old = fs::read(world.place.path("pki/crl").join(issuing(&world))).unwrap();
    world.authority.revoke("urn:example:pump-2");
    let lost = world.nobody().with(&lost);
    until_revoked(&lost);
    let new = fs::read(world.place.path("pki/crl").join(issuing(&world))).unwrap();
    let stranger = Lab::new(&world.place, "stranger");
    let strange = fs::read(stranger.crl()).unwrap();
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/crl/elsewhere.crl\r\ncontent-length: 0\r\n\r\n",
        world.place.at(LISTS)
    );
    let half = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".as_slice(),
        &new,
    ]
    .concat();
    for (answer, outcome, words) in [
        (
            with_head("", b"<html>log in first</html>"),
            "refused",
            "it is not one revocation list",
        ),
        (
            with_head("", &strange),
            "refused",
            "is not an authority of this trust set",
        ),
        (
            with_head("", &old),
            "refused",
            "would take revocations back",
        ),
        (
            with_head("content-encoding: gzip\r\n", &new),
            "failed",
            "has a content coding",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "failed",
            "the server answered 404",
        ),
        (moved.into_bytes(), "failed", "the server answered 302"),
        (
            b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
            "failed",
            "is no HTTP, or broke off",
        ),
    ] {
        publisher.says(answer);
        await_fetches(&gateway, outcome, 2.0);
        await_words(&mut gateway, words);
        let told = gateway.process().stderr().matches(words).count();
        // The list of the root is no newer than itself, but of other certificates than that of the issuer.
        assert!(told <= names(&world).len(), "{words}: {told}");
        assert_eq!(lost.alert(), Some(44), "{words}");
        world.is_served();
        publisher.recovers();
        await_fetches(&gateway, "unchanged", 1.0);
    }
    publisher.answers(move |conversation| {
        conversation.write(&half)?;
        conversation.reset();
        Err(std::io::ErrorKind::ConnectionReset.into())
    });
    await_fetches(&gateway, "failed", 2.0);
    assert_eq!(lost.alert(), Some(44));
    world.is_served();
    assert!(
        !publisher
            .origin
            .seen()
            .iter()
            .any(|seen| seen.target.contains("elsewhere")),
        "nobody is followed"
    );
    // Nor does a restart forget what came.
    publisher.says(with_head("", &old));
    drop(gateway.stop());
    let gateway = world.gateway(&configuration);
    await_fetches(&gateway, "refused", 1.0);
    assert_eq!(lost.alert(), Some(44));
    world.is_served();
}

/// The name of the list that names the devices that were revoked.
fn issuing(world: &World) -> String {
    let mut names = names(world).into_iter();
    let name = names.find(|name| name.starts_with("issuing"));
    name.or_fail("find a list")
}

#[test]
fn a_server_that_hangs_or_never_ends_holds_nothing_up_and_fills_no_memory() {
    let world = World::new();
    let _origin = world.plain_origin();
    let publisher = Publisher::of(&world, "pki/crl");
    let mut gateway = world.gateway(&fetching(&world));
    world.is_served();
    // More than any list has, as fast as it is taken.
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    publisher.answers(move |conversation| {
        conversation.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = [b"100000\r\n".as_slice(), &vec![0x30; 1 << 20], b"\r\n"].concat();
        while !done.load(Ordering::SeqCst) {
            conversation.write(&chunk)?;
        }
        Ok(())
    });
    await_words(&mut gateway, "it is larger than any list that is read");
    assert!(
        gateway.process().peak() < 600 << 20,
        "{}",
        gateway.process().peak()
    );
    world.is_served();
    is_done.store(true, Ordering::SeqCst);
    // A length that is too large is not waited for.
    publisher.says("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n");
    await_fetches(&gateway, "refused", 1.0);
    // Not a byte.
    publisher.answers(|conversation| {
        conversation.await_close();
        Ok(())
    });
    await_words(&mut gateway, "it did not come in time");
    world.is_served();
    publisher.recovers();
    world.authority.revoke(DEVICE);
    until_revoked(&world.caller());
    // What hangs holds up no end.
    publisher.answers(|conversation| {
        conversation.await_close();
        Ok(())
    });
    assert!(gateway.stop().status.success());
}

#[test]
fn the_shards_that_pki_serves_are_fetched_from_where_its_certificates_point() {
    let world = World::new();
    let _origin = world.plain_origin();
    let server = world.place.at(LISTS);
    let pki = |verb: &str, more: &[&str]| {
        Program::ours("pki")
            .args([verb, "--dir"])
            .arg(world.place.path("sharded"))
            .args(more)
            .run()
            .expect_code(0)
    };
    let url = format!("http://{server}");
    pki(
        "init",
        &["--name", "sharded", "--url", &url, "--shards", "3"],
    );
    let device = world.place.path("sharded-device");
    let to = device.to_string_lossy();
    pki(
        "issue",
        &[
            "--new-key",
            "--profile",
            "device",
            "--id",
            DEVICE,
            "--out",
            &to,
        ],
    );
    let _serving = Program::ours("pki")
        .args(["serve", "--dir"])
        .arg(world.place.path("sharded"))
        .args(["--listen", &server.to_string()])
        .start(&world.place, "pki");
    wait::until("a server of lists", || TcpStream::connect(server).ok());
    let lists = ["root", "issuing-00", "issuing-01", "issuing-02"];
    let urls = lists.map(|name| format!("\"{url}/crl/{name}.crl\""));
    let _gateway = world.gateway(&format!(
        "[trust.devices]\nroots = [\"sharded/trust.pem\"]\nintermediates = [\"sharded/crl/issuing.pem\"]\nrevocation = {{ crls = [{}], kept = \"fetched\" }}",
        urls.join(", ")
    ));
    let caller = world.nobody().with(&Credentials::in_directory(&device));
    let mut line = caller.connect().unwrap();
    line.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    pki("revoke", &["--id", DEVICE, "--reason", "keyCompromise"]);
    is_revoked_soon(&caller, Instant::now());
    assert_ne!(line.rest().1, End::Open, "the connection has ended");
}

#[test]
fn each_shard_of_a_list_is_fetched_and_covers_its_own_certificates() {
    let world = World::new();
    let _origin = world.plain_origin();
    let lab = Lab::new(&world.place, "lab");
    let server = world.place.at(LISTS);
    let url = |shard: usize| format!("http://{server}/crl/shard-{shard}.crl");
    let devices: BTreeMap<usize, Credentials> = (0..3)
        .map(|shard| {
            let points = format!("URI:{}", url(shard));
            let leaf = Leaf {
                points: &points,
                ..Leaf::GOOD
            };
            (shard, lab.issue(&format!("device-{shard}"), &leaf))
        })
        .collect();
    let publish = |shard: usize| -> PathBuf {
        let fresh = lab.publish_shard("fresh.crl", &url(shard));
        let path = world.place.path(format!("lab/shard-{shard}.crl"));
        fs::rename(fresh, &path).or_fail("publish a shard");
        path
    };
    publish(0);
    publish(1);
    let publisher = Publisher::of(&world, "lab");
    let gateway = world.gateway(&format!(
        "[trust.devices]\nroots = [\"lab/root.pem\"]\nrevocation = {{ crls = [\"{}\", \"{}\", \"{}\"], kept = \"fetched\", refresh = \"1s\" }}",
        url(0),
        url(1),
        url(2)
    ));
    let caller = |shard: usize| world.nobody().with(&devices[&shard]);
    let is_served = |shard: usize| assert_eq!(caller(shard).ask("GET /x").unwrap().status, 200);
    is_served(0);
    is_served(1);
    assert_eq!(caller(2).alert(), Some(48), "no shard covers it yet");
    publish(2);
    wait::until("the third shard", || {
        (caller(2).ask("GET /x").ok()?.status == 200).then_some(())
    });
    lab.revoke(&devices[&1].certificate);
    publish(1);
    until_revoked(&caller(1));
    is_served(0);
    is_served(2);
    // A shard under the name of another one is none of its certificates.
    fs::copy(
        world.place.path("lab/shard-1.crl"),
        world.place.path("lab/shard-0.crl"),
    )
    .unwrap();
    await_fetches(&gateway, "refused", 2.0);
    is_served(0);
    assert_eq!(caller(1).alert(), Some(44));
    assert!(publisher.origin.connections() > 3);
}
