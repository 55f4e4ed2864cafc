//! The fields that sign a request: what is covered unless somebody says so, and the digest of the content.
//!
//! Standard: RFC 9421, RFC 9530. Fails closed: a digest that stands in the request and is not that of its
//! content is refused, never signed and never replaced. What this file does not do: it chooses no nonce and
//! no time.

use std::fmt;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use integrity::digest::CONTENT_DIGEST;
use integrity::{
    Component, DigestAlgorithm, DigestError, Digests, Draft, Hasher, Message, Params, SIGNATURE,
    SIGNATURE_INPUT, SigningKey,
};

use super::Request;
use crate::demands;

/// What is wanted of a signature.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its label.
    pub label: String,
    /// What it covers; the usual where nobody said so.
    pub covers: Option<Vec<Component>>,
    /// What it says of itself.
    pub params: Params,
    /// How the content is digested.
    pub digest: DigestAlgorithm,
}

/// Why a request is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The digest that stands in it is not that of its content, or is none.
    Digest(DigestError),
    /// What is wanted of a signature makes none, whatever the request is.
    Wish(integrity::Error),
    /// The signature cannot be made of this request.
    Signature(integrity::Error),
}

/// The fields to add to a request, in their order, so that it is signed.
///
/// # Errors
/// [`SignError`].
pub fn sign(
    request: &Request,
    wish: &Wish,
    key: &SigningKey,
) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
    let mut request = request.clone();
    let mut added = Vec::new();
    let has_content = !request.content.is_empty();
    let is_framed = [CONTENT_LENGTH, TRANSFER_ENCODING]
        .iter()
        .any(|name| request.headers.contains_key(name));
    if has_content && !is_framed {
        added.push((CONTENT_LENGTH, HeaderValue::from(request.content.len())));
    }
    let covers_digest = wish.covers.iter().flatten().any(is_digest);
    if has_content || covers_digest {
        let stated = Digests::read(&request.headers, &CONTENT_DIGEST).map_err(SignError::Digest)?;
        if let Some(stated) = stated {
            let computed = Hasher::digest(&stated.algorithms(), &request.content);
            stated.check(&computed).map_err(SignError::Digest)?;
        } else {
            let digest = Hasher::digest(&[wish.digest], &request.content);
            added.push((CONTENT_DIGEST, digest.header_value()));
        }
    }
    for (name, value) in &added {
        request.headers.insert(name, value.clone());
    }
    let covers = match &wish.covers {
        Some(covers) => covers.clone(),
        None => usual(&request).map_err(SignError::Signature)?,
    };
    let draft = Draft::new(&wish.label, &covers, &wish.params).map_err(SignError::Wish)?;
    let signed = draft.sign(&Message::Request(request.view()), key);
    let signed = signed.map_err(SignError::Signature)?;
    // What would not go together with signatures that are there is refused here.
    let mut together = request.headers.clone();
    signed.attach(&mut together).map_err(SignError::Signature)?;
    for (name, member) in [
        (SIGNATURE_INPUT, signed.input()),
        (SIGNATURE, signed.signature()),
    ] {
        let value = HeaderValue::from_str(member).expect("a structured field is printable ASCII");
        added.push((name, value));
    }
    Ok(added)
}

/// The components of a list: with commas or spaces between them, spelled as in the configuration or as
/// in `Signature-Input`.
///
/// # Errors
/// The one that is none, with its reason.
pub fn components(list: &str) -> Result<Vec<Component>, (String, integrity::Error)> {
    let mut quoted = false;
    let separates = |c: char| {
        quoted ^= c == '"';
        !quoted && (c == ',' || c.is_ascii_whitespace())
    };
    let words = list.split(separates).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let component = if word.starts_with('"') {
                Component::parse(word)
            } else {
                demands::component(word)
            };
            component.map_err(|error| (word.to_owned(), error))
        })
        .collect()
}

/// What a gateway can ask for of this request.
fn usual(request: &Request) -> Result<Vec<Component>, integrity::Error> {
    let has_content = !request.content.is_empty();
    let has_type = request.headers.contains_key(CONTENT_TYPE);
    let names = [
        ("@method", true),
        ("@authority", true),
        ("@path", true),
        ("@query", request.query().is_some()),
        ("content-digest", has_content),
        ("content-type", has_content && has_type),
    ];
    let names = names.into_iter().filter(|(_, is_there)| *is_there);
    names.map(|(name, _)| Component::named(name)).collect()
}

fn is_digest(component: &Component) -> bool {
    matches!(
        component.name(),
        integrity::Name::Field { name, .. } if *name == CONTENT_DIGEST
    )
}

