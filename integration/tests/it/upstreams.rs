//! Whatever an upstream does, the client gets its answer, a broken message that looks broken, or a
//! clear 502, 503 or 504; and no answer ever reaches another request.

use std::net::TcpListener;
use std::time::Duration;

use integration::frames::{Frame, Frames};
use integration::line::End;
use integration::origin::{self, ok};
use integration::streams::{Content, Streams};
use integration::wait;
use integration::world::World;

const BRISK: &str = "[upstreams.origin]\nhead = \"300ms\"\nconnect = \"300ms\"";

#[test]
fn an_upstream_that_is_down_is_502() {
    let world = World::new();
    let gateway = world.gateway("");
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.refused(&answer, 502, "upstream_unreachable");
    assert_eq!(
        gateway.records().of_request(answer.id())[0].text("detail"),
        "connection refused"
    );
    let answer = world
        .caller()
        .ask("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    gateway.refused(&answer, 502, "upstream_unreachable");
    assert_eq!(
        gateway.records().story_of(answer.id()),
        ["intent", "refusal upstream_unreachable"]
    );
    // It comes up, and nothing has to be done.
    let _origin = world.plain_origin();
    world.is_served();
}

#[test]
fn an_upstream_that_accepts_no_connection_in_time_is_504() {
    let world = World::new();
    // A backlog that is full: the system neither accepts nor refuses.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let address = world.place.at(origin::PORT);
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let mut waiting = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    let gateway = world.gateway(BRISK);
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.refused(&answer, 504, "upstream_connect_timeout");
    drop((listener, waiting));
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_504() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.hold();
            conversation.write(ok("late canary"))?;
        }
        Ok(())
    });
    let gateway = world.gateway(BRISK);
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    gateway.refused(&line.answer().unwrap(), 504, "upstream_timeout");
    // The late answer must never be the answer to another request.
    origin.go();
    for _ in 0..3 {
        line.send("GET /y HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "late canary")
        );
    }
    let targets: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| (seen.connection, seen.target.clone()))
        .collect();
    assert_eq!(targets[0], (0, "/x".to_owned()));
    assert!(
        targets[1..].iter().all(|(connection, _)| *connection != 0),
        "{targets:?}"
    );
}

#[test]
fn an_answer_that_breaks_the_rules_is_502_and_nothing_of_it_leaves() {
    let world = World::new();
    let _origin = world.origin(|conversation| {
        if !conversation.request()? {
            return Ok(());
        }
        let target = conversation.current().target;
        let bad = BAD_ANSWERS
            .iter()
            .find(|(name, _)| target == format!("/{name}"));
        match bad {
            Some((_, bytes)) => conversation.write(bytes)?,
            None => conversation.write(ok("ok"))?,
        }
        conversation.await_close();
        Ok(())
    });
    let gateway = world.gateway(BRISK);
    for (name, _) in BAD_ANSWERS {
        for answer in [
            world.caller().ask(&format!("GET /{name}")).unwrap(),
            Streams::open(&world.caller())
                .unwrap()
                .ask("GET", &format!("/{name}"))
                .unwrap(),
        ] {
            gateway.refused(&answer, 502, "upstream_broken");
            assert!(!answer.text().contains("canary"), "{name}: {answer:?}");
            assert!(
                !answer
                    .headers
                    .iter()
                    .any(|(_, value)| value.contains("canary")),
                "{name}"
            );
        }
    }
    world.is_served();
    gateway.verify();
}

