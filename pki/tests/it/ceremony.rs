//! An offline root: two directories, two files between them, and every wrong file refused before anything
//! changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use pki::{Ca, PassphraseSources};
use serde_json::Value;

use crate::crash::{calls, can_trace, duration_of, killed_after, killed_at};
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

/// An answer with other parts than those that were signed.
fn mixed(world: &World, issuing: &str, root: &str, crl: &str) -> String {
    world
        .openssl(&format!("x509 -in {issuing} -out issuing.tmp"))
        .must_succeed();
    world.read("issuing.tmp") + &world.read(root) + &world.read(crl)
}

#[test]
fn every_wrong_answer_is_refused_by_name_and_changes_nothing() {
    let world = asked("--permit-dns clinic.example");
    // A root that knows nothing of what it will have signed.
    copy(&world, "root", "unaware");
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    let answer = world.read("answer.pem");
    found_root(&world, "other");
    sign(&world, "other", "request.pem", "foreign.pem").must_succeed();
    let second =
        "ceremony request --dir second --name Clinic --permit-dns clinic.example --out second.csr";
    world.run(second.split_whitespace()).must_succeed();
    sign(&world, "root", "second.csr", "second.pem").must_succeed();
    // The words of the request were changed on their way, and nobody compared.
    let wider = world
        .read("request.pem")
        .replace("clinic.example", "example");
    world.write("wider.csr", wider);
    copy(&world, "root", "lenient");
    sign(&world, "unaware", "wider.csr", "wider.pem").must_succeed();
    at_root(&world, "revoke --cert answer.pem --reason superseded").must_succeed();
    let root = |name: &str| format!("{name}/trust.pem");
    let crl = |name: &str| format!("{name}/crl/root.crl");
    let with_crl = |crl: &str| mixed(&world, "answer.pem", "root/trust.pem", crl);
    // By the root's own key, what its program would not sign.
    let by_hand = |name: &str, extensions: &str| {
        world.write(&format!("{name}.ext"), extensions);
        world
            .openssl(&format!(
                "x509 -req -in request.pem -CA root/ca/root.pem -CAkey root/ca/root.key.pem -days 1000 \
                 -sha384 -extfile {name}.ext -out {name}.crt"
            ))
            .must_succeed();
        mixed(
            &world,
            &format!("{name}.crt"),
            "root/trust.pem",
            "lenient/crl/root.crl",
        )
    };
    // The same request again, for the identifier of its key: openssl would make another one of it.
    let again = "ceremony request --name Clinic --permit-dns clinic.example --out again.csr";
    let told = world.json(again);
    let ids = format!(
        "subjectKeyIdentifier={}\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,keyCertSign,cRLSign\n",
        told["key_id"].as_str().unwrap()
    );
    let altered = {
        let at = answer.find("\nMII").unwrap() + 200;
        let mut text = answer.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).unwrap()
    };
    let answers = [
        (
            "of another root",
            world.read("foreign.pem"),
            "from another root",
        ),
        (
            "another root's certificate",
            mixed(&world, "foreign.pem", &root("root"), &crl("lenient")),
            "did not sign the certificate",
        ),
        (
            "another root's list",
            with_crl(&crl("other")),
            "did not sign the CRL",
        ),
        (
            "of another request",
            world.read("second.pem"),
            "another key",
        ),
        (
            "of words that were changed",
            world.read("wider.pem"),
            "not the one that was asked for",
        ),
        ("altered", altered, ""),
        (
            "that is revoked",
            with_crl(&crl("root")),
            "revokes the certificate",
        ),
        (
            "without constraints",
            by_hand(
                "free",
                &format!("basicConstraints=critical,CA:TRUE,pathlen:0\n{ids}"),
            ),
            "not the one that was asked for",
        ),
        (
            "with a longer path",
            by_hand(
                "long",
                &format!("basicConstraints=critical,CA:TRUE,pathlen:1\n{ids}"),
            ),
            "not that of such an authority",
        ),
        (
            "that is no authority",
            by_hand("leaf", "basicConstraints=CA:FALSE\n"),
            "not that of such an authority",
        ),
        (
            "cut",
            answer.replacen("-----END X509 CRL-----", "", 1),
            "no answer",
        ),
        (
            "without a list",
            answer
                .split("-----BEGIN X509 CRL")
                .next()
                .unwrap()
                .to_owned(),
            "no answer",
        ),
        ("twice", answer.repeat(2), "no answer"),
        (
            "a list alone",
            world.read("root/crl/root.crl"),
            "has not been imported",
        ),
        ("nothing", String::new(), "no answer"),
        ("a key", world.read("root/ca/root.key.pem"), "no answer"),
        ("100 MB", "x".repeat(100_000_000), "larger than"),
    ];
    let before = files(&world, "pki");
    for (what, text, says) in answers {
        world.write("wrong.pem", &text);
        let said = import(&world, "wrong.pem");
        assert_eq!(said.code, 1, "{what}: {}{}", said.out, said.err);
        said.must_refuse(1, says);
        assert_eq!(files(&world, "pki"), before, "{what}");
    }
    world
        .pki("ceremony import --in answer.pem")
        .must_refuse(1, "nobody said which root");
    let wrong = fingerprint(&world, "other/trust.pem");
    world
        .pki(&format!(
            "ceremony import --in answer.pem --root-sha256 {wrong}"
        ))
        .must_refuse(1, "from another root");
    world
        .pki("ceremony import --in answer.pem --root-sha256 4f")
        .must_refuse(64, "64");
    // In its time, and not after it.
    let six_years = Timestamp::now() + SignedDuration::from_hours(24 * 365 * 6);
    let sha256 = pki::Inspected::read(&fs::read(world.path("root/trust.pem")).unwrap());
    assert!(sha256.is_some());
    let digest = decoded(&fingerprint(&world, "root/trust.pem"));
    for (at, says) in [
        (six_years, "the issuing CA is valid from"),
        (
            Timestamp::now() + SignedDuration::from_hours(24 * 200),
            "the root's CRL is valid from",
        ),
        (
            Timestamp::now() - SignedDuration::from_hours(48),
            "the root is valid from",
        ),
    ] {
        let none = PassphraseSources::default();
        let refused = Ca::import(
            &world.path("pki"),
            answer.as_bytes(),
            Some(digest),
            none,
            at,
        );
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(files(&world, "pki"), before);
    // And the right one still works.
    import(&world, "answer.pem").must_succeed();
    world.device("urn:example:pump-1", "pump");
    world.verify("pump/cert.pem").must_succeed();
    // Another certificate for the same key is not slipped in later.
    let mut later = answer.clone();
    later.replace_range(..later.find("-----END").unwrap(), &{
        let other = world.read("wider.pem");
        other[..other.find("-----END").unwrap()].to_owned()
    });
    world.write("later.pem", later);
    world
        .pki("ceremony import --in later.pem")
        .must_refuse(1, "in use here already");
}

