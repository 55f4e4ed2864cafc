//! The rules that a hello is held against, one row each, in the order in which they speak.
//!
//! Standards: the section stands in each row. A rule refuses what the TLS library could not serve or
//! what the listener must not, and names it; it never refuses what the library would serve to a
//! client that keeps to its RFCs. What this file does not do: it chooses nothing. Which version,
//! suite, group and scheme a connection gets is the library's decision.
//!
//! Fails closed: a policy that serves nothing refuses every hello.

use super::offer::{ClientHello, extension};
use super::refusal::HelloRefusal;
use std::collections::BTreeSet;
use std::fmt;

/// What a listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The sets of parameters that can be negotiated (RFC 8446 4.1.1).
    pub sets: Vec<ParameterSet>,
    /// The application protocols, in the names of ALPN. Empty: what the client lists is not judged.
    pub protocols: Vec<Vec<u8>>,
}

/// Parameters that go together: those of one version, with one kind of certificate where the suites
/// of that version are bound to it, as those of TLS 1.2 are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSet {
    /// The version.
    pub version: u16,
    /// The cipher suites.
    pub suites: Vec<u16>,
    /// The groups that work with this version.
    pub groups: Vec<u16>,
    /// The schemes by which our certificate of this kind can sign in this version.
    pub signatures: Vec<u16>,
}

impl Policy {
    /// The lowest version that is served.
    pub fn minimum(&self) -> Option<u16> {
        self.sets.iter().map(|set| set.version).min()
    }

    /// The highest version that is served.
    pub fn maximum(&self) -> Option<u16> {
        self.sets.iter().map(|set| set.version).max()
    }

    /// The version that a hello comes to: the highest that both sides have (RFC 8446 4.2.1).
    fn negotiated(&self, hello: &ClientHello) -> Option<u16> {
        let versions = self.sets.iter().map(|set| set.version);
        versions
            .filter(|version| hello.offers_version(*version))
            .max()
    }

    /// The sets of the version that a hello comes to.
    fn candidates(&self, hello: &ClientHello) -> impl Iterator<Item = &ParameterSet> {
        let version = self.negotiated(hello);
        self.sets
            .iter()
            .filter(move |set| Some(set.version) == version)
    }

    /// Whether a hello comes to TLS 1.3 (or what follows it).
    fn is_tls13(&self, hello: &ClientHello) -> bool {
        self.negotiated(hello) >= Some(TLS_1_3)
    }
}

/// Proof that a hello was held against every rule.
#[derive(Debug)]
pub struct Inspected {
    hello: ClientHello,
}

impl Inspected {
    /// The hello.
    pub fn hello(&self) -> &ClientHello {
        &self.hello
    }
}

/// A hello that a rule refused, and why.
#[derive(Debug)]
pub struct Refused {
    /// The hello, for the record.
    pub hello: Box<ClientHello>,
    /// Why.
    pub refusal: HelloRefusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl std::error::Error for Refused {}

/// Holds a hello against every rule. The first that objects is the answer.
pub fn judge(hello: ClientHello, policy: &Policy) -> Result<Inspected, Refused> {
    match RULES
        .iter()
        .try_for_each(|rule| (rule.check)(&hello, policy))
    {
        Ok(()) => Ok(Inspected { hello }),
        Err(refusal) => Err(Refused {
            hello: Box::new(hello),
            refusal,
        }),
    }
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Where it comes from.
    pub citation: &'static str,
    /// What it says of a hello.
    pub check: fn(&ClientHello, &Policy) -> Result<(), HelloRefusal>,
}

const fn rule(
    name: &'static str,
    citation: &'static str,
    check: fn(&ClientHello, &Policy) -> Result<(), HelloRefusal>,
) -> Rule {
    Rule {
        name,
        citation,
        check,
    }
}

/// The table. The order matters: RFC 7507 3 lets an unneeded fallback be named before an unsupported
/// version, and a rule may rely on those above it.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule("fallback", "RFC 7507 3", fallback),
    rule("ssl3", "RFC 8446 D.5; RFC 7568 3", ssl3),
    rule("version", "RFC 8446 4.2.1, D.2; RFC 8996 4, 5", version),
    rule("compression", "RFC 8446 4.1.2; RFC 5246 7.4.1.2", compression),
    rule("mandatory_extensions", "RFC 8446 9.2, 4.2.3, 4.2.9", mandatory_extensions),
    rule("key_share", "RFC 8446 4.2.8", key_share),
    rule("suite", "RFC 8446 4.1.1; RFC 5246 7.4.1.3", suite),
    rule("group", "RFC 8446 4.1.1; RFC 8422 5.1", group),
    rule("signature", "RFC 8446 4.1.1, 4.4.3; RFC 5246 7.4.3; RFC 9155 2", signature),
    rule("extended_master_secret", "RFC 7627 5, 5.2; RFC 9325 3.5", extended_master_secret),
    rule("point_formats", "RFC 8422 5.1.2", point_formats),
    rule("protocol", "RFC 7301 3.2", protocol),
];

const SSL_3_0: u16 = 0x0300;
const TLS_1_3: u16 = 0x0304;

/// A client that says it fell back could have had our highest version. Said by one that offers that
/// version anyway, it means nothing.
fn fallback(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let highest = hello.highest_version();
    match policy.maximum() {
        Some(ours) if hello.offers_fallback() && highest < Some(ours) => {
            Err(HelloRefusal::Fallback { highest, ours })
        }
        _ => Ok(()),
    }
}

