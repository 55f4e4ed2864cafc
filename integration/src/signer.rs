//! A device that signs: digests and signatures of requests, good ones and bad ones.
//!
//! Standard: RFC 9421 2.5 and 3.1, RFC 9530 2. Not the project's own: a second reading of what it
//! verifies, as short as the few components that a device covers allow. It parses nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::digest::{Algorithm, Context, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::answer::Answer;
use crate::authority::Credentials;
use crate::line::Caller;
use crate::streams::{Content, Streams};
use crate::wait::OrFail;

/// A request that can be sent as it is, signed or not.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Fields in their order; the first is `host`.
    pub fields: Vec<(String, String)>,
    /// Content.
    pub body: Vec<u8>,
}

impl Request {
    /// Without content.
    #[must_use]
    pub fn get(target: &str) -> Request {
        Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            fields: vec![("host".to_owned(), "api.test".to_owned())],
            body: Vec::new(),
        }
    }

    /// With content, its type and its digest.
    #[must_use]
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Request {
        let body = body.into();
        let request = Request {
            method: "POST".to_owned(),
            ..Request::get(target)
        };
        let request = request.with("content-type", "application/fhir+json");
        let request = request.with("content-digest", &sha256_of(&body));
        Request { body, ..request }
    }

    /// With this field, in place of one of that name.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Request {
        let mut request = self.without(name);
        request.fields.push((name.to_owned(), value.to_owned()));
        request
    }

    /// Without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Request {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// The value of a field; empty when there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Its head as HTTP/1.1 writes it, with `framing` behind the fields: a line without its end.
    #[must_use]
    pub fn head(&self, framing: &str) -> String {
        let Request { method, target, .. } = self;
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &self.fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if framing.is_empty() {
            head + "\r\n"
        } else {
            head + framing + "\r\n\r\n"
        }
    }

    /// All of it as HTTP/1.1 writes it, with a length where there is content.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let framing = match self.body.len() {
            0 => String::new(),
            length => format!("content-length: {length}"),
        };
        [self.head(&framing).as_bytes(), &self.body].concat()
    }

    /// All of it as HTTP/1.1 writes it, in chunks of so many bytes.
    #[must_use]
    pub fn chunked(&self, size: usize) -> Vec<u8> {
        let mut bytes = self.head("transfer-encoding: chunked").into_bytes();
        for chunk in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub fn ask(&self, caller: &Caller) -> Answer {
        let mut line = caller.connect().or_fail("connect");
        // Whoever is refused early may learn it while sending.
        let sent = line.send(self.bytes());
        match (line.answer(), sent) {
            (Ok(answer), _) => answer,
            (Err(error), sent) => panic!("no answer: {error}; sent: {sent:?}"),
        }
    }

    /// Sends it over HTTP/2.
    ///
    /// # Errors
    /// As [`Streams::send`].
    pub fn over(&self, streams: &mut Streams) -> Result<Answer, String> {
        let mut builder = http::Request::builder().method(self.method.as_str());
        for (name, value) in self.fields.iter().filter(|(name, _)| name != "host") {
            builder = builder.header(name, value);
        }
        let content = if self.body.is_empty() {
            Content::default()
        } else {
            Content::of(self.body.clone())
        };
        streams.send(builder, &self.target, content)
    }
}

/// What a signature covers and says of itself (RFC 9421 2.3). What is `None` is left out.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Components, by name.
    pub covers: Vec<String>,
    /// When it was made, seconds since 1970.
    pub created: Option<u64>,
    /// When it ends.
    pub expires: Option<u64>,
    /// What makes it the only one.
    pub nonce: Option<String>,
    /// Whose key.
    pub keyid: Option<String>,
    /// Which algorithm.
    pub alg: Option<String>,
}

impl Signature {
    /// Not covering this component.
    #[must_use]
    pub fn not_covering(mut self, component: &str) -> Signature {
        self.covers.retain(|known| known != component);
        self
    }

    fn input(&self) -> String {
        let covers: Vec<_> = self
            .covers
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let mut input = format!("({})", covers.join(" "));
        let times = [("created", self.created), ("expires", self.expires)];
        for (name, time) in times {
            input += &time.map_or(String::new(), |time| format!(";{name}={time}"));
        }
        let texts = [
            ("nonce", &self.nonce),
            ("keyid", &self.keyid),
            ("alg", &self.alg),
        ];
        for (name, text) in texts {
            let text = text.as_ref();
            input += &text.map_or(String::new(), |text| format!(";{name}=\"{text}\""));
        }
        input
    }
}

