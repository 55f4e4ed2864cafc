//! Reads what a configuration names (certificates, keys, revocation lists) and makes a [`Site`] of
//! it. Serves check, run and reload alike.
//!
//! Every mistake is reported at once, with the line that asked for the file. Fails closed: one
//! mistake, and there is no site; on a reload the old one stays.

mod loader;

mod files;

mod entries;

mod kept;

mod look;

mod lists;

mod audit_keys;

mod witnesses;

mod trust;

mod renew;

mod endpoints;

mod listeners;

mod signatures;

#[cfg(test)]
pub(crate) mod testing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use audit::medium::Medium;
use config::{Config, FhirBase, Finding, Findings, Mistaken, Rate, Severity, UpstreamName};

pub use self::kept::{content, fetched, one_list};
use self::loader::Loader;
pub use self::look::{look, look_at};
pub use self::renew::{Renewed, renew};
use crate::descriptors;
use crate::digest::sha256;
use crate::endpoint::Endpoint;
use crate::limit::Rates;
use crate::route::{RouteEntry, RouteTable};
use crate::site::Site;

/// Where a configuration comes from, at start and at each reload.
pub struct Source {
    path: PathBuf,
    adjust: Box<dyn Fn(&mut Config) + Send + Sync>,
}

impl Source {
    /// A file as it is.
    #[must_use]
    pub fn file(path: &Path) -> Source {
        Source {
            path: path.to_owned(),
            adjust: Box::new(|_| ()),
        }
    }

