//! How fast contents are scanned, in time on the processor, so that others on the machine do not
//! count. Measured by hand: `cargo test -p fhir --release -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Duration;

use crate::support::scan_pieces;

const SEARCHSET: &str = include_str!("../vectors/searchset.json");

#[test]
#[ignore = "it measures"]
fn megabytes_a_second() {
    let compact = SEARCHSET
        .lines()
        .map(str::trim_start)
        .collect::<String>()
        .replace("\": ", "\":");
    let data = format!(
        "{{\"resourceType\":\"Binary\",\"data\":\"{}\"}}\n",
        "QUJD".repeat(100_000)
    );
    for (what, document) in [
        ("written for people", SEARCHSET.to_owned()),
        ("one line each", compact + "\n"),
        ("base64", data),
    ] {
        let contents = document.repeat((64 << 20) / document.len());
        let best = (0..5)
            .map(|_| {
                let start = on_processor();
                black_box(scan_pieces(contents.as_bytes().chunks(16 << 10)));
                on_processor().saturating_sub(start)
            })
            .min()
            .expect("a time");
        let bytes = u32::try_from(contents.len()).expect("a length");
        println!(
            "{what}: {:.0} MB/s",
            f64::from(bytes) / 1e6 / best.as_secs_f64()
        );
    }
}

/// What this thread spent on a processor (Linux, sched-stats).
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().expect("a number").parse();
    Duration::from_nanos(nanoseconds.expect("a number"))
}
