//! Keys in tokens: what signs never leaves them, and nothing is left in them by what failed. The token
//! is SoftHSM's, in a directory of each test.

use std::fs;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Said, World};

const PIN: &str = "73914625";
const OFFICER_PIN: &str = "84025736";

/// A directory with a token.
struct Token {
    world: World,
    module: PathBuf,
}

impl Token {
    /// `None`, and a line that says so, where SoftHSM is not installed.
    fn new() -> Option<Self> {
        const MODULES: [&str; 2] = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
        ];
        let Some(module) = MODULES
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists())
        else {
            // Past the capture of the test's output, where the script that runs it looks.
            crate::support::not_run("softhsm2 is not installed");
            return None;
        };
        let token = Self {
            world: World::empty(),
            module: module.to_owned(),
        };
        fs::create_dir(token.world.path("tokens")).unwrap();
        let tokens = token.world.path("tokens");
        let settings = format!("directories.tokendir = {}\n", tokens.display());
        token.world.write("softhsm2.conf", settings);
        token.pin(PIN);
        token.initialize("pki");
        Some(token)
    }

    fn pin(&self, pin: &str) {
        self.world.write("pin", pin);
        let owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.world.path("pin"), owner).unwrap();
    }

    fn softhsm(&self, words: &str) {
        let output = Command::new("softhsm2-util")
            .current_dir(self.world.root())
            .env("SOFTHSM2_CONF", self.world.path("softhsm2.conf"))
            .args(words.split_whitespace())
            .output()
            .unwrap();
        Said::from(output).must_succeed();
    }

    /// A new token of this name.
    fn initialize(&self, label: &str) {
        self.softhsm(&format!(
            "--init-token --free --label {label} --pin {PIN} --so-pin {OFFICER_PIN}"
        ));
    }

    fn uri(&self, key: &str) -> String {
        format!(
            "pkcs11:{key}?module-path={}&pin-source=file:{}",
            self.module.display(),
            self.world.path("pin").display()
        )
    }

    fn run(&self, words: &[&str]) -> Said {
        let mut command = self.world.command(words);
        command.env("SOFTHSM2_CONF", self.world.path("softhsm2.conf"));
        Said::from(command.output().unwrap())
    }

    /// Runs a command of words separated by spaces, with `--dir pki`.
    fn pki(&self, words: &str) -> Said {
        let mut words = words.split_whitespace();
        let verb = words.next().unwrap();
        let words: Vec<&str> = [verb, "--dir", "pki"].into_iter().chain(words).collect();
        self.run(&words)
    }

    /// Founds an authority with these keys.
    fn init(&self, root: &str, issuing: &str) -> Said {
        let (root, issuing) = (self.uri(root), self.uri(issuing));
        self.run(&[
            "init",
            "--dir",
            "pki",
            "--root-key",
            &root,
            "--issuing-key",
            &issuing,
        ])
    }

    fn issue(&self, name: &str) -> Said {
        self.pki(&format!(
            "issue --profile device --id urn:example:{name} --new-key --out {name}"
        ))
    }
}

#[test]
fn a_ceremony_is_held_with_both_keys_in_tokens_of_their_own() {
    let Some(token) = Token::new() else {
        return;
    };
    token.initialize("safe");
    let (root, issuing) = (
        token.uri("token=safe;object=root"),
        token.uri("token=pki;object=issuing"),
    );
    let init = ["init", "--root-only", "--dir", "root", "--root-key", &root];
    token.run(&init).must_succeed();
    let request = [
        "ceremony",
        "request",
        "--dir",
        "pki",
        "--issuing-key",
        &issuing,
        "--out",
        "csr",
    ];
    let told = token
        .run(&[&request[..], &["--json"]].concat())
        .must_succeed();
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    let digest = told["request_sha256"].as_str().unwrap();
    let sign = [
        "ceremony",
        "sign",
        "--dir",
        "root",
        "--request",
        "csr",
        "--out",
        "answer",
        "--json",
    ];
    let signed = token
        .run(&[&sign[..], &["--request-sha256", digest]].concat())
        .must_succeed();
    let signed: serde_json::Value = serde_json::from_str(&signed.out).unwrap();
    let root = signed["root_sha256"].as_str().unwrap();
    let import = [
        "ceremony",
        "import",
        "--dir",
        "pki",
        "--in",
        "answer",
        "--root-sha256",
        root,
    ];
    token.run(&import).must_succeed();
    token.issue("pump").must_succeed();
    token.world.verify("pump/cert.pem").must_succeed();
    for directory in ["root/ca", "pki/ca"] {
        let names = token.world.names(directory);
        assert!(
            !names.iter().any(|name| name.contains(".key.pem")),
            "{names:?}"
        );
    }
}

