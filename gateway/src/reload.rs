//! Putting a configuration in force, at start and again: resolve and load everything, bind what is
//! new, put it on record, and only then swap. On any failure the old one stays, and says why. Revocation
//! lists that changed come into force in the same way, alone.

use std::ffi::OsStr;
use std::io;
use std::mem::Discriminant;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use audit::error::AppendError;
use audit::event::{
    Configuration, Decision, Digest, Entry, Event, Revocation as RevocationEvent, Time,
};
use audit::log::Log;
use audit::queue::Share;
use config::{Config, Demand, FilePath, Finding, Findings, Place, Replay, Secret};
use tokio::sync::oneshot;

use crate::digest::sha256;
use crate::load::{self, Loaded, Source};
use crate::metrics::Metrics;
use crate::replays::Reach;
use crate::retention;
use crate::server::{AUDIT_PATIENCE, BindError, Bound, Fleet};
use crate::site::Site;
use crate::timer::unix_now;
use crate::tls::{ClientTrust, Revocation};

/// Reads the configuration again and puts it in force. What reads files or waits for the disk is done
/// on a thread of its own, so that the admin listener answers meanwhile.
///
/// # Errors
/// [`Findings`]: everything stays as it was.
pub async fn reload(
    source: Arc<Source>,
    current: Arc<Site>,
    fleet: &mut Fleet,
    log: Log,
    metrics: &Metrics,
) -> Result<Vec<Finding>, Findings> {
    let generation = current.generation;
    match prepare(source, current, fleet, &log).await {
        Ok((site, warnings, bound)) => {
            publish(&site, metrics);
            // Before a request can take a route that is new.
            log.reroute(&retention::classes(&site.config));
            fleet.put_in_force(site, bound).await;
            Ok(warnings)
        }
        Err(Refused { findings, digest }) => {
            let mistakes =
                u32::try_from(findings.list().len() + findings.unlisted()).unwrap_or(u32::MAX);
            let recorded = aside(move || {
                let event = Configuration {
                    digest: Digest::new(digest),
                    accepted: false,
                    occasion: "reload",
                    mistakes,
                    generation,
                };
                // A log that takes nothing has already said so; the old one stays either way.
                let _ = log.append_blocking(&entry(Event::Configuration(event)), AUDIT_PATIENCE);
            });
            if let Err(error) = recorded.await {
                tracing::error!(%error, "the refusal of a configuration is not on record");
            }
            metrics.reload(false, generation);
            Err(findings)
        }
    }
}

/// Puts trust sets in force whose revocation lists were read anew (`refresh`), and nothing else: the
/// configuration stays the one that it is, and keeps its number.
///
/// # Errors
/// [`Finding`]: everything stays as it was.
pub async fn renew(
    current: &Site,
    trust: &[Arc<ClientTrust>],
    fleet: &Fleet,
    log: Log,
    metrics: &Metrics,
) -> Result<(), Finding> {
    let site = Arc::new(current.with_trust(trust));
    let recorded = {
        let (site, trust) = (Arc::clone(&site), trust.to_vec());
        aside(move || record_renewed(&site, &trust, &log)).await
    };
    let trouble = match recorded {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(trouble) = trouble {
        let place = &site.config.audit.directory.place;
        let message = format!("new revocation lists cannot be put on record: {trouble}");
        let hint = "they are not in force, and are read again; look at the disk of the audit log";
        return Err(Finding::error(place, message, Some(hint)));
    }
    publish_dates(&site, metrics);
    fleet.put_lists_in_force(site);
    Ok(())
}

/// A configuration that does not come into force.
struct Refused {
    findings: Findings,
    /// SHA-256 of its file.
    digest: [u8; 32],
}

async fn prepare(
    source: Arc<Source>,
    current: Arc<Site>,
    fleet: &Fleet,
    log: &Log,
) -> Result<(Arc<Site>, Vec<Finding>, Bound), Refused> {
    let path = source.path().to_owned();
    let read = aside(move || read(&source, &current)).await;
    let Loaded { site, warnings } = read.unwrap_or_else(|error| {
        let message = format!("cannot be read again: {error}");
        Err(Refused {
            findings: [Finding::error(&Place::whole(&path), message, None)]
                .into_iter()
                .collect(),
            digest: digest_of(&path),
        })
    })?;
    let refused = |findings| Refused {
        findings,
        digest: site.digest,
    };
    let bound = fleet
        .bind(&site)
        .map_err(|errors| refused(errors.iter().map(finding).collect()))?;
    open_replays(&site).map_err(|finding| refused([finding].into_iter().collect()))?;
    let site = Arc::new(site);
    let recorded = {
        let (site, log) = (Arc::clone(&site), log.clone());
        aside(move || record(&site, "reload", &log)).await
    };
    let trouble = match recorded {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(trouble) = trouble {
        let place = &site.config.audit.directory.place;
        let message = format!("the change cannot be put on record: {trouble}");
        return Err(Refused {
            findings: [Finding::error(place, message, None)].into_iter().collect(),
            digest: site.digest,
        });
    }
    Ok((site, warnings, bound))
}

fn read(source: &Source, current: &Site) -> Result<Loaded, Refused> {
    let config = source.read().map_err(|findings| Refused {
        findings,
        digest: digest_of(source.path()),
    })?;
    let digest = sha256(config.text.as_bytes());
    let fixed: Vec<Finding> = fixed(&config, &current.config);
    if !fixed.is_empty() {
        let findings = fixed.into_iter().collect();
        return Err(Refused { findings, digest });
    }
    load::load(config, Some(current)).map_err(|findings| Refused { findings, digest })
}

/// Opens the window of accepted messages, if there is one and it is not open.
///
/// # Errors
/// [`Finding`]: no signed message could be accepted.
pub(crate) fn open_replays(site: &Site) -> Result<(), Finding> {
    let Some(replays) = &site.replays else {
        return Ok(());
    };
    replays
        .open(unix_now(), reach(&site.config))
        .map_err(|error| {
            let directory = replays.directory().display();
            let hint = match error.kind() {
                io::ErrorKind::WouldBlock => "give each gateway a directory of its own",
                _ => "let the user that the gateway runs as write there",
            };
            let message =
                format!("which messages were accepted cannot be known: {directory}: {error}");
            Finding::error(&site.config.signatures.place, message, Some(hint))
        })
}

/// How far back signed messages may be accepted, on whichever route.
fn reach(config: &Config) -> Reach {
    let rules = config.routes.iter().map(|route| &route.signature);
    rules
        .filter(|rule| rule.demand.value != Demand::Off)
        .map(|rule| Reach {
            age: rule.age.as_secs(),
            skew: rule.skew.as_secs(),
        })
        .fold(Reach::default(), Reach::and)
}

/// Does something that takes its time on a thread of its own.
///
/// # Errors
/// The operating system's, when it gives no thread; nothing was done then.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, told) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || {
            // Whoever asked waits for it.
            let _ = done.send(work());
        })?;
    told.await.map_err(|_| {
        // The thread has ended without a word: a defect, which ends the reload and nothing else.
        drop(thread.join());
        io::Error::other("a defect in what was done")
    })
}

