//! `pki revoke` and `pki crl`: what verifiers learn, and when.

use crate::support::World;

#[test]
fn a_revoked_device_is_refused_by_a_verifier_at_once() {
    let world = World::new();
    let serial = world.device("urn:example:pump-1", "pump");
    world.device("urn:example:pump-2", "other");
    world.verify("pump/cert.pem").must_succeed();
    let revoked = world.json(&format!("revoke --serial {serial} --reason keyCompromise"));
    assert_eq!(revoked["count"], 1);
    assert_eq!(revoked["revoked"][0]["status"], "revoked");
    assert_eq!(revoked["crls"][0]["number"], 2);
    let refused = world.verify("pump/cert.pem");
    assert_ne!(refused.code, 0);
    assert!(
        refused.err.contains("certificate revoked"),
        "{}",
        refused.err
    );
    world.verify("other/cert.pem").must_succeed();
}

#[test]
fn the_crl_says_the_reason_unless_there_is_none() {
    let world = World::new();
    for (name, reason, says) in [
        ("a", "keyCompromise", "Key Compromise"),
        ("b", "affiliationChanged", "Affiliation Changed"),
        ("c", "superseded", "Superseded"),
        ("d", "CESSATIONOFOPERATION", "Cessation Of Operation"),
        ("e", "privilegeWithdrawn", "Privilege Withdrawn"),
    ] {
        world.device(&format!("urn:example:{name}"), name);
        world
            .pki(&format!("revoke --id urn:example:{name} --reason {reason}"))
            .must_succeed();
        assert!(world.crl_text().contains(says), "{says}");
    }
    world.device("urn:example:f", "f");
    world
        .pki("revoke --id urn:example:f --reason unspecified")
        .must_succeed();
    let text = world.crl_text();
    assert_eq!(text.matches("Revocation Date").count(), 6);
    assert_eq!(text.matches("CRL Reason Code").count(), 5);
    assert!(!text.contains("Unspecified"));
}

#[test]
fn by_name_every_live_certificate_is_revoked_and_counted() {
    let world = World::new();
    for out in ["one", "two", "three"] {
        world.device("urn:example:pump-1", out);
    }
    world
        .pki("revoke --cert one/cert.pem --reason superseded")
        .must_succeed();
    let said = world
        .pki("revoke --id urn:example:pump-1 --reason cessationOfOperation")
        .must_succeed();
    assert!(said.out.contains("2 certificates revoked"), "{}", said.out);
    assert_eq!(world.count("--status revoked"), 3);
}

#[test]
fn who_revokes_a_compromised_key_by_serial_is_told_what_else_is_good() {
    let world = World::new();
    let serials: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .map(|out| world.device("urn:example:pump-1", out))
        .collect();
    world.device("urn:example:pump-2", "other");
    let of = |serial: &String| format!("revoke --serial {serial}");
    // What takes the place of another says nothing against it.
    let json = world.json(&format!("{} --reason superseded", of(&serials[0])));
    assert_eq!(json["others"], serde_json::json!([]));
    let json = world.json(&format!("{} --reason keyCompromise", of(&serials[1])));
    let mut others: Vec<&str> = json["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| other["serial"].as_str().unwrap())
        .collect();
    others.sort_unstable();
    let mut expected = [serials[2].as_str(), serials[3].as_str()];
    expected.sort_unstable();
    assert_eq!(others, expected);
    let said = world.pki(&format!("{} --reason keyCompromise", of(&serials[2])));
    let said = said.must_succeed().out;
    assert!(
        said.contains(&format!("still good {}", serials[3])),
        "{said}"
    );
    assert!(said.contains("--id"), "{said}");
}

#[test]
fn a_chain_file_means_its_first_certificate() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    world
        .pki("revoke --cert pump/chain.pem --reason superseded")
        .must_succeed();
    assert_eq!(world.count("--status revoked --profile device"), 1);
}

#[test]
fn what_cannot_be_revoked_gets_an_explicit_answer_and_no_new_crl() {
    let world = World::new();
    let serial = world.device("urn:example:pump-1", "pump");
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    let before = world.crl_text();
    for (which, says) in [
        (format!("--serial {serial}"), "was revoked at"),
        ("--id urn:example:pump-1".to_owned(), "was revoked at"),
        ("--cert pump/cert.pem".to_owned(), "was revoked at"),
        (
            "--serial 0123456789abcdef".to_owned(),
            "no such certificate",
        ),
        ("--id urn:example:pump-9".to_owned(), "no such certificate"),
        ("--cert pump/key.pem".to_owned(), "holds no certificate"),
        (
            "--cert pki/trust.pem".to_owned(),
            "root cannot revoke itself",
        ),
    ] {
        let said = world.pki(&format!("revoke {which} --reason superseded"));
        said.must_refuse(1, says);
    }
    let other = World::new();
    other.device("urn:example:pump-1", "pump");
    world.write("foreign.pem", other.read("pump/cert.pem"));
    world
        .pki("revoke --cert foreign.pem --reason superseded")
        .must_refuse(1, "not one of this authority");
    assert_eq!(world.crl_text(), before);
}

