//! Proofs: an entry is in the tree, and a tree only grew (RFC 6962 2.1.1 and 2.1.2).
//!
//! They are made from any source of [`Nodes`], and verified without one, as RFC 9162 2.1.3.2 and
//! 2.1.4.2 spell it. Verifying fails closed: every path that is too short, too long, or leads
//! elsewhere is an error with its reason.
//!
//! A proof is checked against a [`Head`], never against a root alone: sizes near each other give
//! proofs of the same shape, so only size and root of one signed checkpoint together mean something.

use std::fmt;

use super::hash::{self, Hash};
use super::range::{Head, Nodes, subtree};

/// A proof that one leaf is in a tree (RFC 6962 2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The number of the leaf, from 0.
    pub index: u64,
    /// PATH(index, D\[size\]): the hashes beside the way from the leaf to the root.
    pub path: Vec<Hash>,
}

impl Inclusion {
    /// Proves that the leaf `index` is in the tree of `size` leaves.
    ///
    /// # Errors
    /// [`ProveError::Outside`] when the tree has no such leaf, else those of the source.
    pub fn prove<N: Nodes>(
        nodes: &mut N,
        index: u64,
        size: u64,
    ) -> Result<Inclusion, ProveError<N::Error>> {
        if index >= size {
            return Err(ProveError::Outside { index, size });
        }
        let mut path = Vec::new();
        let (mut begin, mut end) = (0, size);
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            let beside = if index < middle {
                (middle, std::mem::replace(&mut end, middle))
            } else {
                (std::mem::replace(&mut begin, middle), middle)
            };
            path.push(subtree(nodes, beside.0, beside.1).map_err(ProveError::Nodes)?);
        }
        path.reverse();
        Ok(Inclusion { index, path })
    }

    /// Checks that `leaf` stands at its index in the tree of `head` (RFC 9162 2.1.3.2).
    ///
    /// # Errors
    /// [`ProofError`] when that is not proved.
    pub fn verify(&self, leaf: &Hash, head: &Head) -> Result<(), ProofError> {
        if self.index >= head.size {
            return Err(ProofError::Outside {
                index: self.index,
                size: head.size,
            });
        }
        let mut way = Way {
            node: self.index,
            last: head.size - 1,
        };
        let mut root = *leaf;
        for beside in &self.path {
            root = match way.step().ok_or(ProofError::Long)? {
                Side::Left => hash::node(beside, &root),
                Side::Right => hash::node(&root, beside),
            };
        }
        way.arrive(root, head)
    }
}

/// A proof that a smaller tree is the beginning of a larger one (RFC 6962 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// PROOF(from, D\[to\]). Empty when the sizes are equal, and when the smaller tree is empty.
    pub path: Vec<Hash>,
}

impl Consistency {
    /// Proves that the tree of `to` leaves begins with the tree of `from` leaves.
    ///
    /// # Errors
    /// [`ProveError::Outside`] when `from` is larger than `to`, else those of the source.
    pub fn prove<N: Nodes>(
        nodes: &mut N,
        from: u64,
        to: u64,
    ) -> Result<Consistency, ProveError<N::Error>> {
        if from > to {
            return Err(ProveError::Outside {
                index: from,
                size: to,
            });
        }
        let mut path = Vec::new();
        if from == 0 {
            return Ok(Consistency { path });
        }
        let mut add = |begin, end| -> Result<(), ProveError<N::Error>> {
            path.push(subtree(nodes, begin, end).map_err(ProveError::Nodes)?);
            Ok(())
        };
        let (mut begin, mut end) = (0, to);
        while from < end {
            let middle = begin + split(end - begin);
            if from <= middle {
                add(middle, end)?;
                end = middle;
            } else {
                add(begin, middle)?;
                begin = middle;
            }
        }
        // The verifier knows the hash of the smaller tree itself.
        if begin > 0 {
            add(begin, end)?;
        }
        path.reverse();
        Ok(Consistency { path })
    }

    /// Checks that the tree of `to` begins with the tree of `from` (RFC 9162 2.1.4.2).
    ///
    /// Every tree begins with the empty one: then there is nothing to prove, and nothing is said
    /// about `to`.
    ///
    /// # Errors
    /// [`ProofError`] when that is not proved.
    pub fn verify(&self, from: &Head, to: &Head) -> Result<(), ProofError> {
        if from.size > to.size {
            return Err(ProofError::Shrunk {
                from: from.size,
                to: to.size,
            });
        }
        if from.size == 0 || from.size == to.size {
            return self.verify_nothing_between(from, to);
        }
        let mut way = Way {
            node: from.size - 1,
            last: to.size - 1,
        };
        way.climb_while(|node| node % 2 == 1);
        let mut path = self.path.iter();
        let start = if from.size.is_power_of_two() {
            from.root
        } else {
            *path.next().ok_or(ProofError::Short)?
        };
        let (mut smaller, mut larger) = (start, start);
        for beside in path {
            match way.step().ok_or(ProofError::Long)? {
                Side::Left => {
                    smaller = hash::node(beside, &smaller);
                    larger = hash::node(beside, &larger);
                }
                Side::Right => larger = hash::node(&larger, beside),
            }
        }
        way.arrive(larger, to)?;
        same_root(smaller, from)
    }

