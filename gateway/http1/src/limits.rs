//! How much of a head is read. Standard: RFC 9112 2.3 and 3 leave the bounds to the reader.

/// How much of a head is read before it is refused. The buffer that is read from must be able to
/// grow to `head_bytes`, or a long head is never whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole head, from the start line to the empty line; and of a trailer section.
    pub head_bytes: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Field lines of a head; and of a trailer section.
    pub fields: usize,
}

impl Default for Limits {
    /// 32 KiB, 8 KiB, 100.
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            fields: 100,
        }
    }
}
