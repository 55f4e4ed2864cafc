//! What `sign` and `verify` are given: files with a bound, keys and certificates out of them, and what a
//! person reads when that is not so.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use integrity::{JwkSet, KeyError, SigningKey, VerifyingKey};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::capture::curl::CurlError;
use crate::capture::fields::SignError;
use crate::capture::text::{Odd, TextError};
use crate::digest::sha256;

/// No message is larger, bytes.
const MESSAGE: usize = 64 * 1024 * 1024;

/// No file with keys or certificates is larger, bytes.
const KEYS: usize = 64 * 1024;

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// A file cannot be read.
    Unread { path: PathBuf, error: io::Error },
    /// A file is larger than anything that it could be.
    TooLarge { path: PathBuf, limit: usize },
    /// A file holds no such thing.
    None { path: PathBuf, wanted: Wanted },
    /// A key is none that can be used.
    Key { path: PathBuf, error: KeyError },
    /// The certificate is of another key.
    OtherKey { certificate: PathBuf },
    /// A text is no message.
    Text { path: PathBuf, error: TextError },
    /// The content of a request is not what its head says.
    Odd { path: PathBuf, odd: Odd },
    /// A command line of curl cannot be signed.
    Curl(CurlError),
    /// No signature can be made.
    Sign(SignError),
    /// A component is none.
    Component {
        name: String,
        error: integrity::Error,
    },
    /// The time at which a signature ends is beyond all time.
    Expires,
    /// The operating system has no randomness.
    Random,
    /// It is not said which key is meant, or how it is named.
    Missing(Missing),
    /// Standard input is asked for twice.
    TwiceStandardInput,
}

/// What a file should hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// `PRIVATE KEY`.
    PrivateKey { is_encrypted: bool },
    /// `PUBLIC KEY`.
    PublicKey,
    /// `CERTIFICATE`.
    Certificate,
}

/// What is not said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Missing {
    /// The key.
    Key,
    /// A certificate, or the name of the key.
    KeyId,
}

/// What the path of standard input is.
pub(super) const STANDARD_INPUT: &str = "-";

/// The bytes of a message, or of content that a command line names.
pub(super) fn message(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if path == Path::new(STANDARD_INPUT) {
        take(io::stdin().lock(), MESSAGE, path, &mut bytes)?;
    } else {
        let file = File::open(path).map_err(|error| unread(path, error))?;
        take(file, MESSAGE, path, &mut bytes)?;
    }
    Ok(bytes)
}

/// The private key in a PEM file.
pub(super) fn private_key(path: &Path) -> Result<SigningKey, Failure> {
    let bytes = keys(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes);
    let key = Zeroizing::new(key.map_err(|_| {
        let encrypted: &[u8] = b"ENCRYPTED PRIVATE KEY";
        let is_encrypted = bytes.windows(encrypted.len()).any(|part| part == encrypted);
        none(path, Wanted::PrivateKey { is_encrypted })
    })?);
    SigningKey::from_pkcs8(key.secret_pkcs8_der()).map_err(|error| unusable(path, error))
}

/// The public key in a PEM file.
pub(super) fn public_key(path: &Path) -> Result<VerifyingKey, Failure> {
    let bytes = keys(path)?;
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
    let spki = spki.map_err(|_: pem::Error| none(path, Wanted::PublicKey))?;
    VerifyingKey::from_spki(&spki).map_err(|error| unusable(path, error))
}

/// The key of the first certificate in a PEM file, and the name that a gateway knows it by: base64url of
/// the SHA-256 of the certificate (RFC 8705 3.1, `x5t#S256`).
pub(super) fn certificate(path: &Path) -> Result<(VerifyingKey, String), Failure> {
    let bytes = keys(path)?;
    let none = || none(path, Wanted::Certificate);
    let der = CertificateDer::from_pem_slice(&bytes).map_err(|_| none())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| none())?;
    let key = VerifyingKey::from_spki(certificate.public_key().raw);
    let key = key.map_err(|error| unusable(path, error))?;
    Ok((key, URL_SAFE_NO_PAD.encode(sha256(&der))))
}

/// The keys of a JWK set.
pub(super) fn jwks(path: &Path) -> Result<JwkSet, Failure> {
    JwkSet::parse(&keys(path)?).map_err(|error| unusable(path, error))
}

/// A file of keys: some are secret, so what was read is overwritten.
fn keys(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let file = File::open(path).map_err(|error| unread(path, error))?;
    // Sized ahead, so that no half of it is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEYS + 64));
    take(file, KEYS, path, &mut bytes)?;
    Ok(bytes)
}

