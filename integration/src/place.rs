//! A corner of the machine for one test: a directory, and a loopback address that nobody else uses.
//!
//! With an address of its own a test can use the same ports as every other test, and no port has to
//! be guessed free. The address is held by a socket that is bound for as long as the place lives.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::wait::OrFail;

/// A directory and an address. Both are given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    address: Ipv4Addr,
    _claim: TcpListener,
}

/// Whoever holds this port of an address holds the address.
const CLAIM: u16 = 20_000;

impl Place {
    /// A fresh one.
    #[must_use]
    #[track_caller]
    pub fn new() -> Place {
        let (address, claim) = claim();
        Place {
            directory: tempfile::Builder::new()
                .prefix("phigate-")
                .tempdir()
                .or_fail("make a directory"),
            address,
            _claim: claim,
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in the directory, with the directories that it lies in.
    #[track_caller]
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).or_fail("make a directory");
        }
        std::fs::write(&path, content).or_fail("write a file");
        path
    }

    /// Reads a file in the directory.
    #[track_caller]
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).or_fail(&format!("read {}", path.display()))
    }

    /// A port of the address.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address, port))
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::new()
    }
}

fn claim() -> (Ipv4Addr, TcpListener) {
    // Where the search begins is drawn, so that two runs at once seldom meet.
    let start = RandomState::new().hash_one(CLAIM);
    for attempt in 0..1000 {
        let [.., a, b, c] = start.wrapping_add(attempt).to_be_bytes();
        // The first and last of everything are left to those who pick addresses by hand.
        let address = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(2, 253));
        if let Ok(claim) = TcpListener::bind((address, CLAIM)) {
            return (address, claim);
        }
    }
    panic!("no loopback address is free");
}
