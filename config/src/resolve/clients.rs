//! Who clients are: trust sets and roles.
//!
//! A role's names count under one trust set alone, so that a name under one authority is never
//! taken for the same name under another.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Context, must_exist, rationale};
use crate::collect::Optional;
use crate::file;
use crate::model::{ListKeeping, ListSource, Ocsp, Purpose, Revocation, Role, Trust, WhenStale};
use crate::name::TrustName;
use crate::place::{Place, Placed, quoted};
use crate::secret::ListText;

pub(super) fn trust(table: file::Trust, context: &mut Context<'_>) -> Trust {
    let place = table.place;
    let (revocation, ocsp) = match table.revocation {
        None => (
            Placed {
                value: STRICT,
                place: place.child("revocation"),
            },
            Ocsp::Off,
        ),
        Some(Placed { value, place }) => {
            let (value, ocsp) = revocation(value, &place, context);
            (Placed { value, place }, ocsp)
        }
    };
    Trust {
        roots: table
            .roots
            .map(|roots| context.files(roots.value.0))
            .unwrap_or_default(),
        intermediates: context.files(table.intermediates.value.0),
        revocation,
        ocsp,
        identity: table.identity.value,
        rationale: rationale(table.rationale, &place),
        place,
    }
}

/// Stands in for what is missing or wrong, so that it is not also judged to be weak.
const STRICT: Revocation = Revocation::Crls {
    sources: Vec::new(),
    when_stale: WhenStale::Refuse,
    kept: ListKeeping::Unstated,
    refresh: Duration::ZERO,
};

fn revocation(
    value: file::Revocation,
    place: &Place,
    context: &mut Context<'_>,
) -> (Revocation, Ocsp) {
    let table = match value {
        file::Revocation::Off => return (Revocation::Off, Ocsp::Off),
        file::Revocation::Crls(table) => table,
    };
    let has_lists = !matches!(table.crls, Optional::Absent);
    let ocsp = match table.ocsp {
        Optional::Given(url) => Ocsp::Http {
            url,
            max_age: table.ocsp_max_age.value,
        },
        Optional::Wrong => Ocsp::Off,
        Optional::Absent => {
            if !has_lists {
                let message = "nothing says how a certificate is taken back";
                let hint = "write crls = [\"/var/lib/phigate/crl/\"] or ocsp = \"http://pki.example/ocsp\"";
                context.report.error(place, message, hint);
            }
            Ocsp::Off
        }
    };
    let lists = table.crls.into_given();
    let sources = lists.map(|lists| lists.value.0).unwrap_or_default();
    let fetched = sources
        .iter()
        .find(|source| matches!(source.value, ListText::Http(_)))
        .map(|source| source.place.clone());
    let kept = match (table.kept, fetched) {
        (Optional::Wrong, _) | (Optional::Absent, None) => ListKeeping::Unstated,
        (Optional::Given(folder), Some(_)) => ListKeeping::Folder(context.file(folder)),
        (Optional::Given(folder), None) => {
            let hint = "leave kept out; files and folders are read where they are";
            let message = "no list is fetched that could be kept there";
            context.report.error(&folder.place, message, hint);
            ListKeeping::Unstated
        }
        (Optional::Absent, Some(place)) => {
            let message =
                "a list that was fetched must be at hand after a restart, and nothing says where";
            let hint = "write kept = \"/var/lib/phigate/fetched\" beside crls, a folder of the gateway's own";
            context.report.error(&place, message, hint);
            ListKeeping::Unstated
        }
    };
    if !has_lists {
        return (Revocation::Ocsp, ocsp);
    }
    let revocation = Revocation::Crls {
        sources: sources
            .into_iter()
            .map(|Placed { value, place }| match value {
                ListText::Path(path) => {
                    ListSource::Path(context.file(Placed { value: path, place }))
                }
                ListText::Http(url) => ListSource::Http(Placed { value: url, place }),
            })
            .collect(),
        when_stale: table.when_stale.value,
        kept,
        refresh: table.refresh.value,
    };
    (revocation, ocsp)
}

pub(super) fn role(table: file::Role, context: &mut Context<'_>) -> Option<Role> {
    Some(Role {
        trust: role_trust(&table, context)?,
        clients: table
            .clients
            .map(|clients| clients.value.0)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        purpose: match table.purpose {
            Optional::Given(Placed { value, place }) => Purpose::Stated(Placed {
                value: value.0,
                place,
            }),
            Optional::Absent | Optional::Wrong => Purpose::Unstated,
        },
        place: table.place,
    })
}

/// The trust set of a role. Fails closed: undecided between two, it is a mistake.
fn role_trust(table: &file::Role, context: &mut Context<'_>) -> Option<Placed<TrustName>> {
    let sets = context.trust.as_ref();
    match &table.trust {
        Optional::Wrong => None,
        Optional::Given(name) => {
            must_exist("trust set", name, sets, context.report);
            Some(name.clone())
        }
        Optional::Absent => {
            let sets: Vec<&TrustName> = sets.into_iter().flat_map(BTreeSet::iter).collect();
            match sets.as_slice() {
                [only] => Some(Placed {
                    value: (*only).clone(),
                    place: table.place.clone(),
                }),
                [] if context.trust.is_none() => None,
                [] => {
                    let hint =
                        "write a table such as [trust.devices], which says who vouches for them";
                    context
                        .report
                        .error(&table.place, "nobody vouches for these names", hint);
                    None
                }
                [first, ..] => {
                    let message = "several trust sets are given, and the role names none";
                    let hint = format!(
                        "write trust = {}, or the one that is meant",
                        quoted(first.as_str())
                    );
                    context
                        .report
                        .error(&table.place.child("trust"), message, &hint);
                    None
                }
            }
        }
    }
}
