//! What to do about an error: one hint for each.
//!
//! Exhaustive, so that a new way to fail cannot be left without a thought about the person who
//! meets it.

use std::io::ErrorKind;

use pki::Error;
use pki::authority::AuthorityError;
use pki::backup::BackupError;
use pki::ceremony::CeremonyError;
use pki::files::{Doing, FileError};
use pki::key::{KeyError, TokenError};
use pki::log::LogError;
use pki::profile::ProfileError;
use pki::public_key::{PublicKeyError, SignatureError};
use pki::request::RequestError;
use pki::secret::SecretError;
use pki::status::StatusError;
use pki::store::{ServerError, StoreError};

/// What to do.
pub(super) fn hint(error: &Error) -> String {
    match error {
        Error::File(error) => file(error),
        Error::Store(error) => store(error),
        Error::Key { error, .. } => key(*error).into(),
        Error::Token { error, .. } => token(error),
        Error::Secret { error, .. } => secret(error),
        Error::NoKeyFile => "change the PIN with the token's own tool".into(),
        Error::Profile(error) => profile(error),
        Error::Request(error) => request(error).into(),
        Error::Authority(error) => authority(error),
        Error::Log(error) => log(error),
        Error::Backup(BackupError::PlainKey { .. }) => {
            "encrypt it with `pki passphrase`, or say --with-plain-keys or --without-keys".into()
        }
        Error::Backup(_) => "take another backup; this one cannot be relied on".into(),
        Error::Ceremony(error) => ceremony(error),
        Error::AwaitsAnswer { path } => format!(
            "sign {}/ca/request.pem where the root's key is (`pki ceremony sign`), and import the answer",
            path.display()
        ),
        Error::RootAlone => {
            "make the issuing CA in another directory: `pki ceremony request`".into()
        }
        Error::RootElsewhere => {
            "do it where the root's key is, then `pki ceremony import` of its crl/root.crl here"
                .into()
        }
        Error::NoAuthority { path } => {
            format!(
                "create one with `pki init --dir {}`, or give the right --dir",
                path.display()
            )
        }
        Error::AuthorityExists { .. } => {
            "use it as it is, or give another directory; an authority is never overwritten".into()
        }
        Error::NotEmpty { .. } => "give a directory that does not exist or is empty".into(),
        Error::NoDirectoryName { .. } => "give a path that ends in a name".into(),
        Error::Settings { .. } => "repair the file; `pki init` wrote a working one".into(),
        Error::CrlDays { at_most, .. } => format!("choose 1 to {at_most} days"),
        Error::IssuerRevoked => {
            "start a new authority: `pki init`, or `pki ceremony request` if the root is elsewhere"
                .into()
        }
        Error::IssuedUnrecorded { serial, error } => format!(
            "{}; then `pki show --dir DIR --serial {serial} --pem` prints the certificate",
            log(error)
        ),
        Error::HandOver { serial, .. } => format!(
            "`pki show --dir DIR --serial {serial} --pem` prints the certificate again; if its key is \
             lost: `pki revoke --dir DIR --serial {serial} --reason cessationOfOperation`"
        ),
        Error::Status(error) => status(error).into(),
        Error::Listen { source, .. } => match source.kind() {
            ErrorKind::AddrInUse => "another program has it: give another --listen".into(),
            ErrorKind::PermissionDenied => {
                "ports below 1024 are for root: give another --listen, behind a proxy".into()
            }
            _ => "give an address of this machine with --listen".into(),
        },
        Error::Server { .. } => {
            "look at the limits of the process and the memory of the machine".into()
        }
        Error::TooOften => "look why it asks so often; it may again within the hour".into(),
        Error::NotFound => "`pki list` shows what is there".into(),
        Error::Foreign => "give the --dir of the authority that issued it".into(),
        Error::NoCertificate { .. } => "give a certificate in PEM or DER".into(),
        Error::Expired { .. } => "an expired certificate is refused by every verifier".into(),
        Error::AlreadyRevoked { .. } => "`pki crl` publishes the CRL again".into(),
        Error::NeverSigned { .. } => "there is nothing to revoke; the serial stays unused".into(),
        Error::NotStored { .. } => "issue it again, and revoke this one".into(),
        Error::RootRevocation => {
            "take the root out of the trust stores, and start a new authority".into()
        }
        Error::ReasonForAuthorities { .. } => "use keyCompromise for a device's key".into(),
        Error::Unpublished { error, others, .. } => {
            let rest = if others.is_empty() {
                ""
            } else {
                "; whoever had the key could have got what is still good with it: revoke it too, by --id"
            };
            format!("{}; then run `pki crl` to publish it{rest}", hint(error))
        }
    }
}

