//! What may stand on the command line.

mod tenant;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use self::tenant::{
    Tenant, TenantHost, TenantList, TenantName, TenantPurge, TenantResync, TenantSql,
};
use super::cert::change::Reason;
use super::cert::check::Threshold;
use super::cert::export::Part;
use crate::host::Host;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/portico/portico.toml";

/// Edge proxy for multi-tenant SaaS: wildcard certificate by ACME DNS-01, TLS, and a tenant header nobody can forge.
#[derive(Debug, Parser)]
#[command(
    name = "portico",
    version,
    arg_required_else_help = true,
    after_help = "\
First steps:
  portico demo                                       try it, without configuration and without root
  portico check --config /etc/portico/portico.toml   find every mistake in a configuration
  portico cert issue --config /etc/portico/portico.toml
  portico run --config /etc/portico/portico.toml

Exit codes: 0 done or nothing to do; 1 failed; 2 wrong usage or configuration, or an operator is needed;
75 waiting, try again later. `cert check` answers as a monitoring plugin instead: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."
)]
pub struct Args {
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve until SIGTERM; SIGHUP reads the configuration again
    Run(ConfigFile),
    /// Check a configuration, and everything it names, without serving
    Check(ConfigFile),
    /// Obtain, look at and import certificates
    #[command(subcommand)]
    Cert(Cert),
    /// The ACME account: show it, bring one along, give it a new key, end it
    #[command(subcommand)]
    Account(Account),
    /// List the DNS providers, try the configured one, remove what is left in DNS
    #[command(subcommand)]
    Dns(Dns),
    /// Tenants: what the running proxy knows, and what a database has to be told
    #[command(subcommand)]
    Tenant(Tenant),
    /// Serve a sample app on this machine with a certificate made here
    Demo(Demo),
    /// Print the version
    Version,
}

/// The configuration file.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// Configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = DEFAULT_CONFIG
    )]
    pub config: PathBuf,
}

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Obtain the certificates that are missing or due
    Issue(Renew),
    /// Renew the certificates that are due
    Renew(Renew),
    /// Do what is due, once: renewals, clean-up, a look whether the newest is served; what the timer runs
    ///
    /// Safe to run at any time and twice. When nothing is due it opens no connection. Exit codes: 0 done or nothing due;
    /// 1 failed, or a new certificate is not served; 2 somebody must act (`cert status` says what); 75 an earlier failure
    /// holds the next try back.
    Reconcile(Reconcile),
    /// Show the certificates and what happens to them next
    ///
    /// A line for each domain: what is in the store, what is wrong, and what happens next or what to do. Files only, no
    /// network.
    Status(CertStatus),
    /// Try everything that an order needs, without ordering
    ///
    /// State directory, budgets, CA, clock, CAA records, delegation, name servers, and a TXT record of our own that is
    /// published, seen everywhere and removed. Run it as the renewal's user, with its credentials. Exit code 2 if an order
    /// would fail.
    Plan(Plan),
    /// Make an earlier certificate current
    ///
    /// Without `--to`: the newest one before the current that is in its dates and whose key is not compromised. The proxy
    /// takes it within a second; the next renewal goes on as usual.
    Rollback(Rollback),
    /// Revoke a certificate
    ///
    /// One that is in service is replaced first, and revoked when the new one is seen to be served. `--now` revokes first.
    /// With `--reason key-compromise` its key is never served again.
    Revoke(Revoke),
    /// Others know the key: a new key and certificate, then revocation of the old one
    ///
    /// The old key is never served again. If the old certificate must end at once, whatever is served meanwhile, use
    /// `cert revoke --current --reason key-compromise --now`.
    Compromise(Compromise),
    /// A monitoring plugin: one line with performance data, exit code 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    ///
    /// Thresholds are parts of the lifetime (`25%`) or durations (`20d`). Whatever `cert status` calls a problem is at
    /// least a warning. Files only, no network, so it may run as often as you like.
    Check(CertCheck),
    /// Write the certificate in service to PEM files, or print one of them
    Export(Export),
    /// Put a certificate that you have into the store
    Import(Import),
    /// Print the TXT record that dns-persist-01 needs, or look for it
    PersistRecord(PersistRecord),
    /// Show how the custom domains of tenants are doing
    ///
    /// Numbers, what is left of the budget, and up to twenty names in trouble; with `--domain` one name. Files only, no
    /// network.
    Domains(Domains),
    /// Print the record by which a tenant shows that a custom domain is its own
    ///
    /// As `on_demand.proof` wants it. The value is the same each time; a back end may call this to show it to a customer.
    Ownership(Ownership),
}

/// Options of `cert issue` and `cert renew`.
#[derive(Debug, clap::Args)]
pub struct Renew {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Also if it is not due, and whatever held it back
    #[arg(long)]
    pub force: bool,
    /// Go the whole way with a staging CA, real DNS and a state of its own; nothing is installed
    #[arg(long, conflicts_with = "force")]
    pub dry_run: bool,
    /// Let a staging CA's certificate take the place of a real one
    #[arg(long)]
    pub allow_staging: bool,
}

