//! `authority.toml`: the format of the directory and the few things an operator may change in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::authority::AuthorityName;
use crate::error::Error;
use crate::files::{FileError, Readers, create_new, read_bounded, replace};
use crate::key::TokenUri;
use crate::profile::AuthorityRole;
use crate::publication::Publication;
use crate::revocation::MAX_CRL_DAYS;
use crate::secret::SecretSource;

/// The format of the directory that this program writes and reads.
const FORMAT: u32 = 2;
/// Longest settings file that is read, in octets.
const MAX_OCTETS: usize = 64 * 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The format of the directory.
    format: u32,
    /// What the authority is called.
    pub name: String,
    /// Whose secret keys are here, if not both.
    #[serde(default, skip_serializing_if = "Holds::is_both")]
    pub holds: Holds,
    /// How long CRLs are valid.
    pub crl: CrlSettings,
    /// Where verifiers find what is published; the certificates say nothing of it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishSettings>,
    /// What `pki serve` does when its flags say nothing else.
    #[serde(default, skip_serializing_if = "ServeSettings::is_default")]
    pub serve: ServeSettings,
    /// Where the secret keys are, and what opens them.
    #[serde(default, skip_serializing_if = "KeySettings::is_default")]
    pub keys: KeySettings,
    /// The server that holds the inventory; without, it is the file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventorySettings>,
}

/// Whose secret keys are in a directory, and so what it can sign. Fixed when it is founded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Those of the root and of the issuing authority.
    #[default]
    Both,
    /// That of the root: it knows no issuing authority, and certifies those of other directories.
    Root,
    /// That of the issuing authority: its root is in another directory.
    Issuing,
}

impl Holds {
    /// Whether the key of this role is here.
    pub(crate) fn key_of(self, role: AuthorityRole) -> bool {
        match self {
            Self::Both => true,
            Self::Root => role == AuthorityRole::Root,
            Self::Issuing => role == AuthorityRole::Issuing,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_both(&self) -> bool {
        *self == Self::Both
    }
}

/// The server that holds the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventorySettings {
    /// Where its connection string is, which may hold a password.
    pub postgres: SecretSource,
    /// The roots (PEM) that its certificate must lead to. Needed unless it is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<PathBuf>,
}

/// What `pki serve` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeSettings {
    /// The address of the plain HTTP listener.
    pub listen: SocketAddr,
    /// How long an OCSP response can be used, in hours. A new one is signed at half of it, and as
    /// soon as the certificate is revoked.
    pub ocsp_hours: u32,
    /// How long after its end a certificate can still be replaced by its holder, in days: a device that
    /// was off for a while comes back.
    pub est_grace_days: u32,
}

/// Longest time after the end of a certificate in which its holder can replace it, in days.
pub const MAX_EST_GRACE_DAYS: u32 = 365;

/// Longest time that an OCSP response can be used, in hours: a week. A stolen or stale one is good
/// for so long.
pub const MAX_OCSP_HOURS: u32 = 7 * 24;

impl Default for ServeSettings {
    /// Loopback, behind a proxy, and a day: RFC 5019 section 2.2.4 leaves it to the authority.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            ocsp_hours: 24,
            est_grace_days: 30,
        }
    }
}

impl ServeSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where verifiers find what is published. The certificates that were issued repeat it, so it is
/// fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSettings {
    /// The base URL, `http://…`.
    pub url: String,
    /// How many shards the issuing authority's CRL has.
    pub shards: u16,
}

/// How long CRLs are valid, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlSettings {
    /// That of the issuing authority: how long a verifier that gets no news goes on.
    pub issuing_days: u32,
    /// That of the root. Longer, because its key belongs in a safe and comes out to sign it.
    pub root_days: u32,
}

/// Where the secret keys are, and what opens them. Without a word they are in files of the owner
/// alone, not encrypted. No secret is in here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Where the passphrase of the key files is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretSource>,
    /// Where that of the root's key file is, if it has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_passphrase: Option<SecretSource>,
    /// The root's key, if it is in a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<TokenUri>,
    /// The issuing authority's key, if it is in a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuing: Option<TokenUri>,
}

