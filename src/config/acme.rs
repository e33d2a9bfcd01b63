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
