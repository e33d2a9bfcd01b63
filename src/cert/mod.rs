//! Certificates at rest and in use.
//!
//! The issuer ([`crate::acme`]) writes generations into the store; the TLS resolver reads [`live`]; neither knows the
//! other.

pub mod live;
