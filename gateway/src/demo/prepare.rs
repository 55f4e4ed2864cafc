//! What the demo needs before it serves: an authority, certificates, a configuration. All of it is
//! made by the same code that `pki` runs, and reused at the next start.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use pki::{AuthorityName, Ca, EndEntity, Find, Inspected, KeySource, Name, Order, Reason};

/// The device that may, and the one that no longer may.
pub(super) const DEVICE: &str = "urn:example:pump-1";
/// See [`DEVICE`].
pub(super) const REVOKED: &str = "urn:example:pump-2";

/// Where the demo listens when nobody says otherwise.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

const TEMPLATE: &str = include_str!("gateway.toml");

/// What could not be prepared.
#[derive(Debug)]
pub(super) struct PrepareError {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

fn failed(what: impl fmt::Display) -> PrepareError {
    PrepareError {
        what: what.to_string(),
        hint: None,
    }
}

/// A demo that is ready to serve.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) directory: PathBuf,
    pub(super) config: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) upstream: SocketAddr,
    /// Bound ahead, so that nobody else takes its port.
    pub(super) sample: TcpListener,
    /// What is not as the file says it is, for people.
    pub(super) remarks: Vec<String>,
}

/// Makes, or renews, everything in `directory`.
pub(super) fn prepare(
    directory: &Path,
    listen: Option<SocketAddr>,
) -> Result<Prepared, PrepareError> {
    std::fs::create_dir_all(directory).map_err(|error| {
        failed(format_args!(
            "cannot create {}: {error}",
            directory.display()
        ))
    })?;
    certificates(directory)?;
    addresses(directory, listen)
}

fn certificates(directory: &Path) -> Result<(), PrepareError> {
    let now = Timestamp::now();
    let pki_directory = directory.join("pki");
    let trouble = |error: pki::Error| failed(error);
    let mut ca = if pki_directory.exists() {
        Ca::open(&pki_directory).map_err(trouble)?
    } else {
        Ca::init(
            &pki_directory,
            &AuthorityName::parse("phigate demo").map_err(failed)?,
            now,
        )
        .map_err(trouble)?
    };
    let name = |made: Result<Name, pki::name::NameError>| made.map_err(failed);
    let server = vec![name(Name::dns("localhost"))?, name(Name::ip("127.0.0.1"))?];
    keep(
        &mut ca,
        EndEntity::Server,
        server,
        &directory.join("server"),
        now,
    )?;
    keep(
        &mut ca,
        EndEntity::Device,
        vec![name(Name::uri(DEVICE))?],
        &directory.join("device"),
        now,
    )?;
    if keep(
        &mut ca,
        EndEntity::Device,
        vec![name(Name::uri(REVOKED))?],
        &directory.join("revoked"),
        now,
    )? {
        ca.revoke(
            &Find::Id(REVOKED.to_owned()),
            Reason::CessationOfOperation,
            now,
        )
        .map_err(trouble)?;
    }
    ca.sign_crls(None, now).map_err(trouble)?;
    Ok(())
}

/// Issues a certificate into `out` unless a good one is there; says whether it did.
fn keep(
    ca: &mut Ca,
    profile: EndEntity,
    names: Vec<Name>,
    out: &Path,
    now: Timestamp,
) -> Result<bool, PrepareError> {
    let ends = std::fs::read(out.join("cert.pem"))
        .ok()
        .and_then(|pem| Inspected::read(&pem))
        .map(|certificate| certificate.validity.not_after);
    if ends.is_some_and(|ends| ends > now + SignedDuration::from_hours(24 * 14)) {
        return Ok(false);
    }
    let order = Order {
        profile,
        names: profile.admit(names).map_err(failed)?,
        key: KeySource::New,
        days: None,
    };
    let fresh = out.with_extension("new");
    let clear = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(format_args!(
            "cannot remove {}: {error}",
            path.display()
        ))),
        _ => Ok(()),
    };
    clear(&fresh)?;
    ca.issue(order, &fresh, now).map_err(failed)?;
    clear(out)?;
    std::fs::rename(&fresh, out)
        .map_err(|error| failed(format_args!("cannot rename {}: {error}", fresh.display())))?;
    Ok(true)
}

/// Finds the addresses: those of the file if there is one, the usual ones if not, free ones in place
/// of those that are busy.
fn addresses(directory: &Path, listen: Option<SocketAddr>) -> Result<Prepared, PrepareError> {
    let path = directory.join("gateway.toml");
    let mut remarks = Vec::new();
    let written = path.exists();
    let (mut wanted_listen, mut wanted_admin, mut wanted_upstream) = (LISTEN, ADMIN, UPSTREAM);
    if written {
        let config = config::load(&path).map_err(|findings| PrepareError {
            what: format!("the configuration of an earlier demo cannot be used:\n{findings}"),
            hint: Some(format!(
                "mend {}, or remove it to have it written anew",
                path.display()
            )),
        })?;
        if let Some(address) = config
            .listeners
            .values()
            .next()
            .and_then(|listener| listener.listen.first())
        {
            wanted_listen = address.value;
        }
        if let config::Admin::Listen(address) = &config.admin {
            wanted_admin = address.value;
        }
        if let Some(address) = config.upstreams.values().find_map(loopback) {
            wanted_upstream = address;
        }
    }
    let listen = free_listen(listen.unwrap_or(wanted_listen))?;
    let (admin, _) = free(wanted_admin, "admin", &mut remarks)?;
    let (upstream, sample) = free(wanted_upstream, "upstream", &mut remarks)?;
    if !written {
        let text = TEMPLATE
            .replace("@LISTEN@", &listen.to_string())
            .replace("@ADMIN@", &admin.to_string())
            .replace("@UPSTREAM@", &upstream.to_string());
        std::fs::write(&path, text)
            .map_err(|error| failed(format_args!("cannot write {}: {error}", path.display())))?;
    }
    Ok(Prepared {
        directory: directory.to_owned(),
        config: path,
        listen,
        admin,
        upstream,
        sample,
        remarks,
    })
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
fn free_listen(wanted: SocketAddr) -> Result<SocketAddr, PrepareError> {
    let bound = TcpListener::bind(wanted).map_err(|error| PrepareError {
        what: format!("cannot listen on {wanted}: {error}"),
        hint: Some("--listen 127.0.0.1:0 takes a free port".to_owned()),
    })?;
    bound
        .local_addr()
        .map_err(|error| failed(format_args!("cannot listen on {wanted}: {error}")))
}

fn free(
    wanted: SocketAddr,
    what: &str,
    remarks: &mut Vec<String>,
) -> Result<(SocketAddr, TcpListener), PrepareError> {
    let bound =
        TcpListener::bind(wanted).or_else(|_| TcpListener::bind(SocketAddr::new(wanted.ip(), 0)));
    let bound = bound.map_err(|error| {
        failed(format_args!(
            "cannot listen on any port of {}: {error}",
            wanted.ip()
        ))
    })?;
    let address = bound
        .local_addr()
        .map_err(|error| failed(format_args!("cannot listen on {wanted}: {error}")))?;
    if address.port() != wanted.port() {
        remarks.push(format!(
            "port {} is busy: {what} is on {address}",
            wanted.port()
        ));
    }
    Ok((address, bound))
}
