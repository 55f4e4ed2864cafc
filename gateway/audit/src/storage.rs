//! The disk as the log sees it: a handful of operations, each durable when it returns.
//!
//! `Disk` is the real one. The trait exists so that the tests can put a simulated disk in its place
//! that fails, tears and loses in every way that a real one does.
//!
//! Durable means that the operating system said so: a write on a descriptor with O_DSYNC returned,
//! or fsync did. A device that lies about its cache is outside the promise (see `medium`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::frame::{BLOCK, MAX_BATCH};

/// A directory of segment files.
pub trait Storage: Send + Sync {
    /// The names of all files in it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Length of a file, bytes.
    fn length(&self, name: &str) -> io::Result<u64>;

    /// Creates a file of `bytes` zeros that did not exist, and opens it for durable writes; durable,
    /// the name included. What an error leaves behind is removed as far as possible.
    fn create_blank(&self, name: &str, bytes: u64) -> io::Result<Box<dyn Segment>>;

    /// Opens a file that is there for durable writes behind its end. What it holds is durable then, whoever
    /// wrote it.
    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>>;

    /// Creates or replaces a file with this content; durable, the name included.
    fn create(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Gives an open file another name, which must be free; durable.
    fn rename(&self, segment: &mut dyn Segment, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; durable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Cuts a file; durable.
    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Bytes that are free for us on its file system.
    fn free(&self) -> io::Result<u64>;
}

/// A file that batches are written to.
pub trait Segment: Send {
    /// Writes whole blocks at a block boundary. After an error the state of the range is unknown,
    /// and so is that of the descriptor: the caller never uses it again.
    fn write_at(&mut self, blocks: &[u8], offset: u64) -> io::Result<()>;

    /// Whether the file is still the one that its name leads to.
    fn is_in_place(&self) -> io::Result<bool>;

    /// Learns the name that the file has got.
    fn renamed(&mut self, name: &str);
}

/// What a write promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Durable,
    /// It is in the operating system's cache; a crash of the machine loses it.
    Buffered,
}

/// Opens a file that is one, to read it: whoever may write to the log leads nobody out of it by a link, and
/// nobody waits for the other end of a pipe.
///
/// # Errors
/// What the operating system says; `InvalidData`, with the path, for what is there and no file.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    let no_file = || {
        let path = path.display();
        io::Error::new(io::ErrorKind::InvalidData, format!("{path} is no file"))
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(guarded())
        .open(path);
    // A link, and the socket of somebody.
    let refused = [Errno::LOOP, Errno::NXIO].map(Errno::raw_os_error);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(no_file()),
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| refused.contains(&code)) =>
        {
            Err(no_file())
        }
        Err(error) => Err(error),
    }
}

/// Opens a directory, to lock it or to sync the names in it; nobody waits for a pipe in the place of one.
///
/// # Errors
/// What the operating system says.
pub(crate) fn folder(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
}

/// Makes the names durable that lead to a directory: a crash of the machine would take all with them that is
/// in it. To be done at every start, since an earlier one may have been ended in between.
/// `.../phigate/audit/wal` may all be new, so that is two directories above `audit`; those may be closed to
/// its user, who then did not make them, or be such that nothing in them is ever new.
///
/// # Errors
/// What the operating system says of the directory itself, or of a disk that fails.
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    folder(directory)?.sync_all()?;
    for above in std::path::absolute(directory)?.ancestors().skip(1).take(2) {
        match folder(above).and_then(|above| above.sync_all()) {
            Err(error) if !is_never_new(error.kind()) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a directory that cannot be synced for this reason is one that was not made just now.
fn is_never_new(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
    )
}

/// The flags of open(2) by which no link is followed and no pipe waited for.
pub(crate) fn guarded() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// A directory on a real disk.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    /// Held open, so that a process without free descriptors can still sync the names of its files.
    handle: File,
    durability: Durability,
}

