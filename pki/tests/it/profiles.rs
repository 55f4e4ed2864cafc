//! What certificates, CRLs and their pointers say, to openssl and to an independent linter.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Said, World};

const URL: &str = "http://pki.clinic.example";
const PUMP: &str = "https://devices.clinic.example/pump-1";

/// A directory with an authority that publishes in four shards, and certifies servers below
/// clinic.example alone.
fn published() -> World {
    let world = World::empty();
    world
        .run([
            "init",
            "--dir",
            "pki",
            "--name",
            "Clinic North",
            "--url",
            URL,
            "--shards",
            "4",
            "--permit-dns",
            "clinic.example",
            "--permit-ip",
            "10.0.0.0/8",
        ])
        .must_succeed();
    world
}

/// One certificate of each profile that is issued by hand, by its file.
fn one_of_each(world: &World) -> Vec<&'static str> {
    for (profile, names, out) in [
        (
            "device",
            "--id https://devices.clinic.example/pump-1 --hardware-module 1.3.6.1.4.1.99999.7:0a1b",
            "device",
        ),
        (
            "client",
            "--id https://services.clinic.example/lab",
            "client",
        ),
        (
            "operator",
            "--id https://people.clinic.example/ada",
            "operator",
        ),
        ("server", "--dns api.clinic.example --ip 10.0.0.5", "server"),
    ] {
        world
            .pki(&format!(
                "issue --profile {profile} {names} --new-key --out {out}"
            ))
            .must_succeed();
    }
    vec![
        "pki/ca/root.pem",
        "pki/ca/issuing.pem",
        "device/cert.pem",
        "client/cert.pem",
        "operator/cert.pem",
        "server/cert.pem",
    ]
}

/// A program of the linter, if it is installed.
pub(crate) fn pkilint(program: &str) -> Option<PathBuf> {
    let python = std::env::var_os("PHIGATE_PKILINT_PYTHON").map(PathBuf::from)?;
    Some(python.with_file_name(program)).filter(|path| path.exists())
}

/// What the linter finds in a file that is a warning or worse, one line each.
pub(crate) fn findings(world: &World, program: &PathBuf, args: &[&str], file: &str) -> Vec<String> {
    let output = Command::new(program)
        .current_dir(world.root())
        .args(args)
        .args(["-s", "WARNING", file])
        .output()
        .unwrap();
    let said = Said::from(output);
    assert!(!said.err.contains("Traceback"), "{}", said.err);
    let severities = ["(WARNING)", "(ERROR)", "(FATAL)"];
    said.out
        .lines()
        .filter(|line| severities.iter().any(|severity| line.contains(severity)))
        .map(|line| format!("{file}: {}", line.trim()))
        .collect()
}

#[test]
fn an_independent_linter_finds_nothing_in_any_profile_or_crl() {
    let (Some(certificates), Some(crls)) = (pkilint("lint_pkix_cert"), pkilint("lint_crl")) else {
        crate::support::not_run("pkilint is not installed; `integration/test --prepare` does it");
        return;
    };
    let world = published();
    let mut found = Vec::new();
    for file in one_of_each(&world) {
        found.extend(findings(&world, &certificates, &["lint"], file));
    }
    world
        .pki(&format!("revoke --id {PUMP} --reason keyCompromise"))
        .must_succeed();
    for name in world.names("pki/crl") {
        if name != "issuing.pem" {
            let file = format!("pki/crl/{name}");
            let args = ["lint", "-t", "crl", "-p", "pkix"];
            found.extend(findings(&world, &crls, &args, &file));
        }
    }
    assert_eq!(found, [""; 0]);
    // Its notion of a URI is that of a URL: it takes no URN, though RFC 5280 section 4.2.1.6 asks for
    // an absolute URI of any scheme. Beside that it finds nothing in an authority without a URL.
    let plain = World::new();
    plain.device("urn:example:pump-1", "device");
    let found = findings(&plain, &certificates, &["lint"], "device/cert.pem");
    assert_eq!(
        found,
        [
            "device/cert.pem: pkix.invalid_uri_syntax (ERROR): Invalid URI syntax: \"urn:example:pump-1\""
        ]
    );
    let args = ["lint", "-t", "crl", "-p", "pkix"];
    assert_eq!(
        findings(&plain, &crls, &args, "pki/crl/issuing.crl"),
        [""; 0]
    );
}

#[test]
fn certificates_say_where_their_status_is_told() {
    let world = published();
    one_of_each(&world);
    for leaf in ["device/cert.pem", "server/cert.pem"] {
        let text = world.text(leaf);
        assert!(text.contains(&format!("OCSP - URI:{URL}/ocsp")), "{text}");
        assert!(
            text.contains(&format!("CA Issuers - URI:{URL}/issuing.cer")),
            "{text}"
        );
        assert!(text.contains(&format!("URI:{URL}/crl/issuing-0")), "{text}");
    }
    let text = world.text("pki/ca/issuing.pem");
    assert!(text.contains(&format!("URI:{URL}/crl/root.crl")), "{text}");
    assert!(
        text.contains(&format!("CA Issuers - URI:{URL}/root.cer")),
        "{text}"
    );
    let plain = World::new();
    plain.device("urn:example:a", "a");
    assert!(!plain.text("a/cert.pem").contains("URI:http"));
}

