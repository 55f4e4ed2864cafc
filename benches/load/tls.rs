//! The TLS side of the generator: TLS 1.3 with one cipher suite and one group offered, so that two
//! servers are measured at the same work, and one client configuration for each identity.
//!
//! The server's certificate is verified as any client does (rustls-webpki, against the given root
//! alone). What this file does not do: no TLS 1.2, and no client without a certificate.

use crate::fault::Fault;
use crate::loopback::Loopback;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore};
use std::cell::Cell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Identities in a directory, at most.
const MAX_IDENTITIES: usize = 100_000;

/// Bytes of a PEM file, at most.
const MAX_PEM: u64 = 256 * 1024;

/// Tickets that are kept for one identity.
const TICKETS: usize = 1024;

/// A connection on which the handshake is complete. The buffer below TLS spares system calls: on
/// its own rustls takes 4 KiB at a time.
pub(crate) type Stream = tokio_rustls::client::TlsStream<BufReader<TcpStream>>;

/// The key exchange that is offered (RFC 8446 4.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// RFC 8446 7.4.2.
    X25519,
    /// Hybrid with ML-KEM-768 (FIPS 203).
    X25519mlkem768,
    /// secp256r1.
    P256,
}

/// The cipher suite that is offered (RFC 8446 B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Suite {
    /// `TLS_AES_128_GCM_SHA256`.
    Aes128,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256,
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    Chacha20,
}

/// The application protocol that is offered (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

/// Where the certificates of the clients are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identities {
    /// One client.
    One {
        /// The certificate and its issuers, PEM.
        chain: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
    /// One client for each folder, with `chain.pem` and `key.pem` as `pki issue --out` writes them.
    Folders(PathBuf),
}

/// What is offered in every handshake of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The one group.
    pub(crate) group: Group,
    /// The one cipher suite.
    pub(crate) suite: Suite,
    /// The one application protocol.
    pub(crate) protocol: Protocol,
    /// Whether tickets are kept and used.
    pub(crate) resume: bool,
}

/// Opens connections, as one identity after the other.
#[derive(Debug)]
pub(crate) struct Connector {
    to: Loopback,
    server_name: ServerName<'static>,
    protocol: Protocol,
    clients: Vec<Arc<ClientConfig>>,
    next: Cell<usize>,
    read_buffer: usize,
}

/// Why there is nothing to connect with.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file is longer than any certificate chain or key.
    TooLong(PathBuf),
    /// A file is not well-formed PEM, or holds nothing of the kind.
    Pem {
        /// Which.
        file: PathBuf,
        /// What should stand in it.
        wanted: &'static str,
        /// What is wrong.
        error: pem::Error,
    },
    /// No folder in a directory holds an identity.
    NoIdentity(PathBuf),
    /// A directory holds more than `MAX_IDENTITIES`.
    TooManyIdentities(PathBuf),
    /// rustls does not take the root.
    Root {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: rustls::client::VerifierBuilderError,
    },
    /// rustls does not take a certificate, or it does not fit its key.
    Config {
        /// The file of what was not taken.
        file: PathBuf,
        /// Why not.
        error: rustls::Error,
    },
}

