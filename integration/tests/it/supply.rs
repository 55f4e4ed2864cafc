//! What the gateway draws on is not spent by whoever asks: connections to an upstream, descriptors, the
//! resolver; and what one configuration permitted reaches no server of another.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use integration::configuration::Configuration;
use integration::gateway::Gateway;
use integration::line::Line;
use integration::origin::{self, Origin, ok};
use integration::place::Place;
use integration::program::{Program, Ran, binary};
use integration::wait::{self, OrFail};
use integration::world::World;

/// How many idle connections to the upstream there are when the attack begins.
const KEPT: usize = 8;

#[test]
fn a_malformed_upload_costs_no_connection_of_the_upstream() {
    let world = World::new();
    // Each answers once all have asked, so that each has a connection of its own.
    let together = Barrier::new(KEPT);
    let origin = world.answering(move |seen| {
        if seen.target == "/together" {
            together.wait();
        }
        ok("ok")
    });
    let gateway =
        world.gateway("[workers]\ncount = 1\n[upstreams.origin]\nidle = \"5m\"\nconnections = 32");
    let mut lines: Vec<Line> = (0..KEPT).map(|_| world.line()).collect();
    let mut ask_together = || {
        for line in &mut lines {
            line.send("GET /together HTTP/1.1\r\nHost: api.test\r\n\r\n")
                .or_fail("send");
        }
        for line in &mut lines {
            assert_eq!(line.answer().or_fail("get an answer").status, 200);
        }
    };
    ask_together();
    assert_eq!(origin.connections(), KEPT);
    for _ in 0..3 {
        let answer = world
            .caller()
            .ask("POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n");
        let answer = answer.unwrap();
        gateway.refused(&answer, 400, "body_malformed");
        let story = ["intent", "refusal body_malformed"];
        gateway.await_story(answer.id(), &story);
        let records = gateway.records();
        let refusal = records.of_request(answer.id())[1];
        assert_eq!(refusal.number("attempts"), Some(0), "{refusal}");
    }
    ask_together();
    // One more may have taken the place of the one that was lent to the upload.
    let most = KEPT + 3;
    assert!(
        origin.connections() <= most,
        "{} connections, where {KEPT} were kept",
        origin.connections()
    );
    assert!(origin.seen().iter().all(|seen| seen.method == "GET"));
    gateway.verify();
}

/// Where the upstream of the other configuration listens.
const OTHER: u16 = 20_081;

#[test]
fn a_request_that_one_configuration_permits_never_reaches_the_server_of_another() {
    let world = World::new();
    let old = world.plain_origin();
    let new = Origin::plain(world.place.at(OTHER));
    let of = |path: &str, port: u16| {
        world.configuration().with(&format!(
            "[upstreams.origin]\nservers = [\"http://{}\"]\n[[routes]]\nname = \"all\"\npath = \"{path}\"",
            world.place.at(port)
        ))
    };
    let (before, after) = (of("/old", origin::PORT), of("/new", OTHER));
    let gateway = Gateway::start(&world.place, &before);
    let done = AtomicBool::new(false);
    let reloads = if wait::long() { 300 } else { 30 };
    let served = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ask_both(&world, &done)))
            .collect();
        for number in 0..reloads {
            let next = if number % 2 == 0 { &after } else { &before };
            assert!(gateway.reload_with(next));
        }
        done.store(true, Ordering::SeqCst);
        let served = clients.into_iter().map(|client| client.join().unwrap());
        served.sum::<usize>()
    });
    let (at_old, at_new) = (old.seen(), new.seen());
    assert_eq!(at_old.len() + at_new.len(), served);
    assert!(
        !at_old.is_empty() && !at_new.is_empty(),
        "both were in force"
    );
    assert!(at_old.iter().all(|seen| seen.target == "/old"));
    assert!(at_new.iter().all(|seen| seen.target == "/new"));
}

/// Asks for what either configuration permits until it is `done`; brings how often it was served.
fn ask_both(world: &World, done: &AtomicBool) -> usize {
    let (mut line, mut served) = (world.line(), 0);
    while !done.load(Ordering::SeqCst) {
        for path in ["/old", "/new"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n");
            line.send(request).or_fail("send");
            match line.answer().or_fail("get an answer").status {
                200 => served += 1,
                status => assert_eq!(status, 404),
            }
        }
    }
    served
}

/// `gateway run` with no more descriptors than these, and no way to have more.
fn with_descriptors(place: &Place, configuration: &Configuration, most: usize) -> Program {
    let file = place.write("gateway.toml", configuration.text());
    Program::of_the_machine("prlimit")
        .arg(format!("--nofile={most}:{most}"))
        .arg("--")
        .arg(binary("gateway"))
        .args(["run", "--config"])
        .arg(file)
}

