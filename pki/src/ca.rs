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

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::authority::{Authority, AuthorityCertificate, AuthorityName, Issuing, Level, Root};
use crate::error::Error;
use crate::files::{
    CreatedDirectories, Doing, FileError, Readers, Staging, create_directory, create_new,
    parent_of, read_bounded, read_secret, sync_directory,
};
use crate::issue::{Order, Validated, draw_serial};
use crate::key::{MAX_KEY_FILE_OCTETS, PrivateKey};
use crate::outbox::{HandedOver, Outbox};
use crate::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use crate::profile::whole_seconds;
use crate::reason::Reason;
use crate::revocation::{self, CrlFile, PublishedCrl};
use crate::serial::Serial;
use crate::settings::Settings;
use crate::store::{
    AuthorityId, AuthorityRole, CertificateId, Filter, Find, KeyOrigin, Page, Record, Reservation,
    Status, Store,
};

/// A certification authority in a directory.
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
        refuse_if_occupied(directory)?;
        let parent = parent_of(directory);
        let created = CreatedDirectories::down_to(parent)?;
        let staging = Staging::create(parent)?;
        build(staging.path(), name, now)?;
        staging
            .rename_to(directory, Readers::Everybody)
            .map_err(|error| match error {
                FileError::Exists { path } => Error::NotEmpty { path },
                error => error.into(),
            })?;
        created.keep();
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
        let validated = Validated::check(order, issuing, &self.store, now)?;
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
            if let Some(state) = self.store.crl_state(*id)? {
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

fn refuse_if_occupied(directory: &Path) -> Result<(), Error> {
    let path = directory.to_owned();
    if directory.file_name().is_none() {
        return Err(Error::NoDirectoryName { path });
    }
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::io(Doing::Open, directory, error).into()),
        Ok(_) if directory.join(CA).join(SETTINGS).exists() => Err(Error::AuthorityExists { path }),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::NotEmpty { path }),
        },
    }
}

fn read_certificate<L: Level>(ca: &Path) -> Result<AuthorityCertificate, Error> {
    let path = ca.join(certificate_file(L::ROLE));
    let bytes = read_bounded(&path, MAX_CERTIFICATE_FILE_OCTETS)?;
    let der = pem::first_certificate(&bytes).ok_or(Error::NoCertificate { path })?;
    Ok(AuthorityCertificate::parse::<L>(&der)?)
}

/// Everything of a new authority, in a directory that nobody else sees yet.
fn build(directory: &Path, name: &AuthorityName, now: Timestamp) -> Result<(), Error> {
    let ca = directory.join(CA);
    create_directory(&ca, Readers::Owner)?;
    create_directory(&directory.join(CRL), Readers::Everybody)?;
    let mut store = Store::create(&ca.join(INVENTORY))?;

    let (root_id, root) = found_root(&ca, name, &mut store, now)?;
    let (issuing_id, issuing) = found_issuing(&ca, name, root_id, &root, &mut store, now)?;

    let settings = Settings::new(name);
    settings.create(&ca.join(SETTINGS))?;
    let trust = pem::certificate(root.certificate().der());
    create_new(&directory.join(TRUST), Readers::Everybody, trust.as_bytes())?;
    // For a verifier that checks the CRL's signature before any device brought this along.
    let issuer = pem::certificate(issuing.certificate().der());
    let issuer_path = directory
        .join(CRL)
        .join(certificate_file(AuthorityRole::Issuing));
    create_new(&issuer_path, Readers::Everybody, issuer.as_bytes())?;

    let file = |role| crl_file(directory, role);
    let days = settings.crl;
    let crl = file(AuthorityRole::Root);
    revocation::publish(&root, root_id, &crl, days.root_days, &mut store, now)?;
    let crl = file(AuthorityRole::Issuing);
    revocation::publish(
        &issuing,
        issuing_id,
        &crl,
        days.issuing_days,
        &mut store,
        now,
    )?;
    store.close()?;
    for path in [&ca, &directory.join(CRL)] {
        sync_directory(path)?;
    }
    Ok(())
}

fn found_root(
    ca: &Path,
    name: &AuthorityName,
    store: &mut Store,
    now: Timestamp,
) -> Result<(AuthorityId, Authority<Root>), Error> {
    let key = new_key::<Root>(ca)?;
    let id = store.add_authority(AuthorityRole::Root, key.public().key_id())?;
    let serial = draw_serial()?;
    let entry = reserve::<Root>(store, id, &serial, name, &key, now)?;
    let draft = Authority::draft_root(name, &key, &serial, now)?;
    store.pending(entry, draft.tbs_sha256(), draft.validity())?;
    let root = Authority::establish(key, &draft)?;
    keep::<Root>(ca, store, entry, root.certificate(), now)?;
    Ok((id, root))
}

fn found_issuing(
    ca: &Path,
    name: &AuthorityName,
    root_id: AuthorityId,
    root: &Authority<Root>,
    store: &mut Store,
    now: Timestamp,
) -> Result<(AuthorityId, Authority<Issuing>), Error> {
    let key = new_key::<Issuing>(ca)?;
    let id = store.add_authority(AuthorityRole::Issuing, key.public().key_id())?;
    let serial = draw_serial()?;
    let entry = reserve::<Issuing>(store, root_id, &serial, name, &key, now)?;
    let draft = root.draft_issuing(name, key.public(), &serial, now)?;
    store.pending(entry, draft.tbs_sha256(), draft.validity())?;
    let certificate = AuthorityCertificate::parse::<Issuing>(&root.sign(&draft)?)?;
    keep::<Issuing>(ca, store, entry, &certificate, now)?;
    Ok((id, Authority::unlock(certificate, key)?))
}

fn new_key<L: Level>(ca: &Path) -> Result<PrivateKey, Error> {
    let path = ca.join(key_file(L::ROLE));
    let named = |error| Error::Key {
        path: path.clone(),
        error,
    };
    let key = PrivateKey::generate(L::profile().new_key).map_err(named)?;
    let pem = key.to_pem().map_err(named)?;
    create_new(&path, Readers::Owner, pem.as_bytes())?;
    Ok(key)
}

fn reserve<L: Level>(
    store: &mut Store,
    issuer: AuthorityId,
    serial: &Serial,
    name: &AuthorityName,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<CertificateId, Error> {
    let reservation = Reservation {
        profile: L::profile(),
        label: &name.common_name(L::ROLE, key.public().key_id()),
        names: &[],
        key: key.public(),
        key_origin: KeyOrigin::New,
    };
    Ok(store.reserve(issuer, serial, &reservation, whole_seconds(now)?)?)
}

fn keep<L: Level>(
    ca: &Path,
    store: &mut Store,
    entry: CertificateId,
    certificate: &AuthorityCertificate,
    now: Timestamp,
) -> Result<(), Error> {
    store.issued(entry, certificate.der(), whole_seconds(now)?)?;
    let path = ca.join(certificate_file(L::ROLE));
    create_new(
        &path,
        Readers::Owner,
        pem::certificate(certificate.der()).as_bytes(),
    )?;
    Ok(())
}
