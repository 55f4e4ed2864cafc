//! The format of a segment file: one header block, then batches, each on a block boundary.
//!
//! ```text
//! segment = header block (4096)  batch  batch  ...  zeros (not written yet)
//! batch   = head (72)  records  hash (32)  zeros up to the next block
//! record  = length (4, little endian)  entry
//! ```
//!
//! The hash of a batch covers its head and records, and the head holds the hash of what came before:
//! the batch before it or, for the first batch of a segment, the segment's header; the header holds
//! the hash of the last batch of the segment before. So everything up to a batch is fixed by its
//! hash. This is a chain against accidents and edits of single places; it is not signed, so it
//! proves nothing against somebody who can write the whole directory anew.
//!
//! Pure: bytes in, bytes out. A block is what the disk writes at once; a batch that was reported
//! durable is never touched again, so at most the last batch of a log can be torn.

use std::fmt;

use crate::digest::{HASH, Hash, sha256};

/// Batches begin and end at multiples of this, bytes.
pub const BLOCK: usize = 4096;

/// No batch is longer than this, padding included, bytes.
pub const MAX_BATCH: usize = 1024 * 1024;

/// What a batch adds to its records before padding, bytes.
pub const BATCH_OVERHEAD: usize = HEAD + HASH;

/// What a record adds to its entry, bytes.
pub const RECORD_OVERHEAD: usize = 4;

const SEGMENT_MAGIC: &[u8; 16] = b"phigate segment\n";
const BATCH_MAGIC: &[u8; 4] = b"pbat";
const VERSION: u32 = 1;
const HEAD: usize = 72;
/// The first block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which log it belongs to: random, drawn when the log was made.
    pub log: [u8; 16],
    /// Its number; the first is 1.
    pub number: u64,
    /// The sequence number of its first entry.
    pub first_sequence: u64,
    /// Hash of the last batch before it (or of the header before it, when that segment holds no
    /// batch); zeros for the first segment.
    pub previous: Hash,
    /// Where the log ends in the segment before it, bytes; 0 for the first segment. What lies
    /// behind was never acknowledged.
    pub previous_end: u64,
    /// Whether the segment before it was given up because a write failed; then the remains of that
    /// write may lie behind its end.
    pub previous_failed: bool,
}

impl SegmentHeader {
    /// The block that stands for it.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut writer = Fields(&mut block);
        writer.put(SEGMENT_MAGIC);
        writer.put(&VERSION.to_le_bytes());
        writer.put(&u32::from(self.previous_failed).to_le_bytes());
        writer.put(&self.log);
        writer.put(&self.number.to_le_bytes());
        writer.put(&self.first_sequence.to_le_bytes());
        writer.put(&self.previous);
        writer.put(&self.previous_end.to_le_bytes());
        let hash = sha256(&[&block[..BLOCK - HASH]]);
        block[BLOCK - HASH..].copy_from_slice(&hash);
        block
    }

    /// Reads a header block.
    ///
    /// # Errors
    /// [`Fault::Blank`] when nothing was ever written there, else what is wrong with it.
    pub fn decode(block: &[u8]) -> Result<SegmentHeader, Fault> {
        let Some(block) = block.get(..BLOCK) else {
            return Err(Fault::Short);
        };
        if is_blank(block) {
            return Err(Fault::Blank);
        }
        let mut reader = Reader(block);
        if reader.take::<16>() != *SEGMENT_MAGIC {
            return Err(Fault::Magic);
        }
        let version = u32::from_le_bytes(reader.take());
        if version != VERSION {
            return Err(Fault::Version { version });
        }
        if sha256(&[&block[..BLOCK - HASH]]) != block[BLOCK - HASH..] {
            return Err(Fault::Checksum);
        }
        let previous_failed = match u32::from_le_bytes(reader.take()) {
            0 => false,
            1 => true,
            _ => return Err(Fault::Padding),
        };
        Ok(SegmentHeader {
            previous_failed,
            log: reader.take(),
            number: u64::from_le_bytes(reader.take()),
            first_sequence: u64::from_le_bytes(reader.take()),
            previous: reader.take(),
            previous_end: u64::from_le_bytes(reader.take()),
        })
    }

    /// What the first batch of the segment names as the hash before it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        sha256(&[&self.encode()])
    }
}

/// Where a batch stands in the log: what must agree between its head and its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Sequence number of its first entry.
    pub sequence: u64,
    /// Hash of what came before.
    pub previous: Hash,
}

