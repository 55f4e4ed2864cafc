//! An answer of which its upstream states a digest is what was stated, or does not leave: of what fits a window
//! nothing, of what passes not the end.

use std::time::Duration;

use integration::line::End;
use integration::nginx::Nginx;
use integration::origin::{self, Origin};
use integration::wait;
use integration::world::World;

use super::{Asked, FRAMINGS, Framing, UNCOMPARED, Way, answer, long, sha256, sha512};

/// What must not leave.
const CANARY: &str = "canary-7c02";

/// Digests that are not those of `content`, each in its own way.
fn wrong(content: &[u8]) -> Vec<String> {
    let other = b"something else";
    vec![
        format!("content-digest: {}\r\n", sha256(other)),
        format!("content-digest: {}\r\n", sha512(other)),
        format!("repr-digest: {}\r\n", sha256(other)),
        // One that is right does not make up for one that is wrong.
        format!("content-digest: {}, {}\r\n", sha256(content), sha512(other)),
        format!(
            "content-digest: {}\r\nrepr-digest: {}\r\n",
            sha256(content),
            sha512(other)
        ),
        // What cannot be read cannot be compared.
        "content-digest: sha-256=abc\r\n".to_owned(),
        "content-digest: sha-256=:YWJj:\r\n".to_owned(),
        format!("content-digest: {0}, sha-256\r\n", sha256(content)),
    ]
}

/// Digests that hold, or that nobody can compare.
fn right(content: &[u8]) -> Vec<String> {
    vec![
        String::new(),
        format!("content-digest: {}\r\n", sha256(content)),
        format!("content-digest: {}\r\n", sha512(content)),
        format!("repr-digest: {}\r\n", sha512(content)),
        format!(
            "content-digest: {}, {}\r\nrepr-digest: {0}\r\n",
            sha256(content),
            sha512(content)
        ),
        "content-digest: md5=:CY9rzUYh03PK3k6DJie09g==:\r\n".to_owned(),
        format!("content-digest: md5=:YQ==:, {}\r\n", sha256(content)),
    ]
}

/// An upstream that answers `/{framing}/{number}` with that row of fields, and this content.
fn answering(world: &World, rows: Vec<String>, content: Vec<u8>) -> Origin {
    world.answering(move |seen| {
        let mut parts = seen.target.split('/').skip(1);
        let framing = match parts.next() {
            Some("Length") => Framing::Length,
            _ => Framing::Chunked,
        };
        let row = parts.next().and_then(|row| row.parse::<usize>().ok());
        answer(framing, &rows[row.unwrap_or_default()], &content)
    })
}

#[test]
fn a_short_answer_that_is_not_what_its_upstream_states_is_502_and_nothing_of_it_leaves() {
    let world = World::new();
    let rows = wrong(CANARY.as_bytes());
    let (count, _origin) = (
        rows.len(),
        answering(&world, rows, CANARY.as_bytes().to_vec()),
    );
    let gateway = world.gateway("");
    for framing in FRAMINGS {
        for row in 0..count {
            for way in [Way::Http10, Way::Http11, Way::Http2] {
                let asked = Asked::get(&format!("/{framing:?}/{row}"));
                let answer = asked.over(&world, way).unwrap();
                gateway.refused(&answer, 502, "answer_digest_mismatch");
                assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
                assert_eq!(answer.header("content-digest"), None);
                gateway.await_story(answer.id(), &["refusal answer_digest_mismatch"]);
            }
        }
    }
    gateway.verify();
}

/// An upstream that sends the head of an answer, waits, and sends the content in two parts.
fn slow(world: &World, fields: String) -> Origin {
    world.origin(move |conversation| {
        while conversation.request()? {
            let chunked = conversation.current().target.starts_with("/Chunked");
            let (first, second) = CANARY.split_at(4);
            let parts = if chunked {
                [
                    format!("HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n"),
                    format!("{:x}\r\n{first}\r\n", first.len()),
                    format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()),
                ]
            } else {
                let length = CANARY.len();
                [
                    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n"),
                    first.to_owned(),
                    second.to_owned(),
                ]
            };
            for part in parts {
                conversation.write(part)?;
                wait::pause(Duration::from_millis(150));
            }
        }
        Ok(())
    })
}

