//! `gateway demo`: the whole product with nothing prepared, and what it says is so.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration::curl::Curl;
use integration::demo::{self, Demo};
use integration::gateway::ADMIN;
use integration::line::Caller;
use integration::origin;
use integration::place::Place;
use integration::program::{self, Program};
use integration::records::{self, Records};
use integration::sources;
use integration::wait::OrFail;
use rustix::process::Signal;

/// The story takes a few seconds; on a busy machine some more.
const STORY: Duration = Duration::from_mins(3);

/// `gateway demo --once` in a directory.
fn once(directory: &Path) -> Program {
    Program::ours("gateway")
        .args(["demo", "--once", "--listen", "127.0.0.1:0", "--dir"])
        .arg(directory)
}

#[test]
fn the_story_ends_well_with_nothing_prepared() {
    let place = Place::new();
    let directory = place.path("new/demo");
    for round in 1..=2 {
        let ran = once(&directory).run_within(STORY).expect_code(0);
        let steps: Vec<&str> = ran
            .stdout
            .lines()
            .filter(|line| line.contains(": expected "))
            .collect();
        assert!(steps.len() >= 12, "{}", ran.stdout);
        for step in &steps {
            let (what, expected) = step.split_once(": expected ").or_fail(step);
            assert!(what.starts_with("ok "), "{step}");
            let (expected, happened) = expected.split_once(", happened ").or_fail(step);
            assert_eq!(expected, happened, "{step}");
        }
        for part in [
            "reads a record",
            "without a certificate",
            "revoked",
            "TLS 1.1",
            "fell back",
        ] {
            assert!(steps.iter().any(|step| step.contains(part)), "{part}");
        }
        assert!(ran.stdout.ends_with("All as expected.\n"), "{}", ran.stdout);
        // What it says of the log is what the log's own program says.
        records::verify(&directory.join("audit")).expect_code(0);
        let records = Records::of(&directory.join("audit"));
        assert_eq!(records.of_kind("start").len(), round);
        assert_eq!(records.of_kind("stop").len(), round);
        for short in [
            "handshake_refused certificate_missing",
            "handshake_refused certificate_revoked",
            "handshake_refused protocol_version",
            "handshake_refused inappropriate_fallback",
            "handshake_refused plain_http",
            "refusal path_refused",
            "refusal method_not_allowed",
        ] {
            assert!(records.find(short).is_some(), "{short} in\n{records}");
        }
    }
}

#[test]
fn the_story_says_so_when_something_is_not_as_expected() {
    let place = Place::new();
    let directory = place.path("demo");
    // A route that lets through what the story expects to be refused.
    let text = demo::configuration(&place);
    let wider = text.replace(
        "methods   = [\"GET\", \"HEAD\"]",
        "methods   = [\"GET\", \"HEAD\", \"DELETE\"]",
    );
    assert_ne!(text, wider, "the file has such a line");
    place.write("demo/gateway.toml", wider);
    let ran = once(&directory).run_within(STORY).expect_code(1);
    let wrong: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert!(
        wrong.iter().any(|line| line.contains("expected 405")),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("All as expected."), "{}", ran.stdout);
}

/// The files below a directory with their content.
fn files(below: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for item in std::fs::read_dir(below).or_fail("list a directory") {
        let path = item.or_fail("list a directory").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).or_fail("read a file"));
        }
    }
    files
}

