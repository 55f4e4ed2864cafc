//! Where a tree ends: the few hashes from which it grows, and of which its root is made.
//!
//! Any run of leaves is covered by perfect subtrees, at most two of each height: a [`Range`]. The one
//! that begins with the first leaf is the [`Frontier`] of a tree; it holds one hash for each bit set
//! in the size, takes a leaf in O(log n), and gives the root. Ranges that follow each other merge, so
//! that parts of a log can be hashed apart.
//!
//! What is read back here is whole in form only. Whether its hashes are right shows when its root
//! is compared with a signed one.

use std::fmt;

use super::hash::{self, Hash};

/// No tree has more leaves than this. Other implementations of C2SP count in signed integers.
pub const MAX_SIZE: u64 = i64::MAX.cast_unsigned();

/// A tree as a whole: how many leaves, and the hash over them. One says nothing without the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// MTH(D\[size\]) of RFC 6962 2.1.
    pub root: Hash,
}

impl Head {
    /// The tree without leaves.
    pub const EMPTY: Head = Head {
        size: 0,
        root: Hash::EMPTY,
    };
}

/// The root of a perfect subtree: 2^level leaves, from leaf index * 2^level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Its height above the leaves.
    pub level: u8,
    /// Its number within the level, from the left.
    pub index: u64,
}

impl Node {
    /// The leaf of this number.
    #[must_use]
    pub const fn leaf(index: u64) -> Node {
        Node { level: 0, index }
    }

    /// The first leaf behind it, or nothing if no tree is that large.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        let leaves = 1_u64.checked_shl(self.level.into())?;
        let end = self.index.checked_add(1)?.checked_mul(leaves)?;
        (end <= MAX_SIZE).then_some(end)
    }

    fn parent(self) -> Node {
        Node {
            level: self.level + 1,
            index: self.index / 2,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of level {}", self.index, self.level)
    }
}

/// A source of the hashes of perfect subtrees: tiles, or whatever else holds a tree.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The hash of a node.
    fn node(&mut self, node: Node) -> Result<Hash, Self::Error>;
}

/// The largest perfect subtrees that cover the leaves from `begin` up to `end`, from the left.
pub fn cover(begin: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = begin;
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|left| *left > 0)?;
        let level = left.ilog2().min(at.trailing_zeros());
        let node = Node {
            level: u8::try_from(level).expect("a logarithm of a u64 is below 64"),
            index: at >> level,
        };
        at += 1 << level;
        Some(node)
    })
}

/// MTH(D\[begin:end\]) of RFC 6962 2.1, where `begin` is a multiple of a power of two that is not
/// smaller than the number of leaves, as in every subtree that a proof names.
///
/// # Errors
/// Those of the source.
pub(super) fn subtree<N: Nodes>(nodes: &mut N, begin: u64, end: u64) -> Result<Hash, N::Error> {
    let hashes = read_cover(nodes, begin, end)?;
    Ok(join(&hashes))
}

fn read_cover<N: Nodes>(nodes: &mut N, begin: u64, end: u64) -> Result<Vec<Hash>, N::Error> {
    cover(begin, end).map(|node| nodes.node(node)).collect()
}

/// The hash over subtrees that shrink from left to right.
fn join(hashes: &[Hash]) -> Hash {
    let joined = hashes.iter().rev().copied();
    joined
        .reduce(|right, left| hash::node(&left, &right))
        .unwrap_or(Hash::EMPTY)
}

/// A run of leaves as the hashes of the perfect subtrees that cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    begin: u64,
    end: u64,
    /// Those of `cover(begin, end)`.
    hashes: Vec<Hash>,
}

impl Range {
    /// The empty range before the leaf `begin`.
    ///
    /// # Errors
    /// [`RangeError::TooLarge`] beyond [`MAX_SIZE`].
    pub fn new(begin: u64) -> Result<Range, RangeError> {
        if begin > MAX_SIZE {
            return Err(RangeError::TooLarge { size: begin });
        }
        Ok(Range {
            begin,
            end: begin,
            hashes: Vec::new(),
        })
    }

