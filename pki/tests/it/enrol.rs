//! `pki enrol` and `pki renew --est`: what a device does whose authority is elsewhere.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::est_server::{Behaviour, EstServer, TOKEN};
use crate::support::{Said, World};

const DEVICE: &str = "urn:example:pump-1";

/// An authority, a certificate for an EST server on 127.0.0.1, and a token in a file.
fn world() -> World {
    let world = World::new();
    world
        .pki("issue --profile server --ip 127.0.0.1 --new-key --out tls")
        .must_succeed();
    world.write("token", format!("{TOKEN}\n"));
    world.openssl("version").must_succeed();
    std::fs::set_permissions(
        world.path("token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    world
}

/// The same, and a device certificate in `out` that ends before one that is issued now.
fn world_with_device() -> World {
    let world = world();
    world
        .pki(&format!(
            "issue --profile device --id {DEVICE} --new-key --days 30 --out out"
        ))
        .must_succeed();
    world
}

fn fingerprint(world: &World, trust: &str) -> String {
    let said = world
        .openssl(&format!("x509 -in {trust} -noout -fingerprint -sha256"))
        .must_succeed();
    said.out.trim().rsplit('=').next().unwrap().to_owned()
}

fn enrol(world: &World, server: &EstServer, words: &str) -> Said {
    let words = format!("enrol --est {} --id {DEVICE} {words}", server.url());
    world.run(words.split_whitespace())
}

fn renew(world: &World, server: &EstServer) -> Said {
    world.run(["renew", "--in", "out", "--est", &server.url()])
}

#[track_caller]
fn must_be_a_pair(world: &World, out: &str) {
    assert_eq!(
        world.names(out),
        ["cert.pem", "chain.pem", "key.pem", "trust.pem"]
    );
    let of_key = world.openssl(&format!("pkey -in {out}/key.pem -pubout"));
    let of_certificate = world.openssl(&format!("x509 -in {out}/cert.pem -noout -pubkey"));
    assert_eq!(of_key.out, of_certificate.out);
    world
        .openssl(&format!(
            "verify -x509_strict -CAfile {out}/trust.pem -untrusted {out}/chain.pem {out}/cert.pem"
        ))
        .must_succeed();
    assert_eq!(world.mode(&format!("{out}/key.pem")), 0o600);
}

#[test]
fn a_device_enrols_with_a_token_and_a_fingerprint_and_renews_by_its_certificate() {
    let world = world();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::Good);
    let fingerprint = fingerprint(&world, "pki/trust.pem");
    let said = enrol(
        &world,
        &server,
        &format!("--token-from file:token --fingerprint {fingerprint} --out out --json"),
    )
    .must_succeed();
    must_be_a_pair(&world, "out");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let shown = world.json("show --cert out/cert.pem");
    assert_eq!(shown["certificates"][0]["serial"], json["serial"]);
    assert_eq!(shown["certificates"][0]["id"], DEVICE);
    // The device cannot read the root from anywhere else: it is the one of the fingerprint.
    assert_eq!(world.read("out/trust.pem"), world.read("pki/trust.pem"));
    let before = world.read("out/cert.pem");
    // Dates have whole seconds.
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(std::time::Duration::from_millis(1100));
    renew(&world, &server).must_succeed();
    must_be_a_pair(&world, "out");
    assert_ne!(world.read("out/cert.pem"), before);
    assert_eq!(
        server.heard(),
        [
            "GET /.well-known/est/cacerts",
            "GET /.well-known/est/cacerts",
            "POST /.well-known/est/simpleenroll",
            "GET /.well-known/est/cacerts",
            "POST /.well-known/est/simplereenroll",
        ]
    );
    // Not due: the server is not even asked.
    let said = world.run([
        "renew",
        "--in",
        "out",
        "--est",
        &server.url(),
        "--if-needed",
    ]);
    assert_eq!(said.code, 3);
    assert_eq!(server.heard().len(), 5);
}

#[test]
fn a_token_comes_from_a_file_the_environment_a_credential_or_standard_input() {
    let world = world();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::Good);
    let run = |source: &str, out: &str| {
        let words = format!(
            "enrol --est {} --id {DEVICE} --token-from {source} --trust pki/trust.pem --out {out}",
            server.url()
        );
        let mut command = world.command(words.split_whitespace());
        command
            .env("EST_TOKEN", TOKEN)
            .env("CREDENTIALS_DIRECTORY", world.root())
            .stdin(Stdio::from(
                std::fs::File::open(world.path("token")).unwrap(),
            ));
        Said::from(command.output().unwrap())
    };
    for (source, out) in [
        ("env:EST_TOKEN", "a"),
        ("credential:token", "b"),
        ("stdin", "c"),
    ] {
        run(source, out).must_succeed();
        must_be_a_pair(&world, out);
    }
    run("env:NOT_THERE", "d").must_refuse(1, "no variable NOT_THERE");
    // A file that others read holds no secret.
    std::fs::set_permissions(
        world.path("token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let said = run("file:token", "d");
    said.must_refuse(1, "others may read it");
    assert!(!said.err.contains(TOKEN));
    assert!(!world.path("d").exists());
}

#[test]
fn a_server_that_does_not_prove_itself_never_hears_the_token() {
    let world = world();
    // Another authority, with a server of its own in the place of the right one.
    world.run(["init", "--dir", "elsewhere"]).must_succeed();
    world
        .run(
            "issue --dir elsewhere --profile server --ip 127.0.0.1 --new-key --out false-tls"
                .split_whitespace(),
        )
        .must_succeed();
    let server = EstServer::start(&world, "false-tls", DEVICE, Behaviour::Good);
    let right = fingerprint(&world, "pki/trust.pem");
    let wrong = fingerprint(&world, "elsewhere/trust.pem");
    for (anchor, says) in [
        ("--trust pki/trust.pem".to_owned(), "no TLS with the server"),
        // It brings the right root, as anybody can, and does not lead to it.
        (format!("--fingerprint {right}"), "no TLS with the server"),
        (
            format!("--fingerprint {wrong}"),
            "none of the server's authorities",
        ),
    ] {
        enrol(
            &world,
            &server,
            &format!("--token-from file:token {anchor} --out out"),
        )
        .must_refuse(1, says);
        assert!(!world.path("out").exists());
    }
    assert!(server.authorizations.lock().unwrap().is_empty());
    assert!(
        server
            .heard()
            .iter()
            .all(|request| request.starts_with("GET "))
    );
    assert!(
        world
            .names(".")
            .iter()
            .all(|name| !name.starts_with(".pki-"))
    );
}

#[test]
fn a_server_for_another_host_is_refused() {
    let world = world();
    world
        .pki("issue --profile server --dns est.example --new-key --out named")
        .must_succeed();
    let server = EstServer::start(&world, "named", DEVICE, Behaviour::Good);
    enrol(
        &world,
        &server,
        "--token-from file:token --trust pki/trust.pem --out out",
    )
    .must_refuse(1, "no TLS with the server");
}

#[test]
fn a_wrong_token_is_refused_in_words_and_leaves_nothing() {
    let world = world();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::Good);
    let mut command = world.command(
        format!(
            "enrol --est {} --id {DEVICE} --token-from env:T --trust pki/trust.pem --out out",
            server.url()
        )
        .split_whitespace(),
    );
    let said = Said::from(command.env("T", "wrong-4712").output().unwrap());
    said.must_refuse(1, "status 401: who is this at");
    assert!(!said.err.contains("wrong-4712"), "{}", said.err);
    assert_eq!(world.count("--profile device"), 0);
    assert!(!world.path("out").exists());
}

#[test]
fn a_directory_that_is_in_use_gets_no_second_pair() {
    let world = world_with_device();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::Good);
    enrol(
        &world,
        &server,
        "--token-from file:token --trust pki/trust.pem --out out",
    )
    .must_refuse(1, "out exists already");
    assert!(server.heard().is_empty());
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_replaces_nothing() {
    for (behaviour, says) in [
        (Behaviour::OldCertificate, "no certificate for the key"),
        (Behaviour::OtherName, "no certificate for the key"),
        (Behaviour::Later, "asked again in 3600 s"),
        (Behaviour::Refuse, "status 403: no\\u{1b}[31m pump"),
        (Behaviour::BreakOff, "did not answer"),
        (Behaviour::Garbage, "holds no certificates"),
        (Behaviour::Endless, "holds no certificates"),
    ] {
        let world = world_with_device();
        world.device("urn:example:somebody-else", "other");
        let server = EstServer::start(&world, "tls", DEVICE, behaviour);
        let before = (world.read("out/cert.pem"), world.read("out/key.pem"));
        let said = renew(&world, &server);
        said.must_refuse(1, says);
        assert!(
            said.err.contains("the old certificate is valid until"),
            "{}",
            said.err
        );
        assert_eq!(
            (world.read("out/cert.pem"), world.read("out/key.pem")),
            before
        );
        assert!(
            world
                .names(".")
                .iter()
                .all(|name| !name.starts_with(".pki-"))
        );
        // A request that was sent is not sent twice.
        let posts = |request: &&String| request.starts_with("POST");
        assert_eq!(
            server.heard().iter().filter(posts).count(),
            1,
            "{behaviour:?}"
        );
    }
}

#[test]
fn with_the_same_key_an_old_certificate_that_comes_back_is_no_new_one() {
    let world = world_with_device();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::OldCertificate);
    world
        .run(["renew", "--in", "out", "--same-key", "--est", &server.url()])
        .must_refuse(1, "no later than the old one");
}