/// SSL 3.0 is refused by its version field alone, whatever `supported_versions` says.
fn ssl3(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    require(hello.legacy_version > SSL_3_0, || no_version(hello, policy))
}

fn version(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    require(policy.negotiated(hello).is_some(), || {
        no_version(hello, policy)
    })
}

fn no_version(hello: &ClientHello, policy: &Policy) -> HelloRefusal {
    HelloRefusal::ProtocolVersion {
        highest: hello.highest_version(),
        minimum: policy.minimum(),
    }
}

/// Null has to be offered; for TLS 1.3 it is the only one.
fn compression(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    const NULL: u8 = 0;
    let holds = match &*hello.compression_methods {
        [NULL] => true,
        methods => methods.contains(&NULL) && !policy.is_tls13(hello),
    };
    require(holds, || HelloRefusal::Compression)
}

/// What a TLS 1.3 hello has to hold: schemes, as we prove ourselves by a certificate; groups and key
/// shares together; the modes of a pre-shared key. Groups and key shares may both be absent beside
/// a pre-shared key; then there is no group in common, and that is said.
fn mandatory_extensions(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    use extension::{
        KEY_SHARE, PRE_SHARED_KEY, PSK_KEY_EXCHANGE_MODES, SIGNATURE_ALGORITHMS, SUPPORTED_GROUPS,
    };
    if !policy.is_tls13(hello) {
        return Ok(());
    }
    let has = |extension| hello.has_extension(extension);
    let without_groups = has(PRE_SHARED_KEY) && !has(SUPPORTED_GROUPS) && !has(KEY_SHARE);
    for (extension, needed) in [
        (PSK_KEY_EXCHANGE_MODES, has(PRE_SHARED_KEY)),
        (SIGNATURE_ALGORITHMS, true),
        (SUPPORTED_GROUPS, !without_groups),
        (KEY_SHARE, !without_groups),
    ] {
        require(!needed || has(extension), || {
            HelloRefusal::MissingExtension { extension }
        })?;
    }
    Ok(())
}

/// Each key share is of a group that is offered, and there is one for a group. A share of no group
/// of ours is no fault: the client is asked to try again.
fn key_share(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let shares = hello.key_share_groups.iter().flatten().copied();
    if !policy.is_tls13(hello) {
        return Ok(());
    }
    // Taking each group out as its share comes finds both faults at once.
    let mut groups: BTreeSet<u16> = hello.groups.iter().copied().collect();
    for group in shares {
        require(groups.remove(&group), || HelloRefusal::KeyShare { group })?;
    }
    Ok(())
}

fn suite(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let mut sets = policy.candidates(hello);
    let holds = sets.any(|set| share(&hello.suites, &set.suites));
    require(holds, || HelloRefusal::NoSharedSuite)
}

/// Asked of the sets that share a suite. A TLS 1.2 client that names no groups leaves the choice to
/// the server (RFC 8422 4); it is refused nonetheless, as the TLS library does not choose.
fn group(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let mut sets = policy.candidates(hello);
    let holds =
        sets.any(|set| share(&hello.suites, &set.suites) && share(&hello.groups, &set.groups));
    require(holds, || HelloRefusal::NoSharedGroup)
}

/// Asked of the sets that share a suite and a group. A TLS 1.2 client that names no schemes means
/// SHA-1 (RFC 5246 7.4.1.4.1), which RFC 9155 ended.
fn signature(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let mut sets = policy.candidates(hello);
    let holds = sets.any(|set| {
        share(&hello.suites, &set.suites)
            && share(&hello.groups, &set.groups)
            && share(&hello.signatures, &set.signatures)
    });
    require(holds, || HelloRefusal::NoSharedSignature)
}

/// TLS 1.3 needs no such extension.
fn extended_master_secret(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let holds = policy.is_tls13(hello) || hello.offers_extended_master_secret();
    require(holds, || HelloRefusal::NoExtendedMasterSecret)
}

/// Before TLS 1.3, a list without the uncompressed format is refused; no list stands for that format.
fn point_formats(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    const UNCOMPRESSED: u8 = 0;
    let holds = match &hello.point_formats {
        Some(formats) => policy.is_tls13(hello) || formats.contains(&UNCOMPRESSED),
        None => true,
    };
    require(holds, || HelloRefusal::PointFormats)
}

/// A client that sends no list gets the protocol of the listener without one.
fn protocol(hello: &ClientHello, policy: &Policy) -> Result<(), HelloRefusal> {
    let ours = &policy.protocols;
    let mut theirs = hello.protocols.iter();
    let holds = hello.protocols.is_empty()
        || ours.is_empty()
        || theirs.any(|name| ours.iter().any(|own| own == name));
    require(holds, || HelloRefusal::NoSharedProtocol)
}

/// Whether two lists have a value in common. The second is ours, and short.
fn share(theirs: &[u16], ours: &[u16]) -> bool {
    theirs.iter().any(|value| ours.contains(value))
}

fn require(holds: bool, refusal: impl FnOnce() -> HelloRefusal) -> Result<(), HelloRefusal> {
    if holds { Ok(()) } else { Err(refusal()) }
}
