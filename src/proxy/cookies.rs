//! Cookies between tenants (design: 2.10).
//!
//! All tenants of a base domain are one site to a browser: a cookie with `Domain=example.com` that one tenant's app sets is
//! sent to every other tenant. So `Domain` is taken off `Set-Cookie` and the cookie stays with its host (RFC 6265 §5.3 step
//! 6). One that names a domain which the host does not lie in is left as it is: every client refuses it (the same step).
//! Read as browsers read it (§5.2): split at `;`, whatever is quoted, the name of an attribute in any case.

use http::{HeaderMap, HeaderValue, header};

use crate::config::CookieScope;

/// Takes `Domain` off the cookies of an answer, or only says so. `host` is the one that was asked for, normalised. Returns
/// how many cookies there were with one that counts.
pub fn narrow(headers: &mut HeaderMap, host: &str, scope: CookieScope) -> usize {
    if scope == CookieScope::Off {
        return 0;
    }
    let lines = headers.get_all(header::SET_COOKIE);
    let wide = lines
        .iter()
        .filter(|line| is_wide(line.as_bytes(), host))
        .count();
    if wide == 0 || scope == CookieScope::Warn {
        return wide;
    }
    if let header::Entry::Occupied(mut lines) = headers.entry(header::SET_COOKIE) {
        for line in lines.iter_mut() {
            if is_wide(line.as_bytes(), host)
                && let Ok(narrow) = HeaderValue::from_bytes(&without_domain(line.as_bytes()))
            {
                *line = narrow;
            }
        }
    }
    wide
}

/// Removes the cookie `name` from what a client sends.
pub fn remove(headers: &mut HeaderMap, name: &str) {
    let named = |cookie: &[u8]| cookie_name(cookie) == name.as_bytes();
    let crumbs = |line: &HeaderValue| -> Vec<Vec<u8>> {
        let cookies = line.as_bytes().split(|&byte| byte == b';');
        cookies.map(|cookie| cookie.trim_ascii().to_vec()).collect()
    };
    let lines = headers.get_all(header::COOKIE);
    if !lines.iter().flat_map(crumbs).any(|cookie| named(&cookie)) {
        return;
    }
    let left: Vec<Vec<u8>> = lines
        .iter()
        .flat_map(crumbs)
        .filter(|cookie| !named(cookie) && !cookie.is_empty())
        .collect();
    headers.remove(header::COOKIE);
    if !left.is_empty()
        && let Ok(line) = HeaderValue::from_bytes(&left.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, line);
    }
}

/// The value of the cookie `name` that a client sends, if it sends one alone.
#[must_use]
pub fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE);
    let cookies = lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    let mut found = cookies.filter(|cookie| cookie_name(cookie) == name.as_bytes());
    let first = found.next().filter(|_| found.next().is_none())?;
    let at = first.iter().position(|&byte| byte == b'=')?;
    first.get(at + 1..).map(<[u8]>::trim_ascii)
}

fn cookie_name(cookie: &[u8]) -> &[u8] {
    let name = cookie.split(|&byte| byte == b'=').next();
    name.unwrap_or_default().trim_ascii()
}

/// The attributes behind the name and the value.
fn attributes(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';').skip(1)
}

fn is_domain(attribute: &[u8]) -> bool {
    cookie_name(attribute).eq_ignore_ascii_case(b"domain")
}

/// Whether some client could take a `Domain` of this cookie as one that the host lies in.
fn is_wide(line: &[u8], host: &str) -> bool {
    attributes(line)
        .filter(|attribute| is_domain(attribute))
        .any(|attribute| {
            let at = attribute.iter().position(|&byte| byte == b'=');
            let value = at
                .and_then(|at| attribute.get(at + 1..))
                .unwrap_or_default();
            // Browsers drop one dot in front; others are known to drop quotes, more dots and the last one.
            let is_mark =
                |byte: &u8| matches!(byte, b'"' | b'\'' | b'.') || byte.is_ascii_whitespace();
            let start = value.iter().position(|byte| !is_mark(byte));
            let end = value.iter().rposition(|byte| !is_mark(byte));
            let (Some(start), Some(end)) = (start, end) else {
                // Empty: for this host alone, to all who read it as a browser does.
                return true;
            };
            let domain = value.get(start..=end).unwrap_or_default();
            lies_in(host.as_bytes(), domain)
        })
}

