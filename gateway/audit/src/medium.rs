//! What lies under the log's directory, as far as the operating system tells: the file system and
//! the write cache of its device.
//!
//! Some file systems do not keep the promise that a synced write survives a crash of the machine:
//! those in memory, those over a network, and overlays. The gateway asks for a rationale before it
//! writes a log to one of these. A device that lies about its cache cannot be seen from here.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a directory lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// Name of the file system, or its number when it is not one that is known here.
    pub file_system: String,
    /// Why it may not keep its word; `None` when nothing speaks against it.
    pub doubt: Option<&'static str>,
    /// `write back` or `write through`, when the device says so.
    pub write_cache: Option<String>,
}

/// Known file systems: number (statfs(2)), name, and what speaks against them.
const FILE_SYSTEMS: &[(u64, &str, Option<&str>)] = &[
    (0xef53, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683e, "btrfs", None),
    (0x2fc1_2fc1, "zfs", None),
    (0xf2f5_2010, "f2fs", None),
    (0xca45_1a4e, "bcachefs", None),
    (0x0102_1994, "tmpfs", Some(IN_MEMORY)),
    (0x8584_58f6, "ramfs", Some(IN_MEMORY)),
    (
        0x794c_7630,
        "overlay",
        Some("an overlay may be thrown away with its container"),
    ),
    (0x6969, "nfs", Some(NETWORK)),
    (0xff53_4d42, "cifs", Some(NETWORK)),
    (0xfe53_4d42, "smb2", Some(NETWORK)),
    (0x00c3_6400, "ceph", Some(NETWORK)),
    (0x0102_1997, "9p", Some(NETWORK)),
    (
        0x6573_5546,
        "fuse",
        Some("a file system in user space makes its own promises"),
    ),
];

const IN_MEMORY: &str = "it lives in memory";
const NETWORK: &str = "its server decides what is durable";

impl Medium {
    /// Looks at the file system under `directory`, or under its nearest ancestor that exists.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn under(directory: &Path) -> io::Result<Medium> {
        let there = nearest(directory)?;
        // The type's width differs between platforms; the numbers are 32 bits everywhere.
        #[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
        let number = rustix::fs::statfs(&there)?.f_type as u64 & 0xffff_ffff;
        let known = FILE_SYSTEMS.iter().find(|(known, ..)| *known == number);
        Ok(Medium {
            file_system: known
                .map_or_else(|| format!("{number:#x}"), |(_, name, _)| (*name).to_owned()),
            doubt: known.map_or(
                Some("it is not one that is known to keep its word"),
                |(.., doubt)| *doubt,
            ),
            write_cache: write_cache(&there),
        })
    }
}

fn nearest(directory: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(directory)?;
    let there = absolute.ancestors().find(|path| path.exists());
    there
        .map(Path::to_owned)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The device's own word, through sysfs; partitions inherit it from their disk.
fn write_cache(path: &Path) -> Option<String> {
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let said = block
        .ancestors()
        .take(2)
        .find_map(|at| std::fs::read_to_string(at.join("queue/write_cache")).ok())?;
    Some(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_not_a_durable_medium() {
        if let Ok(medium) = Medium::under(Path::new("/dev/shm/no/such/directory")) {
            assert_eq!(medium.file_system, "tmpfs");
            assert!(medium.doubt.is_some());
        }
    }
}
