//! What the authority says of the gateway's own certificate by OCSP is shown with it, once it is verified and until it
//! ends; nothing else ever is.

pub(crate) mod responder;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use integration::authority::Credentials;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::openssl::SClient;
use integration::origin::Origin;
use integration::program::Program;
use integration::wait::{self, OrFail};
use integration::world::World;
use ocsp::{CertId, Status};

use self::responder::{Responder, over_http, revoked, staple_for};
use crate::revoked::await_words;

/// The port of a place's responder.
const RESPONDER: u16 = 20_087;

/// The gateway's certificate, issued by a lab, with its issuer behind it.
struct Shown {
    lab: Lab,
    responder: Responder,
    id: CertId,
}

/// What such a certificate says.
const SERVER: Leaf<'static> = Leaf {
    names: "DNS:api.test,IP:127.0.0.1",
    usage: "serverAuth",
    ..Leaf::GOOD
};

impl Shown {
    #[track_caller]
    fn new(world: &World, leaf: &Leaf<'_>) -> Shown {
        let lab = Lab::new(&world.place, "lab");
        let server = lab.issue("server", leaf);
        let read = |path: &Path| fs::read_to_string(path).or_fail("read a certificate");
        let chain = read(&server.certificate) + &read(&lab.trust());
        world.place.write("lab/chain.pem", chain);
        let responder = Responder::of(&lab);
        Shown {
            id: responder.named(&server.certificate),
            lab,
            responder,
        }
    }

    fn configuration(ocsp: &str) -> String {
        format!(
            "[certificates.api]\nchain = \"lab/chain.pem\"\nkey = \"file:lab/server.key\"\nocsp = \"{ocsp}\""
        )
    }

    #[track_caller]
    fn says(&self, status: Status, ago: i64, lasts: i64) -> Vec<u8> {
        self.responder.says(&self.id, status, ago, lasts)
    }

    /// Another certificate of the same authority.
    #[track_caller]
    fn other(&self) -> CertId {
        let other = self.lab.issue("other", &SERVER);
        self.responder.named(&other.certificate)
    }
}

#[track_caller]
fn staple(world: &World) -> Option<Vec<u8>> {
    staple_for(&world.caller()).or_fail("be shown a certificate")
}

#[track_caller]
fn until_stapled(world: &World, answer: &[u8]) {
    wait::until("this very staple", || {
        (staple(world).as_deref() == Some(answer)).then_some(())
    });
}

#[track_caller]
fn until_bare(world: &World) {
    wait::until("no staple", || staple(world).is_none().then_some(()));
}

/// Puts a file in its place whole.
#[track_caller]
fn put(world: &World, answer: &[u8]) {
    let fresh = world.place.write("fresh.der", answer);
    fs::rename(fresh, world.place.path("api.ocsp.der")).or_fail("put the answer in place");
}

fn fetches(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!(
        "phigate_staple_fetches_total{{certificate=\"api\",outcome=\"{outcome}\"}}"
    ))
}

/// An authority of `pki` whose responder serves, and a certificate of its for the gateway.
fn fleet(world: &World) -> (integration::program::Process, Credentials) {
    let responder = world.place.at(RESPONDER);
    let pki = |arguments: &[&str]| {
        Program::ours("pki")
            .directory(world.place.path("."))
            .args(arguments)
            .args(["--dir", "fleet"])
            .run()
            .expect_code(0);
    };
    let url = format!("http://{responder}");
    pki(&["init", "--name", "fleet", "--url", &url]);
    let words = "issue --new-key --profile server --dns api.test --ip 127.0.0.1 --out shown";
    pki(&words.split(' ').collect::<Vec<_>>());
    let serving = serve(world);
    (
        serving,
        Credentials::in_directory(&world.place.path("shown")),
    )
}

fn serve(world: &World) -> integration::program::Process {
    let responder = world.place.at(RESPONDER);
    let serving = Program::ours("pki")
        .directory(world.place.path("."))
        .args(["serve", "--dir", "fleet", "--listen"])
        .arg(responder.to_string())
        .start(&world.place, "pki");
    wait::until("a responder", || TcpStream::connect(responder).ok());
    serving
}

