//! Which certificates of its issuer a list speaks of (RFC 5280 5.2.5).

use x509_parser::extensions::{
    DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension,
};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::CertificateRevocationList;

use super::fault::ListFault;
use crate::identity::Link;

/// Which certificates of its issuer a list speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// `None` for all; else those whose distribution point is one of these.
    points: Option<Vec<Box<str>>>,
    only_users: bool,
    only_authorities: bool,
}

impl Scope {
    pub(super) fn covers(&self, link: &Link, is_leaf: bool) -> bool {
        let kind = if is_leaf {
            !self.only_authorities
        } else {
            !self.only_users
        };
        let place = match &self.points {
            None => true,
            Some(points) => points
                .iter()
                .any(|point| link.distribution_points.contains(point)),
        };
        kind && place
    }
}

pub(super) fn scope(list: &CertificateRevocationList<'_>) -> Result<Scope, ListFault> {
    let mut scope = Scope {
        points: None,
        only_users: false,
        only_authorities: false,
    };
    for extension in list.extensions() {
        if extension.oid == oid::OID_X509_EXT_DELTA_CRL_INDICATOR {
            return Err(ListFault::Unsupported {
                what: "a delta list",
            });
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => restrict(&mut scope, point)?,
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
            scope.points = Some(uris.collect());
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => {
            return Err(ListFault::Unsupported {
                what: "a distribution point relative to its issuer",
            });
        }
    }
    Ok(())
}
