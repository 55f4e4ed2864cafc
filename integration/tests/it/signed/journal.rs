//! What was accepted is written down before it is forwarded: where that cannot be, nothing passes; what
//! may be missing is never taken for complete; and one gateway has one window.

use std::path::{Path, PathBuf};

use integration::disk::Disk;
use integration::gateway::Gateway;
use integration::records;
use integration::signer::{Request, Signer, now};
use integration::wait;
use integration::world::World;

use super::{SIGNED, Signing, observation};

/// What stands in a journal before its entries: what it is, the boot id from byte 16, three numbers.
const HEAD: usize = 16 + 36 + 3 * 8;

#[test]
fn a_full_disk_refuses_what_is_signed_until_there_is_space() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.place, "disk", "64k") else {
        let reason = "mounting a small file system takes root";
        return wait::cannot_run("signed::journal::a_full_disk", reason);
    };
    let origin = world.plain_origin();
    let more = "[signatures]\nreplay = \"disk/replay\"";
    let configuration = world.configuration().with(SIGNED).with(more);
    let gateway = Gateway::start(&world.place, &configuration);
    let signer = Signer::of(&world.device);
    let signed = || signer.signed(Request::get("/fhir/Patient/17"));
    let mut line = world.line();
    let mut ask = |request: &Request| {
        line.send(request.bytes()).unwrap();
        line.answer().unwrap()
    };
    assert_eq!(ask(&signed()).status, 200);
    disk.fill();
    // The page that the journal has begun still takes some.
    let mut accepted = Vec::new();
    let refused = (0..500).find_map(|_| {
        let request = signed();
        let answer = ask(&request);
        if answer.status == 200 {
            accepted.push(request);
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the disk is full");
    gateway.refused(&refused, 503, "replay_unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let served = origin.seen().len();
    assert_eq!(served, 1 + accepted.len());
    for _ in 0..3 {
        gateway.refused(&ask(&signed()), 503, "replay_unavailable");
    }
    assert_eq!(origin.seen().len(), served, "nothing was forwarded");
    // Who signs nothing needs no window.
    world.is_served();
    disk.empty();
    let after = signed();
    assert_eq!(ask(&after).status, 200);
    accepted.push(after);
    // Nothing of what did not fit stands in the way of what came behind it.
    gateway.kill();
    let gateway = Gateway::start(&world.place, &configuration);
    for request in [&accepted[0], accepted.last().unwrap()] {
        let answer = request.ask(&world.caller());
        gateway.refused(&answer, 401, "signature_replayed");
    }
    let answer = signed().ask(&world.caller());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_journal_that_could_not_be_begun_is_begun_when_there_is_space() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.place, "disk", "256k") else {
        let reason = "mounting a small file system takes root";
        return wait::cannot_run("signed::journal::a_journal_that_could_not", reason);
    };
    let origin = world.plain_origin();
    let configuration = world.configuration().with(SIGNED).with(
        "[signatures]\nreplay = \"disk/replay\"\nwindow = 1000\n\
         [[routes]]\nname = \"all\"\nsignature_skew = \"0s\"",
    );
    let gateway = Gateway::start(&world.place, &configuration);
    // Each has its share of the window.
    let devices: Vec<_> = (0..10)
        .map(|number| {
            let folder = world.place.path(format!("device-{number}"));
            let name = format!("urn:example:pump-{number}0");
            world.authority.device(&folder, &name)
        })
        .collect();
    let signers: Vec<_> = devices.iter().map(Signer::of).collect();
    let connect = |device| world.nobody().with(device).connect().unwrap();
    let mut lines: Vec<_> = devices.iter().map(connect).collect();
    let mut ask = |number: usize| {
        let (signer, line) = (&signers[number % 10], &mut lines[number % 10]);
        let request = Request::get("/fhir/Patient/17");
        let mut signature = signer.signature(&request);
        // So that the window has room, and the journal alone is full.
        signature.expires = Some(now() + 1);
        line.send(signer.sign(request, &signature).bytes()).unwrap();
        line.answer().unwrap()
    };
    for number in 0..1000 {
        assert_eq!(ask(number).status, 200, "{number}");
    }
    let full = now() + 1;
    wait::until("a window with room", || (now() > full).then_some(()));
    disk.fill();
    for _ in 0..3 {
        gateway.refused(&ask(0), 503, "replay_unavailable");
    }
    assert_eq!(origin.seen().len(), 1000);
    disk.empty();
    assert_eq!(ask(0).status, 200);
}

#[test]
fn a_second_gateway_on_the_same_window_does_not_start() {
    let signing = Signing::start("");
    let place = &signing.world.place;
    // All of it is its own, but the window.
    std::fs::create_dir(place.path("second")).unwrap();
    records::keygen(&place.path("second"));
    let other = signing.world.configuration().with(SIGNED).with(&format!(
        r#"
[audit]
directory = "second/audit"
keys = "file:second/audit.keys"
readers = ["second/reader.pem"]
[admin]
listen = "{}"
[listeners.devices]
listen = ["{}"]
"#,
        place.at(21_090),
        place.at(21_443)
    ));
    let ran = Gateway::refuses_to_start(place, &other);
    assert!(
        ran.stderr
            .contains("which messages were accepted cannot be known"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("hint: give each gateway a directory of its own"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("refused.toml:"), "where: {ran:?}");
    let signed = signing.signer.signed(observation());
    signing.accepts(&signed);
    signing.refuses(&signed, 401, "signature_replayed");
}

/// The journal that was written to last.
fn journal_of(folder: &Path) -> PathBuf {
    let mut journals: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "lock")
        .collect();
    journals.sort();
    journals.pop().unwrap()
}

#[test]
fn after_a_loss_of_power_only_what_is_signed_anew_is_accepted() {
    let mut signing = Signing::start("[[routes]]\nname = \"all\"\nsignature_skew = \"0s\"");
    let configuration = signing.world.configuration().with(SIGNED);
    let configuration = configuration.with("[[routes]]\nname = \"all\"\nsignature_skew = \"0s\"");
    let lost = signing.signer.signed(observation());
    signing.accepts(&lost);
    let never_sent = signing.signer.signed(observation());
    signing.gateway.kill();
    // The machine comes back, with another boot id and without the last entry.
    let path = journal_of(&signing.world.place.path("replay"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(HEAD);
    bytes[16] = if bytes[16] == b'0' { b'1' } else { b'0' };
    std::fs::write(&path, bytes).unwrap();
    signing.gateway = Gateway::start(&signing.world.place, &configuration);
    let started = now();
    for request in [&lost, &never_sent] {
        let answer = request.ask(&signing.world.caller());
        signing.gateway.refused(&answer, 401, "replay_unknown");
        assert_eq!(answer.header("www-authenticate"), Some("Signature"));
    }
    assert_eq!(signing.reached().len(), 1);
    assert!(
        signing
            .gateway
            .process()
            .stderr()
            .contains("what was accepted before this start is not known"),
        "the operator is told"
    );
    wait::until("the next second", || (now() > started).then_some(()));
    let anew = signing.signer.signed(observation());
    signing.accepts(&anew);
    signing.refuses(&anew, 401, "signature_replayed");
}

#[test]
fn a_journal_that_was_closed_counts_after_a_boot_as_well() {
    let mut signing = Signing::start("");
    let configuration = signing.world.configuration().with(SIGNED);
    let known = signing.signer.signed(observation());
    signing.accepts(&known);
    let in_flight = signing.signer.signed(observation());
    signing.gateway.stop();
    let path = journal_of(&signing.world.place.path("replay"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16] = if bytes[16] == b'0' { b'1' } else { b'0' };
    std::fs::write(&path, bytes).unwrap();
    signing.gateway = Gateway::start(&signing.world.place, &configuration);
    signing.refuses(&known, 401, "signature_replayed");
    signing.accepts(&in_flight);
}

#[test]
fn a_folder_that_cannot_be_written_stops_the_start_and_says_what_to_do() {
    let world = World::new();
    world.place.write("replay", "a file");
    let ran = Gateway::refuses_to_start(&world.place, &world.configuration().with(SIGNED));
    assert!(
        ran.stderr
            .contains("which messages were accepted cannot be known"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("hint: "), "{ran:?}");
}
