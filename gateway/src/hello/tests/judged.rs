//! What the rules promise.

use super::super::{HelloRefusal, Policy, RULES, judge};
use super::build::{
    Build, intermediate, key_shares, list8, list16, modern, pre_shared_keys, protocols,
};

fn outcome(build: &Build, policy: &Policy) -> Result<(), HelloRefusal> {
    let judged = judge(build.hello(), policy);
    judged.map(|_| ()).map_err(|refused| refused.refusal)
}

/// What an intermediate listener says.
fn said(build: &Build) -> Result<(), HelloRefusal> {
    outcome(build, &intermediate())
}

#[test]
fn a_client_of_today_passes() {
    assert_eq!(said(&Build::tls13()), Ok(()));
    assert_eq!(said(&Build::tls12()), Ok(()));
    assert_eq!(outcome(&Build::tls13(), &modern()), Ok(()));
}

#[test]
fn the_hello_comes_back_either_way() {
    let build = Build::tls13();
    let inspected = judge(build.hello(), &intermediate()).unwrap();
    assert_eq!(inspected.hello(), &build.hello());
    let build = Build::up_to(0x0301);
    let refused = judge(build.hello(), &intermediate()).unwrap_err();
    assert_eq!(*refused.hello, build.hello());
}

#[test]
fn a_policy_that_serves_nothing_refuses_all() {
    let nothing = Policy {
        sets: vec![],
        protocols: vec![],
    };
    let refusal = HelloRefusal::ProtocolVersion {
        highest: Some(0x0304),
        minimum: None,
    };
    assert_eq!(outcome(&Build::tls13(), &nothing), Err(refusal));
}

#[test]
fn each_old_version_is_named() {
    for old in [0x0002, 0x0300, 0x0301, 0x0302] {
        let refusal = HelloRefusal::ProtocolVersion {
            highest: Some(old),
            minimum: Some(0x0303),
        };
        assert_eq!(said(&Build::up_to(old)), Err(refusal));
        assert_eq!(refusal.alert(), Some(70));
    }
}

#[test]
fn a_tls12_client_is_refused_by_a_modern_listener() {
    let refusal = HelloRefusal::ProtocolVersion {
        highest: Some(0x0303),
        minimum: Some(0x0304),
    };
    assert_eq!(outcome(&Build::tls12(), &modern()), Err(refusal));
}

#[test]
fn listed_versions_count_and_not_the_legacy_one() {
    let listed = Build::tls13().with(43, list8(&[0x0302, 0x0301]));
    let refusal = HelloRefusal::ProtocolVersion {
        highest: Some(0x0302),
        minimum: Some(0x0303),
    };
    assert_eq!(said(&listed), Err(refusal));
    let mut odd = Build::tls13();
    odd.legacy_version = 0x0301;
    assert_eq!(said(&odd), Ok(()));
}

#[test]
fn a_legacy_version_of_ssl3_is_refused_whatever_is_listed() {
    let mut build = Build::tls13();
    build.legacy_version = 0x0300;
    assert!(matches!(
        said(&build),
        Err(HelloRefusal::ProtocolVersion { .. })
    ));
}

#[test]
fn a_version_of_the_future_without_a_list_comes_to_tls12() {
    assert_eq!(said(&Build::up_to(0x0304)), Ok(()));
    assert_eq!(said(&Build::up_to(0x0400)), Ok(()));
    assert!(outcome(&Build::up_to(0x0304), &modern()).is_err());
}

#[test]
fn a_fallback_wins_over_the_version() {
    for old in [0x0300, 0x0301, 0x0302, 0x0303] {
        let refusal = HelloRefusal::Fallback {
            highest: Some(old),
            ours: 0x0304,
        };
        assert_eq!(said(&Build::up_to(old).and_suite(0x5600)), Err(refusal));
        assert_eq!(refusal.alert(), Some(86));
    }
}

#[test]
fn a_fallback_from_the_listed_versions_is_seen() {
    let build = Build::tls13()
        .with(43, list8(&[0x0a0a, 0x7f1c, 0x0303]))
        .and_suite(0x5600);
    let refusal = HelloRefusal::Fallback {
        highest: Some(0x0303),
        ours: 0x0304,
    };
    assert_eq!(said(&build), Err(refusal));
}

#[test]
fn a_fallback_from_nothing_better_is_none() {
    assert_eq!(said(&Build::tls13().and_suite(0x5600)), Ok(()));
    let future = Build::tls13()
        .with(43, list8(&[0x0305, 0x0303]))
        .and_suite(0x5600);
    assert_eq!(said(&future), Ok(()));
    let mut tls12 = intermediate();
    tls12.sets.remove(0);
    assert_eq!(outcome(&Build::tls12().and_suite(0x5600), &tls12), Ok(()));
}

#[test]
fn a_tls13_hello_compresses_with_null_alone() {
    let mut build = Build::tls13();
    build.compression_methods = vec![0, 1];
    assert_eq!(said(&build), Err(HelloRefusal::Compression));
    build.compression_methods = vec![1];
    assert_eq!(said(&build), Err(HelloRefusal::Compression));
}

#[test]
fn an_older_hello_offers_null_among_others() {
    let mut build = Build::tls12();
    build.compression_methods = vec![1, 0];
    assert_eq!(said(&build), Ok(()));
    build.compression_methods = vec![1];
    assert_eq!(said(&build), Err(HelloRefusal::Compression));
}

#[test]
fn a_tls13_hello_holds_what_is_mandatory() {
    for extension in [10, 13, 51] {
        let refusal = HelloRefusal::MissingExtension { extension };
        assert_eq!(said(&Build::tls13().without(extension)), Err(refusal));
        assert_eq!(refusal.alert(), Some(109));
    }
}

