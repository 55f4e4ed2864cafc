//! The log in the words of others: what leaves says what happened and never who a patient is, and what is
//! sent to a receiver arrives whole, also when the receiver dies.

use std::path::PathBuf;

use integration::authority::Credentials;
use integration::gateway::Gateway;
use integration::program::{Process, Program, Ran, is_installed};
use integration::rsyslog::{self, Rsyslog};
use integration::wait::{self, OrFail};
use integration::world::{CLIENT, DEVICE, World};
use serde_json::Value;

const FHIR: &str = "
[upstreams.origin]
fhir_base = \"https://fhir.test/fhir\"
[[routes]]
name = \"all\"
fhir = true
";

fn export(gateway: &Gateway, format: &str) -> String {
    Program::ours("audit")
        .args(["export", "--format", format])
        .arg(gateway.audit())
        .run()
        .expect_code(0)
        .stdout
}

/// A gateway through which somebody has read a patient, whose answer is whole on record.
fn with_a_read(world: &World) -> (Gateway, String) {
    let gateway = world.gateway(FHIR);
    let answer = world
        .caller()
        .ask("GET /fhir/Patient/canary-17")
        .or_fail("get an answer");
    gateway.await_story(answer.id(), &["release"]);
    gateway.await_record("the end of its connection", |it| it.kind() == "close");
    (gateway, answer.id().to_owned())
}

fn api(world: &World) -> integration::origin::Origin {
    let patient = r#"{"resourceType":"Patient","id":"canary-17","identifier":[{"system":"urn:mrn","value":"canary-mrn"}]}"#;
    let length = patient.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: {length}\r\n\r\n{patient}"
    );
    world.answering(move |_| answer.clone().into_bytes())
}

#[test]
fn every_format_tells_the_request_and_none_who_the_patient_is() {
    let world = World::new();
    let _api = api(&world);
    let (gateway, id) = with_a_read(&world);
    for format in ["balp", "ocsf", "csv", "dicom"] {
        let exported = export(&gateway, format);
        let lines: Vec<_> = exported.lines().filter(|line| line.contains(&id)).collect();
        assert_eq!(
            lines.len(),
            1,
            "{format}: one request, one patient\n{exported}"
        );
        for word in [DEVICE, "Patient"] {
            assert!(lines[0].contains(word), "{format}: {word} in {}", lines[0]);
        }
        assert!(!exported.contains("canary"), "{format}: {exported}");
    }
}

#[test]
fn a_read_of_a_patient_is_an_audit_event_of_ihe() {
    let world = World::new();
    let _api = api(&world);
    let (gateway, id) = with_a_read(&world);
    let exported = export(&gateway, "balp");
    let line = exported.lines().find(|line| line.contains(&id));
    let event: Value = serde_json::from_str(line.or_fail("find it")).or_fail("read it as JSON");
    assert_eq!(
        event["meta"]["profile"][0],
        "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"
    );
    assert_eq!(
        event["source"]["observer"]["identifier"]["value"],
        "log.test/audit"
    );
    let record = gateway.await_record("the release", |it| it.kind() == "release");
    let whom = &event["entity"][2];
    let patients = record
        .field("patients")
        .as_array()
        .or_fail("find patients")
        .clone();
    assert_eq!(patients.len(), 2, "an id and an identifier");
    assert!(patients.contains(&whom["what"]["identifier"]["value"]));
    assert!(patients.contains(&whom["detail"][0]["valueString"]));
    assert_eq!(event["agent"][0]["network"]["address"], "127.0.0.1");
}

#[test]
fn who_has_no_key_gets_no_export_and_an_error() {
    let world = World::new();
    let _api = api(&world);
    let (gateway, id) = with_a_read(&world);
    let stopped = gateway.stop();
    std::fs::rename(world.place.path("reader.key"), world.place.path("kept"))
        .or_fail("take the key away");
    let ran = Program::ours("audit")
        .args(["export", "--format", "csv"])
        .arg(&stopped.audit)
        .run()
        .expect_code(1);
    assert!(
        ran.stderr.contains("sealed to readers with another key"),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains(&id) && !ran.stdout.contains(CLIENT));
    let ran = Program::ours("audit")
        .args(["export", "--format", "pdf"])
        .arg(&stopped.audit)
        .run()
        .expect_code(64);
    assert!(ran.stderr.contains("balp, ocsf, csv, dicom"), "{ran:?}");
}

