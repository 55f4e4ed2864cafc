//! What does a full mutual TLS 1.3 handshake cost the gateway? Two ends in memory, certificates of P-256,
//! TLS_AES_128_GCM_SHA256, and of the time only the server's: CPU time of this thread while it works.
//!
//! | row | who comes |
//! |---|---|
//! | `floor` | rustls and webpki alone, with one configuration for all connections: nothing of ours |
//! | `first visit` | a device whose certificate the gateway has not seen: one is issued for each handshake |
//! | `returning device` | the same device each time |
//!
//! The two rows of the gateway go its whole way: the hello is read, judged and gets its JA4, the connection
//! its configuration and its stream, the chain its verdict. What is not here: sockets, tasks, the record, the
//! request.

use std::cell::RefCell;
use std::hint::black_box;
use std::io;
use std::ops::DerefMut;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use config::{CertificateName, NameKind, TlsPolicy, TrustName, WhenStale};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::buffers::Buffers;
use gateway::ca::CaCertificate;
use gateway::hello::{HelloReader, judge};
use gateway::revocation::{Index, List, Seen};
use gateway::stream::{Failed, TlsStream};
use gateway::tls::{ClientTrust, Clients, Evidence, OwnCertificate, Revocation, ServerSide};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber, date_time_ymd,
};
use rustix::time::{ClockId, clock_gettime};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The one that all have, and the post-quantum one that we prefer.
const GROUPS: [(&str, &dyn SupportedKxGroup); 2] = [
    ("x25519", aws_lc_rs::kx_group::X25519),
    ("x25519mlkem768", aws_lc_rs::kx_group::X25519MLKEM768),
];

/// An authority, the gateway's certificate, and the key of the one device.
struct Pki {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    device_key: KeyPair,
}

impl Pki {
    fn new() -> Pki {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("a root").der().clone();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let server = server.signed_by(&key, &issuer).expect("a certificate");
        Pki {
            issuer,
            root,
            server: (server.der().clone(), private(&key)),
            device_key: KeyPair::generate().expect("a key"),
        }
    }

    /// A certificate of a device with this number.
    fn device(&self, number: u64) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        let name = format!("urn:example:pump-{number}");
        let name = name.try_into().expect("an ASCII name");
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(number + 1));
        let device = params.signed_by(&self.device_key, &self.issuer);
        device.expect("a certificate").der().clone()
    }

    /// What a device of this certificate connects with.
    fn client(
        &self,
        device: CertificateDer<'static>,
        group: &'static dyn SupportedKxGroup,
    ) -> Arc<ClientConfig> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![group];
        let wanted = CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider
            .cipher_suites
            .retain(|suite| suite.suite() == wanted);
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![device], private(&self.device_key))
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        roots
    }

    /// rustls as anybody would configure it who wants no tickets.
    fn floor(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(gateway::tls::provider());
        let clients = WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots()),
            Arc::clone(&provider),
        );
        let (chain, key) = (vec![self.server.0.clone()], self.server.1.clone_key());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    /// A listener for TLS 1.3 that requires certificates, with a revocation list in force.
    fn listener(&self) -> ServerSide {
        let now = i64::try_from(rustls::pki_types::UnixTime::now().as_secs()).expect("a time");
        let root = CaCertificate::judge(&self.root, now).expect("an authority");
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2040, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        let algorithms = gateway::tls::signature_algorithms();
        let list = List::read(list.der(), &[&root], algorithms, now).expect("a good list");
        let revocation = Revocation::Lists {
            index: Index::build(vec![list]),
            when_stale: WhenStale::Refuse,
            seen: Seen::default(),
        };
        let name = TrustName::parse("devices").expect("a name");
        let trust = ClientTrust::new(name, NameKind::SanUri, vec![root], Vec::new(), revocation);
        let name = CertificateName::parse("server").expect("a name");
        let chain = vec![self.server.0.clone()];
        let key = self.server.1.clone_key();
        let certified = CertifiedKey::from_der(chain, key, &gateway::tls::provider());
        let own = OwnCertificate::judge(name, certified.expect("a key"), now);
        ServerSide::new(
            TlsPolicy::Modern,
            vec![Arc::new(own.expect("a certificate of a server"))],
            Clients::Required(Arc::new(trust)),
        )
    }
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

/// Our end of a connection.
trait End {
    /// Takes what the client sent, and answers. Whether the handshake is over.
    fn turn(&mut self, received: &[u8], sent: &mut Vec<u8>) -> bool;
}

/// rustls by itself.
struct Floor(ServerConnection);

impl End for Floor {
    fn turn(&mut self, received: &[u8], sent: &mut Vec<u8>) -> bool {
        feed(&mut self.0, received);
        while self.0.wants_write() {
            self.0.write_tls(sent).expect("memory");
        }
        let is_over = !self.0.is_handshaking();
        assert!(!is_over || self.0.peer_certificates().is_some());
        is_over
    }
}