    fn verify_nothing_between(&self, from: &Head, to: &Head) -> Result<(), ProofError> {
        if !self.path.is_empty() {
            return Err(ProofError::Long);
        }
        if from.size == to.size {
            return same_root(from.root, to);
        }
        same_root(Hash::EMPTY, from)
    }
}

/// The largest power of two that is smaller than `leaves`: where RFC 6962 2.1 splits them.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The way from a leaf to the root: where it stands in its level, and the last node of that level
/// (fn and sn of RFC 9162).
struct Way {
    node: u64,
    last: u64,
}

/// On which side of the way the next hash lies.
enum Side {
    Left,
    Right,
}

impl Way {
    /// Goes up to where a hash lies beside the way; nothing when the root is reached.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // The last node of a level goes up unchanged until it is a right child.
            self.climb_while(|node| node % 2 == 0 && node != 0);
            Side::Left
        } else {
            Side::Right
        };
        self.climb();
        Some(side)
    }

    fn climb_while(&mut self, holds: impl Fn(u64) -> bool) {
        while holds(self.node) {
            self.climb();
        }
    }

    fn climb(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    fn arrive(&self, root: Hash, head: &Head) -> Result<(), ProofError> {
        if self.last != 0 {
            return Err(ProofError::Short);
        }
        same_root(root, head)
    }
}

fn same_root(proved: Hash, head: &Head) -> Result<(), ProofError> {
    if proved == head.root {
        return Ok(());
    }
    Err(ProofError::Root {
        size: head.size,
        expected: head.root,
        proved,
    })
}

/// Why a proof cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProveError<E> {
    /// The tree is smaller than what is to be proved.
    Outside {
        /// The leaf, or the size of the smaller tree.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash of the tree cannot be had.
    Nodes(E),
}

impl<E: fmt::Display> fmt::Display for ProveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProveError::Outside { index, size } => {
                write!(f, "{index} is outside of a tree of {size} entries")
            }
            ProveError::Nodes(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for ProveError<E> {}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// The tree has no such leaf.
    Outside {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// What should be the larger tree is the smaller one.
    Shrunk {
        /// The size before.
        from: u64,
        /// The size after.
        to: u64,
    },
    /// It holds fewer hashes than there are on the way to the root.
    Short,
    /// It holds more hashes than there are on the way to the root.
    Long,
    /// It leads to another root.
    Root {
        /// The size of the tree.
        size: u64,
        /// The root that the tree is known by.
        expected: Hash,
        /// The root that the proof leads to.
        proved: Hash,
    },
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProofError::Outside { index, size } => {
                write!(f, "entry {index} is outside of a tree of {size} entries")
            }
            ProofError::Shrunk { from, to } => {
                write!(f, "the tree shrank from {from} to {to} entries")
            }
            ProofError::Short => f.write_str("the proof is too short"),
            ProofError::Long => f.write_str("the proof is too long"),
            ProofError::Root {
                size,
                expected,
                proved,
            } => write!(
                f,
                "the proof leads to the root {proved}, but the tree of {size} entries has {expected}"
            ),
        }
    }
}

impl std::error::Error for ProofError {}

#[cfg(test)]
mod tests {
    use super::super::range::tests::{leaves, naive, vectors};
    use super::*;
    use proptest::prelude::*;

    fn head(leaves: &[Hash], size: u64) -> Head {
        Head {
            size,
            root: naive(&leaves[..usize::try_from(size).unwrap()]),
        }
    }

    fn heads(leaves: &[Hash]) -> Vec<Head> {
        (0..=leaves.len() as u64)
            .map(|size| head(leaves, size))
            .collect()
    }

    /// The first four bytes of each, which is enough to know them by.
    fn hashes(path: &[Hash]) -> Vec<String> {
        let first = |hash: &Hash| u32::from_be_bytes(*hash.bytes().first_chunk().unwrap());
        path.iter()
            .map(|hash| format!("{:08x}", first(hash)))
            .collect()
    }

