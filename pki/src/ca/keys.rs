//! The secret keys of an authority: in its directory, plain or encrypted, or in tokens; opened when a
//! verb signs, and encrypted anew when their passphrase changes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use audit::event::Act;
use zeroize::Zeroizing;

use super::{CA, Ca, SETTINGS, key_file};
use crate::authority::{AuthorityError, Level};
use crate::error::Error;
use crate::files::{Doing, FileError, Readers, create_new, read_secret, replace};
use crate::key::{
    self, KeyError, MAX_KEY_FILE_OCTETS, MadeInToken, Modules, PrivateKey, TokenError, TokenUri,
};
use crate::log::Recorder;
use crate::profile::AuthorityRole;
use crate::secret::{Secret, SecretError, SecretSource};
use crate::settings::{KeySettings, Settings};
use crate::staging::Staging;
use crate::store::KeyOrigin;

/// Where passphrases are, for one verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassphraseSources {
    /// That of the key files.
    pub keys: Option<SecretSource>,
    /// That of the root's key file, if it has its own.
    pub root: Option<SecretSource>,
}

/// Where the secret keys of a new authority go.
#[derive(Debug, Clone, Default)]
pub struct NewKeys {
    /// Files or tokens, and passphrases.
    pub places: KeySettings,
    /// Use the keys that are in the tokens already, instead of making some.
    pub existing: bool,
}

/// Opens the secret keys of an authority.
#[derive(Debug)]
pub(super) struct Keyring {
    places: KeySettings,
    modules: Modules,
    /// What a person typed, so that nobody is asked twice: for all key files, and for the root's.
    typed: OnceLock<Arc<Secret>>,
    typed_for_root: OnceLock<Arc<Secret>>,
    /// The issuing key in PEM, for a verb that signs again and again: to open what a passphrase encrypts takes
    /// most of a second.
    held: OnceLock<Zeroizing<String>>,
}

/// How a secret is read from its source.
type Read = fn(&SecretSource, &str) -> Result<Secret, SecretError>;

impl Keyring {
    pub(super) fn new(places: KeySettings) -> Self {
        Self {
            places,
            modules: Modules::default(),
            typed: OnceLock::new(),
            typed_for_root: OnceLock::new(),
            held: OnceLock::new(),
        }
    }

    /// Opens the issuing key for as long as this lives, if a passphrase encrypts `file`.
    fn hold_issuing(&self, file: &Path) -> Result<(), Error> {
        let role = AuthorityRole::Issuing;
        if self.token(role).is_none() {
            let pem = read_secret(file, MAX_KEY_FILE_OCTETS)?;
            if key::is_encrypted(&pem) {
                let key = self.open_pem(role, file, &pem)?;
                let _ = self
                    .held
                    .set(key.to_pem().map_err(|error| in_file(file, error))?);
            }
        }
        Ok(())
    }

    /// With passphrases from elsewhere than the settings say.
    pub(super) fn with(&self, given: PassphraseSources) -> Self {
        let mut places = self.places.clone();
        places.passphrase = given.keys.or(places.passphrase);
        places.root_passphrase = given.root.or(places.root_passphrase);
        Self::new(places)
    }

    /// The secret key of a role, whose file would be `file`.
    pub(super) fn open(&self, role: AuthorityRole, file: &Path) -> Result<PrivateKey, Error> {
        if let Some(uri) = self.token(role) {
            return PrivateKey::in_token(&self.modules, uri).map_err(|error| in_token(uri, error));
        }
        if let (AuthorityRole::Issuing, Some(pem)) = (role, self.held.get()) {
            return PrivateKey::from_pem(pem.as_bytes()).map_err(|error| in_file(file, error));
        }
        self.open_pem(role, file, &read_secret(file, MAX_KEY_FILE_OCTETS)?)
    }

    /// The secret key that stands in `pem`, which was read from `file`.
    pub(super) fn open_pem(
        &self,
        role: AuthorityRole,
        file: &Path,
        pem: &[u8],
    ) -> Result<PrivateKey, Error> {
        let key = if key::is_encrypted(pem) {
            let passphrase = self
                .passphrase(role, SecretSource::read)?
                .ok_or_else(|| in_file(file, KeyError::Encrypted))?;
            PrivateKey::from_encrypted_pem(pem, &passphrase)
        } else {
            PrivateKey::from_pem(pem)
        };
        key.map_err(|error| in_file(file, error))
    }

