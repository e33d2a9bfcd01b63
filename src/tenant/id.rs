//! What a tenant is to the edge.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use super::attributes::Attributes;
use crate::host::Host;

/// A name of a tenant: its id, slug or schema. Any text without control characters, 1 to 63 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The name that stays the same as long as the tenant lives: for logs, limits and metering.
pub type TenantId = Name;

impl Name {
    /// Checks and takes a name; `None` if it is empty, longer than 63 characters or has a control character.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=63).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fits.then(|| Self(Arc::from(name)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text that others may hold on to.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// The name as a header value: what is not `[A-Za-z0-9._~-]` is percent-encoded (RFC 3986 §2.1), so that every
    /// name is one legal value and no two names share one.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
        if self.0.bytes().all(plain)
            && let Ok(value) = HeaderValue::from_str(&self.0)
        {
            return value;
        }
        let mut out = String::with_capacity(self.0.len() * 3);
        for byte in self.0.bytes() {
            if plain(byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        // Only unreserved characters and `%XX` are in `out`, so the conversion holds; an empty value would be refused
        // by the app, never taken for another tenant.
        HeaderValue::try_from(out).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Whether a tenant is served, and what is answered if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Requests go to the app.
    #[default]
    Active,
    /// 402 page.
    Suspended,
    /// 503 page: not ready yet.
    Pending,
    /// 503 page: back soon.
    Maintenance,
    /// 308 to the tenant's primary host.
    Moved,
    /// 410 page.
    Deleted,
}

impl State {
    /// All of them, with their names in every source.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("active", Self::Active),
        ("suspended", Self::Suspended),
        ("pending", Self::Pending),
        ("maintenance", Self::Maintenance),
        ("moved", Self::Moved),
        ("deleted", Self::Deleted),
    ];

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, state)| *state)
    }

    /// The name of this state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Pending => "pending",
            Self::Maintenance => "maintenance",
            Self::Moved => "moved",
            Self::Deleted => "deleted",
        }
    }
}

/// A tenant as the request path needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The name that stays.
    pub id: TenantId,
    /// The name in host names, if the source knows one beside the id.
    pub slug: Option<Name>,
    /// The name of its schema in the app's database, if the source knows one beside the id.
    pub schema: Option<Name>,
    /// Whether it is served.
    pub state: State,
    /// The host that others of it are redirected to, if the source names one.
    pub primary: Option<Host>,
    /// What else the source says of it. Tenants that say the same share it.
    pub attributes: Arc<Attributes>,
}

impl Tenant {
    /// A tenant of which nothing but name and state is known.
    #[must_use]
    pub fn new(id: TenantId, state: State) -> Self {
        Self {
            id,
            slug: None,
            schema: None,
            state,
            primary: None,
            attributes: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_legal_and_distinct() {
        let value = |name: &str| TenantId::new(name).unwrap().header_value();
        assert_eq!(value("acme-1.x_y~"), "acme-1.x_y~");
        assert_eq!(value("a b/ü"), "a%20b%2F%C3%BC");
        assert_ne!(value("a%20b"), value("a b"));
        assert!(
            TenantId::new("a\r\nb").is_none()
                && TenantId::new("").is_none()
                && TenantId::new(&"x".repeat(64)).is_none()
        );
    }
}
