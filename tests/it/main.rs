//! End-to-end tests: one binary, a module per feature; `support` holds the fixtures.
//!
//! `tests/run` installs what they need and runs them. A test that misses a program fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::let_underscore_must_use,
    reason = "a test stops at the first surprise"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the rules are for src: tests read the environment, write files and spawn tasks"
)]
#![allow(
    clippy::large_futures,
    clippy::too_many_lines,
    reason = "a test is one story, and its futures are made once"
)]
#![allow(
    clippy::print_stderr,
    reason = "a failed test prints the logs of its children"
)]

mod acme;
mod architecture;
mod bodies;
mod demo;
mod django;
mod docs;
mod drain;
mod early;
mod hostile;
mod hosts;
mod http;
mod http2;
mod hygiene;
mod limits;
mod log;
mod main_line;
mod net;
mod notify;
mod ops;
mod reload;
mod rig;
mod slow;
mod spoof;
mod support;
mod systemd;
mod tenants;
mod tls;
mod upstreams;
mod websocket;
