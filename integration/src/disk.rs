//! A file system of a given size, in memory, for as long as a test needs it.

use std::path::{Path, PathBuf};

use crate::place::Place;
use crate::program::Program;
use crate::wait::OrFail;

/// A mounted file system that can be filled.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one in a directory of `place`. `None` when this user may not mount.
    #[must_use]
    #[track_caller]
    pub fn mount(place: &Place, name: &str, size: &str) -> Option<Disk> {
        let path = place.path(name);
        std::fs::create_dir(&path).or_fail("make a directory");
        let ran = Program::of_the_machine("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "phigate-test"])
            .arg(&path)
            .run();
        (ran.code() == 0).then_some(Disk { path })
    }

    /// A path on it.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Takes all that is free.
    pub fn fill(&self) {
        let of = format!("of={}", self.filler().display());
        // It ends with an error when there is no more, as it should.
        let _ = Program::of_the_machine("dd")
            .args(["if=/dev/zero", "bs=64k", &of])
            .run();
    }

    /// Gives it back.
    #[track_caller]
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).or_fail("make space");
    }

    fn filler(&self) -> PathBuf {
        self.path("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a gateway of the test may still hold a file.
        let _ = Program::of_the_machine("umount")
            .arg("-l")
            .arg(&self.path)
            .run();
    }
}
