//! What `benches/compare` stands on, as a person runs it: the script's words, `load compare`, and the
//! program `floor` between `load` and its backend.
//!
//! What this file does not do: it runs no comparison and judges no speed; a busy machine must not
//! fail it.

// Helpers of tests are not within `#[test]`, which is all that clippy.toml lets unwrap.
#![allow(clippy::unwrap_used)]

mod stage;

use stage::{Backend, Pki};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// `benches/compare` with these words.
fn compare(words: &[&str]) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/compare"))
        .args(words)
        .output()
        .unwrap()
}

fn load(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load"))
        .args(line.split_ascii_whitespace())
        .output()
        .unwrap()
}

/// `floor` before a backend, ended when it is dropped.
struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    fn start(pki: &Pki, backend: &Backend) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_floor"))
            .args(["--listen", "127.0.0.1:0"])
            .args(["--backend", &backend.address.to_string()])
            .args(["--chain", &pki.path("server/chain.pem")])
            .args(["--key", &pki.path("server/key.pem")])
            .args(["--clients", &pki.path("trust.pem")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            address: address.to_owned(),
            child,
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_script_says_how_it_is_used_and_where_it_puts_things() {
    let output = compare(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let words = String::from_utf8_lossy(&output.stdout);
    for word in ["--quick", "--install", "Examples:", "Exit codes:", "envoy-"] {
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn the_script_refuses_what_it_does_not_know_before_it_starts_anything() {
    for words in [
        &["--fast"][..],
        &["--servers", "apache"],
        &["--servers"],
        &["--rounds", "0"],
    ] {
        let output = compare(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("error: "), "{said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn requests_pass_through_the_floor_over_both_versions_of_http() {
    let (pki, backend) = (Pki::new(), Backend::start());
    let floor = Floor::start(&pki, &backend);
    let mut lines = String::new();
    for workload in [
        "h1 --connections 4",
        "h2 --connections 2 --streams 8",
        "handshake --connections 2",
        "download --connections 2 --bytes 300000",
        "upload --connections 2 --bytes 300000",
    ] {
        let output = load(&format!(
            "{workload} --to {} --ca {} --cert {} --key {} --seconds 0.3 --warm-up 0.1 --json \
             --label floor --server-pid {}",
            floor.address,
            pki.path("trust.pem"),
            pki.path("clients/a/chain.pem"),
            pki.path("clients/a/key.pem"),
            floor.child.id(),
        ));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{workload}: {said}");
        lines += &String::from_utf8_lossy(&output.stdout);
    }
    let file = pki.path("floor.jsonl");
    fs::write(&file, lines).unwrap();
    let output = load(&format!("compare {file}"));
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(table.lines().count(), 8, "{table}");
}

#[test]
fn the_floor_lets_in_nobody_whom_its_root_does_not_vouch_for() {
    let (pki, backend, stranger) = (Pki::new(), Backend::start(), Pki::new());
    let floor = Floor::start(&pki, &backend);
    let output = load(&format!(
        "h1 --connections 1 --to {} --ca {} --cert {} --key {} --seconds 0.3",
        floor.address,
        pki.path("trust.pem"),
        stranger.path("clients/a/chain.pem"),
        stranger.path("clients/a/key.pem"),
    ));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alert"), "{said}");
}

#[test]
fn the_floor_says_how_it_is_used_and_which_file_is_wrong() {
    let floor = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_floor"))
            .args(words)
            .output();
        output.unwrap()
    };
    let help = floor(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Example:"));
    assert_eq!(floor(&["--listen", "0.0.0.0:8443"]).status.code(), Some(64));

    let files = [
        "--chain",
        "none.pem",
        "--key",
        "none.pem",
        "--clients",
        "none.pem",
    ];
    let output = floor(&[&["--backend", "127.0.0.1:1"][..], &files].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error: none.pem: "), "{said}");
    assert!(said.contains("\nhint: "), "{said}");
}

#[test]
fn reports_of_two_servers_become_one_table_of_ratios() {
    let report = |label: &str, us: f64| {
        serde_json::json!({
            "label": label, "workload": "h1", "connections": 64, "identities": 1,
            "group": "x25519", "suite": "aes128", "seconds": 2.0, "requests": 9,
            "requests_in_all": 12, "requests_per_second": 4.5,
            "handshakes": { "full": 0, "resumed": 0 }, "reconnects": 0,
            "server": { "cores": 1.0, "waiting_cores": 0.0, "cpu_us_per_request": us, "rss_kib": 9 },
            "generator_cores": 0.5, "errors": {},
        })
        .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reports.jsonl");
    let lines = [
        report("theirs", 40.0),
        report("ours", 30.0),
        report("ours", 20.0),
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let output = load(&format!("compare {} --ours ours", file.display()));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "| workload | unit | theirs | ours |\n\
         |---|---|---|---|\n\
         | h1, 64, x25519 | us/request | 40.0 / 40.0, **0.50** | 20.0 / 25.0 |\n\
         | all of these | cores waited for | 0.00 | 0.00 |\n"
    );

    let output = load(&format!("compare {} --ours nobody", file.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no report has the label nobody"), "{said}");
}