#[test]
fn a_hardware_module_stands_beside_the_name_of_a_device() {
    let world = published();
    one_of_each(&world);
    let text = world.text("device/cert.pem");
    assert!(text.contains("1.3.6.1.5.5.7.8.4"), "{text}");
    let shown = world.json(&format!("show --id {PUMP}"));
    let names = &shown["certificates"][0]["names"];
    assert_eq!(names.as_array().unwrap().len(), 2, "{names}");
    assert_eq!(world.count("--id 1.3.6.1.4.1.99999.7:0a1b"), 1);
    world
        .pki("issue --profile operator --id urn:example:b --hardware-module 1.3.6:00 --new-key --out b")
        .must_refuse(64, "named by a URI");
    world
        .pki(
            "issue --profile device --id urn:example:b --hardware-module 1.3.6:0 --new-key --out b",
        )
        .must_refuse(64, "OID:HEX");
}

#[test]
fn servers_outside_the_name_constraints_are_refused_and_verifiers_would_too() {
    let world = published();
    let text = world.text("pki/ca/issuing.pem");
    assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
    for names in [
        "--dns api.evil.example",
        "--dns api.clinic.example --ip 192.168.0.1",
    ] {
        world
            .pki(&format!(
                "issue --profile server {names} --new-key --out out"
            ))
            .must_refuse(1, "outside the name constraints");
    }
    assert_eq!(world.count("--profile server"), 0);
    world
        .pki("issue --profile server --dns api.clinic.example --ip 10.1.2.3 --new-key --out out")
        .must_succeed();
    world
        .openssl(
            "verify -x509_strict -CAfile pki/trust.pem -untrusted pki/crl/issuing.pem out/cert.pem",
        )
        .must_succeed();
}

#[test]
fn one_permitted_kind_excludes_the_other() {
    let world = World::empty();
    world
        .run(["init", "--dir", "pki", "--permit-dns", "clinic.example"])
        .must_succeed();
    world
        .pki("issue --profile server --ip 10.0.0.1 --new-key --out out")
        .must_refuse(1, "outside the name constraints");
    // A device has a URN, of which constraints do not speak.
    world.device("urn:example:pump-1", "pump");
    world.verify("pump/cert.pem").must_succeed();
}

#[test]
fn a_revocation_signs_its_shard_alone_and_verifiers_find_it_there() {
    let world = published();
    let before = world.json("crl");
    let numbers = |crls: &serde_json::Value| -> Vec<(Option<u64>, u64)> {
        let crls = crls["crls"].as_array().unwrap().iter();
        crls.map(|crl| (crl["shard"].as_u64(), crl["number"].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(numbers(&before).len(), 5, "four shards and the root's");
    world.device("urn:example:pump-1", "pump");
    world.device("urn:example:pump-2", "other");
    let revoked = world.json("revoke --id urn:example:pump-1 --reason superseded");
    let signed = numbers(&revoked);
    assert_eq!(signed.len(), 1, "{revoked}");
    let shard = signed[0].0.unwrap();
    let verify = |leaf: &str, shard: &str| {
        let crls = world.read("pki/crl/root.crl") + &world.read(&format!("pki/crl/{shard}"));
        world.write("crls.pem", crls);
        world.openssl(&format!(
            "verify -x509_strict -crl_check_all -extended_crl -CRLfile crls.pem \
             -CAfile pki/trust.pem -untrusted pki/crl/issuing.pem {leaf}"
        ))
    };
    let said = verify("pump/cert.pem", &format!("issuing-{shard:02}.crl"));
    assert!(said.err.contains("certificate revoked"), "{}", said.err);
    let text = world.text("other/cert.pem");
    let point = text.split("/crl/").nth(1).unwrap();
    let shard_of_other = point.lines().next().unwrap().trim();
    verify("other/cert.pem", shard_of_other).must_succeed();
    // A shard of others proves nothing about it.
    let stranger = (0..4)
        .map(|shard| format!("issuing-{shard:02}.crl"))
        .find(|name| name != shard_of_other)
        .unwrap();
    assert_ne!(verify("other/cert.pem", &stranger).code, 0);
}

#[test]
fn crls_that_are_due_are_signed_anew_and_the_others_are_not() {
    let world = published();
    assert_eq!(world.json("crl --due")["crls"].as_array().unwrap().len(), 0);
    std::fs::remove_file(world.path("pki/crl/issuing-02.crl")).unwrap();
    let again = world.json("crl --due");
    let again = again["crls"].as_array().unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["shard"], 2);
    assert!(world.path("pki/crl/issuing-02.crl").exists());
}

#[test]
fn a_place_to_publish_that_cannot_be_is_wrong_usage() {
    let world = World::empty();
    for (flags, says) in [
        (vec!["--url", "https://pki.clinic.example"], "http://"),
        (
            vec!["--url", "http://pki.clinic.example/"],
            "without a slash",
        ),
        (vec!["--shards", "4"], "--url"),
        (vec!["--url", URL, "--shards", "257"], "257"),
        (vec!["--permit-ip", "10.0.0.1/8"], "no network"),
        (vec!["--permit-dns", "*.clinic.example"], "--permit-dns"),
    ] {
        let args = ["init", "--dir", "pki"].into_iter().chain(flags);
        let said = world.run(args);
        assert_eq!(said.code, 64, "{}", said.err);
        assert!(said.err.contains(says), "{}", said.err);
        assert!(!world.path("pki").exists());
    }
}