/// Who signs, with a key of P-256.
#[derive(Debug)]
pub struct Signer {
    key: EcdsaKeyPair,
    keyid: String,
}

impl Signer {
    /// With the key of a certificate, named by the certificate (RFC 8705 3.1).
    #[track_caller]
    pub fn of(credentials: &Credentials) -> Signer {
        let key = PrivateKeyDer::from_pem_file(&credentials.key).or_fail("read the key");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_der());
        Signer {
            key: pair.or_fail("use the key"),
            keyid: keyid_of(credentials),
        }
    }

    /// With the same key under another name.
    #[must_use]
    pub fn named(self, keyid: &str) -> Signer {
        Signer {
            keyid: keyid.to_owned(),
            ..self
        }
    }

    /// The name of the key.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The signature that this request needs: made now, and for once.
    #[must_use]
    pub fn signature(&self, request: &Request) -> Signature {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut covers = vec!["@method", "@authority", "@path"];
        if request.target.contains('?') {
            covers.push("@query");
        }
        if !request.field("content-digest").is_empty() {
            covers.extend(["content-digest", "content-type"]);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Signature {
            covers: covers.into_iter().map(str::to_owned).collect(),
            created: Some(now()),
            expires: None,
            nonce: Some(format!("n{}-{number}", std::process::id())),
            keyid: Some(self.keyid.clone()),
            alg: None,
        }
    }

    /// The request with this signature.
    #[must_use]
    #[track_caller]
    pub fn sign(&self, request: Request, signature: &Signature) -> Request {
        let input = signature.input();
        let base = base(&request, signature) + &format!("\"@signature-params\": {input}");
        let signed = self.key.sign(&SystemRandom::new(), base.as_bytes());
        let signed = STANDARD.encode(signed.or_fail("sign"));
        request
            .with("signature-input", &format!("sig1={input}"))
            .with("signature", &format!("sig1=:{signed}:"))
    }

    /// The request with the signature that it needs.
    #[must_use]
    #[track_caller]
    pub fn signed(&self, request: Request) -> Request {
        let signature = self.signature(&request);
        self.sign(request, &signature)
    }
}

/// The keyid of a certificate's key: base64url of the SHA-256 of its DER.
#[must_use]
#[track_caller]
pub fn keyid_of(credentials: &Credentials) -> String {
    let certificate = CertificateDer::from_pem_file(&credentials.certificate);
    URL_SAFE_NO_PAD.encode(digest(
        &SHA256,
        &certificate.or_fail("read the certificate"),
    ))
}

/// `Content-Digest` of this content, by SHA-256.
#[must_use]
pub fn sha256_of(content: &[u8]) -> String {
    digest_field("sha-256", &SHA256, content)
}

/// `Content-Digest` of this content, by this algorithm under that name.
#[must_use]
pub fn digest_field(name: &str, algorithm: &'static Algorithm, content: &[u8]) -> String {
    format!("{name}=:{}:", STANDARD.encode(digest(algorithm, content)))
}

/// `Content-Digest` of a piece so many times over, by SHA-256.
#[must_use]
pub fn sha256_of_many(piece: &[u8], times: usize) -> String {
    let mut context = Context::new(&SHA256);
    (0..times).for_each(|_| context.update(piece));
    format!("sha-256=:{}:", STANDARD.encode(context.finish()))
}

/// Seconds since 1970.
#[must_use]
#[track_caller]
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.or_fail("read the clock").as_secs()
}

fn digest(algorithm: &'static Algorithm, content: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(algorithm, content)
}

/// The signature base without its last line (RFC 9421 2.5).
fn base(request: &Request, signature: &Signature) -> String {
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.target.as_str(), ""),
    };
    let mut base = String::new();
    for component in &signature.covers {
        let value = match component.as_str() {
            "@method" => request.method.clone(),
            "@authority" => request.field("host").to_owned(),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            field => request.field(field).to_owned(),
        };
        base.extend(["\"", component, "\": ", &value, "\n"]);
    }
    base
}