fn take(
    from: impl io::Read,
    limit: usize,
    path: &Path,
    bytes: &mut Vec<u8>,
) -> Result<(), Failure> {
    let read = from.take(limit as u64 + 1).read_to_end(bytes);
    read.map_err(|error| unread(path, error))?;
    if bytes.len() > limit {
        let path = path.to_owned();
        return Err(Failure::TooLarge { path, limit });
    }
    Ok(())
}

fn unread(path: &Path, error: io::Error) -> Failure {
    let path = path.to_owned();
    Failure::Unread { path, error }
}

fn none(path: &Path, wanted: Wanted) -> Failure {
    let path = path.to_owned();
    Failure::None { path, wanted }
}

fn unusable(path: &Path, error: KeyError) -> Failure {
    let path = path.to_owned();
    Failure::Key { path, error }
}

impl Failure {
    /// Tells it. What stands on the command line alone is wrong usage.
    pub(super) fn report(&self) -> ExitCode {
        let hint = self.hint();
        match self {
            Failure::Curl(CurlError::File { .. })
            | Failure::Unread { .. }
            | Failure::TooLarge { .. }
            | Failure::None { .. }
            | Failure::Key { .. }
            | Failure::OtherKey { .. }
            | Failure::Text { .. }
            | Failure::Odd { .. }
            | Failure::Sign(SignError::Digest(_) | SignError::Signature(_))
            | Failure::Random => terminal::fail(self, Some(hint)),
            Failure::Curl(_)
            | Failure::Sign(SignError::Wish(_))
            | Failure::Component { .. }
            | Failure::Expires
            | Failure::Missing(_)
            | Failure::TwiceStandardInput => terminal::misused(self, hint),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Failure::Unread { .. } => "check the path, and who may read it",
            Failure::TooLarge { .. } => "check that it is the right file",
            Failure::None { wanted, .. } => match wanted {
                Wanted::PrivateKey { is_encrypted: true } => {
                    "it is encrypted: openssl pkey -in KEY -out PLAIN decrypts it"
                }
                Wanted::PrivateKey {
                    is_encrypted: false,
                } => "openssl pkcs8 -topk8 -nodes -in KEY -out KEY.pem writes PKCS#8",
                Wanted::PublicKey => "openssl pkey -in KEY -pubout writes one",
                Wanted::Certificate => "openssl x509 -in FILE -out FILE.pem converts DER",
            },
            Failure::Key { error, .. } => error.hint(),
            Failure::OtherKey { .. } => "name the certificate that was issued for this key",
            Failure::Text { error, .. } => error.hint(),
            Failure::Odd { .. } => "correct the field, or take it out: it is made anew",
            Failure::Curl(error) => error.hint(),
            Failure::Sign(error) => error.hint(),
            Failure::Component { error, .. } => error.hint(),
            Failure::Expires => "such as --expires-in 300",
            Failure::Random => "look at what the kernel's log says",
            Failure::Missing(Missing::Key) => "add --key FILE",
            Failure::Missing(Missing::KeyId) => {
                "add --cert CERT or --keyid NAME, or --cert of curl"
            }
            Failure::TwiceStandardInput => "name a file for one of them",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unread { path, error } => {
                write!(f, "cannot read {}: {error}", named(path))
            }
            Failure::TooLarge { path, limit } => {
                write!(f, "{} is larger than {limit} bytes", named(path))
            }
            Failure::None { path, wanted } => {
                let wanted = match wanted {
                    Wanted::PrivateKey { .. } => "PRIVATE KEY",
                    Wanted::PublicKey => "PUBLIC KEY",
                    Wanted::Certificate => "certificate",
                };
                write!(f, "{} holds no {wanted} in PEM form", named(path))
            }
            Failure::Key { path, error } => write!(f, "{}: {error}", named(path)),
            Failure::OtherKey { certificate } => write!(
                f,
                "{} is the certificate of another key",
                certificate.display()
            ),
            Failure::Text { path, error } => write!(f, "{}: {error}", named(path)),
            Failure::Odd { path, odd } => write!(f, "{}: {odd}", named(path)),
            Failure::Curl(error) => error.fmt(f),
            Failure::Sign(error) => error.fmt(f),
            Failure::Component { name, error } => write!(f, "--covers {name}: {error}"),
            Failure::Expires => f.write_str("--expires-in leads beyond all time"),
            Failure::Random => f.write_str("there is no randomness for a nonce"),
            Failure::Missing(Missing::Key) => f.write_str("no key is named"),
            Failure::Missing(Missing::KeyId) => {
                f.write_str("neither a certificate nor a name of the key is given")
            }
            Failure::TwiceStandardInput => f.write_str("standard input is asked for twice"),
        }
    }
}

/// A path as it is called in a message.
fn named(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