/// As `gateway::handshake` does it.
struct Ours<'a> {
    listener: &'a ServerSide,
    buffers: Buffers,
    wire: Rc<RefCell<Wire>>,
    accepting: Option<Accepting>,
    /// Kept, so that its end is not a part of what is measured.
    established: Option<TlsStream<Socket>>,
}

/// A handshake that goes on when bytes arrive, and where its verdict will be.
type Accepting = (
    Pin<Box<dyn Future<Output = Result<TlsStream<Socket>, Box<Failed<Socket>>>>>>,
    Arc<Evidence>,
);

impl End for Ours<'_> {
    fn turn(&mut self, received: &[u8], sent: &mut Vec<u8>) -> bool {
        let listener = self.listener;
        let (accepting, evidence) = match &mut self.accepting {
            Some(accepting) => {
                self.wire.borrow_mut().received.extend_from_slice(received);
                accepting
            }
            None => {
                let read = HelloReader::new().read(received).expect("a good hello");
                let inspected = judge(read.expect("all of it"), listener.hello());
                let inspected = inspected.expect("one that is served");
                black_box(inspected.hello().ja4());
                let (config, evidence) = listener.connection(0).expect("a configuration");
                let socket = Socket(Rc::clone(&self.wire));
                let (buffers, hello) = (self.buffers.clone(), received.to_vec());
                let accept =
                    async move { TlsStream::accept(socket, config, hello, &buffers).await };
                self.accepting.insert((Box::pin(accept), evidence))
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        let is_over = match accepting.as_mut().poll(&mut context) {
            Poll::Pending => false,
            Poll::Ready(stream) => {
                self.established = stream.ok();
                assert!(self.established.is_some(), "a good handshake");
                assert!(evidence.verdict.get().is_some_and(Result::is_ok));
                listener.remember(evidence);
                true
            }
        };
        sent.append(&mut self.wire.borrow_mut().sent);
        is_over
    }
}

/// What is on its way, both ways.
#[derive(Default)]
struct Wire {
    received: Vec<u8>,
    sent: Vec<u8>,
}

/// The server's end of it.
struct Socket(Rc<RefCell<Wire>>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let received = &mut self.0.borrow_mut().received;
        if received.is_empty() {
            return Poll::Pending;
        }
        let length = received.len().min(into.remaining());
        into.put_slice(&received[..length]);
        received.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().sent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A handshake from the first byte to the last; how much CPU time the server took of it.
fn handshake<E: End>(end: impl FnOnce() -> E, client: &Arc<ClientConfig>) -> Duration {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    while client.wants_write() {
        client.write_tls(&mut received).expect("memory");
    }
    let mut begun = now();
    let mut end = end();
    let mut taken = Duration::ZERO;
    loop {
        let is_over = end.turn(&received, &mut sent);
        taken += now().saturating_sub(begun);
        if is_over {
            return taken;
        }
        feed(&mut client, &sent);
        sent.clear();
        received.clear();
        while client.wants_write() {
            client.write_tls(&mut received).expect("memory");
        }
        assert!(!received.is_empty(), "both ends wait for each other");
        begun = now();
    }
}

/// Hands over what was written.
fn feed<S: rustls::SideData>(
    connection: &mut impl DerefMut<Target = rustls::ConnectionCommon<S>>,
    mut bytes: &[u8],
) {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).expect("memory");
        let processed = connection.process_new_packets();
        processed.expect("a good handshake");
    }
}

/// CPU time of this thread.
fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.try_into().expect("a clock that does not run backwards")
}

fn handshakes(criterion: &mut Criterion) {
    let pki = Pki::new();
    let (floor, listener) = (pki.floor(), pki.listener());
    let by_floor = |device: &Arc<ClientConfig>| {
        let end = || Floor(ServerConnection::new(Arc::clone(&floor)).expect("a connection"));
        handshake(end, device)
    };
    let buffers = Buffers::default();
    let by_us = |device: &Arc<ClientConfig>| {
        let ours = || Ours {
            listener: &listener,
            buffers: buffers.clone(),
            wire: Rc::default(),
            accepting: None,
            established: None,
        };
        handshake(ours, device)
    };
    let mut visitors = 0;
    let mut group = criterion.benchmark_group("handshake");
    for (name, offered) in GROUPS {
        let device = pki.client(pki.device(0), offered);
        group.bench_function(BenchmarkId::new("floor", name), |bench| {
            bench.iter_custom(|times| (0..times).map(|_| by_floor(&device)).sum());
        });
        group.bench_function(BenchmarkId::new("first visit", name), |bench| {
            bench.iter_custom(|times| {
                let visit = |_| {
                    visitors += 1;
                    by_us(&pki.client(pki.device(visitors), offered))
                };
                (0..times).map(visit).sum()
            });
        });
        by_us(&device);
        group.bench_function(BenchmarkId::new("returning device", name), |bench| {
            bench.iter_custom(|times| (0..times).map(|_| by_us(&device)).sum());
        });
    }
    group.finish();
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = handshakes
}
criterion_main!(benches);
