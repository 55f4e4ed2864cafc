//! What does an entry cost a worker before it is queued? Encoding alone, sealing it to the readers, the
//! same with a raw target, naming a patient, and the first entry of a minute, which draws a sub-key.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use audit::event::{Digest, Entry, Event, Id, Release, Request, Time};
use audit::keys::system_random;
use audit::seal::epoch::WritingKey;
use audit::seal::pseudonym::TenantKey;
use audit::seal::reader::{self, Reader, Scope};
use audit::seal::sealer::{JoinKey, LONGEST, Sealer};
use criterion::{Criterion, criterion_group, criterion_main};

/// An ordinary release: a device reads a resource, its answer is in hand.
fn release(time: Time) -> Entry<'static> {
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
        time,
        event: Event::Release(Release {
            request,
            status: 200,
            content_type: Some("application/fhir+json"),
            bytes: Some(48_213),
            digest: Some(Digest::new([7; 32])),
            upstream: "ehr-1",
            attempts: 1,
        }),
    }
}

fn costs(criterion: &mut Criterion) {
    let (_, public) = reader::draw(&mut system_random).expect("a pair");
    let reader = Reader::parse(public.as_bytes(), Scope::Targets).expect("a reader");
    let epoch = "2026-11/standard".parse().expect("an epoch");
    let (key, _) = WritingKey::draw([1; 16], epoch, &[reader], &mut system_random).expect("a key");
    let join = JoinKey::draw(&mut system_random).expect("a key");
    let mut sealer = Sealer::new(Arc::new(key), Arc::new(join), system_random);
    let mut out = Vec::with_capacity(4096);
    let now = Time(1_795_000_000_123_456_789);

    criterion.bench_function("entry/encode", |bench| {
        bench.iter(|| {
            out.clear();
            audit::entry::encode(black_box(&release(now)), &mut out);
        });
    });
    criterion.bench_function("entry/seal", |bench| {
        bench.iter(|| {
            out.clear();
            sealer.seal(black_box(&release(now)), &mut out)
        });
    });
    criterion.bench_function("entry/seal with a target of 40 bytes", |bench| {
        bench.iter(|| {
            out.clear();
            let slot = sealer.slot(now).expect("a slot");
            slot.target(&[7; 40], &mut out).expect("a target");
            slot.seal(black_box(&release(now)), &mut out)
        });
    });
    let mut minute = now;
    criterion.bench_function("entry/seal with a new sub-key", |bench| {
        bench.iter(|| {
            out.clear();
            minute.0 += LONGEST;
            sealer.seal(black_box(&release(minute)), &mut out)
        });
    });
    let tenant = TenantKey::parse(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
    criterion.bench_function("entry/pseudonym", |bench| {
        bench.iter(|| tenant.pseudonym("https://ehr.example/fhir", black_box("Patient/17")));
    });
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = sealing;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = costs
}
criterion_main!(sealing);
