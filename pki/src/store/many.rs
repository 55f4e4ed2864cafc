//! Many certificates: counts stay exact, pages join, and nothing is read in full that an index holds.
//! Twelve thousand here; a million with `integration/test --long`, which also prints how long a list takes.

use std::time::Instant;

use jiff::Timestamp;

use super::crl::{ENTRIES, RETIRE};
use super::engine::Engine;
use super::lifecycle::{COMPROMISED, LIVE};
use super::query::{BY_NAME, BY_SERIAL, BY_TBS, select};
use super::tests::{Home, On, on_both_engines};
use super::{Filter, IdFilter, Status, StatusFilter, Store};
use crate::profile;

on_both_engines!(
    every_filter_counts_exactly_and_its_pages_hold_the_rest,
    revoking_one_of_many_reads_no_table_in_full,
);

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

/// Certificate `i` of many: every 20th a server with a second name, every 100th revoked, every 130th
/// pending, and they expire one after the other within 400 days around now.
struct Made {
    profile: &'static str,
    status: &'static str,
    not_after: i64,
    names: Vec<String>,
}

fn made(i: i64) -> Made {
    Made {
        profile: if i % 20 == 0 { "server" } else { "device" },
        status: match i {
            _ if i % 100 == 0 => "revoked",
            _ if i % 130 == 0 => "pending",
            _ => "issued",
        },
        not_after: not_after(i),
        names: if i % 20 == 0 {
            vec![format!("h{i:07}.example"), format!("alias-{i:07}.example")]
        } else {
            vec![format!("urn:example:pump-{i:07}")]
        },
    }
}

fn not_after(i: i64) -> i64 {
    NOW - 30 * DAY + (i * 7919 % 400) * DAY
}

fn how_many() -> i64 {
    if std::env::var_os("PHIGATE_LONG").is_some() {
        1_000_000
    } else {
        12_000
    }
}

/// Fills a store by the SQL that both engines understand, in one transaction: as many changes as
/// certificates are issued with would take an hour.
fn fill(store: &Store, issuer: i64, many: i64) {
    let padded = match &store.engine {
        Engine::Sqlite(_) => "printf('%07d', i)",
        Engine::Postgres(_) => "lpad(i::text, 7, '0')",
    };
    let octets = match &store.engine {
        Engine::Sqlite(_) => "zeroblob(700)",
        Engine::Postgres(_) => "decode(repeat('5a', 700), 'hex')",
    };
    let transaction = store.engine.write().unwrap();
    for from in (1..=many).step_by(50_000) {
        let to = many.min(from + 49_999);
        let numbers = format!(
            "WITH RECURSIVE n(i) AS (SELECT CAST({from} AS BIGINT) UNION ALL
                 SELECT i + 1 FROM n WHERE i < {to})"
        );
        for sql in [
            certificates(&numbers, issuer, padded, octets),
            names(&numbers, padded),
            more_names(&numbers, padded),
        ] {
            transaction.batch(&sql).unwrap();
        }
    }
    transaction.commit().unwrap();
    if matches!(store.engine, Engine::Postgres(_)) {
        // What autovacuum does within a minute.
        store.engine.batch("VACUUM ANALYZE").unwrap();
    }
}

fn certificates(numbers: &str, issuer: i64, padded: &str, octets: &str) -> String {
    let not_after = format!("{} + (i * 7919 % 400) * {DAY}", NOW - 30 * DAY);
    let filler = "x".repeat(57);
    format!(
        "{numbers} INSERT INTO certificates (issuer, serial, shard, status, profile, label,
             key_origin, key_sha256, reserved_at, tbs_sha256, not_before, not_after, revoked_at,
             reason, fingerprint, issued_at, der)
         SELECT {issuer}, 'ab' || {padded}, -1,
             CASE WHEN i % 100 = 0 THEN 'revoked' WHEN i % 130 = 0 THEN 'pending'
                  ELSE 'issued' END,
             CASE WHEN i % 20 = 0 THEN 'server' ELSE 'device' END,
             'urn:example:pump-' || {padded}, 'request', '{filler}' || {padded}, {NOW},
             '{filler}' || {padded}, {NOW}, {not_after},
             CASE WHEN i % 100 = 0 THEN {NOW} END,
             CASE WHEN i % 100 = 0 THEN 'superseded' END,
             '{filler}' || {padded}, {NOW}, {octets} FROM n"
    )
}

