//! `[tenants.http]`: tenants that an app's own address is asked for.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;

use super::super::problem::Flaw;
use super::super::reader::Reader;
use super::super::secret::CredentialSource;
use super::Lookup;

/// The address, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAsk {
    /// `http` or `https`, with a host. Required.
    pub url: Uri,
    /// What is asked and answered. Default [`Contract::Portico`].
    pub contract: Contract,
    /// A file with a token that is sent along (RFC 6750). Default: none.
    pub token: Option<CredentialSource>,
    /// Roots (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long answers are kept, and how many questions there may be.
    pub lookup: Lookup,
}

/// What is asked and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// `"portico"`: `?host=…`, and a row as JSON.
    Portico,
    /// `"caddy-ask"`: `?domain=…`, and a status.
    CaddyAsk,
}

const CONTRACTS: &[(&str, Contract)] = &[
    ("portico", Contract::Portico),
    ("caddy-ask", Contract::CaddyAsk),
];

impl HttpAsk {
    /// `wanted`: whether a source asks this way. `None` if not, or without a URL.
    pub(super) fn read(reader: &mut Reader<'_>, wanted: bool) -> Option<Self> {
        let mut section = reader.section("tenants.http");
        let base = section.base();
        let url = section.maybe_text(
            "url",
            "required for `source = \"http\"`",
            "The address that is asked for the tenant of a host: `GET URL?host=…`",
            parse_url,
        );
        let mut contract = Contract::Portico;
        section.choice(
            "contract",
            &mut contract,
            CONTRACTS,
            "What is asked and answered: `portico` (JSON with the columns of a tenant, or 404), or `caddy-ask` (Caddy's \
             `?domain=…`; any 2xx is yes)",
        );
        let token = section.maybe_text(
            "token_file",
            "no token",
            "A file (mode 0600) or `credential:NAME` with a token that is sent as `Authorization: Bearer`",
            |text| CredentialSource::parse(text, base),
        );
        let ca_file = section.maybe_path(
            "ca_file",
            "the system's roots",
            "Root certificates (PEM) that the address is verified by, in place of the system's",
        );
        let lookup = Lookup::read(&mut section);
        if wanted && url.is_none() && !section.has("url") {
            section.missing(
                "url",
                "write `url = \"http://127.0.0.1:8000/tenant\"` below `[tenants.http]`",
            );
        }
        if !wanted && section.has("url") {
            section.refuse(
                "url",
                "the key has no use without `source = \"http\"`",
                "remove it, or set `tenants.source = \"http\"`",
            );
        }
        let url = url.filter(|_| wanted)?;
        let https = url.scheme_str() == Some("https");
        // Here and not where it is parsed, so that the report does not show it.
        if url.authority().is_some_and(|it| it.as_str().contains('@')) {
            section.refuse(
                "url",
                "a URL is no place for a password",
                "write a token into a file and name it in `token_file`",
            );
        }
        if token.is_some() && !https && !is_this_machine(&url) {
            section.refuse(
                "token_file",
                "the token would be readable on the way",
                "write `https://` in `url`; only to this machine itself is `http://` enough",
            );
        }
        if ca_file.is_some() && !https {
            section.refuse(
                "ca_file",
                "the key has no use without `https://`",
                "write `https://` in `url`, or remove the key",
            );
        }
        Some(Self {
            url,
            contract,
            token,
            ca_file,
            lookup,
        })
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = CONTRACTS.iter().find(|(_, contract)| contract == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

fn is_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn parse_url(text: &str) -> Result<Uri, Flaw> {
    let shape = "write it as in `http://127.0.0.1:8000/tenant`";
    let url: Uri = text
        .parse()
        .map_err(|_invalid| Flaw::new("not a URL", shape))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(Flaw::new("neither `http://` nor `https://`", shape));
    }
    if text.contains('#') || url.host().is_none_or(str::is_empty) {
        return Err(Flaw::new("not a URL that can be asked", shape));
    }
    Ok(url)
}
