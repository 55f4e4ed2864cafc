//! A log that was put back to an older state is found by its witnesses, and a witness is never waited
//! for.

use std::path::{Path, PathBuf};

use integration::configuration::Configuration;
use integration::gateway::Gateway;
use integration::program::{Process, Program, Ran};
use integration::records;
use integration::wait::{self, OrFail};
use integration::world::World;
use rustix::process::Signal;

/// The port of the witness.
const PORT: u16 = 20_380;

const NAME: &str = "witness.test/w1";

/// A world whose log has a name and a key, and a witness with a key that knows it.
pub(crate) struct Watched {
    pub(crate) world: World,
}

impl Watched {
    #[track_caller]
    pub(crate) fn new() -> Watched {
        let world = World::new();
        Program::ours("audit")
            .args(["witness", "keygen", "--name", NAME, "--out"])
            .arg(world.place.directory())
            .run()
            .expect_code(0);
        // The first start writes the public key of the log beside it.
        Gateway::start(&world.place, &world.configuration()).stop();
        world.place.write("logs", world.place.read("log.vkey"));
        Watched { world }
    }

    pub(crate) fn configuration(&self) -> Configuration {
        let witness = self.world.place.at(PORT);
        self.world.configuration().with(&format!(
            "[[audit.witnesses]]\nurl = \"http://{witness}\"\nkey = \"witness.vkey\"\nevery = \"1s\"\nalarm = \"1s\""
        ))
    }

    /// Starts the witness with its state in `state`, and waits until it serves.
    #[track_caller]
    pub(crate) fn witness(&self, state: &str) -> Process {
        let place = &self.world.place;
        let mut process = Program::ours("audit")
            .args(["witness", "serve", "--listen", &place.at(PORT).to_string()])
            .arg("--key")
            .arg(place.path("witness.key"))
            .arg("--logs")
            .arg(place.path("logs"))
            .arg("--state")
            .arg(place.path(state))
            .start(place, "witness");
        wait::until("a witness that serves", || {
            if let Some(status) = process.ended() {
                panic!("the witness ended: {status}\n{}", process.stderr());
            }
            std::net::TcpStream::connect(place.at(PORT)).ok()
        });
        process
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start(&self.world.place, &self.configuration())
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.world.place.path("audit")
    }

    /// What `audit verify` says of a log with the key of the witness.
    fn verify(&self, directory: &Path, more: &[&str]) -> Ran {
        Program::ours("audit")
            .args(["verify", "--witness"])
            .arg(self.world.place.path("witness.vkey"))
            .args(more)
            .arg(directory)
            .run()
    }

    /// The checkpoint that the witness cosigned last, as it hands it out.
    #[track_caller]
    fn cosigned(&self, state: &str) -> PathBuf {
        let state = self.world.place.path(state);
        let mut found = std::fs::read_dir(state).or_fail("list the state");
        found
            .find_map(|item| {
                let path = item.ok()?.path();
                let is_log = path.file_name()?.len() == 64;
                is_log.then_some(path)
            })
            .or_fail("find what the witness remembers")
    }
}

/// A metric of the witness.
fn metric(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("phigate_audit_{name}{{witness=\"{NAME}\"}}"))
}

/// Waits until the witness knows all that was signed.
#[track_caller]
pub(crate) fn await_witness(gateway: &Gateway) {
    wait::until("a log that is witnessed", || {
        let signed = gateway.metric("phigate_audit_signed_entries");
        let entries = gateway.metric("phigate_audit_entries");
        let witnessed = metric(gateway, "witnessed_entries");
        (witnessed == entries && signed == entries).then_some(())
    });
}

fn copy(from: &Path, to: &Path) {
    Program::of_the_machine("cp")
        .args(["-a", "--"])
        .arg(from)
        .arg(to)
        .run()
        .expect_code(0);
}

