//! Name constraints: under which host names and addresses an issuing authority may certify servers
//! (RFC 5280 section 4.2.1.10).
//!
//! They stand in its certificate, critical, so that its key, in whatever hands, makes no server
//! certificate for anybody else's host. Devices are named by URNs, which constraints cannot speak
//! of: RFC 5280 constrains the host of a URI, and a URN has none.

use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, GeneralSubtree};

use crate::name::Name;

/// Most entries. Each is looked at for each name.
const MAX_ENTRIES: usize = 100;

/// What server certificates may be issued for. Never empty: an authority without constraints has
/// none of these.
///
/// A kind of name that is not mentioned is excluded as a whole: who permits hosts alone permits no
/// address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameConstraints {
    hosts: Vec<String>,
    networks: Vec<Network>,
}

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl NameConstraints {
    /// Permits these domains, each with everything below it, and these networks.
    pub fn new(hosts: &[Name], networks: Vec<Network>) -> Result<Self, ConstraintError> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let given = hosts.len() + networks.len();
        if given == 0 || given > MAX_ENTRIES {
            return Err(ConstraintError::Number { given });
        }
        Ok(Self { hosts, networks })
    }

    /// Reads them from a certificate. Fails closed: a form or a subtree that is not written here is
    /// an error, not a subtree that is left out.
    pub(crate) fn read(
        extension: &x509_parser::extensions::NameConstraints<'_>,
    ) -> Result<Self, ConstraintError> {
        let subtrees = |list: &Option<Vec<GeneralSubtree<'_>>>| {
            list.iter()
                .flatten()
                .map(|subtree| Subtree::read(&subtree.base))
                .collect::<Result<Vec<_>, _>>()
        };
        let mut read = Self {
            hosts: Vec::new(),
            networks: Vec::new(),
        };
        for subtree in subtrees(&extension.permitted_subtrees)? {
            match subtree {
                Subtree::Host(host) => read.hosts.push(host),
                Subtree::Network(network) => read.networks.push(network),
            }
        }
        if subtrees(&extension.excluded_subtrees)? != read.excluded() {
            return Err(ConstraintError::Unknown);
        }
        Ok(read)
    }

    /// The domains that are permitted.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The networks that are permitted.
    pub(crate) fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// What is excluded: each kind of which nothing is permitted, whole.
    pub(crate) fn excluded(&self) -> Vec<Subtree> {
        let mut excluded = Vec::new();
        if self.hosts.is_empty() {
            excluded.push(Subtree::Host(String::new()));
        }
        if self.networks.is_empty() {
            for address in [IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])] {
                excluded.push(Subtree::Network(Network { address, prefix: 0 }));
            }
        }
        excluded
    }

    /// Whether a certificate with this name may be issued.
    pub fn permit(&self, name: &Name) -> bool {
        match name {
            Name::Dns(_) => {
                let name = name.to_string();
                self.hosts.iter().any(|host| {
                    name.strip_suffix(host.as_str())
                        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
                })
            }
            Name::Ip(address) => self.networks.iter().any(|network| network.holds(*address)),
            Name::Uri(_) | Name::Hardware(_) => true,
        }
    }
}

/// One subtree, as it stands in a certificate. An empty host is every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subtree {
    /// A domain and everything below it.
    Host(String),
    /// A network.
    Network(Network),
}

impl Subtree {
    fn read(base: &GeneralName<'_>) -> Result<Self, ConstraintError> {
        match base {
            GeneralName::DNSName("") => Ok(Self::Host(String::new())),
            GeneralName::DNSName(host) => match Name::dns(host) {
                Ok(name) => Ok(Self::Host(name.to_string())),
                Err(_) => Err(ConstraintError::Unknown),
            },
            GeneralName::IPAddress(octets) => Network::from_octets(octets)
                .map(Self::Network)
                .ok_or(ConstraintError::Unknown),
            _ => Err(ConstraintError::Unknown),
        }
    }
}

