//! `pki issue`: what is in the certificate, and what is in the directory.

use std::fs;

use crate::support::World;

#[test]
fn a_device_gets_four_files_and_a_chain_that_verifies() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    assert_eq!(
        world.names("pump"),
        ["cert.pem", "chain.pem", "key.pem", "trust.pem"]
    );
    assert_eq!(world.mode("pump/key.pem"), 0o600);
    assert_eq!(world.read("pump/trust.pem"), world.read("pki/trust.pem"));
    assert_eq!(
        world.read("pump/chain.pem"),
        world.read("pump/cert.pem") + &world.read("pki/crl/issuing.pem")
    );
    world.verify("pump/cert.pem").must_succeed();
    let key = world
        .openssl("pkey -in pump/key.pem -pubout")
        .must_succeed();
    let certified = world
        .openssl("x509 -in pump/cert.pem -noout -pubkey")
        .must_succeed();
    assert_eq!(key.out, certified.out);
}

#[test]
fn a_device_certificate_says_what_its_profile_says() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let text = world.text("pump/cert.pem");
    for expected in [
        "Version: 3",
        "Subject: CN = urn:example:pump-1",
        "NIST CURVE: P-256",
        "X509v3 Subject Alternative Name: \n                URI:urn:example:pump-1\n",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client Authentication\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("TLS Web Server Authentication"));
}

#[test]
fn a_server_carries_its_hosts_and_addresses() {
    let world = World::new();
    world
        .pki(
            "issue --profile server --dns API.clinic.example --dns localhost --ip 127.0.0.1 \
             --ip ::1 --new-key --out api",
        )
        .must_succeed();
    let text = world.text("api/cert.pem");
    assert!(
        text.contains(
            "DNS:api.clinic.example, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"
        ),
        "{text}"
    );
    assert!(text.contains("TLS Web Server Authentication\n"));
    let verified = world.openssl(
        "verify -CAfile pki/trust.pem -untrusted api/chain.pem -purpose sslserver \
         -verify_hostname localhost api/cert.pem",
    );
    verified.must_succeed();
    world
        .pki("issue --profile server --id one.example --new-key --out one")
        .must_succeed();
    assert!(world.text("one/cert.pem").contains("DNS:one.example\n"));
}

#[test]
fn clients_and_operators_are_named_by_one_uri_too() {
    let world = World::new();
    for profile in ["client", "operator"] {
        world
            .pki(&format!(
                "issue --profile {profile} --id urn:example:{profile}:1 --new-key --out {profile}"
            ))
            .must_succeed();
        world.verify(&format!("{profile}/cert.pem")).must_succeed();
    }
}

#[test]
fn a_name_too_long_for_the_subject_is_in_a_critical_alternative_name_only() {
    let world = World::new();
    let name = format!("urn:example:{}", "x".repeat(100));
    world.device(&name, "long");
    let text = world.text("long/cert.pem");
    assert!(text.contains("Subject: \n"), "{text}");
    assert!(text.contains(&format!(
        "X509v3 Subject Alternative Name: critical\n                URI:{name}\n"
    )));
    world.verify("long/cert.pem").must_succeed();
}

#[test]
fn names_that_do_not_fit_the_profile_are_wrong_usage_and_nothing_is_issued() {
    let world = World::new();
    for words in [
        "--profile device --new-key",
        "--profile device --new-key --dns a.example",
        "--profile device --new-key --id urn:example:a --dns a.example",
        "--profile device --new-key --id pump-1",
        "--profile device --new-key --id urn:example:*",
        "--profile device --new-key --id URN:example:a",
        "--profile server --new-key",
        "--profile server --new-key --id urn:example:a",
        "--profile server --new-key --dns *.example",
        "--profile server --new-key --dns 127.0.0.1",
        "--profile server --new-key --ip localhost",
        "--profile server --new-key --dns a.example --dns A.example",
        "--profile root --new-key --id urn:example:a",
        "--profile device --new-key --csr x --id urn:example:a",
        "--profile device --id urn:example:a",
    ] {
        let said = world.pki(&format!("issue {words} --out out"));
        said.must_refuse(64, "");
        assert!(said.err.contains("hint: "), "{words}: {}", said.err);
    }
    assert!(!world.path("out").exists());
    assert_eq!(world.count(""), 2);
}

