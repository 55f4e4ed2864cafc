//! What openssl writes is read, and what is written openssl reads and believes.

use jiff::{SignedDuration, Timestamp};
use ocsp::{ErrorStatus, Fault, HashAlgorithm, ReasonCode, Request, Response, Status, verify};

use crate::support::{ALGORITHMS, SERIAL, World};

#[test]
fn the_requests_of_openssl_are_read_and_written_octet_by_octet() {
    let world = World::new();
    for (flag, hash) in [
        ("-sha1", HashAlgorithm::Sha1),
        ("-sha256", HashAlgorithm::Sha256),
    ] {
        world.openssl(&format!(
            "{flag} -issuer issuer.pem -cert device.pem -no_nonce -reqout request.der"
        ));
        let theirs = world.read("request.der");
        let request = Request::parse(&theirs).unwrap();
        assert_eq!(request, Request::new(world.id(hash)));
        assert_eq!(request.encode(), theirs);
        assert_eq!(request.certificates()[0].serial(), SERIAL);
    }
}

#[test]
fn a_nonce_several_certificates_and_a_signature_are_read() {
    let world = World::new();
    world.openssl(
        "-issuer issuer.pem -cert device.pem -serial 0x4711 -nonce \
         -signer device.pem -signkey device.key.pem -reqout request.der",
    );
    let request = Request::parse(&world.read("request.der")).unwrap();
    assert_eq!(request.certificates().len(), 2);
    assert_eq!(request.certificates()[1].serial(), [0x47, 0x11]);
    assert!(request.nonce().is_some_and(|nonce| nonce.len() >= 16));
}

#[test]
fn openssl_reads_our_requests() {
    let world = World::new();
    let request = Request::new(world.id(HashAlgorithm::Sha1))
        .with_nonce(vec![0xab; 32])
        .unwrap();
    world.write("request.der", request.encode());
    let text = world.openssl("-reqin request.der -req_text");
    assert!(text.contains("Serial Number: F001020304050607"), "{text}");
    assert!(text.contains("Hash Algorithm: sha1"), "{text}");
    assert!(text.contains("ABABABAB"), "{text}");
}

#[test]
fn openssl_believes_our_responses() {
    let world = World::new();
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let reason = ReasonCode::new(1);
    for (status, says) in [
        (Status::Good, "device.pem: good"),
        (Status::Revoked { at, reason }, "device.pem: revoked"),
        (Status::Unknown, "device.pem: unknown"),
    ] {
        world.write("response.der", world.answer(status));
        let said = world.openssl(
            "-respin response.der -issuer issuer.pem -cert device.pem -CAfile issuer.pem -no_nonce",
        );
        assert!(said.contains("Response verify OK"), "{said}");
        assert!(said.contains(says), "{said}");
        if says.contains("revoked") {
            assert!(said.contains("keyCompromise"), "{said}");
            assert!(said.contains("Jan  2 03:04:05 2026"), "{said}");
        }
    }
}

#[test]
fn openssl_believes_the_issuer_itself() {
    let world = World::new();
    let id = world.id(HashAlgorithm::Sha256);
    let tbs = crate::support::tbs(&id, Status::Good, &world.issuer);
    world.write("response.der", world.issuer.respond(&tbs, &[]));
    let said = world.openssl(
        "-respin response.der -sha256 -issuer issuer.pem -cert device.pem -CAfile issuer.pem -no_nonce",
    );
    assert!(said.contains("device.pem: good"), "{said}");
}

#[test]
fn what_openssl_answers_is_believed_and_read() {
    let world = World::new();
    let ask = |index: &str, flags: &str| {
        world.write("index.txt", index);
        world.openssl("-issuer issuer.pem -cert device.pem -no_nonce -reqout request.der");
        world.openssl(&format!(
            "-index index.txt -CA issuer.pem -rsigner responder.pem -rkey responder.key.pem \
             -reqin request.der -respout response.der {flags}"
        ));
        let now = Timestamp::now();
        verify(
            &world.read("response.der"),
            &world.issuer.der,
            SERIAL,
            now,
            ALGORITHMS,
        )
    };
    let valid = "V\t491231235959Z\t\tF001020304050607\tunknown\t/CN=Device\n";
    let revoked =
        "R\t491231235959Z\t260102030405Z,keyCompromise\tF001020304050607\tunknown\t/CN=Device\n";
    for flags in ["-ndays 1", "-ndays 1 -resp_key_id"] {
        let verified = ask(valid, flags).unwrap();
        assert_eq!(verified.status, Status::Good);
        let lasts = verified.this_update.duration_until(verified.next_update);
        assert_eq!(lasts, SignedDuration::from_hours(24));
    }
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let reason = ReasonCode::new(1);
    assert_eq!(
        ask(revoked, "-ndays 1").unwrap().status,
        Status::Revoked { at, reason }
    );
    assert_eq!(ask("", "-ndays 1").unwrap().status, Status::Unknown);
    assert_eq!(ask(valid, ""), Err(Fault::Endless));
}

#[test]
fn openssl_reads_our_excuses() {
    let world = World::new();
    for (status, says) in [
        (ErrorStatus::MalformedRequest, "malformedrequest"),
        (ErrorStatus::InternalError, "internalerror"),
        (ErrorStatus::TryLater, "trylater"),
        (ErrorStatus::SigRequired, "sigrequired"),
        (ErrorStatus::Unauthorized, "unauthorized"),
    ] {
        let der = status.encode();
        assert_eq!(Response::parse(&der), Ok(Response::Error(status)));
        world.write("response.der", der);
        // It ends with 1 then.
        let (_, said) = world.try_openssl("-respin response.der -resp_text");
        assert!(said.to_lowercase().contains(says), "{said}");
    }
}
