//! Content is what its digest says before the last of it leaves: up to the buffer none of it is forwarded
//! before, and what is larger is refused, or passes in constant memory and never ends well if it was
//! altered.

use std::io::Write;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::origin::{self, Origin, ok};
use integration::signer::{Request, Signer, digest_field, sha256_of, sha256_of_many};
use integration::sink::{Ended, Sink};
use integration::streams::Streams;
use integration::wait::{self, PATIENCE};
use integration::world::World;

use super::{SIGNED, Signing, observation};

/// A buffer that most requests of this module exceed.
const NARROW: &str = "[[routes]]\nname = \"all\"\nbuffer = \"64KiB\"";

/// The same, for content that is larger.
const STREAM: &str = "[[routes]]\nname = \"all\"\nbuffer = \"64KiB\"\nstream = true";

/// How a client sends content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Length,
    Chunked,
    Http2,
}

const WAYS: [Way; 3] = [Way::Length, Way::Chunked, Way::Http2];

/// Sends a request that may be answered before all of it was sent. Nothing where the connection ended in
/// place of an answer.
fn send(world: &World, request: &Request, way: Way) -> Option<Answer> {
    let bytes = match way {
        Way::Http2 => {
            let mut streams = Streams::open(&world.caller()).unwrap();
            return request.over(&mut streams).ok();
        }
        Way::Length => request.bytes(),
        Way::Chunked => request.chunked(10_000),
    };
    let mut line = world.line();
    // Whoever is refused early may learn it while sending; why stands in what can still be read.
    let _ = line.send(bytes);
    line.answer().ok()
}

/// So much content, of which no two parts are alike.
fn content(length: usize) -> Vec<u8> {
    let bytes = (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes());
    bytes.take(length).collect()
}

/// Flips the last bit of the content.
fn altered(mut request: Request) -> Request {
    if let Some(last) = request.body.last_mut() {
        *last ^= 1;
    }
    request
}

/// An upstream over HTTP/1.1 that says of each request whether it came to its end.
fn telling(world: &World) -> (Origin, Receiver<bool>) {
    let (tell, told) = mpsc::channel();
    let origin = world.origin(move |conversation| {
        while conversation.request()? {
            if conversation.current().target == "/baseline" {
                conversation.write(ok("ok"))?;
                continue;
            }
            let came = conversation.body();
            let _ = tell.send(came.is_ok());
            came?;
            conversation.write(ok("ok"))?;
        }
        Ok(())
    });
    (origin, told)
}

#[test]
fn content_up_to_the_buffer_that_was_altered_reaches_nobody() {
    let signing = Signing::start("[[routes]]\nname = \"all\"\nstream = true\nbuffer = \"64KiB\"");
    for length in [1, 65_535, 65_536] {
        for way in WAYS {
            let request = Request::post("/x", content(length));
            let bad = altered(signing.signer.signed(request.clone()));
            let answer = send(&signing.world, &bad, way).unwrap();
            signing.gateway.refused(&answer, 400, "digest_mismatch");
            assert_eq!(
                signing.gateway.records().story_of(answer.id()),
                ["refusal digest_mismatch"],
                "{way:?}: no intent"
            );
            assert_eq!(signing.origin.connections(), 0, "{way:?} {length}");
        }
    }
    let good = signing.signer.signed(Request::post("/x", content(65_536)));
    for way in WAYS {
        let good = signing.signer.signed(good.clone());
        assert_eq!(send(&signing.world, &good, way).unwrap().status, 200);
    }
    let seen = signing.origin.seen();
    assert!(seen.iter().all(|seen| seen.body == good.body && seen.whole));
}

#[test]
fn signed_content_that_is_larger_than_the_buffer_is_413_and_reaches_nobody() {
    let signing = Signing::start(NARROW);
    for way in WAYS {
        let large = signing.signer.signed(Request::post("/x", content(65_537)));
        let answer = send(&signing.world, &large, way).unwrap();
        signing.gateway.refused(&answer, 413, "body_too_large");
        let records = signing.gateway.records();
        let record = records.of_request(answer.id())[0];
        assert!(record.text("detail").contains("65536 bytes"), "{record}");
        assert_eq!(signing.origin.connections(), 0, "{way:?}");
    }
}