#[test]
fn lifetimes_are_the_profiles_and_never_the_issuers_end_or_beyond() {
    let world = World::new();
    let days = |words: &str, out: &str| {
        let issued = world.json(&format!(
            "issue --profile device --id urn:example:a --new-key --out {out} {words}"
        ));
        let at =
            |name: &str| -> jiff::Timestamp { issued[name].as_str().unwrap().parse().unwrap() };
        at("not_before").duration_until(at("not_after")).as_hours()
    };
    // A day before and 90 or 729 days after, less a second: both ends belong to the validity.
    assert_eq!(days("", "default"), 91 * 24 - 1);
    assert_eq!(days("--days 729", "longest"), 730 * 24 - 1);
    let too_long =
        world.pki("issue --profile device --id urn:example:a --new-key --out x --days 730");
    too_long.must_refuse(64, "1 to 729");
    world
        .pki("issue --profile device --id urn:example:a --new-key --out x --days 0")
        .must_refuse(64, "days");
    assert!(!world.path("x").exists());
}

#[test]
fn nothing_is_ever_overwritten_and_nothing_is_issued_then() {
    let world = World::new();
    for name in ["cert.pem", "chain.pem", "trust.pem", "key.pem"] {
        fs::create_dir(world.path("out")).unwrap();
        world.write(&format!("out/{name}"), "mine");
        let said = world.pki("issue --profile device --id urn:example:a --new-key --out out");
        said.must_refuse(1, &format!("out/{name} exists already"));
        assert_eq!(world.read(&format!("out/{name}")), "mine");
        assert_eq!(world.names("out"), [name]);
        fs::remove_dir_all(world.path("out")).unwrap();
    }
    // A dangling link is in the way as well.
    fs::create_dir(world.path("out")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.path("out/key.pem")).unwrap();
    world
        .pki("issue --profile device --id urn:example:a --new-key --out out")
        .must_refuse(1, "exists already");
    assert_eq!(world.count("--profile device"), 0);
}

#[test]
fn a_directory_that_cannot_be_written_is_found_before_a_serial_is_drawn() {
    let world = World::new();
    world.write("file", "");
    world
        .pki("issue --profile device --id urn:example:a --new-key --out file/out")
        .must_refuse(1, "file");
    // /proc takes no files, not even root's.
    world
        .pki("issue --profile device --id urn:example:a --new-key --out /proc/out")
        .must_refuse(1, "/proc");
    assert_eq!(world.count("--profile device"), 0);
}

#[test]
fn other_files_in_the_directory_stay() {
    let world = World::new();
    fs::create_dir(world.path("out")).unwrap();
    world.write("out/notes", "mine");
    world.device("urn:example:a", "out");
    assert_eq!(
        world.names("out"),
        ["cert.pem", "chain.pem", "key.pem", "notes", "trust.pem"]
    );
}

#[test]
fn serials_have_128_bits_and_are_positive() {
    let world = World::new();
    for number in 0..8 {
        let serial = world.device("urn:example:a", &format!("out{number}"));
        assert!((28..=32).contains(&serial.len()), "{serial}");
        let text = world
            .openssl(&format!("x509 -in out{number}/cert.pem -noout -serial"))
            .must_succeed();
        assert_eq!(
            text.out.trim().to_lowercase(),
            format!("serial={serial}"),
            "openssl reads another number"
        );
    }
}

#[test]
fn json_says_what_was_issued_and_where_it_is() {
    let world = World::new();
    let json = world.json("issue --profile device --id urn:example:pump-1 --new-key --out pump");
    assert_eq!(json["status"], "issued");
    assert_eq!(json["id"], "urn:example:pump-1");
    assert_eq!(json["names"][0]["type"], "uri");
    assert_eq!(json["key"], "new");
    assert_eq!(json["files"]["key"], "pump/key.pem");
    let fingerprint = world
        .openssl("x509 -in pump/cert.pem -noout -fingerprint -sha256")
        .must_succeed();
    let hex = fingerprint.out.trim().replace(':', "").to_lowercase();
    assert!(hex.ends_with(json["sha256"].as_str().unwrap()), "{hex}");
}
