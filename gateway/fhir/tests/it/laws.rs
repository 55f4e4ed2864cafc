//! What holds for any contents: how they are cut does not matter, nothing panics, and what is JSON
//! is decided as another reader decides it.

use fhir::{Completeness, Found, Limits, Reason, Scanner, Target};
use proptest::prelude::*;
use serde::de::IgnoredAny;

use crate::random::{self, Choices};
use crate::support::{name, scan, scan_pieces, spell};

/// Bytes that look like contents, with faults.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let tokens = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        " ",
        "\n",
        "0",
        "-1.5e3",
        ".",
        "true",
        "null",
        "\\u00",
        "\\ud83d",
        "\\ude00",
        "41",
        "\u{e4}",
        "\u{1f600}",
        "\u{feff}",
        "\"resourceType\"",
        "\"Patient\"",
        "\"Observation\"",
        "\"Bundle\"",
        "\"id\":\"1\"",
        "\"identifier\"",
        "{\"value\":\"v\"}",
        "\"system\":\"s\"",
        "\"subject\":",
        "{\"reference\":\"Patient/1\"}",
        "\"reference\":",
        "\"type\":\"Patient\"",
        "\"contained\":[",
        "\"entry\":[",
        "\"resource\":",
        "\"request\":",
        "{\"method\":\"DELETE\",\"url\":\"Observation/1\"}",
        "\"fullUrl\":\"urn:uuid:",
    ]);
    let token = prop_oneof![
        40 => tokens.prop_map(|token| token.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// A document as somebody could have written it, perhaps with a byte changed or cut short.
fn written() -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), any::<u64>(), 0..4_u8).prop_map(|(seed, place, fault)| {
        let mut choices = Choices::new(seed);
        let document = random::document(&mut choices);
        let mut bytes = random::write(&document, &mut choices).into_bytes();
        let at = usize::try_from(place % bytes.len() as u64).expect("a place");
        match fault {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (place >> 61),
            _ => {}
        }
        bytes
    })
}

fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

fn is_cut_anywhere(bytes: &[u8], cuts: &[usize]) {
    let whole = scan(bytes);
    assert_eq!(spell(&whole), spell(&scan_pieces(cut(bytes, cuts))));
    assert_eq!(whole, scan_pieces(cut(bytes, cuts)));
    assert_eq!(whole, scan_pieces(bytes.chunks(1)));
    // Taken piece by piece, the same patients are named.
    let mut scanner = Scanner::new(Limits::default());
    let mut taken = Vec::new();
    for piece in cut(bytes, cuts) {
        scanner.push(piece);
        taken.extend(scanner.take().subjects().iter().map(name));
    }
    let rest = scanner.finish();
    taken.extend(rest.subjects().iter().map(name));
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(
        sorted(taken),
        sorted(whole.subjects().iter().map(name).collect())
    );
    assert_eq!(rest.completeness(), whole.completeness());
}

fn is_json(found: &Found) -> bool {
    !matches!(
        found.completeness(),
        Completeness::Unknown(Reason::Syntax | Reason::NotUtf8 | Reason::Truncated)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contents_may_be_cut_anywhere(
        bytes in prop_oneof![soup(), written()],
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        is_cut_anywhere(&bytes, &cuts);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        is_cut_anywhere(&bytes, &[bytes.len() / 2]);
    }

    #[test]
    fn what_is_json_is_decided_as_another_reader_decides_it(bytes in prop_oneof![soup(), written()]) {
        // A reason of meaning hides one of form: only what is said to be well is compared, and what
        // is said to be no JSON. The other reader takes halves of characters and a value of any
        // kind, no second line and no byte order mark.
        let found = scan(&bytes);
let read = str::from_utf8(&bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        if !bytes.trim_ascii().is_empty() && !bytes.starts_with(b"\xef\xbb\xbf") {
            if !is_json(&found) {
                prop_assert!(!read, "refused: {}", String::from_utf8_lossy(&bytes));
            }
            let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<IgnoredAny>();
            if found.completeness() == Completeness::All {
                prop_assert!(lines.into_iter().all(|line| line.is_ok()), "accepted: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn arbitrary_targets_never_panic(
        method in "(GET|POST|PUT|DELETE|[A-Z]{0,4})",
        path in "(/?(Patient|Group|_history|\\$export|%[0-9a-f]{0,2}|[ -~\u{e4}]{0,4}))*",
        query in "((patient|_id|identifier|_has:a:b:|[a-z:.]{0,6})[=&]([ -~]{0,6}))*",
        form in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let target = Target::read(&method, &path, Some(&query), Limits::default());
        let _ = target.form(&form, Limits::default());
        let _ = target.settled(None, None);
    }
}