#[test]
fn nothing_of_a_short_answer_leaves_before_it_was_compared_however_slowly_it_comes() {
    let world = World::new();
    let origin = slow(&world, format!("content-digest: {}\r\n", sha256(b"other")));
    // With patients looked for, and without.
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nfhir = true");
    for fhir in [true, false] {
        if !fhir {
            assert!(gateway.reload_with(&world.configuration()));
        }
        for framing in FRAMINGS {
            for way in [Way::Http11, Way::Http2] {
                let asked = Asked::get(&format!("/{framing:?}"));
                let answer = asked.over(&world, way).unwrap();
                gateway.refused(&answer, 502, "answer_digest_mismatch");
                assert!(!format!("{answer:?}").contains("cana"), "{answer:?}");
            }
        }
    }
    drop(origin);
    let _origin = slow(
        &world,
        format!("content-digest: {}\r\n", sha256(CANARY.as_bytes())),
    );
    for framing in FRAMINGS {
        let asked = Asked::get(&format!("/{framing:?}"));
        assert_eq!(asked.over(&world, Way::Http11).unwrap().text(), CANARY);
    }
}

#[test]
fn a_long_answer_that_is_not_what_its_upstream_states_never_ends_well() {
    let world = World::new();
    let content = long();
    // Those that can be read: the others are refused before anything leaves.
    let rows: Vec<_> = wrong(&content).into_iter().take(5).collect();
    let (count, _origin) = (rows.len(), answering(&world, rows, content.clone()));
    let gateway = world.gateway("");
    for framing in FRAMINGS {
        for row in 0..count {
            let target = format!("/{framing:?}/{row}");
            let answer = Asked::get(&target).over(&world, Way::Http11).unwrap();
            assert!(answer.status == 200 && !answer.whole, "{framing:?} {row}");
            assert!(answer.body.len() < content.len());
            let story = ["release", "completion answer_digest_mismatch"];
            gateway.await_story(answer.id(), &story);

            let error = Asked::get(&target).over(&world, Way::Http2).unwrap_err();
            assert!(error.contains("stream error"), "{error}");

            // Its end would be that of the connection, so the connection has none.
            let mut line = world.line();
            line.send(format!("GET {target} HTTP/1.0\r\nhost: api.test\r\n\r\n"))
                .unwrap();
            let (bytes, end) = line.rest();
            assert_eq!(end, End::Cut);
            assert!(bytes.len() < content.len());
        }
    }
    wait::until("the end of each on record", || {
        let records = gateway.records();
        let completions = records.of_kind("completion");
        let altered = completions.iter();
        let altered = altered.filter(|record| record.code() == "answer_digest_mismatch");
        (altered.count() == 6 * count).then_some(())
    });
    gateway.verify();
}

#[test]
fn an_answer_that_is_what_its_upstream_states_passes_as_it_came() {
    for content in [CANARY.as_bytes().to_vec(), long(), Vec::new()] {
        let world = World::new();
        let rows = right(&content);
        let _origin = answering(&world, rows.clone(), content.clone());
        let _gateway = world.gateway("");
        for framing in FRAMINGS {
            for (number, row) in rows.iter().enumerate() {
                for way in [Way::Http10, Way::Http11, Way::Http2] {
                    let asked = Asked::get(&format!("/{framing:?}/{number}"));
                    let answer = asked.over(&world, way).unwrap();
                    assert!(answer.status == 200 && answer.whole, "{row} {answer:?}");
                    assert!(answer.body == content, "{row} {way:?}");
                    for line in row.lines() {
                        let (name, value) = line.split_once(": ").unwrap();
                        assert_eq!(answer.header(name), Some(value));
                    }
                }
            }
        }
    }
}

