//! App servers: connections to them, which one to use, and what to do when one fails.
//!
//! A worker has pools of its own ([`pool`]); nothing is shared between workers, so nothing is locked. [`client`] sends
//! one request: it chooses a server, takes or makes a connection and retries exactly where that is safe ([`retry`]).
//! Nothing here knows tenants or rewrites headers. Bodies are generic, so that the request path decides what a body
//! may do.

pub mod client;
pub mod connect;
pub mod error;
pub mod pool;
pub mod retry;

pub use self::client::{Answer, Group, Sent};
pub use self::error::SendError;
pub use self::pool::{Lease, Pool};
