//! Certificates of the gateway itself, judged by what they are for: shown to clients by a listener, or
//! to an upstream as proof of who we are.

use std::fmt;
use std::sync::Arc;

use config::CertificateName;
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hosts::Hosts;
use crate::identity::CertificateFacts;

/// A certificate of the gateway with its key, and the names that it is good for.
#[derive(Debug)]
pub struct OwnCertificate {
    name: CertificateName,
    certified: Arc<CertifiedKey>,
    fingerprint: [u8; 32],
    hosts: Arc<Hosts>,
    /// Whether it is meant for servers, and for clients (RFC 5280 4.2.1.12).
    serves: bool,
    proves: bool,
    not_after: i64,
}

impl OwnCertificate {
    /// Judges a chain and its key. `now` in seconds since 1970.
    pub fn judge(
        name: CertificateName,
        certified: CertifiedKey,
        now: i64,
    ) -> Result<OwnCertificate, OwnFault> {
        let Some(leaf) = certified.cert.first() else {
            return Err(OwnFault::Empty);
        };
        let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
            return Err(OwnFault::Malformed);
        };
        // webpki is what the other side's judgment will be like.
        EndEntityCert::try_from(leaf).map_err(|_| OwnFault::Malformed)?;
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                return Err(OwnFault::KeyUnknown);
            }
            Err(_) => return Err(OwnFault::KeyMismatch),
        }
        if certificate.is_ca() {
            return Err(OwnFault::Authority);
        }
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() {
            return Err(OwnFault::Expired {
                not_after: validity.not_after.timestamp(),
            });
        }
        if now < validity.not_before.timestamp() {
            return Err(OwnFault::NotYetValid {
                not_before: validity.not_before.timestamp(),
            });
        }
        let fingerprint = CertificateFacts::read(leaf).fingerprint;
        let (serves, proves) = match certificate.extended_key_usage() {
            Ok(Some(usage)) => {
                let usage = usage.value;
                (
                    usage.server_auth || usage.any,
                    usage.client_auth || usage.any,
                )
            }
            Ok(None) => (true, true),
            Err(_) => return Err(OwnFault::Malformed),
        };
        let not_after = validity.not_after.timestamp();
        Ok(OwnCertificate {
            name,
            fingerprint,
            hosts: Arc::new(Hosts::of(&certificate)),
            serves,
            proves,
            not_after,
            certified: Arc::new(certified),
        })
    }

    /// Whether it can be shown to clients of a listener.
    pub fn check_serves(&self) -> Result<(), OwnFault> {
        if !self.serves {
            return Err(OwnFault::NotForServers);
        }
        if self.hosts.is_empty() {
            return Err(OwnFault::NoName);
        }
        Ok(())
    }

    /// Whether it can prove to an upstream who we are.
    pub fn check_proves(&self) -> Result<(), OwnFault> {
        if self.proves {
            Ok(())
        } else {
            Err(OwnFault::NotForClients)
        }
    }

    /// The chain and its key.
    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &CertificateName {
        &self.name
    }

    /// SHA-256 of its leaf.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// End of its validity, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The hosts that its certificate is good for.
    pub fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }
}

/// Why a certificate of the gateway cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnFault {
    /// The chain holds no certificate.
    Empty,
    /// The leaf cannot be read.
    Malformed,
    /// The key is not the one in the leaf.
    KeyMismatch,
    /// Whether it is cannot be told.
    KeyUnknown,
    /// The leaf is the certificate of an authority.
    Authority,
    /// The leaf is not meant for servers.
    NotForServers,
    /// The leaf is not meant for clients, which is what the gateway is to an upstream.
    NotForClients,
    /// The leaf has expired.
    Expired {
        /// When, seconds since 1970.
        not_after: i64,
    },
    /// The leaf is not valid yet.
    NotYetValid {
        /// From when on it is, seconds since 1970.
        not_before: i64,
    },
    /// The leaf names no host.
    NoName,
}

impl fmt::Display for OwnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |seconds: i64| audit::event::Time::from_unix_seconds(seconds);
        match self {
            OwnFault::Empty => f.write_str("there is no certificate in it"),
            OwnFault::Malformed => f.write_str("its first certificate is not well-formed"),
            OwnFault::KeyMismatch => {
                f.write_str("the key does not belong to its first certificate")
            }
            OwnFault::KeyUnknown => {
                f.write_str("it cannot be told whether the key belongs to its first certificate")
            }
            OwnFault::Authority => {
                f.write_str("its first certificate is that of an authority; the leaf comes first")
            }
            OwnFault::NotForServers => {
                f.write_str("its first certificate is not meant for servers (extended key usage)")
            }
            OwnFault::NotForClients => {
                f.write_str("its first certificate is not meant for clients (extended key usage)")
            }
            OwnFault::Expired { not_after } => {
                write!(f, "its first certificate expired at {}", date(*not_after))
            }
            OwnFault::NotYetValid { not_before } => write!(
                f,
                "its first certificate is not valid before {}",
                date(*not_before)
            ),
            OwnFault::NoName => {
                f.write_str("its first certificate names no host (subject alternative name)")
            }
        }
    }
}
