//! What a client has seen is in the log, whatever happens to the process: kill -9 under load, and the
//! order of system calls that makes it so.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::line::Line;
use integration::origin::ok;
use integration::program::{self, Program};
use integration::records::{self, Records};
use integration::streams::Streams;
use integration::wait::{self, OrFail, PATIENCE};
use integration::world::World;
use regex::Regex;

/// How often the gateway is killed.
fn kills() -> usize {
    if wait::long() { 20 } else { 5 }
}

#[test]
fn every_answer_that_a_client_saw_is_in_the_log_after_a_kill() {
    let world = World::new();
    let _origin = world.answering(|seen| ok(&seen.target));
    // Small segments, so that the log is between two of them now and then.
    let configuration = world
        .configuration()
        .with("[audit]\nsegment_size = \"2MiB\"");
    let seen: Mutex<HashSet<String>> = Mutex::default();
    for kill in 0..kills() {
        let gateway = Gateway::start(&world.place, &configuration);
        let before = seen.lock().unwrap().len();
        let ends = AtomicBool::new(false);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for client in 0..50 {
                let (world, seen, ends, count) = (&world, &seen, &ends, &count);
                scope.spawn(move || {
                    let saw = |id: String| {
                        seen.lock().unwrap().insert(id);
                        count.fetch_add(1, Ordering::SeqCst);
                    };
                    // Every tenth speaks HTTP/2.
                    if client % 10 == 0 {
                        stream_until_killed(world, client, ends, &saw);
                    } else {
                        ask_until_killed(world, client, ends, &saw);
                    }
                });
            }
            // Each time at another moment of the load, counted in answers and not in time.
            let enough = 300 + 397 * kill % 1500;
            let reached = wait::within(PATIENCE, || {
                (count.load(Ordering::SeqCst) >= enough).then_some(())
            });
            gateway.kill();
            ends.store(true, Ordering::SeqCst);
            assert!(reached.is_some(), "the load never got under way");
        });
        records::verify_killed(&world.place.path("audit")).expect_code(0);
        let seen = seen.lock().unwrap();
        assert!(seen.len() > before);
        let records = Records::of(&world.place.path("audit"));
        let recorded: HashSet<&str> = records
            .iter()
            .filter(|record| ["release", "refusal"].contains(&record.kind()))
            .map(|record| record.text("request_id"))
            .collect();
        let missing: Vec<_> = seen
            .iter()
            .filter(|id| !recorded.contains(id.as_str()))
            .collect();
        assert!(
            missing.is_empty(),
            "kill {kill}: {} of {} answers that left are not in the log: {missing:?}",
            missing.len(),
            seen.len()
        );
    }
    // It starts again, says what it found, and serves.
    let gateway = Gateway::start(&world.place, &configuration);
    world.is_served();
    gateway.verify();
    let records = gateway.stop().records();
    assert_eq!(
        records.of_kind("start").len(),
        kills() + 1,
        "each run is on record"
    );
    assert_eq!(
        records.of_kind("stop").len(),
        1,
        "and only one ended as it should"
    );
}

/// Asks on one connection after another until the gateway is gone, and notes the id of every answer
/// of which so much as the id arrived.
fn ask_until_killed(world: &World, client: usize, ends: &AtomicBool, saw: &dyn Fn(String)) {
    while !ends.load(Ordering::SeqCst) {
        let Ok(mut line) = world.caller().connect() else {
            continue;
        };
        for number in 0.. {
            let request = match (client + number) % 7 {
                0 => "POST /effect HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nok",
                1 => "GET /..%2Frefused HTTP/1.1\r\nHost: api.test\r\n\r\n",
                2 => "GET /last HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n",
                _ => "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n",
            };
            if line.send(request).is_err() {
                break;
            }
            let mut tee = Tee {
                line: &mut line,
                read: Vec::new(),
            };
            let answer = Answer::read(&mut tee, false);
            if let Some(id) = id_in(&tee.read) {
                saw(id);
            }
            if answer.is_err() || request.contains("/last") {
                break;
            }
        }
    }
}

fn stream_until_killed(world: &World, client: usize, ends: &AtomicBool, saw: &dyn Fn(String)) {
    while !ends.load(Ordering::SeqCst) {
        let Ok(mut streams) = Streams::open(&world.caller()) else {
            continue;
        };
        for number in 0.. {
            let path = if (client + number).is_multiple_of(5) {
                "/..%2Frefused"
            } else {
                "/x"
            };
            match streams.ask("GET", path) {
                Ok(answer) => saw(answer.id().to_owned()),
                Err(_) => break,
            }
        }
    }
}

