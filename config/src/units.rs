//! Durations and sizes as an operator writes them: a number with its unit, never a bare number.
//!
//! Durations are days, hours, minutes, seconds and milliseconds (`365d`, `1h30m`, `250ms`), the
//! larger unit first. Sizes are powers of 1024 (IEC 80000-13: `KiB`, `MiB`); decimal units are
//! refused, because a reader cannot tell which of the two an `MB` means. No limits are set here:
//! what is sensible for a key stands beside the key.

use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;

use crate::error::Advice;
use crate::place::quoted;
use crate::word::{Shown, Word};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A number of bytes.
    pub const fn bytes(number: u64) -> Self {
        Self(number)
    }

    /// `number` times 1024 bytes; the largest size when that does not fit.
    pub const fn kib(number: u64) -> Self {
        Self(number.saturating_mul(1 << 10))
    }

    /// `number` times 1024 KiB; the largest size when that does not fit.
    pub const fn mib(number: u64) -> Self {
        Self(number.saturating_mul(1 << 20))
    }

    /// `number` times 1024 MiB; the largest size when that does not fit.
    pub const fn gib(number: u64) -> Self {
        Self(number.saturating_mul(1 << 30))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads `16MiB`, `1KiB`, `4096B`: one whole number with its unit.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (number, unit, rest) = part(text)?;
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| {
                if DECIMAL_UNITS.contains(&unit) {
                    return UnitError::Decimal {
                        unit: unit.to_owned(),
                    };
                }
                UnitError::UnknownUnit {
                    unit: unit.to_owned(),
                }
            })?;
        if !rest.is_empty() {
            return Err(UnitError::Several);
        }
        number
            .checked_mul(*factor)
            .map(Self)
            .ok_or(UnitError::TooLarge)
    }
}

/// The size in its largest whole unit; [`ByteSize::parse`] reads it back.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |factor: u64| self.0 >= factor && self.0.is_multiple_of(factor);
        match SIZE_UNITS.iter().rev().find(|(_, factor)| whole(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => f.write_str("0B"),
        }
    }
}

const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const DECIMAL_UNITS: [&str; 10] = ["k", "K", "kB", "KB", "M", "MB", "G", "GB", "T", "TB"];

/// Reads `10s`, `5m`, `1h30m`, `365d`, `250ms`: whole numbers with units, the larger unit first.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut total: u64 = 0;
    let mut smaller_than = u64::MAX;
    let mut left = text;
    loop {
        let (number, unit, rest) = part(left)?;
        let (_, factor) = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| UnitError::UnknownUnit {
                unit: unit.to_owned(),
            })?;
        if *factor >= smaller_than {
            return Err(UnitError::Order {
                unit: unit.to_owned(),
            });
        }
        smaller_than = *factor;
        total = number
            .checked_mul(*factor)
            .and_then(|millis| total.checked_add(millis))
            .ok_or(UnitError::TooLarge)?;
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        left = rest;
    }
}

/// A duration in its largest whole unit; [`parse_duration`] reads it back. What is below a
/// millisecond is left out.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = |factor: u64| millis >= factor && millis.is_multiple_of(factor);
    match DURATION_UNITS.iter().find(|(_, factor)| whole(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => "0s".to_owned(),
    }
}

/// In milliseconds, the largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Splits a number and its unit off the front.
fn part(text: &str) -> Result<(u64, &str, &str), UnitError> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(unit_at);
    if number.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let next_at = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(next_at);
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            number: number.to_owned(),
        });
    }
    if unit.starts_with(['.', ',', '_']) {
        return Err(UnitError::Fraction);
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, unit, rest))
}

/// Why a text is not a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// It does not begin with a digit.
    NoNumber,
    /// A number stands alone, or after the last unit.
    NoUnit {
        /// The number as written.
        number: String,
    },
    /// The unit is none that is known here.
    UnknownUnit {
        /// The unit as written.
        unit: String,
    },
    /// The unit may mean powers of 1000 or of 1024.
    Decimal {
        /// The unit as written.
        unit: String,
    },
    /// A number with a fraction or with separators.
    Fraction,
    /// A unit comes twice, or after a smaller one.
    Order {
        /// The unit as written.
        unit: String,
    },
    /// A size of more than one part.
    Several,
    /// More than 64 bits can count.
    TooLarge,
}

