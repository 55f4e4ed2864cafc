//! A list that came is judged, and takes the place of the one before.
//!
//! It counts as it would from a file: an authority of the trust set signed it, and its dates hold. Beyond that it must
//! not be older than the one before, nor one of other certificates while that one holds: whoever sits on the
//! way has every list that was ever published, and could take a revocation back with it.
//!
//! What survives a crash here: a list is whole and synced before it has its name, so that there is always the one
//! or the other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::fault::FetchFault;
use crate::ca::CaCertificate;
use crate::load;
use crate::revocation::{List, MAX_LIST_BYTES};
use crate::tls::{self, ClientTrust};

/// Judges what came, and keeps it in `path`. Says whether it is another list than the one there. `now` in
/// seconds since 1970.
pub(super) fn keep(
    bytes: &[u8],
    path: &Path,
    trust: &ClientTrust,
    now: i64,
) -> Result<bool, FetchFault> {
    let der = load::one_list(bytes).ok_or(FetchFault::NotOneList)?;
    let authorities: Vec<&CaCertificate> = trust.authorities().collect();
    let read = |der: &[u8]| List::read(der, &authorities, tls::signature_algorithms(), now);
    let list = read(&der).map_err(FetchFault::List)?;
    if let Some(before) = load::content(path, MAX_LIST_BYTES) {
        if before == der {
            return Ok(false);
        }
        // One that does not count any more stands in nobody's way.
        if let Ok(before) = read(&before) {
            may_follow(&list, &before, now)?;
        }
    }
    write(path, &der).map_err(|error| FetchFault::Unkept {
        error: error.kind(),
    })?;
    Ok(true)
}

fn may_follow(list: &List, before: &List, now: i64) -> Result<(), FetchFault> {
    if !list.is_about_the_same(before) {
        if before.next_update() < now {
            return Ok(());
        }
        return Err(FetchFault::Other {
            found: list.subject(),
            kept: before.subject(),
        });
    }
    if list.edition().is_older_than(before.edition()) {
        return Err(FetchFault::Older {
            found: list.edition().clone(),
            kept: before.edition().clone(),
        });
    }
    Ok(())
}

fn write(path: &Path, der: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // No list has this ending: it is read by nobody before it is whole.
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(der)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::ListFault;
    use crate::revocation::testing::{Ca, NOW, edition, usual};
    use crate::tls::Revocation;
    use config::{NameKind, TrustName};
    use rcgen::{
        CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
        CrlScope,
    };

    struct Kept {
        folder: tempfile::TempDir,
        ca: Ca,
        trust: ClientTrust,
    }

    impl Kept {
        fn new() -> Kept {
            let ca = usual("one");
            let trust = ClientTrust::new(
                TrustName::parse("devices").unwrap(),
                NameKind::SanUri,
                vec![ca.authority.clone()],
                Vec::new(),
                Revocation::Off,
            );
            Kept {
                folder: tempfile::tempdir().unwrap(),
                ca,
                trust,
            }
        }

        fn path(&self) -> std::path::PathBuf {
            self.folder.path().join("kept/one.crl")
        }

        fn keep(&self, bytes: &[u8], now: i64) -> Result<bool, FetchFault> {
            keep(bytes, &self.path(), &self.trust, now)
        }

        fn list(&self, list: &CertificateRevocationListParams) -> Vec<u8> {
            list.signed_by(&self.ca.signer).unwrap().der().to_vec()
        }
    }

    #[test]
    fn a_list_is_kept_whole_and_once() {
        let kept = Kept::new();
        let first = kept.list(&edition(1, 1, &[5]));
        assert_eq!(kept.keep(&first, NOW), Ok(true));
        assert_eq!(kept.keep(&first, NOW), Ok(false));
        assert_eq!(std::fs::read(kept.path()).unwrap(), first);
        let pem = edition(2, 2, &[5, 6]).signed_by(&kept.ca.signer).unwrap();
        assert_eq!(kept.keep(pem.pem().unwrap().as_bytes(), NOW), Ok(true));
        assert_eq!(std::fs::read(kept.path()).unwrap(), pem.der().to_vec());
        let files = std::fs::read_dir(kept.path().parent().unwrap()).unwrap();
        assert_eq!(files.count(), 1, "nothing else stays behind");
    }

    #[test]
    fn an_older_list_is_refused_also_by_the_next_process() {
        let kept = Kept::new();
        let old = kept.list(&edition(4, 1, &[]));
        assert_eq!(kept.keep(&kept.list(&edition(5, 2, &[7])), NOW), Ok(true));
        // All that it knows lies in the file.
        let refused = kept.keep(&old, NOW).unwrap_err();
        assert!(matches!(refused, FetchFault::Older { .. }), "{refused}");
        let later = NOW + 30 * 86_400;
        let refused = kept.keep(&old, later).unwrap_err();
        assert!(
            matches!(refused, FetchFault::Older { .. }),
            "nor when both are out of date: {refused}"
        );
    }

    #[test]
    fn a_list_of_other_certificates_is_refused_while_the_one_before_holds() {
        let kept = Kept::new();
        let shard = |uri: &str| CertificateRevocationListParams {
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec![uri.to_owned()],
                },
                scope: Some(CrlScope::UserCertsOnly),
            }),
            ..edition(1, 1, &[7])
        };
        let first = kept.list(&shard("http://pki.example/0.crl"));
        let second = kept.list(&shard("http://pki.example/1.crl"));
        assert_eq!(kept.keep(&first, NOW), Ok(true));
        let refused = kept.keep(&second, NOW).unwrap_err();
        assert!(matches!(refused, FetchFault::Other { .. }), "{refused}");
        assert_eq!(kept.keep(&second, NOW + 30 * 86_400), Ok(true));
    }

    #[test]
    fn what_is_no_list_that_counts_is_not_kept() {
        let kept = Kept::new();
        let good = kept.list(&edition(1, 1, &[5]));
        let two = [
            edition(1, 1, &[]).signed_by(&kept.ca.signer).unwrap(),
            edition(2, 1, &[]).signed_by(&kept.ca.signer).unwrap(),
        ];
        let two = two.map(|list| list.pem().unwrap()).concat();
        for (bytes, why) in [
            (&b""[..], FetchFault::NotOneList),
            (b"<html>", FetchFault::NotOneList),
            (two.as_bytes(), FetchFault::NotOneList),
            (kept.ca.certificate.pem().as_bytes(), FetchFault::NotOneList),
            (
                &good[..good.len() - 1],
                FetchFault::List(ListFault::Malformed),
            ),
        ] {
            assert_eq!(kept.keep(bytes, NOW), Err(why));
        }
        let stranger = usual("one");
        let list = edition(9, 1, &[]).signed_by(&stranger.signer).unwrap();
        let refused = kept.keep(list.der(), NOW).unwrap_err();
        let why = FetchFault::List(ListFault::Signature {
            issuer: "CN=one".into(),
        });
        assert_eq!(refused, why);
        assert!(!kept.path().exists());
    }

    #[test]
    fn a_file_that_was_damaged_is_written_anew() {
        let kept = Kept::new();
        let list = kept.list(&edition(1, 1, &[5]));
        kept.keep(&list, NOW).unwrap();
        std::fs::write(kept.path(), &list[..100]).unwrap();
        assert_eq!(kept.keep(&list, NOW), Ok(true));
        assert_eq!(std::fs::read(kept.path()).unwrap(), list);
    }
}
