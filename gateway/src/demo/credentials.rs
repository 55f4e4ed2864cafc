//! The demo's authority and certificates: made by the same code that `pki` runs, reused at the next
//! start, renewed when they are about to expire.
//!
//! A directory is the demo's when the authority in its `pki/` bears the demo's name; in any other
//! that is not empty nothing is made. Nothing is ever removed but files of the four names that
//! `pki issue` writes, in a directory that holds no others, and a reader's key pair that a start which
//! was killed left without a log.
//!
//! Each step can be the last one before a kill: the next start takes up what it finds. A certificate
//! is issued aside and takes its place whole, and a device that should be revoked is revoked at every
//! start, not only at the one that issued its certificate.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use audit::keygen;
use jiff::{SignedDuration, Timestamp};
use pki::files::read_bounded;
use pki::staging::Staging;
use pki::{
    AuthorityName, Ca, EndEntity, Find, Inspected, KeySource, Name, Order, Plan, Reason, Renewal,
};

use super::error::DemoError;

/// The device that may, and the one that no longer may.
pub(super) const DEVICE: &str = "urn:example:pump-1";
/// See [`DEVICE`].
pub(super) const REVOKED: &str = "urn:example:pump-2";

/// What the authority is called; tells the demo's directory from others.
const AUTHORITY: &str = "phigate demo";

/// The demo's configuration.
pub(super) const CONFIGURATION: &str = "gateway.toml";

/// What the demo writes there.
pub(super) const TEMPLATE: &str = include_str!("gateway.toml");

/// What the demo's log is called.
const LOG_NAME: &str = "demo.invalid/audit";

/// What `pki issue` writes into the directory of a certificate.
const FILES: [&str; 4] = ["cert.pem", "chain.pem", "key.pem", "trust.pem"];

/// A certificate that ends sooner is renewed.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 14);

const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// A directory in which the demo may work.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    /// `None`: nothing is there yet.
    authority: Option<Ca>,
}

impl Home {
    /// Looks at a directory, and changes nothing. Refuses one that holds what is not the demo's.
    pub(super) fn find(directory: &Path) -> Result<Home, DemoError> {
        let pki = directory.join("pki");
        let authority = if fs::symlink_metadata(&pki).is_ok() {
            Some(open(directory, &pki)?)
        } else {
            refuse_if_occupied(directory)?;
            None
        };
        Ok(Home {
            directory: directory.to_owned(),
            authority,
        })
    }

    /// Makes what is missing, renews what is about to expire, and signs the revocation lists anew.
    /// Returns what a person should know.
    pub(super) fn furnish(self, now: Timestamp) -> Result<Vec<String>, DemoError> {
        let directory = self.directory;
        let failed = |error: pki::Error| damaged(&directory, error);
        let mut ca = match self.authority {
            Some(ca) => ca,
            None => {
                let name = AuthorityName::parse(AUTHORITY).map_err(DemoError::new)?;
                Ca::init(&directory.join("pki"), &Plan::new(name), now).map_err(DemoError::new)?
            }
        };
        let uri = |name| Name::uri(name).map_err(DemoError::new);
        let server = vec![
            Name::dns("localhost").map_err(DemoError::new)?,
            Name::ip("127.0.0.1").map_err(DemoError::new)?,
        ];
        let mut remarks = Vec::new();
        for (place, profile, names) in [
            ("server", EndEntity::Server, server),
            ("device", EndEntity::Device, vec![uri(DEVICE)?]),
            ("revoked", EndEntity::Device, vec![uri(REVOKED)?]),
        ] {
            let place = directory.join(place);
            let standing = keep(&mut ca, profile, names, &place, now)?;
            if standing == Standing::Revoked && !place.ends_with("revoked") {
                remarks.push(format!(
                    "{} is revoked, and is refused: remove {} to have another one issued",
                    place.join("cert.pem").display(),
                    place.display()
                ));
            }
        }
        let find = Find::Id(REVOKED.to_owned());
        let known = ca.show(&find).map_err(failed)?;
        if known.iter().any(|record| record.is_live(now)) {
            ca.revoke(&find, Reason::CessationOfOperation, now)
                .map_err(failed)?;
        }
        ca.sign_crls(Renewal::All, None, now).map_err(failed)?;
        audit_keys(&directory)?;
        Ok(remarks)
    }
}

