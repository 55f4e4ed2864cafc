//! Entry bundles: the entries below a tile of level 0, each behind its length (C2SP tlog-tiles, "Log
//! entries").
//!
//! ```text
//! bundle = (length (2, big endian)  entry) as often as the bundle is wide
//! ```
//!
//! Which entry a bundle holds says its name ([`Tile`] of [`Kind::Entries`](super::tile::Kind)). That
//! an entry is the right one shows when its leaf hash is the one in the tile.

use std::fmt;

use super::tile::{Tile, WIDTH};
use crate::entry;

/// No entry of a bundle is longer than this, bytes: its length has 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// No bundle is longer than this, bytes.
pub const MAX_BYTES: usize = WIDTH as usize * (LENGTH + MAX_ENTRY_BYTES);

const LENGTH: usize = size_of::<u16>();

/// An entry of the log fits as it is, and leaves three quarters of the room to what sealing adds.
const _: () = assert!(4 * entry::MAX_BYTES <= MAX_ENTRY_BYTES + 1);

/// Appends an entry to a bundle.
///
/// # Errors
/// [`TooLong`] beyond [`MAX_ENTRY_BYTES`]; then nothing is appended.
pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| TooLong { bytes: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of the bundle of this name, in order: exactly as many as it is wide, and nothing
/// behind them.
///
/// # Errors
/// [`BundleError`] when the bytes are not such a bundle.
pub fn entries<'a>(name: &Tile, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, BundleError> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(name.width().into());
    for entry in 0..name.width() {
        let cut = BundleError::Cut { entry };
        let (length, after) = rest.split_first_chunk::<LENGTH>().ok_or(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(cut)?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BundleError::Behind { bytes: rest.len() });
    }
    Ok(entries)
}

/// An entry is longer than a bundle can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes;
        write!(
            f,
            "an entry of {bytes} bytes; a bundle holds at most {MAX_ENTRY_BYTES}"
        )
    }
}

impl std::error::Error for TooLong {}

/// Why bytes are not the bundle of their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleError {
    /// It ends within or before an entry.
    Cut {
        /// The first that is not whole, from 0 within the bundle.
        entry: u16,
    },
    /// There is something behind its last entry.
    Behind {
        /// How much.
        bytes: usize,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleError::Cut { entry } => write!(f, "cut off at its entry {entry}"),
            BundleError::Behind { bytes } => write!(f, "{bytes} bytes behind its last entry"),
        }
    }
}

impl std::error::Error for BundleError {}

#[cfg(test)]
mod tests {
    use super::super::tile::Kind;
    use super::*;
    use proptest::prelude::*;

    fn name(width: usize) -> Tile {
        Tile::new(Kind::Entries, 0, u16::try_from(width).unwrap()).unwrap()
    }

    fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bundle = Vec::new();
        for entry in entries {
            append(&mut bundle, entry).unwrap();
        }
        bundle
    }

    proptest! {
        #[test]
        fn a_bundle_reads_back_as_it_was_written(written in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=256)) {
            let bytes = bundle(&written);
            prop_assert_eq!(entries(&name(written.len()), &bytes), Ok(written.iter().map(Vec::as_slice).collect()));
        }

        #[test]
        fn a_bundle_under_another_width_is_refused(written in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..20), width in 1..25usize) {
            let bytes = bundle(&written);
            prop_assert_eq!(entries(&name(width), &bytes).is_ok(), width == written.len());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_spelling(bytes: Vec<u8>, width in 1..20usize) {
            if let Ok(entries) = entries(&name(width), &bytes) {
                prop_assert_eq!(bundle(&entries.iter().map(|entry| entry.to_vec()).collect::<Vec<_>>()), bytes);
            }
        }
    }

    #[test]
    fn the_length_is_big_endian_and_an_entry_may_be_empty() {
        let bytes = bundle(&[vec![7; 258], Vec::new()]);
        assert_eq!(bytes[..3], [1, 2, 7]);
        assert_eq!(bytes[260..], [0, 0]);
    }

    #[test]
    fn an_entry_that_the_format_cannot_hold_is_refused() {
        let mut bundle = vec![1];
        let longest = vec![0; MAX_ENTRY_BYTES];
        assert_eq!(append(&mut bundle, &longest), Ok(()));
        let before = bundle.clone();
        let bytes = MAX_ENTRY_BYTES + 1;
        assert_eq!(append(&mut bundle, &vec![0; bytes]), Err(TooLong { bytes }));
        assert_eq!(bundle, before);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let bytes = bundle(&[vec![1; 3], vec![2; 3]]);
        let cut = |entry| Err(BundleError::Cut { entry });
        assert_eq!(entries(&name(2), &bytes[..9]), cut(1));
        assert_eq!(entries(&name(2), &bytes[..6]), cut(1));
        assert_eq!(entries(&name(2), &[]), cut(0));
        let behind = [&bytes[..], &[0]].concat();
        let behind = entries(&name(2), &behind).map(|_| ());
        assert_eq!(behind, Err(BundleError::Behind { bytes: 1 }));
    }
}
