//! Which signed messages were accepted, so that none is accepted twice: the window of `integrity`, and the
//! journal that outlives the process.
//!
//! ```text
//! accepted.<n>   boot id of the machine, reach, when it began; an entry for each message; a mark when closed
//! lock           held by the one process that writes
//! ```
//!
//! An entry is written before its message is forwarded, and not synced. What survives: a process that is
//! killed loses nothing, since what it wrote is the operating system's. A machine that loses power may lose
//! the last entries. So a journal of another boot that has no mark is not known to be whole: then nothing
//! counts that was signed before this process started, for as long as it could have been accepted (fail
//! closed). Nor is a folder that is there and empty: only one that the gateway makes itself is known to hold all.
//! A signer that signs anew is held up by no more than the skew that the configuration allows.
//!
//! A message is forgotten once no route would accept it. A configuration that reaches further (a greater age
//! or skew) would accept some of what was forgotten: that does not count either, whether the reach grew by a
//! reload or between two starts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use integrity::replay::{Entry, Limits};
use integrity::{Replay, ReplayError};

/// How far ahead a message may be accepted, seconds: the greatest `signature_age` and twice the greatest
/// `signature_skew`.
pub const REACH: u64 = 3600 + 2 * 300;

/// What a journal begins with; the boot id follows.
const MAGIC: &[u8; 16] = b"phigate-replay-1";

/// A boot id, as Linux writes it.
const BOOT: usize = 36;

/// What stands before the first entry: what it is, the boot id, the reach, when it began.
const HEAD: usize = MAGIC.len() + BOOT + 24;

/// What follows the last entry of a journal that was closed.
const CLOSED: [u8; Entry::LENGTH] = [0xff; Entry::LENGTH];

/// A journal is followed by another one after so many seconds.
const LONGEST: u64 = 600;

/// The window of a process. All workers share it, and all configurations that name its directory.
#[derive(Debug)]
pub struct Replays {
    directory: PathBuf,
    capacity: usize,
    open: Mutex<Option<Open>>,
}

/// How long after it was signed a message may be accepted: the greatest of all routes, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// How old it may be.
    pub age: u64,
    /// How far its clock may be off.
    pub skew: u64,
}

/// What a message says of its time, seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was signed.
    pub created: u64,
    /// Until when that holds.
    pub expires: Option<u64>,
}

struct Open {
    window: Replay,
    journal: Journal,
    /// The number of the next journal. It is used up by an attempt.
    next: u64,
    /// Earlier journals, each with the last second at which what is in it, or missing in it, could matter.
    earlier: Vec<(u64, u64)>,
    /// Nothing counts that was signed up to here, seconds since 1970, skew not counted.
    unknown_before: Option<u64>,
    /// It grows, and never shrinks while the process runs: what one configuration accepted may come again
    /// under another.
    reach: Reach,
    /// When the reach grew, and what it was: what ended by it before then was forgotten.
    grown: Vec<(u64, Reach)>,
    _lock: File,
}

struct Journal {
    number: u64,
    file: File,
    began: u64,
    entries: usize,
    until: u64,
}

/// Why a message that verified is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayRefusal {
    /// It was accepted before.
    Replayed,
    /// It was signed before this process started, which does not know what was accepted then.
    Unknown,
    /// The window is full.
    Full,
    /// The client has its share of it.
    Share,
    /// It could be accepted at a time that the window does not reach.
    OutOfWindow,
    /// It could not be written down.
    Unavailable {
        /// What the operating system said.
        error: io::ErrorKind,
    },
}

impl Replays {
    /// A window for so many messages that is kept in this directory. It accepts nothing until it is open.
    pub fn new(directory: PathBuf, capacity: usize) -> Replays {
        Replays {
            directory,
            capacity,
            open: Mutex::default(),
        }
    }

