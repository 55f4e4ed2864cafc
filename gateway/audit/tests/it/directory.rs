//! A directory in memory that forgets, in a crash, what was not synced: contents, names, or both.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use audit::files::Files;

/// What an operation that fails has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Failed,
    /// Everything.
    FailedButDone,
    /// Of a write the first half, else nothing.
    Torn,
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// All of it is lost.
    Lost,
    /// All of it has reached the disk.
    Kept,
    /// Some of it, by this seed.
    Some(u64),
}

#[derive(Debug, Clone)]
enum Node {
    File {
        durable: Vec<u8>,
        now: Vec<u8>,
    },
    Directory {
        durable: BTreeMap<String, usize>,
        now: BTreeMap<String, usize>,
    },
}

fn directory() -> Node {
    Node::Directory {
        durable: BTreeMap::new(),
        now: BTreeMap::new(),
    }
}

#[derive(Debug)]
struct State {
    /// The first is the directory itself.
    nodes: Vec<Node>,
    operations: u64,
    /// From this operation on, so many fail in this way.
    plan: Option<(u64, u64, Fault)>,
}

/// The directory. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDirectory(Arc<Mutex<State>>);

impl Default for SimulatedDirectory {
    fn default() -> SimulatedDirectory {
        SimulatedDirectory::of(vec![directory()])
    }
}

impl SimulatedDirectory {
    fn of(nodes: Vec<Node>) -> SimulatedDirectory {
        SimulatedDirectory(Arc::new(Mutex::new(State {
            nodes,
            operations: 0,
            plan: None,
        })))
    }

    /// From now on counted, the operations from `operation` on fail, so many of them.
    pub(crate) fn fail_at(&self, operation: u64, times: u64, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        state.operations = 0;
        state.plan = Some((operation, times, fault));
    }

