//! The stable codes of the authority: why a verb did nothing, in one word for the audit log and for programs.
//!
//! A code says the kind of trouble; the evidence is in the error. None is ever renamed or reused. Exhaustive,
//! so that a new way to fail cannot go on record as an old one.

use crate::backup::BackupError;
use crate::ceremony::CeremonyError;
use crate::error::Error;
use crate::profile::ProfileError;
use crate::request::RequestError;
use crate::store::StoreError;

/// What was typed alone makes no sense, whatever the authority holds.
pub const USAGE: &str = "usage";

/// The result could not be printed; what was asked for is done.
pub const OUTPUT: &str = "output";

/// Nothing was signed, because nobody confirmed it.
pub const UNCONFIRMED: &str = "unconfirmed";

/// Nothing was done, because it is not time yet.
pub const NOT_DUE: &str = "not_due";

impl Error {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Store(error) => store(error),
            Self::Key { .. } | Self::Token { .. } => "key_unusable",
            Self::Secret { .. } => "secret_unusable",
            Self::NoKeyFile => "no_key_file",
            Self::Profile(error) => profile(error),
            Self::Request(error) => request(error),
            Self::Authority(_) => "authority_unusable",
            Self::Log(_) => "audit_unavailable",
            Self::Backup(BackupError::PlainKey { .. }) => "key_plain",
            Self::Backup(_) => "backup_unusable",
            Self::Ceremony(error) => ceremony(error),
            Self::AwaitsAnswer { .. } => "awaits_answer",
            Self::RootAlone => "root_alone",
            Self::RootElsewhere => "root_elsewhere",
            Self::NoAuthority { .. } => "no_authority",
            Self::AuthorityExists { .. } => "authority_exists",
            Self::NotEmpty { .. } => "not_empty",
            Self::NoDirectoryName { .. } => "no_directory_name",
            Self::Settings { .. } => "settings_unusable",
            Self::CrlDays { .. } => "crl_days",
            Self::IssuerRevoked => "issuer_revoked",
            Self::IssuedUnrecorded { .. } => "issued_unrecorded",
            Self::HandOver { .. } => "not_handed_over",
            Self::TooOften => "too_often",
            Self::NotFound => "not_found",
            Self::Foreign => "foreign_certificate",
            Self::NoCertificate { .. } => "no_certificate",
            Self::Expired { .. } => "certificate_expired",
            Self::AlreadyRevoked { .. } => "certificate_revoked",
            Self::NeverSigned { .. } => "never_signed",
            Self::NotStored { .. } => "not_stored",
            Self::RootRevocation => "root_revocation",
            Self::ReasonForAuthorities { .. } => "reason_for_authorities",
            Self::Unpublished { .. } => "crl_unpublished",
            Self::Status(_) => "status_unsigned",
            Self::Listen { .. } => "listen",
            Self::Server { .. } => "server",
        }
    }
}

fn store(error: &StoreError) -> &'static str {
    match error {
        StoreError::KeyCompromised => "key_compromised",
        StoreError::KeyOfAnother => "key_of_another",
        StoreError::SerialTaken => "serial_taken",
        StoreError::TokenUnknown => "token_unknown",
        StoreError::TokenSpent { .. } => "token_spent",
        StoreError::TokenExpired { .. } => "token_expired",
        StoreError::TokenCancelled { .. } => "token_cancelled",
        StoreError::TokenForAnother => "token_for_another",
        StoreError::TooManyTokens => "too_many_tokens",
        StoreError::State => "changed_meanwhile",
        StoreError::Busy => "inventory_busy",
        StoreError::Full => "disk_full",
        StoreError::File(_)
        | StoreError::Missing { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Foreign { .. }
        | StoreError::UnknownAuthority { .. }
        | StoreError::Version { .. }
        | StoreError::NoWriteAheadLog
        | StoreError::ReadOnly
        | StoreError::NotEmpty
        | StoreError::Server(_)
        | StoreError::Sqlite(_) => "inventory_unusable",
    }
}

fn ceremony(error: &CeremonyError) -> &'static str {
    match error {
        CeremonyError::Unwritten | CeremonyError::NoRequest { .. } => "request_malformed",
        CeremonyError::Request(error) => request(error),
        CeremonyError::Unconfirmed { .. } => "unconfirmed",
        CeremonyError::NoAnswer => "answer_malformed",
        CeremonyError::AnotherRoot { .. } => "another_root",
        CeremonyError::AnotherKey => "another_key",
        CeremonyError::NotAsAsked(_) | CeremonyError::LivesTooLong => "not_as_asked",
        CeremonyError::OutOfDate { .. } => "answer_out_of_date",
        CeremonyError::Revoked | CeremonyError::RevokedBefore { .. } => "issuer_revoked",
        CeremonyError::NameTaken => "key_of_another",
        CeremonyError::CrlBeforeCertificate | CeremonyError::OlderCrl { .. } => "crl_older",
        CeremonyError::AnotherCertificate => "another_certificate",
        CeremonyError::Root(_)
        | CeremonyError::Issuing(_)
        | CeremonyError::NotByRoot { .. }
        | CeremonyError::Crl(_) => "answer_refused",
        CeremonyError::NoFingerprint => USAGE,
        CeremonyError::NoCeremony => "no_ceremony",
    }
}

fn profile(error: &ProfileError) -> &'static str {
    match error {
        ProfileError::KindOfName { .. }
        | ProfileError::NumberOfNames { .. }
        | ProfileError::SameNameTwice
        | ProfileError::NotPermitted { .. } => "names_refused",
        ProfileError::Days { .. } | ProfileError::BeyondIssuer { .. } => "lifetime_refused",
        ProfileError::IssuerOutOfDate { .. } => "issuer_out_of_date",
        ProfileError::Clock { .. } => "clock",
    }
}

fn request(error: &RequestError) -> &'static str {
    match error {
        RequestError::TooLarge => "request_too_large",
        RequestError::NoRequest
        | RequestError::Malformed { .. }
        | RequestError::Label { .. }
        | RequestError::SeveralBlocks
        | RequestError::RepeatedExtension { .. } => "request_malformed",
        RequestError::Key(_) => "key_refused",
        RequestError::Possession(_) => "possession_unproved",
        RequestError::Authority => "authority_wished",
        RequestError::CriticalExtension { .. } => "critical_extension",
        RequestError::Purpose => "purpose_wished",
        RequestError::ForeignName { .. } => "foreign_name",
    }
}
