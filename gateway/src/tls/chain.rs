//! Whether a chain that a client presents makes it a client of a trust set, and whether it still does.
//!
//! Fails closed: what cannot be told is a refusal.

use std::sync::Arc;

use config::{NameKind, TrustName, WhenStale};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{AlertDescription, CertificateError};
use webpki::{EndEntityCert, KeyUsage};

use super::profile::signature_algorithms;
use super::status::{LeafStanding, Statuses};
use super::verified::{Fingerprint, Verified};
use crate::ca::CaCertificate;
use crate::identity::{ClientIdentity, IdentityRefusal, IssuerKey, Link};
use crate::revocation::{Index, Seen, Standing};

/// A trust set: who vouches for clients, and how they lose that trust.
#[derive(Debug)]
pub struct ClientTrust {
    /// Its name in the configuration.
    pub name: TrustName,
    /// The kind of name that a leaf must hold exactly once.
    pub kind: NameKind,
    /// How a certificate is taken back.
    pub revocation: Revocation,
    /// What a responder says of leaves, if one is asked.
    statuses: Option<Arc<Statuses>>,
    roots: Vec<CaCertificate>,
    anchors: Vec<TrustAnchor<'static>>,
    intermediates: Vec<CaCertificate>,
    beside: Vec<CaCertificate>,
    verified: Verified,
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
        /// How the places looked that they were read from.
        seen: Seen,
    },
    /// By OCSP alone, or not at all; the operator wrote down why.
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
    /// Nobody says in time whether the leaf is revoked.
    StatusUnavailable,
    /// The responder does not know the leaf.
    StatusUnknown,
    /// What a responder says of the leaf does not count.
    StatusInvalid,
    /// The leaf is no identity.
    Identity(IdentityRefusal),
    /// The trust set no longer holds the root that it led to.
    RootGone,
}

/// A chain that makes its holder a client.
#[derive(Debug)]
pub(super) struct Proven {
    /// Whom it names.
    pub(super) identity: Arc<ClientIdentity>,
    /// What to remember it by, if it had to be verified.
    pub(super) anew: Option<Fingerprint>,
}

impl ClientTrust {
    /// The trust set with these roots, and with these authorities between roots and leaves that are
    /// known without being sent.
    pub fn new(
        name: TrustName,
        kind: NameKind,
        roots: Vec<CaCertificate>,
        intermediates: Vec<CaCertificate>,
        revocation: Revocation,
    ) -> ClientTrust {
        let anchors = roots.iter().map(|root| root.anchor().clone()).collect();
        ClientTrust {
            name,
            kind,
            revocation,
            statuses: None,
            roots,
            anchors,
            intermediates,
            beside: Vec::new(),
            verified: Verified::default(),
        }
    }

    /// The same, with a responder that is asked for the status of leaves.
    #[must_use]
    pub fn with_statuses(self, statuses: Option<Arc<Statuses>>) -> ClientTrust {
        ClientTrust { statuses, ..self }
    }

    /// The same trust set with these lists, and with the authorities that were found beside them. It
    /// remembers no chain: one of them may have been verified through an authority that is gone.
    #[must_use]
    pub fn with_lists(&self, beside: Vec<CaCertificate>, revocation: Revocation) -> ClientTrust {
        let name = self.name.clone();
        let (roots, intermediates) = (self.roots.clone(), self.intermediates.clone());
        ClientTrust {
            beside,
            statuses: self.statuses.clone(),
            ..ClientTrust::new(name, self.kind, roots, intermediates, revocation)
        }
    }

