//! What reaches an API carries the gateway's signature, so that the API can prove that it came through the
//! gateway and who sent it: here by the example that the library ships for APIs.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use integration::authority::Credentials;
use integration::configuration::OPEN;
use integration::gateway::Gateway;
use integration::nginx::Nginx;
use integration::origin::{self, Origin, Seen};
use integration::program::{Program, Ran};
use integration::world::World;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{Asked, P256, Way, make_key, published, sha256, sha512};

const SIGNED: &str = r#"
[signatures]
key = "file:signing.pem"
[upstreams.origin]
signed = true
"#;

const CONTENT: &str = "{\"resourceType\":\"Observation\"}";

/// A gateway that signs what it forwards, an API, and the keys that the API knows.
struct Signing {
    gateway: Gateway,
    origin: Origin,
    world: World,
}

impl Signing {
    #[track_caller]
    fn start(more: &str) -> Signing {
        let world = World::new();
        make_key(&world, "signing.pem", P256);
        let origin = world.plain_origin();
        let gateway = world.gateway(&format!("{SIGNED}{more}"));
        let keys = published(&world).body;
        world.place.write("keys.json", keys);
        Signing {
            gateway,
            origin,
            world,
        }
    }

    /// Sends a request, and brings what the API got.
    #[track_caller]
    fn forwarded(&self, asked: &Asked, way: Way) -> Seen {
        let answer = asked.over(&self.world, way).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = self.origin.seen().pop().unwrap();
        assert_eq!(seen.header("x-request-id"), Some(answer.id()));
        seen
    }

    /// What the API makes of a request.
    #[track_caller]
    fn judge(&self, request: impl AsRef<[u8]>) -> Ran {
        Program::ours("examples/api")
            .arg(self.world.place.path("keys.json"))
            .input(request)
            .run()
    }

    /// The API takes a request for one of this client.
    #[track_caller]
    fn is_taken(&self, seen: &Seen, client: &str) {
        let ran = self.judge(text(seen)).expect_code(0);
        let id = seen.header("x-request-id").unwrap();
        let said = format!("request {id} came through the gateway for {client}\n");
        assert_eq!(ran.stdout, said);
    }

    #[track_caller]
    fn is_refused(&self, request: impl AsRef<[u8]>, why: &str) {
        let ran = self.judge(request).expect_code(1);
        assert!(ran.stdout.starts_with("refused: "), "{ran:?}");
        assert!(ran.stdout.contains(why), "{why}: {ran:?}");
    }
}

/// A request as it arrived, its content without its framing.
fn text(seen: &Seen) -> String {
    format!("{}{}", seen.head, String::from_utf8_lossy(&seen.body))
}

/// How the certificate of a client is named (RFC 8705 3.1).
fn named(credentials: &Credentials) -> String {
    let certificate = CertificateDer::from_pem_file(&credentials.certificate).unwrap();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate))
}

#[test]
fn an_api_can_prove_that_a_request_came_through_the_gateway_and_whose_it_is() {
    let signing = Signing::start("");
    let device = named(&signing.world.device);
    let post = Asked::get("/fhir/Observation").method("POST").body(CONTENT);
    for asked in [
        Asked::get("/fhir/Patient/17"),
        Asked::get("/fhir/Patient?name=a%20b&_count=2"),
        Asked::get("/fhir/Patient?"),
        Asked::get("/fhir/Patient/17").method("HEAD"),
        Asked::get("/fhir/Patient/17").method("DELETE"),
        post.clone(),
        post.clone().with("content-type", "application/fhir+json"),
        post.clone()
            .with("content-digest", &sha512(CONTENT.as_bytes())),
        post.with("repr-digest", &sha512(CONTENT.as_bytes())),
    ] {
        for way in [Way::Http10, Way::Http11, Way::Http2] {
            let seen = signing.forwarded(&asked, way);
            signing.is_taken(&seen, &device);
            let input = seen.header("signature-input").unwrap();
            let (phigate, tag) = (input.starts_with("phigate=("), ";tag=\"phigate\"");
            assert!(phigate && input.contains(tag), "{input}");
            for name in [
                "\"@method\"",
                "\"@authority\"",
                "\"@path\"",
                "\"client-cert\"",
            ] {
                assert!(input.contains(name), "{name} in {input}");
            }
        }
    }
    signing.gateway.verify();
}

