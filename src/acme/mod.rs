//! Certificates from a CA (RFC 8555).
//!
//! [`renew()`] is the one way to a certificate, for the first issue and for every renewal: it asks [`schedule`] whether
//! anything is due, and if so runs an order. How the names are proven is a matter of `challenge`: by TXT records, published
//! through [`dns`] and checked at every authoritative server ([`propagation`]), or by answers of the proxy. What comes of it is written into [`crate::cert::store`]; the proxy takes it
//! from there. Nothing here serves, and nothing here runs unless it is called: by the renewal unit, by the daemon task
//! or by `portico cert`. [`on_demand`] is the queue of custom domains in front of it.
//!
//! Rules: each side effect is written down before it is done, so that a run may die anywhere and the next one goes on;
//! no challenge is offered to the CA before we have seen ourselves what it will look for; what failed is not tried again
//! before its time, also after a restart.

pub mod account;
pub mod alarm;
pub mod ari;
pub mod backoff;
mod caa;
mod challenge;
mod client;
pub mod deploy;
pub mod dns;
mod error;
pub mod event;
pub mod health;
mod jws;
mod key;
mod ledger;
pub mod limits;
pub mod notices;
pub mod on_demand;
mod order;
pub mod plan;
mod post;
pub mod propagation;
pub mod renew;
pub mod revoke;
pub mod schedule;
pub mod staging;
pub mod state;
pub mod trial;
pub mod view;

pub use self::challenge::{Found, Persist, Record, Seen, persist_record};
pub use self::error::{AcmeError, Class};
pub use self::renew::{Outcome, Request, Trigger, renew, renew_lineage};
pub use crate::cert::failpoint;
pub use instant_acme::RevocationReason;
