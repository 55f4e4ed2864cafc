//! Laws: what was signed verifies, and one bit that was turned anywhere does not.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use integrity::explain::Explanation;
use integrity::{
    Component, DigestAlgorithm, Digests, Draft, Hasher, Params, Selection, SigningKey, verify,
};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use crate::support::{Captured, lenient};

const NOW: u64 = 1_700_000_000;

/// What a random request is covered by: derived components, fields in each form, a digest.
const COVERABLE: &[&str] = &[
    r#""@method""#,
    r#""@target-uri""#,
    r#""@authority""#,
    r#""@scheme""#,
    r#""@request-target""#,
    r#""@path""#,
    r#""@query""#,
    r#""content-digest""#,
    r#""content-digest";bs"#,
    r#""x-one""#,
    r#""x-one";bs"#,
    r#""x-two""#,
    r#""x-empty""#,
    r#""priority";sf"#,
    r#""priority";key="u""#,
    r#""priority";sf;key="i""#,
];

fn keys() -> Vec<SigningKey> {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let documents = [
        p256.to_pkcs8v1().unwrap().as_ref().to_vec(),
        p384.to_pkcs8v1().unwrap().as_ref().to_vec(),
        ed25519.to_pkcs8v1().unwrap().as_ref().to_vec(),
        rsa.as_ref().to_vec(),
    ];
    let mut keys: Vec<_> = documents
        .iter()
        .map(|der| SigningKey::from_pkcs8(der).unwrap())
        .collect();
    keys.push(SigningKey::hmac(b"a secret of more than 32 bytes: 1234567").unwrap());
    keys
}

prop_compose! {
    fn a_request()(
        method in "GET|POST|PUT|DELETE|M-SEARCH",
        host in "[a-z]{1,9}\\.example(:8443)?",
        path in "(/[a-zA-Z0-9%._~-]{0,9}){1,4}",
        query in proptest::option::of("[a-z]{1,4}=[a-zA-Z0-9%._~-]{0,9}"),
        one in proptest::collection::vec("([!-~]([ -~]{0,9}[!-~])?)?", 1..4),
        two in "[!-~]([ -~]{0,30}[!-~])?",
        urgency in 0..8,
        content in ".{0,60}",
    ) -> Captured {
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        let one: String = one.iter().map(|one| ["x-one: ", one, "\n"].concat()).collect();
        let digest = Hasher::digest(&[DigestAlgorithm::Sha256], content.as_bytes());
        let text = format!(
            "{method} {path}{query} HTTP/1.1\nHost: {host}\nx-two: {two}\nx-empty:\n{one}\
             priority: u={urgency},   i, x=(a  b);y\ncontent-digest: {digest}\n",
        );
        let mut captured = Captured::parse(&text);
        captured.content = content;
        captured
    }
}

prop_compose! {
    fn some_components()(texts in subsequence(COVERABLE, 1..=COVERABLE.len()).prop_shuffle()) -> Vec<Component> {
        texts.into_iter().map(|text| Component::parse(text).unwrap()).collect()
    }
}

fn signed(request: &Captured, covered: &[Component], key: &SigningKey, nonce: &str) -> Captured {
    let params = Params {
        created: Some(NOW),
        expires: Some(NOW + 60),
        nonce: Some(nonce.into()),
        keyid: Some("key".into()),
        ..Params::default()
    };
    let draft = Draft::new("sig1", covered, &params).unwrap();
    let mut request = request.clone();
    let signed = draft.sign(&request.message(), key).unwrap();
    signed.attach(&mut request.headers).unwrap();
    request
}

fn verifies(message: &Captured, key: &SigningKey) -> bool {
    let key = key.verifying_key().unwrap();
    let message = message.message();
    verify(&message, Selection::label("sig1"), &lenient(), NOW, |_| {
        Some(&key)
    })
    .is_ok()
}

/// Turns one bit of a text; `None` where no such text can be in a message.
fn turned(text: &str, at: Index, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let place = at.index(bytes.len());
    bytes[place] ^= 1 << bit;
    String::from_utf8(bytes).ok()
}

/// The message with one bit of one line of a field turned.
fn with_line(message: &Captured, name: &str, line: Index, at: Index, bit: u8) -> Option<Captured> {
    let name: HeaderName = name.parse().unwrap();
    let mut lines: Vec<_> = message.headers.get_all(&name).iter().cloned().collect();
    let place = line.index(lines.len());
    let mut bytes = lines[place].as_bytes().to_vec();
    let index = at.index(bytes.len().max(1));
    *bytes.get_mut(index)? ^= 1 << bit;
    lines[place] = HeaderValue::from_bytes(&bytes).ok()?;
    let mut altered = message.clone();
    let mut headers = HeaderMap::new();
    headers.extend(message.headers.clone());
    headers.remove(&name);
    for line in lines {
        headers.append(&name, line);
    }
    altered.headers = headers;
    Some(altered)
}

/// The message with one bit turned where this component stands.
fn altered(
    message: &Captured,
    component: &str,
    (line, at, bit): (Index, Index, u8),
) -> Option<Captured> {
    let mut altered = message.clone();
    match component.split('"').nth(1).unwrap() {
        "@method" => altered.method = turned(message.method.as_str(), at, bit)?.parse().ok()?,
        "@target-uri" | "@path" => altered.path = turned(&message.path, at, bit)?,
        "@authority" => altered.authority = turned(&message.authority, at, bit)?,
        "@request-target" => altered.target = turned(&message.target, at, bit)?,
        "@query" => altered.query = Some(turned(message.query.as_deref()?, at, bit)?),
        "@scheme" => return None,
        name => return with_line(message, name, line, at, bit),
    }
    // A host in capitals is the same host (RFC 9110 4.2.3).
    if altered.authority.eq_ignore_ascii_case(&message.authority)
        && altered.authority != message.authority
    {
        return None;
    }
    Some(altered)
}

