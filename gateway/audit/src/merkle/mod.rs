//! The Merkle log: a tree over the entries, and signed statements about it (RFC 6962, C2SP).
//!
//! ```text
//! entry --> hash --> range        where the tree ends: append, root, merge
//!                      |
//!                      +--> proof an entry is in it; it only grew        (RFC 6962 2.1, RFC 9162 2.1)
//!                      +--> tile  its hashes as files, bundle its entries (C2SP tlog-tiles)
//!                      |
//! key --> note --------+--> checkpoint   origin, size, root, signed      (C2SP signed-note,
//!                                                                   tlog-checkpoint, tlog-cosignature)
//! checkpoint + proof --> offline   both as a text of its own (C2SP tlog-proof)
//! note ----------------> rotation  one key hands over to the next, signed by both
//! ```
//!
//! A [`Head`](range::Head) (size and root together) is what everything is proved against, and a
//! [`checkpoint`] is how a head gets its signatures. What was read from a disk or a peer proves
//! nothing until it was checked against a head that came out of
//! [`checkpoint::Checkpoint::open`].
//!
//! Pure: no file, clock, thread or source of randomness. Seeds, times and tiles come as arguments.

pub mod hash;

pub mod range;

pub mod proof;

pub mod tile;

pub mod bundle;

pub mod key;

pub mod note;

pub mod rotation;

pub mod checkpoint;

pub mod offline;
