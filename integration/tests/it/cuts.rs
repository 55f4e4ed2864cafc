//! What is cut never looks whole, and says why: on the wire, so that no half of an answer is taken for
//! all of it, and on record, so that nobody takes us for a client that left.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use integration::frames::{Frame, Frames};
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::line::{End, Line};
use integration::origin::{Conversation, Origin, ok};
use integration::program::Program;
use integration::records::Records;
use integration::wait;
use integration::world::{DEVICE, World};
use rustix::process::Signal;

const GET: &str = "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n";

/// Far longer than a cut takes, far shorter than any other limit that would end a connection.
const SOON: Duration = Duration::from_secs(20);

/// What a client may take without saying so (RFC 9113 6.5.2).
const WINDOW: u32 = 65_535;

/// Begins an answer, and goes on with it until nobody takes it.
fn stream_without_end(conversation: &mut Conversation) -> io::Result<()> {
    conversation.request()?;
    conversation.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    loop {
        conversation.write("5\r\nhello\r\n")?;
        wait::pause(Duration::from_millis(50));
    }
}

/// Reads until a piece of the endless answer has come, and brings all that was read.
#[track_caller]
fn begin(line: &mut Line) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("hello") {
        line.read_exact(&mut byte).expect("the answer begins");
        text.push(char::from(byte[0]));
    }
    text
}

/// The value of a field in the head of an answer.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

/// Takes the device's certificate back, and has the gateway know.
#[track_caller]
fn revoke(world: &World, gateway: &Gateway) {
    world.authority.revoke(DEVICE);
    assert!(gateway.reload());
}

