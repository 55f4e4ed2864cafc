//! `pki serve --est`: enrolment over TLS, by curl and openssl, and by `pki enrol` and `pki renew`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pki::{AuthorityName, Ca, EndEntity, KeySource, Name, Names, Order, Plan};
use serde_json::Value;

use crate::support::{Said, World, not_run};

const PUMP: &str = "urn:example:pump-1";

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(world: &World) -> Self {
        let words = "serve --dir pki --listen 127.0.0.1:0 --est 127.0.0.1:0 --est-certificate tls";
        let mut process = world
            .command(words.split_whitespace())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
            let said: Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = said["est"].as_str() {
                break address.to_owned();
            }
        };
        // Somebody reads what is said from now on, so that nobody waits for it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }
}

impl Server {
    /// Has it look at its certificate.
    fn hang_up(&self) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, and a certificate for its server.
fn world() -> World {
    let world = World::new();
    world
        .pki("issue --profile server --ip 127.0.0.1 --new-key --out tls")
        .must_succeed();
    world
}

/// A request in base64 for this name, with a new key in `{out}.key`.
fn request(world: &World, name: &str, out: &str) {
    world
        .openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout {out}.key \
             -subj /CN=device -addext subjectAltName=URI:{name} -outform DER -out {out}.der"
        ))
        .must_succeed();
    world
        .openssl(&format!("base64 -in {out}.der -out {out}.b64"))
        .must_succeed();
}

/// Runs curl against an operation; what it got is in `got`. Returns the status.
fn curl(world: &World, server: &Server, operation: &str, words: &str) -> String {
    let url = format!("https://{}/.well-known/est/{operation}", server.address);
    let output = Command::new("curl")
        .current_dir(world.root())
        .args([
            "-s",
            "--cacert",
            "pki/trust.pem",
            "-o",
            "got",
            "-w",
            "%{http_code}",
        ])
        .args(words.split_whitespace())
        .arg(url)
        .output()
        .expect("curl must be installed");
    String::from_utf8(output.stdout).unwrap()
}

/// The certificates in what curl got, in PEM.
fn certificates(world: &World) -> String {
    world
        .openssl("base64 -d -A -in got -out got.p7")
        .must_succeed();
    world
        .openssl("pkcs7 -inform DER -in got.p7 -print_certs")
        .must_succeed()
        .out
}

fn token(world: &World, name: &str) -> String {
    let words = format!("token make --profile device --id {name}");
    world.pki(&words).must_succeed().out.trim().to_owned()
}

const POST: &str = "-H content-type:application/pkcs10 --data-binary @";

#[test]
fn the_certificates_of_the_authorities_are_told_to_anybody() {
    let world = world();
    let server = Server::start(&world);
    assert_eq!(curl(&world, &server, "cacerts", ""), "200");
    let told = certificates(&world);
    for file in ["pki/ca/issuing.pem", "pki/ca/root.pem"] {
        assert!(told.contains(world.read(file).trim()), "{file}");
    }
    assert_eq!(curl(&world, &server, "csrattrs", ""), "200");
    world
        .openssl("base64 -d -A -in got -out attributes")
        .must_succeed();
    let parsed = world.openssl("asn1parse -inform DER -in attributes").out;
    assert!(parsed.contains("ecdsa-with-SHA256"), "{parsed}");
    assert_eq!(curl(&world, &server, "fullcmc", ""), "404");
    assert_eq!(curl(&world, &server, "simpleenroll", ""), "405");
}

