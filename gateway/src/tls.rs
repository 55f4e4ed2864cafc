//! What TLS is: the one file that names versions, suites, groups and verifiers.
//!
//! rustls enforces all of it; `hello` has looked at the offer before and may only refuse more.
//! Standards: RFC 9325, NIST SP 800-52r2 3; RFC 8446, RFC 5246, RFC 7627. Never here: 0-RTT,
//! renegotiation, compression, session resumption (a ticket would outlive a revocation; it comes
//! with `tickets`, which can end it).
//!
//! A connection gets a configuration of its own, so that the verifier can leave its verdict with the
//! connection that it was about: [`Evidence`].
//!
//! Fails closed: a chain without a verdict is no client.

use std::fmt;
use std::sync::{Arc, OnceLock};

use config::{CertificateName, NameKind, TlsPolicy, TrustName, WhenStale};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hello::{self, ParameterSet};
use crate::hosts::Hosts;
use crate::identity::{ClientIdentity, IdentityRefusal, IssuerKey};
use crate::peer::Protocol;
use crate::revocation::{Index, Standing};
use crate::trust::Authority;

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
fn versions(policy: TlsPolicy) -> &'static [&'static SupportedProtocolVersion] {
    static MODERN: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    static INTERMEDIATE: &[&SupportedProtocolVersion] =
        &[&rustls::version::TLS13, &rustls::version::TLS12];
    match policy {
        TlsPolicy::Modern => MODERN,
        TlsPolicy::Intermediate => INTERMEDIATE,
    }
}

/// A certificate of the gateway with its key, and the names that it is good for.
#[derive(Debug)]
pub struct ServerEntry {
    name: CertificateName,
    certified: Arc<CertifiedKey>,
    fingerprint: [u8; 32],
    hosts: Arc<Hosts>,
    not_after: i64,
}

impl ServerEntry {
    /// Judges a chain and its key. `now` in seconds since 1970.
    pub fn judge(
        name: CertificateName,
        certified: CertifiedKey,
        now: i64,
    ) -> Result<ServerEntry, EntryFault> {
        let Some(leaf) = certified.cert.first() else {
            return Err(EntryFault::Empty);
        };
        let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
            return Err(EntryFault::Malformed);
        };
        // webpki is what the other side's judgment will be like.
        EndEntityCert::try_from(leaf).map_err(|_| EntryFault::Malformed)?;
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                return Err(EntryFault::KeyUnknown);
            }
            Err(_) => return Err(EntryFault::KeyMismatch),
        }
        if certificate.is_ca() {
            return Err(EntryFault::Authority);
        }
        if let Ok(Some(usage)) = certificate.extended_key_usage()
            && !usage.value.server_auth
            && !usage.value.any
        {
            return Err(EntryFault::Purpose);
        }
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() {
            return Err(EntryFault::Expired {
                not_after: validity.not_after.timestamp(),
            });
        }
        if now < validity.not_before.timestamp() {
            return Err(EntryFault::NotYetValid {
                not_before: validity.not_before.timestamp(),
            });
        }
        let hosts = Hosts::of(&certificate);
        if hosts.is_empty() {
            return Err(EntryFault::NoName);
        }
        let fingerprint = crate::identity::CertificateFacts::read(leaf).fingerprint;
        let not_after = validity.not_after.timestamp();
        Ok(ServerEntry {
            name,
            fingerprint,
            hosts: Arc::new(hosts),
            not_after,
            certified: Arc::new(certified),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &CertificateName {
        &self.name
    }

    /// SHA-256 of its leaf.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// End of its validity, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The hosts that its certificate is good for.
    pub fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }
}

