//! What is known of one custom domain, as a line of the register holds it.

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Longest cause that is kept, in characters.
const LONGEST_DETAIL: usize = 400;

/// What is known of one custom domain. A key that is missing has its default, so that older files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Whose it is: the id of the tenant in the directory.
    pub tenant: String,
    /// Since when it is wanted.
    pub since: UnixTime,
    /// Whether a client has asked for it.
    #[serde(skip_serializing_if = "is_default")]
    pub asked: bool,
    /// Whether the tenant has shown that it is its own.
    #[serde(skip_serializing_if = "is_default")]
    pub proven: bool,
    /// The certificate's number in the store; 0 if there is none.
    #[serde(skip_serializing_if = "is_default")]
    pub generation: u64,
    /// Start of its validity.
    #[serde(skip_serializing_if = "is_default")]
    pub not_before: UnixTime,
    /// Its end.
    #[serde(skip_serializing_if = "is_default")]
    pub not_after: UnixTime,
    /// When its renewal is due.
    #[serde(skip_serializing_if = "is_default")]
    pub renew_at: UnixTime,
    /// Nothing is done before this time.
    #[serde(skip_serializing_if = "is_default")]
    pub next: UnixTime,
    /// Since when the directory has no row for it; none if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<UnixTime>,
    /// What keeps it from a certificate, or from the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// What keeps a name from a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// Whether it is the tenant's proof that is missing, and the CA was not asked.
    pub unproven: bool,
    /// How often in a row.
    pub count: u32,
    /// Cause and hint, for people.
    pub detail: String,
}

impl Trouble {
    /// The next one after `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, unproven: bool, detail: &str) -> Self {
        let same = before.filter(|before| before.unproven == unproven);
        Self {
            unproven,
            count: same.map_or(0, |before| before.count).saturating_add(1),
            detail: detail.chars().take(LONGEST_DETAIL).collect(),
        }
    }
}

/// In one word, how a custom domain is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It has a certificate.
    Served,
    /// It waits for its first one.
    Queued,
    /// The last try has failed.
    Failing,
    /// The tenant has not shown that it is its own.
    Unproven,
    /// The directory has no row for it any more.
    Gone,
}

impl Standing {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::Served,
        Self::Queued,
        Self::Failing,
        Self::Unproven,
        Self::Gone,
    ];

    /// The word, for metrics and status.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Queued => "queued",
            Self::Failing => "failing",
            Self::Unproven => "unproven",
            Self::Gone => "gone",
        }
    }
}

impl Entry {
    /// How it is doing.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.trouble {
            _ if self.gone.is_some() => Standing::Gone,
            Some(trouble) if trouble.unproven => Standing::Unproven,
            Some(_) => Standing::Failing,
            None if self.generation == 0 => Standing::Queued,
            None => Standing::Served,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
