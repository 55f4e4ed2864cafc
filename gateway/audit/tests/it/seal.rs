//! Sealing by the figures of the design: how long an entry is on disk.

use std::sync::Arc;

use audit::event::{Digest, Entry, Event, Id, Pseudonym, Release, Request, Subjects, Time};
use audit::seal::NoRandomness;
use audit::seal::epoch::WritingKey;
use audit::seal::hpke::SecretKey;
use audit::seal::reader::{Reader, Scope};
use audit::seal::sealer::{JoinKey, Sealer};

/// What the log adds to a leaf: its length in a batch and in an entry bundle, its hash in the tiles
/// of level 0 and its share of those above.
const AROUND: usize = 4 + 2 + 32 + 1;

/// What is to come in a release, as the design lists it: one patient, and what the message checks found.
const TO_COME: usize = (1 + 2 + 17) + 8;

/// What the demo asks for first.
const TARGET: &[u8] = b"/fhir/Patient/1";

fn random(out: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(out).map_err(|_| NoRandomness)
}

fn sealer() -> Sealer<impl FnMut(&mut [u8]) -> Result<(), NoRandomness>> {
    let reader = Reader {
        key: SecretKey::draw(&mut random).unwrap().public().unwrap(),
        scope: Scope::Targets,
    };
    let epoch = "2026-11/standard".parse().unwrap();
    let (key, _) = WritingKey::draw([1; 16], epoch, &[reader], &mut random).unwrap();
    let join = JoinKey::draw(&mut random).unwrap();
    Sealer::new(Arc::new(key), Arc::new(join), random)
}

/// An ordinary release: a device reads a resource, its answer is in hand.
fn release() -> Entry<'static> {
    let request = Request {
        request_id: Id::new([0x5a; 16]),
        connection_id: Id::new([0xa5; 16]),
        client: Some("devices:urn:example:pump-1"),
        user: None,
        method: Some("GET"),
        route: Some("patients"),
        rule: Some("pumps-read"),
        resource: Some("Observation"),
        interaction: None,
        subjects: None,
        target: None,
        integrity: None,
    };
    Entry {
        time: Time(1_795_000_000_123_456_789),
        event: Event::Release(Release {
            request,
            status: 200,
            content_type: Some("application/fhir+json"),
            bytes: Some(48_213),
            digest: Some(Digest::of(b"content")),
            upstream: "ehr-1",
            attempts: 1,
        }),
    }
}

#[test]
fn an_ordinary_release_takes_at_most_450_bytes_on_disk() {
    let entry = release();
    let (mut plain, mut leaf) = (Vec::new(), Vec::new());
    audit::entry::encode(&entry, &mut plain);
    sealer().seal(&entry, &mut leaf).unwrap();
    let on_disk = leaf.len() + AROUND;
    println!(
        "release: {} bytes plain, {} sealed, {on_disk} on disk",
        plain.len(),
        leaf.len()
    );
    // Room is left for what is to come, rounded up as the format does.
    assert!(on_disk + TO_COME.next_multiple_of(32) <= 450, "{on_disk}");
}

#[test]
fn a_release_of_the_demo_takes_at_most_450_bytes_on_disk_with_its_patient_and_target() {
    let mut subjects = Subjects::new();
    // An id and a record number, which are one patient.
    let names = [1, 2].map(|number| subjects.add(Pseudonym::new([number; 16]), 9).unwrap());
    subjects.link(names[0], names[1]);
    let mut entry = release();
    let Event::Release(release) = &mut entry.event else {
        panic!("a release");
    };
    release.upstream = "sample";
    release.bytes = Some(700);
    release.request.rule = Some("pump");
    release.request.resource = Some("Patient");
    release.request.interaction = Some("read");
    release.request.subjects = Some(subjects);
    let mut sealer = sealer();
    let (mut plain, mut block, mut leaf) = (Vec::new(), Vec::new(), Vec::new());
    let slot = sealer.slot(entry.time).unwrap();
    slot.target(TARGET, &mut block).unwrap();
    let Event::Release(release) = &mut entry.event else {
        panic!("a release");
    };
    release.request.target = Some(block[..].into());
    audit::entry::encode(&entry, &mut plain);
    slot.seal(&entry, &mut leaf).unwrap();
    let on_disk = leaf.len() + AROUND;
    println!("demo: {} bytes plain, {on_disk} on disk", plain.len());
    assert!(on_disk <= 450, "{on_disk}");
}
