//! What a process and its children cost: CPU time to the nanosecond, and resident memory, read
//! from `/proc` (proc(5)).
//!
//! CPU time is the sum over all threads of all processes of the tree, from `schedstat`, because
//! `stat` counts in ticks of 10 ms; of a thread that is on a CPU just now, up to a tick of the
//! scheduler (1-10 ms) may be missing at either end. A thread that ended within the window takes its time with it:
//! how many did is told, so that nobody trusts a figure that is too low. What this file does not
//! do: it does not see the kernel's own threads, which write a log to its disk.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More processes than a server that is measured has.
const MAX_PROCESSES: usize = 4096;

/// Where the kernel shows its processes.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    root: PathBuf,
}

/// The CPU time of every thread of some processes, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuClock(BTreeMap<(u32, u32), ThreadTime>);

/// What a thread used and waited for since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ThreadTime {
    running: Duration,
    waiting: Duration,
}

/// What some processes used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuUse {
    /// Time on a CPU.
    pub(crate) running: Duration,
    /// Time ready to run while another had the CPU.
    pub(crate) waiting: Duration,
    /// Threads that ended between the two moments. Their last share is missing.
    pub(crate) ended: usize,
}

/// Why a process cannot be measured.
#[derive(Debug)]
pub(crate) enum ProcessError {
    /// There is no such process, or no longer.
    Gone {
        /// Its id.
        pid: u32,
    },
    /// The kernel does not show it to us.
    Unreadable {
        /// What was to be read.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The kernel shows something else than proc(5) says.
    Form {
        /// What was read.
        file: PathBuf,
    },
    /// The tree has more than `MAX_PROCESSES` processes.
    TooMany,
}

impl Processes {
    /// Those of this machine.
    pub(crate) fn of_this_machine() -> Self {
        Self {
            root: PathBuf::from("/proc"),
        }
    }

