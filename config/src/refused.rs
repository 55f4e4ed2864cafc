//! Keys and values that people will write and that this version does not take.
//!
//! [`NOT_YET`] holds what the model foresees and the gateway cannot carry out: it is refused with
//! a sentence, never accepted and ignored. [`INSTEAD`] holds what is spelled otherwise. A pattern
//! names a key as [`Place::key`](crate::Place) does, with `*` for a name and `**` for any table.

use std::net::SocketAddr;

use crate::error::Advice;

/// What a row is about.
pub(crate) enum What {
    /// The key, whatever its value is.
    Key,
    /// A value of which this holds.
    Text(fn(&str) -> bool),
    /// A second entry in a list.
    SecondEntry,
    /// A value of the wrong type, most often a table where there is a list or the reverse.
    Type,
}

/// Where a row applies, and what it says.
pub(crate) struct Row {
    key: &'static str,
    what: What,
    sentence: &'static str,
}

/// What is foreseen and not there yet.
#[rustfmt::skip]
pub(crate) const NOT_YET: &[Row] = &[
    Row { key: "audit.keys", what: What::Key, sentence: "the audit log is not encrypted yet" },
    Row { key: "audit.readers", what: What::Key, sentence: "the audit log is not encrypted yet, so it has no readers' keys" },
    Row { key: "admin.listen", what: What::Text(is_off_loopback), sentence: "off loopback the admin listener would need client certificates" },
    Row { key: "certificates.*.key", what: What::Text(is_pkcs11), sentence: "keys in a hardware module are not supported yet" },
    Row { key: "listeners.*.browser", what: What::Key, sentence: "nothing is done for browsers yet (no HSTS, no redirect from port 80)" },
    Row { key: "listeners.*.tls", what: What::Text(is_fips), sentence: "there is no build on a FIPS 140 validated module yet" },
    Row { key: "listeners.*.clients.pins", what: What::Key, sentence: "client certificates are not pinned yet" },
    Row { key: "trust.*.pins", what: What::Key, sentence: "client certificates are not pinned yet" },
    Row { key: "upstreams.*.pins", what: What::Key, sentence: "an upstream is known by its root certificates alone" },
    Row { key: "upstreams.*.health", what: What::Key, sentence: "upstreams are not probed yet" },
    Row { key: "upstreams.*.user_from", what: What::Key, sentence: "users named by an upstream are not recorded yet" },
    Row { key: "upstreams.*.servers", what: What::SecondEntry, sentence: "an upstream has one server yet" },
    Row { key: "routes.*.upgrade", what: What::Key, sentence: "connections are not upgraded yet, so there is no WebSocket" },
];

/// What is spelled otherwise.
#[rustfmt::skip]
const INSTEAD: &[Row] = &[
    Row { key: "audit", what: What::Type, sentence: "write a table [audit]; its key durability takes \"durable\" or \"buffered\"" },
    Row { key: "admin", what: What::Type, sentence: "write a table [admin]; listen = \"off\" turns it off" },
    Row { key: "routes", what: What::Type, sentence: "routes are a list: write [[routes]], and the name as name = \"...\"" },
    Row { key: "trust", what: What::Type, sentence: "write a table for each, such as [trust.devices]" },
    Row { key: "certificates", what: What::Type, sentence: "write a table for each, such as [certificates.api]" },
    Row { key: "listeners", what: What::Type, sentence: "write a table for each, such as [listeners.devices]" },
    Row { key: "upstreams", what: What::Type, sentence: "write a table for each, such as [upstreams.fhir]" },
    Row { key: "roles", what: What::Type, sentence: "write pump = { clients = [\"urn:example:pump-*\"] } under [roles]" },
    Row { key: "roles.*", what: What::Type, sentence: "write a table with the names in it: { clients = [\"urn:example:pump-*\"] }" },
    Row { key: "listeners.*.clients", what: What::Type, sentence: "write { certificates = \"required\", trust = \"NAME\" }" },
    Row { key: "**.access_log", what: What::Key, sentence: "write it at the top of the file, before the first table" },
    Row { key: "**.drain", what: What::Key, sentence: "write it at the top of the file, before the first table" },
    Row { key: "listeners.*.rationale", what: What::Key, sentence: "write it inside clients = { ... }, beside what it is about" },
    Row { key: "listeners.*.trust", what: What::Key, sentence: "write it inside clients = { ... }" },
    Row { key: "trust.*.revocation.rationale", what: What::Key, sentence: "write it beside revocation, in the trust set's own table" },
    Row { key: "trust.*.crls", what: What::Key, sentence: "write revocation = { crls = [...], when_stale = \"refuse\" }" },
    Row { key: "trust.*.when_stale", what: What::Key, sentence: "write revocation = { crls = [...], when_stale = \"refuse\" }" },
    Row { key: "trust.*.identity", what: What::Text(is_common_name), sentence: "a subject's common name is no identity (RFC 9525 section 2); put the name into a subject alternative name" },
    Row { key: "routes.*.allow", what: What::Text(is_star), sentence: "everybody is \"anyone\", and on a route with ePHI it needs a rationale" },
];

