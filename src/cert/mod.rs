//! Certificates at rest and in use.
//!
//! The issuer ([`crate::acme`]) writes generations into the [`store`]; the TLS resolver reads [`live`]; neither knows
//! the other. A [`lineage`] is a set of names with one certificate. [`answers`] are what the CA asks the running proxy for
//! while the issuer, maybe another process, proves single names. [`bundle`] is the only way from PEM to a certificate that is served. [`disk`] writes files so that a
//! crash leaves the old content or the new one.

pub mod answers;
pub mod bundle;
pub mod disk;
pub mod lineage;
pub mod live;
pub mod local_ca;
pub mod store;
