//! A certification authority as it lies in a directory: both authorities, the inventory, and the
//! files that verifiers read. Its verbs are the library's interface.
//!
//! ```text
//! DIR/trust.pem            the root certificate: what a verifier trusts
//! DIR/crl/                 what a verifier reads for revocation:
//!     root.crl issuing.crl issuing.pem
//! DIR/ca/                  the authority's own, 0700:
//!     root.pem root.key.pem issuing.pem issuing.key.pem inventory.db authority.toml
//! ```
//!
//! Secret keys are read when a verb signs, and wiped when it ends. Nothing here prints, and the
//! time is an argument.

mod founding;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::authority::{Authority, AuthorityCertificate, AuthorityName, Issuing, Level, Root};
use crate::error::Error;
use crate::files::{read_bounded, read_secret};
use crate::issue::{Order, Validated, draw_serial};
use crate::key::{MAX_KEY_FILE_OCTETS, PrivateKey};
use crate::outbox::{HandedOver, Outbox};
use crate::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use crate::profile::whole_seconds;
use crate::reason::Reason;
use crate::revocation::{self, CrlFile, PublishedCrl};
use crate::settings::Settings;
use crate::store::{
    AuthorityId, AuthorityRole, CertificateId, Filter, Find, Page, Record, Status, Store,
};

/// A certification authority in a directory.
///
/// ```no_run
/// use pki::{AuthorityName, Ca, EndEntity, Find, Inspected, KeySource, Name, Order, Reason};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = jiff::Timestamp::now();
/// let mut ca = Ca::init("pki".as_ref(), &AuthorityName::parse("Clinic North")?, now)?;
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
/// ca.sign_crls(None, now)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ca {
    directory: PathBuf,
    settings: Settings,
    store: Store,
    root: (AuthorityId, AuthorityCertificate),
    issuing: (AuthorityId, AuthorityCertificate),
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
}

impl Ca {
    /// Creates an authority in `directory`: a root, an issuing authority, an empty inventory, and
    /// CRLs that are valid from now on.
    ///
    /// The directory must not exist or be empty. Everything is prepared beside it and takes its
    /// place in one step, so a failure or a crash leaves no half authority.
    pub fn init(directory: &Path, name: &AuthorityName, now: Timestamp) -> Result<Self, Error> {
        founding::found(directory, name, now)?;
        Self::open(directory)
    }

