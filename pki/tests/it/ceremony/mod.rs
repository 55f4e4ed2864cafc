//! An offline root: two directories, two files between them, and every wrong file refused before anything
//! changes.

mod killed;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use pki::{Ca, PassphraseSources};
use serde_json::Value;

use crate::log::logged_in;
use crate::profiles::{findings, pkilint};
use crate::support::{Said, World};

const ASK: &str = "ceremony request --name Clinic --out request.pem";

/// A directory with a root in `root/`, and an issuing authority in `pki/` that waits for its answer.
fn asked(flags: &str) -> World {
    let world = rooted("root");
    world.pki(&format!("{ASK} {flags}")).must_succeed();
    world
}

fn rooted(name: &str) -> World {
    let world = World::empty();
    found_root(&world, name);
    world
}

fn found_root(world: &World, name: &str) {
    let init = ["init", "--root-only", "--name", "Clinic", "--dir", name];
    world.run(init).must_succeed();
}

/// By openssl, as the person does who compares.
fn sha256_of(world: &World, file: &str) -> String {
    let said = world
        .openssl(&format!("dgst -sha256 -r {file}"))
        .must_succeed();
    said.out.split(' ').next().unwrap().to_owned()
}

fn fingerprint(world: &World, certificate: &str) -> String {
    let words = format!("x509 -in {certificate} -noout -fingerprint -sha256");
    let said = world.openssl(&words).must_succeed();
    said.out.trim().split('=').nth(1).unwrap().to_owned()
}

fn sign(world: &World, root: &str, request: &str, out: &str) -> Said {
    let digest = sha256_of(world, request);
    let words = format!(
        "ceremony sign --dir {root} --request {request} --request-sha256 {digest} --out {out}"
    );
    world.run(words.split_whitespace())
}

fn import(world: &World, file: &str) -> Said {
    let root = fingerprint(world, "root/trust.pem");
    world.pki(&format!("ceremony import --in {file} --root-sha256 {root}"))
}

/// The whole ceremony.
fn held(flags: &str) -> World {
    let world = asked(flags);
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    import(&world, "answer.pem").must_succeed();
    world
}

fn at_root(world: &World, words: &str) -> Said {
    let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
    world.run(
        [verb, "--dir", "root"]
            .into_iter()
            .chain(rest.split_whitespace()),
    )
}

fn copy(world: &World, from: &str, to: &str) {
    let copied = Command::new("cp")
        .current_dir(world.root())
        .args(["-a", from, to])
        .status();
    assert!(copied.unwrap().success());
}

/// Every file of a directory with its content, but for the log, which tells of refusals.
fn files(world: &World, directory: &str) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![world.path(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let is_log = path.ends_with("audit");
            let inner = fs::read_dir(&path).unwrap().filter(|_| !is_log);
            left.extend(inner.map(|entry| entry.unwrap().path()));
        } else {
            let content = fs::read(&path).unwrap();
            all.insert(path.to_string_lossy().into_owned(), content);
        }
    }
    all
}

#[test]
fn an_authority_whose_root_is_elsewhere_issues_and_openssl_believes_it() {
    let world = held("--permit-dns clinic.example");
    world.device("urn:example:pump-1", "pump");
    world.verify("pump/cert.pem").must_succeed();
    assert_eq!(world.read("pump/trust.pem"), world.read("root/trust.pem"));
    let text = world.text("pki/ca/issuing.pem");
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    assert!(text.contains("DNS:clinic.example"), "{text}");
    world
        .pki("issue --profile server --dns api.evil.example --new-key --out evil")
        .must_refuse(1, "outside the name constraints");
    // No octet of the root's key is where it issues.
    assert!(!world.names("pki/ca").contains(&"root.key.pem".to_owned()));
    assert!(
        !world
            .names("root/ca")
            .contains(&"issuing.key.pem".to_owned())
    );
    for directory in ["pki", "root"] {
        let said = world.run(["doctor", "--strict", "--dir", directory]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    }
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    assert_ne!(world.verify("pump/cert.pem").code, 0);
    let listed = at_root(&world, "list --json").must_succeed();
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["certificates"][1]["profile"], "issuing");
}