    /// A secret key as it is written to `file`: encrypted, if a passphrase is named.
    pub(super) fn seal(
        &self,
        role: AuthorityRole,
        file: &Path,
        key: &PrivateKey,
    ) -> Result<Zeroizing<String>, Error> {
        let pem = match self.passphrase(role, SecretSource::read)? {
            Some(passphrase) => key.to_encrypted_pem(&passphrase),
            None => key.to_pem(),
        };
        pem.map_err(|error| in_file(file, error))
    }

    fn token(&self, role: AuthorityRole) -> Option<&TokenUri> {
        match role {
            AuthorityRole::Root => self.places.root.as_ref(),
            AuthorityRole::Issuing => self.places.issuing.as_ref(),
        }
    }

    fn passphrase(&self, role: AuthorityRole, read: Read) -> Result<Option<Arc<Secret>>, Error> {
        let (source, typed, what) = match (role, &self.places.root_passphrase) {
            (AuthorityRole::Root, Some(source)) => {
                (source, &self.typed_for_root, "passphrase of the root key")
            }
            _ => match &self.places.passphrase {
                Some(source) => (source, &self.typed, "passphrase of the authority's keys"),
                None => return Ok(None),
            },
        };
        if let Some(secret) = typed.get() {
            return Ok(Some(Arc::clone(secret)));
        }
        let secret = read(source, what)
            .map(Arc::new)
            .map_err(|error| Error::Secret {
                source: source.clone(),
                error,
            })?;
        if *source == SecretSource::Terminal {
            let _ = typed.set(Arc::clone(&secret));
        }
        Ok(Some(secret))
    }
}

/// The keys of a new authority, while it is being founded.
pub(super) struct Making {
    keyring: Keyring,
    existing: bool,
    made: Vec<MadeInToken>,
}

impl Making {
    pub(super) fn new(keys: NewKeys) -> Self {
        Self {
            keyring: Keyring::new(keys.places),
            existing: keys.existing,
            made: Vec::new(),
        }
    }

    /// A key for a new authority of a level, and how it came to be. In the token that the settings
    /// name, where it goes away again unless [`Making::keep`] is called; or in a new file.
    pub(super) fn key<L: Level>(
        &mut self,
        ca: &Path,
        recorder: &Recorder,
    ) -> Result<(PrivateKey, KeyOrigin), Error> {
        let kind = L::profile().new_key;
        let modules = &self.keyring.modules;
        match self.keyring.token(L::ROLE) {
            Some(uri) if self.existing => {
                let key =
                    PrivateKey::in_token(modules, uri).map_err(|error| in_token(uri, error))?;
                if key.public().kind() != kind {
                    return Err(in_token(uri, TokenError::Curve));
                }
                made_on_record(recorder, &key)?;
                Ok((key, KeyOrigin::Request))
            }
            Some(uri) => {
                let (key, made) = PrivateKey::generate_in_token(modules, uri, kind)
                    .map_err(|error| in_token(uri, error))?;
                self.made.push(made);
                made_on_record(recorder, &key)?;
                Ok((key, KeyOrigin::New))
            }
            None => {
                let path = ca.join(key_file(L::ROLE));
                let passphrase = self.keyring.passphrase(L::ROLE, SecretSource::read_new)?;
                let key = PrivateKey::generate(kind).map_err(|error| in_file(&path, error))?;
                let pem = match &passphrase {
                    Some(passphrase) => key.to_encrypted_pem(passphrase),
                    None => key.to_pem(),
                };
                let pem = pem.map_err(|error| in_file(&path, error))?;
                made_on_record(recorder, &key)?;
                create_new(&path, Readers::Owner, pem.as_bytes())?;
                Ok((key, KeyOrigin::New))
            }
        }
    }

    /// Keeps what was made in tokens.
    pub(super) fn keep(self) {
        for made in self.made {
            made.keep();
        }
    }
}

impl Ca {
    /// Takes passphrases from elsewhere than the settings say, from now on.
    #[must_use]
    pub fn with_passphrases(mut self, given: PassphraseSources) -> Self {
        self.keyring = self.keyring.with(given);
        self
    }