    /// Opens the authority in `directory`. Reads no secret.
    ///
    /// Refused if its parts do not fit together: an issuing certificate that the root did not
    /// sign, or an inventory of another authority.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let ca = directory.join(CA);
        let settings = Settings::read(&ca.join(SETTINGS))?.ok_or_else(|| Error::NoAuthority {
            path: directory.to_owned(),
        })?;
        let root = read_certificate::<Root>(&ca)?;
        let issuing = read_certificate::<Issuing>(&ca)?;
        issuing.verify_signed_by(&root)?;
        let store = Store::open(&ca.join(INVENTORY))?;
        Ok(Self {
            root: (store.authority(AuthorityRole::Root, root.key_id())?, root),
            issuing: (
                store.authority(AuthorityRole::Issuing, issuing.key_id())?,
                issuing,
            ),
            directory: directory.to_owned(),
            settings,
            store,
        })
    }

    /// Issues a certificate and hands it over in `out`, which is created if it is not there.
    ///
    /// Files that are in the way are never overwritten; they, and whatever else speaks against it,
    /// are found before a serial is drawn.
    pub fn issue(
        &mut self,
        order: Order,
        out: &Path,
        now: Timestamp,
    ) -> Result<IssuedCertificate, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let (id, issuing) = &self.issuing;
        let validated = Validated::check(order, issuing, now)?;
        let outbox = Outbox::prepare(out, validated.secret())?;
        let authority = self.unlock::<Issuing>()?;
        let issued = validated
            .reserve(draw_serial()?, *id, &mut self.store, now)?
            .draft(&authority, &mut self.store)?
            .sign(&authority)?
            .record(&mut self.store, now)?;
        let files = outbox
            .hand_over(&issued, issuing.der(), self.root.1.der())
            .map_err(|error| Error::HandOver {
                serial: issued.serial.clone(),
                error,
            })?;
        Ok(IssuedCertificate {
            record: self.one(&Find::Serial(issued.serial))?,
            files,
        })
    }

    /// Revokes what `find` means, durably, and then signs and publishes the CRL that says so.
    ///
    /// If the second fails, the error says that the first happened
    /// ([`Error::Unpublished`]); [`Ca::sign_crls`] makes up for it.
    pub fn revoke(
        &mut self,
        find: &Find,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Revoked, Error> {
        let at = whole_seconds(now)?;
        let records = self.store.revoke(find, reason, at, |found| {
            revocation::judge(found, find, reason, at)
        })?;
        let unpublished = |error| Error::Unpublished {
            revoked: records.len(),
            error: Box::new(error),
        };
        let mut crls = Vec::new();
        let by = |role: AuthorityRole| records.iter().any(|record| record.issuer == role.as_str());
        if by(AuthorityRole::Issuing) {
            let days = self.settings.crl.issuing_days;
            crls.push(self.sign_crl::<Issuing>(days, now).map_err(unpublished)?);
        }
        if by(AuthorityRole::Root) {
            let days = self.settings.crl.root_days;
            crls.push(self.sign_crl::<Root>(days, now).map_err(unpublished)?);
        }
        Ok(Revoked { records, crls })
    }

    /// Signs and publishes all CRLs from the inventory: the issuing authority's, valid for
    /// `issuing_days` or as the settings say, then the root's.
    pub fn sign_crls(
        &mut self,
        issuing_days: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<PublishedCrl>, Error> {
        let crl = self.settings.crl;
        Ok(vec![
            self.sign_crl::<Issuing>(issuing_days.unwrap_or(crl.issuing_days), now)?,
            self.sign_crl::<Root>(crl.root_days, now)?,
        ])
    }

    /// The CRLs that are published now.
    pub fn crls(&self) -> Result<Vec<PublishedCrl>, Error> {
        let mut crls = Vec::new();
        for (role, (id, _)) in [
            (AuthorityRole::Issuing, &self.issuing),
            (AuthorityRole::Root, &self.root),
        ] {
            if let Some(state) = self.store.crl_state(*id, None)? {
                let path = crl_file(&self.directory, role).published;
                crls.push(PublishedCrl {
                    issuer: role,
                    path,
                    state,
                });
            }
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

    /// The issuing authority's certificate.
    pub fn issuing(&self) -> &AuthorityCertificate {
        &self.issuing.1
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
        let own = self.one(&Find::Tbs(self.issuing.1.tbs_sha256()))?;
        match own.status {
            Status::Issued => Ok(()),
            Status::Reserved | Status::Pending | Status::Revoked => Err(Error::IssuerRevoked),
        }
    }

    fn sign_crl<L: Level>(&mut self, days: u32, now: Timestamp) -> Result<PublishedCrl, Error> {
        let (id, _) = self.of::<L>();
        let id = *id;
        let authority = self.unlock::<L>()?;
        let file = crl_file(&self.directory, L::ROLE);
        revocation::publish(&authority, id, &file, days, &mut self.store, now)
    }

    fn of<L: Level>(&self) -> &(AuthorityId, AuthorityCertificate) {
        match L::ROLE {
            AuthorityRole::Root => &self.root,
            AuthorityRole::Issuing => &self.issuing,
        }
    }

    fn unlock<L: Level>(&self) -> Result<Authority<L>, Error> {
        let path = self.directory.join(CA).join(key_file(L::ROLE));
        let pem = read_secret(&path, MAX_KEY_FILE_OCTETS)?;
        let key = PrivateKey::from_pem(&pem).map_err(|error| Error::Key { path, error })?;
        Ok(Authority::unlock(self.of::<L>().1.clone(), key)?)
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

fn crl_file(directory: &Path, role: AuthorityRole) -> CrlFile {
    let name = match role {
        AuthorityRole::Root => "root.crl",
        AuthorityRole::Issuing => "issuing.crl",
    };
    CrlFile {
        published: directory.join(CRL).join(name),
        // Not beside the published file: a verifier that reads the directory would find it.
        scratch: directory.join(CA).join(format!("{name}.new")),
    }
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
            let file = crl_file(Path::new("pki"), role);
            assert!(file.published.starts_with("pki/crl"));
            assert!(file.scratch.starts_with("pki/ca"));
        }
    }
}
