//! The access log for operators: one JSON line a request on standard output.
//!
//! It is not the audit log: it never gates, and when the reader is too slow lines are dropped and
//! counted. Its fields are those of `audit show --json`.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

use audit::event::{Entry, Event, Time};
use audit::show::Line;

use crate::metrics::Metrics;

/// Where the lines go.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: Option<SyncSender<Vec<u8>>>,
    metrics: Metrics,
}

impl AccessLog {
    /// So many lines wait at most.
    const WAITING: usize = 8192;

    /// No lines.
    pub fn off(metrics: Metrics) -> AccessLog {
        AccessLog {
            lines: None,
            metrics,
        }
    }

    /// Lines to standard output, written by a thread of their own.
    ///
    /// # Errors
    /// The operating system's, when there can be no thread.
    pub fn stdout(metrics: Metrics) -> std::io::Result<AccessLog> {
        let (sender, receiver) = sync_channel(Self::WAITING);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&receiver, &mut std::io::stdout()))?;
        Ok(AccessLog {
            lines: Some(sender),
            metrics,
        })
    }

    /// Whether anybody wants lines.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Writes the line of an event, or counts that there was no room.
    pub fn write(&self, event: &Event<'_>) {
        let Some(lines) = &self.lines else { return };
        let entry = Entry {
            time: Time::from_system(SystemTime::now()),
            event: event.clone(),
        };
        let Ok(mut line) = serde_json::to_vec(&Line::new(None, &entry)) else {
            return;
        };
        line.push(b'\n');
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.access_line_lost();
            }
        }
    }
}

/// Ends when the last sender is gone, or when nobody reads any more.
fn write_all(lines: &Receiver<Vec<u8>>, out: &mut impl Write) {
    while let Ok(mut line) = lines.recv() {
        // What has gathered meanwhile goes out in one write.
        while let Ok(more) = lines.try_recv() {
            line.extend_from_slice(&more);
        }
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