fn names(numbers: &str, padded: &str) -> String {
    format!(
        "{numbers} INSERT INTO names (certificate, position, kind, value)
         SELECT i, 0, CASE WHEN i % 20 = 0 THEN 'dns' ELSE 'uri' END,
             CASE WHEN i % 20 = 0 THEN 'h' || {padded} || '.example'
                  ELSE 'urn:example:pump-' || {padded} END FROM n"
    )
}

fn more_names(numbers: &str, padded: &str) -> String {
    format!(
        "{numbers} INSERT INTO names (certificate, position, kind, value)
         SELECT i, 1, 'dns', 'alias-' || {padded} || '.example' FROM n WHERE i % 20 = 0"
    )
}

fn many(on: &On) -> (Home, Store, i64) {
    let (home, mut store, issuer) = on.new_store();
    store.look_only_at(&[issuer]).unwrap();
    let many = how_many();
    fill(&store, issuer.0, many);
    (home, store, many)
}

/// What is typed, the filter that it becomes, and what it means.
type Case = (&'static str, Filter, Box<dyn Fn(&Made) -> bool>);

fn filters() -> Vec<Case> {
    let now = NOW;
    let status = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    let id = |id| Filter {
        id: Some(id),
        ..Filter::default()
    };
    let by = |days: i64| Filter {
        expires_by: Some(Timestamp::from_second(now + days * DAY).unwrap()),
        ..Filter::default()
    };
    let within = move |days: i64| {
        move |it: &Made| it.status == "issued" && (now..=now + days * DAY).contains(&it.not_after)
    };
    let prefix = |text: &'static str| {
        let filter = id(IdFilter::Prefix(text.to_owned()));
        let is = move |it: &Made| it.names.iter().any(|name| name.starts_with(text));
        (filter, is)
    };
    let part = |text: &'static str| {
        let filter = id(IdFilter::Contains(text.to_owned()));
        let is = move |it: &Made| it.names.iter().any(|name| name.contains(text));
        (filter, is)
    };
    let server = Filter {
        profile: profile::named("server"),
        ..Filter::default()
    };
    let mut filters: Vec<Case> = vec![
        ("everything", Filter::default(), Box::new(|_| true)),
        (
            "--status issued",
            status(StatusFilter::Stored(Status::Issued)),
            Box::new(|it| it.status == "issued"),
        ),
        (
            "--status revoked",
            status(StatusFilter::Stored(Status::Revoked)),
            Box::new(|it| it.status == "revoked"),
        ),
        (
            "--status expired",
            status(StatusFilter::Expired),
            Box::new(move |it| it.status == "issued" && it.not_after < now),
        ),
        (
            "--profile server",
            server.clone(),
            Box::new(|it| it.profile == "server"),
        ),
        (
            "--profile server --status revoked",
            Filter {
                status: Some(StatusFilter::Stored(Status::Revoked)),
                ..server.clone()
            },
            Box::new(|it| it.profile == "server" && it.status == "revoked"),
        ),
        ("--expires-within 1d", by(1), Box::new(within(1))),
        ("--expires-within 300d", by(300), Box::new(within(300))),
        (
            "--profile server --expires-within 30d",
            Filter {
                expires_by: by(30).expires_by,
                ..server.clone()
            },
            Box::new(move |it| it.profile == "server" && within(30)(it)),
        ),
    ];
    for (what, (filter, is)) in [
        ("--id 'urn:*'", prefix("urn:")),
        (
            "--id 'urn:example:pump-00001*'",
            prefix("urn:example:pump-00001"),
        ),
        ("--id 'alias-*'", prefix("alias-")),
        ("--id 'nobody*'", prefix("nobody")),
    ] {
        filters.push((what, filter, Box::new(is)));
    }
    for (what, (filter, is)) in [
        ("--id example", part("example")),
        ("--id 0009999", part("0009999")),
        ("--id lias-", part("lias-")),
        ("--id nobody", part("nobody")),
    ] {
        filters.push((what, filter, Box::new(is)));
    }
    filters.push((
        "--id 'urn:*' --status issued",
        Filter {
            status: Some(StatusFilter::Stored(Status::Issued)),
            ..prefix("urn:").0
        },
        Box::new(|it| it.profile == "device" && it.status == "issued"),
    ));
    filters.push((
        "--id alias --status expired --profile server",
        Filter {
            status: Some(StatusFilter::Expired),
            profile: profile::named("server"),
            ..part("alias").0
        },
        Box::new(move |it| it.profile == "server" && it.status == "issued" && it.not_after < now),
    ));
    filters.push((
        "--id 'urn:*' --status revoked --profile device",
        Filter {
            status: Some(StatusFilter::Stored(Status::Revoked)),
            profile: profile::named("device"),
            ..prefix("urn:").0
        },
        Box::new(|it| it.profile == "device" && it.status == "revoked"),
    ));
    filters
}

