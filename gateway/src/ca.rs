//! Certificates of authorities, judged before anything is believed because of them.
//!
//! To webpki a configured root is a name and a key and nothing else; whether the file held a
//! certificate authority at all is asked here, when it is loaded. Standard: RFC 5280 4.2.1.3,
//! 4.2.1.9, 6.1. No file, no clock: bytes and the time come as arguments.
//!
//! Fails closed: a certificate that does not pass is an error, never left out.

use std::fmt;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::IssuerKey;

/// The certificate of an authority that may sign others.
#[derive(Debug, Clone)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    key: IssuerKey,
    subject: Box<str>,
    signs_lists: bool,
    not_after: i64,
}

impl CaCertificate {
    /// Judges a certificate. `now` in seconds since 1970.
    pub fn judge(der: &CertificateDer<'_>, now: i64) -> Result<CaCertificate, CaFault> {
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(CaFault::Malformed);
        };
        for check in CHECKS {
            (check.judge)(&certificate, now)?;
        }
        let key_usage = certificate.key_usage().ok().flatten();
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_| CaFault::Malformed)?;
        Ok(CaCertificate {
            anchor: anchor.to_owned(),
            key: IssuerKey::of(certificate.public_key().raw),
            subject: certificate.subject().to_string().into(),
            signs_lists: key_usage.is_none_or(|usage| usage.value.crl_sign()),
            not_after: certificate.validity().not_after.timestamp(),
            der: der.clone().into_owned(),
        })
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The same as webpki takes a root.
    pub fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// What its signatures are filed under.
    pub fn key(&self) -> IssuerKey {
        self.key
    }

    /// Its name, for messages.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether it may sign revocation lists (RFC 5280 4.2.1.3).
    pub fn signs_lists(&self) -> bool {
        self.signs_lists
    }

    /// End of its validity, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// One thing that must hold of an authority's certificate.
struct Check {
    judge: fn(&X509Certificate<'_>, i64) -> Result<(), CaFault>,
    #[expect(dead_code, reason = "the citation is for readers")]
    citation: &'static str,
}

#[rustfmt::skip]
const CHECKS: &[Check] = &[
    Check { judge: is_version_3,       citation: "RFC 5280 4.1.2.1: extensions need version 3" },
    Check { judge: is_authority,       citation: "RFC 5280 4.2.1.9: CA certificates assert cA" },
    Check { judge: may_sign,           citation: "RFC 5280 4.2.1.3: and keyCertSign, when key usage is present" },
    Check { judge: is_understood,      citation: "RFC 5280 4.2: an unknown critical extension refuses the certificate" },
    Check { judge: is_in_date,         citation: "RFC 5280 6.1.3 (a)(2)" },
];

fn is_version_3(certificate: &X509Certificate<'_>, _: i64) -> Result<(), CaFault> {
    if certificate.version().0 == 2 {
        Ok(())
    } else {
        Err(CaFault::Version)
    }
}

fn is_authority(certificate: &X509Certificate<'_>, _: i64) -> Result<(), CaFault> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => Ok(()),
        Ok(_) => Err(CaFault::NotAnAuthority),
        Err(_) => Err(CaFault::Malformed),
    }
}

fn may_sign(certificate: &X509Certificate<'_>, _: i64) -> Result<(), CaFault> {
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Err(CaFault::MayNotSign),
        Ok(_) => Ok(()),
        Err(_) => Err(CaFault::Malformed),
    }
}

fn is_understood(certificate: &X509Certificate<'_>, _: i64) -> Result<(), CaFault> {
    use x509_parser::oid_registry as oid;
    // What webpki reads, and so acts upon, when it is critical.
    let known = [
        oid::OID_X509_EXT_BASIC_CONSTRAINTS,
        oid::OID_X509_EXT_KEY_USAGE,
        oid::OID_X509_EXT_EXTENDED_KEY_USAGE,
        oid::OID_X509_EXT_NAME_CONSTRAINTS,
        oid::OID_X509_EXT_SUBJECT_ALT_NAME,
    ];
    match certificate
        .extensions()
        .iter()
        .find(|extension| extension.critical && !known.contains(&extension.oid))
    {
        Some(extension) => Err(CaFault::UnknownCritical {
            oid: extension.oid.to_id_string().into(),
        }),
        None => Ok(()),
    }
}