    /// Verifies a chain that a client presented: up to a root, in date, for clients, not revoked,
    /// with exactly one name. What was verified before is not verified again, but for what can change:
    /// dates and revocation.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Proven, ChainRefusal> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let chain = Fingerprint::of(leaf, presented);
        let known = self.verified.get(chain);
        // Where the path that is remembered no longer counts another one may.
        if let Some(identity) = known.filter(|known| self.standing(known, seconds).is_ok()) {
            let anew = None;
            return Ok(Proven { identity, anew });
        }
        let identity = self.verify_anew(leaf, presented, now)?;
        self.standing(&identity, seconds)?;
        Ok(Proven {
            identity: Arc::new(identity),
            anew: Some(chain),
        })
    }

    /// Remembers whom a chain names that was verified, once its key is proved: who has only a copy of a
    /// certificate does not push out others.
    pub(super) fn remember(&self, chain: Fingerprint, identity: &Arc<ClientIdentity>) {
        self.verified.put(chain, identity);
    }

    fn verify_anew(
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
            self.between()
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
        ClientIdentity::read(&self.name, self.kind, &certificates, &issuers)
            .map_err(ChainRefusal::Identity)
    }

    /// Whether an identity that this trust set, or one of its name, verified earlier still counts, as far as is
    /// known: where a responder is asked, it may have to be asked first ([`ClientTrust::vouched`]).
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
            let is_asked = at == 0 && self.statuses.is_some();
            let Revocation::Lists {
                index, when_stale, ..
            } = &self.revocation
            else {
                self.answered_for(link)?;
                continue;
            };
            match index.standing(link, at == 0, now) {
                Standing::Good => {}
                Standing::Revoked => return Err(ChainRefusal::Revoked),
                // The responder says it of a leaf.
                Standing::Unknown | Standing::Stale { .. } if is_asked => {}
                Standing::Unknown => return Err(ChainRefusal::RevocationUnknown),
                Standing::Stale { .. } if *when_stale == WhenStale::Accept => {}
                Standing::Stale { .. } => return Err(ChainRefusal::RevocationStale),
            }
        }
        match self.leaf(identity, now) {
            LeafStanding::Refused(ChainRefusal::Revoked) => Err(ChainRefusal::Revoked),
            LeafStanding::Good | LeafStanding::Refused(_) | LeafStanding::Open => Ok(()),
        }
    }

    /// The same, with all that has to be known: where a responder is asked, it has said that the leaf is good, and
    /// that still counts. Fails closed: what was not asked is refused.
    pub fn vouched(&self, identity: &ClientIdentity, now: i64) -> Result<(), ChainRefusal> {
        self.standing(identity, now)?;
        match self.leaf(identity, now) {
            LeafStanding::Good => Ok(()),
            LeafStanding::Refused(refusal) => Err(refusal),
            LeafStanding::Open => Err(ChainRefusal::StatusUnavailable),
        }
    }

    /// What is known of a leaf; where nobody is asked, what the lists say is all.
    fn leaf(&self, identity: &ClientIdentity, now: i64) -> LeafStanding {
        match (&self.statuses, identity.path().first()) {
            (Some(statuses), Some(leaf)) => statuses.standing(leaf, now),
            (Some(_), None) => LeafStanding::Refused(ChainRefusal::StatusUnknown),
            (None, _) => LeafStanding::Good,
        }
    }

    /// Where leaves are asked about and there are no lists, whoever signed a certificate must be an authority
    /// of the configuration: it is taken back by taking it out there.
    fn answered_for(&self, link: &Link) -> Result<(), ChainRefusal> {
        let is_known = |authority: &CaCertificate| authority.key() == link.issuer;
        if self.statuses.is_some() && !self.authorities().any(is_known) {
            return Err(ChainRefusal::RevocationUnknown);
        }
        Ok(())
    }

    /// What a responder says of leaves, if one is asked.
    pub fn statuses(&self) -> Option<&Arc<Statuses>> {
        self.statuses.as_ref()
    }

    /// Every authority that may have signed a revocation list.
    pub fn authorities(&self) -> impl Iterator<Item = &CaCertificate> {
        self.roots.iter().chain(self.between())
    }

    /// The roots.
    pub fn roots(&self) -> &[CaCertificate] {
        &self.roots
    }

    /// The authorities between roots and leaves that are configured.
    pub fn intermediates(&self) -> &[CaCertificate] {
        &self.intermediates
    }

    /// Those that were found beside the revocation lists.
    pub fn beside(&self) -> &[CaCertificate] {
        &self.beside
    }

    fn between(&self) -> impl Iterator<Item = &CaCertificate> {
        self.intermediates.iter().chain(&self.beside)
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

/// What rustls is told of a refusal, and the alert that it sends for it (RFC 8446 6.2).
fn answer(refusal: ChainRefusal) -> (CertificateError, AlertDescription) {
    use AlertDescription as Alert;
    use CertificateError as Error;
    match refusal {
        ChainRefusal::Malformed | ChainRefusal::Invalid => {
            (Error::BadEncoding, Alert::BadCertificate)
        }
        ChainRefusal::Purpose => (Error::InvalidPurpose, Alert::UnsupportedCertificate),
        ChainRefusal::Revoked => (Error::Revoked, Alert::CertificateRevoked),
        ChainRefusal::Expired => (Error::Expired, Alert::CertificateExpired),
        ChainRefusal::NotYetValid => (Error::NotValidYet, Alert::CertificateExpired),
        ChainRefusal::UnknownIssuer | ChainRefusal::RootGone => {
            (Error::UnknownIssuer, Alert::UnknownCA)
        }
        ChainRefusal::RevocationUnknown
        | ChainRefusal::StatusUnavailable
        | ChainRefusal::StatusUnknown
        | ChainRefusal::StatusInvalid => (Error::UnknownRevocationStatus, Alert::UnknownCA),
        ChainRefusal::RevocationStale => (Error::ExpiredRevocationList, Alert::UnknownCA),
        ChainRefusal::Identity(_) => (Error::ApplicationVerificationFailure, Alert::AccessDenied),
        ChainRefusal::Signature => (Error::BadSignature, Alert::DecryptError),
    }
}

/// What rustls is told, so that the alert is the one that is named beside it.
pub(super) fn told(refusal: ChainRefusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(answer(refusal).0)
}

impl ChainRefusal {
    /// The alert that the client is sent (RFC 8446 6.2).
    pub fn alert(self) -> u8 {
        answer(self).1.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::testing::{Ca, NOW, params, read, usual};
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
    use std::time::Duration;

    const DAY: i64 = 86_400;

    /// A device's certificate, good for the first half of 2026.
    fn device(ca: &Ca) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        let name = "urn:example:pump-1".try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 7, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca.signer).unwrap();
        certificate.der().clone()
    }

    fn trust(ca: Ca, revocation: Revocation) -> ClientTrust {
        let name = TrustName::parse("devices").unwrap();
        ClientTrust::new(
            name,
            NameKind::SanUri,
            vec![ca.authority],
            Vec::new(),
            revocation,
        )
    }

    /// A handshake: verified, and remembered when it is over.
    fn verify(
        trust: &ClientTrust,
        leaf: &CertificateDer<'_>,
        now: i64,
    ) -> Result<Arc<ClientIdentity>, ChainRefusal> {
        let now = Duration::from_secs(now.try_into().unwrap());
        let proven = trust.verify(leaf, &[], UnixTime::since_unix_epoch(now))?;
        if let Some(chain) = proven.anew {
            trust.remember(chain, &proven.identity);
        }
        Ok(proven.identity)
    }

    #[test]
    fn a_chain_that_was_verified_is_remembered_and_still_held_to_its_dates() {
        let ca = usual("devices");
        let leaf = device(&ca);
        let trust = trust(ca, Revocation::Off);
        let first = verify(&trust, &leaf, NOW).unwrap();
        let second = verify(&trust, &leaf, NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &second), "it was verified again");
        let later = NOW + 365 * DAY;
        assert_eq!(
            verify(&trust, &leaf, later).err(),
            Some(ChainRefusal::Expired)
        );
        let before = NOW - 30 * DAY;
        assert_eq!(
            verify(&trust, &leaf, before).err(),
            Some(ChainRefusal::NotYetValid)
        );
    }

    #[test]
    fn a_chain_that_was_verified_is_still_held_to_what_the_lists_say() {
        let ca = usual("devices");
        let leaf = device(&ca);
        let list = read(&ca, params(&[1]), &[&ca.authority]).unwrap();
        let index = Index::build(vec![list]);
        let when_stale = WhenStale::Refuse;
        let seen = Seen::default();
        let lists = Revocation::Lists {
            index,
            when_stale,
            seen,
        };
        let trust = trust(ca, lists);
        verify(&trust, &leaf, NOW).unwrap();
        // The list is due on the 8th.
        let later = NOW + 30 * DAY;
        let refused = verify(&trust, &leaf, later).err();
        assert_eq!(refused, Some(ChainRefusal::RevocationStale));
    }

    /// An authority between whose certificate was renewed: the same name and key, other dates.
    fn renewed(
        root: &Ca,
        until: [(i32, u8); 2],
    ) -> (KeyPair, CertificateParams, Vec<CaCertificate>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "between");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2025, 1, 1);
        let both = until.map(|(year, month)| {
            params.not_after = date_time_ymd(year, month, 1);
            let certificate = params.signed_by(&key, &root.signer).unwrap();
            CaCertificate::judge(certificate.der(), NOW).unwrap()
        });
        (key, params, both.into())
    }

    #[test]
    fn where_the_path_that_is_remembered_ends_another_one_may_lead_on() {
        let root = usual("devices");
        let (key, params, between) = renewed(&root, [(2026, 3), (2027, 1)]);
        let signer = Ca {
            certificate: root.certificate.clone(),
            authority: usual("unused").authority,
            signer: rcgen::Issuer::new(params, key),
        };
        let leaf = device(&signer);
        let name = TrustName::parse("devices").unwrap();
        let roots = vec![root.authority];
        let trust = ClientTrust::new(name, NameKind::SanUri, roots, between, Revocation::Off);
        let first = verify(&trust, &leaf, NOW).unwrap();
        let later = verify(&trust, &leaf, NOW + 100 * DAY).unwrap();
        let until = |identity: &ClientIdentity| identity.path()[1].not_after;
        assert!(until(&first) < until(&later), "the new path is remembered");
        let again = verify(&trust, &leaf, NOW + 100 * DAY).unwrap();
        assert!(Arc::ptr_eq(&later, &again));
    }

    #[test]
    fn a_chain_that_was_refused_is_not_remembered() {
        let (ca, other) = (usual("devices"), usual("devices"));
        let leaf = device(&other);
        let trust = trust(ca, Revocation::Off);
        for _ in 0..2 {
            assert!(verify(&trust, &leaf, NOW).is_err());
        }
        assert_eq!(trust.verified.remembered(), 0);
    }

    /// What one trust set found is no other's business, whatever it is called.
    #[test]
    fn a_trust_set_begins_without_a_memory() {
        let ca = usual("devices");
        let leaf = device(&ca);
        verify(&trust(ca, Revocation::Off), &leaf, NOW).unwrap();
        let anew = trust(usual("devices"), Revocation::Off);
        assert!(verify(&anew, &leaf, NOW).is_err());
    }
}
