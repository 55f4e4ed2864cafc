//! From what was typed to what is meant: defaults that depend on other keys, names that must
//! exist, things that must not be said twice.
//!
//! Pure: no file is opened, no clock is read. Every mistake is noted and resolving goes on with
//! what is there; a value that is missing is stood in for, and since its absence is noted too, no
//! stand-in ever leaves this crate.

pub(crate) mod addressable;
mod clients;
mod house;
mod listeners;
pub(crate) mod reach;
mod routes;
mod signatures;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::collect::{Named, Optional};
use crate::decision::Decision;
use crate::error::{Advice, Findings, Report, did_you_mean, nearest};
use crate::file::File;
use crate::integrity::Signatures;
use crate::model::{
    AccessLog, Admin, Audit, Certificate, Config, Listener, Rationale, Role, Route, Server, Trust,
    Upstream, Workers,
};
use crate::name::{
    CertificateName, ClassName, KeyName, ListenerName, RationaleText, RoleName, Sentence,
    TrustName, UpstreamName,
};
use crate::place::{Place, Placed, quoted};
use crate::secret::{FilePath, PathText, Secret, SecretText};
use crate::word::StandIn;

/// What could be resolved, before it is known whether all of it could.
pub(crate) struct Draft {
    access_log: AccessLog,
    drain: Duration,
    workers: Option<Workers>,
    audit: Option<Audit>,
    admin: Option<Admin>,
    trust: BTreeMap<TrustName, Trust>,
    certificates: BTreeMap<CertificateName, Certificate>,
    listeners: BTreeMap<ListenerName, Listener>,
    roles: BTreeMap<RoleName, Role>,
    signatures: Option<Signatures>,
    upstreams: BTreeMap<UpstreamName, Upstream>,
    routes: Vec<Route>,
}

/// Resolves what can be resolved and notes what cannot.
pub(crate) fn resolve(file: File, path: &Path, report: &mut Report) -> Draft {
    let mut context = Context {
        folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        trust: names(file.trust.as_ref()),
        certificates: names(file.certificates.as_ref()),
        listeners: names(file.listeners.as_ref()),
        roles: names(file.roles.as_ref()),
        upstreams: names(file.upstreams.as_ref()),
        classes: house::class_names(file.audit.as_ref()),
        signature_keys: names(
            file.signatures
                .as_ref()
                .and_then(|table| table.keys.as_ref()),
        ),
        report,
    };
    if context.listeners.as_ref().is_some_and(BTreeSet::is_empty) {
        let hint = "write a table such as [listeners.devices]";
        context
            .report
            .error(&file.place.child("listeners"), "there is no listener", hint);
    }
    let draft = Draft {
        access_log: file.access_log.value,
        drain: file.drain.value,
        workers: file.workers.map(house::workers),
        audit: file.audit.map(|audit| house::audit(audit, &mut context)),
        admin: file.admin.map(house::admin),
        trust: each(file.trust, |trust| {
            Some(clients::trust(trust, &mut context))
        }),
        certificates: each(file.certificates, |entry| {
            Some(listeners::certificate(entry, &mut context))
        }),
        listeners: each(file.listeners, |table| {
            listeners::listener(table, &mut context)
        }),
        roles: each(file.roles, |role| clients::role(role, &mut context)),
        signatures: file
            .signatures
            .map(|table| signatures::signatures(table, &mut context)),
        upstreams: each(file.upstreams, |table| {
            upstreams::upstream(table, &mut context)
        }),
        routes: routes::routes(file.routes, &mut context),
    };
    listeners::refuse_shared_addresses(&draft, context.report);
    signatures::refuse_impossible(&draft, context.report);
    draft
}

impl Draft {
    /// The configuration.
    ///
    /// Called only when nothing was reported, so everything is there.
    pub(crate) fn into_config(
        self,
        path: &Path,
        text: &str,
        decisions: Vec<Decision>,
        warnings: Findings,
    ) -> Config {
        const REPORTED: &str = "what is missing from a draft is reported";
        Config {
            path: path.to_owned(),
            text: text.to_owned(),
            access_log: self.access_log,
            drain: self.drain,
            workers: self.workers.expect(REPORTED),
            audit: self.audit.expect(REPORTED),
            admin: self.admin.expect(REPORTED),
            trust: self.trust,
            certificates: self.certificates,
            listeners: self.listeners,
            roles: self.roles,
            signatures: self.signatures.expect(REPORTED),
            upstreams: self.upstreams,
            routes: self.routes,
            decisions,
            warnings,
        }
    }
}

/// What a file with mistakes names outside of itself: the tables that no mistake is in.
#[derive(Debug)]
pub struct Outside {
    /// Trust sets.
    pub trust: BTreeMap<TrustName, Trust>,
    /// Certificates of the gateway.
    pub certificates: BTreeMap<CertificateName, Certificate>,
    /// Roots that vouch for upstreams.
    pub roots: Vec<FilePath>,
}