fn decoded(fingerprint: &str) -> [u8; 32] {
    let octets: Vec<u8> = fingerprint
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect();
    octets.try_into().unwrap()
}

#[test]
fn every_wrong_request_is_refused_by_name_and_nothing_is_signed() {
    let world = asked("");
    let good = world.read("request.pem");
    let head = good.split("-----BEGIN").next().unwrap().to_owned();
    world
        .openssl("ecparam -name prime256v1 -genkey -noout -out key.pem")
        .must_succeed();
    world
        .openssl("ecparam -name secp384r1 -genkey -noout -out p384.pem")
        .must_succeed();
    let csr = |key: &str, extension: &str| {
        let add: Vec<&str> = if extension.is_empty() {
            vec![]
        } else {
            vec!["-addext", extension]
        };
        let output = Command::new("openssl")
            .current_dir(world.root())
            .args(["req", "-new", "-key", key, "-subj", "/CN=x"])
            .args(add)
            .output()
            .unwrap();
        format!("{head}{}", Said::from(output).must_succeed().out)
    };
    let broken = {
        let at = good.rfind("\n-----END").unwrap() - 8;
        let mut text = good.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).unwrap()
    };
    let requests = [
        (
            "CA:TRUE",
            csr("key.pem", "basicConstraints=critical,CA:TRUE"),
            "certificate authority",
        ),
        (
            "keyCertSign",
            csr("key.pem", "keyUsage=keyCertSign"),
            "certificate authority",
        ),
        (
            "a name",
            csr("key.pem", "subjectAltName=DNS:a.example"),
            "a.example",
        ),
        (
            "an unknown critical extension",
            csr("key.pem", "1.3.6.1.4.1.99999.1=critical,DER:0500"),
            "1.3.6.1.4.1.99999.1",
        ),
        ("another curve", csr("p384.pem", ""), "P-256"),
        ("a broken signature", broken, "possession"),
        (
            "two requests",
            format!("{good}{}", &good[head.len()..]),
            "more than one",
        ),
        (
            "a word more",
            good.replace("format = 1\n", "format = 1\npath_length = 3\n"),
            "not understood",
        ),
        (
            "another format",
            good.replace("format = 1\n", "format = 2\n"),
            "version",
        ),
        (
            "a bad network",
            good.replace("format = 1\n", "format = 1\npermit_ip = [\"10.0.0.1/8\"]\n"),
            "network",
        ),
        (
            "a bad URL",
            good.replace("format = 1\n", "format = 1\nurl = \"https://a.example\"\n"),
            "URL",
        ),
        (
            "a bad name",
            good.replace("\"Clinic\"", "\"Clinic\\u0000\""),
            "name",
        ),
        (
            "no text",
            csr("key.pem", "").replace(&head, ""),
            "no request",
        ),
        ("nothing", String::new(), "no request"),
        ("100 MB", "x".repeat(100_000_000), "larger than"),
    ];
    let before = files(&world, "root");
    for (what, text, says) in requests {
        world.write("wrong.csr", &text);
        let said = sign(&world, "root", "wrong.csr", "wrong.pem");
        assert_eq!(said.code, 1, "{what}: {}{}", said.out, said.err);
        said.must_refuse(1, says);
        assert_eq!(files(&world, "root"), before, "{what}");
        assert!(!world.path("wrong.pem").exists(), "{what}");
    }
    let witness = "ceremony sign --dir root --request request.pem --witness";
    let empty = witness.split(' ').chain([""]);
    world.run(empty).must_refuse(64, "witness");
    let hidden = witness.split(' ').chain(["Bob\u{202e}adA"]);
    world.run(hidden).must_refuse(64, "witness");
    // What asks for less than others do is signed.
    world.write("plain.csr", csr("key.pem", ""));
    sign(&world, "root", "plain.csr", "plain.pem").must_succeed();
}

