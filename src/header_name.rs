//! Names of header fields: which of them only the edge may set, and which have a meaning of their own.
//!
//! Apps behind CGI-like gateways (WSGI, Rack, PHP) fold `-`, `_` and more into one character, so `X_Tenant`, `x.tenant`
//! and `X-Tenant` may be one variable to the app. A name is therefore judged by its [`Fold`]: lower case, every byte that is
//! not a letter or digit is `-` (design: header hygiene). Nothing here reads or changes a message.

use http::{HeaderName, HeaderValue};

/// Names that only the edge may set, folded and sorted.
const MANAGED: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "front-end-https",
    "path-info",
    "proxy",
    "remote-addr",
    "remote-user",
    "script-name",
    "server-name",
    "server-port",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-edge-reason",
    "x-forwarded",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-tenant",
    "x-url-scheme",
];

/// Every name that begins so is managed too.
const MANAGED_PREFIXES: &[&str] = &["x-tenant-", "x-forwarded-", "x-auth-request-"];

/// Names that HTTP or the edge gives a meaning of their own, folded. One that ends in `-` stands for all that begin with
/// it.
const TAKEN: &[&str] = &[
    "accept",
    "accept-",
    "authorization",
    "cache-control",
    "connection",
    "content-",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-",
    "keep-alive",
    "max-forwards",
    "origin",
    "path-info",
    "pragma",
    "proxy",
    "proxy-",
    "range",
    "referer",
    "remote-",
    "script-name",
    "sec-",
    "server-",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-",
    "x-real-ip",
    "x-request-id",
];

/// Longest name that is compared; a longer one can only match a prefix.
pub const LONGEST: usize = 64;

/// What each byte is folded into. A table: every name of every request goes through it.
static FOLDED: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut rest: &mut [u8] = &mut table;
    let mut byte: u8 = 0;
    while let Some((folded, after)) = rest.split_first_mut() {
        if byte.is_ascii_alphanumeric() {
            *folded = byte.to_ascii_lowercase();
        }
        rest = after;
        byte = byte.wrapping_add(1);
    }
    table
};

/// The letters that names begin with: most names of a message begin with none of these, so they need no [`Fold`].
#[derive(Debug, Clone, Copy)]
pub struct FirstLetters(u32);

impl FirstLetters {
    /// Those of the names that only the edge may set in any configuration.
    pub const MANAGED: Self = {
        let mut letters = Self(0);
        let mut rest = MANAGED;
        while let [name, after @ ..] = rest {
            letters = letters.with(name.as_bytes());
            rest = after;
        }
        rest = MANAGED_PREFIXES;
        while let [name, after @ ..] = rest {
            letters = letters.with(name.as_bytes());
            rest = after;
        }
        letters
    };

    /// That of the names in which apps speak of tenants in any configuration.
    pub const TENANT: Self = Self(0).with(b"x-tenant");

    /// These and that of `name`.
    #[must_use]
    pub const fn with(self, name: &[u8]) -> Self {
        Self(self.0 | Self::bit(name))
    }

    /// Whether a name of these may be what `name` folds to, with or without the `http-` of a gateway. Rather yes than no.
    #[must_use]
    pub fn may_be(self, name: &[u8]) -> bool {
        self.0 & Self::bit(name) != 0
            || name
                .first_chunk()
                .is_some_and(|start: &[u8; 4]| start.eq_ignore_ascii_case(b"http"))
    }

    /// The bit of the letter that `name` begins with. What is no letter has one of its own.
    const fn bit(name: &[u8]) -> u32 {
        match name {
            [letter @ (b'a'..=b'z' | b'A'..=b'Z'), ..] => 1 << (letter.to_ascii_lowercase() - b'a'),
            _ => 1 << 31,
        }
    }
}

/// The fold of a name, cut at [`LONGEST`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fold {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Fold {
    /// Folds `name`.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        let mut fold = Self {
            bytes: [0; LONGEST],
            len: name.len().min(LONGEST),
        };
        for (to, from) in fold.bytes.iter_mut().zip(name) {
            *to = FOLDED.get(usize::from(*from)).copied().unwrap_or(b'-');
        }
        fold
    }

    /// The folded name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The folded name as an app sees it whose gateway puts `HTTP_` before: such a name would be shown as
    /// `HTTP_HTTP_X_TENANT`; it is judged all the same, since it can have no honest use.
    #[must_use]
    pub fn without_http(&self) -> &[u8] {
        let whole = self.as_bytes();
        whole.strip_prefix(b"http-").unwrap_or(whole)
    }

    /// Whether an app may take a header of this name for `other`, whose own name may begin with `http-`.
    #[must_use]
    pub fn reads_as(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes() || self.without_http() == other.as_bytes()
    }

    /// Whether only the edge may set it, in any configuration.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        let folded = self.without_http();
        let listed = self.len < LONGEST
            && MANAGED
                .binary_search_by(|managed| managed.as_bytes().cmp(folded))
                .is_ok();
        listed
            || MANAGED_PREFIXES
                .iter()
                .any(|prefix| folded.starts_with(prefix.as_bytes()))
    }

    /// Whether HTTP or the edge gives it a meaning of its own, so that nobody can give it another.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let folded = self.as_bytes();
        TAKEN.iter().any(|taken| {
            folded == taken.as_bytes()
                || (taken.ends_with('-') && folded.starts_with(taken.as_bytes()))
        })
    }
}

