//! What do digests (RFC 9530) and message signatures (RFC 9421) cost a request? The primitives of aws-lc-rs:
//! SHA-256 of content of 1 KiB, 64 KiB and 1 MiB, and a signature over a base of 512 bytes, as ECDSA with P-256
//! (`r || s`, RFC 9421 3.3.4) and as Ed25519 (3.3.6). Beside them, in the same run, all that a route with
//! `signature = "required"` does with a request of 1 KiB: its digest read and compared, the signature found,
//! judged, its base built, verified with the key of the client's certificate, and its nonce taken by the window
//! and written to the journal. And what an answer costs that is signed.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::replays::{Reach, Replays, Times};
use gateway::signing::OwnSigner;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use integrity::digest::CONTENT_DIGEST;
use integrity::{
    Candidate, Component, DigestAlgorithm, Digests, Draft, Hasher, Message, Params, Policy,
    Request, Response, Selection, SigningKey,
};

/// About as long as the base of a request with ten covered components is.
const BASE: [u8; 512] = [b'a'; 512];

fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("integrity/sha-256");
    for length in [1024, 64 * 1024, 1024 * 1024] {
        let content = vec![b'.'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bench| {
            bench.iter(|| digest(&SHA256, black_box(&content)));
        });
    }
    group.finish();
}

fn signatures(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let ed25519 = Ed25519KeyPair::generate().expect("a key");
    let sign_ecdsa = || ecdsa.sign(&random, black_box(&BASE)).expect("a signature");
    let sign_ed25519 = || ed25519.sign(black_box(&BASE));

    let mut group = criterion.benchmark_group("integrity/signature");
    let (key, signature) = (ecdsa.public_key().as_ref(), sign_ecdsa());
    group.bench_function("verified, P-256", |bench| {
        bench.iter(|| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, black_box(key))
                .verify(&BASE, signature.as_ref())
                .expect("a good signature");
        });
    });
    let (key, signature) = (ed25519.public_key().as_ref(), sign_ed25519());
    group.bench_function("verified, Ed25519", |bench| {
        bench.iter(|| {
            UnparsedPublicKey::new(&ED25519, black_box(key))
                .verify(&BASE, signature.as_ref())
                .expect("a good signature");
        });
    });
    group.bench_function("made, P-256", |bench| bench.iter(sign_ecdsa));
    group.bench_function("made, Ed25519", |bench| bench.iter(sign_ed25519));
    group.finish();
}

/// A request of 1 KiB as a device sends it, its signature under this nonce.
fn signed(key: &SigningKey, content: &[u8], nonce: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/fhir+json");
    headers.insert(CONTENT_TYPE, json);
    let digest = Hasher::digest(&[DigestAlgorithm::Sha256], content);
    headers.insert(CONTENT_DIGEST, digest.header_value());
    let covered = COVERED.map(|name| Component::named(name).expect("a component"));
    let params = Params {
        created: Some(NOW),
        nonce: Some(format!("{nonce:032x}").into()),
        keyid: Some("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY".into()),
        ..Params::default()
    };
    let draft = Draft::new("sig1", &covered, &params).expect("a draft");
    let request = Message::Request(request(&headers));
    let signed = draft.sign(&request, key).expect("a signature");
    signed.attach(&mut headers).expect("one signature");
    headers
}

const COVERED: [&str; 5] = [
    "@method",
    "@authority",
    "@path",
    "content-digest",
    "content-type",
];

/// Seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        method: &Method::POST,
        scheme: "https",
        authority: "api.clinic.example",
        path: "/fhir/Observation",
        query: None,
        target: Some("/fhir/Observation"),
        headers,
        trailers: None,
    }
}

fn messages(criterion: &mut Criterion) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let pkcs8 = pair.to_pkcs8v1().expect("a document");
    let key = SigningKey::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let public = key.verifying_key().expect("a public key");
    let content = [b'.'; 1024];
    let policy = Policy::strict(
        COVERED
            .map(|name| Component::named(name).expect("one"))
            .to_vec(),
    );
    let directory = std::env::temp_dir().join(format!("phigate-bench-{}", std::process::id()));
    let replays = Replays::new(directory.clone(), 1_000_000);
    let reach = Reach { age: 300, skew: 30 };
    replays.open(NOW, reach).expect("a window");
    let headers = signed(&key, &content, 0);
    let mut number = 0_u64;
    let mut group = criterion.benchmark_group("integrity/message");
    group.bench_function("1 KiB, digest and P-256, as a route asks", |bench| {
        bench.iter(|| {
            let headers = black_box(&headers);
            let stated = Digests::read(headers, &CONTENT_DIGEST).expect("a digest");
            let stated = stated.expect("one that is there");
            let request = Message::Request(request(headers));
            let candidate = Candidate::examine(&request, Selection::only(), &policy, NOW);
            let verified = candidate
                .expect("good")
                .verify(&public)
                .expect("a good one");
            // Each under a nonce of its own, by so many clients that none has its share.
            number += 1;
            let whose = (number % 1000).to_be_bytes();
            let times = Times {
                created: verified.params().created.expect("a time"),
                expires: None,
            };
            replays
                .accept(NOW, times, &whose, &number.to_be_bytes())
                .expect("a new one");
            let mut hasher = stated.hasher();
            hasher.update(black_box(&content));
            stated.check(&hasher.finish()).expect("what was sent");
        });
    });
    let signer = OwnSigner::new(key).expect("a signer");
    group.bench_function("an answer of 1 KiB, digest and P-256", |bench| {
        bench.iter(|| {
            let mut answer = HeaderMap::new();
            let digest = Hasher::digest(&[DigestAlgorithm::Sha256], black_box(&content));
            answer.insert(CONTENT_DIGEST, digest.header_value());
            let response = Response {
                status: StatusCode::OK,
                headers: &answer,
                trailers: None,
                request: Some(request(&headers)),
            };
            let signed = signer.sign_answer(response, NOW).expect("a signature");
            signed.attach(&mut answer).expect("one signature");
            answer
        });
    });
    group.finish();
    drop(replays);
    // What is left behind is a file in the folder of temporary ones.
    let _ = std::fs::remove_dir_all(directory);
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = digests, signatures, messages
}
criterion_main!(benches);