#[test]
fn a_request_that_was_signed_gets_the_same_certificate_and_files_are_never_overwritten() {
    let world = asked("");
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    sign(&world, "root", "request.pem", "answer.pem").must_refuse(1, "exists already");
    sign(&world, "root", "request.pem", "again.pem").must_succeed();
    let first = |file: &str| {
        world
            .read(file)
            .split("-----END")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(first("again.pem"), first("answer.pem"));
    let listed = at_root(&world, "list --profile issuing --json").must_succeed();
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["total"], 1);
    world.pki(ASK).must_refuse(1, "exists already");
    // The same again writes the same; another one needs a directory of its own.
    let again = |flags: &str, out: &str| {
        world.pki(&format!(
            "ceremony request --name Clinic {flags} --out {out}"
        ))
    };
    again("", "same.csr").must_succeed();
    assert_eq!(world.read("same.csr"), world.read("request.pem"));
    again("--permit-dns a.example", "other.csr").must_refuse(1, "an authority already");
    // The later answer has the later list; either does.
    import(&world, "again.pem").must_succeed();
    import(&world, "again.pem").must_succeed();
    again("", "late.csr").must_refuse(1, "an authority already");
    world
        .run(["init", "--dir", "pki"])
        .must_refuse(1, "an authority already");
}

