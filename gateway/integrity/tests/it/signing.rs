//! Signatures that are made: on requests and responses, beside others, in trailers, with a key that
//! is elsewhere.

use http::{HeaderMap, StatusCode};
use integrity::{
    Candidate, Draft, Error, Message, Params, Response, Selection, Signed, limits, verify,
};

use crate::support::{Captured, components, lenient, signing_key, verifying_key};

const NOW: u64 = 1_700_000_000;

fn request() -> Captured {
    Captured::parse("GET /fhir/Patient/1 HTTP/1.1\nHost: a.example\n\n")
}

fn signed(label: &str, message: &Captured, covered: &[&str]) -> Signed {
    let params = Params {
        created: Some(NOW),
        tag: Some(label.into()),
        ..Params::default()
    };
    let draft = Draft::new(label, &components(covered), &params).unwrap();
    let key = signing_key("test-key-ed25519").unwrap();
    draft.sign(&message.message(), &key).unwrap()
}

#[test]
fn a_signature_is_added_behind_others_and_each_verifies() {
    let mut message = request();
    let key = verifying_key("test-key-ed25519");
    for label in ["first", "second", "third"] {
        let signed = signed(label, &message, &["@path", "@method"]);
        signed.attach(&mut message.headers).unwrap();
        let lines = message.headers.get_all("signature").iter().count();
        assert_eq!(lines, 1, "one line, whatever others make of several");
    }
    for label in ["first", "second", "third"] {
        for selection in [Selection::label(label), Selection::tag(label)] {
            let view = message.message();
            let verified = verify(&view, selection, &lenient(), NOW, |_| Some(&key)).unwrap();
            assert_eq!(verified.label(), label);
        }
    }
}

#[test]
fn a_label_that_is_taken_and_fields_that_are_broken_are_left_as_they_were() {
    let limit = limits::SIGNATURES;
    let four = "a=:AA==:, b=:AA==:, c=:AA==:, d=:AA==:";
    for (input, signature, error) in [
        ("sig=()", "sig=:AAA=:", Some(Error::LabelTaken)),
        ("other=()", "sig=:AAA=:", Some(Error::LabelTaken)),
        ("sig=()", "other=:AAA=:", Some(Error::LabelTaken)),
        (
            "a=(), b=(), c=(), d=()",
            four,
            Some(Error::TooManySignatures { limit }),
        ),
        ("other=(", "other=:AAA=:", None),
        ("other=()", "other=AAA", None),
        ("other", "other=:AAA=:", None),
    ] {
        let message = request();
        let mut headers = message.headers.clone();
        headers.insert("signature-input", input.parse().unwrap());
        headers.insert("signature", signature.parse().unwrap());
        let before = headers.clone();
        let refused = signed("sig", &message, &["@path"]).attach(&mut headers);
        let refused = refused.unwrap_err();
        match error {
            Some(error) => assert_eq!(refused, error),
            None => assert!(matches!(refused, Error::FieldMalformed { .. }), "{input}"),
        }
        assert_eq!(headers, before, "nothing half-done");
    }
}

#[test]
fn a_label_is_a_key() {
    for label in ["", "Sig", "1sig", "sig 1", "sig=", "sig,a", "s\u{e9}"] {
        let draft = Draft::new(label, &components(&["@path"]), &Params::default());
        assert_eq!(draft.unwrap_err(), Error::LabelMalformed, "{label}");
    }
    let long = "a".repeat(limits::TEXT + 1);
    let draft = Draft::new(&long, &components(&["@path"]), &Params::default());
    assert!(matches!(draft, Err(Error::ParameterTooLong { .. })));
}

#[test]
fn a_response_is_bound_to_the_request_that_it_answers() {
    let mut message = Captured::parse("HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello");
    message.request = Some(Box::new(request()));
    let covered = [
        "@status",
        "content-type",
        "\"@path\";req",
        "\"@method\";req",
        "\"host\";req",
    ];
    let signature = signed("gate", &message, &covered);
    signature.attach(&mut message.headers).unwrap();
    let key = verifying_key("test-key-ed25519");
    let checked = |message: &Captured| {
        let message = message.message();
        verify(&message, Selection::tag("gate"), &lenient(), NOW, |_| {
            Some(&key)
        })
        .map(|_| ())
    };
    assert_eq!(checked(&message), Ok(()));
    let algorithm = "ed25519";
    let mut other = message.clone();
    other.request.as_mut().unwrap().path = "/fhir/Patient/2".into();
    assert_eq!(checked(&other), Err(Error::Invalid { algorithm }));
    other = message.clone();
    other.status = Some(StatusCode::CREATED);
    assert_eq!(checked(&other), Err(Error::Invalid { algorithm }));
    other.request = None;
    assert!(matches!(checked(&other), Err(Error::NoRequest { .. })));
}

#[test]
fn a_signature_can_stand_in_trailers_and_cover_them() {
    let headers = HeaderMap::new();
    let mut trailers = HeaderMap::new();
    trailers.insert("content-digest", "sha-256=:AAA=:".parse().unwrap());
    let response = |trailers| {
        Message::Response(Response {
            status: StatusCode::OK,
            headers: &headers,
            trailers,
            request: None,
        })
    };
    let covered = components(&["@status", "\"content-digest\";tr"]);
    let draft = Draft::new("gate", &covered, &Params::default()).unwrap();
    let key = signing_key("test-key-ed25519").unwrap();
    let signed = draft.sign(&response(Some(&trailers)), &key).unwrap();
    let mut with = trailers.clone();
    signed.attach(&mut with).unwrap();
    let key = verifying_key("test-key-ed25519");
    let selection = Selection::only().in_trailers();
    let checked = |trailers, selection| {
        Candidate::examine(&response(trailers), selection, &lenient(), NOW)
            .and_then(|candidate| candidate.verify(&key))
    };
    assert!(checked(Some(&with), selection).is_ok());
    let missing = checked(Some(&with), Selection::only()).unwrap_err();
    assert_eq!(missing, Error::SignatureMissing);
    let unread = checked(None, selection).unwrap_err();
    assert_eq!(unread, Error::SignatureMissing);
}

#[test]
fn a_key_that_is_elsewhere_signs_the_base() {
    let mut message = request();
    let params = Params {
        created: Some(NOW),
        ..Params::default()
    };
    let draft = Draft::new("a", &components(&["@path", "@method"]), &params).unwrap();
    let prepared = draft.prepare(&message.message()).unwrap();
    let base = format!(
        "\"@path\": /fhir/Patient/1\n\"@method\": GET\n\
         \"@signature-params\": (\"@path\" \"@method\");created={NOW}"
    );
    assert_eq!(prepared.base().as_str(), base);
    let elsewhere = signing_key("test-key-ed25519").unwrap();
    let signature = elsewhere.sign(base.as_bytes()).unwrap();
    prepared
        .finish(&signature)
        .attach(&mut message.headers)
        .unwrap();
    let key = verifying_key("test-key-ed25519");
    let view = message.message();
    assert!(verify(&view, Selection::only(), &lenient(), NOW, |_| Some(&key)).is_ok());
}
