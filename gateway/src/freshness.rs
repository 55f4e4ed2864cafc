//! Revocation lists whose successors are due, told before the clients under them are refused, and OCSP answers
//! about certificates of the gateway whose successors are, told before they are no longer shown: as findings for the
//! log once in a while, and for `/status` whenever somebody asks.
//!
//! Nothing is read here: lists come into force at start, at a reload, and when they change (`refresh`), answers when
//! they come (`fetch`, `staples`). No clock: the time comes as an argument.

use std::collections::BTreeMap;

use audit::event::Time;
use config::{CertificateName, Finding, Severity, TrustName};

use crate::revocation::{Due, Index};
use crate::site::Site;
use crate::tls::{OwnCertificate, Revocation, StapleStanding};

/// What was not mended is told again after this long, seconds.
const AGAIN: i64 = 3600;

/// The lists of each trust set that has some.
pub fn lists(site: &Site) -> impl Iterator<Item = (&TrustName, &Index)> {
    site.trust
        .iter()
        .filter_map(|trust| match &trust.revocation {
            Revocation::Lists { index, .. } => Some((&trust.name, index)),
            Revocation::Off => None,
        })
}

/// Remembers what was told, so that a look each second does not fill a log.
#[derive(Debug, Default)]
pub struct Reminder {
    told: BTreeMap<TrustName, Told>,
    staples: BTreeMap<CertificateName, (Lack, i64)>,
}

#[derive(Debug)]
struct Told {
    due: Due,
    is_stale: bool,
    at: i64,
}

impl Reminder {
    /// What is to be told now: one warning a trust set, when lists become due, when they grow stale,
    /// when others do, and each hour as long as nobody mends it. `now` in seconds since 1970.
    pub fn look(&mut self, site: &Site, now: i64) -> Vec<Finding> {
        let due: BTreeMap<&TrustName, Due> = lists(site)
            .filter_map(|(name, index)| Some((name, index.due(now)?)))
            .collect();
        self.told.retain(|name, _| due.contains_key(name));
        let mut findings = Vec::new();
        for (name, due) in due {
            let is_stale = due.next_update < now;
            let is_known = self.told.get(name).is_some_and(|told| {
                told.due == due && told.is_stale == is_stale && now < told.at.saturating_add(AGAIN)
            });
            if is_known {
                continue;
            }
            findings.extend(warning(site, name, &due, is_stale));
            let told = Told {
                due,
                is_stale,
                at: now,
            };
            self.told.insert(name.clone(), told);
        }
        findings.extend(self.look_at_staples(site, now));
        findings
    }

    /// The same of the OCSP answers about our certificates.
    fn look_at_staples(&mut self, site: &Site, now: i64) -> Vec<Finding> {
        let lacks: Vec<(&OwnCertificate, Lack)> = site
            .certificates
            .iter()
            .filter_map(|own| Some((&**own, lack(own, now)?)))
            .collect();
        let is_there = |name: &CertificateName| lacks.iter().any(|(own, _)| own.name() == name);
        self.staples.retain(|name, _| is_there(name));
        let mut findings = Vec::new();
        for (own, lack) in lacks {
            let told = self.staples.get(own.name());
            if told.is_some_and(|(told, at)| *told == lack && now < at.saturating_add(AGAIN)) {
                continue;
            }
            findings.extend(lack.finding(own));
            self.staples.insert(own.name().clone(), (lack, now));
        }
        findings
    }
}

/// What is wrong with the OCSP answer about a certificate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// It ends soon, then, and none came after it.
    Due(i64),
    /// It has ended, then.
    Over(i64),
    /// There never was one.
    Missing,
    /// It says "revoked", since then.
    Revoked(i64),
}

fn lack(own: &OwnCertificate, now: i64) -> Option<Lack> {
    let Some(newest) = own.staples()?.newest() else {
        return Some(Lack::Missing);
    };
    let end = newest.next_update;
    match newest.standing {
        StapleStanding::Revoked { at } => Some(Lack::Revoked(at)),
        StapleStanding::Good if now >= end => Some(Lack::Over(end)),
        StapleStanding::Good if end - now <= newest.life() / 4 => Some(Lack::Due(end)),
        StapleStanding::Good => None,
    }
}

impl Lack {
    /// An error where clients are turned away for it, or ought to be.
    fn finding(self, own: &OwnCertificate) -> Option<Finding> {
        let date = Time::from_unix_seconds;
        let shown = if own.must_staple() {
            "the certificate demands one (RFC 7633) and is shown to nobody"
        } else {
            "the certificate is shown without one"
        };
        let message = match self {
            Lack::Due(end) => format!(
                "the OCSP answer that is stapled ends at {}, and none came after it",
                date(end)
            ),
            Lack::Over(end) => format!("the OCSP answer ended at {}: {shown}", date(end)),
            Lack::Missing => format!("there is no OCSP answer: {shown}"),
            Lack::Revoked(at) => format!(
                "the certificate is revoked since {}, and nothing is stapled",
                date(at)
            ),
        };
        let hint = match self {
            Lack::Revoked(_) => "have a new certificate issued, for a new key, and reload",
            Lack::Due(_) | Lack::Over(_) | Lack::Missing => {
                "look at the responder, or at what writes the file: an answer is shown as soon as it is there"
            }
        };
        let is_error = match self {
            Lack::Revoked(_) => true,
            Lack::Over(_) | Lack::Missing => own.must_staple(),
            Lack::Due(_) => false,
        };
        let finding = Finding::error(own.staples()?.place(), message, Some(hint));
        Some(Finding {
            severity: if is_error {
                Severity::Error
            } else {
                Severity::Warning
            },
            ..finding
        })
    }
}

