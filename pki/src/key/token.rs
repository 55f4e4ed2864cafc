//! Keys that live in a token and never leave it: PKCS #11 (v2.40 and v3.x), through the library that
//! the token's maker gives.
//!
//! A library is loaded only when a key is named that needs it; it then runs inside this process, with
//! all its rights. Calls block for as long as the token takes, one at a time for each key. Whatever
//! the token says, what it signed is verified by the caller before anybody gets it.
//!
//! A PIN is tried once and never again: tokens lock themselves after a few wrong ones. The last try
//! that a token grants is left to a person.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use pkcs8::der::asn1::{BitStringRef, OctetStringRef, UintRef};
use pkcs8::der::{AnyRef, Decode as _, Encode as _, Header, Tag};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{ObjectIdentifier, der};

use super::uri::TokenUri;
use crate::public_key::{KeyKind, PublicKey};
use crate::secret::SecretError;

/// The libraries of tokens that are loaded, each once: PKCS #11 has one state for a whole process.
#[derive(Default)]
pub struct Modules(Mutex<Vec<Arc<Module>>>);

impl Modules {
    /// The library at `path`, loaded if it is not yet.
    fn load(&self, path: &Path) -> Result<Arc<Module>, TokenError> {
        let mut modules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.iter().find(|module| module.path == path) {
            return Ok(Arc::clone(module));
        }
        let pkcs11 = Pkcs11::new(path).map_err(|_| TokenError::Library)?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        let started_here = match pkcs11.initialize(arguments) {
            Ok(()) => true,
            // By another authority in this process, whose business its end is then.
            Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(error) => return Err(error.into()),
        };
        let module = Arc::new(Module {
            path: path.to_owned(),
            pkcs11,
            started_here,
        });
        // At most one for each of the two keys of an authority.
        modules.push(Arc::clone(&module));
        Ok(module)
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Modules")
    }
}

/// A library that is loaded.
struct Module {
    path: PathBuf,
    pkcs11: Pkcs11,
    started_here: bool,
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.started_here {
            let _ = self.pkcs11.clone().finalize();
        }
    }
}

/// A session with a token, logged in. Its field order is the order in which it ends.
struct Login {
    /// Not to be used by two threads at once.
    session: Mutex<Session>,
    _module: Arc<Module>,
}

impl Login {
    fn open(modules: &Modules, uri: &TokenUri, writing: bool) -> Result<Arc<Self>, TokenError> {
        let module = modules.load(uri.module())?;
        let (slot, info) = find_token(&module.pkcs11, uri)?;
        if info.user_pin_locked() {
            return Err(TokenError::PinLocked);
        }
        if info.user_pin_final_try() {
            return Err(TokenError::LastTry);
        }
        let session = if writing {
            module.pkcs11.open_rw_session(slot)?
        } else {
            module.pkcs11.open_ro_session(slot)?
        };
        let pin = uri
            .pin()
            .read("PIN of the token")
            .map_err(TokenError::Pin)?;
        // The library's own type for it, wiped when dropped as ours is.
        let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        match session.login_with_raw(UserType::User, &pin) {
            Ok(()) => {}
            // For the other key of the same token: a login counts for the whole process.
            Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Arc::new(Self {
            session: Mutex::new(session),
            _module: module,
        }))
    }

    fn with<T>(
        &self,
        use_it: impl FnOnce(&Session) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        // Who panicked in a call may have left an operation half done.
        let session = self.session.lock().map_err(|_| TokenError::Gone)?;
        use_it(&session)
    }
}

fn find_token(pkcs11: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let mut found = None;
    for slot in pkcs11.get_slots_with_token()? {
        let Ok(info) = pkcs11.get_token_info(slot) else {
            continue; // It went away, or was never set up.
        };
        let is_meant = uri.token().is_none_or(|label| label == info.label())
            && uri
                .serial()
                .is_none_or(|serial| serial == info.serial_number());
        if is_meant && found.replace((slot, info)).is_some() {
            return Err(TokenError::SeveralTokens);
        }
    }
    found.ok_or(TokenError::NoToken)
}

/// A secret key in a token.
pub(super) struct TokenKey {
    login: Arc<Login>,
    private: ObjectHandle,
    curve: &'static Curve,
}

