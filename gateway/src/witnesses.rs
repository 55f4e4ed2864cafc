//! The witnesses of the audit log: asked before the log is opened whether it was put back to an older
//! state, and then followed by a thread of their own (`audit::ship::witnesses`).
//!
//! Fails closed where a witness proves, or says over TLS, that it cosigned more than lies here, or
//! something else: the gateway does not start, and nothing is written. A witness that cannot be asked
//! does not gate, and one that only claims it over plain HTTP does not either: whoever could forge that
//! could as well keep the witness silent, and must not be able to keep the gateway down. Both are
//! warnings, and on record.

use audit::error::OpenError;
use audit::event::Time;
use audit::lock::has_writer;
use audit::log::{Committer, Log};
use audit::merkle::key::Verifier;
use audit::ship::submit::{Conflict, Witness};
use audit::ship::witnesses::{Before, Followed, Witnesses, ask_before};
use config::Place;

use crate::site::Site;

/// A witness with what it said before the log was opened.
pub type Asked = (Witness, Before);

/// Why the gateway does not start.
#[derive(Debug)]
pub enum WitnessError {
    /// The log cannot be looked at.
    Log(OpenError),
    /// A witness cosigned more than the log holds, or another log of its name.
    RolledBack {
        /// The name of its key.
        name: String,
        /// Where it is.
        url: String,
        /// What it remembers.
        conflict: Conflict,
    },
}

impl WitnessError {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            WitnessError::Log(error) => error.hint(),
            WitnessError::RolledBack { .. } => {
                "put back the newest copy of the log, the one that the witness saw. If it is lost, keep this one as evidence and begin another log in another place, with keys of another name"
            }
        }
    }
}

impl std::fmt::Display for WitnessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WitnessError::Log(error) => write!(f, "the audit log does not open: {error}"),
            WitnessError::RolledBack {
                name,
                url,
                conflict,
            } => write!(
                f,
                "the audit log was cut, rolled back or replaced: its witness {name} at {url} disagrees: {conflict}"
            ),
        }
    }
}

/// Asks the witnesses of the log that `site` names; a few seconds at most. To be called before the log
/// is opened.
///
/// # Errors
/// [`WitnessError`], with the place in the configuration; the log is then as it was.
pub fn ask(site: &Site) -> Result<Vec<Asked>, (Place, Box<WitnessError>)> {
    let audit = &site.config.audit;
    let Some(signer) = &site.audit_keys.signer else {
        return Ok(Vec::new());
    };
    if site.witnesses.is_empty() {
        return Ok(Vec::new());
    }
    let said = ask_before(
        &audit.directory.path,
        signer,
        &keys_of(site),
        &site.witnesses,
    );
    let said = said.map_err(|error| {
        let place = audit.directory.place.clone();
        (place, Box::new(WitnessError::Log(error)))
    })?;
    let mut asked = Vec::with_capacity(said.len());
    for ((witness, before), named) in site.witnesses.iter().zip(said).zip(&audit.witnesses) {
        if let Before::Conflict(conflict) = &before
            && (conflict.proved.is_some() || witness.server.tls.is_some())
        {
            // Another gateway may have gone on with the log between our look at it and the answer.
            if has_writer(&audit.directory.path).unwrap_or(false) {
                let place = audit.directory.place.clone();
                return Err((place, Box::new(WitnessError::Log(OpenError::Locked))));
            }
            let error = WitnessError::RolledBack {
                name: witness.key.name().to_string(),
                url: witness.server.to_string(),
                conflict: conflict.clone(),
            };
            return Err((named.url.place.clone(), Box::new(error)));
        }
        asked.push((witness.clone(), before));
    }
    Ok(asked)
}

/// The keys that the log is or was signed with, the one in force first: what a witness remembers may be
/// signed with an earlier one.
fn keys_of(site: &Site) -> Vec<Verifier> {
    let own = site.audit_keys.signer.iter().map(|own| own.verifier());
    let earlier = site.audit_keys.rotations.keys();
    let mut keys: Vec<Verifier> = own.cloned().collect();
    for key in earlier {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// Follows them from now on; nothing when there are none.
///
/// # Errors
/// The operating system's.
pub fn follow(
    site: &Site,
    log: &Log,
    committer: &Committer,
    asked: Vec<Asked>,
) -> std::io::Result<Option<Witnesses>> {
    if asked.is_empty() {
        return Ok(None);
    }
    let followed = Followed {
        directory: site.config.audit.directory.path.clone(),
        keys: keys_of(site),
        log: log.clone(),
        lock: committer.lock(),
    };
    Witnesses::start(followed, asked).map(Some)
}

/// When a witness last knew all that was signed.
pub fn succeeded_at(seconds: u64) -> Option<Time> {
    let seconds = i64::try_from(seconds).ok()?;
    (seconds > 0).then(|| Time::from_unix_seconds(seconds))
}
