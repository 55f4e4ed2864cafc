//! Whoever shows no certificate proves nothing: what such peers leave behind is bounded and counted,
//! takes nothing that a device needs, and is all there once a rule has permitted one of them
//! something.

use integration::configuration::OPEN;
use integration::disk::Disk;
use integration::gateway::Gateway;
use integration::line::{End, Line};
use integration::records::{Record, Records};
use integration::wait::{self, OrFail};
use integration::world::{CLIENT, World};

/// A certificate may be left out, and no rule lets anybody through without one.
const OPTIONAL: &str = r#"
[listeners.devices.clients]
certificates = "optional"
rationale = "some people have no certificate"
"#;

/// How many of one prefix and code stand alone in a minute; a test may see two minutes.
const ALONE: usize = 2 * 10;

/// Asks for this on a connection that is then closed in order.
#[track_caller]
fn visit(world: &World, path: Option<&str>) {
    let mut line = world.nobody().connect().or_fail("connect without a name");
    if let Some(path) = path {
        line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .or_fail("send");
        line.answer().or_fail("get an answer");
    }
    line.finish().or_fail("close");
    assert_eq!(line.rest(), (Vec::new(), End::Closed));
}

/// The records once nobody is connected any more.
#[track_caller]
fn afterwards(gateway: Gateway) -> Records {
    wait::until("the end of all connections", || {
        (gateway.metric("phigate_connections{listener=\"devices\"}") == 0.0).then_some(())
    });
    let stopped = gateway.stop();
    assert!(stopped.status.success());
    integration::records::verify(&stopped.audit).expect_code(0);
    stopped.records()
}

/// What summaries count of this code.
fn counted(records: &Records, code: &str) -> usize {
    let noise = records.of_kind("noise").into_iter();
    let count = noise
        .filter(|noise| noise.code() == code)
        .filter_map(|noise| noise.number("count"))
        .sum::<u64>();
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Every record of a connection follows its handshake.
#[track_caller]
fn stand_with_their_handshakes(records: &Records) {
    let mut known = Vec::new();
    for record in records.iter() {
        let connection = record.text("connection_id");
        match record.kind() {
            "handshake" => known.push(connection.to_owned()),
            "refusal" | "release" | "close" => assert!(
                known.iter().any(|known| known == connection),
                "{record} before its handshake in {records}"
            ),
            _ => {}
        }
    }
}

#[test]
fn strangers_who_ask_nothing_leave_a_bounded_number_of_records() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(OPTIONAL);
    for _ in 0..300 {
        visit(&world, None);
    }
    world.is_served();
    let records = afterwards(gateway);
    let closes = records.of_kind("close");
    // The last one is the device's.
    let alone = closes.len() - 1;
    assert!((1..=ALONE).contains(&alone), "{alone} stand alone");
    assert_eq!(records.of_kind("handshake").len(), alone + 1, "{records}");
    assert_eq!(alone + counted(&records, "closed_by_client"), 300);
    stand_with_their_handshakes(&records);
}

#[test]
fn strangers_are_only_counted_when_the_disk_runs_low() {
    let world = World::new();
    let origin = world.plain_origin();
    // The most that can be asked for; few disks have so much.
    let low = "[audit]\nmin_free = \"1024GiB\"";
    let gateway = world.gateway(&format!("{OPTIONAL}{low}"));
    if gateway.metric("phigate_audit_free_bytes") >= 1024.0 * 1024.0 * 1024.0 * 1024.0 {
        return wait::cannot_run(
            "strangers::strangers_are_only_counted",
            "the disk is too large to run low",
        );
    }
    for number in 0..60 {
        visit(&world, (number % 2 == 0).then_some("/x"));
    }
    world.is_served();
    assert_eq!(origin.seen().len(), 1);
    let records = afterwards(gateway);
    assert_eq!(records.of_kind("refusal").len(), 0, "{records}");
    let [handshake] = records.of_kind("handshake")[..] else {
        panic!("the device's handshake alone, not {records}");
    };
    assert_eq!(handshake.text("client"), CLIENT, "{handshake}");
    assert_eq!(records.of_kind("close").len(), 1, "{records}");
    assert_eq!(counted(&records, "closed_by_client"), 60, "{records}");
    assert_eq!(counted(&records, "client_unknown"), 30, "{records}");
}

#[test]
fn what_strangers_are_refused_stands_with_their_handshake_or_is_counted() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(OPTIONAL);
    for _ in 0..100 {
        visit(&world, Some("/x"));
    }
    assert_eq!(origin.seen().len(), 0);
    let records = afterwards(gateway);
    let alone = records.of_kind("refusal").len();
    assert!((1..=ALONE).contains(&alone), "{alone} stand alone");
    assert_eq!(alone + counted(&records, "client_unknown"), 100);
    let closes = records.of_kind("close").len();
    assert!(closes <= 2 * ALONE, "{closes} stand alone");
    assert_eq!(closes + counted(&records, "closed_by_client"), 100);
    assert_eq!(records.of_kind("handshake").len(), closes, "{records}");
    stand_with_their_handshakes(&records);
    // Whose refusal stands, of them the end stands as well.
    for refusal in records.of_kind("refusal") {
        let connection = refusal.text("connection_id");
        assert!(
            records
                .of_kind("close")
                .iter()
                .any(|close| close.text("connection_id") == connection),
            "{refusal}"
        );
    }
}

