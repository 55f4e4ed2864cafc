//! Whom contents name: examples as files, rows of what must not fool it, and bounds.

use fhir::{Completeness, Limits, Reason, Scanner};

use crate::support::{rows, scan, scan_pieces, spell};

/// Examples of the kinds that pass, each with what is found in it.
const EXAMPLES: &[(&str, &str, &str)] = &[
    (
        include_str!("../vectors/searchset.json"),
        "Patient/23 https://ehr.example/r4/Patient/24 urn:oid:2.16.840.1.113883.19.5|M-0023 \
         0=2 all",
        "Bundle Observation OperationOutcome Patient",
    ),
    (
        include_str!("../vectors/transaction.json"),
        "urn:oid:2.16.840.1.113883.19.5|M-0061 urn:oid:2.16.840.1.113883.19.6|7 Patient/62 \
         urn:oid:2.16.840.1.113883.19.5|M-0063 0=1 all",
        "Bundle Encounter Observation Patient Practitioner",
    ),
    (
        include_str!("../vectors/transaction-response.json"),
        "Patient/61 Patient/62 all",
        "Bundle",
    ),
    (
        include_str!("../vectors/export.ndjson"),
        "Patient/1 urn:oid:1.2.3|A Patient/2 urn:oid:1.2.3|B 0=1 2=3 all",
        "Observation Patient",
    ),
    (
        include_str!("../vectors/contained.json"),
        "urn:oid:1.2.36.146.595.217.0.1|12345 all",
        "Observation Patient",
    ),
    (
        include_str!("../vectors/logical.json"),
        "http://fhir.example/sid/insured|X110411319 http://fhir.example/sid/insured|X234567891 all",
        "Coverage",
    ),
];

#[test]
fn the_examples_name_whom_they_name() {
    for (contents, expected, types) in EXAMPLES {
        let found = scan(contents.as_bytes());
        assert_eq!(spell(&found), *expected, "{contents}");
        assert_eq!(found.types().names().collect::<Vec<_>>().join(" "), *types);
    }
}

#[test]
fn each_row_names_whom_it_names() {
    let rows: Vec<_> = rows(include_str!("../vectors/contents.txt")).collect();
    assert!(rows.len() > 60);
    for (contents, expected) in rows {
        assert_eq!(spell(&scan(contents.as_bytes())), expected, "{contents}");
        let bytes = contents.as_bytes().chunks(1);
        assert_eq!(spell(&scan_pieces(bytes)), expected, "by bytes: {contents}");
    }
}

