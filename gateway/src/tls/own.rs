//! Certificates of the gateway itself, judged by what they are for: shown to clients by a listener, or
//! to an upstream as proof of who we are.

use std::fmt;
use std::sync::Arc;

use config::{CertificateName, OcspUrl, Place};
use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::staple::{StapleFault, StapleSource, Staples};
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
    /// Whether it demands a staple (RFC 7633).
    must_staple: bool,
    staples: Option<Staples>,
}

/// id-pe-tlsfeature (RFC 7633 section 6).
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);

/// `status_request` (RFC 6066 section 8), as a feature that a certificate demands.
const STATUS_REQUEST: u32 = 5;

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
        let must_staple = must_staple(&certificate)?;
        Ok(OwnCertificate {
            name,
            fingerprint,
            hosts: Arc::new(Hosts::of(&certificate)),
            serves,
            proves,
            not_after,
            must_staple,
            staples: None,
            certified: Arc::new(certified),
        })
    }

    /// The same, with answers about it from there. The issuer, by whom they are judged, is the next
    /// certificate of the chain.
    pub fn with_staples(
        self,
        source: StapleSource,
        place: Place,
    ) -> Result<OwnCertificate, OwnFault> {
        let chain = &self.certified.cert;
        let (Some(leaf), Some(issuer)) = (chain.first(), chain.get(1)) else {
            return Err(OwnFault::NoIssuer);
        };
        let (Ok((_, leaf)), Ok((_, above))) = (
            X509Certificate::from_der(leaf),
            X509Certificate::from_der(issuer),
        ) else {
            return Err(OwnFault::Malformed);
        };
        if leaf.issuer().as_raw() != above.subject().as_raw() {
            return Err(OwnFault::NoIssuer);
        }
        let staples = Staples::new(source, place, issuer, leaf.raw_serial());
        let staples = Some(staples.ok_or(OwnFault::Malformed)?);
        Ok(OwnCertificate { staples, ..self })
    }

    /// Where the certificate itself says that its status is asked for (RFC 5280 section 4.2.2.1): the first
    /// URL of plain HTTP.
    pub fn responder(&self) -> Result<OcspUrl, OwnFault> {
        let leaf = self.certified.cert.first().ok_or(OwnFault::Empty)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| OwnFault::Malformed)?;
        let urls =
            leaf.extensions()
                .iter()
                .flat_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityInfoAccess(access) => access.accessdescs.as_slice(),
                    _ => &[],
                });
        urls.filter(|access| access.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP)
            .find_map(|access| match access.access_location {
                GeneralName::URI(url) => OcspUrl::parse(url).ok(),
                _ => None,
            })
            .ok_or(OwnFault::NoResponder)
    }

    /// The answers about it, if they are shown with it.
    pub fn staples(&self) -> Option<&Staples> {
        self.staples.as_ref()
    }

    /// Whether it demands that an answer is shown with it (RFC 7633).
    pub fn must_staple(&self) -> bool {
        self.must_staple
    }

    /// Judges an answer about it, and shows it from now on; see [`Staples`].
    ///
    /// # Errors
    /// [`StapleFault`]; also where nothing is shown with it.
    pub fn staple(&self, der: &[u8], now: Timestamp) -> Result<bool, StapleFault> {
        let staples = self.staples.as_ref().ok_or(StapleFault::Unknown)?;
        staples.put(der, &self.certified, now)
    }

    /// Takes over what was known of the same certificate before a reload.
    pub fn adopt(&self, previous: &OwnCertificate, now: Timestamp) {
        if previous.fingerprint == self.fingerprint
            && let (Some(ours), Some(before)) = (&self.staples, &previous.staples)
        {
            ours.adopt(before, &self.certified, now);
        }
    }

    /// What a client is shown, with the staple if there is one; nothing when the certificate demands one
    /// and there is none that holds. `now` in seconds since 1970.
    pub(super) fn shown(&self, now: i64) -> Option<Arc<CertifiedKey>> {
        let stapled = self.staples.as_ref().and_then(|it| it.certified(now));
        match (stapled, self.must_staple) {
            (Some(stapled), _) => Some(stapled),
            (None, false) => Some(Arc::clone(&self.certified)),
            (None, true) => None,
        }
    }

    /// Whether it can be shown to clients of a listener.
    pub fn check_serves(&self) -> Result<(), OwnFault> {
        if !self.serves {
            return Err(OwnFault::NotForServers);
        }
        if self.hosts.is_empty() {
            return Err(OwnFault::NoName);
        }
        if self.must_staple && self.staples.is_none() {
            return Err(OwnFault::Unstapled);
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
    /// The leaf demands a staple (RFC 7633), and nothing says where it would come from.
    Unstapled,
    /// The issuer, by whom a staple would be judged, does not stand behind the leaf.
    NoIssuer,
    /// The leaf does not say where its status is asked for.
    NoResponder,
}

fn must_staple(certificate: &X509Certificate<'_>) -> Result<bool, OwnFault> {
    let extension = certificate.get_extension_unique(&TLS_FEATURE);
    let Some(extension) = extension.map_err(|_| OwnFault::Malformed)? else {
        return Ok(false);
    };
    match Vec::<u32>::from_der(extension.value) {
        Ok(([], features)) => Ok(features.contains(&STATUS_REQUEST)),
        _ => Err(OwnFault::Malformed),
    }
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
            OwnFault::Unstapled => f.write_str(
                "its first certificate demands that an OCSP answer is shown with it (RFC 7633), and nothing says where that comes from",
            ),
            OwnFault::NoIssuer => f.write_str(
                "the issuer of its first certificate does not stand behind it, and an OCSP answer could not be judged",
            ),
            OwnFault::NoResponder => f.write_str(
                "its first certificate names no http URL where its status is asked for (authorityInfoAccess)",
            ),
        }
    }
}
