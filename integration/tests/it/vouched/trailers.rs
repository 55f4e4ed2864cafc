//! What passes before its end is known is vouched for in trailers, for a client that reads them.

use integration::answer::Answer;
use integration::nginx::Nginx;
use integration::origin;
use integration::world::World;
use integrity::{JwkSet, Selection};

use super::{
    Asked, Framing, P256, SIGNED, Way, answer_with, covered, keys, long, make_key, sha256, sha512,
};

const TYPE: &str = "content-type: text/plain\r\n";

/// A client that reads trailers.
fn reading(target: &str) -> Asked {
    Asked::get(target).with("te", "trailers")
}

fn signing_world() -> World {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    world
}

/// An upstream with one long answer, `/Length` or chunked, with trailers of its own.
fn long_origin(world: &World, trailers: &'static str) -> origin::Origin {
    let content = long();
    world.answering(move |seen| {
        let framing = match seen.target.as_str() {
            "/Length" => Framing::Length,
            _ => Framing::Chunked,
        };
        answer_with(framing, TYPE, &content, trailers)
    })
}

/// The trailer of this name, of which there is one.
fn trailer<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut found = answer.trailers.iter().filter(|(known, _)| known == name);
    let first = found.next().map(|(_, value)| value.as_str());
    assert!(
        found.next().is_none(),
        "{name} twice: {:?}",
        answer.trailers
    );
    first
}

#[track_caller]
fn proves_at_its_end(asked: &Asked, answer: &Answer, keys: &JwkSet) {
    let by = Selection::tag("phigate").in_trailers();
    let verified = asked.proves_by(answer, keys, by);
    let verified = verified.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let covered = covered(&verified);
    let expected = [
        "\"@status\"",
        "\"content-type\"",
        "\"content-digest\";tr",
        "\"@method\";req",
        "\"@authority\";req",
        "\"@path\";req",
    ];
    assert_eq!(covered, expected);
    assert_eq!(answer.header("signature"), None);
}

#[test]
fn an_answer_that_passes_is_vouched_for_at_its_end() {
    let world = signing_world();
    let _origin = long_origin(&world, "");
    let gateway = world.gateway(SIGNED);
    let keys = keys(&world);
    for target in ["/Length", "/Chunked"] {
        for way in [Way::Http11, Way::Http2] {
            let asked = reading(target);
            let answer = asked.over(&world, way).unwrap();
            assert!(answer.whole && answer.body == long(), "{way:?}");
            let digest = sha256(&long());
            assert_eq!(trailer(&answer, "content-digest"), Some(digest.as_str()));
            proves_at_its_end(&asked, &answer, &keys);
            if way == Way::Http11 {
                // RFC 9110 6.6.2.
                let names = "content-digest, signature-input, signature";
                assert_eq!(answer.header("trailer"), Some(names));
                assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
            }
            // Of another answer it says nothing.
            let mut altered = answer.clone();
            altered.status = 203;
            let by = Selection::tag("phigate").in_trailers();
            asked.proves_by(&altered, &keys, by).unwrap_err();
            let another = reading("/other");
            another.proves_by(&answer, &keys, by).unwrap_err();
        }
    }
    let wanted = reading("/Chunked").with("want-content-digest", "sha-512=3");
    let answer = wanted.over(&world, Way::Http2).unwrap();
    let digest = sha512(&long());
    assert_eq!(trailer(&answer, "content-digest"), Some(digest.as_str()));
    gateway.verify();
}

#[test]
fn a_digest_alone_follows_where_nothing_is_signed() {
    let world = World::new();
    let _origin = long_origin(&world, "");
    let _gateway = world.gateway("[[routes]]\nname = \"all\"\nanswers = \"digest\"");
    for way in [Way::Http11, Way::Http2] {
        let answer = reading("/Length").over(&world, way).unwrap();
        let digest = ("content-digest".to_owned(), sha256(&long()));
        assert_eq!(answer.trailers, [digest]);
    }
}

#[test]
fn nothing_follows_for_a_client_that_reads_no_trailers() {
    let world = signing_world();
    let _origin = long_origin(&world, "x-own: 1\r\n");
    let _gateway = world.gateway(SIGNED);
    let plain = Asked::get("/Length");
    for (asked, way) in [
        (plain.clone(), Way::Http11),
        (plain.clone(), Way::Http2),
        (plain.clone().with("te", "gzip"), Way::Http11),
        // HTTP/1.0 has no place for them.
        (plain.clone(), Way::Http10),
        (reading("/Length"), Way::Http10),
        (reading("/Chunked"), Way::Http10),
    ] {
        let answer = asked.over(&world, way).unwrap();
        assert!(answer.whole && answer.body == long(), "{asked:?} {way:?}");
        assert_eq!(
            (answer.header("trailer"), answer.header("signature")),
            (None, None)
        );
        assert_eq!(answer.trailers, [], "{asked:?} {way:?}");
    }
}

#[test]
fn trailers_of_the_upstream_stay_beside_those_of_the_gateway() {
    let world = signing_world();
    let _origin = long_origin(&world, "x-checksum: 17\r\nserver-timing: db;dur=53\r\n");
    let _gateway = world.gateway(SIGNED);
    let keys = keys(&world);
    for way in [Way::Http11, Way::Http2] {
        let asked = reading("/Chunked");
        let answer = asked.over(&world, way).unwrap();
        assert_eq!(trailer(&answer, "x-checksum"), Some("17"));
        assert_eq!(trailer(&answer, "server-timing"), Some("db;dur=53"));
        assert_eq!(answer.trailers.len(), 5, "{:?}", answer.trailers);
        proves_at_its_end(&asked, &answer, &keys);
    }
}

#[test]
fn trailers_of_an_upstream_over_http_2_stay_beside_those_of_the_gateway() {
    let world = signing_world();
    let address = world.place.at(origin::PORT);
    world.place.write("nginx/www/long", long());
    let server =
        format!("server {{ listen {address} http2; location / {{ add_trailer x-checksum 17; }} }}");
    let _nginx = Nginx::start(&world.place, &server);
    let _gateway = world.gateway(&format!("{SIGNED}[upstreams.origin]\nprotocol = \"h2\""));
    let keys = keys(&world);
    for way in [Way::Http11, Way::Http2] {
        let asked = reading("/long");
        let answer = asked.over(&world, way).unwrap();
        assert!(answer.whole && answer.body == long());
        assert_eq!(trailer(&answer, "x-checksum"), Some("17"));
        proves_at_its_end(&asked, &answer, &keys);
    }
}

#[test]
fn what_breaks_off_is_not_vouched_for() {
    let world = signing_world();
    let _origin = world.origin(|conversation| {
        conversation.request()?;
        let whole = answer_with(Framing::Chunked, TYPE, &long(), "");
        conversation.write(&whole[..whole.len() - 50_000])
    });
    let gateway = world.gateway(SIGNED);
    let answer = reading("/x").over(&world, Way::Http11).unwrap();
    assert!(!answer.whole && answer.trailers.is_empty());
    gateway.await_story(answer.id(), &["release", "completion upstream_broken"]);
    assert!(reading("/x").over(&world, Way::Http2).is_err());
}
