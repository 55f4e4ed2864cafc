//! The demo's story: what is allowed and what is not, played against the running gateway, each step
//! with what was expected and what happened; then the log is held against it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::event::Event;
use audit::keygen::READER_SECRET;
use audit::public_key;
use audit::read::{self, Reader, Step as Read};
use audit::seal::reader;
use audit::unseal::Unsealer;
use audit::verify::{Asked, Report, Verdict};
use pki::files::read_bounded;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::credentials::DEVICE;
use super::prepare::Prepared;
use super::signed;
use crate::tls;

/// No step takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clients of the story.
pub(super) struct Client {
    address: std::net::SocketAddr,
    roots: Arc<RootCertStore>,
    device: Credentials,
    revoked: Credentials,
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Client {
    /// Reads what `prepare` made.
    pub(super) fn new(prepared: &Prepared) -> Result<Client, String> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&prepared.directory.join("server/trust.pem"))? {
            roots.add(root).map_err(|error| format!("error: {error}"))?;
        }
        let credentials = |name: &str| -> Result<Credentials, String> {
            let directory = prepared.directory.join(name);
            let key = directory.join("key.pem");
            let key = PrivateKeyDer::from_pem_file(&key)
                .map_err(|error| format!("error: cannot read {}: {error}", key.display()))?;
            Ok((certificates(&directory.join("chain.pem"))?, key))
        };
        Ok(Client {
            address: prepared.listen,
            roots: Arc::new(roots),
            device: credentials("device")?,
            revoked: credentials("revoked")?,
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("error: cannot read {}: {error}", path.display()))
}

/// One step of the story.
struct Step {
    what: &'static str,
    expected: &'static str,
    happened: String,
}

/// What is done in a step.
enum Act {
    /// The device asks.
    Device(&'static str, &'static str),
    /// A revoked device asks.
    Revoked(&'static str),
    /// Somebody without a certificate asks.
    Nobody(&'static str),
    /// The device asks as somebody else.
    Forge,
    /// A hello of this version, which says that it fell back or not.
    Hello(u16, bool),
    /// The device sends what it signed, then again, or altered, or without its signature.
    Signed(Mischief),
    /// No TLS.
    Plain,
}

/// What becomes of a signed request on its way.
#[derive(Clone, Copy)]
enum Mischief {
    None,
    Altered,
    Repeated,
    Unsigned,
}

/// What is done, what is expected, and what that shows.
#[rustfmt::skip]
const STORY: &[(Act, &str, &str)] = &[
    (Act::Device("GET /fhir/Patient/1", ""),         "200",                                "the device reads a record over HTTP/1.1"),
    (Act::Device("POST /fhir/Observation", WRITTEN), "201",                                "the device writes an observation"),
    (Act::Forge,                                     "stripped",                           "a forged identity header does not reach the API"),
    (Act::Device("GET /fhir/%2e%2e/admin", ""),      "400",                                "a path that reads in two ways is refused"),
    (Act::Device("DELETE /fhir/Patient/1", ""),      "405",                                "a method that the route does not serve is refused"),
    (Act::Signed(Mischief::None),                    "201",                                "what the device signed is taken"),
    (Act::Signed(Mischief::Unsigned),                "401",                                "without the signature that the route asks for it is refused (RFC 9421)"),
    (Act::Signed(Mischief::Altered),                 "400",                                "content that was altered on its way is refused (RFC 9530)"),
    (Act::Signed(Mischief::Repeated),                "401",                                "what was accepted once is not accepted again"),
    (Act::Nobody("GET /fhir/Patient/1"),             "alert certificate_required (116)",   "a client without a certificate gets nowhere"),
    (Act::Revoked("GET /fhir/Patient/1"),            "alert certificate_revoked (44)",     "a revoked device gets nowhere"),
    (Act::Hello(0x0302, false),                      "alert protocol_version (70)",        "a client that can do no better than TLS 1.1 is refused"),
    (Act::Hello(0x0303, true),                       "alert inappropriate_fallback (86)",  "a client that says it fell back to TLS 1.2 is refused (RFC 7507)"),
    (Act::Plain,                                     "HTTP/1.1 400 Bad Request",           "plain HTTP is told where it is"),
];

const WRITTEN: &str = r#"{"resourceType":"Observation"}"#;

/// Plays the story. Returns whether all of it went as expected.
pub(super) async fn tell(client: &Client, say: &mut dyn FnMut(&str)) -> bool {
    let mut all = true;
    for (act, expected, what) in STORY {
        let happened = client.play(act).await;
        let step = Step {
            what,
            expected,
            happened,
        };
        all &= report(&step, say);
    }
    all
}

/// Verifies the log that the story left, and looks for what must be in it.
pub(super) fn verify(prepared: &Prepared, say: &mut dyn FnMut(&str)) -> bool {
    let directory = prepared.directory.join("audit");
    let verdict = match verify_signed(&directory) {
        Ok(report) => match report.verdict() {
            Verdict::Good => "good, signed".to_owned(),
            _ => report
                .findings
                .first()
                .map_or_else(|| "not good".to_owned(), ToString::to_string),
        },
        Err(error) => error,
    };
    let recorded = recorded(&directory);
    let steps = [
        Step {
            what: "the audit log is whole",
            expected: "good, signed",
            happened: verdict,
        },
        Step {
            what: "every step is on record, each answer before it left",
            expected: "recorded",
            happened: recorded,
        },
    ];
    let all = steps.iter().fold(true, |all, step| all & report(step, say));
    say(if all {
        "All as expected."
    } else {
        "Something was not as expected."
    });
    all
}

/// Verifies the log with the public key that lies beside it.
fn verify_signed(directory: &Path) -> Result<Report, String> {
    let key = public_key::read(&public_key::beside(directory));
    let key = key.map_err(|error| error.to_string())?;
    let asked = Asked {
        key: Some(&key),
        strict: true,
        ..Asked::default()
    };
    audit::verify::verify_watched(directory, &asked, &mut |_, _| ())
        .map_err(|error| error.to_string())
}

fn report(step: &Step, say: &mut dyn FnMut(&str)) -> bool {
    let held = step.happened == step.expected;
    let mark = if held { "ok  " } else { "FAIL" };
    say(&format!(
        "{mark} {}: expected {}, happened {}",
        step.what, step.expected, step.happened
    ));
    held
}

/// What opens the entries of the log: with the reader's key of the demo, which lies beside it.
fn unsealer(directory: &Path) -> Result<Unsealer, String> {
    let path = directory.with_file_name(READER_SECRET);
    let pem = read_bounded(&path, 4096).map(Zeroizing::new);
    // A demonstration of an older version has no reader, and nothing to open.
    let key = match pem {
        Ok(pem) => Some(reader::parse_secret(&pem).map_err(|error| error.to_string())?),
        Err(_) => None,
    };
    Unsealer::new(directory, key).map_err(|error| error.to_string())
}

/// Whether the last run of the log holds what the story did.
fn recorded(directory: &Path) -> String {
    let mut unsealer = match unsealer(directory) {
        Ok(unsealer) => unsealer,
        Err(error) => return error,
    };
    let mut seen: Vec<String> = Vec::new();
    let mut reader = Reader::new(directory);
    loop {
        match reader.step() {
            Ok(Read::Segment(_)) => {}
            Ok(Read::Batch {
                sequence, records, ..
            }) => {
                for (_, leaf) in read::entries(sequence, &records) {
                    let bytes = match unsealer.unseal(leaf) {
                        Ok(bytes) => bytes,
                        Err(error) => return error.to_string(),
                    };
                    match audit::entry::decode(&bytes).map(|entry| entry.event) {
                        // Only the last run counts: the directory may have seen others.
                        Ok(Event::Start(_)) => seen.clear(),
                        Ok(event) => seen.extend(mark(&event)),
                        Err(error) => return error.to_string(),
                    }
                }
            }
            Ok(Read::End) => break,
            Ok(Read::Fault(fault)) => return fault.to_string(),
            Err(error) => return error.to_string(),
        }
    }
    let wanted = [
        format!("handshake devices:{DEVICE}"),
        "release patients GET 200".to_owned(),
        "intent observations POST".to_owned(),
        "release observations POST 201".to_owned(),
        "intent signed POST".to_owned(),
        "release signed POST 201".to_owned(),
        "refusal signature_missing".to_owned(),
        "refusal digest_mismatch".to_owned(),
        "refusal signature_replayed".to_owned(),
        "refusal path_refused".to_owned(),
        "refusal method_not_allowed".to_owned(),
        "handshake_refused certificate_missing".to_owned(),
        "handshake_refused certificate_revoked".to_owned(),
        "handshake_refused protocol_version".to_owned(),
        "handshake_refused inappropriate_fallback".to_owned(),
        "handshake_refused plain_http".to_owned(),
    ];
    match wanted.iter().find(|wanted| !seen.contains(wanted)) {
        None => "recorded".to_owned(),
        Some(missing) => format!("no record of: {missing}"),
    }
}

fn mark(event: &Event<'_>) -> Option<String> {
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    match event {
        Event::Handshake(event) => Some(format!("handshake {}", dash(event.client))),
        Event::Intent(event) => Some(format!(
            "intent {} {}",
            dash(event.request.route),
            dash(event.request.method)
        )),
        Event::Release(event) => Some(format!(
            "release {} {} {}",
            dash(event.request.route),
            dash(event.request.method),
            event.status
        )),
        Event::Refusal(event) => Some(format!("refusal {}", event.code)),
        Event::HandshakeRefused(event) => Some(format!("handshake_refused {}", event.code)),
        _ => None,
    }
}

impl Client {
    async fn play(&self, act: &Act) -> String {
        match *act {
            Act::Device(line, content) => self.request(Some(&self.device), line, content).await,
            Act::Revoked(line) => self.request(Some(&self.revoked), line, "").await,
            Act::Nobody(line) => self.request(None, line, "").await,
            Act::Forge => self.forge().await,
            Act::Signed(mischief) => self.signed(mischief).await,
            Act::Hello(version, fallback) => self.hello(version, fallback).await,
            Act::Plain => self.plain().await,
        }
    }

    /// Sends a request and tells its status, or the alert that ended the connection.
    async fn request(
        &self,
        credentials: Option<&Credentials>,
        line: &str,
        content: &str,
    ) -> String {
        match self.exchange(credentials, line, "", content).await {
            Ok(answer) => answer.split(' ').nth(1).unwrap_or("nothing").to_owned(),
            Err(error) => error,
        }
    }

    async fn forge(&self) -> String {
        let forged =
            "client-cert: forged\r\nX_Forwarded_Client_Cert: forged\r\nremote-user: forged\r\n";
        match self
            .exchange(Some(&self.device), "POST /echo", forged, "x")
            .await
        {
            Ok(answer) if !answer.contains(" 200 ") => {
                answer.lines().next().unwrap_or_default().to_owned()
            }
            Ok(answer) if answer.contains("forged") => "passed on".to_owned(),
            Ok(answer) if !answer.contains("client-cert") => {
                "the proved identity is missing".to_owned()
            }
            Ok(_) => "stripped".to_owned(),
            Err(error) => error,
        }
    }

    async fn signed(&self, mischief: Mischief) -> String {
        let (line, path) = ("POST /signed/fhir/Observation", "/signed/fhir/Observation");
        let (chain, key) = &self.device;
        let Some(certificate) = chain.first() else {
            return "no certificate".to_owned();
        };
        let fields = match mischief {
            Mischief::Unsigned => Ok(String::new()),
            _ => signed::fields((certificate, key), path, WRITTEN),
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(error) => return error,
        };
        let altered = WRITTEN.replace("Observation", "observation");
        let (content, times) = match mischief {
            Mischief::Altered => (altered.as_str(), 1),
            Mischief::Repeated => (WRITTEN, 2),
            Mischief::None | Mischief::Unsigned => (WRITTEN, 1),
        };
        let mut happened = String::new();
        for _ in 0..times {
            let answer = self.exchange(Some(&self.device), line, &fields, content);
            happened = match answer.await {
                Ok(answer) => answer.split(' ').nth(1).unwrap_or("nothing").to_owned(),
                Err(error) => error,
            };
        }
        happened
    }

    async fn exchange(
        &self,
        credentials: Option<&Credentials>,
        line: &str,
        headers: &str,
        content: &str,
    ) -> Result<String, String> {
        let talk = async {
            let builder = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(Arc::clone(&self.roots));
            let config = match credentials {
                Some((chain, key)) => builder
                    .with_client_auth_cert(chain.clone(), key.clone_key())
                    .map_err(|error| error.to_string())?,
                None => builder.with_no_client_auth(),
            };
            let stream = TcpStream::connect(self.address)
                .await
                .map_err(|error| error.to_string())?;
            let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let mut stream = connector
                .connect(name, stream)
                .await
                .map_err(|error| told(&error))?;
            let length = if content.is_empty() {
                String::new()
            } else {
                format!("content-length: {}\r\n", content.len())
            };
            let request = format!(
                "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{length}\r\n{content}"
            );
            stream
                .write_all(request.as_bytes())
                .await
                .map_err(|error| told(&error))?;
            let mut answer = Vec::new();
            // In TLS 1.3 a client learns at its first read that its certificate was refused.
            stream
                .read_to_end(&mut answer)
                .await
                .map_err(|error| told(&error))?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        timeout(PATIENCE, talk)
            .await
            .unwrap_or_else(|_| Err("nothing in time".to_owned()))
    }

    /// Sends a hello that no library would send any more, and tells the alert that comes back.
    async fn hello(&self, version: u16, fallback: bool) -> String {
        match self.raw(&client_hello(version, fallback)).await {
            Ok(answer) => match answer.as_slice() {
                [21, _, _, 0, 2, 2, alert] => alert_name(*alert),
                [] => "closed without a word".to_owned(),
                [22, ..] => "accepted".to_owned(),
                _ => "something else".to_owned(),
            },
            Err(error) => error,
        }
    }

    async fn plain(&self) -> String {
        match self.raw(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await {
            Ok(answer) => String::from_utf8_lossy(&answer)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            Err(error) => error,
        }
    }

    async fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(bytes).await?;
            let mut answer = Vec::new();
            (&mut stream).take(4096).read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        match timeout(PATIENCE, talk).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("nothing in time".to_owned()),
        }
    }
}

/// What a connection that was ended by TLS was told.
fn told(error: &std::io::Error) -> String {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::AlertReceived(alert)) => alert_name(u8::from(*alert)),
        _ => error.to_string(),
    }
}

/// An alert by its name and number (RFC 8446 6, RFC 7507 3); by its number alone where the story
/// expects none like it.
fn alert_name(alert: u8) -> String {
    match alert {
        44 => "alert certificate_revoked (44)".to_owned(),
        70 => "alert protocol_version (70)".to_owned(),
        86 => "alert inappropriate_fallback (86)".to_owned(),
        116 => "alert certificate_required (116)".to_owned(),
        other => format!("alert {other}"),
    }
}

/// A ClientHello of the days before TLS 1.3 (RFC 5246 7.4.1.2), which says that it fell back when it
/// is told to (RFC 7507).
fn client_hello(version: u16, fallback: bool) -> Vec<u8> {
    let mut suites = vec![0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x0a, 0x00, 0xff];
    if fallback {
        suites.extend_from_slice(&[0x56, 0x00]);
    }
    // supported_groups: P-256, X25519; ec_point_formats: uncompressed; signature_algorithms: ECDSA
    // and RSA-PSS with SHA-256; extended_master_secret.
    let extensions: &[u8] = &[
        0, 10, 0, 6, 0, 4, 0, 23, 0, 29, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4, 0, 23,
        0, 0,
    ];
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&[0x5a; 32]);
    body.push(0);
    body.extend_from_slice(&short(suites.len()));
    body.extend_from_slice(&suites);
    body.extend_from_slice(&[1, 0]);
    body.extend_from_slice(&short(extensions.len()));
    body.extend_from_slice(extensions);
    let mut message = vec![1, 0];
    message.extend_from_slice(&short(body.len()));
    message.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&short(message.len()));
    record.extend_from_slice(&message);
    record
}

/// A length in two bytes; those of this file are far below their bound.
fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}
