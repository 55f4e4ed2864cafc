//! Entries as canonical bytes: deterministic CBOR (RFC 8949 4.2), encode and decode inverse.
//!
//! Two different byte strings never decode to the same entry: `decode` encodes again what it read
//! and refuses anything that was not canonical. So the bytes that were hashed are the only spelling
//! of what they say.

use crate::event::Entry;

/// No entry is longer than this, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// An entry written from a reserved slot is no longer than this, in bytes.
pub const RESERVED_BYTES: usize = 1024;

/// Appends the canonical bytes of `entry` to `out`.
pub fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and the types of `event` have no fallible encoder.
    minicbor::encode(entry, out).expect("encoding to memory does not fail");
}

/// Reads an entry back.
///
/// # Errors
/// [`EntryError`] when the bytes are not an entry, or not its canonical spelling.
pub fn decode(bytes: &[u8]) -> Result<Entry<'_>, EntryError> {
    if bytes.len() > MAX_BYTES {
        return Err(EntryError::TooLong { bytes: bytes.len() });
    }
    let entry: Entry<'_> = minicbor::decode(bytes).map_err(|error| EntryError::Malformed {
        at: error.position(),
    })?;
    let mut again = Vec::with_capacity(bytes.len());
    encode(&entry, &mut again);
    if again != bytes {
        return Err(EntryError::NotCanonical);
    }
    Ok(entry)
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryError {
    /// Longer than [`MAX_BYTES`].
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not CBOR, or not of the shape of an entry.
    Malformed {
        /// Where reading stopped, bytes from the start, if known.
        at: Option<usize>,
    },
    /// Readable, but not the one canonical spelling.
    NotCanonical,
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntryError::TooLong { bytes } => write!(f, "entry of {bytes} bytes"),
            EntryError::Malformed { at: Some(at) } => write!(f, "entry malformed at byte {at}"),
            EntryError::Malformed { at: None } => write!(f, "entry malformed"),
            EntryError::NotCanonical => write!(f, "entry not in canonical form"),
        }
    }
}

impl std::error::Error for EntryError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Code, Completion, Event, Id, Request, Time};
    use proptest::prelude::*;

    fn completion<'a>(
        client: Option<&'a str>,
        route: Option<&'a str>,
        bytes: u64,
        status: Option<u16>,
        code: usize,
    ) -> Entry<'a> {
        Entry {
            time: Time(bytes / 2),
            event: Event::Completion(Completion {
                request: Request {
                    request_id: Id::new([7; 16]),
                    connection_id: Id::new([9; 16]),
                    client,
                    user: None,
                    method: Some("GET"),
                    route,
                    rule: None,
                    resource: None,
                    interaction: None,
                    subjects: None,
                    target: None,
                    integrity: None,
                },
                status,
                bytes,
                code: Code::ALL[code % Code::ALL.len()],
            }),
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(client: Option<String>, route: Option<String>, bytes: u64, status: Option<u16>, code: usize) {
            let entry = completion(client.as_deref(), route.as_deref(), bytes, status, code);
            let mut encoded = Vec::new();
            encode(&entry, &mut encoded);
            prop_assert_eq!(decode(&encoded), Ok(entry));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_decode_to_one_spelling(bytes: Vec<u8>) {
            if let Ok(entry) = decode(&bytes) {
                let mut again = Vec::new();
                encode(&entry, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn a_changed_byte_never_decodes_to_the_same_entry(at: prop::sample::Index, flip in 1..=255u8) {
            let entry = completion(Some("devices:urn:example:pump-1"), Some("patients"), 77, Some(200), 0);
            let mut encoded = Vec::new();
            encode(&entry, &mut encoded);
            let at = at.index(encoded.len());
            encoded[at] ^= flip;
            prop_assert_ne!(decode(&encoded), Ok(entry));
        }
    }

    #[test]
    fn an_integer_in_a_longer_form_is_refused() {
        let mut encoded = Vec::new();
        encode(&completion(None, None, 3, None, 0), &mut encoded);
        // {0: 1, ..}: the time is one byte; spell it in two.
        assert_eq!(encoded[..3], [0xa2, 0x00, 0x01]);
        let mut longer = vec![0xa2, 0x00, 0x18, 0x01];
        longer.extend_from_slice(&encoded[3..]);
        assert_eq!(decode(&longer), Err(EntryError::NotCanonical));
    }

    #[test]
    fn bytes_after_the_entry_are_refused() {
        let mut encoded = Vec::new();
        encode(&completion(None, None, 3, None, 0), &mut encoded);
        encoded.push(0);
        assert_eq!(decode(&encoded), Err(EntryError::NotCanonical));
    }
}