#[test]
fn a_second_start_reuses_what_is_there() {
    let place = Place::new();
    let mut demo = Demo::start(&place);
    let kept = |place: &Place| -> BTreeMap<PathBuf, Vec<u8>> {
        ["server", "device", "revoked"]
            .iter()
            .flat_map(|name| files(&place.path("demo").join(name)))
            .chain([(
                place.path("demo/gateway.toml"),
                place.read("demo/gateway.toml").into_bytes(),
            )])
            .collect()
    };
    let before = kept(&place);
    assert!(before.len() >= 12, "{:?}", before.keys());
    let published = |place: &Place| {
        let mut lists = files(&place.path("demo/pki/crl"));
        // Beside them lie the certificates of those who signed them.
        lists.retain(|path, _| path.extension().is_some_and(|kind| kind == "crl"));
        assert!(!lists.is_empty());
        lists
    };
    let lists = published(&place);
    demo.process().signal(Signal::INT);
    assert_eq!(demo.process().end().code(), Some(0));
    drop(demo);
    let mut demo = Demo::start(&place);
    assert!(kept(&place) == before, "nothing is issued or written anew");
    let anew = published(&place);
    assert!(
        anew.iter()
            .all(|(path, list)| lists.get(path) != Some(list)),
        "but revocation lists are signed anew"
    );
    let answer = Caller::new(demo.listen(), &demo.server.trust)
        .with(&demo.device)
        .asking_for(Some("localhost"))
        .connect()
        .and_then(|mut line| {
            line.send("GET /fhir/Patient/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            line.answer()
        })
        .or_fail("ask the demo");
    assert_eq!(answer.json()["resourceType"], "Patient", "{answer:?}");
    demo.process().signal(Signal::TERM);
    assert_eq!(demo.process().end().code(), Some(0));
    assert_eq!(demo.records(&place).of_kind("start").len(), 2);
    records::verify(&place.path("demo/audit")).expect_code(0);
}

#[test]
fn ctrl_c_ends_it_cleanly() {
    let place = Place::new();
    let mut demo = Demo::start(&place);
    demo.process().signal(Signal::INT);
    assert_eq!(demo.process().end().code(), Some(0));
    let records = demo.records(&place);
    let last = records.iter().next_back().map(records::Record::kind);
    assert_eq!(last, Some("stop"), "{records}");
    let leftover = std::net::TcpStream::connect(place.at(origin::PORT));
    assert!(leftover.is_err(), "the sample API ends with it");
}

/// A directory with a `cargo` that runs what was built already.
fn cargo_that_runs_what_is_built(place: &Place) -> PathBuf {
    let folder = program::binary("audit");
    let folder = folder.parent().or_fail("find the binaries").display();
    let script = place.write(
        "bin/cargo",
        format!(
            "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --bin' ] && [ \"$5\" = -- ] || exit 99\n\
             name=$4; shift 5\nexec \"{folder}/$name\" \"$@\"\n"
        ),
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.path("bin")
}

#[test]
fn the_commands_that_it_prints_work_when_pasted() {
    let place = Place::new();
    // A name that a shell takes apart unless it is quoted.
    let mut demo = Demo::start_in(&place, "nurse's $demo (1)");
    let printed = demo.process().stdout();
    let commands: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with('#'))
        .collect();
    let [reads, nobody, revoked, show, verify, health] = commands.as_slice() else {
        panic!("six commands in\n{printed}");
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = cargo_that_runs_what_is_built(&place);
    let paste = |command: &str| {
        Program::of_the_machine("bash")
            .args(["-c", command])
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("no_proxy", "*")
            .directory(sources::root())
            .run()
    };
    let read = paste(reads).expect_code(0);
    assert!(read.stdout.contains("\"Patient\""), "{read:?}");
    for (command, code) in [
        (nobody, "certificate_missing"),
        (revoked, "certificate_revoked"),
    ] {
        let ran = paste(command);
        assert_ne!(ran.code(), 0, "{ran:?}");
        assert_eq!(ran.stdout, "", "{ran:?}");
        let shown = paste(show).expect_code(0);
        assert!(shown.stdout.contains(code), "{code} in\n{}", shown.stdout);
    }
    let verified = paste(verify).expect_code(0);
    assert!(verified.stdout.starts_with("good: "), "{verified:?}");
    let health = paste(health).expect_code(0);
    assert!(health.stdout.starts_with("ok\n"), "{health:?}");
    assert!(
        health.stdout.contains("phigate_requests_total"),
        "{health:?}"
    );
}

#[test]
fn an_address_that_is_busy_is_replaced_and_told() {
    let place = Place::new();
    let _admin = TcpListener::bind(place.at(ADMIN)).unwrap();
    let _upstream = TcpListener::bind(place.at(origin::PORT)).unwrap();
    let mut demo = Demo::start(&place);
    let printed = demo.process().stdout();
    for busy in [ADMIN, origin::PORT] {
        let told = format!("port {busy} is busy: ");
        assert!(printed.contains(&told), "{told} in {printed}");
    }
    let fetched = Curl::to(demo.listen(), &demo.server.trust)
        .host("localhost")
        .with(&demo.device)
        .get("/fhir/Patient/1");
    assert_eq!(fetched.answer.status, 200, "{fetched:?}");
    let said = printed
        .lines()
        .find_map(|line| line.split_once("http://"))
        .or_fail("find the admin address");
    let address = said.1.split('/').next().unwrap_or_default();
    assert_ne!(address, place.at(ADMIN).to_string());
    assert!(std::net::TcpStream::connect(address).is_ok(), "{address}");
}

#[test]
fn a_directory_of_somebody_else_is_left_as_it_is() {
    let place = Place::new();
    place.write("project/server/main.py", "print('mine')\n");
    place.write("project/device.new/notes", "mine\n");
    let before = files(&place.path("project"));
    let ran = once(&place.path("project"))
        .run_within(STORY)
        .expect_code(1);
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
    assert!(files(&place.path("project")) == before);
}

#[test]
fn the_sample_api_answers_what_the_documents_say() {
    let place = Place::new();
    let demo = Demo::start(&place);
    let curl = || {
        Curl::to(demo.listen(), &demo.server.trust)
            .host("localhost")
            .with(&demo.device)
    };
    let get = |path: &str| curl().get(path).answer;
    let patient = get("/fhir/Patient/1");
    assert_eq!(
        patient.header("content-type"),
        Some("application/fhir+json")
    );
    assert_eq!(patient.json()["id"], "1");
    let metadata = get("/fhir/metadata").json();
    assert_eq!(metadata["resourceType"], "CapabilityStatement");
    let found = get("/fhir/Observation").json();
    assert_eq!(found["resourceType"], "Bundle");
    let written = curl()
        .args([
            "--request",
            "POST",
            "--json",
            r#"{"resourceType":"Observation"}"#,
        ])
        .get("/fhir/Observation")
        .answer;
    assert_eq!(written.status, 201, "{written:?}");
    assert_eq!(get("/bytes/100000").body.len(), 100_000);
    assert_eq!(get("/slow/1").status, 200);
    let echo = curl()
        .args(["--data", "a word", "--header", "x-canary: sings"])
        .get("/echo")
        .answer;
    assert!(echo.text().contains("a word"), "{echo:?}");
    assert!(echo.text().contains("sings"), "{echo:?}");
    // Under `/signed` the same is there for whoever signs: the story of the demo does.
    let unsigned = get("/signed/fhir/Patient/1");
    assert_eq!(unsigned.status, 401, "{unsigned:?}");
    let asked = unsigned.header("accept-signature");
    assert!(
        asked.is_some_and(|asked| asked.contains("\"@method\"")),
        "{unsigned:?}"
    );
    assert_eq!(get("/").status, 200);
    assert_eq!(get("/nowhere").status, 404);
}