/// Keeps what passes through it.
struct Tee<'a> {
    line: &'a mut Line,
    read: Vec<u8>,
}

impl Read for Tee<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.line.read(into)?;
        self.read.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

fn id_in(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("x-request-id: ")?;
    rest.get(..32).map(str::to_owned)
}

#[test]
fn a_client_that_is_cut_off_by_a_kill_sees_no_whole_answer() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        conversation.request()?;
        conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")?;
        conversation.hold();
        Ok(())
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let release = gateway.await_record("the release", |record| record.kind() == "release");
    gateway.kill();
    let answer = line.answer();
    assert!(
        answer.as_ref().map_or(true, |answer| !answer.whole),
        "{answer:?}"
    );
    drop(origin);
    let records = Records::of(&world.place.path("audit"));
    assert_eq!(records.story_of(release.text("request_id")), ["release"]);
    records::verify_killed(&world.place.path("audit")).expect_code(0);
}

#[test]
fn a_write_that_a_crash_tore_is_set_aside_and_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..10 {
        world.is_served();
    }
    gateway.kill();
    // What a torn write leaves: the beginning of a batch, and then not the rest of it.
    let wal = world.place.path("audit/wal");
    let segment = wal.join("0000000000000001.seg");
    let mut bytes = std::fs::read(&segment).or_fail("read the segment");
    let end = bytes
        .chunks(4096)
        .rposition(|block| block.starts_with(b"pbat"))
        .or_fail("find a batch");
    let last = bytes[end * 4096..(end + 1) * 4096].to_vec();
    let next = (end + 1) * 4096;
    bytes[next..next + 200].copy_from_slice(&last[..200]);
    std::fs::write(&segment, &bytes).or_fail("tear the segment");
    let gateway = world.gateway("");
    world.is_served();
    let recovered = gateway.await_record("what was found", |record| record.kind() == "recovered");
    assert_eq!(recovered.number("segment"), Some(1), "{recovered}");
    gateway.verify();
}

#[test]
fn a_record_is_on_disk_before_the_first_byte_of_its_answer_is_sent() {
    let world = World::new();
    let _origin = world.answering(|seen| match seen.target.as_bytes().last() {
        Some(b'9') => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"
                .to_vec()
        }
        _ => ok("canary"),
    });
    let Some(gateway) = Traced::start(&world, "crash::a_record_is_on_disk") else {
        return;
    };
    let mut line = world.line();
    let mut asked = Vec::new();
    for number in 10..30 {
        let method = if number % 3 == 0 { "POST" } else { "GET" };
        let path = format!("/canary-{number}");
        line.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n"
        ))
        .unwrap();
        let answer = line.answer().or_fail("get an answer");
        assert_eq!(answer.text(), "canary");
        asked.push((method, path, answer.id().to_owned()));
    }
    let trace = gateway.end();
    let client = trace.client();
    for (method, path, id) in asked {
        let forwarded = trace
            .sent(None, &format!("{method} {path} "), 0)
            .or_fail("find the request to the upstream");
        let answered = trace
            .sent(Some(client), "", forwarded)
            .or_fail("find the answer");
        // Behind them may stand a completion, for which nobody waits.
        let durable = trace.durable(&id);
        let release = match (method, durable.as_slice()) {
            ("POST", [intent, release, ..]) => {
                assert!(
                    *intent < forwarded,
                    "{path}: forwarded at line {forwarded}, its intent durable at line {intent}"
                );
                *release
            }
            ("GET", [release, ..]) => *release,
            _ => {
                panic!("{path}: an intent and a release stand in writes of their own: {durable:?}")
            }
        };
        assert!(
            release < answered,
            "{path}: sent at line {answered}, durable at line {release} of the trace"
        );
    }
}