impl KeySettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Settings {
    /// Those of a new authority: a week for the issuing CRL, half a year for the root's.
    pub fn new(name: &AuthorityName, publication: Option<&Publication>) -> Self {
        Self {
            format: FORMAT,
            name: name.as_str().to_owned(),
            holds: Holds::Both,
            crl: CrlSettings {
                issuing_days: 7,
                root_days: 180,
            },
            publish: publication.map(|publication| PublishSettings {
                url: publication.url().to_owned(),
                shards: publication.shards(),
            }),
            inventory: None,
            serve: ServeSettings::default(),
            keys: KeySettings::default(),
        }
    }

    /// Where verifiers find what is published, if anywhere.
    pub(crate) fn publication(&self) -> Option<Publication> {
        let publish = self.publish.as_ref()?;
        Publication::new(&publish.url, publish.shards).ok()
    }

    /// Writes them to a new file.
    pub(crate) fn create(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(|error| Error::Settings {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        create_new(path, Readers::Owner, text.as_bytes())?;
        Ok(())
    }

    /// Reads and judges them. `None` if there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match read_bounded(path, MAX_OCTETS) {
            Ok(bytes) => bytes,
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let unusable = |message: String| Error::Settings {
            path: path.to_owned(),
            message,
        };
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is no text".to_owned()))?;
        let settings: Self =
            toml::from_str(&text).map_err(|error| unusable(placed(&error, &text)))?;
        if settings.format != FORMAT {
            return Err(unusable(format!(
                "format {} is not known to this program, which knows {FORMAT}",
                settings.format
            )));
        }
        for (key, days) in [
            ("crl.issuing_days", settings.crl.issuing_days),
            ("crl.root_days", settings.crl.root_days),
        ] {
            if !(1..=MAX_CRL_DAYS).contains(&days) {
                return Err(unusable(format!(
                    "{key} = {days}: 1 to {MAX_CRL_DAYS} days are possible"
                )));
            }
        }
        if settings.serve.est_grace_days > MAX_EST_GRACE_DAYS {
            return Err(unusable(format!(
                "serve.est_grace_days = {}: 0 to {MAX_EST_GRACE_DAYS} days are possible",
                settings.serve.est_grace_days
            )));
        }
        if !(1..=MAX_OCSP_HOURS).contains(&settings.serve.ocsp_hours) {
            return Err(unusable(format!(
                "serve.ocsp_hours = {}: 1 to {MAX_OCSP_HOURS} hours are possible",
                settings.serve.ocsp_hours
            )));
        }
        if let Some(publish) = &settings.publish
            && let Err(error) = Publication::new(&publish.url, publish.shards)
        {
            return Err(unusable(format!("publish: {error}")));
        }
        Ok(Some(settings))
    }

    /// Takes out the server that holds the inventory, if one is named: the file beside it does then.
    pub(crate) fn without_server(path: &Path, scratch: &Path) -> Result<(), Error> {
        let Some(mut settings) = Self::read(path)? else {
            return Ok(());
        };
        if settings.inventory.take().is_none() {
            return Ok(());
        }
        let text = toml::to_string(&settings).map_err(|error| Error::Settings {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        replace(path, scratch, Readers::Owner, text.as_bytes())?;
        Ok(())
    }

    /// Notes where the passphrases are from now on, in one step. Whatever else an operator wrote in
    /// the file, comments among it, stays as it is.
    pub(crate) fn replace_passphrases(
        path: &Path,
        scratch: &Path,
        passphrase: Option<&SecretSource>,
        root_passphrase: Option<&SecretSource>,
    ) -> Result<(), Error> {
        let unusable = |message: &str| Error::Settings {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        let text = String::from_utf8(read_bounded(path, MAX_OCTETS)?)
            .map_err(|_| unusable("it is no text"))?;
        let mut document: toml_edit::DocumentMut = text
            .parse()
            .map_err(|_| unusable("it is not written in TOML"))?;
        let keys = document
            .entry("keys")
            .or_insert_with(toml_edit::table)
            .as_table_like_mut()
            .ok_or_else(|| unusable("keys is no table"))?;
        for (key, source) in [
            ("passphrase", passphrase),
            ("root_passphrase", root_passphrase),
        ] {
            if let Some(source) = source {
                keys.insert(key, toml_edit::value(source.to_string()));
            }
        }
        replace(
            path,
            scratch,
            Readers::Owner,
            document.to_string().as_bytes(),
        )?;
        Ok(())
    }
}

/// What is wrong in the file, and in which line. The line itself is not repeated: somebody may have
/// written a secret where its source belongs.
fn placed(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Settings>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path)
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.toml");
        let name = AuthorityName::parse("Clinic \"North\"").unwrap();
        let publication = Publication::new("http://pki.clinic.example", 16).unwrap();
        let settings = Settings::new(&name, Some(&publication));
        settings.create(&path).unwrap();
        let again = Settings::read(&path).unwrap().unwrap();
        assert_eq!(again.publication(), Some(publication));
        assert_eq!(again, settings);
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused_with_its_place() {
        let good = "format = 2\nname = \"x\"\n[crl]\nissuing_days = 7\nroot_days = 180\n[publish]\nurl = \"http://a.example\"\nshards = 2\n";
        assert!(read(good).unwrap().is_some());
        for (from, to, says) in [
            ("format = 2", "format = 3", "format 3"),
            ("http://", "https://", "publish: "),
            ("shards = 2", "shards = 0", "publish: "),
            (
                "issuing_days = 7",
                "issuing_days = 0",
                "crl.issuing_days = 0",
            ),
            ("root_days = 180", "root_days = 366", "crl.root_days = 366"),
            (
                "[publish]",
                "[serve]\nocsp_hours = 0\n[publish]",
                "serve.ocsp_hours = 0",
            ),
            (
                "[publish]",
                "[serve]\nlisten = \"here\"\n[publish]",
                "line 7",
            ),
            ("issuing_days", "issuing_day", "line 4"),
            ("name", "nome", "line 2"),
            (
                "[crl]",
                "[keys]\npassphrase = \"env:\"\n[crl]",
                "line 4: that is no name",
            ),
            (
                "[crl]",
                "[keys]\nroot = \"pkcs11:token=a\"\n[crl]",
                "line 4: the PKCS #11 URI has no object",
            ),
            ("[crl]", "[keys]\nrut = \"\"\n[crl]", "line 4"),
            ("[crl]", "holds = \"none\"\n[crl]", "line 3"),
        ] {
            let message = read(&good.replace(from, to)).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }

    const GOOD: &str = "format = 2\nname = \"x\"\n[crl]\nissuing_days = 7\nroot_days = 180\n";

    #[test]
    fn a_passphrase_in_the_place_of_its_source_is_not_repeated() {
        for line in [
            "passphrase = \"hunter2hunter2\"",
            "root = \"pkcs11:token=a;object=b?pin-value=hunter2\"",
        ] {
            let message = read(&format!("{GOOD}[keys]\n{line}\n"))
                .unwrap_err()
                .to_string();
            assert!(message.contains("line 7"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn new_passphrases_are_noted_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, scratch) = (dir.path().join("authority.toml"), dir.path().join("new"));
        let text = format!("# ours\n{GOOD}# keep\n");
        create_new(&path, Readers::Owner, text.as_bytes()).unwrap();
        let source = SecretSource::parse("env:PASSPHRASE").unwrap();
        let of_root = SecretSource::parse("terminal").unwrap();
        Settings::replace_passphrases(&path, &scratch, Some(&source), None).unwrap();
        Settings::replace_passphrases(&path, &scratch, None, Some(&of_root)).unwrap();
        let keys = Settings::read(&path).unwrap().unwrap().keys;
        assert_eq!(keys.passphrase, Some(source));
        assert_eq!(keys.root_passphrase, Some(of_root));
        let written = std::fs::read_to_string(&path).unwrap();
        for kept in ["# ours\n", "# keep\n", GOOD] {
            assert!(written.contains(kept), "{written}");
        }
    }
}
