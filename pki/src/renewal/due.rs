//! When a certificate is due for renewal: after a part of its life, and not all of a fleet at once.
//!
//! The time is an argument, and nothing is drawn by lot: a certificate is due at the same moment
//! however often a timer asks, and another one at another moment.

use jiff::{SignedDuration, Timestamp};

use crate::profile::Validity;
use crate::public_key::sha256;
use crate::serial::Serial;

/// A part of a certificate's life, between none and all of it. Written `2/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    numerator: u16,
    denominator: u16,
}

impl Part {
    /// Two thirds: what is left is long enough for people to notice and to repair.
    pub const DEFAULT: Self = Self {
        numerator: 2,
        denominator: 3,
    };

    /// Reads `2/3`. `None` for anything else, nothing and the whole among it.
    pub fn parse(text: &str) -> Option<Self> {
        const MAX: u16 = 1000;
        let (numerator, denominator) = text.split_once('/')?;
        let number = |text: &str| {
            let plain = text.bytes().all(|octet| octet.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok())?
        };
        let part = Self {
            numerator: number(numerator)?,
            denominator: number(denominator)?,
        };
        (0 < part.numerator && part.numerator < part.denominator && part.denominator <= MAX)
            .then_some(part)
    }
}

/// How a fleet that was enrolled in one hour is kept from coming back in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Each certificate is due within the last tenth of the time before its part is over; its
    /// serial decides where.
    Spread,
    /// None.
    None,
}

/// From when on a certificate is to be renewed. Always within its validity.
pub fn due_at(serial: &Serial, validity: &Validity, part: Part, jitter: Jitter) -> Timestamp {
    let life = validity.not_before.duration_until(validity.not_after);
    // X.509 ends in the year 9999, and a thousandth of a second is nothing here: 128 bits hold it.
    let seconds = i128::from(life.as_secs().max(0));
    let whole = seconds * i128::from(part.numerator) / i128::from(part.denominator);
    let early = match jitter {
        Jitter::Spread => whole / 10 * fraction(serial) / (1 << 32),
        Jitter::None => 0,
    };
    let after = i64::try_from(whole - early).unwrap_or(0);
    validity
        .not_before
        .checked_add(SignedDuration::from_secs(after))
        .unwrap_or(validity.not_after)
}

/// What the serial says, evenly spread: 0 to 2^32 - 1.
fn fraction(serial: &Serial) -> i128 {
    let hash = sha256(serial.octets());
    i128::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn serial(number: u64) -> Serial {
        Serial::from_octets(&(number + 1).to_be_bytes()).unwrap()
    }

    const YEAR: Validity = Validity {
        not_before: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::constant(360 * 86_400, 0),
    };

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_life() {
        let due = due_at(&serial(0), &YEAR, Part::DEFAULT, Jitter::None);
        assert_eq!(due, at(240 * 86_400));
    }

    #[test]
    fn a_fleet_comes_back_over_a_tenth_of_the_time_and_not_in_one_hour() {
        let mut days = [0_u32; 24];
        for number in 0..2400 {
            let due = due_at(&serial(number), &YEAR, Part::DEFAULT, Jitter::Spread);
            assert!(at(216 * 86_400) <= due && due <= at(240 * 86_400), "{due}");
            let day = usize::try_from((due.as_second() - 1) / 86_400 - 216).unwrap();
            days[day] += 1;
        }
        // A hundred a day, give or take five standard deviations.
        assert!(days.iter().all(|day| (50..=150).contains(day)), "{days:?}");
    }

    #[test]
    fn a_part_is_more_than_nothing_and_less_than_all() {
        assert_eq!(Part::parse("2/3"), Some(Part::DEFAULT));
        for wrong in [
            "", "0/1", "1/1", "3/2", "1/0", "2", "+1/2", "1/1001", "1/2/3", "0.5",
        ] {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_certificate_is_due_at_one_moment_within_its_life(
            number in 0_u64..1_000_000, life in 0_i64..1_000_000_000, numerator in 1_u16..1000,
        ) {
            let validity = Validity { not_before: at(5), not_after: at(5 + life) };
            let part = Part { numerator, denominator: 1000 };
            let due = |jitter| due_at(&serial(number), &validity, part, jitter);
            prop_assert_eq!(due(Jitter::Spread), due(Jitter::Spread));
            prop_assert!(validity.contains(due(Jitter::Spread)));
            prop_assert!(due(Jitter::Spread) <= due(Jitter::None));
            prop_assert!(due(Jitter::None) <= validity.not_after);
        }
    }
}