/// Makes the keys of the log, unless they are there. A start that was killed in between left a
/// reader without a log, whom nothing was ever encrypted to.
fn audit_keys(directory: &Path) -> Result<(), DemoError> {
    if directory.join(keygen::KEYS).exists() {
        return Ok(());
    }
    for name in [keygen::READER_SECRET, keygen::READER_PUBLIC] {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = path.display();
                return Err(DemoError::new(format_args!(
                    "cannot remove {path}: {error}"
                )));
            }
            _ => {}
        }
    }
    let name = LOG_NAME.parse().map_err(DemoError::new)?;
    keygen::keygen(directory, &name, None).map_err(|error| {
        let hint = error.hint();
        DemoError::new(error).hint(hint)
    })?;
    Ok(())
}

fn open(directory: &Path, pki: &Path) -> Result<Ca, DemoError> {
    match Ca::open(pki) {
        Ok(ca) if ca.name() == AUTHORITY => Ok(ca),
        Ok(_) | Err(pki::Error::NoAuthority { .. }) => Err(foreign(directory, pki)),
        Err(error) => Err(damaged(directory, error)),
    }
}

/// Refuses a directory without an authority that holds anything but a configuration as the demo
/// writes it, which may be there first.
fn refuse_if_occupied(directory: &Path) -> Result<(), DemoError> {
    let is_ours = |name: &str| {
        let title = TEMPLATE.lines().next().unwrap_or_default();
        name == CONFIGURATION
            && read_bounded(&directory.join(name), config::MAX_FILE_BYTES)
                .is_ok_and(|text| text.starts_with(title.as_bytes()))
    };
    match first(directory, |name, kind| {
        !(is_staging(name) || kind.is_file() && is_ours(name))
    })? {
        Some(occupant) => Err(foreign(directory, &occupant)),
        None => Ok(()),
    }
}

fn foreign(directory: &Path, occupant: &Path) -> DemoError {
    DemoError::new(format_args!(
        "{} is not a directory of the demo: {} is there, which the demo did not make",
        directory.display(),
        occupant.display()
    ))
    .hint("name an empty directory, or one that does not exist, with --dir")
}

