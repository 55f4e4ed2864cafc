//! A status comes out only if the issuer answers for it, now.

use jiff::{SignedDuration, Timestamp};
use ocsp::{
    Answer, CLOCK_SKEW, CertId, ErrorStatus, Fault, HashAlgorithm, Malformed, ReasonCode, Request,
    Response, Status, verify,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa};

use crate::support::{ALGORITHMS, Holder, SERIAL, World, named, new_issuer, of_a_responder, tbs};

fn judged(world: &World, response: &[u8]) -> Result<Status, Fault> {
    let now = Timestamp::now();
    verify(response, &world.issuer.der, SERIAL, now, ALGORITHMS).map(|verified| verified.status)
}

/// An answer "good" signed by somebody else, whose certificate comes along.
fn by(world: &World, responder: &Holder) -> Result<Status, Fault> {
    let tbs = tbs(&world.id(HashAlgorithm::Sha1), Status::Good, responder);
    judged(world, &responder.respond(&tbs, &[&responder.der]))
}

#[test]
fn the_issuer_and_its_responder_are_believed() {
    let world = World::new();
    assert_eq!(
        judged(&world, &world.answer(Status::Good)),
        Ok(Status::Good)
    );
    let revoked = Status::Revoked {
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        reason: None,
    };
    assert_eq!(judged(&world, &world.answer(revoked)), Ok(revoked));
    let id = world.id(HashAlgorithm::Sha256);
    let signed = world
        .issuer
        .respond(&tbs(&id, Status::Good, &world.issuer), &[]);
    assert_eq!(judged(&world, &signed), Ok(Status::Good));
}

#[test]
fn nobody_else_is_believed() {
    let world = World::new();
    let other = new_issuer("Issuer");
    // Of the same name, and with another key.
    assert!(matches!(
        by(&world, &other.issue(of_a_responder())),
        Err(Fault::Delegate { .. })
    ));
    assert!(matches!(by(&world, &other), Err(Fault::Delegate { .. })));
    // The device itself, whom the issuer knows for something else.
    assert!(matches!(
        by(&world, &world.device),
        Err(Fault::Delegate { .. })
    ));
    // Nobody's certificate is there.
    let alone = world.responder.respond(&world.tbs(Status::Good), &[]);
    assert_eq!(judged(&world, &alone), Err(Fault::Responder));
    // A certificate of the responder, and a signature of the device.
    let stolen = world
        .device
        .respond(&world.tbs(Status::Good), &[&world.responder.der]);
    assert_eq!(judged(&world, &stolen), Err(Fault::Signature));
}

#[test]
fn a_responder_below_another_authority_of_the_issuer_is_not_believed() {
    let world = World::new();
    let mut params = named("Below");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let below = world.issuer.issue(params);
    assert!(matches!(
        by(&world, &below.issue(of_a_responder())),
        Err(Fault::Delegate { .. })
    ));
}

#[test]
fn a_responder_has_a_certificate_for_it_that_is_in_date_and_needs_no_status() {
    let world = World::new();
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = of_a_responder();
        change(&mut params);
        by(&world, &world.issuer.issue(params))
    };
    assert_eq!(with(|_| {}), Ok(Status::Good));
    let unfit: [fn(&mut CertificateParams); 5] = [
        |params| params.extended_key_usages.clear(),
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1),
        |params| params.not_before = rcgen::date_time_ymd(2048, 1, 1),
        |params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0)),
    ];
    for change in unfit {
        assert!(matches!(with(change), Err(Fault::Delegate { .. })));
    }
    assert_eq!(
        with(|params| params.custom_extensions.clear()),
        Err(Fault::DelegateUnchecked)
    );
    // Short-lived, it needs no word of it.
    let mut params = of_a_responder();
    params.custom_extensions.clear();
    let today = Timestamp::now().as_second();
    let at = |seconds: i64| {
        let seconds = std::time::Duration::from_secs((today + seconds).unsigned_abs());
        rcgen::date_time_ymd(1970, 1, 1) + seconds
    };
    (params.not_before, params.not_after) = (at(-86_400), at(6 * 86_400));
    assert_eq!(by(&world, &world.issuer.issue(params)), Ok(Status::Good));
}

#[test]
fn an_answer_is_about_the_certificate_that_was_asked_for() {
    let world = World::new();
    let issuer = world.issuer.issuer();
    let other = CertId::of(HashAlgorithm::Sha1, issuer, &[7]).unwrap();
    let response = |id: &CertId| {
        world.responder.respond(
            &tbs(id, Status::Good, &world.responder),
            &[&world.responder.der],
        )
    };
    assert_eq!(
        judged(&world, &response(&other)),
        Err(Fault::OtherCertificate)
    );
    let stranger = new_issuer("Other");
    let other = CertId::of(HashAlgorithm::Sha1, stranger.issuer(), SERIAL).unwrap();
    assert_eq!(
        judged(&world, &response(&other)),
        Err(Fault::OtherCertificate)
    );
    assert!(!other.is_of(issuer));
    assert!(other.is_of(stranger.issuer()));
}

