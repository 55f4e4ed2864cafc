//! Trust sets: who vouches for clients, and how they lose that trust.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::{FilePath, Ocsp, Trust, TrustName};

use super::loader::Loader;
use crate::ca::{CaCertificate, CaFault};
use crate::revocation::Index;
use crate::site::Site;
use crate::tls::{ClientTrust, Revocation, Statuses};

impl Loader {
    /// The trust sets. What `previous` has in force of a set's revocation lists is what the new ones
    /// are held against.
    pub(super) fn trust_sets(
        &mut self,
        trust_sets: &BTreeMap<TrustName, Trust>,
        previous: Option<&Site>,
    ) -> HashMap<TrustName, Arc<ClientTrust>> {
        let mut sets = HashMap::new();
        for (name, trust) in trust_sets {
            let roots = self.authorities(&trust.roots, true);
            let mut intermediates = self.authorities(&trust.intermediates, false);
            let stated = intermediates.len();
            let revocation = match &trust.revocation.value {
                config::Revocation::Ocsp | config::Revocation::Off => Revocation::Off,
                config::Revocation::Crls { when_stale, .. } => {
                    let in_force = previous.and_then(|site| in_force(site, name));
                    let lists = self.lists(name, trust, &roots, &mut intermediates, in_force);
                    // What is not fetched yet may be the list that is missing, and of leaves a responder says it.
                    if !lists.is_awaited && trust.ocsp == Ocsp::Off {
                        let place = &trust.revocation.place;
                        self.uncovered_authorities(place, &lists.index, &roots, &intermediates);
                    }
                    Revocation::Lists {
                        index: lists.index,
                        when_stale: *when_stale,
                        seen: lists.seen,
                    }
                }
            };
            let beside = intermediates.split_off(stated);
            let set = ClientTrust::new(
                name.clone(),
                trust.identity,
                roots,
                intermediates,
                Revocation::Off,
            );
            let set = set
                .with_lists(beside, revocation)
                .with_statuses(statuses(name, trust, previous));
            sets.insert(name.clone(), Arc::new(set));
        }
        sets
    }

    /// The authorities in these files. Of roots the dates count too; of those between, webpki asks.
    pub(super) fn authorities(&mut self, files: &[FilePath], roots: bool) -> Vec<CaCertificate> {
        let mut found = Vec::new();
        for file in files {
            for (at, der) in self
                .certificates(file)
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                let name = || format!("certificate {} of {}", at + 1, file.path.display());
                match CaCertificate::judge(der, self.now) {
                    Ok(authority) => found.push(authority),
                    Err(CaFault::Expired { .. } | CaFault::NotYetValid { .. }) if !roots => {
                        self.warning(
                            &file.place,
                            format!("{} is out of date and left out", name()),
                            Some("take it out of the file, or put its successor there"),
                        );
                    }
                    Err(fault) => self.error(
                        &file.place,
                        format!("{}: {fault}", name()),
                        Some(what_to_do(&fault)),
                    ),
                }
            }
        }
        found
    }
}

fn what_to_do(fault: &CaFault) -> &'static str {
    match fault {
        CaFault::Malformed => "copy it again, whole",
        CaFault::Version => "ask the authority for a certificate of version 3",
        CaFault::NotAnAuthority => {
            "name the certificate of the authority that issued it instead; the file holds \
             authorities and nothing else"
        }
        CaFault::MayNotSign | CaFault::UnknownCritical { .. } => {
            "ask the authority for the certificate with which it issues"
        }
        CaFault::NotYetValid { .. } => "check the clock of this machine",
        CaFault::Expired { .. } => {
            "put the authority's new certificate there, or check the clock of this machine"
        }
    }
}

/// What is remembered of what a responder says. It stays while the same one is asked.
fn statuses(name: &TrustName, trust: &Trust, previous: Option<&Site>) -> Option<Arc<Statuses>> {
    let Ocsp::Http { url, max_age } = &trust.ocsp else {
        return None;
    };
    let fresh = Arc::new(Statuses::new(url.clone(), *max_age));
    let before = previous.and_then(|site| site.trust.iter().find(|trust| trust.name == *name));
    let before = before.and_then(|trust| trust.statuses());
    let kept = before.filter(|before| before.is_like(&fresh)).cloned();
    Some(kept.unwrap_or(fresh))
}

/// The revocation lists that a trust set has in force.
pub(super) fn in_force<'a>(site: &'a Site, name: &TrustName) -> Option<&'a Index> {
    let trust = site.trust.iter().find(|trust| trust.name == *name)?;
    match &trust.revocation {
        Revocation::Lists { index, .. } => Some(index),
        Revocation::Off => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::super::testing::Place;

    fn told(place: &Place, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let both = place.ca.certificate.pem() + &pem.pem();
        fs::write(place.directory.path().join("pki/trust.pem"), both).unwrap();
        place.load(None).unwrap_err()
    }

    #[test]
    fn a_root_that_is_none_is_named_with_what_to_do_about_that_very_fault() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let expired = told(&place, |params| {
            params.not_after = date_time_ymd(2021, 1, 1);
        });
        assert!(
            expired.contains("pki/trust.pem: it expired at"),
            "{expired}"
        );
        assert!(expired.contains("certificate 2 of"), "{expired}");
        assert!(
            expired.contains("hint: put the authority's new certificate"),
            "{expired}"
        );
        let early = told(&place, |params| {
            params.not_before = date_time_ymd(2090, 1, 1);
        });
        assert!(early.contains("hint: check the clock"), "{early}");
        let leaf = told(&place, |params| params.is_ca = IsCa::NoCa);
        assert!(
            leaf.contains("hint: name the certificate of the authority"),
            "{leaf}"
        );
    }
}
