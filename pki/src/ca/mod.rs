//! A certification authority as it lies in a directory: both authorities, the inventory, and the
//! files that verifiers read. Its verbs are the library's interface.
//!
//! ```text
//! DIR/trust.pem            the root certificate: what a verifier trusts
//! DIR/crl/                 what a verifier reads for revocation:
//!     root.crl issuing.crl issuing.pem; instead of issuing.crl its shards, issuing-00.crl …
//! DIR/ca/                  the authority's own, 0700:
//!     root.pem root.key.pem issuing.pem issuing.key.pem inventory.db authority.toml audit.keys;
//!     ocsp.pem once OCSP responses are signed
//! DIR/audit/               its audit log, 0700: for the program `audit`
//! DIR/log.vkey             the log's public key
//! ```
//!
//! The root's key can be elsewhere: then there are two directories, one of the root alone and one of the
//! issuing authority alone, and what goes between them is [`ceremony`]'s.
//!
//! Secret keys are read when a verb signs, and wiped when it ends; `pki serve` may hold the issuing key. Nothing here prints, but for a
//! passphrase that is asked for at the terminal, and the time is an argument.

mod backup;
mod bulk;
mod ceremony;
mod doctor;
mod enrolment;
mod founding;
mod inventory;
mod keys;
mod plan;
mod recover;
mod renewal;
mod responder;
mod tokens;
mod verifiers;

pub use backup::BackupKeys;
pub use bulk::Bulk;
pub use ceremony::{Certified, Imported};
pub use doctor::{Finding, Verdict};
pub use enrolment::Applicant;
pub use plan::Plan;
pub use recover::Unfinished;
pub use renewal::GRACE_DAYS;
pub use responder::Responder;
pub use tokens::MAX_TOKEN_LIFE;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::authority::{Authority, AuthorityCertificate, Issuing, Level, Root};
use crate::error::Error;
use crate::files::read_bounded;
use crate::issue::{Issued, Order, Validated, draw_serial};
use crate::log::{Asker, AuditLog, Recorder};
use crate::outbox::{HandedOver, Outbox};
use crate::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use crate::profile::{EndEntity, Names, whole_seconds};
use crate::publication::{Publication, crl_name};
use crate::reason::Reason;
use crate::revocation::{self, CrlFile, PublishedCrl};
use crate::serial::Serial;
use crate::settings::{Holds, Settings};
use crate::store::{
    AuthorityId, AuthorityRole, CertificateId, CrlState, Filter, Find, Page, Record, Status, Store,
    StoreError,
};

use keys::Keyring;
pub use keys::{NewKeys, PassphraseSources};

/// A certification authority in a directory.
///
/// ```no_run
/// use pki::{
///     AuthorityName, Ca, EndEntity, Find, Inspected, KeySource, Name, Order, Plan, Reason, Renewal,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = jiff::Timestamp::now();
/// let plan = Plan::new(AuthorityName::parse("Clinic North")?);
/// let mut ca = Ca::init("pki".as_ref(), &plan, now)?;
/// let device = EndEntity::Device;
/// let order = Order {
///     profile: device,
///     names: device.admit(vec![Name::uri("urn:example:pump-1")?])?,
///     key: KeySource::New,
///     days: None,
/// };
/// let issued = ca.issue(order, "pump-1".as_ref(), now)?;
///
/// // Later: is it time for a new one?
/// let certificate = Inspected::read(&std::fs::read(&issued.files.certificate)?);
/// let ends = certificate.map(|certificate| certificate.validity.not_after);
///
/// ca.revoke(&Find::Serial(issued.record.serial), Reason::CessationOfOperation, now)?;
/// ca.sign_crls(Renewal::All, None, now)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ca {
    directory: PathBuf,
    settings: Settings,
    publication: Option<Publication>,
    log: AuditLog,
    keyring: Keyring,
    store: Store,
    root: Known,
    /// `None` where the root is alone.
    issuing: Option<Known>,
}

/// An authority that the inventory knows.
type Known = (AuthorityId, AuthorityCertificate);

/// Which CRLs are signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// All.
    All,
    /// Those that are past half of their validity, or whose file is gone.
    Due,
}

