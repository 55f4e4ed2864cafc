//! curl, as an operator types it.

use std::net::SocketAddr;
use std::path::Path;

use crate::answer::Answer;
use crate::authority::Credentials;
use crate::program::{Program, Ran};

/// A call by curl to a listener, whose certificate is for `api.test`.
#[derive(Debug)]
pub struct Curl {
    program: Program,
    port: u16,
    host: String,
}

/// What curl brought.
#[derive(Debug)]
pub struct Fetched {
    /// The last answer; status 0 when there was none.
    pub answer: Answer,
    /// The program itself.
    pub ran: Ran,
}

impl Curl {
    /// To this listener, without a certificate.
    #[must_use]
    #[track_caller]
    pub fn to(listener: SocketAddr, trust: &Path) -> Curl {
        let program = Program::of_the_machine("curl")
            .args(["--disable", "--silent", "--show-error", "--max-time", "50"])
            .args(["--noproxy", "*", "--include", "--cacert"])
            .arg(trust)
            .arg("--connect-to")
            .arg(format!("::{}:{}", listener.ip(), listener.port()));
        Curl {
            program,
            port: listener.port(),
            host: "api.test".to_owned(),
        }
    }

    /// With a certificate.
    #[must_use]
    pub fn with(self, credentials: &Credentials) -> Curl {
        let Credentials { chain, key, .. } = credentials;
        Curl {
            program: self.program.arg("--cert").arg(chain).arg("--key").arg(key),
            ..self
        }
    }

    /// For another host.
    #[must_use]
    pub fn host(self, host: &str) -> Curl {
        Curl {
            host: host.to_owned(),
            ..self
        }
    }

    /// With an option.
    #[must_use]
    pub fn arg(self, argument: impl AsRef<str>) -> Curl {
        Curl {
            program: self.program.arg(argument.as_ref()),
            ..self
        }
    }

    /// With options.
    #[must_use]
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Curl {
        arguments.into_iter().fold(self, Curl::arg)
    }

    /// With a header field.
    #[must_use]
    pub fn header(self, line: &str) -> Curl {
        self.args(["--header", line])
    }

    /// Calls, and brings what came.
    #[must_use]
    #[track_caller]
    pub fn get(self, path: &str) -> Fetched {
        let url = format!("https://{}:{}{path}", self.host, self.port);
        let ran = self.program.arg(url).run();
        Fetched {
            answer: last_answer(&ran.bytes),
            ran,
        }
    }
}

/// The last of the heads that `--include` printed, and what follows it. curl has undone the framing.
fn last_answer(printed: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let mut rest = printed;
    while rest.starts_with(b"HTTP/") {
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            break;
        };
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        words
            .next()
            .unwrap_or_default()
            .clone_into(&mut answer.version);
        let status = words.next().and_then(|status| status.parse().ok());
        answer.status = status.unwrap_or_default();
        answer.headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
    }
    answer.body = rest.to_vec();
    answer
}