#[test]
fn larger_content_streams_whole_and_its_last_byte_never_passes_if_it_was_altered() {
    let world = World::new();
    let (origin, told) = telling(&world);
    let configuration = world.configuration().with(SIGNED).with(STREAM);
    let gateway = Gateway::start(&world.place, &configuration);
    let signer = Signer::of(&world.device);
    for way in WAYS {
        let body = content(1_500_000);
        let good = signer.signed(Request::post("/good", body.clone()));
        let answer = send(&world, &good, way).unwrap();
        assert_eq!(answer.status, 200, "{way:?}: {answer:?}");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "{way:?}");
        let seen = origin.seen().pop().unwrap();
        assert!(seen.body == body, "{way:?}: another content arrived");
        let framed = seen.header("content-length").is_some();
        assert_eq!(framed, way == Way::Length, "{way:?}: {}", seen.head);
        let release = gateway.await_record("its intent", |record| {
            record.text("request_id") == answer.id() && record.kind() == "intent"
        });
        assert_eq!(release.field("integrity")["content"], "awaited");

        let bad = altered(signer.signed(Request::post("/bad", body.clone())));
        let answer = send(&world, &bad, way).unwrap();
        gateway.refused(&answer, 400, "digest_mismatch");
        gateway.await_story(answer.id(), &["intent", "refusal digest_mismatch"]);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(false), "{way:?}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!((seen.target.as_str(), seen.whole), ("/bad", false));
        assert!(seen.body.len() < body.len(), "{way:?}: {}", seen.body.len());
    }
    world.is_served();
    gateway.verify();
}

#[test]
fn over_http_2_a_stream_that_was_altered_is_reset_and_never_ends() {
    let world = World::new();
    let sink = Sink::start(world.place.at(origin::PORT));
    let configuration = world.configuration().with(SIGNED).with(STREAM);
    let configuration = configuration.with("[upstreams.origin]\nprotocol = \"h2\"");
    let gateway = Gateway::start(&world.place, &configuration);
    let signer = Signer::of(&world.device);
    for way in WAYS {
        let body = content(1_500_000);
        let (good, bad) = (format!("/good/{way:?}"), format!("/bad/{way:?}"));
        let request = signer.signed(Request::post(&good, body.clone()));
        let answer = send(&world, &request, way).unwrap();
        assert_eq!(answer.status, 200, "{way:?}: {answer:?}");
        let sunk = sink.await_end(&good);
        assert_eq!((sunk.length, sunk.ended), (1_500_000, Some(Ended::Whole)));
        let request = altered(signer.signed(Request::post(&bad, body)));
        let answer = send(&world, &request, way).unwrap();
        gateway.refused(&answer, 400, "digest_mismatch");
        let sunk = sink.await_end(&bad);
        assert_eq!(sunk.ended, Some(Ended::Cut), "{way:?}");
        assert!(sunk.length < 1_500_000, "{way:?}: {}", sunk.length);
    }
    gateway.verify();
}

#[test]
fn an_upstream_that_answers_before_the_end_does_not_make_altered_content_whole() {
    let world = World::new();
    let (tell, told) = mpsc::channel();
    let _origin = world.origin(move |conversation| {
        conversation.request()?;
        // Nothing of the content is waited for.
        conversation.write(ok("early"))?;
        let came = conversation.body();
        let _ = tell.send(came.is_ok());
        came
    });
    let configuration = world.configuration().with(SIGNED).with(STREAM);
    let gateway = Gateway::start(&world.place, &configuration);
    let signer = Signer::of(&world.device);
    for way in WAYS {
        let bad = altered(signer.signed(Request::post("/bad", content(1_500_000))));
        // Whatever the client learns, the upstream has not got all of it.
        let _ = send(&world, &bad, way);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(false), "{way:?}");
    }
    gateway.verify();
}

