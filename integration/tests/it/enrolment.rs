//! A device that is nobody's of ours, only curl and openssl: it enrols over the network with a one-time token,
//! talks to the gateway, renews, is revoked, and is refused within seconds.

use std::net::TcpStream;
use std::time::Instant;

use integration::authority::Credentials;
use integration::line::End;
use integration::place::Place;
use integration::program::Program;
use integration::wait;
use integration::world::{DEVICE, World};

use crate::revoked::is_revoked_soon;

/// The ports of a place's authority: what it publishes, and enrolment.
const LISTS: u16 = 20_085;
const EST: u16 = 20_086;

/// A device with openssl and curl, in a directory of its own.
struct Device<'a> {
    place: &'a Place,
    est: String,
}

impl Device<'_> {
    /// Runs openssl in the place.
    fn openssl(&self, words: &str) {
        Program::of_the_machine("openssl")
            .directory(self.place.path("."))
            .args(words.split_whitespace())
            .run()
            .expect_code(0);
    }

    /// Asks for a certificate, with a new key, and puts what `gateway` clients need into `out`.
    fn enrols(&self, operation: &str, proof: &[&str], out: &str) -> Credentials {
        std::fs::create_dir(self.place.path(out)).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout {out}/key.pem \
             -subj /CN=pump -addext subjectAltName=URI:{DEVICE} -outform DER -out {out}/csr.der"
        ));
        self.openssl(&format!("base64 -in {out}/csr.der -out {out}/csr.b64"));
        let url = format!("https://{}/.well-known/est/{operation}", self.est);
        let body = format!("@{out}/csr.b64");
        let answer = format!("{out}/answer.b64");
        Program::of_the_machine("curl")
            .directory(self.place.path("."))
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(["--cacert", "fleet/trust.pem"])
            .args(["--header", "content-type: application/pkcs10"])
            .args(["--data-binary", &body, "--output", &answer])
            .args(proof)
            .arg(&url)
            .run()
            .expect_code(0);
        self.openssl(&format!("base64 -A -d -in {answer} -out {out}/answer.der"));
        self.openssl(&format!(
            "pkcs7 -inform DER -in {out}/answer.der -print_certs -out {out}/cert.pem"
        ));
        // The leaf, and its issuer, which lies where the authority publishes.
        let leaf = std::fs::read_to_string(self.place.path(format!("{out}/cert.pem"))).unwrap();
        let issuer = std::fs::read_to_string(self.place.path("fleet/crl/issuing.pem")).unwrap();
        let chain = self.place.path(format!("{out}/chain.pem"));
        std::fs::write(chain, leaf + &issuer).unwrap();
        Credentials::in_directory(&self.place.path(out))
    }
}

#[test]
fn a_device_enrols_renews_and_is_revoked_over_the_network_and_the_gateway_refuses_it_within_seconds()
 {
    let world = World::new();
    let _origin = world.plain_origin();
    let (lists, est) = (world.place.at(LISTS), world.place.at(EST));
    let pki = |verb: &[&str], more: &[&str]| {
        Program::ours("pki")
            .directory(world.place.path("."))
            .args(verb)
            .args(["--dir", "fleet"])
            .args(more)
            .run()
            .expect_code(0)
    };
    let url = format!("http://{lists}");
    pki(
        &["init"],
        &["--name", "fleet", "--url", &url, "--shards", "2"],
    );
    let address = est.ip().to_string();
    let server = [
        "--profile",
        "server",
        "--ip",
        &address,
        "--new-key",
        "--out",
        "est",
    ];
    pki(&["issue"], &server);
    let made = pki(&["token", "make"], &["--profile", "device", "--id", DEVICE]);
    let token = made.stdout.trim().to_owned();
    let _serving = Program::ours("pki")
        .directory(world.place.path("."))
        .args(["serve", "--dir", "fleet", "--est-certificate", "est"])
        .args(["--listen", &lists.to_string(), "--est", &est.to_string()])
        .start(&world.place, "pki");
    wait::until("the authority", || TcpStream::connect(est).ok());

    let device = Device {
        place: &world.place,
        est: est.to_string(),
    };
    let user = format!("{DEVICE}:{token}");
    let first = device.enrols("simpleenroll", &["--user", &user], "first");

    let urls = ["root", "issuing-00", "issuing-01"]
        .map(|name| format!("\"{url}/crl/{name}.crl\""))
        .join(", ");
    let _gateway = world.gateway(&format!(
        "[trust.devices]\nroots = [\"fleet/trust.pem\"]\nintermediates = [\"fleet/crl/issuing.pem\"]\n\
         revocation = {{ crls = [{urls}], kept = \"fetched\" }}"
    ));
    let is_served = |credentials: &Credentials| {
        let caller = world.nobody().with(credentials);
        assert_eq!(caller.ask("GET /x").unwrap().status, 200);
    };
    is_served(&first);

    let proof = ["--cert", "first/chain.pem", "--key", "first/key.pem"];
    let second = device.enrols("simplereenroll", &proof, "second");
    is_served(&second);
    // Both live until their ends; the token is spent for any other key.
    is_served(&first);
    let again = Program::of_the_machine("curl")
        .directory(world.place.path("."))
        .args([
            "--silent",
            "--fail",
            "--cacert",
            "fleet/trust.pem",
            "--user",
            &user,
        ])
        .args(["--header", "content-type: application/pkcs10"])
        .args(["--data-binary", "@second/csr.b64"])
        .arg(format!("https://{est}/.well-known/est/simpleenroll"))
        .run();
    assert_eq!(again.code(), 22, "refused by HTTP");

    let caller = world.nobody().with(&second);
    let mut line = caller.connect().unwrap();
    line.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    pki(&["revoke"], &["--id", DEVICE, "--reason", "keyCompromise"]);
    let revoked = Instant::now();
    is_revoked_soon(&caller, revoked);
    is_revoked_soon(&world.nobody().with(&first), revoked);
    assert_ne!(line.rest().1, End::Open, "the connection has ended");
}