/// A header that the edge adds for the app because the operator says so: a feature flag, a theme.
pub type Extra = (HeaderName, HeaderValue);

/// Why a text is not an [`Extra`], or not the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoExtra {
    /// Not a header.
    Form,
    /// HTTP or the edge gives the name a meaning of its own.
    Taken,
}

/// The name of a header that may be added.
///
/// # Errors
/// [`NoExtra`]: names that frame a message, route it or say who the client is are the edge's own business, in whatever
/// spelling. (A name that the configuration gives to a tenant header is for the caller to refuse.)
pub fn extra_name(text: &str) -> Result<HeaderName, NoExtra> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_bad| NoExtra::Form)?;
    let fold = Fold::new(name.as_str().as_bytes());
    if fold.is_managed() || fold.is_taken() {
        return Err(NoExtra::Taken);
    }
    Ok(name)
}

/// A header that may be added, written `Name: value`.
///
/// # Errors
/// Those of [`extra_name`].
pub fn extra(text: &str) -> Result<Extra, NoExtra> {
    let (name, value) = text.split_once(':').ok_or(NoExtra::Form)?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_bad| NoExtra::Form)?;
    Ok((extra_name(name.trim())?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_of_its_own_is_no_extra_header() {
        for text in [
            "Host: a",
            "connection: x-theme",
            "Content_Length: 5",
            "transfer-encoding: chunked",
            "X-Tenant-Id: 7",
            "x_tenant: 7",
            "http_x_tenant: 7",
            "x_forwarded_for: 192.0.2.1",
            "Script-Name: /",
            "X-Request-Id: 1",
            "Cookie: a=b",
        ] {
            assert_eq!(extra(text), Err(NoExtra::Taken), "{text}");
        }
        for text in [
            "X-Theme",
            "X Theme: dark",
            ": dark",
            "X-Theme: a\r\nX-Tenant: b",
        ] {
            assert_eq!(extra(text), Err(NoExtra::Form), "{text}");
        }
        let (name, value) = extra(" X_Theme :dark: blue ").unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x_theme", "dark: blue")
        );
    }

    #[test]
    fn the_lists_are_folded_and_the_first_is_sorted() {
        assert!(MANAGED.is_sorted());
        for name in MANAGED.iter().chain(TAKEN).chain(MANAGED_PREFIXES) {
            assert_eq!(Fold::new(name.as_bytes()).as_bytes(), name.as_bytes());
        }
        assert!(MANAGED.iter().all(|name| name.len() < LONGEST));
    }

    #[test]
    fn the_first_letter_rules_out_no_name_that_is_managed() {
        let letters = FirstLetters::MANAGED;
        for name in MANAGED.iter().chain(MANAGED_PREFIXES) {
            for prefix in ["", "http-", "HTTP_", "Http."] {
                let upper = format!("{prefix}{name}").to_uppercase();
                assert!(
                    letters.may_be(format!("{prefix}{name}").as_bytes()),
                    "{name}"
                );
                assert!(letters.may_be(upper.as_bytes()), "{name}");
            }
        }
        for name in ["accept", "Host", "user-agent", "_", ""] {
            assert!(!letters.may_be(name.as_bytes()), "{name}");
        }
        assert!(letters.with(b"_org").may_be(b"-org"));
        assert!(letters.with(b"Org").may_be(b"org") && !letters.may_be(b"org"));
    }

    #[test]
    fn names_are_judged_in_every_spelling() {
        for name in ["X_Real_IP", "http_x_tenant", "x~tenant~id", "Script.Name"] {
            assert!(Fold::new(name.as_bytes()).is_managed(), "{name}");
        }
        for name in [
            "Content_Length",
            "sec-fetch-site",
            "Transfer.Encoding",
            "HOST",
        ] {
            assert!(Fold::new(name.as_bytes()).is_taken(), "{name}");
        }
        for name in ["x-tenants", "x-theme", "accepted", "hosts"] {
            let fold = Fold::new(name.as_bytes());
            assert!(!fold.is_managed() && !fold.is_taken(), "{name}");
        }
        let long = format!("x-tenant-{}", "a".repeat(200));
        assert!(Fold::new(long.as_bytes()).is_managed());
    }
}