fn warning(site: &Site, name: &TrustName, due: &Due, is_stale: bool) -> Option<Finding> {
    let date = Time::from_unix_seconds(due.next_update);
    let when = if is_stale {
        "is out of date since"
    } else {
        "will be out of date at"
    };
    let more = match due.lists {
        1 => String::new(),
        lists => format!(" ({lists} lists are due)"),
    };
    let message = format!(
        "the revocation list of \"{}\" {when} {date}{more}",
        due.issuer
    );
    let hint = "let the authority publish a fresh one (`pki crl`): it comes into force by itself";
    Some(Finding {
        severity: Severity::Warning,
        ..Finding::error(
            &site.config.trust.get(name)?.revocation.place,
            message,
            Some(hint),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Place;
    use crate::tls::testing::{answer, revoked};
    use ocsp::Status;

    #[test]
    fn lists_are_told_of_when_due_when_stale_and_each_hour_but_not_each_second() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let site = place.load(None).unwrap();
        let (_, index) = lists(&site).next().unwrap();
        let end = index.next_update().unwrap();
        let mut reminder = Reminder::default();
        let day = 86_400;
        assert_eq!(reminder.look(&site, end - day - 1), []);
        let told = reminder.look(&site, end - day);
        assert_eq!(told.len(), 1);
        let told = told[0].to_string();
        for part in [
            "warning: ",
            "trust.devices.revocation",
            "\"CN=one\" will be out of date at 2026-01-",
            "\nhint: ",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert_eq!(reminder.look(&site, end - day + 1), []);
        assert_eq!(reminder.look(&site, end - day + AGAIN - 1), []);
        assert_eq!(reminder.look(&site, end - day + AGAIN).len(), 1);
        assert_eq!(reminder.look(&site, end).len(), 1);
        let told = reminder.look(&site, end + 1);
        assert!(told[0].message.contains("is out of date since"), "{told:?}");
        // A fresh list ends it, and the next one is told of anew.
        assert_eq!(reminder.look(&site, end - 2 * day), []);
        assert_eq!(reminder.look(&site, end - day).len(), 1);
    }

    /// The same configuration, with OCSP answers about the server's certificate from a file.
    fn stapling() -> (Place, Site) {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let chain = place.directory.path().join("server/chain.pem");
        let leaf = std::fs::read_to_string(&chain).unwrap();
        std::fs::write(chain, leaf + &place.ca.certificate.pem()).unwrap();
        let key = "\"file:server/key.pem\"";
        place.edit(key, &format!("{key}\nocsp = \"server/ocsp.der\""));
        let site = place.load(None).unwrap();
        (place, site)
    }

    #[test]
    fn a_staple_is_told_of_when_it_is_missing_due_over_or_revoked_but_not_each_second() {
        let (place, site) = stapling();
        let own = &site.certificates[0];
        let certified = std::fs::read(place.directory.path().join("server/chain.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&certified).unwrap();
        let serial = pem.parse_x509().unwrap().raw_serial().to_vec();
        let now = 1_800_000_000;
        let say = |status, from, until| {
            let der = answer(&place.ca, &serial, status, from, until);
            // What it says is what the reminder looks at.
            let _ = own.staple(&der, jiff::Timestamp::from_second(now).unwrap());
        };
        let mut reminder = Reminder::default();
        let mut told = |at: i64| -> Vec<String> {
            let findings = reminder.look_at_staples(&site, at);
            findings.iter().map(ToString::to_string).collect()
        };
        let missing = told(now);
        assert!(
            missing[0].contains("there is no OCSP answer: the certificate is shown without one")
        );
        assert!(missing[0].starts_with("warning: "), "{missing:?}");
        assert!(
            missing[0].contains("certificates.server.ocsp"),
            "{missing:?}"
        );
        assert_eq!((told(now + 1).len(), told(now + AGAIN).len()), (0, 1));
        say(Status::Good, now, now + 4000);
        assert_eq!(told(now + 2999), [""; 0]);
        let due = told(now + 3000);
        assert!(
            due[0].contains("the OCSP answer that is stapled ends at"),
            "{due:?}"
        );
        assert_eq!(told(now + 3001), [""; 0]);
        let over = told(now + 4000);
        assert!(over[0].contains("the OCSP answer ended at"), "{over:?}");
        say(revoked(), now + 1, now + 4000);
        let revoked = told(now + 1);
        assert!(
            revoked[0].contains("the certificate is revoked since"),
            "{revoked:?}"
        );
        assert!(revoked[0].starts_with("error: "), "{revoked:?}");
        assert_eq!(told(now + 2), [""; 0]);
    }
}
