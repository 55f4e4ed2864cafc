//! Tiles: the tree as files that never change once they are full (C2SP tlog-tiles).
//!
//! A tile of level L holds up to 256 hashes of perfect subtrees of 256^L leaves; an entry bundle
//! holds the entries below a tile of level 0 (see [`bundle`](super::bundle)). Here: how tiles are
//! named, which of them a tree has, how the right edge of a growing tree fills them, and how the
//! hashes of all nodes are read back out of them.
//!
//! Nothing here knows whether a tile tells the truth: that shows when what was made of it leads to
//! a signed root.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use super::hash::{self, Hash};
use super::range::{Frontier, Head, MAX_SIZE, Node, Nodes};

/// The height of a tile: it spans this many levels of the tree.
pub const HEIGHT: u8 = 8;

/// How many hashes or entries a full tile holds.
pub const WIDTH: u16 = 1 << HEIGHT;

/// How long a full tile of hashes is, bytes. No other is longer.
pub const MAX_BYTES: usize = WIDTH as usize * Hash::BYTES;

/// The levels that a tree of [`MAX_SIZE`] can have. The format allows for 64.
pub const LEVELS: u8 = 64 / HEIGHT;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The entries themselves.
    Entries,
    /// Hashes of subtrees of 256^level leaves.
    Hashes {
        /// From 0, where the hashes are those of the leaves, up to [`LEVELS`].
        level: u8,
    },
}

impl Kind {
    /// Every kind that a tree can have, in the order in which they are to be written: what holds
    /// the data before what vouches for it.
    pub fn all() -> impl Iterator<Item = Kind> {
        let hashes = (0..LEVELS).map(|level| Kind::Hashes { level });
        std::iter::once(Kind::Entries).chain(hashes)
    }

    /// How many hashes or entries of this kind a tree of `size` leaves has.
    #[must_use]
    pub fn count(self, size: u64) -> u64 {
        match self {
            Kind::Entries => size,
            Kind::Hashes { level } => size
                .checked_shr(u32::from(level) * u32::from(HEIGHT))
                .unwrap_or(0),
        }
    }
}

/// The name of one tile: what it holds, where it stands, how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: Kind,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile of this name, if a tree can have it.
    #[must_use]
    pub fn new(kind: Kind, index: u64, width: u16) -> Option<Tile> {
        if matches!(kind, Kind::Hashes { level } if level >= LEVELS) {
            return None;
        }
        let behind = index.checked_mul(WIDTH.into())?.checked_add(width.into())?;
        let may = (1..=WIDTH).contains(&width) && behind <= kind.count(MAX_SIZE);
        may.then_some(Tile { kind, index, width })
    }

    /// The tile at this place as a tree of `size` leaves has it: full, partial, or not at all.
    #[must_use]
    pub fn of(kind: Kind, index: u64, size: u64) -> Option<Tile> {
        let before = index.checked_mul(WIDTH.into())?;
        let width = kind.count(size).checked_sub(before)?.min(WIDTH.into());
        Tile::new(kind, index, u16::try_from(width).ok()?)
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its number within its level, from the left.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds: 1 to [`WIDTH`].
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never change.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The full tile at the same place, if a tree can have it. When it is there, a partial one may
    /// go.
    #[must_use]
    pub fn full(&self) -> Option<Tile> {
        Tile::new(self.kind, self.index, WIDTH)
    }

    /// The bytes of this tile of hashes.
    ///
    /// # Errors
    /// [`LengthError`] when there are not as many hashes as the tile is wide, exactly.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Hash>, LengthError> {
        let (hashes, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
        if !rest.is_empty() || hashes.len() != usize::from(self.width) {
            return Err(LengthError {
                tile: *self,
                bytes: bytes.len(),
            });
        }
        Ok(hashes.iter().copied().map(Hash::new).collect())
    }
}

/// The bytes of a tile of these hashes.
#[must_use]
pub fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.bytes()).collect()
}

