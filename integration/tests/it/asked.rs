//! The status of a client's certificate is asked for by OCSP before anything of it is served, and again and again;
//! whoever is not vouched for in time is refused, and one question is enough for however many connections.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use integration::authority::Credentials;
use integration::configuration::Configuration;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::line::{Caller, End};
use integration::origin::Origin;
use integration::program::{Process, Program};
use integration::streams::Streams;
use integration::wait::{self, OrFail};
use integration::world::{DEVICE, World};
use ocsp::{CertId, ErrorStatus, Request, Status};

use crate::revoked::{await_words, until_revoked};
use crate::stapled::responder::{Responder, over_http, revoked};

/// The port of a place's responder.
const RESPONDER: u16 = 20_088;

const ASK: &str = "GET /x HTTP/1.1\r\nhost: api.test\r\n\r\n";

/// Whoever does not know better is asked about devices of this directory, and no list counts.
fn asking(world: &World, directory: &str, issuing: &str, more: &str) -> Configuration {
    let url = format!("http://{}/ocsp", world.place.at(RESPONDER));
    let text = format!(
        "[trust.devices]\nroots = [\"{directory}\"]\nintermediates = [{issuing}]\nrevocation = {{ ocsp = \"{url}\"{more} }}"
    );
    let configuration = world.configuration().with(&text);
    configuration.without("trust.devices.revocation.crls")
}

fn questions(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!(
        "phigate_ocsp_questions_total{{trust=\"devices\",outcome=\"{outcome}\"}}"
    ))
}

#[track_caller]
fn is_served(caller: &Caller) {
    let answer = caller.ask("GET /x").or_fail("be served");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A client that gets nothing, and this is on record of it.
#[track_caller]
fn is_refused(gateway: &Gateway, caller: &Caller, code: &str) {
    wait::until("a refusal", || caller.ask("GET /x").err());
    gateway.await_short(&format!("handshake_refused {code}"));
}

/// An authority of `pki` whose responder serves, and a device of its.
struct Fleet<'a> {
    world: &'a World,
    device: Credentials,
}

impl Fleet<'_> {
    #[track_caller]
    fn new(world: &World) -> Fleet<'_> {
        let url = format!("http://{}", world.place.at(RESPONDER));
        let fleet = Fleet {
            world,
            device: Credentials::in_directory(&world.place.path("fleet-device")),
        };
        fleet.pki(&["init", "--name", "fleet", "--url", &url]);
        let issue = "issue --new-key --profile device --out fleet-device --id";
        let words: Vec<_> = issue.split(' ').chain([DEVICE]).collect();
        fleet.pki(&words);
        fleet
    }

    #[track_caller]
    fn pki(&self, arguments: &[&str]) {
        Program::ours("pki")
            .directory(self.world.place.path("."))
            .args(arguments)
            .args(["--dir", "fleet"])
            .run()
            .expect_code(0);
    }

    #[track_caller]
    fn serve(&self) -> Process {
        let responder = self.world.place.at(RESPONDER);
        let serving = Program::ours("pki")
            .directory(self.world.place.path("."))
            .args(["serve", "--dir", "fleet", "--listen"])
            .arg(responder.to_string())
            .start(&self.world.place, "pki");
        wait::until("a responder", || TcpStream::connect(responder).ok());
        serving
    }

    fn gateway(&self, max_age: &str) -> Gateway {
        let more = format!(", ocsp_max_age = \"{max_age}\"");
        let issuing = "\"fleet/crl/issuing.pem\"";
        let configuration = asking(self.world, "fleet/trust.pem", issuing, &more);
        Gateway::start(&self.world.place, &configuration)
    }

    fn caller(&self) -> Caller {
        self.world.nobody().with(&self.device)
    }
}