    /// Whether this is the window of that directory and size.
    pub fn is(&self, directory: &Path, capacity: usize) -> bool {
        self.directory == directory && self.capacity == capacity
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads what is known and begins a journal, if that was not done. From here on messages are remembered
    /// as far as this reaches, and no less far than before. `now` in seconds since 1970.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::WouldBlock`] when another process has it open.
    pub fn open(&self, now: u64, reach: Reach) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *open {
            Some(open) => open.widen(&self.directory, now, reach),
            None => {
                *open = Some(Open::begin(&self.directory, self.capacity, now, reach)?);
                Ok(())
            }
        }
    }

    /// Accepts a message that verified, once.
    ///
    /// # Errors
    /// [`ReplayRefusal`]: it must not be forwarded.
    pub fn accept(
        &self,
        now: u64,
        times: Times,
        identity: &[u8],
        key: &[u8],
    ) -> Result<(), ReplayRefusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *open else {
            return Err(ReplayRefusal::Unknown);
        };
        if open.may_have_forgotten(times) {
            return Err(ReplayRefusal::Unknown);
        }
        let until = open.reach.until(times);
        let entry = open.window.insert(now, identity, key, until);
        let entry = entry.map_err(|error| match error {
            ReplayError::Replayed => ReplayRefusal::Replayed,
            ReplayError::Full { .. } => ReplayRefusal::Full,
            ReplayError::ShareFull { .. } => ReplayRefusal::Share,
            ReplayError::OutOfWindow { .. } => ReplayRefusal::OutOfWindow,
        })?;
        let written = open.write(&self.directory, self.capacity, now, &entry);
        written.map_err(|error| ReplayRefusal::Unavailable {
            error: error.kind(),
        })
    }

    /// Ends the journal, so that the next start knows that it is whole, also after a loss of power.
    ///
    /// # Errors
    /// The operating system's: the next start of the machine will then not know.
    pub fn close(&self) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.take().map_or(Ok(()), |mut open| open.journal.close())
    }
}

impl Reach {
    /// One that reaches as far as both.
    #[must_use]
    pub fn and(self, other: Reach) -> Reach {
        Reach {
            age: self.age.max(other.age),
            skew: self.skew.max(other.skew),
        }
    }

    /// The last second at which a message with these times could be accepted.
    fn until(self, times: Times) -> u64 {
        let last = times.created.saturating_add(self.age);
        let last = times.expires.map_or(last, |expires| last.min(expires));
        last.saturating_add(self.skew)
    }
}

impl Open {
    fn begin(directory: &Path, capacity: usize, now: u64, reach: Reach) -> io::Result<Open> {
        let is_new = make(directory)?;
        let lock = lock(directory)?;
        let boot = boot_id()?;
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
        let limits = Limits {
            entries: capacity,
            share: (capacity / 10).max(1),
            identities: capacity,
            horizon: Duration::from_secs(REACH),
        };
        let mut window = Replay::new(limits, u64::from_ne_bytes(seed), now);
        let (mut earlier, mut grown) = (Vec::new(), Vec::new());
        let numbers = journals(directory)?;
        // Somebody took away what was in it, or it is another one than before.
        let (mut whole, mut last) = (is_new || !numbers.is_empty(), 0);
        for number in numbers {
            last = last.max(number);
            let (mut until, mut all_taken) = (0, true);
            let journal = read(&path(directory, number), &boot, now, |entry| {
                until = until.max(entry.until());
                // What is there already, or has expired, is passed over. One that the window does not
                // reach was accepted by another clock: it could not be remembered.
                all_taken &= entry.until() < now
                    || matches!(
                        window.apply(now, &entry),
                        Ok(()) | Err(ReplayError::Replayed)
                    );
            });
            let journal = journal?;
            let is_whole = journal.is_whole && all_taken;
            let short = journal.reach.filter(|it| it.and(reach) != *it);
            grown.extend(short.map(|short| (now, short)));
            whole &= is_whole;
            if !is_whole || short.is_some() {
                // What is missing in it is missing for the next start as well.
                until = now + REACH;
            }
            earlier.push((number, until));
        }
        if !whole {
            tracing::warn!(
                "what was accepted before this start is not known: signed messages count once they were signed after it"
            );
        }
        Ok(Open {
            window,
            journal: Journal::begin(directory, last + 1, &boot, reach, now)?,
            next: last + 2,
            earlier,
            unknown_before: (!whole).then_some(now),
            reach,
            grown,
            _lock: lock,
        })
    }