#[test]
fn a_log_that_was_put_back_to_yesterdays_copy_is_refused_at_the_start() {
    let watched = Watched::new();
    let _origin = watched.world.plain_origin();
    let _witness = watched.witness("state");
    let gateway = watched.start();
    await_witness(&gateway);
    gateway.stop();
    let yesterday = watched.world.place.path("yesterday");
    copy(&watched.audit(), &yesterday);
    let gateway = watched.start();
    watched.world.is_served();
    await_witness(&gateway);
    gateway.stop();
    // All of it is witnessed, the end included.
    let ran = watched
        .verify(&watched.audit(), &["--strict"])
        .expect_code(0);
    assert!(ran.stdout.contains(&format!("by {NAME}+")), "{ran:?}");
    assert!(
        ran.stdout
            .contains("witnessed: 0 entries at the end by nobody yet"),
        "{ran:?}"
    );
    let today = watched.world.place.path("today");
    std::fs::rename(watched.audit(), &today).or_fail("take the log away");
    copy(&yesterday, &watched.audit());
    let before = Program::of_the_machine("find")
        .arg(watched.audit())
        .args(["-type", "f", "-printf", "%p %s %T@\n"])
        .run()
        .stdout;
    let ran = Gateway::refuses_to_start(&watched.world.place, &watched.configuration());
    assert!(
        ran.stderr
            .contains("audit.witnesses.#1.url: the audit log was cut, rolled back or replaced"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("it cosigned ")
            && ran.stderr.contains("hint: put back the newest copy")
    );
    let after = Program::of_the_machine("find")
        .arg(watched.audit())
        .args(["-type", "f", "-printf", "%p %s %T@\n"])
        .run()
        .stdout;
    assert_eq!(before, after, "nothing is added to the evidence");
    // By itself the copy is whole; with what the witness hands out it is not.
    watched.verify(&watched.audit(), &[]).expect_code(0);
    let cosigned = watched.cosigned("state").display().to_string();
    let ran = watched
        .verify(&watched.audit(), &["--cosigned", &cosigned])
        .expect_code(2);
    assert!(
        ran.stdout
            .contains("finding: the log was cut or rolled back"),
        "{ran:?}"
    );
    // A log that is gone is one that was put back to nothing.
    std::fs::remove_dir_all(watched.audit()).or_fail("remove the log");
    let ran = Gateway::refuses_to_start(&watched.world.place, &watched.configuration());
    assert!(ran.stderr.contains("rolled back or replaced"), "{ran:?}");
    // The true one is served.
    let _ = std::fs::remove_dir_all(watched.audit());
    std::fs::rename(&today, watched.audit()).or_fail("put the log back");
    let gateway = watched.start();
    watched.world.is_served();
    await_witness(&gateway);
    gateway.verify();
}

#[test]
fn a_log_put_back_to_before_its_rotation_is_found_by_a_witness_that_knows_the_new_key_alone() {
    let watched = Watched::new();
    let place = &watched.world.place;
    let _origin = watched.world.plain_origin();
    let next = place.path("next");
    std::fs::create_dir(&next).or_fail("make a directory");
    let rotated = Program::ours("audit")
        .arg("rotate")
        .arg(watched.audit())
        .arg("--keys")
        .arg(place.path("audit.keys"))
        .arg("--out")
        .arg(&next)
        .run()
        .expect_code(0);
    let key = rotated.stdout.lines().last().or_fail("get the new key");
    place.write("logs", format!("{key}\n"));
    let before = place.path("before");
    copy(&watched.audit(), &before);
    let configuration = watched
        .configuration()
        .with("[audit]\nkeys = \"file:next/audit.keys\"");
    let _witness = watched.witness("state");
    let gateway = Gateway::start(place, &configuration);
    await_witness(&gateway);
    gateway.stop();
    std::fs::remove_dir_all(watched.audit()).or_fail("remove the log");
    copy(&before, &watched.audit());
    let ran = Gateway::refuses_to_start(place, &configuration);
    assert!(
        ran.stderr.contains("cut, rolled back or replaced"),
        "{ran:?}"
    );
}

#[test]
fn a_copy_that_went_on_elsewhere_is_another_history() {
    let watched = Watched::new();
    let _origin = watched.world.plain_origin();
    let copied = watched.world.place.path("copied");
    copy(&watched.audit(), &copied);
    let _witness = watched.witness("state");
    let gateway = watched.start();
    await_witness(&gateway);
    gateway.stop();
    // The copy runs without its witness, until it is the longer one.
    std::fs::remove_dir_all(watched.audit()).or_fail("remove the log");
    copy(&copied, &watched.audit());
    for _ in 0..3 {
        Gateway::start(&watched.world.place, &watched.world.configuration()).stop();
    }
    let ran = Gateway::refuses_to_start(&watched.world.place, &watched.configuration());
    assert!(ran.stderr.contains("and does not lead there"), "{ran:?}");
    let cosigned = watched.cosigned("state").display().to_string();
    let ran = watched
        .verify(&watched.audit(), &["--cosigned", &cosigned])
        .expect_code(1);
    assert!(
        ran.stdout.contains("are not those that a witness cosigned"),
        "{ran:?}"
    );
}

#[test]
fn a_witness_that_cannot_be_reached_is_told_and_never_waited_for() {
    let watched = Watched::new();
    let _origin = watched.world.plain_origin();
    let gateway = watched.start();
    watched.world.is_served();
    let lost = gateway.await_record("a lost witness", |record| {
        record.kind() == "witness" && record.text("state") == "lost"
    });
    assert_eq!(lost.text("name"), NAME);
    wait::until("failures", || {
        (metric(&gateway, "witness_failures") > 0.0).then_some(())
    });
    assert_eq!(metric(&gateway, "witness_lost"), 1.0);
    assert_eq!(metric(&gateway, "witnessed_entries"), 0.0);
    assert_eq!(metric(&gateway, "witness_success_seconds"), 0.0);
    let witness = watched.witness("state");
    gateway.await_record("a witness that came back", |record| {
        record.kind() == "witness" && record.text("state") == "back"
    });
    await_witness(&gateway);
    assert_eq!(metric(&gateway, "witness_lost"), 0.0);
    assert!(metric(&gateway, "witness_success_seconds") > 1_700_000_000.0);
    let status = gateway.visit("/status").or_fail("read the status").json();
    assert_eq!(status["audit"]["witnesses"][0]["name"], NAME);
    assert_eq!(status["audit"]["witnesses"][0]["lost"], false);
    // It is killed, and comes back with what it remembered.
    witness.signal(Signal::KILL);
    drop(witness);
    watched.world.is_served();
    gateway.await_record("a witness that was lost again", |record| {
        record.kind() == "witness"
            && record.text("state") == "lost"
            && record.number("witnessed") > Some(0)
    });
    let _witness = watched.witness("state");
    await_witness(&gateway);
    let stopped = gateway.stop();
    assert!(
        stopped.stderr.contains("is not witnessed"),
        "{}",
        stopped.stderr
    );
    watched.verify(&stopped.audit, &["--strict"]).expect_code(0);
}

#[test]
fn a_witness_that_forgot_accepts_the_log_again_and_that_is_on_record() {
    let watched = Watched::new();
    let _origin = watched.world.plain_origin();
    let witness = watched.witness("state");
    let gateway = watched.start();
    await_witness(&gateway);
    witness.signal(Signal::KILL);
    drop(witness);
    let _witness = watched.witness("another");
    watched.world.is_served();
    gateway.await_record("a witness that forgot", |record| {
        record.kind() == "witness"
            && record.text("state") == "forgot"
            && record.number("remembered") == Some(0)
    });
    await_witness(&gateway);
    gateway.stop();
    watched
        .verify(&watched.audit(), &["--strict"])
        .expect_code(0);
}

#[test]
fn a_kill_never_looks_like_a_log_that_was_put_back() {
    let watched = Watched::new();
    let _origin = watched.world.plain_origin();
    let _witness = watched.witness("state");
    // In the system's cache alone, and on the disk.
    for durability in ["durable", "buffered"] {
        let configuration = watched
            .configuration()
            .with(&format!("[audit]\ndurability = \"{durability}\""));
        for requests in 0..if wait::long() { 30 } else { 5 } {
            let gateway = Gateway::start(&watched.world.place, &configuration);
            for _ in 0..requests * 20 {
                watched.world.is_served();
            }
            if requests % 2 == 0 {
                await_witness(&gateway);
            }
            gateway.kill();
            let ran = watched.verify(&watched.audit(), &[]);
            assert!([0, 2].contains(&ran.code()), "{ran:?}");
            assert!(!ran.stdout.contains("rolled back"), "{ran:?}");
        }
    }
    let gateway = watched.start();
    await_witness(&gateway);
    let stopped = gateway.stop();
    assert!(!stopped.stderr.contains("disagree"), "{}", stopped.stderr);
    let records = stopped.records();
    let told: Vec<_> = records
        .of_kind("witness")
        .iter()
        .map(|record| record.text("state").to_owned())
        .collect();
    assert!(!told.iter().any(|state| state == "conflict"), "{told:?}");
    records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn a_claim_over_plain_http_that_nothing_proves_does_not_stop_the_gateway() {
    let watched = Watched::new();
    let place = &watched.world.place;
    let _origin = watched.world.plain_origin();
    // It says that it remembers more than there is, and has nothing to show for it.
    let _liar = integration::origin::Origin::answering(place.at(PORT), |_| {
        b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 7\r\n\r\n999999\n".to_vec()
    });
    let gateway = watched.start();
    watched.world.is_served();
    let record = gateway.await_record("a conflict", |record| {
        record.kind() == "witness" && record.text("state") == "conflict"
    });
    assert_eq!(record.number("remembered"), Some(999_999));
    assert_eq!(metric(&gateway, "witness_conflict"), 1.0);
    let stopped = gateway.stop();
    assert!(
        stopped
            .stderr
            .contains("the audit log and its witness disagree")
    );
}

#[test]
fn a_witness_over_tls_is_asked_only_under_its_authority() {
    let watched = Watched::new();
    let place = &watched.world.place;
    let _origin = watched.world.plain_origin();
    let _witness = watched.witness("state");
    // TLS in front of it, as an operator would put it.
    let front = place.at(PORT + 1);
    let host = front.ip().to_string();
    let server = watched
        .world
        .authority
        .server(&place.path("front"), &[&host]);
    let _nginx = integration::nginx::Nginx::start(
        place,
        &format!(
            "server {{ listen {front} ssl; ssl_certificate {}; ssl_certificate_key {}; location /w/ {{ proxy_pass http://{}/; }} }}",
            server.chain.display(),
            server.key.display(),
            place.at(PORT)
        ),
    );
    let configuration = |authority: &str| {
        watched.world.configuration().with(&format!(
            "[[audit.witnesses]]\nurl = \"https://{front}/w\"\nkey = \"witness.vkey\"\nauthority = \"{authority}\"\nevery = \"1s\""
        ))
    };
    let gateway = Gateway::start(place, &configuration("pki/trust.pem"));
    await_witness(&gateway);
    gateway.stop();
    let other = integration::authority::Authority::init(place, "other");
    let other = other.trust();
    let gateway = Gateway::start(place, &configuration(&other.display().to_string()));
    gateway.await_record("a lost witness", |record| {
        record.kind() == "witness" && record.text("state") == "lost"
    });
    let stopped = gateway.stop();
    assert!(stopped.stderr.contains("no TLS"), "{}", stopped.stderr);
}

#[test]
fn the_configuration_of_a_witness_is_judged_with_its_place() {
    let watched = Watched::new();
    let place = &watched.world.place;
    let refused = |configuration: &Configuration| {
        let file = place.write("refused.toml", configuration.text());
        let check = Program::ours("gateway").args(["check", "--config"]);
        check.arg(file).run().expect_code(1).stderr
    };
    let with = |key: &str| {
        let told = refused(&watched.world.configuration().with(&format!(
            "[[audit.witnesses]]\nurl = \"http://127.0.0.1:1\"\nkey = \"{key}\"\n[[audit.witnesses]]\nurl = \"http://127.0.0.1:2\"\nkey = \"witness.vkey\"\n[[audit.witnesses]]\nurl = \"http://127.0.0.1:2\"\nkey = \"witness.vkey\""
        )));
        assert!(told.contains("holds a key that is named above"), "{told}");
        told
    };
    let told = with("log.vkey");
    assert!(told.contains("it signs notes, not cosignatures"), "{told}");
    let told = with("absent");
    assert!(
        told.contains("audit.witnesses.#1.key: cannot open"),
        "{told}"
    );
    // A running gateway keeps the witnesses that it has.
    let _origin = watched.world.plain_origin();
    let gateway = watched.start();
    assert!(!gateway.reload_with(&watched.world.configuration()));
}
