//! From a host name to a tenant.
//!
//! [`resolve::Resolver`] classifies a host (base domain, `www`, label, nested) and asks a [`directory::Directory`].
//! Pure: no I/O, no clock; a directory holds its rows in memory, and where it does not, it only says so. Nothing here knows
//! HTTP beyond the shape of a header value, and nothing here looks at certificates. Sources that do I/O stand a floor above.

pub mod attributes;
pub mod directory;
pub mod id;
pub mod naming;
pub mod resolve;
pub mod row;
pub mod signature;
pub mod signers;
pub mod states;
pub mod token;

pub use self::attributes::{Attributes, Rate};
pub use self::id::{Name, State, Tenant, TenantId};
pub use self::resolve::{Resolution, Resolver};
