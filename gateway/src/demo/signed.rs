//! A request of the story that the device signs, as INTERFACE asks for it: its content by a digest, its
//! head by the key of its certificate, with a nonce of its own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, header};
use integrity::digest::CONTENT_DIGEST;
use integrity::{
    Component, DigestAlgorithm, Draft, Hasher, Message, Params, Request, SIGNATURE,
    SIGNATURE_INPUT, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::digest::sha256;
use crate::timer::unix_now;

/// The fields of a POST with this content to this path of `localhost`, signed now.
pub(super) fn fields(
    (certificate, key): (&CertificateDer<'_>, &PrivateKeyDer<'_>),
    path: &str,
    content: &str,
) -> Result<String, String> {
    let told = |error: integrity::Error| error.to_string();
    let key = SigningKey::from_pkcs8(key.secret_der()).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    let digest = Hasher::digest(&[DigestAlgorithm::Sha256], content.as_bytes());
    let json = HeaderValue::from_static("application/fhir+json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(CONTENT_DIGEST, digest.header_value());
    let covered = [
        "@method",
        "@authority",
        "@path",
        "content-digest",
        "content-type",
    ];
    let covered: Result<Vec<_>, _> = covered.into_iter().map(Component::named).collect();
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| "no randomness".to_owned())?;
    let params = Params {
        created: Some(unix_now()),
        nonce: Some(URL_SAFE_NO_PAD.encode(nonce).into()),
        keyid: Some(URL_SAFE_NO_PAD.encode(sha256(certificate)).into()),
        ..Params::default()
    };
    let draft = Draft::new("sig1", &covered.map_err(told)?, &params).map_err(told)?;
    let request = Request {
        method: &Method::POST,
        scheme: "https",
        authority: "localhost",
        path,
        query: None,
        target: None,
        headers: &headers,
        trailers: None,
    };
    let signed = draft.sign(&Message::Request(request), &key).map_err(told)?;
    signed.attach(&mut headers).map_err(told)?;
    let mut text = String::new();
    for name in [
        header::CONTENT_TYPE,
        CONTENT_DIGEST,
        SIGNATURE_INPUT,
        SIGNATURE,
    ] {
        let value = headers.get(&name).and_then(|value| value.to_str().ok());
        text.extend([name.as_str(), ": ", value.unwrap_or_default(), "\r\n"]);
    }
    Ok(text)
}
