//! A raw client: a TCP connection, or one with TLS on it, that sends and reads bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::answer::Answer;
use crate::authority::Credentials;
use crate::wait::{OrFail, PATIENCE};

/// Who calls, and how.
#[derive(Debug, Clone)]
pub struct Caller {
    to: SocketAddr,
    from: Option<Ipv4Addr>,
    roots: Arc<RootCertStore>,
    credentials: Option<Credentials>,
    presents: Option<Arc<dyn ResolvesClientCert>>,
    name: Option<&'static str>,
    protocols: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl Caller {
    /// A client without a certificate that knows the server's root, and asks for `api.test`.
    #[track_caller]
    pub fn new(to: SocketAddr, trust: &Path) -> Caller {
        let mut roots = RootCertStore::empty();
        for root in certificates(trust) {
            roots.add(root).or_fail("read the root");
        }
        Caller {
            to,
            from: None,
            roots: Arc::new(roots),
            credentials: None,
            presents: None,
            name: Some("api.test"),
            protocols: Vec::new(),
            versions: rustls::DEFAULT_VERSIONS,
        }
    }

    /// With a certificate.
    #[must_use]
    pub fn with(mut self, credentials: &Credentials) -> Caller {
        self.credentials = Some(credentials.clone());
        self
    }

    /// Presenting whatever this finds fit, good or bad.
    #[must_use]
    pub fn presenting(mut self, presents: Arc<dyn ResolvesClientCert>) -> Caller {
        self.presents = Some(presents);
        self
    }

    /// Asking for another server name, or for none.
    #[must_use]
    pub fn asking_for(mut self, name: Option<&'static str>) -> Caller {
        self.name = name;
        self
    }

    /// Offering this application protocol alone.
    #[must_use]
    pub fn speaking(mut self, protocol: &str) -> Caller {
        self.protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    /// Offering these versions alone.
    #[must_use]
    pub fn offering(mut self, versions: &'static [&'static SupportedProtocolVersion]) -> Caller {
        self.versions = versions;
        self
    }

    /// Calling from this address.
    #[must_use]
    pub fn from(mut self, address: Ipv4Addr) -> Caller {
        self.from = Some(address);
        self
    }

    /// What TLS needs to know of it.
    #[must_use]
    #[track_caller]
    pub fn tls(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .or_fail("offer these versions")
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match (&self.credentials, &self.presents) {
            (_, Some(presents)) => builder.with_client_cert_resolver(Arc::clone(presents)),
            (None, None) => builder.with_no_client_auth(),
            (Some(credentials), None) => {
                let key = PrivateKeyDer::from_pem_file(&credentials.key).or_fail("read the key");
                builder
                    .with_client_auth_cert(certificates(&credentials.chain), key)
                    .or_fail("use the certificate")
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config.enable_sni = self.name.is_some();
        config.resumption = rustls::client::Resumption::disabled();
        config
    }

    /// Where it connects.
    #[must_use]
    pub fn to(&self) -> SocketAddr {
        self.to
    }

    /// Connects and finishes the handshake. In TLS 1.3 that the server refuses the client's
    /// certificate shows at the first read only (RFC 8446 4.4.4).
    ///
    /// # Errors
    /// What the operating system or TLS says.
    pub fn connect(&self) -> io::Result<Line> {
        let stream = match self.from {
            None => TcpStream::connect_timeout(&self.to, PATIENCE)?,
            Some(from) => dial(from, self.to)?,
        };
        prepare(&stream)?;
        let name = ServerName::try_from(self.name.unwrap_or("api.test")).or_fail("name the server");
        let connection =
            ClientConnection::new(Arc::new(self.tls()), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Line {
            wire: Wire::Tls(Box::new(stream)),
        })
    }

    /// Connects and sends one request, `GET /x` say; brings the answer or the words of what ended it.
    ///
    /// # Errors
    /// As [`Caller::connect`] and [`Line::answer`].
    pub fn ask(&self, request: &str) -> io::Result<Answer> {
        let mut line = self.connect()?;
        // Whoever is turned away may learn it while sending; why stands in what can still be read.
        let sent = line.send(get_or_whole(request));
        match (line.answer(), sent) {
            (Err(error), Err(sent)) if alert_of(&error).is_none() => Err(sent),
            (answer, _) => answer,
        }
    }

    /// The alert that ended a call, by its number (RFC 8446 6); `None` when there was none.
    #[must_use]
    pub fn alert(&self) -> Option<u8> {
        match self.ask("GET /") {
            Ok(_) => None,
            Err(error) => alert_of(&error),
        }
    }
}

/// The alert in an error of TLS.
#[must_use]
pub fn alert_of(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(u8::from(*alert)),
        _ => None,
    }
}

/// What an error of reading says of the connection.
pub(crate) fn end_of(error: &io::Error) -> End {
    match (alert_of(error), error.kind()) {
        (Some(alert), _) => End::Alert(alert),
        (None, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => End::Open,
        (None, _) => End::Cut,
    }
}

/// `GET /x` becomes a whole request for `api.test`; what is whole stays.
fn get_or_whole(request: &str) -> String {
    if request.contains("\r\n") {
        request.to_owned()
    } else {
        format!("{request} HTTP/1.1\r\nhost: api.test\r\n\r\n")
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .or_fail(&format!("read {}", path.display()))
}

/// A TCP connection from this address.
fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Properly: with close_notify on TLS, with FIN else.
    Closed,
    /// Cut: a reset, or on TLS an end without close_notify. What came before may be incomplete.
    Cut,
    /// By an alert.
    Alert(u8),
    /// Not at all, within the time.
    Open,
}

impl Line {
    /// A connection without TLS.
    ///
    /// # Errors
    /// The operating system's.
    pub fn plain(to: SocketAddr) -> io::Result<Line> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        prepare(&stream)?;
        Ok(Line {
            wire: Wire::Tcp(stream),
        })
    }

    /// A connection without TLS from this address.
    ///
    /// # Errors
    /// The operating system's.
    pub fn plain_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<Line> {
        let stream = dial(from, to)?;
        prepare(&stream)?;
        Ok(Line {
            wire: Wire::Tcp(stream),
        })
    }

    /// Sends text or bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_all(bytes.as_ref())?;
        self.flush()
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// As [`Answer::read`]; the end of the connection in place of an answer is `UnexpectedEof`.
    pub fn answer(&mut self) -> io::Result<Answer> {
        Answer::read(self, false)
    }

    /// Reads the answer to HEAD.
    ///
    /// # Errors
    /// As [`Line::answer`].
    pub fn answer_to_head(&mut self) -> io::Result<Answer> {
        Answer::read(self, true)
    }

    /// Reads until nothing more comes.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = match self.read_to_end(&mut bytes) {
            Ok(_) => End::Closed,
            Err(error) => end_of(&error),
        };
        (bytes, end)
    }

    /// Reads past whatever comes until the connection ends, for at most [`PATIENCE`].
    pub fn end(&mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; 16 * 1024];
        while Instant::now() < deadline {
            match self.read(&mut bytes) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return end_of(&error),
            }
        }
        End::Open
    }

    /// What was negotiated: version and application protocol.
    #[must_use]
    pub fn tls(&self) -> Option<&ClientConnection> {
        match &self.wire {
            Wire::Tcp(_) => None,
            Wire::Tls(stream) => Some(&stream.conn),
        }
    }

    /// The socket under it.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// Goes away without a word: what is on its way is lost.
    pub fn hang_up(self) {
        // A linger of zero makes closing a reset.
        let _ =
            rustix::net::sockopt::set_socket_linger(self.socket(), Some(std::time::Duration::ZERO));
    }

    /// Says that nothing more will be sent, and goes on listening.
    ///
    /// # Errors
    /// The operating system's.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
