//! Certificates at rest: lineages, generations, and what an order in progress must not forget.
//!
//! A *lineage* is one set of names, called by its first domain. It has numbered *generations* (a chain and its key,
//! never changed once written) and one of them is current. [`Store`] is the seam between one machine and many:
//! [`file::FileStore`] keeps everything below the state directory. The store proves what it reads with
//! [`bundle`](crate::cert::bundle); it never talks to a CA, and it holds the renewal's state only as text.

mod answers;
pub mod file;
pub mod import;

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::import::import;
use crate::cert::answers::Answer;
use crate::cert::bundle::{Bundle, BundleError};
use crate::cert::sealed::Sealed;
use crate::clock::UnixTime;
use crate::host::Host;

/// Why the store cannot do something.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}{}", path.display(), hint(source))]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("`{}` does not hold what was just written to it\nhint: check the disk", .0.display())]
    ReadBack(PathBuf),
    /// A pair that is not a certificate.
    #[error("`{}`: {error}", path.display())]
    Bad {
        /// The generation or the file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: BundleError,
    },
    /// Somebody else is at work.
    #[error("a renewal of `{0}` is running\nhint: try again when it has ended")]
    Busy(Host),
    /// A file that is not what was written.
    #[error("`{}` is not what was written: its checksum differs\nhint: check the disk, and who else writes there; \
             `portico cert rollback` or `portico cert renew --force` brings a good one", .0.display())]
    Altered(PathBuf),
    /// No generation to go back to.
    #[error("`{lineage}` has no {} that is in its dates and whose key is not known to others\nhint: `portico cert renew \
             --force` gets a new one", wanted.map_or_else(|| "earlier certificate".to_owned(), |n| format!("generation {n}")))]
    NoGeneration {
        /// The lineage.
        lineage: Host,
        /// The generation that was asked for, if one was.
        wanted: Option<u64>,
    },
    /// A pair that is no certificate for the domains of the configuration.
    #[error("the certificate covers none of the configured domains; it covers: {0}")]
    Foreign(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "\nhint: run as the user that owns `state_dir`, as in `sudo -u portico-renew portico cert ...`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "\nhint: free some space",
        io::ErrorKind::ReadOnlyFilesystem => "\nhint: put `state_dir` on a writable file system",
        _ => "",
    }
}

/// A generation as it was read from the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Chain and key, proven.
    pub bundle: Bundle,
    /// Number of the generation.
    pub generation: u64,
    /// How it came about.
    pub meta: Meta,
    /// Others know its key: it is served only until there is another.
    pub compromised: bool,
    /// Why the generation that `current` names cannot be used, if this is not that one but the newest good one.
    pub instead_of: Option<String>,
}

/// What is known of a generation beyond its chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Directory URL of the CA, empty for an import.
    pub directory: String,
    /// Account URL at the CA, empty for an import.
    pub account: String,
    /// When it was stored.
    pub stored_at: Option<UnixTime>,
}

/// A generation to be stored.
#[derive(Clone)]
pub struct NewGeneration {
    /// Leaf first, then each issuer, in PEM.
    pub fullchain: String,
    /// The key in PEM.
    pub key: Zeroizing<String>,
    /// How it came about.
    pub meta: Meta,
}

impl fmt::Debug for NewGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewGeneration")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// An order in progress: enough to go on after a crash with the same key and the same request.
#[derive(Clone)]
pub struct Pending {
    /// The key in PEM. It exists before the order does.
    pub key: Zeroizing<String>,
    /// The certificate signing request in DER.
    pub csr: Vec<u8>,
    /// What the CA knows of it.
    pub order: PendingOrder,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// The CA's side of an order in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingOrder {
    /// Directory URL of the CA.
    pub directory: String,
    /// Account URL at the CA.
    pub account: String,
    /// Certificate profile that was asked for.
    pub profile: Option<String>,
    /// The names.
    pub names: Vec<String>,
    /// When it began.
    pub created: UnixTime,
    /// The order's URL; none if the crash came between key and order.
    pub url: Option<String>,
}

/// A TXT record that we published, or were about to, and that is not known to be gone. Name and value tell it from
/// others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Debt {
    /// The domain it proves.
    pub domain: String,
    /// The zone it is in, without trailing dot.
    pub zone: String,
    /// The record's name, without trailing dot.
    pub fqdn: String,
    /// The record's value.
    pub value: String,
    /// What the value was made of, for providers that want to hash it themselves (lego's RAW mode).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// URL of the order that it is for; none for a trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// When it was first written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixTime>,
    /// A fingerprint of the settings that it was published with; none before the provider said that it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
}

impl Debt {
    /// Whether both are about the same value of the same record.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.fqdn == other.fqdn && self.value == other.value
    }
}

/// What the value of a DNS-01 record is made of (RFC 8555 §8.4). No secret: over HTTP-01 it is public.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proof {
    /// The challenge's token.
    pub token: String,
    /// The token with the account key's thumbprint.
    pub key_authorization: String,
}

/// Held while an engine works on a lineage, or while a proxy serves a generation; dropping it ends that.
pub trait Lock: fmt::Debug + Send + Sync {}

/// Where certificates are kept. All calls block; they belong to the control plane and to the renewal unit.
pub trait Store: fmt::Debug + Send + Sync {
    /// The current generation, or the newest good one if the current one is damaged (with a warning in the log).
    ///
    /// # Errors
    /// [`StoreError`] if there are generations and none is good.
    fn load(&self, lineage: &Host) -> Result<Option<Stored>, StoreError>;

    /// Makes the newest good generation current if the current one is missing or unusable. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError`].
    fn mend(&self, lineage: &Host) -> Result<(), StoreError>;

    /// Stores a generation and makes it current in one step.
    ///
    /// # Errors
    /// [`StoreError`]; the current generation is unchanged then. A chain that does not fit its key is refused.
    fn put(&self, lineage: &Host, new: &NewGeneration) -> Result<Stored, StoreError>;

    /// Every generation that is whole, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn generations(&self, lineage: &Host) -> Result<Vec<Stored>, StoreError>;

    /// Makes an earlier generation current: the given one, or the newest below the current one that is in its dates
    /// and whose key is not known to others. The caller holds the lineage's lock.
    ///
    /// # Errors
    /// [`StoreError::NoGeneration`], or what the disk says; the current generation is unchanged then.
    fn rollback(&self, lineage: &Host, to: Option<u64>) -> Result<Stored, StoreError>;

    /// Notes that others know the key of a generation. If it is current it stays so until the next one is stored, and
    /// the engine finds it due; it is never gone back to.
    ///
    /// # Errors
    /// [`StoreError`].
    fn compromise(&self, lineage: &Host, generation: u64) -> Result<(), StoreError>;

    /// A number that changes when any current generation does. Cheap enough to ask every few seconds.
    fn fingerprint(&self) -> u64;

    /// Writes, syncs, reads and removes 10 KiB, so that no order is made whose certificate could not be kept.
    ///
    /// # Errors
    /// [`StoreError`].
    fn probe(&self) -> Result<(), StoreError>;

    /// The right to work on a lineage; `None` if somebody else has it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn lock(&self, lineage: &Host) -> Result<Option<Box<dyn Lock>>, StoreError>;

    /// Whether an engine of this machine is at work on a lineage. Needs the right to read only, and keeps nobody out.
    fn is_locked(&self, lineage: &Host) -> bool;

    /// The number of the generation that is meant to be served, usable or not.
    fn current(&self, lineage: &Host) -> Option<u64>;

    /// Says that a generation is served, until the value is dropped or the process ends in any way: it is not removed
    /// meanwhile, unless it is over. None if it is gone, or if nobody can be told.
    fn hold(&self, lineage: &Host, generation: u64) -> Option<Box<dyn Lock>>;

    /// The order in progress; a half-written one is none.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pending(&self, lineage: &Host) -> Result<Option<Pending>, StoreError>;

    /// Remembers an order in progress, durably, before the call that makes it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_pending(&self, lineage: &Host, pending: &Pending) -> Result<(), StoreError>;

    /// Forgets the order in progress and its key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn clear_pending(&self, lineage: &Host) -> Result<(), StoreError>;

    /// The renewal's own state (a JSON text of [`crate::acme`]). A damaged one is told from a missing one, and the one
    /// before it is there to fall back to.
    ///
    /// # Errors
    /// [`StoreError`].
    fn state(&self, lineage: &Host) -> Result<Sealed, StoreError>;

    /// Replaces the renewal's own state.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_state(&self, lineage: &Host, state: &[u8]) -> Result<(), StoreError>;

    /// What all lineages share: limits of the CA that are wider than one of them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn limits(&self) -> Result<Sealed, StoreError>;

    /// Reads what all lineages share, lets `change` give the new text, and writes it, while nobody else does.
    ///
    /// # Errors
    /// [`StoreError`].
    fn change_limits(&self, change: &mut dyn FnMut(Sealed) -> Vec<u8>) -> Result<(), StoreError>;

    /// Notes that the engine was at work at this time.
    ///
    /// # Errors
    /// [`StoreError`].
    fn beat(&self, now: UnixTime) -> Result<(), StoreError>;

    /// When the engine was last at work; none if it never was.
    ///
    /// # Errors
    /// [`StoreError`].
    fn heartbeat(&self) -> Result<Option<UnixTime>, StoreError>;

    /// Writes down a TXT record before it is published; again with what is known of it since.
    ///
    /// # Errors
    /// [`StoreError`].
    fn owe(&self, lineage: &Host, debt: &Debt) -> Result<(), StoreError>;

    /// Strikes a TXT record out once it is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    fn paid(&self, lineage: &Host, debt: &Debt) -> Result<(), StoreError>;

    /// The TXT records that were not removed yet.
    ///
    /// # Errors
    /// [`StoreError`].
    fn debts(&self, lineage: &Host) -> Result<Vec<Debt>, StoreError>;

    /// Hands an answer to every proxy that reads this store.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_answer(&self, answer: &Answer) -> Result<(), StoreError>;

    /// The answers to CAs that are to be served now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn answers(&self) -> Result<Vec<Answer>, StoreError>;

    /// A number that changes when any answer does. Cheap enough to ask every few seconds.
    fn answers_fingerprint(&self) -> u64;

    /// Takes back the answers for a lineage's names.
    ///
    /// # Errors
    /// [`StoreError`].
    fn withdraw(&self, lineage: &Host) -> Result<(), StoreError>;

    /// Whether a lineage has answers that were not taken back.
    ///
    /// # Errors
    /// [`StoreError`].
    fn has_answers(&self, lineage: &Host) -> Result<bool, StoreError> {
        let lineage = lineage.as_str();
        Ok(self
            .answers()?
            .iter()
            .any(|answer| answer.lineage == lineage))
    }
}
