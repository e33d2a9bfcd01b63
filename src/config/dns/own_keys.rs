//! The keys of `[acme.dns]` that only some providers have.
//!
//! [`read_hooks`] and [`parse_endpoint`] read them; [`check_own_keys`] refuses those that the chosen provider does not
//! have and asks for those that it needs.

use super::super::problem::Flaw;
use super::super::section::Section;
use super::{DnsProvider, Service};

/// How a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Lego,
    Certbot,
}

const HOOKS: &[(&str, Hook)] = &[("lego", Hook::Lego), ("certbot", Hook::Certbot)];

/// Whether a service takes a key that only some take.
type Takes = fn(&Service) -> bool;

/// The keys that only some providers have, and what a hint calls those.
const OWN_KEYS: &[(&str, Takes, &str)] = &[
    (
        "credentials",
        Service::has_credentials,
        "a provider that `portico dns providers` lists with keys",
    ),
    (
        "listen",
        |service| service.name == "responder",
        "`provider = \"responder\"`",
    ),
    (
        "name_server",
        |service| service.name == "responder",
        "`provider = \"responder\"`",
    ),
    (
        "endpoint",
        |service| service.name == "acme-dns",
        "`provider = \"acme-dns\"`",
    ),
    (
        "command",
        |service| service.name == "exec",
        "`provider = \"exec\"`",
    ),
    (
        "cleanup_command",
        |service| service.name == "exec",
        "`provider = \"exec\"`",
    ),
    (
        "hook",
        |service| service.name == "exec",
        "`provider = \"exec\"`",
    ),
];

/// Where an acme-dns server is.
pub(super) fn parse_endpoint(text: &str) -> Result<String, Flaw> {
    let hint = "write its URL, as in `https://auth.example.org`";
    let uri = text
        .parse::<http::Uri>()
        .ok()
        .filter(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("https" | "http")));
    match uri {
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
        None => Err(Flaw::new("not a URL", hint)),
    }
}

/// The keys of `exec`: whom the hook was written for, and what is called.
pub(super) fn read_hooks(section: &mut Section<'_, '_>) -> Option<DnsProvider> {
    let hook = section.maybe_choice(
        "hook",
        "`\"lego\"`",
        HOOKS,
        "How `exec` calls the hook: with the arguments of `lego` (verb, name, value), or as `certbot` does, with variables alone",
    );
    let hook = hook.unwrap_or(Hook::Lego);
    let command = section.maybe_command(
        "command",
        "required for `exec`",
        "The hook that `exec` calls: a program, or a list of program and arguments",
        "write `command = [\"/usr/local/bin/dns-hook\", \"--flag\"]`",
    );
    let cleanup = section.maybe_command(
        "cleanup_command",
        "`command`",
        "With `hook = \"certbot\"`: what removes the record, if that is another program",
        "write `cleanup_command = [\"/usr/local/bin/dns-hook\", \"--flag\"]`",
    );
    if hook == Hook::Lego && section.has("cleanup_command") {
        section.refuse(
            "cleanup_command",
            "the key has no use with `hook = \"lego\"`",
            "remove it, or set `hook = \"certbot\"`",
        );
    }
    let command = command?;
    Some(match hook {
        Hook::Lego => DnsProvider::Exec { command },
        Hook::Certbot => DnsProvider::CertbotHook {
            cleanup: cleanup.unwrap_or_else(|| command.clone()),
            auth: command,
        },
    })
}

/// Refuses keys of other providers and asks for the ones that this provider needs.
pub(super) fn check_own_keys(section: &mut Section<'_, '_>, service: Option<&Service>) {
    for (key, takes, owners) in OWN_KEYS {
        if section.has(key) && !service.is_some_and(takes) {
            let message = service.map_or_else(
                || "the key has no use without a `provider`".to_owned(),
                |service| format!("the key has no use with `provider = \"{}\"`", service.name),
            );
            section.refuse(key, &message, &format!("remove it, or set {owners}"));
        }
    }
    if service.is_some_and(Service::has_credentials) && !section.has("credentials") {
        section.missing(
            "credentials",
            "write `credentials = \"credential:dns\"` for the one that systemd passes, or a path to a file of mode 0600",
        );
    }
    if service.is_some_and(|service| service.name == "exec") && !section.has("command") {
        section.missing("command", "write `command = \"/usr/local/bin/dns-hook\"`");
    }
}
