//! Which certificates of its issuer a list speaks of (RFC 5280 5.2.5).
//!
//! Fails closed: what cannot be told is a refusal, never a list that speaks of all.

use std::collections::HashSet;
use std::fmt;

use x509_parser::extensions::{
    DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension,
};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::CertificateRevocationList;

use super::fault::ListFault;

/// Which certificates of its issuer a list speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// `None` for all; else those whose distribution point is one of these, in order, none twice: a
    /// scope is the same however the list spells it.
    points: Option<Vec<Box<str>>>,
    only_users: bool,
    only_authorities: bool,
}

impl Scope {
    /// The distribution points that it is bound to; `None` if it is bound to none.
    pub(super) fn points(&self) -> Option<&[Box<str>]> {
        self.points.as_deref()
    }

    /// Whether it speaks of certificates of this kind.
    pub(super) fn is_for(&self, is_leaf: bool) -> bool {
        if is_leaf {
            !self.only_authorities
        } else {
            !self.only_users
        }
    }
}

/// Continues "a list for".
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.only_users, self.only_authorities) {
            (false, false) => "all certificates",
            (true, false) => "the certificates of users",
            (false, true) => "the certificates of authorities",
            (true, true) => "no certificates",
        })?;
        match self.points() {
            None => Ok(()),
            Some(points) => write!(f, " of the distribution point {}", points.join(" or ")),
        }
    }
}

/// Reads the scope of a list. Refuses one that is of a kind that leaves something unsaid.
pub(super) fn scope(list: &CertificateRevocationList<'_>) -> Result<Scope, ListFault> {
    let mut scope = Scope {
        points: None,
        only_users: false,
        only_authorities: false,
    };
    let mut seen = HashSet::new();
    for extension in list.extensions() {
        // RFC 5280 4.2: no extension stands there twice.
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(ListFault::Malformed);
        }
        if extension.oid == oid::OID_X509_EXT_DELTA_CRL_INDICATOR {
            return Err(ListFault::Unsupported {
                what: "a delta list",
            });
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => restrict(&mut scope, point)?,
            // One that cannot be read may not turn a part into the whole.
            _ if extension.oid == oid::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT => {
                return Err(ListFault::Malformed);
            }
            _ if extension.critical => {
                return Err(ListFault::Unsupported {
                    what: "a critical extension that is not understood",
                });
            }
            _ => {}
        }
    }
    let entries = list
        .iter_revoked_certificates()
        .flat_map(|revoked| revoked.extensions());
    if entries.into_iter().any(|extension| extension.critical) {
        return Err(ListFault::Unsupported {
            what: "a critical entry extension (an indirect list)",
        });
    }
    Ok(scope)
}

fn restrict(scope: &mut Scope, point: &IssuingDistributionPoint<'_>) -> Result<(), ListFault> {
    if point.indirect_crl {
        return Err(ListFault::Unsupported {
            what: "an indirect list",
        });
    }
    if point.only_some_reasons.is_some() {
        return Err(ListFault::Unsupported {
            what: "a list for some reasons only",
        });
    }
    if point.only_contains_attribute_certs {
        return Err(ListFault::Unsupported {
            what: "a list of attribute certificates",
        });
    }
    scope.only_users = point.only_contains_user_certs;
    scope.only_authorities = point.only_contains_ca_certs;
    match &point.distribution_point {
        None => {}
        Some(DistributionPointName::FullName(names)) => {
            let uris = names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).into()),
                _ => None,
            });
            let mut points: Vec<Box<str>> = uris.collect();
            if points.is_empty() {
                return Err(ListFault::Unsupported {
                    what: "a list for a distribution point without a URI",
                });
            }
            points.sort();
            points.dedup();
            scope.points = Some(points);
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => {
            return Err(ListFault::Unsupported {
                what: "a distribution point relative to its issuer",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};

    use super::super::List;
    use super::super::testing::{NOW, changed, params, read, usual};
    use super::*;

    /// id-ce-issuingDistributionPoint, critical.
    const POINT: &[u8] = b"\x06\x03\x55\x1d\x1c\x01\x01\xff";

    fn shard(uris: &[&str]) -> rcgen::CertificateRevocationListParams {
        let mut shard = params(&[5]);
        shard.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
            },
            scope: Some(CrlScope::UserCertsOnly),
        });
        shard
    }

    fn fault(from: &[u8], to: &[u8]) -> Option<ListFault> {
        let one = usual("one");
        let der = changed(&one, shard(&["http://crl.example/1"]), from, to);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        List::read(&der, &[&one.authority], algorithms, NOW).err()
    }

    #[test]
    fn a_scope_that_cannot_be_read_never_becomes_the_whole() {
        assert_eq!(fault(POINT, POINT), None);
        // Not critical, and no SEQUENCE.
        let from = [POINT, b"\x04\x1f\x30"].concat();
        let to = [&POINT[..7], b"\x00\x04\x1f\x31"].concat();
        assert_eq!(fault(&from, &to), Some(ListFault::Malformed));
    }

    #[test]
    fn an_extension_that_stands_there_twice_is_refused() {
        let number_again = b"\x06\x03\x55\x1d\x14\x01\x01\x00";
        assert_eq!(fault(POINT, number_again), Some(ListFault::Malformed));
    }

    #[test]
    fn a_distribution_point_without_a_uri_is_refused() {
        // The tag of a URI [6] becomes that of a DNS name [2].
        assert_eq!(
            fault(b"\x86\x14http:", b"\x82\x14http:"),
            Some(ListFault::Unsupported {
                what: "a list for a distribution point without a URI"
            })
        );
    }

    #[test]
    fn a_scope_is_the_same_however_it_is_spelt() {
        let one = usual("one");
        let scope = |uris: &[&str]| read(&one, shard(uris), &[&one.authority]).unwrap().scope;
        assert_eq!(scope(&["a:1", "a:2"]), scope(&["a:2", "a:1", "a:2"]));
        assert_ne!(scope(&["a:1"]), scope(&["a:2"]));
        assert_eq!(
            scope(&["a:2", "a:1"]).to_string(),
            "the certificates of users of the distribution point a:1 or a:2"
        );
    }
}
