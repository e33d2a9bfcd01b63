//! Handshakes: names, versions, tickets, client certificates, and what scanners say.

mod client_auth;
mod handshake;
mod scanners;
mod tickets;
