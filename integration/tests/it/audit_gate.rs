//! Nothing leaves that is not on record: when the log takes nothing, nobody is served, and service
//! comes back with the log.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::line::Line;
use integration::origin::ok;
use integration::place::Place;
use integration::program::Program;
use integration::records::Records;
use integration::streams::Streams;
use integration::wait::{self, OrFail};
use integration::world::World;

/// What an upstream would let out.
const CANARY: &str = "canary-4f1d";

/// The answer is the constant 503 that nothing could be recorded, and holds nothing of the upstream.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "audit_unavailable"),
        "{answer:?}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
    assert!(!answer.text().contains(CANARY));
}

/// Asks on one connection until an answer is not 200, at most so often.
#[track_caller]
fn ask_until_refused(line: &mut Line, times: usize) -> Answer {
    for _ in 0..times {
        line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
        let answer = line.answer().or_fail("get an answer");
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("{times} requests were served and none was refused");
}

/// A file system of this size in memory, mounted in a place for as long as this lives.
#[derive(Debug)]
struct Memory {
    path: PathBuf,
}

impl Memory {
    /// `None` when this user may not mount.
    fn mount(place: &Place, name: &str, size: &str) -> Option<Memory> {
        let path = place.path(name);
        std::fs::create_dir(&path).or_fail("make a directory");
        let ran = Program::of_the_machine("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "phigate-test"])
            .arg(&path)
            .run();
        (ran.code() == 0).then_some(Memory { path })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Lazily: a gateway of the test may still hold a file.
        let _ = Program::of_the_machine("umount")
            .arg("-l")
            .arg(&self.path)
            .run();
    }
}

#[test]
fn a_full_disk_stops_the_service_until_there_is_space() {
    let world = World::new();
    let Some(disk) = Memory::mount(&world.place, "disk", "12m") else {
        return wait::cannot_run(
            "audit_gate::a_full_disk",
            "mounting a small file system takes root",
        );
    };
    let origin = world.answering(|_| ok(CANARY));
    let configuration = world
        .configuration()
        .with("[audit]\ndirectory = \"disk/audit\"");
    let gateway = Gateway::start(&world.place, &configuration);
    let records = || Records::of(&disk.path.join("audit"));
    world.is_served();
    // Whatever is free is taken by somebody else.
    let filler = disk.path.join("filler");
    let fill = || {
        let _ = Program::of_the_machine("dd")
            .args([
                "if=/dev/zero",
                "bs=64k",
                &format!("of={}", filler.display()),
            ])
            .run();
    };
    fill();
    let mut line = world.line();
    let answer = ask_until_refused(&mut line, 3000);
    is_unavailable(&answer);
    // Over HTTP/2, for what has effects, and for refusals: the same word.
    let served = origin.seen().len();
    if let Ok(mut streams) = Streams::open(&world.caller()) {
        is_unavailable(&streams.ask("GET", "/x").or_fail("get an answer"));
    }
    for request in [
        "POST /effect HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok",
        "GET /..%2Fx HTTP/1.1\r\nHost: api.test\r\n\r\n",
    ] {
        is_unavailable(&world.caller().ask(request).or_fail("get an answer"));
    }
    assert!(
        origin.seen()[served..]
            .iter()
            .all(|seen| seen.method == "GET"),
        "no effect without a record"
    );
    assert_eq!(
        gateway.visit("/readyz").map(|answer| answer.status),
        Some(503)
    );
    assert_eq!(
        gateway.visit("/livez").map(|answer| answer.status),
        Some(200),
        "a restart would not help"
    );
    assert_eq!(gateway.metric("phigate_audit_available"), 0.0);
    assert!(gateway.metric("phigate_unrecorded_answers_total") >= 3.0);

    std::fs::remove_file(&filler).or_fail("make space");
    wait::until("service again", || {
        (gateway.visit("/readyz")?.status == 200).then_some(())
    });
    world.is_served();
    wait::until("the note of the interruption", || {
        let records = records();
        let note = records.of_kind("interrupted").into_iter().next().cloned()?;
        (note.number("refused").is_some_and(|refused| refused > 0)).then_some(())
    });
    integration::records::verify(&disk.path.join("audit")).expect_code(0);
    let stopped = gateway.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    integration::records::verify(&disk.path.join("audit")).expect_code(0);
}

#[test]
fn a_log_that_cannot_get_its_next_file_stops_the_service_until_it_can() {
    let world = World::new();
    let origin = world.answering(|_| ok(CANARY));
    // Permissions bind only who is not root.
    let file = world
        .place
        .write("gateway.toml", world.configuration().text());
    let is_root = rustix::process::geteuid().is_root();
    let audit = world.place.path("audit");
    std::fs::create_dir(&audit).or_fail("make the directory of the log");
    let mut program = Program::ours("gateway")
        .args(["run", "--config"])
        .arg(&file);
    if is_root {
        // Everything of the place belongs to nobody from here on, and the gateway runs as nobody.
        Program::of_the_machine("chown")
            .args(["-R", "65534:65534"])
            .arg(world.place.directory())
            .run()
            .expect_code(0);
        let path = integration::program::binary("gateway");
        let copy = world.place.path("gateway-copy");
        std::fs::copy(path, &copy).or_fail("copy the gateway to where nobody may run it");
        program = Program::of_the_machine("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&copy)
            .args(["run", "--config"])
            .arg(&file);
    }
    let gateway = Gateway::from_program(&world.place, program);
    world.is_served();
    let mode = |mode: &str| {
        let chmod = Program::of_the_machine("chmod")
            .arg(mode)
            .arg(audit.join("wal"));
        chmod.run().expect_code(0);
    };
    mode("0500");
    let mut line = world.line();
    is_unavailable(&ask_until_refused(&mut line, 5000));
    assert_eq!(
        gateway.visit("/readyz").map(|answer| answer.status),
        Some(503)
    );
    mode("0700");
    wait::until("service again", || {
        (gateway.visit("/readyz")?.status == 200).then_some(())
    });
    world.is_served();
    gateway.verify();
    assert!(origin.seen().len() > 2);
}

#[test]
fn a_live_segment_that_is_unlinked_stops_the_service() {
    let world = World::new();
    let _origin = world.answering(|_| ok(CANARY));
    let gateway = world.gateway("");
    world.is_served();
    let segment = newest_segment(&gateway);
    std::fs::remove_file(&segment).or_fail("remove the live segment");
    // It is looked at every second.
    let answer = wait::until("a refusal", || {
        let answer = world.caller().ask("GET /x").or_fail("get an answer");
        (answer.status != 200).then_some(answer)
    });
    is_unavailable(&answer);
    assert_eq!(
        gateway.visit("/readyz").map(|answer| answer.status),
        Some(503)
    );
    assert!(
        gateway
            .visit("/readyz")
            .or_fail("visit")
            .text()
            .contains("audit")
    );
    // Evidence is gone; that does not heal by itself.
    wait::pause(Duration::from_millis(1500));
    is_unavailable(&world.caller().ask("GET /x").or_fail("get an answer"));
    let audit = gateway.audit().to_owned();
    gateway.kill();
    let verdict = integration::records::verify(&audit);
    assert_ne!(verdict.code(), 0, "what is gone is missed: {verdict:?}");
}

#[test]
fn a_live_segment_that_is_replaced_stops_the_service() {
    let world = World::new();
    let _origin = world.answering(|_| ok(CANARY));
    let gateway = world.gateway("");
    world.is_served();
    let segment = newest_segment(&gateway);
    let copy = world.place.path("copy");
    std::fs::copy(&segment, &copy).or_fail("copy the live segment");
    std::fs::rename(&copy, &segment).or_fail("put the copy in its place");
    let answer = wait::until("a refusal", || {
        let answer = world.caller().ask("GET /x").or_fail("get an answer");
        (answer.status != 200).then_some(answer)
    });
    is_unavailable(&answer);
}

fn newest_segment(gateway: &Gateway) -> PathBuf {
    let items = std::fs::read_dir(gateway.audit().join("wal")).or_fail("list the segments");
    let mut segments: Vec<_> = items
        .map(|item| item.or_fail("list the segments").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    segments.pop().or_fail("find a segment")
}

#[test]
fn two_gateways_never_write_to_one_log() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let elsewhere = Place::new();
    let second = world.configuration().with(&format!(
        "[admin]\nlisten = \"{}\"\n[listeners.devices]\nlisten = [\"{}\"]",
        elsewhere.at(20_090),
        elsewhere.at(20_443)
    ));
    let ran = Gateway::refuses_to_start(&world.place, &second);
    assert!(
        ran.stderr.contains("another process writes to this log"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("hint:"), "{ran:?}");
    assert!(
        ran.stderr.contains("refused.toml:"),
        "it says where: {ran:?}"
    );
    world.is_served();
    gateway.verify();
    let stopped = gateway.stop();
    assert!(stopped.status.success());
    assert_eq!(stopped.records().of_kind("start").len(), 1);
}

#[test]
fn a_log_that_cannot_be_made_keeps_the_gateway_from_starting() {
    let world = World::new();
    world.place.write("file", "not a directory");
    let configuration = world
        .configuration()
        .with("[audit]\ndirectory = \"file/audit\"");
    let ran = Gateway::refuses_to_start(&world.place, &configuration);
    assert!(
        ran.stderr.contains("error: ") && ran.stderr.contains("audit"),
        "{ran:?}"
    );
    assert!(
        std::net::TcpStream::connect(world.place.at(20_443)).is_err(),
        "nothing listens"
    );
}

#[test]
fn a_stranger_in_the_log_keeps_the_gateway_from_starting() {
    let world = World::new();
    let _origin = world.plain_origin();
    world.gateway("").stop();
    world.place.write("audit/wal/notes.txt", "mine");
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(ran.stderr.contains("notes.txt"), "{ran:?}");
    std::fs::remove_file(world.place.path("audit/wal/notes.txt")).or_fail("remove it");
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
}

#[test]
fn a_log_that_was_changed_keeps_the_gateway_from_starting() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..5 {
        world.is_served();
    }
    let segment = newest_segment(&gateway);
    let audit = gateway.stop().audit;
    let good = std::fs::read(&segment).or_fail("read the segment");
    // In the middle of what was acknowledged.
    let at = good.len() / 2;
    let mut bad = good.clone();
    bad[at] ^= 1;
    std::fs::write(&segment, &bad).or_fail("change the segment");
    let verdict = integration::records::verify(&audit).expect_code(1);
    assert!(verdict.stdout.contains("finding:"), "{verdict:?}");
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(ran.stderr.contains("audit verify"), "what to do: {ran:?}");
    assert_eq!(
        std::fs::read(&segment).or_fail("read the segment"),
        bad,
        "evidence stays as it is"
    );
    std::fs::write(&segment, &good).or_fail("restore the segment");
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
}

#[test]
fn a_log_that_is_shorter_than_its_checkpoint_keeps_the_gateway_from_starting() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..5 {
        world.is_served();
    }
    let segment = newest_segment(&gateway);
    let audit = gateway.stop().audit;
    let whole = std::fs::read(&segment).or_fail("read the segment");
    // Exactly behind a batch: the rest is a log that is whole.
    let cut = whole.len() - 4096;
    std::fs::write(&segment, &whole[..cut]).or_fail("cut the segment");
    integration::records::verify(&audit).expect_code(2);
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(ran.stderr.contains("rolled back"), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
    std::fs::write(&segment, &whole).or_fail("restore the segment");
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
}

#[test]
fn a_log_whose_end_is_lost_goes_on_when_an_operator_accepts_it() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..5 {
        world.is_served();
    }
    let segment = newest_segment(&gateway);
    let audit = gateway.stop().audit;
    let whole = std::fs::read(&segment).or_fail("read the segment");
    std::fs::write(&segment, &whole[..4096 * 2]).or_fail("cut the segment");
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(ran.stderr.contains("`audit recover`"), "{ran:?}");
    let recover = |more: &[&str]| {
        let program = Program::ours("audit").arg("recover").arg(&audit);
        program.args(more).run()
    };
    recover(&[]).expect_code(1);
    Gateway::refuses_to_start(&world.place, &world.configuration());
    recover(&["--accept-loss", "--reason", "the disk was replaced"]).expect_code(0);
    let gateway = world.gateway("");
    world.is_served();
    assert_eq!(gateway.records().of_kind("discontinuity").len(), 1);
    gateway.verify();
    let verified = integration::records::verify(&gateway.stop().audit).expect_code(0);
    assert!(verified.stdout.contains("\nnote: LOST: "), "{verified:?}");
}

#[test]
fn a_log_that_was_taken_away_keeps_the_gateway_from_starting() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    world.is_served();
    let audit = gateway.stop().audit;
    let aside = world.place.path("taken");
    std::fs::rename(&audit, &aside).or_fail("take the log away");
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(
        ran.stderr
            .contains("a log was signed here, and there is none"),
        "{ran:?}"
    );
    std::fs::remove_dir_all(&audit).or_fail("remove what the start left");
    std::fs::rename(&aside, &audit).or_fail("put it back");
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
}

#[test]
fn the_public_key_lies_beside_the_log_and_another_key_does_not_go_on_with_it() {
    let world = World::new();
    let _origin = world.plain_origin();
    world.gateway("").stop();
    let published = world.place.path("log.vkey");
    let key = std::fs::read(&published).or_fail("read the key");
    let mode = std::fs::metadata(&published).or_fail("look at the key");
    assert_eq!(mode.permissions().mode() & 0o777, 0o644);
    assert!(key.starts_with(b"log.test/audit+"), "{key:?}");
    // The keys of another log.
    let other = world.place.path("other");
    std::fs::create_dir(&other).or_fail("make a directory");
    integration::records::keygen(&other);
    let configuration = world
        .configuration()
        .with("[audit]\nkeys = \"file:other/audit.keys\"");
    let ran = Gateway::refuses_to_start(&world.place, &configuration);
    assert!(
        ran.stderr.contains("log.vkey holds another public key"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
    // And when somebody takes the file away as well.
    std::fs::remove_file(&published).or_fail("remove the key");
    let ran = Gateway::refuses_to_start(&world.place, &configuration);
    assert!(
        ran.stderr.contains("signed with the key log.test/audit+"),
        "{ran:?}"
    );
    assert!(!published.exists(), "the wrong key is not published");
    // The right one still does, and is published again.
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
    assert_eq!(std::fs::read(&published).or_fail("read the key"), key);
}

#[test]
fn rotated_keys_go_on_with_the_log_and_the_old_ones_do_not() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    world.is_served();
    let (audit, first) = (gateway.audit().to_owned(), world.place.path("log.vkey"));
    let published = std::fs::read(&first).or_fail("read the key");
    wait::until("something to be signed", || {
        (gateway.metric("phigate_audit_signed_entries") >= 1.0).then_some(())
    });
    let next = world.place.path("next");
    std::fs::create_dir(&next).or_fail("make a directory");
    let rotated = Program::ours("audit")
        .args(["rotate"])
        .arg(&audit)
        .arg("--keys")
        .arg(world.place.path("audit.keys"))
        .arg("--out")
        .arg(&next)
        .run()
        .expect_code(0);
    let key = rotated
        .stdout
        .lines()
        .last()
        .or_fail("get the key")
        .to_owned();
    // In force at the next start, not at a reload.
    let configuration = world
        .configuration()
        .with("[audit]\nkeys = \"file:next/audit.keys\"");
    assert!(!gateway.reload_with(&configuration));
    world.is_served();
    gateway.stop();
    let gateway = Gateway::start(&world.place, &configuration);
    world.is_served();
    gateway.verify();
    gateway.stop();
    assert_eq!(std::fs::read(&first).or_fail("read the key"), published);
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration());
    assert!(ran.stderr.contains("is signed with the key"), "{ran:?}");
    // The key of now, and the one of before, which lies beside the log.
    let verdict = integration::records::verify(&audit).expect_code(0);
    assert!(
        verdict
            .stdout
            .contains(&format!("signed with: {key} from entry")),
        "{verdict:?}"
    );
    let new = world.place.path("new.vkey");
    std::fs::write(&new, &key).or_fail("write the key");
    Program::ours("audit")
        .args(["verify", "--strict", "--key"])
        .arg(&new)
        .arg(&audit)
        .run()
        .expect_code(0);
}

#[test]
fn a_log_that_cannot_be_signed_for_a_while_serves_all_the_same() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    // A directory where a file is to be written.
    let obstacle = gateway.audit().join("aside.new");
    // The file may be in the making, for a moment.
    wait::until("a place for the obstacle", || {
        std::fs::create_dir(&obstacle).ok()
    });
    let before = gateway.metric("phigate_audit_entries");
    for _ in 0..5 {
        world.is_served();
    }
    // More than a second: it would have been signed.
    wait::pause(Duration::from_millis(1500));
    world.is_served();
    let signed = gateway.metric("phigate_audit_signed_entries");
    assert!(signed <= before, "{signed} of {before} and more");
    std::fs::remove_dir(&obstacle).or_fail("remove the directory");
    let caught_up = wait::within(wait::PATIENCE, || {
        let entries = gateway.metric("phigate_audit_entries");
        (gateway.metric("phigate_audit_signed_entries") >= entries).then_some(())
    });
    assert!(caught_up.is_some(), "signing goes on by itself");
    gateway.verify();
}

