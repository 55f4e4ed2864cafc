//! One bit on the wire is another: whatever it belonged to, nothing whole reaches the upstream.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use integration::signer::Request;
use integration::streams::Streams;
use integration::wait;

use super::Signing;

/// What a signature answers for.
const FIELDS: &[&str] = &[
    "host",
    "content-type",
    "content-digest",
    "signature-input",
    "signature",
];

/// A request with something in every place.
fn whole(signing: &Signing) -> Request {
    let content = "{\"resourceType\":\"Observation\",\"valueQuantity\":{\"value\":7}}";
    let target = "/fhir/Observation.json?_format=json&x=%7Ea";
    signing.signer.signed(Request::post(target, content))
}

/// Where in its bytes stands what must not change.
fn places(request: &Request, bytes: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let find = |text: &str, from: usize| {
        let mut windows = bytes[from..].windows(text.len());
        let at = from + windows.position(|it| it == text.as_bytes()).unwrap();
        at..at + text.len()
    };
    let method = 0..request.method.len();
    let target = find(&request.target, method.end);
    let query = target.start + request.target.find('?').unwrap();
    let body = bytes.len() - request.body.len()..bytes.len();
    let mut places = vec![
        ("method", method),
        ("path", target.start..query),
        ("query", query..target.end),
        ("body", body),
    ];
    for name in FIELDS {
        let line = format!("\r\n{name}: {}\r\n", request.field(name));
        let line = find(&line, target.end);
        places.push((name, line.start + name.len() + 4..line.end - 2));
    }
    places
}

/// Whether a flip changes how something is spelled and not what it says: hosts have no case (RFC 9110
/// 4.2.3).
fn says_the_same(name: &str, byte: u8, bit: u8) -> bool {
    name == "host" && bit == 5 && byte.is_ascii_alphabetic()
}

/// Sends a fresh request with one bit flipped.
#[track_caller]
fn flipped(signing: &Signing, place: usize, at: usize, bit: u8) {
    let request = whole(signing);
    let mut bytes = request.bytes();
    let (name, range) = places(&request, &bytes)[place].clone();
    let at = range.start + at % range.len();
    if says_the_same(name, bytes[at], bit) {
        return;
    }
    bytes[at] ^= 1 << bit;
    let mut line = signing.world.line();
    line.send(&bytes).unwrap();
    // Hanging up without an answer would be a refusal as well.
    let answer = line.answer().ok();
    let status = answer.as_ref().map_or(400, |answer| answer.status);
    assert!(
        (400..500).contains(&status) || status == 501,
        "{name}, byte {at}, bit {bit}: {answer:?}"
    );
    assert_eq!(
        signing.reached(),
        [""; 0],
        "{name}, byte {at}, bit {bit}: {answer:?}"
    );
}

#[test]
fn a_flipped_bit_in_anything_that_is_signed_never_reaches_the_upstream() {
    let signing = Signing::start("");
    let request = whole(&signing);
    let places = places(&request, &request.bytes());
    if wait::long() {
        for (place, (_, range)) in places.iter().enumerate() {
            for at in 0..range.len() {
                (0..8).for_each(|bit| flipped(&signing, place, at, bit));
            }
        }
    } else {
        let drawn = RandomState::new();
        for turn in 0..24_usize {
            for place in 0..places.len() {
                let random = drawn.hash_one((turn, place)).to_be_bytes();
                let at = usize::from(u16::from_be_bytes([random[0], random[1]]));
                flipped(&signing, place, at, random[2] % 8);
            }
        }
    }
    // What was flipped would have passed.
    signing.accepts(&whole(&signing));
    signing.world.is_served();
    signing.gateway.verify();
}

#[test]
fn a_flipped_bit_of_a_stream_never_reaches_the_upstream() {
    let signing = Signing::start("");
    let mut streams = Streams::open(&signing.world.caller()).unwrap();
    let rounds = if wait::long() { 400 } else { 40 };
    let drawn = RandomState::new();
    for turn in 0..rounds {
        let random = drawn.hash_one(turn).to_be_bytes();
        let mut request = whole(&signing);
        let at = usize::from(random[0]);
        match turn % 4 {
            0 => {
                let at = at % request.body.len();
                request.body[at] ^= 1 << (random[1] % 8);
            }
            1 => {
                let signature = request.field("signature").to_owned();
                let at = at % (signature.len() - 7) + 6;
                let other = if signature.as_bytes()[at] == b'A' {
                    "B"
                } else {
                    "A"
                };
                let mut signature = signature;
                signature.replace_range(at..=at, other);
                request = request.with("signature", &signature);
            }
            2 => request.target = request.target.replacen("Observation", "Observatioo", 1),
            _ => request.method = "PUT".to_owned(),
        }
        let answer = request.over(&mut streams).unwrap();
        assert!((400..500).contains(&answer.status), "{turn}: {answer:?}");
        assert_eq!(signing.reached(), [""; 0], "{turn}: {answer:?}");
    }
    assert_eq!(whole(&signing).over(&mut streams).unwrap().status, 200);
}
