//! What a policy refuses, one reason at a time, before any key is used; and what the key refuses.

use std::time::Duration;

use integrity::{
    Algorithm, Algorithms, Candidate, Draft, Error, Params, Policy, Selection, SigningKey,
    VerifyingKey, verify,
};

use crate::support::{Captured, components, lenient, signing_key, verifying_key};

const NOW: u64 = 1_700_000_000;

fn request() -> Captured {
    Captured::parse("POST /fhir/Observation?a=1 HTTP/1.1\nHost: a.example\nDate: then\n\n")
}

fn params() -> Params {
    Params {
        created: Some(NOW),
        nonce: Some("n-1".into()),
        keyid: Some("device".into()),
        ..Params::default()
    }
}

fn signed(covered: &[&str], params: &Params) -> Captured {
    let mut message = request();
    let key = signing_key("test-key-ed25519").unwrap();
    let draft = Draft::new("sig1", &components(covered), params).unwrap();
    let signed = draft.sign(&message.message(), &key).unwrap();
    signed.attach(&mut message.headers).unwrap();
    message
}

fn judged(message: &Captured, policy: &Policy, now: u64) -> Result<Candidate, Error> {
    Candidate::examine(&message.message(), Selection::only(), policy, now)
}

fn strict() -> Policy {
    Policy::strict(components(&["@method", "@path"]))
}

#[test]
fn a_signature_that_has_all_that_is_asked_for_verifies() {
    let message = signed(&["@path", "@method", "date"], &params());
    let key = verifying_key("test-key-ed25519");
    let view = message.message();
    let verified = verify(&view, Selection::only(), &strict(), NOW, |keyid| {
        (keyid == Some("device")).then_some(&key)
    });
    let verified = verified.unwrap();
    assert_eq!(verified.label(), "sig1");
    assert_eq!(verified.params(), &params());
    assert_eq!(
        verified.covered(),
        components(&["@path", "@method", "date"])
    );
    assert_eq!(verified.algorithm(), Algorithm::Ed25519);
    assert_eq!(verified.accepted_until(), Some(NOW + 330));
}

#[test]
fn a_key_that_nobody_knows_is_refused() {
    let message = signed(&["@path", "@method"], &params());
    let view = message.message();
    let unknown = verify(&view, Selection::only(), &strict(), NOW, |_| None);
    assert_eq!(unknown.unwrap_err(), Error::KeyUnknown);
}

#[test]
fn another_key_of_the_same_kind_is_refused() {
    let message = signed(&["@path", "@method"], &params());
    let other =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let other = VerifyingKey::from_jwk(other.as_bytes()).unwrap();
    let refused = judged(&message, &strict(), NOW).unwrap().verify(&other);
    let algorithm = "ed25519";
    assert_eq!(refused.unwrap_err(), Error::Invalid { algorithm });
}

#[test]
fn everything_that_must_be_covered_is() {
    let message = signed(&["@path", "\"@query-param\";name=\"a\""], &params());
    let refused = judged(&message, &strict(), NOW).unwrap_err();
    let component = "@method".into();
    assert_eq!(refused, Error::NotCovered { component });
    // Of another query parameter, and in another form.
    for required in [
        "\"@query-param\";name=\"b\"",
        "\"date\";bs",
        "\"@path\";req",
    ] {
        let policy = Policy::strict(components(&[required]));
        let refused = judged(&message, &policy, NOW).unwrap_err();
        assert!(matches!(refused, Error::NotCovered { .. }), "{required}");
    }
}

#[test]
fn every_parameter_that_is_asked_for_is_there_and_not_empty() {
    let missing = |parameter| Error::ParameterMissing { parameter };
    let mut expires = strict();
    expires.require_expires = true;
    for (policy, params, error) in [
        (
            strict(),
            Params {
                created: None,
                ..params()
            },
            missing("created"),
        ),
        (
            strict(),
            Params {
                nonce: None,
                ..params()
            },
            missing("nonce"),
        ),
        (
            strict(),
            Params {
                nonce: Some("".into()),
                ..params()
            },
            missing("nonce"),
        ),
        (
            strict(),
            Params {
                keyid: None,
                ..params()
            },
            missing("keyid"),
        ),
        (
            strict(),
            Params {
                keyid: Some("".into()),
                ..params()
            },
            missing("keyid"),
        ),
        (expires, params(), missing("expires")),
    ] {
        let message = signed(&["@path", "@method"], &params);
        assert_eq!(judged(&message, &policy, NOW).unwrap_err(), error);
    }
}