impl Disk {
    /// The directory, which must exist.
    ///
    /// # Errors
    /// The operating system's, when it cannot be opened.
    pub fn open(directory: PathBuf, durability: Durability) -> io::Result<Disk> {
        let handle = folder(&directory)?;
        Ok(Disk {
            directory,
            handle,
            durability,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.directory)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(&regular(&self.path(name))?, offset, buffer)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path(name))?.len())
    }

    fn create_blank(&self, name: &str, bytes: u64) -> io::Result<Box<dyn Segment>> {
        let path = self.path(name);
        let made = write_zeros(&create_new(&path)?, bytes)
            .and_then(|()| OpenSegment::open(path.clone(), self.durability))
            .and_then(|segment| self.sync_directory().map(|()| segment));
        match made {
            Ok(segment) => Ok(Box::new(segment)),
            Err(error) => {
                // Half a segment would hold the space that is missing.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        let path = self.path(name);
        // Not through a link, and nothing that is no file.
        regular(&path)?.sync_all()?;
        Ok(Box::new(OpenSegment::open(path, self.durability)?))
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let partial = self.path(&format!("{name}.new"));
        remove_if_present(&partial)?;
        let file = create_new(&partial)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        std::fs::rename(partial, self.path(name))?;
        self.sync_directory()
    }

    fn rename(&self, segment: &mut dyn Segment, from: &str, to: &str) -> io::Result<()> {
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            self.path(from),
            rustix::fs::CWD,
            self.path(to),
            rustix::fs::RenameFlags::NOREPLACE,
        )?;
        segment.renamed(to);
        self.sync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))?;
        self.sync_directory()
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(guarded())
            .open(self.path(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The names of the files in `directory`; names that are not UTF-8 are an error.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(directory)?
        .map(|item| {
            item?.file_name().into_string().map_err(|name| {
                let message = format!("the file name {} is not UTF-8", name.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })
        })
        .collect()
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file that must not exist yet, for this user alone.
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Written zeros, not a hole: a later write then changes data only, which makes its sync about twice
/// as fast, and finds its space reserved.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 256 * 1024];
    let mut at = 0;
    while at < bytes {
        let step = usize::try_from(bytes - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..step], at)?;
        at += step as u64;
    }
    file.sync_all()
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct OpenSegment {
    path: PathBuf,
    file: File,
    /// Direct writes ask for memory on a block boundary.
    aligned: Option<Aligned>,
}

/// Each write waits for its data, and for what it takes to read them again: `O_DSYNC` by its bit. The flag
/// of this name in rustix 1 is `O_SYNC`, which waits for the times of the file as well, a journal's
/// worth of work a write. Where the bit may be another one, that is what is used.
const DATA_SYNC: OFlags = if cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)) {
    OFlags::from_bits_retain(0o10_000)
} else {
    OFlags::DSYNC
};

impl OpenSegment {
    fn open(path: PathBuf, durability: Durability) -> io::Result<OpenSegment> {
        let open = |flags: OFlags| {
            let flags = i32::try_from(flags.bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
            OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(&path)
        };
        let (file, direct) = match durability {
            Durability::Buffered => (open(OFlags::empty())?, false),
            Durability::Durable => match open(DATA_SYNC | OFlags::DIRECT) {
                Ok(file) => (file, true),
                // Some file systems have no direct writes; O_DSYNC alone keeps the promise.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    (open(DATA_SYNC)?, false)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(OpenSegment {
            path,
            file,
            aligned: direct.then(Aligned::new),
        })
    }
}

impl Segment for OpenSegment {
    fn write_at(&mut self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let bytes = match &mut self.aligned {
            Some(aligned) => aligned.hold(blocks),
            None => blocks,
        };
        self.file.write_all_at(bytes, offset)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let open = self.file.metadata()?;
        let named = match std::fs::symlink_metadata(&self.path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(open.nlink() > 0 && open.ino() == named.ino() && open.dev() == named.dev())
    }

    fn renamed(&mut self, name: &str) {
        self.path.set_file_name(name);
    }
}

/// A buffer whose content begins on a block boundary.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Aligned {
        let memory = vec![0; MAX_BATCH + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Aligned { memory, start }
    }

    fn hold(&mut self, blocks: &[u8]) -> &[u8] {
        let held = &mut self.memory[self.start..self.start + blocks.len()];
        held.copy_from_slice(blocks);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_was_removed_or_replaced_is_no_longer_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path().to_owned(), Durability::Durable).unwrap();
        let mut open = disk.create_blank("a", 8192).unwrap();
        open.write_at(&[1; BLOCK], 4096).unwrap();
        assert!(open.is_in_place().unwrap());
        disk.rename(open.as_mut(), "a", "b").unwrap();
        assert!(open.is_in_place().unwrap());
        // Another file in its place, and ours elsewhere: it has its link still.
        let path = |name: &str| directory.path().join(name);
        std::fs::rename(path("b"), path("c")).unwrap();
        disk.create_blank("b", 8192).unwrap();
        assert!(!open.is_in_place().unwrap());
        std::fs::rename(path("c"), path("b")).unwrap();
        assert!(open.is_in_place().unwrap());
        disk.remove("b").unwrap();
        assert!(!open.is_in_place().unwrap());
    }

    #[test]
    fn a_rename_never_replaces_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path().to_owned(), Durability::Durable).unwrap();
        let mut open = disk.create_blank("a", 4096).unwrap();
        disk.create_blank("b", 4096).unwrap();
        assert!(disk.rename(open.as_mut(), "a", "b").is_err());
        assert!(open.is_in_place().unwrap());
    }

    #[test]
    fn a_blank_file_that_cannot_be_made_whole_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path().to_owned(), Durability::Durable).unwrap();
        // No file system holds so much: the write ends with "file too large" at the latest.
        let file = create_new(&directory.path().join("probe")).unwrap();
        drop(file);
        assert!(disk.create_blank("probe", 4096).is_err());
        assert_eq!(
            disk.list().unwrap(),
            ["probe"],
            "what was there before stays"
        );
    }
}
