//! Certificates from a real ACME server (Pebble, strict) by DNS-01 through real DNS servers.

mod dns;
mod fail;
mod issue;