    /// Whether an operation has failed.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.plan.is_some_and(|plan| state.operations > plan.0)
    }

    /// The directory as a crash at this moment leaves it.
    pub(crate) fn crash(&self, crash: Crash) -> SimulatedDirectory {
        let mut seed = match crash {
            // Neighboring seeds must not be lucky alike.
            Crash::Some(seed) => (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            Crash::Lost | Crash::Kept => 1,
        };
        let mut lucky = || match crash {
            Crash::Lost => false,
            Crash::Kept => true,
            Crash::Some(_) => {
                // xorshift64
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed >> 63 != 0
            }
        };
        let mut nodes = self.0.lock().unwrap().nodes.clone();
        for node in &mut nodes {
            match node {
                Node::File { durable, now } => {
                    if lucky() {
                        durable.clone_from(now);
                    } else if lucky() && now.len() > durable.len() {
                        // The length is there, and only a part of what it is the length of.
                        let half = durable.len() + (now.len() - durable.len()) / 2;
                        let mut torn = vec![0; now.len()];
                        torn[..durable.len()].copy_from_slice(durable);
                        torn[half..].copy_from_slice(&now[half..]);
                        *durable = torn;
                    }
                    now.clone_from(durable);
                }
                Node::Directory { durable, now } => {
                    let names = durable.keys().chain(now.keys()).cloned();
                    let names: std::collections::BTreeSet<String> = names.collect();
                    for name in names {
                        if durable.get(&name) != now.get(&name) && lucky() {
                            match now.get(&name) {
                                Some(node) => durable.insert(name, *node),
                                None => durable.remove(&name),
                            };
                        }
                    }
                    now.clone_from(durable);
                }
            }
        }
        SimulatedDirectory::of(nodes)
    }

    /// All files by path.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let mut files = BTreeMap::new();
        let mut open = vec![(String::new(), 0)];
        while let Some((path, node)) = open.pop() {
            match &state.nodes[node] {
                Node::File { now, .. } => {
                    files.insert(path, now.clone());
                }
                Node::Directory { now, .. } => open.extend(now.iter().map(|(name, node)| {
                    let separator = if path.is_empty() { "" } else { "/" };
                    (format!("{path}{separator}{name}"), *node)
                })),
            }
        }
        files
    }

    /// Copies all files to a real directory.
    pub(crate) fn dump(&self, directory: &Path) {
        for (path, content) in self.files() {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    fn change(
        &self,
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let operation = state.operations;
        state.operations += 1;
        let fails =
            |plan: &(u64, u64, Fault)| (plan.0..plan.0.saturating_add(plan.1)).contains(&operation);
        let fault = state.plan.filter(fails).map(|plan| plan.2);
        let error = || io::Error::from_raw_os_error(5);
        match fault {
            Some(Fault::Failed) => Err(error()),
            Some(fault) => act(&mut state, Some(fault)).and(Err(error())),
            None => act(&mut state, None),
        }
    }
}

impl State {
    fn find(&self, path: &str) -> io::Result<usize> {
        let mut at = 0;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Directory { now, .. } = &self.nodes[at] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *now.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn names(&mut self, directory: &str) -> io::Result<&mut BTreeMap<String, usize>> {
        let node = self.find(directory)?;
        match &mut self.nodes[node] {
            Node::Directory { now, .. } => Ok(now),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn make(&mut self, path: &str, node: Node) -> io::Result<usize> {
        let made = self.nodes.len();
        self.nodes.push(node);
        let (parent, name) = split(path);
        self.names(parent)?.insert(name.to_owned(), made);
        Ok(made)
    }

    fn content(&mut self, node: usize) -> io::Result<&mut Vec<u8>> {
        match &mut self.nodes[node] {
            Node::File { now, .. } => Ok(now),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Files for SimulatedDirectory {
    fn list(&self, directory: &str) -> io::Result<Option<Vec<String>>> {
        match self.0.lock().unwrap().names(directory) {
            Ok(names) => Ok(Some(names.keys().cloned().collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        let mut state = self.0.lock().unwrap();
        let node = state.find(path)?;
        Ok(state.content(node)?.len() as u64)
    }

    fn is_directory(&self, path: &str) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().names(path).is_ok())
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let node = state.find(path)?;
        let content = state.content(node)?;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        self.change(|state, fault| {
            if fault != Some(Fault::Torn) && state.find(path).is_err() {
                state.make(path, directory())?;
            }
            Ok(())
        })
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|state, fault| {
            let empty = Node::File {
                durable: Vec::new(),
                now: Vec::new(),
            };
            let node = match state.find(path) {
                Ok(node) => node,
                Err(_) => state.make(path, empty)?,
            };
            let torn = fault == Some(Fault::Torn);
            let bytes = &bytes[..if torn { bytes.len() / 2 } else { bytes.len() }];
            let content = state.content(node)?;
            let from = usize::try_from(offset).unwrap();
            if content.len() < from + bytes.len() {
                content.resize(from + bytes.len(), 0);
            }
            content[from..from + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
    }

    fn cut(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.change(|state, fault| {
            let node = state.find(path)?;
            if fault != Some(Fault::Torn) {
                state
                    .content(node)?
                    .resize(usize::try_from(bytes).unwrap(), 0);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state, fault| {
            let node = state.find(from)?;
            let ((from, old), (to, new)) = (split(from), split(to));
            if fault != Some(Fault::Torn) {
                state.names(to)?.insert(new.to_owned(), node);
                state.names(from)?.remove(old);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(|state, fault| {
            if fault == Some(Fault::Torn) || state.find(path).is_err() {
                return Ok(());
            }
            if state.names(path).is_ok_and(|names| !names.is_empty()) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let (parent, name) = split(path);
            state.names(parent)?.remove(name);
            Ok(())
        })
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.change(|state, fault| {
            let node = state.find(path)?;
            if fault == Some(Fault::Torn) {
                return Ok(());
            }
            match &mut state.nodes[node] {
                Node::File { durable, now } => durable.clone_from(now),
                Node::Directory { durable, now } => durable.clone_from(now),
            }
            Ok(())
        })
    }
}
