//! Whoever proved nothing can neither fill the log nor keep a device waiting, and none of them is
//! forgotten.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use integration::gateway::Gateway;
use integration::line::Line;
use integration::records::Records;
use integration::wait;
use integration::world::World;

/// How long garbage is sent.
const FLOOD: Duration = Duration::from_secs(10);

const BLOCK: u64 = 4096;

/// All refusals of the handshake so far, over all codes.
fn refused(gateway: &Gateway) -> u64 {
    let text = gateway.visit("/metrics").expect("the metrics").text();
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix("phigate_handshakes_refused_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

/// What the log says of refused handshakes: those that stand alone, and those that are counted.
fn recorded(records: &Records) -> (u64, u64) {
    let alone = records.of_kind("handshake_refused").len() as u64;
    let counted = records
        .of_kind("noise")
        .iter()
        .filter_map(|noise| noise.number("count"))
        .sum();
    (alone, counted)
}

/// One connection with garbage from this address; whether it was taken and ended.
fn throw(gateway: &Gateway, from: Ipv4Addr, number: usize) -> bool {
    let garbage: [&[u8]; 4] = [
        b"\x00\xffgarbage-without-an-end",
        b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"\x16\x03\x01\x00\x02\x01\x00",
        b"\x80\x1f\x01\x00\x02",
    ];
    let Ok(mut line) = Line::plain_from(from, gateway.listen()) else {
        return false;
    };
    let _ = line.send(garbage[number % garbage.len()]);
    let _ = line.finish();
    let _ = line.rest();
    true
}

#[test]
fn a_flood_of_garbage_fills_no_log_and_stops_no_device() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    world.is_served();
    let before = gateway.metric("phigate_audit_bytes");
    let (thrown, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut served = 0_u64;
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (gateway, thrown, ends) = (&gateway, &thrown, &ends);
            scope.spawn(move || {
                for number in 0_usize.. {
                    if ends.load(Ordering::SeqCst) {
                        return;
                    }
                    // Half from one prefix, half from as many as there are.
                    let third = if number % 2 == 0 {
                        7
                    } else {
                        u8::try_from(number / 2 % 250).unwrap_or(0)
                    };
                    let from = Ipv4Addr::new(127, 9, third, thread + 1);
                    if throw(gateway, from, number) {
                        thrown.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let began = Instant::now();
        let mut line = world.line();
        while began.elapsed() < FLOOD {
            line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
                .unwrap();
            assert_eq!(line.answer().unwrap().status, 200);
            served += 1;
            wait::pause(Duration::from_millis(50));
        }
        // A new connection gets through as well.
        world.is_served();
        served += 1;
        ends.store(true, Ordering::SeqCst);
    });
    let thrown = thrown.load(Ordering::SeqCst);
    assert!(thrown > 1000, "{thrown} in {FLOOD:?} is no flood");
    wait::until("the count of all of them", || {
        (refused(&gateway) == thrown).then_some(())
    });
    // What the device's own records take is a block each: its release, twice a handshake and an end.
    let grown = gateway.metric("phigate_audit_bytes") - before;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let by_device = ((served + 4) * BLOCK) as f64;
    let grown = grown - by_device;
    assert!(
        grown < 1024.0 * 1024.0,
        "{thrown} pieces of garbage took {grown} bytes"
    );
    let stopped = gateway.stop();
    assert!(stopped.status.success());
    let (alone, counted) = recorded(&stopped.records());
    assert_eq!(
        alone + counted,
        thrown,
        "{alone} alone, {counted} in summaries: none is lost"
    );
    assert!(alone <= 601, "{alone} stand alone");
    integration::records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn the_first_of_a_kind_stand_alone_and_the_rest_is_one_summary() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for number in 0..50 {
        let from = Ipv4Addr::new(127, 9, 1, 1 + number);
        assert!(throw(&gateway, from, 0));
        assert!(throw(&gateway, from, 1));
    }
    wait::until("all of them", || (refused(&gateway) == 100).then_some(()));
    let records = gateway.stop().records();
    for code in ["not_tls", "plain_http"] {
        let alone = records
            .iter()
            .filter(|record| record.in_short() == format!("handshake_refused {code}"));
        assert_eq!(alone.count(), 10, "{code}");
        let noise: Vec<_> = records
            .of_kind("noise")
            .into_iter()
            .filter(|noise| noise.code() == code)
            .collect();
        let [noise] = noise.as_slice() else {
            panic!("one summary of {code} among {records}");
        };
        assert_eq!(noise.number("count"), Some(40), "{noise}");
        assert_eq!(noise.text("prefix"), "127.9.1.0/24", "{noise}");
        assert!(noise.text("sample").starts_with("127.9.1."), "{noise}");
        assert!(noise.text("first") <= noise.text("last"), "{noise}");
    }
}

#[test]
fn refusals_of_nobody_are_bounded_like_garbage() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(
        "[listeners.devices.clients]\ncertificates = \"optional\"\nrationale = \"some people have no certificate\"",
    );
    let mut line = world.nobody().connect().unwrap();
    for _ in 0..100 {
        line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "client_unknown")
        );
    }
    drop(line);
    assert_eq!(origin.seen().len(), 0);
    let records = gateway.stop().records();
    let alone = records
        .iter()
        .filter(|record| record.in_short() == "refusal client_unknown")
        .count();
    assert_eq!(alone, 10, "{records}");
    let counted: u64 = records
        .of_kind("noise")
        .iter()
        .filter_map(|noise| noise.number("count"))
        .sum();
    assert_eq!(counted, 90, "{records}");
}

#[test]
fn when_the_disk_runs_low_strangers_are_only_counted() {
    let world = World::new();
    let _origin = world.plain_origin();
    // The most that can be asked for; few disks have so much.
    let gateway = world.gateway("[audit]\nmin_free = \"1024GiB\"");
    if gateway.metric("phigate_audit_free_bytes") >= 1024.0 * 1024.0 * 1024.0 * 1024.0 {
        return wait::cannot_run(
            "noise::when_the_disk_runs_low",
            "the disk is too large to run low",
        );
    }
    for number in 0..5 {
        assert!(throw(&gateway, Ipv4Addr::new(127, 9, 2, 1 + number), 0));
    }
    wait::until("all of them", || (refused(&gateway) == 5).then_some(()));
    world.is_served();
    let (alone, counted) = recorded(&gateway.stop().records());
    assert_eq!(
        (alone, counted),
        (0, 5),
        "and a device is on record as ever"
    );
}