/// Writes the batch that holds `records` (each with its length before it) into `out`, padded to
/// whole blocks, and returns its hash.
///
/// `out` is cleared first. The caller keeps `records` within [`MAX_BATCH`].
pub fn encode_batch(place: &Place, count: u32, records: &[u8], out: &mut Vec<u8>) -> Hash {
    out.clear();
    let length = u32::try_from(records.len()).expect("the caller bounds a batch by MAX_BATCH");
    out.extend_from_slice(BATCH_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&place.sequence.to_le_bytes());
    out.extend_from_slice(&place.segment.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&place.previous);
    debug_assert_eq!(out.len(), HEAD);
    out.extend_from_slice(records);
    let hash = sha256(&[out]);
    out.extend_from_slice(&hash);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    hash
}

/// A batch that was read back and found whole and in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// How many records it holds.
    pub count: u32,
    /// Its records, each with its length before it.
    pub records: &'a [u8],
    /// Its hash.
    pub hash: Hash,
    /// How long it is, padding included, bytes.
    pub bytes: usize,
}

impl<'a> Batch<'a> {
    /// Its entries in order. `decode_batch` has checked that the lengths add up.
    pub fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        split(self.records)
    }
}

/// The entries in `records`; ends early where a length does not fit.
pub fn split(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (entry, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(entry)
    })
}

/// Reads the batch at the start of `bytes`, which must be the one that belongs at `place`.
///
/// # Errors
/// [`Fault::Blank`] when its first block was never written, else what is wrong with it.
pub fn decode_batch<'a>(bytes: &'a [u8], place: &Place) -> Result<Batch<'a>, Fault> {
    let (batch, found) = decode_anywhere(bytes)?;
    if found.segment != place.segment {
        return Err(Fault::Segment {
            found: found.segment,
        });
    }
    if found.sequence != place.sequence {
        return Err(Fault::Sequence {
            found: found.sequence,
        });
    }
    if found.previous != place.previous {
        return Err(Fault::Link);
    }
    Ok(batch)
}

/// Reads the batch at the start of `bytes` wherever it belongs, and says where that is.
///
/// # Errors
/// As [`decode_batch`], but for its place.
pub fn decode_anywhere(bytes: &[u8]) -> Result<(Batch<'_>, Place), Fault> {
    let Head {
        count,
        place,
        end,
        padded,
    } = Head::decode(bytes)?;
    let Some(whole) = bytes.get(..padded) else {
        return Err(Fault::Short);
    };
    let hash = sha256(&[&whole[..end]]);
    if hash != whole[end..end + HASH] {
        return Err(Fault::Checksum);
    }
    if !is_blank(&whole[end + HASH..]) {
        return Err(Fault::Padding);
    }
    let records = &whole[HEAD..end];
    let batch = Batch {
        count,
        records,
        hash,
        bytes: padded,
    };
    let held: usize = batch
        .entries()
        .map(|entry| entry.len() + RECORD_OVERHEAD)
        .sum();
    if held != records.len() || batch.entries().count() != count as usize {
        return Err(Fault::Records);
    }
    Ok((batch, place))
}

/// How many bytes a batch takes on disk, whose first block this is; nothing when it is none.
pub fn extent(first: &[u8]) -> Option<usize> {
    Head::decode(first).ok().map(|head| head.padded)
}

/// What stands before the records of a batch.
struct Head {
    count: u32,
    place: Place,
    /// Where its records end, bytes from its start.
    end: usize,
    /// What it takes on disk, bytes.
    padded: usize,
}

impl Head {
    fn decode(bytes: &[u8]) -> Result<Head, Fault> {
        let Some(first) = bytes.get(..BLOCK) else {
            return Err(if is_blank(bytes) {
                Fault::Blank
            } else {
                Fault::Short
            });
        };
        let mut reader = Reader(first);
        if reader.take::<4>() != *BATCH_MAGIC {
            return Err(if is_blank(first) {
                Fault::Blank
            } else {
                Fault::Magic
            });
        }
        let version = u32::from_le_bytes(reader.take());
        if version != VERSION {
            return Err(Fault::Version { version });
        }
        let length = u32::from_le_bytes(reader.take()) as usize;
        let count = u32::from_le_bytes(reader.take());
        let sequence = u64::from_le_bytes(reader.take());
        let segment = u64::from_le_bytes(reader.take());
        let _: [u8; 8] = reader.take();
        let previous = reader.take();
        let end = HEAD + length;
        let padded = (end + HASH).next_multiple_of(BLOCK);
        if padded > MAX_BATCH {
            return Err(Fault::Length { length });
        }
        Ok(Head {
            count,
            place: Place {
                segment,
                sequence,
                previous,
            },
            end,
            padded,
        })
    }
}

