//! Looking an authority over: what is wrong, what will be, and what to do, without changing anything.
//!
//! One check is one row of [`CHECKS`]; each looks at something that has stopped an authority somewhere:
//! a store that contradicts itself, a list that grows stale, a certificate that nobody knows of, a key that
//! others can read. Secrets stay closed: the keys themselves are not read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{CA, CRL, Ca, TRUST, is_due};
use crate::error::Error;
use crate::files::read_bounded;
use crate::log::{LoggedStep, certificates};
use crate::pem;
use crate::store::{Filter, Find, Status, StatusFilter};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It will go wrong unless somebody sees to it.
    Warning,
    /// It is wrong.
    Bad,
}

impl Verdict {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check, in one word that stays.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do, unless it is good.
    pub hint: Option<&'static str>,
}

/// One thing that is looked at.
struct Check {
    name: &'static str,
    /// What good means.
    good: &'static str,
    look: fn(&Ca, Timestamp, &mut Found) -> Result<(), Error>,
}

/// What one check found beside "good".
type Found = Vec<(Verdict, String, &'static str)>;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// An issuing CA is replaced before its end comes near enough to shorten certificates.
const AUTHORITY_ENDS_SOON: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Devices renew when a third of 90 days is left.
const CERTIFICATE_ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Longest CRL that is read, in octets.
const MAX_CRL_OCTETS: usize = 64 * 1024 * 1024;

/// Everything that is looked at, in this order.
#[rustfmt::skip]
static CHECKS: [Check; 7] = [
    Check { name: "inventory", good: "contradicts itself nowhere", look: inventory },
    Check { name: "authorities", good: "valid for more than a year", look: authorities },
    Check { name: "crls", good: "published, signed by their issuer, and not due", look: crls },
    Check { name: "unfinished", good: "every serial that was drawn came to a certificate", look: unfinished },
    Check { name: "log", good: "whole, and no certificate in it is unknown to the inventory", look: log },
    Check { name: "permissions", good: "secrets are the owner's alone, and nobody else can replace what is published", look: permissions },
    Check { name: "expiry", good: "no live certificate ends within two weeks", look: expiry },
];

impl Ca {
    /// Looks at everything; at least one finding for each check. A check that cannot look is bad.
    pub fn examine(&self, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Check { name, good, look } in &CHECKS {
            let mut found = Found::new();
            if let Err(error) = look(self, now, &mut found) {
                let hint = "see what the error says, and look again";
                found.push((Verdict::Bad, format!("cannot be looked at: {error}"), hint));
            }
            if found.is_empty() {
                findings.push(Finding {
                    check: name,
                    verdict: Verdict::Good,
                    message: (*good).to_owned(),
                    hint: None,
                });
            }
            findings.extend(found.into_iter().map(|(verdict, message, hint)| Finding {
                check: name,
                verdict,
                message,
                hint: Some(hint),
            }));
        }
        findings
    }
}

fn inventory(ca: &Ca, _: Timestamp, found: &mut Found) -> Result<(), Error> {
    let hint = "restore it: `pki restore`, then `pki recover`";
    found.extend(
        ca.store
            .check()?
            .into_iter()
            .map(|finding| (Verdict::Bad, finding.to_string(), hint)),
    );
    Ok(())
}

// It cannot fail, and is a row of the table like those that can.
#[allow(clippy::unnecessary_wraps)]
fn authorities(ca: &Ca, now: Timestamp, found: &mut Found) -> Result<(), Error> {
    let issuing = ca.issuing().ok().map(|issuing| ("issuing CA", issuing));
    for (name, certificate) in [("root", ca.root())].into_iter().chain(issuing) {
        let validity = certificate.validity();
        let ends = validity.not_after;
        if !validity.contains(now) {
            let message = format!("the {name} is valid from {} to {ends}", validity.not_before);
            found.push((
                Verdict::Bad,
                message,
                "check the clock; if it is right, start a new authority",
            ));
        } else if now.duration_until(ends) < AUTHORITY_ENDS_SOON {
            let message = format!("the {name} ends {ends}");
            found.push((
                Verdict::Warning,
                message,
                "start its successor, and let devices trust both",
            ));
        }
    }
    if issuing.is_some()
        && let Err(error) = ca.refuse_if_issuer_is_revoked()
    {
        found.push((Verdict::Bad, error.to_string(), "start a new authority"));
    }
    Ok(())
}

fn crls(ca: &Ca, now: Timestamp, found: &mut Found) -> Result<(), Error> {
    for role in ca.known_roles() {
        let (id, issuer) = ca.of(role)?;
        let sign = if ca.settings.holds.key_of(role) {
            "`pki crl --due`, from a timer or by `pki serve`"
        } else {
            "`pki crl` where the root's key is, then `pki ceremony import` of its crl/root.crl here"
        };
        let states = ca.store.crl_states(*id)?;
        for shard in ca.shards(role) {
            let path = ca.crl_file(role, shard).published;
            let shown = path.display();
            let Some(state) = states.iter().find(|state| state.shard == shard) else {
                found.push((Verdict::Bad, format!("{shown} was never published"), sign));
                continue;
            };
            if state.next_update <= now {
                let message = format!("{shown} is stale since {}", state.next_update);
                found.push((Verdict::Bad, message, sign));
            } else if is_due(state, now) {
                let message = format!(
                    "{shown} is past half of its time, until {}",
                    state.next_update
                );
                found.push((Verdict::Warning, message, sign));
            }
            if state.this_update > now {
                let message = format!("{shown} is from {}, which is to come", state.this_update);
                found.push((Verdict::Bad, message, "check the clock of this machine"));
            }
            let published = read_bounded(&path, MAX_CRL_OCTETS).ok();
            let der = published.as_deref().and_then(pem::first_crl);
            match der.map(|der| issuer.crl_number(&der)) {
                None => found.push((Verdict::Bad, format!("{shown} cannot be read"), sign)),
                Some(None) => {
                    let message = format!("{shown} is not signed by its issuer");
                    found.push((Verdict::Bad, message, sign));
                }
                Some(Some(number)) if number < state.number => {
                    let message = format!(
                        "{shown} is number {number}; number {} was published",
                        state.number
                    );
                    found.push((Verdict::Bad, message, sign));
                }
                Some(Some(_)) => {}
            }
        }
    }
    Ok(())
}

fn unfinished(ca: &Ca, now: Timestamp, found: &mut Found) -> Result<(), Error> {
    let filter = Filter {
        status: Some(StatusFilter::Stored(Status::Pending)),
        ..Filter::default()
    };
    let pending = ca.store.list(&filter, None, 1, now)?.total;
    if pending > 0 {
        let message = format!("{pending} certificates may have been signed, and were not stored");
        found.push((
            Verdict::Warning,
            message,
            "`pki recover` lists them, `pki recover --revoke` ends them",
        ));
    }
    Ok(())
}

fn log(ca: &Ca, _: Timestamp, found: &mut Found) -> Result<(), Error> {
    const MOST: usize = 10;
    for logged in certificates(&ca.directory) {
        let logged = logged?;
        if found.len() >= MOST {
            break;
        }
        let known = ca.store.find(&Find::Serial(logged.serial.clone()))?;
        let is_issued = known
            .iter()
            .any(|record| matches!(record.status, Status::Issued | Status::Revoked));
        let says = match logged.step {
            LoggedStep::Revoked if ca.is_good(&logged.serial)? => {
                let message = format!(
                    "certificate {} was revoked by the word of the log, and the inventory holds it for good",
                    logged.serial
                );
                found.push((
                    Verdict::Bad,
                    message,
                    "`pki recover --revoke` revokes it again",
                ));
                continue;
            }
            LoggedStep::Issued if !is_issued => "issued",
            LoggedStep::Intended | LoggedStep::Revoked if known.is_empty() => "signed",
            _ => continue,
        };
        let message = format!(
            "certificate {} was {says} by the word of the log, and the inventory does not know it",
            logged.serial
        );
        found.push((
            Verdict::Bad,
            message,
            "`pki recover --revoke` takes it in and revokes it",
        ));
    }
    Ok(())
}

// As above.
#[allow(clippy::unnecessary_wraps)]
fn permissions(ca: &Ca, _: Timestamp, found: &mut Found) -> Result<(), Error> {
    let mut look = |path: &Path, forbidden: u32, what: &str| {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        let mode = metadata.mode() & 0o777;
        if !metadata.is_symlink() && mode & forbidden != 0 {
            let message = format!("{} has mode {mode:03o}: {what}", path.display());
            found.push((
                Verdict::Bad,
                message,
                "chmod go-rwx what is secret, go-w what is published",
            ));
        }
    };
    let own = ca.directory.join(CA);
    look(&own, 0o077, "others can look into it");
    for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
        look(&entry.path(), 0o077, "others can open it");
    }
    for path in [
        ca.directory.clone(),
        ca.directory.join(CRL),
        ca.directory.join(TRUST),
    ] {
        look(&path, 0o022, "others can replace it");
    }
    Ok(())
}

fn expiry(ca: &Ca, now: Timestamp, found: &mut Found) -> Result<(), Error> {
    let filter = Filter {
        expires_by: Some(now.checked_add(CERTIFICATE_ENDS_SOON).unwrap_or(now)),
        ..Filter::default()
    };
    let ending = ca.store.list(&filter, None, 1, now)?.total;
    if ending > 0 {
        let days = CERTIFICATE_ENDS_SOON.as_hours() / DAY.as_hours();
        let message = format!("{ending} live certificates end within {days} days");
        found.push((Verdict::Warning, message, "`pki list --expires-within 14d` names them; `pki renew --if-needed` from a timer renews them"));
    }
    Ok(())
}
