//! What was asked for, word by word, is on record for those who may know it: once for each request,
//! shown when it is asked for, and else nowhere.

use std::path::Path;

use integration::answer::Answer;
use integration::configuration::OPEN;
use integration::gateway::Gateway;
use integration::line::Caller;
use integration::records::{Record, Records, audit};
use integration::wait::OrFail;
use integration::world::World;

fn with_targets(directory: &Path) -> Records {
    Records::parse(
        &audit("show", directory, &["--json", "--targets"])
            .expect_code(0)
            .stdout,
    )
}

#[track_caller]
fn ask(caller: &Caller, request: &str) -> Answer {
    caller.ask(request).or_fail("get an answer")
}

/// The kinds of a request's records, each with the target in it.
fn targets(records: &Records, answer: &Answer) -> Vec<(String, String)> {
    let told = |record: &&Record| {
        let target = record.field("target").as_str().unwrap_or_default();
        (record.kind().to_owned(), target.to_owned())
    };
    records.of_request(answer.id()).iter().map(told).collect()
}

#[test]
fn a_target_stands_in_the_first_record_of_its_request_and_in_no_other() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = Gateway::start(&world.place, &world.configuration().with(OPEN));
    let caller = world.caller();
    let read = ask(&caller, "GET /fhir/Patient/canary?x=canary%20y");
    let written = ask(
        &caller,
        "POST /fhir/Patient?canary HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok",
    );
    let refused = ask(&caller, "GET /..%2Fcanary");
    let absolute = ask(
        &caller,
        "GET http://api.test/canary HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    let long = format!("/canary?{}", "y".repeat(5000));
    let cut = ask(&caller, &format!("GET {long}"));
    // Who proved nothing leaves what the gateway says of it, and no word of its own.
    let permitted = ask(&world.nobody(), "GET /open?canary");
    let turned_away = ask(&world.nobody(), "GET /canary");
    let stopped = gateway.stop();
    integration::records::verify(&stopped.audit).expect_code(0);
    let records = with_targets(&stopped.audit);
    let told = |answer: &Answer, expected: &[(&str, &str)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, target)| ((*kind).to_owned(), (*target).to_owned()))
            .collect();
        assert_eq!(targets(&records, answer), expected);
    };
    told(&read, &[("release", "/fhir/Patient/canary?x=canary%20y")]);
    told(
        &written,
        &[("intent", "/fhir/Patient?canary"), ("release", "")],
    );
    told(&refused, &[("refusal", "/..%2Fcanary")]);
    told(&absolute, &[("refusal", "http://api.test/canary")]);
    told(&cut, &[("release", &format!("{}\u{2026}", &long[..2045]))]);
    told(&permitted, &[("release", "/open?canary")]);
    told(&turned_away, &[("refusal", "")]);
    // Without asking, no byte of any.
    for form in [&[][..], &["--json"]] {
        let shown = audit("show", &stopped.audit, form).expect_code(0).stdout;
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn in_a_log_that_anybody_reads_no_target_is_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration().without("audit.readers");
    let gateway = Gateway::start(&world.place, &configuration);
    let answer = ask(&world.caller(), "GET /fhir/Patient/canary");
    let stopped = gateway.stop();
    let records = with_targets(&stopped.audit);
    assert_eq!(
        targets(&records, &answer),
        [("release".to_owned(), String::new())]
    );
    for item in std::fs::read_dir(stopped.audit.join("wal")).or_fail("list the log") {
        let path = item.or_fail("list the log").path();
        let bytes = std::fs::read(&path).or_fail("read the log");
        let hit = bytes.windows(6).any(|part| part == b"canary");
        assert!(!hit, "{}", path.display());
    }
}

#[test]
fn one_record_is_disclosed_to_whoever_has_the_public_key_alone() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = ask(&world.caller(), "GET /fhir/Patient/canary");
    let stopped = gateway.stop();
    let shown = with_targets(&stopped.audit);
    let record = shown.of_request(answer.id())[0].clone();
    let entry = record
        .number("sequence")
        .or_fail("have a place")
        .to_string();
    let key = world.place.path("log.vkey").display().to_string();
    let check = |more: &[&str]| {
        let arguments = [&["--entry", &entry][..], more].concat();
        let disclosed = audit("disclose", &stopped.audit, &arguments)
            .expect_code(0)
            .stdout;
        let file = world.place.write("disclosed", &disclosed);
        audit("check", &file, &["--key", &key])
            .expect_code(0)
            .stdout
    };
    let checked = Records::parse(&check(&["--target"]));
    assert_eq!(checked.to_string(), format!("{record}\n"));
    let without = check(&[]);
    assert!(
        without.contains(answer.id()) && !without.contains("canary"),
        "{without}"
    );
}