#[rustfmt::skip]
const BAD_ANSWERS: &[(&str, &str)] = &[
    ("two-lengths",      "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ncontent-length: 6\r\n\r\ncanary"),
    ("differing",        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ncontent-length: 7\r\n\r\ncanary!"),
    ("length-and-coded", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"),
    ("two-codings",      "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"),
    ("coded-1.0",        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"),
    ("bare-lf",          "HTTP/1.1 200 OK\ncontent-length: 6\n\ncanary"),
    ("folded",           "HTTP/1.1 200 OK\r\nx-a: canary\r\n canary\r\ncontent-length: 6\r\n\r\ncanary"),
    ("space-colon",      "HTTP/1.1 200 OK\r\ncontent-length : 6\r\n\r\ncanary"),
    ("no-colon",         "HTTP/1.1 200 OK\r\ncanary\r\ncontent-length: 6\r\n\r\ncanary"),
    ("not-http",         "SSH-2.0-canary\r\n\r\n"),
    ("status-99",        "HTTP/1.1 99 Canary\r\n\r\n"),
    ("status-600",       "HTTP/1.1 600 Canary\r\ncontent-length: 6\r\n\r\ncanary"),
    ("http-2",           "HTTP/2.0 200 OK\r\ncontent-length: 6\r\n\r\ncanary"),
    ("204-with-content", "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\ncanary"),
    ("204-chunked",      "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"),
    ("101-unasked",      "HTTP/1.1 101 Switching Protocols\r\nupgrade: canary\r\nconnection: upgrade\r\n\r\ncanary"),
    ("many-interim",     "HTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 102 A\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary"),
    ("bad-chunk",        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\ncanary\r\n0\r\n\r\n"),
];

#[test]
fn an_upstream_that_closes_or_resets_before_it_answers_is_502() {
    let world = World::new();
    let _origin = world.origin(|conversation| {
        conversation.request()?;
        match conversation.current().target.as_str() {
            "/reset" => conversation.reset(),
            "/half" => conversation.write("HTTP/1.1 200 OK\r\ncontent-le")?,
            _ => {}
        }
        Ok(())
    });
    let gateway = world.gateway("");
    for path in ["/close", "/half", "/reset"] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        gateway.refused(&answer, 502, "upstream_broken");
        let answer = Streams::open(&world.caller())
            .unwrap()
            .ask("GET", path)
            .unwrap();
        gateway.refused(&answer, 502, "upstream_broken");
    }
}

/// An upstream that begins an answer in the framing of the path, waits, and breaks off.
fn broken_off(world: &World) -> origin::Origin {
    world.origin(|conversation| {
        conversation.request()?;
        let head = match conversation.current().target.as_str() {
            "/length" => "content-length: 1000\r\n\r\nbegin",
            _ => "transfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n",
        };
        conversation.write(format!("HTTP/1.1 200 OK\r\n{head}"))?;
        // Once the client has the beginning, the answer is released.
        conversation.hold();
        Ok(())
    })
}

/// Asks, lets the upstream break off once the beginning is there, and brings all that came.
fn ask_and_break(world: &World, request: &str) -> (String, End) {
    use std::io::Read;
    let origin = broken_off(world);
    let mut line = world.line();
    line.send(request).unwrap();
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("begin") {
        let mut some = [0; 512];
        let count = line.read(&mut some).expect("the beginning comes");
        assert!(count > 0, "it ended before it began");
        bytes.extend_from_slice(&some[..count]);
    }
    origin.go();
    let (rest, end) = line.rest();
    bytes.extend(rest);
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    for (path, version) in [
        ("/length", "1.1"),
        ("/chunked", "1.1"),
        ("/length", "1.0"),
        ("/chunked", "1.0"),
    ] {
        let world = World::new();
        let gateway = world.gateway("");
        let request = format!("GET {path} HTTP/{version}\r\nHost: api.test\r\n\r\n");
        let (text, end) = ask_and_break(&world, &request);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(
            !text.ends_with("0\r\n\r\n"),
            "{path} {version}: the last chunk was made up: {text}"
        );
        if path == "/chunked" && version == "1.0" {
            // Its end is that of the connection, so the connection must not end properly
            // (RFC 9112 9.8: a TLS close without close_notify is an incomplete message).
            assert_eq!(end, End::Cut, "{path} {version}: {text}");
        }
        let completion = gateway.await_short("completion upstream_broken");
        assert_eq!(
            (completion.number("status"), completion.number("bytes")),
            (Some(200), Some(5))
        );
        let story = gateway.records().story_of(completion.text("request_id"));
        assert_eq!(story, ["release", "completion upstream_broken"]);
        gateway.verify();
    }
}

#[test]
fn a_stream_whose_answer_breaks_off_is_reset() {
    for path in ["/length", "/chunked"] {
        let world = World::new();
        let origin = broken_off(&world);
        let gateway = world.gateway("");
        let release = std::thread::scope(|scope| {
            let asked = scope.spawn(|| Streams::open(&world.caller()).unwrap().ask("GET", path));
            let release = gateway.await_record("the release", |record| record.kind() == "release");
            origin.go();
            let error = asked
                .join()
                .unwrap()
                .expect_err("a broken answer is an error of its stream");
            assert!(error.contains("stream error"), "{path}: {error}");
            release
        });
        let story = ["release", "completion upstream_broken"];
        gateway.await_story(release.text("request_id"), &story);
    }
}

#[test]
fn an_answer_whose_content_stalls_is_cut() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        conversation.request()?;
        conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")?;
        conversation.hold();
        Ok(())
    });
    let gateway = world.gateway(BRISK);
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    assert!(answer.status == 200 && !answer.whole, "{answer:?}");
    gateway.await_story(answer.id(), &["release", "completion upstream_stalled"]);
    drop(origin);
}

