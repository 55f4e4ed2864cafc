//! Raw targets: the path and query of a request as they were received, which may name a patient.
//!
//! ```text
//! block        commitment (24)  ciphertext      a field of the entry that it was made for
//! r            HMAC(target sub-key, counter of the entry | target)
//! commitment   HMAC(r, target), its first 24 bytes               HMAC is HMAC-SHA-256
//! nonce        counter, first 8 bytes of the commitment          AES-256-CTR, its block number from 0
//! ```
//!
//! The commitment is nonce and tag in one (a synthetic IV, as in RFC 5297): who opens the block makes r
//! and the commitment again from what came out, and takes nothing that does not lead to it. So the
//! block is 24 bytes longer than the target, what differs never shares a nonce, also on a cloned
//! machine, and r shows to anybody without a key what the target was, and nothing of another one. A
//! writer who wants to show two targets for one block has 2^96 to make (RFC 2104 5).
//!
//! A target that is longer than is kept is cut, and ends with a mark. Not here: whose readers may open
//! them (`epoch`), and in which record they stand.

use std::borrow::Cow;
use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::hpke::HpkeError;
use super::sealed::commit;
use super::subkey::{NONCE, TargetKey};

/// No target is kept longer than this, bytes, the mark included. With it and as many patients as a
/// record names an entry is not longer than entries are.
pub const MAX_BYTES: usize = 2048;

/// What sealing adds to a target, bytes.
pub const OVERHEAD: usize = 24;

/// What a target ends with that was cut: an ellipsis (U+2026). No target has it (RFC 9112 3.2).
pub const CUT: &str = "\u{2026}";

/// What is kept of a target.
#[must_use]
pub fn kept(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.len() <= MAX_BYTES {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned([&raw[..MAX_BYTES - CUT.len()], CUT.as_bytes()].concat())
    }
}

/// Whether the target in this block is `raw`, as `opening` shows: without any key, for a target that
/// somebody disclosed.
#[must_use]
pub fn discloses(block: &[u8], raw: &[u8], opening: &[u8; 32]) -> bool {
    block.len() == OVERHEAD + raw.len() && block[..OVERHEAD] == committed(opening, raw)
}

/// A target that was opened, and what shows that it is the one in the block.
pub struct OpenedTarget {
    pub(super) raw: Zeroizing<Vec<u8>>,
    pub(super) opening: Zeroizing<[u8; 32]>,
}

/// Not a byte of it.
impl fmt::Debug for OpenedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenedTarget")
    }
}

impl OpenedTarget {
    /// The target, as it is kept.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// r: with the target it satisfies [`discloses`], and tells of no other.
    #[must_use]
    pub fn opening(&self) -> &[u8; 32] {
        &self.opening
    }
}

/// Appends the block of `raw` to `out`.
///
/// # Errors
/// [`HpkeError::Library`]; `out` is then as it was.
pub(super) fn seal(
    key: &TargetKey,
    counter: u32,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), HpkeError> {
    let opening = key.derive(&[&counter.to_be_bytes(), raw]);
    let commitment = committed(&opening, raw);
    let start = out.len();
    out.extend_from_slice(&commitment);
    out.extend_from_slice(raw);
    let applied = key.apply(nonce(counter, &commitment), &mut out[start + OVERHEAD..]);
    if applied.is_err() {
        out[start..].zeroize();
        out.truncate(start);
    }
    applied
}

/// Opens the block of the entry with this counter.
///
/// # Errors
/// [`HpkeError::Open`] when it is not what was sealed for this entry.
pub(super) fn open(key: &TargetKey, counter: u32, block: &[u8]) -> Result<OpenedTarget, HpkeError> {
    let (commitment, sealed) = block
        .split_first_chunk::<OVERHEAD>()
        .ok_or(HpkeError::Open)?;
    let mut raw = Zeroizing::new(sealed.to_vec());
    key.apply(nonce(counter, commitment), &mut raw)?;
    let opening = key.derive(&[&counter.to_be_bytes(), &raw]);
    let opened = OpenedTarget { raw, opening };
    discloses(block, opened.raw(), opened.opening())
        .then_some(opened)
        .ok_or(HpkeError::Open)
}

fn committed(opening: &[u8; 32], raw: &[u8]) -> [u8; OVERHEAD] {
    let mut commitment = [0; OVERHEAD];
    commitment.copy_from_slice(&commit(opening, raw)[..OVERHEAD]);
    commitment
}

fn nonce(counter: u32, commitment: &[u8; OVERHEAD]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..4].copy_from_slice(&counter.to_be_bytes());
    nonce[4..].copy_from_slice(&commitment[..8]);
    nonce
}

#[cfg(test)]
mod tests {
    use super::super::tests::completion;
    use super::*;
    use crate::entry;
    use crate::event::{Event, Pseudonym, Subjects};

    #[test]
    fn the_longest_target_fits_an_entry_with_the_longest_list_of_patients() {
        let mut subjects = Subjects::new();
        for number in 0..u16::MAX {
            let mut patient = [0; 16];
            patient[..2].copy_from_slice(&number.to_be_bytes());
            subjects.add(Pseudonym::new(patient), usize::MAX);
        }
        for place in (0..Subjects::MOST).step_by(2) {
            let place = u16::try_from(place).unwrap();
            subjects.link(place, place + 1);
        }
        let mut entry = completion(u64::MAX, "pump");
        if let Event::Completion(completion) = &mut entry.event {
            completion.request.subjects = Some(subjects);
        }
        let block = [7; OVERHEAD + MAX_BYTES];
        entry.event = entry.event.with_target(&block);
        let mut bytes = Vec::new();
        entry::encode(&entry, &mut bytes);
        let names_of_the_operators = 1024;
        let room = entry::MAX_BYTES - names_of_the_operators;
        assert!(bytes.len() <= room, "{}", bytes.len());
        assert_eq!(entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn a_target_that_is_too_long_is_cut_and_says_so() {
        let longest = [b'x'; MAX_BYTES];
        assert_eq!(kept(&longest), &longest[..]);
        let cut = kept(&[b'x'; MAX_BYTES + 1]).into_owned();
        assert_eq!(cut.len(), MAX_BYTES);
        let text = String::from_utf8(cut).unwrap();
        assert!(text.ends_with("xxx\u{2026}"), "{text}");
    }
}
