//! A limit on everything, and one deadline a phase: whoever is slow, idle, old or too many is told so
//! where that is possible, ended, and on record.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use integration::gateway::Gateway;
use integration::hello::Hello;
use integration::line::{End, Line};
use integration::origin::ok;
use integration::program::Program;
use integration::streams::Streams;
use integration::wait;
use integration::world::World;

fn limited(world: &World, limits: &str) -> Gateway {
    world.gateway(&format!("[listeners.devices.limits]\n{limits}"))
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "handshake = \"1s\"");
    let mut silent = Line::plain(gateway.listen()).unwrap();
    assert_eq!(silent.rest(), (Vec::new(), End::Closed));
    let mut half = Line::plain(gateway.listen()).unwrap();
    half.send(&Hello::up_to(0x0303).bytes()[..40]).unwrap();
    assert_eq!(half.rest().1, End::Closed);
    gateway.await_record("both", |_| {
        let records = gateway.records();
        records
            .iter()
            .filter(|record| record.in_short() == "handshake_refused hello_timeout")
            .count()
            == 2
    });
    world.is_served();
}

#[test]
fn a_hello_that_trickles_is_given_up_by_the_one_deadline() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "handshake = \"1s\"");
    let mut line = Line::plain(gateway.listen()).unwrap();
    let hello = Hello::up_to(0x0303).bytes();
    // Each byte is in time for a deadline that would begin anew.
    for byte in &hello {
        if line.send([*byte]).is_err() {
            break;
        }
        wait::pause(Duration::from_millis(100));
        if refused(&gateway, "hello_timeout") {
            break;
        }
    }
    gateway.await_short("handshake_refused hello_timeout");
    world.is_served();
}

fn refused(gateway: &Gateway, code: &str) -> bool {
    gateway
        .records()
        .find(&format!("handshake_refused {code}"))
        .is_some()
}

#[test]
fn a_handshake_that_goes_no_further_is_given_up() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "handshake = \"1s\"");
    let mut line = Line::plain(gateway.listen()).unwrap();
    line.send(Hello::up_to(0x0303).bytes()).unwrap();
    let (answer, end) = line.rest();
    assert_eq!(
        answer.first(),
        Some(&22),
        "the server's part of the handshake came"
    );
    assert!([End::Closed, End::Cut].contains(&end), "{end:?}");
    let record = gateway.await_short("handshake_refused handshake_timeout");
    assert_eq!(record.field("offered")["sni"], "api.test", "{record}");
    world.is_served();
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = Line::plain(gateway.listen()).unwrap();
    line.send(&Hello::up_to(0x0303).bytes()[..40]).unwrap();
    line.finish().unwrap();
    gateway.await_short("handshake_refused handshake_broken_off");
    world.is_served();
}

#[test]
fn a_handshake_that_the_library_ends_is_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = Line::plain(gateway.listen()).unwrap();
    line.send(Hello::up_to(0x0303).bytes()).unwrap();
    line.socket().peek(&mut [0]).unwrap();
    // A Finished where a certificate must come (RFC 5246 7.3).
    line.send([22, 3, 3, 0, 4, 20, 0, 0, 0]).unwrap();
    let (answer, end) = line.rest();
    assert!([End::Closed, End::Cut].contains(&end), "{end:?}");
    assert!(
        answer.windows(5).any(|record| record == [21, 3, 3, 0, 2]),
        "an alert says so: {answer:02x?}"
    );
    gateway.await_short("handshake_refused handshake_failed");
    world.is_served();
}

#[test]
fn a_client_that_closes_in_order_is_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    line.finish().unwrap();
    let close = gateway.await_short("close closed_by_client");
    assert_eq!(close.number("requests"), Some(1), "{close}");
    assert_eq!(line.rest().1, End::Closed);
}

#[test]
fn a_head_that_does_not_come_in_time_is_408() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = limited(&world, "head = \"1s\"");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\nX-Slow: ")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 408, "head_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(line.rest(), (Vec::new(), End::Closed));
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn a_head_that_trickles_is_cut_by_the_one_deadline() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "head = \"1s\"");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n").unwrap();
    let trickle = wait::within(wait::PATIENCE, || {
        let sent = line.send("X-Slow: 1\r\n").is_err();
        wait::pause(Duration::from_millis(100));
        (sent || gateway.records().find("refusal head_timeout").is_some()).then_some(())
    });
    assert!(trickle.is_some(), "it went on for ever");
    gateway.await_short("refusal head_timeout");
    world.is_served();
}

