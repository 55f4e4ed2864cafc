//! A client of Enrolment over Secure Transport (RFC 7030, with the encodings of RFC 8951): cacerts,
//! simpleenroll, simplereenroll.
//!
//! One connection an exchange, one deadline around all of them, no answer longer than
//! [`MAX_CONTENT`]. A connection that cannot be made is tried again; a request that was sent is not,
//! because the server may have issued already: whoever runs this again simply asks again. No
//! redirection is followed, no proxy asked, no cookie kept.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::der;
use super::leaf::Trust;
use crate::key::PrivateKey;
use crate::public_key::sha256;

/// No answer is longer, in octets.
const MAX_CONTENT: usize = 256 * 1024;
/// For everything together.
const DEADLINE: Duration = Duration::from_mins(1);
/// For one connection, TLS included.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often a connection is tried.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the operations are (RFC 7030 section 3.2.2).
const WELL_KNOWN: &str = "/.well-known/est/";

/// An EST server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstServer {
    /// An IPv6 address without brackets.
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl EstServer {
    /// Reads `https://HOST[:PORT]`, nothing behind it. `None` if it is anything else.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("https://")?;
        let authority: http::uri::Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|port| *port != 0)?,
            // `HOST:` has a colon and no port.
            None if authority.as_str() == authority.host() => 443,
            None => return None,
        };
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        let name = ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port, name })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for EstServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

/// Who asks.
pub(super) enum Client<'a> {
    /// The holder of a certificate, for its successor.
    Holder {
        /// The certificate and its issuers.
        chain: Vec<Vec<u8>>,
        /// Its key.
        key: &'a PrivateKey,
    },
    /// Whoever holds a one-time token (RFC 7617).
    Token {
        /// Whom it is for.
        user: &'a str,
        /// The token.
        token: &'a str,
    },
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// The certificates of the answer.
    pub(super) certificates: Vec<Vec<u8>>,
    /// The authorities that the server named before.
    pub(super) authorities: Vec<Vec<u8>>,
}

/// Asks for a certificate. The server proves itself by `trust` before it hears anything.
pub(super) fn certify(
    server: &EstServer,
    trust: &Trust,
    client: &Client<'_>,
    request: &[u8],
) -> Result<Answer, EstError> {
    let verifier = verifier_of(trust)?;
    let (operation, authorization) = match client {
        Client::Holder { .. } => ("simplereenroll", None),
        Client::Token { user, token } => ("simpleenroll", Some(basic(user, token)?)),
    };
    let tls = Arc::new(configuration(verifier, client)?);
    in_time(async {
        let authorities = get_authorities(server, &tls).await?;
        let content = Bytes::from(STANDARD.encode(request));
        let answer = exchange(
            server,
            &tls,
            Method::POST,
            operation,
            authorization,
            content,
        );
        Ok(Answer {
            certificates: certificates(&answer.await?)?,
            authorities,
        })
    })
}

/// The authority with this fingerprint, the SHA-256 of its certificate, among those that the server
/// names. The server proves nothing (RFC 7030 section 4.1.1) and hears nothing: what it says is
/// believed because of the fingerprint alone.
pub(super) fn bootstrap(
    server: &EstServer,
    fingerprint: &[u8; 32],
) -> Result<Option<Vec<u8>>, EstError> {
    let unjudged = Arc::new(Unjudged(Arc::new(aws_lc_rs::default_provider())));
    let tls = Arc::new(anonymous(unjudged)?);
    let authorities = in_time(get_authorities(server, &tls))?;
    Ok(authorities
        .into_iter()
        .find(|der| sha256(der) == *fingerprint))
}

async fn get_authorities(
    server: &EstServer,
    tls: &Arc<ClientConfig>,
) -> Result<Vec<Vec<u8>>, EstError> {
    let answer = exchange(server, tls, Method::GET, "cacerts", None, Bytes::new());
    certificates(&answer.await?)
}

/// Base64 as RFC 8951 section 3.1 wants it read: whatever the header of the encoding says, with line
/// breaks or without.
fn certificates(content: &[u8]) -> Result<Vec<Vec<u8>>, EstError> {
    let text: Vec<u8> = content
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    STANDARD
        .decode(text)
        .ok()
        .and_then(|message| der::certificates(&message))
        .ok_or(EstError::Answer)
}

