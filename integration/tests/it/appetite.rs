//! A client over HTTP/2 gets no further than one over HTTP/1.1: what it does not take costs it, not us,
//! and what it asks is held to the same limits, refused in the same words and on the same record.

use std::time::{Duration, Instant};

use integration::frames::{Frame, Frames};
use integration::gateway::Gateway;
use integration::line::End;
use integration::origin::{self, ok};
use integration::streams::{Content, Streams};
use integration::wait::{self, OrFail};
use integration::world::World;

/// What a client may take without saying so (RFC 9113 6.5.2).
const WINDOW: u32 = 65_535;

/// Connections of the client that takes nothing, and the streams on each.
const CONNECTIONS: u32 = 20;
const STREAMS: u32 = 100;

/// Just below what the gateway sends together with a head.
const ANSWER: usize = 60 * 1024;

/// What is not held here stays with the upstream and keeps a connection of it, of which others have
/// their own.
fn apart(world: &World) -> String {
    let server = world.place.at(origin::PORT);
    format!(
        r#"
[upstreams.apart]
servers = ["http://{server}"]
rationale = "the upstream of a test knows nobody"
[[routes]]
name = "apart"
listeners = ["devices"]
hosts = ["api.test"]
path = "/baseline"
methods = ["GET"]
allow = ["pump"]
upstream = "apart"
"#
    )
}

#[test]
fn a_client_that_takes_nothing_makes_the_gateway_hold_little() {
    let world = World::new();
    let content = "x".repeat(ANSWER);
    let _origin = world.answering(move |_| ok(&content));
    let mut gateway = world.gateway(&apart(&world));
    world.is_served();
    let before = gateway.process().memory();
    let mut greedy = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut frames = Frames::open(&world.caller(), 0).unwrap();
        for stream in 0..STREAMS {
            frames.ask(2 * stream + 1, "GET", "/x").unwrap();
        }
        greedy.push(frames);
    }
    // Each got its head, of an answer or of a refusal, and nothing more.
    for frames in &mut greedy {
        for _ in 0..STREAMS {
            let head = frames.find(|frame| [Frame::HEADERS, Frame::DATA].contains(&frame.kind));
            let head = head.expect("an answer");
            assert_eq!((head.kind, head.ends_stream()), (Frame::HEADERS, false));
        }
    }
    let held = gateway.process().memory().saturating_sub(before);
    let asked = u64::from(CONNECTIONS * STREAMS) * ANSWER as u64;
    assert!(
        held < asked / 2,
        "{held} bytes are held of {asked} that were asked for"
    );
    // Another client is served all the same.
    world.is_served();
    drop(greedy);
    wait::until("the end of all of them", || {
        (gateway.metric("phigate_connections{listener=\"devices\"}") == 0.0).then_some(())
    });
    world.is_served();
    gateway.verify();
}

/// A client that grants this window, and hangs up once it took it: how much that was, and the story.
#[track_caller]
fn take_and_hang_up(world: &World, gateway: &Gateway, window: u32) -> (usize, Vec<String>) {
    let mut frames = Frames::open(&world.caller(), window).or_fail("connect as the device");
    frames.ask(1, "GET", "/x").or_fail("ask");
    let (mut taken, mut head) = (0, false);
    while !head || taken < window as usize {
        let frame = frames.receive().expect("the answer begins");
        head |= frame.kind == Frame::HEADERS;
        if frame.kind == Frame::DATA {
            taken += frame.payload.len();
        }
    }
    let release = gateway.await_record("the release", |record| record.kind() == "release");
    frames.into_line().hang_up();
    let connection = release.text("connection_id");
    gateway.await_record("the end", |record| {
        record.kind() == "close" && record.text("connection_id") == connection
    });
    let story = gateway.records().story_of(release.text("request_id"));
    (taken, story)
}

#[test]
fn what_a_client_did_not_take_did_not_leave() {
    let world = World::new();
    let _origin = world.answering(|_| ok(&"x".repeat(2000)));
    let gateway = world.gateway("");
    let (taken, story) = take_and_hang_up(&world, &gateway, 0);
    assert_eq!(taken, 0);
    assert_eq!(story, ["release", "completion client_gone"]);
    // Nothing is said of one that was taken.
    let (taken, story) = take_and_hang_up(&world, &gateway, 2000);
    assert_eq!(taken, 2000);
    assert_eq!(story, ["release"]);
}