    #[test]
    fn proofs_are_those_of_certificate_transparency() {
        let vectors = vectors();
        let leaves: Vec<Hash> = vectors.iter().map(|(leaf, _)| *leaf).collect();
        let head = |size: u64| Head {
            size,
            root: vectors[usize::try_from(size).unwrap() - 1].1,
        };
        let inclusion: &[(u64, u64, &[&str])] = &[
            (0, 1, &[]),
            (0, 8, &["96a296d2", "5f083f0a", "6b47aaf2"]),
            (5, 8, &["bc1a0643", "ca854ea1", "d37ee418"]),
            (2, 3, &["fac54203"]),
            (1, 5, &["6e340b9c", "5f083f0a", "bc1a0643"]),
        ];
        for (index, size, path) in inclusion {
            let proof = Inclusion::prove(&mut &leaves[..], *index, *size).unwrap();
            assert_eq!(hashes(&proof.path), *path);
            let leaf = &leaves[usize::try_from(*index).unwrap()];
            assert_eq!(proof.verify(leaf, &head(*size)), Ok(()));
        }
        let consistency: &[(u64, u64, &[&str])] = &[
            (1, 1, &[]),
            (1, 8, &["96a296d2", "5f083f0a", "6b47aaf2"]),
            (6, 8, &["0ebc5d34", "ca854ea1", "d37ee418"]),
            (2, 5, &["5f083f0a", "bc1a0643"]),
        ];
        for (from, to, path) in consistency {
            let proof = Consistency::prove(&mut &leaves[..], *from, *to).unwrap();
            assert_eq!(hashes(&proof.path), *path);
            assert_eq!(proof.verify(&head(*from), &head(*to)), Ok(()));
        }
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_and_at_no_other_place() {
        let leaves = leaves(300);
        let heads = heads(&leaves);
        for size in 1..=300 {
            for index in 0..size {
                let proof = Inclusion::prove(&mut &leaves[..], index, size).unwrap();
                let place = usize::try_from(index).unwrap();
                let tree = &heads[usize::try_from(size).unwrap()];
                assert_eq!(proof.verify(&leaves[place], tree), Ok(()), "{index}/{size}");
                let beside = &leaves[(place + 1) % leaves.len()];
                assert!(proof.verify(beside, tree).is_err());
                for other in [index + 1, index ^ 1, index.wrapping_sub(1), size, u64::MAX] {
                    let moved = Inclusion {
                        index: other,
                        ..proof.clone()
                    };
                    assert!(
                        other == index || moved.verify(&leaves[place], tree).is_err(),
                        "{index} as {other} of {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_leaf_is_proved_in_no_tree_of_another_size() {
        let leaves = leaves(70);
        let heads = heads(&leaves);
        for size in 1..=70 {
            for index in 0..size {
                let proof = Inclusion::prove(&mut &leaves[..], index, size).unwrap();
                let leaf = &leaves[usize::try_from(index).unwrap()];
                for head in heads.iter().filter(|head| head.size != size) {
                    assert!(proof.verify(leaf, head).is_err(), "{index}/{size} {head:?}");
                }
            }
        }
    }

    #[test]
    fn every_growth_is_proved_and_between_no_other_trees() {
        let leaves = leaves(130);
        let heads = heads(&leaves);
        for to in &heads {
            for from in &heads[..=usize::try_from(to.size).unwrap()] {
                let proof = Consistency::prove(&mut &leaves[..], from.size, to.size).unwrap();
                assert_eq!(proof.verify(from, to), Ok(()), "{from:?} {to:?}");
                // The empty tree is the beginning of every tree, with the same proof.
                for size in [from.size + 1, from.size.wrapping_sub(1), to.size + 1] {
                    let Some(other) = heads.get(usize::try_from(size).unwrap()) else {
                        continue;
                    };
                    if from.size != 0 && size != 0 {
                        assert!(proof.verify(other, to).is_err(), "{other:?} {to:?}");
                    }
                    if from.size != 0 && size != to.size {
                        assert!(proof.verify(from, other).is_err(), "{from:?} {other:?}");
                    }
                    let mixed = Head { size, ..*from };
                    assert!(proof.verify(&mixed, to).is_err(), "{mixed:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn a_proof_that_is_cut_or_longer_proves_nothing() {
        let leaves = leaves(66);
        let heads = heads(&leaves);
        for tree in &heads[1..] {
            for index in 0..tree.size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                let whole = Inclusion::prove(&mut &leaves[..], index, tree.size).unwrap();
                let mut longer = whole.clone();
                longer.path.push(*leaf);
                assert_eq!(longer.verify(leaf, tree), Err(ProofError::Long));
                let mut shorter = whole;
                if shorter.path.pop().is_some() {
                    assert_eq!(shorter.verify(leaf, tree), Err(ProofError::Short));
                }

                let from = &heads[usize::try_from(index).unwrap()];
                let whole = Consistency::prove(&mut &leaves[..], index, tree.size).unwrap();
                let mut longer = whole.clone();
                longer.path.push(*leaf);
                assert_eq!(longer.verify(from, tree), Err(ProofError::Long));
                let mut shorter = whole;
                if shorter.path.pop().is_some() {
                    assert_eq!(shorter.verify(from, tree), Err(ProofError::Short));
                }
            }
        }
    }

    #[test]
    fn a_tree_that_shrank_or_was_replaced_is_told_apart() {
        let leaves = leaves(9);
        let nothing = Consistency { path: Vec::new() };
        let (five, nine) = (head(&leaves, 5), head(&leaves, 9));
        assert_eq!(
            nothing.verify(&nine, &five),
            Err(ProofError::Shrunk { from: 9, to: 5 })
        );
        let replaced = Head {
            root: nine.root,
            ..five
        };
        assert_eq!(
            nothing.verify(&five, &replaced),
            Err(ProofError::Root {
                size: 5,
                expected: nine.root,
                proved: five.root
            })
        );
        // The empty tree has one root only.
        let no_tree = Head {
            size: 0,
            root: five.root,
        };
        assert_eq!(nothing.verify(&Head::EMPTY, &five), Ok(()));
        assert!(nothing.verify(&no_tree, &five).is_err());
        assert!(nothing.verify(&no_tree, &Head::EMPTY).is_err());
    }

    #[test]
    fn nothing_is_proved_outside_of_the_tree() {
        let leaves = leaves(4);
        let outside = |index, size| ProveError::Outside { index, size };
        let prove = |index, size| Inclusion::prove(&mut &leaves[..], index, size);
        assert_eq!(prove(4, 4), Err(outside(4, 4)));
        assert_eq!(prove(0, 0), Err(outside(0, 0)));
        let grown = Consistency::prove(&mut &leaves[..], 5, 4);
        assert_eq!(grown, Err(outside(5, 4)));
        // The source has no such hash.
        assert!(matches!(prove(0, 8), Err(ProveError::Nodes(_))));
    }

    proptest! {
        #[test]
        fn a_changed_byte_anywhere_proves_nothing(size in 2..300u64, one: prop::sample::Index, at: prop::sample::Index, flip in 1..=255u8) {
            let leaves = leaves(size);
            let tree = head(&leaves, size);
            let index = one.index(leaves.len());
            let change = |path: &mut Vec<Hash>| {
                let at = at.index(path.len() * Hash::BYTES);
                let mut bytes = *path[at / Hash::BYTES].bytes();
                bytes[at % Hash::BYTES] ^= flip;
                path[at / Hash::BYTES] = Hash::new(bytes);
            };
            let mut proof = Inclusion::prove(&mut &leaves[..], index as u64, size).unwrap();
            change(&mut proof.path);
            prop_assert!(proof.verify(&leaves[index], &tree).is_err());

            let from = head(&leaves, index as u64);
            let mut proof = Consistency::prove(&mut &leaves[..], from.size, size).unwrap();
            if !proof.path.is_empty() {
                change(&mut proof.path);
                prop_assert!(proof.verify(&from, &tree).is_err());
            }
        }

        #[test]
        fn a_head_that_was_never_the_trees_is_consistent_with_nothing(from in 1..100u64, to in 1..100u64, byte in 0..32usize, flip in 1..=255u8) {
            let leaves = leaves(100);
            let (from, to) = (from.min(to), from.max(to));
            let proof = Consistency::prove(&mut &leaves[..], from, to).unwrap();
            let other = |head: Head| {
                let mut bytes = *head.root.bytes();
                bytes[byte] ^= flip;
                Head { root: Hash::new(bytes), ..head }
            };
            let (from, to) = (head(&leaves, from), head(&leaves, to));
            prop_assert!(proof.verify(&other(from), &to).is_err());
            prop_assert!(proof.verify(&from, &other(to)).is_err());
        }

        #[test]
        fn arbitrary_proofs_never_panic(index: u64, sizes: (u64, u64), path in prop::collection::vec(any::<[u8; 32]>(), 0..140)) {
            let path: Vec<Hash> = path.into_iter().map(Hash::new).collect();
            let tree = |size| Head { size, root: Hash::EMPTY };
            let _ = Inclusion { index, path: path.clone() }.verify(&Hash::EMPTY, &tree(sizes.0));
            let _ = Consistency { path }.verify(&tree(sizes.0), &tree(sizes.1));
        }
    }
}