/// The tiles that a tree of `to` leaves has and one of `from` leaves had not, in the order in which
/// they are to be written: entries first, then level by level. From 0: all tiles of the tree.
pub fn grown(from: u64, to: u64) -> impl Iterator<Item = Tile> {
    Kind::all().flat_map(move |kind| {
        let (from, to) = (kind.count(from), kind.count(to));
        let width = u64::from(WIDTH);
        let places = if from < to {
            from / width..to.div_ceil(width)
        } else {
            0..0
        };
        places.filter_map(move |index| {
            let width = (to - index * width).min(width);
            Tile::new(kind, index, u16::try_from(width).ok()?)
        })
    })
}

/// The path of C2SP tlog-tiles: `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => f.write_str("tile/entries")?,
            Kind::Hashes { level } => write!(f, "tile/{level}")?,
        }
        let mut group = 1;
        while self.index / group >= GROUP {
            group *= GROUP;
        }
        while group > 1 {
            write!(f, "/x{:03}", self.index / group % GROUP)?;
            group /= GROUP;
        }
        write!(f, "/{:03}", self.index % GROUP)?;
        if self.is_full() {
            return Ok(());
        }
        write!(f, ".p/{}", self.width)
    }
}

/// Paths group the digits of a number by three.
const GROUP: u64 = 1000;

/// No path is longer than this, bytes: `tile/entries/x009/x223/x372/x036/x854/x775/807.p/255`.
const LONGEST_PATH: usize = 64;

impl FromStr for Tile {
    type Err = PathError;

    /// Reads the one spelling of a path; every other is refused.
    fn from_str(path: &str) -> Result<Tile, PathError> {
        if path.len() > LONGEST_PATH {
            return Err(PathError::Form);
        }
        let rest = path.strip_prefix("tile/").ok_or(PathError::Form)?;
        let (kind, rest) = rest.split_once('/').ok_or(PathError::Form)?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes {
                level: level.parse().map_err(|_| PathError::Form)?,
            },
        };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().map_err(|_| PathError::Form)?),
            None => (rest, WIDTH),
        };
        let mut index = 0_u64;
        for group in groups.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let group: u64 = digits.parse().map_err(|_| PathError::Form)?;
            let grown = index.checked_mul(GROUP).ok_or(PathError::Outside)?;
            index = grown.checked_add(group).ok_or(PathError::Outside)?;
        }
        let tile = Tile::new(kind, index, width).ok_or(PathError::Outside)?;
        // Signs, zeros, groups of another length, an `x` too many: each spells the tile otherwise.
        if tile.to_string() != path {
            return Err(PathError::Form);
        }
        Ok(tile)
    }
}

/// Why a path names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It is not of the form of a tile's path, or not its one spelling.
    Form,
    /// It names a place that no tree has.
    Outside,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Form => f.write_str("not the path of a tile"),
            PathError::Outside => f.write_str("the path of a tile that no tree has"),
        }
    }
}

impl std::error::Error for PathError {}

/// A tile is not as long as its width asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError {
    /// Which.
    pub tile: Tile,
    /// How long it is.
    pub bytes: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LengthError { tile, bytes } = self;
        let width = tile.width();
        write!(f, "{tile}: {bytes} bytes are not {width} hashes")
    }
}

impl std::error::Error for LengthError {}

/// Where tiles can be read.
pub trait Tiles {
    /// Why reading can fail, other than that the tile is not there.
    type Error;

    /// The bytes of a tile of hashes, or nothing if it is not there. The caller keeps what it reads
    /// within the length of a full tile and a byte, so that a wrong file is seen and not swallowed.
    fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// The hashes of a tree of a given size, out of its tiles.
///
/// A partial tile that is gone is looked for in the full one, which may have replaced it.
#[derive(Debug)]
pub struct TileNodes<R> {
    tiles: R,
    size: u64,
    /// The tiles read last: a proof comes back to the few on its way and on the right edge.
    kept: VecDeque<(Tile, Vec<Hash>)>,
}

/// Two tiles a level, so that a proof reads none twice.
const KEPT: usize = 2 * LEVELS as usize;

impl<R: Tiles> TileNodes<R> {
    /// Of the tree of `size` leaves.
    pub fn new(tiles: R, size: u64) -> TileNodes<R> {
        TileNodes {
            tiles,
            size,
            kept: VecDeque::with_capacity(KEPT),
        }
    }