#[test]
fn what_was_revoked_is_not_certified_again_and_takes_a_new_directory() {
    let world = asked("--permit-dns clinic.example");
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    at_root(&world, "revoke --cert answer.pem --reason superseded").must_succeed();
    let wider = world
        .read("request.pem")
        .replace("clinic.example", "example");
    world.write("wider.csr", wider);
    for request in ["request.pem", "wider.csr"] {
        sign(&world, "root", request, "again.pem").must_refuse(1, "and revoked since");
    }
    assert!(!world.path("again.pem").exists());
    let other =
        "ceremony request --dir second --name Clinic --permit-dns clinic.example --out second.csr";
    world.run(other.split_whitespace()).must_succeed();
    sign(&world, "root", "second.csr", "second.pem").must_succeed();
}

#[test]
fn two_that_sign_at_once_do_not_take_each_other_for_unfinished() {
    let world = asked("");
    let digest = sha256_of(&world, "request.pem");
    // Held as by another run.
    let held = fs::File::open(world.path("root/ca")).unwrap();
    held.lock().unwrap();
    let before = files(&world, "root");
    sign(&world, "root", "request.pem", "answer.pem").must_refuse(1, "lock");
    assert_eq!(files(&world, "root"), before);
    drop(held);
    let mut runs: Vec<_> = (0..4)
        .map(|run| {
            let words = format!(
                "ceremony sign --dir root --request request.pem --request-sha256 {digest} --out {run}.pem"
            );
            world.command(words.split_whitespace()).spawn().unwrap()
        })
        .collect();
    let done = runs.iter_mut().filter_map(|run| run.wait().ok());
    assert!(done.filter(std::process::ExitStatus::success).count() > 0);
    let listed = at_root(&world, "list --profile issuing --json").must_succeed();
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["total"], 1, "{listed}");
}

#[test]
fn a_list_of_before_the_certificate_is_not_taken_with_it() {
    let world = World::empty();
    let name = pki::AuthorityName::parse("Clinic").unwrap();
    let then = Timestamp::now() - SignedDuration::from_hours(72);
    Ca::init_root(&world.path("root"), &pki::Plan::new(name), then).unwrap();
    copy(&world, "root/crl/root.crl", "old.crl");
    world.pki(ASK).must_succeed();
    sign(&world, "root", "request.pem", "answer.pem").must_succeed();
    world.write(
        "old.pem",
        mixed(&world, "answer.pem", "root/trust.pem", "old.crl"),
    );
    let before = files(&world, "pki");
    import(&world, "old.pem").must_refuse(1, "older than the certificate");
    assert_eq!(files(&world, "pki"), before);
    import(&world, "answer.pem").must_succeed();
}

#[test]
fn an_older_inventory_of_an_issuing_authority_that_was_revoked_recovers_without_the_roots_key() {
    let world = held("");
    let device = world.device("urn:example:pump-1", "pump");
    let copy = fs::read(world.path("pki/ca/inventory.db")).unwrap();
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    at_root(
        &world,
        "revoke --cert pki/ca/issuing.pem --reason cACompromise",
    )
    .must_succeed();
    world
        .pki("ceremony import --in root/crl/root.crl")
        .must_succeed();
    for file in ["inventory.db-wal", "inventory.db-shm"] {
        let _ = fs::remove_file(world.path(&format!("pki/ca/{file}")));
    }
    world.write("pki/ca/inventory.db", copy);
    let shown = world.json("show --cert pki/ca/issuing.pem");
    let issuing = shown["certificates"][0]["serial"].clone();
    assert_eq!(shown["certificates"][0]["status"], "issued");
    let recovered = world.json("recover --revoke");
    assert_eq!(recovered["count"], 2, "{recovered}");
    assert_eq!(recovered["elsewhere"], serde_json::json!([issuing]));
    assert!(world.crl_text().to_lowercase().contains(&device));
    world
        .pki("issue --profile device --id urn:example:a --new-key --out a")
        .must_refuse(1, "revoked");
    assert_eq!(world.json("recover")["taken_back"], serde_json::json!([]));
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

/// How often each step is killed.
fn kills() -> u32 {
    if std::env::var_os("PHIGATE_LONG").is_some() {
        200
    } else {
        20
    }
}

#[test]
fn a_request_that_is_killed_is_done_by_doing_it_again() {
    let kills = kills();
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
