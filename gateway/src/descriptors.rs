//! File descriptors: how many the process may have, and how many of them are for clients.
//!
//! A process without a descriptor left accepts nobody, reaches no upstream and opens no segment of
//! its log. So what the upstreams and the process itself may need is set aside, and clients share the
//! rest. Standard: getrlimit(2).

use config::{Config, Finding, Place, Severity, WorkerCount, Workers};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::site::Site;

/// For the audit log, the admin listener, standard streams, runtimes.
const OWN: u64 = 64;

/// For the runtime of one worker, and for names that it looks up.
const OWN_OF_WORKER: u64 = 16;

/// Fewer connections of clients than these are no service.
const LEAST: usize = 16;

/// Raises the limit to the most that the process may have without privileges.
///
/// # Errors
/// The operating system's; the limit is then as it was.
pub fn raise() -> std::io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// How many workers there will be.
pub fn workers(workers: &Workers) -> usize {
    match workers.count {
        WorkerCount::PerCore => {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        }
        WorkerCount::Fixed(count) => count.get(),
    }
}

/// How many connections of clients the process can hold while it serves `site`.
pub fn for_clients(site: &Site, workers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    left(&site.config, workers, limit)
}

/// What is wrong with a configuration for the limit that this process can have: an error when it
/// leaves nobody to serve, a warning when it leaves fewer connections than the listeners allow.
pub fn judge(config: &Config) -> Option<Finding> {
    // `run` raises its limit to the most that it may have.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    shortage(config, workers(&config.workers), limit)
}

fn shortage(config: &Config, workers: usize, limit: u64) -> Option<Finding> {
    let left = left(config, workers, limit);
    if left < LEAST {
        let most = config
            .upstreams
            .values()
            .max_by_key(|upstream| upstream.connections);
        let whole = Place::whole(&config.path);
        return Some(Finding::error(
            most.map_or(&whole, |upstream| &upstream.place),
            format!(
                "the limit of {limit} file descriptors leaves {left} connections for clients: the \
                 upstreams together may take {} in each of {workers} workers",
                upstreams(config)
            ),
            Some(
                "lower `connections` of the upstreams, or raise the limit (LimitNOFILE= of systemd, \
                 ulimit -n)",
            ),
        ));
    }
    let wanted = allowed(config);
    let most = config
        .listeners
        .values()
        .max_by_key(|listener| listener.limits.connections)?;
    (left < wanted).then(|| Finding {
        severity: Severity::Warning,
        ..Finding::error(
            &most.place,
            format!(
                "the limit of {limit} file descriptors leaves {left} connections for clients, and the \
                 listeners allow {wanted}"
            ),
            Some(
                "raise the limit (LimitNOFILE= of systemd, ulimit -n), or lower `connections` of the \
                 listeners' limits",
            ),
        )
    })
}

/// What is left for clients of so many descriptors.
fn left(config: &Config, workers: usize, limit: u64) -> usize {
    let listen: usize = config
        .listeners
        .values()
        .map(|listener| listener.listen.len())
        .sum();
    let each = OWN_OF_WORKER + (listen + upstreams(config)) as u64;
    let left = limit.saturating_sub(each.saturating_mul(workers as u64).saturating_add(OWN));
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// Connections that the listeners allow together.
fn allowed(config: &Config) -> usize {
    let listeners = config.listeners.values();
    listeners
        .map(|listener| listener.limits.connections.get() as usize)
        .sum()
}

/// Connections that one worker may have to upstreams.
fn upstreams(config: &Config) -> usize {
    config
        .upstreams
        .values()
        .map(|upstream| upstream.connections.get() as usize)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Place;

    fn config(upstream: &str, listener: &str) -> Config {
        let place = Place::new();
        let servers = "servers   = [\"http://127.0.0.1:3\"]";
        place.edit(servers, &format!("{servers}\nconnections = {upstream}"));
        let mut text =
            std::fs::read_to_string(place.directory.path().join("gateway.toml")).unwrap();
        text.push_str(&["\n[listeners.devices.limits]\nconnections = ", listener].concat());
        config::parse(std::path::Path::new("gateway.toml"), &text).unwrap()
    }

    #[test]
    fn upstreams_that_may_take_every_descriptor_are_an_error_with_their_place() {
        let config = config("1000", "100");
        let error = shortage(&config, 2, 2000).unwrap();
        assert_eq!(error.severity, Severity::Error);
        assert_eq!(error.place.key, "upstreams.sample");
        assert!(error.place.line > 0);
        for part in ["limit of 2000", "leaves 0", "take 1000 in each of 2"] {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn fewer_connections_than_the_listeners_allow_are_a_warning_with_its_place() {
        let config = config("100", "5000");
        let warning = shortage(&config, 2, 2000).unwrap();
        assert_eq!(warning.severity, Severity::Warning);
        assert_eq!(warning.place.key, "listeners.devices");
        assert!(warning.message.contains("allow 5000"), "{warning}");
        assert_eq!(shortage(&config, 2, 20_000), None);
    }

    #[test]
    fn loading_asks_for_descriptors() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let servers = "servers = [\"http://127.0.0.1:3\"]";
        // More than a kernel counts for one process, even where it was told to set no limit.
        let path = place.directory.path().join("gateway.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "\n[workers]\ncount = 1024\n";
        let more = |at| format!("[upstreams.more-{at}]\n{servers}\nconnections = 100000\n");
        text.extend((0..30).map(more));
        std::fs::write(path, text).unwrap();
        let told = place.load(None).unwrap_err();
        assert!(
            told.contains("upstreams.more-") && told.contains(": the limit of"),
            "{told}"
        );
    }
}