/// Runs it on a runtime of its own, and gives up at the deadline.
fn in_time<T>(work: impl Future<Output = Result<T, EstError>>) -> Result<T, EstError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EstError::Runtime)?;
    let result = runtime.block_on(async { timeout(DEADLINE, work).await });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    result.unwrap_or(Err(EstError::Slow))
}

async fn exchange(
    server: &EstServer,
    tls: &Arc<ClientConfig>,
    method: Method,
    operation: &str,
    authorization: Option<HeaderValue>,
    content: Bytes,
) -> Result<Bytes, EstError> {
    let mut request = Request::builder()
        .method(&method)
        .uri(format!("{WELL_KNOWN}{operation}"))
        .header(HOST, server.authority())
        .header(ACCEPT, "application/pkcs7-mime");
    if method == Method::POST {
        request = request
            .header(CONTENT_TYPE, "application/pkcs10")
            // RFC 8951 does without it; servers older than that ask for it.
            .header("content-transfer-encoding", "base64");
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request
        .body(Full::new(content))
        .map_err(|_| EstError::Request)?;
    let stream = connect(server, tls).await?;
    send(stream, request).await
}

/// Connects. Whoever does not answer, or breaks off before TLS stands, is tried again.
async fn connect(
    server: &EstServer,
    tls: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, EstError> {
    let mut tried = 1;
    loop {
        let attempt = async {
            let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
            let _ = stream.set_nodelay(true);
            let tls = TlsConnector::from(Arc::clone(tls));
            tls.connect(server.name.clone(), stream).await
        };
        let error = match timeout(CONNECTING, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if is_tls(&error) => return Err(EstError::Tls(error)),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if tried == TRIES {
            return Err(EstError::Connect {
                server: server.to_string(),
                error,
            });
        }
        tried += 1;
        sleep(PAUSE).await;
    }
}

/// Whether one side said no, which it would again.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
}

async fn send(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<Bytes, EstError> {
    const MAX_HEAD: usize = 64 * 1024;
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(EstError::Unanswered)?;
    let exchange = async {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(EstError::Unanswered)?.into_parts();
        let content = Limited::new(body, MAX_CONTENT).collect().await;
        let content = content.map_err(|_| EstError::Answer)?.to_bytes();
        match head.status {
            StatusCode::OK => Ok(content),
            // RFC 7030 section 4.2.3: a person decides first.
            StatusCode::ACCEPTED => Err(EstError::Later {
                after: head
                    .headers
                    .get(RETRY_AFTER)
                    .and_then(|after| after.to_str().ok())
                    .and_then(|after| after.parse().ok()),
            }),
            status => Err(EstError::Refused {
                status: status.as_u16(),
                says: shown(&content),
            }),
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection moves the bytes; it may end before the answer was taken out of it.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(EstError::Unanswered(error)),
        },
    }
}

/// The first line of what a server says about its refusal, escaped and short.
fn shown(content: &[u8]) -> String {
    const MAX: usize = 200;
    let text = String::from_utf8_lossy(&content[..content.len().min(MAX)]);
    let line = text.lines().next().unwrap_or_default().trim();
    line.escape_debug().to_string()
}

fn basic(user: &str, token: &str) -> Result<HeaderValue, EstError> {
    // RFC 7617 section 2: the first colon ends the user's name, so no URI can be one. The request
    // asks for the name, and the token knows whom it is for.
    let user = if user.contains(':') { "" } else { user };
    let both = Zeroizing::new(format!("{user}:{token}"));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
    let mut value = HeaderValue::from_str(&text).map_err(|_| EstError::Request)?;
    value.set_sensitive(true);
    Ok(value)
}

fn verifier_of(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, EstError> {
    let mut roots = RootCertStore::empty();
    for root in &trust.roots {
        roots.add(root.clone()).map_err(|_| EstError::Trust)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|_| EstError::Trust)?)
}

fn configuration(
    verifier: Arc<dyn ServerCertVerifier>,
    client: &Client<'_>,
) -> Result<ClientConfig, EstError> {
    let mut config = anonymous(verifier)?;
    if let Client::Holder { chain, key } = client {
        let chain = chain.iter().cloned().map(CertificateDer::from).collect();
        let pem = key.to_pem().map_err(|_| EstError::Key)?;
        let mut buffer = Zeroizing::new(vec![0; pem.len()]);
        let (_, der) =
            pem_rfc7468::decode(pem.as_bytes(), &mut buffer).map_err(|_| EstError::Key)?;
        let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::Pkcs8(
            PrivatePkcs8KeyDer::from(der),
        ))
        .map_err(|_| EstError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    }
    Ok(config)
}

fn anonymous(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, EstError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| EstError::Trust)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.require_ems = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each connection proves both sides anew.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Believes any certificate, for [`bootstrap`] alone. That the server holds its key is verified all
/// the same.
#[derive(Debug)]
struct Unjudged(Arc<CryptoProvider>);

impl ServerCertVerifier for Unjudged {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why an EST server brought no certificate.
#[derive(Debug)]
pub enum EstError {
    /// There is no connection, after all tries. Nothing was sent.
    Connect {
        /// To which server.
        server: String,
        /// Why not, the last time.
        error: io::Error,
    },
    /// The server is not one of a trusted authority, or one side refuses the other's TLS. Nothing
    /// was sent.
    Tls(io::Error),
    /// The connection broke off, or what is spoken there is not HTTP. A request that was sent may
    /// have been granted.
    Unanswered(hyper::Error),
    /// It took too long. A request that was sent may have been granted.
    Slow,
    /// The server says no.
    Refused {
        /// With this status.
        status: u16,
        /// And these words, escaped and short.
        says: String,
    },
    /// The server wants to be asked again, when a person has decided.
    Later {
        /// After so many seconds, if it says so.
        after: Option<u32>,
    },
    /// The answer is too long or broke off, or is no message of certificates.
    Answer,
    /// The request cannot be written: a name or token with signs that no header carries.
    Request,
    /// The certificates of the trusted authorities cannot be used for TLS.
    Trust,
    /// The secret key cannot be used for TLS.
    Key,
    /// The operating system gave no runtime.
    Runtime(io::Error),
}

impl fmt::Display for EstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { server, error } => {
                write!(
                    f,
                    "cannot connect to {server}, tried {TRIES} times: {error}"
                )
            }
            Self::Tls(error) => write!(f, "no TLS with the server: {error}"),
            Self::Unanswered(error) => write!(f, "the server did not answer: {error}"),
            Self::Slow => write!(f, "no answer within {} s", DEADLINE.as_secs()),
            Self::Refused { status, says } if says.is_empty() => {
                write!(f, "the server refuses with status {status}")
            }
            Self::Refused { status, says } => {
                write!(f, "the server refuses with status {status}: {says}")
            }
            Self::Later { after: None } => write!(f, "the server wants to be asked again later"),
            Self::Later { after: Some(after) } => {
                write!(f, "the server wants to be asked again in {after} s")
            }
            Self::Answer => write!(f, "the server's answer holds no certificates"),
            Self::Request => write!(f, "the name or token cannot stand in a request"),
            Self::Trust => write!(f, "the trusted authorities cannot be used for TLS"),
            Self::Key => write!(f, "the key cannot be used for TLS"),
            Self::Runtime(error) => write!(f, "the client cannot run: {error}"),
        }
    }
}

impl std::error::Error for EstError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { error, .. } | Self::Tls(error) | Self::Runtime(error) => Some(error),
            Self::Unanswered(error) => Some(error),
            Self::Slow
            | Self::Refused { .. }
            | Self::Later { .. }
            | Self::Answer
            | Self::Request
            | Self::Trust
            | Self::Key => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port_over_tls() {
        for (url, shown) in [
            (
                "https://pki.clinic.example",
                "https://pki.clinic.example:443",
            ),
            (
                "https://pki.clinic.example:8443/",
                "https://pki.clinic.example:8443",
            ),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(EstServer::parse(url).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "pki.clinic.example",
            "http://pki.clinic.example",
            "https://",
            "https://a@pki.clinic.example",
            "https://pki.clinic.example/est",
            "https://pki.clinic.example:0",
            "https://pki.clinic.example:99999",
            "https://pki.clinic.example:",
            "https://pki.clinic.example?x",
        ] {
            assert_eq!(EstServer::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_server_says_is_escaped_and_short() {
        let long = format!("\u{1b}[31mno\n{}", "x".repeat(1000));
        assert_eq!(shown(long.as_bytes()), "\\u{1b}[31mno");
        assert_eq!(shown(&[b'x'; 1000]).len(), 200);
    }
}
