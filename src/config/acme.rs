//! `[acme]`: where certificates come from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;

use super::certificates::{Challenge, read_challenge};
use super::dns::{Dns, DnsProvider};
use super::files::CertOrigin;
use super::problem::Flaw;
use super::reader::Reader;
use super::secret::CredentialSource;
use super::value;
use crate::host::Host;

/// The ACME client's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Acme {
    /// Contact given to the CA. Default: none.
    pub email: Option<String>,
    /// The CA's directory URL. Default: Let's Encrypt production.
    pub directory: String,
    /// Extra root certificates (PEM) for the connection to the CA, for a private CA or Pebble. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Certificate profile to ask for, as in `tlsserver`. Default: none, the CA's own choice.
    pub profile: Option<String>,
    /// How the base domains are proven. Default [`Challenge::Dns01`].
    pub challenge: Challenge,
    /// Who renews. Default [`AcmeRun::Timer`].
    pub run: AcmeRun,
    /// Program and arguments that are told what happens to a certificate, as JSON on standard input. Default: none.
    pub on_event: Option<Vec<String>>,
    /// Where a new certificate is looked for once it is stored. Default [`DeployProbe::Listener`].
    pub deploy_probe: DeployProbe,
    /// How DNS is asked and changed. Default: none, which is an error unless `run = "off"` or no challenge needs it.
    pub dns: Option<Dns>,
    /// How the account is bound to one that the operator has with the CA (RFC 8555 §7.3.4). Default: none.
    pub eab: Option<Eab>,
    /// A second CA, asked when the first one fails for long. Default: none.
    pub fallback: Option<Ca>,
}

/// A certificate authority and how to be its client.
#[derive(Debug, Clone, PartialEq)]
pub struct Ca {
    /// Its directory URL.
    pub directory: String,
    /// Contact given to it.
    pub email: Option<String>,
    /// Extra root certificates (PEM) for the connection to it.
    pub ca_file: Option<PathBuf>,
    /// Certificate profile to ask for.
    pub profile: Option<String>,
    /// External account binding.
    pub eab: Option<Eab>,
}

/// External account binding: an account that the operator has with the CA by other means.
#[derive(Debug, Clone, PartialEq)]
pub struct Eab {
    /// The key identifier that the CA gave.
    pub kid: String,
    /// An ini file with the HMAC key, base64url, as `eab_hmac_key`.
    pub key_file: CredentialSource,
}

impl Acme {
    /// The first CA.
    #[must_use]
    pub fn first(&self) -> Ca {
        Ca {
            directory: self.directory.clone(),
            email: self.email.clone(),
            ca_file: self.ca_file.clone(),
            profile: self.profile.clone(),
            eab: self.eab.clone(),
        }
    }

    /// The CAs: the first one, and the second if there is one.
    #[must_use]
    pub fn cas(&self) -> Vec<Ca> {
        std::iter::once(self.first())
            .chain(self.fallback.clone())
            .collect()
    }
}

/// Where the renewal looks whether a new certificate is really served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployProbe {
    /// `"listener"`: at every address of `listen.https`, on this machine.
    Listener,
    /// An address: the proxy listens elsewhere than its configuration says (a container, another machine).
    Address(SocketAddr),
    /// `"off"`: nowhere.
    Off,
}

impl fmt::Display for DeployProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("listener"),
            Self::Address(address) => address.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

/// Who runs renewals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeRun {
    /// `"timer"`: the systemd timer, in a unit of its own; the proxy only loads what it finds.
    Timer,
    /// `"daemon"`: a task inside `portico run`, for containers and the demo.
    Daemon,
    /// `"off"`: nobody; certificates are put into the store by `portico cert import`.
    Off,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            email: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca_file: None,
            profile: None,
            challenge: Challenge::Dns01,
            run: AcmeRun::Timer,
            on_event: None,
            deploy_probe: DeployProbe::Listener,
            dns: None,
            eab: None,
            fallback: None,
        }
    }
}

const RUNS: &[(&str, AcmeRun)] = &[
    ("timer", AcmeRun::Timer),
    ("daemon", AcmeRun::Daemon),
    ("off", AcmeRun::Off),
];

impl Acme {
    /// Whether there is a provider that can change DNS.
    pub(super) fn changes_dns(&self) -> bool {
        self.dns
            .as_ref()
            .is_some_and(|dns| dns.provider != DnsProvider::None)
    }

    /// `origin`: with files of others, nobody here renews.
    pub(super) fn read(reader: &mut Reader<'_>, origin: &CertOrigin) -> Self {
        let mut section = reader.section("acme");
        let mut acme = Self {
            email: section.maybe_text("email", "none", "Contact given to the CA", parse_email),
            ..Self::default()
        };
        section.text(
            "directory",
            &mut acme.directory,
            "The CA's directory URL",
            parse_directory,
        );
        acme.ca_file = section.maybe_path(
            "ca_file",
            "none",
            "Extra root certificates (PEM) for the connection to the CA, for a private CA",
        );
        acme.profile = section.maybe_text(
            "profile",
            "the CA's own choice",
            "Certificate profile to ask for, as in `tlsserver`",
            parse_profile,
        );
        acme.challenge = read_challenge(&mut section);
        let clear = section.choice(
            "run",
            &mut acme.run,
            RUNS,
            "Who renews: the systemd `timer`, a task in the proxy (`daemon`), or nobody (`off`)",
        );
        if matches!(origin, CertOrigin::Files(_)) {
            if section.has("run") && acme.run != AcmeRun::Off {
                let message = "there is nothing to renew with `certs = \"files\"`";
                section.refuse("run", message, "remove it, or write `run = \"off\"`");
            }
            acme.run = AcmeRun::Off;
        }
        acme.on_event = section.maybe_command(
            "on_event",
            "none",
            "Program that is told what happens to a certificate, as JSON on standard input: a path, or a list with arguments",
            "write `on_event = [\"/usr/local/bin/cert-event\", \"--flag\"]`",
        );
        section.text(
            "deploy_probe",
            &mut acme.deploy_probe,
            "Where a new certificate must be served within a minute: `listener` (every address of `listen.https`), an \
             address, or `off`",
            parse_deploy_probe,
        );
        acme.eab = Eab::read(reader, "acme.eab");
        acme.fallback = Ca::read_fallback(reader);
        acme.dns = Dns::read(reader, acme.challenge);
        if clear
            && acme.run != AcmeRun::Off
            && acme.challenge.needs_provider()
            && !reader.has("acme.dns")
        {
            let hint = "add `[acme.dns]` with a `provider`, or set `run = \"off\"` and use `portico cert import`";
            reader.section("acme.dns").missing("provider", hint);
        }
        acme
    }
}

