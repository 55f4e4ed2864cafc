//! `openssl s_client`, which still speaks what nobody should.

use std::net::SocketAddr;
use std::path::Path;

use crate::authority::Credentials;
use crate::program::{Program, Ran};

/// A call by `openssl s_client`.
#[derive(Debug)]
pub struct SClient {
    program: Program,
}

impl SClient {
    /// To this listener, asking for `api.test`, without a certificate.
    #[must_use]
    #[track_caller]
    pub fn to(listener: SocketAddr, trust: &Path) -> SClient {
        let program = Program::of_the_machine("openssl")
            .args(["s_client", "-servername", "api.test", "-connect"])
            .arg(listener.to_string())
            .arg("-CAfile")
            .arg(trust);
        SClient { program }
    }

    /// With a certificate and its chain.
    #[must_use]
    pub fn with(self, credentials: &Credentials) -> SClient {
        let Credentials { chain, key, .. } = credentials;
        let program = self.program.arg("-cert").arg(chain);
        SClient {
            program: program.arg("-cert_chain").arg(chain).arg("-key").arg(key),
        }
    }

    /// With options.
    #[must_use]
    pub fn args(self, arguments: &[&str]) -> SClient {
        SClient {
            program: self.program.args(arguments),
        }
    }

    /// Connects and goes away.
    #[must_use]
    #[track_caller]
    pub fn connect(self) -> Called {
        Called(self.program.run())
    }

    /// Connects, sends a request, and waits until the server closes.
    #[must_use]
    #[track_caller]
    pub fn ask(self, path: &str) -> Called {
        let request = format!("GET {path} HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n");
        Called(self.program.arg("-ign_eof").input(request).run())
    }
}

/// What `openssl s_client` said.
#[derive(Debug)]
pub struct Called(pub Ran);

impl Called {
    /// The alert that the server sent, by its number.
    #[must_use]
    pub fn alert(&self) -> Option<u8> {
        let (_, rest) = self.0.stderr.split_once("SSL alert number ")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Whether an answer with this status came.
    #[must_use]
    pub fn status(&self, status: u16) -> bool {
        self.0.stdout.contains(&format!("HTTP/1.1 {status} "))
    }
}
