//! What an operator and a service manager see: readiness, drain, health, figures, access lines.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use integration::frames::Frames;
use integration::gateway::Gateway;
use integration::line::{End, Line};
use integration::origin::ok;
use integration::program::Program;
use integration::records::Records;
use integration::streams::Streams;
use integration::wait::{self, OrFail, PATIENCE};
use integration::world::{CLIENT, DEVICE, World};
use rustix::process::Signal;

/// An upstream that answers when it is told to, with more than fits into one piece.
fn slow(world: &World) -> integration::origin::Origin {
    world.origin(|conversation| {
        while conversation.request()? {
            if conversation.current().target == "/slow" {
                conversation.hold();
            }
            conversation.write(ok("done"))?;
        }
        Ok(())
    })
}

#[test]
fn a_request_under_way_ends_well_when_the_gateway_drains() {
    let world = World::new();
    let origin = slow(&world);
    let mut gateway = world.gateway("");
    let mut busy = world.line();
    busy.send("GET /slow HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    origin.await_request();
    let mut idle = world.line();
    idle.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    let listen = gateway.listen();
    gateway.process().signal(Signal::TERM);
    wait::until("the end of listening", || {
        TcpStream::connect(listen).is_err().then_some(())
    });
    let unready = gateway.visit("/readyz").or_fail("visit");
    assert_eq!((unready.status, unready.text().trim()), (503, "stopping"));
    assert_eq!(
        gateway.visit("/livez").map(|answer| answer.status),
        Some(200)
    );
    assert_eq!(
        idle.rest(),
        (Vec::new(), End::Closed),
        "who asks for nothing is let go"
    );
    origin.go();
    let answer = busy.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(busy.rest().1, End::Closed, "and there is no next request");
    let stopped = gateway.ended();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let records = stopped.records();
    assert_eq!(records.story_of(answer.id()), ["release"]);
    assert_eq!(
        records
            .iter()
            .next_back()
            .map(|last| last.kind().to_owned()),
        Some("stop".to_owned())
    );
    let ends: Vec<_> = records
        .of_kind("close")
        .iter()
        .map(|close| close.code().to_owned())
        .collect();
    assert_eq!(ends.len(), 2, "{records}");
    assert!(ends.contains(&"drained".to_owned()), "{ends:?}");
    integration::records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn a_stream_under_way_ends_well_when_the_gateway_drains() {
    let world = World::new();
    let origin = slow(&world);
    let mut gateway = world.gateway("");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut streams = Streams::open(&world.caller()).unwrap();
            let answer = streams.ask("GET", "/slow").unwrap();
            (answer, streams.end())
        });
        origin.await_request();
        gateway.process().signal(Signal::TERM);
        let listen = gateway.listen();
        wait::until("the end of listening", || {
            TcpStream::connect(listen).is_err().then_some(())
        });
        origin.go();
        let (answer, end) = asked.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
        assert_eq!(end, "closed");
    });
    assert_eq!(gateway.ended().status.code(), Some(0));
}

