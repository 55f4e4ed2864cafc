//! How long does a list of an inventory take, with a million certificates in SQLite? The first page of a hundred
//! and the exact count, of each filter that `pki list` has; 200 ms is what is promised.
//!
//! `PHIGATE_BENCH_CERTIFICATES` takes another number of certificates.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use pki::store::{IdFilter, Status, StatusFilter};
use pki::{AuthorityName, Ca, EndEntity, Filter, Plan};

const DAY: i64 = 86_400;

/// Every 20th is a server with a second name, every 100th is revoked, every 130th pending, and they expire one
/// after the other within 400 days around now. Octets as long as those of a certificate.
fn fill(file: &Path, many: i64, now: i64) -> Result<(), Box<dyn Error>> {
    let mut database = rusqlite::Connection::open(file)?;
    let issuer: i64 = database.query_row(
        "SELECT id FROM authorities WHERE role = 'issuing'",
        [],
        |row| row.get(0),
    )?;
    let first: i64 =
        database.query_row("SELECT max(id) + 1 FROM certificates", [], |row| row.get(0))?;
    let last = first + many - 1;
    let transaction = database.transaction()?;
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    );
    let hash = "printf('%064d', i)";
    transaction.execute_batch(&format!(
        "{numbers} INSERT INTO certificates (id, issuer, serial, shard, status, profile, label,
             key_origin, key_sha256, reserved_at, tbs_sha256, not_before, not_after, revoked_at,
             reason, fingerprint, issued_at, der)
         SELECT i, {issuer}, 'ab' || printf('%07d', i), -1,
             CASE WHEN i % 100 = 0 THEN 'revoked' WHEN i % 130 = 0 THEN 'pending'
                  ELSE 'issued' END,
             CASE WHEN i % 20 = 0 THEN 'server' ELSE 'device' END,
             'urn:example:pump-' || printf('%07d', i), 'request', {hash}, {now}, {hash}, {now},
             {start} + (i * 7919 % 400) * {DAY},
             CASE WHEN i % 100 = 0 THEN {now} END,
             CASE WHEN i % 100 = 0 THEN 'superseded' END, {hash}, {now}, zeroblob(700) FROM n;
         {numbers} INSERT INTO names (certificate, position, kind, value)
         SELECT i, 0, CASE WHEN i % 20 = 0 THEN 'dns' ELSE 'uri' END,
             CASE WHEN i % 20 = 0 THEN 'h' || printf('%07d', i) || '.example'
                  ELSE 'urn:example:pump-' || printf('%07d', i) END FROM n;
         {numbers} INSERT INTO names (certificate, position, kind, value)
         SELECT i, 1, 'dns', 'alias-' || printf('%07d', i) || '.example' FROM n WHERE i % 20 = 0;",
        start = now - 30 * DAY,
    ))?;
    transaction.commit()?;
    Ok(())
}

fn filters(now: Timestamp) -> Vec<(&'static str, Filter)> {
    let status = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    let id = |id| Filter {
        id: Some(id),
        ..Filter::default()
    };
    let within = |days: i64| Filter {
        expires_by: Some(now + SignedDuration::from_hours(24 * days)),
        ..Filter::default()
    };
    let prefix = |text: &str| IdFilter::Prefix(text.to_owned());
    let part = |text: &str| IdFilter::Contains(text.to_owned());
    vec![
        ("everything", Filter::default()),
        (
            "--status issued",
            status(StatusFilter::Stored(Status::Issued)),
        ),
        (
            "--status revoked",
            status(StatusFilter::Stored(Status::Revoked)),
        ),
        ("--status expired", status(StatusFilter::Expired)),
        (
            "--profile server",
            Filter {
                profile: Some(EndEntity::Server.profile()),
                ..Filter::default()
            },
        ),
        ("--expires-within 30d", within(30)),
        ("--expires-within 300d", within(300)),
        ("--id 'urn:*'", id(prefix("urn:"))),
        (
            "--id 'urn:example:pump-00001*'",
            id(prefix("urn:example:pump-00001")),
        ),
        ("--id example", id(part("example"))),
        ("--id 0009999", id(part("0009999"))),
        ("--id nobody", id(part("nobody"))),
        (
            "--id 'urn:*' --status issued",
            Filter {
                status: Some(StatusFilter::Stored(Status::Issued)),
                ..id(prefix("urn:"))
            },
        ),
    ]
}

fn lists(criterion: &mut Criterion) {
    let many = std::env::var("PHIGATE_BENCH_CERTIFICATES")
        .ok()
        .and_then(|many| many.parse().ok())
        .unwrap_or(1_000_000);
    let now = Timestamp::now();
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("pki");
    let plan = Plan::new(AuthorityName::parse("Bench").expect("a name"));
    Ca::init(&directory, &plan, now).expect("an authority");
    fill(&directory.join("ca/inventory.db"), many, now.as_second()).expect("many certificates");
    let ca = Ca::open(&directory).expect("an authority");

    let mut group = criterion.benchmark_group("list");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    for (name, filter) in filters(now) {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let page = ca.list(black_box(&filter), None, 100, now);
                black_box(page.expect("a page").total)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lists);
criterion_main!(benches);