#[test]
fn what_verifiers_read_is_what_init_would_have_made() {
    let flags = "--url http://pki.clinic.example --shards 2";
    let world = held(flags);
    let init = format!("init --dir whole --name Clinic {flags}");
    world.run(init.split_whitespace()).must_succeed();
    for directory in ["", "/crl"] {
        let names = |of: &str| world.names(&format!("{of}{directory}"));
        assert_eq!(names("pki"), names("whole"));
        for name in names("pki") {
            let mode = |of: &str| world.mode(&format!("{of}{directory}/{name}"));
            assert_eq!(mode("pki"), mode("whole"), "{name}");
        }
    }
    assert_eq!(world.names("root/crl"), ["root.crl"]);
    for name in world.names("pki/ca") {
        assert_eq!(world.mode(&format!("pki/ca/{name}")), 0o600, "{name}");
    }
    let text = world.text("pki/crl/issuing.pem");
    for expected in ["/crl/root.crl", "/root.cer"] {
        let expected = format!("URI:http://pki.clinic.example{expected}");
        assert!(text.contains(&expected), "{expected}: {text}");
    }
}

#[test]
fn an_independent_linter_finds_nothing_in_what_a_ceremony_made() {
    let (Some(certificates), Some(crls)) = (pkilint("lint_pkix_cert"), pkilint("lint_crl")) else {
        crate::support::not_run("pkilint is not installed; `integration/test --prepare` does it");
        return;
    };
    let world = held("--url http://pki.clinic.example --permit-dns clinic.example");
    for file in ["pki/ca/root.pem", "pki/ca/issuing.pem"] {
        assert_eq!(findings(&world, &certificates, &["lint"], file), [""; 0]);
    }
    let args = ["lint", "-t", "crl", "-p", "pkix"];
    assert_eq!(findings(&world, &crls, &args, "pki/crl/root.crl"), [""; 0]);
}

#[test]
fn nothing_is_signed_until_the_request_is_confirmed_and_both_sides_say_the_same_of_it() {
    let world = rooted("root");
    let told =
        world.json("ceremony request --name Clinic --permit-ip 10.0.0.0/8 --out request.pem");
    let digest = sha256_of(&world, "request.pem");
    assert_eq!(told["request_sha256"], digest.as_str());
    let look = [
        "ceremony",
        "sign",
        "--dir",
        "root",
        "--request",
        "request.pem",
    ];
    let before = files(&world, "root");
    let said = world.run(look.into_iter().chain(["--json"]));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("nobody confirmed"), "{}", said.err);
    let seen: Value = serde_json::from_str(&said.out).unwrap();
    for key in ["name", "url", "permits", "key_sha256", "request_sha256"] {
        assert_eq!(seen[key], told[key], "{key}");
    }
    let other = "00".repeat(32);
    let confirm = ["--request-sha256", &other, "--out", "answer.pem"];
    world
        .run(look.into_iter().chain(confirm))
        .must_refuse(1, &digest);
    assert_eq!(files(&world, "root"), before);
    assert!(!world.path("answer.pem").exists());
    let confirm = ["--request-sha256", &digest];
    world
        .run(look.into_iter().chain(confirm))
        .must_refuse(64, "--out");
    // By openssl, the key that both speak of.
    world
        .openssl("req -in request.pem -noout -verify -pubkey -out public.pem")
        .must_succeed();
    world
        .openssl("pkey -pubin -in public.pem -outform DER -out public.der")
        .must_succeed();
    assert_eq!(told["key_sha256"], sha256_of(&world, "public.der").as_str());
}

