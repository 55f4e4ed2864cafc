//! A disk in memory that fails at the n-th operation, in one of the ways in which disks fail.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::storage::{Segment, Storage};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It reports an error and did nothing.
    Failed,
    /// It reports an error and did everything.
    FailedButDone,
    /// It reports an error and did the first half of a write.
    Torn,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Changing operations so far.
    operations: u64,
    /// Bytes that were read so far.
    read: u64,
    /// What is free of it, bytes; nothing for as much as anybody wants.
    free: Option<u64>,
    /// From each of these operations on, so many fail in this way; the first that applies does.
    plans: Vec<(u64, u64, Fault)>,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// Whoever writes to a file takes a turn.
    turn: Arc<Mutex<()>>,
}

impl SimulatedDisk {
    /// Until what it returns is dropped, whoever writes to a file waits: a disk that stalls.
    pub(crate) fn stall(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the log to have its next segment prepared, so that the disk's next operation is
    /// the write of a batch.
    pub(crate) fn wait_for_spare(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.state.lock().unwrap().files.contains_key("spare") {
            assert!(Instant::now() < until, "no spare segment is made");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn fail_at(&self, operation: u64, times: u64, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.operations = 0;
        state.plans = vec![(operation, times, fault)];
    }

    pub(crate) fn then_fail_at(&self, operation: u64, times: u64, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.plans.push((operation, times, fault));
    }

    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().plans.clear();
    }

    /// So many bytes are free from now on.
    pub(crate) fn leave(&self, free: u64) {
        self.state.lock().unwrap().free = Some(free);
    }

    /// How many bytes were read of it.
    pub(crate) fn read(&self) -> u64 {
        self.state.lock().unwrap().read
    }

    /// The disk as a crash at this moment leaves it.
    pub(crate) fn crash(&self) -> SimulatedDisk {
        let files = self.state.lock().unwrap().files.clone();
        SimulatedDisk {
            state: Arc::new(Mutex::new(State {
                files,
                ..State::default()
            })),
            turn: Arc::default(),
        }
    }

    /// Copies all files to a real directory, as the log's `wal`.
    pub(crate) fn dump(&self, directory: &Path) {
        let wal = directory.join("wal");
        std::fs::create_dir_all(&wal).unwrap();
        for (name, content) in &self.state.lock().unwrap().files {
            std::fs::write(wal.join(name), content).unwrap();
        }
    }

    fn change(
        &self,
        bytes: usize,
        act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let operation = state.operations;
        state.operations += 1;
        let error = || io::Error::from_raw_os_error(5);
        let applies = |plan: &&(u64, u64, Fault)| (plan.0..plan.0 + plan.1).contains(&operation);
        match state.plans.iter().find(applies).map(|plan| plan.2) {
            Some(Fault::Failed) => Err(error()),
            Some(Fault::FailedButDone) => act(&mut state.files, bytes).and(Err(error())),
            Some(Fault::Torn) => act(&mut state.files, bytes / 2).and(Err(error())),
            None => act(&mut state.files, bytes),
        }
    }
}

impl Storage for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().unwrap().files.keys().cloned().collect())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        let content = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        state.read += count as u64;
        Ok(count)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        let state = self.state.lock().unwrap();
        Ok(state.files.get(name).ok_or(io::ErrorKind::NotFound)?.len() as u64)
    }

    fn create_blank(&self, name: &str, bytes: u64) -> io::Result<Box<dyn Segment>> {
        self.change(usize::try_from(bytes).unwrap(), |files, bytes| {
            if files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            files.insert(name.to_owned(), vec![0; bytes]);
            Ok(())
        })?;
        Ok(Box::new(OpenFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        self.length(name)?;
        Ok(Box::new(OpenFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Written aside and renamed: there is no half of it.
        self.change(2, |files, done| {
            if done == 2 {
                files.insert(name.to_owned(), content.to_vec());
            }
            Ok(())
        })
    }

    fn rename(&self, segment: &mut dyn Segment, from: &str, to: &str) -> io::Result<()> {
        self.change(2, |files, done| {
            if files.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if done == 2 {
                let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
                files.insert(to.to_owned(), content);
                segment.renamed(to);
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(2, |files, done| {
            if done == 2 {
                files.remove(name).ok_or(io::ErrorKind::NotFound)?;
            }
            Ok(())
        })
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.change(2, |files, done| {
            if done == 2 {
                files
                    .get_mut(name)
                    .ok_or(io::ErrorKind::NotFound)?
                    .truncate(usize::try_from(bytes).unwrap());
            }
            Ok(())
        })
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().free.unwrap_or(1 << 40))
    }
}

struct OpenFile {
    disk: SimulatedDisk,
    name: String,
}

impl Segment for OpenFile {
    fn write_at(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let _turn = self.disk.stall();
        self.disk.change(blocks.len(), |files, bytes| {
            let content = files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
            let from = usize::try_from(offset).unwrap();
            if content.len() < from + bytes {
                content.resize(from + bytes, 0);
            }
            content[from..from + bytes].copy_from_slice(&blocks[..bytes]);
            Ok(())
        })
    }

    fn renamed(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self
            .disk
            .state
            .lock()
            .unwrap()
            .files
            .contains_key(&self.name))
    }
}