impl Ca {
    /// `[acme.fallback]`; none without a directory.
    fn read_fallback(reader: &mut Reader<'_>) -> Option<Self> {
        let mut section = reader.section("acme.fallback");
        let directory = section.maybe_text(
            "directory",
            "none",
            "Directory URL of a second CA, asked when the first one fails for six hours or a sixth of the lifetime is \
             left",
            parse_directory,
        );
        let email = section.maybe_text(
            "email",
            "none",
            "Contact given to the second CA",
            parse_email,
        );
        let ca_file = section.maybe_path(
            "ca_file",
            "none",
            "Extra root certificates (PEM) for the connection to the second CA",
        );
        let profile = section.maybe_text(
            "profile",
            "the CA's own choice",
            "Certificate profile to ask the second CA for",
            parse_profile,
        );
        let others = ["email", "ca_file", "profile"];
        if others.iter().any(|key| section.has(key)) && !section.has("directory") {
            section.missing(
                "directory",
                "write the second CA's directory URL, or remove the section",
            );
        }
        let eab = Eab::read(reader, "acme.fallback.eab");
        Some(Self {
            directory: directory?,
            email,
            ca_file,
            profile,
            eab,
        })
    }
}

impl Eab {
    fn read(reader: &mut Reader<'_>, name: &'static str) -> Option<Self> {
        let mut section = reader.section(name);
        let base = section.base();
        let kid = section.maybe_text(
            "kid",
            "none",
            "Key identifier of the external account, for CAs that want one (ZeroSSL, Google Trust Services)",
            parse_kid,
        );
        let key_file = section.maybe_text(
            "key_file",
            "required with `kid`",
            "The ini file (mode 0600) with `eab_hmac_key`, the key that the CA gave, or `credential:NAME`",
            |text| CredentialSource::parse(text, base),
        );
        for (key, other) in [("kid", "key_file"), ("key_file", "kid")] {
            if section.has(other) && !section.has(key) {
                section.missing(key, "the CA gives both; write both, or remove the section");
            }
        }
        Some(Self {
            kid: kid?,
            key_file: key_file?,
        })
    }
}

fn parse_kid(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::new(
            "not a key identifier",
            "copy it from the CA's page, without spaces",
        ));
    }
    Ok(text.to_owned())
}

fn parse_email(text: &str) -> Result<String, Flaw> {
    let hint = "write one address, as in `ops@example.com`";
    if let Some(address) = text.strip_prefix("mailto:") {
        return Err(Flaw::new(
            "an address without `mailto:` is needed",
            format!("write `{}`", value::shorten(address)),
        ));
    }
    let valid = text.split_once('@').is_some_and(|(user, domain)| {
        let user = !user.is_empty()
            && user
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b",;<>()\"".contains(&byte));
        user && Host::parse(domain).is_ok_and(|domain| domain.as_str().contains('.'))
    });
    if valid {
        Ok(text.to_owned())
    } else {
        Err(Flaw::new("not an e-mail address", hint))
    }
}

fn parse_directory(text: &str) -> Result<String, Flaw> {
    let uri = text.parse::<Uri>().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    if authority.is_some_and(|all| all.as_str().contains('@')) {
        return Err(Flaw::new(
            "a user name or password in the URL",
            "remove everything up to the `@`",
        )
        .hidden());
    }
    if uri.as_ref().and_then(Uri::scheme_str) != Some("https")
        || authority.is_none_or(|all| all.host().is_empty())
    {
        let hint = match text {
            "staging" | "letsencrypt-staging" => {
                "write `https://acme-staging-v02.api.letsencrypt.org/directory`"
            }
            _ => "write the whole address, as in `https://acme-v02.api.letsencrypt.org/directory`",
        };
        return Err(Flaw::new("not an `https://` URL", hint));
    }
    Ok(text.to_owned())
}

fn parse_deploy_probe(text: &str) -> Result<DeployProbe, Flaw> {
    match text {
        "listener" => Ok(DeployProbe::Listener),
        "off" => Ok(DeployProbe::Off),
        address => match address.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => {
                Ok(DeployProbe::Address(address))
            }
            _ => Err(Flaw::new(
                "neither `listener`, `off` nor an address with a port",
                "write an address that can be connected to, as in `192.0.2.10:443`",
            )),
        },
    }
}

fn parse_profile(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::new(
            "not the name of a profile",
            "write one word, as in `tlsserver`, or remove the key",
        ));
    }
    Ok(text.to_owned())
}
