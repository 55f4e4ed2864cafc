//! A small EST server (RFC 7030) that is not ours: TLS by rustls, HTTP by hand, certificates by
//! `pki issue --csr`, and the messages that carry them by openssl.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::World;

/// The one token that is good.
pub(crate) const TOKEN: &str = "4711-one-time";

/// How the server behaves once it knows who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As it should.
    Good,
    /// It hands back the certificate that is there already.
    OldCertificate,
    /// It certifies the key under another name.
    OtherName,
    /// It says that a person decides first.
    Later,
    /// It refuses, in words with control characters.
    Refuse,
    /// It breaks off without an answer.
    BreakOff,
    /// It answers something else.
    Garbage,
    /// It answers without end.
    Endless,
}

/// A server on a port of its own, which ends when it is dropped.
pub(crate) struct EstServer {
    pub(crate) address: SocketAddr,
    /// What it was asked for: method and path.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
    /// What credentials it was sent.
    pub(crate) authorizations: Arc<Mutex<Vec<String>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EstServer {
    /// Starts one that issues by the authority `pki` of this world for the device `name`, and proves
    /// itself by the certificate in `tls`.
    pub(crate) fn start(world: &World, tls: &str, name: &str, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let site = Site {
            root: world.root().to_owned(),
            name: name.to_owned(),
            behaviour,
            issued: AtomicU32::new(0),
        };
        let config = Arc::new(configuration(world, tls));
        let (heard, authorizations) = (Arc::default(), Arc::default());
        let done = Arc::new(AtomicBool::new(false));
        let thread = {
            let (heard, authorizations) = (Arc::clone(&heard), Arc::clone(&authorizations));
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let _ = serve(stream, &config, &site, &heard, &authorizations);
                        }
                        // A test may wait.
                        #[allow(clippy::disallowed_methods)]
                        Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
            })
        };
        Self {
            address,
            heard,
            authorizations,
            done,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for EstServer {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Site {
    root: std::path::PathBuf,
    name: String,
    behaviour: Behaviour,
    issued: AtomicU32,
}

fn configuration(world: &World, tls: &str) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(world.path("pki/trust.pem")).unwrap())
        .unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let chain = CertificateDer::pem_file_iter(world.path(&format!("{tls}/chain.pem")))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(world.path(&format!("{tls}/key.pem"))).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap()
}

type Log = Mutex<Vec<String>>;

fn serve(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
    site: &Site,
    heard: &Log,
    authorizations: &Log,
) -> std::io::Result<()> {
    tcp.set_nonblocking(false)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), tcp);
    let mut bytes = Vec::new();
    let head = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend(&buffer[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
        }
    };
    let mut lines = head.lines();
    let first = lines
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while bytes.len() < length {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        bytes.extend(&buffer[..count]);
    }
    heard.lock().unwrap().push(first.clone());
    let authorization = headers.get("authorization").cloned();
    authorizations.lock().unwrap().extend(authorization.clone());
    let is_holder = stream.conn.peer_certificates().is_some();
    let good = format!("Basic {}", STANDARD.encode(format!(":{TOKEN}")));
    let answer = match first.as_str() {
        "GET /.well-known/est/cacerts" => {
            ok(&site.certs_only(&["pki/trust.pem", "pki/crl/issuing.pem"]))
        }
        "POST /.well-known/est/simplereenroll" if is_holder => site.enrol(&headers, &bytes),
        "POST /.well-known/est/simpleenroll" if authorization.as_ref() == Some(&good) => {
            site.enrol(&headers, &bytes)
        }
        _ => Some(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\n\r\nwho is this at\n".to_vec(),
        ),
    };
    if let Some(answer) = answer {
        stream.write_all(&answer)?;
        if site.behaviour == Behaviour::Endless && first.starts_with("POST") {
            while stream.write_all(&[b'A'; 8192]).is_ok() {}
        }
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    Ok(())
}

// An answer, among others that are none.
#[allow(clippy::unnecessary_wraps)]
fn ok(content: &str) -> Option<Vec<u8>> {
    Some(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        )
        .into_bytes(),
    )
}

impl Site {
    fn enrol(&self, headers: &BTreeMap<String, String>, content: &[u8]) -> Option<Vec<u8>> {
        assert_eq!(headers["content-type"], "application/pkcs10");
        match self.behaviour {
            Behaviour::Good | Behaviour::OtherName | Behaviour::OldCertificate => {}
            Behaviour::Later => {
                return Some(
                    b"HTTP/1.1 202 Accepted\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                );
            }
            Behaviour::Refuse => {
                return Some(
                    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\nno\x1b[31m pump\n"
                        .to_vec(),
                );
            }
            Behaviour::BreakOff => return None,
            Behaviour::Garbage => return ok("bm90aGluZw=="),
            Behaviour::Endless => {
                return Some(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n".to_vec());
            }
        }
        if self.behaviour == Behaviour::OldCertificate {
            return ok(&self.certs_only(&["out/cert.pem"]));
        }
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let (request, out) = (format!("request-{number}"), format!("issued-{number}"));
        std::fs::write(self.root.join(&request), STANDARD.decode(content).unwrap()).unwrap();
        // What the requester asks for must be what is granted, unless another name is.
        let name = match self.behaviour {
            Behaviour::OtherName => "urn:example:somebody-else",
            _ => self.name.as_str(),
        };
        let text = Command::new("openssl")
            .current_dir(&self.root)
            .args([
                "req", "-inform", "DER", "-in", &request, "-noout", "-verify", "-text",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(&format!("URI:{}", self.name)), "{text}");
        if self.behaviour == Behaviour::OtherName {
            // The same key in a request that asks for nothing is not to be had; so an old key is used.
            return ok(&self.certs_only(&["other/cert.pem"]));
        }
        let issued = crate::support::pki()
            .current_dir(&self.root)
            .args(["issue", "--dir", "pki", "--profile", "device", "--id", name])
            .args(["--csr", &request, "--out", &out])
            .output()
            .unwrap();
        assert!(
            issued.status.success(),
            "{}",
            String::from_utf8_lossy(&issued.stderr)
        );
        ok(&self.certs_only(&[&format!("{out}/cert.pem")]))
    }

    /// A message of certificates by openssl, in base64 with line breaks.
    fn certs_only(&self, files: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command
            .current_dir(&self.root)
            .args(["crl2pkcs7", "-nocrl", "-outform", "DER"]);
        for file in files {
            command.args(["-certfile", file]);
        }
        let message = command.stderr(Stdio::inherit()).output().unwrap();
        let text = STANDARD.encode(message.stdout);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        lines.join("\r\n") + "\r\n"
    }
}