pub(super) fn file(error: &FileError) -> String {
    match error {
        FileError::Io { doing, source, .. } => io(*doing, source.kind()).into(),
        FileError::Exists { .. } => {
            "nothing is overwritten: move it away, or give another directory".into()
        }
        FileError::TooLarge { .. } => "check that it is the right file".into(),
        FileError::Exposed { path, .. } => {
            format!("find out who read it, then `chmod 600 {}`", path.display())
        }
        FileError::NoRandomness => {
            "look into the log of the kernel: it gives no random numbers".into()
        }
    }
}

fn io(doing: Doing, kind: ErrorKind) -> &'static str {
    match (doing, kind) {
        (Doing::Open, ErrorKind::NotFound) => "check the path",
        (_, ErrorKind::NotFound) => "a directory of the path is not there, or went away meanwhile",
        (_, ErrorKind::IsADirectory) => "name a file, not a directory",
        (_, ErrorKind::NotADirectory) => "a part of the path is a file: name a directory",
        (_, ErrorKind::ReadOnlyFilesystem) => "name a directory that can be written to",
        (_, ErrorKind::PermissionDenied) => "run it as the user that owns the directory",
        (_, ErrorKind::StorageFull) => "make room on the disk",
        (Doing::Lock, ErrorKind::WouldBlock) => "try again when the other process is done",
        (Doing::Rename, ErrorKind::ResourceBusy) => {
            "a mount point cannot be replaced: name a directory below it"
        }
        (Doing::Rename, ErrorKind::CrossesDevices) => "crl/ and ca/ must be on one file system",
        // The operating system has many more words; none of them is the fault of what was typed.
        _ => "look at the disk, and at what the kernel's log says of it",
    }
}

fn store(error: &StoreError) -> String {
    let text = match error {
        StoreError::File(error) => return file(error),
        StoreError::Missing { .. } | StoreError::Corrupt { .. } => {
            "restore the directory from its backup"
        }
        StoreError::Foreign { .. } | StoreError::UnknownAuthority { .. } => {
            "the parts of ca/ come from different authorities: restore them together"
        }
        StoreError::Version { .. } => "use the version of the program that wrote it",
        StoreError::NoWriteAheadLog => "keep the authority on a local disk",
        StoreError::Busy => "try again when the other process is done",
        StoreError::Full => "make room on the disk",
        StoreError::ReadOnly => "run it as the user that owns the directory",
        StoreError::SerialTaken => "issue nothing more on this machine",
        StoreError::State => {
            "another process changed it at the same time; `pki list --status pending` shows what is left"
        }
        StoreError::KeyCompromised => "let the holder make a new key, and a request with it",
        StoreError::KeyOfAnother => {
            "check that the request is the right one; if the other certificate was a mistake, revoke it"
        }
        StoreError::TokenUnknown => {
            "check that the whole token was given, and to the right authority"
        }
        StoreError::TokenSpent { .. } => {
            "if its holder did not use it, find out who did: `pki list` shows the certificate"
        }
        StoreError::TokenExpired { .. }
        | StoreError::TokenCancelled { .. }
        | StoreError::TokenForAnother => "make a new token for what is asked for",
        StoreError::TooManyTokens => "cancel tokens that nobody will use",
        StoreError::NotEmpty => "restore into an inventory that does not know this authority",
        StoreError::Server(error) => server(error),
        StoreError::Sqlite(_) => "look at the disk; if it is sound, restore ca/ from its backup",
    };
    text.to_owned()
}

fn server(error: &ServerError) -> &'static str {
    match error {
        ServerError::ConnectionString => {
            "write it as psql takes it: postgresql://USER:PASSWORD@HOST/DATABASE"
        }
        ServerError::NoTrust => {
            "name the file with the root of the server's certificate: inventory.trust in \
             authority.toml, --postgres-trust for `pki init`"
        }
        ServerError::File(_) | ServerError::Trust { .. } => "name a file with certificates in PEM",
        ServerError::Unreachable(_) => "look whether the server runs, and at its name and roots",
        ServerError::Denied(_) => "look at the user, the password and the rights of the user",
        ServerError::Unsafe { .. } => "switch it on in postgresql.conf",
        ServerError::Missing => "give the connection string of the database with the inventory",
        ServerError::Foreign => "give the inventory a database of its own",
        ServerError::Slow => "look what else the server does, and try again",
        ServerError::Lost => {
            "try again when the server runs; `pki list --status pending` shows what is left"
        }
        ServerError::Other { .. } => "look into the log of the server",
    }
}

