//! A strict RFC 9112 codec, both sides, sans-I/O.