impl Connector {
    /// Reads the root and the identities. `read_buffer` is the size in bytes of what is read from
    /// a socket at once.
    pub(crate) fn new(
        to: Loopback,
        server_name: ServerName<'static>,
        ca: &Path,
        identities: &Identities,
        offer: Offer,
        read_buffer: usize,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(offer));
        let verifier = verifier(ca, &provider)?;
        let clients = identities
            .files()?
            .iter()
            .map(|(chain, key)| client(&provider, &verifier, chain, key, offer))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            to,
            server_name,
            protocol: offer.protocol,
            clients,
            next: Cell::new(0),
            read_buffer,
        })
    }

    /// How many identities there are.
    pub(crate) fn identities(&self) -> usize {
        self.clients.len()
    }

    /// A new connection, as the identity whose turn it is.
    pub(crate) async fn connect(&self) -> Result<Stream, Fault> {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.clients.len());
        let tcp = TcpStream::connect(self.to.address())
            .await
            .map_err(Fault::Connect)?;
        tcp.set_nodelay(true).map_err(Fault::Connect)?;
        let tcp = BufReader::with_capacity(self.read_buffer, tcp);
        let stream = TlsConnector::from(Arc::clone(&self.clients[turn]))
            .connect(self.server_name.clone(), tcp)
            .await
            .map_err(Fault::Handshake)?;
        self.judge_protocol(&stream)?;
        Ok(stream)
    }

    /// A server that chooses none speaks HTTP/1.1; HTTP/2 must be chosen (RFC 9113 3.2).
    fn judge_protocol(&self, stream: &Stream) -> Result<(), Fault> {
        let chosen = stream.get_ref().1.alpn_protocol();
        let wanted = self.protocol.name();
        match (self.protocol, chosen) {
            (Protocol::Http1, None) => Ok(()),
            (_, Some(chosen)) if chosen == wanted.as_bytes() => Ok(()),
            (_, Some(_)) | (Protocol::Http2, None) => Err(Fault::Protocol { wanted }),
        }
    }
}

/// Whether the handshake of this connection was a resumed one.
pub(crate) fn is_resumed(stream: &Stream) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

