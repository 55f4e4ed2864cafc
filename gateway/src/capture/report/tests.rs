//! Messages that were signed here, then altered.

use aws_lc_rs::signature::Ed25519KeyPair;
use integrity::{Draft, SigningKey};
use proptest::prelude::*;

use super::*;
use crate::capture::fields::{self, Wish};
use crate::capture::text;

const REQUEST: &str =
    "POST /fhir/Observation?q=1 HTTP/1.1\nHost: api.example\nContent-Type: a/b\n\nfifty-one\n";

const NOW: u64 = 1_000_000;

struct Signer {
    key: SigningKey,
}

impl Signer {
    fn new() -> Signer {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = SigningKey::from_pkcs8(pair.to_pkcs8v1().unwrap().as_ref()).unwrap();
        Signer { key }
    }

    fn keys(&self) -> Keys {
        Keys::One {
            key: self.key.verifying_key().unwrap(),
            keyid: None,
        }
    }

    fn params() -> Params {
        Params {
            created: Some(NOW),
            expires: Some(NOW + 60),
            nonce: Some("n".into()),
            keyid: Some("k".into()),
            ..Params::default()
        }
    }

    fn signed(&self, text: &str, covers: Option<&str>, params: Params) -> String {
        let wish = Wish {
            label: "sig1".to_owned(),
            covers: covers.map(|list| fields::components(list).unwrap()),
            params,
            digest: DigestAlgorithm::Sha256,
        };
        let request = text::read_request(text.as_bytes()).unwrap().0;
        let added = fields::sign(&request, &wish, &self.key).unwrap();
        String::from_utf8(text::with_fields(text.as_bytes(), &added)).unwrap()
    }
}

fn ask(text: &str, against: Option<&str>, keys: &Keys, now: u64) -> Report {
    let read = text::read(text.as_bytes(), None).unwrap();
    let against = against.map(|text| text::read(text.as_bytes(), None).unwrap().message);
    report(&Question {
        read: &read,
        request: None,
        against: against.as_ref(),
        keys,
        label: None,
        now,
    })
}

#[test]
fn what_was_signed_is_good_and_nothing_is_missing_of_it() {
    let signer = Signer::new();
    let text = signer.signed(REQUEST, None, Signer::params());
    let report = ask(&text, Some(&text), &signer.keys(), NOW);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.signatures[0].algorithm, Some(Algorithm::Ed25519));
    assert_eq!(report.content_digest.to_string(), "good, sha-256");
    assert_eq!(report.repr_digest, DigestVerdict::Absent);
    assert_eq!(report.notes, []);
    assert!(report.signatures[0].differences.is_empty());
    assert_eq!(report.content_differs, None);
}

#[test]
fn one_changed_byte_is_named_by_its_component() {
    let signer = Signer::new();
    let sent = signer.signed(REQUEST, None, Signer::params());
    for (from, to, component) in [
        ("POST ", "PUST ", "@method"),
        ("api.example", "apj.example", "@authority"),
        ("/fhir/Obs", "/fhir/Oks", "@path"),
        ("?q=1", "?q=2", "@query"),
        ("a/b", "a/c", "content-type"),
        ("created=1000000", "created=1000001", "@signature-params"),
    ] {
        let got = sent.replacen(from, to, 1);
        let report = ask(&got, Some(&sent), &signer.keys(), NOW);
        assert!(!report.is_good(), "{component}");
        assert!(report.signatures[0].outcome.is_err(), "{component}");
        let [difference] = &report.signatures[0].differences[..] else {
            panic!("{component}: {report:?}")
        };
        let told = difference.to_string();
        let first = format!("- \"{component}\": ");
        assert!(told.starts_with(&first), "{told}");
        let unsigned = ask(&got, Some(REQUEST), &signer.keys(), NOW);
        let told: Vec<_> = unsigned.signatures[0]
            .differences
            .iter()
            .map(ToString::to_string)
            .collect();
        let is_named = told.iter().any(|told| told.starts_with(&first));
        assert_eq!(is_named, component != "@signature-params", "{told:?}");
    }
    let got = sent.replace("fifty-one", "fifty-ten");
    let report = ask(&got, Some(&sent), &signer.keys(), NOW);
    assert!(!report.is_good());
    assert!(
        report.signatures[0].outcome.is_ok(),
        "the head is as it was"
    );
    assert!(matches!(
        report.content_digest,
        DigestVerdict::Bad(DigestError::Mismatch { .. })
    ));
    let differs = ContentDifference {
        against: 10,
        message: 10,
        at: 6,
    };
    assert_eq!(report.content_differs, Some(differs));
}

