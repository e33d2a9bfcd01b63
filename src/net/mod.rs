//! Sockets and the limits on them: listeners, the accept loop, permits, coarse deadlines, what is known of a
//! connection, and the way to one of a name's addresses.
//!
//! Nothing here knows TLS, HTTP or tenants.

pub mod accept;
pub mod access;
pub mod conn;
pub mod cork;
pub mod deadline;
pub mod dial;
pub mod linger;
pub mod listener;
pub mod local;
pub mod permit;
pub mod pressure;
pub mod proxy_header;
pub mod quota;
pub mod socket;
pub mod turns;