impl Protocol {
    /// Its name in ALPN.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

impl Identities {
    /// The chain and the key of each.
    fn files(&self) -> Result<Vec<(PathBuf, PathBuf)>, TlsError> {
        let directory = match self {
            Self::One { chain, key } => return Ok(vec![(chain.clone(), key.clone())]),
            Self::Folders(directory) => directory,
        };
        let unreadable = |error| TlsError::Unreadable {
            file: directory.clone(),
            error,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let folder = entry.map_err(unreadable)?.path();
            let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
            if chain.is_file() && key.is_file() {
                found.push((chain, key));
            }
            if found.len() > MAX_IDENTITIES {
                return Err(TlsError::TooManyIdentities(directory.clone()));
            }
        }
        if found.is_empty() {
            return Err(TlsError::NoIdentity(directory.clone()));
        }
        found.sort();
        Ok(found)
    }
}

fn provider(offer: Offer) -> CryptoProvider {
    let group: &'static dyn SupportedKxGroup = match offer.group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::X25519mlkem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        Group::P256 => aws_lc_rs::kx_group::SECP256R1,
    };
    let suite = match offer.suite {
        Suite::Aes128 => CipherSuite::TLS13_AES_128_GCM_SHA256,
        Suite::Aes256 => CipherSuite::TLS13_AES_256_GCM_SHA384,
        Suite::Chacha20 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![group];
    provider
        .cipher_suites
        .retain(|known| known.suite() == suite);
    provider
}

fn verifier(
    ca: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(|error| TlsError::Config {
            file: ca.to_owned(),
            error,
        })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TlsError::Root {
            file: ca.to_owned(),
            error,
        })
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<WebPkiServerVerifier>,
    chain: &Path,
    key: &Path,
    offer: Offer,
) -> Result<Arc<ClientConfig>, TlsError> {
    let refused = |file: &Path| {
        let file = file.to_owned();
        move |error| TlsError::Config { file, error }
    };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(refused(chain))?
        .with_webpki_verifier(Arc::clone(verifier))
        .with_client_auth_cert(certificates(chain)?, private_key(key)?)
        .map_err(refused(key))?;
    config.alpn_protocols = vec![offer.protocol.name().into()];
    config.resumption = if offer.resume {
        Resumption::in_memory_sessions(TICKETS)
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad_pem(file, "a certificate", error))?;
    if found.is_empty() {
        return Err(bad_pem(file, "a certificate", pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|error| bad_pem(file, "a private key", error))
}

fn bad_pem(file: &Path, wanted: &'static str, error: pem::Error) -> TlsError {
    TlsError::Pem {
        file: file.to_owned(),
        wanted,
        error,
    }
}

/// The bytes of a file, which may hold a key.
fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        file: file.to_owned(),
        error,
    };
    let opened = File::open(file).map_err(unreadable)?;
    let length = opened.metadata().map_err(unreadable)?.len();
    // Sized ahead, so that no half of a key is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(length.min(MAX_PEM)).unwrap_or_default() + 64,
    ));
    opened
        .take(MAX_PEM + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_PEM {
        return Err(TlsError::TooLong(file.to_owned()));
    }
    Ok(bytes)
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                write!(f, "cannot read {}: {error}", file.display())
            }
            Self::TooLong(file) => {
                write!(f, "{} is longer than {MAX_PEM} bytes", file.display())
            }
            Self::Pem {
                file,
                wanted,
                error: pem::Error::NoItemsFound,
            } => write!(f, "{} holds no PEM of {wanted}", file.display()),
            Self::Pem { file, .. } => write!(f, "{} is not well-formed PEM", file.display()),
            Self::NoIdentity(directory) => write!(
                f,
                "no folder in {} holds chain.pem and key.pem",
                directory.display()
            ),
            Self::TooManyIdentities(directory) => write!(
                f,
                "{} holds more than {MAX_IDENTITIES} identities",
                directory.display()
            ),
            Self::Root { file, error } => {
                write!(f, "{} cannot be a root: {error}", file.display())
            }
            Self::Config { file, error } => {
                write!(f, "{} cannot be used: {error}", file.display())
            }
        }
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(directory: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = directory.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn connector(
        directory: &Path,
        ca: &str,
        identities: &Identities,
    ) -> Result<Connector, TlsError> {
        Connector::new(
            "127.0.0.1:1".parse().unwrap(),
            "localhost".try_into().unwrap(),
            &directory.join(ca),
            identities,
            Offer {
                group: Group::X25519,
                suite: Suite::Aes128,
                protocol: Protocol::Http1,
                resume: false,
            },
            4096,
        )
    }

    #[test]
    fn each_folder_with_a_chain_and_a_key_is_an_identity() {
        let directory = tempfile::tempdir().unwrap();
        identity(directory.path(), "a");
        identity(directory.path(), "b");
        fs::create_dir(directory.path().join("empty")).unwrap();
        let folders = Identities::Folders(directory.path().to_owned());
        let made = connector(directory.path(), "a/chain.pem", &folders).unwrap();
        assert_eq!(made.identities(), 2);
    }

    #[test]
    fn a_key_that_does_not_fit_its_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        identity(directory.path(), "a");
        identity(directory.path(), "b");
        let crossed = Identities::One {
            chain: directory.path().join("a/chain.pem"),
            key: directory.path().join("b/key.pem"),
        };
        let error = connector(directory.path(), "a/chain.pem", &crossed).unwrap_err();
        assert!(matches!(error, TlsError::Config { .. }), "{error}");
        assert!(error.to_string().contains("key.pem"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        identity(directory.path(), "a");
        fs::create_dir(directory.path().join("none")).unwrap();
        fs::write(directory.path().join("long"), vec![b'a'; 300 * 1024]).unwrap();
        let one = |chain: &str, key: &str| Identities::One {
            chain: directory.path().join(chain),
            key: directory.path().join(key),
        };
        let folders = |name: &str| Identities::Folders(directory.path().join(name));
        let rows = [
            (
                "a/key.pem",
                one("a/chain.pem", "a/key.pem"),
                "no PEM of a certificate",
            ),
            ("missing", one("a/chain.pem", "a/key.pem"), "cannot read"),
            (
                "a/chain.pem",
                one("a/chain.pem", "a/chain.pem"),
                "no PEM of a private key",
            ),
            ("a/chain.pem", one("long", "a/key.pem"), "longer than"),
            ("a/chain.pem", folders("none"), "no folder"),
            ("a/chain.pem", folders("missing"), "cannot read"),
        ];
        for (ca, identities, words) in rows {
            let error = connector(directory.path(), ca, &identities).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn exactly_one_suite_and_one_group_are_offered() {
        use clap::ValueEnum as _;
        for &group in Group::value_variants() {
            for &suite in Suite::value_variants() {
                let provider = provider(Offer {
                    group,
                    suite,
                    protocol: Protocol::Http2,
                    resume: true,
                });
                assert_eq!(provider.kx_groups.len(), 1);
                assert_eq!(provider.cipher_suites.len(), 1);
            }
        }
    }
}
