//! Every limit of this crate in one place; what is beyond one is refused, never cut.
//!
//! What it does not do: how long a window of nonces is and how many it holds is for whoever makes
//! one ([`Limits`](crate::replay::Limits)).

use std::time::Duration;

/// How long `Signature-Input` and `Signature` may each be, in bytes, their lines together; also a
/// field that is covered with `sf` or `key`.
pub const FIELD: usize = 16 * 1024;

/// How many signatures a message may have; of them one is verified.
pub const SIGNATURES: usize = 4;

/// How many components one signature may cover.
pub const COMPONENTS: usize = 64;

/// How long a label or a text parameter may be, in bytes.
pub const TEXT: usize = 256;

/// How long a signature base may become, in bytes.
pub const BASE: usize = 64 * 1024;

/// How many bytes of fields and queries may be parsed for one signature base, those that are parsed
/// for several components counted as often.
pub const PARSED: usize = 64 * 1024;

/// How far ahead a window against replays reaches at most: four bytes are held for each second.
pub const HORIZON: Duration = Duration::from_hours(24);

/// How long a digest field may be, in bytes, its lines together.
pub const DIGEST_FIELD: usize = 4 * 1024;

/// Keys of one dictionary, and parameters of one item. Each is compared with those before it.
pub const KEYS: usize = 64;

/// Members of a list, and items of an inner list.
pub const ITEMS: usize = 1024;

/// RSA keys have at least so many bits (RFC 9421 7.3.1 leaves it to us).
pub const RSA_LEAST_BITS: usize = 2048;

/// RSA keys have at most so many bits: more is work without use.
pub const RSA_MOST_BITS: usize = 8192;

/// Keys of HMAC have at least so many bytes: as many as the output (RFC 2104 3).
pub const HMAC_LEAST_BYTES: usize = 32;

/// How large a JWK set may be, in bytes.
pub const JWK_SET: usize = 64 * 1024;