#[test]
fn what_is_no_text_is_unknown_and_what_came_before_is_kept() {
    let before = r#"{"resourceType":"Observation","subject":{"reference":"Patient/1"},"note":""#;
    for (after, reason) in [
        (&b"\xff\"}"[..], "not_utf8"),
        (b"\xc3(\"}", "not_utf8"),
        (b"\xed\xa0\x80\"}", "not_utf8"),
        (b"\0\"}", "syntax"),
        (b"\n\"}", "syntax"),
        (b"\\x\"}", "syntax"),
        (b"\\u12g4\"}", "syntax"),
        (b"\xe2\x82", "not_utf8"),
        (b"", "truncated"),
        (b"\\", "truncated"),
        (b"\"", "truncated"),
    ] {
        let contents = [before.as_bytes(), after].concat();
        let expected = format!("Patient/1 unknown:{reason}");
        assert_eq!(spell(&scan(&contents)), expected, "{after:?}");
        assert_eq!(
            spell(&scan_pieces(contents.chunks(1))),
            expected,
            "{after:?}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_and_utf_16_is_not_read() {
    let contents = "\u{feff}{\"resourceType\":\"Patient\",\"id\":\"1\"}";
    assert_eq!(spell(&scan(contents.as_bytes())), "Patient/1 all");
    let wide: Vec<u8> = contents.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(spell(&scan(&wide)), "unknown:not_utf8");
}

#[test]
fn lines_are_documents_and_documents_stand_on_lines_of_their_own() {
    let one = r#"{"resourceType":"Patient","id":"1"}"#;
    let two = r#"{"resourceType":"Patient","id":"2"}"#;
    for (contents, expected) in [
        (format!("{one}\n{two}\n"), "Patient/1 Patient/2 all"),
        (format!("\n{one}\r\n\r\n{two}"), "Patient/1 Patient/2 all"),
        (format!("{one}{two}"), "Patient/1 unknown:syntax"),
        (format!("{one} {two}"), "Patient/1 unknown:syntax"),
        (format!("{one},\n{two}"), "Patient/1 unknown:syntax"),
        (
            format!("{one}\n{{}}\n{two}"),
            "Patient/1 Patient/2 unknown:not_fhir",
        ),
        (" \n".into(), "all"),
        (String::new(), "all"),
    ] {
        assert_eq!(spell(&scan(contents.as_bytes())), expected, "{contents}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let (open, close) = ("{\"item\":[".repeat(depth), "]}".repeat(depth));
        format!(
            "{{\"resourceType\":\"Questionnaire\",\"subject\":{{\"reference\":\"Patient/1\"}},\
             \"x\":{open}{{\"reference\":\"Patient/2\"}}{close}}}"
        )
    };
    assert_eq!(
        spell(&scan(nested(40).as_bytes())),
        "Patient/1 Patient/2 all"
    );
    assert_eq!(
        spell(&scan(nested(60).as_bytes())),
        "Patient/1 unknown:too_deep"
    );
    let deep = "[".repeat(10_000_000);
    assert_eq!(spell(&scan(deep.as_bytes())), "unknown:too_deep");
}

#[test]
fn a_huge_text_is_passed_over_and_a_text_that_matters_must_be_short() {
    let huge = "x".repeat(1 << 20);
    for (contents, expected) in [
        (
            format!(r#"{{"data":"{huge}","{huge}":1,"resourceType":"Patient","id":"1"}}"#),
            "Patient/1 all",
        ),
        (
            format!(r#"{{"resourceType":"Patient","id":"{huge}"}}"#),
            "unknown:too_long",
        ),
        (
            format!(r#"{{"resourceType":"List","x":{{"reference":"{huge}/Patient/1"}}}}"#),
            "unknown:too_long",
        ),
        (
            format!(r#"{{"resourceType":"Practitioner","id":"{huge}"}}"#),
            "all",
        ),
        (
            format!(r#"{{"resourceType":"Practitioner","identifier":[{{"value":"{huge}"}}]}}"#),
            "all",
        ),
        (
            format!(r#"{{"resourceType":"{huge}"}}"#),
            "unknown:resource_type",
        ),
    ] {
        let pieces = contents.as_bytes().chunks(1000);
        assert_eq!(spell(&scan_pieces(pieces)), expected);
        assert_eq!(spell(&scan(contents.as_bytes())), expected);
    }
}

#[test]
fn what_waits_makes_room_as_soon_as_it_is_nobodys() {
    let long = "v".repeat(250);
    let identifiers = |count: usize| {
        let one = format!(r#"{{"value":"{long}"}}"#);
        vec![one; count].join(",")
    };
    // A resource of another type is known by now, so that three more fit for the one within it.
    let contents = format!(
        r#"{{"identifier":[{}],"resourceType":"Practitioner","contained":[{{"identifier":[{}],"resourceType":"Patient"}}]}}"#,
        identifiers(3),
        identifiers(3)
    );
    assert_eq!(spell(&scan(contents.as_bytes())), format!("|{long} all"));
    // While the type is not known, no more waits than there is room for.
    let contents = format!(
        r#"{{"identifier":[{}],"resourceType":"Patient"}}"#,
        identifiers(5)
    );
    assert_eq!(
        spell(&scan(contents.as_bytes())),
        format!("|{long} unknown:too_long")
    );
}

#[test]
fn the_state_is_smaller_than_four_kibibytes() {
    let state = Scanner::STATE_BYTES;
    println!("a scanner holds {state} bytes");
    assert!(state < 4096, "{state}");
}

#[test]
fn more_patients_than_there_is_room_for_are_said_to_be_more() {
    let mut scanner = Scanner::new(Limits { subjects: 10 });
    for number in 0..1000 {
        let line = format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"{}\"}}\n",
            number % 11
        );
        scanner.push(line.as_bytes());
    }
    let found = scanner.finish();
    assert_eq!(found.subjects().len(), 10);
    assert!(found.more());
    assert_eq!(found.completeness(), Completeness::Unknown(Reason::More));
}

#[test]
fn what_is_taken_window_by_window_names_everybody_and_keeps_links() {
    let contents =
        r#"{"resourceType":"Patient","id":"1","identifier":[{"system":"s","value":"a"},"#;
    let rest = "{\"system\":\"s\",\"value\":\"b\"}]}\n{\"resourceType\":\"Patient\",\"id\":\"2\"}";
    let mut scanner = Scanner::new(Limits::default());
    scanner.push(contents.as_bytes());
    assert!(!scanner.is_between_resources());
    assert_eq!(spell(&scanner.take()), "Patient/1 s|a 0=1 all");
    scanner.push(rest.as_bytes());
    assert!(scanner.is_between_resources());
    // The window that names a further identifier says whose it is.
    assert_eq!(spell(&scanner.take()), "Patient/1 s|b Patient/2 0=1 all");
    assert_eq!(spell(&scanner.finish()), "all");
}

#[test]
fn what_is_unknown_in_one_window_is_unknown_in_all_that_follow() {
    let mut scanner = Scanner::new(Limits::default());
    scanner.push(b"{}\n");
    let unknown = Completeness::Unknown(Reason::NotFhir);
    assert_eq!(scanner.take().completeness(), unknown);
    scanner.push(b"{\"resourceType\":\"Patient\",\"id\":\"2\"}");
    assert_eq!(spell(&scanner.finish()), "Patient/2 unknown:not_fhir");
}

#[test]
fn many_entries_of_a_transaction_are_resolved_in_either_order() {
    let uuid = |number: u32| format!("urn:uuid:00000000-0000-4000-8000-{number:012x}");
    let patient = format!(
        r#"{{"fullUrl":"{}","resource":{{"resourceType":"Patient","identifier":[{{"value":"a"}}]}}}}"#,
        uuid(0)
    );
    let observations: Vec<_> = (1..1000)
        .map(|number| {
            format!(
                r#"{{"resource":{{"subject":{{"reference":"{}"}},"resourceType":"Observation"}},"fullUrl":"{}"}}"#,
                uuid(0),
                uuid(number)
            )
        })
        .collect();
    let observations = observations.join(",");
    for entries in [
        format!("{patient},{observations}"),
        format!("{observations},{patient}"),
    ] {
        let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{entries}]}}"#);
        assert_eq!(spell(&scan(bundle.as_bytes())), "|a all");
    }
    let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{observations}]}}"#);
    assert_eq!(
        spell(&scan(bundle.as_bytes())),
        "unknown:unresolved_reference"
    );
}