#[test]
fn a_pre_shared_key_comes_with_its_modes() {
    let build = Build::tls13().without(45).with(41, pre_shared_keys(1, 1));
    let refusal = HelloRefusal::MissingExtension { extension: 45 };
    assert_eq!(said(&build), Err(refusal));
}

#[test]
fn a_pre_shared_key_stands_in_for_both_groups_and_shares_or_for_none() {
    let with = Build::tls13().with(41, pre_shared_keys(1, 1));
    for extension in [10, 51] {
        let refusal = HelloRefusal::MissingExtension { extension };
        assert_eq!(said(&with.clone().without(extension)), Err(refusal));
    }
}

#[test]
fn a_pre_shared_key_alone_leaves_no_group_in_common() {
    let build = Build::tls13()
        .without(10)
        .without(51)
        .with(41, pre_shared_keys(1, 1));
    assert_eq!(said(&build), Err(HelloRefusal::NoSharedGroup));
}

#[test]
fn a_key_share_is_of_an_offered_group_and_comes_once() {
    let refusal = Err(HelloRefusal::KeyShare { group: 0x0018 });
    let stray = key_shares(&[(0x001d, 32), (0x0018, 97)]);
    assert_eq!(said(&Build::tls13().with(51, stray)), refusal);
    let refusal = Err(HelloRefusal::KeyShare { group: 0x001d });
    let twice = key_shares(&[(0x001d, 32), (0x001d, 32)]);
    assert_eq!(said(&Build::tls13().with(51, twice)), refusal);
}

#[test]
fn a_key_share_of_no_group_of_ours_is_asked_for_again() {
    assert_eq!(said(&Build::tls13().with(51, key_shares(&[]))), Ok(()));
    let build = Build::tls13()
        .with(10, list16(&[0x0019, 0x0017]))
        .with(51, key_shares(&[(0x0019, 133)]));
    assert_eq!(said(&build), Ok(()));
}

#[test]
fn suites_have_to_be_of_the_version_that_is_spoken() {
    let mut build = Build::tls13();
    build.suites = vec![0xc02b, 0xc02f];
    assert_eq!(said(&build), Err(HelloRefusal::NoSharedSuite));
    build.suites = vec![0x1301];
    assert_eq!(said(&build), Ok(()));
    let mut build = Build::tls12();
    build.suites = vec![0x1301];
    assert_eq!(said(&build), Err(HelloRefusal::NoSharedSuite));
}

#[test]
fn groups_have_to_be_of_the_version_that_is_spoken() {
    let hybrid = |build: Build| build.with(10, list16(&[0x11ec])).with(51, key_shares(&[]));
    assert_eq!(said(&hybrid(Build::tls13())), Ok(()));
    assert_eq!(
        said(&hybrid(Build::tls12())),
        Err(HelloRefusal::NoSharedGroup)
    );
    let none = Build::tls13()
        .with(10, list16(&[0x0019]))
        .with(51, key_shares(&[]));
    assert_eq!(said(&none), Err(HelloRefusal::NoSharedGroup));
}

#[test]
fn a_tls12_client_without_groups_or_schemes_is_refused() {
    assert_eq!(
        said(&Build::tls12().without(10)),
        Err(HelloRefusal::NoSharedGroup)
    );
    assert_eq!(
        said(&Build::tls12().without(13)),
        Err(HelloRefusal::NoSharedSignature)
    );
}

#[test]
fn schemes_have_to_fit_the_certificate() {
    let with = |build: Build, schemes: &[u16]| build.with(13, list16(schemes));
    let refusal = Err(HelloRefusal::NoSharedSignature);
    assert_eq!(said(&with(Build::tls13(), &[0x0401, 0x0201])), refusal);
    assert_eq!(said(&with(Build::tls12(), &[0x0401, 0x0201])), Ok(()));
    // In TLS 1.2 the suite says which certificate it is.
    let mut ecdsa = with(Build::tls12(), &[0x0804]);
    ecdsa.suites = vec![0xc02b];
    assert_eq!(said(&ecdsa), refusal);
}

#[test]
fn tls12_needs_the_extended_master_secret_and_tls13_does_not() {
    let refusal = Err(HelloRefusal::NoExtendedMasterSecret);
    assert_eq!(said(&Build::tls12().without(23)), refusal);
    assert_eq!(said(&Build::tls13().without(23)), Ok(()));
}

#[test]
fn tls12_needs_uncompressed_points_and_tls13_does_not() {
    let compressed = |build: Build| build.with(11, vec![2, 1, 2]);
    assert_eq!(
        said(&compressed(Build::tls12())),
        Err(HelloRefusal::PointFormats)
    );
    assert_eq!(said(&compressed(Build::tls13())), Ok(()));
    assert_eq!(said(&Build::tls12().without(11)), Ok(()));
}

#[test]
fn a_protocol_is_shared_or_none_is_named() {
    let refusal = Err(HelloRefusal::NoSharedProtocol);
    assert_eq!(
        said(&Build::tls13().with(16, protocols(&["imap", "H2"]))),
        refusal
    );
    assert_eq!(said(&Build::tls13().without(16)), Ok(()));
    let mut any = intermediate();
    any.protocols.clear();
    assert_eq!(
        outcome(&Build::tls13().with(16, protocols(&["imap"])), &any),
        Ok(())
    );
}

#[test]
fn each_rule_is_named_once_and_cites_a_standard() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(rule.citation.starts_with("RFC "), "{}", rule.name);
        assert!(RULES[at + 1..].iter().all(|other| other.name != rule.name));
    }
}