    /// The CPU time of all threads of these processes, of their children and so on, up to now.
    pub(crate) fn cpu(&self, roots: &[u32]) -> Result<CpuClock, ProcessError> {
        let mut threads = BTreeMap::new();
        self.each(roots, |pid| {
            let tasks = self.root.join(pid.to_string()).join("task");
            let mut is_alive = false;
            for tid in numbers(&tasks).map_err(|error| unreadable(pid, &tasks, error))? {
                let file = tasks.join(tid.to_string()).join("schedstat");
                match fs::read_to_string(&file) {
                    Ok(text) => {
                        let time = schedstat(&text).ok_or(ProcessError::Form { file })?;
                        threads.insert((pid, tid), time);
                        is_alive = true;
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(ProcessError::Unreadable { file, error }),
                }
            }
            is_alive.then_some(()).ok_or(ProcessError::Gone { pid })
        })?;
        Ok(CpuClock(threads))
    }

    /// Bytes of memory that these processes and their children hold resident, from `smaps_rollup`:
    /// unlike `statm` it is exact on kernels that keep their counters for each CPU. What processes
    /// share is counted for each of them.
    pub(crate) fn resident(&self, roots: &[u32]) -> Result<u64, ProcessError> {
        let mut bytes = 0;
        self.each(roots, |pid| {
            let file = self.root.join(pid.to_string()).join("smaps_rollup");
            let text = fs::read_to_string(&file).map_err(|error| unreadable(pid, &file, error))?;
            bytes += resident(&text).ok_or(ProcessError::Form { file })?;
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads something of each process of the trees. Only a root must be there: a child may end
    /// while we look.
    fn each(
        &self,
        roots: &[u32],
        mut read: impl FnMut(u32) -> Result<(), ProcessError>,
    ) -> Result<(), ProcessError> {
        if roots.is_empty() {
            return Ok(());
        }
        for pid in self.tree(roots)? {
            match read(pid) {
                Err(ProcessError::Gone { .. }) if !roots.contains(&pid) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// These processes, their children, and the children of those.
    fn tree(&self, roots: &[u32]) -> Result<Vec<u32>, ProcessError> {
        let parents = self.parents()?;
        let mut tree = Vec::new();
        for &pid in roots {
            if !parents.contains_key(&pid) {
                return Err(ProcessError::Gone { pid });
            }
            if !tree.contains(&pid) {
                tree.push(pid);
            }
        }
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            next += 1;
            for (&child, _) in parents.iter().filter(|(_, of)| **of == parent) {
                if !tree.contains(&child) {
                    tree.push(child);
                }
            }
            if tree.len() > MAX_PROCESSES {
                return Err(ProcessError::TooMany);
            }
        }
        Ok(tree)
    }

    /// Every process with its parent.
    fn parents(&self) -> Result<BTreeMap<u32, u32>, ProcessError> {
        let mut parents = BTreeMap::new();
        let all = numbers(&self.root).map_err(|error| ProcessError::Unreadable {
            file: self.root.clone(),
            error,
        })?;
        for pid in all {
            let file = self.root.join(pid.to_string()).join("stat");
            match fs::read(&file) {
                Ok(text) => {
                    let parent = parent(&text).ok_or(ProcessError::Form { file })?;
                    parents.insert(pid, parent);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(ProcessError::Unreadable { file, error }),
            }
        }
        Ok(parents)
    }
}

impl CpuClock {
    /// What was used since an earlier moment. A thread that started in between counts from its
    /// start.
    pub(crate) fn since(&self, earlier: &Self) -> CpuUse {
        let mut used = CpuUse {
            ended: earlier
                .0
                .keys()
                .filter(|thread| !self.0.contains_key(thread))
                .count(),
            ..CpuUse::default()
        };
        for (thread, now) in &self.0 {
            let then = earlier.0.get(thread).copied().unwrap_or_default();
            used.running += now.running.saturating_sub(then.running);
            used.waiting += now.waiting.saturating_sub(then.waiting);
        }
        used
    }
}

/// `running waiting slices`, the first two in nanoseconds.
fn schedstat(text: &str) -> Option<ThreadTime> {
    let mut numbers = text
        .split_ascii_whitespace()
        .map(|word| word.parse().ok().map(Duration::from_nanos));
    let (running, waiting) = (numbers.next()??, numbers.next()??);
    numbers.next()??;
    Some(ThreadTime { running, waiting })
}

/// The fourth word of `stat`. The second one, the name in parentheses, may hold anything.
fn parent(stat: &[u8]) -> Option<u32> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The line `Rss: N kB`.
fn resident(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The names in a directory that are numbers.
fn numbers(directory: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Some(number) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            found.push(number);
        }
    }
    Ok(found)
}

fn unreadable(pid: u32, file: &Path, error: io::Error) -> ProcessError {
    if is_gone(&error) {
        ProcessError::Gone { pid }
    } else {
        ProcessError::Unreadable {
            file: file.to_owned(),
            error,
        }
    }
}

/// A process that ends between two reads is no longer found, or found dead (ESRCH).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { pid } => write!(f, "there is no process {pid}, or it has ended"),
            Self::Unreadable { file, error } => {
                write!(f, "cannot read {}: {error}", file.display())
            }
            Self::Form { file } => write!(f, "{} is not as proc(5) says", file.display()),
            Self::TooMany => write!(f, "the server has more than {MAX_PROCESSES} processes"),
        }
    }
}

impl std::error::Error for ProcessError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A `/proc` with these files.
    fn proc(files: &[(&str, &str)]) -> (tempfile::TempDir, Processes) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = directory.path().to_owned();
        (directory, Processes { root })
    }

    #[test]
    fn the_tree_holds_children_and_their_children_and_nobody_else() {
        let (_directory, processes) = proc(&[
            ("1/stat", "1 (init) S 0 1"),
            ("10/stat", "10 (master) S 1 10"),
            ("11/stat", "11 (a worker) S 10 10"),
            ("12/stat", "12 (its child) S 11 10"),
            ("13/stat", "13 (other) S 1 13"),
            ("self/stat", "not a number, not read"),
        ]);
        assert_eq!(processes.tree(&[10]).unwrap(), [10, 11, 12]);
        assert_eq!(processes.tree(&[11, 13, 11]).unwrap(), [11, 13, 12]);
        assert!(matches!(
            processes.tree(&[99]),
            Err(ProcessError::Gone { pid: 99 })
        ));
    }

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_parent() {
        assert_eq!(parent(b"7 (evil) S 1 (x) R 42 7 7\n"), Some(42));
        assert_eq!(parent(b"7 (\xff\xfe) R 42 7 7\n"), Some(42));
        assert_eq!(parent(b"7 (name) R"), None);
        assert_eq!(parent(b"7 R 42"), None);
    }

    #[test]
    fn threads_are_summed_and_new_ones_count_from_their_start() {
        let (directory, processes) = proc(&[
            ("10/stat", "10 (server) S 1 10"),
            ("10/task/10/schedstat", "1000 50 3\n"),
            ("10/task/11/schedstat", "2000 0 1\n"),
        ]);
        let before = processes.cpu(&[10]).unwrap();
        for (task, text) in [(10, "1500 60 4\n"), (12, "7 1 1\n")] {
            let task = directory.path().join(format!("10/task/{task}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("schedstat"), text).unwrap();
        }
        let used = processes.cpu(&[10]).unwrap().since(&before);
        assert_eq!(used.running, Duration::from_nanos(500 + 7));
        assert_eq!(used.waiting, Duration::from_nanos(10 + 1));
        assert_eq!(used.ended, 0);
    }

    #[test]
    fn a_thread_that_ended_is_told() {
        let (directory, processes) = proc(&[
            ("10/stat", "10 (server) S 1 10"),
            ("10/task/10/schedstat", "1000 0 3"),
            ("10/task/11/schedstat", "2000 0 1"),
        ]);
        let before = processes.cpu(&[10]).unwrap();
        fs::remove_dir_all(directory.path().join("10/task/11")).unwrap();
        let used = processes.cpu(&[10]).unwrap().since(&before);
        assert_eq!((used.running, used.ended), (Duration::ZERO, 1));
    }

    #[test]
    fn children_are_measured_with_their_parent_and_may_end() {
        let (directory, processes) = proc(&[
            ("10/stat", "10 (master) S 1 10"),
            ("10/task/10/schedstat", "1 0 1"),
            ("10/smaps_rollup", "Rss: 3 kB"),
            ("11/stat", "11 (worker) S 10 10"),
            ("11/task/11/schedstat", "20 0 1"),
            ("11/smaps_rollup", "Rss: 4 kB"),
            ("12/stat", "12 (on its way out) Z 10 10"),
        ]);
        let before = processes.cpu(&[10]).unwrap();
        assert_eq!(
            before.since(&CpuClock(BTreeMap::new())).running.as_nanos(),
            21
        );
        assert_eq!(processes.resident(&[10]).unwrap(), 7 * 1024);
        fs::remove_dir_all(directory.path().join("11")).unwrap();
        assert_eq!(processes.cpu(&[10]).unwrap().since(&before).ended, 1);
        assert_eq!(processes.resident(&[10]).unwrap(), 3 * 1024);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_and_not_zero() {
        let (_directory, processes) =
            proc(&[("10/stat", "10 (dead) Z 1 10"), ("10/task/x/schedstat", "")]);
        for pid in [10, 11] {
            let outcomes = [
                processes.cpu(&[pid]).err(),
                processes.resident(&[pid]).err(),
            ];
            for outcome in outcomes {
                assert!(
                    matches!(outcome, Some(ProcessError::Gone { pid: gone }) if gone == pid),
                    "{outcome:?}"
                );
            }
        }
    }

    #[test]
    fn a_schedstat_of_another_form_is_an_error_and_not_zero() {
        for text in ["", "12", "12 5", "a b c", "-1 0 0", "1.5 0 0"] {
            assert_eq!(schedstat(text), None, "{text:?}");
        }
        let (_directory, processes) = proc(&[
            ("10/stat", "10 (server) S 1 10"),
            ("10/task/10/schedstat", "12 5"),
        ]);
        assert!(matches!(
            processes.cpu(&[10]),
            Err(ProcessError::Form { .. })
        ));
    }

    #[test]
    fn resident_memory_is_the_line_rss_in_bytes() {
        let text = "00400000-7ffd ---p 00000000 00:00 0 [rollup]\nRss:      2048 kB\nPss: 9 kB\n";
        assert_eq!(resident(text), Some(2048 * 1024));
        assert_eq!(resident("Pss: 9 kB\n"), None);
        assert_eq!(resident("Rss: 9 MB\n"), None);
    }

    #[test]
    fn our_own_work_is_seen() {
        let processes = Processes::of_this_machine();
        let pid = std::process::id();
        assert!(processes.tree(&[pid]).unwrap().contains(&pid));
        let before = processes.cpu(&[pid]).unwrap();
        let (start, mut sum) = (Instant::now(), 0_u64);
        while start.elapsed() < Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = processes.cpu(&[pid]).unwrap().since(&before);
        assert!(used.running > Duration::from_millis(1), "{used:?}");
        assert!(processes.resident(&[pid]).unwrap() > 100 * 1024);
    }
}