/// True when all of `bytes` are zero.
#[must_use]
pub fn is_blank(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    bytes
        .chunks(BLOCK)
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// What is wrong with a header or a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was ever written there.
    Blank,
    /// The file ends within it.
    Short,
    /// It does not begin as one.
    Magic,
    /// It is of a version that this program does not know.
    Version {
        /// Which.
        version: u32,
    },
    /// Its length cannot be.
    Length {
        /// What it claims, bytes of records.
        length: usize,
    },
    /// Its hash does not match its bytes.
    Checksum,
    /// There is something where zeros should be.
    Padding,
    /// The lengths of its records do not add up.
    Records,
    /// It belongs to another segment.
    Segment {
        /// Which.
        found: u64,
    },
    /// It does not continue the sequence.
    Sequence {
        /// The sequence number that it begins with.
        found: u64,
    },
    /// It does not continue what came before: the hash that it names is another.
    Link,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Blank => f.write_str("never written"),
            Fault::Short => f.write_str("cut off"),
            Fault::Magic => f.write_str("not of this format"),
            Fault::Version { version } => write!(f, "of unknown version {version}"),
            Fault::Length { length } => write!(f, "of impossible length {length}"),
            Fault::Checksum => f.write_str("changed after it was written, or torn"),
            Fault::Padding => f.write_str("followed by bytes that do not belong there"),
            Fault::Records => f.write_str("made of records that do not add up"),
            Fault::Segment { found } => write!(f, "moved here from segment {found}"),
            Fault::Sequence { found } => write!(f, "out of order: it begins with entry {found}"),
            Fault::Link => f.write_str("not the continuation of what stands before it"),
        }
    }
}

/// Writes fixed-size fields one after another.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (field, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// Reads fixed-size fields one after another, from a block that is longer than their sum.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .expect("a block is longer than the fields in it");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            out.extend_from_slice(&u32::try_from(entry.len()).unwrap().to_le_bytes());
            out.extend_from_slice(entry);
        }
        out
    }

    const PLACE: Place = Place {
        segment: 3,
        sequence: 17,
        previous: [5; 32],
    };

    proptest! {
        #[test]
        fn a_batch_reads_back_as_it_was_written(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20)) {
            let mut out = Vec::new();
            let hash = encode_batch(&PLACE, u32::try_from(entries.len()).unwrap(), &records(&entries), &mut out);
            prop_assert_eq!(out.len() % BLOCK, 0);
            let batch = decode_batch(&out, &PLACE).unwrap();
            prop_assert_eq!(batch.hash, hash);
            prop_assert_eq!(batch.bytes, out.len());
            prop_assert_eq!(batch.entries().map(<[u8]>::to_vec).collect::<Vec<_>>(), entries);
        }

        #[test]
        fn every_changed_byte_of_a_batch_is_found(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5), at: prop::sample::Index, flip in 1..=255u8) {
            let mut out = Vec::new();
            encode_batch(&PLACE, u32::try_from(entries.len()).unwrap(), &records(&entries), &mut out);
            let at = at.index(out.len());
            out[at] ^= flip;
            prop_assert!(decode_batch(&out, &PLACE).is_err());
        }

        #[test]
        fn every_changed_byte_of_a_header_is_found(at in 0..BLOCK, flip in 1..=255u8) {
            let mut block = SegmentHeader { log: [1; 16], number: 2, first_sequence: 3, previous: [4; 32], previous_end: 5, previous_failed: true }.encode();
            block[at] ^= flip;
            prop_assert!(SegmentHeader::decode(&block).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000), magic: bool) {
            let mut bytes = bytes;
            if magic && bytes.len() > 8 {
                bytes[..4].copy_from_slice(BATCH_MAGIC);
                bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
            }
            let _ = decode_anywhere(&bytes);
            let _ = SegmentHeader::decode(&bytes);
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let header = SegmentHeader {
            log: [1; 16],
            number: 2,
            first_sequence: 3,
            previous: [4; 32],
            previous_end: 5,
            previous_failed: true,
        };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn a_batch_of_another_place_is_refused() {
        let mut out = Vec::new();
        encode_batch(&PLACE, 0, &[], &mut out);
        assert_eq!(
            decode_batch(
                &out,
                &Place {
                    segment: 4,
                    ..PLACE
                }
            ),
            Err(Fault::Segment { found: 3 })
        );
        assert_eq!(
            decode_batch(
                &out,
                &Place {
                    sequence: 4,
                    ..PLACE
                }
            ),
            Err(Fault::Sequence { found: 17 })
        );
        assert_eq!(
            decode_batch(
                &out,
                &Place {
                    previous: [6; 32],
                    ..PLACE
                }
            ),
            Err(Fault::Link)
        );
    }

    #[test]
    fn what_was_never_written_is_blank_and_a_cut_batch_is_short() {
        assert_eq!(decode_batch(&[0; BLOCK], &PLACE), Err(Fault::Blank));
        assert_eq!(decode_batch(&[0; 100], &PLACE), Err(Fault::Blank));
        let mut out = Vec::new();
        encode_batch(&PLACE, 1, &records(&[vec![1; 9000]]), &mut out);
        assert_eq!(decode_batch(&out[..BLOCK], &PLACE), Err(Fault::Short));
    }
}
