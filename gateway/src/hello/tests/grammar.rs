//! What the grammar promises.

use super::super::{ClientHello, EXTENSIONS, HelloRefusal, ServerName};
use super::build::{
    Build, key_shares, list8, list16, message, pre_shared_keys, protocols, read, record, vector8,
    vector16,
};

/// The field that is malformed.
fn malformed(outcome: Result<ClientHello, HelloRefusal>) -> Option<&'static str> {
    match outcome.err()? {
        HelloRefusal::Malformed { what, .. } => Some(what),
        _ => None,
    }
}

/// The field that means what it must not.
fn illegal(outcome: Result<ClientHello, HelloRefusal>) -> Option<&'static str> {
    match outcome.err()? {
        HelloRefusal::Illegal { what, .. } => Some(what),
        _ => None,
    }
}

#[test]
fn what_a_hello_offers_is_read_as_it_stands() {
    let hello = Build::tls13()
        .with(0x1a1a, vec![0])
        .with(49, vec![])
        .with(50, list16(&[0x0804]))
        .hello();
    assert_eq!(
        (hello.record_version, hello.legacy_version),
        (0x0301, 0x0303)
    );
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.suites, [0x1301, 0x1302, 0xc02b, 0xc02f, 0x00ff]);
    assert_eq!(hello.compression_methods, [0]);
    assert_eq!(
        hello.extensions,
        [0, 10, 11, 13, 16, 23, 43, 45, 51, 0x1a1a, 49, 50]
    );
    assert_eq!(hello.groups, [0x001d, 0x0017]);
    assert_eq!(hello.key_share_groups, Some(vec![0x001d]));
    assert_eq!(hello.signatures, [0x0403, 0x0804, 0x0401]);
    assert_eq!(hello.certificate_signatures, [0x0804]);
    assert_eq!(
        hello.server_name.as_ref().and_then(ServerName::host),
        Some("gateway.example")
    );
    assert_eq!(
        hello.protocols.iter().collect::<Vec<_>>(),
        [&b"h2"[..], b"http/1.1"]
    );
    assert_eq!(hello.point_formats, Some(vec![0]));
    assert!(hello.offers_extended_master_secret() && hello.offers_renegotiation_info());
    assert!(hello.offers_post_handshake_auth());
    assert!(!hello.offers_fallback() && !hello.offers_early_data());
    assert!(!hello.offers_pre_shared_key() && !hello.offers_session_ticket());
}

#[test]
fn what_is_offered_by_presence_alone_is_told() {
    let hello = Build::tls13()
        .and_suite(0x5600)
        .with(35, b"ticket".to_vec())
        .with(42, vec![])
        .with(41, pre_shared_keys(2, 2))
        .hello();
    assert!(hello.offers_fallback() && hello.offers_session_ticket());
    assert!(hello.offers_early_data() && hello.offers_pre_shared_key());
}

#[test]
fn secure_renegotiation_is_offered_by_extension_as_well() {
    let mut build = Build::tls12();
    build.suites = vec![0xc02b];
    assert!(!build.hello().offers_renegotiation_info());
    assert!(
        build
            .with(0xff01, vec![0])
            .hello()
            .offers_renegotiation_info()
    );
}

#[test]
fn a_hello_without_extensions_is_read() {
    let mut build = Build::up_to(0x0300);
    build.extensions = None;
    let hello = build.hello();
    assert_eq!((hello.versions, hello.extensions), (vec![0x0300], vec![]));
    build.extensions = Some(vec![]);
    assert!(build.hello().extensions.is_empty());
}

#[test]
fn the_highest_version_is_no_grease_and_no_draft() {
    let highest = |versions: &[u16]| {
        Build::tls13()
            .with(43, list8(versions))
            .hello()
            .highest_version()
    };
    assert_eq!(highest(&[0xfafa, 0x0303, 0x0304]), Some(0x0304));
    assert_eq!(highest(&[0x7f1c, 0x0303]), Some(0x0303));
    assert_eq!(highest(&[0x0305, 0x0304]), Some(0x0305));
    assert_eq!(highest(&[0x0a0a]), None);
    assert_eq!(Build::up_to(0x0302).hello().highest_version(), Some(0x0302));
}

#[test]
fn versions_that_are_listed_count_alone() {
    let listed = Build::tls13().with(43, list8(&[0x0304])).hello();
    assert!(listed.offers_version(0x0304) && !listed.offers_version(0x0303));
    let legacy = Build::up_to(0x0302).hello();
    assert!(legacy.offers_version(0x0301) && !legacy.offers_version(0x0303));
    let future = Build::up_to(0x0304).hello();
    assert!(future.offers_version(0x0303) && !future.offers_version(0x0304));
}

