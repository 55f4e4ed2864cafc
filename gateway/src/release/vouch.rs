//! What the gateway adds to an answer, so that a client can prove that it got what left here, for what it
//! asked: a digest of the content (RFC 9530) and a signature (RFC 9421). In the head where the content is in
//! hand, else in trailers, for a client that reads them.

use std::sync::Arc;

use config::Answers;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, StatusCode};
use integrity::digest::{CONTENT_DIGEST, WANT_CONTENT_DIGEST};
use integrity::{DigestAlgorithm, Digests, Error, Hasher, Request, Response, SIGNATURE, Want};

use crate::checks;
use crate::request::{Head, Received};
use crate::route::RouteEntry;
use crate::signing::OwnSigner;
use crate::timer::unix_now;

/// The names of the fields that follow a streamed answer, as `Trailer` has them (RFC 9110 6.6.2).
pub(crate) const TRAILER: &str = "content-digest, signature-input, signature";

/// What is to be added to the answer of a request.
#[derive(Debug)]
pub struct Vouch {
    algorithm: DigestAlgorithm,
    /// Nothing where a digest is enough.
    signer: Option<Arc<OwnSigner>>,
    reads_trailers: bool,
    asked: Head,
}

impl Vouch {
    /// For the answer of this request; nothing where its route adds nothing.
    pub fn of(
        received: &Received,
        route: &RouteEntry,
        signer: Option<&Arc<OwnSigner>>,
    ) -> Option<Box<Vouch>> {
        let signer = match route.route.answers.value {
            Answers::Plain => return None,
            Answers::Digest => None,
            Answers::Signed => signer.cloned(),
        };
        let head = &received.head;
        // A wish that cannot be read is none.
        let want = Want::read(&head.headers, &WANT_CONTENT_DIGEST);
        let algorithm = want.ok().flatten().and_then(|want| want.preferred());
        let reads = |value: &HeaderValue| {
            let mut codings = value.as_bytes().split(|byte| *byte == b',');
            codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        };
        // Of its fields an answer's signature covers the request's signatures alone.
        let mut headers = HeaderMap::new();
        for name in [SIGNATURE, http::header::HOST] {
            for value in head.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Some(Box::new(Vouch {
            algorithm: algorithm.unwrap_or(DigestAlgorithm::Sha256),
            signer,
            reads_trailers: head.headers.get_all(TE).iter().any(reads),
            asked: Head {
                method: head.method.clone(),
                target: head.target.clone(),
                headers,
                version: head.version,
            },
        }))
    }

    /// Adds to the head of an answer whose content is in hand.
    ///
    /// # Errors
    /// [`Error`]: it cannot be signed, and must not leave.
    pub fn whole(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        content: &[u8],
    ) -> Result<(), Error> {
        // Content that does not follow (HEAD, 304) is not at hand.
        let has_content = self.asked.method != Method::HEAD && status != StatusCode::NOT_MODIFIED;
        // One that the upstream stated was compared, if it can be.
        let is_stated = matches!(Digests::read(headers, &CONTENT_DIGEST), Ok(Some(_)));
        if has_content && !is_stated {
            let digest = Hasher::digest(&[self.algorithm], content);
            headers.append(CONTENT_DIGEST, digest.header_value());
        }
        let Some(signer) = &self.signer else {
            return Ok(());
        };
        let signed = signer.sign_answer(
            Response {
                status,
                headers,
                trailers: None,
                request: self.asked(),
            },
            unix_now(),
        )?;
        signed.attach(headers)
    }

    /// Follows an answer that passes; nothing for a client that does not read trailers.
    pub fn follow(self: Box<Vouch>, status: StatusCode, headers: &HeaderMap) -> Option<Tail> {
        if !self.reads_trailers {
            return None;
        }
        let mut fields = HeaderMap::new();
        for name in [CONTENT_TYPE, CONTENT_DIGEST] {
            for value in headers.get_all(&name) {
                fields.append(&name, value.clone());
            }
        }
        Some(Tail {
            hasher: Hasher::new(&[self.algorithm]),
            status,
            fields,
            vouch: self,
        })
    }

    fn asked(&self) -> Option<Request<'_>> {
        checks::signed_view(&self.asked)
    }
}

/// What follows an answer that passes.
#[derive(Debug)]
pub struct Tail {
    vouch: Box<Vouch>,
    status: StatusCode,
    /// Those of its head that are covered.
    fields: HeaderMap,
    hasher: Hasher,
}

impl Tail {
    /// Takes what passes.
    pub fn update(&mut self, data: &[u8]) {
        self.hasher.update(data);
    }

    /// Adds to the trailers, once all has passed. What cannot be signed goes without a signature: the
    /// content has left, and a client that asked for one finds none.
    pub fn end(self, trailers: &mut HeaderMap) {
        trailers.insert(CONTENT_DIGEST, self.hasher.finish().header_value());
        let Some(signer) = &self.vouch.signer else {
            return;
        };
        let signed = signer.sign_answer(
            Response {
                status: self.status,
                headers: &self.fields,
                trailers: Some(trailers),
                request: self.vouch.asked(),
            },
            unix_now(),
        );
        if let Err(error) = signed.and_then(|signed| signed.attach(trailers)) {
            tracing::warn!(code = error.code(), "the end of an answer is not signed");
        }
    }
}