#[test]
fn an_authority_that_is_down_is_tried_three_times_and_the_old_pair_goes_on() {
    let world = world_with_device();
    // A port that nobody listens on any more.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let before = world.read("out/key.pem");
    let said = world.run([
        "renew",
        "--in",
        "out",
        "--est",
        &format!("https://{address}"),
    ]);
    said.must_refuse(1, "tried 3 times");
    assert!(
        said.err.contains("the old certificate is valid until"),
        "{}",
        said.err
    );
    assert_eq!(world.read("out/key.pem"), before);
}

#[test]
fn a_disk_that_takes_no_more_leaves_the_old_pair() {
    let world = world_with_device();
    let server = EstServer::start(&world, "tls", DEVICE, Behaviour::Good);
    let before = (world.read("out/cert.pem"), world.read("out/key.pem"));
    // No file may grow beyond so many blocks of 512 octets: nothing; or the key, and no chain.
    for (blocks, posts) in [(0, 0), (1, 1)] {
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec {} renew --in out --est {}",
            env!("CARGO_BIN_EXE_pki"),
            server.url()
        );
        let output = Command::new("dash")
            .args(["-c", &script])
            .current_dir(world.root())
            .output()
            .expect("dash must be installed");
        Said::from(output).must_refuse(1, "cannot write");
        assert_eq!(
            (world.read("out/cert.pem"), world.read("out/key.pem")),
            before
        );
        assert!(
            world
                .names(".")
                .iter()
                .all(|name| !name.starts_with(".pki-"))
        );
        let heard = server.heard();
        let heard = heard.iter().filter(|request| request.starts_with("POST"));
        assert_eq!(
            heard.count(),
            posts,
            "nothing is asked for that cannot be kept"
        );
    }
}
