//! The `pki` program.

fn main() {}
