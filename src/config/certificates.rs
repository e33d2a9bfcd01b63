//! `acme.challenge` and `[[certificates]]`: how names are proven, and certificates for single names.

use std::fmt;

use super::problem::Flaw;
use super::reader::Reader;
use super::section::Section;
use super::{Config, value};
use crate::host::Host;

/// How a CA sees that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// A TXT record at `_acme-challenge` for each order (RFC 8555 §8.4).
    Dns01,
    /// The same at a name of the account's own, so that several clients do not meet
    /// (draft-ietf-acme-dns-account-label).
    DnsAccount01,
    /// A TXT record that stays and names the account; no DNS change at renewals (draft-ietf-acme-dns-persist).
    DnsPersist01,
    /// An answer of the plain listener (RFC 8555 §8.3); no wildcards.
    Http01,
    /// A certificate for a TLS handshake of its own kind (RFC 8737); no wildcards.
    TlsAlpn01,
}

impl Challenge {
    /// The CA's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        CHALLENGES
            .iter()
            .find(|(_, challenge)| *challenge == self)
            .map_or("", |(name, _)| *name)
    }

    /// Whether each order changes DNS, which takes a provider.
    #[must_use]
    pub fn needs_provider(self) -> bool {
        matches!(self, Self::Dns01 | Self::DnsAccount01)
    }

    /// Whether a wildcard can be proven so (CA/Browser Forum: only by DNS).
    #[must_use]
    pub fn proves_wildcards(self) -> bool {
        !matches!(self, Self::Http01 | Self::TlsAlpn01)
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const CHALLENGES: &[(&str, Challenge)] = &[
    ("dns-01", Challenge::Dns01),
    ("dns-account-01", Challenge::DnsAccount01),
    ("dns-persist-01", Challenge::DnsPersist01),
    ("http-01", Challenge::Http01),
    ("tls-alpn-01", Challenge::TlsAlpn01),
];

/// A certificate for single names, beside those of the base domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its names; the first one names its place in the store.
    pub names: Vec<Host>,
    /// How they are proven. Default [`Challenge::Http01`].
    pub challenge: Challenge,
}

/// `acme.challenge`: how the base domains are proven.
pub(super) fn read_challenge(section: &mut Section<'_, '_>) -> Challenge {
    let mut challenge = Challenge::Dns01;
    section.text(
        "challenge",
        &mut challenge,
        "How the base domains are proven: `dns-01`, `dns-account-01`, or `dns-persist-01` (no DNS credentials)",
        |text| {
            let challenge = value::choose(text, CHALLENGES)?;
            if challenge.proves_wildcards() {
                return Ok(challenge);
            }
            Err(Flaw::new(
                "a wildcard cannot be proven so",
                "write `dns-01` or `dns-persist-01` here, and single names with their own `challenge` below \
                 `[[certificates]]`",
            ))
        },
    );
    challenge
}

impl Certificate {
    /// `before` has what stands above in the file: domains, listeners, `[acme]`.
    pub(super) fn read_all(reader: &mut Reader<'_>, before: &Config) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        reader.tables("certificates", |section| {
            let names = section.maybe_list(
                "names",
                "required",
                "Names of one more certificate, without wildcards; the first one names it in the store",
                single,
            );
            let names = names.unwrap_or_default();
            let mut challenge = Challenge::Http01;
            let clear = section.choice(
                "challenge",
                &mut challenge,
                CHALLENGES,
                "How they are proven: `http-01` and `tls-alpn-01` (by the running proxy), or one of the DNS kinds",
            );
            let hint = "write `names = [\"www.customer.com\"]` below `[[certificates]]`";
            if section.is_present() && !section.has("names") {
                section.missing("names", hint);
            }
            section.refuse_empty("names", hint);
            let Some(first) = names.first() else {
                return;
            };
            if before.domains.contains(first) || all.iter().any(|other| other.names.first() == Some(first))
            {
                section.refuse(
                    "names",
                    &format!("another certificate is called by the first name: `{first}`"),
                    "put another name first, or join the two",
                );
            }
            if clear && challenge.needs_provider() && !before.acme.changes_dns() {
                section.refuse(
                    "challenge",
                    "a DNS provider is needed for this kind, and there is none",
                    "add `[acme.dns]` with a `provider`, or write `challenge = \"http-01\"`",
                );
            }
            if clear && challenge == Challenge::Http01 && before.listen.http.is_empty() {
                section.refuse(
                    "challenge",
                    "`http-01` is answered on port 80, and there is no plain listener",
                    "write `http = [\"[::]:80\"]` below `[listen]`, or `challenge = \"tls-alpn-01\"`",
                );
            }
            all.push(Self { names, challenge });
        });
        all
    }
}

/// One name without a wildcard.
fn single(text: &str) -> Result<Host, Flaw> {
    if let Some(base) = text.strip_prefix("*.") {
        let hint = format!(
            "list `{}` in `domains`: a base domain comes with its wildcard",
            value::shorten(base)
        );
        return Err(Flaw::new("a single name is needed, not a wildcard", hint));
    }
    value::host(text)
}