fn every_filter_counts_exactly_and_its_pages_hold_the_rest(on: &On) {
    let (_home, store, many) = many(on);
    let now = Timestamp::from_second(NOW).unwrap();
    for (what, filter, is) in filters() {
        let expected: Vec<i64> = (1..=many).filter(|&i| is(&made(i))).collect();
        let started = Instant::now();
        let first = store.list(&filter, None, 100, now).unwrap();
        let took = started.elapsed();
        if many > 10_000 {
            println!("{what}: {took:?} of {}", first.total);
        }
        assert_eq!(first.total, expected.len() as u64, "{what}");
        let mut seen: Vec<i64> = first.records.iter().map(|it| it.id.number()).collect();
        let mut next = first.next;
        // A few pages from the beginning, and from the middle to the end.
        while let Some(after) = next.filter(|_| seen.len() < 250) {
            let page = store.list(&filter, Some(after), 100, now).unwrap();
            assert_eq!(page.total, first.total, "{what}");
            seen.extend(page.records.iter().map(|it| it.id.number()));
            next = page.next;
        }
        assert_eq!(seen, expected[..seen.len()], "{what}");
        let middle = super::CertificateId::from_number(many / 2);
        let rest = store.list(&filter, Some(middle), 10_000, now).unwrap();
        let beyond: Vec<i64> = expected.into_iter().filter(|&i| i > many / 2).collect();
        assert_eq!(rest.next.is_some(), beyond.len() > 10_000, "{what}");
        let seen: Vec<i64> = rest.records.iter().map(|it| it.id.number()).collect();
        assert_eq!(seen, beyond[..beyond.len().min(10_000)], "{what}");
        for record in rest.records.iter().take(100) {
            let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
            assert_eq!(names, made(record.id.number()).names, "{what}");
        }
    }
    let findings = store.check().unwrap();
    // The octets are not those of the fingerprints; nothing else is wrong.
    assert!(
        findings.iter().all(|it| matches!(
            it,
            super::Finding::Fingerprint { .. } | super::Finding::More
        )),
        "{findings:?}"
    );
}

fn revoking_one_of_many_reads_no_table_in_full(on: &On) {
    let (_home, store, _) = many(on);
    let number = 1.to_string();
    let (serial, name, hash) = (
        quoted("ab0000123"),
        quoted("urn:example:pump-0000123"),
        quoted(&format!("{}0000123", "x".repeat(57))),
    );
    let now = NOW.to_string();
    let look_ups: [(String, &[&String]); 7] = [
        (select(BY_SERIAL, "c.issuer IN (1)"), &[&serial]),
        (select(BY_NAME, "c.issuer IN (1)"), &[&name]),
        (select(BY_TBS, "c.issuer IN (1)"), &[&hash]),
        (COMPROMISED.to_owned(), &[&hash]),
        (LIVE.to_owned(), &[&hash, &now]),
        (ENTRIES.to_owned(), &[&number, &number, &now]),
        (RETIRE.to_owned(), &[&number, &number, &number, &now]),
    ];
    for (sql, values) in look_ups {
        let plan = plan(&store.engine, &sql, values);
        for step in &plan {
            let in_full = match &store.engine {
                Engine::Sqlite(_) => step.starts_with("SCAN") && !step.ends_with(" a"),
                Engine::Postgres(_) => step.contains("Seq Scan") && !step.contains("authorities"),
            };
            assert!(!in_full, "{sql}\n{plan:#?}");
        }
    }
}

fn quoted(text: &str) -> String {
    ["'", text, "'"].concat()
}

/// How the engine would go about it.
fn plan(engine: &Engine, sql: &str, values: &[&String]) -> Vec<String> {
    let (explain, column) = match engine {
        Engine::Sqlite(_) => ("EXPLAIN QUERY PLAN ", 3),
        Engine::Postgres(_) => ("EXPLAIN ", 0),
    };
    let mut sql = [explain, sql].concat();
    for (number, value) in (1..).zip(values) {
        sql = sql.replace(&format!("?{number}"), value);
    }
    engine
        .query(&sql, &[])
        .unwrap()
        .iter()
        .map(|row| row.text(column).unwrap().to_owned())
        .collect()
}