#[test]
fn the_refusal_of_a_known_client_is_on_disk_before_it_is_sent() {
    let world = World::new();
    let _origin = world.answering(|_| ok("canary"));
    let Some(gateway) = Traced::start(&world, "crash::the_refusal_of_a_known_client") else {
        return;
    };
    let mut line = world.line();
    line.send("GET /canary HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().or_fail("get an answer").text(), "canary");
    line.send("GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .unwrap();
    let refused = line.answer().or_fail("get an answer");
    assert_eq!(refused.status, 421, "{refused:?}");
    let trace = gateway.end();
    let client = trace.client();
    let forwarded = trace
        .sent(None, "GET /canary ", 0)
        .or_fail("find the request to the upstream");
    let answered = trace
        .sent(Some(client), "", forwarded)
        .or_fail("find the first answer");
    let sent = trace
        .sent(Some(client), "", answered)
        .or_fail("find the refusal");
    let durable = trace.durable(refused.id());
    assert!(
        durable.first().is_some_and(|durable| *durable < sent),
        "sent at line {sent}, durable at lines {durable:?} of the trace"
    );
}

#[test]
fn a_passage_is_on_disk_before_the_first_byte_of_its_window_is_sent() {
    const WINDOW: u64 = 1024 * 1024;
    let world = World::new();
    let content = "x".repeat(3_500_000);
    let _origin = world.answering(move |_| ok(&content));
    let Some(gateway) = Traced::start(&world, "crash::a_passage_is_on_disk") else {
        return;
    };
    let mut line = world.line();
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let answer = line.answer().or_fail("get an answer");
    assert_eq!(answer.body.len(), 3_500_000);
    let trace = gateway.end();
    let durable = trace.durable(answer.id());
    assert!(
        durable.len() >= 4,
        "a release and three passages: {durable:?}"
    );
    let (client, mut sent) = (trace.client(), 0);
    for call in trace.sends().filter(|call| file(&call.text) == client) {
        sent += u64::try_from(call.result).unwrap_or(0);
        let records = durable.iter().filter(|line| **line < call.began).count() as u64;
        // What TLS adds is less than a hundredth, and the handshake comes first.
        assert!(
            sent <= records * WINDOW * 101 / 100 + 8192,
            "{sent} bytes were sent at line {} of the trace, with {records} records durable",
            call.began
        );
    }
    assert!(sent > 3_500_000);
}

/// A gateway whose system calls are noted.
struct Traced {
    gateway: Gateway,
    trace: PathBuf,
}

impl Traced {
    /// `None`, and a word, when this user may not trace a process.
    fn start(world: &World, test: &str) -> Option<Traced> {
        let may_trace = program::is_installed("strace")
            && Program::of_the_machine("strace")
                .args(["-o", "/dev/null", "true"])
                .run()
                .code()
                == 0;
        if !may_trace {
            wait::cannot_run(test, "this user may not trace a process");
            return None;
        }
        // In the clear, so that a record is found in what was written.
        let configuration = world
            .configuration()
            .without("audit.readers")
            .with("[audit]\nsegment_size = \"1MiB\"");
        let file = world.place.write("gateway.toml", configuration.text());
        let trace = world.place.path("trace.txt");
        let traced = Program::of_the_machine("strace")
            // The tracer stands aside, so that the process is the gateway's.
            .args(["-D", "-f", "-y", "-xx", "-s", "70000", "-o"])
            .arg(&trace)
            .args(["-e", "trace=openat,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,recvfrom,fdatasync,fsync"])
            // A disk that takes longer than a window takes to be sent: whoever does not wait for it is
            // seen to go ahead. Segments are small, since their zeros are written first.
            .args(["-e", "inject=pwrite64:delay_exit=60000"])
            .arg(program::binary("gateway"))
            .args(["run", "--config"])
            .arg(&file);
        let gateway = Gateway::from_program(&world.place, traced);
        Some(Traced { gateway, trace })
    }

    /// Ends it, and reads what it did.
    fn end(self) -> Trace {
        let stopped = self.gateway.stop();
        assert!(stopped.status.success());
        let trace = wait::until("the end of the trace", || {
            let text = std::fs::read_to_string(&self.trace).ok()?;
            let whole = text
                .trim_end()
                .rsplit('\n')
                .next()?
                .contains("+++ exited with 0 +++");
            whole.then_some(text)
        });
        Trace::parse(&trace)
    }
}

/// System calls in the order in which they began and ended.
struct Trace {
    calls: Vec<Call>,
}

/// One call. `began` and `ended` are lines of the trace.
struct Call {
    began: usize,
    ended: usize,
    name: String,
    /// Its arguments, strings in hexadecimal.
    text: String,
    result: i64,
}

impl Trace {
    fn parse(text: &str) -> Trace {
        let whole = Regex::new(r"^([0-9]+) +([a-z0-9]+)\((.*)\) += (-?[0-9]+)").unwrap();
        let begun = Regex::new(r"^([0-9]+) +([a-z0-9]+)\((.*) <unfinished \.\.\.>$").unwrap();
        let resumed =
            Regex::new(r"^([0-9]+) +<\.\.\. ([a-z0-9]+) resumed>(.*)\) += (-?[0-9]+)").unwrap();
        let mut calls = Vec::new();
        let mut open: Vec<(String, Call)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = whole.captures(line) {
                calls.push(Call {
                    began: number,
                    ended: number,
                    name: found[2].to_owned(),
                    text: found[3].to_owned(),
                    result: found[4].parse().unwrap_or(-1),
                });
            } else if let Some(found) = begun.captures(line) {
                let call = Call {
                    began: number,
                    ended: usize::MAX,
                    name: found[2].to_owned(),
                    text: found[3].to_owned(),
                    result: -1,
                };
                open.push((found[1].to_owned(), call));
            } else if let Some(found) = resumed.captures(line) {
                let at = open
                    .iter()
                    .position(|(thread, call)| *thread == found[1] && call.name == found[2]);
                if let Some(at) = at {
                    let (_, mut call) = open.swap_remove(at);
                    call.ended = number;
                    call.text.push_str(&found[3]);
                    call.result = found[4].parse().unwrap_or(-1);
                    calls.push(call);
                }
            }
        }
        calls.sort_by_key(|call| call.began);
        Trace { calls }
    }

    /// The socket that brought a ClientHello.
    fn client(&self) -> &str {
        let hello = self
            .calls
            .iter()
            .find(|call| call.name == "recvfrom" && call.text.contains("\"\\x16\\x03\\x01"));
        file(&hello.or_fail("find the ClientHello").text)
    }

    /// The line at which the first send began that holds this text, on this socket, after a line.
    fn sent(&self, socket: Option<&str>, text: &str, after: usize) -> Option<usize> {
        let text = hex(text.as_bytes());
        let mut sends = self.sends().filter(|call| {
            call.began > after && socket.is_none_or(|socket| file(&call.text) == socket)
        });
        sends
            .find(|call| call.text.contains(&text))
            .map(|call| call.began)
    }

    /// The calls that send.
    fn sends(&self) -> impl Iterator<Item = &Call> {
        self.calls
            .iter()
            .filter(|call| ["write", "writev", "sendto", "sendmsg"].contains(&call.name.as_str()))
    }

    /// The lines at which writes to the log that hold this id were durable: their own ends where the
    /// file was opened with O_DSYNC or O_SYNC, else the end of the sync after them.
    fn durable(&self, id: &str) -> Vec<usize> {
        let id = id
            .as_bytes()
            .chunks(2)
            .map(|pair| ["\\x", &String::from_utf8_lossy(pair)].concat())
            .collect::<String>();
        let writes = self
            .calls
            .iter()
            .filter(|call| call.name.starts_with("pwrite") && call.text.contains(&id));
        writes
            .map(|call| {
                assert!(call.result >= 4096, "the write failed: {}", call.result);
                let segment = file(&call.text);
                // By its descriptor: a segment is opened as a spare, and renamed.
                let descriptor = call.text.split('<').next().and_then(|n| n.parse().ok());
                let opened = self.calls.iter().rfind(|open| {
                    open.name == "openat"
                        && open.ended < call.began
                        && Some(open.result) == descriptor
                });
                let synced = opened.is_some_and(|open| {
                    open.text.contains("O_DSYNC") || open.text.contains("O_SYNC")
                });
                if synced {
                    return call.ended;
                }
                let sync = self.calls.iter().find(|sync| {
                    ["fsync", "fdatasync"].contains(&sync.name.as_str())
                        && file(&sync.text) == segment
                        && sync.began > call.ended
                        && sync.result == 0
                });
                sync.or_fail("find the sync of a write").ended
            })
            .collect()
    }
}

/// The file or socket of a call's first argument, `12</path>`.
fn file(text: &str) -> &str {
    let name = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    name.map_or("", |(name, _)| name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\x{byte:02x}");
        text
    })
}

#[test]
fn a_gateway_that_is_killed_while_it_starts_leaves_a_log_that_opens() {
    let world = World::new();
    let _origin = world.plain_origin();
    let file = world
        .place
        .write("gateway.toml", world.configuration().text());
    let rounds = if wait::long() { 40 } else { 10 };
    for round in 0..rounds {
        let mut process = Program::ours("gateway")
            .args(["run", "--config"])
            .arg(&file)
            .start(&world.place, "gateway");
        // Between nothing and serving, at steps of half a millisecond.
        wait::pause(std::time::Duration::from_micros(
            500 * (round * 20 / rounds),
        ));
        process.signal(rustix::process::Signal::KILL);
        process.end();
    }
    let gateway = world.gateway("");
    world.is_served();
    gateway.verify();
}
