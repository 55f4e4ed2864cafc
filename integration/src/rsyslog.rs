//! A real rsyslog as receiver: TLS, a client certificate, one file. The system's service is not touched.

use std::net::TcpStream;
use std::path::PathBuf;

use crate::authority::Credentials;
use crate::place::Place;
use crate::program::{Process, Program};
use crate::wait;

/// Where it listens.
pub const PORT: u16 = 6514;

/// An rsyslog that receives until it is dropped.
#[derive(Debug)]
pub struct Rsyslog {
    process: Process,
    received: PathBuf,
}

impl Rsyslog {
    /// Starts one that takes messages from whoever has a certificate of the same authority, and writes
    /// each to the file of this name; waits until it listens.
    #[track_caller]
    pub fn start(place: &Place, own: &Credentials, file: &str) -> Rsyslog {
        let (root, at) = (place.directory().display(), place.at(PORT));
        let (trust, chain, key) = (own.trust.display(), own.chain.display(), own.key.display());
        let configuration = place.write(
            format!("{file}.conf"),
            format!(
                "global(
  workDirectory=\"{root}\"
  maxMessageSize=\"64k\"
  defaultNetstreamDriverCAFile=\"{trust}\"
  defaultNetstreamDriverCertFile=\"{chain}\"
  defaultNetstreamDriverKeyFile=\"{key}\"
)
module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\")
template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")
ruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{root}/{file}\" template=\"raw\") }}
input(type=\"imtcp\" address=\"{}\" port=\"{PORT}\" ruleset=\"in\")
",
                at.ip()
            ),
        );
        let mut process = Program::of_the_machine("rsyslogd")
            .args(["-n", "-f"])
            .arg(configuration)
            .arg("-i")
            .arg(place.path(format!("{file}.pid")))
            .start(place, file);
        wait::until("an rsyslog that listens", || {
            if let Some(status) = process.ended() {
                panic!("rsyslog ended: {status}\n{}", process.stderr());
            }
            TcpStream::connect(at).is_ok().then_some(())
        });
        Rsyslog {
            process,
            received: place.path(file),
        }
    }

    /// The lines that it has written to the end.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read(&self.received).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    /// Waits for a line with this text.
    #[track_caller]
    pub fn await_line(&self, text: &str) {
        wait::until(&format!("a line with {text}"), || {
            self.lines()
                .iter()
                .any(|line| line.contains(text))
                .then_some(())
        });
    }

    /// Ends it without a word.
    #[track_caller]
    pub fn kill(mut self) -> Vec<String> {
        self.process.signal(rustix::process::Signal::KILL);
        self.process.end();
        self.lines()
    }
}
