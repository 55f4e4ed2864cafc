//! The hosts that a server certificate is good for. Standard: RFC 9525 6.3.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// The names of a server certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Hosts {
    dns: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
}

impl Hosts {
    /// The subject alternative names of a certificate; none when it has none that can be read.
    pub fn of(certificate: &X509Certificate<'_>) -> Hosts {
        let mut hosts = Hosts {
            dns: Vec::new(),
            addresses: Vec::new(),
        };
        let Ok(Some(extension)) = certificate.subject_alternative_name() else {
            return hosts;
        };
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => hosts.dns.push(name.to_ascii_lowercase().into()),
                GeneralName::IPAddress(octets) => hosts.addresses.extend(address(octets)),
                _ => {}
            }
        }
        hosts
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty()
    }

    /// Whether the certificate is good for this host. An address counts only where the certificate
    /// holds it as one; a star stands for one whole label, and the leftmost only.
    pub fn cover(&self, host: &str) -> bool {
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && rest.eq_ignore_ascii_case(parent)
            }),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};
    use x509_parser::prelude::FromDer;

    fn hosts(names: Vec<SanType>) -> Hosts {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        Hosts::of(&parsed)
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn a_name_covers_itself_whatever_its_case() {
        let hosts = hosts(vec![dns("API.Clinic.Example")]);
        assert!(hosts.cover("api.clinic.example") && hosts.cover("API.CLINIC.EXAMPLE"));
        for other in [
            "clinic.example",
            "x.api.clinic.example",
            "api.clinic.example.org",
            "",
        ] {
            assert!(!hosts.cover(other), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let hosts = hosts(vec![dns("*.clinic.example")]);
        assert!(hosts.cover("api.clinic.example"));
        for other in ["clinic.example", ".clinic.example", "a.b.clinic.example"] {
            assert!(!hosts.cover(other), "{other}");
        }
    }

    #[test]
    fn an_address_is_covered_by_an_address_alone() {
        let hosts = hosts(vec![
            SanType::IpAddress("127.0.0.1".parse().unwrap()),
            SanType::IpAddress("::1".parse().unwrap()),
            dns("10.0.0.1"),
        ]);
        assert!(hosts.cover("127.0.0.1") && hosts.cover("[::1]") && hosts.cover("::1"));
        assert!(
            !hosts.cover("10.0.0.1"),
            "a DNS name that looks like an address"
        );
    }

    #[test]
    fn a_certificate_without_names_covers_nothing() {
        assert!(hosts(vec![]).is_empty());
    }
}
