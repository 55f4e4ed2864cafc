//! What was sent is what arrived, on the way back and on the way in: answers are what their upstream stated,
//! and are vouched for; requests carry the gateway's own signature, for an API that wants proof.

mod upstreams;

mod signatures;

mod flips;

mod answers;

mod trailers;

mod directory;

mod requests;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use integration::answer::Answer;
use integration::program::Program;
use integration::streams::{Content, Streams};
use integration::wait::OrFail;
use integration::world::World;
use integrity::{Component, Error, JwkSet, Message, Policy, Response, Selection, Verified, verify};

/// Answers are signed, with the key in `signing.pem`.
const SIGNED: &str = r#"
[signatures]
key = "file:signing.pem"
[[routes]]
name = "all"
answers = "signed"
"#;

/// Nobody asks for digests.
const UNCOMPARED: &str = r#"
[[routes]]
name = "all"
digest = "off"
rationale = "a test of what happens then"
"#;

/// Where the gateway's key is published.
const DIRECTORY: &str = "/.well-known/http-message-signatures-directory";

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Keys that the gateway may sign with, as `openssl genpkey` makes them, and how they sign.
#[rustfmt::skip]
const KINDS: &[(&str, &[&str])] = &[
    ("ecdsa-p256-sha256", P256),
    ("ecdsa-p384-sha384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("ed25519",           &["-algorithm", "ED25519"]),
    ("rsa-pss-sha512",    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
];

/// Makes a private key in PEM in the world's place.
#[track_caller]
fn make_key(world: &World, name: &str, options: &[&str]) {
    Program::of_the_machine("openssl")
        .arg("genpkey")
        .args(options)
        .arg("-out")
        .arg(world.place.path(name))
        .run()
        .expect_code(0);
}

/// A digest field of one algorithm.
fn stated(name: &str, algorithm: &'static Algorithm, content: &[u8]) -> String {
    format!("{name}=:{}:", STANDARD.encode(digest(algorithm, content)))
}

fn sha256(content: &[u8]) -> String {
    stated("sha-256", &SHA256, content)
}

fn sha512(content: &[u8]) -> String {
    stated("sha-512", &SHA512, content)
}

/// Content that fits no window and no buffer.
fn long() -> Vec<u8> {
    (0..400_000_u32)
        .map(|at| b'a' + u8::try_from(at % 23).unwrap_or(0))
        .collect()
}

/// Everything is framed in both ways that HTTP/1.1 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

const FRAMINGS: [Framing; 2] = [Framing::Length, Framing::Chunked];

/// An answer with these lines of fields.
fn answer(framing: Framing, fields: &str, content: &[u8]) -> Vec<u8> {
    answer_with(framing, fields, content, "")
}

/// An answer with these lines of fields, and these of trailers where there can be some.
fn answer_with(framing: Framing, fields: &str, content: &[u8], trailers: &str) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{fields}").into_bytes();
    match framing {
        Framing::Length => {
            bytes.extend(format!("content-length: {}\r\n\r\n", content.len()).bytes());
            bytes.extend(content);
        }
        Framing::Chunked => {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            for piece in content.chunks(10_000) {
                bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
                bytes.extend(piece);
                bytes.extend(b"\r\n");
            }
            bytes.extend(format!("0\r\n{trailers}\r\n").bytes());
        }
    }
    bytes
}

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http10,
    Http11,
    Http2,
}

/// A request as its client sends it.
#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Asked {
    fn get(target: &str) -> Asked {
        Asked {
            method: "GET",
            target: target.to_owned(),
            fields: Vec::new(),
            body: String::new(),
        }
    }

    fn method(self, method: &'static str) -> Asked {
        Asked { method, ..self }
    }

    fn with(mut self, name: &'static str, value: &str) -> Asked {
        self.fields.push((name, value.to_owned()));
        self
    }

    fn body(self, body: &str) -> Asked {
        let body = body.to_owned();
        Asked { body, ..self }
    }

    /// The device asks. Over HTTP/2 an answer that does not come to its end is an error.
    fn over(&self, world: &World, way: Way) -> Result<Answer, String> {
        let version = match way {
            Way::Http2 => return self.over_http2(world),
            Way::Http10 => "1.0",
            Way::Http11 => "1.1",
        };
        let mut text = format!("{} {} HTTP/{version}\r\n", self.method, self.target);
        text.push_str("host: api.test\r\n");
        for (name, value) in &self.fields {
            text.extend([*name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() {
            let length = self.body.len().to_string();
            text.extend(["content-length: ", &length, "\r\n"]);
        }
        let mut line = world.line();
        line.send(format!("{text}\r\n{}", self.body)).or_fail("ask");
        let answer = match self.method {
            "HEAD" => line.answer_to_head(),
            _ => line.answer(),
        };
        answer.map_err(|error| error.to_string())
    }

    fn over_http2(&self, world: &World) -> Result<Answer, String> {
        let mut builder = Request::builder().method(self.method);
        for (name, value) in &self.fields {
            builder = builder.header(*name, value);
        }
        let content = match self.body.as_str() {
            "" => Content::default(),
            body => Content::of(body.to_owned()),
        };
        Streams::open(&world.caller())?.send(builder, &self.target, content)
    }

    /// Whether an answer is one to this request, signed with one of these keys.
    fn proves(&self, answer: &Answer, keys: &JwkSet) -> Result<Verified, Error> {
        self.proves_by(answer, keys, Selection::tag("phigate"))
    }

    fn proves_by(
        &self,
        answer: &Answer,
        keys: &JwkSet,
        selection: Selection<'_>,
    ) -> Result<Verified, Error> {
        let asked = map(self.fields.iter().map(|(name, value)| (*name, &**value)));
        let (headers, trailers) = (fields(&answer.headers), fields(&answer.trailers));
        let method: Method = self.method.parse().or_fail("read the method");
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let message = Message::Response(Response {
            status: StatusCode::from_u16(answer.status).or_fail("read the status"),
            headers: &headers,
            trailers: Some(&trailers),
            request: Some(integrity::Request {
                method: &method,
                scheme: "https",
                authority: "api.test",
                path,
                query,
                target: None,
                headers: &asked,
                trailers: None,
            }),
        });
        let mut policy = Policy::strict(vec![Component::named("@status")?]);
        (policy.require_nonce, policy.max_age) = (false, Some(Duration::from_mins(1)));
        verify(&message, selection, &policy, now(), |keyid| {
            keys.get(keyid?)
        })
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.or_fail("tell the time").as_secs()
}

fn fields(fields: &[(String, String)]) -> HeaderMap {
    map(fields.iter().map(|(name, value)| (&**name, &**value)))
}

fn map<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().or_fail("read the name of a field");
        map.append(name, value.parse().or_fail("read the value of a field"));
    }
    map
}

/// What a signature covers, in its order.
fn covered(verified: &Verified) -> Vec<String> {
    verified.covered().iter().map(ToString::to_string).collect()
}

/// The set of keys that the gateway publishes, as it is.
#[track_caller]
fn published(world: &World) -> Answer {
    let answer = Asked::get(DIRECTORY).over(world, Way::Http11);
    let answer = answer.or_fail("get the keys");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[track_caller]
fn keys(world: &World) -> JwkSet {
    JwkSet::parse(&published(world).body).or_fail("read the keys")
}

/// A private key in PEM, as the library has it.
#[track_caller]
fn signing_key(path: &Path) -> integrity::SigningKey {
    use rustls_pki_types::pem::PemObject;
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(path).or_fail("read a key");
    integrity::SigningKey::from_pkcs8(key.secret_der()).or_fail("use a key")
}