/// What to do about a log that takes no entry. Nothing is signed without one.
pub(super) fn log(error: &LogError) -> String {
    let text = match error {
        LogError::File(error) => return file(error),
        LogError::Missing { .. } | LogError::Keys { .. } => {
            "restore ca/ and audit/ together from their backup"
        }
        LogError::PublicKey(error) => error.hint(),
        LogError::Busy => "try again when the other process is done",
        LogError::Open(error) => error.hint(),
        LogError::Append(_) => "make room on the disk, then try again",
        LogError::Read(_) => "run it as the user that owns the directory, and look at the disk",
        LogError::Damaged { .. } => "`audit verify` of the directory audit/ says more",
    };
    text.to_owned()
}

pub(super) fn key(error: KeyError) -> &'static str {
    match error {
        KeyError::Unreadable => "restore the key file from its backup",
        KeyError::Kind => "restore the key file that `pki init` wrote from its backup",
        KeyError::Generate => "look into the log of the kernel: it gives no random numbers",
        KeyError::Encrypted => {
            "say where its passphrase is: --passphrase file:PATH, or passphrase in [keys] of ca/authority.toml"
        }
        KeyError::Plain => "give no passphrase for it",
        KeyError::Passphrase => {
            "check the passphrase, and where it comes from: keys.passphrase in ca/authority.toml, or --passphrase"
        }
        KeyError::Scheme | KeyError::Rounds => {
            "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000 -in KEY -out NEW"
        }
        KeyError::InToken => "sign with the token",
        KeyError::Library => "nothing was signed; please report this as a defect",
    }
}

pub(super) fn secret(error: &SecretError) -> String {
    let text = match error {
        SecretError::File(error) => return file(error),
        SecretError::NoVariable { .. } => "set the variable, or name another source",
        SecretError::NoCredentials => {
            "run it as a service of systemd with LoadCredential=, or name another source"
        }
        SecretError::NoTerminal(_) => "run it at a terminal, or name file:PATH or env:NAME",
        SecretError::Interrupted | SecretError::Differs => "try again; nothing was changed",
        SecretError::Empty => "put the secret there",
        SecretError::TooLong => "check that it is the right file",
        SecretError::TooShort => "choose a longer one, such as six words by chance",
    };
    text.to_owned()
}

fn token(error: &TokenError) -> String {
    let text = match error {
        TokenError::Pin(error) => return secret(error),
        TokenError::Library => "install the library of the token, and name it with module-path",
        TokenError::NoToken | TokenError::Gone => {
            "put the token in; `pkcs11-tool --module PATH --list-slots` shows what is there"
        }
        TokenError::SeveralTokens => "say which with serial= in the URI",
        TokenError::WrongPin => {
            "check the PIN before you try again: a token locks itself after a few wrong ones"
        }
        TokenError::PinLocked => "unlock the token as its security officer",
        TokenError::LastTry => {
            "log in once with the token's own tool and the right PIN, then try again"
        }
        TokenError::NoPinSet => "set a PIN with the token's own tool",
        TokenError::NoKey | TokenError::NoPublicKey => {
            "`pkcs11-tool --module PATH --login --list-objects` shows what is in the token"
        }
        TokenError::SeveralKeys => "say which with id= in the URI",
        TokenError::KeyExists => {
            "give another object= in the URI, or use that key with --existing-key"
        }
        TokenError::Kind | TokenError::Curve => {
            "a root's key is on P-384, an issuing CA's on P-256: let `pki init` make them"
        }
        TokenError::Extractable => "make a key that stays in the token: let `pki init` do it",
        TokenError::NoRandomness => "look into the log of the kernel: it gives no random numbers",
        TokenError::ReadOnly => "take away the write protection of the token",
        TokenError::Answer | TokenError::Refused { .. } => {
            "look into the documents of the token and its library"
        }
    };
    text.to_owned()
}