/// What of what is found is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All that lives, or may.
    Live,
    /// What was not finished. Refused if it was meanwhile.
    Pending,
    /// As `Live`; what a root issued whose key is elsewhere, in the inventory alone.
    Told,
}

/// What came of issuing.
#[derive(Debug)]
pub struct IssuedCertificate {
    /// What the inventory says of it.
    pub record: Record,
    /// Where its files are.
    pub files: HandedOver,
}

/// What came of revoking.
#[derive(Debug)]
pub struct Revoked {
    /// The certificates, at least one.
    pub records: Vec<Record>,
    /// The CRLs that were signed anew.
    pub crls: Vec<PublishedCrl>,
    /// Other certificates of the same name that are still good, if it was a key that was compromised: whoever
    /// had the key could have got them with it.
    pub others: Vec<Record>,
    /// Those of the certificates that no list names which is signed here: the key of their issuer is elsewhere.
    pub elsewhere: Vec<Serial>,
}

impl Ca {
    /// Creates an authority in `directory`: a root, an issuing authority, an empty inventory, and
    /// CRLs that are valid from now on.
    ///
    /// The directory must not exist or be empty. Everything is prepared beside it and takes its
    /// place in one step, so a failure or a crash leaves no half authority. What was made in a token
    /// goes away again with a failure; what a killed process made there stays.
    pub fn init(directory: &Path, plan: &Plan, now: Timestamp) -> Result<Self, Error> {
        let keys = &plan.keys;
        founding::found(directory, keys, |path, keys| {
            founding::build(path, plan, keys, now)
        })?;
        Self::open(directory)
    }

    /// Creates a root that is alone in `directory`: what [`Ca::sign_request`] certifies with it issues
    /// elsewhere. Of the plan its name, its root's key and its inventory count. As [`Ca::init`] else.
    pub fn init_root(directory: &Path, plan: &Plan, now: Timestamp) -> Result<Self, Error> {
        let keys = &plan.keys;
        founding::found(directory, keys, |path, keys| {
            founding::build_root(path, plan, keys, now)
        })?;
        Self::open(directory)
    }

