//! Enrolment of those who are not operators: by a one-time token, or by the certificate that they have.
//!
//! What they get is decided by the token, or by their certificate, and never by their request.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::Ca;
use super::renewal::same_days;
use crate::authority::Issuing;
use crate::error::Error;
use crate::inspect::Inspected;
use crate::issue::{KeySource, Order, Validated};
use crate::log::{Asker, Recorder};
use crate::name::Name;
use crate::profile::{EndEntity, Names, Profile};
use crate::request::Request;
use crate::serial::Serial;
use crate::store::{AuthorityRole, CertificateId, Find, Status, StoreError};
use crate::token::Token;

/// Who asks for a certificate, and what proves it.
#[derive(Debug)]
pub enum Applicant {
    /// Whoever holds this token, under the name that it was made for if one is given.
    Token {
        /// The token.
        token: Token,
        /// The name that was given, perhaps empty.
        name: String,
    },
    /// Whoever proved to hold the key of the certificate with this serial.
    Certificate {
        /// The serial.
        serial: Serial,
    },
}

/// What is granted, before the request is read.
struct Grant {
    profile: EndEntity,
    names: Names,
    /// For how long, if not for what the profile says.
    days: Option<u32>,
    token: Option<[u8; 32]>,
    predecessor: Option<CertificateId>,
    asker: Asker,
}

impl Ca {
    /// Certifies the key of `request` (PKCS #10) for an applicant from `address`. Returns DER.
    ///
    /// An applicant by certificate gets the same profile and names, and the same lifetime if it was given in days and
    /// still fits, as by [`Ca::renew`]. A certificate that ended is taken for
    /// `grace` longer; one that was revoked is not. What is refused to a token or a certificate that is good is on
    /// record. One that is not good leaves no entry, because it could be shown without end.
    ///
    /// A token that was used enrols nobody again; but until it expires, whoever shows it with a request for the same
    /// key gets the certificate that it was used for.
    pub fn enrol(
        &mut self,
        request: Vec<u8>,
        applicant: Applicant,
        (address, grace): (IpAddr, SignedDuration),
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let grant = match applicant {
            Applicant::Token { token, name } => match self.by_token(&token, &name, address, now) {
                Err(error @ Error::Store(StoreError::TokenSpent { .. })) => {
                    return self
                        .enrolled_already(&token, &name, &request, now)?
                        .ok_or(error);
                }
                grant => grant?,
            },
            Applicant::Certificate { serial } => {
                self.by_certificate(serial, address, grace, now)?
            }
        };
        let order = Order {
            profile: grant.profile,
            names: grant.names.clone(),
            key: KeySource::Request(request),
            days: grant.days,
        };
        let issued = self.enrol_or_refuse(order, &grant, now);
        match issued {
            Err(Error::Log(error)) => Err(Error::Log(error)),
            Err(error @ Error::IssuedUnrecorded { .. }) => Err(error),
            Err(error) => {
                let (profile, names) = (grant.profile.profile(), grant.names.all());
                self.log.record(|recorder| {
                    recorder.refused(error.code(), Some(profile), names, &grant.asker)
                })?;
                Err(error)
            }
            issued => issued,
        }
    }

    fn enrol_or_refuse(
        &mut self,
        order: Order,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        let validated = Validated::check(order, self.issuing()?, now)?
            .with_token(grant.token)
            .with_predecessor(grant.predecessor);
        let authority = self.unlock::<Issuing>()?;
        Ok(self
            .certify(validated, (&authority, &grant.asker), now)?
            .der)
    }

    /// Puts on record that somebody who holds a certificate that is no good tried to enrol with it.
    pub fn put_attempt_on_record(
        &self,
        error: &Error,
        serial: &Serial,
        address: IpAddr,
    ) -> Result<(), Error> {
        let by = Asker::Certificate {
            serial: serial.clone(),
            address,
        };
        let put = |recorder: &Recorder| recorder.refused(error.code(), None, &[], &by);
        Ok(self.log.record(put)?)
    }

