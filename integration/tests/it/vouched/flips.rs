//! One bit that turns between upstream and gateway: what it belonged to never leaves as a whole answer.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, StatusCode};
use integration::streams::Streams;
use integration::wait;
use integration::world::World;
use integrity::{Component, Draft, Message, Params, Response};

use super::signatures::knowing;
use super::{FRAMINGS, Framing, answer, now, sha256, signing_key};

/// Numbers that a seed draws, one after another.
struct Drawn {
    seed: u64,
    count: u64,
}

impl Drawn {
    fn below(&mut self, limit: usize) -> usize {
        self.count += 1;
        // The steps of SplitMix64.
        let mut mixed = self
            .seed
            .wrapping_add(self.count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// Where `text` stands in these bytes.
fn find(bytes: &[u8], text: &[u8]) -> Range<usize> {
    let mut windows = bytes.windows(text.len());
    let at = windows.position(|it| it == text).unwrap();
    at..at + text.len()
}

/// The places of an answer that its digest or its signature is about.
fn places(bytes: &[u8], framing: Framing, values: &[String]) -> Vec<Range<usize>> {
    let mut places: Vec<_> = values.iter().map(|it| find(bytes, it.as_bytes())).collect();
    // The status.
    places.push(9..12);
    let content = find(bytes, b"\r\n\r\n").end..bytes.len();
    match framing {
        Framing::Length => places.push(content),
        // The first chunk, behind its size.
        Framing::Chunked => {
            let size = find(&bytes[content.start..], b"\r\n").end;
            let start = content.start + size;
            let end = start + find(&bytes[start..], b"\r\n").start;
            places.push(start..end);
        }
    }
    places
}

#[test]
fn a_bit_that_turns_between_upstream_and_gateway_never_leaves() {
    let world = World::new();
    let gateway = knowing(&world);
    let key = signing_key(&world.place.path("upstream.pem"));
    let next = Arc::new(Mutex::new(Vec::new()));
    let served = Arc::clone(&next);
    let _origin = world.answering(move |_| served.lock().unwrap().clone());
    let mut streams = Streams::open(&world.caller()).unwrap();
    let seeds = if wait::long() { 2000 } else { 60 };
    let first = RandomState::new().hash_one(0);
    for number in 0..seeds {
        let seed = first.wrapping_add(number);
        let mut drawn = Drawn { seed, count: 0 };
        let length = match number % 4 {
            3 => 300_000 + drawn.below(100_000),
            _ => 1 + drawn.below(5_000),
        };
        let content = vec![b'a' + u8::try_from(drawn.below(20)).unwrap(); length];
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/plain".parse().unwrap());
        headers.insert("content-digest", sha256(&content).parse().unwrap());
        let covers = ["@status", "content-type", "content-digest"];
        let covers = covers.map(|name| Component::named(name).unwrap());
        let params = Params {
            created: Some(now()),
            ..Params::default()
        };
        let message = Message::Response(Response {
            status: StatusCode::OK,
            headers: &headers,
            trailers: None,
            request: None,
        });
        let signed = Draft::new("api", &covers, &params).unwrap();
        let signed = signed.sign(&message, &key).unwrap();
        signed.attach(&mut headers).unwrap();
        let values = headers
            .values()
            .map(|value| value.to_str().unwrap().to_owned());
        let values: Vec<String> = values.collect();
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
        let framing = FRAMINGS[drawn.below(2)];
        let bytes = answer(framing, &lines.collect::<String>(), &content);

        // As it is, it arrives.
        next.lock().unwrap().clone_from(&bytes);
        let whole = streams.ask("GET", "/x").unwrap();
        assert!(whole.status == 200 && whole.body == content, "seed {seed}");

        let places = places(&bytes, framing, &values);
        let place = places[drawn.below(places.len())].clone();
        let (at, bit) = (place.start + drawn.below(place.len()), drawn.below(8));
        let mut altered = bytes;
        altered[at] ^= 1 << bit;
        *next.lock().unwrap() = altered;
        let what = format!("seed {seed}: bit {bit} of byte {at}, {framing:?}, {length} bytes");
        match streams.ask("GET", "/x") {
            Ok(answer) => {
                assert_eq!(answer.status, 502, "{what}");
                assert!(
                    answer.problem().starts_with("answer_")
                        || answer.problem() == "upstream_broken",
                    "{what}: {answer:?}"
                );
            }
            // It had begun to leave: more than a window.
            Err(error) => assert!(
                error.contains("stream error") && length > 5_000,
                "{what}: {error}"
            ),
        }
        let mut line = world.line();
        line.send("GET /x HTTP/1.1\r\nhost: api.test\r\n\r\n")
            .unwrap();
        let answer = line.answer().unwrap();
        assert!(
            answer.status == 502 || length > 5_000 && !answer.whole,
            "{what}: {answer:?}"
        );
    }
    gateway.verify();
}
