//! What is written reads back, and nothing that is read brings the reader down.

use jiff::Timestamp;
use ocsp::{
    Answer, CertId, HashAlgorithm, Issuer, KeyHash, ReasonCode, Request, Responder, Response,
    Status, assemble, verify,
};
use proptest::prelude::*;
use rustls_pki_types::alg_id;

use crate::support::{ALGORITHMS, SERIAL, World};

fn certificates() -> impl Strategy<Value = CertId> {
    let hash = prop_oneof![Just(HashAlgorithm::Sha1), Just(HashAlgorithm::Sha256)];
    let octets = || proptest::collection::vec(any::<u8>(), 0..64);
    let serial = proptest::collection::vec(any::<u8>(), 1..=19)
        .prop_filter("not zero", |serial| serial.iter().any(|&octet| octet != 0));
    (hash, octets(), octets(), serial).prop_map(|(hash, name, key, serial)| {
        let issuer = Issuer {
            name: &name,
            key: &key,
        };
        CertId::of(hash, issuer, &serial).unwrap()
    })
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0_i64..253_402_300_799).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn statuses() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Good),
        Just(Status::Unknown),
        (times(), any::<u8>()).prop_map(|(at, code)| Status::Revoked {
            at,
            reason: ReasonCode::new(code % 16)
        }),
    ]
}

/// Octets that were something once.
fn bent(octets: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = octets.len();
    proptest::collection::vec((0..length, any::<u8>()), 0..4).prop_map(move |changes| {
        let mut bent = octets.clone();
        for (at, octet) in changes {
            bent[at] = octet;
        }
        bent
    })
}

proptest! {
    #[test]
    fn requests_read_back(
        certificate in certificates(),
        nonce in proptest::collection::vec(any::<u8>(), 0..=128),
    ) {
        let request = Request::new(certificate);
        let request = request.clone().with_nonce(nonce).unwrap_or(request);
        prop_assert_eq!(Request::parse(&request.encode()), Ok(request.clone()));
        prop_assert_eq!(Request::from_path(&request.to_path()), Ok(request.clone()));
        // As clients write it that do not escape, and drop the padding.
        let bare = request.to_path().replace("%2B", "+").replace("%2f", "/").replace("%3D", "");
        prop_assert_eq!(Request::from_path(&bare), Ok(request));
    }

    #[test]
    fn answers_read_back(
        certificate in certificates(),
        status in statuses(),
        times in (times(), times(), times()),
        key in any::<[u8; 20]>(),
        signature in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let (produced_at, this_update, next_update) = times;
        let answer = Answer { certificate: &certificate, status, produced_at, this_update, next_update };
        let tbs = answer.tbs(KeyHash(key));
        let whole = assemble(&tbs, alg_id::RSA_PKCS1_SHA256, &signature, &[&[0x30, 0]]);
        let Ok(Response::Basic(read)) = Response::parse(&whole) else {
            return Err(TestCaseError::fail("it does not read back"));
        };
        prop_assert_eq!(read.tbs, tbs);
        prop_assert_eq!(read.responder, Responder::Key(KeyHash(key)));
        prop_assert_eq!(read.produced_at, produced_at);
        prop_assert_eq!(read.algorithm, alg_id::RSA_PKCS1_SHA256.as_ref());
        prop_assert_eq!(read.signature, signature);
        prop_assert_eq!(read.certificates, vec![&[0x30, 0][..]]);
        prop_assert_eq!(read.singles.len(), 1);
        prop_assert_eq!(&read.singles[0].certificate, &certificate);
        prop_assert_eq!(read.singles[0].status, status);
        prop_assert_eq!(read.singles[0].this_update, this_update);
        prop_assert_eq!(read.singles[0].next_update, Some(next_update));
    }

    #[test]
    fn nothing_brings_the_readers_down(octets in proptest::collection::vec(any::<u8>(), 0..300), path in ".{0,80}") {
        let _ = Request::parse(&octets);
        let _ = Response::parse(&octets);
        let _ = Request::from_path(&path);
        let now = Timestamp::UNIX_EPOCH;
        let _ = verify(&octets, &octets, &octets, now, ALGORITHMS);
    }
}

#[test]
fn what_is_bent_is_read_or_refused_and_what_is_read_is_written_the_same() {
    let world = World::new();
    let request = Request::new(world.id(HashAlgorithm::Sha256))
        .with_nonce(vec![9; 16])
        .unwrap();
    proptest!(|(octets in bent(request.encode()))| {
        if let Ok(read) = Request::parse(&octets) {
            prop_assert_eq!(Request::parse(&read.encode()), Ok(read));
        }
    });
    let now = Timestamp::now();
    let response = world.answer(Status::Good);
    proptest!(|(octets in bent(response.clone()))| {
        let verified = verify(&octets, &world.issuer.der, SERIAL, now, ALGORITHMS);
        prop_assert!(verified.is_err() || octets == response);
    });
}
