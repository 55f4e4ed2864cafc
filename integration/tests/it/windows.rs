//! An answer passes in windows, and no byte of a window leaves before the record of it is durable: on a
//! slow disk, on a log that is out, in every protocol and form. A stream that cannot be put on record is
//! cut.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use integration::disk::Disk;
use integration::frames::{Frame, Frames};
use integration::gateway::Gateway;
use integration::line::{End, Line};
use integration::origin::{Conversation, Origin, ok};
use integration::program::{self, Program};
use integration::records::{Record, Records};
use integration::wait::{self, OrFail};
use integration::world::{DEVICE, World};

/// The largest window of what is read for patients, and of anything else.
const READ_WINDOW: u64 = 256 * 1024;
const WINDOW: u64 = 1024 * 1024;

/// Far longer than a stream lives without the log, far shorter than a window lasts.
const SOON: Duration = Duration::from_secs(30);

/// A FHIR API below `/fhir`, and everything else beside it.
const FHIR: &str = r#"
[[routes]]
name = "fhir"
listeners = ["devices"]
hosts = ["api.test"]
path = "/fhir"
methods = ["GET", "HEAD", "POST"]
allow = ["pump"]
upstream = "origin"
fhir = true
"#;

/// The resources of this many patients, one a line, about half a kilobyte each.
fn lines(count: usize) -> String {
    let padding = "x".repeat(400);
    let mut lines = String::new();
    for number in 0..count {
        let subject = format!("{{\"reference\":\"Patient/{number}\"}}");
        let note = format!("[{{\"text\":\"{padding}\"}}]");
        let _ = writeln!(
            lines,
            "{{\"resourceType\":\"Observation\",\"subject\":{subject},\"note\":{note}}}"
        );
    }
    lines
}

/// The same in one Bundle.
fn bundle(count: usize) -> String {
    let lines = lines(count);
    let entries: Vec<_> = lines
        .lines()
        .map(|line| format!("{{\"resource\":{line}}}"))
        .collect();
    format!(
        "{{\"resourceType\":\"Bundle\",\"entry\":[{}]}}",
        entries.join(",")
    )
}

const NDJSON: &str = "application/fhir+ndjson";
const JSON: &str = "application/fhir+json";

/// Content in chunks, with a trailer.
fn chunked(content_type: &str, content: &str) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for piece in content.as_bytes().chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\nx-checked: yes\r\n\r\n");
    bytes
}

fn with_length(content_type: &str, content: &str) -> Vec<u8> {
    let length = content.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{content}"
    )
    .into_bytes()
}

/// Large answers: `/fhir/Observation?lines`, `/fhir/Observation?bundle`, `/fhir/Observation?other`, and `/plain`.
fn large(world: &World) -> Origin {
    let (lines, bundle) = (lines(1600), bundle(1600));
    let other = "x".repeat(2_500_000);
    world.answering(move |seen| match seen.target.as_str() {
        "/fhir/Observation?lines" => chunked(NDJSON, &lines),
        "/fhir/Observation?bundle" => with_length(JSON, &bundle),
        "/fhir/Observation?other" => chunked("application/octet-stream", &other),
        "/plain" => with_length("text/plain", &other),
        _ => ok("ok"),
    })
}

/// How many bytes of its content the records of a request cover.
fn covered(records: &Records, id: &str, most: u64) -> u64 {
    let mut covered = 0;
    for record in records.of_request(id) {
        let so_far = match record.kind() {
            // What left with it shows in the offset of the next.
            "release" => most,
            "passage" => {
                record.number("offset").or_fail("find the offset")
                    + record.number("bytes").or_fail("find the bytes")
            }
            _ => continue,
        };
        covered = covered.max(so_far);
    }
    covered
}

fn passages<'a>(records: &'a Records, id: &str) -> Vec<&'a Record> {
    let all = records.of_request(id).into_iter();
    all.filter(|record| record.kind() == "passage").collect()
}

fn patients(record: &Record) -> Vec<&str> {
    let list = record.field("patients").as_array().into_iter().flatten();
    list.map(|patient| patient.as_str().unwrap_or_default())
        .collect()
}

/// The last word on whether all are known.
fn last_word<'a>(records: &'a Records, id: &str) -> &'a str {
    let all = records.of_request(id);
    let said = all.iter().rev().find(|it| !it.text("subjects").is_empty());
    said.map_or("", |record| match record.text("subjects") {
        "unknown" => record.text("reason"),
        known => known,
    })
}

