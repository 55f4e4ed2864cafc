//! `pki doctor` and `pki recover`: what is wrong shows, and what nobody answers for is revoked.

use crate::support::World;

/// The verdict of one check.
fn verdict(world: &World, check: &str) -> String {
    let said = world.pki("doctor --json");
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let worst = ["bad", "warning", "good"].into_iter().find(|verdict| {
        findings
            .iter()
            .any(|finding| finding["check"] == check && finding["verdict"] == *verdict)
    });
    worst.unwrap().to_owned()
}

#[test]
fn a_new_authority_is_well() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let said = world.pki("doctor --strict").must_succeed();
    assert_eq!(said.out.lines().count(), 7, "{}", said.out);
    assert!(
        said.out.lines().all(|line| line.starts_with("good ")),
        "{}",
        said.out
    );
}

#[test]
fn each_thing_that_is_wrong_shows_and_the_others_stay_good() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    std::fs::remove_file(world.path("pki/crl/issuing.crl")).unwrap();
    assert_eq!(verdict(&world, "crls"), "bad");
    assert_eq!(verdict(&world, "inventory"), "good");
    let said = world.pki("doctor");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("error: something is wrong\nhint: "),
        "{}",
        said.err
    );
    world.pki("crl --due").must_succeed();
    assert_eq!(verdict(&world, "crls"), "good");

    // A list from before, which would bring a revoked device back.
    let old = world.read("pki/crl/issuing.crl");
    world.pki("crl").must_succeed();
    world.write("pki/crl/issuing.crl", old);
    assert_eq!(verdict(&world, "crls"), "bad");
    world.pki("crl").must_succeed();

    let key = world.path("pki/ca/issuing.key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(verdict(&world, "permissions"), "bad");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(verdict(&world, "permissions"), "good");

    world
        .pki("issue --profile device --id urn:example:a --new-key --days 7 --out a")
        .must_succeed();
    assert_eq!(verdict(&world, "expiry"), "warning");
    world.pki("doctor").must_succeed();
    assert_eq!(world.pki("doctor --strict").code, 1);
}

#[test]
fn what_an_older_inventory_forgot_is_taken_in_from_the_log_and_revoked() {
    let world = World::new();
    world.device("urn:example:before", "before");
    let copy = std::fs::read(world.path("pki/ca/inventory.db")).unwrap();
    let serial = world.device("urn:example:after", "after");
    // As after a restore of the inventory alone.
    for file in ["inventory.db-wal", "inventory.db-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("pki/ca/{file}")));
    }
    world.write("pki/ca/inventory.db", copy);
    assert_eq!(verdict(&world, "log"), "bad");
    let left = world.json("recover");
    assert_eq!(left["unknown"][0], serial.as_str(), "{left}");
    let revoked = world.json("recover --revoke");
    assert_eq!(revoked["count"], 1);
    assert!(
        world.crl_text().to_lowercase().contains(&serial),
        "the list names it"
    );
    assert_eq!(
        world.json("recover")["unknown"].as_array().unwrap().len(),
        0
    );
    assert_ne!(world.verify("after/cert.pem").code, 0);
    world.verify("before/cert.pem").must_succeed();
}

#[test]
fn what_an_older_inventory_holds_for_good_and_the_log_calls_revoked_is_revoked_again() {
    let world = World::new();
    let serial = world.device("urn:example:lost", "lost");
    let copy = std::fs::read(world.path("pki/ca/inventory.db")).unwrap();
    world
        .pki("revoke --id urn:example:lost --reason keyCompromise")
        .must_succeed();
    for file in ["inventory.db-wal", "inventory.db-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("pki/ca/{file}")));
    }
    world.write("pki/ca/inventory.db", copy);
    assert_eq!(verdict(&world, "log"), "bad");
    assert_eq!(world.json("recover")["taken_back"][0], serial.as_str());
    world.pki("recover --revoke").must_succeed();
    assert_eq!(verdict(&world, "log"), "good");
    assert_ne!(world.verify("lost/cert.pem").code, 0);
}

#[test]
fn where_nothing_is_left_recovery_does_nothing() {
    let world = World::new();
    let left = world.json("recover");
    assert_eq!(left["pending"].as_array().unwrap().len(), 0);
    assert_eq!(left["reserved"], 0);
    assert_eq!(world.json("recover --revoke")["count"], 0);
}