#[test]
fn every_step_is_on_record_on_its_own_side_with_who_was_there() {
    let world = asked("");
    let digest = sha256_of(&world, "request.pem");
    let sign = [
        "ceremony",
        "sign",
        "--dir",
        "root",
        "--request",
        "request.pem",
        "--request-sha256",
        &digest,
        "--witness",
        "Ada",
        "--witness",
        "Bob B.",
        "--out",
        "answer.pem",
    ];
    world.run(sign).must_succeed();
    import(&world, "answer.pem").must_succeed();
    let acts = |directory: &str| -> Vec<Value> {
        let entries = logged_in(&world, directory);
        let is_act = |entry: &Value| entry["type"] == "authority";
        entries.into_iter().filter(is_act).collect()
    };
    let names = |acts: &[Value]| -> Vec<String> {
        let name = |act: &Value| act["act"].as_str().unwrap().to_owned();
        acts.iter().map(name).collect()
    };
    let here = acts("pki");
    let made = [
        "founded",
        "key_made",
        "ceremony_requested",
        "ceremony_imported",
    ];
    assert_eq!(names(&here), made);
    let there = acts("root");
    assert_eq!(names(&there), ["founded", "key_made", "ceremony_signed"]);
    let signed = &there[2];
    assert_eq!(signed["reason"], "witnesses: Ada, Bob B.");
    assert_eq!(signed["digest"], digest.as_str());
    assert_eq!(here[2]["digest"], digest.as_str());
    assert_eq!(here[2]["subject"], signed["subject"]);
    assert_eq!(here[3]["digest"], sha256_of(&world, "answer.pem").as_str());
    for (directory, verbs) in [
        ("pki", vec!["ceremony request", "ceremony import"]),
        ("root", vec!["init", "ceremony sign"]),
    ] {
        let entries = logged_in(&world, directory);
        let found = entries.iter().filter_map(|entry| entry["verb"].as_str());
        assert_eq!(found.collect::<Vec<_>>(), verbs);
    }
    // The certificate that was signed is in the root's log before it was.
    let entries = logged_in(&world, "root");
    let intended = entries
        .iter()
        .find(|entry| entry["type"] == "certificate_intended" && entry["profile"] == "issuing");
    assert_eq!(intended.unwrap()["key_origin"], "request");
}

#[test]
fn before_the_answer_and_beside_a_root_alone_each_verb_says_what_is_missing() {
    let world = asked("");
    world.run(["init", "--dir", "other"]).must_succeed();
    let other = "issue --dir other --profile device --id urn:example:a --new-key --out a";
    world.run(other.split_whitespace()).must_succeed();
    world.write("rows.csv", "id,out\nurn:example:pump-3,next\n");
    let of_issuer = [
        "issue --profile device --id urn:example:a --new-key --out b",
        "bulk --profile device --table rows.csv --out bulk",
        "token make --profile device --id urn:example:a",
        "token list",
        "token cancel --place 1",
        "renew --in a",
        "serve --listen 127.0.0.1:0",
    ];
    let of_both = [
        "list",
        "show --id a",
        "crl",
        "crl --due",
        "doctor",
        "recover",
        "backup --to copy",
        "revoke --id a --reason superseded",
        "passphrase --new env:HOME",
    ];
    let before = files(&world, "pki");
    for words in of_issuer.iter().chain(&of_both) {
        world.pki(words).must_refuse(
            1,
            "the root's answer has not been imported: pki ceremony import",
        );
    }
    assert_eq!(files(&world, "pki"), before);
    for words in of_issuer {
        let mut words = words.replacen("token ", "token_", 1);
        words = words.replacen(' ', " --dir root ", 1).replacen('_', " ", 1);
        let words = if words.starts_with("token") && !words.contains("--dir") {
            format!("{words} --dir root")
        } else {
            words
        };
        world
            .run(words.split_whitespace())
            .must_refuse(1, "a root alone");
    }
    at_root(&world, "ceremony")
        .code
        .eq(&64)
        .then_some(())
        .unwrap();
    sign(&world, "pki", "request.pem", "answer.pem").must_refuse(1, "has not been imported");
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    world
        .run(["ceremony", "import", "--dir", "root", "--in", "answer.pem"])
        .must_refuse(1, "made no request");
    world
        .run(["ceremony", "import", "--dir", "other", "--in", "answer.pem"])
        .must_refuse(1, "made no request");
}

