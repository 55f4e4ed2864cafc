//! The API's side: did this request come through the gateway, and who sent it?
//!
//! ```text
//! curl https://GATEWAY/.well-known/http-message-signatures-directory > keys.json
//! cargo run --release -p integrity --example api -- keys.json < request.txt
//! ```
//!
//! What an API takes home is [`came_through`]; the rest reads a request as a capture has it: HTTP/1.1, and
//! behind the head the content without its framing. Standards: RFC 9421, RFC 9530, RFC 9440. What it does not
//! do: it does not fetch the keys, and it does not remember what it has seen. Whoever can copy a request on
//! its way can send it again for a minute; an API that minds keeps `x-request-id`, or an
//! [`integrity::Replay`].

use std::fmt;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use integrity::digest::CONTENT_DIGEST;
use integrity::{
    Component, DigestError, Digests, Error, JwkSet, Message, Policy, Request, Selection, verify,
};

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// What the signatures of the gateway are for (RFC 9421 7.2.7): those of clients stand beside them.
const TAG: &str = "phigate";

/// No request that is read here is larger, bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// A request that came through the gateway.
struct CameThrough {
    /// The id under which it is in the audit log of the gateway. It is its nonce, too.
    id: Box<str>,
    /// The certificate that the client proved to have, DER. Nothing where the gateway asked for none.
    client: Option<Vec<u8>>,
}

/// Why a request must not be served.
enum Refusal {
    /// The gateway's signature.
    Signature(Error),
    /// What is stated of the content.
    Digest(DigestError),
    /// `Client-Cert` is not one certificate (RFC 9440 2.1).
    ClientCert,
}

/// Judges a request. Fails closed: whoever is named in it was named by the gateway, for this very request and
/// this content, a minute ago at most. `now` in seconds since 1970.
fn came_through(
    request: Request<'_>,
    content: &[u8],
    gateway: &JwkSet,
    now: u64,
) -> Result<CameThrough, Refusal> {
    let headers = request.headers;
    let mut required = vec!["@method", "@authority", "@path", "x-request-id"];
    if request.query.is_some() {
        required.push("@query");
    }
    if headers.contains_key(CLIENT_CERT) {
        required.push("client-cert");
    }
    if !content.is_empty() || headers.contains_key(CONTENT_DIGEST) {
        required.push("content-digest");
    }
    let required = required.into_iter().map(Component::named);
    let required: Result<Vec<_>, Error> = required.collect();
    let mut policy = Policy::strict(required.map_err(Refusal::Signature)?);
    (policy.max_age, policy.skew) = (Some(Duration::from_mins(1)), Duration::from_secs(5));
    let signed = verify(
        &Message::Request(request),
        Selection::tag(TAG),
        &policy,
        now,
        |keyid| gateway.get(keyid?),
    );
    let signed = signed.map_err(Refusal::Signature)?;
    // The signature is about the digest; the digest is about the content.
    if let Some(stated) = Digests::read(headers, &CONTENT_DIGEST).map_err(Refusal::Digest)? {
        let mut hasher = stated.hasher();
        hasher.update(content);
        stated.check(&hasher.finish()).map_err(Refusal::Digest)?;
    }
    Ok(CameThrough {
        id: signed.params().nonce.clone().unwrap_or_default(),
        client: client(headers)?,
    })
}

/// The certificate of the client, if one is named.
fn client(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut named = headers.get_all(CLIENT_CERT).iter();
    let one = match (named.next(), named.next()) {
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return Err(Refusal::ClientCert),
        (Some(one), None) => one.to_str().unwrap_or_default(),
    };
    let certificate = one
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .ok_or(Refusal::ClientCert)?;
    let certificate = STANDARD.decode(certificate);
    certificate.map(Some).map_err(|_| Refusal::ClientCert)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let hint = "api KEYS < REQUEST: a JWK set, and HTTP/1.1 as it came";
            // Whoever closed the terminal does not want to read it.
            let _ = writeln!(io::stderr(), "error: {error}\nhint: {hint}");
            ExitCode::from(64)
        }
    }
}

/// Whether the request came through the gateway, which is also said.
fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let keys = std::env::args_os().nth(1).ok_or("no file with keys")?;
    let keys = JwkSet::parse(&std::fs::read(keys)?)?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST).read_to_end(&mut bytes)?;
    let captured = Captured::read(&bytes).ok_or("this is no request")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let judged = came_through(captured.view(), captured.content, &keys, now);
    let mut out = io::stdout().lock();
    match judged {
        Ok(CameThrough { id, client }) => {
            let client = client.map(|certificate| thumbprint(&certificate));
            let client = client.as_deref().unwrap_or("nobody");
            writeln!(out, "request {id} came through the gateway for {client}")?;
            Ok(true)
        }
        Err(refusal) => {
            writeln!(out, "refused: {refusal}")?;
            Ok(false)
        }
    }
}

/// How RFC 8705 3.1 names a certificate (`x5t#S256`).
fn thumbprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    URL_SAFE_NO_PAD.encode(digest)
}

/// A request as it was captured.
struct Captured<'a> {
    method: Method,
    target: &'a str,
    authority: &'a str,
    headers: HeaderMap,
    content: &'a [u8],
}

impl<'a> Captured<'a> {
    /// Nothing where it is none.
    fn read(bytes: &'a [u8]) -> Option<Captured<'a>> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.parse().ok()?, words.next()?);
        let (mut headers, mut hosts) = (HeaderMap::new(), Vec::new());
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.parse().ok()?;
            if name == HOST {
                hosts.push(value.trim());
            }
            headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
        }
        let [authority] = hosts[..] else {
            return None;
        };
        Some(Captured {
            method,
            target,
            authority,
            headers,
            content: &bytes[end + 4..],
        })
    }

    fn view(&self) -> Request<'_> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target, None),
        };
        Request {
            method: &self.method,
            scheme: "https",
            authority: self.authority,
            path,
            query,
            target: None,
            headers: &self.headers,
            trailers: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Signature(error) => error.fmt(f),
            Refusal::Digest(error) => error.fmt(f),
            Refusal::ClientCert => f.write_str("Client-Cert is not one certificate"),
        }
    }
}
