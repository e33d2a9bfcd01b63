//! App servers: connections to them, which one to use, and what to do when one fails.
//!
//! Two kinds of state. What is known of a server (health, addresses, caps) is one [`Server`] for the whole process,
//! read and written by atomics, kept over reloads in the [`Registry`]. Connections are a worker's own ([`pool`]):
//! nothing of them is shared, so nothing is locked. [`client`] sends one request: it chooses a server ([`balance`]),
//! takes or makes a connection, waits in a bounded [`queue`] where servers are full, and retries exactly where that is
//! safe ([`retry`]) and within a [`budget`]. An [`answer`] is handed on when there is something of it that can be sent.
//!
//! A [`Spec`] is a named group of servers with its settings, built with the snapshot. `[upstream]` is one, each
//! `[pools.NAME]` another; a worker keeps what belongs to a group by its name.
//!
//! Probes and look-ups of names ([`probe`], [`resolve`]) are driven by the control plane and never by a request.
//! Nothing here knows tenants or rewrites headers of its own accord. Bodies are generic, so that the request path
//! decides what a body may do.

pub mod answer;
pub mod balance;
pub mod budget;
pub mod client;
pub mod connect;
pub mod error;
pub mod interim;
pub mod lease;
pub mod pool;
pub mod probe;
pub mod queue;
pub mod resolve;
pub mod retry;
pub mod server;
pub mod share;
pub mod spec;
pub mod tls;
pub mod wire;
pub mod worker;

pub use self::answer::{Answer, AnswerBody};
pub use self::client::{Group, Sent};
pub use self::error::SendError;
pub use self::lease::Lease;
pub use self::pool::Pool;
pub use self::server::{Registry, Server};
pub use self::share::Claim;
pub use self::spec::Spec;
pub use self::worker::Upstreams;