#[test]
fn what_was_signed_verifies_and_one_bit_that_was_turned_anywhere_does_not() {
    let keys = keys();
    let mut runner = proptest::test_runner::TestRunner::default();
    let inputs = (
        a_request(),
        some_components(),
        0..keys.len(),
        "[ -~]{1,20}",
        any::<(Index, Index, Index)>(),
        0..8_u8,
    );
    let law = |(request, covered, key, nonce, (which, line, at), bit): (
        Captured,
        Vec<Component>,
        usize,
        String,
        (Index, Index, Index),
        u8,
    )| {
        let key = &keys[key];
        let message = signed(&request, &covered, key, &nonce);
        prop_assert!(verifies(&message, key), "{covered:?}");
        for field in ["signature", "signature-input"] {
            if let Some(altered) = with_line(&message, field, line, at, bit) {
                prop_assert!(
                    !verifies(&altered, key),
                    "{field}: {:?}",
                    altered.headers[field]
                );
            }
        }
        let component = which.get(&covered).as_str();
        if let Some(altered) = altered(&message, component, (line, at, bit)) {
            // A member of a dictionary is not the whole of it.
            let before = Explanation::of(&message.message(), Selection::only()).unwrap();
            let after = Explanation::of(&altered.message(), Selection::only()).unwrap();
            let same = before.differences(&after).is_empty();
            prop_assert!(!same || component.contains(";key="), "{component}");
            prop_assert_eq!(verifies(&altered, key), same, "{}", component);
        }
        Ok(())
    };
    runner.run(&inputs, law).unwrap();
}

#[test]
fn no_bit_of_a_signed_request_can_be_turned() {
    let text = "POST /fhir/Observation?patient=1 HTTP/1.1\nHost: a.example\n\
                content-type: application/fhir+json\ncontent-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n";
    let request = Captured::parse(text);
    let covered = [
        "@method",
        "@authority",
        "@path",
        "@query",
        "content-type",
        "content-digest",
    ];
    let covered = covered.map(|name| Component::named(name).unwrap());
    let mut turned = 0;
    for key in keys() {
        let message = signed(&request, &covered, &key, "a nonce");
        assert!(verifies(&message, &key));
        for field in [
            "signature",
            "signature-input",
            "content-type",
            "content-digest",
        ] {
            let value = message.headers[field].as_bytes().to_vec();
            for (at, bit) in (0..value.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut value = value.clone();
                value[at] ^= 1 << bit;
                let Ok(value) = HeaderValue::from_bytes(&value) else {
                    continue;
                };
                let mut altered = message.clone();
                altered.headers.insert(field, value);
                assert!(
                    !verifies(&altered, &key),
                    "{field}: {:?}",
                    altered.headers[field]
                );
                turned += 1;
            }
        }
    }
    assert!(turned > 10_000, "{turned}");
}

proptest! {
    #[test]
    fn one_bit_of_the_content_is_found_through_the_signed_digest(
        request in a_request(), at in any::<Index>(), bit in 0..8_u8,
    ) {
        prop_assume!(!request.content.is_empty());
        let field = integrity::digest::CONTENT_DIGEST;
        let digests = Digests::read(&request.headers, &field).unwrap().unwrap();
        let check = |content: &[u8]| {
            let mut hasher = digests.hasher();
            hasher.update(content);
            digests.check(&hasher.finish())
        };
        let mut content = request.content.into_bytes();
        prop_assert!(check(&content).is_ok());
        let index = at.index(content.len());
        content[index] ^= 1 << bit;
        prop_assert!(check(&content).is_err());
    }

    /// RFC 9421 B.4: what is not covered may change, fields may change places.
    #[test]
    fn what_is_not_covered_may_change(request in a_request(), value in "[ -~]{0,20}") {
        let key = SigningKey::hmac(&[7; 32]).unwrap();
        let covered = [Component::named("@path").unwrap(), Component::named("x-one").unwrap()];
        let mut message = signed(&request, &covered, &key, "n");
        message.headers.append("x-two", value.parse().unwrap());
        message.headers.append("x-three", value.parse().unwrap());
        message.query = Some("other".into());
        message.status = None::<StatusCode>;
        prop_assert!(verifies(&message, &key));
        // Lines of a field are joined on the way.
        let lines: Vec<_> = message.headers.get_all("x-one").iter().map(|line| line.to_str().unwrap()).collect();
        // An empty line at either end would leave white space there, which is taken off on the way.
        if !lines.contains(&"") {
            let joined = lines.join(", ");
            message.headers.insert("x-one", joined.parse().unwrap());
            prop_assert!(verifies(&message, &key));
        }
        message.headers.append("x-one", "more".parse().unwrap());
        prop_assert!(!verifies(&message, &key));
    }

    #[test]
    fn no_fields_make_verifying_panic(
        input in "([a-z]=)?[(]?(\"[@a-z-]{0,9}\"(;(sf|bs|tr|req|key=\"a\"|name=\"a\"))? ?){0,4}[)]?(;(created|expires|nonce|keyid|alg|x)(=(1|\"a\"|:AAA=:))?){0,3}",
        signature in "([a-z]=)?:?[A-Za-z0-9+/=]{0,9}:?",
        request in a_request(),
    ) {
        let key = SigningKey::hmac(&[7; 32]).unwrap();
        let mut message = request;
        message.headers.insert("signature-input", format!("a={input}").parse().unwrap());
        message.headers.insert("signature", format!("a={signature}").parse().unwrap());
        prop_assert!(!verifies(&message, &key));
    }
}
