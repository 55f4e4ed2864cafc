//! Which server, how it is reached, and what may go wrong with it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use zeroize::Zeroizing;

use super::tls::MakeTls;
use super::translated;
use crate::files::{FileError, read_bounded};
use crate::store::StoreError;

/// A PostgreSQL server that holds an inventory.
pub struct Server {
    connection: Zeroizing<String>,
    trust: Option<PathBuf>,
}

/// Longest file of roots that is read, in octets.
const MAX_TRUST_OCTETS: usize = 1024 * 1024;
/// Longest wait for one address of the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may leave what was sent to it without a sign of life.
const SILENCE: Duration = Duration::from_secs(30);

impl Server {
    /// A server by its connection string, as `psql` takes it: a URI or `key=value` pairs, perhaps
    /// with a password. `trust` names the file of the roots (PEM) that its certificate must lead to.
    ///
    /// Without `trust`, only a server on this machine is talked to: over a Unix socket or loopback.
    pub fn new(connection: Zeroizing<String>, trust: Option<PathBuf>) -> Self {
        Self { connection, trust }
    }

    /// Connects. The connection lives on a task of the runtime that this is called in.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), StoreError> {
        let mut config: Config = self
            .connection
            .parse()
            .map_err(|_| ServerError::ConnectionString)?;
        config
            .application_name("pki")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE)
            .keepalives(true)
            .keepalives_idle(SILENCE)
            // Of several hosts, the one that takes changes.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        match self.transport(&config)? {
            Transport::Plain => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config
                    .connect(NoTls)
                    .await
                    .map_err(|error| unreachable(&error))?;
                Ok((client, tokio::spawn(async { drop(connection.await) })))
            }
            Transport::Tls(tls) => {
                config.ssl_mode(SslMode::Require);
                let (client, connection) = config
                    .connect(*tls)
                    .await
                    .map_err(|error| unreachable(&error))?;
                Ok((client, tokio::spawn(async { drop(connection.await) })))
            }
        }
    }

    /// TLS wherever the way leaves this machine, and wherever it is asked for. Never "if possible".
    fn transport(&self, config: &Config) -> Result<Transport, StoreError> {
        let hosts = config.get_hosts();
        let addresses = config.get_hostaddrs();
        if hosts.is_empty() && addresses.is_empty() {
            return Err(ServerError::ConnectionString.into());
        }
        let sockets_only =
            addresses.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        let near = if addresses.is_empty() {
            hosts.iter().all(is_near)
        } else {
            addresses.iter().all(IpAddr::is_loopback)
        };
        let asked = self.trust.is_some() || config.get_ssl_mode() == SslMode::Require;
        if sockets_only || (near && !asked) {
            return Ok(Transport::Plain);
        }
        let path = self.trust.as_ref().ok_or(ServerError::NoTrust)?;
        let unusable = || ServerError::Trust { path: path.clone() };
        let pem = read_bounded(path, MAX_TRUST_OCTETS).map_err(ServerError::File)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots
                .add(certificate.map_err(|_| unusable())?)
                .map_err(|_| unusable())?;
        }
        if roots.is_empty() {
            return Err(unusable().into());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| unusable())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Transport::Tls(Box::new(MakeTls::new(tls))))
    }
}

/// Says that there is one; its string holds a password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

enum Transport {
    Plain,
    Tls(Box<MakeTls>),
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

fn unreachable(error: &tokio_postgres::Error) -> StoreError {
    match translated(error) {
        StoreError::Server(ServerError::Lost | ServerError::Other { .. }) => {
            ServerError::Unreachable(error.to_string()).into()
        }
        known => known,
    }
}

/// What failed with the server.
#[derive(Debug)]
pub enum ServerError {
    /// The connection string is none, or names no host. It is not repeated: it may hold a password.
    ConnectionString,
    /// The way to the server leaves this machine, or TLS is asked for, and no roots are given.
    NoTrust,
    /// The file of roots could not be read.
    File(FileError),
    /// The file of roots holds none.
    Trust {
        /// Which.
        path: PathBuf,
    },
    /// It cannot be reached, or is not who the roots say.
    Unreachable(String),
    /// It lets this user not in, or not do what is needed.
    Denied(String),
    /// It runs with a setting that loses commits.
    Unsafe {
        /// Which.
        setting: &'static str,
    },
    /// It holds no inventory.
    Missing,
    /// It holds something else under the inventory's name.
    Foreign,
    /// A statement took longer than is waited for.
    Slow,
    /// The connection was lost on the way.
    Lost,
    /// Something else.
    Other {
        /// SQLSTATE, if the server said it.
        code: String,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionString => {
                write!(
                    f,
                    "the connection string of the inventory's server is unusable"
                )
            }
            Self::NoTrust => write!(
                f,
                "the inventory's server is reached over TLS, and no roots are named to trust it by"
            ),
            Self::File(error) => write!(f, "{error}"),
            Self::Trust { path } => write!(f, "{} holds no root certificate", path.display()),
            Self::Unreachable(message) => {
                write!(f, "the inventory's server cannot be reached: {message}")
            }
            Self::Denied(message) => write!(f, "the inventory's server refused: {message}"),
            Self::Unsafe { setting } => write!(
                f,
                "the inventory's server runs with {setting} = off and would lose what it promised \
                 to keep"
            ),
            Self::Missing => write!(f, "the server holds no inventory"),
            Self::Foreign => write!(
                f,
                "the server's schema \"pki\" is no inventory of this program"
            ),
            Self::Slow => write!(f, "the inventory's server took too long over a statement"),
            Self::Lost => write!(
                f,
                "the connection to the inventory's server was lost; whether the last step was kept \
                 is known there alone"
            ),
            Self::Other { code, message } => {
                write!(
                    f,
                    "the inventory's server failed: {message} (SQLSTATE {code})"
                )
            }
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ServerError> for StoreError {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(connection: &str) -> Result<bool, StoreError> {
        let server = Server::new(Zeroizing::new(connection.to_owned()), None);
        let transport = server.transport(&connection.parse().unwrap())?;
        Ok(matches!(transport, Transport::Tls(_)))
    }

    #[test]
    fn what_leaves_this_machine_without_roots_to_trust_is_refused() {
        for near in [
            "host=/run/postgresql",
            "host=127.0.0.1",
            "host=localhost user=pki",
            "postgresql://[::1]/pki",
            "host=db.clinic.example hostaddr=127.0.0.2",
        ] {
            assert!(!transport(near).unwrap(), "{near}");
        }
        for far in [
            "host=10.0.0.5",
            "host=db.clinic.example",
            "host=db.clinic.example sslmode=disable",
            "host=127.0.0.1,db.clinic.example",
            "host=localhost hostaddr=10.0.0.5",
            "host=localhost sslmode=require",
        ] {
            assert!(
                matches!(
                    transport(far),
                    Err(StoreError::Server(ServerError::NoTrust))
                ),
                "{far}"
            );
        }
    }

    #[test]
    fn a_connection_string_is_never_repeated() {
        let secret = "host=localhost password=hunter2 hunter3=x";
        let server = Server::new(Zeroizing::new(secret.to_owned()), None);
        assert!(!format!("{server:?}").contains("hunter"));
        let error = super::super::Postgres::connect(server).unwrap_err();
        assert!(matches!(
            error,
            StoreError::Server(ServerError::ConnectionString)
        ));
        assert!(!format!("{error} {error:?}").contains("hunter"));
    }
}
