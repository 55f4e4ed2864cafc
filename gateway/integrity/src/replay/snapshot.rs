//! The whole window as bytes, so that it outlives the process.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `phigate replay 1` |
//! | 8 | the clock of the window, seconds since 1970, big-endian |
//! | 8 | how many entries follow, big-endian |
//! | 40 each | the entries, as in a journal without their checksum |
//! | 32 | SHA-256 of what stands before |
//!
//! Nothing of a snapshot that is damaged, cut off or of another version is used. What it does not
//! do: a checksum is no signature; who can write the file can forge it.

use aws_lc_rs::digest::{SHA256, digest};

use super::entry::{BODY, Entry};
use super::{Limits, Replay};
use crate::error::{ReplayError, SnapshotError};
use crate::limits::HORIZON;

const VERSION: &[u8; 16] = b"phigate replay 1";
const HEAD: usize = 32;
const SUM: usize = 32;

impl Replay {
    /// The window as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.len() * BODY + SUM);
        bytes.extend_from_slice(VERSION);
        bytes.extend_from_slice(&self.clock.to_be_bytes());
        bytes.extend_from_slice(&(self.len() as u64).to_be_bytes());
        for entry in self.held() {
            bytes.extend_from_slice(&entry.body());
        }
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        bytes
    }

    /// The window that these bytes hold, without what has expired by `now`. An earlier window may
    /// have had a longer horizon: what it let in is kept to its end. A clock that was set back
    /// stays where it was.
    pub fn restore(
        bytes: &[u8],
        limits: Limits,
        seed: u64,
        now: u64,
    ) -> Result<Replay, SnapshotError> {
        let (clock, entries) = read(bytes)?;
        let clock = clock.max(now);
        let farthest = entries.iter().map(Entry::until).max().unwrap_or(clock);
        // Without a limit a file could ask for any amount of memory.
        let limits = limits.within();
        let reach = farthest.saturating_sub(clock);
        if reach > HORIZON.as_secs() {
            return Err(SnapshotError::Content);
        }
        let reach = reach.max(limits.horizon.as_secs());
        let mut replay = Replay::reaching(limits, seed, clock, reach);
        for entry in entries.iter().filter(|entry| entry.until >= clock) {
            let put: Result<(), ReplayError> = replay.put(entry, reach);
            put.map_err(|_| SnapshotError::Content)?;
        }
        Ok(replay)
    }
}

fn read(bytes: &[u8]) -> Result<(u64, Vec<Entry>), SnapshotError> {
    if !bytes.starts_with(VERSION) {
        return Err(SnapshotError::Version);
    }
    let (body, sum) = bytes
        .split_last_chunk::<SUM>()
        .ok_or(SnapshotError::Length)?;
    let (head, entries) = body
        .split_first_chunk::<HEAD>()
        .ok_or(SnapshotError::Length)?;
    if digest(&SHA256, body).as_ref() != sum {
        return Err(SnapshotError::Checksum);
    }
    let number = |at: usize| {
        let bytes = head[at..at + 8].try_into().expect("the head has 32 bytes");
        u64::from_be_bytes(bytes)
    };
    let (clock, count) = (number(16), number(24));
    let (chunks, rest) = entries.as_chunks::<BODY>();
    if !rest.is_empty() || chunks.len() as u64 != count {
        return Err(SnapshotError::Length);
    }
    let entries: Result<Vec<_>, _> = chunks.iter().map(|body| Entry::from_body(body)).collect();
    Ok((clock, entries?))
}
