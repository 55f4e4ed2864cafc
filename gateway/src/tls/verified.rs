//! Chains that were verified once, so that a device that comes back costs one signature less.
//!
//! What is remembered is only what cannot change: that these very certificates lead to a root of this
//! trust set, and whom they name. Dates and revocation are asked anew each time. A trust set forgets all
//! of it when it is replaced, which a reload and a new revocation list do. Refusals are not remembered.
//! Bounded: the chains that were longest unused go first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;

use crate::digest::sha256_of;
use crate::identity::ClientIdentity;

/// How many chains a trust set remembers, 2 to 3 KiB each.
const MOST: usize = 16 * 1024;

/// SHA-256 of the certificates as they were presented, each behind its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(leaf: &CertificateDer<'_>, presented: &[CertificateDer<'_>]) -> Fingerprint {
        let certificates = std::iter::once(leaf).chain(presented);
        Fingerprint(sha256_of(certificates.map(AsRef::as_ref)))
    }
}

/// The chains that were verified.
#[derive(Debug, Default)]
pub(super) struct Verified {
    known: Mutex<Known<MOST>>,
}

/// At most `MOST` chains, in two halves: what is used moves to the young one, and when that is full the
/// old one is forgotten.
#[derive(Debug, Default)]
struct Known<const MOST: usize> {
    young: HashMap<Fingerprint, Arc<ClientIdentity>>,
    old: HashMap<Fingerprint, Arc<ClientIdentity>>,
}

impl Verified {
    /// Whom this chain names, if it was verified before.
    pub(super) fn get(&self, chain: Fingerprint) -> Option<Arc<ClientIdentity>> {
        self.known().get(chain)
    }

    /// Remembers whom a verified chain names.
    pub(super) fn put(&self, chain: Fingerprint, identity: &Arc<ClientIdentity>) {
        self.known().put(chain, Arc::clone(identity));
    }

    /// How many chains are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let known = self.known();
        known.young.len() + known.old.len()
    }

    /// A panic elsewhere cannot have left the maps half-changed in a way that matters: each holds what
    /// was verified and nothing else.
    fn known(&self) -> MutexGuard<'_, Known<MOST>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const MOST: usize> Known<MOST> {
    fn get(&mut self, chain: Fingerprint) -> Option<Arc<ClientIdentity>> {
        if let Some(identity) = self.young.get(&chain) {
            return Some(Arc::clone(identity));
        }
        let identity = self.old.remove(&chain)?;
        self.put(chain, Arc::clone(&identity));
        Some(identity)
    }

    fn put(&mut self, chain: Fingerprint, identity: Arc<ClientIdentity>) {
        if self.young.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(chain, identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IssuerKey;
    use config::{NameKind, TrustName};
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn chain(number: u64) -> Fingerprint {
        Fingerprint(sha256_of([&number.to_be_bytes()[..]]))
    }

    fn somebody() -> Arc<ClientIdentity> {
        let mut params = CertificateParams::default();
        let name = "urn:example:pump-1".try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let trust = TrustName::parse("devices").unwrap();
        let (path, issuers) = ([certificate.der().clone()], [IssuerKey([0; 32])]);
        Arc::new(ClientIdentity::read(&trust, NameKind::SanUri, &path, &issuers).unwrap())
    }

    #[test]
    fn chains_that_are_used_stay_and_the_others_go() {
        let mut known = Known::<8>::default();
        let identity = somebody();
        for number in 0..1000 {
            known.put(chain(number), Arc::clone(&identity));
            assert!(known.get(chain(0)).is_some(), "it is used each time");
            assert!(known.young.len() + known.old.len() <= 8);
        }
        assert!(known.get(chain(990)).is_none());
    }

    #[test]
    fn certificates_are_told_apart_by_every_byte_and_by_where_each_ends() {
        let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
        let of = |leaf: &[u8], above: &[&[u8]]| {
            let above: Vec<_> = above.iter().map(|bytes| der(bytes)).collect();
            Fingerprint::of(&der(leaf), &above)
        };
        assert_eq!(of(b"ab", &[b"c"]), of(b"ab", &[b"c"]));
        assert_ne!(of(b"ab", &[b"c"]), of(b"ab", &[b"d"]));
        assert_ne!(of(b"ab", &[b"c"]), of(b"a", &[b"bc"]));
        assert_ne!(of(b"ab", &[b"c"]), of(b"ab", &[b"c", b""]));
    }
}