/// Why a certificate of the gateway cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFault {
    /// The chain holds no certificate.
    Empty,
    /// The leaf cannot be read.
    Malformed,
    /// The key is not the one in the leaf.
    KeyMismatch,
    /// Whether it is cannot be told.
    KeyUnknown,
    /// The leaf is the certificate of an authority.
    Authority,
    /// The leaf is not meant for servers.
    Purpose,
    /// The leaf has expired.
    Expired {
        /// When, seconds since 1970.
        not_after: i64,
    },
    /// The leaf is not valid yet.
    NotYetValid {
        /// From when on it is, seconds since 1970.
        not_before: i64,
    },
    /// The leaf names no host.
    NoName,
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |seconds: i64| audit::event::Time::from_unix_seconds(seconds);
        match self {
            EntryFault::Empty => f.write_str("there is no certificate in it"),
            EntryFault::Malformed => f.write_str("its first certificate is not well-formed"),
            EntryFault::KeyMismatch => {
                f.write_str("the key does not belong to its first certificate")
            }
            EntryFault::KeyUnknown => {
                f.write_str("it cannot be told whether the key belongs to its first certificate")
            }
            EntryFault::Authority => {
                f.write_str("its first certificate is that of an authority; the leaf comes first")
            }
            EntryFault::Purpose => {
                f.write_str("its first certificate is not meant for servers (extended key usage)")
            }
            EntryFault::Expired { not_after } => {
                write!(f, "its first certificate expired at {}", date(*not_after))
            }
            EntryFault::NotYetValid { not_before } => write!(
                f,
                "its first certificate is not valid before {}",
                date(*not_before)
            ),
            EntryFault::NoName => {
                f.write_str("its first certificate names no host (subject alternative name)")
            }
        }
    }
}

/// A trust set: who vouches for clients, and how they lose that trust.
#[derive(Debug)]
pub struct ClientTrust {
    /// Its name in the configuration.
    pub name: TrustName,
    /// The kind of name that a leaf must hold exactly once.
    pub kind: NameKind,
    /// How a certificate is taken back.
    pub revocation: Revocation,
    roots: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
    intermediates: Vec<Authority>,
}

/// How a certificate is taken back.
#[derive(Debug)]
pub enum Revocation {
    /// By lists.
    Lists {
        /// What they say.
        index: Index,
        /// What they are worth when out of date.
        when_stale: WhenStale,
    },
    /// Not at all; the operator wrote down why.
    Off,
}

/// Why a chain is no client. Named after webpki's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainRefusal {
    /// A certificate cannot be read.
    Malformed,
    /// One has expired.
    Expired,
    /// One is not valid yet.
    NotYetValid,
    /// It leads to no root of the trust set.
    UnknownIssuer,
    /// A signature in it does not verify, or is of an algorithm that does not count.
    Signature,
    /// The leaf is not meant for client authentication.
    Purpose,
    /// It breaks another rule of RFC 5280.
    Invalid,
    /// One is revoked.
    Revoked,
    /// No list covers one.
    RevocationUnknown,
    /// The list that covers one is out of date.
    RevocationStale,
    /// The leaf is no identity.
    Identity(IdentityRefusal),
    /// The trust set no longer holds the root that it led to.
    RootGone,
}

impl ClientTrust {
    /// The trust set with these roots, and with these authorities between roots and leaves that are
    /// known without being sent.
    pub fn new(
        name: TrustName,
        kind: NameKind,
        roots: Vec<Authority>,
        intermediates: Vec<Authority>,
        revocation: Revocation,
    ) -> ClientTrust {
        let anchors = roots.iter().map(|root| root.anchor().clone()).collect();
        ClientTrust {
            name,
            kind,
            revocation,
            roots,
            anchors,
            intermediates,
        }
    }