/// A receiver's credentials, and a sender's.
fn credentials(world: &World) -> (Credentials, Credentials) {
    let host = world.place.at(rsyslog::PORT).ip().to_string();
    let receiver = world.authority.server(&world.place.path("logs"), &[&host]);
    let sender = world
        .authority
        .device(&world.place.path("sender"), "urn:example:shipper");
    (receiver, sender)
}

fn ship(world: &World, trust: &std::path::Path, own: &Credentials) -> Program {
    Program::ours("audit")
        .args(["ship", "--syslog"])
        .arg(world.place.at(rsyslog::PORT).to_string())
        .arg("--authority")
        .arg(trust)
        .arg("--certificate")
        .arg(&own.chain)
        .arg("--key")
        .arg(&own.key)
        .arg(world.place.path("audit"))
}

fn once(program: Program) -> Ran {
    program.arg("--once").run()
}

/// Ships until all is sent. rsyslog 8.2302 on OpenSSL was seen to refuse a handshake behind one that
/// somebody broke off: what failed is sent by the next round, as from a timer.
fn sent(program: impl FnMut() -> Program) -> Ran {
    let mut rounds = std::iter::repeat_with(program).map(once).take(8);
    let sent = rounds.find(|ran| ran.code() == 0);
    sent.or_fail("ship in one of eight rounds")
}

/// The cursor in the log's directory.
fn cursor(world: &World) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(world.place.path("audit"))
        .or_fail("list the log")
        .filter_map(|file| Some(file.ok()?.path()));
    files.find(|path| path.extension().is_some_and(|it| it == "cursor"))
}

fn lacks_rsyslog(test: &str) -> bool {
    let is_there = is_installed("rsyslogd");
    if !is_there {
        wait::cannot_run(test, "rsyslogd is not installed");
    }
    !is_there
}