impl UnitError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoNumber | Self::NoUnit { .. } | Self::UnknownUnit { .. } => None,
            Self::Decimal { .. } => Some("write KiB, MiB, GiB or TiB (powers of 1024)"),
            Self::Fraction => Some("write a whole number of a smaller unit, such as 90s for 1.5m"),
            Self::Order { .. } => Some("write the larger unit first and each unit once"),
            Self::Several => Some("write one number with one unit"),
            Self::TooLarge => Some("write a smaller number"),
        }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => write!(f, "it does not begin with a number"),
            Self::NoUnit { number } => write!(f, "{} has no unit", quoted(number)),
            Self::UnknownUnit { unit } => write!(f, "unknown unit {}", quoted(unit)),
            Self::Decimal { unit } => write!(f, "{} may mean two different sizes", quoted(unit)),
            Self::Fraction => write!(f, "not a whole number"),
            Self::Order { unit } => {
                write!(f, "{} is not smaller than the unit before", quoted(unit))
            }
            Self::Several => write!(f, "more than one number"),
            Self::TooLarge => write!(f, "too large to count"),
        }
    }
}

impl std::error::Error for UnitError {}

impl Word for Duration {
    const NOUN: &'static str = "a duration";
    const EXAMPLE: &'static str = "10s";
    const PATTERN: Option<&'static str> = Some("^([0-9]+(d|h|m|s|ms))+$");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        parse_duration(text).map_err(|error| {
            Advice::new(
                &error,
                error
                    .hint()
                    .or(Some("write it like \"10s\", \"5m\" or \"1h30m\"")),
            )
        })
    }
}

impl Shown for Duration {
    fn shown(&self) -> Json {
        show_duration(*self).into()
    }
}

impl Word for ByteSize {
    const NOUN: &'static str = "a size";
    const EXAMPLE: &'static str = "16MiB";
    const PATTERN: Option<&'static str> = Some("^[0-9]+(B|KiB|MiB|GiB|TiB)$");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| {
            Advice::new(
                &error,
                error
                    .hint()
                    .or(Some("write it like \"16MiB\", \"1KiB\" or \"4096B\"")),
            )
        })
    }
}

impl Shown for ByteSize {
    fn shown(&self) -> Json {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(text: &str) -> Result<u64, UnitError> {
        parse_duration(text).map(|duration| u64::try_from(duration.as_millis()).unwrap())
    }

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        assert_eq!(millis("10s"), Ok(10_000));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("365d"), Ok(31_536_000_000));
        assert_eq!(millis("1m250ms"), Ok(60_250));
        assert_eq!(millis("0s"), Ok(0));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert_eq!(
            millis("10"),
            Err(UnitError::NoUnit {
                number: "10".to_owned()
            })
        );
        assert_eq!(
            millis("1h30"),
            Err(UnitError::NoUnit {
                number: "30".to_owned()
            })
        );
    }

    #[test]
    fn a_duration_that_is_not_a_sum_of_falling_units_is_refused() {
        assert_eq!(millis(""), Err(UnitError::NoNumber));
        assert_eq!(millis("-1s"), Err(UnitError::NoNumber));
        assert_eq!(millis("1.5s"), Err(UnitError::Fraction));
        assert_eq!(millis("1_000s"), Err(UnitError::Fraction));
        assert_eq!(
            millis("10 s"),
            Err(UnitError::UnknownUnit {
                unit: " s".to_owned()
            })
        );
        assert_eq!(
            millis("2w"),
            Err(UnitError::UnknownUnit {
                unit: "w".to_owned()
            })
        );
        assert_eq!(
            millis("5m1h"),
            Err(UnitError::Order {
                unit: "h".to_owned()
            })
        );
        assert_eq!(
            millis("5s5s"),
            Err(UnitError::Order {
                unit: "s".to_owned()
            })
        );
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert_eq!(millis("99999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(millis("300000000000d"), Err(UnitError::TooLarge));
        assert_eq!(ByteSize::parse("99999999TiB"), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(ByteSize::parse("16MiB"), Ok(ByteSize::mib(16)));
        assert_eq!(ByteSize::parse("1KiB"), Ok(ByteSize::bytes(1024)));
        assert_eq!(ByteSize::parse("4096B"), Ok(ByteSize::kib(4)));
        assert_eq!(ByteSize::parse("0B"), Ok(ByteSize::bytes(0)));
    }

    #[test]
    fn a_size_of_an_ambiguous_or_missing_unit_is_refused() {
        assert_eq!(
            ByteSize::parse("16"),
            Err(UnitError::NoUnit {
                number: "16".to_owned()
            })
        );
        assert_eq!(
            ByteSize::parse("16MB"),
            Err(UnitError::Decimal {
                unit: "MB".to_owned()
            })
        );
        assert_eq!(
            ByteSize::parse("16mib"),
            Err(UnitError::UnknownUnit {
                unit: "mib".to_owned()
            })
        );
        assert_eq!(ByteSize::parse("1MiB1B"), Err(UnitError::Several));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_is_read(number: u64) {
            let duration = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            let size = ByteSize::bytes(number);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn no_text_is_too_strange_to_be_answered(text in "[0-9]{0,25}[a-zA-Z.]{0,3}.{0,9}") {
            let _ = parse_duration(&text);
            let _ = ByteSize::parse(&text);
        }
    }
}
