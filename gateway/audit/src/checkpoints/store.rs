//! How the tree lies in the log's directory, and how a file gets there.
//!
//! ```text
//! tile/<L>/<N>[.p/<W>]  hashes                      (C2SP tlog-tiles; entries stand in wal/)
//! checkpoints/<day>     every checkpoint            (see history)
//! checkpoint            the last one                (C2SP tlog-tiles)
//! aside.new             what is being written
//! ```
//!
//! A file is written aside, synced and renamed, so that what has its name is whole, whatever is left of
//! it after a crash. A name is durable once its directory is synced; [`Writer::settle`] does that for
//! all names at once.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::files::{self, Files, parent};
use crate::merkle::key::{Signer, Verifier};
use crate::merkle::rotation::Chain;
use crate::merkle::tile::{self, Tile, Tiles};

/// The last checkpoint, in the log's directory.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The directory of the tiles, in the log's.
pub(crate) const TILE: &str = "tile";

/// What is being written, in the log's directory.
pub(crate) const ASIDE: &str = "aside.new";

/// What it takes to keep the tree of a log.
#[derive(Clone)]
pub struct Means {
    /// The log's directory, whose segments are read.
    pub directory: PathBuf,
    /// The same directory, where tiles and checkpoints go.
    pub files: Arc<dyn Files>,
    /// The key. Its name is the origin of the log.
    pub signer: Arc<Signer>,
    /// Whether the key is known to have signed a log here: one without checkpoints is not it.
    pub is_known: bool,
    /// How the log's earlier keys led to it.
    pub rotations: Chain,
    /// Whether segments are written without waiting for the disk. They are then synced before
    /// anything in them is signed.
    pub buffered: bool,
}

impl Means {
    pub(super) fn origin(&self) -> &str {
        self.signer.verifier().name().as_str()
    }

    /// Our key, and behind it those that led to it.
    pub(super) fn known_keys(&self) -> Vec<Verifier> {
        let own = self.signer.verifier();
        let earlier = self.rotations.keys().filter(|key| *key != own);
        [own].into_iter().chain(earlier).cloned().collect()
    }
}

/// The tiles of a directory, as they are: whether they tell the truth shows elsewhere.
pub(crate) struct Stored<'a>(pub(crate) &'a dyn Files);

impl Tiles for Stored<'_> {
    type Error = io::Error;

    fn read(&mut self, tile: &Tile) -> io::Result<Option<Vec<u8>>> {
        files::read(self.0, &tile.to_string(), tile::MAX_BYTES)
    }
}

/// The directory that the partial tiles of this place stand in.
pub(crate) fn partials_of(tile: &Tile) -> Option<String> {
    Some(format!("{}.p", tile.full()?))
}

/// Puts files in their places, and knows which directories are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Directories that are durable themselves.
    settled: BTreeSet<String>,
    /// Directories that were made, and are not known to be durable.
    made: BTreeSet<String>,
    /// Directories whose names are not durable.
    touched: BTreeSet<String>,
}

impl Writer {
    /// So many directories are remembered; the others are made again when needed, which does nothing.
    const REMEMBERED: usize = 64;

    /// Gives a file this content. Whole when it has its name; durable once settled.
    pub(crate) fn put(&mut self, files: &dyn Files, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.make_directory(files, parent(path))?;
        files.write_at(ASIDE, 0, bytes)?;
        files.cut(ASIDE, bytes.len() as u64)?;
        files.sync(ASIDE)?;
        files.rename(ASIDE, path)?;
        self.touch(path);
        Ok(())
    }

    /// Makes a directory and those that it stands in.
    pub(crate) fn make_directory(&mut self, files: &dyn Files, path: &str) -> io::Result<()> {
        if path.is_empty() || self.settled.contains(path) || self.made.contains(path) {
            return Ok(());
        }
        self.make_directory(files, parent(path))?;
        files.make_directory(path)?;
        self.touch(path);
        self.made.insert(path.to_owned());
        Ok(())
    }

    /// The name of this file came, or may have come, or went.
    pub(crate) fn touch(&mut self, path: &str) {
        self.touched.insert(parent(path).to_owned());
    }

    /// Makes all names durable.
    pub(crate) fn settle(&mut self, files: &dyn Files) -> io::Result<()> {
        for directory in &self.touched {
            files.sync(directory)?;
        }
        self.touched.clear();
        self.settled.append(&mut self.made);
        if self.settled.len() > Self::REMEMBERED {
            self.settled.clear();
        }
        Ok(())
    }

    /// Forgets what may be in the making: it is done again, all of it.
    pub(crate) fn forget(&mut self) {
        *self = Writer::default();
    }
}