impl SignError {
    /// What helps.
    pub const fn hint(&self) -> &'static str {
        match self {
            SignError::Digest(_) => "take Content-Digest out of the request: it is made anew",
            SignError::Wish(error) | SignError::Signature(error) => error.hint(),
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignError::Digest(error) => write!(f, "Content-Digest of the request: {error}"),
            SignError::Wish(error) | SignError::Signature(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::Ed25519KeyPair;
    use integrity::{Policy, Selection};

    use super::*;
    use crate::capture::{Message, text};

    fn key() -> SigningKey {
        let pair = Ed25519KeyPair::generate().unwrap();
        SigningKey::from_pkcs8(pair.to_pkcs8v1().unwrap().as_ref()).unwrap()
    }

    fn wish() -> Wish {
        Wish {
            label: "sig1".to_owned(),
            covers: None,
            params: Params {
                created: Some(100),
                ..Params::default()
            },
            digest: DigestAlgorithm::Sha256,
        }
    }

    fn request(text: &str) -> Request {
        text::read_request(text.as_bytes()).unwrap().0
    }

    fn input(text: &str) -> String {
        let added = sign(&request(text), &wish(), &key()).unwrap();
        let input = added.iter().find(|(name, _)| *name == SIGNATURE_INPUT);
        input.unwrap().1.to_str().unwrap().to_owned()
    }

    #[test]
    fn what_there_is_of_a_request_is_covered() {
        for (text, covered) in [
            (
                "GET /a HTTP/1.1\nHost: h\n",
                r#"("@method" "@authority" "@path")"#,
            ),
            (
                "GET /a? HTTP/1.1\nHost: h\nContent-Type: a/b\n",
                r#"("@method" "@authority" "@path" "@query")"#,
            ),
            (
                "POST /a HTTP/1.1\nHost: h\nContent-Type: a/b\n\nc",
                r#"("@method" "@authority" "@path" "content-digest" "content-type")"#,
            ),
            (
                "POST /a HTTP/1.1\nHost: h\n\nc",
                r#"("@method" "@authority" "@path" "content-digest")"#,
            ),
        ] {
            assert_eq!(input(text), format!("sig1={covered};created=100"), "{text}");
        }
    }

    #[test]
    fn what_was_signed_verifies_and_another_byte_does_not() {
        let key = key();
        let bytes = b"POST /a?b HTTP/1.1\nHost: h\nContent-Type: a/b\n\ncontent\n";
        let signed = text::with_fields(
            bytes,
            &sign(&text::read_request(bytes).unwrap().0, &wish(), &key).unwrap(),
        );
        let verified = |text: &[u8]| {
            let read = text::read(text, None).unwrap();
            assert_eq!(read.odd, None);
            let Message::Request(request) = &read.message else {
                panic!("a request")
            };
            let stated = Digests::read(&request.headers, &CONTENT_DIGEST)
                .unwrap()
                .unwrap();
            stated
                .check(&Hasher::digest(&stated.algorithms(), &request.content))
                .unwrap();
            let mut policy = Policy::strict(Vec::new());
            (policy.require_nonce, policy.require_keyid) = (false, false);
            let public = key.verifying_key().unwrap();
            let view = read.message.view(None);
            integrity::verify(&view, Selection::only(), &policy, 100, |_| Some(&public)).map(|_| ())
        };
        assert_eq!(verified(&signed), Ok(()));
        let other = String::from_utf8(signed).unwrap().replace("/a?b", "/a?c");
        assert!(verified(other.as_bytes()).is_err());
    }

    #[test]
    fn a_digest_that_is_there_is_kept_if_it_is_right_and_refused_if_not() {
        let right = Hasher::digest(&[DigestAlgorithm::Sha512], b"c").to_string();
        let text =
            |digest: &str| format!("POST / HTTP/1.1\nHost: h\nContent-Digest: {digest}\n\nc");
        let added = sign(&request(&text(&right)), &wish(), &key()).unwrap();
        assert!(added.iter().all(|(name, _)| *name != CONTENT_DIGEST));
        let wrong = Hasher::digest(&[DigestAlgorithm::Sha512], b"d").to_string();
        let error = sign(&request(&text(&wrong)), &wish(), &key()).unwrap_err();
        let algorithm = "sha-512";
        assert_eq!(
            error,
            SignError::Digest(DigestError::Mismatch { algorithm })
        );
    }

    #[test]
    fn content_without_a_length_gets_one() {
        let added = sign(&request("POST / HTTP/1.1\nHost: h\n\nabc"), &wish(), &key()).unwrap();
        assert_eq!(added[0], (CONTENT_LENGTH, HeaderValue::from(3)));
        let names: Vec<_> = added.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names[1..],
            ["content-digest", "signature-input", "signature"]
        );
    }

    #[test]
    fn a_wish_that_is_none_is_told_from_a_request_that_cannot_be_signed() {
        let text = "GET / HTTP/1.1\nHost: h\n";
        let label = Wish {
            label: "No".to_owned(),
            ..wish()
        };
        let error = sign(&request(text), &label, &key()).unwrap_err();
        assert_eq!(error, SignError::Wish(integrity::Error::LabelMalformed));
        let covers = Wish {
            covers: Some(components("date").unwrap()),
            ..wish()
        };
        let error = sign(&request(text), &covers, &key()).unwrap_err();
        let component = "date".into();
        let absent = integrity::Error::ComponentAbsent { component };
        assert_eq!(error, SignError::Signature(absent));
    }

    #[test]
    fn a_second_signature_needs_a_label_of_its_own() {
        let first = text::with_fields(
            b"GET / HTTP/1.1\nHost: h\n",
            &sign(&request("GET / HTTP/1.1\nHost: h\n"), &wish(), &key()).unwrap(),
        );
        let first = text::read_request(&first).unwrap().0;
        let error = sign(&first, &wish(), &key()).unwrap_err();
        assert_eq!(error, SignError::Signature(integrity::Error::LabelTaken));
        let second = Wish {
            label: "sig2".to_owned(),
            ..wish()
        };
        assert!(sign(&first, &second, &key()).is_ok());
    }

    #[test]
    fn a_list_of_components_may_have_parameters_and_quotes() {
        let list = r#"@method, example;key="a,b" "content-digest";req,date;sf"#;
        let read = components(list).unwrap();
        let spelled: Vec<_> = read.iter().map(Component::as_str).collect();
        assert_eq!(
            spelled,
            [
                r#""@method""#,
                r#""example";key="a,b""#,
                r#""content-digest";req"#,
                r#""date";sf"#
            ]
        );
        assert_eq!(components("@method,@nothing").unwrap_err().0, "@nothing");
    }
}