fn damaged(directory: &Path, error: impl std::fmt::Display) -> DemoError {
    DemoError::new(error).hint(format_args!(
        "remove {} to begin anew, or name another directory with --dir",
        directory.display()
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// It stays so: a start of the demo never takes a revocation back.
    Revoked,
}

/// Issues a certificate into `out`, unless one is there that lasts for a while.
fn keep(
    ca: &mut Ca,
    profile: EndEntity,
    names: Vec<Name>,
    out: &Path,
    now: Timestamp,
) -> Result<Standing, DemoError> {
    if let Some(standing) = standing(ca, out, now)? {
        return Ok(standing);
    }
    let fresh = out.with_extension("new");
    // Both are looked at before anything is removed or issued.
    refuse_if_foreign(out)?;
    refuse_if_foreign(&fresh)?;
    clear(&fresh)?;
    let order = Order {
        profile,
        names: profile.admit(names).map_err(DemoError::new)?,
        key: KeySource::New,
        days: None,
    };
    ca.issue(order, &fresh, now).map_err(DemoError::new)?;
    clear(out)?;
    fs::rename(&fresh, out).map_err(|error| {
        DemoError::new(format_args!("cannot rename {}: {error}", fresh.display()))
    })?;
    Ok(Standing::Good)
}

/// The standing of the certificate in a directory. `None` when there has to be another one: its
/// files are not all there, or its time is over soon.
fn standing(ca: &Ca, out: &Path, now: Timestamp) -> Result<Option<Standing>, DemoError> {
    let leaf = read_bounded(&out.join("cert.pem"), MAX_CERTIFICATE_BYTES)
        .ok()
        .and_then(|pem| Inspected::read(&pem));
    let Some(leaf) = leaf else {
        return Ok(None);
    };
    let record = match ca.show(&Find::Tbs(leaf.tbs_sha256)) {
        Ok(records) => records.into_iter().next(),
        Err(pki::Error::Foreign) => None,
        Err(error) => return Err(DemoError::new(error)),
    };
    let Some(record) = record else {
        let certificate = out.join("cert.pem");
        return Err(DemoError::new(format_args!(
            "{} is not a certificate of the demo's authority",
            certificate.display()
        ))
        .hint("move it elsewhere"));
    };
    let is_whole = FILES.iter().all(|name| out.join(name).is_file());
    let lasts = leaf.validity.not_after > now + RENEWED_BEFORE;
    Ok((is_whole && lasts).then_some(match record.revoked {
        None => Standing::Good,
        Some(_) => Standing::Revoked,
    }))
}

/// Refuses a directory that holds anything but what `pki issue` writes, or leaves when it is killed.
fn refuse_if_foreign(directory: &Path) -> Result<(), DemoError> {
    match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(not_ours(directory)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unlisted(directory, &error)),
    }
    let is_foreign = |name: &str, kind: fs::FileType| {
        !(FILES.contains(&name) && kind.is_file() || is_staging(name) && kind.is_dir())
    };
    match first(directory, is_foreign)? {
        Some(path) => Err(not_ours(&path)),
        None => Ok(()),
    }
}

fn not_ours(path: &Path) -> DemoError {
    DemoError::new(format_args!(
        "{} is in the way of a certificate, and the demo did not make it",
        path.display()
    ))
    .hint("move it elsewhere, or name another directory with --dir")
}

/// Removes a directory of a certificate, if it holds nothing else.
fn clear(directory: &Path) -> Result<(), DemoError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        DemoError::new(format_args!("cannot remove {}: {error}", path.display()))
    };
    if fs::symlink_metadata(directory).is_err() {
        return Ok(());
    }
    // Whoever makes a staging directory sweeps away those of the dead.
    drop(Staging::create(directory).map_err(|error| failed(directory, &error))?);
    for name in FILES {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, &error)),
            _ => {}
        }
    }
    fs::remove_dir(directory).map_err(|error| failed(directory, &error))
}

