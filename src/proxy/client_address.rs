//! Who the client is when a trusted proxy passed the request on.
//!
//! `X-Forwarded-For` grows to the right, and whoever sends a request writes its left part as he likes. So it is read
//! from the right, over the addresses of trusted proxies: the first that is not trusted is the client. Whatever stands
//! left of it is a claim of that client.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::net::access::Networks;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most entries that are looked at: no honest request passes more proxies.
const MOST: usize = 32;

/// The client of a request from `peer`, with the chain of proxies behind it, the nearest last: what stands in
/// `X-Forwarded-For` from the client on. A peer that is not trusted is the client itself, whatever it claims.
#[must_use]
pub fn resolve(headers: &HeaderMap, peer: IpAddr, trusted: &Networks) -> Vec<IpAddr> {
    let mut chain = vec![peer];
    if trusted.is_empty() || !trusted.contains(peer) {
        return chain;
    }
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let entries = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    for entry in entries.take(MOST) {
        // An entry that nobody can read was not written by a proxy of ours: what is known ends before it.
        let Some(address) = address(entry) else {
            break;
        };
        chain.insert(0, address);
        if !trusted.contains(address) {
            break;
        }
    }
    chain
}

/// An address with or without port, as proxies write them.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|it| it.ip()))
        .ok()
        .or_else(|| inner.and_then(|inner| inner.parse().ok().map(IpAddr::V6)))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn chain(lines: &[&str], peer: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let trusted: Vec<_> = ["10.0.0.0/8", "2001:db8:1::/48"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let chain = resolve(&headers, peer.parse().unwrap(), &Networks::new(&trusted));
        chain.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        for (lines, expected) in [
            (&[][..], &["10.0.0.1"][..]),
            (&["192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            // What the client claims itself stands further left, on lines of its own too.
            (&["1.1.1.1, 192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (&["1.1.1.1", "192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (
                &["192.0.2.1, 10.9.9.9"],
                &["192.0.2.1", "10.9.9.9", "10.0.0.1"],
            ),
            (
                &["10.7.7.7, 192.0.2.1,10.9.9.9"],
                &["192.0.2.1", "10.9.9.9", "10.0.0.1"],
            ),
            // Only proxies: the farthest.
            (
                &["10.1.1.1, 10.2.2.2"],
                &["10.1.1.1", "10.2.2.2", "10.0.0.1"],
            ),
            (&["::ffff:192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (&["::ffff:10.3.3.3"], &["10.3.3.3", "10.0.0.1"]),
            (&["192.0.2.1:4711"], &["192.0.2.1", "10.0.0.1"]),
            (&["[2001:db8::9]:4711"], &["2001:db8::9", "10.0.0.1"]),
            (&["[2001:db8::9]"], &["2001:db8::9", "10.0.0.1"]),
            (&["192.0.2.1, unknown"], &["10.0.0.1"]),
            (&["192.0.2.1, "], &["10.0.0.1"]),
            (&["192.0.2.1, 010.0.0.1"], &["10.0.0.1"]),
            (&["\"192.0.2.1\""], &["10.0.0.1"]),
        ] {
            assert_eq!(chain(lines, "10.0.0.1"), expected, "{lines:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(chain(&["1.1.1.1"], "192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(chain(&["1.1.1.1"], "2001:db8::1"), ["2001:db8::1"]);
        let many = vec!["10.0.0.2"; 1_000].join(", ");
        assert_eq!(chain(&[&many], "10.0.0.1").len(), 1 + MOST);
    }
}