#[test]
fn a_token_enrols_once_and_for_its_device_alone() {
    let world = world();
    let server = Server::start(&world);
    let token = token(&world, PUMP);
    request(&world, PUMP, "pump");
    request(&world, "urn:example:pump-2", "other");
    let enrol = |user: &str, file: &str| {
        let words = format!("-u {user}:{token} {POST}{file}.b64");
        curl(&world, &server, "simpleenroll", &words)
    };
    assert_eq!(enrol("urn:example:pump-2", "pump"), "401");
    // Refused before the token is used up.
    assert_eq!(enrol(PUMP, "other"), "400");
    assert_eq!(enrol(PUMP, "pump"), "200");
    world.write("cert.pem", certificates(&world));
    world.verify("cert.pem").must_succeed();
    assert!(world.text("cert.pem").contains(&format!("URI:{PUMP}")));
    request(&world, PUMP, "another");
    assert_eq!(enrol(PUMP, "another"), "401");
    assert_eq!(world.count("--profile device"), 1);
    let wrong = format!("-u {PUMP}:{} {POST}pump.b64", "A".repeat(43));
    assert_eq!(curl(&world, &server, "simpleenroll", &wrong), "401");
    let nobody = format!("{POST}pump.b64");
    assert_eq!(curl(&world, &server, "simpleenroll", &nobody), "401");
}

/// The program `est-enroll` of somebody else, with a configuration. `None`, and a word, where it is not.
fn est_enroll(world: &World, server: &Server, authentication: &str, verb: &str) -> Option<Said> {
    let Some(program) = std::env::var_os("PHIGATE_EST_CLIENT") else {
        not_run("integration/test --prepare installs the EST client");
        return None;
    };
    let configuration = format!(
        "[server]\nurl = \"https://{}\"\n\
         [trust]\nmode = \"explicit\"\nca_bundle_path = \"pki/trust.pem\"\n\
         [authentication]\n{authentication}\n\
         [certificate]\ncommon_name = \"pump\"\n",
        server.address
    );
    world.write("est.toml", configuration);
    let output = Command::new(program)
        .current_dir(world.root())
        .args(["--config", "est.toml", verb])
        .output()
        .unwrap();
    Some(Said::from(output))
}

