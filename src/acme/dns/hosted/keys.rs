//! What a service's credentials file holds.
//!
//! An ini file, or the JSON file of a service account. The values are secrets: nothing prints them, and [`Keys::blot`]
//! takes them out of other people's messages.

use std::collections::BTreeMap;

use super::super::DnsError;
use crate::config::{CredentialSource, Secret, Service};

/// A value shorter than this is no secret (a region, `yes`), and would blot out half of a message.
const SHORTEST_SECRET: usize = 8;

/// The keys of one file.
pub(super) struct Keys {
    source: String,
    values: BTreeMap<&'static str, Secret>,
    /// The whole file, for a service whose library wants it so.
    whole: Option<Secret>,
}

impl Keys {
    /// Reads those that the service knows; a missing one that is needed is an error.
    pub(super) fn read(
        service: &Service,
        credentials: &CredentialSource,
    ) -> Result<Self, DnsError> {
        let mut keys = Self {
            source: credentials.to_string(),
            values: BTreeMap::new(),
            whole: None,
        };
        let names = || service.needed.iter().chain(service.optional).copied();
        if service.name == "google" {
            let text = credentials.read_text()?;
            let json: serde_json::Value = serde_json::from_str(text.expose()).map_err(|error| {
                keys.bad(format!(
                    "it is not JSON (line {})\nhint: name the JSON key file of a service account",
                    error.line()
                ))
            })?;
            for name in names() {
                if let Some(value) = json.get(name).and_then(|value| value.as_str()) {
                    keys.values.insert(name, Secret::new(value.to_owned()));
                }
            }
            keys.whole = Some(text);
        } else {
            let ini = credentials.read()?;
            if service.name == "cloudflare"
                && ini.get("dns_cloudflare_api_token").is_none()
                && ini.get("dns_cloudflare_api_key").is_some()
            {
                return Err(keys.bad(
                    "it has the global API key, which Portico does not use\nhint: make an API token with the \
                     permission Zone:DNS:Edit and write `dns_cloudflare_api_token = …`"
                        .to_owned(),
                ));
            }
            for &name in service.needed {
                ini.require(name)?;
            }
            for name in names() {
                if let Some(value) = ini.get(name) {
                    keys.values.insert(name, value.clone());
                }
            }
        }
        for &name in service.needed {
            keys.need(name)?;
        }
        for (name, value) in &keys.values {
            // A header would be cut or left out in silence.
            if value.expose().chars().any(char::is_control) && keys.whole.is_none() {
                return Err(keys.bad(format!("`{name}` has a character that no such value has")));
            }
        }
        Ok(keys)
    }

    /// A key that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, DnsError> {
        self.get(name)
            .ok_or_else(|| self.bad(format!("the key `{name}` is missing or empty")))
    }

    /// A key that may be there; an empty one is none.
    pub(super) fn get(&self, name: &'static str) -> Option<&str> {
        self.values
            .get(name)
            .map(Secret::expose)
            .filter(|value| !value.is_empty())
    }

    /// The same as an owned text.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Whether a key says yes.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, DnsError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "0") => Ok(false),
            Some("true" | "yes" | "1") => Ok(true),
            Some(_) => Err(self.bad(format!("`{name}` is neither `true` nor `false`"))),
        }
    }

    /// The whole file.
    pub(super) fn whole(&self) -> &str {
        self.whole.as_ref().map_or("", Secret::expose)
    }

    /// The content of the file that a key names.
    pub(super) fn file(&self, name: &'static str) -> Result<Secret, DnsError> {
        Ok(CredentialSource::File(self.need(name)?.into()).read_text()?)
    }

    /// What is wrong with the file.
    pub(super) fn bad(&self, reason: String) -> DnsError {
        DnsError::Refused(format!("`{}`: {reason}", self.source))
    }

    /// The message without any of the values.
    pub(super) fn blot(&self, message: &str) -> String {
        let secrets = self
            .values
            .values()
            .map(Secret::expose)
            .filter(|value| value.len() >= SHORTEST_SECRET);
        let mut message = message.to_owned();
        for secret in secrets {
            let escaped: String = secret.bytes().map(escape).collect();
            message = message.replace(secret, "…").replace(&escaped, "…");
        }
        message
    }
}

/// A byte as in the query of a URL.
fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~*".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
