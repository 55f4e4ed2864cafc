//! An authority in two directories: the root's key is in one, on a machine that is never on a network, and the
//! issuing key in the other. Two files go between them (`crate::ceremony`).
//!
//! What survives a crash. A request is founded whole or not at all, and lies in the directory until it is
//! answered; asked for again, it is the same. A signature goes through the seven steps; one that was begun and
//! never handed over is revoked by the next attempt, and one that was finished is handed over again. An import
//! takes steps that can be repeated, and puts the certificate in its place last: until then the authority
//! waits for its answer as before.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use audit::event::Act;
use jiff::Timestamp;

use super::founding::{certify_issuing, found, lay_out, sync};
use super::keys::{Keyring, Making};
use super::{
    CA, CRL, Ca, PassphraseSources, Plan, SETTINGS, TRUST, Which, certificate_file, crl_file,
    inventory, key_file, shards,
};
use crate::authority::{Authority, AuthorityCertificate, Issuing, Level, ReadCrl, Root};
use crate::ceremony::{
    Answer, CeremonyError, Judged, MAX_ANSWER_OCTETS, MAX_REQUEST_OCTETS, SigningRequest, judge_crl,
};
use crate::error::Error;
use crate::files::{
    Doing, FileError, Readers, create_new, parent_of, read_bounded, replace, sync_directory,
};
use crate::log::{Asker, AuditLog, LoggedStep, Recorder, certificates};
use crate::pem;
use crate::profile::{Validity, issuing as issuing_profile, whole_seconds};
use crate::public_key::{hex, sha256};
use crate::reason::Reason;
use crate::revocation::{self, PublishedCrl};
use crate::settings::{Holds, Settings};
use crate::staging::move_new;
use crate::store::{
    AuthorityId, AuthorityRole, CrlState, Filter, Find, Imported as Row, KeyOrigin, MAX_PAGE,
    Record, Status, Store, StoreError,
};

/// The request of a directory, as it was made.
const REQUEST: &str = "request.pem";

/// What came of signing a request.
#[derive(Debug)]
pub struct Certified {
    /// What the root's inventory says of the certificate.
    pub record: Record,
    /// SHA-256 of the root's certificate: what `pki ceremony import` asks for.
    pub root_sha256: [u8; 32],
    /// The root's CRL.
    pub crls: Vec<PublishedCrl>,
}

/// What came of an import.
#[derive(Debug)]
pub struct Imported {
    /// The authority, which can be used now.
    pub ca: Ca,
    /// Whether the root revoked the issuing authority: then it issues nothing any more.
    pub revoked: bool,
}

/// Refuses a directory whose root has not answered.
pub(super) fn refuse_if_waiting(directory: &Path, settings: &Settings) -> Result<(), Error> {
    if settings.holds == Holds::Issuing && is_waiting(&directory.join(CA)) {
        let path = directory.to_owned();
        return Err(Error::AwaitsAnswer { path });
    }
    Ok(())
}

fn is_waiting(ca: &Path) -> bool {
    !ca.join(certificate_file(AuthorityRole::Issuing)).exists()
}

impl Ca {
    /// Makes a directory with the key of an issuing authority, and the request for its certificate, which is
    /// written to the new file `out` as well. Until the answer is imported ([`Ca::import`]) the directory can do
    /// nothing. In a directory that waits for the answer to the same request, writes it again.
    pub fn request(
        directory: &Path,
        plan: &Plan,
        out: &Path,
        now: Timestamp,
    ) -> Result<SigningRequest, Error> {
        // A clock that cannot be right is told here, not where the root's key is.
        whole_seconds(now)?;
        refuse_if_there(out)?;
        let text = match kept_request(directory, plan)? {
            Some(text) => text,
            None => found(directory, &plan.keys, |path, keys| {
                build_request(path, plan, keys)
            })?,
        };
        let request = SigningRequest::read(&text)?;
        put_out(out, &text)?;
        Ok(request)
    }