    fn by_token(
        &self,
        token: &Token,
        name: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let hash = token.sha256();
        let found = self
            .store
            .token(self.id(AuthorityRole::Issuing)?, &hash, now)?;
        if !name.is_empty() && name != found.label {
            return Err(StoreError::TokenForAnother.into());
        }
        let (profile, names) = granted(found.profile, found.names)?;
        Ok(Grant {
            profile,
            names,
            days: None,
            token: Some(hash),
            predecessor: None,
            asker: Asker::Token {
                id: found.handle,
                address,
            },
        })
    }

    /// What the token was used for, if it is for the key of this request, too: its answer was lost on the way,
    /// and who asks again gets the same. Nothing is signed, and so nothing is put on record.
    fn enrolled_already(
        &self,
        token: &Token,
        name: &str,
        request: &[u8],
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Error> {
        let found = self
            .store
            .enrolled(self.id(AuthorityRole::Issuing)?, &token.sha256(), now)?;
        let Some((token, certificate)) = found else {
            return Ok(None);
        };
        if !name.is_empty() && name != token.label {
            return Ok(None);
        }
        let Some(der) = self.der(certificate)? else {
            return Ok(None);
        };
        let inspected = Inspected::read(&der).ok_or(Error::Foreign)?;
        let standing = self.standing(&inspected.serial)?;
        let is_good = standing.is_some_and(|standing| standing.status == Status::Issued);
        let key = Request::parse(request)?.key().sha256();
        Ok((is_good && inspected.key_sha256 == key).then_some(der))
    }

    fn by_certificate(
        &self,
        serial: Serial,
        address: IpAddr,
        grace: SignedDuration,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let found = self.show(&Find::Serial(serial.clone()))?;
        let record = found
            .into_iter()
            .find(|record| record.issuer == AuthorityRole::Issuing.as_str())
            .ok_or(Error::Foreign)?;
        if let Some((at, reason)) = record.revoked {
            return Err(Error::AlreadyRevoked { serial, at, reason });
        }
        let ends = record.validity.map(|validity| validity.not_after);
        let (Status::Issued, Some(not_after)) = (record.status, ends) else {
            return Err(Error::NeverSigned { serial });
        };
        if not_after.duration_until(now) > grace {
            return Err(Error::Expired { serial, not_after });
        }
        self.refuse_if_too_often(&record.label, now)?;
        let days = same_days(&record, self.issuing()?.validity().not_after, now);
        let (profile, names) = granted(record.profile, record.names)?;
        Ok(Grant {
            profile,
            names,
            days,
            token: None,
            predecessor: Some(record.id),
            asker: Asker::Certificate { serial, address },
        })
    }
}

/// Most certificates that one holder gets by certificate, within [`OFTEN`]. One that loops, or its thief, fills
/// neither the inventory nor the log.
const MOST: usize = 10;
const OFTEN: SignedDuration = SignedDuration::from_hours(1);

impl Ca {
    fn refuse_if_too_often(&self, label: &str, now: Timestamp) -> Result<(), Error> {
        let found = self.store.find(&Find::Id(label.to_owned()))?;
        let recent = found
            .iter()
            .filter(|record| record.reserved_at.duration_until(now) < OFTEN);
        if recent.count() < MOST {
            Ok(())
        } else {
            Err(Error::TooOften)
        }
    }
}

/// A responder's certificate is the authority's own, and nobody enrols for it.
fn granted(profile: &'static Profile, names: Vec<Name>) -> Result<(EndEntity, Names), Error> {
    let end_entity = [
        EndEntity::Server,
        EndEntity::Device,
        EndEntity::Client,
        EndEntity::Operator,
    ]
    .into_iter()
    .find(|known| known.profile() == profile)
    .ok_or(Error::Foreign)?;
    let names = end_entity.admit(names)?;
    Ok((end_entity, names))
}
