//! Keys and their algorithms. The algorithm is the key's: what a signature says of it can agree or
//! be refused, never choose (RFC 9421 7.3.6).
//!
//! | question | answered by |
//! |---|---|
//! | what is in a SubjectPublicKeyInfo or PKCS#8? | `der` |
//! | does a signature verify? | [`VerifyingKey`] |
//! | how is one made? | [`SigningKey`] |
//! | how are public keys published and read? | [`JwkSet`] |
//!
//! Key material lives in the cryptography library, which overwrites it when it is freed; nothing of
//! it is printed. What this folder does not do: it opens no file and trusts no key by itself.

mod der;

mod verifying;

mod signing;

mod jwk;

use std::fmt;

pub use jwk::JwkSet;
pub use signing::SigningKey;
pub use verifying::VerifyingKey;

/// The algorithms of RFC 9421 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256 (3.3.4).
    EcdsaP256Sha256,
    /// ECDSA with P-384 and SHA-384 (3.3.5).
    EcdsaP384Sha384,
    /// EdDSA with edwards25519 (3.3.6).
    Ed25519,
    /// RSASSA-PSS with SHA-512 (3.3.1).
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (3.3.2). Verified where a policy names it; never made, and
    /// in no default.
    RsaV15Sha256,
    /// HMAC with SHA-256 (3.3.3). In no default: both ends hold the key, so it proves nothing to a
    /// third.
    HmacSha256,
}

/// Each algorithm with its name in the registry (RFC 9421 6.2.2).
const NAMES: &[(Algorithm, &str)] = &[
    (Algorithm::EcdsaP256Sha256, "ecdsa-p256-sha256"),
    (Algorithm::EcdsaP384Sha384, "ecdsa-p384-sha384"),
    (Algorithm::Ed25519, "ed25519"),
    (Algorithm::RsaPssSha512, "rsa-pss-sha512"),
    (Algorithm::RsaV15Sha256, "rsa-v1_5-sha256"),
    (Algorithm::HmacSha256, "hmac-sha256"),
];

impl Algorithm {
    /// Its name in the registry, which the parameter `alg` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Algorithm::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Algorithm::Ed25519 => "ed25519",
            Algorithm::RsaPssSha512 => "rsa-pss-sha512",
            Algorithm::RsaV15Sha256 => "rsa-v1_5-sha256",
            Algorithm::HmacSha256 => "hmac-sha256",
        }
    }

    /// The algorithm of this name.
    pub fn by_name(name: &str) -> Option<Algorithm> {
        let row = NAMES.iter().find(|(_, known)| *known == name);
        row.map(|(algorithm, _)| *algorithm)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Algorithm> {
        NAMES.iter().map(|(algorithm, _)| *algorithm)
    }
}

/// Its name in the registry.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of algorithms that are accepted; the empty one accepts none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Algorithms(u8);

impl Algorithms {
    /// None: everything is refused.
    pub const NONE: Algorithms = Algorithms(0);

    /// Public keys in algorithms without known weakness: all but `rsa-v1_5-sha256` and
    /// `hmac-sha256`.
    pub const PUBLIC_KEY: Algorithms = Algorithms::NONE
        .and(Algorithm::EcdsaP256Sha256)
        .and(Algorithm::EcdsaP384Sha384)
        .and(Algorithm::Ed25519)
        .and(Algorithm::RsaPssSha512);

    /// These and one more.
    #[must_use]
    pub const fn and(self, algorithm: Algorithm) -> Algorithms {
        Algorithms(self.0 | 1 << algorithm as u8)
    }

    /// Whether it is accepted.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & 1 << algorithm as u8 != 0
    }
}

/// The names.
impl fmt::Debug for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Algorithm::all().filter(|algorithm| self.contains(*algorithm));
        f.debug_set().entries(names.map(Algorithm::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_name() {
        assert_eq!(NAMES.len(), 6);
        for algorithm in Algorithm::all() {
            assert_eq!(Algorithm::by_name(algorithm.name()), Some(algorithm));
            assert!(NAMES.contains(&(algorithm, algorithm.name())));
        }
        assert_eq!(Algorithm::by_name("ECDSA-P256-SHA256"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        for algorithm in Algorithm::all() {
            assert!(!Algorithms::NONE.contains(algorithm));
            assert!(Algorithms::NONE.and(algorithm).contains(algorithm));
        }
        let weak = [Algorithm::RsaV15Sha256, Algorithm::HmacSha256];
        for algorithm in Algorithm::all() {
            let accepted = Algorithms::PUBLIC_KEY.contains(algorithm);
            assert_eq!(accepted, !weak.contains(&algorithm));
        }
    }
}