#[test]
fn what_is_not_there_or_cannot_be_read_is_not_good() {
    let signer = Signer::new();
    let findings = |text: &str| {
        let report = ask(text, None, &signer.keys(), NOW);
        assert!(!report.is_good(), "{text}");
        report.findings
    };
    assert_eq!(findings(REQUEST), [Finding::Unsigned]);
    let text = signer.signed(REQUEST, None, Signer::params());
    let field = "signature-input";
    let alone = text.replace("Signature-Input", "X");
    assert_eq!(
        findings(&alone),
        [Finding::Fields(Error::Unpaired { field })]
    );
    let longer = format!("{text}.");
    let odd = Odd::Length {
        said: 10,
        found: 11,
    };
    assert_eq!(findings(&longer), [Finding::Odd(odd)]);
    let read = text::read(text.as_bytes(), None).unwrap();
    let other = report(&Question {
        read: &read,
        request: None,
        against: None,
        keys: &signer.keys(),
        label: Some("sig2"),
        now: NOW,
    });
    assert_eq!(other.findings, [Finding::NoSuchLabel]);
}

#[test]
fn time_is_judged_by_what_the_signature_says() {
    let signer = Signer::new();
    let text = signer.signed(REQUEST, None, Signer::params());
    let outcome = |now| {
        ask(&text, None, &signer.keys(), now).signatures[0]
            .outcome
            .clone()
    };
    assert!(outcome(NOW + 60).is_ok());
    assert!(matches!(outcome(NOW + 100), Err(Error::Expired { .. })));
    assert!(matches!(outcome(NOW - 100), Err(Error::NotYetValid { .. })));
}

