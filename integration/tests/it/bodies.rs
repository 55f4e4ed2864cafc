//! Content passes as it comes, both ways and in bounded memory, under the limits of its route; content
//! that does not come to its end never looks whole to the other side.

use std::io::Read;

use integration::curl::Curl;
use integration::demo::Demo;
use integration::line::End;
use integration::origin::ok;
use integration::place::Place;
use integration::program::Program;
use integration::streams::{Content, Streams};
use integration::wait;
use integration::world::World;

/// A route that takes 1,000 bytes, and a pause of a second.
const NARROW: &str = "[[routes]]\nname = \"all\"\nbody_limit = \"1000B\"\nbody_idle = \"1s\"";

#[test]
fn content_declared_over_the_limit_does_not_reach_the_upstream() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(NARROW);
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1001\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 413, "body_too_large");
    assert_eq!(
        gateway.records().story_of(answer.id()),
        ["refusal body_too_large"],
        "no intent"
    );
    let streamed = http::Request::builder()
        .method("POST")
        .header("content-length", "1001");
    let mut streams = Streams::open(&world.caller()).unwrap();
    let answer = streams
        .send(streamed, "/x", Content::of(vec![b'x'; 1001]))
        .unwrap();
    gateway.refused(&answer, 413, "body_too_large");
    assert_eq!((origin.seen().len(), origin.connections()), (0, 0));
    // One byte less is not too many.
    let caller = world.caller();
    let full = format!(
        "POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    );
    assert_eq!(caller.ask(&full).unwrap().status, 200);
}

#[test]
fn chunked_content_over_the_limit_is_cut_and_the_upstream_knows() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(NARROW);
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    line.send(&chunk).unwrap();
    origin.await_request();
    line.send(&chunk).unwrap();
    line.send(&chunk).unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 413, "body_too_large");
    assert_eq!(
        gateway.records().story_of(answer.id()),
        ["intent", "refusal body_too_large"]
    );
    assert_eq!(line.rest().1, End::Closed);
    let seen = origin.await_request();
    assert!(
        !seen.whole,
        "an incomplete request must not look complete: {}",
        seen.body.len()
    );
    assert!(
        seen.body.len() <= 1000,
        "not a byte over the limit was passed on: {}",
        seen.body.len()
    );
    world.is_served();
}

#[test]
fn content_that_stalls_is_given_up() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(NARROW);
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\nhalf")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 408, "body_timeout");
    assert_eq!(line.rest().1, End::Closed);
    assert!(!origin.await_request().whole);

    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder().method("POST");
    let answer = streams
        .send(builder, "/y", Content::of("half").that_hangs())
        .unwrap();
    gateway.refused(&answer, 408, "body_timeout");
    assert!(origin.seen().iter().all(|seen| !seen.whole));
    world.is_served();
}

#[test]
fn chunks_that_break_their_framing_are_the_clients_fault() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let bad = [
        "-2\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "2 \r\nok\r\n0\r\n\r\n",
        "2;a=b\r\nok\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "\r\n",
        "g\r\n",
        "00000000000000002\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "2\r\nok\r\n0\r\nX Bad: 1\r\n\r\n",
        "2\r\nok\r\n0\r\n folded\r\n\r\n",
    ];
    for body in bad {
        let request = format!(
            "POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n"
        );
        let mut line = world.line();
        line.send(request).unwrap();
        let answer = line
            .answer()
            .unwrap_or_else(|error| panic!("{body:?}: {error}"));
        gateway.refused(&answer, 400, "body_malformed");
        assert_eq!(line.rest(), (Vec::new(), End::Closed), "{body:?}");
    }
    let seen = origin.seen();
    assert!(
        seen.iter().all(|seen| seen.target == "/x" && !seen.whole),
        "{seen:?}"
    );
    world.is_served();
    gateway.verify();
}

#[test]
fn a_length_that_the_content_of_a_stream_breaks_never_looks_whole() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    for (declared, content) in [("5", "hello world"), ("50", "hello world")] {
        let mut streams = Streams::open(&world.caller()).unwrap();
        let builder = http::Request::builder()
            .method("POST")
            .header("content-length", declared);
        let answer = streams.send(builder, "/x", Content::of(content));
        assert!(
            answer.as_ref().map_or(true, |answer| answer.status >= 400),
            "RFC 9113 8.1.1: {answer:?}"
        );
    }
    assert!(
        origin.seen().iter().all(|seen| !seen.whole),
        "{:?}",
        origin.seen()
    );
    world.is_served();
    gateway.verify();
}