fn ceremony(error: &CeremonyError) -> String {
    let text = match error {
        CeremonyError::Unwritten => "nothing was changed; please report this as a defect",
        CeremonyError::NoRequest { .. } => "give the file that `pki ceremony request` wrote",
        CeremonyError::Request(error) => request(error),
        CeremonyError::Unconfirmed { .. } => {
            "find out which file is the right one: whoever made the request has its SHA-256"
        }
        CeremonyError::NoAnswer => {
            "give the file that `pki ceremony sign` wrote, or crl/root.crl from where the root's key is"
        }
        CeremonyError::AnotherRoot { .. } => {
            "compare it with the root's own: openssl x509 -in trust.pem -noout -fingerprint -sha256"
        }
        CeremonyError::AnotherKey => {
            "give the answer to the request of this directory: ca/request.pem"
        }
        CeremonyError::NotAsAsked(_) | CeremonyError::LivesTooLong => {
            "sign the request of this directory, ca/request.pem, and compare its SHA-256"
        }
        CeremonyError::OutOfDate { .. } => {
            "check the clocks of both machines; if they are right, sign it again where the root's key is"
        }
        CeremonyError::NameTaken => {
            "make another request, with another key, in a new directory: `pki ceremony request`"
        }
        CeremonyError::CrlBeforeCertificate => {
            "sign the request again where the root's key is: the answer comes with a newer CRL"
        }
        CeremonyError::Revoked | CeremonyError::RevokedBefore { .. } => {
            "begin again with a new directory: `pki ceremony request`"
        }
        CeremonyError::OlderCrl { .. } => "`pki crl` where the root's key is makes a newer one",
        CeremonyError::AnotherCertificate => {
            "import the root's CRL alone; a new certificate takes a new directory"
        }
        CeremonyError::Root(_)
        | CeremonyError::Issuing(_)
        | CeremonyError::NotByRoot { .. }
        | CeremonyError::Crl(_) => {
            "fetch the answer again: it was changed, or is no answer of this root"
        }
        CeremonyError::NoFingerprint => {
            "give --root-sha256 HEX, as it was told where the root's key is"
        }
        CeremonyError::NoCeremony => "give the --dir that `pki ceremony request` made",
    };
    text.to_owned()
}

fn profile(error: &ProfileError) -> String {
    match error {
        ProfileError::KindOfName { .. }
        | ProfileError::NumberOfNames { .. }
        | ProfileError::SameNameTwice => "`pki issue --help` shows an example".into(),
        ProfileError::Days { at_most, .. } => format!("ask for {at_most} days or fewer"),
        ProfileError::BeyondIssuer { .. } => {
            "leave --days away: the certificate then ends with its issuer at the latest".into()
        }
        ProfileError::IssuerOutOfDate { .. } => {
            "check the clock; if it is right, the authority has to be replaced".into()
        }
        ProfileError::NotPermitted { .. } => {
            "`pki init --permit-dns` and `--permit-ip` said what may be certified; it is fixed"
                .into()
        }
        ProfileError::Clock { .. } => "set the clock".into(),
    }
}

fn request(error: &RequestError) -> &'static str {
    match error {
        RequestError::TooLarge => "a request has a few KiB: check that it is the right file",
        RequestError::NoRequest | RequestError::Malformed { .. } => {
            "make one with: openssl req -new -key key.pem -subj / -out request.csr"
        }
        RequestError::Label { label } if label.contains("PRIVATE KEY") => {
            "a secret key stays with its holder: give the request that was made with it"
        }
        RequestError::Label { .. } => "give the request, not another file",
        RequestError::SeveralBlocks => "give one request a file",
        RequestError::RepeatedExtension { .. } => "make a request that names it once",
        RequestError::Key(error) => match error {
            PublicKeyError::Malformed { .. } | PublicKeyError::Point => {
                "make the request with another tool"
            }
            PublicKeyError::Algorithm { .. }
            | PublicKeyError::Curve { .. }
            | PublicKeyError::RsaSize { .. }
            | PublicKeyError::RsaNumbers => {
                "make a key on P-256: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
            }
        },
        RequestError::Possession(error) => match error {
            SignatureError::Algorithm { .. } => "sign the request with SHA-256 or better",
            SignatureError::Wrong => "the request was changed on its way: fetch it again",
        },
        RequestError::Authority => "device requests ask for CA:FALSE, or for nothing",
        RequestError::CriticalExtension { .. } => {
            "make a request without it, or mark it as not critical"
        }
        RequestError::Purpose => "issue with the profile that fits, or make a request without it",
        RequestError::ForeignName { .. } => {
            "give every name that the request asks for, or check that it is the right request"
        }
    }
}

fn authority(error: &AuthorityError) -> String {
    let text = match error {
        AuthorityError::Name { .. } => "choose a short name, such as that of the clinic",
        AuthorityError::Certificate { .. } | AuthorityError::KeyMismatch => {
            "restore the directory from its backup"
        }
        AuthorityError::Profile(error) => return profile(error),
        AuthorityError::Token => {
            "nothing was handed over: check that the token is in, and try again"
        }
        AuthorityError::Lint(_)
        | AuthorityError::Encoding(_)
        | AuthorityError::Signature
        | AuthorityError::Unrecorded => "nothing was signed; please report this as a defect",
    };
    text.to_owned()
}

fn status(error: &StatusError) -> &'static str {
    match error {
        StatusError::Key(_) | StatusError::Unbelievable(_) | StatusError::NoResponder => {
            "remove ca/ocsp.pem in the authority's directory: a new one is made at the next start"
        }
        StatusError::Clock { .. } => "set the clock",
        StatusError::Lint(_) | StatusError::Signature => {
            "this is a fault of the program or the machine; nothing was told to anybody"
        }
    }
}
