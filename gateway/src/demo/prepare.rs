//! What the demo needs before it serves: a directory of its own with certificates, free addresses, and
//! a configuration. What an earlier start left is reused.
//!
//! Nothing is made before it is known that the directory may be used and the address is free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pki::files::{FileError, Readers, create_new};
use pki::staging::Staging;

use super::credentials::{CONFIGURATION, Home, TEMPLATE};
use super::error::DemoError;

/// Where the demo listens when nobody says otherwise.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// A demo that is ready to serve.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) directory: PathBuf,
    pub(super) config: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) upstream: SocketAddr,
    /// The same three as the file has them.
    pub(super) wanted: [SocketAddr; 3],
    /// Bound ahead, so that nobody else takes its port.
    pub(super) sample: TcpListener,
    /// Keep the ports of the gateway free for it; dropped when it binds them itself.
    pub(super) held: Vec<TcpListener>,
    /// What is not as the file says it is, for people.
    pub(super) remarks: Vec<String>,
}

/// Makes, or renews, everything in `directory`.
pub(super) fn prepare(
    directory: &Path,
    listen: Option<SocketAddr>,
    now: Timestamp,
) -> Result<Prepared, DemoError> {
    // Whole, so that the commands that are printed work from anywhere.
    let directory = &std::path::absolute(directory)
        .map_err(|error| DemoError::new(format_args!("{}: {error}", directory.display())))?;
    let home = Home::find(directory)?;
    let config = directory.join(CONFIGURATION);
    let written = config.exists();
    let wanted = if written {
        Addresses::read(&config)?
    } else {
        Addresses::USUAL
    };
    let in_file = [wanted.listen, wanted.admin, wanted.upstream];
    let mut remarks = Vec::new();
    let (listen, held_listen) = free_listen(listen.unwrap_or(wanted.listen))?;
    let (admin, held_admin) = free(wanted.admin, "admin", &mut remarks)?;
    let (upstream, sample) = free(wanted.upstream, "upstream", &mut remarks)?;
    std::fs::create_dir_all(directory).map_err(|error| {
        DemoError::new(format_args!(
            "cannot create {}: {error}",
            directory.display()
        ))
        .hint("name another directory with --dir")
    })?;
    remarks.extend(home.furnish(now)?);
    let taken = [listen, admin, upstream];
    if !written {
        let text = TEMPLATE
            .replace("@LISTEN@", &listen.to_string())
            .replace("@ADMIN@", &admin.to_string())
            .replace("@UPSTREAM@", &upstream.to_string());
        write(directory, &text).map_err(DemoError::new)?;
    }
    Ok(Prepared {
        directory: directory.clone(),
        config,
        listen,
        admin,
        upstream,
        wanted: if written { in_file } else { taken },
        sample,
        held: vec![held_listen, held_admin],
        remarks,
    })
}

/// Where to listen.
struct Addresses {
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
}

impl Addresses {
    const USUAL: Addresses = Addresses {
        listen: LISTEN,
        admin: ADMIN,
        upstream: UPSTREAM,
    };

    /// Those of a configuration that is there; the usual ones where it names none.
    fn read(path: &Path) -> Result<Addresses, DemoError> {
        let config = config::load(path).map_err(|findings| {
            DemoError::new(format_args!(
                "the configuration of an earlier demo cannot be used:\n{findings}"
            ))
            .hint(format_args!(
                "mend {}, or remove it to have it written anew",
                path.display()
            ))
        })?;
        let mut listeners = config.listeners.values();
        let first = listeners
            .next()
            .and_then(|listener| listener.listen.first());
        let admin = match &config.admin {
            config::Admin::Listen(address) => Some(address.value),
            config::Admin::Off => None,
        };
        let upstream = config.upstreams.values().find_map(loopback);
        Ok(Addresses {
            listen: first.map_or(LISTEN, |address| address.value),
            admin: admin.unwrap_or(ADMIN),
            upstream: upstream.unwrap_or(UPSTREAM),
        })
    }
}

/// Writes the configuration, whole or not at all.
fn write(directory: &Path, text: &str) -> Result<(), FileError> {
    let staging = Staging::create(directory)?;
    create_new(
        &staging.path().join(CONFIGURATION),
        Readers::Everybody,
        text.as_bytes(),
    )?;
    staging.hand_out(&[CONFIGURATION], directory)
}

