//! A new configuration comes into force as a whole, or the old one stays as a whole and the operator is
//! told why; either is on record, and connections live on.

use std::net::TcpStream;
use std::time::Duration;

use integration::gateway::Gateway;
use integration::line::{Caller, End};
use integration::openssl::SClient;
use integration::origin::{Origin, ok};
use integration::program::Program;
use integration::streams::Streams;
use integration::wait::{self, OrFail};
use integration::world::World;

const GET: &str = "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n";

#[test]
fn routes_change_under_connections_that_live() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.line();
    let mut streams = Streams::open(&world.caller()).unwrap();
    line.send(GET).unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
    let closed = world
        .configuration()
        .with("[[routes]]\nname = \"all\"\npath = \"/fhir\"");
    assert!(gateway.reload_with(&closed));
    line.send(GET).unwrap();
    gateway.refused(&line.answer().unwrap(), 404, "no_route");
    gateway.refused(&streams.ask("GET", "/x").unwrap(), 404, "no_route");
    assert_eq!(streams.ask("GET", "/fhir").unwrap().status, 200);
    let nobody = world
        .configuration()
        .with("[roles.pump]\nclients = [\"urn:example:other\"]");
    assert!(gateway.reload_with(&nobody));
    line.send(GET).unwrap();
    gateway.refused(&line.answer().unwrap(), 403, "not_permitted");
    let generations: Vec<_> = gateway
        .records()
        .of_kind("configuration")
        .iter()
        .map(|record| {
            (
                record.text("occasion").to_owned(),
                record.text("outcome").to_owned(),
                record.number("generation"),
            )
        })
        .collect();
    let of =
        |occasion: &str, generation| (occasion.to_owned(), "accepted".to_owned(), Some(generation));
    assert_eq!(
        generations,
        [of("start", 1), of("reload", 2), of("reload", 3)]
    );
    gateway.verify();
}

#[test]
fn a_renewed_certificate_is_shown_to_whoever_connects_next() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let shown = || {
        let called = SClient::to(gateway.listen(), &world.server.trust)
            .with(&world.device)
            .args(&["-showcerts"])
            .ask("/x");
        assert!(called.status(200), "{called:?}");
        let (_, rest) = called
            .0
            .stdout
            .split_once("-----BEGIN CERTIFICATE-----")
            .or_fail("see a certificate");
        rest.split("-----END")
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<String>()
    };
    let mut line = world.line();
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
    let first = shown();
    std::fs::remove_dir_all(world.place.path("server")).unwrap();
    world.authority.server(
        &world.place.path("server"),
        &["api.test", "other.test", "127.0.0.1"],
    );
    assert_eq!(shown(), first, "nothing is read before it is asked for");
    assert!(gateway.reload());
    assert_ne!(shown(), first);
    // Connections that were made under the old one live on.
    line.send(GET).unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
}

/// Reloads what cannot be put in force: the old one stays, the log of the process says why, and the
/// refusal is on record with the number of mistakes.
#[track_caller]
fn is_kept_out(world: &World, gateway: &mut Gateway, text: &str, why: &[&str]) {
    std::fs::write(gateway.file(), text).or_fail("write the configuration");
    let mut line = world.line();
    assert!(!gateway.reload());
    let record = gateway
        .records()
        .of_kind("configuration")
        .last()
        .map(|record| (*record).clone())
        .or_fail("find the record");
    assert_eq!(record.text("outcome"), "refused", "{record}");
    assert!(
        record
            .number("mistakes")
            .is_some_and(|mistakes| mistakes > 0),
        "{record}"
    );
    let log = gateway.process().stderr();
    for why in why {
        assert!(log.contains(why), "{why:?} in {log}");
    }
    assert!(log.contains("the old one stays in force"), "{log}");
    line.send(GET).or_fail("send");
    assert_eq!(line.answer().or_fail("get an answer").status, 200);
    world.is_served();
}

#[test]
fn a_bad_reload_keeps_the_old_and_says_why() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    let good = world.configuration().text();
    let with = |more: &str| world.configuration().with(more).text();
    is_kept_out(
        &world,
        &mut gateway,
        "not toml at all [",
        &["gateway.toml:1:"],
    );
    is_kept_out(&world, &mut gateway, "", &["missing"]);
    let several = with("[upstreams.origin]\nhead = \"sixty\"\n[roles.pump]\nclient = []");
    is_kept_out(
        &world,
        &mut gateway,
        &several,
        &["upstreams.origin.head", "roles.pump.client"],
    );
    let no_file = with("[certificates.api]\nchain = \"nowhere.pem\"");
    is_kept_out(
        &world,
        &mut gateway,
        &no_file,
        &["nowhere.pem", "certificates.api.chain"],
    );
    let wrong_key = with("[certificates.api]\nkey = \"file:device/key.pem\"");
    is_kept_out(
        &world,
        &mut gateway,
        &wrong_key,
        &["the key does not belong"],
    );
    let no_crl = with("[trust.devices]\nrevocation = { crls = [\"server/\"] }");
    is_kept_out(&world, &mut gateway, &no_crl, &["holds no revocation list"]);
    let no_reason = good.replace("rationale = \"the upstream of a test knows nobody\"\n", "");
    is_kept_out(&world, &mut gateway, &no_reason, &["no rationale says why"]);
    assert_eq!(
        gateway.metric("phigate_reloads_total{outcome=\"refused\"}"),
        7.0
    );
    assert_eq!(gateway.metric("phigate_generation"), 1.0);
    std::fs::write(gateway.file(), &good).unwrap();
    assert!(gateway.reload());
    assert_eq!(gateway.metric("phigate_generation"), 2.0);
    gateway.verify();
}

