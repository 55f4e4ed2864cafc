//! What does revocation cost a handshake, with 0, 1,000 and 100,000 serials revoked? One question to the
//! index is asked for each certificate of a path. And how long does it take to read a list of that length,
//! signature included, which a reload does?

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::ca::CaCertificate;
use gateway::identity::{Link, Serial};
use gateway::revocation::{Index, List, Standing};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// 2026-01-02, a day after the lists are issued.
const NOW: i64 = 1_767_225_600 + 86_400;

struct Authority {
    signer: Issuer<'static, KeyPair>,
    certificate: CaCertificate,
}

fn authority() -> Authority {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    Authority {
        certificate: CaCertificate::judge(certificate.der(), NOW).expect("an authority"),
        signer: Issuer::new(params, key),
    }
}

/// A serial number as authorities draw them: 16 bytes, nothing in their order.
fn serial(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0x40; 16];
    bytes[1..9].copy_from_slice(&mixed.to_be_bytes());
    bytes
}

/// A list that revokes so many certificates.
fn list(authority: &Authority, revoked: u64) -> Vec<u8> {
    let revoked_certs = (0..revoked).map(|number| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial(number)),
        revocation_time: date_time_ymd(2025, 12, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 1, 8),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&authority.signer).expect("a list");
    list.der().to_vec()
}

fn questions(criterion: &mut Criterion) {
    let authority = authority();
    let read = |der: &[u8]| {
        let known = [&authority.certificate];
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        List::read(der, &known, algorithms, NOW).expect("a good list")
    };
    let link = |number| Link {
        issuer: authority.certificate.key(),
        serial: Serial::new(&serial(number)),
        distribution_points: Vec::new(),
        not_before: 0,
        not_after: i64::MAX,
    };
    let mut group = criterion.benchmark_group("revocation");
    for revoked in [0, 1000, 100_000] {
        let der = list(&authority, revoked);
        let index = Index::build(vec![read(&der)]);
        // One that is good, which all but a few are.
        let good = link(revoked + 7);
        assert_eq!(index.standing(&good, true, NOW), Standing::Good);
        if revoked > 0 {
            let lost = link(revoked - 1);
            assert_eq!(index.standing(&lost, true, NOW), Standing::Revoked);
        }
        group.sample_size(100).throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("asked", revoked), |bench| {
            bench.iter(|| index.standing(black_box(&good), true, NOW));
        });
        let bytes = Throughput::Bytes(der.len() as u64);
        group.sample_size(10).throughput(bytes);
        group.bench_function(BenchmarkId::new("read", revoked), |bench| {
            bench.iter(|| Index::build(vec![read(black_box(&der))]));
        });
    }
    group.finish();
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = questions
}
criterion_main!(benches);
