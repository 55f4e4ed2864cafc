//! How a listener speaks TLS: which certificate it shows, what it asks of clients, and what it learns.
//!
//! A connection gets a configuration of its own, so that the verifier can leave its verdict with the
//! connection that it was about: [`Evidence`]. Fails closed: a chain without a verdict is no client.

use std::sync::{Arc, OnceLock};

use config::TlsPolicy;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{ChainRefusal, ClientTrust, told};
use super::own::OwnCertificate;
use super::profile::{ALPN, hello_policy, provider, versions};
use super::verified::Fingerprint;
use crate::hello;
use crate::hosts::Hosts;
use crate::identity::ClientIdentity;

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
    entries: Arc<[Arc<OwnCertificate>]>,
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
    /// What to remember its chain by, if that had to be verified.
    anew: OnceLock<Fingerprint>,
    /// The entry that was shown to the client.
    pub shown: OnceLock<Arc<OwnCertificate>>,
    /// The entry that would have been shown: it demands a staple, and there was none that held.
    pub unstapled: OnceLock<Arc<OwnCertificate>>,
}

impl ServerSide {
    /// The server side with these certificate entries, the default one first.
    pub fn new(
        policy: TlsPolicy,
        entries: Vec<Arc<OwnCertificate>>,
        clients: Clients,
    ) -> ServerSide {
        let provider = Arc::new(provider());
        let hints = match &clients {
            Clients::Required(trust) | Clients::Optional(trust) => trust
                .authorities()
                .filter_map(|authority| subject(authority.der()))
                .collect(),
            Clients::None => Vec::new(),
        };
        let keys: Vec<_> = entries
            .iter()
            .map(|entry| Arc::clone(entry.certified()))
            .collect();
        let hello = hello_policy(&provider, policy, &keys);
        ServerSide {
            provider,
            policy,
            entries: entries.into(),
            clients,
            hints: hints.into(),
            hello,
        }
    }

    /// The same, for clients of a trust set of the same name that took the place of the one that it has;
    /// nothing when it has none of this name.
    pub fn with_trust(&self, trust: &Arc<ClientTrust>) -> Option<ServerSide> {
        let clients = match &self.clients {
            Clients::Required(known) if known.name == trust.name => {
                Clients::Required(Arc::clone(trust))
            }
            Clients::Optional(known) if known.name == trust.name => {
                Clients::Optional(Arc::clone(trust))
            }
            _ => return None,
        };
        Some(ServerSide::new(self.policy, self.entries.to_vec(), clients))
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
    pub fn entries(&self) -> &[Arc<OwnCertificate>] {
        &self.entries
    }

    /// What the certificate is good for that is shown to a client that asks for `host`.
    pub fn selected(&self, host: &str) -> Option<&Arc<Hosts>> {
        let named = self.entries.iter().find(|entry| entry.hosts().cover(host));
        named.or(self.entries.first()).map(|entry| entry.hosts())
    }

    /// Notes that a handshake came to its end: its chain need not be verified again.
    pub fn remember(&self, evidence: &Evidence) {
        let (Clients::Required(trust) | Clients::Optional(trust)) = &self.clients else {
            return;
        };
        if let (Some(Ok(identity)), Some(chain)) = (evidence.verdict.get(), evidence.anew.get()) {
            trust.remember(*chain, identity);
        }
    }

    /// The configuration for one connection whose hello came `now` (seconds since 1970), and where its evidence will be.
    ///
    /// # Errors
    /// rustls's, when provider and versions do not fit together; `load` has tried it once.
    pub fn connection(
        &self,
        now: i64,
    ) -> Result<(Arc<ServerConfig>, Arc<Evidence>), rustls::Error> {
        let evidence = Arc::new(Evidence::default());
        let resolver = Arc::new(Resolver {
            entries: Arc::clone(&self.entries),
            evidence: Arc::clone(&evidence),
            now,
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
    entries: Arc<[Arc<OwnCertificate>]>,
    evidence: Arc<Evidence>,
    /// Seconds since 1970.
    now: i64,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_sign = |entry: &&Arc<OwnCertificate>| {
            entry
                .certified()
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        };
        let default = self.entries.first()?;
        let named = |entry: &&Arc<OwnCertificate>| match hello.server_name() {
            Some(name) => entry.hosts().cover(name),
            // Of several entries for one site, another kind of key may stand in for the default.
            None => entry.hosts() == default.hosts(),
        };
        let chosen = self
            .entries
            .iter()
            .filter(named)
            .find(can_sign)
            .or_else(|| self.entries.iter().find(can_sign))?;
        // Fails closed: another entry does not stand in for it, since clients would see the wrong site.
        let Some(shown) = chosen.shown(self.now) else {
            let _ = self.evidence.unstapled.set(Arc::clone(chosen));
            return None;
        };
        let _ = self.evidence.shown.set(Arc::clone(chosen));
        Some(shown)
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
        let proven = self.trust.verify(end_entity, intermediates, now);
        if let Ok(Some(chain)) = proven.as_ref().map(|proven| proven.anew) {
            let _ = self.evidence.anew.set(chain);
        }
        let verdict = proven.map(|proven| proven.identity);
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