#[test]
fn a_device_that_pki_serve_vouches_for_is_served_until_it_is_revoked_on_connections_that_live_too()
{
    let world = World::new();
    let origin = world.plain_origin();
    let fleet = Fleet::new(&world);
    let _serving = fleet.serve();
    let gateway = fleet.gateway("2s");
    let caller = fleet.caller();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let versions: &'static [_] = Box::leak(Box::new([version]));
        is_served(&caller.clone().offering(versions));
    }
    let mut line = caller.connect().or_fail("connect");
    line.send(ASK).or_fail("ask");
    assert_eq!(line.answer().or_fail("be answered").status, 200);
    let mut streams = Streams::open(&caller).or_fail("connect");
    assert_eq!(streams.ask("GET", "/x").or_fail("be answered").status, 200);
    // While it is vouched for, that an answer grows old is noticed by nobody.
    let before = questions(&gateway, "good");
    wait::until("two more questions", || {
        line.send(ASK).or_fail("ask");
        assert_eq!(line.answer().or_fail("be answered").status, 200);
        (questions(&gateway, "good") >= before + 2.0).then_some(())
    });
    assert_eq!(streams.ask("GET", "/x").or_fail("be answered").status, 200);
    fleet.pki(&["revoke", "--id", DEVICE, "--reason", "keyCompromise"]);
    // A request on a connection that lives asks again when the answer is as old as is stated. Another one may
    // have asked before, and then the connection is cut, as by a list.
    let ended = wait::until("a refusal", || {
        let answer = line.send(ASK).and_then(|()| line.answer());
        (!answer.as_ref().is_ok_and(|answer| answer.status == 200)).then_some(answer)
    });
    if let Ok(refused) = ended {
        gateway.refused(&refused, 403, "certificate_revoked");
    }
    assert_ne!(line.rest().1, End::Open, "the connection has ended");
    // The other one ends by itself.
    let seen = origin.seen().len();
    streams.end();
    until_revoked(&caller);
    gateway.await_short("handshake_refused certificate_revoked");
    assert_eq!(origin.seen().len(), seen, "nothing of it was forwarded");
    assert!(questions(&gateway, "good") >= 1.0);
    assert!(questions(&gateway, "revoked") >= 1.0);
}

#[test]
fn a_device_that_was_revoked_before_it_ever_came_gets_nothing() {
    let world = World::new();
    let origin = world.plain_origin();
    let fleet = Fleet::new(&world);
    let _serving = fleet.serve();
    fleet.pki(&["revoke", "--id", DEVICE, "--reason", "keyCompromise"]);
    let gateway = fleet.gateway("1h");
    is_refused(&gateway, &fleet.caller(), "certificate_revoked");
    until_revoked(&fleet.caller());
    assert_eq!(origin.seen().len(), 0);
    assert_eq!(questions(&gateway, "revoked"), 1.0);
}

#[test]
fn without_a_responder_nobody_is_served_for_longer_than_an_answer_counts() {
    let world = World::new();
    let _origin = world.plain_origin();
    let fleet = Fleet::new(&world);
    let serving = fleet.serve();
    let mut gateway = fleet.gateway("3s");
    let caller = fleet.caller();
    is_served(&caller);
    let mut line = caller.connect().or_fail("connect");
    line.send(ASK).or_fail("ask");
    assert_eq!(line.answer().or_fail("be answered").status, 200);
    drop(serving);
    let refused = wait::until("a refusal", || {
        line.send(ASK).ok()?;
        let answer = line.answer().ok()?;
        (answer.status != 200).then_some(answer)
    });
    gateway.refused(&refused, 403, "status_unavailable");
    is_refused(&gateway, &caller, "status_unavailable");
    await_words(&mut gateway, "was not had: no connection");
    assert!(
        !gateway.process().stderr().contains("pump-1"),
        "nobody is named"
    );
    let _serving = fleet.serve();
    wait::until("to be served again", || {
        (caller.ask("GET /x").ok()?.status == 200).then_some(())
    });
    await_words(&mut gateway, "vouches for clients again");
}

/// What a responder answers to a question about this certificate; nothing ever where there is nothing.
type Say = Box<dyn Fn(CertId) -> Option<Vec<u8>> + Send>;

/// The same, as it may change.
type Answers = Arc<Mutex<Say>>;

/// An authority of the lab, a device of its, and a responder that does as the test says.
struct Staged {
    signer: Arc<Responder>,
    lab: Lab,
    device: Credentials,
    answers: Answers,
    origin: Origin,
}

impl Staged {
    #[track_caller]
    fn new(world: &World) -> Staged {
        Staged::at(world, "lab", RESPONDER)
    }