    /// The hashes of one tile.
    fn hashes(&mut self, tile: Tile) -> Result<&[Hash], TilesError<R::Error>> {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == tile) {
            return Ok(&self.kept[place].1);
        }
        let hashes = self.read(tile)?;
        self.kept.truncate(KEPT - 1);
        self.kept.push_front((tile, hashes));
        Ok(&self.kept[0].1)
    }

    fn read(&mut self, tile: Tile) -> Result<Vec<Hash>, TilesError<R::Error>> {
        for named in [Some(tile), tile.full()].into_iter().flatten() {
            if let Some(bytes) = self.tiles.read(&named).map_err(TilesError::Reader)? {
                let mut hashes = named.decode(&bytes).map_err(TilesError::Length)?;
                hashes.truncate(tile.width.into());
                return Ok(hashes);
            }
        }
        Err(TilesError::Missing { tile })
    }
}

impl<R: Tiles> Nodes for TileNodes<R> {
    type Error = TilesError<R::Error>;

    fn node(&mut self, node: Node) -> Result<Hash, Self::Error> {
        let size = self.size;
        let outside = TilesError::Outside { node, size };
        let Some(tile) = node.end().filter(|end| *end <= size).and_then(|_| {
            let level = node.level / HEIGHT;
            let index = node.index >> (HEIGHT - node.level % HEIGHT);
            Tile::of(Kind::Hashes { level }, index, size)
        }) else {
            return Err(outside);
        };
        let count = 1_usize << (node.level % HEIGHT);
        let first = node.index * count as u64 % u64::from(WIDTH);
        let first = usize::try_from(first).expect("a place within a tile");
        let hashes = self.hashes(tile)?;
        let below = hashes.get(first..first + count).ok_or(outside)?;
        Ok(perfect(below))
    }
}

/// The hash over a power of two of hashes.
fn perfect(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let (pairs, _) = level.as_chunks::<2>();
        level = pairs
            .iter()
            .map(|[left, right]| hash::node(left, right))
            .collect();
    }
    level.first().copied().unwrap_or(Hash::EMPTY)
}

/// Why a hash cannot be read out of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilesError<E> {
    /// The tree has no such node.
    Outside {
        /// Which.
        node: Node,
        /// The size of the tree.
        size: u64,
    },
    /// A tile is not there, nor the full one that may have replaced it.
    Missing {
        /// Which.
        tile: Tile,
    },
    /// A tile is not as long as its width asks.
    Length(LengthError),
    /// Reading failed.
    Reader(E),
}

impl<E: fmt::Display> fmt::Display for TilesError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TilesError::Outside { node, size } => {
                write!(f, "{node} is outside of a tree of {size} entries")
            }
            TilesError::Missing { tile } => write!(f, "{tile} is missing"),
            TilesError::Length(error) => error.fmt(f),
            TilesError::Reader(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for TilesError<E> {}

/// The right edge of a growing tree: its frontier, and the hashes of its partial tiles. Bounded: at
/// most 255 hashes a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    frontier: Frontier,
    /// The hashes of the partial tile of each level; empty where the tree has none.
    partial: Vec<Vec<Hash>>,
}

impl Default for Edge {
    fn default() -> Edge {
        Edge::new()
    }
}

impl Edge {
    /// Of the tree without leaves.
    #[must_use]
    pub fn new() -> Edge {
        Edge {
            frontier: Frontier::new(),
            partial: vec![Vec::new(); LEVELS.into()],
        }
    }

    /// Of the tree of `size` leaves that lies in `tiles`. Every hash in a partial tile counts for
    /// the root, so an edge whose [`Edge::head`] is the signed one holds the right hashes.
    ///
    /// # Errors
    /// [`TilesError`] when a tile of the edge is not there or not whole.
    pub fn read<R: Tiles>(tiles: R, size: u64) -> Result<Edge, TilesError<R::Error>> {
        let mut nodes = TileNodes::new(tiles, size);
        let frontier = Frontier::read(&mut nodes, size)?;
        let mut partial = Vec::with_capacity(LEVELS.into());
        for level in 0..LEVELS {
            let kind = Kind::Hashes { level };
            let last = Tile::of(kind, kind.count(size) / u64::from(WIDTH), size);
            partial.push(match last {
                Some(tile) => nodes.hashes(tile)?.to_vec(),
                None => Vec::new(),
            });
        }
        Ok(Edge { frontier, partial })
    }