#[test]
fn the_intent_is_on_record_before_the_upstream_sees_anything() {
    let world = World::new();
    let audit = world.place.path("audit");
    let origin = world.origin(move |conversation| {
        while conversation.request()? {
            // What the log holds at the moment in which the upstream has the head.
            let seen = conversation.current();
            let id = seen.header("x-request-id").unwrap_or_default().to_owned();
            let story = Records::of(&audit).story_of(&id).join(",");
            conversation.body()?;
            conversation.write(ok(&story))?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let content = "Content-Length: 2\r\n\r\nok";
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let request = format!("{method} /x HTTP/1.1\r\nHost: api.test\r\n{content}");
        let answer = world.caller().ask(&request).or_fail("get an answer");
        assert_eq!(answer.text(), "intent", "{method}");
    }
    drop(origin);
    gateway.verify();
}

#[test]
fn the_log_belongs_to_its_user_alone() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let gateway = world.gateway("");
    let wal = gateway.audit().join("wal");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).or_fail("look at a file").mode() & 0o777;
    assert_eq!(mode(&wal), 0o700);
    for item in std::fs::read_dir(&wal).or_fail("list the segments") {
        let path = item.or_fail("list the segments").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_route_without_ephi_is_recorded_but_not_waited_for() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(
        "[[routes]]\nname = \"all\"\nephi = false\nrationale = \"tells the time and nothing else\"",
    );
    let answer = world.caller().ask("GET /x").or_fail("get an answer");
    assert_eq!(answer.status, 200);
    gateway.await_story(answer.id(), &["release"]);
    let decision = gateway.await_record("the decision", |record| {
        record.kind() == "decision" && record.text("rationale").contains("tells the time")
    });
    assert_eq!(
        decision.text("paragraph"),
        "45 CFR 164.312(b)",
        "{decision}"
    );
}
