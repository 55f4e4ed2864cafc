//! Authorities and lists for tests.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, IsCa,
    Issuer as Signer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    SigningKey, date_time_ymd,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{List, ListFault};
use crate::ca::CaCertificate;

pub(crate) const NOW: i64 = 1_767_225_600 + 86_400; // 2026-01-02

pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    pub(crate) signer: Signer<'static, KeyPair>,
    pub(crate) authority: CaCertificate,
}

pub(crate) fn ca(name: &str, usages: Vec<KeyUsagePurpose>) -> Ca {
    let key = KeyPair::generate().unwrap();
    let (params, certificate, authority) = certified(name, usages, &key);
    Ca {
        certificate,
        signer: Signer::new(params, key),
        authority,
    }
}

/// An authority of this name and key.
pub(crate) fn certified(
    name: &str,
    usages: Vec<KeyUsagePurpose>,
    key: &KeyPair,
) -> (CertificateParams, Certificate, CaCertificate) {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let certificate = params.self_signed(key).unwrap();
    let authority = CaCertificate::judge(certificate.der(), NOW).unwrap();
    (params, certificate, authority)
}

pub(crate) fn usual(name: &str) -> Ca {
    ca(
        name,
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
    )
}

pub(crate) fn params(serials: &[u64]) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 1, 8),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|&serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2025, 12, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
pub(crate) fn read(
    ca: &Ca,
    params: CertificateRevocationListParams,
    authorities: &[&CaCertificate],
) -> Result<List, ListFault> {
    let der = params.signed_by(&ca.signer).unwrap().der().to_vec();
    List::read(&der, authorities, webpki::ALL_VERIFICATION_ALGS, NOW)
}

/// A list with this number, issued on this day of January 2026.
pub(crate) fn edition(number: u64, day: u8, serials: &[u64]) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, day),
        crl_number: SerialNumber::from(number),
        ..params(serials)
    }
}

/// A list in which `from` was replaced by `to`, of the same length, before it was signed.
#[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
pub(crate) fn changed(
    ca: &Ca,
    params: CertificateRevocationListParams,
    from: &[u8],
    to: &[u8],
) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let der = params.signed_by(&ca.signer).unwrap().der().to_vec();
    let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
    let mut content = list.tbs_cert_list.as_ref().to_vec();
    let at = content
        .windows(from.len())
        .position(|part| part == from)
        .unwrap();
    content[at..at + to.len()].copy_from_slice(to);
    let signature = ca.signer.key().sign(&content).unwrap();
    // ecdsa-with-SHA256, RFC 5758 3.2.
    content.extend_from_slice(b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02");
    content.extend_from_slice(&[3, u8::try_from(signature.len() + 1).unwrap(), 0]);
    content.extend_from_slice(&signature);
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82], &length[..], &content].concat()
}