    /// From when until when the certificate of a request would be valid, if it were signed now. Signs nothing, and
    /// is refused where [`Ca::sign_request`] would be for want of the root's key.
    pub fn grant(&self, now: Timestamp) -> Result<Validity, Error> {
        if !self.settings.holds.key_of(AuthorityRole::Root) {
            return Err(Error::RootElsewhere);
        }
        Ok(issuing_profile().validity(None, now, Some(&self.root.1.validity()))?)
    }

    /// Certifies the key of a request with the root's key, and writes the answer to the new file `out`: the
    /// certificate, the root's, and the root's CRL, signed anew. Who was there is put on record.
    ///
    /// A request that was signed before is answered with the same certificate; it is refused if that was revoked.
    /// One whose certificate may have been signed by a run that was killed gets another one, and that one is
    /// revoked.
    pub fn sign_request(
        &mut self,
        request: &SigningRequest,
        witnesses: &[String],
        out: &Path,
        now: Timestamp,
    ) -> Result<Certified, Error> {
        refuse_if_there(out)?;
        // Of two at once each would take what the other is about to sign for unfinished.
        let _lock = lock(&self.directory.join(CA))?;
        let root = self.unlock::<Root>()?;
        let before = self.of_request(request, now)?;
        for record in &before {
            if record.status == Status::Pending {
                let find = Find::Serial(record.serial.clone());
                self.revoke_those(&find, Which::Pending, Reason::Superseded, now)?;
            }
        }
        let recorder = self.log.open()?;
        let told = (!witnesses.is_empty()).then(|| format!("witnesses: {}", witnesses.join(", ")));
        recorder.act(
            Act::CeremonySigned,
            Some(&request.key.key_id().to_string()),
            Some(request.sha256),
            told.as_deref(),
        )?;
        let certificate = match self.signed_before(request, &before)? {
            Some(certificate) => {
                self.put_issued_on_record(&certificate, &recorder)?;
                certificate
            }
            None => certify_issuing(
                (self.root.0, &root),
                &request.wishes,
                (&request.key, KeyOrigin::Request),
                (&mut self.store, &recorder),
                now,
            )?,
        };
        let crls = self.sign_shards(AuthorityRole::Root, [None], None, &recorder, now)?;
        recorder.close()?;
        let path = self.crl_file(AuthorityRole::Root, None).published;
        let crl = pem::first_crl(&read_bounded(&path, MAX_ANSWER_OCTETS)?);
        let crl = crl.ok_or(CeremonyError::NoAnswer)?;
        let root = self.root.1.der();
        let text = Answer::write(certificate.der(), root, &crl);
        // What nobody could import is not carried there.
        if text.len() > MAX_ANSWER_OCTETS {
            let (path, limit) = (out.to_owned(), MAX_ANSWER_OCTETS);
            return Err(FileError::TooLarge { path, limit }.into());
        }
        put_out(out, text.as_bytes())?;
        Ok(Certified {
            record: self.one(&Find::Tbs(certificate.tbs_sha256()))?,
            root_sha256: sha256(root),
            crls,
        })
    }

    /// The certificates of a request that live, or may.
    fn of_request(&self, request: &SigningRequest, now: Timestamp) -> Result<Vec<Record>, Error> {
        let filter = Filter {
            profile: Some(issuing_profile()),
            ..Filter::default()
        };
        let records = self.store.list(&filter, None, MAX_PAGE, now)?.records;
        Ok(request.issued_before(records, now)?)
    }

    /// That a certificate was issued is on record, also if the run that issued it was killed before it was.
    fn put_issued_on_record(
        &self,
        certificate: &AuthorityCertificate,
        recorder: &Recorder,
    ) -> Result<(), Error> {
        let issuer = self.root.1.key_id();
        let by = issuer.to_string();
        for logged in certificates(&self.directory) {
            let logged = logged?;
            let is_it = logged.serial == *certificate.serial() && logged.issuer == by;
            if is_it && logged.step == LoggedStep::Issued {
                return Ok(());
            }
        }
        let told = [(certificate.serial(), sha256(certificate.der()))];
        Ok(recorder.issued(issuer, told)?)
    }

