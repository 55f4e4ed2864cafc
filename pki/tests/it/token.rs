//! `pki token`: one-time tokens are made, listed and taken back.

use crate::support::World;

#[test]
fn a_token_is_shown_once_and_its_hash_is_kept() {
    let world = World::new();
    let said = world
        .pki("token make --profile device --id urn:example:pump-1")
        .must_succeed();
    let token = said.out.trim();
    assert_eq!(token.len(), 43, "256 bits in base64url");
    let listed = world.pki("token list --json").must_succeed();
    assert!(listed.out.contains("\"state\": \"open\""), "{}", listed.out);
    assert!(!listed.out.contains(token));
    let inventory = std::fs::read(world.path("pki/ca/inventory.db")).unwrap();
    assert!(
        !inventory
            .windows(43)
            .any(|window| window == token.as_bytes())
    );
}

#[test]
fn a_token_can_be_taken_back_once() {
    let world = World::new();
    world
        .pki("token make --profile device --id urn:example:pump-1 --valid-for 7d")
        .must_succeed();
    let place = world.json("token list")["tokens"][0]["place"]
        .as_i64()
        .unwrap();
    let cancelled = world.json(&format!("token cancel --place {place}"));
    assert_eq!(cancelled["state"], "cancelled");
    // The log calls it by one name from its making to its end.
    let handle = &cancelled["handle"];
    let entries = crate::log::logged(&world);
    let told = entries.iter().filter(|entry| entry["type"] == "token");
    let told: Vec<_> = told.map(|entry| (&entry["id"], &entry["state"])).collect();
    assert_eq!(
        told,
        [(handle, &"made".into()), (handle, &"cancelled".into())]
    );
    world
        .pki(&format!("token cancel --place {place}"))
        .must_refuse(1, "");
    world.pki("token cancel --place 99").must_refuse(1, "");
}

#[test]
fn who_revokes_a_device_takes_its_open_tokens_back() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    for name in ["urn:example:pump-1", "urn:example:pump-2"] {
        world
            .pki(&format!("token make --profile device --id {name}"))
            .must_succeed();
    }
    world
        .pki("revoke --id urn:example:pump-1 --reason keyCompromise")
        .must_succeed();
    let tokens = world.json("token list")["tokens"].clone();
    assert_eq!(tokens[0]["state"], "cancelled");
    assert_eq!(tokens[1]["state"], "open");
}

#[test]
fn a_list_that_cannot_be_published_keeps_no_token_open_and_each_end_is_on_record() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let make = || {
        let words = "token make --profile device --id urn:example:pump-1";
        world.pki(words).must_succeed();
    };
    make();
    make();
    let crl = world.path("pki/crl");
    std::fs::rename(&crl, world.path("aside")).unwrap();
    let revoke = "revoke --id urn:example:pump-1 --reason keyCompromise";
    world
        .pki(revoke)
        .must_refuse(1, "1 revoked in the inventory");
    let states = || -> Vec<String> {
        let tokens = world.json("token list")["tokens"].clone();
        let tokens = tokens.as_array().unwrap().iter();
        tokens
            .map(|token| token["state"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(states(), ["cancelled", "cancelled"]);
    let cancelled = || {
        let entries = crate::log::logged(&world);
        let is_cancelled =
            |entry: &&serde_json::Value| entry["type"] == "token" && entry["state"] == "cancelled";
        entries.iter().filter(is_cancelled).count()
    };
    assert_eq!(cancelled(), 2);
    std::fs::rename(world.path("aside"), &crl).unwrap();
    // One that was made since, as by a run that was killed in between.
    make();
    world.pki(revoke).must_refuse(1, "was revoked at");
    assert_eq!(states(), ["cancelled"; 3]);
    assert_eq!(cancelled(), 3);
}

#[test]
fn a_token_for_what_may_not_be_issued_is_not_made() {
    let world = World::new();
    for (words, says) in [
        ("--profile device --id nonsense", "--id"),
        (
            "--profile device --id urn:example:a --valid-for 91d",
            "90 days",
        ),
        (
            "--profile device --id urn:example:a --valid-for 0h",
            "90 days",
        ),
        ("--profile ocsp --id urn:example:a", "--profile"),
    ] {
        let said = world.pki(&format!("token make {words}"));
        assert_eq!(said.code, 64, "{words}: {}", said.err);
        assert!(said.err.contains(says), "{words}: {}", said.err);
    }
    assert_eq!(world.json("token list")["total"], 0);
}