impl Draft {
    /// What is named in tables about which nothing was found. `None` when not every finding is
    /// known: what stands in for a mistake must not leave this crate.
    pub(crate) fn into_outside(self, findings: &Findings) -> Option<Outside> {
        let is_sound = |place: &Place| {
            !findings.list().iter().any(|finding| {
                let below = finding.place.key.strip_prefix(&place.key);
                below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
            })
        };
        let sound = |upstream: &Upstream| is_sound(&upstream.place);
        let upstreams = self.upstreams.into_values().filter(sound);
        (findings.unlisted() == 0).then(|| Outside {
            roots: upstreams
                .filter_map(|upstream| match upstream.server.value {
                    Server::Https { roots, .. } => Some(roots),
                    Server::Http { .. } | Server::Unix { .. } => None,
                })
                .collect(),
            trust: only(self.trust, |trust| is_sound(&trust.place)),
            certificates: only(self.certificates, |entry| is_sound(&entry.place)),
        })
    }
}

fn only<N: Ord, T>(tables: BTreeMap<N, T>, is_sound: impl Fn(&T) -> bool) -> BTreeMap<N, T> {
    tables
        .into_iter()
        .filter(|(_, table)| is_sound(table))
        .collect()
}

/// What sections need of each other.
struct Context<'r> {
    /// The folder of the configuration file.
    folder: PathBuf,
    // The names that are given. `None`: the section is no table, which is noted, so that nothing
    // is said about the names that are missed in it.
    trust: Option<BTreeSet<TrustName>>,
    certificates: Option<BTreeSet<CertificateName>>,
    listeners: Option<BTreeSet<ListenerName>>,
    roles: Option<BTreeSet<RoleName>>,
    upstreams: Option<BTreeSet<UpstreamName>>,
    classes: Option<BTreeSet<ClassName>>,
    signature_keys: Option<BTreeSet<KeyName>>,
    report: &'r mut Report,
}

impl Context<'_> {
    fn file(&self, path: Placed<PathText>) -> FilePath {
        FilePath {
            path: self.folder.join(path.value.0),
            place: path.place,
        }
    }

    fn files(&self, paths: Vec<Placed<PathText>>) -> Vec<FilePath> {
        paths.into_iter().map(|path| self.file(path)).collect()
    }

    /// The file, or a stand-in where it is missing and that is noted.
    fn required_file(&self, path: Option<Placed<PathText>>, place: &Place) -> FilePath {
        let missing = || FilePath {
            path: PathBuf::new(),
            place: place.clone(),
        };
        path.map_or_else(missing, |path| self.file(path))
    }

    /// Where the secret is, or a stand-in where that is missing or wrong and is noted.
    fn required_secret(&self, secret: Option<Placed<SecretText>>, place: &Place) -> Secret {
        let Some(Placed { value, place }) = secret else {
            return Secret::File(self.required_file(None, place));
        };
        match value {
            SecretText::File(path) => Secret::File(self.file(Placed { value: path, place })),
            SecretText::Env(name) => Secret::Env(Placed { value: name, place }),
            SecretText::Credential(name) => Secret::Credential(Placed { value: name, place }),
        }
    }
}

/// Notes each name that is not among those that are given.
fn must_exist<N: Ord + fmt::Display + AsRef<str>>(
    noun: &str,
    name: &Placed<N>,
    given: Option<&BTreeSet<N>>,
    report: &mut Report,
) {
    let Some(given) = given.filter(|given| !given.contains(&name.value)) else {
        return;
    };
    report.advise(&name.place, || {
        let known = || given.iter().map(AsRef::as_ref);
        let all = || {
            let list = known().map(quoted).collect::<Vec<_>>().join(", ");
            match given.len() {
                0 => Some(format!("no {noun} is given in this file")),
                1 => Some(format!("there is only {list}")),
                2..=12 => Some(format!("there are {list}")),
                _ => None,
            }
        };
        let hint = nearest(name.value.as_ref(), known())
            .map(did_you_mean)
            .or_else(all);
        Advice {
            message: format!("unknown {noun} {}", quoted(name.value.as_ref())),
            hint,
        }
    });
}

/// A rationale that is wrong is noted, and counts as given: what is missing is not the will.
fn rationale(text: Optional<RationaleText>, table: &Place) -> Rationale {
    match text {
        Optional::Absent => Rationale::Absent,
        Optional::Wrong => Rationale::Given(Placed {
            value: Sentence::stand_in(),
            place: table.clone(),
        }),
        Optional::Given(Placed { value, place }) => Rationale::Given(Placed {
            value: value.0,
            place,
        }),
    }
}

fn names<N: Clone + Ord, T>(tables: Option<&Named<N, T>>) -> Option<BTreeSet<N>> {
    tables.map(|tables| tables.names.clone())
}

fn each<N: Ord, T, R>(
    tables: Option<Named<N, T>>,
    mut resolve: impl FnMut(T) -> Option<R>,
) -> BTreeMap<N, R> {
    let tables = tables.map(|tables| tables.tables).unwrap_or_default();
    tables
        .into_iter()
        .filter_map(|(name, table)| Some((name, resolve(table)?)))
        .collect()
}