/// What to say to a key that nobody knows, before looking for its neighbors.
pub(crate) fn key(key: &str) -> Option<Refusal> {
    find(key, |what| matches!(what, What::Key))
}

/// What to say to a value that does not parse.
pub(crate) fn text(key: &str, text: &str) -> Option<Refusal> {
    find(key, |what| matches!(what, What::Text(is) if is(text)))
}

/// What to say to the second entry of a list.
pub(crate) fn second_entry(key: &str) -> Option<Refusal> {
    find(key, |what| matches!(what, What::SecondEntry))
}

/// What to say to a value of the wrong type.
pub(crate) fn wrong_type(key: &str) -> Option<Refusal> {
    find(key, |what| matches!(what, What::Type))
}

/// What a row has to say.
pub(crate) enum Refusal {
    NotYet(&'static str),
    Instead(&'static str),
}

impl Refusal {
    /// The advice; `message` is what is wrong where nothing is merely missing in this version.
    pub(crate) fn into_advice(self, message: String) -> Advice {
        match self {
            Self::NotYet(sentence) => Advice {
                message: format!("not available in this version: {sentence}"),
                hint: None,
            },
            Self::Instead(sentence) => Advice {
                message,
                hint: Some(sentence.to_owned()),
            },
        }
    }
}

fn find(key: &str, wanted: impl Fn(&What) -> bool) -> Option<Refusal> {
    let row = |rows: &[Row]| {
        rows.iter()
            .find(|row| wanted(&row.what) && covers(row.key, key))
            .map(|row| row.sentence)
    };
    row(NOT_YET)
        .map(Refusal::NotYet)
        .or_else(|| row(INSTEAD).map(Refusal::Instead))
}

/// Whether a pattern covers a key. A quoted name with a dot in it is covered by nothing.
fn covers(pattern: &str, key: &str) -> bool {
    if let Some(last) = pattern.strip_prefix("**.") {
        return key.rsplit_once('.').is_some_and(|(_, name)| name == last);
    }
    let (mut patterns, mut names) = (pattern.split('.'), key.split('.'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if pattern == "*" || pattern == name => {}
            _ => return false,
        }
    }
}

fn is_off_loopback(text: &str) -> bool {
    text.parse::<SocketAddr>()
        .is_ok_and(|address| !address.ip().is_loopback())
}

fn is_pkcs11(text: &str) -> bool {
    text.starts_with("pkcs11:")
}

fn is_fips(text: &str) -> bool {
    text == "fips"
}

fn is_common_name(text: &str) -> bool {
    matches!(text, "common-name" | "cn" | "subject-cn")
}

fn is_star(text: &str) -> bool {
    text == "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_a_key_of_its_own_length() {
        assert!(covers("upstreams.*.health", "upstreams.fhir.health"));
        assert!(covers("routes.*.upgrade", "routes.#2.upgrade"));
        assert!(!covers("upstreams.*.health", "upstreams.fhir.health.path"));
        assert!(!covers("upstreams.*.health", "upstreams.health"));
        assert!(covers("**.drain", "routes.#1.drain") && covers("**.drain", "workers.drain"));
        assert!(!covers("**.drain", "drain") && !covers("**.drain", "workers.drains"));
    }

    #[test]
    fn no_row_stands_twice() {
        let rows: Vec<_> = NOT_YET.iter().chain(INSTEAD).collect();
        for (at, row) in rows.iter().enumerate() {
            for other in &rows[at + 1..] {
                let same = std::mem::discriminant(&row.what) == std::mem::discriminant(&other.what);
                assert!(!(same && row.key == other.key), "{}", row.key);
            }
        }
    }
}
