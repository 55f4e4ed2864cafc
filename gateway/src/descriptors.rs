//! File descriptors: how many the process may have, and how many of them are for clients.
//!
//! A process without a descriptor left accepts nobody, reaches no upstream and opens no segment of
//! its log. So what the upstreams and the process itself may need is set aside, and clients share the
//! rest. Standard: getrlimit(2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::site::Site;

/// For the audit log, the admin listener, standard streams, runtimes.
const OWN: u64 = 64;

/// For the runtime of one worker, and for names that it looks up.
const OWN_OF_WORKER: u64 = 16;

/// Fewer connections of clients than these are no service.
pub const LEAST: usize = 16;

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

/// How many connections of clients the process can hold while it serves `site`.
pub fn for_clients(site: &Site, workers: usize) -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let listen: usize = site
        .config
        .listeners
        .values()
        .map(|listener| listener.listen.len())
        .sum();
    let upstream: usize = site
        .upstreams
        .values()
        .map(|endpoint| endpoint.connections)
        .sum();
    let each = OWN_OF_WORKER + (listen + upstream) as u64;
    let left = most.saturating_sub(OWN + each * workers as u64);
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// What the listeners of `site` allow together.
pub fn wanted(site: &Site) -> usize {
    let listeners = site.listeners.values();
    listeners
        .map(|listener| listener.limits.connections.get() as usize)
        .sum()
}