#[test]
fn a_root_alone_is_looked_after_like_any_authority() {
    let world = World::empty();
    let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    world.write("secret", "a long passphrase");
    fs::set_permissions(world.path("secret"), owner).unwrap();
    world
        .run(["init", "--root-only", "--dir", "root"])
        .must_succeed();
    at_root(&world, "passphrase --new file:secret").must_succeed();
    assert!(world.read("root/ca/root.key.pem").contains("ENCRYPTED"));
    for words in [
        "list",
        "crl",
        "crl --due",
        "doctor --strict",
        "recover",
        "recover --revoke",
    ] {
        at_root(&world, words).must_succeed();
    }
    at_root(&world, "show --id nobody").must_refuse(1, "no such");
    at_root(&world, "backup --to copy").must_succeed();
    world
        .run(["restore", "--from", "copy", "--verify"])
        .must_succeed();
    world
        .run(["restore", "--from", "copy", "--dir", "again"])
        .must_succeed();
    world.run(["crl", "--dir", "again"]).must_succeed();
    world
        .run(["doctor", "--strict", "--dir", "again"])
        .must_succeed();
    for flags in [
        ["--url", "http://a.example"],
        ["--permit-dns", "a.example"],
        ["--postgres", "env:X"],
    ] {
        let init = ["init", "--root-only", "--dir", "never"];
        world
            .run(init.into_iter().chain(flags))
            .must_refuse(64, "--root-only");
    }
}

#[test]
fn the_issuing_machine_signs_what_it_can_and_says_when_the_roots_list_is_due() {
    let world = held("");
    let crls = world.json("crl");
    assert_eq!(crls["crls"].as_array().unwrap().len(), 1, "{crls}");
    assert_eq!(crls["wanted"], Value::Null);
    let issuing = world.json("show --cert pki/ca/issuing.pem");
    let serial = issuing["certificates"][0]["serial"].as_str().unwrap();
    world
        .pki(&format!("revoke --serial {serial} --reason cACompromise"))
        .must_refuse(1, "root's key");
    world
        .pki("passphrase --new-root env:HOME")
        .must_refuse(1, "root's key");
    // Half a year is over in the middle of it.
    let later = Timestamp::now() + SignedDuration::from_hours(24 * 100);
    let mut ca = Ca::open(&world.path("pki")).unwrap();
    let signed = ca.sign_crls(pki::Renewal::Due, None, later).unwrap();
    assert_eq!(signed.len(), 1);
    let wanted = ca.wanted_root_crl(later).unwrap().unwrap();
    assert!(wanted.ends_with("crl/root.crl"));
    assert!(
        !ca.has_due_crl(later).unwrap(),
        "nothing that could be signed here"
    );
    let found = ca.examine(later);
    let hint = found
        .iter()
        .find(|finding| finding.message.contains("root.crl"));
    assert!(hint.unwrap().hint.unwrap().contains("pki ceremony import"));
    drop(ca);
    // A file that is gone is wanted, too.
    fs::remove_file(world.path("pki/crl/root.crl")).unwrap();
    let said = world.pki("crl --due").must_succeed();
    assert!(
        said.out.contains("due       pki/crl/root.crl"),
        "{}",
        said.out
    );
    let mut server = world
        .command(["serve", "--dir", "pki", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(server.stderr.take().unwrap());
    let mut lines = log.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("the root's CRL is due")));
    server.kill().unwrap();
    server.wait().unwrap();
    world.pki("ceremony import --in answer.pem").must_succeed();
    assert!(!world.pki("crl --due").must_succeed().out.contains("due  "));
    world
        .pki("backup --to copy --with-plain-keys")
        .must_succeed();
    world
        .run(["restore", "--from", "copy", "--dir", "again"])
        .must_succeed();
    world.run(["crl", "--dir", "again"]).must_succeed();
    let doctor = world.run(["doctor", "--dir", "again"]);
    assert_eq!(doctor.code, 0, "{}", doctor.out);
}

