//! Every wrong file is refused by name, and what was revoked stays so.

use std::fs;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use pki::{Ca, PassphraseSources};
use serde_json::Value;

use super::{
    ASK, asked, at_root, copy, files, fingerprint, found_root, held, import, sha256_of, sign,
};
use crate::support::{Said, World};

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