fn is_in_date(certificate: &X509Certificate<'_>, now: i64) -> Result<(), CaFault> {
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CaFault::NotYetValid {
            not_before: validity.not_before.timestamp(),
        });
    }
    if now > validity.not_after.timestamp() {
        return Err(CaFault::Expired {
            not_after: validity.not_after.timestamp(),
        });
    }
    Ok(())
}

/// Why a certificate is not one of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaFault {
    /// It cannot be read.
    Malformed,
    /// It is of an old version that cannot say what it is for.
    Version,
    /// It is the certificate of something else, such as a server.
    NotAnAuthority,
    /// Its key usage does not let it sign certificates.
    MayNotSign,
    /// It holds a critical extension that is not understood.
    UnknownCritical {
        /// Which.
        oid: Box<str>,
    },
    /// It is not valid yet.
    NotYetValid {
        /// From when on it is, seconds since 1970.
        not_before: i64,
    },
    /// It has expired.
    Expired {
        /// When, seconds since 1970.
        not_after: i64,
    },
}

impl fmt::Display for CaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |seconds: i64| audit::event::Time::from_unix_seconds(seconds);
        match self {
            CaFault::Malformed => f.write_str("it is not a well-formed certificate"),
            CaFault::Version => f.write_str("it is not an X.509 version 3 certificate"),
            CaFault::NotAnAuthority => f.write_str(
                "it is not the certificate of an authority (basic constraints do not say CA)",
            ),
            CaFault::MayNotSign => f.write_str("its key usage does not let it sign certificates"),
            CaFault::UnknownCritical { oid } => {
                write!(f, "its critical extension {oid} is not understood")
            }
            CaFault::NotYetValid { not_before } => {
                write!(f, "it is not valid before {}", date(*not_before))
            }
            CaFault::Expired { not_after } => {
                write!(f, "it expired at {}", date(*not_after))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, KeyUsagePurpose,
    };

    const NOW: i64 = 1_800_000_000;

    fn judge(change: impl FnOnce(&mut CertificateParams)) -> Result<CaCertificate, CaFault> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        change(&mut params);
        CaCertificate::judge(
            params
                .self_signed(&KeyPair::generate().unwrap())
                .unwrap()
                .der(),
            NOW,
        )
    }

    #[test]
    fn an_authority_passes_and_says_whether_it_signs_lists() {
        assert!(judge(|_| ()).unwrap().signs_lists());
        assert!(
            !judge(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign])
                .unwrap()
                .signs_lists()
        );
        assert!(
            judge(|params| params.key_usages = vec![])
                .unwrap()
                .signs_lists()
        );
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        assert_eq!(
            judge(|params| params.is_ca = IsCa::ExplicitNoCa).unwrap_err(),
            CaFault::NotAnAuthority
        );
        assert_eq!(
            judge(|params| params.is_ca = IsCa::NoCa).unwrap_err(),
            CaFault::NotAnAuthority
        );
        assert_eq!(
            judge(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature])
                .unwrap_err(),
            CaFault::MayNotSign
        );
        let garbage = CertificateDer::from(vec![0x30, 3, 1, 2, 3]);
        assert_eq!(
            CaCertificate::judge(&garbage, NOW).unwrap_err(),
            CaFault::Malformed
        );
    }

    #[test]
    fn an_authority_out_of_date_is_refused() {
        let expired = judge(|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
        assert!(matches!(expired, Err(CaFault::Expired { .. })));
        let early = judge(|params| params.not_before = rcgen::date_time_ymd(2039, 1, 1));
        assert!(matches!(early, Err(CaFault::NotYetValid { .. })));
    }

    #[test]
    fn an_unknown_critical_extension_is_refused() {
        let refused = judge(|params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        });
        assert_eq!(
            refused.unwrap_err(),
            CaFault::UnknownCritical {
                oid: "1.2.3.4".into()
            }
        );
    }
}