#[test]
fn root_and_issuing_keys_sign_in_the_token_and_openssl_verifies() {
    let Some(token) = Token::new() else {
        return;
    };
    let world = &token.world;
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
    let files = world.names("pki/ca");
    assert!(
        files.iter().all(|name| !name.ends_with(".key.pem")),
        "{files:?}"
    );
    assert!(world.text("pki/ca/root.pem").contains("NIST CURVE: P-384"));
    assert!(
        world
            .text("pki/ca/issuing.pem")
            .contains("NIST CURVE: P-256")
    );
    token.issue("pump-1").must_succeed();
    token.issue("pump-2").must_succeed();
    world.verify("pump-1/cert.pem").must_succeed();
    let revoked = token.pki("revoke --id urn:example:pump-1 --reason superseded --json");
    let crl = token.pki("crl --json");
    assert_eq!(world.verify("pump-1/cert.pem").code, 2);
    world.verify("pump-2/cert.pem").must_succeed();

    for said in [revoked, crl] {
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(!said.out.contains(PIN) && !said.err.contains(PIN));
    }
    let settings = world.read("pki/ca/authority.toml");
    assert!(settings.contains("root = \"pkcs11:token=pki;object=root?"));
    assert!(settings.contains("pin-source=file:") && !settings.contains(PIN));
    token
        .pki("passphrase --new env:A")
        .must_refuse(1, "in tokens");
}

#[test]
fn the_issuing_key_may_be_in_a_token_and_the_roots_in_a_file() {
    let Some(token) = Token::new() else {
        return;
    };
    let uri = token.uri("token=pki;object=issuing");
    token
        .run(&["init", "--dir", "pki", "--issuing-key", &uri])
        .must_succeed();
    token.issue("pump-1").must_succeed();
    token.world.verify("pump-1/cert.pem").must_succeed();
    token.pki("crl").must_succeed();
    assert!(token.world.path("pki/ca/root.key.pem").exists());
    // Where the token is not, the root alone is of no use for devices.
    fs::remove_file(token.world.path("softhsm2.conf")).unwrap();
    assert_eq!(token.issue("pump-2").code, 1);
}

#[test]
fn without_its_token_an_authority_signs_nothing_and_forgets_nothing() {
    let Some(token) = Token::new() else {
        return;
    };
    let world = &token.world;
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
    token.issue("pump-1").must_succeed();
    fs::rename(world.path("tokens"), world.path("drawer")).unwrap();
    fs::create_dir(world.path("tokens")).unwrap();
    let said = token.issue("pump-2");
    said.must_refuse(1, "pkcs11:token=pki;object=issuing: no such token is there");
    assert!(!world.path("pump-2").exists());
    assert_eq!(world.count("--profile device"), 1);
    // What was revoked is on record, and on the list as soon as the token is there again.
    token
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_refuse(1, "could not be published");
    assert_eq!(world.count("--status revoked"), 1);
    fs::remove_dir(world.path("tokens")).unwrap();
    fs::rename(world.path("drawer"), world.path("tokens")).unwrap();
    token.pki("crl").must_succeed();
    assert_eq!(world.verify("pump-1/cert.pem").code, 2);
}

#[test]
fn a_wrong_pin_is_tried_once_and_not_said() {
    let Some(token) = Token::new() else {
        return;
    };
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
    token.pin("11112222");
    let said = token.issue("pump-1");
    said.must_refuse(1, "does not accept the PIN; it was tried once");
    assert!(!said.err.contains("11112222"));
    assert!(!token.world.path("pump-1").exists());
    let pin = token.world.path("pin");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o644)).unwrap();
    token.issue("pump-1").must_refuse(1, "has mode 0644");
    fs::remove_file(&pin).unwrap();
    token.issue("pump-1").must_refuse(1, "there is no PIN");
    assert_eq!(token.world.count("--profile device"), 0);
}

#[test]
fn a_founding_that_fails_leaves_no_key_in_the_token() {
    let Some(token) = Token::new() else {
        return;
    };
    let before = token.world.names(".");
    // The root's key is made, and then there is no place for the other.
    token
        .init("token=pki;object=root", "token=gone;object=issuing")
        .must_refuse(1, "no such token is there");
    token
        .init("token=pki;object=root", "token=pki;object=root")
        .must_refuse(1, "a key of that name is in the token already");
    assert_eq!(token.world.names("."), before);
    // So the names are free.
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
}

