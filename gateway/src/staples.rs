//! OCSP answers about certificates of the gateway that something else keeps fresh in files: looked at each
//! second, by the thread that looks at the revocation lists too (`refresh`), and shown as soon as they are good.
//!
//! A file that does not count when it was just written is looked at once more before anybody is told: a copy may be
//! under way. What was shown before stays until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::CertificateName;
use jiff::Timestamp;

use crate::load;
use crate::site::Site;
use crate::tls::{OwnCertificate, StapleFault, StapleSource, Staples};

/// What did not count is read again after this long, though it looks as it did: its date may have come.
const AGAIN: Duration = Duration::from_mins(1);

/// How each file looked when it was last read.
#[derive(Debug, Default)]
pub struct Files {
    known: BTreeMap<CertificateName, Known>,
}

#[derive(Debug)]
struct Known {
    own: Arc<OwnCertificate>,
    /// How the file looked when what it holds was dealt with.
    read: Option<[u8; 32]>,
    /// How it looked when it did not count for the first time.
    settling: Option<[u8; 32]>,
    /// When what did not count is read again.
    again: Option<Instant>,
}

impl Files {
    /// Looks at each file, and shows what is new and good.
    pub fn look(&mut self, site: &Site, now: Timestamp) {
        let is_there =
            |name: &CertificateName| site.certificates.iter().any(|it| it.name() == name);
        self.known.retain(|name, _| is_there(name));
        for own in &site.certificates {
            let Some(staples) = own.staples() else {
                continue;
            };
            let StapleSource::File(path) = staples.source() else {
                continue;
            };
            let fresh = || Known {
                own: Arc::clone(own),
                read: None,
                settling: None,
                again: None,
            };
            let known = self.known.entry(own.name().clone()).or_insert_with(fresh);
            if !Arc::ptr_eq(&known.own, own) {
                *known = fresh();
            }
            let seen = load::look_at(path);
            if known.is_due(seen, Instant::now()) {
                let outcome = load::content(path, ocsp::MAX_RESPONSE_OCTETS as u64)
                    .map(|der| own.staple(&der, now));
                known.was_read(seen, staples, outcome);
            }
        }
    }
}

impl Known {
    fn is_due(&self, seen: [u8; 32], now: Instant) -> bool {
        self.read != Some(seen) || self.again.is_some_and(|again| again <= now)
    }

    /// Notes what became of it; nothing was there to be read where there is no outcome.
    fn was_read(
        &mut self,
        seen: [u8; 32],
        staples: &Staples,
        outcome: Option<Result<bool, StapleFault>>,
    ) {
        let trouble = match outcome {
            Some(Ok(is_new)) => {
                if is_new {
                    tracing::info!("{}: a new OCSP answer is stapled", staples.place());
                }
                self.read = Some(seen);
                self.settling = None;
                self.again = None;
                return;
            }
            Some(Err(fault)) => Some(fault),
            None => None,
        };
        let was_told = self.read == Some(seen);
        if !was_told && self.settling != Some(seen) {
            self.settling = Some(seen);
            return;
        }
        self.read = Some(seen);
        self.again = Some(Instant::now() + AGAIN);
        if was_told {
            return;
        }
        let place = staples.place();
        match trouble {
            Some(fault @ StapleFault::Revoked { .. }) => {
                tracing::error!(hint = fault.hint(), "{place}: {fault}; nothing is stapled");
            }
            Some(fault) => tracing::warn!(
                hint = fault.hint(),
                "{place}: the OCSP answer in the file does not count: {fault}; the one before is stapled until it ends",
            ),
            None => tracing::warn!(
                hint = "let whatever fetches the OCSP answer write it there",
                "{place}: the file with the OCSP answer cannot be read; the one before is stapled until it ends",
            ),
        }
    }
}