#[test]
fn what_was_altered_behind_the_gateway_is_refused_by_the_api() {
    let signing = Signing::start("");
    let asked = Asked::get("/fhir/Observation?a=b")
        .method("POST")
        .body(CONTENT);
    let seen = signing.forwarded(&asked, Way::Http11);
    let text = text(&seen);
    let certificate = seen.header("client-cert").unwrap().to_owned();
    let id = seen.header("x-request-id").unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1)
    };
    let invalid = "the signature does not verify";
    let other = certificate.replacen('M', "N", 1);
    for (altered, why) in [
        (replaced("POST ", "PUT "), invalid),
        (replaced("/fhir/Observation", "/fhir/Patient"), invalid),
        (replaced("?a=b", "?a=c"), invalid),
        (replaced("?a=b", ""), ""),
        (replaced("api.test", "api.tset"), invalid),
        (replaced(&certificate, &other), invalid),
        (replaced(id, &id.replace(&id[..1], "_")), invalid),
        (
            replaced(&sha256(CONTENT.as_bytes()), &sha256(b"other")),
            invalid,
        ),
        (replaced("Observation\"}", "Observatory\"}"), "sha-256"),
        (replaced("signature:", "x-signature:"), "Signature"),
        (replaced("phigate\"", "elsewho\""), ""),
        (replaced("content-digest:", "x-content-digest:"), ""),
        (replaced("client-cert:", "x-client-cert:"), ""),
        (
            replaced(
                "client-cert:",
                &format!("client-cert: {certificate}\r\nclient-cert:"),
            ),
            invalid,
        ),
    ] {
        signing.is_refused(altered, why);
    }
    // One that came by another way, and keys of somebody else.
    signing.is_refused("GET /x HTTP/1.1\r\nhost: api.test\r\n\r\n", "not signed");
    make_key(&signing.world, "other.pem", P256);
    let other = world_key(&signing.world, "other.pem");
    signing.world.place.write("keys.json", other);
    signing.is_refused(&text, "key");
}

/// A key set with the public half of this key.
fn world_key(world: &World, name: &str) -> String {
    let key = super::signing_key(&world.place.path(name));
    integrity::JwkSet::write([&key.verifying_key().unwrap()]).unwrap()
}

#[test]
fn a_request_with_content_states_its_digest_as_far_as_the_buffer_goes() {
    let signing = Signing::start("[[routes]]\nname = \"all\"\nbuffer = \"1KiB\"");
    let post = |content: &str| Asked::get("/x").method("POST").body(content);
    let seen = signing.forwarded(&post(CONTENT), Way::Http2);
    let digest = sha256(CONTENT.as_bytes());
    assert_eq!(seen.header("content-digest"), Some(digest.as_str()));
    // What its client stated stays as it was.
    let own = sha512(CONTENT.as_bytes());
    let seen = signing.forwarded(&post(CONTENT).with("content-digest", &own), Way::Http11);
    assert_eq!(seen.header("content-digest"), Some(own.as_str()));
    // A digest of the representation does not stand for one of the content.
    let seen = signing.forwarded(&post(CONTENT).with("repr-digest", &own), Way::Http11);
    assert_eq!(seen.header("repr-digest"), Some(own.as_str()));
    assert_eq!(seen.header("content-digest"), Some(digest.as_str()));
    // Of no content nothing is said.
    let seen = signing.forwarded(&Asked::get("/x"), Way::Http11);
    assert_eq!(seen.header("content-digest"), None);
    // What is larger passes without one, and an API that insists on one refuses it.
    let large = "x".repeat(5_000);
    let seen = signing.forwarded(&post(&large), Way::Http11);
    assert_eq!(
        (seen.header("content-digest"), seen.body.len()),
        (None, 5_000)
    );
    signing.is_refused(text(&seen), "content-digest");
    // Unless its client stated it.
    let stated = post(&large).with("content-digest", &sha256(large.as_bytes()));
    let seen = signing.forwarded(&stated, Way::Http11);
    signing.is_taken(&seen, &named(&signing.world.device));
}

#[test]
fn the_signature_of_a_client_stands_beside_that_of_the_gateway() {
    let signing = Signing::start("");
    let device = named(&signing.world.device);
    let asked = Asked::get("/x");
    let asked = asked.with(
        "signature-input",
        "sig1=(\"@method\");created=1;keyid=\"mine\"",
    );
    let asked = asked.with("signature", "sig1=:YWJjZA==:");
    for way in [Way::Http11, Way::Http2] {
        let seen = signing.forwarded(&asked, way);
        let signatures = seen.header("signature").unwrap();
        assert!(
            signatures.starts_with("sig1=:YWJjZA==:, phigate=:"),
            "{signatures}"
        );
        signing.is_taken(&seen, &device);
    }
}