/// Whether `pki` calls directories like this in which it prepares files.
fn is_staging(name: &str) -> bool {
    name.strip_prefix(".pki-")
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The first entry of a directory that is such; none if there is no directory.
fn first(
    directory: &Path,
    is_such: impl Fn(&str, fs::FileType) -> bool,
) -> Result<Option<PathBuf>, DemoError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unlisted(directory, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| unlisted(directory, &error))?;
        let kind = entry
            .file_type()
            .map_err(|error| unlisted(directory, &error))?;
        if is_such(&entry.file_name().to_string_lossy(), kind) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn unlisted(directory: &Path, error: &std::io::Error) -> DemoError {
    DemoError::new(format_args!(
        "cannot look into {}: {error}",
        directory.display()
    ))
    .hint("name another directory with --dir")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn furnish(directory: &Path, now: Timestamp) -> Result<Vec<String>, String> {
        Home::find(directory)
            .and_then(|home| home.furnish(now))
            .map_err(|error| error.to_string())
    }

    fn leaf(directory: &Path, place: &str) -> Vec<u8> {
        fs::read(directory.join(place).join("cert.pem")).unwrap()
    }

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    /// Every file below a directory, with what it holds.
    fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.push((path.clone(), Vec::new()));
                all.extend(tree(&path));
            } else {
                all.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
        all.sort();
        all
    }

    fn is_revoked(directory: &Path, place: &str) -> bool {
        let ca = Ca::open(&directory.join("pki")).unwrap();
        let leaf = Inspected::read(&leaf(directory, place)).unwrap();
        ca.show(&Find::Tbs(leaf.tbs_sha256)).unwrap()[0]
            .revoked
            .is_some()
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_refused_and_left_as_it_is() {
        for occupant in [
            "server/src/main.py",
            "device.new/notes",
            "notes",
            ".git/config",
            ".pki-notes/mine",
            "pki/notes",
        ] {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join(occupant);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "mine").unwrap();
            let before = tree(place.path());
            let told = furnish(place.path(), Timestamp::now()).unwrap_err();
            assert!(told.contains("which the demo did not make"), "{told}");
            assert!(told.contains("hint: name an empty directory"), "{told}");
            assert_eq!(tree(place.path()), before);
        }
    }

    #[test]
    fn an_authority_of_somebody_else_is_refused_and_issues_nothing() {
        let place = tempfile::tempdir().unwrap();
        let pki = place.path().join("pki");
        let name = AuthorityName::parse("Clinic North").unwrap();
        drop(Ca::init(&pki, &Plan::new(name), Timestamp::now()).unwrap());
        let told = furnish(place.path(), Timestamp::now()).unwrap_err();
        assert!(told.contains("which the demo did not make"), "{told}");
        assert!(!place.path().join("server").exists());
    }

    #[test]
    fn a_second_start_reuses_what_the_first_one_made() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("not/there/yet");
        let now = Timestamp::now();
        assert_eq!(furnish(&home, now), Ok(Vec::new()));
        let first = ["server", "device", "revoked"].map(|place| leaf(&home, place));
        assert_eq!(furnish(&home, now), Ok(Vec::new()));
        assert_eq!(
            ["server", "device", "revoked"].map(|place| leaf(&home, place)),
            first
        );
        assert!(is_revoked(&home, "revoked") && !is_revoked(&home, "device"));
    }

    #[test]
    fn a_configuration_of_the_demo_may_be_there_first_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(CONFIGURATION);
        fs::write(&path, "[audit]\n").unwrap();
        let told = furnish(place.path(), Timestamp::now()).unwrap_err();
        assert!(told.contains("which the demo did not make"), "{told}");
        fs::write(&path, TEMPLATE.to_owned() + "# changed\n").unwrap();
        assert_eq!(furnish(place.path(), Timestamp::now()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_about_to_expire_is_renewed_and_the_revoked_device_stays_revoked() {
        let place = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        furnish(place.path(), now).unwrap();
        let first = leaf(place.path(), "device");
        furnish(place.path(), now + days(75)).unwrap();
        assert_eq!(leaf(place.path(), "device"), first);
        for later in [80, 400] {
            furnish(place.path(), now + days(later)).unwrap();
            assert_ne!(leaf(place.path(), "device"), first);
            assert!(is_revoked(place.path(), "revoked"));
            assert!(!place.path().join("device.new").exists());
        }
    }

    #[test]
    fn a_foreign_file_beside_a_certificate_is_never_removed() {
        let now = Timestamp::now();
        for (at, foreign) in [
            "device/device.p12",
            "device.new/notes",
            "device/deep/key.pem",
        ]
        .into_iter()
        .enumerate()
        {
            let place = tempfile::tempdir().unwrap();
            furnish(place.path(), now).unwrap();
            let path = place.path().join(foreign);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "mine").unwrap();
            let before = tree(&place.path().join("device"));
            let told = furnish(place.path(), now + days(80)).unwrap_err();
            assert!(told.contains("the demo did not make it"), "{at}: {told}");
            assert!(told.contains("hint: move it elsewhere"), "{told}");
            assert_eq!(fs::read(&path).unwrap(), b"mine");
            assert_eq!(tree(&place.path().join("device")), before);
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_certificate_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("key.pem"), "mine").unwrap();
        furnish(place.path(), Timestamp::now()).unwrap();
        fs::remove_dir_all(place.path().join("device")).unwrap();
        symlink(elsewhere.path(), place.path().join("device")).unwrap();
        let told = furnish(place.path(), Timestamp::now()).unwrap_err();
        assert!(told.contains("the demo did not make it"), "{told}");
        assert!(elsewhere.path().join("key.pem").exists());
    }

    #[test]
    fn a_certificate_of_another_authority_is_left_alone() {
        let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = Timestamp::now();
        furnish(place.path(), now).unwrap();
        furnish(other.path(), now).unwrap();
        for name in FILES {
            fs::copy(
                other.path().join("device").join(name),
                place.path().join("device").join(name),
            )
            .unwrap();
        }
        let before = tree(&place.path().join("device"));
        let told = furnish(place.path(), now + days(80)).unwrap_err();
        assert!(
            told.contains("not a certificate of the demo's authority"),
            "{told}"
        );
        assert_eq!(tree(&place.path().join("device")), before);
    }

    #[test]
    fn what_a_killed_start_left_is_taken_up() {
        let now = Timestamp::now();
        let orphan = ".pki-0123456789abcdef";
        type Undo = (&'static str, fn(&Path));
        let half_made: [Undo; 6] = [
            ("before the authority was in place", |home| {
                fs::remove_dir_all(home).unwrap();
                fs::create_dir_all(home.join(".pki-0123456789abcdef/ca")).unwrap();
            }),
            ("before the first certificate", |home| {
                for place in ["server", "device", "revoked"] {
                    fs::remove_dir_all(home.join(place)).unwrap();
                }
            }),
            ("while a certificate was prepared", |home| {
                fs::rename(home.join("device"), home.join("device.new")).unwrap();
                let staging = home.join("device.new/.pki-0123456789abcdef");
                fs::create_dir(&staging).unwrap();
                for name in ["chain.pem", "cert.pem"] {
                    fs::rename(home.join("device.new").join(name), staging.join(name)).unwrap();
                }
            }),
            ("before a certificate took its place", |home| {
                fs::rename(home.join("device"), home.join("device.new")).unwrap();
            }),
            ("while an old certificate was removed", |home| {
                fs::remove_file(home.join("device/key.pem")).unwrap();
            }),
            ("before the empty directory was removed", |home| {
                for name in FILES {
                    fs::remove_file(home.join("device").join(name)).unwrap();
                }
            }),
        ];
        for (when, undo) in half_made {
            let place = tempfile::tempdir().unwrap();
            let home = place.path().join("home");
            furnish(&home, now).unwrap();
            undo(&home);
            assert_eq!(furnish(&home, now), Ok(Vec::new()), "{when}");
            for place in ["server", "device", "revoked"] {
                let mut names: Vec<_> = tree(&home.join(place))
                    .into_iter()
                    .map(|(path, _)| path.file_name().unwrap().to_owned())
                    .collect();
                names.sort();
                assert_eq!(names, FILES, "{when}");
            }
            assert!(
                !home.join("device.new").exists() && !home.join(orphan).exists(),
                "{when}"
            );
            assert!(!is_revoked(&home, "device"), "{when}");
            assert!(is_revoked(&home, "revoked"), "{when}");
        }
    }

    #[test]
    fn a_start_that_was_killed_before_it_revoked_is_made_up_for() {
        let place = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let name = AuthorityName::parse(AUTHORITY).unwrap();
        let mut ca = Ca::init(&place.path().join("pki"), &Plan::new(name), now).unwrap();
        let names = vec![Name::uri(REVOKED).unwrap()];
        let out = place.path().join("revoked");
        keep(&mut ca, EndEntity::Device, names, &out, now).unwrap();
        drop(ca);
        let first = leaf(place.path(), "revoked");
        assert!(!is_revoked(place.path(), "revoked"));
        furnish(place.path(), now).unwrap();
        assert_eq!(leaf(place.path(), "revoked"), first);
        assert!(is_revoked(place.path(), "revoked"));
    }

    #[test]
    fn a_start_never_takes_a_revocation_back() {
        let place = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        furnish(place.path(), now).unwrap();
        let mut ca = Ca::open(&place.path().join("pki")).unwrap();
        ca.revoke(&Find::Id(DEVICE.to_owned()), Reason::KeyCompromise, now)
            .unwrap();
        drop(ca);
        let first = leaf(place.path(), "device");
        let remarks = furnish(place.path(), now).unwrap();
        assert!(remarks[0].contains("is revoked"), "{remarks:?}");
        assert_eq!(leaf(place.path(), "device"), first);
    }

    #[test]
    fn an_authority_that_is_damaged_says_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        furnish(place.path(), Timestamp::now()).unwrap();
        fs::write(place.path().join("pki/ca/root.pem"), "gone").unwrap();
        let told = furnish(place.path(), Timestamp::now()).unwrap_err();
        assert!(told.contains("to begin anew"), "{told}");
    }
}