#[test]
fn what_does_not_end_within_the_drain_is_cut_off_and_on_record() {
    let world = World::new();
    let origin = slow(&world);
    let mut gateway = world.gateway("drain = \"1s\"");
    let mut line = world.line();
    line.send("POST /slow HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    origin.await_request();
    gateway.process().signal(Signal::TERM);
    let stopped = gateway.ended();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let answer = line.answer();
    assert!(answer.is_err(), "{answer:?}");
    let records = stopped.records();
    let intent = records.of_kind("intent")[0].text("request_id").to_owned();
    let story = records.story_of(&intent);
    assert_eq!(story.len(), 2, "its end is on record: {story:?}");
    assert!(story[1].starts_with("completion "), "{story:?}");
    integration::records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn uploads_over_http_2_that_do_not_end_within_the_drain_are_cut_off_by_that_and_nothing_else() {
    let world = World::new();
    let origin = slow(&world);
    let mut gateway = world.gateway("drain = \"1s\"");
    let mut frames = Frames::open(&world.caller(), 65_535).unwrap();
    for stream in [1, 3, 5] {
        frames.open_request(stream, "POST", "/slow").unwrap();
        origin.await_request();
    }
    gateway.process().signal(Signal::TERM);
    let stopped = gateway.ended();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let records = stopped.records();
    let ends = records.of_kind("completion").into_iter();
    let ends: Vec<_> = ends.map(|record| record.code().to_owned()).collect();
    assert_eq!(ends, ["drained"; 3]);
    let closed = records.of_kind("close").into_iter();
    assert!(
        closed
            .last()
            .is_some_and(|record| record.code() == "drained")
    );
    integration::records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn an_interrupt_drains_as_well() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("");
    world.is_served();
    gateway.process().signal(Signal::INT);
    let stopped = gateway.ended();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    assert_eq!(stopped.records().of_kind("stop").len(), 1);
}

#[test]
fn the_service_manager_is_told() {
    let world = World::new();
    let _origin = world.plain_origin();
    let path = world.place.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let read = || {
        let mut bytes = [0; 1024];
        let count = socket.recv(&mut bytes).or_fail("hear from the gateway");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let hear = |word: &str| {
        for _ in 0..10 {
            if read().lines().any(|line| line == word) {
                return;
            }
        }
        panic!("never heard {word}");
    };
    let file = world
        .place
        .write("gateway.toml", world.configuration().text());
    let program = Program::ours("gateway")
        .args(["run", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &path);
    let gateway = Gateway::from_program(&world.place, program);
    hear("READY=1");
    world.is_served();
    assert!(gateway.reload());
    hear("RELOADING=1");
    hear("READY=1");
    let stopped = gateway.stop();
    hear("STOPPING=1");
    assert_eq!(stopped.status.code(), Some(0));
}

#[test]
fn a_reload_tells_the_service_manager_when_it_began() {
    let world = World::new();
    let path = world.place.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let file = world
        .place
        .write("gateway.toml", world.configuration().text());
    let program = Program::ours("gateway")
        .args(["run", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &path);
    let gateway = Gateway::from_program(&world.place, program);
    assert!(gateway.reload());
    let mut heard = String::new();
    while !heard.contains("RELOADING=1") {
        let mut bytes = [0; 1024];
        let count = socket.recv(&mut bytes).or_fail("hear from the gateway");
        heard = String::from_utf8_lossy(&bytes[..count]).into_owned();
    }
    // sd_notify(3): RELOADING=1 goes with MONOTONIC_USEC=, or `Type=notify-reload` never ends.
    assert!(heard.contains("MONOTONIC_USEC="), "{heard:?}");
}

#[test]
fn figures_say_what_happened_and_name_nobody() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..3 {
        world.is_served();
    }
    let refused = world.caller().ask("GET /..%2Fx").unwrap();
    assert_eq!(refused.status, 400);
    let _ = world.nobody().alert();
    gateway.await_short("handshake_refused certificate_missing");
    let answer = gateway.visit("/metrics").or_fail("visit");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "OpenMetrics has an end");
    for line in [
        "phigate_requests_total{route=\"all\",class=\"2xx\"} 3",
        "phigate_handshakes_refused_total{code=\"certificate_missing\"} 1",
        "phigate_refusals_total{code=\"path_refused\",fault=\"peer\"} 1",
        "phigate_audit_available 1",
        "phigate_panics_total 0",
        "phigate_generation 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let named = [DEVICE, "127.0.0.1", "api.test", "baseline"];
        assert!(!named.iter().any(|name| line.contains(name)), "{line}");
    }
    assert!(gateway.metric("phigate_certificate_expiry_seconds{certificate=\"api\"}") > 1.7e9);
    assert!(gateway.metric("phigate_revocation_next_update_seconds{trust=\"devices\"}") > 1.7e9);
}

#[test]
fn the_admin_listener_answers_what_it_knows_and_no_more() {
    let world = World::new();
    let gateway = world.gateway("");
    assert_eq!(
        gateway.visit("/livez").map(|answer| answer.text()),
        Some("ok\n".to_owned())
    );
    assert_eq!(
        gateway.visit("/readyz").map(|answer| answer.text()),
        Some("ok\n".to_owned())
    );
    assert_eq!(
        gateway.visit("/other").map(|answer| answer.status),
        Some(404)
    );
    let status = gateway.visit("/status").or_fail("visit").json();
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!(status["configuration"]["generation"], 1, "{status}");
    assert_eq!(status["listeners"][0]["name"], "devices", "{status}");
    assert_eq!(
        status["decisions"][0]["rationale"], "the upstream of a test knows nobody",
        "{status}"
    );
    let ask = |request: &str| {
        let mut line = Line::plain(gateway.admin()).unwrap();
        line.send(request).unwrap();
        line.answer().map(|answer| answer.status)
    };
    assert_eq!(
        ask("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap(),
        405
    );
    assert_eq!(ask("GET /livez HTTP/1.1\nHost: a\n\n").unwrap(), 400);
    assert_eq!(ask("garbage\r\n\r\n").unwrap(), 400);
    assert_eq!(ask("GET /livez HTTP/1.0\r\n\r\n").unwrap(), 200);
    // Visitors that stall are nobody's loss.
    let stalled: Vec<_> = (0..40)
        .filter_map(|_| {
            let mut line = Line::plain(gateway.admin()).ok()?;
            line.send("GET /li").ok()?;
            Some(line)
        })
        .collect();
    assert_eq!(
        gateway.visit("/livez").map(|answer| answer.status),
        Some(200)
    );
    drop(stalled);
}

#[test]
fn access_lines_are_records_for_operators() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("access_log = \"stdout\"");
    let good = world.caller().ask("GET /x?secret=canary").unwrap();
    let bad = world.caller().ask("GET /..%2Fcanary").unwrap();
    let streamed = Streams::open(&world.caller())
        .unwrap()
        .ask("GET", "/y")
        .unwrap();
    let lines = wait::until("three lines", || {
        let lines = gateway.process().stdout();
        (lines.lines().count() >= 3).then_some(lines)
    });
    assert!(!lines.contains("canary"), "{lines}");
    let records = Records::parse(&lines);
    assert_eq!(records.len(), 3);
    for (answer, status) in [(&good, 200), (&bad, 400), (&streamed, 200)] {
        let [line] = records.of_request(answer.id())[..] else {
            panic!("one line for {answer:?} in {lines}");
        };
        assert_eq!(line.number("status"), Some(status), "{line}");
        assert_eq!(line.text("client"), CLIENT, "{line}");
        assert_eq!(line.text("method"), "GET", "{line}");
        for field in [
            "time",
            "route",
            "rule",
            "resource",
            "bytes",
            "outcome",
            "code",
            "user",
            "connection_id",
        ] {
            assert!(
                line.to_string().contains(&format!("\"{field}\"")),
                "{field} in {line}"
            );
        }
    }
    assert_eq!(records.of_request(bad.id())[0].code(), "path_refused");
}

#[test]
fn a_reader_of_access_lines_that_stops_reading_gates_nothing() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration().with("access_log = \"stdout\"");
    let file = world.place.write("gateway.toml", configuration.text());
    // A pipe that nobody empties.
    let program = Program::of_the_machine("bash")
        .args(["-c", "exec \"$0\" run --config \"$1\" > >(exec sleep 300)"])
        .arg(integration::program::binary("gateway"))
        .arg(&file);
    let gateway = Gateway::from_program(&world.place, program);
    let mut line = world.line();
    // A pipe holds 64 KiB, the queue 8,192 lines: this is more than both.
    for _ in 0..12_000 {
        line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        assert_eq!(line.answer().unwrap().status, 200);
    }
    assert!(
        gateway.metric("phigate_access_log_lost_total") > 0.0,
        "lines that found no room are counted"
    );
    drop(line);
    let mut gateway = gateway;
    gateway.process().signal(Signal::TERM);
    let stopped = gateway.ended();
    assert_eq!(
        stopped.records().of_kind("release").len(),
        12_000,
        "the audit log lost none"
    );
}

#[test]
fn the_log_of_the_process_is_json_when_nobody_watches() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    assert!(gateway.reload());
    let stopped = gateway.stop();
    assert!(!stopped.stderr.is_empty());
    for line in stopped.stderr.lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).or_fail(line);
        assert!(
            parsed["level"].is_string() && parsed["message"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn descriptors_and_memory_return_to_where_they_were() {
    let world = World::new();
    let _origin = world.plain_origin();
    let mut gateway = world.gateway("[upstreams.origin]\nidle = \"1s\"");
    let round = |gateway: &mut Gateway| {
        for _ in 0..200 {
            world.is_served();
            let _ = world.nobody().alert();
        }
        wait::until("the end of all connections", || {
            (gateway.metric("phigate_connections{listener=\"devices\"}") == 0.0).then_some(())
        });
        // Idle connections to the upstream are swept once a second.
        wait::pause(Duration::from_millis(2500));
        (gateway.process().descriptors(), gateway.process().memory())
    };
    let (descriptors, memory) = round(&mut gateway);
    for _ in 0..3 {
        let (more_descriptors, more_memory) = round(&mut gateway);
        assert!(
            more_descriptors <= descriptors + 2,
            "{descriptors} then {more_descriptors}"
        );
        assert!(
            more_memory < memory + 16 * 1024 * 1024,
            "{memory} then {more_memory}"
        );
    }
}
