//! Keys at rest: a stolen disk or backup opens nothing without the passphrase, and the passphrase is
//! said nowhere.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Said, World};

const PASSPHRASE: &str = "correct horse battery staple";
const OTHER: &str = "another horse, another staple";
const KEYS: [&str; 2] = ["pki/ca/root.key.pem", "pki/ca/issuing.key.pem"];

impl World {
    /// A directory with an authority whose keys are encrypted by [`PASSPHRASE`], which is in the
    /// file `passphrase`.
    fn encrypted() -> Self {
        let world = Self::empty();
        world.secret("passphrase", PASSPHRASE);
        world
            .run(["init", "--dir", "pki", "--passphrase", "file:passphrase"])
            .must_succeed();
        world
    }

    /// Whether openssl opens a key with a passphrase.
    fn opens(&self, key: &str, passphrase: &str) -> bool {
        let status = Command::new("openssl")
            .current_dir(self.root())
            .args(["pkey", "-noout", "-check", "-in", key])
            .args(["-passin", &format!("pass:{passphrase}")])
            .output()
            .unwrap()
            .status;
        status.success()
    }

    /// Issues a device certificate for a request that openssl made.
    fn issues(&self, name: &str) -> Said {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key \
             -subj / -out {name}.csr"
        ))
        .must_succeed();
        self.pki(&format!(
            "issue --profile device --id urn:example:{name} --csr {name}.csr --out {name}"
        ))
    }

    /// Refused, and nothing came of it.
    #[track_caller]
    fn must_not_issue(&self, says: &str) {
        let before = self.count("--profile device");
        let said = self.pki("issue --profile device --id urn:example:no --new-key --out no");
        said.must_refuse(1, says);
        for secret in [PASSPHRASE, OTHER] {
            assert!(!said.err.contains(secret));
        }
        assert_eq!(self.count("--profile device"), before);
        assert!(!self.path("no").exists());
    }
}

#[test]
fn keys_that_a_passphrase_encrypts_sign_and_openssl_opens_them() {
    let world = World::encrypted();
    for key in KEYS {
        let pem = world.read(key);
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(world.opens(key, PASSPHRASE) && !world.opens(key, OTHER));
        assert_eq!(world.mode(key), 0o600);
        let scheme = world
            .openssl(&format!("asn1parse -in {key}"))
            .must_succeed();
        // 600,000 rounds.
        for part in [
            "PBES2",
            "PBKDF2",
            ":0927C0",
            "hmacWithSHA256",
            "aes-256-cbc",
        ] {
            assert!(scheme.out.contains(part), "{part}: {}", scheme.out);
        }
    }
    world.issues("pump-1").must_succeed();
    world.verify("pump-1/cert.pem").must_succeed();
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    world.pki("crl").must_succeed();
    assert_eq!(world.verify("pump-1/cert.pem").code, 2);
}

#[test]
fn a_passphrase_comes_from_the_environment_or_from_systemd() {
    let world = World::empty();
    let run = |words: &str| {
        let mut command = world.command(words.split_whitespace());
        command
            .env("PKI_TEST_PASSPHRASE", PASSPHRASE)
            .env("CREDENTIALS_DIRECTORY", world.path("credentials"));
        Said::from(command.output().unwrap())
    };
    fs::create_dir(world.path("credentials")).unwrap();
    world.write("credentials/of-root", OTHER);
    run("init --dir pki --passphrase env:PKI_TEST_PASSPHRASE --root-passphrase credential:of-root")
        .must_succeed();
    assert!(world.opens(KEYS[0], OTHER) && world.opens(KEYS[1], PASSPHRASE));
    run("crl --dir pki").must_succeed();
    run("issue --dir pki --profile device --id urn:example:a --new-key --out a").must_succeed();
    // Without them nothing is signed.
    world.must_not_issue("the environment has no variable PKI_TEST_PASSPHRASE");
    world
        .run(["crl", "--dir", "pki", "--passphrase", "credential:x"])
        .must_refuse(1, "no variable CREDENTIALS_DIRECTORY");
}

#[test]
fn the_roots_passphrase_is_needed_for_what_the_root_signs_alone() {
    let world = World::empty();
    world.secret("passphrase", PASSPHRASE);
    world.secret("of-root", OTHER);
    world
        .run(
            "init --dir pki --passphrase file:passphrase --root-passphrase file:of-root".split(' '),
        )
        .must_succeed();
    // It is in a safe.
    fs::rename(world.path("of-root"), world.path("safe")).unwrap();
    world.issues("pump-1").must_succeed();
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    world.pki("crl").must_refuse(1, "of-root");
    world.pki("crl --root-passphrase file:safe").must_succeed();
}

