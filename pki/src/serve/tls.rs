//! TLS of the enrolment listener: who serves, and which certificates clients may show (RFC 7030
//! section 3.3).
//!
//! A client may come without a certificate. One that it shows is of the issuing authority and for
//! clients, or the handshake ends. It may have ended: whether it is still good for something is the
//! inventory's to say, as is whether it was revoked. There is no resumption: it would skip all of this.

use std::path::Path;
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
use webpki::{EndEntityCert, KeyUsage};

use crate::authority::AuthorityCertificate;
use crate::error::Error;
use crate::files::{read_bounded, read_secret};
use crate::inspect::Inspected;
use crate::key::MAX_KEY_FILE_OCTETS;
use crate::pem::MAX_CERTIFICATE_FILE_OCTETS;

/// The configuration of the listener, with `chain.pem` and `key.pem` of `directory` as its own.
pub(crate) fn configuration(
    directory: &Path,
    issuing: &AuthorityCertificate,
) -> Result<Arc<ServerConfig>, Error> {
    let path = directory.join("chain.pem");
    let pem = read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
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
        EndEntityCert::try_from(end_entity)
            .map_err(refused)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &[anchor],
                &[],
                at,
                KeyUsage::client_auth(),
                None,
                None,
            )
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