/// One of the revocation lists in a directory.
fn a_list(world: &World, directory: &str) -> std::path::PathBuf {
    let items = std::fs::read_dir(world.place.path(directory)).or_fail("list a directory");
    let mut paths = items.map(|item| item.or_fail("list a directory").path());
    let is_list = |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "crl");
    paths.find(is_list).or_fail("find a list")
}

#[test]
fn a_bad_revocation_list_keeps_the_old_one() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    let text = world.configuration().text();
    integration::authority::Authority::init(&world.place, "other");
    let list = a_list(&world, "other/crl");
    let strange = world.place.path("pki/crl/strange.crl");
    std::fs::copy(list, &strange).unwrap();
    is_kept_out(&world, &mut gateway, &text, &["strange.crl"]);
    // What a copy that broke off leaves: half a list, or nothing.
    let whole = std::fs::read(a_list(&world, "pki/crl")).unwrap();
    for (half, refused) in [
        (&whole[..whole.len() / 2], 2.0),
        (b"not a list", 3.0),
        (b"", 4.0),
    ] {
        std::fs::write(&strange, half).unwrap();
        is_kept_out(&world, &mut gateway, &text, &["strange.crl"]);
        let so_far = gateway.metric("phigate_reloads_total{outcome=\"refused\"}");
        assert_eq!(so_far, refused, "{}", String::from_utf8_lossy(half));
    }
    std::fs::remove_file(&strange).unwrap();
    assert!(gateway.reload());
}

#[test]
fn what_a_running_process_cannot_change_is_refused() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    for (more, what) in [
        ("[audit]\ndirectory = \"elsewhere\"", "the audit log"),
        ("[workers]\ncount = 3", "the number of workers"),
        ("[admin]\nlisten = \"off\"", "the admin listener"),
        ("access_log = \"stdout\"", "the access log"),
    ] {
        let text = world.configuration().with(more).text();
        let why = format!("{what} cannot change while the gateway runs");
        is_kept_out(&world, &mut gateway, &text, &[&why, "restart it"]);
    }
    assert!(
        !world.place.path("elsewhere").exists(),
        "nothing half-done stays behind"
    );
}

#[test]
fn an_address_comes_and_goes() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let (first, second) = (gateway.listen(), world.place.at(20_444));
    assert!(TcpStream::connect(second).is_err());
    let both = format!("[listeners.devices]\nlisten = [\"{first}\", \"{second}\"]");
    assert!(gateway.reload_with(&world.configuration().with(&both)));
    let there = Caller::new(second, &world.server.trust).with(&world.device);
    assert_eq!(there.ask("GET /x").unwrap().status, 200);
    let mut line = there.connect().unwrap();
    assert!(gateway.reload_with(&world.configuration()));
    wait::until("the end of the address", || {
        TcpStream::connect(second).is_err().then_some(())
    });
    // Its listener is still configured, so the connection lives.
    line.send(GET).unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    world.is_served();
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    let (taken, fresh) = (world.place.at(20_444), world.place.at(20_445));
    let _other = Origin::plain(taken);
    let text = world
        .configuration()
        .with(&format!(
            "[listeners.devices]\nlisten = [\"{}\", \"{fresh}\", \"{taken}\"]",
            gateway.listen()
        ))
        .text();
    is_kept_out(
        &world,
        &mut gateway,
        &text,
        &["cannot listen on", "another process listens there"],
    );
    assert!(
        TcpStream::connect(fresh).is_err(),
        "nor was the other one opened"
    );
}

#[test]
fn a_request_on_a_listener_that_is_gone_is_misdirected() {
    let world = World::new();
    let origin = world.plain_origin();
    let second = world.place.at(20_444);
    let more = format!(
        r#"
[listeners.second]
listen = ["{second}"]
tls = "intermediate"
certificates = ["api"]
clients = {{ certificates = "required", trust = "devices" }}
[[routes]]
name = "all"
listeners = ["devices", "second"]
"#
    );
    let gateway = world.gateway(&more);
    let there = Caller::new(second, &world.server.trust).with(&world.device);
    let mut line = there.connect().unwrap();
    line.send(GET).unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    assert!(gateway.reload_with(&world.configuration()));
    let _ = line.send(GET);
    match line.answer() {
        // What the connection proved, it proved to somebody who is gone.
        Ok(answer) => assert!([403, 421].contains(&answer.status), "{answer:?}"),
        Err(_) => drop(gateway.await_record("why it ended", |record| {
            record.kind() == "close" && ["trust_gone", "listener_gone"].contains(&record.code())
        })),
    }
    assert_eq!(line.rest().1, End::Closed);
    assert_eq!(origin.seen().len(), 1);
    world.is_served();
}