#[test]
fn a_wrong_passphrase_signs_nothing_and_is_not_said() {
    let world = World::encrypted();
    world.secret("passphrase", OTHER);
    world.must_not_issue("issuing.key.pem: the passphrase does not open the key\n");
    for (content, says) in [
        ("", "the secret is empty"),
        (&*"x".repeat(2000), "passphrase is larger than"),
    ] {
        world.secret("passphrase", content);
        world.must_not_issue(says);
    }
    world.secret("passphrase", PASSPHRASE);
    fs::set_permissions(world.path("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
    world.must_not_issue("holds a secret and has mode 0644");
    fs::remove_file(world.path("passphrase")).unwrap();
    world.must_not_issue("passphrase");
    let settings = world.read("pki/ca/authority.toml");
    let (settings, _) = settings.split_once("[keys]").unwrap();
    world.write("pki/ca/authority.toml", settings);
    world.must_not_issue("the key is encrypted, and no passphrase was named");
}

#[test]
fn a_passphrase_is_said_nowhere() {
    let world = World::encrypted();
    let mut said = vec![
        world.pki("issue --profile device --id urn:example:a --new-key --out a --json"),
        world.pki("crl --json"),
        world.pki("list --json"),
        world.pki("issue --profile device --id urn:example:a --new-key --out a"),
    ];
    world.secret("new", OTHER);
    said.push(world.pki("passphrase --new file:new --json"));
    for said in said {
        for text in [said.out, said.err] {
            assert!(
                !text.contains(PASSPHRASE) && !text.contains(OTHER),
                "{text}"
            );
        }
    }
    let found = Command::new("grep")
        .args(["-r", "-c", "-e", PASSPHRASE, "-e", OTHER, "pki", "a"])
        .current_dir(world.root())
        .output()
        .unwrap();
    let counts = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(!counts.is_empty());
    for count in counts.lines() {
        assert!(count.ends_with(":0"), "{count}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_wrong_usage_and_is_not_repeated() {
    let world = World::empty();
    for args in [
        ["--passphrase", "hunter2hunter2"],
        ["--passphrase", "pass:hunter2"],
        ["--root-passphrase", "env:hunter2=x"],
        ["--root-key", "pkcs11:token=a;object=b?pin-value=hunter2"],
        ["--issuing-key", "hunter2"],
    ] {
        let said = world.run(["init", "--dir", "pki"].into_iter().chain(args));
        said.must_refuse(64, args[0]);
        assert!(!said.err.contains("hunter2"), "{}", said.err);
    }
    world
        .run("init --dir pki --existing-key".split(' '))
        .must_refuse(64, "none is named");
    assert!(!world.path("pki").exists());
}

#[test]
fn a_passphrase_that_protects_nothing_is_refused() {
    let world = World::empty();
    world.secret("short", "1234567");
    for source in ["file:short", "env:NO_SUCH_VARIABLE", "file:missing"] {
        world
            .run(["init", "--dir", "pki", "--passphrase", source])
            .must_refuse(1, "");
        assert_eq!(world.names("."), ["short"], "{source}");
    }
}

#[test]
fn a_key_that_openssl_encrypted_is_used() {
    let world = World::encrypted();
    fs::rename(world.path(KEYS[1]), world.path("original")).unwrap();
    // Of one file openssl would read two lines.
    world.secret("same", PASSPHRASE);
    let convert = |options: &str| {
        world
            .openssl(&format!(
                "pkcs8 -topk8 -passin file:passphrase -passout file:same -in original \
                 -out {} {options}",
                KEYS[1]
            ))
            .must_succeed();
    };
    for (number, options) in [
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 1000",
        "-v2 aes-256-cbc -v2prf hmacWithSHA384",
    ]
    .into_iter()
    .enumerate()
    {
        convert(options);
        world.issues(&format!("pump-{number}")).must_succeed();
    }
    for options in [
        "-v2 des3",
        "-v2 aes-192-cbc",
        "-v2 aes-256-cbc -v2prf hmacWithSHA1",
        "-scrypt -scrypt_N 1024",
    ] {
        convert(options);
        world.must_not_issue("encrypted in a way that is not read here");
    }
    // What the hint says to do.
    convert("-v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000");
    world.issues("pump-last").must_succeed();
}

#[test]
fn a_changed_passphrase_opens_the_keys_and_the_old_one_does_not() {
    let world = World::new();
    let settings = world.read("pki/ca/authority.toml");
    world.write("pki/ca/authority.toml", format!("# ours\n{settings}"));
    // Keys that were plain are encrypted.
    world.secret("passphrase", PASSPHRASE);
    let said = world.pki("passphrase --new file:passphrase").must_succeed();
    assert!(said.out.contains(KEYS[0]) && said.out.contains(KEYS[1]));
    for key in KEYS {
        assert!(world.opens(key, PASSPHRASE));
    }
    world.issues("pump-1").must_succeed();
    // And then with another one.
    world.secret("new", OTHER);
    world.pki("passphrase --new file:new").must_succeed();
    for key in KEYS {
        assert!(world.opens(key, OTHER) && !world.opens(key, PASSPHRASE));
        assert_eq!(world.mode(key), 0o600);
    }
    fs::remove_file(world.path("passphrase")).unwrap();
    world.issues("pump-2").must_succeed();
    // The root gets its own.
    world.secret("of-root", PASSPHRASE);
    world
        .pki("passphrase --new-root file:of-root")
        .must_succeed();
    assert!(world.opens(KEYS[0], PASSPHRASE) && world.opens(KEYS[1], OTHER));
    world.pki("crl").must_succeed();
    let settings = world.read("pki/ca/authority.toml");
    assert!(settings.starts_with("# ours\n"), "{settings}");
    assert_eq!(world.mode("pki/ca/authority.toml"), 0o600);
    let names = world.names("pki/ca");
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
}

#[test]
fn a_change_that_was_interrupted_is_done_by_doing_it_again() {
    let files = [KEYS[0], KEYS[1], "pki/ca/authority.toml"];
    // After how many of the files it was killed.
    for replaced in 0..files.len() {
        let world = World::encrypted();
        world.secret("new", OTHER);
        let old = files.map(|file| world.read(file));
        world.pki("passphrase --new file:new").must_succeed();
        for (file, old) in files.into_iter().zip(&old).skip(replaced) {
            world.write(file, old);
        }
        for key in KEYS {
            assert!(world.opens(key, OTHER) != world.opens(key, PASSPHRASE));
        }
        world.pki("passphrase --new file:new").must_succeed();
        for key in KEYS {
            assert!(world.opens(key, OTHER));
        }
        world.pki("crl").must_succeed();
    }
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let world = World::encrypted();
    let files = [KEYS[0], KEYS[1], "pki/ca/authority.toml"];
    let before = files.map(|file| world.read(file));
    world.secret("short", "1234567");
    world.secret("new", OTHER);
    world.secret("wrong", "neither the one nor the other");
    for (words, says) in [
        ("--new file:short", "at least 8 octets"),
        ("--new file:missing", "missing"),
        (
            "--passphrase file:wrong --new file:new",
            "does not open the key",
        ),
    ] {
        world
            .pki(&format!("passphrase {words}"))
            .must_refuse(1, says);
    }
    world.pki("passphrase").must_refuse(64, "--new");
    // A key file of another authority is not taken over.
    world.run(["init", "--dir", "other"]).must_succeed();
    fs::copy(world.path("other/ca/issuing.key.pem"), world.path(KEYS[1])).unwrap();
    world
        .pki("passphrase --new file:new")
        .must_refuse(1, "do not belong together");
    world.write(KEYS[1], &before[1]);
    assert_eq!(files.map(|file| world.read(file)), before);
}

#[test]
fn the_key_of_a_device_is_encrypted_where_that_is_asked_for() {
    let world = World::new();
    world.secret("passphrase", PASSPHRASE);
    world
        .pki("issue --profile device --id urn:example:a --new-key --key-passphrase file:passphrase --out a")
        .must_succeed();
    assert!(world.opens("a/key.pem", PASSPHRASE) && !world.opens("a/key.pem", OTHER));
    let public = |words: &str| world.openssl(words).must_succeed().out;
    assert_eq!(
        public("pkey -in a/key.pem -passin file:passphrase -pubout"),
        public("x509 -in a/cert.pem -noout -pubkey")
    );
    world.secret("passphrase", "short");
    world
        .pki("issue --profile device --id urn:example:b --new-key --key-passphrase file:passphrase --out b")
        .must_refuse(1, "at least 8 octets");
    assert!(!world.path("b").exists());
    assert_eq!(world.count("--profile device"), 1);
    world
        .pki("issue --profile device --id urn:example:b --csr x --key-passphrase env:A --out b")
        .must_refuse(64, "cannot be used with");
}

#[test]
fn the_key_of_the_ocsp_responder_is_encrypted_with_the_others() {
    let world = World::encrypted();
    let now = jiff::Timestamp::now();
    let responder = || {
        let mut ca = pki::Ca::open(&world.path("pki")).unwrap();
        let responder = ca.responder(now).unwrap();
        assert!(world.opens(
            "pki/ca/ocsp.pem",
            &world.read("passphrase").replace('\n', "")
        ));
        assert!(!world.read("pki/ca/ocsp.pem").contains("BEGIN PRIVATE KEY"));
        responder.certificate
    };
    let first = responder();
    assert_eq!(responder(), first);
    // With a new passphrase there is a new one, which the inventory knows.
    let copy = world.path("old");
    fs::copy(world.path("passphrase"), &copy).unwrap();
    world.secret("passphrase", OTHER);
    world
        .pki("passphrase --passphrase file:old --new file:passphrase")
        .must_succeed();
    let second = responder();
    assert_ne!(second, first);
    assert_eq!(responder(), second);
}

/// Runs the program at a terminal of its own, where somebody types the answers.
fn at_a_terminal(world: &World, words: &str, answers: &[&str]) -> (Said, String) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = rustix::fs::open(
        &*name,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let child = Command::new("setsid")
        .current_dir(world.root())
        .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_pki")])
        .args(words.split_whitespace())
        .stdin(terminal)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut controller = fs::File::from(controller);
    let mut shown = String::new();
    for answer in answers {
        // The question ends like this, and then nothing is shown any more.
        let asked = shown.len();
        while !shown[asked..].ends_with(": ") {
            let mut octets = [0; 256];
            let length = controller.read(&mut octets).unwrap();
            shown += std::str::from_utf8(&octets[..length]).unwrap();
        }
        controller.write_all(answer.as_bytes()).unwrap();
    }
    let said = Said::from(child.wait_with_output().unwrap());
    // What came last; the end of a terminal is an error.
    let mut rest = Vec::new();
    let _ = controller.read_to_end(&mut rest);
    shown += std::str::from_utf8(&rest).unwrap();
    (said, shown)
}

#[test]
fn a_person_is_asked_at_the_terminal_and_nothing_is_shown() {
    let world = World::empty();
    let line = format!("{PASSPHRASE}\n");
    let (said, shown) = at_a_terminal(
        &world,
        "init --dir pki --passphrase terminal",
        &[&line, &line],
    );
    said.must_succeed();
    assert!(shown.contains("new passphrase of the authority's keys: "));
    assert!(shown.contains("again: "));
    assert!(!shown.contains("horse"), "{shown}");
    for key in KEYS {
        assert!(world.opens(key, PASSPHRASE));
    }
    // Both lists are signed, and the question is asked once.
    let (said, shown) = at_a_terminal(&world, "crl --dir pki", &[&line]);
    said.must_succeed();
    assert_eq!(shown.matches("passphrase").count(), 1, "{shown}");
    let (said, shown) = at_a_terminal(&world, "crl --dir pki", &["wrong horse\n"]);
    said.must_refuse(1, "does not open the key");
    assert!(!shown.contains("horse") && !said.err.contains("horse"));
    let (said, _) = at_a_terminal(&world, "crl --dir pki", &["half a pass\u{3}"]);
    said.must_refuse(1, "nothing was typed");
}

#[test]
fn what_is_typed_twice_has_to_be_alike() {
    let world = World::empty();
    let (said, _) = at_a_terminal(
        &world,
        "init --dir pki --passphrase terminal",
        &["correct horse\n", "corect horse\n"],
    );
    said.must_refuse(1, "not alike");
    assert!(world.names(".").is_empty());
}

#[test]
fn where_there_is_no_terminal_nobody_is_asked() {
    let world = World::empty();
    let output = Command::new("setsid")
        .current_dir(world.root())
        .args(["--wait", env!("CARGO_BIN_EXE_pki")])
        .args(["init", "--dir", "pki", "--passphrase", "terminal"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said::from(output).must_refuse(1, "there is no terminal to ask at");
    assert!(world.names(".").is_empty());
}
