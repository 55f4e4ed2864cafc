//! An answer that its upstream signed is what was signed, for the request that was asked, or nothing of it
//! leaves.

use http::{HeaderMap, Method, StatusCode};
use integration::configuration::Configuration;
use integration::gateway::Gateway;
use integration::origin::Seen;
use integration::program::Program;
use integration::world::World;
use integrity::{Component, Draft, Message, Params, Request, Response, SigningKey};

use super::{Asked, Framing, P256, UNCOMPARED, Way, answer, make_key, now, sha256, signing_key};

/// What must not leave.
const CANARY: &str = "canary-7c02";

/// What an upstream signs, and how.
struct Draw<'a> {
    covers: &'a [&'a str],
    created: u64,
    key: &'a SigningKey,
}

impl Draw<'_> {
    /// An answer to a request, signed.
    fn answer(&self, seen: &Seen, content: &[u8]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/plain".parse().unwrap());
        headers.insert("content-digest", sha256(content).parse().unwrap());
        let covers = self.covers.iter().map(|name| Component::parse(name));
        let covers: Vec<_> = covers.collect::<Result<_, _>>().unwrap();
        let params = Params {
            created: Some(self.created),
            ..Params::default()
        };
        let method: Method = seen.method.parse().unwrap();
        let asked = super::fields(&seen.headers);
        let answer = Message::Response(Response {
            status: StatusCode::OK,
            headers: &headers,
            trailers: None,
            request: Some(Request {
                method: &method,
                scheme: "https",
                authority: seen.header("host").unwrap_or_default(),
                path: &seen.target,
                query: None,
                target: None,
                headers: &asked,
                trailers: None,
            }),
        });
        let draft = Draft::new("api", &covers, &params).unwrap();
        draft
            .sign(&answer, self.key)
            .unwrap()
            .attach(&mut headers)
            .unwrap();
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
        super::answer(Framing::Length, &lines.collect::<String>(), content)
    }
}

/// A gateway that knows with which key the upstream signs, the one in `upstream.pem`.
pub(super) fn knowing(world: &World) -> Gateway {
    for name in ["upstream.pem", "other.pem"] {
        make_key(world, name, P256);
    }
    Program::of_the_machine("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(world.place.path("upstream.pem"))
        .arg("-out")
        .arg(world.place.path("upstream.pub.pem"))
        .run()
        .expect_code(0);
    Gateway::start(&world.place, &known(world))
}

fn known(world: &World) -> Configuration {
    let known = "[upstreams.origin]\nanswer_key = \"upstream.pub.pem\"";
    world.configuration().with(known)
}

const GOOD: &[&str] = &[
    "\"@status\"",
    "\"content-digest\"",
    "\"content-type\"",
    "\"@path\";req",
    "\"x-request-id\";req",
];

#[test]
fn an_answer_that_its_upstream_signed_passes_or_is_502() {
    let world = World::new();
    let gateway = knowing(&world);
    let path = |name: &str| signing_key(&world.place.path(name));
    let (key, other) = (path("upstream.pem"), path("other.pem"));
    let _origin = world.answering(move |seen| {
        let good = Draw {
            covers: GOOD,
            created: now(),
            key: &key,
        };
        let text = |draw: &Draw<'_>| draw.answer(seen, CANARY.as_bytes());
        let replaced = |from: &str, to: &str| {
            let answer = String::from_utf8(text(&good)).unwrap();
            assert!(answer.contains(from), "{from} in {answer}");
            answer.replacen(from, to, 1).into_bytes()
        };
        match seen.target.as_str() {
            "/good" => text(&good),
            "/unsigned" => answer(Framing::Length, "", CANARY.as_bytes()),
            "/key" => text(&Draw {
                key: &other,
                ..good
            }),
            "/old" => text(&Draw {
                created: now() - 1000,
                ..good
            }),
            "/no-digest" => text(&Draw {
                covers: &["\"@status\""],
                ..good
            }),
            "/no-status" => text(&Draw {
                covers: &["\"content-digest\""],
                ..good
            }),
            "/status" => replaced("200 OK", "203 OK"),
            "/type" => replaced("text/plain", "text/html"),
            "/input" => replaced("signature-input:", "x-input:"),
            "/bytes" => replaced("signature:", "x-signature:"),
            "/digest" => replaced(&sha256(CANARY.as_bytes()), &sha256(b"other")),
            "/other" => Draw { ..good }.answer(
                &Seen {
                    target: "/another".to_owned(),
                    ..seen.clone()
                },
                CANARY.as_bytes(),
            ),
            "/content" => replaced("canary", "kanary"),
            _ => answer(Framing::Length, "", b"ok"),
        }
    });
    // What is signed is verified also where digests are nobody's concern.
    for more in ["", UNCOMPARED] {
        assert!(gateway.reload_with(&known(&world).with(more)));
        for way in [Way::Http11, Way::Http2] {
            for target in ["/good", "/unsigned"] {
                let answer = Asked::get(target).over(&world, way).unwrap();
                assert_eq!(answer.text(), CANARY, "{target}");
            }
            for target in [
                "/key",
                "/old",
                "/no-digest",
                "/no-status",
                "/status",
                "/type",
                "/input",
                "/bytes",
                "/digest",
                "/other",
            ] {
                let answer = Asked::get(target).over(&world, way).unwrap();
                gateway.refused(&answer, 502, "answer_signature_invalid");
                assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
            }
            let answer = Asked::get("/content").over(&world, way).unwrap();
            gateway.refused(&answer, 502, "answer_digest_mismatch");
        }
        world.is_served();
        gateway.verify();
    }
}

#[test]
fn a_signature_over_a_digest_that_nobody_can_compare_is_not_enough() {
    let world = World::new();
    let gateway = knowing(&world);
    let key = signing_key(&world.place.path("upstream.pem"));
    let _origin = world.answering(move |_| {
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", "md5=:YQ==:".parse().unwrap());
        let message = Message::Response(Response {
            status: StatusCode::OK,
            headers: &headers,
            trailers: None,
            request: None,
        });
        let covers = ["@status", "content-digest"].map(|name| Component::named(name).unwrap());
        let params = Params {
            created: Some(now()),
            ..Params::default()
        };
        let signed = Draft::new("api", &covers, &params).unwrap();
        let signed = signed.sign(&message, &key).unwrap();
        let fields = format!(
            "content-digest: md5=:YQ==:\r\nsignature-input: {}\r\nsignature: {}\r\n",
            signed.input(),
            signed.signature()
        );
        answer(Framing::Length, &fields, CANARY.as_bytes())
    });
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.refused(&answer, 502, "answer_digest_mismatch");
    assert!(!answer.text().contains(CANARY));
}