#[test]
fn a_session_id_is_at_most_32_bytes() {
    let mut build = Build::tls13();
    build.session_id = vec![1; 33];
    assert_eq!(malformed(build.read()), Some("legacy_session_id"));
    build.session_id = vec![];
    assert!(build.read().is_ok());
}

#[test]
fn suites_are_neither_none_nor_halves() {
    let mut build = Build::tls13();
    build.suites = vec![];
    assert_eq!(malformed(build.read()), Some("cipher_suites"));

    let good = Build::tls13().message();
    let mut halved = good.clone();
    let suites = 4 + 2 + 32 + 1 + 32;
    halved[suites + 1] -= 1;
    halved.remove(suites + 2);
    halved[3] -= 1;
    assert_eq!(
        malformed(read(&record(22, 0x0301, &halved))),
        Some("cipher_suites")
    );
}

#[test]
fn compression_methods_are_not_none() {
    let mut build = Build::tls13();
    build.compression_methods = vec![];
    assert_eq!(malformed(build.read()), Some("legacy_compression_methods"));
}

#[test]
fn an_extension_that_comes_twice_is_refused() {
    for number in [0, 23, 43, 0x1a1a, 0x3374] {
        let mut build = Build::tls13().with(0x1a1a, vec![]).with(0x3374, vec![]);
        let extensions = build.extensions.as_mut().unwrap();
        let first = extensions.iter().find(|(found, _)| *found == number);
        let again = first.unwrap().clone();
        extensions.push(again);
        assert!(illegal(build.read()).is_some(), "{number}");
    }
}

#[test]
fn a_pre_shared_key_comes_last() {
    let last = Build::tls13().with(41, pre_shared_keys(1, 1));
    assert!(last.read().is_ok());
    assert_eq!(
        illegal(last.with(0x1a1a, vec![]).read()),
        Some("pre_shared_key")
    );
}

#[test]
fn each_pre_shared_key_has_a_binder() {
    for (identities, binders) in [(1, 2), (2, 1)] {
        let build = Build::tls13().with(41, pre_shared_keys(identities, binders));
        assert_eq!(illegal(build.read()), Some("pre_shared_key"));
    }
    for (identities, binders) in [(0, 1), (1, 0)] {
        let build = Build::tls13().with(41, pre_shared_keys(identities, binders));
        assert_eq!(malformed(build.read()), Some("pre_shared_key"));
    }
}

#[test]
fn an_identity_has_at_least_one_byte() {
    let with = |names: [&[u8]; 2]| {
        let identities = names
            .map(|name| [vector16(name), vec![0; 4]].concat())
            .concat();
        let binders = vector8(&[8; 32]).repeat(2);
        let content = [vector16(&identities), vector16(&binders)].concat();
        Build::tls13().with(41, content).read()
    };
    assert!(with([b"a", b"b"]).is_ok());
    assert_eq!(malformed(with([b"a", b""])), Some("pre_shared_key"));
    let shortest = [
        vector16(&[0, 1, b'a', 0, 0, 0, 0]),
        vector16(&vector8(&[8; 32])),
    ];
    assert!(Build::tls13().with(41, shortest.concat()).read().is_ok());
}

#[test]
fn a_binder_has_at_least_32_bytes() {
    let identity = vector16(&[vector16(b"t"), vec![0; 4]].concat());
    let binders = vector16(&[vector8(&[8; 31]), vector8(&[8; 32])].concat());
    let build = Build::tls13().with(41, [identity, binders].concat());
    assert_eq!(malformed(build.read()), Some("pre_shared_key"));
}

#[test]
fn a_first_hello_does_not_renegotiate() {
    assert!(Build::tls12().with(0xff01, vec![0]).read().is_ok());
    let claims = Build::tls12().with(0xff01, vector8(&[1; 12])).read();
    assert!(matches!(claims, Err(HelloRefusal::Renegotiation { .. })));
    assert_eq!(claims.unwrap_err().alert(), Some(40));
}

#[test]
fn lists_that_may_not_be_empty_are_not() {
    for (number, name, content) in [
        (10, "supported_groups", vec![0, 0]),
        (11, "ec_point_formats", vec![0]),
        (13, "signature_algorithms", vec![0, 0]),
        (16, "application_layer_protocol_negotiation", vec![0, 0]),
        (
            16,
            "application_layer_protocol_negotiation",
            vec![0, 2, 0, 0],
        ),
        (43, "supported_versions", vec![0]),
        (45, "psk_key_exchange_modes", vec![0]),
        (50, "signature_algorithms_cert", vec![0, 0]),
        (51, "key_share", key_shares(&[(0x001d, 0)])),
    ] {
        let outcome = Build::tls13().with(number, content).read();
        assert_eq!(malformed(outcome), Some(name));
    }
}