#[test]
fn every_window_of_a_large_answer_is_on_record_with_its_patients() {
    let world = World::new();
    let _origin = large(&world);
    let gateway = world.gateway(FHIR);
    for path in ["/fhir/Observation?lines", "/fhir/Observation?bundle"] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        assert!(answer.whole && answer.body.len() > 700_000, "{path}");
        gateway.await_record("its end", |record| {
            record.in_short() == "completion complete" && record.text("request_id") == answer.id()
        });
        let records = gateway.records();
        let passages = passages(&records, answer.id());
        assert!(passages.len() >= 3, "{path}: {passages:?}");
        // One behind the other, and none larger than a window.
        let mut offset = passages[0].number("offset").unwrap();
        assert!(
            offset <= READ_WINDOW,
            "{path}: the first leaves with the release"
        );
        for passage in &passages {
            assert_eq!(passage.number("offset"), Some(offset), "{passage}");
            let bytes = passage.number("bytes").unwrap();
            assert!(bytes <= READ_WINDOW, "{passage}");
            offset += bytes;
        }
        assert_eq!(offset, answer.body.len() as u64, "{path}");
        let all: std::collections::HashSet<_> = records
            .of_request(answer.id())
            .into_iter()
            .flat_map(patients)
            .collect();
        assert_eq!(all.len(), 1600, "{path}: everybody is named");
        assert_eq!(last_word(&records, answer.id()), "known", "{path}");
    }
    gateway.verify();
}

#[test]
fn a_record_names_no_more_than_it_holds_and_the_next_goes_on() {
    let world = World::new();
    // Some 20 bytes a patient: a window of these would name thousands.
    let members: Vec<_> = (0..6000)
        .map(|number| format!("{{\"reference\":\"Patient/{number}\"}}"))
        .collect();
    let content = format!(
        "{{\"resourceType\":\"Basic\",\"subject\":{{\"reference\":\"Patient/1\"}},\"extension\":[{}]}}",
        members.join(",")
    );
    let _origin = world.answering(move |_| with_length(JSON, &content));
    let gateway = world.gateway(FHIR);
    let answer = world.caller().ask("GET /fhir/Basic/1").unwrap();
    assert!(answer.whole);
    gateway.await_short("completion complete");
    let records = gateway.records();
    let of_request = records.of_request(answer.id());
    let named: Vec<_> = of_request.into_iter().flat_map(patients).collect();
    let each: std::collections::HashSet<_> = named.iter().collect();
    assert_eq!(each.len(), 6000);
    assert_eq!(last_word(&records, answer.id()), "known");
    gateway.verify();
}

#[test]
fn other_content_passes_by_the_mebibyte() {
    let world = World::new();
    let _origin = large(&world);
    let gateway = world.gateway(FHIR);
    for (path, word) in [("/plain", ""), ("/fhir/Observation?other", "media_type")] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        assert_eq!(answer.body.len(), 2_500_000, "{path}");
        let story = ["release", "passage", "passage", "completion complete"];
        gateway.await_story(answer.id(), &story);
        let records = gateway.records();
        let offsets: Vec<_> = passages(&records, answer.id())
            .iter()
            .map(|passage| passage.number("offset"))
            .collect();
        assert_eq!(offsets, [Some(WINDOW), Some(2 * WINDOW)], "{path}");
        assert_eq!(last_word(&records, answer.id()), word, "{path}");
    }
}

/// A gateway whose writes to the log take a while, and each of which is on disk only then.
pub(crate) fn on_a_slow_disk(world: &World, more: &str) -> Option<Gateway> {
    let probe = Program::of_the_machine("strace")
        .args([
            "-o",
            "/dev/null",
            "-e",
            "inject=getpid:delay_enter=1",
            "true",
        ])
        .run();
    if !program::is_installed("strace") || probe.code() != 0 {
        wait::cannot_run(
            "windows::on_a_slow_disk",
            "this user may not trace a process",
        );
        return None;
    }
    let text = world.configuration().with(more).text();
    let file = world.place.write("gateway.toml", text);
    let writes = "pwrite64,pwritev,pwritev2";
    let traced = Program::of_the_machine("strace")
        .args(["-D", "-f", "-q", "-o", "/dev/null", "-e"])
        .arg(format!("trace={writes}"))
        .arg("-e")
        .arg(format!("inject={writes}:delay_enter=100000"))
        .arg(program::binary("gateway"))
        .args(["run", "--config"])
        .arg(&file);
    Some(Gateway::from_program(&world.place, traced))
}