    fn write(
        &mut self,
        directory: &Path,
        capacity: usize,
        now: u64,
        entry: &Entry,
    ) -> io::Result<()> {
        let journal = &self.journal;
        if journal.entries >= capacity || now.saturating_sub(journal.began) >= LONGEST {
            self.turn(directory, now, self.reach, journal.until)?;
        }
        let journal = &mut self.journal;
        journal.write(&entry.encode())?;
        journal.entries += 1;
        journal.until = journal.until.max(entry.until());
        Ok(())
    }

    /// Remembers as far as this reaches too.
    fn widen(&mut self, directory: &Path, now: u64, reach: Reach) -> io::Result<()> {
        let wider = self.reach.and(reach);
        if wider == self.reach {
            return Ok(());
        }
        // The journal says how far it reached, for as long as that could matter.
        self.turn(directory, now, wider, now + REACH)?;
        self.grown.retain(|(at, _)| at.saturating_add(REACH) >= now);
        self.grown.push((now, self.reach));
        self.reach = wider;
        Ok(())
    }

    /// Begins the next journal; the one that ends is kept until then.
    fn turn(&mut self, directory: &Path, now: u64, reach: Reach, until: u64) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let next = Journal::begin(directory, number, &boot_id()?, reach, now)?;
        let mut over = std::mem::replace(&mut self.journal, next);
        self.earlier.push((over.number, until));
        // What could not be removed is tried again at the next turn.
        self.earlier.retain(|&(number, until)| {
            let is_there = |error: io::Error| error.kind() != io::ErrorKind::NotFound;
            until >= now || remove(directory, number).is_err_and(is_there)
        });
        // Synced aside: all workers wait for us. Should that not come to its end, the journal bears no mark,
        // and only a loss of power makes something of that.
        let synced = std::thread::Builder::new()
            .name("replays".to_owned())
            .spawn(move || over.close());
        if let Err(error) = synced {
            tracing::warn!(%error, "a journal of accepted messages is not synced");
        }
        Ok(())
    }

    /// Whether a message with these times may have been accepted without being known any more.
    fn may_have_forgotten(&self, times: Times) -> bool {
        let is_before = |before: u64| times.created <= before.saturating_add(self.reach.skew);
        let mut grown = self.grown.iter();
        self.unknown_before.is_some_and(is_before)
            || grown.any(|(at, reach)| reach.until(times) < *at)
    }
}

impl Journal {
    fn begin(
        directory: &Path,
        number: u64,
        boot: &[u8; BOOT],
        reach: Reach,
        now: u64,
    ) -> io::Result<Journal> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path(directory, number))?;
        let mut journal = Journal {
            number,
            file,
            began: now,
            entries: 0,
            until: 0,
        };
        let numbers = [reach.age, reach.skew, now].map(u64::to_be_bytes).concat();
        let head = [&MAGIC[..], boot, &numbers].concat();
        // Its name, before anything in it counts.
        let begun = journal
            .write(&head)
            .and_then(|()| journal.file.sync_all())
            .and_then(|()| File::open(directory)?.sync_all());
        // One that could not be begun would be in the way of the next attempt.
        begun.inspect_err(|_| drop(remove(directory, number)))?;
        Ok(journal)
    }

    /// In one call: it is there, or it is not. What a full disk left of an entry is taken away again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.file.write_all(bytes).inspect_err(|_| {
            // If that fails too, what follows is not read as entries: the journal is not whole.
            let _ = self.file.set_len(length);
        })
    }

    fn close(&mut self) -> io::Result<()> {
        self.write(&CLOSED)?;
        self.file.sync_all()
    }
}

/// What a journal says of itself.
struct Said {
    /// Whether its entries are all that there were.
    is_whole: bool,
    /// How far it reached; nothing where nothing could be accepted, or that cannot be read.
    reach: Option<Reach>,
}

