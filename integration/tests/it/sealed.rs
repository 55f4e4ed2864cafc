//! Records are for their readers: who has the disk, or runs the gateway, reads none of them.

use std::path::{Path, PathBuf};

use integration::gateway::Gateway;
use integration::program::{Program, Ran};
use integration::records::{self, Records};
use integration::wait::OrFail;
use integration::world::{DEVICE, World};

fn show(directory: &Path, more: &[&str]) -> Ran {
    Program::ours("audit")
        .args(["show", "--json", "--unrecorded"])
        .args(more)
        .arg(directory)
        .run()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(directory).or_fail("list the log") {
        let path = item.or_fail("list the log").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn who_has_the_directory_learns_neither_who_nor_what() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nfhir = true");
    let answer = world
        .caller()
        .ask("POST /fhir/Patient/canary")
        .or_fail("get an answer");
    gateway.await_story(answer.id(), &["intent", "release"]);
    world.nobody().ask("GET /").unwrap_err();
    let stopped = gateway.stop();
    // What the reader finds is nowhere in the clear.
    let records = Records::of(&stopped.audit);
    let handshake = records.find("handshake").or_fail("find the handshake");
    assert!(handshake.to_string().contains(DEVICE));
    for secret in [
        DEVICE,
        "Patient",
        "canary",
        answer.id(),
        "certificate_missing",
        "127.0.0.1",
    ] {
        for file in files(&stopped.audit) {
            let bytes = std::fs::read(&file).or_fail("read the log");
            let hit = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!hit, "{secret} in {}", file.display());
        }
    }
}

#[test]
fn without_a_readers_key_the_log_tells_kinds_and_times_and_says_what_is_missing() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = world.caller().ask("GET /x").or_fail("get an answer");
    gateway.await_story(answer.id(), &["release"]);
    let stopped = gateway.stop();
    std::fs::rename(world.place.path("reader.key"), world.place.path("kept"))
        .or_fail("take the key away");
    let ran = show(&stopped.audit, &[]).expect_code(1);
    assert!(
        ran.stderr.contains("sealed to readers with another key"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("hint: --reader names"), "{ran:?}");
    let records = Records::parse(&ran.stdout);
    assert!(records.find("start").is_some(), "what stays in the clear");
    let kinds: Vec<_> = records
        .of_kind("sealed")
        .iter()
        .map(|record| record.text("kind").to_owned())
        .collect();
    assert!(kinds.contains(&"release".to_owned()), "{kinds:?}");
    assert!(!ran.stdout.contains(answer.id()) && !ran.stdout.contains(DEVICE));
    // With the key, wherever it lies, all of it; with that of somebody else no more than before.
    let kept = world.place.path("kept").display().to_string();
    let ran = show(&stopped.audit, &["--reader", &kept]).expect_code(0);
    assert!(ran.stdout.contains(answer.id()));
    std::fs::create_dir(world.place.path("other")).or_fail("make a directory");
    records::keygen(&world.place.path("other"));
    let other = world.place.path("other/reader.key").display().to_string();
    let ran = show(&stopped.audit, &["--reader", &other]).expect_code(1);
    assert!(!ran.stdout.contains(answer.id()), "{ran:?}");
    // Verifying takes no key at all.
    records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn a_restart_writes_under_another_key_and_the_reader_reads_both() {
    let world = World::new();
    let _origin = world.plain_origin();
    let (configuration, place) = (world.configuration(), &world.place);
    let gateway = Gateway::start(place, &configuration);
    let first = world.caller().ask("GET /x").or_fail("get an answer");
    gateway.await_story(first.id(), &["release"]);
    gateway.stop();
    let gateway = Gateway::start(place, &configuration);
    let second = world.caller().ask("GET /x").or_fail("get an answer");
    gateway.await_story(second.id(), &["release"]);
    let records = gateway.records();
    let keys = records.of_kind("epoch_key");
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0].text("key"), keys[1].text("key"));
    assert_eq!(records.of_request(first.id()).len(), 1);
    gateway.verify();
}

#[test]
fn a_log_that_anybody_reads_is_a_decision_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration().without("audit.readers");
    let gateway = Gateway::start(&world.place, &configuration);
    let decision = gateway.await_record("the decision", |record| {
        record.kind() == "decision" && record.text("control") == "readable-audit"
    });
    assert_eq!(decision.text("paragraph"), "45 CFR 164.312(a)(2)(iv)");
    // Without a reason it does not start.
    gateway.stop();
    let silent = configuration.without("audit.rationale");
    let file = world.place.write("silent.toml", silent.text());
    let ran = Program::ours("gateway")
        .args(["check", "--config"])
        .arg(file)
        .run()
        .expect_code(1);
    assert!(ran.stderr.contains("records are not encrypted"), "{ran:?}");
}

#[test]
fn keys_are_never_replaced() {
    let world = World::new();
    let before = world.place.read("audit.keys");
    let ran = Program::ours("audit")
        .args(["keygen", "--name", "log.test/audit", "--out"])
        .arg(world.place.directory())
        .run()
        .expect_code(1);
    assert!(
        ran.stderr.contains("hint: a log that has keys needs these"),
        "{ran:?}"
    );
    assert_eq!(world.place.read("audit.keys"), before);
    let ran = Program::ours("audit")
        .args(["keygen", "--name", "two words", "--out"])
        .arg(world.place.directory())
        .run()
        .expect_code(64);
    assert!(ran.stderr.contains("--name"), "{ran:?}");
}