#[test]
fn a_digest_of_content_that_does_not_follow_is_passed_on() {
    let world = World::new();
    let digest = sha256(b"what GET would bring");
    let fields = format!("content-digest: {digest}\r\nrepr-digest: {digest}\r\n");
    let _origin = world.answering(move |seen| match seen.target.as_str() {
        "/304" => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes(),
        // What is sent is a part of what the digest of the representation is about.
        "/206" => format!(
            "HTTP/1.1 206 Partial Content\r\nrepr-digest: {digest}\r\n\
             content-range: bytes 0-3/20\r\ncontent-length: 4\r\n\r\nwhat"
        )
        .into_bytes(),
        _ => format!("HTTP/1.1 200 OK\r\n{fields}content-length: 20\r\n\r\n").into_bytes(),
    });
    let _gateway = world.gateway("");
    for (method, target, status) in [
        ("HEAD", "/x", 200),
        ("GET", "/304", 304),
        ("GET", "/206", 206),
    ] {
        for way in [Way::Http11, Way::Http2] {
            let asked = Asked::get(target).method(method);
            let answer = asked.over(&world, way).unwrap();
            assert_eq!(answer.status, status, "{target} {way:?}");
            assert!(answer.header("repr-digest").is_some());
        }
    }
}

#[test]
fn a_digest_that_nobody_asks_for_is_not_compared() {
    let world = World::new();
    let fields = format!("content-digest: {}\r\n", sha256(b"other"));
    let _origin = world.answering(move |_| answer(Framing::Length, &fields, b"ok"));
    let _gateway = world.gateway(UNCOMPARED);
    let answer = world.caller().ask("GET /x").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[test]
fn over_http_2_an_upstream_is_held_to_what_it_states_too() {
    let world = World::new();
    let address = world.place.at(origin::PORT);
    let content = long();
    world.place.write("nginx/www/long", &content);
    world.place.write("nginx/www/wrong/long", &content);
    let (short, other) = (sha256(CANARY.as_bytes()), sha256(b"other"));
    let (whole, wide) = (sha256(&content), sha512(&content));
    let _nginx = Nginx::start(
        &world.place,
        &format!(
            "server {{
    listen {address} http2;
    location = /short {{ add_header content-digest '{short}'; return 200 '{CANARY}'; }}
    location = /long {{ add_header content-digest '{whole}'; add_header repr-digest '{wide}'; }}
    location = /md5 {{ add_header content-digest 'md5=:CY9rzUYh03PK3k6DJie09g==:'; return 200 'ok'; }}
    location = /wrong/short {{ add_header content-digest '{other}'; return 200 '{CANARY}'; }}
    location = /wrong/repr {{ add_header repr-digest '{other}'; return 200 '{CANARY}'; }}
    location = /wrong/long {{ add_header content-digest '{other}'; }}
}}"
        ),
    );
    let gateway = world.gateway("[upstreams.origin]\nprotocol = \"h2\"");
    for way in [Way::Http11, Way::Http2] {
        let ask = |method, target| Asked::get(target).method(method).over(&world, way);
        assert_eq!(ask("GET", "/short").unwrap().text(), CANARY);
        assert_eq!(ask("GET", "/md5").unwrap().text(), "ok");
        let answer = ask("GET", "/long").unwrap();
        assert!(answer.whole && answer.body == content);
        assert_eq!(answer.header("repr-digest"), Some(wide.as_str()));
        for target in ["/wrong/short", "/wrong/repr"] {
            let answer = ask("GET", target).unwrap();
            gateway.refused(&answer, 502, "answer_digest_mismatch");
            assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
            assert_eq!(ask("HEAD", target).unwrap().status, 200);
        }
        match ask("GET", "/wrong/long") {
            Ok(answer) => assert!(!answer.whole && answer.body.len() < content.len()),
            Err(error) => assert!(error.contains("stream error"), "{error}"),
        }
        gateway.await_short("completion answer_digest_mismatch");
    }
    gateway.verify();
}
