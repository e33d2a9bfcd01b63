//! Which of the headers that matter to the edge a message has.
//!
//! Each name that is there is looked at once, where a look-up for each that might be would cost more: most messages have
//! few of them. It says that there is a line, never what is in it, and holds for the headers that it was made of: whoever
//! changes those must not ask it any more about what was changed.

use http::{HeaderMap, header};

/// A set of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u32);

impl Seen {
    /// `Accept`
    pub const ACCEPT: Self = Self(1);
    /// `Connection`
    pub const CONNECTION: Self = Self(1 << 1);
    /// `Content-Length`
    pub const CONTENT_LENGTH: Self = Self(1 << 2);
    /// `Content-Type`
    pub const CONTENT_TYPE: Self = Self(1 << 3);
    /// `Cookie`
    pub const COOKIE: Self = Self(1 << 4);
    /// `Expect`
    pub const EXPECT: Self = Self(1 << 5);
    /// `Referer`
    pub const REFERER: Self = Self(1 << 6);
    /// `Set-Cookie`
    pub const SET_COOKIE: Self = Self(1 << 7);
    /// `Strict-Transport-Security`
    pub const STRICT_TRANSPORT_SECURITY: Self = Self(1 << 8);
    /// `TE`
    pub const TE: Self = Self(1 << 9);
    /// `Transfer-Encoding`
    pub const TRANSFER_ENCODING: Self = Self(1 << 10);
    /// `Upgrade`
    pub const UPGRADE: Self = Self(1 << 11);
    /// `User-Agent`
    pub const USER_AGENT: Self = Self(1 << 12);
    /// `Via`
    pub const VIA: Self = Self(1 << 13);

    /// Those that `headers` has.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let bit = |name: &header::HeaderName| match name.as_str() {
            "accept" => Self::ACCEPT.0,
            "connection" => Self::CONNECTION.0,
            "content-length" => Self::CONTENT_LENGTH.0,
            "content-type" => Self::CONTENT_TYPE.0,
            "cookie" => Self::COOKIE.0,
            "expect" => Self::EXPECT.0,
            "referer" => Self::REFERER.0,
            "set-cookie" => Self::SET_COOKIE.0,
            "strict-transport-security" => Self::STRICT_TRANSPORT_SECURITY.0,
            "te" => Self::TE.0,
            "transfer-encoding" => Self::TRANSFER_ENCODING.0,
            "upgrade" => Self::UPGRADE.0,
            "user-agent" => Self::USER_AGENT.0,
            "via" => Self::VIA.0,
            _ => 0,
        };
        Self(headers.keys().fold(0, |all, name| all | bit(name)))
    }

    /// Whether a line of this name, or of one of these, was there.
    #[must_use]
    pub fn has(self, names: Self) -> bool {
        self.0 & names.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn each_name_has_a_bit_of_its_own() {
        let names = [
            (header::ACCEPT, Seen::ACCEPT),
            (header::CONNECTION, Seen::CONNECTION),
            (header::CONTENT_LENGTH, Seen::CONTENT_LENGTH),
            (header::CONTENT_TYPE, Seen::CONTENT_TYPE),
            (header::COOKIE, Seen::COOKIE),
            (header::EXPECT, Seen::EXPECT),
            (header::REFERER, Seen::REFERER),
            (header::SET_COOKIE, Seen::SET_COOKIE),
            (
                header::STRICT_TRANSPORT_SECURITY,
                Seen::STRICT_TRANSPORT_SECURITY,
            ),
            (header::TE, Seen::TE),
            (header::TRANSFER_ENCODING, Seen::TRANSFER_ENCODING),
            (header::UPGRADE, Seen::UPGRADE),
            (header::USER_AGENT, Seen::USER_AGENT),
            (header::VIA, Seen::VIA),
        ];
        let mut all = HeaderMap::new();
        let x_via = HeaderName::from_static("x-via");
        for (name, _) in &names {
            let mut headers = HeaderMap::new();
            headers.append(x_via.clone(), HeaderValue::from_static("1"));
            headers.append(name.clone(), HeaderValue::from_static("1"));
            headers.append(name.clone(), HeaderValue::from_static("2"));
            all.append(name.clone(), HeaderValue::from_static("1"));
            for (other, bit) in &names {
                assert_eq!(
                    Seen::of(&headers).has(*bit),
                    name == other,
                    "{name} {other}"
                );
            }
        }
        assert!(names.iter().all(|(_, bit)| Seen::of(&all).has(*bit)));
        assert!(
            !names
                .iter()
                .any(|(_, bit)| Seen::of(&HeaderMap::new()).has(*bit))
        );
    }
}