#[test]
fn a_signature_is_of_now() {
    let message = signed(&["@path", "@method"], &params());
    let created = NOW;
    let judged = |now| judged(&message, &strict(), now).err();
    // 300 seconds old, by a clock that is 30 seconds off, and not a second more.
    assert_eq!(judged(NOW + 330), None);
    let now = NOW + 331;
    let limit = 300;
    let old = Error::TooOld {
        created,
        now,
        limit,
    };
    assert_eq!(judged(now), Some(old));
    assert_eq!(judged(NOW - 30), None);
    let now = NOW - 31;
    assert_eq!(judged(now), Some(Error::NotYetValid { created, now }));
}

#[test]
fn an_expiry_holds_though_nobody_asked_for_it() {
    let expires = NOW + 10;
    let params = Params {
        expires: Some(expires),
        ..params()
    };
    let message = signed(&["@path", "@method"], &params);
    let key = verifying_key("test-key-ed25519");
    let verified = judged(&message, &strict(), NOW + 40).unwrap().verify(&key);
    assert_eq!(verified.unwrap().accepted_until(), Some(NOW + 40));
    let now = NOW + 41;
    let refused = judged(&message, &strict(), now).unwrap_err();
    assert_eq!(refused, Error::Expired { expires, now });
    let verified = judged(&message, &lenient(), NOW).unwrap().verify(&key);
    assert_eq!(verified.unwrap().accepted_until(), Some(NOW + 40));
}

#[test]
fn times_at_the_end_of_time_do_not_overflow() {
    let last = 999_999_999_999_999;
    let params = Params {
        created: Some(last),
        expires: Some(last),
        ..params()
    };
    let message = signed(&["@path", "@method"], &params);
    let mut policy = strict();
    policy.max_age = Some(Duration::MAX);
    policy.skew = Duration::MAX;
    assert!(judged(&message, &policy, u64::MAX).is_ok());
    assert_eq!(policy.horizon(), Some(Duration::MAX));
    assert!(judged(&message, &strict(), 0).is_err());
}

#[test]
fn a_tag_is_one_of_those_that_are_accepted() {
    let mut policy = strict();
    policy.tags = Some(vec!["phigate".into(), "other".into()]);
    for (tag, accepted) in [
        (Some("phigate"), true),
        (Some("other"), true),
        (Some("Phigate"), false),
        (Some(""), false),
        (None, false),
    ] {
        let params = Params {
            tag: tag.map(Into::into),
            ..params()
        };
        let message = signed(&["@path", "@method"], &params);
        let judged = judged(&message, &policy, NOW);
        assert_eq!(judged.is_ok(), accepted, "{tag:?}");
        if let Err(error) = judged {
            assert_eq!(error, Error::TagNotAccepted);
        }
    }
    policy.tags = Some(Vec::new());
    let message = signed(&["@path", "@method"], &params());
    let none = judged(&message, &policy, NOW).unwrap_err();
    assert_eq!(none, Error::TagNotAccepted, "an empty list is nobody");
}

#[test]
fn the_algorithm_is_the_keys_and_one_that_is_accepted() {
    let named = |alg: &str| Params {
        alg: Some(alg.into()),
        ..params()
    };
    let ed25519 = verifying_key("test-key-ed25519");
    let message = signed(&["@path", "@method"], &named("ed25519"));
    let candidate = judged(&message, &strict(), NOW).unwrap();
    assert!(candidate.verify(&ed25519).is_ok());

    // What the signature says is refused before the key, where it can be.
    let algorithm = "ed25519";
    let mut policy = strict();
    policy.algorithms = Algorithms::NONE.and(Algorithm::EcdsaP256Sha256);
    let refused = judged(&message, &policy, NOW).unwrap_err();
    assert_eq!(refused, Error::AlgorithmNotAccepted { algorithm });
    policy.algorithms = Algorithms::NONE;
    let silent = signed(&["@path", "@method"], &params());
    let refused = judged(&silent, &policy, NOW).unwrap().verify(&ed25519);
    assert_eq!(
        refused.unwrap_err(),
        Error::AlgorithmNotAccepted { algorithm }
    );

    // A shared secret cannot pass for a public key: it is not accepted unless the policy says so.
    let hmac = verifying_key("test-shared-secret");
    let refused = judged(&silent, &strict(), NOW).unwrap().verify(&hmac);
    let algorithm = "hmac-sha256";
    assert_eq!(
        refused.unwrap_err(),
        Error::AlgorithmNotAccepted { algorithm }
    );

    let key = "ecdsa-p256-sha256";
    let p256 = verifying_key("test-key-ecc-p256");
    let refused = judged(&message, &strict(), NOW).unwrap().verify(&p256);
    assert_eq!(refused.unwrap_err(), Error::AlgorithmMismatch { key });

    let signing = signing_key("test-key-ed25519").unwrap();
    let draft = Draft::new("a", &components(&["@path"]), &named(key)).unwrap();
    let refused = draft.sign(&request().message(), &signing).unwrap_err();
    assert_eq!(refused, Error::AlgorithmMismatch { key: "ed25519" });
}