#[test]
fn what_a_client_took_in_part_did_not_leave_whole() {
    let world = World::new();
    let _origin = world.answering(|_| ok(&"x".repeat(2000)));
    let gateway = world.gateway("");
    for window in [1, 500, 1999] {
        let (taken, story) = take_and_hang_up(&world, &gateway, window);
        assert_eq!(taken, window as usize);
        assert_eq!(story, ["release", "completion client_gone"], "{window}");
    }
}

#[test]
fn a_refusal_of_head_has_no_content() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\npath = \"/fhir\"");
    let mut frames = Frames::open(&world.caller(), WINDOW).unwrap();
    frames.ask(1, "HEAD", "/nowhere").unwrap();
    let last = frames.find(|frame| frame.stream == 1).expect("an answer");
    assert_eq!(
        (last.kind, last.ends_stream()),
        (Frame::HEADERS, true),
        "{last:?}"
    );
    // What comes next on the connection is the next answer.
    frames.ask(3, "GET", "/nowhere").unwrap();
    let next = frames
        .find(|frame| [Frame::HEADERS, Frame::DATA].contains(&frame.kind))
        .expect("an answer");
    assert_eq!((next.kind, next.stream), (Frame::HEADERS, 3), "{next:?}");
    let records = gateway.records();
    assert_eq!(records.of_kind("refusal").len(), 2, "{records}");
    assert_eq!(origin.seen().len(), 0);
}

/// A request that is too much of something is refused as over HTTP/1.1, and recorded.
#[track_caller]
fn is_refused(
    world: &World,
    gateway: &Gateway,
    builder: http::request::Builder,
    path: &str,
    (status, code): (u16, &str),
) {
    let mut streams = Streams::open(&world.caller()).or_fail("connect as the device");
    let answer = streams
        .send(builder, path, Content::default())
        .or_fail("get an answer");
    gateway.refused(&answer, status, code);
    let story = gateway.records().story_of(answer.id());
    assert_eq!(story, [format!("refusal {code}")]);
    world.is_served();
}

fn with_fields(count: usize, value: &str) -> http::request::Builder {
    (0..count).fold(http::Request::builder(), |builder, number| {
        builder.header(format!("x-{number}"), value)
    })
}

#[test]
fn a_head_of_too_many_fields_is_refused_and_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let too_many = with_fields(300, "1");
    is_refused(&world, &gateway, too_many, "/x", (431, "head_too_large"));
    assert!(origin.seen().iter().all(|seen| seen.target == "/baseline"));
}

#[test]
fn a_head_of_too_many_bytes_is_refused_and_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[listeners.devices.limits]\nhead_bytes = \"4KiB\"");
    let too_large = with_fields(4, &"x".repeat(1500));
    is_refused(&world, &gateway, too_large, "/x", (431, "head_too_large"));
    // Also far beyond the limit, where the library could speak first.
    let huge = with_fields(10, &"x".repeat(6000));
    is_refused(&world, &gateway, huge, "/x", (431, "head_too_large"));
    assert!(origin.seen().iter().all(|seen| seen.target == "/baseline"));
}

#[test]
fn a_target_that_is_too_long_is_refused_and_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let path = format!("/{}", "x".repeat(9000));
    let too_long = http::Request::builder();
    is_refused(&world, &gateway, too_long, &path, (414, "target_too_long"));
    assert!(origin.seen().iter().all(|seen| seen.target == "/baseline"));
}

#[test]
fn an_expectation_that_nobody_meets_is_refused_and_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let expecting = http::Request::builder().header("expect", "something");
    is_refused(
        &world,
        &gateway,
        expecting,
        "/x",
        (417, "expectation_failed"),
    );
    assert!(origin.seen().iter().all(|seen| seen.target == "/baseline"));
}

#[test]
fn a_client_that_takes_nothing_for_a_minute_is_ended() {
    if !wait::long() {
        // It takes the minute that the gateway grants.
        return wait::cannot_run(
            "appetite::a_client_that_takes_nothing_for_a_minute",
            "takes a minute; --long runs it",
        );
    }
    let world = World::new();
    let _origin = world.answering(|_| ok(&"x".repeat(200_000)));
    let gateway = world.gateway("");
    let mut frames = Frames::open(&world.caller(), 0).unwrap();
    frames.ask(1, "GET", "/x").unwrap();
    let began = Instant::now();
    // Pings are answered, so nothing else ends it.
    let (rest, end) = frames.rest();
    assert_ne!(end, End::Open, "{rest:?}");
    assert!(began.elapsed() < Duration::from_secs(110));
    let completion = gateway.await_short("completion client_stalled");
    let story = ["release", "completion client_stalled"];
    gateway.await_story(completion.text("request_id"), &story);
    gateway.await_short("close client_stalled");
}