/// Holds what of an answer has come against what the log says at that moment.
struct Witness<'a> {
    gateway: &'a Gateway,
    id: String,
    /// Bytes of content.
    seen: u64,
    covered: u64,
    /// What a release may cover.
    most: u64,
}

impl Witness<'_> {
    #[track_caller]
    fn saw(&mut self, bytes: usize) {
        self.seen += bytes as u64;
        if self.seen > self.covered {
            let records = self.gateway.records();
            self.covered = covered(&records, &self.id, self.most);
            assert!(
                self.seen <= self.covered,
                "{} bytes came while the log covers {}: {:?}",
                self.seen,
                self.covered,
                records.of_request(&self.id)
            );
        }
    }
}

#[test]
fn on_a_slow_disk_no_byte_of_a_window_comes_before_its_record() {
    let world = World::new();
    let _origin = large(&world);
    let Some(gateway) = on_a_slow_disk(&world, FHIR) else {
        return;
    };
    for (path, most) in [
        ("/fhir/Observation?lines", READ_WINDOW),
        ("/fhir/Observation?bundle", READ_WINDOW),
        ("/fhir/Observation?other", WINDOW),
        ("/plain", WINDOW),
    ] {
        over_http_1(&world, &gateway, path, most);
        over_http_2(&world, &gateway, path, most);
    }
    gateway.verify();
}

fn over_http_1(world: &World, gateway: &Gateway, path: &str, most: u64) {
    let mut line = world.line();
    line.send(format!("GET {path} HTTP/1.0\r\nHost: api.test\r\n\r\n"))
        .unwrap();
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        line.read_exact(&mut byte).expect("the answer begins");
        head.push(char::from(byte[0]));
    }
    let id = head.split_once("x-request-id: ").or_fail("find the id").1[..32].to_owned();
    let mut witness = Witness {
        gateway,
        id,
        seen: 0,
        covered: 0,
        most,
    };
    let mut piece = [0; 16 * 1024];
    loop {
        match line.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => witness.saw(bytes),
            Err(error) => panic!("{path}: {error}"),
        }
    }
    assert!(witness.seen > 2 * most, "{path}: {}", witness.seen);
}

fn over_http_2(world: &World, gateway: &Gateway, path: &str, most: u64) {
    let before = gateway.records().len();
    let mut frames = Frames::open(&world.caller(), 16 << 20).unwrap();
    frames.widen(16 << 20).unwrap();
    frames.ask(1, "GET", path).unwrap();
    // Frames do not show the id; the newest release is that of this request.
    let first = frames
        .find(|frame| frame.kind == Frame::DATA)
        .expect("the answer begins");
    let records = gateway.records();
    let release = records
        .iter()
        .skip(before)
        .find(|record| record.kind() == "release")
        .or_fail("find the release of what came");
    let mut witness = Witness {
        gateway,
        id: release.text("request_id").to_owned(),
        seen: 0,
        covered: 0,
        most,
    };
    witness.saw(first.payload.len());
    loop {
        let frame = frames
            .find(|frame| [Frame::DATA, Frame::HEADERS].contains(&frame.kind))
            .expect("the answer goes on");
        if frame.kind == Frame::DATA {
            witness.saw(frame.payload.len());
        }
        if frame.ends_stream() {
            break;
        }
    }
    assert!(witness.seen > 2 * most, "{path}: {}", witness.seen);
}

/// Begins an answer of this type, and goes on with it until nobody takes it.
fn endless(conversation: &mut Conversation, content_type: &str, piece: &str) -> io::Result<()> {
    conversation.write(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    ))?;
    loop {
        conversation.write(format!("{:x}\r\n{piece}\r\n", piece.len()))?;
        wait::pause(Duration::from_millis(20));
    }
}

