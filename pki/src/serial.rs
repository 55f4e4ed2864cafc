//! Certificate serial numbers (RFC 5280 section 4.1.2.2): positive, at most 20 octets of DER,
//! written in lower-case hexadecimal everywhere a person or a program reads them.
//!
//! It draws no random numbers: the octets come from the caller, and the store decides whether a
//! serial is still free.

use std::fmt;

/// A positive serial number, kept as its shortest big-endian octets.
///
/// Two spellings of the same number (leading zeros, upper case, colons) are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    octets: Vec<u8>,
}

impl Serial {
    /// How many random octets a new serial is made of: 128 bits, twice what the CA/Browser Forum
    /// asks for, so that a collision means a broken random source and is refused as such.
    pub const RANDOM_OCTETS: usize = 16;

    /// Longest DER content of a serial, in octets (RFC 5280 section 4.1.2.2).
    const MAX_DER_OCTETS: usize = 20;

    /// Reads an unsigned big-endian number.
    pub fn from_octets(octets: &[u8]) -> Result<Self, SerialError> {
        let leading_zeros = octets.iter().take_while(|&&octet| octet == 0).count();
        let shortest = &octets[leading_zeros..];
        let Some(&first) = shortest.first() else {
            return Err(SerialError::Zero);
        };
        // A first octet of 0x80 or more needs a zero octet before it, or DER would read a
        // negative number.
        let der_octets = shortest.len() + usize::from(first >= 0x80);
        if der_octets > Self::MAX_DER_OCTETS {
            return Err(SerialError::TooLong { octets: der_octets });
        }
        Ok(Self {
            octets: shortest.to_vec(),
        })
    }

    /// Reads hexadecimal as `pki list`, openssl and browsers print it: either case, with or
    /// without colons between octets, with or without `0x`.
    pub fn parse(text: &str) -> Result<Self, SerialError> {
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))
            .unwrap_or(text);
        let mut nibbles = Vec::with_capacity(2 * Self::MAX_DER_OCTETS);
        for (position, character) in digits.chars().enumerate() {
            if character == ':' && position != 0 {
                continue;
            }
            let Some(nibble) = character.to_digit(16) else {
                return Err(SerialError::NotHexadecimal { position });
            };
            // A hexadecimal digit is below 16.
            #[allow(clippy::cast_possible_truncation)]
            nibbles.push(nibble as u8);
            if nibbles.len() > 4 * Self::MAX_DER_OCTETS {
                return Err(SerialError::TooLong {
                    octets: digits.len() / 2,
                });
            }
        }
        if nibbles.len() % 2 == 1 {
            nibbles.insert(0, 0);
        }
        let octets: Vec<u8> = nibbles
            .chunks_exact(2)
            .map(|pair| (pair[0] << 4) | pair[1])
            .collect();
        Self::from_octets(&octets)
    }

    /// The shortest unsigned big-endian octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Lower-case hexadecimal, two digits an octet, nothing between them.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in &self.octets {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

/// Why something is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialError {
    /// Zero or empty: RFC 5280 section 4.1.2.2 wants a positive number.
    Zero,
    /// Longer than 20 octets of DER.
    TooLong {
        /// How long it would be.
        octets: usize,
    },
    /// A character that is no hexadecimal digit.
    NotHexadecimal {
        /// Where it stands, counted in characters from 0.
        position: usize,
    },
}

impl fmt::Display for SerialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => write!(f, "a serial number is greater than zero"),
            Self::TooLong { octets } => {
                write!(
                    f,
                    "a serial number has at most 20 octets, this one {octets}"
                )
            }
            Self::NotHexadecimal { position } => write!(
                f,
                "a serial number is written in hexadecimal; character {} is none",
                position + 1
            ),
        }
    }
}

impl std::error::Error for SerialError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_no_serial() {
        assert_eq!(Serial::from_octets(&[]), Err(SerialError::Zero));
        assert_eq!(Serial::from_octets(&[0, 0]), Err(SerialError::Zero));
        assert_eq!(Serial::parse(""), Err(SerialError::Zero));
    }

    #[test]
    fn twenty_octets_is_the_limit_and_the_sign_octet_counts() {
        assert!(Serial::from_octets(&[0x7f; 20]).is_ok());
        assert_eq!(
            Serial::from_octets(&[0x80; 20]),
            Err(SerialError::TooLong { octets: 21 })
        );
        assert!(Serial::from_octets(&[0xff; 19]).is_ok());
    }

    #[test]
    fn the_spelling_of_openssl_and_of_browsers_is_the_same_number() {
        let ours = Serial::parse("0abc80").unwrap();
        for spelling in ["ABC80", "0A:BC:80", "0x0abc80", "000000000abc80"] {
            assert_eq!(Serial::parse(spelling).unwrap(), ours, "{spelling}");
        }
        assert_eq!(ours.to_string(), "0abc80");
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused_with_its_place() {
        assert_eq!(
            Serial::parse("12g4"),
            Err(SerialError::NotHexadecimal { position: 2 })
        );
        assert_eq!(
            Serial::parse(":12"),
            Err(SerialError::NotHexadecimal { position: 0 })
        );
    }

    #[test]
    fn a_very_long_text_is_refused_without_keeping_it() {
        assert!(matches!(
            Serial::parse(&"f".repeat(1_000_000)),
            Err(SerialError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_printed_serial_reads_back(octets in prop::collection::vec(any::<u8>(), 1..=19)) {
            prop_assume!(octets.iter().any(|&octet| octet != 0));
            let serial = Serial::from_octets(&octets).unwrap();
            prop_assert_eq!(Serial::parse(&serial.to_string()).unwrap(), serial);
        }
    }
}
