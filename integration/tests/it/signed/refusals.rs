//! What is refused of a signed request: each with its status, its code, and why on record, before
//! anything of it reaches the upstream.

use aws_lc_rs::digest::SHA512;
use integration::signer::{Request, Signer, digest_field, now, sha256_of};
use integration::streams::Streams;

use super::{Signing, observation};

/// What is wrong, how it comes about, how it is answered, and a part of what is on record of it.
type Row = (
    &'static str,
    fn(&Signer) -> Request,
    u16,
    &'static str,
    &'static str,
);

/// Signs with one thing changed.
fn with(signer: &Signer, change: impl FnOnce(&mut integration::signer::Signature)) -> Request {
    let mut signature = signer.signature(&observation());
    change(&mut signature);
    signer.sign(observation(), &signature)
}

/// The request with another digest field, which is signed.
fn digest(signer: &Signer, value: &str) -> Request {
    signer.signed(observation().with("content-digest", value))
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("no signature", |_| observation(),
        401, "signature_missing", "signature_missing"),
    ("only its input", |signer| signer.signed(observation()).without("signature"),
        400, "signature_malformed", "signature_unpaired"),
    ("only its bytes", |signer| signer.signed(observation()).without("signature-input"),
        400, "signature_malformed", "signature_unpaired"),
    ("another label", |signer| {
        let signed = signer.signed(observation());
        let bytes = signed.field("signature").replacen("sig1", "sig2", 1);
        signed.with("signature", &bytes)
    }, 400, "signature_malformed", "signature_unpaired"),
    ("not base64", |signer| signer.signed(observation()).with("signature", "sig1=:%%%%:"),
        400, "signature_malformed", "signature_malformed"),
    ("no digest", |signer| signer.signed(observation().without("content-digest")),
        400, "digest_missing", "there is no digest of the content"),
    ("a digest of other content", |signer| digest(signer, &sha256_of(b"other")),
        400, "digest_mismatch", "sha-256"),
    ("one good digest and one that is wrong", |signer| {
        let wrong = digest_field("sha-512", &SHA512, b"other");
        digest(signer, &format!("{}, {wrong}", sha256_of(&observation().body)))
    }, 400, "digest_mismatch", "sha-512"),
    ("a digest that is no byte sequence", |signer| digest(signer, "sha-256=abc"),
        400, "digest_malformed", "a value is not of the type"),
    ("a digest of another length", |signer| digest(signer, "sha-256=:YWJj:"),
        400, "digest_malformed", "length"),
    ("a digest that nobody trusts", |signer| digest(signer, "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"),
        400, "digest_malformed", "no digest is of an algorithm that is trusted"),
    ("a keyid that nobody has", |signer| with(signer, |it| it.keyid = Some("nobody".into())),
        401, "signature_key_unknown", "signature_key_unknown"),
    ("too old", |signer| with(signer, |it| it.created = Some(now() - 340)),
        401, "signature_time", "too long ago"),
    ("of the future", |signer| with(signer, |it| it.created = Some(now() + 60)),
        401, "signature_time", "in the future"),
    ("expired", |signer| with(signer, |it| {
        (it.created, it.expires) = (Some(now() - 100), Some(now() - 60));
    }), 401, "signature_time", "has expired"),
    ("expired before it began", |signer| with(signer, |it| it.expires = Some(now() - 1)),
        400, "signature_malformed", "signature_expires_first"),
    ("no time", |signer| with(signer, |it| it.created = None),
        401, "signature_insufficient", "parameter created"),
    ("no nonce", |signer| with(signer, |it| it.nonce = None),
        401, "signature_insufficient", "parameter nonce"),
    ("an empty nonce", |signer| with(signer, |it| it.nonce = Some(String::new())),
        401, "signature_insufficient", "parameter nonce"),
    ("no keyid", |signer| with(signer, |it| it.keyid = None),
        401, "signature_insufficient", "parameter keyid"),
    ("another algorithm", |signer| with(signer, |it| it.alg = Some("ed25519".into())),
        401, "signature_insufficient", "not the algorithm of the key"),
    ("a shared secret", |signer| with(signer, |it| it.alg = Some("hmac-sha256".into())),
        401, "signature_insufficient", "not one that is accepted here"),
    ("an algorithm of its own", |signer| with(signer, |it| it.alg = Some("rot13".into())),
        401, "signature_insufficient", "signature_algorithm_unknown"),
    ("nothing covered", |signer| with(signer, |it| it.covers.clear()),
        401, "signature_insufficient", "signature_covers_nothing"),
    ("the method left out", |signer| with(signer, |it| *it = it.clone().not_covering("@method")),
        401, "signature_insufficient", "@method"),
    ("the host left out", |signer| with(signer, |it| *it = it.clone().not_covering("@authority")),
        401, "signature_insufficient", "@authority"),
    ("the path left out", |signer| with(signer, |it| *it = it.clone().not_covering("@path")),
        401, "signature_insufficient", "@path"),
    ("the query left out", |signer| with(signer, |it| *it = it.clone().not_covering("@query")),
        401, "signature_insufficient", "@query"),
    ("the digest left out", |signer| with(signer, |it| *it = it.clone().not_covering("content-digest")),
        401, "signature_insufficient", "content-digest"),
    ("the type left out", |signer| with(signer, |it| *it = it.clone().not_covering("content-type")),
        401, "signature_insufficient", "content-type"),
    ("a component twice", |signer| with(signer, |it| it.covers.push("@path".into())),
        400, "signature_malformed", "component_twice"),
    ("a component that is not there", |signer| with(signer, |it| it.covers.push("x-absent".into())),
        400, "signature_malformed", "component_absent"),
    ("altered on its way", |signer| signer.signed(observation()).with("content-type", "text/plain"),
        401, "signature_invalid", "does not verify"),
];