/// Serves endless answers below `/fhir/Patient?endless` and `/endless`, and `ok` elsewhere.
fn streaming(world: &World) -> Origin {
    world.origin(|conversation| {
        while conversation.request()? {
            conversation.body()?;
            let line = "{\"resourceType\":\"Patient\",\"id\":\"17\"}\n";
            match conversation.current().target.as_str() {
                "/fhir/Patient?endless" => return endless(conversation, NDJSON, line),
                "/endless" => return endless(conversation, "text/event-stream", "data: 1\n\n"),
                _ => conversation.write(ok("ok"))?,
            }
        }
        Ok(())
    })
}

/// Reads until a piece of an endless answer has come, and brings the id of the answer.
#[track_caller]
fn begin(line: &mut Line, path: &str) -> String {
    line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
        .unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\n\r\n") || !text.contains("\r\n\r\n") || text.len() < 500 {
        line.read_exact(&mut byte).expect("the answer goes on");
        text.push(char::from(byte[0]));
    }
    let id = text.split_once("x-request-id: ").or_fail("find the id").1;
    id[..32].to_owned()
}

#[test]
fn a_stream_is_cut_when_the_log_is_out_and_its_record_says_so() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.place, "disk", "12m") else {
        return wait::cannot_run(
            "windows::a_stream_is_cut",
            "mounting a small file system takes root",
        );
    };
    let _origin = streaming(&world);
    let gateway = world.gateway(&format!("[audit]\ndirectory = \"disk/audit\"\n{FHIR}"));
    let mut lines: Vec<_> = ["/fhir/Patient?endless", "/endless"]
        .into_iter()
        .map(|path| {
            let mut line = world.line();
            let id = begin(&mut line, path);
            (path, line, id)
        })
        .collect();
    let mut frames = Frames::open(&world.caller(), 16 << 20).unwrap();
    frames.ask(1, "GET", "/fhir/Patient?endless").unwrap();
    frames
        .find(|frame| frame.kind == Frame::DATA)
        .expect("the answer begins");
    disk.fill();
    let mut asking = world.line();
    wait::until("a log that takes nothing", || {
        asking
            .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
        (asking.answer().or_fail("get an answer").status == 503).then_some(())
    });
    let began = Instant::now();
    for (path, line, _) in &mut lines {
        assert_eq!(line.end(), End::Cut, "{path}: no goodbye");
        assert!(began.elapsed() < SOON, "{path}: not while its window lasts");
    }
    let (rest, _) = frames_until_reset(&mut frames);
    assert!(!rest.iter().any(Frame::ends_stream), "{rest:?}");
    disk.empty();
    wait::until("service again", || {
        (gateway.visit("/readyz")?.status == 200).then_some(())
    });
    let records = || Records::of(&disk.path("audit"));
    for (path, _, id) in &lines {
        wait::until("its end on record", || {
            let records = records();
            let story = records.story_of(id);
            (story.last()? == "completion audit_unavailable").then_some(())
        });
        assert_eq!(records().story_of(id)[0], "release", "{path}");
    }
    world.is_served();
    integration::records::verify(&disk.path("audit")).expect_code(0);
}

/// Frames up to the reset of a stream.
fn frames_until_reset(frames: &mut Frames) -> (Vec<Frame>, Option<End>) {
    let mut all = Vec::new();
    loop {
        match frames.receive() {
            Ok(frame) if frame.kind == Frame::RST_STREAM => return (all, None),
            Ok(frame) => all.push(frame),
            Err(end) => return (all, Some(end)),
        }
    }
}

#[test]
fn a_revoked_device_is_cut_in_the_middle_of_a_window() {
    let world = World::new();
    let _origin = streaming(&world);
    let gateway = world.gateway(FHIR);
    let mut line = world.line();
    let id = begin(&mut line, "/fhir/Patient?endless");
    world.authority.revoke(DEVICE);
    assert!(gateway.reload());
    assert_eq!(line.end(), End::Cut, "no goodbye");
    gateway.await_record("its end", |record| {
        record.text("request_id") == id && record.in_short() == "completion certificate_revoked"
    });
    gateway.verify();
}

