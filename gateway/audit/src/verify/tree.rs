//! The tree over the entries, made again while they are walked through, and held against what is
//! signed and against every tile.
//!
//! A tile is compared when the walk fills it; partial ones are beginnings of it. The files are
//! counted at the end, so that none is there that was not compared. Memory does not grow with the
//! log.

use std::io;
use std::path::Path;

use super::report::{CheckpointFault, Finding, Report, RotationFault, Signed, TileFault};
use super::signatures::{At, Signatures, Stated};
use super::witnessed::Evidence;
use crate::checkpoints::holds;
use crate::checkpoints::store::{Stored, TILE, partials_of};
use crate::files::{Directory, Files};
use crate::merkle::hash::{self, Hash};
use crate::merkle::key::Verifier;
use crate::merkle::range::{Head, Node, Nodes as _};
use crate::merkle::rotation::Rotation;
use crate::merkle::tile::{
    self, Edge, Kind, LEVELS, Tile, TileNodes, Tiles as _, TilesError, WIDTH,
};

/// The tree of a signed log.
pub(super) struct Tree {
    files: Directory,
    edge: Edge,
    signatures: Signatures,
    /// The checkpoint that comes next.
    due: Option<Stated>,
    /// How many entries the last checkpoint claims to be about: so far, all tiles must be there.
    claimed: u64,
    /// The size of the last checkpoint whose root was reached.
    signed: u64,
}

impl Tree {
    /// The tree of the log in `directory`; nothing when it was never signed.
    pub(super) fn find(
        directory: &Path,
        live: bool,
        key: Option<&Verifier>,
        report: &mut Report,
    ) -> io::Result<Option<Tree>> {
        let signatures = Signatures::find(directory, live, key, report)?;
        let Some(mut signatures) = signatures else {
            return Ok(None);
        };
        let due = signatures.next(report)?;
        let mut tree = Tree {
            files: Directory::new(directory),
            edge: Edge::new(),
            claimed: signatures.claimed(),
            signatures,
            due,
            signed: 0,
        };
        tree.compare(report)?;
        Ok(Some(tree))
    }

    /// Whether this is another key than the one that the checkpoints are held against here.
    pub(super) fn is_other_key(&self, key: &str) -> bool {
        let known = self.signatures.lineage.current();
        known.is_some_and(|known| known.to_string() != key)
    }

    /// Takes the rotation that the entry `sequence` holds, which is the next one to take. It says what
    /// comes before it, and which key signs what it is a part of.
    pub(super) fn rotate(
        &mut self,
        sequence: u64,
        key: &str,
        note: &str,
    ) -> Result<(), RotationFault> {
        let rotation = Rotation::parse(note.as_bytes()).map_err(RotationFault::Wrong)?;
        if rotation.new_key().to_string() != key {
            return Err(RotationFault::Named);
        }
        let behind = rotation.behind();
        let is_signed = behind.size <= self.claimed.min(sequence);
        // Tiles that are none are findings of their own.
        if !is_signed || !matches!(holds(Stored(&self.files), self.claimed, behind), Ok(true)) {
            return Err(RotationFault::Behind { size: behind.size });
        }
        self.signatures.lineage.rotate(sequence, &rotation)
    }

    /// How many entries the last checkpoint claims to be about.
    pub(super) fn claimed(&self) -> u64 {
        self.claimed
    }

    /// The keys of the log, as far as they are known here.
    pub(super) fn known_keys(&self) -> Vec<Verifier> {
        self.signatures.lineage.known()
    }

    /// How many entries were taken.
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// How many they are, and the root over them.
    pub(super) fn head(&self) -> Head {
        self.edge.head()
    }

    /// Takes the next entry, by its bytes as they stand in its record.
    pub(super) fn take(&mut self, entry: &[u8], report: &mut Report) -> io::Result<()> {
        self.grow(hash::leaf(entry), report)
    }