#[test]
fn slow_clients_do_not_keep_others_waiting() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(
        &world,
        "head = \"30s\"\nhandshake = \"30s\"\nconnections_per_address = 1000",
    );
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut line = if number % 2 == 0 {
            world.line()
        } else {
            Line::plain(gateway.listen()).unwrap()
        };
        line.send(if number % 2 == 0 {
            "GET /slow HTTP/1.1\r\nHo"
        } else {
            "\x16\x03\x01"
        })
        .unwrap();
        slow.push(line);
    }
    for _ in 0..20 {
        world.is_served();
    }
    drop(slow);
    wait::until("the end of the slow ones", || {
        (gateway.metric("phigate_connections{listener=\"devices\"}") == 0.0).then_some(())
    });
    gateway.verify();
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "idle = \"1s\"");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    assert_eq!(line.rest(), (Vec::new(), End::Closed));
    gateway.await_short("close idle");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
    assert_eq!(streams.end(), "closed", "with GOAWAY, not by a cut");
    gateway.await_record("both", |_| {
        gateway
            .records()
            .iter()
            .filter(|record| record.in_short() == "close idle")
            .count()
            == 2
    });
}

#[test]
fn a_connection_that_is_too_old_is_closed_after_an_answer() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "age = \"1s\"");
    let mut line = world.line();
    let ended = wait::within(wait::PATIENCE, || {
        let asked = line
            .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .is_ok();
        let answered = asked && line.answer().is_ok();
        wait::pause(Duration::from_millis(50));
        (!answered).then_some(())
    });
    assert!(ended.is_some(), "it lives on");
    gateway.await_short("close age_limit");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/x").unwrap().status, 200);
    assert_eq!(streams.end(), "closed");
    world.is_served();
}

#[test]
fn a_listener_holds_no_more_connections_than_it_may() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "connections = 3");
    let lines: Vec<_> = (0..3).map(|_| world.line()).collect();
    assert!(
        world.caller().ask("GET /x").is_err(),
        "a fourth is not served"
    );
    let record = gateway.await_short("handshake_refused connection_limit");
    assert_eq!(record.text("listener"), "devices", "{record}");
    drop(lines);
    wait::until("room again", || world.caller().ask("GET /x").ok());
}

#[test]
fn an_address_holds_no_more_connections_than_it_may() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = limited(&world, "connections_per_address = 2");
    let from = |last: u8| world.caller().from(Ipv4Addr::new(127, 0, 0, last));
    let lines: Vec<_> = (0..2).map(|_| from(2).connect().unwrap()).collect();
    assert!(
        from(2).ask("GET /x").is_err(),
        "a third of the same address is not served"
    );
    let record = gateway.await_short("handshake_refused address_limit");
    assert!(record.text("address").starts_with("127.0.0.2:"), "{record}");
    assert_eq!(
        from(3).ask("GET /x").unwrap().status,
        200,
        "another address is"
    );
    drop(lines);
    wait::until("room again", || from(2).ask("GET /x").ok());
}

#[test]
fn a_client_that_comes_too_often_is_told_when_to_come_again() {
    let world = World::new();
    let origin = world.plain_origin();
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let gateway = world.gateway(
        "[[routes]]\nname = \"all\"\nrate = { per = \"client\", requests = 3, every = \"3s\" }",
    );
    let mut line = world.line();
    let mut ask = || {
        line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        line.answer().unwrap()
    };
    let limited = wait::until("a refusal", || {
        let answer = ask();
        (answer.status != 200).then_some(answer)
    });
    gateway.refused(&limited, 429, "rate_limited");
    let served = origin.seen().len();
    assert!((3..=4).contains(&served), "{served} were served");
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=2).contains(&wait),
        "a place comes free every second: {wait}"
    );
    // Each client has its own; a connection or a protocol more does not help.
    assert_eq!(
        world.nobody().with(&other).ask("GET /x").unwrap().status,
        200
    );
    // Whoever waits as long as told is served.
    wait::pause(Duration::from_secs(wait));
    assert_eq!(ask().status, 200);
    gateway.verify();
}

#[test]
fn many_streams_at_once_are_all_served_and_recorded() {
    let world = World::new();
    let _origin = world.answering(|_| ok("hello"));
    let gateway = world.gateway(OPEN);
    // h2load knows no client certificates, so it comes in where none is asked for.
    let ran = Program::of_the_machine("h2load")
        .args([
            "-n",
            "5000",
            "-c",
            "4",
            "-m",
            "64",
            "-t",
            "1",
            "--connect-to",
        ])
        .arg(gateway.listen().to_string())
        .arg("https://api.test/x")
        .run()
        .expect_code(0);
    assert!(
        ran.stdout
            .contains("5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed"),
        "{ran:?}"
    );
    let records = gateway.records();
    assert_eq!(records.of_kind("release").len(), 5000);
    world.is_served();
    gateway.verify();
}

