//! The TLS library as an oracle: what it would serve, the rules let pass, and the other way round.

use super::super::{HelloRefusal, ParameterSet, Policy, ServerName, judge};
use super::build::{
    Build, key_shares, list8, list16, pre_shared_keys, protocols, read, server_name,
};
use super::vectors::vectors;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, DnsName};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, ServerConnection};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, HandshakeKind, ProtocolVersion, SignatureAlgorithm, SignatureScheme};
use std::sync::Arc;

/// A key that signs nothing worth having, which no hello can tell.
#[derive(Clone, Copy, Debug)]
struct Key {
    algorithm: SignatureAlgorithm,
    schemes: &'static [SignatureScheme],
}

const KEYS: [Key; 2] = [
    Key {
        algorithm: SignatureAlgorithm::ECDSA,
        schemes: &[SignatureScheme::ECDSA_NISTP256_SHA256],
    },
    Key {
        algorithm: SignatureAlgorithm::RSA,
        schemes: &[
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
    },
];

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.schemes.iter().find(|scheme| offered.contains(scheme));
        scheme.map(|scheme| Box::new(Scheme(*scheme)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[derive(Debug)]
struct Scheme(SignatureScheme);

impl Signer for Scheme {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

/// Shows the first of the keys that can sign.
#[derive(Debug)]
struct Resolver(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut keys = self.0.iter();
        keys.find(|key| key.key.choose_scheme(schemes).is_some())
            .cloned()
    }
}

/// A listener: as the library serves it, and as the rules are told of it.
struct Listener {
    config: Arc<ServerConfig>,
    policy: Policy,
}

fn listener(modern: bool, keys: &[Key]) -> Listener {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if modern {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let policy = policy(&provider, versions, keys);
    let certificate = vec![CertificateDer::from(vec![0x30, 0])];
    let certified = |key: &Key| Arc::new(CertifiedKey::new(certificate.clone(), Arc::new(*key)));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(keys.iter().map(certified).collect())));
    config.alpn_protocols.clone_from(&policy.protocols);
    config.require_ems = true;
    Listener {
        config: Arc::new(config),
        policy,
    }
}

/// What the library serves, in the terms of the rules.
fn policy(
    provider: &CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
    keys: &[Key],
) -> Policy {
    let set = |version: ProtocolVersion, key: &Key| {
        let usable = |scheme: &&SignatureScheme| {
            version != ProtocolVersion::TLSv1_3 || !PKCS1.contains(scheme)
        };
        ParameterSet {
            version: version.into(),
            suites: provider
                .cipher_suites
                .iter()
                .filter(|suite| {
                    suite.version().version == version
                        && suite.usable_for_signature_algorithm(key.algorithm)
                })
                .map(|suite| suite.suite().into())
                .collect(),
            groups: provider
                .kx_groups
                .iter()
                .filter(|group| group.usable_for_version(version))
                .map(|group| group.name().into())
                .collect(),
            signatures: key
                .schemes
                .iter()
                .filter(usable)
                .map(|scheme| (*scheme).into())
                .collect(),
        }
    };
    Policy {
        sets: versions
            .iter()
            .flat_map(|version| keys.iter().map(|key| set(version.version, key)))
            .collect(),
        protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

/// Not for signatures of TLS 1.3 (RFC 8446 4.2.3).
const PKCS1: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

impl Listener {
    /// Whether the library goes on, and how.
    fn serves(&self, mut received: &[u8]) -> Result<Answer, Error> {
        let mut connection = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        while !received.is_empty() {
            connection.read_tls(&mut received).unwrap();
            connection.process_new_packets()?;
        }
        Ok(match connection.handshake_kind() {
            Some(HandshakeKind::FullWithHelloRetryRequest) => Answer::Retry,
            _ => Answer::Hello,
        })
    }

    fn judges(&self, received: &[u8]) -> Result<(), HelloRefusal> {
        let judged = judge(read(received)?, &self.policy);
        judged.map(|_| ()).map_err(|refused| refused.refusal)
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Hello,
    Retry,
}

fn listeners() -> impl Iterator<Item = Listener> {
    let keys = [&KEYS[..], &KEYS[..1], &KEYS[1..]];
    keys.into_iter()
        .flat_map(|keys| [false, true].map(|modern| listener(modern, keys)))
}

/// What the rules refuse and the library would serve, each because an RFC says so.
const fn is_ours_alone(refusal: &HelloRefusal) -> bool {
    matches!(
        refusal,
        HelloRefusal::Fallback { .. } | HelloRefusal::KeyShare { .. }
    )
}

#[test]
fn captured_hellos_are_judged_as_the_library_judges_them() {
    for listener in listeners() {
        for vector in vectors() {
            let (ours, library) = (
                listener.judges(&vector.bytes),
                listener.serves(&vector.bytes),
            );
            let alike = ours.is_ok() == library.is_ok();
            let excused = ours.is_err_and(|refusal| is_ours_alone(&refusal));
            assert!(alike || excused, "{}: {ours:?}, {library:?}", vector.name);
        }
    }
}

/// Offers of every kind: lists that are cut short, extensions that are left out.
fn offer() -> impl Strategy<Value = Build> {
    const SUITES: [u16; 9] = [
        0x1301, 0x1302, 0xc02b, 0xc030, 0xcca8, 0x002f, 0x00ff, 0x5600, 0x4a4a,
    ];
    const VERSIONS: [u16; 5] = [0x7a7a, 0x0304, 0x0303, 0x0302, 0x7f1c];
    const GROUPS: [u16; 6] = [0xdada, 0x11ec, 0x001d, 0x0017, 0x0019, 0x0100];
    const SCHEMES: [u16; 6] = [0x0403, 0x0804, 0x0401, 0x0201, 0x0203, 0x0807];
    const PROTOCOLS: [&str; 4] = ["\n\n", "h2", "http/1.1", "imap"];
    let lists = (
        subsequence(&SUITES[..], 1..=9).prop_shuffle(),
        subsequence(&VERSIONS[..], 1..=5),
        subsequence(&GROUPS[..], 1..=6).prop_shuffle(),
        subsequence(&SCHEMES[..], 1..=6).prop_shuffle(),
        subsequence(&PROTOCOLS[..], 1..=4),
    );
    let missing = subsequence(vec![0, 10, 11, 13, 16, 23, 43, 45, 51], 0..=2);
    let odd = (
        select(vec![0x0300_u16, 0x0301, 0x0303, 0x0303, 0x0303, 0x0304]),
        select(vec![vec![0], vec![0], vec![0, 1], vec![1]]),
        select(vec![vec![1, 0], vec![1, 0], vec![2, 1, 0], vec![1, 1]]),
        select(vec!["gateway.example", "under_score", "127.0.0.1"]),
        select(vec![
            vec![],
            vec![(0x001d, 32)],
            vec![(0x0a0a, 1), (0x001d, 32)],
        ]),
        any::<bool>(),
    );
    (lists, missing, odd).prop_map(|(lists, missing, odd)| {
        let (suites, versions, groups, schemes, names) = lists;
        let (legacy_version, compression, formats, name, shares, resumes) = odd;
        let mut build = Build::tls13()
            .with(0, server_name(name))
            .with(10, list16(&groups))
            .with(11, formats)
            .with(13, list16(&schemes))
            .with(16, protocols(&names))
            .with(43, list8(&versions))
            .with(51, key_shares(&shares));
        if resumes {
            build = build.with(41, pre_shared_keys(1, 1));
        }
        build.legacy_version = legacy_version;
        build.suites = suites;
        build.compression_methods = compression;
        missing.into_iter().fold(build, Build::without)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_the_library_serves_the_rules_let_pass(build in offer()) {
        let bytes = build.bytes();
        for listener in listeners() {
            if let (Ok(answer), Err(refusal)) = (listener.serves(&bytes), listener.judges(&bytes)) {
                let ssl3 = build.legacy_version == 0x0300;
                // At some things the library looks only after a retry.
                let early = answer == Answer::Retry
                    && matches!(
                        refusal,
                        HelloRefusal::NoSharedSignature
                            | HelloRefusal::NoSharedProtocol
                            | HelloRefusal::MissingExtension { extension: 45 }
                    );
                prop_assert!(is_ours_alone(&refusal) || ssl3 || early, "{:?}", refusal);
            }
        }
    }

    #[test]
    fn what_the_rules_let_pass_the_library_serves(build in offer()) {
        let (bytes, hello) = (build.bytes(), build.hello());
        // Suites of TLS 1.3 in a hello of TLS 1.2 make the library offer its resolver schemes that
        // no suite of TLS 1.2 goes with, and then refuse the key that was chosen.
        let misleading = hello.suites.iter().any(|suite| suite >> 8 == 0x13);
        for listener in listeners() {
            let tls12 = !hello.offers_version(0x0304);
            if listener.judges(&bytes).is_ok() && !(tls12 && misleading) {
                prop_assert!(listener.serves(&bytes).is_ok(), "{:?}", listener.serves(&bytes));
            }
        }
    }

    #[test]
    fn what_is_read_as_a_host_is_one_to_the_library(name in "[a-z0-9._-]{1,24}") {
        let read = Build::tls13().with(0, server_name(&name)).read();
        let ours = read.is_ok_and(|hello| matches!(hello.server_name, Some(ServerName::Host(_))));
        // RFC 6066 3 has no trailing dot; the library lets it pass.
        let library = DnsName::try_from(&*name).is_ok() && !name.ends_with('.');
        prop_assert_eq!(ours, library);
    }
}