/// Options of `cert status`.
#[derive(Debug, clap::Args)]
pub struct CertStatus {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `cert plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `cert rollback`.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which domain, if there are several
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// The generation, as its folder in the store is numbered
    #[arg(long, value_name = "NUMBER")]
    pub to: Option<u64>,
}

/// Options of `cert revoke`.
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The certificate with this serial number (hexadecimal)
    #[arg(
        long,
        value_name = "HEX",
        required_unless_present = "current",
        conflicts_with = "current"
    )]
    pub serial: Option<String>,
    /// The current certificate
    #[arg(long)]
    pub current: bool,
    /// Which domain, if there are several
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Why
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    pub reason: Reason,
    /// Revoke before there is another certificate
    #[arg(long)]
    pub now: bool,
    /// Sign with the certificate's key and not with the account's: for an imported certificate, or one whose account is lost
    #[arg(long)]
    pub cert_key: bool,
}

/// Options of `cert compromise`.
#[derive(Debug, clap::Args)]
pub struct Compromise {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which domain, if there are several
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Sign with the certificate's key and not with the account's
    #[arg(long)]
    pub cert_key: bool,
}

/// What can be done with the ACME account.
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Show URL, contact and key thumbprint; no network
    Show(AccountShow),
    /// Take in an account that exists: its key is looked up at the CA
    ///
    /// The key is a PEM file, certbot's `private_key.json` or the folder with it, or an `account.json` of Portico; EC and RSA.
    /// The account before is kept as `account.json.before`.
    Import(AccountImport),
    /// Give the account a new key; its URL stays
    Rollover(ConfigFile),
    /// End the account at the CA, for ever
    Deactivate(AccountDeactivate),
}

/// Options of `account show`.
#[derive(Debug, clap::Args)]
pub struct AccountShow {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `account import`.
#[derive(Debug, clap::Args)]
pub struct AccountImport {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The account's key, or certbot's folder of the account
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Options of `account deactivate`.
#[derive(Debug, clap::Args)]
pub struct AccountDeactivate {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Yes, for ever
    #[arg(long)]
    pub yes: bool,
}

/// Options of `cert reconcile`.
#[derive(Debug, clap::Args)]
pub struct Reconcile {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
}

/// Options of `cert check`.
#[derive(Debug, clap::Args)]
pub struct CertCheck {
    /// Configuration file; without its short form, which plugins use for the threshold
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Warn below this
    #[arg(short, long, value_name = "LEFT", default_value = "25%")]
    pub warning: Threshold,
    /// Critical below this
    #[arg(short, long, value_name = "LEFT", default_value = "12%")]
    pub critical: Threshold,
}

/// Options of `cert export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which domain, if there are several
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Write `fullchain.pem` and `privkey.pem` (mode 0600) into this folder
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "print",
        conflicts_with = "print"
    )]
    pub out: Option<PathBuf>,
    /// Print one of them
    #[arg(long, value_name = "PART")]
    pub print: Option<Part>,
    /// Overwrite files; show a key on a terminal
    #[arg(long)]
    pub force: bool,
}

/// Options of `cert import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Certificate with its chain, in PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// What can be done with DNS.
#[derive(Debug, Subcommand)]
pub enum Dns {
    /// List the providers, and the keys that each needs in its credentials file
    Providers,
    /// Add a TXT record, see it at every name server, remove it; no CA is asked
    Test(DnsTest),
    /// Remove the TXT records that runs left behind, as the ledger has them
    Cleanup(DnsCleanup),
}

/// Options of `dns test`.
#[derive(Debug, clap::Args)]
pub struct DnsTest {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
}

/// Options of `dns cleanup`.
#[derive(Debug, clap::Args)]
pub struct DnsCleanup {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `cert persist-record`.
#[derive(Debug, clap::Args)]
pub struct PersistRecord {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Ask every authoritative name server whether it shows the record
    #[arg(long)]
    pub check: bool,
    /// Let the record end so many days from now (`persistUntil`)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500), conflicts_with = "check")]
    pub days: Option<u32>,
    /// The CA's issuer domain name, if its directory does not tell it
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
}

/// Options of `cert domains`.
#[derive(Debug, clap::Args)]
pub struct Domains {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this custom domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `cert ownership`.
#[derive(Debug, clap::Args)]
pub struct Ownership {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The custom domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Host,
    /// The tenant's id, as in the directory
    #[arg(long, value_name = "ID")]
    pub tenant: String,
}

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Address of the https listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub https: SocketAddr,
    /// Address of the listener that redirects to https
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Where the demo keeps its certificate authority and certificates
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Get the certificate through ACME from a Pebble server on this machine (needs `pebble` on PATH)
    #[arg(long)]
    pub acme: bool,
}