#[test]
fn an_answer_holds_from_its_beginning_to_its_end() {
    let world = World::new();
    let begins: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let ends = begins + SignedDuration::from_hours(24);
    let id = world.id(HashAlgorithm::Sha1);
    let answer = Answer {
        certificate: &id,
        status: Status::Good,
        produced_at: begins,
        this_update: begins,
        next_update: ends,
    };
    let tbs = answer.tbs(world.responder.key_hash());
    let response = world.responder.respond(&tbs, &[&world.responder.der]);
    let at = |now| verify(&response, &world.issuer.der, SERIAL, now, ALGORITHMS);
    let second = SignedDuration::from_secs(1);
    assert!(at(begins - CLOCK_SKEW).is_ok());
    assert!(matches!(
        at(begins - CLOCK_SKEW - second),
        Err(Fault::NotYet { .. })
    ));
    let verified = at(ends - second).unwrap();
    assert_eq!((verified.this_update, verified.next_update), (begins, ends));
    assert_eq!(
        at(ends),
        Err(Fault::Stale {
            next_update: ends,
            now: ends
        })
    );
}

#[test]
fn an_algorithm_that_is_not_trusted_is_not_believed() {
    let world = World::new();
    let response = world.answer(Status::Good);
    let now = Timestamp::now();
    let with = |algorithms| verify(&response, &world.issuer.der, SERIAL, now, algorithms);
    assert!(matches!(with(&[]), Err(Fault::Delegate { .. })));
    let id = world.id(HashAlgorithm::Sha1);
    let signed = world
        .issuer
        .respond(&tbs(&id, Status::Good, &world.issuer), &[]);
    let other_curve = &[webpki::aws_lc_rs::ECDSA_P384_SHA256][..];
    assert_eq!(
        verify(&signed, &world.issuer.der, SERIAL, now, other_curve),
        Err(Fault::Algorithm)
    );
}

#[test]
fn no_octet_of_an_answer_can_be_changed() {
    let world = World::new();
    let response = world.answer(Status::Good);
    for position in 0..response.len() {
        let mut changed = response.clone();
        changed[position] ^= 1;
        let judged = judged(&world, &changed);
        assert!(judged.is_err(), "octet {position}: {judged:?}");
    }
}

#[test]
fn an_excuse_is_no_status() {
    let world = World::new();
    let status = ErrorStatus::TryLater;
    assert_eq!(
        judged(&world, &status.encode()),
        Err(Fault::Refused { status })
    );
    assert!(matches!(judged(&world, &[]), Err(Fault::Malformed(_))));
}

#[test]
fn too_much_is_refused_before_it_is_looked_at() {
    let long = vec![0x30; ocsp::MAX_REQUEST_OCTETS + 1];
    assert_eq!(Request::parse(&long), Err(Malformed { what: "length" }));
    let long = vec![0x30; ocsp::MAX_RESPONSE_OCTETS + 1];
    assert_eq!(Response::parse(&long), Err(Malformed { what: "length" }));
    let long = "A".repeat(ocsp::MAX_PATH_OCTETS + 1);
    assert_eq!(Request::from_path(&long), Err(Malformed { what: "path" }));
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    let world = World::new();
    let request = Request::new(world.id(HashAlgorithm::Sha1))
        .with_nonce(vec![7; 16])
        .unwrap()
        .encode();
    // Another extension in the place of the nonce: known by its last octet but one before its value.
    let oid = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
    let at = request
        .windows(oid.len())
        .position(|window| window == oid)
        .unwrap();
    let mut other = request.clone();
    other[at + 8] = 9;
    assert_eq!(Request::parse(&other).unwrap().nonce(), None);
    // The same, critical: three octets more in each of the lengths around it.
    let end = at + oid.len();
    let mut critical = [&other[..end], &[1, 1, 0xff], &other[end..]].concat();
    let outer = [1, 3, at - 3, at - 5, at - 7];
    for length in outer {
        critical[length] += 3;
    }
    assert_eq!(
        Request::parse(&critical),
        Err(Malformed {
            what: "critical extension"
        })
    );
    // The nonce itself may be: it is understood, though not answered.
    critical[at + 8] = 2;
    assert!(Request::parse(&critical).is_ok());
}

#[test]
fn nonces_have_1_to_128_octets_and_reasons_their_numbers() {
    let world = World::new();
    let request = Request::new(world.id(HashAlgorithm::Sha1));
    for length in [0, 129] {
        assert!(request.clone().with_nonce(vec![0; length]).is_err());
    }
    assert!(request.with_nonce(vec![0; 128]).is_ok());
    let known: Vec<u8> = (0..=255)
        .filter(|&code| ReasonCode::new(code).is_some())
        .collect();
    assert_eq!(known, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]);
}

#[test]
fn serials_are_positive_and_bounded() {
    let world = World::new();
    let of = |serial: &[u8]| CertId::of(HashAlgorithm::Sha1, world.issuer.issuer(), serial);
    for wrong in [&[][..], &[0, 0], &[1; 21], &[0x80; 20]] {
        assert_eq!(of(wrong), Err(Malformed { what: "serial" }));
    }
    assert_eq!(of(&[0, 0xf0]), of(&[0xf0]));
    assert!(of(&[0x7f; 20]).is_ok());
}
