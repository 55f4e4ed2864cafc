//! `gateway run`: from a configuration to a process that serves, what it says of itself, and its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use crate::answer::Answer;
use crate::configuration::Configuration;
use crate::place::Place;
use crate::program::{Process, Program, Ran};
use crate::records::{self, Record, Records};
use crate::wait::{self, OrFail};

/// The port on which a place's gateway listens.
pub const LISTEN: u16 = 20_443;

/// The port of its admin listener.
pub const ADMIN: u16 = 20_090;

/// What is on record of a streamed answer that came to its end.
const ENDED_WELL: &str = "completion complete";

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    file: PathBuf,
    audit: PathBuf,
}

impl Gateway {
    /// Starts one in `place`, and waits until it is ready. The log lies in `audit/` there.
    #[track_caller]
    pub fn start(place: &Place, configuration: &Configuration) -> Gateway {
        let file = place.write("gateway.toml", configuration.text());
        let program = Program::ours("gateway").args(["run", "--config"]).arg(file);
        Gateway::from_program(place, program)
    }

    /// Starts one by a program of the test's own, that runs `gateway.toml` of `place`.
    #[track_caller]
    pub fn from_program(place: &Place, program: Program) -> Gateway {
        let mut gateway = Gateway {
            process: program.start(place, "gateway"),
            listen: place.at(LISTEN),
            admin: place.at(ADMIN),
            file: place.path("gateway.toml"),
            audit: place.path("audit"),
        };
        gateway.await_readiness();
        gateway
    }

    /// Starts one that is expected not to serve, and brings what it said.
    #[track_caller]
    pub fn refuses_to_start(place: &Place, configuration: &Configuration) -> Ran {
        let file = place.write("refused.toml", configuration.text());
        Program::ours("gateway")
            .args(["run", "--config"])
            .arg(file)
            .run()
            .expect_code(1)
    }

    #[track_caller]
    fn await_readiness(&mut self) {
        wait::until("a gateway that is ready", || {
            if let Some(status) = self.process.ended() {
                panic!("the gateway ended: {status}\n{}", self.process.stderr());
            }
            (self.visit("/readyz")?.status == 200).then_some(())
        });
    }

    /// Where clients connect.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where its admin listener is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The directory of its log.
    #[must_use]
    pub fn audit(&self) -> &Path {
        &self.audit
    }

    /// The file that it was started with.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What its admin listener answers; `None` when nobody does.
    #[must_use]
    pub fn visit(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(wait::PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        Answer::read(&mut bytes.as_slice(), false).ok()
    }

    /// The value of a metric, named as it is printed: `phigate_reloads_total{outcome="refused"}`.
    /// Zero for one that was never counted.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let answer = self.visit("/metrics").or_fail("read the metrics");
        let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        answer.text().lines().find_map(value).unwrap_or_default()
    }

    /// Has it read its file again. Returns whether it put it in force.
    #[must_use]
    #[track_caller]
    pub fn reload(&self) -> bool {
        let count =
            |outcome: &str| self.metric(&format!("phigate_reloads_total{{outcome=\"{outcome}\"}}"));
        let (accepted, refused) = (count("accepted"), count("refused"));
        self.process.signal(Signal::HUP);
        wait::until("the end of a reload", || {
            let (more_accepted, more_refused) = (count("accepted"), count("refused"));
            (more_accepted > accepted || more_refused > refused).then_some(more_accepted > accepted)
        })
    }

    /// Has it read another file in place of its own. Returns whether it put it in force.
    #[must_use]
    #[track_caller]
    pub fn reload_with(&self, configuration: &Configuration) -> bool {
        // Whole at once: signals that were sent before may still be on their way.
        let whole = self.file.with_extension("whole");
        std::fs::write(&whole, configuration.text()).or_fail("write the configuration");
        std::fs::rename(&whole, &self.file).or_fail("replace the configuration");
        self.reload()
    }

    /// Ends it as a service manager does, and waits for the end.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.process.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for an end that was asked for.
    #[track_caller]
    pub fn ended(mut self) -> Stopped {
        let status = self.process.end();
        Stopped {
            status,
            stderr: self.process.stderr(),
            stdout: self.process.stdout(),
            audit: self.audit.clone(),
        }
    }

    /// Ends it as a loss of power does, but for the disk.
    #[track_caller]
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.end();
    }

    /// The records of its log so far.
    #[must_use]
    #[track_caller]
    pub fn records(&self) -> Records {
        Records::of(&self.audit)
    }

    /// Waits for a record; what a connection leaves behind is not written before it has ended.
    #[track_caller]
    pub fn await_record(&self, what: &str, is_it: impl Fn(&Record) -> bool) -> Record {
        let mut seen = None;
        let found = wait::within(wait::PATIENCE, || {
            let records = self.records();
            let found = records.iter().rfind(|record| is_it(record)).cloned();
            seen = Some(records);
            found
        });
        found.unwrap_or_else(|| {
            let seen = seen.map(|seen| seen.to_string()).unwrap_or_default();
            panic!("no record of {what} among\n{seen}")
        })
    }

    /// Waits for a record of this kind and code, as in [`Record::in_short`].
    #[track_caller]
    pub fn await_short(&self, in_short: &str) -> Record {
        self.await_record(in_short, |record| record.in_short() == in_short)
    }

    /// Waits until this is what is on record of a request. That an answer ended well is said only of
    /// one that was streamed, which depends on how its pieces came: it need not be named.
    #[track_caller]
    pub fn await_story(&self, id: &str, story: &[&str]) {
        assert!(!id.is_empty(), "the answer has no x-request-id");
        let mut seen = Vec::new();
        wait::within(wait::PATIENCE, || {
            seen = self.records().story_of(id);
            if !story.contains(&ENDED_WELL) {
                seen.retain(|record| record != ENDED_WELL);
            }
            (seen == story).then_some(())
        });
        assert_eq!(seen, story, "what is on record of request {id}");
    }

    /// An answer is this refusal, says no more than it may, and is on record.
    #[track_caller]
    pub fn refused(&self, answer: &Answer, status: u16, code: &str) {
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let document = answer.json();
        let fields: Vec<_> = document
            .as_object()
            .or_fail("read the problem")
            .keys()
            .collect();
        assert_eq!(
            fields,
            ["request_id", "status", "title", "type"],
            "and nothing else"
        );
        assert_eq!(document["request_id"], answer.id());
        let short = format!("refusal {code}");
        let record = self.await_record(&short, |record| {
            record.text("request_id") == answer.id() && record.in_short() == short
        });
        assert_eq!(record.number("status"), Some(status.into()), "{record}");
    }

    /// Its log is whole.
    #[track_caller]
    pub fn verify(&self) {
        records::verify(&self.audit).expect_code(0);
    }
}

/// A gateway that has ended.
#[derive(Debug)]
pub struct Stopped {
    /// How.
    pub status: ExitStatus,
    /// What it had printed.
    pub stdout: String,
    /// What it had logged.
    pub stderr: String,
    /// Where its log is.
    pub audit: PathBuf,
}

impl Stopped {
    /// The records of its log.
    #[must_use]
    #[track_caller]
    pub fn records(&self) -> Records {
        Records::of(&self.audit)
    }
}
