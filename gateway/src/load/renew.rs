//! Revocation lists that changed, read anew for the trust sets that are in force: nothing else of the
//! configuration is read, no root, no key, no route.
//!
//! Unlike at a reload, a mistake does not keep out what is good: a list that is damaged must not hold up the
//! revocations of another one. For what cannot be read, or does not count, the last good list stands until it grows
//! stale, and nothing that was revoked by its issuer is taken back. Fails closed: what no list covers is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Finding, TrustName};

use super::loader::Loader;
use super::trust::in_force;
use super::unix_now;
use crate::ca::CaCertificate;
use crate::site::Site;
use crate::tls::{ClientTrust, Revocation};

/// What became of lists that were read anew.
#[derive(Debug)]
pub struct Renewed {
    /// The trust sets whose lists say something new.
    pub trust: Vec<Arc<ClientTrust>>,
    /// What is to be told, by the trust set that was looked at.
    pub findings: BTreeMap<TrustName, Vec<Finding>>,
    /// The trust sets of which something does not count.
    pub refused: Vec<TrustName>,
}

/// Reads the lists of these trust sets anew.
#[must_use]
pub fn renew(site: &Site, names: &[TrustName]) -> Renewed {
    let mut renewed = Renewed {
        trust: Vec::new(),
        findings: BTreeMap::new(),
        refused: Vec::new(),
    };
    for name in names {
        let mut loader = Loader::new(unix_now());
        let trust = loader.renewed(site, name);
        renewed.trust.extend(trust.map(Arc::new));
        if loader.has_errors(0) {
            renewed.refused.push(name.clone());
        }
        renewed.findings.insert(name.clone(), loader.findings);
    }
    renewed
}

impl Loader {
    /// The trust set with the lists that are there now, if they say anything else.
    fn renewed(&mut self, site: &Site, name: &TrustName) -> Option<ClientTrust> {
        let known = site.trust.iter().find(|trust| trust.name == *name)?;
        let trust = site.config.trust.get(name)?;
        let config::Revocation::Crls { when_stale, .. } = &trust.revocation.value else {
            return None;
        };
        let previous = in_force(site, name)?;
        let mut intermediates = known.intermediates().to_vec();
        let stated = intermediates.len();
        let lists = self.lists(
            name,
            trust,
            known.roots(),
            &mut intermediates,
            Some(previous),
        );
        if lists.is_broken {
            for authority in known.beside() {
                if !intermediates.iter().any(|it| it.der() == authority.der()) {
                    intermediates.push(authority.clone());
                }
            }
        }
        let place = &trust.revocation.place;
        if trust.ocsp == config::Ocsp::Off {
            self.uncovered_authorities(place, &lists.index, known.roots(), &intermediates);
        }
        let beside = intermediates.split_off(stated);
        let same = beside
            .iter()
            .map(CaCertificate::der)
            .eq(known.beside().iter().map(CaCertificate::der));
        if same && lists.index.is_like(previous) {
            return None;
        }
        let revocation = Revocation::Lists {
            index: lists.index,
            when_stale: *when_stale,
            seen: lists.seen,
        };
        Some(known.with_lists(beside, revocation))
    }
}
