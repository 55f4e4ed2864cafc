//! The clocks of the generator and of the server, read together at both ends of a window.
//!
//! What this file does not do: it knows nothing of requests.

use crate::process::{CpuClock, ProcessError, Processes};
use crate::report::{Measured, ServerUse};
use tokio::time::Instant;

/// Reads the clocks of the generator and of the server.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Processes,
    own: [u32; 1],
    server: Vec<u32>,
}

/// The clocks at one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    at: Instant,
    own: CpuClock,
    server: CpuClock,
}

impl Meter {
    /// A meter for the trees of these processes, which may be none.
    pub(crate) fn new(servers: &[u32]) -> Self {
        Self {
            processes: Processes::of_this_machine(),
            own: [std::process::id()],
            server: servers.to_vec(),
        }
    }

    /// The clocks now.
    pub(crate) fn read(&self) -> Result<Reading, ProcessError> {
        let own = self.processes.cpu(&self.own)?;
        let server = self.processes.cpu(&self.server)?;
        Ok(Reading {
            at: Instant::now(),
            own,
            server,
        })
    }

    /// Bytes that the server holds resident; zero when its processes were not named.
    pub(crate) fn resident(&self) -> Result<u64, ProcessError> {
        self.processes.resident(&self.server)
    }

    /// What was used between two readings.
    pub(crate) fn between(
        &self,
        begin: &Reading,
        end: &Reading,
        resident_per_connection: Option<f64>,
    ) -> Result<Measured, ProcessError> {
        let server = if self.server.is_empty() {
            None
        } else {
            Some(ServerUse {
                cpu: end.server.since(&begin.server),
                resident: self.resident()?,
                resident_per_connection,
            })
        };
        Ok(Measured {
            elapsed: end.at - begin.at,
            generator: end.own.since(&begin.own),
            server,
        })
    }
}

impl Reading {
    /// When the clocks were read.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }
}