#[test]
fn with_few_descriptors_connections_are_shed_and_a_device_is_served() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration().with(
        "[upstreams.origin]\nconnections = 16\n\
         [listeners.devices.limits]\nhandshake = \"5m\"\nconnections_per_address = 1000",
    );
    let program = with_descriptors(&world.place, &configuration, 256);
    let mut gateway = Gateway::from_program(&world.place, program);
    let log = gateway.process().stderr();
    assert!(log.contains("file descriptors leaves"), "{log}");
    let mut device = world.line();
    let mut ask = || {
        device
            .send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
        assert_eq!(device.answer().or_fail("get an answer").status, 200);
    };
    ask();
    // More than there are descriptors, none of which ever says a word.
    let silent: Vec<Line> = (0..300)
        .map(|_| Line::plain(gateway.listen()).or_fail("connect"))
        .collect();
    gateway.await_short("handshake_refused connection_limit");
    // Long enough for the log to want new segments, which are files.
    for _ in 0..600 {
        ask();
    }
    assert!(gateway.process().descriptors() < 256);
    assert_eq!(
        gateway.visit("/readyz").map(|answer| answer.status),
        Some(200)
    );
    drop(silent);
    wait::until("room again", || world.caller().ask("GET /x").ok());
    ask();
    let log = gateway.process().stderr();
    assert!(!log.contains("Too many open files"), "{log}");
    gateway.verify();
}

#[test]
fn with_too_few_descriptors_the_gateway_does_not_start() {
    let world = World::new();
    let ran: Ran = with_descriptors(&world.place, &world.configuration(), 128)
        .run()
        .expect_code(1);
    assert!(
        ran.stderr.contains("error: ") && ran.stderr.contains("file descriptors"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("hint: ") && ran.stderr.contains("ulimit -n"),
        "{ran:?}"
    );
    assert!(
        std::net::TcpStream::connect(world.place.at(20_443)).is_err(),
        "nothing listens"
    );
}

/// A name server that takes every question and answers none until it is told to; then it says that
/// each name is an address of this machine.
#[derive(Debug)]
struct NameServer {
    answers: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    serving: Option<std::thread::JoinHandle<()>>,
}

impl NameServer {
    /// `None` when this user may not have the port.
    fn start(place: &Place) -> Option<NameServer> {
        let address = place.at(53);
        let socket = UdpSocket::bind(address).ok()?;
        let patience = Some(Duration::from_millis(50));
        socket.set_read_timeout(patience).or_fail("set a timeout");
        let (answers, ends) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let asked = Arc::<AtomicUsize>::default();
        let serving = {
            let (answers, ends) = (Arc::clone(&answers), Arc::clone(&ends));
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || {
                let mut bytes = [0; 512];
                while !ends.load(Ordering::SeqCst) {
                    let Ok((length, from)) = socket.recv_from(&mut bytes) else {
                        continue;
                    };
                    asked.fetch_add(1, Ordering::SeqCst);
                    if answers.load(Ordering::SeqCst) {
                        let std::net::IpAddr::V4(here) = address.ip() else {
                            return;
                        };
                        let answer = answer(&bytes[..length], here.octets());
                        // Whoever asks again is answered again.
                        let _ = socket.send_to(&answer, from);
                    }
                }
            })
        };
        Some(NameServer {
            answers,
            asked,
            ends,
            serving: Some(serving),
        })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// The answer to a question (RFC 1035 4.1): this address for A, nothing for any other type.
fn answer(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let name = question[12..].iter().position(|byte| *byte == 0);
    let end = 12 + name.unwrap_or_default() + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let mut answer = question[..end].to_vec();
    // A response without recursion, of one question and at most one record.
    answer[2..12].copy_from_slice(&[0x80, 0, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    answer
}

/// How many requests wait for a name at once.
const WAITING: usize = 40;

#[test]
fn lookups_that_hang_keep_nobody_else_waiting_and_do_not_pile_up() {
    let world = World::new();
    let test = "supply::lookups_that_hang";
    let names = NameServer::start(&world.place);
    let Some(names) = names.filter(|_| rustix::process::geteuid().is_root()) else {
        return wait::cannot_run(test, "a name server of its own takes root");
    };
    let (_origin, port) = (world.plain_origin(), origin::PORT);
    let configuration = world.configuration().with(&format!(
        r#"
[workers]
count = 1
[upstreams.named]
servers = ["http://fhir.example:{port}"]
connect = "1s"
rationale = "the upstream of a test knows nobody"
[[routes]]
name = "named"
listeners = ["devices"]
hosts = ["api.test"]
path = "/named"
methods = ["GET"]
allow = ["pump"]
upstream = "named"
"#
    ));
    let resolver = format!("nameserver {}\n", world.place.at(53).ip());
    let resolver = world.place.write("resolv.conf", resolver);
    let file = world.place.write("gateway.toml", configuration.text());
    // In a mount namespace of its own the gateway finds another resolv.conf.
    let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" run --config \"$3\"";
    let program = Program::of_the_machine("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(resolver)
        .arg(binary("gateway"))
        .arg(file);
    let gateway = Gateway::from_program(&world.place, program);
    let mut lines: Vec<Line> = (0..WAITING).map(|_| world.line()).collect();
    for line in &mut lines {
        line.send("GET /named/x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            .or_fail("send");
    }
    let began = Instant::now();
    // Whoever needs no name is served meanwhile.
    for _ in 0..5 {
        world.is_served();
    }
    for line in &mut lines {
        let answer = line.answer().or_fail("get an answer");
        gateway.refused(&answer, 504, "upstream_connect_timeout");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "one by one");
    names.answers.store(true, Ordering::SeqCst);
    wait::until("the name", || {
        let answer = world.caller().ask("GET /named/x").ok()?;
        (answer.status == 200).then_some(())
    });
    // Nobody asks for those who no longer wait. Each lookup is two questions, and those that were not
    // answered were asked again (resolv.conf(5)).
    let asked = names.asked.load(Ordering::SeqCst);
    assert!(asked < WAITING, "{asked} questions for {WAITING} requests");
    gateway.verify();
}
