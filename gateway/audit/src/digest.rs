//! SHA-256, as the log links and digests with it. Standard: FIPS 180-4.

/// Length of a digest, bytes.
pub const HASH: usize = 32;

/// A digest.
pub type Hash = [u8; HASH];

/// SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; HASH];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
