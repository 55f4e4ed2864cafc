//! Certificates as an operator has them made: by `pki`.

use std::path::{Path, PathBuf};

use crate::place::Place;
use crate::program::Program;

/// A directory that `pki init` made.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
}

/// A certificate with its key, as files.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The leaf.
    pub certificate: PathBuf,
    /// The leaf and its issuers.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The root.
    pub trust: PathBuf,
}

impl Credentials {
    /// Those in a directory that `pki issue` or `gateway demo` wrote.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Credentials {
        Credentials {
            certificate: directory.join("cert.pem"),
            chain: directory.join("chain.pem"),
            key: directory.join("key.pem"),
            trust: directory.join("trust.pem"),
        }
    }
}

impl Authority {
    /// A new one, in a directory of `place` with this name.
    #[track_caller]
    pub fn init(place: &Place, name: &str) -> Authority {
        let directory = place.path(name);
        Program::ours("pki")
            .args(["init", "--name", name, "--dir"])
            .arg(&directory)
            .run()
            .expect_code(0);
        Authority { directory }
    }

    /// The root, which verifiers trust.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.directory.join("trust.pem")
    }

    /// A server's certificate for these hosts.
    #[track_caller]
    pub fn server(&self, out: &Path, hosts: &[&str]) -> Credentials {
        let names = hosts.iter().flat_map(|host| {
            let kind = if host.parse::<std::net::IpAddr>().is_ok() {
                "--ip"
            } else {
                "--dns"
            };
            [kind, host]
        });
        self.issue(out, "server", names)
    }

    /// A device's certificate.
    #[track_caller]
    pub fn device(&self, out: &Path, id: &str) -> Credentials {
        self.issue(out, "device", ["--id", id])
    }

    #[track_caller]
    fn issue<'a>(
        &self,
        out: &Path,
        profile: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Credentials {
        Program::ours("pki")
            .args(["issue", "--new-key", "--profile", profile, "--dir"])
            .arg(&self.directory)
            .args(names)
            .arg("--out")
            .arg(out)
            .run()
            .expect_code(0);
        Credentials::in_directory(out)
    }

    /// Revokes every certificate of a name, and publishes it.
    #[track_caller]
    pub fn revoke(&self, id: &str) {
        Program::ours("pki")
            .args(["revoke", "--reason", "keyCompromise", "--id", id, "--dir"])
            .arg(&self.directory)
            .run()
            .expect_code(0);
    }
}
