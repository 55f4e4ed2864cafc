//! Trust sets: who vouches for clients, and how they lose that trust.

use std::collections::HashMap;
use std::sync::Arc;

use config::{Config, FilePath, TrustName};

use super::loader::Loader;
use crate::revocation::Index;
use crate::site::Site;
use crate::tls::{ClientTrust, Revocation};
use crate::trust::{Authority, AuthorityFault};

impl Loader {
    /// The trust sets. What `previous` has in force of a set's revocation lists is what the new ones
    /// are held against.
    pub(super) fn trust_sets(
        &mut self,
        config: &Config,
        previous: Option<&Site>,
    ) -> HashMap<TrustName, Arc<ClientTrust>> {
        let mut sets = HashMap::new();
        for (name, trust) in &config.trust {
            let roots = self.authorities(&trust.roots, true);
            let mut intermediates = self.authorities(&trust.intermediates, false);
            let revocation = match &trust.revocation.value {
                config::Revocation::Off => Some(Revocation::Off),
                config::Revocation::Crls {
                    sources,
                    when_stale,
                } => {
                    let in_force = previous.and_then(|site| in_force(site, name));
                    let index = self.lists(sources, &roots, &mut intermediates, in_force);
                    let place = &trust.revocation.place;
                    self.uncovered_authorities(place, &index, &roots, &intermediates);
                    Some(Revocation::Lists {
                        index,
                        when_stale: *when_stale,
                    })
                }
            };
            if let Some(revocation) = revocation {
                let set = ClientTrust::new(
                    name.clone(),
                    trust.identity,
                    roots,
                    intermediates,
                    revocation,
                );
                sets.insert(name.clone(), Arc::new(set));
            }
        }
        sets
    }

    /// The authorities in these files. Of roots the dates count too; of those between, webpki asks.
    pub(super) fn authorities(&mut self, files: &[FilePath], roots: bool) -> Vec<Authority> {
        let mut found = Vec::new();
        for file in files {
            for (at, der) in self
                .certificates(file)
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                match Authority::judge(der, self.now) {
                    Ok(authority) => found.push(authority),
                    Err(AuthorityFault::Expired { .. } | AuthorityFault::NotYetValid { .. })
                        if !roots =>
                    {
                        self.warning(
                            &file.place,
                            format!("certificate {} is out of date and left out", at + 1),
                            None,
                        );
                    }
                    Err(fault) => self.error(
                        &file.place,
                        format!("certificate {}: {fault}", at + 1),
                        Some("a trust set holds the certificates of authorities and nothing else"),
                    ),
                }
            }
        }
        found
    }
}

/// The revocation lists that a trust set has in force.
fn in_force<'a>(site: &'a Site, name: &TrustName) -> Option<&'a Index> {
    let trust = site.trust.iter().find(|trust| trust.name == *name)?;
    match &trust.revocation {
        Revocation::Lists { index, .. } => Some(index),
        Revocation::Off => None,
    }
}