#[test]
fn a_list_of_the_root_is_taken_if_it_is_newer_and_its_own() {
    let world = held("");
    copy(&world, "root/crl/root.crl", "old.crl");
    at_root(&world, "crl").must_succeed();
    at_root(&world, "crl").must_succeed();
    let number = |file: &str| {
        let words = format!("crl -in {file} -noout -crlnumber");
        world.openssl(&words).must_succeed().out
    };
    world
        .pki("ceremony import --in root/crl/root.crl")
        .must_succeed();
    assert_eq!(number("pki/crl/root.crl"), number("root/crl/root.crl"));
    let before = files(&world, "pki");
    // Again, and then what is older, another's, or no list of all.
    world
        .pki("ceremony import --in root/crl/root.crl")
        .must_succeed();
    found_root(&world, "other");
    for (file, says) in [
        ("old.crl", "is here already"),
        ("answer.pem", "is here already"),
        ("other/crl/root.crl", "did not sign the CRL"),
        ("pki/crl/issuing.crl", "did not sign the CRL"),
        ("pki/trust.pem", "no answer of"),
        ("/dev/zero", "larger than"),
        ("missing", "cannot open"),
    ] {
        world
            .pki(&format!("ceremony import --in {file}"))
            .must_refuse(1, says);
    }
    let wrong = "11".repeat(32);
    world
        .pki(&format!(
            "ceremony import --in root/crl/root.crl --root-sha256 {wrong}"
        ))
        .must_refuse(1, "another root");
    assert_eq!(files(&world, "pki"), before);
    // A number that was taken by another list: of a root's directory that was put back.
    let stale = Timestamp::now() + SignedDuration::from_hours(24 * 200);
    let bytes = fs::read(world.path("root/crl/root.crl")).unwrap();
    let none = PassphraseSources::default();
    let late = Ca::import(&world.path("pki"), &bytes, None, none, stale);
    assert!(
        late.unwrap_err()
            .to_string()
            .contains("the root's CRL is valid from")
    );
}

#[test]
fn a_list_that_revokes_the_issuing_authority_ends_its_issuing() {
    let world = held("");
    world.device("urn:example:pump-1", "pump");
    at_root(
        &world,
        "revoke --cert pki/ca/issuing.pem --reason cACompromise",
    )
    .must_succeed();
    // Nobody knows here yet.
    world.device("urn:example:pump-2", "next");
    let said = world
        .pki("ceremony import --in root/crl/root.crl")
        .must_succeed();
    assert!(said.out.contains("issues nothing any more"), "{}", said.out);
    for words in [
        "issue --profile device --id urn:example:pump-3 --new-key --out third",
        "token make --profile device --id urn:example:pump-3",
        "renew --in pump",
    ] {
        world.pki(words).must_refuse(1, "revoked");
    }
    let shown = world.json("show --cert pki/ca/issuing.pem");
    assert_eq!(shown["certificates"][0]["status"], "revoked");
    assert_eq!(shown["certificates"][0]["reason"], "cACompromise");
    assert_eq!(world.pki("doctor").code, 1);
    let said = world.verify("pump/cert.pem");
    assert!(said.err.contains("certificate revoked"), "{}", said.err);
    // What it revoked itself can still be told, and again is the same.
    world.pki("crl").must_succeed();
    world
        .pki("ceremony import --in root/crl/root.crl")
        .must_succeed();
    // An answer that is revoked already is not taken in the first place.
    let again = asked("");
    sign(&again, "root", "request.pem", "answer.pem").must_succeed();
    again
        .openssl("x509 -in answer.pem -out issuing.pem")
        .must_succeed();
    at_root(&again, "revoke --cert issuing.pem --reason superseded").must_succeed();
    let text = again.read("issuing.pem")
        + &again.read("root/trust.pem")
        + &again.read("root/crl/root.crl");
    again.write("revoked.pem", text);
    import(&again, "revoked.pem").must_refuse(1, "revokes the certificate");
}

#[test]
fn encrypted_keys_on_both_sides_open_with_their_own_passphrases() {
    let world = World::empty();
    for (name, passphrase) in [
        ("offline", "never leaves the safe"),
        ("online", "is read at the start"),
    ] {
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        world.write(name, passphrase);
        fs::set_permissions(world.path(name), owner).unwrap();
    }
    let init = "init --root-only --name Clinic --dir root --passphrase file:offline";
    world.run(init.split_whitespace()).must_succeed();
    world
        .pki(&format!("{ASK} --passphrase file:online"))
        .must_succeed();
    for key in ["root/ca/root.key.pem", "pki/ca/issuing.key.pem"] {
        assert!(world.read(key).contains("ENCRYPTED"), "{key}");
    }
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    let before = files(&world, "pki");
    let root = fingerprint(&world, "root/trust.pem");
    world
        .pki(&format!(
            "ceremony import --in answer.pem --root-sha256 {root} --passphrase file:offline"
        ))
        .must_refuse(1, "passphrase");
    assert_eq!(files(&world, "pki"), before);
    import(&world, "answer.pem").must_succeed();
    world.device("urn:example:pump-1", "pump");
    world.verify("pump/cert.pem").must_succeed();
}