#[test]
fn each_way_of_not_signing_well_is_refused_by_its_own_name_and_reaches_nobody() {
    let signing = Signing::start("");
    let mut line = signing.world.line();
    let mut streams = Streams::open(&signing.world.caller()).unwrap();
    for (what, make, status, code, detail) in ROWS {
        line.send(make(&signing.signer).bytes()).unwrap();
        let first = line.answer().unwrap();
        let second = make(&signing.signer).over(&mut streams).unwrap();
        for answer in [first, second] {
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (*status, *code),
                "{what}: {answer:?}"
            );
            signing.gateway.refused(&answer, *status, code);
            assert_eq!(
                signing.gateway.records().story_of(answer.id()),
                [format!("refusal {code}")],
                "{what}: no intent"
            );
            let records = signing.gateway.records();
            let told = records.of_request(answer.id())[0].text("detail").to_owned();
            assert!(told.contains(detail), "{what}: {told}");
            let asks = answer.header("accept-signature").unwrap_or_default();
            let is_told = code.starts_with("signature_");
            assert_eq!(is_told, asks.starts_with("sig=("), "{what}: {asks}");
            let scheme = (*status == 401).then_some("Signature");
            assert_eq!(answer.header("www-authenticate"), scheme, "{what}");
        }
    }
    assert_eq!(signing.reached(), [""; 0]);
    // None of that is held against who signs well, on the same connections.
    line.send(signing.signer.signed(observation()).bytes())
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    let last = signing.signer.signed(observation()).over(&mut streams);
    assert_eq!(last.unwrap().status, 200);
    signing.gateway.verify();
}

#[test]
fn what_is_asked_for_is_what_this_request_would_have_to_cover() {
    let signing = Signing::start("");
    let asks = |request: &Request| {
        let answer = request.ask(&signing.world.caller());
        answer.header("accept-signature").unwrap().to_owned()
    };
    assert_eq!(
        asks(&Request::get("/x")),
        "sig=(\"@method\" \"@authority\" \"@path\");created;nonce;keyid"
    );
    assert_eq!(
        asks(&observation()),
        "sig=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"content-type\");created;nonce;keyid"
    );
    let missing = signing
        .signer
        .signed(observation().without("content-digest"));
    let answer = missing.ask(&signing.world.caller());
    assert_eq!(answer.header("want-content-digest"), Some("sha-256=10"));
}

#[test]
fn a_clock_that_is_off_by_the_skew_and_an_age_up_to_the_limit_are_accepted() {
    let signing = Signing::start("");
    for (created, expires) in [(0, None), (25, None), (-325, None), (-100, Some(-25_i64))] {
        let at = |offset: i64| now().checked_add_signed(offset).unwrap();
        signing.accepts(&with(&signing.signer, |it| {
            (it.created, it.expires) = (Some(at(created)), expires.map(at));
        }));
    }
}

#[test]
fn nobody_signs_for_another_client() {
    let signing = Signing::start("");
    let world = &signing.world;
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let theirs = Signer::of(&other);
    // With the key of another client, under its name or under one's own.
    signing.refuses(&theirs.signed(observation()), 401, "signature_key_unknown");
    let renamed = Signer::of(&other).named(signing.signer.keyid());
    signing.refuses(&renamed.signed(observation()), 401, "signature_invalid");
    // What a client signed, sent by another.
    let caught = signing.signer.signed(observation());
    let answer = caught.ask(&world.nobody().with(&other));
    signing
        .gateway
        .refused(&answer, 401, "signature_key_unknown");
    // It was used up by nobody.
    signing.accepts(&caught);
    let answer = theirs
        .signed(observation())
        .ask(&world.nobody().with(&other));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn content_without_a_digest_is_not_signed_even_where_digests_are_not_asked_for() {
    let signing = Signing::start("[[routes]]\nname = \"all\"\ndigest = \"when-present\"");
    let bare = observation().without("content-digest");
    signing.refuses(&signing.signer.signed(bare), 401, "signature_insufficient");
    assert_eq!(signing.reached(), [""; 0]);
    signing.accepts(&signing.signer.signed(observation()));
    signing.accepts(&signing.signer.signed(Request::get("/x")));
}

#[test]
fn a_signature_that_nobody_asked_for_must_be_good_all_the_same() {
    let signing = Signing::start("[[routes]]\nname = \"all\"\nsignature = \"when-present\"");
    signing.accepts(&observation());
    let signed = signing.signer.signed(observation());
    signing.accepts(&signed);
    signing.refuses(&signed, 401, "signature_replayed");
    let altered = signing.signer.signed(observation());
    let altered = altered.with("content-type", "text/plain");
    signing.refuses(&altered, 401, "signature_invalid");
    assert_eq!(signing.reached().len(), 2);
}
