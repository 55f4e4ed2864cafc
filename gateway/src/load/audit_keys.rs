//! The keys of the audit log and of its readers.
//!
//! They stay as they are while the gateway runs: with others there would be another log.

use std::sync::Arc;

use audit::keys::Keys;
use audit::seal::reader::{Reader, Scope};
use config::Audit;

use super::entries::place_of;
use super::loader::Loader;
use crate::site::{AuditKeys, Site};

/// No public key is longer than this, bytes, comments included.
const MAX_READER: u64 = 4096;

impl Loader {
    /// What `previous` had, or else what the configuration names.
    pub(super) fn audit_keys(&mut self, audit: &Audit, previous: Option<&Site>) -> AuditKeys {
        if let Some(previous) = previous {
            return previous.audit_keys.clone();
        }
        let mut found = AuditKeys {
            readers: self.readers(audit),
            ..AuditKeys::default()
        };
        let Some(secret) = &audit.keys else {
            return found;
        };
        let Some((text, origin)) = self.secret(secret) else {
            return found;
        };
        let passphrase = match &audit.passphrase {
            None => None,
            Some(passphrase) => match self.secret(passphrase) {
                Some((passphrase, _)) => Some(passphrase),
                None => return found,
            },
        };
        let passphrase = passphrase.as_ref().map(|passphrase| &passphrase[..]);
        match Keys::open(&text, passphrase) {
            Ok(keys) => {
                let Keys {
                    signer,
                    patients,
                    rotations,
                } = keys;
                found.signer = Some(Arc::new(signer));
                found.rotations = rotations;
                found.patients = Some(Arc::new(patients));
            }
            Err(error) => {
                let message = format!("{origin} does not hold the keys of a log: {error}");
                self.error(place_of(secret), message, Some(error.hint()));
            }
        }
        found
    }

    fn readers(&mut self, audit: &Audit) -> Vec<Reader> {
        let mut readers: Vec<Reader> = Vec::with_capacity(audit.readers.len());
        for file in &audit.readers {
            let Some(pem) = self.read(&file.path, &file.place, MAX_READER) else {
                continue;
            };
            match Reader::parse(&pem, Scope::Targets) {
                Ok(reader) if readers.iter().any(|other| other.id() == reader.id()) => {
                    let message =
                        format!("{} holds a key that is named above", file.path.display());
                    self.error(&file.place, message, Some("name each reader once"));
                }
                Ok(reader) => readers.push(reader),
                Err(error) => {
                    let message = format!("{}: {error}", file.path.display());
                    self.error(&file.place, message, Some(error.hint()));
                }
            }
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Place;

    #[test]
    fn keys_and_readers_that_are_wrong_are_told_with_their_place() {
        for (from, to, told) in [
            (
                "file:audit.keys",
                "file:server/key.pem",
                "audit.keys: server/key.pem does not hold the keys of a log: line 1 is no key",
            ),
            ("file:audit.keys", "file:absent", "audit.keys: cannot open"),
            (
                "[\"reader.pem\"]",
                "[\"reader.pem\", \"server/../reader.pem\"]",
                "audit.readers: server/../reader.pem holds a key that is named above",
            ),
            (
                "reader.pem",
                "reader.key",
                "audit.readers: reader.key: not PEM of a PUBLIC KEY",
            ),
            ("reader.pem", "absent", "audit.readers: cannot open"),
        ] {
            let place = Place::new();
            place.revoke(1, 2, &[]);
            place.edit(from, to);
            let refused = place.load(None).unwrap_err();
            let folder = format!("{}/", place.directory.path().display());
            assert!(refused.replace(&folder, "").contains(told), "{refused}");
            assert!(refused.contains("hint: "), "{refused}");
        }
    }

    #[test]
    fn encrypted_keys_open_with_the_passphrase_that_the_configuration_names_and_with_no_other() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let (folder, keys) = (place.directory.path(), "audit.keys");
        let (name, drawn) = (
            "clinic.example/audit".parse().unwrap(),
            "drawn for this test\n",
        );
        std::fs::remove_file(folder.join(keys)).unwrap();
        std::fs::create_dir(folder.join("locked")).unwrap();
        let made = audit::keygen::keygen(&folder.join("locked"), &name, Some(drawn.as_bytes()));
        made.unwrap();
        std::fs::rename(folder.join("locked").join(keys), folder.join(keys)).unwrap();
        let refused = place.load(None).unwrap_err();
        assert!(refused.contains("there is no passphrase"), "{refused}");
        assert!(refused.contains("[audit] passphrase"), "{refused}");
        place.edit(
            "\"file:audit.keys\"",
            "\"file:audit.keys\"\npassphrase = \"file:passphrase\"",
        );
        for (passphrase, told) in [
            ("drawn for another one", "the passphrase is another one"),
            ("", "a passphrase has 1 to"),
        ] {
            std::fs::write(folder.join("passphrase"), passphrase).unwrap();
            let refused = place.load(None).unwrap_err();
            assert!(
                refused.contains(told) && refused.contains("hint: "),
                "{refused}"
            );
        }
        std::fs::write(folder.join("passphrase"), drawn).unwrap();
        let site = place.load(None).unwrap();
        assert!(site.audit_keys.signer.is_some() && site.audit_keys.patients.is_some());
    }

    #[test]
    fn a_reload_keeps_the_keys_that_the_log_began_with() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let first = place.load(None).unwrap();
        assert!(first.audit_keys.patients.is_some());
        assert_eq!(first.audit_keys.readers.len(), 1);
        std::fs::remove_file(place.directory.path().join("audit.keys")).unwrap();
        let second = place.load(Some(&first)).unwrap();
        let verifier = |site: &crate::site::Site| {
            let signer = site.audit_keys.signer.as_ref();
            signer.map(|signer| signer.verifier().clone())
        };
        assert_eq!(verifier(&first), verifier(&second));
        assert!(place.load(None).is_err());
    }
}