    #[track_caller]
    fn at(world: &World, name: &str, responder: u16) -> Staged {
        let lab = Lab::new(&world.place, name);
        let device = lab.issue("device", &Leaf::GOOD);
        let signer = Arc::new(Responder::of(&lab));
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_| None)));
        let told = Arc::clone(&answers);
        let origin = Origin::start(world.place.at(responder), move |conversation| {
            while conversation.request()? {
                conversation.body()?;
                let question = Request::parse(&conversation.current().body);
                let Ok(question) = question else {
                    return Err(std::io::ErrorKind::InvalidData.into());
                };
                let id = question.certificates()[0].clone();
                let answer = told.lock().unwrap_or_else(PoisonError::into_inner)(id);
                match answer {
                    Some(answer) => conversation.write(&answer)?,
                    None => {
                        conversation.await_close();
                    }
                }
            }
            Ok(())
        });
        let staged = Staged {
            signer,
            lab,
            device,
            answers,
            origin,
        };
        staged.says(Status::Good, 0, 3600);
        staged
    }

    fn answers(&self, answer: impl Fn(CertId) -> Option<Vec<u8>> + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }

    fn says(&self, status: Status, ago: i64, lasts: i64) {
        let signer = Arc::clone(&self.signer);
        self.answers(move |id| Some(over_http(&signer.says(&id, status, ago, lasts))));
    }

    fn asked(&self) -> usize {
        self.origin.seen().len()
    }
}

#[test]
fn a_thousand_handshakes_with_one_certificate_are_one_question() {
    let world = World::new();
    let _origin = world.plain_origin();
    let staged = Staged::new(&world);
    let gateway = Gateway::start(&world.place, &asking(&world, "lab/root.pem", "", ""));
    let caller = world.nobody().with(&staged.device);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..125).for_each(|_| is_served(&caller)));
        }
    });
    assert_eq!(staged.asked(), 1);
    assert_eq!(questions(&gateway, "good"), 1.0);
    // Nor does a reload that changes nothing of it ask again.
    assert!(gateway.reload());
    is_served(&caller);
    assert_eq!(staged.asked(), 1);
    let seen = staged.origin.seen().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/ocsp")
    );
    assert_eq!(
        seen.header("content-type"),
        Some("application/ocsp-request")
    );
}

#[test]
fn whatever_else_a_responder_says_lets_nobody_in() {
    let world = World::new();
    let origin = world.plain_origin();
    let staged = Staged::new(&world);
    let configuration = asking(&world, "lab/root.pem", "", ", ocsp_max_age = \"1s\"");
    let mut gateway = Gateway::start(&world.place, &configuration);
    let caller = world.nobody().with(&staged.device);
    is_served(&caller);
    let stranger = Arc::new(Responder::of(&Lab::new(&world.place, "stranger")));
    let other = staged.lab.issue("other", &Leaf::GOOD);
    let other = staged.signer.named(&other.certificate);
    let signer = || Arc::clone(&staged.signer);
    let not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    let (forger, elsewhere, aged, early, ignorant) =
        (stranger, signer(), signer(), signer(), signer());
    let table: Vec<(Say, &str)> = vec![
        (
            Box::new(move |id| Some(over_http(&forger.says(&id, Status::Good, 0, 3600)))),
            "status_invalid",
        ),
        (
            Box::new(move |_| Some(over_http(&elsewhere.says(&other, Status::Good, 0, 3600)))),
            "status_invalid",
        ),
        (
            Box::new(move |id| Some(over_http(&aged.says(&id, Status::Good, 60, -1)))),
            "status_invalid",
        ),
        (
            Box::new(move |id| Some(over_http(&early.says(&id, Status::Good, -3600, 7200)))),
            "status_invalid",
        ),
        (
            Box::new(|_| Some(over_http(b"<html>log in first</html>"))),
            "status_invalid",
        ),
        (
            Box::new(move |id| Some(over_http(&ignorant.says(&id, Status::Unknown, 0, 3600)))),
            "status_unknown",
        ),
        (
            Box::new(|_| Some(over_http(&ErrorStatus::Unauthorized.encode()))),
            "status_unknown",
        ),
        (
            Box::new(|_| Some(over_http(&ErrorStatus::TryLater.encode()))),
            "status_unavailable",
        ),
        (
            Box::new(move |_| Some(not_found.clone())),
            "status_unavailable",
        ),
        (
            Box::new(|_| Some(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())),
            "status_unavailable",
        ),
    ];
    for (answer, code) in table {
        staged.answers(answer);
        wait::until("a refusal", || caller.ask("GET /x").err());
        let seen = origin.seen().len();
        is_refused(&gateway, &caller, code);
        assert_eq!(origin.seen().len(), seen, "{code}");
        staged.says(Status::Good, 0, 3600);
        wait::until("to be served again", || {
            (caller.ask("GET /x").ok()?.status == 200).then_some(())
        });
    }
    // It was revoked: an answer from before takes nothing back.
    staged.says(revoked(), 0, 3600);
    until_revoked(&caller);
    staged.says(Status::Good, 30, 3600);
    wait::until("an answer that is too old", || {
        assert!(caller.ask("GET /x").is_err());
        let log = gateway.process().stderr();
        log.contains("older than the one before").then_some(())
    });
    staged.says(Status::Good, 0, 3600);
    wait::until("to be served again", || {
        (caller.ask("GET /x").ok()?.status == 200).then_some(())
    });
}

