//! TLS of the enrolment listener: who serves, and which certificates clients may show (RFC 7030
//! section 3.3).
//!
//! The server's own certificate is read again when it changed, and at SIGHUP: `pki renew` replaces it.
//!
//! A client may come without a certificate. One that it shows is of the issuing authority, or the handshake
//! ends. A server may show its own, to get the next one. It may have ended: whether it is still good for something is the
//! inventory's to say, as is whether it was revoked. There is no resumption: it would skip all of this.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use webpki::{EndEntityCert, KeyUsage};

use crate::authority::AuthorityCertificate;
use crate::error::Error;
use crate::files::{read_bounded, read_secret};
use crate::inspect::Inspected;
use crate::key::MAX_KEY_FILE_OCTETS;
use crate::pem::MAX_CERTIFICATE_FILE_OCTETS;

/// Who the listener is: `chain.pem` and `key.pem` of a directory, as they were last found good.
pub(crate) struct Identity {
    directory: PathBuf,
    issuing: AuthorityCertificate,
    /// The chain in force, in PEM.
    chain: Vec<u8>,
    acceptor: watch::Sender<TlsAcceptor>,
}

impl Identity {
    pub(crate) fn load(directory: &Path, issuing: &AuthorityCertificate) -> Result<Self, Error> {
        let chain = read_chain(directory)?;
        let configuration = configuration(directory, &chain, issuing)?;
        Ok(Self {
            directory: directory.to_owned(),
            issuing: issuing.clone(),
            chain,
            acceptor: watch::channel(TlsAcceptor::from(configuration)).0,
        })
    }

    /// What connections begin with, as it is now and will be.
    pub(crate) fn acceptor(&self) -> watch::Receiver<TlsAcceptor> {
        self.acceptor.subscribe()
    }

    /// Takes what is in the directory now, if it is another chain than before. Returns whether it was.
    ///
    /// What is no good leaves the last one in force: a key and a chain that do not belong together are replaced one
    /// after the other, most likely.
    pub(crate) fn look(&mut self) -> Result<bool, Error> {
        let chain = read_chain(&self.directory)?;
        if chain == self.chain {
            return Ok(false);
        }
        let configuration = configuration(&self.directory, &chain, &self.issuing)?;
        self.chain = chain;
        self.acceptor.send_replace(TlsAcceptor::from(configuration));
        Ok(true)
    }
}

fn read_chain(directory: &Path) -> Result<Vec<u8>, Error> {
    let path = directory.join("chain.pem");
    Ok(read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?)
}

fn configuration(
    directory: &Path,
    pem: &[u8],
    issuing: &AuthorityCertificate,
) -> Result<Arc<ServerConfig>, Error> {
    let path = directory.join("chain.pem");
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::NoCertificate { path: path.clone() })?;
    let secret = read_secret(&directory.join("key.pem"), MAX_KEY_FILE_OCTETS)?;
    let key = PrivateKeyDer::from_pem_slice(&secret)
        .map_err(|_| unusable("key.pem holds no key in PEM"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = Clients {
        issuing: issuing.clone(),
        provider: Arc::clone(&provider),
    };
    let mut configuration = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS"))?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)
        .map_err(|_| unusable("chain.pem and key.pem do not belong together"))?;
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}

fn unusable(what: &str) -> Error {
    Error::Server {
        source: std::io::Error::other(what.to_owned()),
    }
}

/// Judges the certificates of clients.
#[derive(Debug)]
struct Clients {
    issuing: AuthorityCertificate,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let refused = |_| TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let anchor = webpki::anchor_from_trusted_cert(self.issuing.der()).map_err(refused)?;
        let inspected = Inspected::read(end_entity)
            .ok_or(TlsError::InvalidCertificate(CertificateError::BadEncoding))?;
        // As on the last second of its life, if that is over.
        let ends = inspected.validity.not_after.as_second().unsigned_abs();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().min(ends)));
        let end_entity = EndEntityCert::try_from(end_entity).map_err(refused)?;
        let is_for = |usage| {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let anchors = std::slice::from_ref(&anchor);
            end_entity.verify_for_usage(algorithms, anchors, &[], at, usage, None, None)
        };
        // What it gets is a certificate for servers again, whatever it is taken for here.
        is_for(KeyUsage::client_auth())
            .or_else(|_| is_for(KeyUsage::server_auth()))
            .map_err(refused)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