/// openssl verifies an answer by itself.
#[track_caller]
fn is_verified_by_openssl(world: &World, answer: &[u8], shown: &Credentials) {
    world.place.write("staple.der", answer);
    let issuer = world.place.path("fleet/crl/issuing.pem");
    let told = Program::of_the_machine("openssl")
        .directory(world.place.path("."))
        .args(["ocsp", "-respin", "staple.der", "-issuer"])
        .arg(&issuer)
        .arg("-cert")
        .arg(&shown.certificate)
        .arg("-CAfile")
        .arg(&shown.trust)
        .arg("-verify_other")
        .arg(&issuer)
        .run()
        .expect_code(0);
    let said = told.stdout.clone() + &told.stderr;
    assert!(said.contains("Response verify OK"), "{said}");
    assert!(said.contains(": good"), "{said}");
}

const OF_THE_FLEET: &str = "[certificates.api]\nchain = \"shown/chain.pem\"\nkey = \"file:shown/key.pem\"\nocsp = \"certificate\"";

#[test]
fn the_answer_of_pki_serve_is_stapled_in_both_versions_of_tls_and_kept_while_the_responder_is_gone()
{
    let world = World::new();
    let _origin = world.plain_origin();
    let (serving, shown) = fleet(&world);
    let mut gateway = world.gateway(OF_THE_FLEET);
    for version in ["-tls1_2", "-tls1_3"] {
        let called = SClient::to(gateway.listen(), &shown.trust)
            .with(&world.device)
            .args(&["-status", "-verify_return_error", version])
            .ask("/x");
        let said = &called.0.stdout;
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
        assert!(called.status(200), "{said}");
    }
    let answer = staple(&world).or_fail("be shown a staple");
    is_verified_by_openssl(&world, &answer, &shown);
    assert!(gateway.metric("phigate_staple_next_update_seconds{certificate=\"api\"}") > 1e9);
    let status = gateway.visit("/status").or_fail("visit").json();
    assert_eq!(status["certificates"][0]["staple"]["state"], "good");
    drop(serving);
    // A reload keeps it, and so does a configuration that is refused.
    assert!(gateway.reload());
    assert_eq!(staple(&world).as_ref(), Some(&answer));
    assert_eq!(gateway.metric("phigate_generation"), 2.0);
    // A start has to ask again, and serves without it meanwhile: the certificate does not demand it.
    drop(gateway.stop());
    gateway = world.gateway(OF_THE_FLEET);
    await_words(&mut gateway, "the OCSP answer was not had: no connection");
    await_words(
        &mut gateway,
        "there is no OCSP answer: the certificate is shown without one",
    );
    assert_eq!(staple(&world), None);
    let _serving = serve(&world);
    wait::until("a staple", || staple(&world));
    await_words(&mut gateway, "is had again");
}

#[test]
fn a_certificate_that_was_revoked_is_told_and_no_staple_says_otherwise() {
    let world = World::new();
    let _origin = world.plain_origin();
    let (_serving, _) = fleet(&world);
    let arguments = "revoke --dns api.test --reason keyCompromise --dir fleet";
    let serial = Program::of_the_machine("openssl")
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(world.place.path("shown/cert.pem"))
        .run()
        .expect_code(0);
    let serial = serial
        .stdout
        .trim()
        .trim_start_matches("serial=")
        .to_lowercase();
    let arguments = arguments.replace("--dns api.test", &format!("--serial {serial}"));
    Program::ours("pki")
        .directory(world.place.path("."))
        .args(arguments.split(' '))
        .run()
        .expect_code(0);
    let mut gateway = world.gateway(OF_THE_FLEET);
    await_words(&mut gateway, "the certificate is revoked since");
    assert_eq!(staple(&world), None);
    assert_eq!(
        gateway.metric("phigate_staple_next_update_seconds{certificate=\"api\"}"),
        0.0
    );
    let status = gateway.visit("/status").or_fail("visit").json();
    assert_eq!(status["certificates"][0]["staple"]["state"], "revoked");
    assert!(gateway.process().stderr().contains("ERROR"));
}