#[test]
fn keys_are_found_by_their_name_and_another_key_is_none() {
    let signer = Signer::new();
    let public = signer.key.verifying_key().unwrap();
    let set = JwkSet::write([&public]).unwrap();
    let keys = Keys::Set(JwkSet::parse(set.as_bytes()).unwrap());
    let text = signer.signed(REQUEST, None, Signer::params());
    let report = ask(&text, None, &keys, NOW);
    assert_eq!(report.signatures[0].outcome, Err(Error::KeyUnknown));
    assert_eq!(report.signatures[0].algorithm, None);
    let named = Params {
        keyid: Some(public.thumbprint().unwrap().into()),
        ..Signer::params()
    };
    let text = signer.signed(REQUEST, None, named);
    assert!(ask(&text, None, &keys, NOW).is_good());
    let stranger = ask(&text, None, &Signer::new().keys(), NOW);
    assert!(matches!(
        stranger.signatures[0].outcome,
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn what_is_usual_and_missing_is_noted() {
    let signer = Signer::new();
    let text = signer.signed(REQUEST, Some("@method"), Params::default());
    let keys = Keys::One {
        key: signer.key.verifying_key().unwrap(),
        keyid: Some("thumbprint".to_owned()),
    };
    let notes = |text: &str| -> Vec<String> {
        let report = ask(text, None, &keys, NOW);
        assert!(report.is_good());
        report.notes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        notes(&text),
        [
            "sig1 does not cover @authority, @path, @query",
            "sig1 has no created",
            "sig1 has no nonce",
            "sig1 has no keyid",
            "no signature covers a digest of the content: it could be any other content",
        ]
    );
    let text = signer.signed(
        REQUEST,
        Some("@method @target-uri content-digest"),
        Signer::params(),
    );
    assert_eq!(
        notes(&text),
        ["sig1: keyid is not that of the certificate, which is thumbprint"]
    );
}

#[test]
fn a_response_is_verified_with_the_request_that_it_answers() {
    let signer = Signer::new();
    let request = text::read_request(REQUEST.as_bytes()).unwrap().0;
    let digest = Hasher::digest(&[DigestAlgorithm::Sha512], b"ok");
    let head = format!("HTTP/1.1 201 Created\r\nContent-Digest: {digest}\r\n");
    let bare = format!("{head}\r\nok");
    let read = text::read(bare.as_bytes(), None).unwrap();
    let components = fields::components("@status content-digest @path;req").unwrap();
    let draft = Draft::new("g", &components, &Signer::params()).unwrap();
    let signed = draft
        .sign(&read.message.view(Some(&request)), &signer.key)
        .unwrap();
    let text = format!(
        "{head}Signature-Input: {}\r\nSignature: {}\r\n\r\nok",
        signed.input(),
        signed.signature()
    );
    let read = text::read(text.as_bytes(), None).unwrap();
    let keys = signer.keys();
    let ask = |request: Option<&Request>| {
        report(&Question {
            read: &read,
            request,
            against: None,
            keys: &keys,
            label: None,
            now: NOW,
        })
    };
    assert!(ask(Some(&request)).is_good());
    assert_eq!(ask(Some(&request)).notes, []);
    let outcome = ask(None).signatures[0].outcome.clone();
    assert!(matches!(outcome, Err(Error::NoRequest { .. })));
    let mut other = request;
    other.method = Method::HEAD;
    let report = ask(Some(&other));
    assert_eq!(
        report.content_digest,
        DigestVerdict::NotCompared(NotCompared::Head)
    );
}

#[test]
fn signatures_and_digests_in_trailers_are_found() {
    let signer = Signer::new();
    let digest = Hasher::digest(&[DigestAlgorithm::Sha256], b"ok");
    let text = |more: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Digest: {digest}\r\n{more}\r\n"
        )
    };
    let read = text::read(text("").as_bytes(), None).unwrap();
    let components = fields::components("@status content-digest;tr").unwrap();
    let draft = Draft::new("g", &components, &Signer::params()).unwrap();
    let signed = draft.sign(&read.message.view(None), &signer.key).unwrap();
    let (input, signature) = (signed.input(), signed.signature());
    let more = format!("Signature-Input: {input}\r\nSignature: {signature}\r\n");
    let report = ask(&text(&more), None, &signer.keys(), NOW);
    assert!(report.is_good(), "{report:?}");
    assert!(report.signatures[0].in_trailers);
    assert_eq!(report.content_digest.to_string(), "good, sha-256");
    assert_eq!(report.notes, []);
}

proptest! {
    #[test]
    fn one_changed_bit_makes_another_message_or_one_that_is_not_good(
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let signer = Signer::new();
        let sent = signer.signed(REQUEST, None, Signer::params());
        let mut got = sent.clone().into_bytes();
        let index = at.index(got.len());
        got[index] ^= 1 << bit;
        let keys = signer.keys();
        if let Ok(read) = text::read(&got, None) {
            let found = report(&Question {
                read: &read,
                request: None,
                against: None,
                keys: &keys,
                label: None,
                now: NOW,
            });
            // Good is only what says the same: the case of a name, for instance, says nothing.
            if found.is_good() {
                let whole = ask(&sent, None, &keys, NOW);
                prop_assert!(found.signatures[0].lines == whole.signatures[0].lines);
                prop_assert!(sent.as_bytes().ends_with(read.message.content()));
                prop_assert_eq!(read.message.content().len(), "fifty-one\n".len());
            }
        }
    }
}
