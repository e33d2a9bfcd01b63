//! Handshakes with clients.
//!
//! Certificates come from [`crate::cert::live`]; nothing here reads files or knows ACME. The crypto provider is passed
//! to every builder, never installed process-wide.

pub mod accept;
pub mod policy;
pub mod resolver;
mod server_config;