#[test]
fn a_client_of_somebody_else_enrols_renews_and_is_refused_once_it_is_revoked() {
    let world = world();
    let server = Server::start(&world);
    world.secret("token", &token(&world, PUMP));
    let by_token =
        format!("method = \"http_basic\"\nusername = \"{PUMP}\"\npassword_source = \"file:token\"");
    let Some(enrolled) = est_enroll(&world, &server, &by_token, "enroll") else {
        return;
    };
    let told = |said: Said| {
        let said = said.must_succeed().out;
        let (_, thumbprint) = said.split_once("Thumbprint: ").unwrap();
        let thumbprint = thumbprint.lines().next().unwrap();
        thumbprint.replace(':', "").to_lowercase()
    };
    let known = |id: &str| {
        let shown = world.json(&format!("show --id {id}"));
        let certificates = shown["certificates"].as_array().unwrap();
        let hashes = certificates.iter().map(|one| one["sha256"].as_str());
        hashes
            .map(|hash| hash.unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(known(PUMP), [told(enrolled)]);
    // A used token is worth nothing with another key.
    let again = est_enroll(&world, &server, &by_token, "enroll").unwrap();
    assert!(again.code != 0 && again.err.contains("Authentication required"));

    let second = "urn:example:pump-2";
    world.device(second, "pump");
    let by_certificate =
        "method = \"client_cert\"\ncert_path = \"pump/chain.pem\"\nkey_path = \"pump/key.pem\"";
    let renewed = est_enroll(&world, &server, by_certificate, "renew").unwrap();
    assert!(known(second).contains(&told(renewed)));
    world
        .pki("revoke --cert pump/cert.pem --reason keyCompromise")
        .must_succeed();
    let refused = est_enroll(&world, &server, by_certificate, "renew").unwrap();
    assert!(refused.code != 0 && refused.err.contains("403"));
    assert_eq!(known(second).len(), 2);
}

#[test]
fn who_lost_the_answer_asks_again_with_the_same_key_and_gets_the_same_certificate() {
    let world = world();
    let server = Server::start(&world);
    let token = token(&world, PUMP);
    request(&world, PUMP, "pump");
    let enrol = || {
        let words = format!("-u {PUMP}:{token} {POST}pump.b64");
        let status = curl(&world, &server, "simpleenroll", &words);
        (status, world.read("got"))
    };
    let first = enrol();
    assert_eq!(first.0, "200");
    assert_eq!(enrol(), first);
    assert_eq!(world.count("--profile device"), 1);
    // Another request for the same key is as good.
    world
        .openssl("req -new -key pump.key -subj /CN=device -outform DER -out pump.der")
        .must_succeed();
    world
        .openssl("base64 -in pump.der -out pump.b64")
        .must_succeed();
    assert_eq!(enrol(), first);
    world
        .pki(&format!("revoke --id {PUMP} --reason keyCompromise"))
        .must_succeed();
    assert_eq!(enrol().0, "401");
}

#[test]
fn of_two_who_show_one_token_at_once_one_enrols() {
    let world = world();
    let server = Server::start(&world);
    let token = token(&world, PUMP);
    for out in ["one", "two"] {
        request(&world, PUMP, out);
    }
    let url = format!("https://{}/.well-known/est/simpleenroll", server.address);
    let tries: Vec<Child> = ["one", "two"]
        .iter()
        .map(|out| {
            let words = format!(
                "-s --cacert pki/trust.pem -o {out}.got -w %{{http_code}} -u {PUMP}:{token} {POST}{out}.b64"
            );
            Command::new("curl")
                .current_dir(world.root())
                .args(words.split_whitespace())
                .arg(&url)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut statuses: Vec<Vec<u8>> = tries
        .into_iter()
        .map(|child| child.wait_with_output().unwrap().stdout)
        .collect();
    statuses.sort();
    assert_eq!(statuses, [b"200", b"401"]);
    assert_eq!(world.count("--profile device"), 1);
}

#[test]
fn a_token_that_is_too_old_enrols_nobody() {
    let world = world();
    let server = Server::start(&world);
    let then = Timestamp::now() - SignedDuration::from_hours(2);
    let (token, _) = Ca::open(&world.path("pki"))
        .unwrap()
        .make_token(
            EndEntity::Device,
            &pump(),
            SignedDuration::from_hours(1),
            then,
        )
        .unwrap();
    request(&world, PUMP, "pump");
    let words = format!("-u {PUMP}:{} {POST}pump.b64", *token.expose());
    assert_eq!(curl(&world, &server, "simpleenroll", &words), "401");
    assert_eq!(world.count("--profile device"), 0);
}

fn pump() -> Names {
    EndEntity::Device
        .admit(vec![Name::uri(PUMP).unwrap()])
        .unwrap()
}

#[test]
fn a_device_that_was_off_comes_back_within_thirty_days_and_not_later() {
    let day = |days: i64| SignedDuration::from_hours(24 * days);
    for (ago, status) in [(29, "200"), (31, "403")] {
        let world = World::empty();
        let plan = Plan::new(AuthorityName::parse("Clinic North").unwrap());
        let now = Timestamp::now();
        let mut ca = Ca::init(&world.path("pki"), &plan, now - day(100)).unwrap();
        let order = Order {
            profile: EndEntity::Device,
            names: pump(),
            key: KeySource::New,
            days: Some(30),
        };
        let then = now - day(ago + 30);
        ca.issue(order, &world.path("pump"), then).unwrap();
        drop(ca);
        world
            .pki("issue --profile server --ip 127.0.0.1 --new-key --out tls")
            .must_succeed();
        let server = Server::start(&world);
        request(&world, PUMP, "next");
        let words = format!("--cert pump/chain.pem --key pump/key.pem {POST}next.b64");
        assert_eq!(curl(&world, &server, "simplereenroll", &words), status);
        // A first enrolment gives no grace.
        assert_eq!(curl(&world, &server, "simpleenroll", &words), "403");
    }
}

#[test]
fn a_server_gets_its_next_certificate_by_the_last_and_serves_with_it() {
    let world = world();
    let server = Server::start(&world);
    let shown = || {
        let words = format!("s_client -connect {} -CAfile pki/trust.pem", server.address);
        world.openssl(&words).out
    };
    let before = shown();
    let first = world.read("tls/cert.pem");
    assert!(before.contains(first.trim()), "{before}");
    // What ends no later than the old one is no renewal, and ends are whole seconds.
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(Duration::from_millis(1100));
    let est = format!("https://{}", server.address);
    world
        .run(["renew", "--in", "tls", "--est", &est])
        .must_succeed();
    let second = world.read("tls/cert.pem");
    assert_ne!(first, second);
    world.verify("tls/cert.pem").must_succeed();
    server.hang_up();
    let until = Instant::now() + Duration::from_secs(20);
    while !shown().contains(second.trim()) {
        assert!(Instant::now() < until, "still the old one");
    }
    // What is no good leaves the last one in force.
    world.write("tls/chain.pem", "no certificate");
    server.hang_up();
    assert_eq!(curl(&world, &server, "cacerts", ""), "200");
}

#[test]
fn the_issuing_key_stays_open_while_the_server_runs() {
    let world = World::empty();
    for (file, passphrase) in [("old", "a long passphrase"), ("new", "another passphrase")] {
        world.secret(file, passphrase);
    }
    world
        .run(["init", "--dir", "pki", "--passphrase", "file:old"])
        .must_succeed();
    world
        .pki("issue --profile server --ip 127.0.0.1 --new-key --out tls")
        .must_succeed();
    let server = Server::start(&world);
    // It is not asked for again: it could not be had.
    std::fs::remove_file(world.path("old")).unwrap();
    world.write("pki/ca/issuing.key.pem", "gone");
    let token = Ca::open(&world.path("pki"))
        .unwrap()
        .make_token(
            EndEntity::Device,
            &pump(),
            SignedDuration::from_hours(1),
            Timestamp::now(),
        )
        .unwrap()
        .0;
    request(&world, PUMP, "pump");
    let words = format!("-u {PUMP}:{} {POST}pump.b64", *token.expose());
    assert_eq!(curl(&world, &server, "simpleenroll", &words), "200");
}

#[test]
fn who_is_silent_in_the_handshake_is_hung_up_on_and_others_are_served() {
    let world = world();
    let server = Server::start(&world);
    let mut silent = TcpStream::connect(&server.address).unwrap();
    assert_eq!(curl(&world, &server, "cacerts", ""), "200");
    silent
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_certificate_enrols_again_under_its_own_name_until_it_is_revoked() {
    let world = world();
    world.device(PUMP, "pump");
    let server = Server::start(&world);
    request(&world, PUMP, "next");
    request(&world, "urn:example:pump-2", "other");
    let again = |file: &str| {
        let words = format!("--cert pump/chain.pem --key pump/key.pem {POST}{file}.b64");
        curl(&world, &server, "simplereenroll", &words)
    };
    assert_eq!(again("next"), "200");
    world.write("next.pem", certificates(&world));
    world.verify("next.pem").must_succeed();
    assert_eq!(again("other"), "400");
    world
        .pki("revoke --cert pump/cert.pem --reason keyCompromise")
        .must_succeed();
    // Whoever has it still is put on record, once.
    for _ in 0..3 {
        assert_eq!(again("next"), "403");
    }
    let serial = world.json("show --cert pump/cert.pem")["certificates"][0]["serial"].clone();
    let entries = crate::log::logged(&world);
    let attempts = entries
        .iter()
        .filter(|entry| entry["code"] == "certificate_revoked");
    let by: Vec<_> = attempts.map(|entry| &entry["by"]).collect();
    assert_eq!(by.len(), 1);
    assert_eq!(by[0]["certificate"], serial);
    assert_eq!(by[0]["address"], "127.0.0.1");
    let nobody = format!("{POST}next.b64");
    assert_eq!(curl(&world, &server, "simplereenroll", &nobody), "401");
}

#[test]
fn a_certificate_that_was_given_for_some_days_is_renewed_for_as_many() {
    let world = world();
    world
        .pki(&format!(
            "issue --profile device --id {PUMP} --new-key --days 3 --out pump"
        ))
        .must_succeed();
    let server = Server::start(&world);
    request(&world, PUMP, "next");
    let words = format!("--cert pump/chain.pem --key pump/key.pem {POST}next.b64");
    assert_eq!(curl(&world, &server, "simplereenroll", &words), "200");
    world.write("next.pem", certificates(&world));
    let lasts = |seconds: u32| {
        let words = format!("x509 -in next.pem -noout -checkend {seconds}");
        world.openssl(&words).code == 0
    };
    assert!(lasts(2 * 24 * 3600) && !lasts(3 * 24 * 3600));
}

#[test]
fn a_certificate_of_another_authority_ends_the_handshake() {
    let world = world();
    let server = Server::start(&world);
    let other = World::new();
    other.device(PUMP, "pump");
    for file in ["chain.pem", "key.pem"] {
        world.write(file, other.read(&format!("pump/{file}")));
    }
    request(&world, PUMP, "next");
    let words = format!("--cert chain.pem --key key.pem {POST}next.b64");
    assert_eq!(curl(&world, &server, "simplereenroll", &words), "000");
    assert_eq!(curl(&world, &server, "cacerts", ""), "200");
}

#[test]
fn what_is_no_request_is_refused() {
    let world = world();
    let server = Server::start(&world);
    let token = token(&world, PUMP);
    world.write("garbage", "!".repeat(100));
    world.write("text", "aGVsbG8=");
    world.write("long", "A".repeat(1024 * 1024));
    let sent = |file: &str| {
        let words = format!("-u {PUMP}:{token} {POST}{file}");
        curl(&world, &server, "simpleenroll", &words)
    };
    for file in ["garbage", "text"] {
        assert_eq!(sent(file), "400", "{file}");
    }
    // Told while it is being sent, and read all the same.
    for _ in 0..5 {
        assert_eq!(sent("long"), "413");
    }
    let huge = std::fs::File::create(world.path("huge")).unwrap();
    huge.set_len(100_000_000).unwrap();
    for length in ["", "-H transfer-encoding:chunked"] {
        let words = format!(
            "-u {PUMP}:{token} -X POST -H content-type:application/pkcs10 -H expect: {length} -T huge"
        );
        assert_eq!(curl(&world, &server, "simpleenroll", &words), "413");
    }
    request(&world, PUMP, "pump");
    let words = format!("-u {PUMP}:{token} --data-binary @pump.b64");
    assert_eq!(curl(&world, &server, "simpleenroll", &words), "415");
    let words = format!("-u {PUMP}:{token} {POST}pump.b64");
    assert_eq!(curl(&world, &server, "simpleenroll", &words), "200");
}

#[test]
fn pki_enrol_and_pki_renew_talk_to_it() {
    let world = world();
    let server = Server::start(&world);
    world.secret("token", &token(&world, PUMP));
    let est = format!("https://{}", server.address);
    let words = format!(
        "enrol --est {est} --id {PUMP} --token-from file:token --trust pki/trust.pem --out pump"
    );
    world.run(words.split_whitespace()).must_succeed();
    world.verify("pump/cert.pem").must_succeed();
    world
        .pki(&format!(
            "issue --profile device --id {PUMP} --new-key --days 30 --out short"
        ))
        .must_succeed();
    let before = world.read("short/cert.pem");
    // It is for as many days, and ends are whole seconds.
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(Duration::from_millis(1100));
    world
        .run(["renew", "--in", "short", "--est", &est])
        .must_succeed();
    assert_ne!(world.read("short/cert.pem"), before);
    world.verify("short/cert.pem").must_succeed();
    assert_eq!(world.count("--profile device"), 3);
}
