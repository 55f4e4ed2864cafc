//! Who reads the log of a running gateway is on record before anything is read, and nobody can write
//! anything else through the socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use audit::event::{Entry, Event, Stop, Time};
use integration::gateway::Gateway;
use integration::program::{Program, Ran};
use integration::records::{self, Record};
use integration::wait::OrFail;
use integration::world::World;

fn show(gateway: &Gateway, words: &[&str]) -> Ran {
    Program::ours("audit")
        .args(["show", "--json"])
        .args(words)
        .arg(gateway.audit())
        .run()
}

fn reads(gateway: &Gateway) -> Vec<Record> {
    let records = gateway.records();
    records.of_kind("log_read").into_iter().cloned().collect()
}

#[test]
fn a_read_of_a_live_log_is_on_record_before_anything_is_read() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let socket = gateway.audit().join("SOCKET");
    let mode = std::fs::metadata(&socket)
        .or_fail("find the socket")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let patient = "ab".repeat(16);
    let shown = show(&gateway, &["--patient", &patient, "--type", "log_read"]).expect_code(0);
    assert_eq!(shown.stdout, "", "of a patient whom no record names");
    let shown = show(&gateway, &["--type", "log_read"]).expect_code(0);
    assert_eq!(
        shown.stdout.lines().count(),
        2,
        "the first, and this one itself"
    );
    let found = reads(&gateway);
    let (first, second) = (&found[0], &found[1]);
    assert_eq!(first.field("patients"), &serde_json::json!([patient]));
    assert_eq!(
        first.field("filters"),
        &serde_json::json!(["patient", "type"])
    );
    assert_eq!(second.text("verb"), "show");
    assert_eq!(
        second.number("uid"),
        Some(rustix::process::getuid().as_raw().into())
    );
    assert_eq!(second.field("served"), true);
    gateway.verify();
    let stopped = gateway.stop();
    assert!(!socket.exists());
    records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn whoever_follows_the_log_is_on_record_once() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut follower = Program::ours("audit")
        .args(["show", "--json", "--follow"])
        .arg(gateway.audit())
        .start(&world.place, "follower");
    let answer = world.caller().ask("GET /x").or_fail("get an answer");
    integration::wait::until("the record is shown", || {
        follower.stdout().contains(answer.id()).then_some(())
    });
    follower.signal(rustix::process::Signal::TERM);
    follower.end();
    assert_eq!(reads(&gateway).len(), 1);
}

#[test]
fn nothing_but_a_read_is_taken_from_the_socket_and_nobody_can_stop_it() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let socket = gateway.audit().join("SOCKET");
    let connect = || UnixStream::connect(&socket).or_fail("connect");
    let mut stop = vec![0, 0];
    let entry = Entry {
        time: Time(0),
        event: Event::Stop(Stop { reason: "canary" }),
    };
    audit::entry::encode(&entry, &mut stop);
    stop[1] = u8::try_from(stop.len() - 2).or_fail("be short");
    for message in [&stop[..], b"\0\0", b"\0\x04junk", b"\xff\xffmore"] {
        let mut stream = connect();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .or_fail("set a limit");
        stream.write_all(message).or_fail("say something");
        let mut answer = Vec::new();
        // What was not read to its end may be answered by a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer == [0], "{answer:?}");
    }
    // Some who say nothing, and one who does.
    let silent: Vec<_> = (0..3).map(|_| connect()).collect();
    show(&gateway, &[]).expect_code(0);
    drop(silent);
    assert_eq!(reads(&gateway).len(), 1);
    assert!(gateway.records().find("stop").is_none());
    world.is_served();
    gateway.verify();
}

#[test]
fn the_socket_of_a_gateway_that_was_killed_is_in_nobodys_way() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration();
    let gateway = Gateway::start(&world.place, &configuration);
    let audit = gateway.audit().to_owned();
    gateway.kill();
    assert!(audit.join("SOCKET").exists());
    let read = Program::ours("audit")
        .args(["show", "--json"])
        .arg(&audit)
        .run()
        .expect_code(0);
    assert!(read.stdout.contains("\"type\":\"log_read\""), "{read:?}");
    let verified = Program::ours("audit")
        .arg("verify")
        .arg(&audit)
        .run()
        .expect_code(0);
    assert!(!verified.stdout.contains("SOCKET"), "{verified:?}");
    let gateway = Gateway::start(&world.place, &configuration);
    show(&gateway, &[]).expect_code(0);
    assert_eq!(reads(&gateway).len(), 2);
    gateway.verify();
}