    /// Verifies a chain that a client presented: up to a root, in date, for clients, not revoked,
    /// with exactly one name. `now` in seconds since 1970.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientIdentity, ChainRefusal> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| refusal(&error))?;
        let mut above: Vec<CertificateDer<'_>> = presented
            .iter()
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect();
        above.extend(
            self.intermediates
                .iter()
                .map(|authority| CertificateDer::from(authority.der().as_ref())),
        );
        let path = end_entity
            .verify_for_usage(
                signature_algorithms(),
                &self.anchors,
                &above,
                now,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|error| refusal(&error))?;
        let root = self
            .roots
            .iter()
            .find(|root| root.anchor() == path.anchor())
            .ok_or(ChainRefusal::UnknownIssuer)?;
        let mut certificates = vec![leaf.clone()];
        certificates.extend(path.intermediate_certificates().map(webpki::Cert::der));
        // Each is signed by the one above it, the last by the root.
        let above_each = path
            .intermediate_certificates()
            .map(|certificate| IssuerKey::of(&certificate.subject_public_key_info()));
        let issuers: Vec<IssuerKey> = above_each.chain([root.key()]).collect();
        let identity = ClientIdentity::read(&self.name, self.kind, &certificates, &issuers)
            .map_err(ChainRefusal::Identity)?;
        self.standing(&identity, i64::try_from(now.as_secs()).unwrap_or(i64::MAX))?;
        Ok(identity)
    }

    /// Whether an identity that this trust set, or one of its name, verified earlier still counts.
    /// `now` in seconds since 1970.
    pub fn standing(&self, identity: &ClientIdentity, now: i64) -> Result<(), ChainRefusal> {
        let rooted = identity
            .path()
            .last()
            .is_some_and(|last| self.roots.iter().any(|root| root.key() == last.issuer));
        if !rooted {
            return Err(ChainRefusal::RootGone);
        }
        for (at, link) in identity.path().iter().enumerate() {
            if now > link.not_after {
                return Err(ChainRefusal::Expired);
            }
            if now < link.not_before {
                return Err(ChainRefusal::NotYetValid);
            }
            let Revocation::Lists { index, when_stale } = &self.revocation else {
                continue;
            };
            match index.standing(link, at == 0, now) {
                Standing::Good => {}
                Standing::Revoked => return Err(ChainRefusal::Revoked),
                Standing::Unknown => return Err(ChainRefusal::RevocationUnknown),
                Standing::Stale { .. } if *when_stale == WhenStale::Accept => {}
                Standing::Stale { .. } => return Err(ChainRefusal::RevocationStale),
            }
        }
        Ok(())
    }

    /// Every authority that may have signed a revocation list.
    pub fn authorities(&self) -> impl Iterator<Item = &Authority> {
        self.roots.iter().chain(&self.intermediates)
    }
}

fn refusal(error: &webpki::Error) -> ChainRefusal {
    use webpki::Error;
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => {
            ChainRefusal::Malformed
        }
        Error::CertExpired { .. } => ChainRefusal::Expired,
        Error::CertNotValidYet { .. } => ChainRefusal::NotYetValid,
        Error::UnknownIssuer => ChainRefusal::UnknownIssuer,
        Error::InvalidSignatureForPublicKey
        | Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => ChainRefusal::Signature,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => ChainRefusal::Purpose,
        // All others are rules of RFC 5280 that the chain breaks, or limits that it exceeds; a
        // variant of a later version is refused just as well.
        _ => ChainRefusal::Invalid,
    }
}

/// What rustls is told, so that the alert is the one that RFC 8446 6.2 names.
fn told(refusal: ChainRefusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(match refusal {
        ChainRefusal::Malformed => CertificateError::BadEncoding,
        ChainRefusal::Expired => CertificateError::Expired,
        ChainRefusal::NotYetValid => CertificateError::NotValidYet,
        ChainRefusal::UnknownIssuer | ChainRefusal::RootGone => CertificateError::UnknownIssuer,
        ChainRefusal::Signature => CertificateError::BadSignature,
        ChainRefusal::Purpose => CertificateError::InvalidPurpose,
        ChainRefusal::Invalid => CertificateError::BadEncoding,
        ChainRefusal::Revoked => CertificateError::Revoked,
        ChainRefusal::RevocationUnknown => CertificateError::UnknownRevocationStatus,
        ChainRefusal::RevocationStale => CertificateError::ExpiredRevocationList,
        ChainRefusal::Identity(_) => CertificateError::ApplicationVerificationFailure,
    })
}

/// What a listener asks of clients.
#[derive(Debug, Clone)]
pub enum Clients {
    /// A certificate, or there is no connection.
    Required(Arc<ClientTrust>),
    /// A certificate is verified when it comes; one that comes and is bad ends the handshake.
    Optional(Arc<ClientTrust>),
    /// Nothing.
    None,
}

/// The server side of a listener.
#[derive(Debug)]
pub struct ServerSide {
    provider: Arc<CryptoProvider>,
    policy: TlsPolicy,
    entries: Arc<[Arc<ServerEntry>]>,
    clients: Clients,
    hints: Arc<[DistinguishedName]>,
    hello: hello::Policy,
}