#[test]
fn a_list_of_key_shares_may_be_empty() {
    let hello = Build::tls13().with(51, key_shares(&[])).hello();
    assert_eq!(hello.key_share_groups, Some(vec![]));
}

#[test]
fn lists_of_numbers_hold_no_half() {
    for (number, content) in [
        (10, vec![0, 3, 0, 29, 0]),
        (13, vec![0, 3, 4, 3, 8]),
        (43, vec![3, 3, 4, 3]),
        (50, vec![0, 3, 4, 3, 8]),
    ] {
        assert!(
            malformed(Build::tls13().with(number, content).read()).is_some(),
            "{number}"
        );
    }
}

#[test]
fn no_extension_that_is_read_leaves_a_byte_over_or_ends_early() {
    let full = Build::tls13()
        .with(42, vec![])
        .with(49, vec![])
        .with(50, list16(&[0x0804]))
        .with(0xff01, vec![0])
        .with(41, pre_shared_keys(1, 1));
    assert!(full.read().is_ok());
    for row in EXTENSIONS {
        let extensions = full.extensions.as_ref().unwrap();
        let (_, content) = extensions
            .iter()
            .find(|(found, _)| *found == row.number)
            .unwrap();
        let longer = [&content[..], &[0]].concat();
        let outcome = full.clone().with(row.number, longer).read();
        assert_eq!(malformed(outcome), Some(row.name), "longer");
        for length in 0..content.len() {
            let shorter = content[..length].to_vec();
            let outcome = full.clone().with(row.number, shorter).read();
            assert_eq!(malformed(outcome), Some(row.name), "{length} bytes");
        }
    }
}

#[test]
fn an_extension_whose_presence_says_all_has_no_content() {
    for number in [23, 42, 49] {
        let build = |content| Build::tls13().with(number, content).read();
        assert!(build(vec![]).is_ok(), "{number}");
        assert!(malformed(build(vec![0])).is_some(), "{number}");
    }
}

#[test]
fn extensions_that_nobody_knows_are_not_looked_into() {
    let build = Build::tls13()
        .with(0x0a0a, vec![])
        .with(0xfafa, vec![1, 2, 3])
        .with(21, vec![0; 200])
        .with(0xfe0d, vec![0xff; 300]);
    assert!(build.read().is_ok());
}

#[test]
fn grease_is_no_fault_anywhere() {
    let mut build = Build::tls13()
        .with(0x5a5a, vec![])
        .with(10, list16(&[0x2a2a, 0x001d]))
        .with(13, list16(&[0x3a3a, 0x0403]))
        .with(16, protocols(&["\n\n", "h2"]))
        .with(43, list8(&[0x4a4a, 0x0304]))
        .with(45, vec![2, 0x0b, 1])
        .with(51, key_shares(&[(0x2a2a, 1), (0x001d, 32)]));
    build.suites.insert(0, 0x6a6a);
    assert!(build.read().is_ok());
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let good = Build::tls13().with(41, pre_shared_keys(1, 1)).message();
    // Without the block of extensions it is a whole hello, of an old kind.
    let old = Build {
        extensions: None,
        ..Build::tls13()
    }
    .message()
    .len();
    for length in 4..good.len() {
        let cut = message(1, &good[4..length]);
        let outcome = read(&record(22, 0x0301, &cut));
        assert_eq!(
            outcome.is_ok(),
            length == old,
            "{length} bytes: {outcome:?}"
        );
    }
}

#[test]
fn a_byte_behind_the_extensions_is_refused() {
    let good = Build::tls13().message();
    let longer = message(1, &[&good[4..], &[0]].concat());
    let refusal = HelloRefusal::Malformed {
        what: "extensions",
        at: 5 + good.len(),
    };
    assert_eq!(read(&record(22, 0x0301, &longer)), Err(refusal));
}

#[test]
fn a_fault_is_placed_on_the_connection_and_not_in_the_message() {
    let mut build = Build::tls13();
    build.session_id = vec![1; 33];
    // The length of the session id stands behind header, version and random.
    let what = "legacy_session_id";
    let at = 4 + 2 + 32;
    let refusal = HelloRefusal::Malformed { what, at: at + 5 };
    assert_eq!(build.read(), Err(refusal));
    let spread = super::build::records(&build.message(), 10);
    let refusal = HelloRefusal::Malformed {
        what,
        at: at + 4 * 5,
    };
    assert_eq!(read(&spread), Err(refusal));
    // The record that begins with it is before it.
    let spread = super::build::records(&build.message(), at);
    let refusal = HelloRefusal::Malformed {
        what,
        at: at + 2 * 5,
    };
    assert_eq!(read(&spread), Err(refusal));
}
