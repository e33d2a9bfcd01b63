//! Certificates at rest and in use.
//!
//! The issuer ([`crate::acme`]) writes generations into the [`store`]; the TLS resolver reads [`live`]; neither knows
//! the other. A [`lineage`] is a set of names with one certificate; [`files`] are those that another program renews.
//! [`on_demand`] are the certificates of custom domains, of which few are in memory.
//! [`answers`] are what a CA asks the running proxy for while single names are proven. [`bundle`] is the only way from
//! PEM to a certificate that is served. [`disk`] writes files so that a crash leaves the old content or the new one;
//! [`sealed`] notices when something else damaged them. [`failpoint`] lets tests end the process in the middle of it
//! all.

pub mod answers;
pub mod bundle;
pub mod disk;
pub mod failpoint;
pub mod files;
pub mod lineage;
pub mod live;
pub mod local_ca;
pub mod on_demand;
pub mod sealed;
pub mod store;
