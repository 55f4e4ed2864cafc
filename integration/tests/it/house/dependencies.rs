//! What the project is made of: one cryptography library, nothing twice, nothing unsafe, and who may
//! know whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use integration::program::Program;
use integration::sources;
use integration::wait::OrFail;
use regex::Regex;
use toml::{Table, Value};

/// Packages that hold cryptography, or the words of certificates: a second version of one is a second
/// thing to audit.
const CRYPTOGRAPHY: &[&str] = &[
    "aes",
    "aes-gcm",
    "aws-lc-rs",
    "aws-lc-sys",
    "const-oid",
    "curve25519-dalek",
    "der",
    "digest",
    "ecdsa",
    "ed25519-dalek",
    "hmac",
    "p256",
    "p384",
    "pkcs8",
    "rcgen",
    "rsa",
    "rustls",
    "rustls-pki-types",
    "rustls-webpki",
    "sha1",
    "sha2",
    "signature",
    "spki",
    "tokio-rustls",
    "x509-cert",
    "x509-parser",
];

/// What must not be there, in any version, on any platform, not even for tests.
const BANNED: &[&str] = &[
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "rustls-pemfile",
];

/// Which of our crates a crate may import. What is for tests alone does not count.
const IMPORTS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("gateway/audit", &["terminal"]),
    ("gateway/http1", &[]),
    ("gateway/integrity", &[]),
    ("gateway/terminal", &[]),
    ("pki", &["config", "audit", "terminal"]),
    (
        "gateway",
        &["config", "audit", "http1", "integrity", "pki", "terminal"],
    ),
    (
        "benches",
        &["config", "audit", "http1", "integrity", "pki", "gateway"],
    ),
    // Black-box tests link nothing of what they test.
    ("integration", &[]),
];

/// The manifest of a folder.
fn manifest(folder: &str) -> Table {
    let text = sources::read(format!("{folder}/Cargo.toml"));
    text.parse()
        .or_fail(&format!("read the manifest of {folder}"))
}

fn members() -> Vec<String> {
    let members = &manifest(".")["workspace"]["members"];
    let members = members.as_array().or_fail("find the members");
    members
        .iter()
        .filter_map(|member| member.as_str().map(str::to_owned))
        .collect()
}

fn dependencies(manifest: &Table, table: &str) -> BTreeSet<String> {
    let table = manifest.get(table).and_then(Value::as_table);
    table.into_iter().flat_map(Table::keys).cloned().collect()
}

/// Every package that is built for any platform, for tests too, with its versions.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let ran = Program::of_the_machine("env")
        .arg(cargo)
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges",
            "normal,build,dev",
            "--target",
        ])
        .args(["all", "--prefix", "none", "--format", "{p}"])
        .directory(sources::root())
        .run_within(Duration::from_mins(5))
        .expect_code(0);
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in ran.stdout.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            packages
                .entry(name.to_owned())
                .or_default()
                .insert(version.to_owned());
        }
    }
    packages
}

#[test]
fn there_is_one_cryptography_library_and_nothing_of_it_twice() {
    let packages = packages();
    assert!(packages.contains_key("aws-lc-rs"), "{packages:?}");
    let banned: Vec<_> = BANNED
        .iter()
        .filter(|name| packages.contains_key(**name))
        .collect();
    assert!(
        banned.is_empty(),
        "{banned:?}: cargo tree -i says who wants it"
    );
    for name in CRYPTOGRAPHY {
        let versions = packages.get(*name).map_or(0, BTreeSet::len);
        assert!(versions <= 1, "{name}: {:?}", packages[*name]);
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_house() {
    let root = manifest(".");
    assert_eq!(
        root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
    for member in members() {
        let lints = manifest(&member)["lints"]["workspace"].as_bool();
        assert_eq!(lints, Some(true), "{member}");
    }
}

#[test]
fn every_dependency_stands_in_the_one_table() {
    for member in members() {
        let manifest = manifest(&member);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(Value::as_table) else {
                continue;
            };
            for (name, value) in table {
                let shared = value.get("workspace").and_then(Value::as_bool);
                assert_eq!(shared, Some(true), "{member}: {name}");
            }
        }
    }
}

#[test]
fn a_crate_knows_only_those_it_may() {
    let ours: BTreeSet<String> = members()
        .iter()
        .map(|member| member.rsplit('/').next().unwrap_or(member).to_owned())
        .collect();
    for member in members() {
        let may = IMPORTS.iter().find(|(name, _)| *name == member);
        let (_, may) = may.or_fail(&format!("find {member} in the list"));
        let used = dependencies(&manifest(&member), "dependencies");
        let wrong: Vec<_> = used
            .intersection(&ours)
            .filter(|name| !may.contains(&name.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{member} imports {wrong:?}");
    }
}

#[test]
fn only_the_demo_links_the_authority() {
    let pki = Regex::new(r"(?-u:\b)pki::").unwrap();
    for source in sources::Source::all("gateway/src") {
        let inner = source.path.starts_with("gateway/src/demo");
        assert!(
            inner || !pki.is_match(&source.code),
            "{}",
            source.path.display()
        );
    }
}

#[test]
fn the_log_the_codec_and_the_configuration_know_no_runtime() {
    for member in [
        "gateway/audit",
        "gateway/http1",
        "gateway/integrity",
        "config",
    ] {
        let used = dependencies(&manifest(member), "dependencies");
        for name in ["tokio", "rustls", "hyper", "hyper-util", "tokio-rustls"] {
            assert!(!used.contains(name), "{member}: {name}");
        }
    }
}

#[test]
fn the_wire_knows_no_demo() {
    // `demo` and what it needs for its client stay behind the command line.
    for source in sources::Source::all("gateway/src") {
        let path = source.path.to_string_lossy().into_owned();
        if ["gateway/src/demo", "gateway/src/cli"]
            .iter()
            .any(|known| path.starts_with(known))
        {
            continue;
        }
        let found = source.lines_with(&["crate::demo", "demo::"]);
        assert!(found.is_empty(), "{found:?}");
    }
}