impl TokenKey {
    /// Finds the key that `uri` means. Refused unless it is a key for signatures on a curve that is
    /// used here, and one that the token does not give out.
    pub(super) fn open(modules: &Modules, uri: &TokenUri) -> Result<(Self, PublicKey), TokenError> {
        let login = Login::open(modules, uri, false)?;
        let (private, public) = login.with(|session| {
            let private = find(session, uri, ObjectClass::PRIVATE_KEY)?.ok_or(TokenError::NoKey)?;
            let public = find(session, uri, ObjectClass::PUBLIC_KEY)?;
            Ok((private, public.ok_or(TokenError::NoPublicKey)?))
        })?;
        Self::judged(login, private, public)
    }

    /// Makes a new key in the token. Refused if there is one of that name. [`MadeInToken`] takes it
    /// away again.
    pub(super) fn generate(
        modules: &Modules,
        uri: &TokenUri,
        kind: KeyKind,
    ) -> Result<(Self, PublicKey, MadeInToken), TokenError> {
        let curve = Curve::of(kind).ok_or(TokenError::Kind)?;
        let login = Login::open(modules, uri, true)?;
        let (public, private) = login.with(|session| {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                match find(session, uri, class) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(TokenError::SeveralKeys) => {
                        return Err(TokenError::KeyExists);
                    }
                    Err(error) => return Err(error),
                }
            }
            generate_pair(session, uri, curve)
        })?;
        let made = MadeInToken {
            login: Arc::clone(&login),
            objects: vec![private, public],
        };
        let (key, public) = Self::judged(login, private, public)?;
        Ok((key, public, made))
    }

    fn judged(
        login: Arc<Login>,
        private: ObjectHandle,
        public: ObjectHandle,
    ) -> Result<(Self, PublicKey), TokenError> {
        let (curve, public) = login.with(|session| {
            judge_private(session, private)?;
            read_public(session, public)
        })?;
        let key = Self {
            login,
            private,
            curve,
        };
        Ok((key, public))
    }

    /// The kind of key.
    pub(super) fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.curve.algorithm
    }

    /// An ECDSA signature in DER (RFC 3279 section 2.2.3). Blocks.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let hash = digest::digest(self.curve.hash, message);
        let raw = self
            .login
            .with(|session| Ok(session.sign(&Mechanism::Ecdsa, self.private, hash.as_ref())?))?;
        if raw.len() != 2 * self.curve.field_octets {
            return Err(TokenError::Answer);
        }
        let (r, s) = raw.split_at(self.curve.field_octets);
        signature(r, s).map_err(|_| TokenError::Answer)
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }`. The token gives both as octets of one length.
fn signature(r: &[u8], s: &[u8]) -> der::Result<Vec<u8>> {
    let (r, s) = (UintRef::new(r)?, UintRef::new(s)?);
    let mut encoded = Vec::new();
    let length = (r.encoded_len()? + s.encoded_len()?)?;
    Header::new(Tag::Sequence, length).encode_to_vec(&mut encoded)?;
    r.encode_to_vec(&mut encoded)?;
    s.encode_to_vec(&mut encoded)?;
    Ok(encoded)
}

/// The one object of a class that a URI means.
fn find(
    session: &Session,
    uri: &TokenUri,
    class: ObjectClass,
) -> Result<Option<ObjectHandle>, TokenError> {
    let mut template = vec![
        Attribute::Class(class),
        Attribute::Token(true),
        Attribute::Label(uri.object().as_bytes().to_vec()),
    ];
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    let mut found = session.iter_objects(&template)?;
    let first = found.next().transpose()?;
    match found.next() {
        Some(_) => Err(TokenError::SeveralKeys),
        None => Ok(first),
    }
}

fn generate_pair(
    session: &Session,
    uri: &TokenUri,
    curve: &Curve,
) -> Result<(ObjectHandle, ObjectHandle), TokenError> {
    let mut id = vec![0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| TokenError::NoRandomness)?;
    let id = uri.id().map_or(id, <[u8]>::to_vec);
    let oid = curve.oid.to_der().map_err(|_| TokenError::Answer)?;
    let named = [
        Attribute::Token(true),
        Attribute::Label(uri.object().as_bytes().to_vec()),
        Attribute::Id(id),
    ];
    let mut public = vec![Attribute::EcParams(oid), Attribute::Verify(true)];
    let mut private = vec![
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ];
    public.extend_from_slice(&named);
    private.extend_from_slice(&named);
    Ok(session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?)
}

/// Refuses a key that the token would give out, or that does not sign with ECDSA.
fn judge_private(session: &Session, private: ObjectHandle) -> Result<(), TokenError> {
    let attributes = session.get_attributes(
        private,
        &[
            AttributeType::KeyType,
            AttributeType::Sign,
            AttributeType::Sensitive,
            AttributeType::Extractable,
        ],
    )?;
    let is = |wanted: &Attribute| attributes.contains(wanted);
    if !is(&Attribute::KeyType(KeyType::EC)) || !is(&Attribute::Sign(true)) {
        return Err(TokenError::Kind);
    }
    if !is(&Attribute::Sensitive(true)) || !is(&Attribute::Extractable(false)) {
        return Err(TokenError::Extractable);
    }
    Ok(())
}

fn read_public(
    session: &Session,
    public: ObjectHandle,
) -> Result<(&'static Curve, PublicKey), TokenError> {
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    let (mut curve, mut point) = (None, None);
    for attribute in session.get_attributes(public, &wanted)? {
        match attribute {
            Attribute::EcParams(der) => curve = Curve::named(&der),
            // Wrapped in an OCTET STRING (PKCS #11 v2.40, section 2.3.3 of the mechanisms).
            Attribute::EcPoint(der) => {
                point = <&OctetStringRef>::from_der(&der)
                    .ok()
                    .map(|point| point.as_bytes().to_vec());
            }
            _ => {}
        }
    }
    let curve = curve.ok_or(TokenError::Kind)?;
    let point = point.ok_or(TokenError::Answer)?;
    let spki = public_key_info(curve, &point).map_err(|_| TokenError::Answer)?;
    let public = PublicKey::from_spki(&spki).map_err(|_| TokenError::Answer)?;
    Ok((curve, public))
}

/// A SubjectPublicKeyInfo (RFC 5480 section 2).
fn public_key_info(curve: &Curve, point: &[u8]) -> der::Result<Vec<u8>> {
    const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid: EC_PUBLIC_KEY,
            parameters: Some(AnyRef::from(&curve.oid)),
        },
        subject_public_key: BitStringRef::from_bytes(point)?,
    }
    .to_der()
}

/// A curve, and the hash that goes with it.
struct Curve {
    kind: KeyKind,
    oid: ObjectIdentifier,
    hash: &'static digest::Algorithm,
    field_octets: usize,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

/// RFC 5480 section 2.1.1.1; hashes as rcgen names them for these curves.
static CURVES: [Curve; 2] = [
    Curve {
        kind: KeyKind::P256,
        oid: ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        hash: &digest::SHA256,
        field_octets: 32,
        algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
    },
    Curve {
        kind: KeyKind::P384,
        oid: ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        hash: &digest::SHA384,
        field_octets: 48,
        algorithm: &rcgen::PKCS_ECDSA_P384_SHA384,
    },
];

impl Curve {
    fn of(kind: KeyKind) -> Option<&'static Self> {
        CURVES.iter().find(|curve| curve.kind == kind)
    }

    /// By its `CKA_EC_PARAMS`.
    fn named(der: &[u8]) -> Option<&'static Self> {
        let oid = ObjectIdentifier::from_der(der).ok()?;
        CURVES.iter().find(|curve| curve.oid == oid)
    }
}

/// A key pair that was just made in a token. Unless it is kept, it is destroyed when this is dropped.
/// A killed process leaves it behind: then it is found as a key that exists already.
pub struct MadeInToken {
    login: Arc<Login>,
    objects: Vec<ObjectHandle>,
}

impl MadeInToken {
    /// Keeps it.
    pub fn keep(mut self) {
        self.objects.clear();
    }
}

impl Drop for MadeInToken {
    fn drop(&mut self) {
        for object in self.objects.drain(..) {
            // What cannot be destroyed is found at the next attempt.
            let _ = self
                .login
                .with(|session| Ok(session.destroy_object(object)?));
        }
    }
}

impl fmt::Debug for MadeInToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MadeInToken")
    }
}

/// Why a key in a token cannot be used. Says nothing of the PIN.
#[derive(Debug)]
pub enum TokenError {
    /// There is no such library, or it is none for PKCS #11.
    Library,
    /// No token of that name is there.
    NoToken,
    /// More than one is.
    SeveralTokens,
    /// There is no PIN to be had.
    Pin(SecretError),
    /// The token does not accept it. It was tried once.
    WrongPin,
    /// The token accepts none any more.
    PinLocked,
    /// The token accepts one more; a wrong one would lock it. It was not tried.
    LastTry,
    /// The token was never given a PIN.
    NoPinSet,
    /// No secret key of that name is in it.
    NoKey,
    /// The secret key is there, its public half is not.
    NoPublicKey,
    /// More than one key has that name.
    SeveralKeys,
    /// A key has the name that a new one would get.
    KeyExists,
    /// The key is none for ECDSA on P-256 or P-384, or may not sign.
    Kind,
    /// The key is on another curve than such an authority has.
    Curve,
    /// The token would give the secret key out.
    Extractable,
    /// The system's random source failed.
    NoRandomness,
    /// The token went away.
    Gone,
    /// The token cannot be written.
    ReadOnly,
    /// The token said something that makes no sense.
    Answer,
    /// The token or its library refused.
    Refused {
        /// What the library was asked for, and its answer, by the names of the standard.
        what: String,
    },
}

impl From<Pkcs11Error> for TokenError {
    fn from(error: Pkcs11Error) -> Self {
        let Pkcs11Error::Pkcs11(answer, function) = error else {
            return Self::Answer;
        };
        match answer {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Self::WrongPin,
            RvError::PinLocked => Self::PinLocked,
            RvError::UserPinNotInitialized => Self::NoPinSet,
            RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::CryptokiNotInitialized
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid => Self::Gone,
            RvError::TokenWriteProtected | RvError::SessionReadOnly => Self::ReadOnly,
            // The standard has a hundred words, and makers have their own.
            answer => Self::Refused {
                what: format!("C_{function:?}: {answer:?}"),
            },
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library => write!(
                f,
                "module-path names no PKCS #11 library that can be loaded"
            ),
            Self::NoToken => write!(f, "no such token is there"),
            Self::SeveralTokens => write!(f, "several tokens have that name"),
            Self::Pin(error) => write!(f, "there is no PIN: {error}"),
            Self::WrongPin => write!(f, "the token does not accept the PIN; it was tried once"),
            Self::PinLocked => write!(f, "the token is locked: it accepts no PIN any more"),
            Self::LastTry => write!(
                f,
                "the token would be locked by one more wrong PIN; none was tried"
            ),
            Self::NoPinSet => write!(f, "the token was never given a PIN"),
            Self::NoKey => write!(f, "no such key is in the token"),
            Self::NoPublicKey => write!(f, "the public half of the key is not in the token"),
            Self::SeveralKeys => write!(f, "several keys in the token have that name"),
            Self::KeyExists => write!(f, "a key of that name is in the token already"),
            Self::Kind => write!(f, "the key is none that signs with ECDSA on P-256 or P-384"),
            Self::Curve => write!(
                f,
                "the key is on another curve than this authority's has to be"
            ),
            Self::Extractable => write!(f, "the key is one that the token would give out"),
            Self::NoRandomness => write!(f, "the system's random source failed"),
            Self::Gone => write!(f, "the token went away"),
            Self::ReadOnly => write!(f, "the token cannot be written"),
            Self::Answer => write!(f, "the token gave an answer that makes no sense"),
            Self::Refused { what } => write!(f, "the token refused: {what}"),
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pin(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_signature_becomes_two_shortest_integers() {
        // A leading zero goes, and one comes before a high bit (X.690 section 8.3.2).
        assert_eq!(
            signature(&[0, 0, 1], &[0x80, 0, 0]).unwrap(),
            [0x30, 9, 2, 1, 1, 2, 4, 0, 0x80, 0, 0]
        );
        let long = signature(&[0xff; 48], &[0xff; 48]).unwrap();
        assert_eq!((long.len(), long[1]), (104, 102));
    }

    #[test]
    fn a_point_becomes_the_public_key_that_others_read() {
        for kind in [KeyKind::P256, KeyKind::P384] {
            let key = super::super::PrivateKey::generate(kind).unwrap();
            let curve = Curve::of(kind).unwrap();
            let point = rcgen::PublicKeyData::der_bytes(key.public());
            assert_eq!(public_key_info(curve, point).unwrap(), key.public().spki());
            assert_eq!(
                Curve::named(&curve.oid.to_der().unwrap()).unwrap().kind,
                kind
            );
        }
        assert!(Curve::of(KeyKind::Rsa).is_none() && Curve::named(&[6, 1, 1]).is_none());
    }

    #[test]
    fn a_library_that_is_none_is_refused() {
        let uri = |module: &str| {
            TokenUri::parse(&format!(
                "pkcs11:token=a;object=b?module-path={module}&pin-source=env:NO_SUCH_PIN"
            ))
            .unwrap()
        };
        for module in ["/nonexistent.so", "/etc/hostname", "/usr"] {
            assert!(matches!(
                TokenKey::open(&Modules::default(), &uri(module)),
                Err(TokenError::Library)
            ));
        }
    }
}