    /// Opens the authority in `directory`. Reads no secret.
    ///
    /// Refused if its parts do not fit together: an issuing certificate that the root did not
    /// sign, or an inventory of another authority; and if it waits for the answer of its root.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let ca = directory.join(CA);
        let settings = Settings::read(&ca.join(SETTINGS))?.ok_or_else(|| Error::NoAuthority {
            path: directory.to_owned(),
        })?;
        ceremony::refuse_if_waiting(directory, &settings)?;
        let root = read_certificate::<Root>(&ca)?;
        let issuing = match settings.holds {
            Holds::Root => None,
            Holds::Both | Holds::Issuing => Some(read_certificate::<Issuing>(&ca)?),
        };
        let mut store = inventory::open(settings.inventory.as_ref(), &ca)?;
        let root = (store.authority(AuthorityRole::Root, root.key_id())?, root);
        let mut ours = vec![root.0];
        let issuing = match issuing {
            None => None,
            Some(issuing) => {
                issuing.verify_signed_by(&root.1)?;
                let id = store.authority(AuthorityRole::Issuing, issuing.key_id())?;
                ours.push(id);
                Some((id, issuing))
            }
        };
        store.look_only_at(&ours)?;
        Ok(Self {
            root,
            issuing,
            directory: directory.to_owned(),
            publication: settings.publication(),
            keyring: Keyring::new(settings.keys.clone()),
            settings,
            log: AuditLog::of(directory),
            store,
        })
    }

    /// Issues a certificate and hands it over in `out`, which is created if it is not there.
    ///
    /// Files that are in the way are never overwritten; they, and whatever else speaks against it,
    /// are found before a serial is drawn. A refusal is on record with what was asked for.
    pub fn issue(
        &mut self,
        order: Order,
        out: &Path,
        now: Timestamp,
    ) -> Result<IssuedCertificate, Error> {
        let (profile, names) = (order.profile, order.names.clone());
        let issued = self.issue_or_refuse(order, out, now);
        if let Err(error) = &issued {
            self.put_refusal_on_record(error, profile, &names)?;
        }
        issued
    }

    fn issue_or_refuse(
        &mut self,
        order: Order,
        out: &Path,
        now: Timestamp,
    ) -> Result<IssuedCertificate, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let validated = Validated::check(order, self.issuing()?, now)?;
        let outbox = Outbox::prepare(out, validated.secret(), validated.passphrase())?;
        let authority = self.unlock::<Issuing>()?;
        let issued = self.certify(validated, (&authority, &Asker::Operator), now)?;
        let files = self.hand_over(outbox, &issued)?;
        Ok(IssuedCertificate {
            record: self.one(&Find::Serial(issued.serial))?,
            files,
        })
    }

    /// Step 7.
    fn hand_over(&self, outbox: Outbox, issued: &Issued) -> Result<HandedOver, Error> {
        outbox
            .hand_over(issued, self.issuing()?.der(), self.root.1.der())
            .map_err(|error| Error::HandOver {
                serial: issued.serial.clone(),
                error,
            })
    }

    /// A refusal is on record with what was asked for, unless it is the log that failed, or the
    /// certificate was issued all the same and is on record as such.
    fn put_refusal_on_record(
        &self,
        error: &Error,
        profile: EndEntity,
        names: &Names,
    ) -> Result<(), Error> {
        if let Error::Log(_) | Error::IssuedUnrecorded { .. } | Error::HandOver { .. } = error {
            return Ok(());
        }
        let (profile, names) = (Some(profile.profile()), names.all());
        Ok(self
            .log
            .record(|recorder| recorder.refused(error.code(), profile, names, &Asker::Operator))?)
    }

    /// Steps 2 to 6. The log is held from the serial to the certificate.
    fn certify(
        &mut self,
        validated: Validated,
        (authority, by): (&Authority<Issuing>, &Asker),
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let (id, key) = (self.id(AuthorityRole::Issuing)?, self.issuing()?.key_id());
        let recorder = self.log.open()?;
        let issuer = (id, self.publication.as_ref());
        let issued = validated
            .reserve(draw_serial()?, issuer, &mut self.store, now)?
            .draft(authority, &mut self.store)?
            .record(by, &recorder)?
            .sign(authority)?
            .store(&mut self.store, now)?
            .record(key, &recorder)?;
        match recorder.close() {
            Ok(()) => Ok(issued),
            Err(error) => Err(Error::IssuedUnrecorded {
                serial: issued.serial,
                error,
            }),
        }
    }

    /// Revokes what `find` means, on record and durable, and then signs and publishes the CRL that says
    /// so. A crash in between can leave on record what is not revoked yet, never the other way round.
    ///
    /// One that ended can be revoked for as long as it could be renewed. By name, its open tokens are taken
    /// back, too, also where all of that name was revoked before.
    ///
    /// If the second fails, the error says that the first happened
    /// ([`Error::Unpublished`]); [`Ca::sign_crls`] makes up for it.
    pub fn revoke(
        &mut self,
        find: &Find,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Revoked, Error> {
        self.revoke_those(find, Which::Live, reason, now)
    }

    fn revoke_those(
        &mut self,
        find: &Find,
        which: Which,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Revoked, Error> {
        let at = whole_seconds(now)?;
        // What ended a little while ago can still be renewed, until somebody revokes it.
        let renewable = at.checked_sub(self.grace()).unwrap_or(at);
        // Before the inventory: whoever holds a transaction there does not wait for the log.
        let recorder = self.log.open()?;
        let root = self.root.1.key_id();
        let issuing = self.issuing.as_ref().map_or(root, |(_, own)| own.key_id());
        let holds = self.settings.holds;
        let revoked = self.store.revoke::<Error>(find, reason, at, |found| {
            let mut picked = revocation::judge(found, find, reason, renewable)?;
            if which == Which::Pending {
                picked.retain(|record| record.status == Status::Pending);
            }
            if picked.is_empty() {
                return Err(StoreError::State.into());
            }
            let is_roots = |record: &Record| record.issuer == AuthorityRole::Root.as_str();
            // Nobody could sign the list that says so.
            let is_elsewhere = !holds.key_of(AuthorityRole::Root) && which != Which::Told;
            if is_elsewhere && picked.iter().any(is_roots) {
                return Err(Error::RootElsewhere);
            }
            let told = picked.iter().map(|record| {
                let issuer = if is_roots(record) { root } else { issuing };
                (issuer, &record.serial)
            });
            recorder.revoked(told, reason, &Asker::Operator)?;
            Ok(picked)
        });
        let records = match revoked {
            // A run that was killed may have left them.
            Err(error @ (Error::AlreadyRevoked { .. } | Error::Expired { .. })) => {
                self.cancel_tokens_of(find, &recorder, at)?;
                recorder.close()?;
                return Err(error);
            }
            records => records?,
        };
        // Before the list, which may fail: nobody is told of what is revoked already a second time.
        let cancelled = self.cancel_tokens_of(find, &recorder, at);
        let others = match reason {
            Reason::KeyCompromise => self.others(&records, renewable),
            _ => Ok(Vec::new()),
        };
        let unpublished = |others: &[Record], error| Error::Unpublished {
            revoked: records.len(),
            others: others.iter().map(|other| other.serial.clone()).collect(),
            error: Box::new(error),
        };
        let others = others.map_err(|error| unpublished(&[], error))?;
        cancelled.map_err(|error| unpublished(&others, error))?;
        let (mut crls, mut elsewhere) = (Vec::new(), Vec::new());
        for role in [AuthorityRole::Issuing, AuthorityRole::Root] {
            if !holds.key_of(role) {
                let theirs = records.iter().filter(|one| one.issuer == role.as_str());
                elsewhere.extend(theirs.map(|one| one.serial.clone()));
                continue;
            }
            let shards: BTreeSet<Option<u16>> = records
                .iter()
                .filter(|record| record.issuer == role.as_str())
                .map(|record| record.shard)
                .collect();
            let signed = self.sign_shards(role, shards, None, &recorder, now);
            crls.extend(signed.map_err(|error| unpublished(&others, error))?);
        }
        recorder.close()?;
        Ok(Revoked {
            records,
            crls,
            others,
            elsewhere,
        })
    }

    /// What else is issued under the names that these are called, unless it ended before `since`.
    fn others(&self, records: &[Record], since: Timestamp) -> Result<Vec<Record>, Error> {
        let names: BTreeSet<&String> = records.iter().map(|record| &record.label).collect();
        let mut others = Vec::new();
        for name in names {
            let found = self.store.find(&Find::Id(name.clone()))?;
            others.extend(found.into_iter().filter(|record| {
                let ends = record.validity.map(|validity| validity.not_after);
                record.status == Status::Issued && ends.is_some_and(|ends| ends >= since)
            }));
        }
        Ok(others)
    }

    /// For how long after its end a certificate can be renewed, at most.
    fn grace(&self) -> SignedDuration {
        let days = self.settings.serve.est_grace_days;
        SignedDuration::from_hours(24 * i64::from(days.max(GRACE_DAYS)))
    }

    /// Signs and publishes CRLs from the inventory: the issuing authority's, valid for
    /// `issuing_days` or as the settings say, then the root's. Those whose key is elsewhere are left out
    /// ([`Ca::wanted_root_crl`]).
    pub fn sign_crls(
        &mut self,
        which: Renewal,
        issuing_days: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<PublishedCrl>, Error> {
        let recorder = self.log.open()?;
        let mut signed = Vec::new();
        for (role, days) in [
            (AuthorityRole::Issuing, issuing_days),
            (AuthorityRole::Root, None),
        ] {
            if !self.settings.holds.key_of(role) {
                continue;
            }
            let shards = match which {
                Renewal::All => self.shards(role),
                Renewal::Due => self.due_shards(role, now)?,
            };
            signed.extend(self.sign_shards(role, shards, days, &recorder, now)?);
        }
        recorder.close()?;
        Ok(signed)
    }

    /// The CRLs that are published now.
    pub fn crls(&self) -> Result<Vec<PublishedCrl>, Error> {
        let mut crls = Vec::new();
        for role in self.known_roles() {
            let states = self.store.crl_states(self.id(role)?)?;
            crls.extend(states.into_iter().map(|state| PublishedCrl {
                issuer: role,
                path: self.crl_file(role, state.shard).published,
                state,
            }));
        }
        Ok(crls)
    }

    /// A page of the inventory.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<CertificateId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page, Error> {
        Ok(self.store.list(filter, after, limit, now)?)
    }

    /// Every certificate that is known like this, latest first, at least one.
    pub fn show(&self, find: &Find) -> Result<Vec<Record>, Error> {
        let found = self.store.find(find)?;
        match (found.is_empty(), find) {
            (true, Find::Tbs(_)) => Err(Error::Foreign),
            (true, Find::Serial(_) | Find::Id(_)) => Err(Error::NotFound),
            (false, _) => Ok(found),
        }
    }

    /// The octets of a certificate, if it was stored.
    pub fn der(&self, id: CertificateId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.der(id)?)
    }

    /// What the authority is called.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The root's certificate.
    pub fn root(&self) -> &AuthorityCertificate {
        &self.root.1
    }

    /// The issuing authority's certificate. Refused where the root is alone.
    pub fn issuing(&self) -> Result<&AuthorityCertificate, Error> {
        Ok(&self.of(AuthorityRole::Issuing)?.1)
    }

    /// Its audit log.
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// What a verifier trusts: `DIR/trust.pem`.
    pub fn trust_file(&self) -> PathBuf {
        self.directory.join(TRUST)
    }

    /// What a verifier reads for revocation: `DIR/crl`.
    pub fn crl_directory(&self) -> PathBuf {
        self.directory.join(CRL)
    }

    fn one(&self, find: &Find) -> Result<Record, Error> {
        self.show(find)?.into_iter().next().ok_or(Error::NotFound)
    }

    fn refuse_if_issuer_is_revoked(&self) -> Result<(), Error> {
        let own = self.one(&Find::Tbs(self.issuing()?.tbs_sha256()))?;
        match own.status {
            Status::Issued => Ok(()),
            Status::Reserved | Status::Pending | Status::Revoked => Err(Error::IssuerRevoked),
        }
    }

    /// The authorities that are known here; both, but where the root is alone.
    fn known_roles(&self) -> impl Iterator<Item = AuthorityRole> + use<> {
        let issuing = self.issuing.as_ref().map(|_| AuthorityRole::Issuing);
        issuing.into_iter().chain([AuthorityRole::Root])
    }

    /// The parts of an authority's CRL that are past half of their validity, or whose file is gone.
    fn due_shards(&self, role: AuthorityRole, now: Timestamp) -> Result<Vec<Option<u16>>, Error> {
        let states = self.store.crl_states(self.id(role)?)?;
        let mut shards = self.shards(role);
        shards.retain(|shard| {
            let state = states.iter().find(|state| state.shard == *shard);
            state.is_none_or(|state| is_due(state, now))
                || !self.crl_file(role, *shard).published.exists()
        });
        Ok(shards)
    }

    fn shards(&self, role: AuthorityRole) -> Vec<Option<u16>> {
        shards(role, self.publication.as_ref())
    }

    fn sign_shards(
        &mut self,
        role: AuthorityRole,
        shards: impl IntoIterator<Item = Option<u16>>,
        days: Option<u32>,
        recorder: &Recorder,
        now: Timestamp,
    ) -> Result<Vec<PublishedCrl>, Error> {
        match role {
            AuthorityRole::Root => self.sign_shards_of::<Root>(shards, days, recorder, now),
            AuthorityRole::Issuing => self.sign_shards_of::<Issuing>(shards, days, recorder, now),
        }
    }

    fn sign_shards_of<L: Level>(
        &mut self,
        shards: impl IntoIterator<Item = Option<u16>>,
        days: Option<u32>,
        recorder: &Recorder,
        now: Timestamp,
    ) -> Result<Vec<PublishedCrl>, Error> {
        let mut shards = shards.into_iter().peekable();
        if shards.peek().is_none() {
            return Ok(Vec::new());
        }
        let days = days.unwrap_or(match L::ROLE {
            AuthorityRole::Root => self.settings.crl.root_days,
            AuthorityRole::Issuing => self.settings.crl.issuing_days,
        });
        let (id, authority) = (self.id(L::ROLE)?, self.unlock::<L>()?);
        shards
            .map(|shard| {
                let file = self.crl_file(L::ROLE, shard);
                let kept = (&mut self.store, recorder);
                revocation::publish(&authority, id, &file, days, kept, now)
            })
            .collect()
    }

    fn id(&self, role: AuthorityRole) -> Result<AuthorityId, Error> {
        Ok(self.of(role)?.0)
    }

    fn crl_file(&self, role: AuthorityRole, shard: Option<u16>) -> CrlFile {
        crl_file(&self.directory, self.publication.as_ref(), role, shard)
    }

    fn of(&self, role: AuthorityRole) -> Result<&Known, Error> {
        match role {
            AuthorityRole::Root => Ok(&self.root),
            AuthorityRole::Issuing => self.issuing.as_ref().ok_or(Error::RootAlone),
        }
    }

    fn unlock<L: Level>(&self) -> Result<Authority<L>, Error> {
        let certificate = self.of(L::ROLE)?.1.clone();
        if !self.settings.holds.key_of(L::ROLE) {
            return Err(Error::RootElsewhere);
        }
        let path = self.directory.join(CA).join(key_file(L::ROLE));
        let key = self.keyring.open(L::ROLE, &path)?;
        Ok(Authority::unlock(certificate, key)?)
    }
}