    /// A file, changed by whoever embeds the gateway each time that it was read. What it changes it
    /// also writes into the text: the hash on record is that of the text.
    #[must_use]
    pub fn adjusted(path: &Path, adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> Source {
        Source {
            path: path.to_owned(),
            adjust: Box::new(adjust),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(&self) -> Result<Config, Findings> {
        let mut config = config::load(&self.path)?;
        (self.adjust)(&mut config);
        Ok(config)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A site, and what probably does not do what was meant.
#[derive(Debug)]
pub struct Loaded {
    /// The site.
    pub site: Site,
    /// Warnings, those of the configuration included.
    pub warnings: Vec<Finding>,
}

/// Makes a site of a configuration. What `previous` holds and did not change is kept: rates, and
/// connections to upstreams.
pub fn load(config: Config, previous: Option<&Site>) -> Result<Loaded, Findings> {
    let mut loader = Loader::new(unix_now());
    let site = loader.site(config, previous);
    let (errors, warnings): (Vec<_>, Vec<_>) = loader
        .findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors.into_iter().collect());
    }
    let told = site.config.warnings.list().iter().cloned();
    let warnings = told.chain(warnings).collect();
    Ok(Loaded { site, warnings })
}

/// Reads a configuration and loads it, for whoever wants to know every mistake: those in the files
/// that it names too, when it is mistaken itself.
pub fn check(path: &Path) -> Result<Loaded, Mistakes> {
    let Mistaken { findings, outside } = match config::examine(path) {
        Ok(config) => {
            return load(config, None).map_err(|findings| Mistakes {
                findings,
                unseen: None,
            });
        }
        Err(mistaken) => mistaken,
    };
    let Some(outside) = outside else {
        return Err(Mistakes {
            findings,
            unseen: Some("the files that it names were not looked at yet"),
        });
    };
    let mut loader = Loader::new(unix_now());
    loader.entries(&outside.certificates, None);
    loader.trust_sets(&outside.trust, None);
    loader.authorities(&outside.roots, true);
    let found = loader.findings.into_iter();
    let errors = found.filter(|finding| finding.severity == Severity::Error);
    Err(Mistakes {
        findings: findings.list().iter().cloned().chain(errors).collect(),
        unseen: Some("files that are named in a table with a mistake were not looked at yet"),
    })
}

/// Every mistake that can be told.
#[derive(Debug)]
pub struct Mistakes {
    /// The mistakes.
    pub findings: Findings,
    /// What was not looked at because of them.
    pub unseen: Option<&'static str>,
}

impl Loader {
    fn site(&mut self, config: Config, previous: Option<&Site>) -> Site {
        let mut decisions = config.decisions.clone();
        decisions.extend(self.medium(&config));
        let audit_keys = self.audit_keys(&config.audit, previous);
        let witnesses = self.witnesses(&config, previous);
        let entries = self.entries(&config.certificates, previous);
        let trust = self.trust_sets(&config.trust, previous);
        let signer = self.signer(&config);
        let upstreams = self.upstreams(&config, &entries, signer.as_ref(), previous);
        let listeners = self.listeners(&config, &entries, &trust);
        let means = self.signatures(&config, previous);
        let routes = self.routes(&config, &upstreams, &means, previous);
        self.findings.extend(descriptors::judge(&config));
        Site {
            generation: previous.map_or(1, |site| site.generation + 1),
            digest: sha256(config.text.as_bytes()),
            listeners,
            trust: trust.into_values().collect(),
            certificates: entries.into_values().collect(),
            routes,
            roles: config.roles.clone(),
            upstreams,
            signer,
            replays: means.replays,
            audit_keys,
            witnesses,
            decisions,
            config,
        }
    }

    /// The routes, each with the upstream that it holds. What `previous` counted for a route is kept.
    fn routes(
        &mut self,
        config: &Config,
        upstreams: &HashMap<UpstreamName, Arc<Endpoint>>,
        means: &signatures::Means,
        previous: Option<&Site>,
    ) -> RouteTable {
        let routes = config.routes.iter().filter_map(|route| {
            let kept = previous.and_then(|site| {
                site.routes
                    .rates()
                    .find(|(known, _)| known.name.value == route.name.value)
            });
            // An upstream that is missing has been reported where it is configured.
            let endpoint = upstreams.get(&route.upstream.value)?;
            let demands = self.demands(route, endpoint, means);
            Some(Arc::new(RouteEntry {
                rates: rates(&route.rate, kept.map(|(_, rates)| rates)),
                endpoint: Arc::clone(endpoint),
                patients: patients(config, &route.upstream.value),
                demands,
                route: route.clone(),
            }))
        });
        RouteTable::build(routes.collect::<Vec<_>>())
    }

    /// What lies under the audit log.
    fn medium(&mut self, config: &Config) -> Option<config::Decision> {
        let directory = &config.audit.directory;
        let medium = match Medium::under(&directory.path) {
            Ok(medium) => medium,
            Err(error) => {
                self.error(
                    &directory.place,
                    format!("cannot be looked at: {error}"),
                    Some("let the user that the gateway runs as reach the folder"),
                );
                return None;
            }
        };
        let doubt = medium.doubt?;
        match config.weak_file_system(&format!("{}: {doubt}", medium.file_system)) {
            Ok(decision) => Some(decision),
            Err(finding) => {
                self.findings.push(finding);
                None
            }
        }
    }
}

/// Within what an id of a patient on this upstream is unique.
fn patients(config: &Config, upstream: &UpstreamName) -> Box<str> {
    match config.upstreams.get(upstream).map(|it| &it.fhir_base) {
        Some(FhirBase::Stated(base)) => base.value.as_str().into(),
        Some(FhirBase::Unstated) | None => format!("urn:phigate:upstream:{upstream}").into(),
    }
}

fn rates(rate: &Rate, kept: Option<&Arc<Rates>>) -> Option<Arc<Rates>> {
    let Rate::PerClient { requests, every } = rate else {
        return None;
    };
    match kept {
        Some(kept) if kept.quota() == (*requests, *every) => Some(Arc::clone(kept)),
        _ => Rates::new(*requests, *every).map(Arc::new),
    }
}

fn unix_now() -> i64 {
    let now = audit::event::Time::from_system(SystemTime::now());
    i64::try_from(now.0 / 1_000_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use config::TrustName;

    use super::testing::Place;
    use super::{check, renew};
    use crate::site::Site;
    use crate::tls::Revocation;

    fn serials(site: &Site) -> usize {
        let Revocation::Lists { index, .. } = &site.trust[0].revocation else {
            panic!("there are lists");
        };
        index.serials()
    }

    #[test]
    fn what_does_not_count_keeps_nothing_good_out_and_takes_nothing_back() {
        let place = Place::new();
        place.revoke(1, 2, &[7]);
        let first = place.load(None).unwrap();
        let name = TrustName::parse("devices").unwrap();
        let devices = std::slice::from_ref(&name);
        let again = |site: &Site| renew(site, devices);
        let same = again(&first);
        assert!(same.trust.is_empty() && same.refused.is_empty(), "{same:?}");
        // One file that is no list, one that is newer, one after the other.
        let strange = place.directory.path().join("pki/crl/strange.crl");
        std::fs::write(&strange, "not a list").unwrap();
        place.revoke(2, 2, &[7, 8]);
        let newer = again(&first);
        assert_eq!(newer.refused, devices);
        let second = first.with_trust(&newer.trust);
        assert_eq!((serials(&second), second.generation), (2, 1));
        // An older one.
        std::fs::remove_file(&strange).unwrap();
        place.revoke(1, 2, &[]);
        let older = again(&second);
        assert_eq!(older.refused, devices);
        assert_eq!(serials(&second.with_trust(&older.trust)), 2);
        // None at all.
        std::fs::remove_file(place.directory.path().join("pki/crl/one.crl")).unwrap();
        let none = again(&second);
        assert!(none.trust.is_empty(), "{none:?}");
        assert_eq!(none.refused, devices);
        // It goes on from there.
        place.revoke(3, 2, &[8]);
        let next = again(&second);
        assert!(next.refused.is_empty(), "{next:?}");
        let third = second.with_trust(&next.trust);
        assert_eq!(serials(&third), 1);
        let side = &third.listeners.values().next().unwrap().side;
        let (crate::tls::Clients::Required(trust) | crate::tls::Clients::Optional(trust)) =
            side.clients()
        else {
            panic!("clients show certificates");
        };
        assert!(std::sync::Arc::ptr_eq(trust, &third.trust[0]));
    }

    #[test]
    fn a_mistake_in_the_text_hides_none_in_the_files_that_it_names() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let file = place.directory.path().join("gateway.toml");
        let told = || {
            let mistakes = check(&file).unwrap_err();
            (mistakes.findings.to_string(), mistakes.unseen.is_some())
        };
        place.edit("fhir      = true", "fhri      = true");
        std::fs::remove_file(place.directory.path().join("pki/trust.pem")).unwrap();
        std::fs::write(place.directory.path().join("server/key.pem"), "").unwrap();
        let (text, unseen) = told();
        for part in ["fhri", "trust.devices.roots", "certificates.server.key"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(unseen);
        // Of a table with a mistake no file is looked for: what stands in for it is no file.
        place.edit("roots      =", "rots       =");
        let (text, unseen) = told();
        assert!(!text.contains("cannot open") && unseen, "{text}");
        assert!(text.contains("certificates.server.key"), "{text}");
        place.edit("[audit]", "[audit");
        assert!(told().1);
    }

    #[test]
    fn a_reload_refuses_lists_older_than_those_in_force_and_a_restart_knows_none() {
        let place = Place::new();
        place.revoke(4, 2, &[7]);
        let first = place.load(None).unwrap();
        place.revoke(5, 2, &[7, 8]);
        let second = place.load(Some(&first)).unwrap();
        assert_eq!(second.generation, 2);
        place.revoke(4, 2, &[7]);
        let told = place.load(Some(&second)).unwrap_err();
        assert!(told.contains("one.crl is older"), "{told}");
        assert!(told.contains("trust.devices.revocation"), "{told}");
        assert!(told.contains("hint: put the newest list there"), "{told}");
        place.load(None).unwrap();
    }
}