#[test]
fn a_trust_set_that_is_replaced_ends_what_it_vouched_for() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
    let other = integration::authority::Authority::init(&world.place, "other");
    let replaced = world.configuration().with(
        "[trust.devices]\nroots = [\"other/trust.pem\"]\nrevocation = { crls = [\"other/crl/\"] }",
    );
    assert!(gateway.reload_with(&replaced));
    assert!(
        streams
            .ask("GET", "/x")
            .map_or(true, |answer| answer.status == 403)
    );
    gateway.await_short("close trust_gone");
    assert_eq!(world.caller().alert(), Some(48));
    let device = other.device(&world.place.path("new-device"), "urn:example:pump-1");
    assert_eq!(
        world.nobody().with(&device).ask("GET /x").unwrap().status,
        200
    );
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_client_keeps_its_rate_over_a_reload() {
    let world = World::new();
    let _origin = world.plain_origin();
    let limited = world.configuration().with(
        "[[routes]]\nname = \"all\"\nrate = { per = \"client\", requests = 2, every = \"10m\" }",
    );
    let gateway = Gateway::start(&world.place, &limited);
    for _ in 0..2 {
        world.is_served();
    }
    assert!(gateway.reload());
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.refused(&answer, 429, "rate_limited");
}

#[test]
fn a_request_under_way_ends_under_the_configuration_it_began_with() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.hold();
            conversation.write(ok("done"))?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send(GET).unwrap();
    origin.await_request();
    // Its route, its upstream: all gone.
    let elsewhere = world.place.at(20_081);
    let changed = world.configuration().with(&format!(
        "[upstreams.origin]\nservers = [\"http://{elsewhere}\"]\n[[routes]]\nname = \"all\"\npath = \"/fhir\""
    ));
    assert!(gateway.reload_with(&changed));
    origin.go();
    let answer = line.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    gateway.await_story(answer.id(), &["release"]);
    // The next one meets the new one.
    let _other = Origin::answering(elsewhere, |_| ok("elsewhere"));
    line.send("GET /fhir HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().text(), "elsewhere");
}

#[test]
fn reloads_under_load_lose_no_request() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let done = std::sync::atomic::AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let (world, done) = (&world, &done);
                scope.spawn(move || {
                    let mut line = world.line();
                    let mut served = 0;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        line.send(GET).or_fail("send");
                        assert_eq!(line.answer().or_fail("get an answer").status, 200);
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for _ in 0..10 {
            assert!(gateway.reload());
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum::<usize>()
    });
    assert!(served > 0);
    assert_eq!(gateway.metric("phigate_generation"), 11.0);
    assert_eq!(gateway.records().of_kind("release").len(), served);
    gateway.verify();
}

#[test]
fn signals_that_come_fast_are_all_heard_in_the_end() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    for _ in 0..20 {
        gateway.process().signal(rustix::process::Signal::HUP);
    }
    // What was written last is in force, however many signals were one.
    assert!(
        gateway.reload_with(
            &world
                .configuration()
                .with("[[routes]]\nname = \"all\"\npath = \"/fhir\"")
        )
    );
    wait::until("the last word", || {
        let answer = world.caller().ask("GET /x").ok()?;
        (answer.status == 404).then_some(())
    });
    wait::pause(Duration::from_millis(20));
    gateway.verify();
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_read_anew() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let text = world.configuration().with("[[routes]]\nname = \"renamed\"\nlisteners = [\"devices\"]\nhosts = [\"api.test\"]\npath = \"/new\"\nmethods = [\"GET\"]\nallow = [\"pump\"]\nupstream = \"origin\"").text();
    let fresh = world.place.write("fresh.toml", text);
    std::fs::rename(fresh, gateway.file()).unwrap();
    assert!(gateway.reload());
    let answer = world.caller().ask("GET /new").unwrap();
    gateway.await_story(answer.id(), &["release"]);
    assert_eq!(
        gateway.records().of_request(answer.id())[0].text("route"),
        "renamed"
    );
    // The record names the very bytes that are in force.
    let digest = Program::of_the_machine("sha256sum")
        .arg(gateway.file())
        .run();
    let record = gateway.await_record("the configuration", |record| {
        record.number("generation") == Some(2) && record.kind() == "configuration"
    });
    assert_eq!(record.text("digest"), &digest.stdout[..64]);
}
