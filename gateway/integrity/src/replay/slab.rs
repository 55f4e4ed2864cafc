//! A table from hashes to small values, with a fixed capacity, whose places do not move.
//!
//! Chains in one array of nodes: 20 bytes a node beside its value, 4 bytes a chain, and as many
//! chains as the capacity, rounded up to a power of two. The chain is chosen by a multiplication
//! with a secret odd number (universal hashing), so that nobody outside can fill one chain.
//! Memory is reserved from the start; the system hands it out as it is touched. What it does not
//! do: it never grows, and does not look whether what is inserted is there already.

use super::entry::Hash;

/// The table. Links are 0 for none, else one more than the place they lead to.
pub(super) struct Slab<T> {
    chains: Vec<u32>,
    nodes: Vec<Node<T>>,
    /// The first of the nodes that were given back.
    free: u32,
    length: usize,
    capacity: usize,
    multiplier: u64,
}

#[derive(Clone, Copy)]
struct Node<T> {
    key: Hash,
    next: u32,
    value: T,
}

impl<T: Copy> Slab<T> {
    /// An empty table; the capacity is cut to what a link can name.
    pub(super) fn new(capacity: usize, seed: u64) -> Slab<T> {
        let capacity = capacity.min(u32::MAX as usize - 1);
        Slab {
            chains: vec![0; capacity.next_power_of_two()],
            nodes: Vec::with_capacity(capacity),
            free: 0,
            length: 0,
            capacity,
            multiplier: seed | 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_full(&self) -> bool {
        self.length >= self.capacity
    }

    /// What it takes when it is full, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.chains.len() * size_of::<u32>() + self.capacity * size_of::<Node<T>>()
    }

    /// The place of a key.
    pub(super) fn find(&self, key: &Hash) -> Option<u32> {
        let mut next = self.chains[self.chain(key)];
        while let Some(index) = next.checked_sub(1) {
            let node = &self.nodes[index as usize];
            if node.key == *key {
                return Some(index);
            }
            next = node.next;
        }
        None
    }

    /// Puts a key that is not there into a table that is not full.
    pub(super) fn insert(&mut self, key: Hash, value: T) -> u32 {
        let chain = self.chain(&key);
        let node = Node {
            key,
            next: self.chains[chain],
            value,
        };
        let index = match self.free.checked_sub(1) {
            Some(index) => {
                self.free = self.nodes[index as usize].next;
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("the capacity is less than 2^32")
            }
        };
        self.chains[chain] = index + 1;
        self.length += 1;
        index
    }

    /// Takes what is in a place out of it.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let Node { key, next, value } = self.nodes[index as usize];
        let chain = self.chain(&key);
        if self.chains[chain] == index + 1 {
            self.chains[chain] = next;
        } else {
            let mut before = self.chains[chain] - 1;
            while self.nodes[before as usize].next != index + 1 {
                before = self.nodes[before as usize].next - 1;
            }
            self.nodes[before as usize].next = next;
        }
        self.nodes[index as usize].next = self.free;
        self.free = index + 1;
        self.length -= 1;
        value
    }

    pub(super) fn get(&self, index: u32) -> T {
        self.nodes[index as usize].value
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.nodes[index as usize].value
    }

    pub(super) fn key(&self, index: u32) -> &Hash {
        &self.nodes[index as usize].key
    }

    fn chain(&self, key: &Hash) -> usize {
        let word = u64::from_le_bytes(key[..8].try_into().expect("a hash has 16 bytes"));
        let product = word.wrapping_mul(self.multiplier);
        // The highest bits; the number of chains is a power of two, and at most 2^32.
        let chains = self.chains.len() as u64;
        usize::try_from((u128::from(product) * u128::from(chains)) >> 64)
            .expect("it is less than the number of chains")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Hash {
        let mut key = [0; 16];
        key[0] = number;
        key
    }

    #[test]
    fn places_are_given_back_and_used_again() {
        // One chain, so that every link is walked.
        let mut slab = Slab::new(3, 0);
        slab.chains = vec![0];
        for number in 1..4 {
            assert!(!slab.is_full());
            slab.insert(key(number), number);
        }
        assert!(slab.is_full());
        for (first, second) in [(2, 3), (1, 2), (3, 1)] {
            let index = slab.find(&key(first)).unwrap();
            assert_eq!(slab.remove(index), first);
            assert_eq!(slab.find(&key(first)), None);
            assert_eq!(
                slab.find(&key(second)).map(|index| slab.get(index)),
                Some(second)
            );
            assert_eq!(slab.insert(key(first), first), index);
            assert_eq!(slab.nodes.len(), 3);
        }
        assert_eq!(slab.len(), 3);
    }

    #[test]
    fn many_keys_are_spread_over_the_chains() {
        let mut slab = Slab::new(4096, 0x9e37_79b9_7f4a_7c15);
        for number in 0..4096_u64 {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_le_bytes());
            slab.insert(hash.as_ref()[..16].try_into().unwrap(), number);
        }
        let used = slab.chains.iter().filter(|chain| **chain > 0).count();
        // Of as many keys as chains, 63 % are used when chance decides.
        assert!((2400..2800).contains(&used), "{used}");
    }
}
