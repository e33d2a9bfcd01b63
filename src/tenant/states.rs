//! What a tenant that is not served answers, and who passes all the same.
//!
//! Pure: it is told the state and what is known of the request. In doubt nobody passes. A path is open only if there is one
//! way to read it: one that an app may decode or shorten into another (`..`, `//`, `%2f`, `;`) is not.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use ipnet::IpNet;

use super::id::State;
use super::signature::{KeyError, Keys, first};
use crate::config::{Answers, OpenPath, SuspendedStatus};

/// The cookie that opens a host under maintenance. Browsers take it over TLS only, for this host only (`__Host-`).
pub const BYPASS_COOKIE: &str = "__Host-portico-bypass";

/// What is signed for it, before the host.
const BYPASS_CONTEXT: &str = "portico-bypass\n";

/// The rules.
#[derive(Debug)]
pub struct States {
    suspended: SuspendedStatus,
    open: Vec<OpenPath>,
    /// Where the page of a suspended tenant leads.
    pub support: Option<String>,
    all_under_maintenance: bool,
    retry_after: u32,
    bypass: Vec<IpNet>,
    bypass_key: Option<BypassKey>,
}

/// What opens hosts under maintenance to those who know it.
pub struct BypassKey(hmac::Key);

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host, normalised.
    pub host: &'a str,
    /// The path, as received, without the query.
    pub path: &'a str,
    /// Whom it is from.
    pub client: IpAddr,
    /// The value of [`BYPASS_COOKIE`], if the request has one.
    pub cookie: Option<&'a [u8]>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To the app.
    Pass,
    /// This status, as suspended.
    Suspended(SuspendedStatus),
    /// Not ready yet.
    Pending,
    /// Under maintenance, for so many seconds.
    Maintenance(u32),
    /// Gone.
    Deleted,
    /// Moved to nowhere.
    Unknown,
}

impl std::fmt::Debug for BypassKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BypassKey(…)")
    }
}

impl BypassKey {
    /// Reads the file that is configured, if one is: `name = key` lines, of which the first counts.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(answers: &Answers) -> Result<Option<Self>, KeyError> {
        let source = answers.maintenance.bypass_key.as_ref();
        let keys = source.map(Keys::read).transpose()?;
        Ok(keys.map(|keys| Self(hmac::Key::new(hmac::HMAC_SHA256, first(&keys).1.as_bytes()))))
    }

    /// Whether `cookie` is the hexadecimal HMAC-SHA256 of `portico-bypass LF host`. Each host has one of its own, so that
    /// who reads it there (a tenant's script) can open nothing else with it. The time does not depend on how much is right.
    fn opens(&self, host: &str, cookie: &[u8]) -> bool {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(BYPASS_CONTEXT.as_bytes());
        mac.update(host.as_bytes());
        let mut expected = String::with_capacity(64);
        for byte in mac.sign().as_ref() {
            expected.push_str(&format!("{byte:02x}"));
        }
        verify_slices_are_equal(expected.as_bytes(), cookie).is_ok()
    }
}

impl States {
    /// As configured.
    #[must_use]
    pub fn new(answers: &Answers) -> Self {
        let seconds = answers.maintenance.retry_after.as_secs();
        Self {
            suspended: answers.suspended.status,
            open: answers.suspended.paths.clone(),
            support: answers.suspended.support.clone(),
            all_under_maintenance: answers.maintenance.all,
            retry_after: u32::try_from(seconds).unwrap_or(u32::MAX),
            bypass: answers.maintenance.bypass.clone(),
            bypass_key: None,
        }
    }

    /// With the key of the cookie.
    #[must_use]
    pub fn with_key(mut self, key: Option<BypassKey>) -> Self {
        self.bypass_key = key;
        self
    }

    /// Whether the cookie means anything; then the app never sees it.
    #[must_use]
    pub fn takes_cookie(&self) -> bool {
        self.bypass_key.is_some()
    }

    /// What becomes of a request of a tenant in `state`.
    #[must_use]
    pub fn judge(&self, state: State, asked: &Asked<'_>) -> Verdict {
        let maintenance = || {
            if self.bypasses(asked) {
                Verdict::Pass
            } else {
                Verdict::Maintenance(self.retry_after)
            }
        };
        match state {
            State::Active if self.all_under_maintenance => maintenance(),
            State::Active => Verdict::Pass,
            State::Suspended if !self.open.iter().any(|open| is_open(open, asked.path)) => {
                Verdict::Suspended(self.suspended)
            }
            State::Suspended if self.all_under_maintenance => maintenance(),
            State::Suspended => Verdict::Pass,
            State::Pending => Verdict::Pending,
            State::Maintenance => maintenance(),
            State::Deleted => Verdict::Deleted,
            // Where to was not said, or it would be a redirect.
            State::Moved => Verdict::Unknown,
        }
    }

    fn bypasses(&self, asked: &Asked<'_>) -> bool {
        let by_key = || {
            let key = self.bypass_key.as_ref().zip(asked.cookie);
            key.is_some_and(|(key, cookie)| key.opens(asked.host, cookie))
        };
        self.bypass
            .iter()
            .any(|network| network.contains(&asked.client))
            || by_key()
    }
}