/// Reads the entries of a journal.
fn read(path: &Path, boot: &[u8; BOOT], now: u64, mut take: impl FnMut(Entry)) -> io::Result<Said> {
    let said = |is_whole, reach| Ok(Said { is_whole, reach });
    let mut file = BufReader::new(File::open(path)?);
    let mut head = [0; HEAD];
    let filled = fill(&mut file, &mut head)?;
    if filled < head.len() {
        // Ended before anything could be accepted, or none of ours.
        let begun = filled.min(MAGIC.len());
        return said(head[..begun] == MAGIC[..begun], None);
    }
    let (magic, rest) = head.split_at(MAGIC.len());
    let (its_boot, numbers) = rest.split_at(BOOT);
    if magic != MAGIC {
        return said(false, None);
    }
    let second = |at: usize| {
        let bytes = numbers[at..].first_chunk();
        u64::from_be_bytes(*bytes.expect("a head has three numbers behind the boot id"))
    };
    let reach = Some(Reach {
        age: second(0),
        skew: second(8),
    });
    // By a clock that was ahead others may have been taken away too early.
    let in_time = second(16) <= now;
    let mut chunk = [0; Entry::LENGTH];
    while fill(&mut file, &mut chunk)? == chunk.len() {
        match Entry::decode(&chunk) {
            _ if chunk == CLOSED => return said(in_time, reach),
            Ok(entry) => take(entry),
            Err(_) => return said(false, reach),
        }
    }
    // What is shorter than an entry is a last write within which the process ended: its message was not
    // accepted.
    said(in_time && its_boot == boot, reach)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let whole = buffer.len();
    while !buffer.is_empty() {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(bytes) => buffer = &mut buffer[bytes..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(whole - buffer.len())
}

/// Makes the directory, if it is not there; says whether it was not.
fn make(directory: &Path) -> io::Result<bool> {
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    match builder.create(directory) {
        Ok(()) => {
            // Its name, before anything in it counts.
            let above = directory.parent().filter(|it| !it.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn lock(directory: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn boot_id() -> io::Result<[u8; BOOT]> {
    let mut id = [0; BOOT];
    File::open("/proc/sys/kernel/random/boot_id")?.read_exact(&mut id)?;
    Ok(id)
}

/// The numbers of the journals of a directory, in their order.
fn journals(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("accepted."));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("accepted.{number}"))
}

fn remove(directory: &Path, number: u64) -> io::Result<()> {
    std::fs::remove_file(path(directory, number))
}

/// How much it may hold.
impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("journal", &self.journal.number)
            .field("unknown_before", &self.unknown_before)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// A folder that the gateway makes itself.
    struct Fresh(tempfile::TempDir);

    impl Fresh {
        fn path(&self) -> PathBuf {
            self.0.path().join("replay")
        }
    }

    fn fresh() -> Fresh {
        Fresh(tempfile::tempdir().unwrap())
    }

    const USUAL: Reach = Reach { age: 300, skew: 30 };

    fn opened(directory: &Path, now: u64) -> Replays {
        let replays = Replays::new(directory.to_owned(), 10_000);
        replays.open(now, USUAL).unwrap();
        replays
    }

    /// Signed then, without an end.
    fn at(created: u64) -> Times {
        let expires = None;
        Times { created, expires }
    }

    fn accept(replays: &Replays, now: u64, key: &[u8]) -> Result<(), ReplayRefusal> {
        replays.accept(now, at(now), b"pump-1", key)
    }

    #[test]
    fn a_message_is_accepted_once_also_by_the_process_that_follows_one_that_was_killed() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        assert_eq!(accept(&replays, NOW, b"one"), Ok(()));
        assert_eq!(accept(&replays, NOW, b"one"), Err(ReplayRefusal::Replayed));
        // Killed: nothing is closed.
        drop(replays);
        let replays = opened(&directory.path(), NOW + 5);
        assert_eq!(
            accept(&replays, NOW + 5, b"one"),
            Err(ReplayRefusal::Replayed)
        );
        assert_eq!(accept(&replays, NOW + 5, b"two"), Ok(()));
        replays.close().unwrap();
        drop(replays);
        let replays = opened(&directory.path(), NOW + 6);
        for key in [b"one", b"two"] {
            assert_eq!(accept(&replays, NOW + 6, key), Err(ReplayRefusal::Replayed));
        }
    }

    #[test]
    fn what_a_loss_of_power_may_have_lost_is_not_accepted_again() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        accept(&replays, NOW, b"lost").unwrap();
        drop(replays);
        // The machine comes back with another boot id, and without the last entry.
        let journal = path(&directory.path(), 1);
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes.truncate(HEAD);
        bytes[MAGIC.len()] = b'?';
        std::fs::write(&journal, bytes).unwrap();
        let replays = opened(&directory.path(), NOW + 60);
        let late = |created| replays.accept(NOW + 60, at(created), b"pump-1", b"lost");
        assert_eq!(late(NOW), Err(ReplayRefusal::Unknown));
        // A client whose clock is ahead may have signed it as if it were now.
        assert_eq!(late(NOW + 90), Err(ReplayRefusal::Unknown));
        assert_eq!(late(NOW + 91), Ok(()));
    }

    #[test]
    fn a_journal_that_was_closed_is_whole_whatever_happens_to_the_machine() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        accept(&replays, NOW, b"one").unwrap();
        replays.close().unwrap();
        drop(replays);
        let journal = path(&directory.path(), 1);
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes[MAGIC.len()] = b'?';
        std::fs::write(&journal, bytes).unwrap();
        let replays = opened(&directory.path(), NOW + 1);
        assert_eq!(
            accept(&replays, NOW + 1, b"one"),
            Err(ReplayRefusal::Replayed)
        );
        assert_eq!(accept(&replays, NOW + 1, b"two"), Ok(()));
    }

    #[test]
    fn a_torn_entry_was_never_accepted_and_a_changed_one_makes_the_journal_unknown() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        accept(&replays, NOW, b"one").unwrap();
        accept(&replays, NOW, b"two").unwrap();
        drop(replays);
        let journal = path(&directory.path(), 1);
        let whole = std::fs::read(&journal).unwrap();
        std::fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
        let replays = opened(&directory.path(), NOW + 1);
        assert_eq!(accept(&replays, NOW + 1, b"two"), Ok(()));
        drop(replays);
        let mut changed = whole;
        changed[HEAD] ^= 1;
        std::fs::write(&journal, &changed).unwrap();
        let replays = opened(&directory.path(), NOW + 2);
        assert_eq!(
            accept(&replays, NOW + 2, b"three"),
            Err(ReplayRefusal::Unknown)
        );
    }

    #[test]
    fn journals_follow_each_other_and_go_when_nothing_in_them_counts() {
        let directory = fresh();
        let replays = Replays::new(directory.path(), 10_000);
        // What is in a journal counts until the one after the next has begun.
        let (age, skew) = (LONGEST * 3 / 2, 30);
        replays.open(NOW, Reach { age, skew }).unwrap();
        for turn in 0..5 {
            let (now, key) = (NOW + turn * LONGEST, format!("{turn}"));
            accept(&replays, now, key.as_bytes()).unwrap();
        }
        assert_eq!(journals(&directory.path()).unwrap(), [4, 5]);
    }

    #[test]
    fn a_window_that_is_not_open_accepts_nothing_and_is_open_in_one_process() {
        let directory = fresh();
        let closed = Replays::new(directory.path(), 1000);
        assert_eq!(accept(&closed, NOW, b"one"), Err(ReplayRefusal::Unknown));
        let _open = opened(&directory.path(), NOW);
        let error = closed.open(NOW, USUAL).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn in_a_folder_that_somebody_emptied_nothing_is_known() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        accept(&replays, NOW, b"one").unwrap();
        replays.close().unwrap();
        drop(replays);
        std::fs::remove_file(path(&directory.path(), 1)).unwrap();
        let replays = opened(&directory.path(), NOW + 1);
        let again = accept(&replays, NOW + 1, b"one");
        assert_eq!(again, Err(ReplayRefusal::Unknown));
    }

    #[test]
    fn a_journal_of_a_clock_that_was_ahead_is_not_known_to_be_whole() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW + 1000);
        replays.close().unwrap();
        drop(replays);
        let replays = opened(&directory.path(), NOW);
        assert_eq!(accept(&replays, NOW, b"one"), Err(ReplayRefusal::Unknown));
    }

    #[test]
    fn a_client_has_no_more_than_its_share() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        let outcomes: Vec<_> = (0..1001_u32)
            .map(|number| accept(&replays, NOW, &number.to_be_bytes()))
            .collect();
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            1000
        );
        assert_eq!(outcomes[1000], Err(ReplayRefusal::Share));
        let other = replays.accept(NOW, at(NOW), b"pump-2", b"one");
        assert_eq!(other, Ok(()));
    }

    #[test]
    fn what_ended_before_the_reach_grew_is_not_accepted_by_it() {
        let directory = fresh();
        let short = Reach { age: 1, skew: 0 };
        let replays = Replays::new(directory.path(), 10_000);
        replays.open(NOW, short).unwrap();
        let signed = |replays: &Replays, now, created, expires, key: &[u8]| {
            replays.accept(now, Times { created, expires }, b"pump-1", key)
        };
        assert_eq!(signed(&replays, NOW, NOW, None, b"one"), Ok(()));
        assert_eq!(signed(&replays, NOW, NOW, Some(NOW), b"two"), Ok(()));
        // Both are let go of, and then they would be young enough again.
        assert_eq!(signed(&replays, NOW + 9, NOW + 9, None, b"three"), Ok(()));
        replays.open(NOW + 10, USUAL).unwrap();
        let forgotten = |replays: &Replays, now| {
            for (expires, key) in [(None, b"one"), (Some(NOW), b"two")] {
                let again = signed(replays, now, NOW, expires, key);
                assert_eq!(again, Err(ReplayRefusal::Unknown));
            }
            let known = signed(replays, now, NOW + 9, None, b"three");
            assert_eq!(known, Err(ReplayRefusal::Replayed));
        };
        forgotten(&replays, NOW + 10);
        // A signer is not held up.
        assert_eq!(signed(&replays, NOW + 10, NOW + 9, None, b"four"), Ok(()));
        // Nor does it shrink while what one configuration accepted may come again under another.
        replays.open(NOW + 11, short).unwrap();
        assert_eq!(signed(&replays, NOW + 11, NOW + 11, None, b"five"), Ok(()));
        let late = signed(&replays, NOW + 300, NOW + 11, None, b"five");
        assert_eq!(late, Err(ReplayRefusal::Replayed));
        drop(replays);
        let replays = Replays::new(directory.path(), 10_000);
        replays.open(NOW + 12, USUAL).unwrap();
        for key in [b"one", b"two"] {
            let again = signed(&replays, NOW + 12, NOW, None, key);
            assert_eq!(again, Err(ReplayRefusal::Unknown));
        }
    }

    #[test]
    fn what_is_not_known_stays_so_for_those_who_start_later() {
        let directory = fresh();
        let replays = opened(&directory.path(), NOW);
        accept(&replays, NOW, b"lost").unwrap();
        drop(replays);
        let journal = path(&directory.path(), 1);
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes.truncate(HEAD);
        bytes[MAGIC.len()] = b'?';
        std::fs::write(&journal, bytes).unwrap();
        // Two journals later nothing that stands in the first one counts.
        let replays = Replays::new(directory.path(), 1);
        replays.open(NOW + 1, USUAL).unwrap();
        for turn in 1..4 {
            let (created, expires) = (NOW + 100 * turn, Some(NOW + 100 * turn));
            let key = [u8::try_from(turn).unwrap()];
            let times = Times { created, expires };
            replays.accept(created, times, b"pump-1", &key).unwrap();
        }
        drop(replays);
        let replays = opened(&directory.path(), NOW + 301);
        let again = replays.accept(NOW + 301, at(NOW), b"pump-1", b"lost");
        assert_eq!(again, Err(ReplayRefusal::Unknown));
    }
}