#[test]
fn nobody_signs_in_the_name_of_the_gateway() {
    let signing = Signing::start("");
    let before = signing.origin.seen().len();
    let sign = |input: &str, signature: &str| {
        let asked = Asked::get("/x").with("signature-input", input);
        asked.with("signature", signature)
    };
    // Its label, and what leaves nothing to stand beside.
    for asked in [
        sign(
            "phigate=(\"@method\");created=1;tag=\"phigate\"",
            "phigate=:YWJjZA==:",
        ),
        sign("phigate=(\"@method\");created=1", "phigate=:YWJjZA==:"),
        sign("not a dictionary", "sig1=:YWJjZA==:"),
        sign("sig1=(\"@method\");created=1", "sig1=:%%%:"),
    ] {
        for way in [Way::Http11, Way::Http2] {
            let answer = asked.over(&signing.world, way).unwrap();
            signing.gateway.refused(&answer, 400, "field_refused");
        }
    }
    assert_eq!(signing.origin.seen().len(), before);
    // Its tag under another label: of two the API takes neither.
    let keys = published(&signing.world).json();
    let keyid = keys["keys"][0]["kid"].as_str().unwrap();
    let input = format!("sig1=(\"@method\");created=1;keyid=\"{keyid}\";tag=\"phigate\"");
    let seen = signing.forwarded(&sign(&input, "sig1=:YWJjZA==:"), Way::Http11);
    signing.is_refused(text(&seen), "more than one signature");
    // Without the gateway in front nothing of it is worth anything.
    let forged = "GET /x HTTP/1.1\r\nhost: api.test\r\nx-request-id: 1\r\n";
    let now = super::now();
    let forged = format!(
        "{forged}signature-input: phigate=(\"@method\" \"@authority\" \"@path\" \"x-request-id\");\
         created={now};nonce=\"1\";keyid=\"{keyid}\";tag=\"phigate\"\r\n\
         signature: phigate=:{}:\r\n\r\n",
        "A".repeat(86) + "=="
    );
    signing.is_refused(forged, "the signature does not verify");
}

#[test]
fn a_client_without_a_certificate_is_nobody_to_the_api() {
    let signing = Signing::start(OPEN);
    let claim = "GET /open HTTP/1.1\r\nhost: api.test\r\nclient-cert: :YWJj:\r\n\r\n";
    let answer = signing.world.nobody().ask(claim).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = signing.origin.seen().pop().unwrap();
    signing.is_taken(&seen, "nobody");
    // Nor can a name be written in behind the gateway.
    let head = text(&seen).replacen("\r\n", "\r\nclient-cert: :YWJj:\r\n", 1);
    signing.is_refused(head, "client-cert");
}

#[test]
fn over_http_2_an_api_gets_the_signature_too() {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    let address = world.place.at(origin::PORT);
    // It answers with what it got.
    let fields = [
        "client_cert",
        "x_request_id",
        "signature_input",
        "signature",
    ];
    let lines = fields.map(|field| format!("{}: $http_{field}\\r\\n", field.replace('_', "-")));
    let lines = lines.concat();
    let echo = format!("$request_method $request_uri HTTP/1.1\\r\\nhost: $host\\r\\n{lines}\\r\\n");
    let _nginx = Nginx::start(
        &world.place,
        &format!(
            "server {{ listen {address} http2; large_client_header_buffers 8 64k; location / {{ return 200 \"{echo}\"; }} }}"
        ),
    );
    let gateway = world.gateway(&format!("{SIGNED}protocol = \"h2\""));
    let device = named(&world.device);
    world.place.write("keys.json", published(&world).body);
    let answer = Asked::get("/fhir/Patient?a=b")
        .over(&world, Way::Http2)
        .unwrap();
    let ran = Program::ours("examples/api")
        .arg(world.place.path("keys.json"))
        .input(&answer.body)
        .run()
        .expect_code(0);
    let said = format!(
        "request {} came through the gateway for {device}\n",
        answer.id()
    );
    assert_eq!(ran.stdout, said);
    gateway.verify();
}
