//! What the operator wants, as checked values.
//!
//! `portico.toml` → `file` (TOML with positions) → `reader` (typed values; unknown keys, wrong types and bad values in
//! one report, each with line, key, value and a hint) → [`Config`]. One file per section holds the section's fields,
//! defaults, documentation and rules. Nothing here opens sockets or reads anything but the configuration file and the
//! credential files that it names. What a [`Config`] says has been checked for shape; whether an address can be bound
//! or a directory written is found out by the floors above.

mod access;
mod acme;
mod answers;
mod certificates;
mod dns;
mod file;
mod files;
mod http;
mod identity;
mod limits;
mod listen;
mod log;
mod metering;
mod on_demand;
mod pages;
mod plan;
mod pool;
mod problem;
mod reader;
mod reference;
mod secret;
mod section;
mod server;
mod signature;
mod tenants;
mod tls;
mod unknown;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use self::access::AccessLists;
pub use self::acme::{Acme, AcmeRun, Ca, DeployProbe, Eab};
pub use self::answers::{Answers, Maintenance, OpenPath, Suspended, SuspendedStatus};
pub use self::certificates::{Certificate, Challenge};
pub use self::dns::{Client as DnsClient, Dns, DnsProvider, SERVICES, Service, Tested, Values};
pub use self::file::{ConfigError, reference, reference_markdown};
pub use self::files::{CertOrigin, PairFiles};
pub use self::http::{Hsts, Http};
pub use self::identity::{CookieScope, Identity, SchemaTemplate, TenantHeaders, TenantValue};
pub use self::limits::Limits;
pub use self::listen::{AdminAddress, Listen};
pub use self::log::{AccessLog, Log, LogFormat, LogQuery};
pub use self::metering::{Metrics, Usage};
pub use self::on_demand::{OnDemand, Ownership};
pub use self::pages::Pages;
pub use self::plan::{Plan, Plans};
pub use self::pool::{APP, Canary, Pools};
pub use self::problem::{Problem, Problems};
pub use self::reference::{KeyDefault, Row};
pub use self::secret::{CredentialSource, Credentials, Secret, SecretError};
pub use self::server::Server;
pub use self::signature::{PoolSignatures, Signature, SignatureForm};
pub use self::tenants::{
    Apex, CHANNEL, Contract, HttpAsk, Lookup, Mode, Postgres, Preset, TableName, TenantSource,
    Tenants, Www,
};
pub use self::tls::{ClientAuth, HostPattern, Tls};
pub use self::upstream::{
    Probe, Transport, Upstream, UpstreamAddress, UpstreamServer, UpstreamTls,
};
use crate::host::Host;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Base domains; each serves its apex and `*.domain`. The first one's certificate answers clients without SNI.
    pub domains: Vec<Host>,
    /// Where certificates, ACME accounts and pending orders live. Default `/var/lib/portico`.
    pub state_dir: PathBuf,
    /// Where the certificates in service come from. Default [`CertOrigin::Acme`].
    pub certs: CertOrigin,
    /// Sockets.
    pub listen: Listen,
    /// Where certificates come from.
    pub acme: Acme,
    /// Certificates for single names, beside those of the base domains. Default: none.
    pub certificates: Vec<Certificate>,
    /// Certificates for the custom domains of tenants. Default: none.
    pub on_demand: OnDemand,
    /// Handshakes with clients.
    pub tls: Tls,
    /// Hosts whose clients must show a certificate. Default: none.
    pub client_auth: Vec<ClientAuth>,
    /// How a host becomes a tenant.
    pub tenants: Tenants,
    /// What every tenant may use, where its row and plan do not say.
    pub tenant_limits: Plan,
    /// What tenants of a plan may use, by the plan's name. Default: none.
    pub plans: Plans,
    /// Where requests go.
    pub upstream: Upstream,
    /// Further groups of app servers, by name. Default: none.
    pub pools: Pools,
    /// What proves the tenant to the servers of pools that have a proof of their own. Default: none.
    pub pool_signatures: PoolSignatures,
    /// Tenants that another pool serves.
    pub canary: Canary,
    /// What is done to requests and responses.
    pub http: Http,
    /// What the edge's own answers look like.
    pub pages: Pages,
    /// Which addresses may come.
    pub access: AccessLists,
    /// Deadlines and caps.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
    /// What metrics tell apart.
    pub metrics: Metrics,
    /// The record of what each tenant has used.
    pub usage: Usage,
    /// Workers and shutdown.
    pub server: Server,
}
