//! Laws that hold for every hello, and for bytes that are none.

use super::super::{ClientHello, HelloReader, HelloRefusal, MAX_FLIGHT_BYTES, judge};
use super::build::{Build, intermediate, record, records};
use super::vectors::vectors;
use proptest::collection::vec;
use proptest::prelude::*;

type Outcome = Result<Option<ClientHello>, HelloRefusal>;

fn at_once(bytes: &[u8]) -> Outcome {
    HelloReader::new().read(bytes)
}

/// Reads what arrives in pieces of these lengths, over and over.
fn in_pieces(bytes: &[u8], pieces: &[usize]) -> Outcome {
    let mut reader = HelloReader::new();
    let mut received = 0;
    for piece in pieces.iter().cycle() {
        received = bytes.len().min(received + piece);
        match reader.read(&bytes[..received]) {
            Ok(None) if received < bytes.len() => {}
            outcome => return outcome,
        }
    }
    Ok(None)
}

/// Bytes that look like a hello for longer or shorter.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let captured: Vec<Vec<u8>> = vectors().into_iter().map(|vector| vector.bytes).collect();
    let bent = (
        proptest::sample::select(captured),
        vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    )
        .prop_map(|(mut bytes, changes)| {
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let framed = vec(any::<u8>(), 0..400)
        .prop_map(|body| record(22, 0x0301, &super::build::message(1, &body)));
    prop_oneof![vec(any::<u8>(), 0..400), bent, framed]
}

/// Hellos that follow the grammar, with much in them that nobody knows.
fn hello() -> impl Strategy<Value = Build> {
    let unknown = vec((0x0100_u16..0x0a00, vec(any::<u8>(), 0..40)), 0..8);
    let suites = vec(any::<u16>(), 1..40);
    (unknown, suites, vec(any::<u8>(), 0..=32), any::<bool>()).prop_map(
        |(unknown, suites, session_id, old)| {
            let mut build = if old { Build::tls12() } else { Build::tls13() };
            build.session_id = session_id;
            build.suites = suites;
            unknown.into_iter().fold(build, |build, (number, content)| {
                build.with(number, content)
            })
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_mean_something_else_in_pieces(
        bytes in hostile(),
        pieces in vec(1_usize..50, 1..10),
    ) {
        let outcome = at_once(&bytes);
        prop_assert_eq!(in_pieces(&bytes, &pieces), outcome.clone());
        if let Ok(Some(hello)) = outcome {
            prop_assert_eq!(hello.ja4().len(), 36);
            let _ = judge(hello, &intermediate());
        } else if let Err(refusal) = outcome {
            prop_assert!(!refusal.to_string().is_empty() && !refusal.citation().is_empty());
        }
    }

    #[test]
    fn a_refusal_is_placed_within_what_was_received(bytes in hostile()) {
        if let Err(
            HelloRefusal::Malformed { at, .. }
            | HelloRefusal::Illegal { at, .. }
            | HelloRefusal::Renegotiation { at }
            | HelloRefusal::EmptyRecord { at },
        ) = at_once(&bytes)
        {
            prop_assert!(at <= bytes.len());
        }
    }

    #[test]
    fn no_flood_is_waited_for(length in 1_usize..4, fill in any::<u8>()) {
        // Records that are whole and a message that never is.
        let fragment = vec![fill; length];
        let start = record(22, 0x0301, &[1, 0, 0x40, 0]);
        let flood = record(22, 0x0301, &fragment).repeat(MAX_FLIGHT_BYTES / (5 + length) + 1);
        prop_assert!(!matches!(at_once(&[start, flood].concat()), Ok(None)));
    }

    #[test]
    fn records_and_segments_change_nothing(
        build in hello(),
        size in 1_usize..200,
        pieces in vec(1_usize..50, 1..10),
    ) {
        let spread = records(&build.message(), size);
        prop_assert_eq!(in_pieces(&spread, &pieces), Ok(Some(build.hello())));
    }

    #[test]
    fn no_beginning_of_a_good_hello_is_refused(build in hello(), cut in any::<prop::sample::Index>()) {
        let bytes = build.bytes();
        prop_assert_eq!(at_once(&bytes[..cut.index(bytes.len())]), Ok(None));
    }

    #[test]
    fn what_is_kept_is_no_larger_than_what_was_sent(build in hello()) {
        let hello = build.hello();
        let numbers = hello.suites.len() + hello.extensions.len() + hello.groups.len()
            + hello.signatures.len() + hello.versions.len();
        prop_assert!(2 * numbers <= build.bytes().len());
    }

    #[test]
    fn the_order_of_extensions_and_suites_does_not_change_the_fingerprint(
        (build, shuffled) in hello().prop_flat_map(|build| {
            let extensions = Just(build.extensions.clone().unwrap()).prop_shuffle();
            let suites = Just(build.suites.clone()).prop_shuffle();
            (Just(build), extensions, suites).prop_map(|(build, extensions, suites)| {
                let shuffled = Build { extensions: Some(extensions), suites, ..build.clone() };
                (build, shuffled)
            })
        }),
    ) {
        prop_assert_eq!(shuffled.hello().ja4(), build.hello().ja4());
    }

    #[test]
    fn grease_does_not_change_the_fingerprint(build in hello(), n in 0_u16..16, at in any::<prop::sample::Index>()) {
        let grease = 0x0a0a + n * 0x1010;
        let mut greased = build.clone().with(grease, vec![]);
        greased.suites.insert(at.index(build.suites.len()), grease);
        prop_assert_eq!(greased.hello().ja4(), build.hello().ja4());
    }

    #[test]
    fn a_fallback_is_refused_exactly_when_our_highest_version_is_not_offered(
        versions in vec(0x0300_u16..=0x0304, 1..5),
    ) {
        let build = Build::tls13().with(43, super::build::list8(&versions)).and_suite(0x5600);
        let refused = judge(build.hello(), &intermediate()).err().map(|refused| refused.refusal);
        let fallback = matches!(refused, Some(HelloRefusal::Fallback { .. }));
        prop_assert_eq!(fallback, !versions.contains(&0x0304));
    }
}
