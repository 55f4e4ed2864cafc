//! How long does it take to read a ClientHello and to hold it against the rules? What rustls sends to a
//! listener for TLS 1.3 alone; with its JA4 besides, as each connection asks for; and a byte at a time, the
//! worst that a client can do to the reader.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::hello::{HelloReader, ParameterSet, Policy, judge};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The first flight of a client.
fn flight() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Nobody comes so far as to be verified.
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("api.example").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// What a listener of the profile `modern` with an ECDSA certificate serves.
fn policy() -> Policy {
    Policy {
        sets: vec![ParameterSet {
            version: 0x0304,
            suites: vec![0x1302, 0x1301, 0x1303],
            groups: vec![0x11ec, 0x001d, 0x0017, 0x0018],
            signatures: vec![0x0403],
        }],
        protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

fn hellos(criterion: &mut Criterion) {
    let (flight, policy) = (flight(), policy());
    let read = |flight: &[u8]| {
        let hello = HelloReader::new().read(flight).expect("a good hello");
        judge(hello.expect("all of it"), &policy).expect("one that is served")
    };
    read(&flight);
    let mut group = criterion.benchmark_group("hello");
    group.throughput(Throughput::Bytes(flight.len() as u64));
    group.bench_function("read and judged", |bench| {
        bench.iter(|| read(black_box(&flight)));
    });
    group.bench_function("read, judged, its JA4 made", |bench| {
        bench.iter(|| read(black_box(&flight)).hello().ja4());
    });
    group.bench_function("a byte at a time", |bench| {
        bench.iter(|| {
            let mut reader = HelloReader::new();
            let hello = (1..=flight.len()).find_map(|length| {
                let read = reader.read(black_box(&flight[..length]));
                read.expect("a good hello")
            });
            judge(hello.expect("all of it"), &policy).expect("one that is served")
        });
    });
    group.finish();
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = hellos
}
criterion_main!(benches);
