//! A witness: it sees that a log only grows, and cosigns what it saw (C2SP tlog-witness).
//!
//! ```text
//! keys   the witness's own key as files     logs   whose checkpoints it cosigns
//! judge  what is asked: refused, or a checkpoint that may be cosigned       (pure)
//! store  per log, what was cosigned last
//! ```
//!
//! A witness remembers one checkpoint a log, the last that it cosigned, and cosigns another only with
//! a proof that the log grew from there. So whoever puts a log back to an older state, or signs it
//! anew, finds no cosignature for it; a witness belongs on another machine, under another
//! administration.
//!
//! What survives a crash here: the checkpoint is durable before its cosignature leaves. A crash in
//! between leaves a witness that remembers what nobody has a cosignature of: whoever asks again, with
//! the same checkpoint, gets one.
//!
//! Not here: the network (`ship::serve`), and who may ask. A checkpoint is signed by its log, so anybody
//! may bring it.

mod judge;

mod keys;

mod logs;

mod store;

use std::fmt;
use std::path::Path;

use crate::merkle::key::{Cosigner, Verifier};
use crate::merkle::note::Signature;

pub use judge::{Accepted, MAX_HASHES, Refusal, judge};
pub use keys::{KeyFileError, PUBLIC, SECRET, keygen, read as read_key};
pub use logs::{Logs, LogsError};
pub use store::{StoreError, name_of};

use store::Store;

/// A witness at work: the only writer of its state.
#[derive(Debug)]
pub struct Witness {
    logs: Logs,
    cosigner: Cosigner,
    store: Store,
}

impl Witness {
    /// Takes up the state in `directory`, which is made when it is not there.
    ///
    /// # Errors
    /// [`StoreError`] when another process has it, or when it is not as this witness left it. Fail
    /// closed: nothing is cosigned on a state that cannot be believed.
    pub fn open(directory: &Path, logs: Logs, cosigner: Cosigner) -> Result<Witness, StoreError> {
        let store = Store::open(directory, &logs, cosigner.verifier())?;
        Ok(Witness {
            logs,
            cosigner,
            store,
        })
    }

    /// The public half of its key.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        self.cosigner.verifier()
    }

    /// Cosigns a checkpoint (C2SP tlog-witness, "add-checkpoint"): `body` is that of the request, the
    /// time is now. What is returned is durable.
    ///
    /// # Errors
    /// [`NotCosigned`]; what is remembered is then what was cosigned last.
    pub fn add_checkpoint(
        &mut self,
        body: &[u8],
        posix_seconds: u64,
    ) -> Result<Signature, NotCosigned> {
        let remembered = |origin: &str| self.store.head(origin);
        let accepted = judge(body, &self.logs, remembered).map_err(NotCosigned::Refused)?;
        let cosignature = accepted
            .checkpoint()
            .cosign(&self.cosigner, posix_seconds)
            .map_err(|_| NotCosigned::Clock)?;
        self.store
            .remember(accepted, &cosignature)
            .map_err(NotCosigned::Store)?;
        Ok(cosignature)
    }

    /// The last checkpoint of the log of this name, as [`name_of`] gives it, with the cosignature
    /// (C2SP tlog-witness, "Monitor Retrieval Mechanism"); nothing when none was cosigned.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&str> {
        self.store.latest(name)
    }
}

/// Why a checkpoint was not cosigned.
#[derive(Debug)]
pub enum NotCosigned {
    /// It must not be.
    Refused(Refusal),
    /// It could not be remembered.
    Store(std::io::Error),
    /// The clock shows no time that a cosignature can hold.
    Clock,
}

impl fmt::Display for NotCosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCosigned::Refused(refusal) => refusal.fmt(f),
            NotCosigned::Store(error) => write!(f, "the state cannot be written: {error}"),
            NotCosigned::Clock => f.write_str("the clock shows no time to sign with"),
        }
    }
}

impl std::error::Error for NotCosigned {}