/// What a running process cannot change.
fn fixed(new: &Config, old: &Config) -> Vec<Finding> {
    let restart = |place: &Place, what: &str| {
        Finding::error(
            place,
            format!("{what} cannot change while the gateway runs"),
            Some("restart it"),
        )
    };
    let mut findings = Vec::new();
    fn audit(audit: &config::Audit) -> impl PartialEq + '_ {
        (
            audit.directory.path.as_path(),
            audit.keys.as_ref().map(source_of),
            audit.passphrase.as_ref().map(source_of),
            paths(&audit.readers),
            audit.witnesses.iter().map(parts_of).collect::<Vec<_>>(),
            audit.classes.iter().map(period_of).collect::<Vec<_>>(),
            audit.durability.value,
            audit.queue_entries,
            audit.queue_bytes.get(),
            audit.segment_size.get(),
            audit.min_free.get(),
        )
    }
    if audit(&new.audit) != audit(&old.audit) {
        findings.push(restart(&new.audit.directory.place, "the audit log"));
    }
    let whole = Place::whole(&new.path);
    if (new.workers.count, new.workers.pin) != (old.workers.count, old.workers.pin) {
        findings.push(restart(&whole, "the number of workers"));
    }
    let admin = |config: &Config| match &config.admin {
        config::Admin::Off => None,
        config::Admin::Listen(address) => Some(address.value),
    };
    if admin(new) != admin(old) {
        findings.push(restart(&whole, "the admin listener"));
    }
    if let (Replay::Kept(new_directory), Replay::Kept(old_directory)) =
        (&new.signatures.replay, &old.signatures.replay)
        && (&new_directory.path, new.signatures.window)
            != (&old_directory.path, old.signatures.window)
    {
        let place = &new.signatures.place;
        findings.push(restart(place, "the window of accepted signatures"));
    }
    if new.access_log != old.access_log {
        findings.push(restart(&whole, "the access log"));
    }
    findings
}

/// How long a class is kept, wherever the file says so.
fn period_of<'a>(
    (name, class): (&'a config::ClassName, &config::Class),
) -> impl PartialEq + use<'a> {
    (name, class.keep_years.value)
}

/// What a witness is, wherever the file says so.
fn parts_of(witness: &config::Witness) -> impl PartialEq + '_ {
    let authority = witness.authority.as_ref().map(|file| file.path.as_path());
    let key = witness.key.path.as_path();
    (
        &witness.url.value,
        key,
        authority,
        witness.every,
        witness.alarm,
    )
}