#[test]
fn a_stranger_who_is_permitted_has_handshake_release_and_end_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(OPEN);
    // However many others are only counted by then.
    for _ in 0..30 {
        visit(&world, None);
    }
    let mut line = world.nobody().connect().unwrap();
    line.send("GET /open/x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    assert_eq!(answer.status, 200);
    // Before the answer left both were durable.
    assert_eq!(gateway.records().story_of(answer.id()), ["release"]);
    line.finish().unwrap();
    assert_eq!(line.end(), End::Closed);
    let records = afterwards(gateway);
    let release = records.of_request(answer.id())[0];
    let connection = release.text("connection_id");
    let story: Vec<_> = records
        .iter()
        .filter(|record| record.text("connection_id") == connection)
        .map(Record::in_short)
        .collect();
    assert_eq!(story, ["handshake", "release", "close closed_by_client"]);
}

/// A queue so small that a handful of peers could hold all of it.
const SMALL: &str = "[audit]\nqueue_entries = 64\n";

#[test]
fn idle_strangers_take_no_place_that_a_device_needs() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(&format!("{OPEN}{SMALL}"));
    let idle: Vec<Line> = (0..100)
        .map(|_| world.nobody().connect().or_fail("connect without a name"))
        .collect();
    wait::until("all of them", || {
        (gateway.metric("phigate_connections{listener=\"devices\"}") >= 100.0).then_some(())
    });
    for _ in 0..10 {
        world.is_served();
    }
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.await_story(answer.id(), &["intent", "release"]);
    drop((idle, line));
    stand_with_their_handshakes(&afterwards(gateway));
}

#[test]
fn idle_devices_do_not_stop_the_evidence_of_strangers() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway(&format!("{OPEN}{SMALL}"));
    // More than a quarter of the queue, which is what strangers may have.
    let idle: Vec<Line> = (0..30).map(|_| world.line()).collect();
    wait::until("all of them", || {
        (gateway.records().of_kind("handshake").len() == 30).then_some(())
    });
    let mut garbage = Line::plain(gateway.listen()).unwrap();
    garbage.send("GET / HTTP/1.1\r\n\r\n").unwrap();
    garbage.end();
    gateway.await_short("handshake_refused plain_http");
    let answer = world.nobody().ask("GET /open/x").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    gateway.await_story(answer.id(), &["release"]);
    drop(idle);
    let records = afterwards(gateway);
    assert_eq!(records.of_kind("close").len(), 31, "{records}");
    stand_with_their_handshakes(&records);
}

#[test]
fn a_device_that_came_and_went_while_the_log_was_out_is_on_record() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.place, "disk", "12m") else {
        return wait::cannot_run(
            "strangers::a_device_that_came_and_went",
            "mounting a small file system takes root",
        );
    };
    let _origin = world.plain_origin();
    let configuration = world
        .configuration()
        .with("[audit]\ndirectory = \"disk/audit\"");
    let gateway = Gateway::start(&world.place, &configuration);
    let mut before = world.line();
    disk.fill();
    wait::until("the outage", || {
        before
            .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
        (before.answer().or_fail("get an answer").status == 503).then_some(())
    });
    let mut during = world
        .caller()
        .from([127, 0, 0, 77].into())
        .connect()
        .unwrap();
    during
        .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(during.answer().unwrap().status, 503);
    for mut line in [before, during] {
        line.finish().unwrap();
        assert_eq!(line.end(), End::Closed);
    }
    wait::until("the end of both", || {
        (gateway.metric("phigate_connections{listener=\"devices\"}") == 0.0).then_some(())
    });
    disk.empty();
    let log = disk.path("audit");
    let (records, connection) = wait::until("both ends on record", || {
        let records = Records::of(&log);
        let came = records
            .of_kind("handshake")
            .into_iter()
            .find(|record| record.text("address").starts_with("127.0.0.77:"))?;
        let connection = came.text("connection_id").to_owned();
        (records.of_kind("close").len() == 2).then_some((records, connection))
    });
    let of_it: Vec<_> = records
        .iter()
        .filter(|record| record.text("connection_id") == connection)
        .collect();
    let story: Vec<_> = of_it.iter().map(|record| record.kind()).collect();
    assert_eq!(
        (story.first(), story.last()),
        (Some(&"handshake"), Some(&"close")),
        "{records}"
    );
    assert_eq!(of_it[0].text("client"), CLIENT);
    stand_with_their_handshakes(&records);
    world.is_served();
    integration::records::verify(&log).expect_code(0);
}