#[test]
fn an_algorithm_that_nobody_knows_is_refused() {
    let mut message = signed(&["@path", "@method"], &params());
    let input = message.headers["signature-input"].to_str().unwrap();
    let input = format!("{input};alg=\"none\"");
    message
        .headers
        .insert("signature-input", input.parse().unwrap());
    let refused = judged(&message, &strict(), NOW).unwrap_err();
    assert_eq!(refused, Error::AlgorithmUnknown);
}

#[test]
fn a_signature_over_nothing_is_refused() {
    let mut message = request();
    let input = format!("a=();created={NOW};nonce=\"1\";keyid=\"device\"");
    message
        .headers
        .insert("signature-input", input.parse().unwrap());
    message
        .headers
        .insert("signature", "a=:AAA=:".parse().unwrap());
    let refused = judged(&message, &Policy::strict(Vec::new()), NOW).unwrap_err();
    assert_eq!(refused, Error::NothingCovered);
    let none = Draft::new("a", &[], &params()).unwrap_err();
    assert_eq!(none, Error::NothingCovered);
}

#[test]
fn what_is_covered_and_not_there_is_refused_without_a_key() {
    let mut message = signed(&["@path", "@method", "date"], &params());
    message.headers.remove("date");
    let refused = judged(&message, &strict(), NOW).unwrap_err();
    let component = "date".into();
    assert_eq!(refused, Error::ComponentAbsent { component });
}

#[test]
fn a_window_knows_a_message_by_its_nonce_or_by_what_was_signed() {
    let key = verifying_key("test-key-ed25519");
    let known = |message: &Captured| {
        let candidate = judged(message, &lenient(), NOW).unwrap();
        *candidate.verify(&key).unwrap().replay_key()
    };
    // The same nonce is the same message, whatever it covers.
    let first = known(&signed(&["@path"], &params()));
    assert_eq!(known(&signed(&["@method"], &params())), first);
    let other = Params {
        nonce: Some("n-2".into()),
        ..params()
    };
    assert_ne!(known(&signed(&["@path"], &other)), first);
    // Without one it is what was signed.
    let silent = Params {
        nonce: None,
        ..params()
    };
    let second = known(&signed(&["@path"], &silent));
    assert_eq!(known(&signed(&["@path"], &silent)), second);
    assert_ne!(known(&signed(&["@method"], &silent)), second);
}

/// Who sees a signature `r || s` of ECDSA can make `r || n - s` of it, which verifies too.
#[test]
fn the_twin_of_an_ecdsa_signature_is_the_same_message_to_a_window() {
    let key = p256();
    let verifying = key.verifying_key().unwrap();
    let silent = Params {
        nonce: None,
        ..params()
    };
    let mut message = request();
    let draft = Draft::new("a", &components(&["@path"]), &silent).unwrap();
    let prepared = draft.prepare(&message.message()).unwrap();
    let signature = key.sign(prepared.base().as_bytes()).unwrap();
    let mut twin = signature.clone();
    negate(&mut twin[32..]);
    assert_ne!(twin, signature);
    let mut known = |signature: &[u8]| {
        message.headers.remove("signature");
        message.headers.remove("signature-input");
        let signed = prepared.clone().finish(signature);
        signed.attach(&mut message.headers).unwrap();
        let candidate = judged(&message, &lenient(), NOW).unwrap();
        *candidate.verify(&verifying).unwrap().replay_key()
    };
    assert_eq!(known(&signature), known(&twin));
}

fn p256() -> SigningKey {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    SigningKey::from_pkcs8(key.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

/// The order of P-256 minus this number.
fn negate(number: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];
    let mut borrow = false;
    for (digit, order) in number.iter_mut().zip(ORDER).rev() {
        let (difference, less) = order.overflowing_sub(*digit);
        let (difference, lesser) = difference.overflowing_sub(borrow.into());
        (*digit, borrow) = (difference, less || lesser);
    }
}