#[test]
fn a_file_is_stapled_when_it_is_replaced_and_nothing_that_does_not_count_is() {
    let world = World::new();
    let _origin = world.plain_origin();
    let shown = Shown::new(&world, &SERVER);
    let mut gateway = world.gateway(&Shown::configuration("api.ocsp.der"));
    await_words(&mut gateway, "api.ocsp.der cannot be read");
    assert_eq!(staple(&world), None);
    let good = shown.says(Status::Good, 100, 3600);
    put(&world, &good);
    until_stapled(&world, &good);
    let good = shown.says(Status::Good, 50, 3600);
    put(&world, &good);
    until_stapled(&world, &good);
    let stranger = Responder::of(&Lab::new(&world.place, "stranger"));
    for (answer, words) in [
        (
            stranger.says(&shown.id, Status::Good, 0, 3600),
            "signed by nobody whom the issuer appointed",
        ),
        (
            shown.responder.says(&shown.other(), Status::Good, 0, 3600),
            "about another certificate",
        ),
        (shown.says(Status::Good, 40, -1), "the response ended at"),
        (
            shown.says(Status::Good, -3600, 7200),
            "the response begins at",
        ),
        (
            shown.says(Status::Good, 60, 7200),
            "older than the one before",
        ),
        (
            shown.says(Status::Unknown, 0, 3600),
            "does not know the certificate",
        ),
        (b"<html>".to_vec(), "the response cannot be read"),
        (
            good[..good.len() - 1].to_vec(),
            "the response cannot be read",
        ),
        (
            [&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat(),
            "signature does not verify",
        ),
    ] {
        put(&world, &answer);
        await_words(&mut gateway, words);
        assert_eq!(staple(&world).as_ref(), Some(&good), "{words}");
    }
    fs::remove_file(world.place.path("api.ocsp.der")).unwrap();
    await_words(&mut gateway, "the file with the OCSP answer cannot be read");
    assert_eq!(staple(&world).as_ref(), Some(&good));
    // It is revoked; that it was good before changes nothing any more.
    put(&world, &shown.says(revoked(), 20, 3600));
    until_bare(&world);
    await_words(&mut gateway, "the certificate is revoked since");
    put(&world, &good);
    await_words(&mut gateway, "older than the one before");
    assert_eq!(staple(&world), None);
    assert!(gateway.reload());
    assert_eq!(staple(&world), None);
    let good = shown.says(Status::Good, 0, 3600);
    put(&world, &good);
    until_stapled(&world, &good);
    world_is_served(&world, &shown);
}

/// The device is served by whoever shows the certificate of the lab.
#[track_caller]
fn world_is_served(world: &World, shown: &Shown) {
    let to = world.caller().to();
    let caller = integration::line::Caller::new(to, &shown.lab.trust()).with(&world.device);
    assert_eq!(caller.ask("GET /baseline").or_fail("be served").status, 200);
}

/// What a responder answers from now on.
type Answers = Arc<Mutex<Box<dyn Fn() -> Option<Vec<u8>> + Send>>>;

#[test]
fn an_answer_is_asked_for_anew_at_half_of_its_life_and_is_not_shown_when_it_is_over() {
    let world = World::new();
    let _origin = world.plain_origin();
    let shown = Arc::new(Shown::new(&world, &SERVER));
    let short = |shown: &Arc<Shown>| -> Box<dyn Fn() -> Option<Vec<u8>> + Send> {
        let shown = Arc::clone(shown);
        Box::new(move || Some(over_http(&shown.says(Status::Good, 0, 8))))
    };
    let answers: Answers = Arc::new(Mutex::new(short(&shown)));
    let told = Arc::clone(&answers);
    let responder = Origin::start(world.place.at(RESPONDER), move |conversation| {
        while conversation.request()? {
            conversation.body()?;
            let answer = told.lock().unwrap_or_else(PoisonError::into_inner)();
            match answer {
                Some(answer) => conversation.write(&answer)?,
                None => {
                    conversation.await_close();
                }
            }
        }
        Ok(())
    });
    let url = format!("http://{}/ocsp", world.place.at(RESPONDER));
    let mut gateway = world.gateway(&Shown::configuration(&url));
    let first = staple(&world).or_fail("be shown a staple");
    // Before it is over there is another one.
    wait::until("another staple", || {
        let now = staple(&world).or_fail("be shown a staple");
        (now != first).then_some(())
    });
    let seen = responder.await_request();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/ocsp")
    );
    assert_eq!(
        seen.header("content-type"),
        Some("application/ocsp-request")
    );
    // Whatever else it says is never shown, and what was good ends.
    let stranger = Responder::of(&Lab::new(&world.place, "stranger"));
    let forged = over_http(&stranger.says(&shown.id, Status::Good, 0, 8));
    *answers.lock().unwrap() = Box::new(move || Some(forged.clone()));
    let before = fetches(&gateway, "refused");
    wait::until("a refused answer", || {
        (fetches(&gateway, "refused") > before).then_some(())
    });
    until_bare(&world);
    await_words(&mut gateway, "the OCSP answer ended at");
    world_is_served(&world, &shown);
    *answers.lock().unwrap() = short(&shown);
    wait::until("a staple", || staple(&world));
    // It hangs: nobody waits for it.
    *answers.lock().unwrap() = Box::new(|| None);
    until_bare(&world);
    world_is_served(&world, &shown);
    // Revoked while it runs.
    let revoking = Arc::clone(&shown);
    *answers.lock().unwrap() = Box::new(move || Some(over_http(&revoking.says(revoked(), 0, 60))));
    await_words(&mut gateway, "the certificate is revoked since");
    assert_eq!(staple(&world), None);
    assert!(gateway.stop().status.success());
}

