//! The one request path and its protocol adapters.
//!
//! [`service::handle`] is called for each request by [`http1`] and [`http2`]; it is given a connection's facts and a
//! snapshot, and never sees files, ACME or sockets.

pub mod admit;
pub mod body;
pub mod client_address;
pub mod context;
pub mod cookies;
pub mod error;
pub mod exchange;
pub mod grpc;
pub mod headers;
pub mod hosts;
pub mod http1;
pub mod http2;
pub mod identity;
pub mod inbound;
pub mod managed;
mod pace;
pub mod proxy_status;
pub mod respond;
pub mod route;
pub mod seen;
pub mod service;
pub mod tap;
pub mod target;
pub mod upgrade;
