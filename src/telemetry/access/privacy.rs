//! What a record does not tell: bits of the client's address, and queries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is kept. Nothing else of the proxy goes by it: limits, lists and apps see whole addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privacy {
    /// Bits of an IPv4 address, 0 to 32; the rest is 0.
    pub ipv4_bits: u8,
    /// Bits of an IPv6 address, 0 to 128.
    pub ipv6_bits: u8,
    /// Whether the query of path and referer is kept.
    pub queries: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            ipv4_bits: 32,
            ipv6_bits: 128,
            queries: true,
        }
    }
}

impl Privacy {
    /// The address as it is written. One of IPv4 in the form of IPv6 is masked as what it is.
    pub(super) fn mask(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let lost = 32 - u32::from(self.ipv4_bits.min(32));
                let mask = u32::MAX.checked_shl(lost).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(_) if self.ipv6_bits >= 128 => address,
            IpAddr::V6(address) => {
                let lost = 128 - u32::from(self.ipv6_bits);
                let mask = u128::MAX.checked_shl(lost).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }

    /// A path or a URL as it is written.
    pub(super) fn cut(self, text: &[u8]) -> &[u8] {
        if self.queries {
            return text;
        }
        // A fragment belongs to nobody but the browser; some send it all the same.
        let end = text.iter().position(|byte| matches!(byte, b'?' | b'#'));
        end.and_then(|end| text.get(..end)).unwrap_or(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_the_bits_that_are_not_kept() {
        let mask = |ipv4_bits, ipv6_bits, text: &str| {
            let privacy = Privacy {
                ipv4_bits,
                ipv6_bits,
                queries: true,
            };
            privacy.mask(text.parse().unwrap()).to_string()
        };
        for (bits, expected) in [
            (32, "203.0.113.77"),
            (24, "203.0.113.0"),
            (16, "203.0.0.0"),
            (25, "203.0.113.0"),
            (1, "128.0.0.0"),
            (0, "0.0.0.0"),
        ] {
            assert_eq!(mask(bits, 48, "203.0.113.77"), expected);
            assert_eq!(mask(bits, 48, "::ffff:203.0.113.77"), expected);
        }
        for (bits, expected) in [
            (128, "2001:db8:1:2:3::4"),
            (48, "2001:db8:1::"),
            (63, "2001:db8:1:2::"),
            (0, "::"),
        ] {
            assert_eq!(mask(24, bits, "2001:db8:1:2:3::4"), expected);
        }
    }

    #[test]
    fn queries_are_cut_where_they_begin() {
        let privacy = Privacy {
            queries: false,
            ..Privacy::default()
        };
        for (text, cut) in [
            ("/a?b=c?d", "/a"),
            ("/a", "/a"),
            ("https://x.test/a?token=1#f", "https://x.test/a"),
            ("https://x.test/a#token=1", "https://x.test/a"),
            ("?", ""),
        ] {
            assert_eq!(privacy.cut(text.as_bytes()), cut.as_bytes());
            assert_eq!(Privacy::default().cut(text.as_bytes()), text.as_bytes());
        }
    }
}