#[test]
fn a_certificate_that_demands_a_staple_is_shown_with_one_or_not_at_all() {
    let world = World::new();
    let _origin = world.plain_origin();
    let shown = Shown::new(
        &world,
        &Leaf {
            // Another line of the extensions.
            usage: "serverAuth\ntlsfeature=status_request",
            ..SERVER
        },
    );
    let text = Shown::configuration("api.ocsp.der");
    let configuration = world.configuration().with(&text);
    let told = Gateway::refuses_to_start(
        &world.place,
        &configuration.clone().without("certificates.api.ocsp"),
    );
    assert!(
        told.stderr.contains("demands that an OCSP answer"),
        "{}",
        told.stderr
    );
    let mut gateway = world.gateway(&text);
    await_words(&mut gateway, "is shown to nobody");
    assert!(gateway.process().stderr().contains("ERROR"));
    assert_eq!(world.caller().alert(), Some(49));
    gateway.await_short("handshake_refused staple_missing");
    let good = shown.says(Status::Good, 0, 5);
    put(&world, &good);
    wait::until("the staple", || staple_for(&world.caller()).ok().flatten());
    wait::until("its end", || {
        (world.caller().alert() == Some(49)).then_some(())
    });
    put(&world, &shown.says(Status::Good, 0, 3600));
    wait::until("another one", || staple_for(&world.caller()).ok().flatten());
    world_is_served(&world, &shown);
}

#[test]
fn a_chain_without_the_issuer_is_a_mistake_that_is_told_with_what_to_do() {
    let world = World::new();
    let shown = Shown::new(&world, &SERVER);
    let alone: PathBuf = world.place.path("lab/server.pem");
    fs::copy(alone, world.place.path("lab/chain.pem")).unwrap();
    for (ocsp, words) in [
        ("api.ocsp.der", "does not stand behind it"),
        ("http://127.0.0.1:1/ocsp", "does not stand behind it"),
        (
            "certificate",
            "names no http URL where its status is asked for",
        ),
    ] {
        let text = Shown::configuration(ocsp);
        let told = Gateway::refuses_to_start(&world.place, &world.configuration().with(&text));
        let said = told.stderr;
        assert!(
            said.contains(words) && said.contains("certificates.api.ocsp"),
            "{said}"
        );
        assert!(said.contains("hint: "), "{said}");
    }
    drop(shown);
}
