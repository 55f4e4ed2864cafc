//! WebSockets: opened only where a route says so and for pages of its origins; on record before a byte of a
//! window leaves, either way; ended when they carry nothing, grow old, or their client is revoked.

use std::io::{self, Read as _};
use std::time::Duration;

use integration::disk::Disk;
use integration::line::{End, Line};
use integration::origin::{Conversation, Origin};
use integration::records::{Record, Records};
use integration::wait::{self, OrFail};
use integration::world::{DEVICE, World};

use crate::windows::on_a_slow_disk;

/// Routes below `/live`, one for each thing that is different.
const LIVE: &str = r#"
[[routes]]
name = "live"
listeners = ["devices"]
hosts = ["api.test"]
path = "/live"
methods = ["GET", "HEAD"]
allow = ["pump"]
upstream = "origin"
upgrade = ["websocket"]
[[routes]]
name = "named"
listeners = ["devices"]
hosts = ["api.test"]
path = "/live/named"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
upgrade = ["websocket"]
origins = ["https://portal.test"]
[[routes]]
name = "short"
listeners = ["devices"]
hosts = ["api.test"]
path = "/live/short"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
upgrade = ["websocket"]
upgrade_idle = "1s"
[[routes]]
name = "old"
listeners = ["devices"]
hosts = ["api.test"]
path = "/live/old"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
upgrade = ["websocket"]
upgrade_age = "2s"
"#;

/// The key of RFC 6455 section 1.3, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A handshake with some fields in place of its own, and more.
fn handshake(path: &str, fields: &str) -> String {
    let own = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n");
    for (name, value) in own {
        if !fields.contains(&format!("{name}:")) {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
    }
    head.push_str(fields);
    head.push_str("Sec-WebSocket-Protocol: chat\r\n\r\n");
    head
}

/// Opens each WebSocket that is asked for. What it does then its path says.
fn upstream(world: &World) -> Origin {
    world.origin(|conversation| {
        while conversation.request()? {
            let seen = conversation.current();
            if seen.header("upgrade").is_none() {
                conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                continue;
            }
            let accept = match seen.target.as_str() {
                "/live/other-key" => "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                _ => ACCEPT,
            };
            if seen.target == "/live/refused" {
                conversation.write("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")?;
                continue;
            }
            conversation.write(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"
            ))?;
            return speak(conversation, &seen.target);
        }
        Ok(())
    })
}

fn speak(conversation: &mut Conversation, target: &str) -> io::Result<()> {
    match target {
        "/live/pours" => {
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..64 {
                conversation.write(&piece)?;
            }
            Ok(())
        }
        "/live/breaks" => {
            conversation.some()?;
            conversation.reset();
            Ok(())
        }
        _ => loop {
            let said = conversation.some()?;
            if said.is_empty() {
                return Ok(());
            }
            conversation.write(&said)?;
        },
    }
}

/// Opens a WebSocket, and brings the id of its request.
#[track_caller]
fn open(line: &mut Line, path: &str, fields: &str) -> String {
    line.send(handshake(path, fields)).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
    expect(line, "hello");
    answer.id().to_owned()
}

#[track_caller]
fn expect(line: &mut Line, said: &str) {
    let mut bytes = vec![0; said.len()];
    line.read_exact(&mut bytes).or_fail("hear it");
    assert_eq!(String::from_utf8_lossy(&bytes), said);
}

#[test]
fn a_websocket_is_carried_both_ways_and_is_on_record() {
    let world = World::new();
    let origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    let id = open(&mut line, "/live/echo", "Origin: https://api.test\r\n");
    let seen = origin.await_request();
    assert_eq!(seen.header("sec-websocket-key"), Some(KEY));
    assert!(seen.header("client-cert").is_some(), "{seen:?}");
    for word in ["one", "two"] {
        line.send(word).or_fail("send");
        expect(&mut line, word);
    }
    line.finish().or_fail("say goodbye");
    assert_eq!(line.end(), End::Closed);
    gateway.await_story(
        &id,
        &[
            "intent",
            "release",
            "passage",
            "passage",
            "completion complete",
        ],
    );
    let records = gateway.records();
    let story = records.of_request(&id);
    assert_eq!(story[1].number("status"), Some(101));
    let senders: Vec<&str> = story[2..4].iter().map(|one| one.text("sender")).collect();
    assert_eq!(senders, ["", "client"], "the upstream spoke first");
    assert_eq!(story[4].number("bytes"), Some("helloonetwo".len() as u64));
    world.is_served();
    gateway.verify();
}