    /// Its first leaf.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// The first leaf behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Takes the next leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _| {});
    }

    /// Takes the next leaf, and tells of every node that it completes, the leaf itself first.
    pub fn append_with(&mut self, leaf: Hash, made: impl FnMut(Node, Hash)) {
        self.push(Node::leaf(self.end), leaf, made);
    }

    /// Takes the leaves of `next`, which begins where this range ends.
    ///
    /// # Errors
    /// [`RangeError::Apart`] when it begins elsewhere; then nothing changes.
    pub fn merge(&mut self, next: &Range) -> Result<(), RangeError> {
        if next.begin != self.end {
            return Err(RangeError::Apart {
                end: self.end,
                begin: next.begin,
            });
        }
        for (node, hash) in cover(next.begin, next.end).zip(&next.hashes) {
            self.push(node, *hash, |_, _| {});
        }
        Ok(())
    }

    fn push(&mut self, mut node: Node, mut hash: Hash, mut made: impl FnMut(Node, Hash)) {
        // A range begins below 2^63, and nobody appends 2^63 leaves: this does not overflow.
        self.end = (node.index + 1) << node.level;
        made(node, hash);
        while node.index % 2 == 1 && (node.index - 1) << node.level >= self.begin {
            let left = self.hashes.pop();
            let left = left.expect("a range that ends at an odd node ends with the node before it");
            hash = hash::node(&left, &hash);
            node = node.parent();
            made(node, hash);
        }
        self.hashes.push(hash);
    }
}

/// The right edge of a tree: what it takes to append to it and to know its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier(Range);

impl Default for Frontier {
    fn default() -> Frontier {
        Frontier::new()
    }
}

impl Frontier {
    /// Of the tree without leaves.
    #[must_use]
    pub fn new() -> Frontier {
        Frontier(Range {
            begin: 0,
            end: 0,
            hashes: Vec::new(),
        })
    }

    /// Of the tree of `size` leaves whose hashes `nodes` knows.
    ///
    /// # Errors
    /// Those of the source.
    pub fn read<N: Nodes>(nodes: &mut N, size: u64) -> Result<Frontier, N::Error> {
        Ok(Frontier(Range {
            begin: 0,
            end: size,
            hashes: read_cover(nodes, 0, size)?,
        }))
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.end
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            size: self.size(),
            root: join(&self.0.hashes),
        }
    }

    /// Takes the next leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.0.append(leaf);
    }

    /// Takes the next leaf, and tells of every node that it completes, the leaf itself first.
    pub fn append_with(&mut self, leaf: Hash, made: impl FnMut(Node, Hash)) {
        self.0.append_with(leaf, made);
    }

    /// Takes the leaves of `next`, which begins where this tree ends.
    ///
    /// # Errors
    /// [`RangeError::Apart`] when it begins elsewhere; then nothing changes.
    pub fn merge(&mut self, next: &Range) -> Result<(), RangeError> {
        self.0.merge(next)
    }

    /// Appends its bytes to `out`: the size (8, little endian), then the hashes from the left, as
    /// many as bits are set in the size.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.size().to_le_bytes());
        for hash in &self.0.hashes {
            out.extend_from_slice(hash.bytes());
        }
    }

    /// Reads it back. The form is checked; the hashes are not, and cannot be: compare
    /// [`Frontier::head`] with a signed one.
    ///
    /// # Errors
    /// [`RangeError::Length`] when the bytes are not exactly a frontier, [`RangeError::TooLarge`]
    /// beyond [`MAX_SIZE`].
    pub fn decode(bytes: &[u8]) -> Result<Frontier, RangeError> {
        let wrong = RangeError::Length { bytes: bytes.len() };
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or(wrong)?;
        let size = u64::from_le_bytes(*size);
        if size > MAX_SIZE {
            return Err(RangeError::TooLarge { size });
        }
        let (hashes, left) = rest.as_chunks::<{ Hash::BYTES }>();
        if !left.is_empty() || hashes.len() != size.count_ones() as usize {
            return Err(wrong);
        }
        Ok(Frontier(Range {
            begin: 0,
            end: size,
            hashes: hashes.iter().copied().map(Hash::new).collect(),
        }))
    }
}

