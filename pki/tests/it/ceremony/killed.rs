//! Killed at any moment, each part of a ceremony can be done again, and nothing is half.

use std::fs;

use serde_json::Value;

use super::{asked, at_root, copy, fingerprint, held, rooted, sha256_of, sign};
use crate::crash::{calls, can_trace, duration_of, each_step, killed_after, killed_at};
use crate::log::logged_in;

#[test]
fn a_request_that_is_killed_is_done_by_doing_it_again() {
    let kills = each_step();
    let world = rooted("root");
    let whole = duration_of(|| {
        world
            .run("ceremony request --dir first --name Clinic --out first.csr".split(' '))
            .must_succeed();
    });
    for kill in 0..kills {
        let words = format!("ceremony request --dir pki-{kill} --name Clinic --out {kill}.csr");
        killed_after(&world, &words, whole, kill, kills);
        let _ = fs::remove_file(world.path(&format!("{kill}.csr")));
        world.run(words.split(' ')).must_succeed();
        assert_eq!(
            world.read(&format!("{kill}.csr")),
            world.read(&format!("pki-{kill}/ca/request.pem"))
        );
    }
}

/// Each moment at which a run is killed: before its `nth` call of a name. `kill` says whether it was.
fn at_each_call(mut kill: impl FnMut(&str, u32) -> bool) {
    let stride = if std::env::var_os("PHIGATE_LONG").is_some() {
        1
    } else {
        3
    };
    for call in calls() {
        // A rename is where what was prepared begins to count.
        let stride = if call.starts_with("rename") {
            1
        } else {
            stride
        };
        for nth in (1..).step_by(stride) {
            if !kill(call, nth) {
                break;
            }
            assert!(nth < 1000, "{call} without end");
        }
    }
}

#[test]
fn a_signature_that_is_killed_is_done_by_doing_it_again_and_leaves_one_certificate() {
    if !can_trace() {
        return;
    }
    let world = asked("");
    copy(&world, "root", "before");
    let digest = sha256_of(&world, "request.pem");
    let root = fingerprint(&world, "root/trust.pem");
    let mut were_pending = 0;
    at_each_call(|call, nth| {
        fs::remove_dir_all(world.path("root")).unwrap();
        copy(&world, "before", "root");
        let _ = fs::remove_file(world.path("answer.pem"));
        let words = format!(
            "ceremony sign --dir root --request request.pem --request-sha256 {digest} --out answer.pem"
        );
        let was_killed = killed_at(&world, call, nth, &words).code != 0;
        let list = |status: &str| {
            let list = ["list", "--json", "--profile", "issuing", "--status", status];
            let said = world
                .run(list.into_iter().chain(["--dir", "root"]))
                .must_succeed();
            serde_json::from_str::<Value>(&said.out).unwrap()["total"]
                .as_u64()
                .unwrap()
        };
        were_pending += list("pending");
        // Whatever is there under the name is whole.
        if !world.path("answer.pem").exists() {
            world.run(words.split(' ')).must_succeed();
        }
        assert_eq!((list("issued"), list("pending")), (1, 0), "{call} {nth}");
        // The root's own, and what it signed.
        let entries = logged_in(&world, "root");
        let issued = crate::log::serials(&entries, "certificate_issued");
        let is_revoked = crate::log::serials(&entries, "certificate_revoked");
        let told = issued.difference(&is_revoked).count();
        assert_eq!(told, 2, "{call} {nth}");
        copy(&world, "pki", "again");
        let import = format!("ceremony import --dir again --in answer.pem --root-sha256 {root}");
        world.run(import.split(' ')).must_succeed();
        fs::remove_dir_all(world.path("again")).unwrap();
        was_killed
    });
    assert!(were_pending > 0, "one was killed between its steps");
}

#[test]
fn an_import_that_is_killed_leaves_an_authority_that_waits_or_one_that_works() {
    if !can_trace() {
        return;
    }
    let world = asked("--url http://pki.clinic.example --shards 2");
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    copy(&world, "pki", "waiting");
    let root = fingerprint(&world, "root/trust.pem");
    let words = format!("ceremony import --dir pki --in answer.pem --root-sha256 {root}");
    let (mut waited, mut worked) = (0, 0);
    at_each_call(|call, nth| {
        fs::remove_dir_all(world.path("pki")).unwrap();
        copy(&world, "waiting", "pki");
        let was_killed = killed_at(&world, call, nth, &words).code != 0;
        let said = world.pki("list");
        if said.code == 0 {
            worked += 1;
        } else {
            waited += 1;
            said.must_refuse(1, "has not been imported");
            world.run(words.split(' ')).must_succeed();
        }
        let doctor = world.pki("doctor --strict");
        assert_eq!(doctor.code, 0, "{call} {nth}: {}{}", doctor.out, doctor.err);
        was_killed
    });
    assert!(waited > 0 && worked > 0, "{waited} waited, {worked} worked");
    world.device("urn:example:pump-1", "pump");
    world
        .openssl("verify -x509_strict -CAfile pki/trust.pem -untrusted pki/crl/issuing.pem pump/cert.pem")
        .must_succeed();
}

#[test]
fn a_later_list_that_is_killed_is_taken_or_not_and_a_revocation_is_never_lost() {
    if !can_trace() {
        return;
    }
    let world = held("");
    at_root(
        &world,
        "revoke --cert pki/ca/issuing.pem --reason cACompromise",
    )
    .must_succeed();
    copy(&world, "pki", "before");
    let words = "ceremony import --dir pki --in root/crl/root.crl";
    at_each_call(|call, nth| {
        fs::remove_dir_all(world.path("pki")).unwrap();
        copy(&world, "before", "pki");
        let was_killed = killed_at(&world, call, nth, words).code != 0;
        let shown = world.json("show --cert before/ca/issuing.pem");
        let is_revoked = shown["certificates"][0]["status"] == "revoked";
        let is_there = world.read("pki/crl/root.crl") == world.read("root/crl/root.crl");
        assert!(
            is_revoked || !is_there,
            "{call} {nth}: read by gateways, and not known here"
        );
        world.run(words.split(' ')).must_succeed();
        assert_eq!(
            world.read("pki/crl/root.crl"),
            world.read("root/crl/root.crl")
        );
        world
            .pki("issue --profile device --id urn:example:a --new-key --out a")
            .must_refuse(1, "revoked");
        was_killed
    });
}