/// What came out of a handshake, left by the verifier and the resolver for the connection's record.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The leaf that the client presented, good or bad.
    pub presented: OnceLock<CertificateDer<'static>>,
    /// The verdict on it.
    pub verdict: OnceLock<Result<Arc<ClientIdentity>, ChainRefusal>>,
    /// The entry that was shown to the client.
    pub shown: OnceLock<Arc<ServerEntry>>,
}

impl ServerSide {
    /// The server side with these certificate entries, the default one first.
    pub fn new(policy: TlsPolicy, entries: Vec<Arc<ServerEntry>>, clients: Clients) -> ServerSide {
        let provider = Arc::new(provider());
        let hints = match &clients {
            Clients::Required(trust) | Clients::Optional(trust) => trust
                .authorities()
                .filter_map(|authority| subject(authority.der()))
                .collect(),
            Clients::None => Vec::new(),
        };
        let hello = hello_policy(&provider, policy, &entries);
        ServerSide {
            provider,
            policy,
            entries: entries.into(),
            clients,
            hints: hints.into(),
            hello,
        }
    }

    /// What a ClientHello is held against before rustls sees it.
    pub fn hello(&self) -> &hello::Policy {
        &self.hello
    }

    /// What is asked of clients.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The certificate entries, the default one first.
    pub fn entries(&self) -> &[Arc<ServerEntry>] {
        &self.entries
    }

