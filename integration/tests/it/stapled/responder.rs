//! OCSP answers as a test wants them, good or not, signed by an authority of the lab, and what a server staples.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use jiff::{SignedDuration, Timestamp};
use ocsp::{Answer, CertId, HashAlgorithm, Issuer, KeyHash, Status, assemble};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, alg_id};
use rustls::{ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use integration::lab::Lab;
use integration::line::Caller;
use integration::program::Program;
use integration::wait::{OrFail, PATIENCE};

/// An authority that answers for its certificates.
#[derive(Debug)]
pub(crate) struct Responder {
    issuer: CertificateDer<'static>,
    key: EcdsaKeyPair,
}

impl Responder {
    /// The authority of a lab itself.
    #[track_caller]
    pub(crate) fn of(lab: &Lab) -> Responder {
        let key = PrivateKeyDer::from_pem_file(lab.key()).or_fail("read the key of the lab");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der());
        Responder {
            issuer: CertificateDer::from_pem_file(lab.trust()).or_fail("read the root of the lab"),
            key: key.or_fail("use the key of the lab"),
        }
    }

    /// How a question names the certificate in this file.
    #[track_caller]
    pub(crate) fn named(&self, certificate: &Path) -> CertId {
        let told = Program::of_the_machine("openssl")
            .args(["x509", "-noout", "-serial", "-in"])
            .arg(certificate)
            .run()
            .expect_code(0);
        let hex = told.stdout.trim().trim_start_matches("serial=").to_owned();
        let octets = hex.as_bytes().chunks(2).map(|digits| {
            let digits = std::str::from_utf8(digits).or_fail("read a serial");
            u8::from_str_radix(digits, 16).or_fail("read a serial")
        });
        let serial: Vec<u8> = octets.collect();
        let issuer = Issuer::of_certificate(&self.issuer).or_fail("read the root of the lab");
        CertId::of(HashAlgorithm::Sha1, issuer, &serial).or_fail("name a certificate")
    }

    /// What it says of a certificate, since so many seconds ago and for so many from now.
    #[track_caller]
    pub(crate) fn says(
        &self,
        certificate: &CertId,
        status: Status,
        ago: i64,
        lasts: i64,
    ) -> Vec<u8> {
        let now = Timestamp::now();
        let issuer = Issuer::of_certificate(&self.issuer).or_fail("read the root of the lab");
        let tbs = Answer {
            certificate,
            status,
            produced_at: now - SignedDuration::from_secs(ago),
            this_update: now - SignedDuration::from_secs(ago),
            next_update: now + SignedDuration::from_secs(lasts),
        }
        .tbs(KeyHash::of(issuer.key));
        let signature = self.key.sign(&SystemRandom::new(), &tbs);
        let signature = signature.or_fail("sign an answer");
        assemble(&tbs, alg_id::ECDSA_SHA256, signature.as_ref(), &[])
    }
}

/// It was revoked a while ago.
pub(crate) fn revoked() -> Status {
    Status::Revoked {
        at: Timestamp::now() - SignedDuration::from_mins(1),
        reason: None,
    }
}

/// 200 with this answer.
pub(crate) fn over_http(answer: &[u8]) -> Vec<u8> {
    let length = answer.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), answer].concat()
}

/// What is stapled for this client, who believes whatever certificate it is shown.
///
/// # Errors
/// What the operating system or TLS says.
pub(crate) fn staple_for(caller: &Caller) -> io::Result<Option<Vec<u8>>> {
    let mut config = caller.tls();
    let watching = Arc::new(Watching {
        provider: Arc::clone(config.crypto_provider()),
        staple: OnceLock::new(),
    });
    config
        .dangerous()
        .set_certificate_verifier(Arc::clone(&watching) as Arc<dyn ServerCertVerifier>);
    let stream = TcpStream::connect_timeout(&caller.to(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("api.test").or_fail("name the server");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(watching
        .staple
        .get()
        .cloned()
        .filter(|staple| !staple.is_empty()))
}

#[derive(Debug)]
struct Watching {
    provider: Arc<CryptoProvider>,
    staple: OnceLock<Vec<u8>>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let _ = self.staple.set(staple.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