    /// The certificate that was issued to this request before, if it says what the request asks for.
    fn signed_before(
        &self,
        request: &SigningRequest,
        before: &[Record],
    ) -> Result<Option<AuthorityCertificate>, Error> {
        for record in before {
            let Some(der) = self.store.der(record.id)? else {
                continue;
            };
            let certificate = AuthorityCertificate::parse::<Issuing>(&der)?;
            let wishes = &request.wishes;
            let asked = (&wishes.name, &request.key);
            let verified = certificate.verify_issuing(&self.root.1, asked, &wishes.below());
            if record.status == Status::Issued && verified.is_ok() {
                return Ok(Some(certificate));
            }
        }
        Ok(None)
    }

    /// Imports what was signed where the root's key is: the answer to the directory's request, from the root
    /// whose certificate has the SHA-256 `root_sha256`, or a later CRL of that root. All of it is judged before
    /// anything changes.
    ///
    /// A later CRL revokes in the inventory what it names, for good: once it names the issuing authority, nothing
    /// is issued any more.
    ///
    /// Interrupted, it is done by doing it again.
    pub fn import(
        directory: &Path,
        brought: &[u8],
        root_sha256: Option<[u8; 32]>,
        given: PassphraseSources,
        now: Timestamp,
    ) -> Result<Imported, Error> {
        let ca = directory.join(CA);
        let settings = Settings::read(&ca.join(SETTINGS))?.ok_or_else(|| Error::NoAuthority {
            path: directory.to_owned(),
        })?;
        if settings.holds != Holds::Issuing {
            return Err(CeremonyError::NoCeremony.into());
        }
        let answer = Answer::read(brought)?;
        // Two at once could leave files of different answers.
        let _lock = lock(&ca)?;
        if is_waiting(&ca) {
            let Answer::Whole { issuing, root, crl } = &answer else {
                refuse_if_waiting(directory, &settings)?;
                return Err(CeremonyError::NoAnswer.into());
            };
            let kept = read_bounded(&ca.join(REQUEST), MAX_REQUEST_OCTETS)?;
            let root_sha256 = root_sha256.ok_or(CeremonyError::NoFingerprint)?;
            let request = SigningRequest::read(&kept)?;
            let judged = request.judge((issuing, root, crl), &root_sha256, now)?;
            let keyring = Keyring::new(settings.keys.clone()).with(given);
            import_answer(directory, &settings, &keyring, (brought, &judged, crl), now)?;
            let ca = Self::open(directory)?;
            return Ok(Imported { ca, revoked: false });
        }
        let mut ca = Self::open(directory)?;
        let own = ca.root.1.sha256();
        if let Some(root_sha256) = root_sha256
            && root_sha256 != own
        {
            return Err(CeremonyError::AnotherRoot { found: own }.into());
        }
        let crl = match answer {
            Answer::Crl(crl) => crl,
            Answer::Whole { issuing, root, crl } => {
                let found = sha256(&root);
                if found != own {
                    return Err(CeremonyError::AnotherRoot { found }.into());
                }
                if issuing != ca.issuing()?.der().as_ref() {
                    return Err(CeremonyError::AnotherCertificate.into());
                }
                crl
            }
        };
        let revoked = ca.import_crl(&crl, now)?;
        Ok(Imported { ca, revoked })
    }