#[test]
fn a_stream_costs_constant_memory() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        conversation.keep_nothing();
        while conversation.request()? {
            conversation.body()?;
            conversation.write(ok("ok"))?;
        }
        Ok(())
    });
    let more = "body_limit = \"2GiB\"\nbuffer = \"1MiB\"";
    let configuration = world.configuration().with(SIGNED).with(&format!(
        "[[routes]]\nname = \"all\"\nstream = true\n{more}\n\
         [[routes]]\nname = \"digest\"\nlisteners = [\"devices\"]\nhosts = [\"api.test\"]\n\
         path = \"/digest\"\nmethods = [\"POST\"]\nallow = [\"pump\"]\nupstream = \"origin\"\n\
         digest = \"required\"\n{more}"
    ));
    let mut gateway = Gateway::start(&world.place, &configuration);
    let signer = Signer::of(&world.device);
    let piece = content(64 * 1024);
    let times = if wait::long() { 16 * 1024 } else { 1024 };
    let length = piece.len() * times;
    let digest = sha256_of_many(&piece, times);
    for (path, is_signed) in [("/digest", false), ("/signed", true)] {
        let small = Request::post(path, "small");
        let large = Request::post(path, "").with("content-digest", &digest);
        let [small, large] = [small, large].map(|request| {
            if is_signed {
                signer.signed(request)
            } else {
                request
            }
        });
        let answer = small.ask(&world.caller());
        assert_eq!(answer.status, 200, "{answer:?}");
        let before = gateway.process().peak();
        let mut line = world.line();
        line.send(large.head(&format!("content-length: {length}")))
            .unwrap();
        for _ in 0..times {
            line.write_all(&piece).unwrap();
        }
        line.flush().unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!((seen.length, seen.whole), (length as u64, true), "{path}");
        let more = gateway.process().peak() - before;
        assert!(more < 16 << 20, "{path}: {more} bytes more");
    }
}

#[test]
fn a_digest_that_is_wrong_is_refused_also_where_none_was_asked_for() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let good = sha256_of(b"hello");
    let bad = sha256_of(b"hellp");
    let sha512 = |content| digest_field("sha-512", &aws_lc_rs::digest::SHA512, content);
    let post = |fields: &[(&str, &str)]| {
        let bare = Request::post("/x", "hello").without("content-digest");
        let fields = fields.iter();
        let with = fields.fold(bare, |request, (name, value)| request.with(name, value));
        with.ask(&world.caller())
    };
    #[rustfmt::skip]
    let accepted: [&[(&str, &str)]; 6] = [
        &[],
        &[("content-digest", &good)],
        &[("repr-digest", &good)],
        &[("content-digest", &good), ("repr-digest", &sha512(b"hello"))],
        // One that nobody knows beside one that is good.
        &[("content-digest", &format!("crc32c=:AAAAAA==:, {good}"))],
        // Of a whole of which this is a part.
        &[("repr-digest", &bad), ("content-range", "bytes 0-4/9")],
    ];
    for fields in accepted {
        let answer = post(fields);
        assert_eq!(answer.status, 200, "{fields:?}: {answer:?}");
    }
    let served = origin.seen().len();
    #[rustfmt::skip]
    let refused: [(&[(&str, &str)], &str); 7] = [
        (&[("content-digest", &bad)], "digest_mismatch"),
        (&[("repr-digest", &bad)], "digest_mismatch"),
        (&[("content-digest", &good), ("repr-digest", &bad)], "digest_mismatch"),
        (&[("content-digest", &format!("{good}, {}", sha512(b"hellp")))], "digest_mismatch"),
        (&[("content-digest", "sha-256")], "digest_malformed"),
        (&[("repr-digest", "not a dictionary")], "digest_malformed"),
        (&[("content-digest", &bad), ("content-range", "bytes 0-4/9")], "digest_mismatch"),
    ];
    for (fields, code) in refused {
        gateway.refused(&post(fields), 400, code);
    }
    // Of content that is not there as well.
    let nothing = |digest: &str| Request::get("/x").with("content-digest", digest);
    let answer = nothing(&good).ask(&world.caller());
    gateway.refused(&answer, 400, "digest_mismatch");
    assert_eq!(origin.seen().len(), served);
    let answer = nothing(&sha256_of(b"")).ask(&world.caller());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_digest_that_nobody_compares_is_a_decision_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(
        "[[routes]]\nname = \"all\"\ndigest = \"off\"\nrationale = \"a device states another one\"",
    );
    let wrong = observation().with("content-digest", &sha256_of(b"other"));
    assert_eq!(wrong.ask(&world.caller()).status, 200);
    gateway.await_record("the decision", |record| {
        record.kind() == "decision" && record.text("rationale") == "a device states another one"
    });
}

#[test]
fn signed_content_that_stalls_is_given_up_before_anything_of_it_is_forwarded() {
    let signing = Signing::start("[[routes]]\nname = \"all\"\nbody_idle = \"1s\"");
    let request = signing.signer.signed(observation());
    let mut line = signing.world.line();
    line.send(request.head("content-length: 19") + "half")
        .unwrap();
    let started = std::time::Instant::now();
    let answer = line.answer().unwrap();
    signing.gateway.refused(&answer, 408, "body_timeout");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(signing.origin.connections(), 0);
}