#[test]
fn every_message_arrives_whole_also_when_the_receiver_was_killed() {
    if lacks_rsyslog("every_message_arrives_whole_also_when_the_receiver_was_killed") {
        return;
    }
    let world = World::new();
    let _api = api(&world);
    let (receiver, sender) = credentials(&world);
    let logs = Rsyslog::start(&world.place, &receiver, "first.log");
    let (gateway, first) = with_a_read(&world);
    let mut shipping: Process = ship(&world, &receiver.trust, &sender).start(&world.place, "ship");
    logs.await_line(&first);
    let mut lines = logs.kill();
    // What happens while nobody receives.
    let mut ids = vec![first];
    for _ in 0..20 {
        let answer = world
            .caller()
            .ask("GET /fhir/Patient/canary-17")
            .or_fail("get an answer");
        ids.push(answer.id().to_owned());
    }
    let logs = Rsyslog::start(&world.place, &receiver, "second.log");
    for id in &ids {
        // The first may have been on its way when the receiver was killed: it came before.
        if !lines.iter().any(|line| line.contains(id)) {
            logs.await_line(id);
        }
    }
    wait::until("a cursor", || cursor(&world));
    assert!(
        shipping.ended().is_none(),
        "it goes on: {}",
        shipping.stderr()
    );
    shipping.signal(rustix::process::Signal::KILL);
    shipping.end();
    let stopped = gateway.stop();
    sent(|| ship(&world, &receiver.trust, &sender));
    logs.await_line("Application Stop");
    lines.extend(logs.lines());
    for line in &lines {
        let is_whole = line.starts_with('<') && line.ends_with("</AuditMessage>");
        assert!(is_whole && line.contains(" IHE+RFC-3881 - <?xml"), "{line}");
        assert!(!line.contains("canary"), "{line}");
    }
    // A cursor in the log's directory is nobody's evidence.
    integration::records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn nothing_is_sent_to_a_receiver_that_proves_nothing_and_nothing_is_forgotten() {
    let test = "nothing_is_sent_to_a_receiver_that_proves_nothing_and_nothing_is_forgotten";
    if lacks_rsyslog(test) {
        return;
    }
    let world = World::new();
    let _api = api(&world);
    let (receiver, sender) = credentials(&world);
    let (gateway, id) = with_a_read(&world);
    gateway.stop();
    // Nobody is there.
    let ran = once(ship(&world, &receiver.trust, &sender)).expect_code(1);
    assert!(
        ran.stderr.contains("hint: look whether the receiver runs"),
        "{ran:?}"
    );
    assert!(cursor(&world).is_none());
    // Somebody is there whom another authority vouches for.
    let logs = Rsyslog::start(&world.place, &receiver, "logs.log");
    let stranger = integration::authority::Authority::init(&world.place, "stranger");
    once(ship(&world, &stranger.trust(), &sender)).expect_code(1);
    assert!(cursor(&world).is_none() && logs.lines().is_empty());
    // The right one gets all of it, and no request a second time.
    sent(|| ship(&world, &receiver.trust, &sender));
    logs.await_line("Application Stop");
    let times = |text: &str| {
        logs.lines()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(times(&id), 1);
    // Each of these was a read of the log, and a message.
    let reads = times("110101");
    sent(|| ship(&world, &receiver.trust, &sender));
    wait::until("the message of the read", || {
        (times("110101") > reads).then_some(())
    });
    assert_eq!(times(&id), 1);
    // A cursor that says nothing is no reason to send all of it again.
    let cursor = cursor(&world).or_fail("find the cursor");
    std::fs::write(cursor, "{").or_fail("spoil the cursor");
    let ran = once(ship(&world, &receiver.trust, &sender)).expect_code(1);
    assert!(
        ran.stderr.contains("is no cursor\nhint: --from SEQUENCE"),
        "{ran:?}"
    );
}

#[test]
fn a_log_that_lost_what_was_sent_and_uses_its_numbers_again_hides_nothing_from_the_receiver() {
    let test =
        "a_log_that_lost_what_was_sent_and_uses_its_numbers_again_hides_nothing_from_the_receiver";
    if lacks_rsyslog(test) {
        return;
    }
    let world = World::new();
    let _api = api(&world);
    let (receiver, sender) = credentials(&world);
    let (gateway, _) = with_a_read(&world);
    gateway.stop();
    let logs = Rsyslog::start(&world.place, &receiver, "logs.log");
    let ship = || ship(&world, &receiver.trust, &sender);
    sent(ship);
    logs.await_line("Application Stop");
    // The read itself is the last entry, which nobody has signed: with it gone the log still opens.
    let wal = world.place.path("audit").join("wal");
    let mut segments: Vec<_> = std::fs::read_dir(&wal)
        .or_fail("list the segments")
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "seg"))
        .collect();
    segments.sort();
    let last = segments.pop().or_fail("find a segment");
    std::fs::remove_file(last).or_fail("lose the last segment");
    let (gateway, second) = with_a_read(&world);
    gateway.stop();
    let ran = sent(ship);
    assert!(
        ran.stderr
            .contains("the log does not have any more what was sent up to entry"),
        "{ran:?}"
    );
    logs.await_line(&second);
    wait::until("both starts", || {
        let lines = logs.lines();
        let starts = lines
            .iter()
            .filter(|line| line.contains("Application Start"));
        (starts.count() >= 2).then_some(())
    });
    // Somebody raises the cursor, so that the receiver misses what comes.
    let cursor = cursor(&world).or_fail("find the cursor");
    let text = std::fs::read_to_string(&cursor).or_fail("read the cursor");
    let (before, after) = text.split_once("\"send_from\":").or_fail("find a number");
    std::fs::write(&cursor, format!("{before}\"send_from\":9{after}")).or_fail("raise it");
    let ran = once(ship()).expect_code(1);
    assert!(
        ran.stderr.contains("but was changed") && ran.stderr.contains("\nhint: --from SEQUENCE"),
        "{ran:?}"
    );
    let ran = sent(|| ship_from(&world, &receiver.trust, &sender, 0));
    assert_eq!(ran.stdout, "");
}

fn ship_from(world: &World, trust: &std::path::Path, own: &Credentials, entry: u64) -> Program {
    ship(world, trust, own).arg("--from").arg(entry.to_string())
}