    /// Puts a later CRL of the root in its place. Returns whether it revokes the issuing authority.
    fn import_crl(&mut self, der: &[u8], now: Timestamp) -> Result<bool, Error> {
        let crl = judge_crl(&self.root.1, der, now)?;
        let id = self.root.0;
        refuse_if_older(&self.store, id, &crl)?;
        let own = self.issuing()?.serial().clone();
        // Those of other issuing authorities are here, too, where they share an inventory.
        let mut good = Vec::new();
        for entry in &crl.entries {
            let found = self.store.find(&Find::Serial(entry.serial.clone()))?;
            if found.iter().any(is_good_of_root) {
                good.push(entry);
            }
        }
        let recorder = self.log.open()?;
        let root_key = self.root.1.key_id();
        recorder.act(
            Act::CeremonyImported,
            Some(&root_key.to_string()),
            Some(sha256(der)),
            None,
        )?;
        // The inventory first: from here on nothing is issued, whatever becomes of the file.
        for entry in good {
            let told = [(root_key, &entry.serial)];
            recorder.revoked(told, entry.reason, &Asker::Operator)?;
            let find = Find::Serial(entry.serial.clone());
            let judge = |mut found: Vec<Record>| {
                found.retain(is_good_of_root);
                Ok(found)
            };
            self.store
                .revoke::<Error>(&find, entry.reason, entry.at, judge)?;
        }
        self.store.import_crl(id, &state_of(&crl))?;
        put_crl(&self.directory, der)?;
        recorder.close()?;
        Ok(crl.entries.iter().any(|entry| entry.serial == own))
    }
}

/// Whether it is one of a root's that is not revoked in the inventory; its own certificate is not.
fn is_good_of_root(record: &Record) -> bool {
    record.issuer == AuthorityRole::Root.as_str()
        && record.profile != Root::profile()
        && matches!(record.status, Status::Pending | Status::Issued)
}

/// The request that a directory waits for an answer to, if it is the one that is asked for.
fn kept_request(directory: &Path, plan: &Plan) -> Result<Option<Vec<u8>>, Error> {
    let ca = directory.join(CA);
    let Some(settings) = Settings::read(&ca.join(SETTINGS))? else {
        return Ok(None);
    };
    let exists = || Error::AuthorityExists {
        path: directory.to_owned(),
    };
    if settings.holds != Holds::Issuing || !is_waiting(&ca) {
        return Err(exists());
    }
    let text = read_bounded(&ca.join(REQUEST), MAX_REQUEST_OCTETS)?;
    if SigningRequest::read(&text)?.wishes != plan.wishes()
        || settings != plan.settings(Holds::Issuing)
    {
        return Err(exists());
    }
    Ok(Some(text))
}

/// Everything of an authority that waits for its certificate. Returns its request.
fn build_request(directory: &Path, plan: &Plan, keys: &mut Making) -> Result<Vec<u8>, Error> {
    let ca = directory.join(CA);
    let recorder = lay_out(directory, &plan.name)?;
    let (key, _) = keys.key::<Issuing>(&ca, &recorder)?;
    let text = SigningRequest::write(&plan.wishes(), &key)?.into_bytes();
    let subject = key.public().key_id().to_string();
    let digest = Some(sha256(&text));
    recorder.act(Act::CeremonyRequested, Some(&subject), digest, None)?;
    create_new(&ca.join(REQUEST), Readers::Owner, &text)?;
    plan.settings(Holds::Issuing).create(&ca.join(SETTINGS))?;
    inventory::create(plan.inventory.as_ref(), &ca)?.close()?;
    recorder.close()?;
    sync(directory)?;
    Ok(text)
}