/// Whether `path` is `open` or, if that ends in `/`, lies below it.
fn is_open(open: &OpenPath, path: &str) -> bool {
    let open = open.as_str();
    let named = if open.ends_with('/') {
        path.starts_with(open)
    } else {
        path == open
    };
    named && is_unambiguous(path)
}

/// Whether every app reads this path the same: no empty or dotted segment, no parameters, no backslash, and nothing
/// encoded that would become one of these, a control character or another `%`.
fn is_unambiguous(path: &str) -> bool {
    let dotted = |segment: &str| matches!(segment, "." | "..");
    if path.contains("//") || path.split('/').any(dotted) {
        return false;
    }
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let Some((digits, after)) = rest.split_at_checked(2) else {
                    return false;
                };
                let decoded = std::str::from_utf8(digits)
                    .ok()
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match decoded {
                    None | Some(b'/' | b'\\' | b'.' | b'%' | b';' | 0..0x20 | 0x7f) => {
                        return false;
                    }
                    Some(_) => rest = after,
                }
            }
            b';' | b'\\' | 0..=0x20 | 0x7f.. => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    fn states(lines: &str) -> States {
        let text = format!(
            "domains = [\"example.com\"]\n[upstream]\nservers = [\"http://a:1\"]\n[acme]\nrun = \"off\"\n{lines}"
        );
        let config = Config::parse(&text, "portico.toml".as_ref()).unwrap();
        States::new(&config.tenants.answers)
    }

    fn asked(path: &str) -> Asked<'_> {
        Asked {
            host: "acme.example.com",
            path,
            client: [192, 0, 2, 1].into(),
            cookie: None,
        }
    }

    #[test]
    fn suspended_paths_open_by_one_spelling_only() {
        let states =
            states("[tenants.suspended]\nstatus = \"403\"\npaths = [\"/billing/\", \"/pay\"]\n");
        let judge = |path: &str| states.judge(State::Suspended, &asked(path));
        for path in [
            "/billing/",
            "/billing/card",
            "/billing/a/b.html",
            "/billing/caf%C3%A9",
            "/billing/a%20b",
            "/billing/.well-known",
            "/billing/a..b",
            "/pay",
        ] {
            assert_eq!(judge(path), Verdict::Pass, "{path}");
        }
        for path in [
            "/",
            "*",
            "/billing",
            "/Billing/",
            "/billingx/",
            "/pay/",
            "/pay/x",
            "/%62illing/",
            "//billing/",
            "/x/../billing/",
            "/billing/../admin",
            "/billing/..",
            "/billing/.",
            "/billing/./x",
            "/billing//admin",
            "/billing/%2e%2e/admin",
            "/billing/.%2E/admin",
            "/billing/%2E%2e%2Fadmin",
            "/billing/..%2fadmin",
            "/billing/%5c..%5cadmin",
            "/billing/..\\admin",
            "/billing/..;/admin",
            "/billing/;x/admin",
            "/billing/%3b/admin",
            "/billing/%252e%252e/admin",
            "/billing/%00",
            "/billing/%0a",
            "/billing/%",
            "/billing/%2",
            "/billing/%zz",
            "/billing/%+2",
            "/billing/\u{e9}",
        ] {
            assert_eq!(
                judge(path),
                Verdict::Suspended(SuspendedStatus::Forbidden),
                "{path}"
            );
        }
        assert_eq!(
            states.judge(State::Deleted, &asked("/billing/")),
            Verdict::Deleted
        );
    }

    #[test]
    fn maintenance_opens_to_networks_and_to_the_cookie_of_that_host() {
        let key = BypassKey(hmac::Key::new(
            hmac::HMAC_SHA256,
            Secret::new("k".repeat(32)).expose().as_bytes(),
        ));
        let states = states(
            "[tenants.maintenance]\nall = true\nretry_after = \"5m\"\nbypass = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n",
        )
        .with_key(Some(key));
        assert!(!format!("{states:?}").contains("kkk"));
        let closed = Verdict::Maintenance(300);
        let mut request = asked("/");
        for state in [State::Active, State::Maintenance] {
            assert_eq!(states.judge(state, &request), closed);
        }
        for (client, verdict) in [
            ("198.51.100.7", Verdict::Pass),
            ("2001:db8::7", Verdict::Pass),
            ("198.51.101.7", closed),
        ] {
            request.client = client.parse().unwrap();
            assert_eq!(states.judge(State::Active, &request), verdict, "{client}");
        }
        // printf 'portico-bypass\nacme.example.com' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
        let cookie = b"f7721144fa5e04f3a758a1700d5b3907a0656fa3ba41d0b008a1a53ffc123278";
        for (host, cookie, verdict) in [
            ("acme.example.com", &cookie[..], Verdict::Pass),
            ("globex.example.com", &cookie[..], closed),
            ("acme.example.com", &cookie[..63], closed),
            ("acme.example.com", b"", closed),
        ] {
            (request.host, request.cookie) = (host, Some(cookie));
            assert_eq!(states.judge(State::Active, &request), verdict, "{host}");
        }
        request.cookie = None;
        let suspended = states.judge(State::Suspended, &request);
        assert_eq!(
            suspended,
            Verdict::Suspended(SuspendedStatus::PaymentRequired)
        );
    }
}