/// Where a secret comes from, wherever the file says so.
fn source_of(secret: &Secret) -> (Discriminant<Secret>, &OsStr) {
    let name = match secret {
        Secret::File(file) => file.path.as_os_str(),
        Secret::Env(name) | Secret::Credential(name) => OsStr::new(&name.value),
    };
    (std::mem::discriminant(secret), name)
}

fn paths(files: &[FilePath]) -> Vec<&Path> {
    files.iter().map(|file| file.path.as_path()).collect()
}

/// Puts a configuration on record: every rationale in use, what is revoked, and last, so that it
/// stands only if all of it does, that the configuration is accepted. Durable when it returns.
///
/// # Errors
/// [`AppendError`]: it must not come into force.
pub fn record(site: &Site, occasion: &str, log: &Log) -> Result<(), AppendError> {
    for decision in &site.decisions {
        let event = Decision {
            control: decision.control.id(),
            paragraph: decision.paragraph,
            key: &decision.place.key,
            rationale: decision.rationale.value.as_str(),
        };
        log.append_unwaited(&entry(Event::Decision(event)), Share::Proven)?;
    }
    for event in site
        .trust
        .iter()
        .filter_map(|trust| revocation(site, trust))
    {
        log.append_unwaited(&entry(Event::Revocation(event)), Share::Proven)?;
    }
    let configuration = Configuration {
        digest: Digest::new(site.digest),
        accepted: true,
        occasion,
        mistakes: 0,
        generation: site.generation,
    };
    log.append_blocking(&entry(Event::Configuration(configuration)), AUDIT_PATIENCE)
        .map(drop)
}

/// Puts the lists of these trust sets on record. Durable when it returns.
fn record_renewed(site: &Site, trust: &[Arc<ClientTrust>], log: &Log) -> Result<(), AppendError> {
    for event in trust.iter().filter_map(|trust| revocation(site, trust)) {
        log.append_blocking(&entry(Event::Revocation(event)), AUDIT_PATIENCE)?;
    }
    Ok(())
}

/// What is known to be revoked in a trust set; nothing where nothing ever is.
fn revocation<'a>(site: &Site, trust: &'a ClientTrust) -> Option<RevocationEvent<'a>> {
    let Revocation::Lists { index, .. } = &trust.revocation else {
        return None;
    };
    Some(RevocationEvent {
        trust: trust.name.as_str(),
        lists: u32::try_from(index.lists()).unwrap_or(u32::MAX),
        serials: index.serials() as u64,
        next_update: index.next_update().map(Time::from_unix_seconds),
        generation: site.generation,
    })
}

/// Tells the metrics what is in force.
pub fn publish(site: &Site, metrics: &Metrics) {
    metrics.reload(true, site.generation);
    publish_dates(site, metrics);
}

/// Tells the metrics when what is in force ends.
pub fn publish_dates(site: &Site, metrics: &Metrics) {
    metrics.forget_dates();
    for entry in &site.certificates {
        metrics.certificate_expiry(entry.name().as_str(), entry.not_after());
    }
    publish_staples(site, metrics, unix_now().cast_signed());
    for trust in &site.trust {
        if let Revocation::Lists { index, .. } = &trust.revocation
            && let Some(next) = index.next_update()
        {
            metrics.revocation_next_update(trust.name.as_str(), next);
        }
    }
}

/// Tells the metrics until when OCSP answers are stapled: they come and go without a configuration. `now` in
/// seconds since 1970.
pub fn publish_staples(site: &Site, metrics: &Metrics, now: i64) {
    for entry in &site.certificates {
        if let Some(staples) = entry.staples() {
            let next_update = staples.in_force(now).map(|staple| staple.next_update);
            metrics.staple_next_update(entry.name().as_str(), next_update);
        }
    }
}

/// An address that cannot be listened on, as a finding.
pub fn finding(error: &BindError) -> Finding {
    let hint = match error.error.kind() {
        io::ErrorKind::AddrInUse => {
            Some("another process listens there: stop it, or name another port")
        }
        io::ErrorKind::AddrNotAvailable => Some("this machine does not have the address"),
        io::ErrorKind::PermissionDenied => {
            Some("ports below 1024 take root or CAP_NET_BIND_SERVICE")
        }
        _ => None,
    };
    Finding::error(
        &error.place,
        format!("cannot listen on {}: {}", error.address, error.error),
        hint,
    )
}

fn entry(event: Event<'_>) -> Entry<'_> {
    Entry {
        time: Time::from_system(SystemTime::now()),
        event,
    }
}

/// The hash of a file that could not be resolved, as far as it can be read.
fn digest_of(path: &Path) -> [u8; 32] {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        use std::io::Read;
        let _ = file
            .take(config::MAX_FILE_BYTES as u64)
            .read_to_end(&mut bytes);
    }
    sha256(&bytes)
}
