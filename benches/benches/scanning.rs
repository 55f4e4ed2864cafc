//! How fast is FHIR content scanned for the patients in it? As written for people, one line for each
//! resource, and content that is nearly all base64.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fhir::{Limits, Scanner};

const SEARCHSET: &str = include_str!("../../gateway/fhir/tests/vectors/searchset.json");

fn rates(criterion: &mut Criterion) {
    let compact = SEARCHSET
        .lines()
        .map(str::trim_start)
        .collect::<String>()
        .replace("\": ", "\":");
    let data = format!(
        "{{\"resourceType\":\"Binary\",\"data\":\"{}\"}}\n",
        "QUJD".repeat(100_000)
    );
    let mut group = criterion.benchmark_group("scan");
    for (what, document) in [
        ("written for people", SEARCHSET.to_owned()),
        ("one line each", compact + "\n"),
        ("base64", data),
    ] {
        let contents = document.repeat((4 << 20) / document.len());
        group.throughput(Throughput::Bytes(contents.len() as u64));
        group.sample_size(20);
        group.bench_function(what, |bench| {
            bench.iter(|| {
                let mut scanner = Scanner::new(Limits::default());
                for piece in contents.as_bytes().chunks(16 << 10) {
                    scanner.push(black_box(piece));
                }
                scanner.finish()
            });
        });
    }
}

criterion_group!(scanning, rates);
criterion_main!(scanning);