/// Why leaves do not make a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeError {
    /// The second range does not begin where the first ends.
    Apart {
        /// Where the first ends.
        end: u64,
        /// Where the second begins.
        begin: u64,
    },
    /// The bytes are not a size and as many hashes as bits are set in it.
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// No tree has that many leaves.
    TooLarge {
        /// How many were claimed.
        size: u64,
    },
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RangeError::Apart { end, begin } => {
                write!(
                    f,
                    "a range that begins at {begin} does not follow one that ends at {end}"
                )
            }
            RangeError::Length { bytes } => {
                write!(f, "{bytes} bytes are not a size and its hashes")
            }
            RangeError::TooLarge { size } => write!(f, "no tree has {size} leaves"),
        }
    }
}

impl std::error::Error for RangeError {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MTH of RFC 6962 2.1, word for word.
    pub(crate) fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY,
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                hash::node(&naive(left), &naive(right))
            }
        }
    }

    pub(crate) fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| hash::leaf(&n.to_be_bytes())).collect()
    }

    /// The leaves themselves as a source of all hashes above them.
    impl Nodes for &[Hash] {
        type Error = Node;

        fn node(&mut self, node: Node) -> Result<Hash, Node> {
            let end = usize::try_from(node.end().ok_or(node)?).unwrap();
            let below = self.get(end - (1 << node.level)..end).ok_or(node)?;
            Ok(naive(below))
        }
    }

    fn range(leaves: &[Hash], begin: usize, end: usize) -> Range {
        let mut range = Range::new(begin as u64).unwrap();
        for leaf in &leaves[begin..end] {
            range.append(*leaf);
        }
        range
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
        digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    /// What the tests of certificate-transparency and its descendants use: leaves, and the root over
    /// as many of them.
    pub(crate) fn vectors() -> Vec<(Hash, Hash)> {
        let text = include_str!("vectors.txt").lines();
        let rows = text.filter(|line| !line.starts_with('#'));
        rows.map(|row| {
            let (leaf, root) = row.split_once(' ').unwrap();
            let root = Hash::new(hex(root).try_into().unwrap());
            (hash::leaf(&hex(leaf.trim_matches('-'))), root)
        })
        .collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut frontier = Frontier::new();
        assert_eq!(frontier.head(), Head::EMPTY);
        for (leaf, root) in vectors() {
            frontier.append(leaf);
            assert_eq!(frontier.head().root, root, "of {}", frontier.size());
        }
        assert_eq!(frontier.size(), 8);
    }

    #[test]
    fn the_root_is_that_of_the_definition_for_every_size() {
        let leaves = leaves(300);
        let mut frontier = Frontier::new();
        for size in 0..leaves.len() {
            let head = Head {
                size: size as u64,
                root: naive(&leaves[..size]),
            };
            assert_eq!(frontier.head(), head);
            assert_eq!(
                Frontier::read(&mut &leaves[..], size as u64),
                Ok(frontier.clone())
            );
            frontier.append(leaves[size]);
        }
    }

    #[test]
    fn every_node_is_told_of_once_with_its_hash() {
        let leaves = leaves(200);
        let mut told = std::collections::BTreeMap::new();
        let mut frontier = Frontier::new();
        for leaf in &leaves {
            frontier.append_with(*leaf, |node, hash| {
                assert_eq!(told.insert(node, hash), None, "{node} twice");
            });
        }
        let mut expected = 0;
        for level in 0..8_u8 {
            for index in 0..(200 >> level) {
                let node = Node { level, index };
                assert_eq!((&leaves[..]).node(node), Ok(told[&node]));
                expected += 1;
            }
        }
        assert_eq!(told.len(), expected);
    }

    proptest! {
        #[test]
        fn ranges_that_follow_each_other_merge_to_the_range_of_both(mut cuts in prop::array::uniform3(0..300usize)) {
            cuts.sort_unstable();
            let leaves = leaves(300);
            let [begin, middle, end] = cuts;
            let mut merged = range(&leaves, begin, middle);
            merged.merge(&range(&leaves, middle, end)).unwrap();
            prop_assert_eq!(&merged, &range(&leaves, begin, end));
            prop_assert_eq!(merged.hashes, read_cover(&mut &leaves[..], begin as u64, end as u64).unwrap());
        }

        #[test]
        fn a_range_that_does_not_follow_changes_nothing(size in 0..100usize, begin in 0..100usize) {
            prop_assume!(size != begin);
            let leaves = leaves(200);
            let mut frontier = Frontier(range(&leaves, 0, size));
            let before = frontier.clone();
            let apart = RangeError::Apart { end: size as u64, begin: begin as u64 };
            prop_assert_eq!(frontier.merge(&range(&leaves, begin, 150)), Err(apart));
            prop_assert_eq!(frontier, before);
        }

        #[test]
        fn a_cover_is_whole_and_of_the_fewest_nodes(begin in 0..=MAX_SIZE, length in 0..=MAX_SIZE) {
            let end = begin.saturating_add(length).min(MAX_SIZE);
            let mut at = begin;
            let nodes: Vec<Node> = cover(begin, end).collect();
            for node in &nodes {
                prop_assert_eq!(node.index << node.level, at);
                at = node.end().unwrap();
            }
            prop_assert_eq!(at, end);
            // Two siblings side by side would be one node.
            for pair in nodes.windows(2) {
                prop_assert!(pair[0].level != pair[1].level || pair[0].index % 2 == 1);
            }
        }

        #[test]
        fn a_frontier_reads_back_as_it_was_written(size in 0..400usize) {
            let frontier = Frontier(range(&leaves(400), 0, size));
            let mut bytes = Vec::new();
            frontier.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), 8 + 32 * size.count_ones() as usize);
            prop_assert_eq!(Frontier::decode(&bytes), Ok(frontier));
        }

        #[test]
        fn a_changed_frontier_is_refused_or_has_another_head(size in 1..400usize, at: prop::sample::Index, flip in 1..=255u8) {
            let frontier = Frontier(range(&leaves(400), 0, size));
            let mut bytes = Vec::new();
            frontier.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(changed) = Frontier::decode(&bytes) {
                prop_assert_ne!(changed.head(), frontier.head());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0..64u64) {
            let sized = [&size.to_le_bytes()[..], &bytes].concat();
            for bytes in [bytes, sized] {
                if let Ok(frontier) = Frontier::decode(&bytes) {
                    let mut again = Vec::new();
                    frontier.encode(&mut again);
                    prop_assert_eq!(again, bytes);
                }
            }
        }
    }

    #[test]
    fn a_frontier_with_a_byte_or_a_hash_too_many_or_too_few_is_refused() {
        let mut whole = Vec::new();
        Frontier(range(&leaves(7), 0, 7)).encode(&mut whole);
        assert!(Frontier::decode(&whole).is_ok());
        let longer = [&whole[..], &[0; Hash::BYTES]].concat();
        for bytes in [
            0,
            7,
            8,
            8 + 64,
            whole.len() - 1,
            whole.len() + 1,
            longer.len(),
        ] {
            let refused = Err(RangeError::Length { bytes });
            assert_eq!(Frontier::decode(&longer[..bytes]), refused, "{bytes}");
        }
    }

    #[test]
    fn a_frontier_of_the_largest_size_takes_a_leaf_without_a_panic() {
        let mut bytes = MAX_SIZE.to_le_bytes().to_vec();
        bytes.resize(8 + 63 * Hash::BYTES, 7);
        let mut frontier = Frontier::decode(&bytes).unwrap();
        frontier.append(Hash::EMPTY);
        assert_eq!(frontier.size(), MAX_SIZE + 1);
        frontier.append(Hash::EMPTY);
        assert_eq!(frontier.size(), MAX_SIZE + 2);
    }

    #[test]
    fn sizes_that_no_tree_has_are_refused() {
        let size = MAX_SIZE + 1;
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.resize(8 + 32, 0);
        assert_eq!(Frontier::decode(&bytes), Err(RangeError::TooLarge { size }));
        assert_eq!(Range::new(size), Err(RangeError::TooLarge { size }));
        for node in [
            Node {
                level: 63,
                index: 0,
            },
            Node {
                level: 64,
                index: 0,
            },
            Node::leaf(MAX_SIZE),
            Node::leaf(u64::MAX),
        ] {
            assert_eq!(node.end(), None, "{node}");
        }
        assert_eq!(Node::leaf(MAX_SIZE - 1).end(), Some(MAX_SIZE));
    }
}