const TRUST: &str = "trust.pem";
const CRL: &str = "crl";
const CA: &str = "ca";
const SETTINGS: &str = "authority.toml";
const INVENTORY: &str = "inventory.db";

fn certificate_file(role: AuthorityRole) -> &'static str {
    match role {
        AuthorityRole::Root => "root.pem",
        AuthorityRole::Issuing => "issuing.pem",
    }
}

fn key_file(role: AuthorityRole) -> &'static str {
    match role {
        AuthorityRole::Root => "root.key.pem",
        AuthorityRole::Issuing => "issuing.key.pem",
    }
}

/// The parts that an authority's CRL has.
fn shards(role: AuthorityRole, publication: Option<&Publication>) -> Vec<Option<u16>> {
    match (role, publication) {
        (AuthorityRole::Issuing, Some(publication)) => {
            (0..publication.shards()).map(Some).collect()
        }
        // The root certifies few authorities: there is nothing to divide.
        (AuthorityRole::Root, _) | (AuthorityRole::Issuing, None) => vec![None],
    }
}

fn crl_file(
    directory: &Path,
    publication: Option<&Publication>,
    role: AuthorityRole,
    shard: Option<u16>,
) -> CrlFile {
    let name = crl_name(role, shard);
    CrlFile {
        published: directory.join(CRL).join(&name),
        // Not beside the published file: a verifier that reads the directory would find it.
        scratch: directory.join(CA).join(format!("{name}.new")),
        shard,
        // A list that speaks for all names no part.
        point: publication
            .filter(|_| shard.is_some())
            .map(|publication| publication.crl_url(role, shard)),
    }
}

/// Whether a CRL is past half of its validity.
fn is_due(state: &CrlState, now: Timestamp) -> bool {
    state.this_update.duration_until(now) >= now.duration_until(state.next_update)
}

fn read_certificate<L: Level>(ca: &Path) -> Result<AuthorityCertificate, Error> {
    let path = ca.join(certificate_file(L::ROLE));
    let bytes = read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?;
    let der = pem::first_certificate(&bytes).ok_or(Error::NoCertificate { path })?;
    Ok(AuthorityCertificate::parse::<L>(&der)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crl_is_written_where_no_verifier_looks() {
        for role in [AuthorityRole::Root, AuthorityRole::Issuing] {
            let file = crl_file(Path::new("pki"), None, role, None);
            assert!(file.published.starts_with("pki/crl"));
            assert!(file.scratch.starts_with("pki/ca"));
        }
    }
}