#[test]
fn a_revoked_device_is_cut_in_the_middle_of_an_answer() {
    for version in ["1.1", "1.0"] {
        let world = World::new();
        let _origin = world.origin(stream_without_end);
        let gateway = world.gateway("");
        let mut line = world.line();
        line.send(format!("GET /x HTTP/{version}\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        let head = begin(&mut line);
        revoke(&world, &gateway);
        let began = Instant::now();
        assert_eq!(line.end(), End::Cut, "HTTP/{version}: no goodbye");
        assert!(began.elapsed() < SOON, "HTTP/{version}: not at once");
        let story = ["release", "completion certificate_revoked"];
        gateway.await_story(field(&head, "x-request-id"), &story);
        gateway.await_short("close certificate_revoked");
        gateway.verify();
    }
}

#[test]
fn a_revoked_device_is_cut_in_the_middle_of_an_upload() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        while conversation.request()? {
            conversation.body()?;
            conversation.write(ok("taken"))?;
        }
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\nbegin")
        .unwrap();
    let seen = wait::until("the beginning at the upstream", || {
        origin.seen().pop().filter(|seen| seen.body == b"begin")
    });
    revoke(&world, &gateway);
    let began = Instant::now();
    let (answer, end) = line.rest();
    assert_eq!((answer.as_slice(), end), (&b""[..], End::Cut));
    assert!(began.elapsed() < SOON, "not at once");
    let id = seen.header("x-request-id").unwrap_or_default();
    gateway.await_story(id, &["intent", "completion certificate_revoked"]);
    gateway.await_short("close certificate_revoked");
    assert!(
        !origin.seen()[0].whole,
        "nor does what was cut look whole to the upstream"
    );
}

#[test]
fn a_revoked_device_is_cut_in_the_middle_of_a_stream() {
    let world = World::new();
    let _origin = world.origin(stream_without_end);
    let gateway = world.gateway("");
    let mut frames = Frames::open(&world.caller(), WINDOW).unwrap();
    frames.ask(1, "GET", "/x").unwrap();
    frames
        .find(|frame| frame.kind == Frame::DATA)
        .expect("the answer begins");
    revoke(&world, &gateway);
    let began = Instant::now();
    let (rest, end) = frames.rest();
    assert_ne!(end, End::Open, "{rest:?}");
    assert!(began.elapsed() < SOON, "not at once");
    assert!(!rest.iter().any(Frame::ends_stream), "{rest:?}");
    let completion = gateway.await_short("completion certificate_revoked");
    let story = ["release", "completion certificate_revoked"];
    gateway.await_story(completion.text("request_id"), &story);
    gateway.await_short("close certificate_revoked");
    gateway.verify();
}

#[test]
fn who_is_not_revoked_is_not_cut_by_a_reload() {
    let world = World::new();
    let _origin = world.origin(stream_without_end);
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let gateway = world.gateway("");
    let mut line = world.nobody().with(&other).connect().unwrap();
    line.send(GET).unwrap();
    begin(&mut line);
    let mut frames = Frames::open(&world.nobody().with(&other), WINDOW).unwrap();
    frames.ask(1, "GET", "/x").unwrap();
    revoke(&world, &gateway);
    assert_eq!(world.caller().alert(), Some(44), "the one that is");
    begin(&mut line);
    frames
        .find(|frame| frame.kind == Frame::DATA)
        .expect("the answer goes on");
}

/// An upstream that answers when the test says so.
fn held(world: &World) -> Origin {
    world.origin(|conversation| {
        while conversation.request()? {
            conversation.hold();
            conversation.write(ok("done"))?;
        }
        Ok(())
    })
}

#[test]
fn an_answer_that_is_the_last_for_age_says_so() {
    let world = World::new();
    let origin = held(&world);
    let gateway = world.gateway("[listeners.devices.limits]\nage = \"1s\"");
    let mut line = world.line();
    line.send(GET).unwrap();
    origin.await_request();
    // Until the connection is too old for certain.
    wait::pause(Duration::from_millis(1500));
    origin.go();
    let answer = line.answer().unwrap();
    assert_eq!((answer.status, answer.whole), (200, true));
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(line.end(), End::Closed);
    gateway.await_story(answer.id(), &["release"]);
    gateway.await_short("close age_limit");
}

#[test]
fn an_answer_that_is_not_the_last_says_nothing_of_an_end() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.line();
    for _ in 0..3 {
        line.send(GET).unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    gateway.verify();
}

#[test]
fn an_answer_under_way_is_the_last_when_the_gateway_drains() {
    let world = World::new();
    let origin = held(&world);
    let mut gateway = world.gateway("");
    let mut line = world.line();
    line.send(GET).unwrap();
    origin.await_request();
    let mut frames = Frames::open(&world.caller(), WINDOW).unwrap();
    frames.ask(1, "GET", "/y").unwrap();
    wait::until("both at the upstream", || {
        (origin.seen().len() == 2).then_some(())
    });
    gateway.process().signal(Signal::TERM);
    // The stream learns it while its answer is still to come.
    let goaway = frames.find(|frame| frame.kind == Frame::GOAWAY);
    assert!(goaway.is_ok(), "{goaway:?}");
    origin.go();
    let answer = line.answer().unwrap();
    assert_eq!((answer.status, answer.whole), (200, true));
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(line.end(), End::Closed);
    frames
        .find(Frame::ends_stream)
        .expect("the answer comes to its end");
    drop(frames);
    let stopped = gateway.ended();
    assert!(stopped.status.success(), "{stopped:?}");
    let records = stopped.records();
    assert_eq!(records.story_of(answer.id()), ["release"]);
    assert_eq!(ends(&records), ["close drained", "close drained"]);
}

fn ends(records: &Records) -> Vec<String> {
    let ends = records.of_kind("close").into_iter();
    ends.map(integration::records::Record::in_short).collect()
}

#[test]
fn a_stream_that_outlives_its_certificate_is_the_last_of_its_connection() {
    let world = World::new();
    let lab = Lab::new(&world.place, "lab");
    let origin = world.plain_origin();
    let gateway = world.gateway(
        "[trust.devices]\nroots = [\"lab/root.pem\"]\nrevocation = { crls = [\"lab/lab.crl\"] }",
    );
    // Long enough for a first request on a busy machine.
    let ends = Program::of_the_machine("date")
        .args(["-u", "-d", "+5 seconds", "+%Y%m%d%H%M%SZ"])
        .run();
    let to = ends.stdout.trim();
    let brief = lab.issue("brief", &Leaf { to, ..Leaf::GOOD });
    let brief = world.nobody().with(&brief);
    let mut frames = Frames::open(&brief, WINDOW).unwrap();
    frames.ask(1, "GET", "/before").unwrap();
    frames.find(Frame::ends_stream).expect("an answer");
    assert_eq!(origin.await_request().target, "/before");
    // The next handshake says when its time is over.
    wait::until("the end of the certificate", || {
        (brief.alert() == Some(45)).then_some(())
    });
    frames.ask(3, "GET", "/after").unwrap();
    let began = Instant::now();
    let (rest, end) = frames.rest();
    assert_eq!(end, End::Closed, "{rest:?}");
    assert!(began.elapsed() < SOON, "not at once: {rest:?}");
    let kinds = |kind| rest.iter().filter(move |frame| frame.kind == kind);
    assert!(
        kinds(Frame::HEADERS).any(|head| head.stream == 3),
        "it is told why: {rest:?}"
    );
    // No error (RFC 9113 7): what was asked was answered.
    let goaway = kinds(Frame::GOAWAY).next_back();
    assert_eq!(
        goaway.map(|frame| &frame.payload[4..8]),
        Some(&[0; 4][..]),
        "{rest:?}"
    );
    gateway.await_short("refusal certificate_expired");
    gateway.await_record("the end", |record| record.kind() == "close");
    assert!(origin.seen().iter().all(|seen| seen.target != "/after"));
}

#[test]
fn a_stream_without_an_end_is_cut_when_its_connection_is_too_old() {
    if !wait::long() {
        // It takes the minute that is granted to what is under way.
        return wait::cannot_run(
            "cuts::a_stream_without_an_end",
            "takes a minute; --long runs it",
        );
    }
    let world = World::new();
    let _origin = world.origin(stream_without_end);
    let gateway = world.gateway("[listeners.devices.limits]\nage = \"1s\"");
    let mut line = world.line();
    line.send(GET).unwrap();
    let head = begin(&mut line);
    let mut frames = Frames::open(&world.caller(), WINDOW).unwrap();
    frames.ask(1, "GET", "/x").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (rest, end) = frames.rest();
            assert_ne!(end, End::Open);
            assert!(!rest.iter().any(Frame::ends_stream));
        });
        let end = wait::within(3 * wait::PATIENCE, || {
            let end = line.end();
            (end != End::Open).then_some(end)
        });
        assert_eq!(end, Some(End::Cut));
    });
    // A second before, the first window is over: its minute began with the answer.
    let story = ["release", "passage", "completion age_limit"];
    gateway.await_story(field(&head, "x-request-id"), &story);
    let both = wait::within(wait::PATIENCE, || {
        (ends(&gateway.records()) == ["close age_limit", "close age_limit"]).then_some(())
    });
    assert!(both.is_some(), "{}", gateway.records());
}
