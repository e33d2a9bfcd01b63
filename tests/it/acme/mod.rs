//! Certificates from a real ACME server (Pebble, strict) through real DNS servers and the running proxy.

mod accounts;
mod cases;
mod challenges;
mod dns;
mod engine;
mod fail;
mod issue;
mod peers;
mod soak;
mod watched;