#[test]
fn a_client_that_waits_gets_100_once_it_is_permitted() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\npath = \"/fhir\"");
    let mut line = world.line();
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    line.send(head("/fhir")).unwrap();
    assert_eq!(line.answer().unwrap().status, 100);
    // The promise was given after the intent was durable: ours, empty, before any content.
    let records = gateway.records();
    assert_eq!(records.of_kind("intent").len(), 1, "{records}");
    line.send("hello").unwrap();
    let answer = line.answer().unwrap();
    assert_eq!(answer.status, 200);
    gateway.await_story(answer.id(), &["intent", "release"]);
    let seen = origin.await_request();
    assert_eq!(
        (seen.body.as_slice(), seen.all("expect").len()),
        (&b"hello"[..], 0)
    );

    // Refused, it is not asked for its content, and the connection ends, for it may send it anyway.
    let mut line = world.line();
    line.send(head("/nowhere")).unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 404, "no_route");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(line.rest(), (Vec::new(), End::Closed));
    assert_eq!(origin.seen().len(), 1);

    // curl waits as well.
    let fetched = world
        .curl()
        .args(["--data", "hello"])
        .header("Expect: 100-continue")
        .get("/fhir");
    assert_eq!(fetched.answer.status, 200, "{fetched:?}");
}

#[test]
fn an_http_1_0_client_gets_no_interim_answer() {
    let world = World::new();
    let _origin = world.plain_origin();
    let _gateway = world.gateway("");
    let answer = world
        .caller()
        .ask("POST /x HTTP/1.0\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        .unwrap();
    assert_eq!(answer.status, 200, "RFC 9110 10.1.1");
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let world = World::new();
    let origin = world.answering(|seen| {
        let text = String::from_utf8_lossy(&seen.body).into_owned();
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{:x}\r\n{text}\r\n3\r\nend\r\n0\r\nx-sum: 9\r\nclient-cert: forged\r\n\r\n",
            text.len()
        )
        .into_bytes()
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send(
        "POST /x HTTP/1.1\r\nHost: api.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .unwrap();
    for chunk in [
        "5\r\nhello\r\n",
        "1\r\n \r\n",
        "5\r\nworld\r\n",
        "0\r\nx-up: 1\r\n\r\n",
    ] {
        line.send(chunk).unwrap();
    }
    let answer = line.answer().unwrap();
    assert!(answer.whole);
    assert_eq!(answer.text(), "hello worldend");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "9".to_owned())]);
    let seen = origin.await_request();
    assert_eq!(seen.trailers, [("x-up".to_owned(), "1".to_owned())]);
    assert_eq!(seen.body, b"hello world");
    gateway.await_record("its release", |record| {
        record.text("request_id") == answer.id()
    });

    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder()
        .method("POST")
        .header("te", "trailers");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-up", http::HeaderValue::from_static("2"));
    let answer = streams
        .send(
            builder,
            "/x",
            Content::of("streamed").with_trailers(trailers),
        )
        .unwrap();
    assert_eq!(answer.text(), "streamedend");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "9".to_owned())]);
    assert_eq!(
        origin.seen()[1].trailers,
        [("x-up".to_owned(), "2".to_owned())]
    );
}

#[test]
fn a_piece_of_an_answer_leaves_while_the_next_one_is_awaited() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation
                .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
            conversation.hold();
            conversation.write("6\r\nsecond\r\n0\r\n\r\n")?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("first") {
        let mut bytes = [0; 1024];
        let count = line
            .read(&mut bytes)
            .expect("the first piece comes without the second");
        assert!(count > 0);
        seen.extend_from_slice(&bytes[..count]);
    }
    // What has left is on record, and so will be how it ends.
    let release = gateway.await_record("the release", |record| record.kind() == "release");
    origin.go();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        let mut bytes = [0; 1024];
        let count = line.read(&mut bytes).expect("the rest comes");
        assert!(count > 0);
        rest.extend_from_slice(&bytes[..count]);
    }
    let completion = gateway.await_short("completion complete");
    assert_eq!(completion.text("request_id"), release.text("request_id"));
    assert_eq!(completion.number("bytes"), Some(11), "{completion}");
}

#[test]
fn the_release_holds_length_and_digest_of_what_left() {
    let world = World::new();
    let _origin = world.answering(|_| ok("hello"));
    let gateway = world.gateway("");
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.await_story(answer.id(), &["release"]);
    let ran = Program::of_the_machine("openssl")
        .args(["dgst", "-sha256", "-r"])
        .input("hello")
        .run();
    let records = gateway.records();
    let release = records.of_request(answer.id())[0];
    assert_eq!(release.text("digest"), &ran.stdout[..64], "{release}");
    assert_eq!(release.number("bytes"), Some(5), "{release}");
    assert_eq!(release.number("status"), Some(200));
    assert_eq!(release.text("content_type"), "text/plain");
    assert_eq!(
        (release.text("upstream"), release.number("attempts")),
        ("origin", Some(1))
    );
}

