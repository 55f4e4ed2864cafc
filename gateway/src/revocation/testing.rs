//! Authorities and lists for the tests of this folder.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, IsCa,
    Issuer as Signer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::{List, ListFault};
use crate::trust::Authority;

pub(super) const NOW: i64 = 1_767_225_600 + 86_400; // 2026-01-02

pub(super) struct Ca {
    pub(super) certificate: Certificate,
    pub(super) signer: Signer<'static, KeyPair>,
    pub(super) authority: Authority,
}

pub(super) fn ca(name: &str, usages: Vec<KeyUsagePurpose>) -> Ca {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let authority = Authority::judge(certificate.der(), NOW).unwrap();
    Ca {
        certificate,
        signer: Signer::new(params, key),
        authority,
    }
}

pub(super) fn usual(name: &str) -> Ca {
    ca(
        name,
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
    )
}

pub(super) fn params(serials: &[u64]) -> CertificateRevocationListParams {
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
pub(super) fn read(
    ca: &Ca,
    params: CertificateRevocationListParams,
    authorities: &[&Authority],
) -> Result<List, ListFault> {
    let der = params.signed_by(&ca.signer).unwrap().der().to_vec();
    List::read(&der, authorities, webpki::ALL_VERIFICATION_ALGS, NOW)
}
