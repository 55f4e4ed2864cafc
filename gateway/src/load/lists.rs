//! The revocation lists of a trust set.

use config::{FilePath, Place};

use super::loader::Loader;
use crate::revocation::{Index, List, ListFault, MAX_LIST_BYTES};
use crate::tls;
use crate::trust::Authority;

impl Loader {
    /// The revocation lists in these files and directories. Certificates of authorities that lie
    /// beside them join `intermediates`: they are needed for the signatures of the lists.
    pub(super) fn lists(
        &mut self,
        sources: &[FilePath],
        roots: &[Authority],
        intermediates: &mut Vec<Authority>,
    ) -> Index {
        let mut lists = Vec::new();
        for source in sources {
            let before = lists.len();
            for path in self.files_of(source) {
                let Some(bytes) = self.read(&path, &source.place, MAX_LIST_BYTES) else {
                    continue;
                };
                let (certificates, ders) = self.pem_or_der(&bytes, &path, &source.place);
                for der in certificates {
                    match Authority::judge(&der, self.now) {
                        Ok(authority) => intermediates.push(authority),
                        Err(fault) => self.warning(
                            &source.place,
                            format!(
                                "{}: a certificate in it is left out: {fault}",
                                path.display()
                            ),
                            None,
                        ),
                    }
                }
                lists.extend(
                    ders.into_iter()
                        .map(|der| (der, path.clone(), &source.place)),
                );
            }
            if lists.len() == before {
                self.error(
                    &source.place,
                    "holds no revocation list",
                    Some(
                        "`pki crl` writes them; so does the authority that issued the certificates",
                    ),
                );
            }
        }
        let authorities: Vec<&Authority> = roots.iter().chain(intermediates.iter()).collect();
        let mut read = Vec::new();
        for (der, path, place) in lists {
            match List::read(&der, &authorities, tls::signature_algorithms(), self.now) {
                Ok(list) => {
                    if list.next_update() < self.now {
                        let date = audit::event::Time::from_unix_seconds(list.next_update());
                        self.warning(
                            place,
                            format!("{} is out of date since {date}", path.display()),
                            Some("until there is a fresh one, clients that it covers are refused"),
                        );
                    }
                    read.push(list);
                }
                Err(fault) => {
                    let hint = matches!(fault, ListFault::UnknownIssuer { .. })
                        .then_some("put the issuer's certificate beside the list, or name it in `intermediates`");
                    self.error(place, format!("{}: {fault}", path.display()), hint);
                }
            }
        }
        Index::build(read)
    }

    pub(super) fn judge_index(
        &mut self,
        place: &Place,
        index: &Index,
        roots: &[Authority],
        intermediates: &[Authority],
    ) {
        for authority in roots.iter().chain(intermediates) {
            if !index.knows(authority.key()) {
                let message = format!(
                    "there is no revocation list of \"{}\": whatever it issued is refused",
                    authority.subject()
                );
                self.warning(place, message, Some("add its list"));
            }
        }
    }
}
