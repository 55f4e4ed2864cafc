//! The gateway's own signatures (RFC 9421): on requests, so that an API can prove that they came through the
//! gateway, and on answers, so that a client can. Keys and bytes; no clock.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use integrity::digest::CONTENT_DIGEST;
use integrity::{
    Component, Draft, Error, JwkSet, KeyError, Message, Params, Request, Response, SIGNATURE,
    Signed, SigningKey,
};

use crate::headers::{CLIENT_CERT, X_REQUEST_ID};

/// The label and the tag of the gateway's signatures. A tag says what a signature is for (RFC 9421 7.2.7).
pub const TAG: &str = "phigate";

/// Where the gateway's public key is published, as a JWK set (RFC 7517); after
/// draft-meunier-http-message-signatures-directory.
pub const DIRECTORY: &str = "/.well-known/http-message-signatures-directory";

/// The media type of that set.
pub const DIRECTORY_TYPE: &str = "application/http-message-signatures-directory+json";

/// The gateway's private key.
#[derive(Debug)]
pub struct OwnSigner {
    key: SigningKey,
    keyid: Box<str>,
    directory: Bytes,
}

impl OwnSigner {
    /// With this key. Its keyid is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`KeyError`] for a key that has no public half.
    pub fn new(key: SigningKey) -> Result<OwnSigner, KeyError> {
        let public = key.verifying_key()?;
        let directory = JwkSet::write([&public])?;
        Ok(OwnSigner {
            keyid: public.thumbprint()?.into(),
            directory: directory.into(),
            key,
        })
    }

    /// The key's name.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The public key as a JWK set.
    pub fn directory(&self) -> &Bytes {
        &self.directory
    }

    /// Signs a request on its way to an upstream, and adds the signature to its fields: who the client is,
    /// what it asks for, the digest of its content where that is stated, and the request's id, which is the
    /// nonce too. `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Error`]: the request must not be forwarded as one of ours.
    pub fn sign_request(
        &self,
        request: Request<'_>,
        nonce: &str,
        now: u64,
    ) -> Result<Signed, Error> {
        let mut covered = vec![
            Component::named("@method")?,
            Component::named("@authority")?,
            Component::named("@path")?,
        ];
        if request.query.is_some() {
            covered.push(Component::named("@query")?);
        }
        let fields = [
            CLIENT_CERT,
            CONTENT_DIGEST,
            CONTENT_TYPE,
            CONTENT_ENCODING,
            X_REQUEST_ID,
        ];
        cover(&mut covered, request.headers, &fields)?;
        let draft = Draft::new(TAG, &covered, &self.params(Some(nonce), now))?;
        draft.sign(&Message::Request(request), &self.key)
    }

    /// Signs an answer: its status, the digest and type of its content, and what it answers, the client's
    /// own signature included. `trailers` are those in which the digest stands, if it does not stand in the
    /// head.
    ///
    /// # Errors
    /// [`Error`]: the answer must not leave as a signed one.
    pub fn sign_answer(&self, answer: Response<'_>, now: u64) -> Result<Signed, Error> {
        let mut covered = vec![Component::named("@status")?];
        let fields = [CONTENT_DIGEST, CONTENT_TYPE, CONTENT_ENCODING];
        cover(&mut covered, answer.headers, &fields)?;
        if answer
            .trailers
            .is_some_and(|trailers| trailers.contains_key(CONTENT_DIGEST))
        {
            covered.push(Component::parse("\"content-digest\";tr")?);
        }
        if let Some(request) = answer.request {
            for name in ["@method", "@authority", "@path"] {
                covered.push(Component::named(name)?.of_request()?);
            }
            if request.query.is_some() {
                covered.push(Component::named("@query")?.of_request()?);
            }
            // One that is no text cannot be covered: nobody verified it.
            let is_text = |value: &HeaderValue| value.to_str().is_ok();
            let mut signatures = request.headers.get_all(SIGNATURE).iter().peekable();
            if signatures.peek().is_some() && signatures.all(is_text) {
                covered.push(Component::named(SIGNATURE.as_str())?.of_request()?);
            }
        }
        let draft = Draft::new(TAG, &covered, &self.params(None, now))?;
        draft.sign(&Message::Response(answer), &self.key)
    }

