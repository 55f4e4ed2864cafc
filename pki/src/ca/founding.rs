//! The founding of an authority: prepared beside its directory, and in its place in one step.

use std::path::Path;

use jiff::Timestamp;

use audit::event::Act;

use super::inventory;
use super::keys::{Making, NewKeys};
use super::{CA, CRL, Plan, SETTINGS, TRUST, certificate_file, crl_file, shards};
use crate::authority::{
    Authority, AuthorityCertificate, AuthorityName, Draft, Issuing, Level, Root,
};
use crate::ceremony::Wishes;
use crate::error::Error;
use crate::files::{
    Doing, FileError, Readers, create_directory, create_new, parent_of, sync_directory,
};
use crate::issue::draw_serial;
use crate::log::{Asker, AuditLog, Intended, Recorded, Recorder};
use crate::pem;
use crate::profile::whole_seconds;
use crate::public_key::{KeyId, PublicKey, sha256};
use crate::revocation;
use crate::serial::Serial;
use crate::settings::Holds;
use crate::staging::{CreatedDirectories, Staging};
use crate::store::{AuthorityId, AuthorityRole, CertificateId, KeyOrigin, Reservation, Store};

/// Founds an authority in `directory`, whole or not at all: what `build` puts into a directory that nobody
/// else sees yet.
pub(super) fn found<T>(
    directory: &Path,
    keys: &NewKeys,
    build: impl FnOnce(&Path, &mut Making) -> Result<T, Error>,
) -> Result<T, Error> {
    refuse_if_occupied(directory)?;
    let parent = parent_of(directory);
    let created = CreatedDirectories::down_to(parent)?;
    let staging = Staging::create(parent)?;
    // Dropped before it is kept, it takes away what was made in tokens.
    let mut keys = Making::new(keys.clone());
    let built = build(staging.path(), &mut keys)?;
    match staging.rename_to(directory, Readers::Everybody) {
        Ok(()) => {}
        Err(FileError::Exists { path }) => return Err(Error::NotEmpty { path }),
        Err(error) => {
            // It may be in its place, and only not durably so: then its keys stay too.
            if directory.join(CA).join(SETTINGS).exists() {
                keys.keep();
            }
            return Err(error.into());
        }
    }
    keys.keep();
    created.keep();
    Ok(built)
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

/// The directories and the log of a new authority, with its first entry.
pub(super) fn lay_out(directory: &Path, name: &AuthorityName) -> Result<Recorder, Error> {
    create_directory(&directory.join(CA), Readers::Owner)?;
    create_directory(&directory.join(CRL), Readers::Everybody)?;
    let recorder = AuditLog::of(directory).found()?;
    recorder.act(Act::Founded, Some(name.as_str()), None, None)?;
    Ok(recorder)
}

/// Everything of a new authority.
///
/// What a server holds of it is known by its keys. If the founding does not come to its end, those
/// rows stay there and belong to nobody, because the keys went with the directory; another founding
/// makes other keys and does not meet them.
pub(super) fn build(
    directory: &Path,
    plan: &Plan,
    keys: &mut Making,
    now: Timestamp,
) -> Result<(), Error> {
    let ca = directory.join(CA);
    let recorder = lay_out(directory, &plan.name)?;
    let mut store = inventory::create(plan.inventory.as_ref(), &ca)?;

    let kept = (&mut store, &recorder);
    let (root_id, root) = found_root(&ca, &plan.name, keys, kept, now)?;
    let kept = (&mut store, &recorder);
    let (issuing_id, issuing) = found_issuing(&ca, plan, keys, (root_id, &root), kept, now)?;

    let settings = plan.settings(Holds::Both);
    settings.create(&ca.join(SETTINGS))?;
    create_trust(directory, &root)?;
    // For a verifier that checks the CRL's signature before any device brought this along.
    let issuer = pem::certificate(issuing.certificate().der());
    let issuer_path = directory
        .join(CRL)
        .join(certificate_file(AuthorityRole::Issuing));
    create_new(&issuer_path, Readers::Everybody, issuer.as_bytes())?;

    let publication = plan.publication.as_ref();
    let days = settings.crl;
    let crl = crl_file(directory, publication, AuthorityRole::Root, None);
    let kept = (&mut store, &recorder);
    revocation::publish(&root, root_id, &crl, days.root_days, kept, now)?;
    for shard in shards(AuthorityRole::Issuing, publication) {
        let crl = crl_file(directory, publication, AuthorityRole::Issuing, shard);
        let days = days.issuing_days;
        let kept = (&mut store, &recorder);
        revocation::publish(&issuing, issuing_id, &crl, days, kept, now)?;
    }
    store.close()?;
    recorder.close()?;
    sync(directory)
}

/// Everything of a root that is alone.
pub(super) fn build_root(
    directory: &Path,
    plan: &Plan,
    keys: &mut Making,
    now: Timestamp,
) -> Result<(), Error> {
    let ca = directory.join(CA);
    let recorder = lay_out(directory, &plan.name)?;
    let mut store = inventory::create(plan.inventory.as_ref(), &ca)?;
    let kept = (&mut store, &recorder);
    let (id, root) = found_root(&ca, &plan.name, keys, kept, now)?;
    let settings = plan.settings(Holds::Root);
    settings.create(&ca.join(SETTINGS))?;
    create_trust(directory, &root)?;
    let crl = crl_file(directory, None, AuthorityRole::Root, None);
    let kept = (&mut store, &recorder);
    revocation::publish(&root, id, &crl, settings.crl.root_days, kept, now)?;
    store.close()?;
    recorder.close()?;
    sync(directory)
}

fn create_trust(directory: &Path, root: &Authority<Root>) -> Result<(), Error> {
    let trust = pem::certificate(root.certificate().der());
    create_new(&directory.join(TRUST), Readers::Everybody, trust.as_bytes())?;
    Ok(())
}

/// Makes the names in the directories durable.
pub(super) fn sync(directory: &Path) -> Result<(), Error> {
    for name in [CA, CRL] {
        sync_directory(&directory.join(name))?;
    }
    Ok(())
}

fn found_root(
    ca: &Path,
    name: &AuthorityName,
    keys: &mut Making,
    (store, recorder): (&mut Store, &Recorder),
    now: Timestamp,
) -> Result<(AuthorityId, Authority<Root>), Error> {
    let (key, origin) = keys.key::<Root>(ca, recorder)?;
    let id = store.add_authority(AuthorityRole::Root, key.public().key_id())?;
    let serial = draw_serial()?;
    let entry = reserve::<Root>(store, id, &serial, name, (key.public(), origin), now)?;
    let draft = Authority::draft_root(name, &key, &serial, now)?;
    store.pending(entry, draft.tbs_sha256(), draft.validity())?;
    let issuer = key.public().key_id();
    let recorded = record::<Root>(
        recorder,
        issuer,
        &serial,
        name,
        (key.public(), origin),
        &draft,
    )?;
    let root = Authority::establish(key, &draft, recorded)?;
    keep((store, recorder), (entry, issuer), root.certificate(), now)?;
    write::<Root>(ca, root.certificate())?;
    Ok((id, root))
}

fn found_issuing(
    ca: &Path,
    plan: &Plan,
    keys: &mut Making,
    root: (AuthorityId, &Authority<Root>),
    (store, recorder): (&mut Store, &Recorder),
    now: Timestamp,
) -> Result<(AuthorityId, Authority<Issuing>), Error> {
    let (key, origin) = keys.key::<Issuing>(ca, recorder)?;
    let id = store.add_authority(AuthorityRole::Issuing, key.public().key_id())?;
    let wishes = plan.wishes();
    let kept = (store, recorder);
    let certificate = certify_issuing(root, &wishes, (key.public(), origin), kept, now)?;
    write::<Issuing>(ca, &certificate)?;
    Ok((id, Authority::unlock(certificate, key)?))
}

/// Certifies an issuing authority in the seven steps, but for the hand-over.
pub(super) fn certify_issuing(
    (root_id, root): (AuthorityId, &Authority<Root>),
    wishes: &Wishes,
    (key, origin): (&PublicKey, KeyOrigin),
    (store, recorder): (&mut Store, &Recorder),
    now: Timestamp,
) -> Result<AuthorityCertificate, Error> {
    let name = &wishes.name;
    let serial = draw_serial()?;
    let entry = reserve::<Issuing>(store, root_id, &serial, name, (key, origin), now)?;
    let draft = root.draft_issuing(name, key, &serial, &wishes.below(), now)?;
    store.pending(entry, draft.tbs_sha256(), draft.validity())?;
    let issuer = root.certificate().key_id();
    let recorded = record::<Issuing>(recorder, issuer, &serial, name, (key, origin), &draft)?;
    let signed = root.sign(&draft, recorded)?;
    let certificate = AuthorityCertificate::parse::<Issuing>(&signed)?;
    keep((store, recorder), (entry, issuer), &certificate, now)?;
    Ok(certificate)
}

fn reserve<L: Level>(
    store: &mut Store,
    issuer: AuthorityId,
    serial: &Serial,
    name: &AuthorityName,
    (key, key_origin): (&PublicKey, KeyOrigin),
    now: Timestamp,
) -> Result<CertificateId, Error> {
    let reservation = Reservation {
        profile: L::profile(),
        label: &name.common_name(L::ROLE, key.key_id()),
        names: &[],
        key,
        key_origin,
        shard: None,
        token: None,
        predecessor: None,
    };
    Ok(store.reserve(issuer, serial, &reservation, whole_seconds(now)?)?)
}

/// Puts on record that the certificate of an authority will be signed.
fn record<L: Level>(
    recorder: &Recorder,
    issuer: KeyId,
    serial: &Serial,
    name: &AuthorityName,
    (key, key_origin): (&PublicKey, KeyOrigin),
    draft: &Draft<Root>,
) -> Result<Recorded, Error> {
    let common_name = name.common_name(L::ROLE, key.key_id());
    Ok(recorder.intend(&Intended {
        issuer,
        serial,
        profile: L::profile(),
        common_name: Some(common_name),
        names: &[],
        validity: draft.validity(),
        tbs_sha256: draft.tbs_sha256(),
        key,
        key_origin,
        by: &Asker::Operator,
    })?)
}

fn keep(
    (store, recorder): (&mut Store, &Recorder),
    (entry, issuer): (CertificateId, KeyId),
    certificate: &AuthorityCertificate,
    now: Timestamp,
) -> Result<(), Error> {
    store.issued(entry, certificate.der(), whole_seconds(now)?)?;
    recorder.issued(issuer, [(certificate.serial(), sha256(certificate.der()))])?;
    Ok(())
}

fn write<L: Level>(ca: &Path, certificate: &AuthorityCertificate) -> Result<(), Error> {
    let path = ca.join(certificate_file(L::ROLE));
    let text = pem::certificate(certificate.der());
    create_new(&path, Readers::Owner, text.as_bytes())?;
    Ok(())
}