#[test]
fn what_is_no_handshake_or_comes_from_elsewhere_never_reaches_the_upstream() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(LIVE);
    for (path, fields, status, code) in [
        ("/plain", "", 403, "upgrade_refused"),
        ("/live/x", "Upgrade: h2c\r\n", 400, "upgrade_refused"),
        (
            "/live/x",
            "Connection: keep-alive\r\n",
            400,
            "upgrade_refused",
        ),
        ("/live/x", "Content-Length: 2\r\n", 400, "upgrade_refused"),
        (
            "/live/x",
            "Sec-WebSocket-Version: 8\r\n",
            426,
            "upgrade_version",
        ),
        (
            "/live/x",
            "Sec-WebSocket-Key: abc\r\n",
            400,
            "upgrade_malformed",
        ),
        (
            "/live/x",
            "Origin: https://evil.test\r\n",
            403,
            "origin_refused",
        ),
        ("/live/x", "Origin: null\r\n", 403, "origin_refused"),
        (
            "/live/x",
            "Origin: https://api.test.evil.test\r\n",
            403,
            "origin_refused",
        ),
        (
            "/live/named",
            "Origin: https://api.test\r\n",
            403,
            "origin_refused",
        ),
    ] {
        let mut line = world.line();
        line.send(handshake(path, fields)).or_fail("send");
        let answer = line.answer().or_fail("get an answer");
        gateway.refused(&answer, status, code);
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
        assert_eq!(line.end(), End::Closed, "{path} {fields}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    world.is_served();
    gateway.verify();
}

#[test]
fn pages_of_named_origins_and_clients_that_are_no_browsers_may_open_one() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    for fields in ["Origin: https://portal.test\r\n", ""] {
        let mut line = world.line();
        open(&mut line, "/live/named", fields);
    }
    gateway.verify();
}

#[test]
fn an_upstream_that_refuses_or_answers_something_else_opens_nothing() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    line.send(handshake("/live/refused", "")).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    assert_eq!(answer.status, 404, "the upstream's own word");
    let mut line = world.line();
    line.send(handshake("/live/other-key", "")).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    gateway.refused(&answer, 502, "upstream_broken");
    // An upstream that breaks off cuts the client: nobody takes what came for whole.
    let mut line = world.line();
    let id = open(&mut line, "/live/breaks", "");
    line.send("now").or_fail("send");
    assert_eq!(line.end(), End::Cut);
    gateway.await_record("its end", |record| {
        record.text("request_id") == id && record.in_short() == "completion upstream_broken"
    });
    world.is_served();
    gateway.verify();
}

#[test]
fn one_that_carries_nothing_or_grows_old_is_ended() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    for (path, code) in [("/live/short", "idle"), ("/live/old", "age_limit")] {
        let mut line = world.line();
        let id = open(&mut line, path, "");
        if path == "/live/old" {
            // However much it carries.
            while line.send("x").is_ok() && line.read_exact(&mut [0]).is_ok() {
                wait::pause(Duration::from_millis(100));
            }
        }
        assert_eq!(line.end(), End::Cut, "{path}");
        gateway.await_record("its end", |record| {
            record.text("request_id") == id && record.in_short() == format!("completion {code}")
        });
    }
    gateway.verify();
}

#[test]
fn a_revoked_device_is_cut_and_a_reload_cuts_nobody_else() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    let id = open(&mut line, "/live/echo", "");
    assert!(gateway.reload());
    line.send("still").or_fail("send");
    expect(&mut line, "still");
    world.authority.revoke(DEVICE);
    assert!(gateway.reload());
    assert_eq!(line.end(), End::Cut, "no goodbye");
    gateway.await_record("its end", |record| {
        record.text("request_id") == id && record.in_short() == "completion certificate_revoked"
    });
    gateway.verify();
}

#[test]
fn each_window_of_a_mebibyte_has_its_record() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    line.send(handshake("/live/pours", "")).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    let id = answer.id().to_owned();
    let (bytes, end) = line.rest();
    assert_eq!((bytes.len(), end), (5 + 64 * 64 * 1024, End::Closed));
    gateway.await_record("its end", |record| {
        record.text("request_id") == id && record.in_short() == "completion complete"
    });
    let records = gateway.records();
    let offsets: Vec<_> = records
        .of_request(&id)
        .iter()
        .filter(|record| record.kind() == "passage")
        .map(|record| record.number("offset").unwrap())
        .collect();
    let windows: Vec<u64> = (0..5).map(|window| window << 20).collect();
    assert_eq!(offsets, windows);
    gateway.verify();
}