#[test]
fn content_makes_even_a_get_leave_its_intent_first() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"watched\"\nlisteners = [\"devices\"]\nhosts = [\"api.test\"]\npath = \"/watched\"\nmethods = [\"GET\"]\nallow = [\"pump\"]\nupstream = \"origin\"\nintent = true");
    let with = |head: &str| format!("{head}\r\n\r\nhello");
    #[rustfmt::skip]
    let table: [(String, &[&str]); 7] = [
        ("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n".into(),                   &["release"]),
        ("OPTIONS /x HTTP/1.1\r\nHost: api.test\r\n\r\n".into(),               &["release"]),
        (with("GET /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5"),       &["intent", "release"]),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n".into(), &["release"]),
        ("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n".into(), &["intent", "release"]),
        ("DELETE /x HTTP/1.1\r\nHost: api.test\r\n\r\n".into(),                &["intent", "release"]),
        ("GET /watched HTTP/1.1\r\nHost: api.test\r\n\r\n".into(),             &["intent", "release"]),
    ];
    for (request, story) in table {
        let answer = world.caller().ask(&request).unwrap();
        assert_eq!(answer.status, 200, "{request:?}");
        gateway.await_story(answer.id(), story);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_content_is_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\nhalf")
        .unwrap();
    origin.await_request();
    line.hang_up();
    let intent = gateway.await_record("the intent", |record| record.kind() == "intent");
    let outcome = gateway.await_record("how it ended", |record| {
        record.text("request_id") == intent.text("request_id") && record.kind() != "intent"
    });
    assert_eq!(outcome.code(), "client_gone", "{outcome}");
    wait::until("the end of the upstream's connection", || {
        (!origin.await_request().whole).then_some(())
    });
    world.is_served();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_is_on_record() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            if conversation.current().target == "/baseline" {
                conversation.write(ok("ok"))?;
                continue;
            }
            conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\nbegin")?;
            // Until nobody takes it any more.
            while conversation.write([b'x'; 16_384]).is_ok() {}
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let mut some = vec![0; 100_000];
    line.read_exact(&mut some).unwrap();
    line.hang_up();
    let outcome = gateway.await_short("completion client_gone");
    assert_eq!(outcome.number("status"), Some(200), "{outcome}");
    assert!(
        outcome.number("bytes").is_some_and(|bytes| bytes > 50_000),
        "{outcome}"
    );
    drop(origin);
}

#[test]
fn a_client_that_leaves_while_the_upstream_thinks_is_on_record() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.hold();
            conversation.write(ok("late"))?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    origin.await_request();
    line.hang_up();
    let intent = gateway.await_record("the intent", |record| record.kind() == "intent");
    origin.go();
    let outcome = gateway.await_record("how it ended", |record| {
        record.text("request_id") == intent.text("request_id") && record.kind() == "completion"
    });
    assert_eq!(outcome.code(), "client_gone", "{outcome}");

    // Over HTTP/2 it is the stream that goes away.
    let ran = world.curl().args(["--http2", "--max-time", "1"]).get("/y");
    assert_eq!(ran.ran.code(), 0, "the upstream no longer waits");
}

#[test]
fn a_large_upload_and_download_take_little_memory() {
    let place = Place::new();
    let mut demo = Demo::start(&place);
    let curl = || {
        Curl::to(demo.listen(), &demo.server.trust)
            .with(&demo.device)
            .host("localhost")
    };
    assert_eq!(curl().get("/").answer.status, 200);
    let before = demo.process().memory();
    let bytes = 600_000_000_u64;
    let curl = || {
        Curl::to(demo.listen(), &demo.server.trust)
            .with(&demo.device)
            .host("localhost")
    };
    for protocol in ["--http1.1", "--http2"] {
        let fetched = curl()
            .args([
                protocol,
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code} %{size_download}",
            ])
            .get(&format!("/bytes/{bytes}"));
        assert_eq!(
            fetched.ran.stdout,
            format!("200 {bytes}"),
            "{protocol}: {}",
            fetched.ran.stderr
        );
    }
    let after = demo.process().memory();
    assert!(
        after < before + 64 * 1024 * 1024,
        "{before} bytes before and {after} after"
    );
    // Nobody waits for the record of how an answer ended: the client is faster than the disk.
    let ends: Vec<_> = wait::until("both completions", || {
        let ends: Vec<_> = demo
            .records(&place)
            .of_kind("completion")
            .iter()
            .filter_map(|end| end.number("bytes"))
            .collect();
        (ends.len() == 2).then_some(ends)
    });
    assert_eq!(ends, [bytes, bytes]);
}

#[test]
fn a_large_upload_waits_for_an_upstream_that_is_slow() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        conversation.request()?;
        conversation.hold();
        conversation.body()?;
        conversation.write(ok("ok"))
    });
    let mut gateway = world.gateway("[[routes]]\nname = \"all\"\nbody_limit = \"1GiB\"");
    let length = 200_000_000_u64;
    let file = std::fs::File::create(world.place.path("upload")).unwrap();
    file.set_len(length).unwrap();
    // Nobody takes it, so at some point nobody takes it from curl either.
    let fetched = world
        .curl()
        .args([
            "--max-time",
            "3",
            "--write-out",
            "%{size_upload}",
            "--upload-file",
        ])
        .arg(world.place.path("upload").display().to_string())
        .get("/x");
    assert_eq!(fetched.ran.code(), 28, "{fetched:?}");
    let sent: u64 = fetched.ran.stdout.trim().parse().unwrap();
    assert!(sent > 0 && sent < length / 2, "{sent} bytes went somewhere");
    let memory = gateway.process().memory();
    assert!(memory < 128 * 1024 * 1024, "{memory} bytes are held");
    drop(origin);
}
