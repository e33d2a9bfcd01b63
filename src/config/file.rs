//! From `portico.toml` to a [`Config`]: the top of the file, the order of the sections, and syntax errors.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::DeTable;

use super::problem::{Flaw, Problem, Problems};
use super::reader::Reader;
use super::reference::{self, Row};
use super::{
    AccessLists, Acme, Canary, CertOrigin, Certificate, ClientAuth, Config, Http, Limits, Listen,
    Log, Metrics, OnDemand, Pages, Plan, Plans, PoolSignatures, Pools, Server, Signature, Tenants,
    Tls, Upstream, Usage, plan, pool, value,
};
use crate::host::Host;

/// Largest configuration file. A larger one is something else that was named by mistake.
const LARGEST: u64 = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration: `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file can be read and is wrong.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

impl ConfigError {
    /// What to do about it, where the message does not say so itself.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let Self::Read { source, .. } = self else {
            return None;
        };
        match source.kind() {
            io::ErrorKind::NotFound => Some("name the file, or start from `config/minimal.toml`"),
            io::ErrorKind::PermissionDenied => Some("make it readable for the user that runs this"),
            _ => Some("name a configuration file as in `config/minimal.toml`"),
        }
    }
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it start at its directory.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] has all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if u64::try_from(bytes.len()).is_ok_and(|size| size > LARGEST) {
            return Err(failed(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 1MiB",
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::parse(&text, path)?),
            Err(error) => {
                let before = error
                    .as_bytes()
                    .iter()
                    .take(error.utf8_error().valid_up_to());
                let line = before.filter(|byte| **byte == b'\n').count() + 1;
                Err(syntax(path, line, "not UTF-8", "save the file as UTF-8").into())
            }
        }
    }

    /// Checks the text of a file; `path` is its name in reports and where relative paths start.
    ///
    /// # Errors
    /// All problems at once, in the order of the lines; a text that is not TOML has one.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problems> {
        let document = DeTable::parse(text).map_err(|error| not_toml(text, path, &error))?;
        let mut reader = Reader::new(path, text, Some(document.get_ref()));
        let config = Self::read(&mut reader);
        reader.unknown_keys();
        reader.finish()?;
        Ok(config)
    }

    /// The defaults for these domains, without app servers and without a DNS provider: for tests and the demo.
    #[must_use]
    pub fn for_domains(domains: Vec<Host>) -> Self {
        Self {
            domains,
            state_dir: PathBuf::from("/var/lib/portico"),
            certs: CertOrigin::Acme,
            listen: Listen::default(),
            acme: Acme::default(),
            certificates: Vec::new(),
            on_demand: OnDemand::default(),
            tls: Tls::default(),
            client_auth: Vec::new(),
            tenants: Tenants::default(),
            tenant_limits: Plan::default(),
            plans: Plans::new(),
            upstream: Upstream::default(),
            pools: Pools::new(),
            pool_signatures: PoolSignatures::new(),
            canary: Canary::default(),
            http: Http::default(),
            pages: Pages::default(),
            access: AccessLists::default(),
            limits: Limits::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            usage: Usage::default(),
            server: Server::default(),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let mut config = Self::for_domains(Vec::new());
        let mut top = reader.section("");
        config.domains = top.required_list(
            "domains",
            "example.com",
            "Base domains; each serves its apex and `*.domain`, the first one's certificate answers clients without SNI",
            domain,
        );
        top.path(
            "state_dir",
            &mut config.state_dir,
            "Where certificates, ACME accounts and pending orders live",
        );
        config.certs = CertOrigin::read(reader);
        config.listen = Listen::read(reader);
        config.acme = Acme::read(reader, &config.certs);
        config.certificates = Certificate::read_all(reader, &config);
        config.on_demand = OnDemand::read(reader, &config);
        config.certs.read_files(reader);
        config.tls = Tls::read(reader);
        config.client_auth = ClientAuth::read_all(reader, &config);
        config.tenants = Tenants::read(reader, config.on_demand.enabled);
        config.tenant_limits = Plan::read_defaults(reader);
        config.plans = Plan::read_all(reader);
        plan::check_headers(reader, &config.tenants, &config.plans);
        config.upstream = Upstream::read(reader, &config.listen);
        config.pools = pool::read_all(reader, &config.listen, &config.upstream);
        let signature = config.tenants.identity.signature.as_ref();
        config.pool_signatures = Signature::read_pools(reader, &config.pools, signature);
        config.canary = Canary::read(reader, &config.pools);
        let groups = (&config.upstream, &config.pools);
        pool::check(reader, &config.tenant_limits, &config.plans, groups);
        config.http = Http::read(reader);
        config.pages = Pages::read(reader);
        config.access = AccessLists::read(reader);
        config.limits = Limits::read(reader);
        config.log = Log::read(reader);
        config.metrics = Metrics::read(reader);
        config.usage = Usage::read(reader);
        config.server = Server::read(reader);
        config
    }
}

/// All keys of the configuration file with their defaults, in the order of the documentation.
#[must_use]
pub fn reference() -> Vec<Row> {
    let mut reader = Reader::new(Path::new(""), "", None);
    Config::read(&mut reader);
    reader.take_rows()
}

/// [`reference()`] as a Markdown table.
#[must_use]
pub fn reference_markdown() -> String {
    reference::markdown(&reference())
}

/// One base domain.
fn domain(text: &str) -> Result<Host, Flaw> {
    if let Some(base) = text.strip_prefix("*.") {
        let hint = format!(
            "write `{}`: the wildcard is always part of it",
            value::shorten(base)
        );
        return Err(Flaw::new("a base domain is needed, not a wildcard", hint));
    }
    value::host(text)
}

/// A text that is no TOML: one problem, because whatever comes behind it may be read wrongly.
fn not_toml(text: &str, path: &Path, error: &toml::de::Error) -> Problems {
    let span = error.span().unwrap_or(0..0);
    let before = text.bytes().take(span.start);
    let line = before.filter(|byte| *byte == b'\n').count() + 1;
    let at = text
        .get(span)
        .map(str::trim)
        .filter(|at| !at.is_empty() && !at.contains('\n'));
    let message = match (error.message(), at) {
        // `level = info` is taken for a broken number and `level =` for a text without quotes: say what is meant.
        (message, None) if message.contains("quoted") => "the value is missing".to_owned(),
        (message, Some(at))
            if message.contains("quoted")
                || (message.starts_with("invalid")
                    && at.starts_with(|first: char| first.is_alphabetic())) =>
        {
            format!("a string without quotes: `{}`", value::shorten(at))
        }
        (message, Some(at)) => format!("{message}: `{}`", value::shorten(at)),
        (message, None) => message.to_owned(),
    };
    let message = format!("not TOML: {message}");
    let hint = if error.message().contains("duplicate key") {
        "join the two into one"
    } else {
        "strings stand in double quotes; `config/portico.toml` shows every key"
    };
    syntax(path, line, &message, hint)
}

fn syntax(path: &Path, line: usize, message: &str, hint: &str) -> Problems {
    Problems {
        path: path.to_owned(),
        list: vec![Problem::new(Some(line), "", message, hint)],
    }
}
