//! Keys and values that people will write and that this version does not take.
//!
//! [`NOT_YET`] holds what the model foresees and the gateway cannot carry out: it is refused with
//! a sentence, never accepted and ignored. [`INSTEAD`] holds what is spelled otherwise. A pattern
//! names a key as [`Place::key`](crate::Place) does, with `*` for a name and `**` for any table.

use std::net::SocketAddr;

use crate::error::Advice;

/// What a row is about.
enum What {
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
struct Row {
    key: &'static str,
    what: What,
    sentence: &'static str,
}

const fn row(key: &'static str, what: What, sentence: &'static str) -> Row {
    Row {
        key,
        what,
        sentence,
    }
}

/// What is foreseen and not there yet.
#[rustfmt::skip]
const NOT_YET: &[Row] = &[
    row("admin.listen", What::Text(is_off_loopback), "off loopback the admin listener would need client certificates"),
    row("audit.keys", What::Text(is_pkcs11), "keys in a hardware module are not supported yet"),
    row("certificates.*.key", What::Text(is_pkcs11), "keys in a hardware module are not supported yet"),
    row("listeners.*.browser", What::Key, "nothing is done for browsers yet (no HSTS, no redirect from port 80)"),
    row("listeners.*.tls", What::Text(is_fips), "there is no build on a FIPS 140 validated module yet"),
    row("listeners.*.clients.pins", What::Key, "client certificates are not pinned yet"),
    row("trust.*.pins", What::Key, "client certificates are not pinned yet"),
    row("signatures.key", What::Text(is_pkcs11), "keys in a hardware module are not supported yet"),
    row("upstreams.*.pins", What::Key, "an upstream is known by its root certificates alone"),
    row("upstreams.*.health", What::Key, "upstreams are not probed yet"),
    row("upstreams.*.user_from", What::Key, "users named by an upstream are not recorded yet"),
    row("upstreams.*.servers", What::SecondEntry, "an upstream has one server yet"),
];

/// What is spelled otherwise.
#[rustfmt::skip]
const INSTEAD: &[Row] = &[
    row("audit", What::Type, "write a table [audit]; its key durability takes \"durable\" or \"buffered\""),
    row("admin", What::Type, "write a table [admin]; listen = \"off\" turns it off"),
    row("routes", What::Type, "routes are a list: write [[routes]], and the name as name = \"...\""),
    row("trust", What::Type, "write a table for each, such as [trust.devices]"),
    row("certificates", What::Type, "write a table for each, such as [certificates.api]"),
    row("listeners", What::Type, "write a table for each, such as [listeners.devices]"),
    row("upstreams", What::Type, "write a table for each, such as [upstreams.fhir]"),
    row("roles", What::Type, "write pump = { clients = [\"urn:example:pump-*\"] } under [roles]"),
    row("roles.*", What::Type, "write a table with the names in it: { clients = [\"urn:example:pump-*\"] }"),
    row("signatures", What::Type, "write a table [signatures]; whether a route asks for them stands in the route"),
    row("signatures.keys", What::Type, "write a table for each, such as [signatures.keys.lab-robot]"),
    row("signatures.keys.*", What::Type, "write a table with the key in it: { public = \"lab-robot.pub.pem\" }"),
    row("listeners.*.clients", What::Type, "write { certificates = \"required\", trust = \"NAME\" }"),
    row("**.access_log", What::Key, "write it at the top of the file, before the first table"),
    row("**.drain", What::Key, "write it at the top of the file, before the first table"),
    row("listeners.*.rationale", What::Key, "write it inside clients = { ... }, beside what it is about"),
    row("listeners.*.trust", What::Key, "write it inside clients = { ... }"),
    row("trust.*.revocation.rationale", What::Key, "write it beside revocation, in the trust set's own table"),
    row("trust.*.crls", What::Key, "write revocation = { crls = [...], when_stale = \"refuse\" }"),
    row("trust.*.when_stale", What::Key, "write revocation = { crls = [...], when_stale = \"refuse\" }"),
    row("trust.*.ocsp", What::Key, "write revocation = { ocsp = \"http://...\" }"),
    row("trust.*.identity", What::Text(is_common_name), "a common name is no identity (RFC 9525 section 2); use a subject alternative name"),
    row("routes.*.allow", What::Text(is_star), "everybody is \"anyone\", and on a route with ePHI it needs a rationale"),
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
    let in_table = |rows: &[Row]| {
        rows.iter()
            .find(|row| wanted(&row.what) && covers(row.key, key))
            .map(|row| row.sentence)
    };
    in_table(NOT_YET)
        .map(Refusal::NotYet)
        .or_else(|| in_table(INSTEAD).map(Refusal::Instead))
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
