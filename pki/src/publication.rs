//! Where an authority publishes what verifiers ask for, and what its certificates say of that
//! (RFC 5280 sections 4.2.1.13 and 4.2.2.1).
//!
//! ```text
//! URL/issuing.cer  URL/root.cer     certificates of the authorities
//! URL/crl/issuing-03.crl            one shard of the issuing authority's CRL; URL/crl/root.crl
//! URL/ocsp                          the OCSP responder
//! ```
//!
//! All of it is plain HTTP: what is fetched is signed, and a verifier that needed TLS to learn
//! whether a certificate is good would ask in a circle (RFC 5280 section 8). How many shards there
//! are is fixed when the authority is founded, because the certificates say which one is theirs.

use std::fmt;

use crate::name::Name;
use crate::profile::AuthorityRole;
use crate::serial::Serial;

/// Most shards of a CRL.
pub const MAX_SHARDS: u16 = 256;

/// Longest URL, in characters: what is made of it stays a name that every verifier takes.
const MAX_URL: usize = 200;

/// Where an authority publishes, and in how many parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    url: String,
    shards: u16,
}

/// What a certificate says of where its status is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointers {
    /// The CRL distribution point: the shard that it would stand in (section 4.2.1.13).
    pub crl: Option<String>,
    /// The OCSP responder (section 4.2.2.1, id-ad-ocsp).
    pub ocsp: Option<String>,
    /// Its issuer's certificate (section 4.2.2.1, id-ad-caIssuers).
    pub issuer: Option<String>,
}

impl Publication {
    /// Under `http://HOST[:PORT][/PATH]`, without a slash at its end, in `shards` parts.
    pub fn new(url: &str, shards: u16) -> Result<Self, PublicationError> {
        if !(1..=MAX_SHARDS).contains(&shards) {
            return Err(PublicationError::Shards { asked: shards });
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or(PublicationError::Scheme)?;
        if url.len() > MAX_URL || !is_authority_and_path(rest) {
            return Err(PublicationError::Url);
        }
        Ok(Self {
            url: url.to_owned(),
            shards,
        })
    }

    /// The base of all its URLs.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Which shard a certificate is revoked in: the serial's first two octets, which are random,
    /// decide, so that it needs no memory and the shards fill evenly.
    pub fn shard_of(&self, serial: &Serial) -> u16 {
        let octets = serial.octets();
        let at = |position: usize| u16::from(octets.get(position).copied().unwrap_or(0));
        (at(0) << 8 | at(1)) % self.shards
    }

    /// The URL of a CRL.
    pub fn crl_url(&self, issuer: AuthorityRole, shard: Option<u16>) -> String {
        format!("{}/crl/{}", self.url, crl_name(issuer, shard))
    }

    /// What a certificate from this issuer, in this shard, says.
    pub(crate) fn pointers(&self, issuer: AuthorityRole, shard: Option<u16>) -> Pointers {
        Pointers {
            crl: Some(self.crl_url(issuer, shard)),
            // The root is asked for nothing but the one issuing authority: its CRL says that.
            ocsp: (issuer == AuthorityRole::Issuing).then(|| format!("{}/ocsp", self.url)),
            issuer: Some(format!("{}/{}.cer", self.url, issuer.as_str())),
        }
    }
}

/// The file name of a CRL, below `crl/` on disk and in URLs.
pub fn crl_name(issuer: AuthorityRole, shard: Option<u16>) -> String {
    match shard {
        None => format!("{}.crl", issuer.as_str()),
        Some(shard) => format!("{}-{shard:02}.crl", issuer.as_str()),
    }
}

/// `HOST[:PORT][/SEGMENT...]` in its one spelling.
fn is_authority_and_path(text: &str) -> bool {
    let (authority, path) = match text.split_once('/') {
        None => (text, None),
        Some((authority, path)) => (authority, Some(path)),
    };
    let host = match authority.rsplit_once(':') {
        None => authority,
        Some((host, port)) if is_port(port) => host,
        Some(_) => return false,
    };
    let is_host = Name::dns(host).is_ok_and(|name| name.to_string() == host)
        || Name::ip(host).is_ok_and(|name| name.to_string() == host && !host.contains(':'));
    is_host && path.is_none_or(|path| path.split('/').all(is_segment))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|port| port != 0 && port != 80 && port.to_string() == text)
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet))
}

/// Why nothing can be published there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicationError {
    /// It does not begin with `http://`.
    Scheme,
    /// It is no URL of the kind that is wanted.
    Url,
    /// More shards than may be, or none.
    Shards {
        /// How many were asked for.
        asked: u16,
    },
}

impl fmt::Display for PublicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => write!(f, "what is published stands under http://"),
            Self::Url => write!(
                f,
                "the URL is no http://HOST[:PORT][/PATH], in lower case and without a slash at its end"
            ),
            Self::Shards { asked } => write!(
                f,
                "a CRL has 1 to {MAX_SHARDS} shards; {asked} were asked for"
            ),
        }
    }
}

impl std::error::Error for PublicationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_one_spelling_and_needs_no_tls() {
        for good in [
            "http://pki.clinic.example",
            "http://pki.clinic.example:8080/devices",
            "http://127.0.0.1:8080",
        ] {
            assert!(Publication::new(good, 16).is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://",
            "http://pki.clinic.example/",
            "http://pki.clinic.example:80",
            "http://pki.clinic.example:0",
            "http://pki.clinic.example:080",
            "http://PKI.clinic.example",
            "http://user@pki.clinic.example",
            "http://pki.clinic.example/a//b",
            "http://pki.clinic.example/../b",
            "http://pki.clinic.example/a?b",
            "http://pki.clinic.example/a b",
            "http://pki.clinic.example/a\n",
        ] {
            assert!(Publication::new(bad, 16).is_err(), "{bad}");
        }
        assert_eq!(
            Publication::new("https://pki.clinic.example", 16),
            Err(PublicationError::Scheme)
        );
        for shards in [0, MAX_SHARDS + 1] {
            assert!(Publication::new("http://pki.clinic.example", shards).is_err());
        }
    }

    #[test]
    fn each_serial_has_one_shard_and_the_shards_fill_evenly() {
        let publication = Publication::new("http://pki.clinic.example", 16).unwrap();
        let mut filled = [0; 16];
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let serial = Serial::from_octets(&[first, second, 1]).unwrap();
                filled[usize::from(publication.shard_of(&serial))] += 1;
            }
        }
        assert!(
            filled.iter().all(|count| (3500..4700).contains(count)),
            "{filled:?}"
        );
    }

    #[test]
    fn a_certificate_points_to_its_shard_its_responder_and_its_issuer() {
        let publication = Publication::new("http://pki.clinic.example/d", 16).unwrap();
        let pointers = publication.pointers(AuthorityRole::Issuing, Some(3));
        assert_eq!(
            pointers.crl.unwrap(),
            "http://pki.clinic.example/d/crl/issuing-03.crl"
        );
        assert_eq!(pointers.ocsp.unwrap(), "http://pki.clinic.example/d/ocsp");
        assert_eq!(
            pointers.issuer.unwrap(),
            "http://pki.clinic.example/d/issuing.cer"
        );
        let pointers = publication.pointers(AuthorityRole::Root, None);
        assert_eq!(
            pointers.crl.unwrap(),
            "http://pki.clinic.example/d/crl/root.crl"
        );
        assert_eq!(pointers.ocsp, None);
    }
}