/// The listener asks nobody for a certificate.
const OPEN: &str = r#"
[listeners.devices.clients]
certificates = "optional"
rationale = "the load generator of the test has no certificate"
[[routes]]
name = "all"
allow = ["anyone"]
rationale = "the load generator of the test has no certificate"
"#;

#[test]
fn an_nghttp_upload_of_many_streams_is_whole() {
    let world = World::new();
    let origin = world.answering(|seen| ok(&seen.body.len().to_string()));
    let gateway = world.gateway("");
    let file = world.place.write("upload", vec![b'x'; 300_000]);
    let ran = Program::of_the_machine("nghttp")
        .args([
            "--no-verify-peer",
            "--no-content-length",
            "-v",
            "-m",
            "8",
            "--trailer",
            "x-sum: 1",
            "-H",
            ":authority: api.test",
        ])
        .arg(format!("--cert={}", world.device.chain.display()))
        .arg(format!("--key={}", world.device.key.display()))
        .arg("-d")
        .arg(file)
        // nghttp takes the server name from the URL, and a certificate of the gateway is for 127.0.0.1.
        .arg(format!("https://{}/x", gateway.listen()))
        .run();
    let statuses = ran.stdout.matches(":status: 200").count();
    assert_eq!(statuses, 8, "{}", ran.stdout);
    let seen = origin.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.whole && seen.body.len() == 300_000),
        "{}",
        seen.len()
    );
    assert!(
        seen.iter()
            .all(|seen| seen.trailers == [("x-sum".to_owned(), "1".to_owned())])
    );
    gateway.verify();
}

#[test]
fn streams_that_are_reset_as_soon_as_they_open_end_the_connection() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.caller().speaking("h2").connect().unwrap();
    // The preface, empty settings, then streams and their resets (CVE-2023-44487).
    let mut bytes =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec();
    let mut head = vec![0x82, 0x87, 0x84, 0x41, 8];
    head.extend(b"api.test");
    for stream in (1_u32..20_001).step_by(2) {
        bytes.extend([0, 0, u8::try_from(head.len()).unwrap(), 1, 5]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(&head);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    // It is cut off before all of it is taken, or says GOAWAY and closes.
    let _ = line.write_all(&bytes);
    let (_, end) = line.rest();
    assert_ne!(end, End::Open);
    let close = gateway.await_record("the end", |record| record.kind() == "close");
    assert_eq!(close.code(), "peer_protocol", "{close}");
    let requests = close.number("requests").unwrap_or_default();
    assert!(requests < 5000, "{requests} of 10000 streams were taken up");
    world.is_served();
    gateway.verify();
}

#[test]
fn an_http_2_head_that_is_too_large_is_refused() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = limited(&world, "head_bytes = \"4KiB\"");
    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder().header("x-large", "x".repeat(8000));
    let answer = streams.send(builder, "/x", integration::streams::Content::default());
    match answer {
        Ok(answer) => assert_eq!(answer.status, 431, "{answer:?}"),
        Err(error) => assert!(!error.is_empty()),
    }
    assert_eq!(origin.seen().len(), 0);
    let answer = world.caller().ask(&format!(
        "GET /x HTTP/1.1\r\nHost: api.test\r\nX-Large: {}\r\n\r\n",
        "x".repeat(8000)
    ));
    gateway.refused(&answer.unwrap(), 431, "head_too_large");
    world.is_served();
}

#[test]
fn more_fields_over_http_2_than_allowed_are_refused() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = limited(&world, "head_fields = 20");
    let many = |count: usize| {
        (0..count).fold(http::Request::builder(), |builder, number| {
            builder.header(format!("x-{number}"), "1")
        })
    };
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(
        streams
            .send(many(10), "/x", integration::streams::Content::default())
            .unwrap()
            .status,
        200
    );
    let answer = streams
        .send(many(60), "/x", integration::streams::Content::default())
        .unwrap();
    gateway.refused(&answer, 431, "head_too_large");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    if !wait::long() {
        // It takes the minute that the gateway grants.
        return wait::cannot_run(
            "limits::a_client_that_does_not_read",
            "takes a minute; --long runs it",
        );
    }
    let world = World::new();
    let _origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")?;
            while conversation.write([b'x'; 16_384]).is_ok() {}
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let began = Instant::now();
    let deadline = Duration::from_secs(150);
    let ended = wait::within(deadline, || {
        gateway.records().find("completion client_stalled").cloned()
    });
    assert!(ended.is_some(), "still there after {:?}", began.elapsed());
    drop(line);
}