#[test]
fn what_comes_slowly_is_not_kept_from_the_client() {
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"17\"}\n";
    for (content_type, piece, word) in [
        (NDJSON, patient, "known"),
        ("text/event-stream", "data: 1\n\n", "media_type"),
    ] {
        let world = World::new();
        let origin = world.origin(move |conversation| {
            conversation.request()?;
            let size = piece.len();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{piece}\r\n"
            ))?;
            // The rest comes when the client has what came so far.
            conversation.hold();
            conversation.write("0\r\n\r\n")
        });
        let gateway = world.gateway(FHIR);
        let mut line = world.line();
        line.send("GET /fhir/Patient HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .unwrap();
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(&format!("{piece}\r\n")) {
            line.read_exact(&mut byte).expect("the first piece comes");
            text.push(char::from(byte[0]));
        }
        origin.go();
        let mut last = [0; 5];
        line.read_exact(&mut last).expect("the end comes");
        assert_eq!(last, *b"0\r\n\r\n");
        let id = &text.split_once("x-request-id: ").or_fail("find the id").1[..32];
        gateway.await_story(id, &["release", "completion complete"]);
        assert_eq!(last_word(&gateway.records(), id), word, "{content_type}");
    }
}

#[test]
fn an_answer_that_is_in_hand_has_one_record() {
    let world = World::new();
    let content = lines(200);
    let _origin = world.answering(move |seen| match seen.target.as_str() {
        "/fhir/Patient/1?none" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/fhir/Patient/1?same" => b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".to_vec(),
        "/fhir/Patient?trailers" => chunked(NDJSON, &content),
        _ if seen.method == "HEAD" => {
            b"HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: 99\r\n\r\n"
                .to_vec()
        }
        _ => with_length(NDJSON, &content),
    });
    let gateway = world.gateway(FHIR);
    for (request, status) in [
        ("GET /fhir/Patient/1?none", 204),
        ("GET /fhir/Patient/1?same", 304),
        ("GET /fhir/Patient?trailers", 200),
        ("GET /fhir/Observation?lines", 200),
        ("HEAD /fhir/Observation?lines", 200),
    ] {
        let mut line = world.line();
        line.send(format!("{request} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        let answer = if request.starts_with("HEAD") {
            line.answer_to_head().unwrap()
        } else {
            line.answer().unwrap()
        };
        assert_eq!((answer.status, answer.whole), (status, true), "{request}");
        gateway.await_story(answer.id(), &["release"]);
        let trailer = (request == "GET /fhir/Patient?trailers").then_some("yes");
        let checked = answer.trailers.iter().find(|(name, _)| name == "x-checked");
        assert_eq!(checked.map(|(_, value)| value.as_str()), trailer);
    }
}

#[test]
fn windows_of_a_client_that_takes_nothing_are_bounded_for_its_connection() {
    const CONNECTIONS: u32 = 10;
    const STREAMS: u32 = 50;
    let world = World::new();
    let _origin = large(&world);
    let more = format!("[upstreams.origin]\nconnections = 1000\n{FHIR}");
    let mut gateway = world.gateway(&more);
    world.is_served();
    let before = gateway.process().memory();
    let mut greedy = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut frames = Frames::open(&world.caller(), 0).unwrap();
        for stream in 0..STREAMS {
            frames
                .ask(2 * stream + 1, "GET", "/fhir/Observation?lines")
                .unwrap();
        }
        greedy.push(frames);
    }
    let all = (CONNECTIONS * STREAMS) as usize;
    wait::until("a release of each", || {
        (gateway.records().of_kind("release").len() > all).then_some(())
    });
    let held = gateway.process().memory().saturating_sub(before);
    // A mebibyte for each connection, and for each stream a piece, a scanner and what belongs to it.
    let most = u64::from(CONNECTIONS) * (1 << 20) + u64::from(CONNECTIONS * STREAMS) * 80 * 1024;
    assert!(held < most, "{held} bytes for windows that nobody takes");
    drop(greedy);
    world.is_served();
}

#[test]
fn a_window_is_over_after_a_minute() {
    if !wait::long() {
        return wait::cannot_run(
            "windows::a_window_is_over_after_a_minute",
            "takes a minute; --long runs it",
        );
    }
    let world = World::new();
    let _origin = streaming(&world);
    let gateway = world.gateway(FHIR);
    let mut line = world.line();
    let id = begin(&mut line, "/endless");
    // What comes meanwhile is taken, and far below a window in bytes.
    let passage = std::thread::scope(|scope| {
        scope.spawn(move || line.end());
        wait::within(3 * wait::PATIENCE, || {
            let records = gateway.records();
            passages(&records, &id).first().copied().cloned()
        })
    });
    let passage = passage.or_fail("see a passage");
    assert!(passage.number("offset") < Some(WINDOW), "{passage}");
}
