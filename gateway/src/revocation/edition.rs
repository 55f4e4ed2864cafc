//! Which of two lists is the newer one (RFC 5280 5.2.3).

use std::fmt;

use audit::event::Time;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::OID_X509_EXT_CRL_NUMBER;
use x509_parser::prelude::CertificateRevocationList;

use super::fault::ListFault;

/// No number is longer than 20 octets, of which the highest bit is the sign.
const MAX_NUMBER_BITS: u64 = 159;

/// A list's place among those of its issuer and scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    number: Option<BigUint>,
    this_update: i64,
}

impl Edition {
    /// Reads number and date.
    pub(super) fn read(list: &CertificateRevocationList<'_>) -> Result<Edition, ListFault> {
        let number = list
            .extensions()
            .iter()
            .find(|extension| extension.oid == OID_X509_EXT_CRL_NUMBER);
        let number = match number.map(X509Extension::parsed_extension) {
            None => None,
            Some(ParsedExtension::CRLNumber(number)) if number.bits() <= MAX_NUMBER_BITS => {
                Some(number.clone())
            }
            Some(_) => return Err(ListFault::Malformed),
        };
        Ok(Edition {
            number,
            this_update: list.last_update().timestamp(),
        })
    }

    /// Whether it was issued before `other`: by number when both have one, else by date. Two of one
    /// number are told apart by their dates too, in favor of neither if those are the same.
    pub fn is_older_than(&self, other: &Edition) -> bool {
        match (&self.number, &other.number) {
            (Some(mine), Some(other)) if mine != other => mine < other,
            _ => self.this_update < other.this_update,
        }
    }

    /// Whether it carries a number.
    pub fn is_numbered(&self) -> bool {
        self.number.is_some()
    }

    /// When it was issued, seconds since 1970.
    pub fn this_update(&self) -> i64 {
        self.this_update
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.number {
            Some(number) => write!(f, "number {number} of ")?,
            None => f.write_str("the one of ")?,
        }
        write!(f, "{}", Time::from_unix_seconds(self.this_update))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::SerialNumber;

    use super::super::List;
    use super::super::testing::{Ca, NOW, changed, params, read, usual};
    use super::*;

    fn edition(number: Option<u32>, this_update: i64) -> Edition {
        Edition {
            number: number.map(BigUint::from),
            this_update,
        }
    }

    #[test]
    fn the_number_counts_when_both_have_one_and_the_date_when_not() {
        for (older, newer) in [
            (edition(Some(1), 5), edition(Some(2), 5)),
            (edition(Some(1), 9), edition(Some(2), 5)),
            (edition(Some(255), 5), edition(Some(256), 5)),
            (edition(Some(1), 5), edition(Some(1), 6)),
            (edition(None, 5), edition(None, 6)),
            (edition(None, 5), edition(Some(1), 6)),
            (edition(Some(2), 5), edition(None, 6)),
        ] {
            assert!(older.is_older_than(&newer), "{older} {newer}");
            assert!(!newer.is_older_than(&older), "{older} {newer}");
        }
    }

    fn of_number(one: &Ca, octets: &[u8]) -> Result<Edition, ListFault> {
        let mut list = params(&[]);
        list.crl_number = SerialNumber::from_slice(octets);
        read(one, list, &[&one.authority]).map(|list| list.edition)
    }

    #[test]
    fn a_number_may_have_twenty_octets_and_no_more() {
        let one = usual("one");
        assert_eq!(
            of_number(&one, &[1, 0]).unwrap().to_string(),
            "number 256 of 2026-01-01T00:00:00.000000Z"
        );
        assert!(of_number(&one, &[0x7f; 20]).unwrap().is_numbered());
        for octets in [&[0x80; 20][..], &[1; 21]] {
            assert_eq!(of_number(&one, octets), Err(ListFault::Malformed));
        }
    }

    #[test]
    fn a_number_that_cannot_be_read_is_refused_and_one_may_be_missing() {
        let one = usual("one");
        let number = b"\x06\x03\x55\x1d\x14\x04\x03\x02\x01\x01";
        for (changed_to, expected) in [
            (b"\x06\x03\x55\x1d\x14\x04\x03\x02\x01\xff", None),
            (b"\x06\x03\x55\x1d\x14\x04\x03\x04\x01\x01", None),
            (
                b"\x06\x03\x55\x1d\x63\x04\x03\x02\x01\x01",
                Some(edition(None, NOW - 86_400)),
            ),
        ] {
            let der = changed(&one, params(&[]), number, changed_to);
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let read = List::read(&der, &[&one.authority], algorithms, NOW);
            match expected {
                Some(expected) => assert_eq!(read.unwrap().edition, expected),
                None => assert_eq!(read.unwrap_err(), ListFault::Malformed),
            }
        }
    }

    proptest! {
        #[test]
        fn of_two_editions_at_most_one_is_older(
            a in (any::<Option<u32>>(), any::<i64>()),
            b in (any::<Option<u32>>(), any::<i64>()),
        ) {
            let (a, b) = (edition(a.0, a.1), edition(b.0, b.1));
            prop_assert!(!a.is_older_than(&a));
            prop_assert!(!(a.is_older_than(&b) && b.is_older_than(&a)));
        }
    }
}
