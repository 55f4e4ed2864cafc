//! Words, streams and exit codes.

use std::process::{Command, Stdio};

use crate::support::{Said, World, pki};

#[test]
fn wrong_usage_is_64_with_an_error_and_a_hint() {
    let world = World::empty();
    for args in [
        vec!["frobnicate"],
        vec!["init"],
        vec!["init", "--dir", "x", "--nmae", "y"],
        vec!["revoke", "--dir", "x", "--reason", "superseded"],
        vec!["crl", "--dir", "x", "--days", "soon"],
    ] {
        let said = world.run(&args);
        said.must_refuse(64, "");
        assert!(said.err.contains("\nhint: "), "{args:?}: {}", said.err);
    }
    let nothing = Said::from(pki().output().unwrap());
    assert_eq!((nothing.code, nothing.out.as_str()), (64, ""));
    assert!(nothing.err.contains("Usage: pki"));
}

#[test]
fn every_command_is_listed() {
    let help = Said::from(pki().arg("--help").output().unwrap()).must_succeed();
    for command in [
        "init",
        "issue",
        "revoke",
        "crl",
        "list",
        "show",
        "bulk",
        "token",
        "doctor",
        "recover",
        "backup",
        "restore",
        "serve",
        "passphrase",
        "ceremony",
        "renew",
        "enrol",
    ] {
        assert!(help.out.contains(&format!("  {command} ")), "{command}");
    }
}

#[test]
fn help_is_a_result_on_every_level_and_has_an_example() {
    for args in [
        vec!["--help"],
        vec!["init", "--help"],
        vec!["issue", "--help"],
        vec!["revoke", "--help"],
        vec!["crl", "--help"],
        vec!["list", "--help"],
        vec!["show", "--help"],
        vec!["serve", "--help"],
        vec!["bulk", "--help"],
        vec!["token", "--help"],
        vec!["token", "make", "--help"],
        vec!["doctor", "--help"],
        vec!["recover", "--help"],
        vec!["backup", "--help"],
        vec!["restore", "--help"],
        vec!["passphrase", "--help"],
        vec!["ceremony", "--help"],
        vec!["ceremony", "request", "--help"],
        vec!["ceremony", "sign", "--help"],
        vec!["ceremony", "import", "--help"],
        vec!["renew", "--help"],
        vec!["enrol", "--help"],
        vec!["completions", "--help"],
        vec!["manual", "--help"],
    ] {
        let said = Said::from(pki().args(&args).output().unwrap()).must_succeed();
        assert!(said.out.contains("Example"), "{args:?}");
        assert_eq!(said.err, "");
    }
    let version = Said::from(pki().arg("--version").output().unwrap()).must_succeed();
    assert!(version.out.starts_with("pki "));
}

#[test]
fn there_are_no_colors_when_nobody_looks() {
    for args in [vec!["--help"], vec!["issue"]] {
        let said = Said::from(pki().args(args).output().unwrap());
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'));
    }
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish"] {
        let said = world.run(["completions", shell]).must_succeed();
        assert!(said.out.contains("revoke"), "{shell}");
    }
    std::fs::create_dir(world.path("man")).unwrap();
    world.run(["manual", "man"]).must_succeed();
    assert!(world.names("man").contains(&"pki-issue.1".to_owned()));
    world
        .run(["manual", "missing"])
        .must_refuse(1, "cannot write to missing");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let world = World::new();
    let mut child = world
        .command(["list", "--dir", "pki"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(Said::from(output).code, 0);
}

#[test]
fn a_full_output_is_a_failure() {
    let world = World::new();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = world
        .command(["list", "--dir", "pki"])
        .stdout(full)
        .output()
        .unwrap();
    Said::from(output).must_refuse(1, "cannot write the result");
}

#[test]
fn no_secret_is_printed_anywhere() {
    let world = World::new();
    let issued = world
        .pki("issue --profile device --id urn:example:a --new-key --out a --json")
        .must_succeed();
    let shown = world.pki("show --id urn:example:a --json").must_succeed();
    let key: String = world
        .read("a/key.pem")
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    for said in [issued, shown] {
        assert!(!said.out.contains(&key[40..60]) && !said.out.contains("PRIVATE"));
    }
    // Nor is one in the inventory.
    let dump = Command::new("grep")
        .args(["-c", "PRIVATE", "pki/ca/inventory.db"])
        .current_dir(world.root())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&dump.stdout).trim(), "0");
}

#[test]
fn a_path_that_is_no_utf_8_is_used_and_printed_as_well_as_can_be() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::empty();
    let odd = std::ffi::OsStr::from_bytes(b"pk\xff");
    let mut args = vec![std::ffi::OsStr::new("init"), "--dir".as_ref(), odd];
    args.push("--json".as_ref());
    let said = world.run(args).must_succeed();
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["files"]["trust"], "pk\u{fffd}/trust.pem");
}