    fn params(&self, nonce: Option<&str>, now: u64) -> Params {
        Params {
            created: Some(now),
            nonce: nonce.map(Into::into),
            keyid: Some(self.keyid.clone()),
            tag: Some(TAG.into()),
            ..Params::default()
        }
    }
}

/// Covers those of these fields that are there.
fn cover(
    covered: &mut Vec<Component>,
    headers: &HeaderMap,
    fields: &[HeaderName],
) -> Result<(), Error> {
    for field in fields.iter().filter(|field| headers.contains_key(*field)) {
        covered.push(Component::named(field.as_str())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, StatusCode};
    use integrity::{Policy, Selection, verify};

    fn signer() -> OwnSigner {
        let key = rcgen::KeyPair::generate().unwrap();
        OwnSigner::new(SigningKey::from_pkcs8(&key.serialize_der()).unwrap()).unwrap()
    }

    fn request(headers: &HeaderMap) -> Request<'_> {
        Request {
            method: &Method::POST,
            scheme: "https",
            authority: "api.example",
            path: "/fhir/Observation",
            query: Some("a=b"),
            target: None,
            headers,
            trailers: None,
        }
    }

    #[test]
    fn an_api_with_the_published_key_can_prove_that_a_request_came_through_the_gateway() {
        let signer = signer();
        let mut headers = HeaderMap::new();
        headers.insert(CLIENT_CERT, HeaderValue::from_static(":YQ==:"));
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("0123"));
        let signed = signer
            .sign_request(request(&headers), "0123", 1000)
            .unwrap();
        signed.attach(&mut headers).unwrap();
        let keys = JwkSet::parse(signer.directory()).unwrap();
        let required = ["@method", "@path", "@query", "client-cert", "x-request-id"];
        let required = required
            .map(|name| Component::named(name).unwrap())
            .to_vec();
        let check = |headers: &HeaderMap| {
            let message = Message::Request(request(headers));
            let policy = Policy::strict(required.clone());
            verify(&message, Selection::tag(TAG), &policy, 1000, |keyid| {
                keys.get(keyid?)
            })
        };
        check(&headers).unwrap();
        headers.insert(CLIENT_CERT, HeaderValue::from_static(":Yg==:"));
        assert!(check(&headers).is_err());
    }

    #[test]
    fn an_answer_is_signed_for_the_request_that_it_answers() {
        let signer = signer();
        let (mut asked, mut headers) = (HeaderMap::new(), HeaderMap::new());
        asked.insert(SIGNATURE, HeaderValue::from_static("sig1=:YQ==:"));
        headers.insert(CONTENT_DIGEST, HeaderValue::from_static("sha-256=:YQ==:"));
        fn answer<'a>(headers: &'a HeaderMap, asked: &'a HeaderMap) -> Response<'a> {
            Response {
                status: StatusCode::OK,
                headers,
                trailers: None,
                request: Some(request(asked)),
            }
        }
        let signed = signer.sign_answer(answer(&headers, &asked), 1000).unwrap();
        signed.attach(&mut headers).unwrap();
        let key = signer.key.verifying_key().unwrap();
        let check = |asked: &HeaderMap| {
            let message = Message::Response(answer(&headers, asked));
            let mut policy = Policy::strict(vec![Component::named("content-digest").unwrap()]);
            policy.require_nonce = false;
            verify(&message, Selection::tag(TAG), &policy, 1000, |_| Some(&key))
        };
        check(&asked).unwrap();
        asked.insert(SIGNATURE, HeaderValue::from_static("sig1=:Yg==:"));
        assert!(check(&asked).is_err());
    }
}
