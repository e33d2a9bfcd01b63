//! Portico: an edge proxy for multi-tenant SaaS.
//!
//! It obtains a wildcard certificate through ACME DNS-01, terminates TLS for `*.domain`, resolves the tenant from the
//! host and forwards requests to app servers with a tenant header that no client can forge.
//!
//! # Floors
//! A module uses only lower floors; a test (`tests/it/architecture.rs`) checks it.
//!
//! | floor | modules | task |
//! |---|---|---|
//! | 7 | [`cli`] | one file per verb |
//! | 6 | [`server`] | assembly: workers, reload, drain, admin, systemd |
//! | 5 | [`proxy`] | the one request path and its protocol adapters |
//! | 4 | [`snapshot`] | immutable runtime state built from the configuration |
//! | 3 | [`tls`], [`acme`], [`policy`], [`upstream`], [`sources`] | handshakes; certificates from a CA; what a tenant may use; app servers; where tenants come from |
//! | 2 | [`net`], [`cert`], [`tenant`], [`pages`] | sockets and limits; certificates at rest and in use; host → tenant; error pages |
//! | 1 | [`config`] | what the operator wants, as checked values |
//! | 0 | [`host`], [`header_name`], [`clock`], [`units`], [`telemetry`] | names, time, sizes, logs and metrics |
//!
//! # Two planes
//! *Data plane*: one worker thread per core, each with a single-threaded runtime, its own listeners (`SO_REUSEPORT`),
//! upstream connections, log buffer and metric shard. A connection lives and dies on one worker; nothing on the
//! request path takes a lock that another core may hold. *Control plane*: one small runtime for reload, certificate
//! watch, tenant directory, admin and signals; it publishes immutable snapshots through `ArcSwap` and never touches a
//! connection.
//!
//! # A request
//! [`net`] accepts under a permit → [`tls`] picks the certificate by SNI and handshakes → [`proxy`] parses the target,
//! resolves the tenant, rewrites the headers, sends the request by [`upstream`] and streams the answer back; every
//! protocol goes through `proxy::service::handle`. One access record is written when the answer's body ends.
//!
//! # A certificate
//! [`acme`] (in the renewal unit, or as a daemon task) → generation in [`cert`]'s store, switched by one rename → the
//! proxy notices, proves the pair and publishes it in `cert::live` → new handshakes use it. Serving never waits for
//! ACME, and a bad pair leaves the last good one in service.
//!
//! # Configuration
//! File → [`config`] (all problems at once) → `Snapshot::build` → one `ArcSwap` store. A reload that fails changes
//! nothing.

pub mod acme;
pub mod cert;
pub mod cli;
pub mod clock;
pub mod config;
pub mod header_name;
pub mod host;
pub mod net;
pub mod pages;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod snapshot;
pub mod sources;
pub mod telemetry;
pub mod tenant;
pub mod tls;
pub mod units;
pub mod upstream;
