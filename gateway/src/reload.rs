//! Putting a configuration in force, at start and again: resolve and load everything, bind what is
//! new, put it on record, and only then swap. On any failure the old one stays, and says why.

use std::path::Path;
use std::time::SystemTime;

use audit::error::AppendError;
use audit::event::{
    Configuration, Decision, Digest, Entry, Event, Revocation as RevocationEvent, Time,
};
use audit::log::Log;
use config::{Config, Finding, Findings};

use crate::digest::sha256;
use crate::load::{self, Loaded, Source};
use crate::metrics::Metrics;
use crate::server::{AUDIT_PATIENCE, BindError, Bound, Fleet};
use crate::site::Site;
use crate::tls::Revocation;

/// Reads the configuration again and puts it in force.
///
/// # Errors
/// [`Findings`]: everything stays as it was.
pub async fn reload(
    source: &Source,
    current: &Site,
    fleet: &mut Fleet,
    log: &Log,
    metrics: &Metrics,
) -> Result<Vec<Finding>, Findings> {
    match prepare(source, current, fleet, log) {
        Ok((loaded, bound)) => {
            let Loaded { site, warnings } = loaded;
            publish(&site, metrics);
            fleet.put_in_force(site, bound).await;
            Ok(warnings)
        }
        Err((findings, digest)) => {
            let mistakes =
                u32::try_from(findings.list().len() + findings.unlisted()).unwrap_or(u32::MAX);
            let event = Configuration {
                digest: Digest::new(digest),
                accepted: false,
                occasion: "reload",
                mistakes,
                generation: current.generation,
            };
            // A log that takes nothing has already said so; the old configuration stays either way.
            let _ = log.append_blocking(&entry(Event::Configuration(event)), AUDIT_PATIENCE);
            metrics.reload(false, current.generation);
            Err(findings)
        }
    }
}

fn prepare(
    source: &Source,
    current: &Site,
    fleet: &Fleet,
    log: &Log,
) -> Result<(Loaded, Bound), (Findings, [u8; 32])> {
    let config = source
        .read()
        .map_err(|findings| (findings, digest_of(source.path())))?;
    let digest = sha256(config.text.as_bytes());
    let fixed: Vec<Finding> = fixed(&config, &current.config);
    if !fixed.is_empty() {
        return Err((fixed.into_iter().collect(), digest));
    }
    let loaded = load::load(config, Some(current)).map_err(|findings| (findings, digest))?;
    fleet
        .check_budget(&loaded.site)
        .map_err(|finding| ([finding].into_iter().collect(), digest))?;
    let bound = fleet
        .bind(&loaded.site)
        .map_err(|errors| (errors.iter().map(finding).collect(), digest))?;
    record(&loaded.site, "reload", log).map_err(|error| {
        let place = &loaded.site.config.audit.directory.place;
        let finding = Finding::error(
            place,
            format!("the change cannot be put on record: {error}"),
            None,
        );
        ([finding].into_iter().collect(), digest)
    })?;
    Ok((loaded, bound))
}

/// What a running process cannot change.
fn fixed(new: &Config, old: &Config) -> Vec<Finding> {
    let restart = |place: &config::Place, what: &str| {
        Finding::error(
            place,
            format!("{what} cannot change while the gateway runs"),
            Some("restart it"),
        )
    };
    let mut findings = Vec::new();
    let audit = |config: &Config| {
        let audit = &config.audit;
        (
            audit.directory.path.clone(),
            audit.durability.value,
            audit.queue_entries,
            audit.queue_bytes.get(),
            audit.segment_size.get(),
            audit.min_free.get(),
        )
    };
    if audit(new) != audit(old) {
        findings.push(restart(&new.audit.directory.place, "the audit log"));
    }
    let whole = config::Place::whole(&new.path);
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
    if new.access_log != old.access_log {
        findings.push(restart(&whole, "the access log"));
    }
    findings
}

/// Puts a configuration on record: its hash, every rationale in use, what is revoked. Durable when
/// it returns.
///
/// # Errors
/// [`AppendError`]: it must not come into force.
pub fn record(site: &Site, occasion: &str, log: &Log) -> Result<(), AppendError> {
    let configuration = Configuration {
        digest: Digest::new(site.digest),
        accepted: true,
        occasion,
        mistakes: 0,
        generation: site.generation,
    };
    log.append_blocking(&entry(Event::Configuration(configuration)), AUDIT_PATIENCE)?;
    for decision in &site.decisions {
        let event = Decision {
            control: decision.control.id(),
            paragraph: decision.paragraph,
            key: &decision.place.key,
            rationale: decision.rationale.value.as_str(),
        };
        log.append_blocking(&entry(Event::Decision(event)), AUDIT_PATIENCE)?;
    }
    for trust in &site.trust {
        let Revocation::Lists { index, .. } = &trust.revocation else {
            continue;
        };
        let event = RevocationEvent {
            trust: trust.name.as_str(),
            lists: u32::try_from(index.lists()).unwrap_or(u32::MAX),
            serials: index.serials() as u64,
            next_update: index.next_update().map(Time::from_unix_seconds),
            generation: site.generation,
        };
        log.append_blocking(&entry(Event::Revocation(event)), AUDIT_PATIENCE)?;
    }
    Ok(())
}

/// Tells the metrics what is in force.
pub fn publish(site: &Site, metrics: &Metrics) {
    metrics.reload(true, site.generation);
    for entry in &site.entries {
        metrics.certificate_expiry(entry.name().as_str(), entry.not_after());
    }
    for trust in &site.trust {
        if let Revocation::Lists { index, .. } = &trust.revocation
            && let Some(next) = index.next_update()
        {
            metrics.revocation_next_update(trust.name.as_str(), next);
        }
    }
}

/// An address that cannot be listened on, as a finding.
pub fn finding(error: &BindError) -> Finding {
    let hint = match error.error.kind() {
        std::io::ErrorKind::AddrInUse => {
            Some("another process listens there: stop it, or name another port")
        }
        std::io::ErrorKind::AddrNotAvailable => Some("this machine does not have the address"),
        std::io::ErrorKind::PermissionDenied => {
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