impl Network {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`. Bits behind the prefix are zero.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let parsed = || {
            let (address, prefix) = text.split_once('/')?;
            let network = Self {
                address: address.parse().ok()?,
                prefix: prefix.parse().ok()?,
            };
            (prefix.len() < 4 && network.is_well_formed()).then_some(network)
        };
        parsed().ok_or(ConstraintError::NoNetwork)
    }

    /// The address, and how many of its bits count.
    pub(crate) fn parts(self) -> (IpAddr, u8) {
        (self.address, self.prefix)
    }

    /// Whether it holds this address.
    fn holds(self, address: IpAddr) -> bool {
        let (own, theirs) = (bits(self.address), bits(address));
        self.address.is_ipv4() == address.is_ipv4()
            && (own ^ theirs).checked_shr(self.rest()).unwrap_or(0) == 0
    }

    /// How many bits lie behind the prefix.
    fn rest(self) -> u32 {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        width - u32::from(self.prefix)
    }

    fn is_well_formed(self) -> bool {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        self.prefix <= width
            && (self.prefix == 0 && bits(self.address) == 0
                || self.prefix > 0 && bits(self.address).trailing_zeros() >= self.rest())
    }

    /// Address and mask one behind the other, as certificates write them.
    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (address, mask) = match octets.len() {
            8 | 32 => octets.split_at(octets.len() / 2),
            _ => return None,
        };
        let ip = |octets: &[u8]| match <[u8; 4]>::try_from(octets) {
            Ok(v4) => Some(IpAddr::from(v4)),
            Err(_) => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        };
        let ones = |mask: &[u8]| mask.iter().map(|octet| octet.count_ones()).sum::<u32>();
        let network = Self {
            address: ip(address)?,
            prefix: u8::try_from(ones(mask)).ok()?,
        };
        // A mask with holes would be another set of addresses than the prefix of as many ones.
        let mask = bits(ip(mask)?);
        let without_holes = network.rest() == 128 || mask.trailing_zeros() >= network.rest();
        (without_holes && network.is_well_formed()).then_some(network)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// For people: `clinic.example, 10.0.0.0/8`.
impl fmt::Display for NameConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let all: Vec<String> = self.hosts.iter().cloned().chain(networks).collect();
        f.write_str(&all.join(", "))
    }
}

/// Why constraints are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintError {
    /// None, or too many.
    Number {
        /// How many were given.
        given: usize,
    },
    /// A text that is no network.
    NoNetwork,
    /// A certificate carries some that are not understood.
    Unknown,
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { given } => {
                write!(
                    f,
                    "{given} name constraints were given; 1 to {MAX_ENTRIES} are possible"
                )
            }
            Self::NoNetwork => write!(
                f,
                "it is no network such as 10.0.0.0/8 or 2001:db8::/32, with nothing behind the prefix"
            ),
            Self::Unknown => write!(
                f,
                "the certificate has name constraints that are not understood"
            ),
        }
    }
}

impl std::error::Error for ConstraintError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(hosts: &[&str], networks: &[&str]) -> NameConstraints {
        let hosts: Vec<Name> = hosts.iter().map(|host| Name::dns(host).unwrap()).collect();
        let networks = networks
            .iter()
            .map(|text| Network::parse(text).unwrap())
            .collect();
        NameConstraints::new(&hosts, networks).unwrap()
    }

    #[test]
    fn a_domain_permits_itself_and_what_is_below_it() {
        let clinic = constraints(&["clinic.example"], &[]);
        for (host, permitted) in [
            ("clinic.example", true),
            ("api.clinic.example", true),
            ("a.b.clinic.example", true),
            ("otherclinic.example", false),
            ("clinic.example.evil.example", false),
            ("example", false),
        ] {
            assert_eq!(
                clinic.permit(&Name::dns(host).unwrap()),
                permitted,
                "{host}"
            );
        }
        assert!(!clinic.permit(&Name::ip("10.0.0.1").unwrap()));
        assert!(clinic.permit(&Name::uri("urn:example:pump-1").unwrap()));
    }

    #[test]
    fn a_network_permits_its_addresses_and_none_of_the_other_family() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.5/32", "10.0.0.5", "10.0.0.4"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let only = constraints(&[], &[network]);
            assert!(only.permit(&Name::ip(inside).unwrap()), "{network}");
            assert!(!only.permit(&Name::ip(outside).unwrap()), "{network}");
            assert!(!only.permit(&Name::dns("a.example").unwrap()));
        }
    }

    #[test]
    fn a_network_has_one_spelling() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "::1/0",
            "2001:db8::/129",
            "a/8",
            "10.0.0.0/0008",
            "1.0.0.0/0",
        ] {
            assert_eq!(
                Network::parse(text),
                Err(ConstraintError::NoNetwork),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_and_too_much_are_no_constraints() {
        assert!(NameConstraints::new(&[], Vec::new()).is_err());
        let many = vec![Name::dns("a.example").unwrap(); MAX_ENTRIES + 1];
        assert!(NameConstraints::new(&many, Vec::new()).is_err());
    }
}