    /// Passes entries that are lost, up to `size`, by the hashes that the tiles hold of them.
    pub(super) fn pass(
        &mut self,
        size: u64,
        evidence: &mut Evidence,
        report: &mut Report,
    ) -> io::Result<()> {
        self.signatures.lineage.break_off();
        let (claimed, files) = (self.claimed, self.files.clone());
        let mut nodes = TileNodes::new(Stored(&files), claimed);
        while self.edge.size() < size.min(claimed) {
            let index = self.edge.size();
            match nodes.node(Node { level: 0, index }) {
                Ok(leaf) => {
                    self.grow(leaf, report)?;
                    if evidence.is_due(self.size()) {
                        evidence.reach(self.head(), &self.known_keys(), report)?;
                    }
                }
                Err(TilesError::Reader(error)) => return Err(error),
                // What follows then leads to no root that was signed.
                Err(TilesError::Missing { tile }) => {
                    missing(tile, report);
                    return Ok(());
                }
                Err(TilesError::Length(error)) => {
                    differs(error.tile, report);
                    return Ok(());
                }
                Err(TilesError::Outside { .. }) => return Ok(()),
            }
        }
        Ok(())
    }

    fn grow(&mut self, leaf: Hash, report: &mut Report) -> io::Result<()> {
        let mut full: Vec<(Tile, Vec<u8>)> = Vec::new();
        self.edge.append(leaf, |tile, hashes| {
            full.push((tile, tile::encode(hashes)));
        });
        for (tile, bytes) in full {
            let is_signed = Tile::of(tile.kind(), tile.index(), self.claimed) == Some(tile);
            match Stored(&self.files).read(&tile)? {
                Some(found) if found != bytes => differs(tile, report),
                None if is_signed => missing(tile, report),
                Some(_) | None => {}
            }
            self.compare_partials(&tile, &bytes, report)?;
        }
        if self
            .due
            .as_ref()
            .is_some_and(|due| due.size <= self.edge.size())
        {
            self.compare(report)?;
        }
        Ok(())
    }

    /// Holds the tree against all checkpoints of its size.
    fn compare(&mut self, report: &mut Report) -> io::Result<()> {
        while let Some(due) = self.due.take_if(|due| due.size <= self.edge.size()) {
            match self.signatures.judge(&due, At::Place, report) {
                Some(head) if head == self.edge.head() => {
                    self.signed = head.size;
                    self.signatures.lineage.holds();
                }
                Some(head) => report.find(Finding::Checkpoint {
                    file: due.file,
                    offset: due.offset,
                    fault: CheckpointFault::Root { size: head.size },
                }),
                None => {}
            }
            self.due = self.signatures.next(report)?;
        }
        Ok(())
    }

    /// Holds every partial tile of this place against the hashes that are known of it.
    fn compare_partials(&self, place: &Tile, bytes: &[u8], report: &mut Report) -> io::Result<()> {
        let directory = partials_of(place);
        let names = match &directory {
            Some(directory) => self.files.list(directory)?,
            None => None,
        };
        for name in names.unwrap_or_default() {
            let path = format!("{}/{name}", directory.as_deref().unwrap_or_default());
            let Ok(partial) = path.parse::<Tile>() else {
                // Named when the files are counted.
                continue;
            };
            // A live log drops it when the place is full.
            let Some(found) = Stored(&self.files).read(&partial)? else {
                continue;
            };
            // One that a live log made since the walk ended goes on where the walk ended.
            let length = usize::from(partial.width()) * Hash::BYTES;
            let known = if report.live {
                length.min(bytes.len())
            } else {
                length
            };
            if found.len() != length || bytes.get(..known) != Some(&found[..known]) {
                differs(partial, report);
            }
        }
        Ok(())
    }

