//! RFC 9421 appendix B and its examples, RFC 9530 appendices A to D.

use integrity::explain::Explanation;
use integrity::{
    Component, DigestAlgorithm, DigestError, Digests, Draft, Error, Hasher, Selection, verify,
};

use crate::support::{
    self, Captured, Case, DIGESTS, MESSAGES, lenient, signing_key, verifying_key,
};

/// When the signatures of the standard were made, and a little later.
const NOW: u64 = 1_618_884_500;

fn captured(case: &Case<'_>) -> Captured {
    let mut message = Captured::parse(&case.part("message").unwrap());
    message.request = case
        .part("request")
        .map(|request| Box::new(Captured::parse(&request)));
    message
}

#[test]
fn a_key_is_the_same_in_each_of_its_forms() {
    let mut forms = 0;
    for (name, algorithm, form, value) in support::rows() {
        let key = match support::verifying(algorithm, form, value) {
            Some(key) => key,
            None => signing_key(name).unwrap().verifying_key().unwrap(),
        };
        assert_eq!(key.algorithm(), algorithm, "{name} {form}");
        if form != "secret" {
            let first = verifying_key(name);
            assert_eq!(key.thumbprint(), first.thumbprint(), "{name} {form}");
        }
        forms += 1;
    }
    assert_eq!(forms, 10);
}

#[test]
fn every_signature_of_the_standard_verifies_or_does_not() {
    let (mut valid, mut invalid) = (0, 0);
    for case in Case::all(MESSAGES) {
        let message = captured(&case);
        let message = message.message();
        let selection = Selection::label(case.word("label"));
        let key = verifying_key(case.word("key"));
        let verified = verify(&message, selection, &lenient(), NOW, |_| Some(&key));
        match (case.word("expect"), verified) {
            ("valid", Ok(verified)) => {
                assert_eq!(verified.label(), case.word("label"));
                assert_eq!(verified.algorithm(), key.algorithm());
                valid += 1;
            }
            // It covers nothing: a good signature, of no use.
            ("valid", Err(Error::NothingCovered)) => {
                assert_eq!(case.name, "sig-b21");
                let base = case.part("base").unwrap();
                let text = message.headers()["signature"].to_str().unwrap();
                let signature = text.strip_prefix("sig-b21=:").unwrap();
                let signature = support::decoded(signature.strip_suffix(':').unwrap());
                key.verify(base.as_bytes(), &signature).unwrap();
                valid += 1;
            }
            ("invalid", Err(Error::Invalid { .. })) => invalid += 1,
            (expected, other) => panic!("{}: {expected}: {other:?}", case.name),
        }
    }
    assert_eq!((valid, invalid), (17, 3));
}

#[test]
fn every_signature_base_of_the_standard_is_ours() {
    let mut bases = 0;
    for case in Case::all(MESSAGES) {
        let Some(base) = case.part("base") else {
            continue;
        };
        let message = captured(&case);
        let selection = Selection::label(case.word("label"));
        let explanation = Explanation::of(&message.message(), selection).unwrap();
        assert_eq!(explanation.to_string(), base, "{}", case.name);
        bases += 1;
    }
    assert_eq!(bases, 15);
}

#[test]
fn signatures_that_are_not_random_are_made_byte_for_byte() {
    let mut made = 0;
    for label in ["sig-b25", "sig-b26", "transform"] {
        let cases = Case::all(MESSAGES);
        let case = cases
            .iter()
            .find(|case| case.word("label") == label)
            .unwrap();
        let mut message = captured(case);
        let input = message.headers.remove("signature-input").unwrap();
        let signature = message.headers.remove("signature").unwrap();
        let text = input.to_str().unwrap().split_once('=').unwrap().1;
        let input = integrity::Input::parse(text.as_bytes()).unwrap();
        let draft = Draft::new(label, input.components(), input.params()).unwrap();
        let key = signing_key(case.word("key")).unwrap();
        let signed = draft.sign(&message.message(), &key).unwrap();
        assert_eq!(signed.input(), format!("{label}={text}"));
        assert_eq!(signed.signature(), signature.to_str().unwrap());
        made += 1;
    }
    assert_eq!(made, 3);
}

#[test]
fn the_digests_of_the_standard_hold_or_do_not() {
    let cases = Case::all(DIGESTS);
    assert_eq!(cases.len(), 24);
    for case in cases {
        let content = unescaped(case.word("content"));
        let outcome = match Digests::parse(case.word("field").as_bytes()) {
            Ok(digests) => {
                let mut hasher = digests.hasher();
                hasher.update(&content);
                match digests.check(&hasher.finish()) {
                    Ok(()) => "valid",
                    Err(DigestError::Mismatch { .. }) => "mismatch",
                    Err(other) => panic!("{}: {other}", case.name),
                }
            }
            Err(error) => error.code(),
        };
        assert_eq!(outcome, case.word("expect"), "{}", case.name);
        // What is made is what stands there.
        if outcome == "valid" && !case.word("field").contains("md5") {
            let digests = Digests::parse(case.word("field").as_bytes()).unwrap();
            let made = Hasher::digest(&digests.algorithms(), &content).to_string();
            assert_eq!(made.replace(", ", ","), case.word("field"), "{}", case.name);
        }
    }
}

#[test]
fn the_digests_that_the_signed_messages_carry_are_of_their_content() {
    let mut checked = 0;
    for case in Case::all(MESSAGES) {
        let message = captured(&case);
        let field = integrity::digest::CONTENT_DIGEST;
        if let Some(digests) = Digests::read(&message.headers, &field).unwrap() {
            let made = Hasher::digest(&[DigestAlgorithm::Sha512], message.content.as_bytes());
            assert_eq!(digests.check(&made), Ok(()), "{}", case.name);
            checked += 1;
        }
    }
    assert_eq!(checked, 13);
}

#[test]
fn a_required_component_that_the_standard_does_not_cover_is_missed() {
    let cases = Case::all(MESSAGES);
    let case = cases.iter().find(|case| case.name == "sig-b26").unwrap();
    let message = captured(case);
    let key = verifying_key("test-key-ed25519");
    let mut policy = lenient();
    policy.required = vec![Component::named("@query").unwrap()];
    let message = message.message();
    let verified = verify(&message, Selection::only(), &policy, NOW, |_| Some(&key));
    let component = "@query".into();
    assert_eq!(verified.unwrap_err(), Error::NotCovered { component });
}

/// `\n` and `\xHH`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        if let Some(after) = after.strip_prefix('n') {
            out.push(b'\n');
            rest = after;
        } else {
            let (digits, after) = after.strip_prefix('x').unwrap().split_at(2);
            out.push(u8::from_str_radix(digits, 16).unwrap());
            rest = after;
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
