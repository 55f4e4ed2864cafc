//! `pki init`: a whole authority or none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::World;

#[test]
fn what_the_documents_promise_is_there() {
    let world = World::new();
    assert_eq!(
        world.names("pki"),
        ["audit", "ca", "crl", "log.vkey", "trust.pem"]
    );
    assert_eq!(
        world.names("pki/crl"),
        ["issuing.crl", "issuing.pem", "root.crl"]
    );
    assert_eq!(
        world.names("pki/ca"),
        [
            "audit.keys",
            "audit.turn",
            "authority.toml",
            "inventory.db",
            "issuing.key.pem",
            "issuing.pem",
            "root.key.pem",
            "root.pem"
        ]
    );
    assert_eq!(world.read("pki/trust.pem"), world.read("pki/ca/root.pem"));
}

#[test]
fn secrets_are_the_owners_alone_and_what_verifiers_read_is_everybodys() {
    let world = World::new();
    assert_eq!(world.mode("pki/ca"), 0o700);
    for name in world.names("pki/ca") {
        assert_eq!(world.mode(&format!("pki/ca/{name}")), 0o600, "{name}");
    }
    for name in ["pki", "pki/crl"] {
        assert_eq!(world.mode(name), 0o755, "{name}");
    }
    for name in [
        "trust.pem",
        "crl/root.crl",
        "crl/issuing.crl",
        "crl/issuing.pem",
    ] {
        assert_eq!(world.mode(&format!("pki/{name}")), 0o644, "{name}");
    }
}

#[test]
fn a_strict_umask_does_not_lock_verifiers_out() {
    let world = World::empty();
    let script = format!("umask 077; {} init --dir pki", env!("CARGO_BIN_EXE_pki"));
    let status = std::process::Command::new("sh")
        .current_dir(world.root())
        .args(["-c", &script])
        .output()
        .unwrap()
        .status;
    assert!(status.success());
    assert_eq!(world.mode("pki/crl/issuing.crl"), 0o644);
    assert_eq!(world.mode("pki"), 0o755);
}

#[test]
fn root_and_issuing_ca_are_what_rfc_5280_asks_for() {
    let world = World::new();
    let root = world.text("pki/ca/root.pem");
    for expected in [
        "NIST CURVE: P-384",
        "CA:TRUE, pathlen:1",
        "X509v3 Basic Constraints: critical",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(root.contains(expected), "{expected}: {root}");
    }
    let issuing = world.text("pki/ca/issuing.pem");
    for expected in ["NIST CURVE: P-256", "CA:TRUE, pathlen:0"] {
        assert!(issuing.contains(expected), "{expected}: {issuing}");
    }
    world.verify("pki/ca/issuing.pem").must_succeed();
    for key in ["root", "issuing"] {
        world
            .openssl(&format!("pkey -in pki/ca/{key}.key.pem -noout -check"))
            .must_succeed();
    }
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let world = World::new();
    let before = world.read("pki/trust.pem");
    let said = world.run(["init", "--dir", "pki"]);
    said.must_refuse(1, "holds an authority already");
    assert!(said.err.contains("hint: "));
    assert_eq!(world.read("pki/trust.pem"), before);
}

#[test]
fn a_directory_with_something_else_in_it_is_refused() {
    let world = World::empty();
    fs::create_dir(world.path("pki")).unwrap();
    world.write("pki/notes", "mine");
    world
        .run(["init", "--dir", "pki"])
        .must_refuse(1, "not an empty directory");
    assert_eq!(world.names("pki"), ["notes"]);
    world.write("file", "");
    world.run(["init", "--dir", "file"]).must_refuse(1, "file");
    world.run(["init", "--dir", ".."]).must_refuse(64, "name");
}

#[test]
fn an_empty_directory_is_used_and_missing_ones_are_made() {
    let world = World::empty();
    fs::create_dir(world.path("empty")).unwrap();
    world.run(["init", "--dir", "empty"]).must_succeed();
    world.run(["init", "--dir", "a/b/pki"]).must_succeed();
    assert_eq!(world.names("a/b"), ["pki"]);
}

#[test]
fn a_place_that_cannot_be_written_leaves_nothing_behind() {
    // Whoever runs as root may write anywhere; a directory below a file is impossible for all.
    let world = World::empty();
    world.write("file", "");
    world
        .run(["init", "--dir", "file/pki"])
        .must_refuse(1, "file");
    assert_eq!(world.names("."), ["file"]);
}

#[test]
fn the_name_is_in_the_certificates_and_a_bad_one_is_wrong_usage() {
    let world = World::empty();
    world
        .run(["init", "--dir", "pki", "--name", "Clinic North"])
        .must_succeed();
    assert!(
        world
            .text("pki/ca/issuing.pem")
            .contains("O = Clinic North, CN = Clinic North Issuing CA")
    );
    let long = "x".repeat(41);
    for name in ["", "a\tb", long.as_str()] {
        world
            .run(["init", "--dir", "other", "--name", name])
            .must_refuse(64, "name");
    }
}

#[test]
fn json_says_where_everything_is() {
    let world = World::empty();
    let said = world.run(["init", "--dir", "pki", "--json"]).must_succeed();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["files"]["trust"], "pki/trust.pem");
    assert_eq!(json["files"]["crl"], "pki/crl");
    assert_eq!(json["crls"][0]["number"], 1);
}

#[test]
fn parts_that_do_not_fit_together_are_not_used() {
    let world = World::new();
    world.run(["init", "--dir", "other"]).must_succeed();
    fs::copy(
        world.path("other/ca/issuing.pem"),
        world.path("pki/ca/issuing.pem"),
    )
    .unwrap();
    world.pki("list").must_refuse(1, "signature");
    fs::copy(
        world.path("other/ca/root.pem"),
        world.path("pki/ca/root.pem"),
    )
    .unwrap();
    world.pki("list").must_refuse(1, "does not know");
}

#[test]
fn a_secret_key_that_others_can_read_signs_nothing() {
    let world = World::new();
    let key = world.path("pki/ca/issuing.key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = world.pki("issue --profile device --id urn:example:a --new-key --out a");
    said.must_refuse(1, "0644");
    assert!(said.err.contains("chmod 600"));
    assert!(!world.path("a").exists());
    assert_eq!(world.count("--profile device"), 0);
}