/// Takes an answer that was judged into the directory. Each step can be repeated; the last one makes the
/// others count.
fn import_answer(
    directory: &Path,
    settings: &Settings,
    keyring: &Keyring,
    (brought, judged, crl): (&[u8], &Judged, &[u8]),
    now: Timestamp,
) -> Result<(), Error> {
    let ca = directory.join(CA);
    let Judged { issuing, root, .. } = judged;
    let key = keyring.open(
        AuthorityRole::Issuing,
        &ca.join(key_file(AuthorityRole::Issuing)),
    )?;
    let authority = Authority::<Issuing>::unlock(issuing.clone(), key)?;
    let mut store = inventory::open(settings.inventory.as_ref(), &ca)?;
    // In an inventory that is shared another issuing authority may have brought a later one.
    match store.authority(AuthorityRole::Root, root.key_id()) {
        Ok(id) => refuse_if_older(&store, id, &judged.crl)?,
        Err(StoreError::UnknownAuthority { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let recorder = AuditLog::of(directory).open()?;
    recorder.act(
        Act::CeremonyImported,
        Some(&issuing.key_id().to_string()),
        Some(sha256(brought)),
        None,
    )?;
    let rows = (
        &row::<Root>(root, KeyOrigin::Request),
        &row::<Issuing>(issuing, KeyOrigin::New),
    );
    let (root_id, issuing_id) = store.import(rows, now)?;
    // Again: somebody may have been faster.
    refuse_if_older(&store, root_id, &judged.crl)?;
    store.import_crl(root_id, &state_of(&judged.crl))?;

    let put = |path: PathBuf, readers, der: &[u8]| {
        let scratch = ca.join("import.new");
        replace(&path, &scratch, readers, pem::certificate(der).as_bytes())
    };
    let [root_file, issuing_file] =
        [AuthorityRole::Root, AuthorityRole::Issuing].map(certificate_file);
    put(ca.join(root_file), Readers::Owner, root.der())?;
    put(directory.join(TRUST), Readers::Everybody, root.der())?;
    let public = directory.join(CRL).join(issuing_file);
    put(public, Readers::Everybody, issuing.der())?;
    put_crl(directory, crl)?;
    let publication = settings.publication();
    for shard in shards(AuthorityRole::Issuing, publication.as_ref()) {
        let file = crl_file(
            directory,
            publication.as_ref(),
            AuthorityRole::Issuing,
            shard,
        );
        let days = settings.crl.issuing_days;
        let kept = (&mut store, &recorder);
        revocation::publish(&authority, issuing_id, &file, days, kept, now)?;
    }
    store.close()?;
    put(ca.join(issuing_file), Readers::Owner, issuing.der())?;
    Ok(recorder.close()?)
}

fn row<L: Level>(certificate: &AuthorityCertificate, key_origin: KeyOrigin) -> Row<'_> {
    Row {
        role: L::ROLE,
        profile: L::profile(),
        label: certificate.common_name(),
        serial: certificate.serial(),
        key: certificate.key(),
        key_origin,
        tbs_sha256: certificate.tbs_sha256(),
        validity: certificate.validity(),
        der: certificate.der(),
    }
}

/// Refuses a CRL whose number is below that of the published one, or is that of another one.
fn refuse_if_older(store: &Store, root: AuthorityId, crl: &ReadCrl) -> Result<(), Error> {
    let Some(known) = store.crl_state(root, None)? else {
        return Ok(());
    };
    let is_same = known.number == crl.number && known.this_update == crl.this_update;
    if crl.number > known.number || is_same {
        return Ok(());
    }
    Err(CeremonyError::OlderCrl {
        number: crl.number,
        known: known.number,
    }
    .into())
}

fn state_of(crl: &ReadCrl) -> CrlState {
    CrlState {
        shard: None,
        number: crl.number,
        this_update: crl.this_update,
        next_update: crl.next_update,
        entries: crl.entries.len() as u64,
    }
}

fn put_crl(directory: &Path, der: &[u8]) -> Result<(), FileError> {
    let file = crl_file(directory, None, AuthorityRole::Root, None);
    let text = pem::crl(der);
    replace(
        &file.published,
        &file.scratch,
        Readers::Everybody,
        text.as_bytes(),
    )
}

/// Writes a file that goes to another machine: whole or not at all, and never over another one. What carries it
/// may be a stick whose file system knows no modes, so it gets none but the umask's.
fn put_out(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| FileError::NoRandomness)?;
    // Of its own: one of this name beside it may be somebody's. A run that is killed leaves one.
    name.push(format!(".{}.part", hex(&random)));
    let part = path.with_file_name(name);
    let created = OpenOptions::new().write(true).create_new(true).open(&part);
    let mut file = created.map_err(|error| FileError::io(Doing::Create, &part, error))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| FileError::io(Doing::Write, &part, error))
        .and_then(|()| move_new(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written?;
    sync_directory(parent_of(path))
}

fn refuse_if_there(path: &Path) -> Result<(), FileError> {
    if path.symlink_metadata().is_ok() {
        let path = path.to_owned();
        return Err(FileError::Exists { path });
    }
    Ok(())
}

fn lock(ca: &Path) -> Result<File, FileError> {
    let directory = File::open(ca).map_err(|error| FileError::io(Doing::Open, ca, error))?;
    directory
        .try_lock()
        .map_err(|error| FileError::io(Doing::Lock, ca, error.into()))?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::AuthorityName;

    struct Two {
        home: tempfile::TempDir,
        root: Ca,
        now: Timestamp,
    }

    impl Two {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let now = Timestamp::now();
            let root = Ca::init_root(&home.path().join("root"), &plan(), now).unwrap();
            Self { home, root, now }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.home.path().join(name)
        }

        /// The answer to a request of the new directory `name`.
        fn answer(&mut self, name: &str) -> Vec<u8> {
            let [csr, out] = ["csr", "answer"].map(|end| self.path(&format!("{name}.{end}")));
            let request = Ca::request(&self.path(name), &plan(), &csr, self.now).unwrap();
            self.root
                .sign_request(&request, &[], &out, self.now)
                .unwrap();
            fs::read(out).unwrap()
        }

        fn import(&self, name: &str, answer: &[u8]) -> Result<Imported, Error> {
            let none = PassphraseSources::default();
            let root = Some(self.root.root().sha256());
            Ca::import(&self.path(name), answer, root, none, self.now)
        }
    }

    fn plan() -> Plan {
        Plan::new(AuthorityName::parse("Clinic").unwrap())
    }

    #[test]
    fn a_list_of_the_root_revokes_all_that_it_names_where_an_inventory_is_shared() {
        let mut two = Two::new();
        let (own, other) = (two.answer("own"), two.answer("other"));
        let mut ca = two.import("own", &own).unwrap().ca;
        // What the other one's import leaves in an inventory that they share.
        let Answer::Whole { issuing, .. } = Answer::read(&other).unwrap() else {
            panic!("an answer")
        };
        let issuing = AuthorityCertificate::parse::<Issuing>(&issuing).unwrap();
        let root = ca.root.1.clone();
        let rows = (
            &row::<Root>(&root, KeyOrigin::Request),
            &row::<Issuing>(&issuing, KeyOrigin::Request),
        );
        ca.store.import(rows, two.now).unwrap();
        let find = Find::Serial(issuing.serial().clone());
        two.root.revoke(&find, Reason::Superseded, two.now).unwrap();
        let list = fs::read(two.path("root/crl/root.crl")).unwrap();
        let list = pem::first_crl(&list).unwrap();
        assert!(!ca.import_crl(&list, two.now).unwrap(), "not its own");
        let found = ca.show(&find).unwrap();
        assert_eq!(found[0].status, Status::Revoked);
        assert_eq!(found[0].revoked.unwrap().1, Reason::Superseded);
        ca.refuse_if_issuer_is_revoked().unwrap();
    }

    #[test]
    fn an_older_list_than_an_inventory_knows_is_refused_before_anything_is_told_of_it() {
        let mut two = Two::new();
        let answer = two.answer("own");
        let ca = two.path("own").join(CA);
        let mut store = inventory::open(None, &ca).unwrap();
        let key = two.root.root().key_id();
        let id = store.add_authority(AuthorityRole::Root, key).unwrap();
        let later = CrlState {
            shard: None,
            number: 1000,
            this_update: two.now,
            next_update: two.now,
            entries: 0,
        };
        store.import_crl(id, &later).unwrap();
        store.close().unwrap();
        assert!(matches!(
            two.import("own", &answer),
            Err(Error::Ceremony(CeremonyError::OlderCrl { .. }))
        ));
        let store = inventory::open(None, &ca).unwrap();
        let rows = store
            .list(&Filter::default(), None, MAX_PAGE, two.now)
            .unwrap();
        assert_eq!(rows.total, 0);
    }

    #[test]
    fn a_file_of_somebody_beside_what_is_written_stays() {
        let home = tempfile::tempdir().unwrap();
        let beside = home.path().join("answer.pem.part");
        fs::write(&beside, "mine").unwrap();
        put_out(&home.path().join("answer.pem"), b"answer").unwrap();
        assert_eq!(fs::read(&beside).unwrap(), b"mine");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }
}