    /// The configuration for one connection, and where its evidence will be.
    ///
    /// # Errors
    /// rustls's, when provider and versions do not fit together; `load` has tried it once.
    pub fn connection(&self) -> Result<(Arc<ServerConfig>, Arc<Evidence>), rustls::Error> {
        let evidence = Arc::new(Evidence::default());
        let resolver = Arc::new(Resolver {
            entries: Arc::clone(&self.entries),
            evidence: Arc::clone(&evidence),
        });
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions(self.policy))?;
        let builder = match &self.clients {
            Clients::None => builder.with_no_client_auth(),
            Clients::Required(trust) => {
                builder.with_client_cert_verifier(self.verifier(trust, true, &evidence))
            }
            Clients::Optional(trust) => {
                builder.with_client_cert_verifier(self.verifier(trust, false, &evidence))
            }
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = ALPN.iter().map(|(name, _)| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.require_ems = true;
        Ok((Arc::new(config), evidence))
    }

    fn verifier(
        &self,
        trust: &Arc<ClientTrust>,
        mandatory: bool,
        evidence: &Arc<Evidence>,
    ) -> Arc<Verifier> {
        Arc::new(Verifier {
            provider: Arc::clone(&self.provider),
            trust: Arc::clone(trust),
            mandatory,
            hints: Arc::clone(&self.hints),
            evidence: Arc::clone(evidence),
        })
    }
}

/// The policy that a hello is held against, read off the very objects that rustls enforces. The
/// suites of TLS 1.2 are bound to a kind of key, those of TLS 1.3 are not.
fn hello_policy(
    provider: &CryptoProvider,
    policy: TlsPolicy,
    entries: &[Arc<ServerEntry>],
) -> hello::Policy {
    let groups = |hybrid: bool| {
        let usable = |group: &&&dyn SupportedKxGroup| {
            hybrid || group.usable_for_version(rustls::ProtocolVersion::TLSv1_2)
        };
        provider
            .kx_groups
            .iter()
            .filter(usable)
            .map(|group| u16::from(group.name()))
            .collect()
    };
    let suites =
        |version: &SupportedProtocolVersion, signature: Option<SignatureAlgorithm>| -> Vec<u16> {
            let fits = |suite: &&SupportedCipherSuite| match suite.tls13() {
                Some(_) => version.version == rustls::ProtocolVersion::TLSv1_3,
                None => {
                    version.version == rustls::ProtocolVersion::TLSv1_2
                        && signature.is_some_and(|kind| suite.usable_for_signature_algorithm(kind))
                }
            };
            provider
                .cipher_suites
                .iter()
                .filter(fits)
                .map(|suite| u16::from(suite.suite()))
                .collect()
        };
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    let signs = |kind: Option<SignatureAlgorithm>| {
        let by = |scheme: &SignatureScheme| {
            let keys = entries
                .iter()
                .map(|entry| &entry.certified.key)
                .filter(|key| kind.is_none_or(|kind| key.algorithm() == kind));
            keys.into_iter()
                .any(|key| key.choose_scheme(&[*scheme]).is_some())
        };
        schemes
            .iter()
            .copied()
            .filter(by)
            .map(u16::from)
            .collect::<Vec<_>>()
    };
    let mut sets = Vec::new();
    for version in versions(policy) {
        if version.version == rustls::ProtocolVersion::TLSv1_3 {
            sets.push(ParameterSet {
                version: version.version.into(),
                suites: suites(version, None),
                groups: groups(true),
                signatures: signs(None),
            });
            continue;
        }
        for kind in [
            SignatureAlgorithm::ECDSA,
            SignatureAlgorithm::RSA,
            SignatureAlgorithm::ED25519,
        ] {
            let signatures = signs(Some(kind));
            if !signatures.is_empty() {
                sets.push(ParameterSet {
                    version: version.version.into(),
                    suites: suites(version, Some(kind)),
                    groups: groups(false),
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

fn subject(der: &CertificateDer<'_>) -> Option<DistinguishedName> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(DistinguishedName::from(
        certificate.subject().as_raw().to_vec(),
    ))
}

/// Chooses the entry to show: the first that covers the server name and can sign as the client asks.
/// A name that nobody covers is shown the default entry, so that the request can be answered (421).
#[derive(Debug)]
struct Resolver {
    entries: Arc<[Arc<ServerEntry>]>,
    evidence: Arc<Evidence>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_sign = |entry: &&Arc<ServerEntry>| {
            entry
                .certified
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        };
        let default = self.entries.first()?;
        let named = |entry: &&Arc<ServerEntry>| match hello.server_name() {
            Some(name) => entry.hosts.cover(name),
            // Of several entries for one site, another kind of key may stand in for the default.
            None => entry.hosts == default.hosts,
        };
        let chosen = self
            .entries
            .iter()
            .filter(named)
            .find(can_sign)
            .or_else(|| self.entries.iter().find(can_sign))?;
        let _ = self.evidence.shown.set(Arc::clone(chosen));
        Some(Arc::clone(&chosen.certified))
    }
}

/// Verifies client chains for one connection, and leaves the verdict with it.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Arc<ClientTrust>,
    mandatory: bool,
    hints: Arc<[DistinguishedName]>,
    evidence: Arc<Evidence>,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let _ = self.evidence.presented.set(end_entity.clone().into_owned());
        let verdict = self
            .trust
            .verify(end_entity, intermediates, now)
            .map(Arc::new);
        let outcome = match &verdict {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(told(*refusal)),
        };
        let _ = self.evidence.verdict.set(verdict);
        outcome
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The client side towards an upstream: pinned roots, no resumption, and our certificate if the
/// upstream asks for one.
///
/// # Errors
/// rustls's, when the certificate and its key cannot be used.
pub fn client_side(
    roots: &[Authority],
    identity: Option<&ServerEntry>,
    protocols: &[Protocol],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut store = RootCertStore::empty();
    store
        .roots
        .extend(roots.iter().map(|root| root.anchor().clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions(TlsPolicy::Intermediate))?
        .with_root_certificates(store);
    let mut config = match identity {
        Some(entry) => builder.with_client_cert_resolver(Arc::new(
            rustls::sign::SingleCertAndKey::from(Arc::clone(&entry.certified)),
        )),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN
        .iter()
        .filter(|(_, protocol)| protocols.contains(protocol))
        .map(|(name, _)| name.to_vec())
        .collect();
    config.resumption = rustls::client::Resumption::disabled();
    config.require_ems = true;
    Ok(Arc::new(config))
}

/// The name under which an upstream's certificate is verified.
pub fn upstream_name(host: &config::HostName) -> Option<ServerName<'static>> {
    match host.address() {
        Some(address) => Some(ServerName::IpAddress(address.into())),
        None => ServerName::try_from(host.as_str().to_owned()).ok(),
    }
}
