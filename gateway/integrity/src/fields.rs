//! Which fields are structured, and of which type: what `;sf` and `;key` need to know.
//!
//! Standard: the field registry of IANA (RFC 9110 18.4), whose rows name the type since RFC 9651.
//! What it does not do: a field that is not in the table has no type here, however it looks;
//! covering it with `sf` or `key` is an error (RFC 9421 2.1.1).

use http::header::HeaderName;

/// The types of a structured field (RFC 9651 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Item,
    List,
    Dictionary,
}

/// The type of a field, if it is known to be structured.
pub(crate) fn kind(name: &HeaderName) -> Option<Kind> {
    let name = name.as_str();
    let row = FIELDS.binary_search_by(|(known, _, _)| (*known).cmp(name));
    row.ok().map(|row| FIELDS[row].1)
}

/// Name, type, and who says so. In order, because it is searched.
const FIELDS: &[(&str, Kind, &str)] = &[
    ("accept-ch", Kind::List, "RFC 8942 3.1"),
    ("accept-signature", Kind::Dictionary, "RFC 9421 5.1"),
    ("available-dictionary", Kind::Item, "RFC 9842 2.2"),
    ("cache-group-invalidation", Kind::List, "RFC 9875 3"),
    ("cache-groups", Kind::List, "RFC 9875 2"),
    ("cache-status", Kind::List, "RFC 9211 2"),
    ("capsule-protocol", Kind::Item, "RFC 9297 3.4"),
    ("cdn-cache-control", Kind::Dictionary, "RFC 9213 3.1"),
    ("client-cert", Kind::Item, "RFC 9440 2.2"),
    ("client-cert-chain", Kind::List, "RFC 9440 2.3"),
    ("content-digest", Kind::Dictionary, "RFC 9530 2"),
    ("cross-origin-embedder-policy", Kind::Item, "HTML 7.1.4"),
    ("cross-origin-opener-policy", Kind::Item, "HTML 7.1.3"),
    ("deprecation", Kind::Item, "RFC 9745 2"),
    ("dictionary-id", Kind::Item, "RFC 9842 2.3"),
    ("origin-agent-cluster", Kind::Item, "HTML 7.1.2"),
    ("priority", Kind::Dictionary, "RFC 9218 5"),
    ("proxy-status", Kind::List, "RFC 9209 2"),
    ("repr-digest", Kind::Dictionary, "RFC 9530 3"),
    ("signature", Kind::Dictionary, "RFC 9421 4.2"),
    ("signature-input", Kind::Dictionary, "RFC 9421 4.1"),
    ("use-as-dictionary", Kind::Dictionary, "RFC 9842 2.1"),
    ("want-content-digest", Kind::Dictionary, "RFC 9530 4"),
    ("want-repr-digest", Kind::Dictionary, "RFC 9530 4"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_row_is_found() {
        assert!(FIELDS.is_sorted_by(|one, next| one.0 < next.0));
        for (name, kind_of, citation) in FIELDS {
            assert_eq!(kind(&HeaderName::from_static(name)), Some(*kind_of));
            assert!(citation.starts_with("RFC ") || citation.starts_with("HTML "));
        }
    }

    #[test]
    fn a_field_that_nobody_registered_as_structured_has_no_type() {
        for name in ["accept", "content-type", "date", "x-example"] {
            assert_eq!(kind(&HeaderName::from_static(name)), None);
        }
    }
}
