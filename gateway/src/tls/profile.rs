//! Versions, suites, groups and signature schemes, and the policy that a hello is held against.
//!
//! The policy is read off the very objects that rustls enforces, so that the two cannot disagree.

use std::sync::Arc;

use config::TlsPolicy;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::SignatureVerificationAlgorithm;
use rustls::sign::CertifiedKey;
use rustls::{
    ProtocolVersion, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use crate::hello::{self, ParameterSet};
use crate::peer::Protocol;

/// The protocols on top of TLS, the preferred one first (RFC 7301).
pub const ALPN: &[(&[u8], Protocol)] = &[(b"h2", Protocol::Http2), (b"http/1.1", Protocol::Http1)];

/// The algorithms by which a signature on a certificate or a revocation list counts.
pub fn signature_algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    webpki::ALL_VERIFICATION_ALGS
}

/// The library's primitives, cut down to what we offer: ECDHE with AEAD, the post-quantum hybrid
/// first (RFC 9325 4.2).
pub fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite as suite, kx_group as group};
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            group::X25519MLKEM768,
            group::X25519,
            group::SECP256R1,
            group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The versions of a policy, the highest first.
pub(super) fn versions(policy: TlsPolicy) -> &'static [&'static SupportedProtocolVersion] {
    static MODERN: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    static INTERMEDIATE: &[&SupportedProtocolVersion] =
        &[&rustls::version::TLS13, &rustls::version::TLS12];
    match policy {
        TlsPolicy::Modern => MODERN,
        TlsPolicy::Intermediate => INTERMEDIATE,
    }
}

/// The policy that a hello is held against. The suites of TLS 1.2 are bound to a kind of key, those of
/// TLS 1.3 are not.
pub(super) fn hello_policy(
    provider: &CryptoProvider,
    policy: TlsPolicy,
    keys: &[Arc<CertifiedKey>],
) -> hello::Policy {
    let mut sets = Vec::new();
    for version in versions(policy) {
        if version.version == ProtocolVersion::TLSv1_3 {
            sets.push(ParameterSet {
                version: version.version.into(),
                suites: suites(provider, None),
                groups: groups(provider, version),
                signatures: schemes(provider, keys, None),
            });
            continue;
        }
        for kind in [
            SignatureAlgorithm::ECDSA,
            SignatureAlgorithm::RSA,
            SignatureAlgorithm::ED25519,
        ] {
            let signatures = schemes(provider, keys, Some(kind));
            if !signatures.is_empty() {
                sets.push(ParameterSet {
                    version: version.version.into(),
                    suites: suites(provider, Some(kind)),
                    groups: groups(provider, version),
                    signatures,
                });
            }
        }
    }
    hello::Policy {
        sets,
        protocols: ALPN.iter().map(|(name, _)| name.to_vec()).collect(),
    }
}

/// The suites of TLS 1.2 for a kind of key; without one, those of TLS 1.3.
fn suites(provider: &CryptoProvider, kind: Option<SignatureAlgorithm>) -> Vec<u16> {
    let fits = |suite: &&SupportedCipherSuite| match (suite.tls13(), kind) {
        (Some(_), None) => true,
        (None, Some(kind)) => suite.usable_for_signature_algorithm(kind),
        (Some(_), Some(_)) | (None, None) => false,
    };
    let numbers = provider.cipher_suites.iter().filter(fits);
    numbers.map(|suite| u16::from(suite.suite())).collect()
}

fn groups(provider: &CryptoProvider, version: &SupportedProtocolVersion) -> Vec<u16> {
    let usable = |group: &&&dyn SupportedKxGroup| group.usable_for_version(version.version);
    let numbers = provider.kx_groups.iter().filter(usable);
    numbers.map(|group| u16::from(group.name())).collect()
}

/// The schemes by which our keys (of this kind) can sign. Without a kind, in TLS 1.3, where PKCS #1
/// v1.5 signs certificates only (RFC 8446 4.2.3).
fn schemes(
    provider: &CryptoProvider,
    keys: &[Arc<CertifiedKey>],
    kind: Option<SignatureAlgorithm>,
) -> Vec<u16> {
    let pkcs1 = |scheme: &SignatureScheme| {
        matches!(
            scheme,
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
        )
    };
    let signs = |scheme: &SignatureScheme| {
        let mut keys = keys
            .iter()
            .map(|key| &key.key)
            .filter(|key| kind.is_none_or(|kind| key.algorithm() == kind));
        keys.any(|key| key.choose_scheme(&[*scheme]).is_some())
    };
    let known = provider
        .signature_verification_algorithms
        .supported_schemes();
    let fit = known
        .into_iter()
        .filter(|scheme| signs(scheme) && (kind.is_some() || !pkcs1(scheme)));
    fit.map(u16::from).collect()
}