    /// Keeps the issuing key open until this is dropped, for a server that signs again and again. One that
    /// lies plain in its file, or in a token, is opened each time as ever.
    pub fn hold_issuing_key(&self) -> Result<(), Error> {
        let file = key_file(AuthorityRole::Issuing);
        self.keyring
            .hold_issuing(&self.directory.join(CA).join(file))
    }

    /// Encrypts the key files anew with the passphrases that are at `new`, and notes in the settings
    /// where they are. Returns the files. A key file that was plain is encrypted afterwards. Without
    /// `new.root`, a root key that has its own passphrase keeps it.
    ///
    /// It is on record before it is done. Each file is replaced in one step, the settings last. After a crash in between, each file
    /// opens with the old passphrase or the new one, and to do the same again completes it.
    pub fn change_passphrases(&mut self, new: &PassphraseSources) -> Result<Vec<PathBuf>, Error> {
        let ca = self.directory.join(CA);
        // Two changes at once could leave files and settings of different ones.
        let directory = File::open(&ca).map_err(|error| FileError::io(Doing::Open, &ca, error))?;
        directory
            .try_lock()
            .map_err(|error| FileError::io(Doing::Lock, &ca, error.into()))?;

        let places = &self.keyring.places;
        let root = new.root.is_some() || new.keys.is_some() && places.root_passphrase.is_none();
        let issuing = new.keys.is_some();
        if new.root.is_some() && !self.settings.holds.key_of(AuthorityRole::Root) {
            return Err(Error::RootElsewhere);
        }
        let changing: Vec<AuthorityRole> = [
            (AuthorityRole::Root, root),
            (AuthorityRole::Issuing, issuing),
        ]
        .into_iter()
        .filter(|(role, asked)| {
            *asked && self.settings.holds.key_of(*role) && self.keyring.token(*role).is_none()
        })
        .map(|(role, _)| role)
        .collect();
        if changing.is_empty() {
            return Err(Error::NoKeyFile);
        }
        let renewed = self.keyring.with(new.clone());
        let mut sealed = Vec::new();
        for role in changing {
            let file = ca.join(key_file(role));
            let key = match self.keyring.open(role, &file) {
                // From a change that did not come to its end.
                Err(Error::Key {
                    error: KeyError::Passphrase | KeyError::Encrypted,
                    ..
                }) => renewed.open(role, &file)?,
                opened => opened?,
            };
            if key.public().spki() != self.of(role)?.1.key().spki() {
                return Err(AuthorityError::KeyMismatch.into());
            }
            let passphrase = renewed
                .passphrase(role, SecretSource::read_new)?
                .ok_or_else(|| in_file(&file, KeyError::Encrypted))?;
            let pem = key.to_encrypted_pem(&passphrase);
            let pem = pem.map_err(|error| in_file(&file, error))?;
            // The old file goes: what takes its place has to open.
            PrivateKey::from_encrypted_pem(pem.as_bytes(), &passphrase)
                .map_err(|error| in_file(&file, error))?;
            sealed.push((file, key.public().clone(), pem));
        }
        let staging = Staging::create(&ca)?;
        let scratch = staging.path().join("new");
        self.log.record(|recorder| {
            sealed.iter().try_for_each(|(_, key, _)| {
                let id = key.key_id().to_string();
                recorder.act(Act::PassphraseChanged, Some(&id), Some(key.sha256()), None)
            })
        })?;
        for (file, _, pem) in &sealed {
            replace(file, &scratch, Readers::Owner, pem.as_bytes())?;
        }
        let settings = ca.join(SETTINGS);
        Settings::replace_passphrases(&settings, &scratch, new.keys.as_ref(), new.root.as_ref())?;
        self.keyring = renewed;
        Ok(sealed.into_iter().map(|(file, ..)| file).collect())
    }
}

/// Puts on record that a key was made, or taken into use. Without that it is not kept.
fn made_on_record(recorder: &Recorder, key: &PrivateKey) -> Result<(), Error> {
    let public = key.public();
    let id = public.key_id().to_string();
    recorder.act(Act::KeyMade, Some(&id), Some(public.sha256()), None)?;
    Ok(())
}

fn in_file(path: &Path, error: KeyError) -> Error {
    Error::Key {
        path: path.to_owned(),
        error,
    }
}

fn in_token(uri: &TokenUri, error: TokenError) -> Error {
    Error::Token {
        key: uri.name(),
        error,
    }
}
