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

/// The manifest of a folder.
fn manifest(folder: &str) -> Table {
    let text = sources::read(format!("{folder}/Cargo.toml"));
    text.parse()
        .or_fail(&format!("read the manifest of {folder}"))
}

fn dependencies(manifest: &Table, table: &str) -> BTreeSet<String> {
    let table = manifest.get(table).and_then(Value::as_table);
    table.into_iter().flat_map(Table::keys).cloned().collect()
}

/// Every package that is built for any platform along these edges, with its versions.
fn packages(edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let ran = Program::of_the_machine("env")
        .arg(cargo)
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges",
            edges,
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
    // An oracle of a test may bring its own: it judges ours, and does not ship.
    let everything = packages("normal,build,dev");
    let packages = packages("normal,build");
    assert!(packages.contains_key("aws-lc-rs"), "{packages:?}");
    let banned: Vec<_> = BANNED
        .iter()
        .filter(|name| everything.contains_key(**name))
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
    for member in sources::members() {
        let lints = manifest(&member)["lints"]["workspace"].as_bool();
        assert_eq!(lints, Some(true), "{member}");
    }
}

#[test]
fn every_dependency_stands_in_the_one_table() {
    for member in sources::members() {
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
fn a_crate_knows_only_those_that_the_architecture_says() {
    let text = sources::read("ARCHITECTURE.md");
    let row = Regex::new(r"(?m)^\| `([a-z0-9/]+)/` \|[^|]*\| ([^|]*) \|$").unwrap();
    let rows: BTreeMap<&str, &str> = row
        .captures_iter(&text)
        .filter_map(|row| Some((row.get(1)?.as_str(), row.get(2)?.as_str())))
        .collect();
    let members = sources::members();
    let ours: Vec<&str> = members
        .iter()
        .filter_map(|member| member.rsplit('/').next())
        .collect();
    for member in &members {
        let says = rows.get(member.as_str());
        let says = says.or_fail(&format!("find {member} in the table of crates"));
        let words: BTreeSet<&str> = says.split([',', ';', ' ']).collect();
        // What is for tests alone does not count.
        let used = dependencies(&manifest(member), "dependencies");
        let used = ours.iter().filter(|name| used.contains(**name));
        let wrong: Vec<_> = used
            .filter(|name| !words.contains("all") && !words.contains(**name))
            .collect();
        assert!(
            wrong.is_empty(),
            "{member} imports {wrong:?}, not only {says}"
        );
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
        "pki/ocsp",
    ] {
        let manifest = manifest(member);
        let used = dependencies(&manifest, "dependencies");
        for name in RUNTIME {
            // What only a feature brings, the core does not know.
            let is_optional = manifest["dependencies"]
                .get(name)
                .and_then(|dependency| dependency.get("optional"))
                .and_then(Value::as_bool);
            let is_absent = !used.contains(*name) || is_optional == Some(true);
            assert!(is_absent, "{member}: {name}");
        }
    }
}

/// What runs tasks, and what is spoken over a network.
const RUNTIME: &[&str] = &["tokio", "rustls", "hyper", "hyper-util", "tokio-rustls"];

#[test]
fn of_the_log_only_what_ships_it_knows_a_runtime_and_nothing_of_the_core_imports_that() {
    let runtime = Regex::new(r"(?-u:\b)(tokio|rustls|hyper|hyper_util|tokio_rustls)::").unwrap();
    let ship = Regex::new(r"(?-u:\b)ship::").unwrap();
    for source in sources::Source::all("gateway/audit/src") {
        let path = source.path.to_string_lossy().into_owned();
        if path.starts_with("gateway/audit/src/ship") {
            continue;
        }
        // A verb of the program may ask for what the feature brings.
        let is_verb = path.starts_with("gateway/audit/src/cli");
        assert!(!runtime.is_match(&source.code), "{path}");
        assert!(is_verb || !ship.is_match(&source.code), "{path}");
    }
    let ran = Program::of_the_machine("env")
        .arg(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "tree",
            "--package",
            "audit",
            "--locked",
            "--no-default-features",
        ])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .directory(sources::root())
        .run_within(Duration::from_mins(5))
        .expect_code(0);
    for line in ran.stdout.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(!RUNTIME.contains(&name), "the core of the log needs {line}");
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