#[test]
fn reasons_that_would_take_a_revocation_back_are_wrong_usage() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    for reason in [
        "certificateHold",
        "removeFromCRL",
        "aACompromise",
        "because",
    ] {
        world
            .pki(&format!("revoke --id urn:example:pump-1 --reason {reason}"))
            .must_refuse(64, "possible values");
    }
    world
        .pki("revoke --id urn:example:pump-1 --reason cACompromise")
        .must_refuse(64, "to revoke an authority");
    assert_eq!(world.count("--status revoked"), 0);
}

#[test]
fn the_issuing_ca_itself_can_be_revoked_and_then_issues_nothing() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let revoked = world.json("revoke --cert pki/ca/issuing.pem --reason cACompromise");
    assert_eq!(revoked["crls"][0]["issuer"], "root");
    assert!(
        world
            .verify("pump/cert.pem")
            .err
            .contains("certificate revoked")
    );
    world
        .pki("issue --profile device --id urn:example:a --new-key --out a")
        .must_refuse(1, "was revoked");
}

#[test]
fn crls_have_numbers_dates_and_signatures() {
    let world = World::new();
    for crl in ["root", "issuing"] {
        let issuer = format!("pki/ca/{crl}.pem");
        world
            .openssl(&format!(
                "crl -in pki/crl/{crl}.crl -noout -CAfile {issuer}"
            ))
            .must_succeed();
    }
    let number = || {
        world
            .openssl("crl -in pki/crl/issuing.crl -noout -crlnumber")
            .must_succeed()
            .out
            .trim()
            .to_owned()
    };
    assert_eq!(number(), "crlNumber=0x01");
    let signed = world.json("crl");
    assert_eq!(signed["crls"][0]["issuer"], "issuing");
    assert_eq!(signed["crls"][1]["issuer"], "root");
    assert_eq!(number(), "crlNumber=0x02");
    let text = world.crl_text();
    assert!(text.contains("Version 2 (0x1)"));
    assert!(text.contains("X509v3 Authority Key Identifier"));
    assert!(text.contains("No Revoked Certificates"));
}

#[test]
fn whoever_publishes_a_list_is_told_that_gateways_read_it_by_themselves() {
    let world = World::new();
    world
        .pki("issue --profile device --id urn:example:a --new-key --out a")
        .must_succeed();
    for words in [
        "revoke --id urn:example:a --reason superseded",
        "crl",
        "revoke --help",
        "crl --help",
    ] {
        let said = world.pki(words).must_succeed();
        assert!(said.out.contains("gateway"), "{words}: {}", said.out);
        assert!(!said.out.contains("HUP"), "{words}: {}", said.out);
    }
}

#[test]
fn a_crl_is_valid_for_a_week_or_as_long_as_asked() {
    let world = World::new();
    let hours = |words: &str| {
        let crl = &world.json(words)["crls"][0];
        let at = |name: &str| -> jiff::Timestamp { crl[name].as_str().unwrap().parse().unwrap() };
        at("this_update")
            .duration_until(at("next_update"))
            .as_hours()
    };
    assert_eq!(hours("crl"), 7 * 24);
    assert_eq!(hours("crl --days 2"), 2 * 24);
    world.pki("crl --days 366").must_refuse(64, "1 to 365 days");
    world.pki("crl --days 0").must_refuse(64, "days");
    let settings = world.read("pki/ca/authority.toml");
    world.write(
        "pki/ca/authority.toml",
        settings.replace("issuing_days = 7", "issuing_days = 3"),
    );
    assert_eq!(hours("crl"), 3 * 24);
}

#[test]
fn a_revocation_that_could_not_be_published_is_kept_and_published_later() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let (crl, aside) = (world.path("pki/crl"), world.path("aside"));
    std::fs::rename(&crl, &aside).unwrap();
    let said = world.pki("revoke --id urn:example:pump-1 --reason superseded");
    said.must_refuse(1, "1 revoked in the inventory");
    assert!(said.err.contains("pki crl"), "{}", said.err);
    std::fs::rename(&aside, &crl).unwrap();
    world.verify("pump/cert.pem").must_succeed();
    world.pki("crl").must_succeed();
    assert!(
        world
            .verify("pump/cert.pem")
            .err
            .contains("certificate revoked")
    );
}

#[test]
fn what_else_is_good_is_told_also_where_the_list_cannot_be_published() {
    let world = World::new();
    let serials = ["a", "b", "c"].map(|out| world.device("urn:example:pump-1", out));
    std::fs::rename(world.path("pki/crl"), world.path("aside")).unwrap();
    let said = world.pki(&format!(
        "revoke --serial {} --reason keyCompromise",
        serials[0]
    ));
    said.must_refuse(1, "1 revoked in the inventory");
    for other in &serials[1..] {
        assert!(said.err.contains(other.as_str()), "{}", said.err);
    }
    assert!(said.err.contains("by --id"), "{}", said.err);
}

#[test]
fn verifiers_never_find_scratch_files_beside_the_crls() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    assert_eq!(
        world.names("pki/crl"),
        ["issuing.crl", "issuing.pem", "root.crl"]
    );
    assert!(
        !world
            .names("pki/ca")
            .iter()
            .any(|name| name.contains("new"))
    );
}