#[test]
fn interim_answers_of_the_upstream_stay_behind() {
    let world = World::new();
    let _origin = world.answering(|_| {
        [
            b"HTTP/1.1 103 Early Hints\r\nlink: </canary>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
                .to_vec(),
            ok("ok"),
        ]
        .concat()
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    assert_eq!((answer.status, answer.header("link")), (200, None));
    gateway.await_story(answer.id(), &["release"]);
}

#[test]
fn an_early_answer_reaches_the_client_that_still_sends() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nearly")?;
            conversation.await_close();
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100000\r\n\r\nbegin")
        .unwrap();
    let answer = line.answer().unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (403, "early"),
        "{answer:?}"
    );
    gateway.await_record("its release", |record| {
        record.text("request_id") == answer.id()
            && record.kind() == "release"
            && record.number("status") == Some(403)
    });
    drop(line);

    let builder = http::Request::builder().method("POST");
    let answer = Streams::open(&world.caller())
        .unwrap()
        .send(builder, "/y", Content::of("begin").that_hangs())
        .unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "early"));
    // A connection whose request did not end carries no other one.
    world.caller().ask("GET /z").unwrap();
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

/// Some clients take a stream that is reset for one that failed, whatever was answered (curl 7.88).
#[test]
fn an_early_answer_over_http_2_resets_no_client_that_soon_comes_to_its_end() {
    let world = World::new();
    let _origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nearly")?;
            conversation.await_close();
        }
        Ok(())
    });
    let _gateway = world.gateway("");
    let mut frames = Frames::open(&world.caller(), 65_535).unwrap();
    let reset = |frame: &Frame| frame.kind == Frame::RST_STREAM;

    frames.open_request(1, "POST", "/x").unwrap();
    frames.find(Frame::ends_stream).expect("the whole answer");
    let behind = frames.until_pong().unwrap();
    assert!(!behind.iter().any(reset), "{behind:?}");
    frames.content(1, b"late", true).unwrap();
    let behind = frames.until_pong().unwrap();
    assert!(!behind.iter().any(reset), "{behind:?}");

    // One that goes on and on is told to stop, by an error that is none (RFC 9113 8.1).
    frames.open_request(3, "POST", "/x").unwrap();
    frames.find(Frame::ends_stream).expect("the whole answer");
    let mut sent = 0;
    let told = loop {
        frames.content(3, &[0; 16_000], false).unwrap();
        sent += 16_000;
        let behind = frames.until_pong().unwrap();
        if let Some(told) = behind.into_iter().find(reset) {
            break told;
        }
        assert!(
            sent < 1_000_000,
            "{sent} bytes that nobody wants were taken"
        );
    };
    assert_eq!((told.stream, &told.payload[..]), (3, &[0; 4][..]));

    // So is one that never ends.
    frames.open_request(5, "POST", "/x").unwrap();
    let told = frames.find(reset).expect("the end of its stream");
    assert_eq!((told.stream, &told.payload[..]), (5, &[0; 4][..]));
}

#[test]
fn a_kept_connection_that_the_upstream_closed_is_not_the_clients_problem() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        // One request a connection, and not a word about it.
        conversation.request()?;
        conversation.body()?;
        conversation.write(ok("ok"))
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    for number in 0..20 {
        line.send(format!(
            "POST /{number} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok"
        ))
        .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
        gateway.await_story(answer.id(), &["intent", "release"]);
    }
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    let expected: Vec<_> = (0..20).map(|number| format!("/{number}")).collect();
    assert_eq!(targets, expected, "each request reached the upstream once");
}

