//! One revocation list: read, and its signature verified (RFC 5280 5).

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::edition::Edition;
use super::fault::ListFault;
use super::scope::{Scope, scope};
use crate::ca::CaCertificate;
use crate::identity::{IssuerKey, Serial};

/// No list that is read is larger than this, bytes: about two million serials.
pub const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// So far may the clock of an authority be ahead of ours, seconds.
const SKEW: i64 = 300;

/// A revocation list whose signature was verified.
#[derive(Debug)]
pub struct List {
    pub(super) issuer: IssuerKey,
    pub(super) issuer_name: Box<str>,
    pub(super) scope: Scope,
    pub(super) edition: Edition,
    pub(super) next_update: i64,
    pub(super) serials: Vec<Serial>,
}

impl List {
    /// Reads a list (DER) and verifies its signature with the one of `authorities` that issued it.
    /// `now` in seconds since 1970.
    pub fn read(
        der: &[u8],
        authorities: &[&CaCertificate],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> Result<List, ListFault> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
            return Err(ListFault::Malformed);
        };
        let issuer = signer(&list, authorities, algorithms)?;
        let edition = Edition::read(&list)?;
        let this_update = edition.this_update();
        if this_update > now + SKEW {
            return Err(ListFault::FromTheFuture { this_update });
        }
        let next_update = list
            .next_update()
            .ok_or(ListFault::NoNextUpdate)?
            .timestamp();
        Ok(List {
            issuer,
            issuer_name: list.issuer().to_string().into(),
            scope: scope(&list)?,
            edition,
            next_update,
            serials: list
                .iter_revoked_certificates()
                .map(|revoked| Serial::new(revoked.raw_serial()))
                .collect(),
        })
    }

    /// Its place among the lists of its issuer and scope.
    pub fn edition(&self) -> &Edition {
        &self.edition
    }

    /// When it grows stale, seconds since 1970.
    pub fn next_update(&self) -> i64 {
        self.next_update
    }

    /// Whether both are of one issuer, and speak of the same of its certificates.
    pub fn is_about_the_same(&self, other: &List) -> bool {
        self.issuer == other.issuer && self.scope == other.scope
    }

    /// The name of its issuer, and of which of its certificates it speaks; for messages.
    pub fn subject(&self) -> String {
        format!("\"{}\" for {}", self.issuer_name, self.scope)
    }

    /// How many serials it names.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }
}

/// The authority that issued the list, with its signature verified.
fn signer(
    list: &CertificateRevocationList<'_>,
    authorities: &[&CaCertificate],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<IssuerKey, ListFault> {
    let issuer = || list.issuer().to_string().into_boxed_str();
    let named: Vec<_> = authorities
        .iter()
        .filter(|authority| has_subject(authority.der(), list.issuer().as_raw()))
        .collect();
    if named.is_empty() {
        return Err(ListFault::UnknownIssuer { issuer: issuer() });
    }
    if list.tbs_cert_list.signature != list.signature_algorithm {
        return Err(ListFault::Malformed);
    }
    let to_be_signed = list.tbs_cert_list.as_ref();
    let algorithm = signature_algorithm(list).ok_or(ListFault::Malformed)?;
    for authority in named {
        let Ok(certificate) = EndEntityCert::try_from(authority.der()) else {
            continue;
        };
        let verified = algorithms
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm)
            .any(|known| {
                certificate
                    .verify_signature(*known, to_be_signed, list.signature_value.data.as_ref())
                    .is_ok()
            });
        if verified && authority.signs_lists() {
            return Ok(authority.key());
        }
        if verified {
            return Err(ListFault::MayNotSign { issuer: issuer() });
        }
    }
    Err(ListFault::Signature { issuer: issuer() })
}

fn has_subject(certificate: &CertificateDer<'_>, name: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == name)
}

/// The content octets of the list's signature AlgorithmIdentifier, as `webpki` compares them.
fn signature_algorithm<'a>(list: &CertificateRevocationList<'a>) -> Option<&'a [u8]> {
    let (_, whole) = Any::from_der(list.as_raw()).ok()?;
    let behind = whole.data.get(list.tbs_cert_list.as_ref().len()..)?;
    let (_, algorithm) = Any::from_der(behind).ok()?;
    Some(algorithm.data)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyUsagePurpose, date_time_ymd};

    use super::super::testing::{NOW, certified, params, read, usual};
    use super::*;

    #[test]
    fn a_list_that_its_issuer_did_not_sign_is_refused() {
        let (one, impostor) = (usual("same name"), usual("same name"));
        assert!(matches!(
            read(&impostor, params(&[]), &[&one.authority]),
            Err(ListFault::Signature { .. })
        ));
        let stranger = usual("stranger");
        assert!(matches!(
            read(&stranger, params(&[]), &[&one.authority]),
            Err(ListFault::UnknownIssuer { .. })
        ));
        // Two authorities may share a name; the one that signed is found.
        assert!(
            read(
                &impostor,
                params(&[]),
                &[&one.authority, &impostor.authority]
            )
            .is_ok()
        );
        let der = params(&[5]).signed_by(&one.signer).unwrap().der().to_vec();
        for at in (0..der.len()).step_by(3) {
            let mut changed = der.clone();
            changed[at] ^= 1;
            assert!(
                List::read(
                    &changed,
                    &[&one.authority],
                    webpki::ALL_VERIFICATION_ALGS,
                    NOW
                )
                .is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn an_authority_that_may_not_sign_lists_is_not_believed() {
        let one = usual("one");
        // The same name and key, certified for certificates alone.
        let usages = vec![KeyUsagePurpose::KeyCertSign];
        let (_, _, authority) = certified("one", usages, one.signer.key());
        assert!(matches!(
            read(&one, params(&[]), &[&authority]),
            Err(ListFault::MayNotSign { .. })
        ));
    }

    #[test]
    fn a_list_from_the_future_is_refused() {
        let one = usual("one");
        let mut early = params(&[]);
        early.this_update = date_time_ymd(2026, 1, 4);
        assert!(matches!(
            read(&one, early, &[&one.authority]),
            Err(ListFault::FromTheFuture { .. })
        ));
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"garbage", &[0x30, 0x03, 1, 2, 3]] {
            assert!(matches!(
                List::read(garbage, &[], webpki::ALL_VERIFICATION_ALGS, NOW),
                Err(ListFault::Malformed)
            ));
        }
    }
}
