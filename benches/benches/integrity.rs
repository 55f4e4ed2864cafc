//! What will digests (RFC 9530) and message signatures (RFC 9421) cost a request? `gateway/integrity` is empty
//! so far, so these are the primitives that it will stand on, of aws-lc-rs: SHA-256 of content of 1 KiB,
//! 64 KiB and 1 MiB, and the verification of a signature over a signature base of 512 bytes, as ECDSA with
//! P-256 (the signature as `r || s`, RFC 9421 3.3.4) and as Ed25519 (3.3.6). Keys come as they stand in a
//! directory of keys, so reading one is a part of it. Signing, which answers will need, stands beside them.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = digests, signatures
}
criterion_main!(benches);