    /// Size and root of the tree.
    #[must_use]
    pub fn head(&self) -> Head {
        self.frontier.head()
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Takes the next leaf, and hands over every tile that it makes full.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[Hash])) {
        let partial = &mut self.partial;
        self.frontier.append_with(leaf, |node, hash| {
            if !node.level.is_multiple_of(HEIGHT) {
                return;
            }
            let level = node.level / HEIGHT;
            let hashes = &mut partial[usize::from(level)];
            hashes.push(hash);
            if hashes.len() == usize::from(WIDTH) {
                let tile = Tile {
                    kind: Kind::Hashes { level },
                    index: node.index / u64::from(WIDTH),
                    width: WIDTH,
                };
                full(tile, hashes);
                hashes.clear();
            }
        });
    }

    /// The partial tiles, from the leaves up.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let size = self.frontier.size();
        let levels = (0..LEVELS).zip(&self.partial);
        levels.filter_map(move |(level, hashes)| {
            let kind = Kind::Hashes { level };
            let tile = Tile::of(kind, kind.count(size) / u64::from(WIDTH), size)?;
            Some((tile, &hashes[..]))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::proof::{Consistency, Inclusion};
    use super::super::range::tests::{leaves, naive};
    use super::*;
    use proptest::prelude::*;

    fn tile(path: &str) -> Tile {
        path.parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A directory.
    type Files = BTreeMap<String, Vec<u8>>;

    impl Tiles for &Files {
        type Error = std::convert::Infallible;

        fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Self::Error> {
            Ok(self.get(&tile.to_string()).cloned())
        }
    }

    /// Writes the tiles of a tree of these leaves, which grew in steps of `step`.
    fn write(leaves: &[Hash], step: usize) -> (Edge, Files) {
        let mut files = Files::new();
        let mut edge = Edge::new();
        for grown in leaves.chunks(step) {
            for leaf in grown {
                edge.append(*leaf, |tile, hashes| {
                    files.insert(tile.to_string(), encode(hashes));
                });
            }
            for (tile, hashes) in edge.partial() {
                files.insert(tile.to_string(), encode(hashes));
            }
        }
        (edge, files)
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let hashes = |level| Kind::Hashes { level };
        for (path, kind, index, width) in [
            ("tile/0/x001/x234/067", hashes(0), 1_234_067, 256),
            ("tile/0/000", hashes(0), 0, 256),
            ("tile/0/273.p/112", hashes(0), 273, 112),
            ("tile/2/000.p/1", hashes(2), 0, 1),
            ("tile/1/x001/000", hashes(1), 1000, 256),
            // The last of their levels in the largest tree.
            ("tile/7/000.p/127", hashes(7), 0, 127),
            ("tile/6/127.p/255", hashes(6), 127, 255),
            ("tile/entries/999.p/255", Kind::Entries, 999, 255),
            (
                "tile/entries/x001/x000/x000/000",
                Kind::Entries,
                1_000_000_000,
                256,
            ),
            (
                "tile/entries/x036/x028/x797/x018/x963/967.p/255",
                Kind::Entries,
                MAX_SIZE / 256,
                255,
            ),
        ] {
            let tile = Tile::new(kind, index, width).unwrap();
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse(), Ok(tile));
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (path, error) in [
            ("", PathError::Form),
            ("tile", PathError::Form),
            ("tile/0", PathError::Form),
            ("tile/0/", PathError::Form),
            ("/tile/0/000", PathError::Form),
            ("tile/0/000/", PathError::Form),
            ("tile/0/0", PathError::Form),
            ("tile/0/0000", PathError::Form),
            ("tile/0/x000/067", PathError::Form),
            ("tile/0/001/067", PathError::Form),
            ("tile/0/x001", PathError::Form),
            ("tile/0/xx01/067", PathError::Form),
            ("tile/0/x1/067", PathError::Form),
            ("tile/0/+01", PathError::Form),
            ("tile/0/-01", PathError::Form),
            ("tile/00/001", PathError::Form),
            ("tile/+1/001", PathError::Form),
            ("tile/data/001", PathError::Form),
            ("tile/0/../001", PathError::Form),
            ("tile/0/001.p/01", PathError::Form),
            ("tile/0/001.p/256", PathError::Form),
            ("tile/0/001.p/", PathError::Form),
            ("tile/0/001.p/1/2", PathError::Form),
            ("tile/0/001.p/1.p/1", PathError::Form),
            ("tile/0/001.p", PathError::Form),
            ("tile/0/\u{0661}01", PathError::Form),
            ("tile/0/001.p/0", PathError::Outside),
            ("tile/0/001.p/257", PathError::Outside),
            ("tile/8/000", PathError::Outside),
            ("tile/63/000", PathError::Outside),
            ("tile/7/000", PathError::Outside),
            ("tile/6/127", PathError::Outside),
            (
                "tile/entries/x036/x028/x797/x018/x963/967",
                PathError::Outside,
            ),
            (
                "tile/0/x999/x999/x999/x999/x999/x999/999",
                PathError::Outside,
            ),
        ] {
            assert_eq!(path.parse::<Tile>(), Err(error), "{path}");
        }
    }

    #[test]
    fn the_tiles_of_a_tree_are_those_of_the_specification() {
        // The examples of tlog-tiles, "Partial Tiles".
        let tiles: Vec<Tile> = grown(0, 70_000).collect();
        let of = |kind, full| {
            let found = tiles.iter().filter(|tile| tile.kind() == kind);
            let found: Vec<_> = found.filter(|tile| tile.is_full() == full).collect();
            (found.len(), found.first().map(|tile| tile.width()))
        };
        for kind in [Kind::Entries, Kind::Hashes { level: 0 }] {
            assert_eq!(of(kind, true), (273, Some(256)));
            assert_eq!(of(kind, false), (1, Some(112)));
        }
        assert_eq!(of(Kind::Hashes { level: 1 }, true), (1, Some(256)));
        assert_eq!(of(Kind::Hashes { level: 1 }, false), (1, Some(17)));
        assert_eq!(of(Kind::Hashes { level: 2 }, true), (0, None));
        assert_eq!(of(Kind::Hashes { level: 2 }, false), (1, Some(1)));
        assert_eq!(tiles.len(), 274 + 274 + 2 + 1);
        let tiles: Vec<String> = grown(0, 256).map(|tile| tile.to_string()).collect();
        assert_eq!(tiles, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    }

    #[test]
    fn a_tree_that_does_not_grow_has_no_new_tiles() {
        for (from, to) in [(0, 0), (5, 5), (256, 256), (9, 5), (u64::MAX, u64::MAX)] {
            assert_eq!(grown(from, to).count(), 0, "{from} {to}");
        }
        let tiles: Vec<String> = grown(255, 257).map(|tile| tile.to_string()).collect();
        assert_eq!(
            tiles,
            [
                "tile/entries/000",
                "tile/entries/001.p/1",
                "tile/0/000",
                "tile/0/001.p/1",
                "tile/1/000.p/1"
            ]
        );
    }

    #[test]
    fn what_the_edge_writes_is_what_the_tree_has() {
        let leaves = leaves(66_000);
        let mut edge = Edge::new();
        let mut from = 0;
        for step in [1, 254, 1, 1, 300, 65_000, 443] {
            let mut written = BTreeSet::new();
            let to = from + step;
            for leaf in &leaves[from..to] {
                edge.append(*leaf, |tile, hashes| {
                    assert_eq!(hashes.len(), 256);
                    written.insert(tile);
                });
            }
            let new: BTreeSet<Tile> = grown(from as u64, to as u64)
                .filter(|tile| tile.kind() != Kind::Entries)
                .collect();
            for (tile, hashes) in edge.partial() {
                assert_eq!(hashes.len(), usize::from(tile.width()));
                // Of a level that did not grow, the partial tile stands already.
                if new.contains(&tile) {
                    written.insert(tile);
                }
            }
            assert_eq!(written, new, "{from} {to}");
            from = to;
        }
        assert_eq!(from, 66_000);
    }

    #[test]
    fn proofs_out_of_tiles_verify() {
        let leaves = leaves(1000);
        let (edge, files) = write(&leaves, 100);
        let head = edge.head();
        assert_eq!(head.root, naive(&leaves));
        let mut nodes = TileNodes::new(&files, 1000);
        for index in (0..1000).step_by(37).chain([0, 255, 256, 511, 768, 999]) {
            let proof = Inclusion::prove(&mut nodes, index, 1000).unwrap();
            let leaf = &leaves[usize::try_from(index).unwrap()];
            assert_eq!(proof.verify(leaf, &head), Ok(()));
        }
        for from in [1_u16, 2, 255, 256, 257, 512, 700, 999, 1000] {
            let size = u64::from(from);
            let proof = Consistency::prove(&mut nodes, size, 1000).unwrap();
            let root = naive(&leaves[..from.into()]);
            assert_eq!(proof.verify(&Head { size, root }, &head), Ok(()));
        }
    }

    #[test]
    fn an_edge_reads_back_out_of_the_tiles_of_any_size() {
        let leaves = leaves(1100);
        let (_, files) = write(&leaves, 1);
        let mut edge = Edge::new();
        for size in 0..=1100 {
            assert_eq!(Edge::read(&files, size), Ok(edge.clone()), "{size}");
            if let Some(leaf) = leaves.get(usize::try_from(size).unwrap()) {
                edge.append(*leaf, |_, _| {});
            }
        }
        // One leaf above a whole tile of tiles.
        let leaves: Vec<Hash> = leaves.iter().copied().cycle().take(65_537).collect();
        let (edge, files) = write(&leaves, 65_537);
        assert_eq!(Edge::read(&files, 65_537), Ok(edge));
    }

    #[test]
    fn a_partial_tile_that_is_gone_is_read_from_the_full_one() {
        let leaves = leaves(520);
        let (_, mut files) = write(&leaves, 300);
        assert!(files.remove("tile/0/001.p/44").is_some());
        let mut nodes = TileNodes::new(&files, 300);
        assert_eq!(
            Frontier::read(&mut nodes, 300).unwrap().head().root,
            naive(&leaves[..300])
        );
        files.remove("tile/0/001");
        let mut nodes = TileNodes::new(&files, 300);
        let missing = TilesError::Missing {
            tile: tile("tile/0/001.p/44"),
        };
        assert_eq!(Frontier::read(&mut nodes, 300), Err(missing));
    }

    #[test]
    fn a_tile_of_another_length_is_refused() {
        let (_, files) = write(&leaves(300), 300);
        let name = "tile/0/001.p/44";
        for bytes in [0, 1, 43 * 32, 44 * 32 - 1, 44 * 32 + 1, 45 * 32, 8192] {
            let mut files = files.clone();
            files.insert(name.to_owned(), vec![0; bytes]);
            let error = TilesError::Length(LengthError {
                tile: tile(name),
                bytes,
            });
            let mut nodes = TileNodes::new(&files, 300);
            assert_eq!(nodes.node(Node::leaf(299)), Err(error));
        }
    }

    #[test]
    fn an_edge_of_the_largest_size_takes_a_leaf_without_a_panic() {
        /// Whatever is asked for is there.
        struct Anything;
        impl Tiles for Anything {
            type Error = std::convert::Infallible;
            fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Self::Error> {
                Ok(Some(vec![0; usize::from(tile.width()) * Hash::BYTES]))
            }
        }
        let mut edge = Edge::read(Anything, MAX_SIZE).unwrap();
        let mut full = Vec::new();
        edge.append(Hash::EMPTY, |tile, _| full.push(tile));
        // Every partial tile but the topmost became full.
        assert_eq!(full.len(), usize::from(LEVELS) - 1);
        assert!(Edge::read(Anything, MAX_SIZE + 1).is_err());
    }

    #[test]
    fn a_node_that_the_tree_does_not_have_is_refused_before_a_tile_is_read() {
        // Of no file that is asked for it would be said that it is missing.
        let files = Files::new();
        for (level, index) in [
            (0, 300),
            (0, u64::MAX),
            (1, 150),
            (8, 1),
            (9, 0),
            (63, 0),
            (64, 0),
            (255, u64::MAX),
        ] {
            let node = Node { level, index };
            let outside = TilesError::Outside { node, size: 300 };
            assert_eq!(TileNodes::new(&files, 300).node(node), Err(outside));
        }
    }

    #[test]
    fn a_proof_reads_no_tile_twice_and_keeps_few() {
        struct Counted<'a>(&'a Files, Vec<Tile>);
        impl Tiles for &mut Counted<'_> {
            type Error = std::convert::Infallible;
            fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Self::Error> {
                self.1.push(*tile);
                (&mut &*self.0).read(tile)
            }
        }
        let leaves: Vec<Hash> = leaves(500).iter().copied().cycle().take(66_100).collect();
        let (_, files) = write(&leaves, 66_100);
        let mut counted = Counted(&files, Vec::new());
        let mut nodes = TileNodes::new(&mut counted, 66_100);
        Inclusion::prove(&mut nodes, 12_345, 66_100).unwrap();
        assert!(nodes.kept.len() <= KEPT);
        let read: BTreeSet<Tile> = counted.1.iter().copied().collect();
        assert_eq!(read.len(), counted.1.len(), "{:?}", counted.1);
        assert!(read.len() <= 5, "{read:?}");
    }

    proptest! {
        #[test]
        fn a_path_reads_back(level in 0..LEVELS, entries: bool, index: u64, shift in 0..64u32, width in 1..=256u16) {
            let kind = if entries { Kind::Entries } else { Kind::Hashes { level } };
            if let Some(tile) = Tile::new(kind, index >> shift, width) {
                prop_assert!(tile.to_string().len() <= LONGEST_PATH);
                prop_assert_eq!(tile.to_string().parse(), Ok(tile));
            }
        }

        #[test]
        fn arbitrary_paths_never_panic_and_have_one_spelling(path in "(tile/)?(entries|[0-9]{1,2})?/?(x?[0-9]{3}/){0,7}[0-9]{3}(\\.p/[0-9]{1,3})?|\\PC{0,70}") {
            if let Ok(tile) = path.parse::<Tile>() {
                prop_assert_eq!(tile.to_string(), path);
            }
        }

        #[test]
        fn growing_in_steps_makes_the_tiles_of_growing_at_once(a in 0..100_000u64, b in 0..2000u64, c in 0..2000u64) {
            let (middle, end) = (a + b, a + b + c);
            let steps = grown(a, middle).chain(grown(middle, end));
            // What is partial in the middle may be replaced.
            let steps: BTreeSet<Tile> = steps
                .filter(|tile| tile.is_full() || Tile::of(tile.kind(), tile.index(), end) == Some(*tile))
                .collect();
            prop_assert_eq!(steps, grown(a, end).collect::<BTreeSet<_>>());
        }

        #[test]
        fn a_changed_byte_of_a_tile_shows_in_the_root(size in 1..700usize, which: prop::sample::Index, at: prop::sample::Index, flip in 1..=255u8) {
            let leaves = leaves(700);
            let (edge, mut files) = write(&leaves[..size], size);
            // All hashes of a tile count for the root where they are no summary of a full tile below,
            // so look at the bottom.
            let names: Vec<String> = files.keys().filter(|name| name.starts_with("tile/0/")).cloned().collect();
            let bytes = files.get_mut(which.get(&names)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let nodes = |files: &Files| {
                let mut frontier = Frontier::new();
                for index in 0..size as u64 {
                    frontier.append(TileNodes::new(files, size as u64).node(Node::leaf(index)).unwrap());
                }
                frontier.head()
            };
            prop_assert_ne!(nodes(&files), edge.head());
        }
    }
}