#[test]
fn a_responder_that_hangs_keeps_nobody_waiting_for_longer_than_a_handshake_may_take() {
    let world = World::new();
    let _origin = world.plain_origin();
    let staged = Staged::new(&world);
    let gateway = Gateway::start(
        &world.place,
        &asking(&world, "lab/root.pem", "", "")
            .with("[listeners.devices.limits]\nhandshake = \"2s\""),
    );
    let known = world.nobody().with(&staged.device);
    is_served(&known);
    staged.answers(|_| None);
    let others: Vec<_> = (0..4)
        .map(|number| staged.lab.issue(&format!("device-{number}"), &Leaf::GOOD))
        .collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for other in &others {
            let caller = world.nobody().with(other);
            scope.spawn(move || caller.ask("GET /x").expect_err("nobody vouches for it"));
        }
        // Who is known is not held up.
        is_served(&known);
    });
    assert!(began.elapsed() < Duration::from_secs(30));
    gateway.await_short("handshake_refused status_unavailable");
    staged.says(Status::Good, 0, 3600);
    for other in &others {
        let caller = world.nobody().with(other);
        wait::until("to be served", || {
            (caller.ask("GET /x").ok()?.status == 200).then_some(())
        });
    }
    assert!(gateway.stop().status.success());
}

#[test]
fn a_responder_that_hangs_holds_up_nobody_of_another_trust_set() {
    let world = World::new();
    let _origin = world.plain_origin();
    let staged = Staged::new(&world);
    let partner = Staged::at(&world, "partner", RESPONDER + 1);
    let second = world.place.at(20_444);
    let url = format!("http://{}/ocsp", world.place.at(RESPONDER + 1));
    let partners = format!(
        r#"
[trust.partners]
roots = ["partner/root.pem"]
revocation = {{ ocsp = "{url}" }}
[listeners.partners]
listen = ["{second}"]
tls = "intermediate"
certificates = ["api"]
clients = {{ certificates = "required", trust = "partners" }}
limits = {{ handshake = "3s" }}
[roles.pump]
trust = "partners"
[[routes]]
name = "all"
listeners = ["devices", "partners"]
"#
    );
    let configuration = asking(&world, "lab/root.pem", "", "").with(&partners);
    let gateway = Gateway::start(&world.place, &configuration);
    staged.answers(|_| None);
    // More than are asked about at once.
    let others: Vec<_> = (0..40)
        .map(|number| staged.lab.issue(&format!("device-{number}"), &Leaf::GOOD))
        .collect();
    std::thread::scope(|scope| {
        for other in &others {
            let caller = world.nobody().with(other);
            scope.spawn(move || caller.ask("GET /x").expect_err("nobody vouches for it"));
        }
        wait::until("all that are asked at once", || {
            (staged.asked() >= 16).then_some(())
        });
        is_served(&Caller::new(second, &world.server.trust).with(&partner.device));
    });
    assert!(gateway.stop().status.success());
}

#[test]
fn a_list_beside_it_still_counts_for_whom_it_names() {
    let world = World::new();
    let _origin = world.plain_origin();
    let staged = Staged::new(&world);
    let url = format!("http://{}/ocsp", world.place.at(RESPONDER));
    let gateway = world.gateway(&format!(
        "[trust.devices]\nroots = [\"lab/root.pem\"]\nrevocation = {{ crls = [\"lab/lab.crl\"], ocsp = \"{url}\" }}"
    ));
    let caller = world.nobody().with(&staged.device);
    is_served(&caller);
    staged.lab.revoke(&staged.device.certificate);
    staged.lab.publish();
    // Whatever the responder says.
    until_revoked(&caller);
    gateway.await_short("handshake_refused certificate_revoked");
}

#[test]
fn an_authority_that_is_not_configured_answers_for_nobody() {
    let world = World::new();
    let _origin = world.plain_origin();
    let fleet = Fleet::new(&world);
    let _serving = fleet.serve();
    let configuration = asking(&world, "fleet/trust.pem", "", "");
    let gateway = Gateway::start(&world.place, &configuration);
    // The device sends the certificate of its issuer along.
    assert_eq!(fleet.caller().alert(), Some(48));
    gateway.await_short("handshake_refused revocation_unknown");
}
