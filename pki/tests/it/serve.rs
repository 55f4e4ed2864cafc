//! `pki serve`: what verifiers get over plain HTTP, and what nobody gets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::profiles::{findings, pkilint};
use crate::support::{Said, World};

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(world: &World) -> Self {
        let mut process = world
            .command(["serve", "--dir", "pki", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
            let said: Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = said["listen"].as_str() {
                break address.to_owned();
            }
        };
        Self {
            process,
            address,
            log,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let kill = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(kill.success());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl World {
    /// What openssl gets for the certificate in `leaf`, or for `-serial`.
    fn status(&self, server: &Server, which: &str) -> Said {
        self.write(
            "cas.pem",
            self.read("pki/trust.pem") + &self.read("pki/crl/issuing.pem"),
        );
        let url = server.url("/ocsp");
        self.openssl(&format!(
            "ocsp -no_nonce -issuer pki/crl/issuing.pem {which} -CAfile cas.pem -url {url}"
        ))
    }

    /// Runs curl; what it got is in the file `got`, the head in `head`. Returns the status.
    fn curl(&self, words: &str) -> String {
        let output = Command::new("curl")
            .current_dir(self.root())
            .args(["-s", "-o", "got", "-D", "head", "-w", "%{http_code}"])
            .args(words.split_whitespace())
            .output()
            .expect("curl must be installed");
        String::from_utf8(output.stdout).unwrap()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.read("head").lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            (key.eq_ignore_ascii_case(name)).then(|| value.trim().to_owned())
        })
    }

    fn octets(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

#[test]
fn openssl_is_told_good_and_after_pki_revoke_revoked() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let server = Server::start(&world);
    let good = world.status(&server, "-cert pump/cert.pem").must_succeed();
    assert!(good.err.contains("Response verify OK"), "{}", good.err);
    assert!(good.out.contains("pump/cert.pem: good"), "{}", good.out);
    world
        .pki("revoke --id urn:example:pump-1 --reason keyCompromise")
        .must_succeed();
    let revoked = world.status(&server, "-cert pump/cert.pem");
    assert!(
        revoked.err.contains("Response verify OK"),
        "{}",
        revoked.err
    );
    assert!(
        revoked.out.contains("pump/cert.pem: revoked"),
        "{}",
        revoked.out
    );
    assert!(revoked.out.contains("keyCompromise"), "{}", revoked.out);
    // One that is issued while the server runs.
    world.device("urn:example:pump-2", "other");
    let other = world
        .status(&server, "-sha256 -cert other/cert.pem")
        .must_succeed();
    assert!(other.out.contains("good"), "{}", other.out);
}

#[test]
fn an_independent_linter_finds_nothing_in_a_response_or_in_its_responder() {
    let (Some(responses), Some(certificates)) =
        (pkilint("lint_ocsp_response"), pkilint("lint_pkix_cert"))
    else {
        crate::support::not_run("pkilint is not installed; `integration/test --prepare` does it");
        return;
    };
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let server = Server::start(&world);
    let answer = |name: &str| {
        world.status(&server, &format!("-cert pump/cert.pem -respout {name}"));
        findings(&world, &responses, &["lint"], name)
    };
    assert_eq!(answer("good.der"), [""; 0]);
    world
        .pki("revoke --id urn:example:pump-1 --reason keyCompromise")
        .must_succeed();
    assert_eq!(answer("revoked.der"), [""; 0]);
    let responder = world.openssl("x509 -in pki/ca/ocsp.pem").must_succeed();
    world.write("responder.pem", responder.out);
    let found = findings(&world, &certificates, &["lint"], "responder.pem");
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_the_authority_does_not_know_gets_no_signature() {
    let world = World::new();
    let server = Server::start(&world);
    for which in ["-serial 0x1234", "-cert pki/ca/issuing.pem"] {
        let said = world.status(&server, which);
        let says = said.out + &said.err;
        assert!(says.contains("unauthorized (6)"), "{which}: {says}");
    }
    // Of another issuer altogether.
    let stranger = World::new();
    world.write("stranger.pem", stranger.read("pki/crl/issuing.pem"));
    let url = server.url("/ocsp");
    let said = world.openssl(&format!(
        "ocsp -issuer stranger.pem -serial 1 -noverify -url {url}"
    ));
    assert!((said.out + &said.err).contains("unauthorized (6)"));
}

#[test]
fn by_get_and_by_post_the_same_signature_is_told_until_it_is_due() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let server = Server::start(&world);
    world
        .openssl("ocsp -no_nonce -issuer pki/crl/issuing.pem -cert pump/cert.pem -reqout request")
        .must_succeed();
    let base64 = world.openssl("base64 -A -in request").must_succeed().out;
    let escaped = base64
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let get = format!("/ocsp/{escaped}");
    assert_eq!(world.curl(&server.url(&get)), "200");
    let got = world.octets("got");
    let etag = world.header("etag").unwrap();
    let kind = world.header("content-type");
    assert_eq!(kind.as_deref(), Some("application/ocsp-response"));
    let control = world.header("cache-control").unwrap();
    assert!(
        control.contains("max-age=60") && control.contains("no-transform"),
        "{control}"
    );
    assert!(world.header("last-modified").is_some() && world.header("expires").is_some());
    // As it is, as many clients write it.
    assert_eq!(world.curl(&server.url(&format!("/ocsp/{base64}"))), "200");
    assert_eq!(world.octets("got"), got);
    let url = server.url("/ocsp");
    let post = "-H content-type:application/ocsp-request --data-binary @request";
    assert_eq!(world.curl(&format!("{post} {url}")), "200");
    assert_eq!(world.octets("got"), got);
    let conditional = format!("-H if-none-match:{etag} {}", server.url(&get));
    assert_eq!(world.curl(&conditional), "304");
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    assert_eq!(world.curl(&conditional), "200");
    assert_ne!(world.octets("got"), got);
}

#[test]
fn crls_and_certificates_are_fetched_in_der() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let server = Server::start(&world);
    let fetch = |path: &str, kind: &str| {
        assert_eq!(world.curl(&server.url(path)), "200", "{path}");
        assert_eq!(world.header("content-type").as_deref(), Some(kind));
        world.header("etag").unwrap()
    };
    fetch("/trust.pem", "application/pem-certificate-chain");
    assert_eq!(world.read("got"), world.read("pki/trust.pem"));
    for (path, file) in [("/issuing.cer", "issuing"), ("/root.cer", "root")] {
        fetch(path, "application/pkix-cert");
        let pem = world.openssl("x509 -inform DER -in got").must_succeed().out;
        assert_eq!(pem, world.read(&format!("pki/ca/{file}.pem")));
    }
    fetch("/crl/root.crl", "application/pkix-crl");
    let etag = fetch("/crl/issuing.crl", "application/pkix-crl");
    let number = || {
        let said = world.openssl("crl -inform DER -in got -noout -crlnumber");
        said.must_succeed().out
    };
    assert_eq!(number().trim(), "crlNumber=0x01");
    let url = server.url("/crl/issuing.crl");
    assert_eq!(world.curl(&format!("-H if-none-match:{etag} {url}")), "304");
    world
        .pki("revoke --id urn:example:pump-1 --reason superseded")
        .must_succeed();
    assert_eq!(world.curl(&format!("-H if-none-match:{etag} {url}")), "200");
    assert_eq!(number().trim(), "crlNumber=0x02");
    assert_eq!(world.curl(&format!("-I {url}")), "200");
    let length = world.header("content-length").unwrap();
    assert!(length.parse::<usize>().unwrap() > 100);
}

#[test]
fn nothing_else_of_the_directory_is_there() {
    let world = World::new();
    let server = Server::start(&world);
    for path in [
        "/",
        "/ca/issuing.key.pem",
        "/crl/../ca/issuing.key.pem",
        "/crl/..%2fca%2fissuing.key.pem",
        "/crl/issuing.pem",
        "/crl/none.crl",
        "/ca/ocsp.pem",
    ] {
        let url = format!("--path-as-is {}", server.url(path));
        assert_eq!(world.curl(&url), "404", "{path}");
        assert!(!world.read("got").contains("PRIVATE"), "{path}");
    }
    assert_eq!(world.curl(&server.url("/ocsp")), "405");
    assert_eq!(world.header("allow").as_deref(), Some("POST"));
    let url = server.url("/crl/root.crl");
    assert_eq!(world.curl(&format!("-X DELETE {url}")), "405");
    let url = server.url("/ocsp");
    assert_eq!(world.curl(&format!("--data x {url}")), "415");
    for body in ["garbage", "%41"] {
        world.write("body", body);
        let post = "-H content-type:application/ocsp-request --data-binary @body";
        assert_eq!(world.curl(&format!("{post} {url}")), "200");
        assert_eq!(world.octets("got"), [0x30, 3, 0x0a, 1, 1]);
    }
    assert_eq!(world.curl(&server.url("/ocsp/%zz")), "200");
    assert_eq!(world.octets("got"), [0x30, 3, 0x0a, 1, 1]);
}

/// Writes until nobody takes it any more. How many octets went out.
fn flood(mut stream: &TcpStream, head: &str, piece: &[u8], octets: usize) -> usize {
    if stream.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    let mut sent = 0;
    while sent < octets && stream.write_all(piece).is_ok() {
        sent += piece.len();
    }
    sent
}

#[test]
fn a_hundred_megabytes_of_garbage_are_refused_early() {
    const FLOOD: usize = 100 * 1024 * 1024;
    let world = World::new();
    let server = Server::start(&world);
    let post = "POST /ocsp HTTP/1.1\r\nhost: a\r\ncontent-type: application/ocsp-request\r\n";
    let chunk = [b"10000\r\n".as_slice(), &vec![0x30; 0x10000], b"\r\n"].concat();
    for (head, piece) in [
        (String::new(), vec![b'x'; 65_536]),
        (
            format!("{post}content-length: {FLOOD}\r\n\r\n"),
            vec![0x30; 65_536],
        ),
        (format!("{post}transfer-encoding: chunked\r\n\r\n"), chunk),
        ("GET /ocsp/".to_owned(), vec![b'A'; 65_536]),
    ] {
        let sent = flood(&server.connect(), &head, &piece, FLOOD);
        // What the buffers of two sockets hold.
        assert!(sent < FLOOD / 4, "{head}: {sent}");
    }
    let stream = server.connect();
    let head = format!("{post}content-length: {FLOOD}\r\n\r\n");
    (&stream).write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    (&stream).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(world.curl(&server.url("/root.cer")), "200");
}

#[test]
fn one_address_has_a_quarter_of_the_connections_and_others_are_served() {
    let world = World::new();
    let server = Server::start(&world);
    let silent: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    // One more is closed without a word.
    let mut more = server.connect();
    let mut nothing = Vec::new();
    let _ = more.read_to_end(&mut nothing);
    assert_eq!(nothing, b"");
    let url = server.url("/root.cer");
    assert_eq!(world.curl(&format!("--interface 127.0.0.2 {url}")), "200");
    drop(silent);
}

#[test]
fn a_silent_client_is_hung_up_on() {
    let world = World::new();
    let server = Server::start(&world);
    let silent = server.connect();
    (&silent).write_all(b"GET /root.cer HTTP/1.1\r\n").unwrap();
    let slow = server.connect();
    let head = "POST /ocsp HTTP/1.1\r\nhost: a\r\ncontent-type: application/ocsp-request\r\ncontent-length: 100\r\n\r\n0";
    (&slow).write_all(head.as_bytes()).unwrap();
    let mut rest = String::new();
    let _ = (&silent).read_to_string(&mut rest);
    assert!(!rest.contains("200"), "{rest}");
    let _ = (&slow).read_to_string(&mut rest);
    assert!(rest.contains("HTTP/1.1 408"), "{rest}");
}

#[test]
fn after_kill_9_everything_is_there_again_with_the_same_responder() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    for _ in 0..3 {
        let server = Server::start(&world);
        let good = world.status(&server, "-cert pump/cert.pem").must_succeed();
        assert!(good.out.contains("good"), "{}", good.out);
        server.signal("-KILL");
        drop(server);
    }
    assert_eq!(world.count("--profile ocsp"), 1);
    assert_eq!(world.mode("pki/ca/ocsp.pem"), 0o600);
}

#[test]
fn sigterm_ends_it_well_and_says_so() {
    let world = World::new();
    let mut server = Server::start(&world);
    let mut idle = server.connect();
    idle.write_all(b"GET /root.cer HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    server.signal("-TERM");
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    server.log.read_to_string(&mut log).unwrap();
    assert!(log.contains("ending"), "{log}");
}

#[test]
fn a_server_that_cannot_serve_does_not_start() {
    let world = World::new();
    let server = Server::start(&world);
    let taken = &server.address;
    let said = world.pki(&format!("serve --listen {taken}"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("cannot listen on"), "{}", said.err);
    assert!(said.err.contains("another --listen"), "{}", said.err);
    drop(server);
    std::fs::remove_file(world.path("pki/ca/ocsp.pem")).unwrap();
    std::fs::rename(world.path("pki/ca/issuing.key.pem"), world.path("aside")).unwrap();
    let said = world.pki("serve --listen 127.0.0.1:0");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("issuing.key.pem"), "{}", said.err);
    world.pki("serve --listen here").must_refuse(64, "--listen");
}