#[test]
fn on_a_slow_disk_no_byte_comes_before_its_record_either_way() {
    let world = World::new();
    let audit = world.place.path("audit");
    let (told, heard) = std::sync::mpsc::channel();
    let _origin = world.origin(move |conversation| {
        while conversation.request()? {
            if conversation.current().header("upgrade").is_none() {
                conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                continue;
            }
            conversation.write(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\nhello"
            ))?;
            conversation.some()?;
            let records = Records::of(&audit);
            let is_there = |record: &&Record| record.text("sender") == "client";
            let _ = told.send(records.of_kind("passage").iter().any(is_there));
            return Ok(());
        }
        Ok(())
    });
    let Some(gateway) = on_a_slow_disk(&world, LIVE) else {
        return;
    };
    let mut line = world.line();
    line.send(handshake("/live/echo", "")).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    assert_eq!(answer.status, 101);
    let story = gateway.records().story_of(answer.id());
    assert!(story.contains(&"release".to_owned()), "{story:?}");
    expect(&mut line, "hello");
    let story = gateway.records().story_of(answer.id());
    assert!(story.contains(&"passage".to_owned()), "{story:?}");
    line.send("canary").or_fail("send");
    assert!(heard.recv_timeout(wait::PATIENCE).or_fail("hear of it"));
}

#[test]
fn what_was_opened_under_another_configuration_is_ended() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    let id = open(&mut line, "/live/echo", "");
    // The others go on: nothing of theirs has changed.
    let mut other = world.line();
    open(&mut other, "/live/named", "Origin: https://portal.test\r\n");
    let less = LIVE.replacen("upgrade = [\"websocket\"]\n", "", 1);
    assert!(gateway.reload_with(&world.configuration().with(&less)));
    assert_eq!(line.end(), End::Cut);
    gateway.await_record("its end", |record| {
        record.text("request_id") == id && record.in_short() == "completion not_permitted"
    });
    other.send("still").or_fail("send");
    expect(&mut other, "still");
    gateway.verify();
}

#[test]
fn a_gateway_that_ends_waits_for_no_websocket() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(LIVE);
    let mut line = world.line();
    let id = open(&mut line, "/live/echo", "");
    let stopped = gateway.stop();
    assert_eq!(line.end(), End::Cut);
    let story = stopped.records().story_of(&id);
    assert_eq!(story.last().map(String::as_str), Some("completion drained"));
}

#[test]
fn an_upstream_that_refused_a_websocket_gets_nobody_elses_requests_on_that_connection() {
    let world = World::new();
    let origin = upstream(&world);
    let _gateway = world.gateway(LIVE);
    let mut line = world.line();
    line.send(handshake("/live/refused", "")).or_fail("send");
    assert_eq!(line.answer().or_fail("get an answer").status, 404);
    for _ in 0..4 {
        world.is_served();
    }
    let seen = origin.seen();
    let refused = seen[0].connection;
    assert_eq!(
        seen.iter()
            .filter(|seen| seen.connection == refused)
            .count(),
        1
    );
}

#[test]
fn websockets_take_nothing_from_requests() {
    let world = World::new();
    let _origin = upstream(&world);
    let gateway = world.gateway(&format!(
        "[workers]\ncount = 1\n[upstreams.origin]\nconnections = 4\n{LIVE}"
    ));
    let mut lines: Vec<Line> = (0..2)
        .map(|_| {
            let mut line = world.line();
            open(&mut line, "/live/echo", "");
            line
        })
        .collect();
    let mut line = world.line();
    line.send(handshake("/live/echo", "")).or_fail("send");
    let answer = line.answer().or_fail("get an answer");
    gateway.refused(&answer, 503, "upstream_busy");
    world.is_served();
    lines.pop();
    wait::until("room again", || {
        let mut line = world.line();
        line.send(handshake("/live/echo", "")).or_fail("send");
        (line.answer().or_fail("get an answer").status == 101).then_some(())
    });
}

#[test]
fn where_nothing_can_be_recorded_nothing_passes() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.place, "disk", "12m") else {
        return wait::cannot_run(
            "tunnels::where_nothing_can_be_recorded",
            "mounting a small file system takes root",
        );
    };
    let origin = upstream(&world);
    let gateway = world.gateway(&format!("[audit]\ndirectory = \"disk/audit\"\n{LIVE}"));
    let mut line = world.line();
    let id = open(&mut line, "/live/echo", "");
    disk.fill();
    let mut asking = world.line();
    wait::until("a log that takes nothing", || {
        asking
            .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
        (asking.answer().or_fail("get an answer").status == 503).then_some(())
    });
    // The client has said nothing yet, so that its first window is still to be recorded.
    line.send("canary").or_fail("send");
    assert_eq!(line.end(), End::Cut, "no goodbye");
    assert!(
        !origin
            .seen()
            .iter()
            .any(|seen| seen.head.contains("canary"))
    );
    disk.empty();
    wait::until("service again", || {
        (gateway.visit("/readyz")?.status == 200).then_some(())
    });
    wait::until("its end on record", || {
        let records = Records::of(&disk.path("audit"));
        let story = records.story_of(&id);
        (story.last()? == "completion audit_unavailable").then_some(())
    });
    world.is_served();
    integration::records::verify(&disk.path("audit")).expect_code(0);
}