#[test]
fn a_request_that_the_upstream_may_have_seen_is_not_sent_again() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.body()?;
            if conversation.current().target == "/lost" {
                return Ok(());
            }
            conversation.write(ok("ok"))?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    // The first makes the connection a kept one.
    line.send("GET /first HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    line.send("POST /lost HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 502, "upstream_broken");
    let record = gateway.records().of_request(answer.id())[1].clone();
    assert_eq!(record.number("attempts"), Some(1), "{record}");
    let lost = origin
        .seen()
        .iter()
        .filter(|seen| seen.target == "/lost")
        .count();
    assert_eq!(lost, 1);
}

#[test]
fn bytes_that_nobody_asked_for_poison_no_connection() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.write([ok("ok"), ok("canary")].concat())?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    for _ in 0..10 {
        line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            answer.text(),
            "ok",
            "an answer to nobody's request was passed on"
        );
    }
    assert_eq!(origin.connections(), 10, "none of them was used twice");
    gateway.verify();
}

#[test]
fn an_answer_after_which_the_upstream_closes_is_the_last_on_its_connection() {
    let world = World::new();
    let origin = world.answering(|seen| match seen.target.as_str() {
        "/close" => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        "/old" => b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        _ => ok("ok"),
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    for path in ["/close", "/old", "/x", "/x"] {
        line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok"),
            "{path}"
        );
    }
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2, 2]);
    drop(gateway);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_framed_for_the_client() {
    let world = World::new();
    let _origin = world.origin(|conversation| {
        conversation.request()?;
        conversation.write("HTTP/1.1 200 OK\r\n\r\nuntil the end")
    });
    let gateway = world.gateway("");
    let answer = world.caller().ask("GET /x").unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.whole, answer.until_close),
        ("until the end", true, false)
    );
    gateway.await_record("its release", |record| {
        record.text("request_id") == answer.id()
    });
    let fetched = world.curl().arg("--http2").get("/x");
    assert_eq!(fetched.answer.text(), "until the end", "{fetched:?}");
}

#[test]
fn an_upstream_whose_connections_are_all_in_use_is_503() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.hold();
            conversation.write(ok("ok"))?;
        }
        Ok(())
    });
    let gateway = world
        .gateway("[workers]\ncount = 1\n[upstreams.origin]\nconnections = 1\nconnect = \"300ms\"");
    let mut first = world.line();
    first
        .send("GET /first HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    origin.await_request();
    let answer = world.caller().ask("GET /second").unwrap();
    gateway.refused(&answer, 503, "upstream_busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    origin.go();
    assert_eq!(first.answer().unwrap().status, 200);
    world.is_served();
    assert!(origin.seen().iter().all(|seen| seen.target != "/second"));
}

#[test]
fn answers_are_never_mixed_up_between_clients() {
    let world = World::new();
    let _origin = world.answering(|seen| {
        // Some end the connection, some come in chunks, so that connections come and go.
        let text = &seen.target;
        match text.bytes().map(usize::from).sum::<usize>() % 3 {
            0 => format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
            .into_bytes(),
            1 => format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                text.len()
            )
            .into_bytes(),
            _ => ok(text),
        }
    });
    let gateway = world.gateway("[upstreams.origin]\nconnections = 4");
    std::thread::scope(|scope| {
        for client in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let mut line = world.line();
                for number in 0..100 {
                    let path = format!("/{client}/{number}");
                    line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
                        .unwrap();
                    let answer = line.answer().unwrap();
                    assert_eq!(answer.text(), path);
                }
            });
        }
    });
    let records = gateway.records();
    assert_eq!(records.of_kind("release").len(), 800);
    gateway.verify();
}

#[test]
fn an_idle_connection_to_the_upstream_is_closed() {
    let world = World::new();
    let closed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let noted = std::sync::Arc::clone(&closed);
    let origin = world.origin(move |conversation| {
        conversation.request()?;
        conversation.write(ok("ok"))?;
        noted.store(
            conversation.await_close(),
            std::sync::atomic::Ordering::SeqCst,
        );
        Ok(())
    });
    let _gateway = world.gateway("[upstreams.origin]\nidle = \"1s\"");
    world.is_served();
    wait::until("the end of an idle connection", || {
        closed
            .load(std::sync::atomic::Ordering::SeqCst)
            .then_some(())
    });
    drop(origin);
}