#[test]
fn a_key_that_is_there_is_used_where_that_is_asked_for_alone() {
    let Some(token) = Token::new() else {
        return;
    };
    let world = &token.world;
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
    fs::rename(world.path("pki"), world.path("first")).unwrap();
    token
        .init("token=pki;object=root", "token=pki;object=other")
        .must_refuse(1, "a key of that name is in the token already");
    let root = token.uri("token=pki;object=root");
    let issuing = token.uri("token=pki;object=issuing");
    let existing = |root: &str, issuing: &str| {
        let keys = ["--root-key", root, "--issuing-key", issuing];
        token.run(&[&["init", "--dir", "pki", "--existing-key"], &keys[..]].concat())
    };
    existing(&issuing, &root).must_refuse(1, "on another curve");
    existing(&root, &token.uri("token=pki;object=none")).must_refuse(1, "no such key");
    existing(&root, &issuing).must_succeed();
    let public = |certificate: &str| {
        let words = format!("x509 -in {certificate} -noout -pubkey");
        world.openssl(&words).must_succeed().out
    };
    assert_eq!(public("pki/ca/root.pem"), public("first/ca/root.pem"));
    token.issue("pump-1").must_succeed();
    world.verify("pump-1/cert.pem").must_succeed();
    // The keys are still the first one's as well.
    token.run(&["crl", "--dir", "first"]).must_succeed();
}

#[test]
fn a_name_that_means_two_keys_or_tokens_is_refused() {
    let Some(token) = Token::new() else {
        return;
    };
    let world = &token.world;
    token
        .init("token=pki;object=key;id=%01", "token=pki;object=key;id=%02")
        .must_succeed();
    token.issue("pump-1").must_succeed();
    let settings = world.read("pki/ca/authority.toml");
    world.write("pki/ca/authority.toml", settings.replace(";id=%02", ""));
    token.issue("pump-2").must_refuse(1, "several keys");
    world.write(
        "pki/ca/authority.toml",
        settings.replace("id=%02", "id=%01"),
    );
    token
        .issue("pump-2")
        .must_refuse(1, "do not belong together");
    world.write("pki/ca/authority.toml", settings);
    token.initialize("pki");
    token.issue("pump-2").must_refuse(1, "several tokens");
    assert_eq!(world.count("--profile device"), 1);
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let Some(token) = Token::new() else {
        return;
    };
    for (id, name, algorithm) in [
        ("01", "rsa", "RSA -pkeyopt rsa_keygen_bits:2048"),
        ("02", "p521", "EC -pkeyopt ec_paramgen_curve:secp521r1"),
    ] {
        let words = format!("genpkey -algorithm {algorithm} -out {name}.pem");
        token.world.openssl(&words).must_succeed();
        token.softhsm(&format!(
            "--import {name}.pem --token pki --label {name} --id {id} --pin {PIN}"
        ));
        let root = token.uri(&format!("token=pki;object={name}"));
        let said = token.run(&[
            "init",
            "--dir",
            "pki",
            "--existing-key",
            "--root-key",
            &root,
        ]);
        said.must_refuse(1, "none that signs with ECDSA on P-256 or P-384");
        assert!(!token.world.path("pki").exists());
    }
}

#[test]
fn a_key_that_the_token_would_give_out_is_refused() {
    let Some(token) = Token::new() else {
        return;
    };
    token
        .init("token=pki;object=root", "token=pki;object=issuing")
        .must_succeed();
    // As SoftHSM writes it: the attribute (PKCS #11 v2.40, CKA_EXTRACTABLE), a boolean, and its value.
    let attribute = [[0, 0, 0, 0, 0, 0, 1, 0x62], [0, 0, 0, 0, 0, 0, 0, 1]].concat();
    let mut changed = 0;
    for directory in token.world.names("tokens") {
        for name in token.world.names(&format!("tokens/{directory}")) {
            let path = token.world.path(&format!("tokens/{directory}/{name}"));
            let mut octets = fs::read(&path).unwrap();
            let found = octets
                .windows(attribute.len())
                .position(|window| window == attribute);
            if let Some(at) = found {
                assert_eq!(octets[at + attribute.len()], 0);
                octets[at + attribute.len()] = 0xff;
                fs::write(&path, octets).unwrap();
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 2);
    token
        .issue("pump-1")
        .must_refuse(1, "the token would give out");
    assert_eq!(token.world.count("--profile device"), 0);
}
