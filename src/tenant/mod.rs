//! From a host name to a tenant.
//!
//! [`resolve::Resolver`] classifies a host (base domain, `www`, label, nested) and asks a [`directory::Directory`].
//! Pure: no I/O, no clock; a directory holds its rows in memory. Nothing here knows HTTP beyond the shape of a header
//! value, and nothing here looks at certificates.

pub mod directory;
pub mod id;
pub mod resolve;

pub use self::id::{State, Tenant, TenantId};
pub use self::resolve::{Resolution, Resolver};