fn lies_in(host: &[u8], domain: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (before, tail) = host.split_at(at);
    tail.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
}

fn without_domain(line: &[u8]) -> Vec<u8> {
    let mut parts = line.split(|&byte| byte == b';');
    let mut out = parts.next().unwrap_or_default().to_vec();
    for attribute in parts.filter(|attribute| !is_domain(attribute)) {
        out.push(b';');
        out.extend_from_slice(attribute);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowed(line: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, line.parse().unwrap());
        narrow(&mut headers, "acme.example.com", CookieScope::Host);
        let line = headers.get(header::SET_COOKIE).unwrap();
        line.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_domain_that_the_host_lies_in_goes_in_every_spelling() {
        for (line, expected) in [
            ("a=b; Domain=example.com; Path=/", "a=b; Path=/"),
            ("a=b;domain=.example.com;Secure", "a=b;Secure"),
            ("a=b; DOMAIN = EXAMPLE.COM ", "a=b"),
            ("a=b; Domain=\"example.com\"; Secure", "a=b; Secure"),
            ("a=b; Domain=example.com.", "a=b"),
            ("a=b; Domain=..example.com", "a=b"),
            ("a=b;\tDomain\t=\texample.com; HttpOnly", "a=b; HttpOnly"),
            ("a=b; Domain=acme.example.com", "a=b"),
            ("a=b; Domain=com", "a=b"),
            ("a=b; Domain=", "a=b"),
            ("a=b; Domain", "a=b"),
            (
                "a=b; Domain=other.org; Domain=example.com; Secure",
                "a=b; Secure",
            ),
            ("a=\"x; Domain=example.com\"; Path=/", "a=\"x; Path=/"),
            (
                "__Host-s=1; Secure; Path=/; Domain=example.com",
                "__Host-s=1; Secure; Path=/",
            ),
            ("=; Domain=example.com", "="),
        ] {
            assert_eq!(narrowed(line), expected, "{line}");
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        for line in [
            "a=b",
            "a=b; Path=/; Secure; HttpOnly; SameSite=Lax",
            "Domain=example.com",
            "domain=example.com; Path=/",
            "a=b; Domain=globex.example.com",
            "a=b; Domain=ample.com",
            "a=b; Domain=x.acme.example.com",
            "a=b; Domain=example.org",
            "a=b; Domains=example.com",
            "a=b; Path=/Domain=example.com",
            "",
        ] {
            assert_eq!(narrowed(line), line);
        }
    }

    #[test]
    fn every_line_is_looked_at_and_the_scope_decides() {
        let all = || {
            let mut headers = HeaderMap::new();
            for line in [
                "a=1; Domain=example.com",
                "b=2",
                "c=3; Domain=example.com; Secure",
            ] {
                headers.append(header::SET_COOKIE, line.parse().unwrap());
            }
            headers
        };
        let mut headers = all();
        assert_eq!(
            narrow(&mut headers, "acme.example.com", CookieScope::Host),
            2
        );
        let lines: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(lines, ["a=1", "b=2", "c=3; Secure"]);
        for (scope, found) in [(CookieScope::Warn, 2), (CookieScope::Off, 0)] {
            let mut headers = all();
            assert_eq!(narrow(&mut headers, "acme.example.com", scope), found);
            assert_eq!(headers, all());
        }
    }

    #[test]
    fn one_cookie_is_found_and_removed_from_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; k=v=w ;b=2".parse().unwrap());
        headers.append(header::COOKIE, "c=3".parse().unwrap());
        assert_eq!(find(&headers, "k"), Some(&b"v=w"[..]));
        assert_eq!(find(&headers, "K"), None);
        remove(&mut headers, "x");
        assert_eq!(headers.get_all(header::COOKIE).iter().count(), 2);
        remove(&mut headers, "k");
        assert_eq!(headers.get(header::COOKIE).unwrap(), "a=1; b=2; c=3");
        headers.append(header::COOKIE, "c=4".parse().unwrap());
        assert_eq!(find(&headers, "c"), None, "which one is meant is not clear");
        remove(&mut headers, "c");
        assert_eq!(headers.get(header::COOKIE).unwrap(), "a=1; b=2");
        headers.insert(header::COOKIE, "c=4".parse().unwrap());
        remove(&mut headers, "c");
        assert!(!headers.contains_key(header::COOKIE));
    }
}