    /// Ends the walk: what is signed must be there, and nothing else.
    pub(super) fn end(mut self, report: &mut Report) -> io::Result<()> {
        let entries = self.edge.size();
        let mut beyond = None;
        while let Some(due) = self.due.take() {
            let judged = self.signatures.judge(&due, At::BehindTheEnd, report);
            beyond = judged.map(|head| head.size).or(beyond);
            self.due = self.signatures.next(report)?;
        }
        self.signatures.end(report);
        if let Some(signed) = beyond {
            report.find(Finding::Shorter { signed, entries });
        } else if entries >= self.claimed {
            self.compare_edge(report)?;
            self.count(report)?;
        } else {
            let signed = self.claimed;
            report.find(Finding::Shorter { signed, entries });
        }
        // What another key signed is signed by nobody.
        let is_foreign = self.signatures.lineage.is_foreign();
        let clock = self.signatures.clock;
        report.notes.extend(clock.note());
        let (checkpoints, self_asserted) = (self.signatures.count(), self.signatures.self_asserted);
        let (key, keys) = self.signatures.lineage.into_keys();
        report.signed = Some(Signed {
            entries: if is_foreign { 0 } else { self.signed },
            checkpoints: if is_foreign { 0 } else { checkpoints },
            key,
            keys: if is_foreign { Vec::new() } else { keys },
            self_asserted,
            clock,
        });
        Ok(())
    }

    /// The places that are not full, and the partial tiles that the last checkpoint asks for.
    fn compare_edge(&self, report: &mut Report) -> io::Result<()> {
        for (place, hashes) in self.edge.partial() {
            self.compare_partials(&place, &tile::encode(hashes), report)?;
        }
        for level in 0..LEVELS {
            let kind = Kind::Hashes { level };
            let index = kind.count(self.claimed) / u64::from(WIDTH);
            let Some(partial) = Tile::of(kind, index, self.claimed) else {
                continue;
            };
            // The partial one goes when the full one is there, never before.
            let mut instead = [Some(partial), partial.full()].into_iter().flatten();
            let is_there = instead.try_fold(false, |found, tile| {
                Ok::<_, io::Error>(found || Stored(&self.files).read(&tile)?.is_some())
            });
            if !is_there? {
                missing(partial, report);
            }
        }
        Ok(())
    }

    /// Looks at every name below `tile`: each must be one that was compared.
    fn count(&self, report: &mut Report) -> io::Result<()> {
        let mut directories = vec![TILE.to_owned()];
        while let Some(directory) = directories.pop() {
            for name in self.files.list(&directory)?.unwrap_or_default() {
                let path = format!("{directory}/{name}");
                if self.is_known(&path) || report.live && is_passing(&path) {
                    continue;
                }
                // Deeper than any tile there is nothing to look for.
                let is_deep = path.split('/').count() > DEEPEST;
                if !is_deep && self.files.is_directory(&path)? {
                    directories.push(path);
                } else {
                    report.find(Finding::Stranger { name: path });
                }
            }
        }
        Ok(())
    }

    fn is_known(&self, path: &str) -> bool {
        path.parse::<Tile>().is_ok_and(|tile| {
            let behind = tile.index() * u64::from(WIDTH) + u64::from(tile.width());
            tile.kind() != Kind::Entries && behind <= tile.kind().count(self.edge.size())
        })
    }
}

/// Whether this is a tile, or the folder of the partial ones of a place. A live log makes the first and
/// drops the second while they are counted; what they hold is the next verification's to compare.
fn is_passing(path: &str) -> bool {
    let tile = path.strip_suffix(".p").unwrap_or(path).parse::<Tile>();
    tile.is_ok_and(|tile| tile.kind() != Kind::Entries)
}

/// How many names the path of a tile has at most: `tile/0/x009/.../807.p/255`.
const DEEPEST: usize = 10;

fn missing(tile: Tile, report: &mut Report) {
    let fault = TileFault::Missing;
    report.find(Finding::Tile { tile, fault });
}

fn differs(tile: Tile, report: &mut Report) {
    let fault = TileFault::Differs;
    report.find(Finding::Tile { tile, fault });
}