/// The address of an upstream that is the sample API: plain HTTP on loopback.
pub(super) fn loopback(upstream: &config::Upstream) -> Option<SocketAddr> {
    match &upstream.server.value {
        config::Server::Http { authority } if authority.host.is_loopback() => {
            let ip = authority
                .host
                .address()
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            Some(SocketAddr::new(ip, authority.port))
        }
        _ => None,
    }
}

/// The listen address itself is never replaced silently: whoever pastes a command would reach
/// somebody else. Port 0 asks for a free one.
fn free_listen(wanted: SocketAddr) -> Result<(SocketAddr, TcpListener), DemoError> {
    TcpListener::bind(wanted)
        .and_then(|bound| Ok((bound.local_addr()?, bound)))
        .map_err(|error| {
            DemoError::new(format_args!("cannot listen on {wanted}: {error}"))
                .hint("--listen 127.0.0.1:0 takes a free port")
        })
}

fn free(
    wanted: SocketAddr,
    what: &str,
    remarks: &mut Vec<String>,
) -> Result<(SocketAddr, TcpListener), DemoError> {
    let bound =
        TcpListener::bind(wanted).or_else(|_| TcpListener::bind(SocketAddr::new(wanted.ip(), 0)));
    let (address, bound) = bound
        .and_then(|bound| Ok((bound.local_addr()?, bound)))
        .map_err(|error| {
            DemoError::new(format_args!(
                "cannot listen on any port of {}: {error}",
                wanted.ip()
            ))
        })?;
    if wanted.port() != 0 && address.port() != wanted.port() {
        remarks.push(format!(
            "port {} is busy: {what} is on {address}",
            wanted.port()
        ));
    }
    Ok((address, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Option<SocketAddr> = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    fn told(directory: &Path, listen: Option<SocketAddr>) -> String {
        prepare(directory, listen, Timestamp::now())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_busy_address_is_told_and_nothing_is_made() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = told(&home, Some(busy.local_addr().unwrap()));
        assert!(told.starts_with("error: cannot listen on 127.0.0.1:"));
        assert!(told.contains("hint: --listen 127.0.0.1:0"), "{told}");
        assert!(!home.exists());
    }

    #[test]
    fn a_port_that_is_busy_is_replaced_and_told_and_ours_are_held() {
        let place = tempfile::tempdir().unwrap();
        let first = prepare(place.path(), ANY, Timestamp::now()).unwrap();
        // The first one still holds its ports.
        let second = prepare(place.path(), ANY, Timestamp::now()).unwrap();
        for (what, busy, taken) in [
            ("upstream", first.upstream, second.upstream),
            ("admin", first.admin, second.admin),
        ] {
            let told = format!("port {} is busy: {what} is on {taken}", busy.port());
            assert_ne!(busy, taken);
            assert!(second.remarks.contains(&told), "{:?}", second.remarks);
        }
        assert!(TcpListener::bind(first.listen).is_err());
    }

    #[test]
    fn a_configuration_that_was_changed_is_used_and_never_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = prepare(place.path(), ANY, Timestamp::now()).unwrap().config;
        let text = std::fs::read_to_string(&path).unwrap() + "# mine\n";
        let free = free_listen(ANY.unwrap()).unwrap().0;
        let earlier = Addresses::read(&path).unwrap().listen;
        let text = text.replace(&earlier.to_string(), &free.to_string());
        std::fs::write(&path, &text).unwrap();
        let again = prepare(place.path(), None, Timestamp::now()).unwrap();
        assert_eq!(again.listen, free);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::write(&path, "[audit]\n").unwrap();
        let told = told(place.path(), ANY);
        assert!(told.contains("hint: mend"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[audit]\n");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_before_anything_is_made() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("notes"), "mine").unwrap();
        std::fs::write(place.path().join(CONFIGURATION), "not even read").unwrap();
        let told = told(place.path(), ANY);
        assert!(told.contains("hint: name an empty directory"), "{told}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_in_the_place_of_the_directory_is_told() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        let told = told(&file, ANY);
        assert!(told.contains("hint: name another directory"), "{told}");
    }
}
