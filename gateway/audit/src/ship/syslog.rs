//! Syslog over TLS (RFC 5425): store and forward to a receiver that may be away.
//!
//! The protocol acknowledges nothing. So messages go in rounds: some are sent, then the connection is
//! closed with a `close_notify` of TLS, and the receiver's own is waited for. A receiver that answers in
//! order has read all that came before; only then does the cursor move. A round that ends otherwise is
//! sent again, so messages can come twice, also when this program is killed.
//!
//! What can still be lost is what a receiver has read and then loses itself. A receiver that never says
//! goodbye, or not within ten seconds, cannot be told from one that was killed: whether its rounds count
//! is for the operator to say (`--no-goodbye`).
//!
//! The log is read with the reader's key, and messages are protected by TLS alone.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

/// Each step of the network takes no longer.
const STEP: Duration = Duration::from_secs(10);

/// Where messages go, and how each side proves who it is.
#[derive(Debug, Clone)]
pub struct Receiver {
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// The files that prove who a receiver is, and who we are.
#[derive(Debug, Clone, Copy)]
pub struct Proofs<'a> {
    /// The roots that the receiver's certificate must lead to.
    pub authority: &'a Path,
    /// Our certificate with its chain, and its key.
    pub own: Option<(&'a Path, &'a Path)>,
}

impl Receiver {
    /// The receiver at `HOST:PORT`.
    ///
    /// # Errors
    /// [`ReceiverError`].
    pub fn new(place: &str, proofs: Proofs<'_>) -> Result<Receiver, ReceiverError> {
        let (host, port) = place.rsplit_once(':').ok_or(ReceiverError::Place)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().map_err(|_| ReceiverError::Place)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ReceiverError::Place)?;
        Ok(Receiver {
            host: host.to_owned(),
            port,
            name,
            config: Arc::new(configuration(proofs)?),
        })
    }

    /// Connects and finishes the handshake.
    ///
    /// # Errors
    /// What the operating system or TLS says.
    pub fn connect(&self) -> io::Result<Round> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, STEP) {
                Ok(stream) => return self.greet(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn greet(&self, mut stream: TcpStream) -> io::Result<Round> {
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(STEP))?;
        let config = Arc::clone(&self.config);
        let mut tls = ClientConnection::new(config, self.name.clone()).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Round { stream, tls })
    }
}

fn configuration(proofs: Proofs<'_>) -> Result<ClientConfig, ReceiverError> {
    let mut config = with_proofs(proofs)?;
    // Each round proves anew who is there. And a receiver on OpenSSL that asks for certificates and sets
    // no session id context refuses a client that resumes (SSL_CTX_set_session_id_context(3)).
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn with_proofs(proofs: Proofs<'_>) -> Result<ClientConfig, ReceiverError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(proofs.authority)? {
        let added = roots.add(root);
        added.map_err(|_| ReceiverError::pem(proofs.authority, "a root"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ReceiverError::Tls)?
        .with_root_certificates(roots);
    let Some((chain, key)) = proofs.own else {
        return Ok(builder.with_no_client_auth());
    };
    let own = certificates(chain)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::Io(error) => ReceiverError::Read {
            path: key.display().to_string(),
            error,
        },
        _ => ReceiverError::pem(key, "a private key"),
    })?;
    builder
        .with_client_auth_cert(own, secret)
        .map_err(ReceiverError::Tls)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ReceiverError> {
    let pem = std::fs::read(path).map_err(|error| ReceiverError::Read {
        path: path.display().to_string(),
        error,
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(ReceiverError::pem(path, "a certificate")),
    }
}

/// A connection, for some messages.
#[derive(Debug)]
pub struct Round {
    stream: TcpStream,
    tls: ClientConnection,
}

/// How a receiver ended a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// With its own `close_notify`: it has read all of the round.
    InOrder,
    /// Without one, or not in time: it may have been killed with messages unread.
    Without,
}

impl Round {
    /// Sends messages, each with its length before it.
    ///
    /// # Errors
    /// What the operating system or TLS says; some may have been received.
    pub fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        let mut stream = Stream::new(&mut self.tls, &mut self.stream);
        stream.write_all(messages)?;
        stream.flush()
    }

    /// Closes the connection, and waits for the receiver to close it too.
    ///
    /// # Errors
    /// What the operating system or TLS says: something of the round was not read.
    pub fn close(mut self) -> io::Result<Goodbye> {
        self.tls.send_close_notify();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream)?;
        }
        self.stream.shutdown(Shutdown::Write)?;
        let mut ignored = [0; 1024];
        // A receiver says nothing but goodbye; what it says else is not waited for without an end.
        for _ in 0..1024 {
            let mut stream = Stream::new(&mut self.tls, &mut self.stream);
            match stream.read(&mut ignored) {
                Ok(0) => return Ok(Goodbye::InOrder),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(Goodbye::Without)
    }
}

/// Why there is no such receiver.
#[derive(Debug)]
pub enum ReceiverError {
    /// Not `HOST:PORT`.
    Place,
    /// A file cannot be read.
    Read {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    Pem {
        /// Its path.
        path: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// TLS does not take it.
    Tls(rustls::Error),
}

impl ReceiverError {
    fn pem(path: &Path, wanted: &'static str) -> ReceiverError {
        ReceiverError::Pem {
            path: path.display().to_string(),
            wanted,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ReceiverError::Place => {
                "--syslog names a host and a port, such as logs.clinic.example:6514"
            }
            ReceiverError::Read { .. } => {
                "check that the file exists and that this user may read it"
            }
            ReceiverError::Pem { .. } => "the file is PEM, as `pki issue` writes it",
            ReceiverError::Tls(_) => "the key must be that of the certificate",
        }
    }
}

impl fmt::Display for ReceiverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiverError::Place => f.write_str("that is no HOST:PORT"),
            ReceiverError::Read { path, error } => write!(f, "cannot read {path}: {error}"),
            ReceiverError::Pem { path, wanted } => write!(f, "{path} does not hold {wanted}"),
            ReceiverError::Tls(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for ReceiverError {}
