//! Immutable runtime state: everything a request needs to know, built in one go from the configuration.
//!
//! [`Snapshot::build`] does all the work that can fail; publishing is then one atomic store, so a reload takes whole
//! effect or none. Certificates are not part of it, so that neither can hurt the other.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use thiserror::Error;

use crate::config::{APP, Apex, Config, Hsts, Limits, Www};
use crate::host::Host;
use crate::net::access::{Access, Networks};
use crate::net::conn::ClientWaits;
use crate::pages::set::{Pages, PagesError};
use crate::policy::terms::Policy;
use crate::tenant::TenantId;
use crate::tenant::directory::Directory;
use crate::tenant::naming::Naming;
use crate::tenant::resolve::{ApexRule, Resolver, WwwRule};
use crate::tenant::signature::KeyError;
use crate::tenant::signers::Signers;
use crate::tenant::states::{BypassKey, States};
use crate::tls::policy::Policies;
use crate::upstream::Registry;
use crate::upstream::spec::Spec;
use crate::upstream::tls::TlsSetupError;

/// Why a configuration cannot be put into effect.
#[derive(Debug, Error)]
pub enum BuildError {
    /// TLS to the app servers.
    #[error(transparent)]
    UpstreamTls(#[from] TlsSetupError),
    /// The page templates.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The apex tenant's name.
    #[error("not a tenant id: `{0}`\n  hint: `tenants.apex` takes 1 to 63 characters")]
    Apex(String),
    /// The keys of `[tenants.signature]`, of a pool or of `[tenants.maintenance]`.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A value that cannot stand in a header.
    #[error("not a header value: `{value}`\n  hint: change `{key}`")]
    HeaderValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
}

/// The state of one generation.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the reloads; the first is 1.
    pub generation: u64,
    /// Host → tenant.
    pub resolver: Resolver,
    /// The base domains.
    pub domains: Vec<Host>,
    /// The headers that tell the app the tenant.
    pub naming: Naming,
    /// What proves it to each pool.
    pub signers: Signers,
    /// What tenants that are not served answer.
    pub states: States,
    /// App servers and waits for them: `[upstream]`, and behind it the other pools.
    pub pools: Vec<Arc<Spec>>,
    /// What tenants may use.
    pub policy: Policy,
    /// Deadlines and caps.
    pub limits: Limits,
    /// `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// Our names in `Via`.
    pub via: Via,
    /// What the edge's own answers look like.
    pub pages: Pages,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Networks,
    /// Which addresses may come.
    pub access: Access,
    /// What TLS asks of clients, by host.
    pub tls: Arc<Policies>,
}

/// `Via` (RFC 9110 §7.6.3).
#[derive(Debug)]
pub struct Via {
    /// The pseudonym: the configured name and what makes this process unlike others of that name.
    pub pseudonym: String,
    /// For messages received by HTTP/1.0, HTTP/1.1 and HTTP/2.
    pub values: [HeaderValue; 3],
    /// Whether responses get it too.
    pub on_responses: bool,
}

impl Snapshot {
    /// Builds the state of generation `generation`. `instance` tells this process from others in `Via`; `registry`
    /// has what is known of app servers already; `tls` and `directory` are made before, because what stays the same of them
    /// outlives a generation.
    ///
    /// # Errors
    /// [`BuildError`]; nothing has changed.
    pub fn build(
        config: &Config,
        generation: u64,
        instance: &str,
        registry: &Registry,
        tls: Arc<Policies>,
        directory: Arc<dyn Directory>,
    ) -> Result<Self, BuildError> {
        let apex = match &config.tenants.apex {
            Apex::Reject => ApexRule::Reject,
            Apex::Tenant(name) => {
                ApexRule::tenant(TenantId::new(name).ok_or_else(|| BuildError::Apex(name.clone()))?)
            }
        };
        let www = match config.tenants.www {
            Www::Redirect => WwwRule::Redirect,
            Www::Same => WwwRule::Same,
            Www::Reject => WwwRule::Reject,
        };
        Ok(Self {
            generation,
            resolver: Resolver::new(
                config.domains.clone(),
                (apex, www),
                config.tenants.redirect_to_primary,
                directory,
            ),
            domains: config.domains.clone(),
            naming: Naming::new(&config.tenants, &config.plans),
            signers: Signers::default(),
            states: States::new(&config.tenants.answers),
            pools: pools(config, registry)?,
            policy: Policy::new(config),
            limits: config.limits.clone(),
            hsts: hsts(config.http.hsts)?,
            via: Via::new(&config.http.via, instance, config.http.via_on_responses)?,
            pages: match &config.pages.dir {
                Some(dir) => Pages::load(dir)?,
                None => Pages::built_in()?,
            },
            trusted_proxies: Networks::new(&config.http.trusted_proxies),
            access: Access::new(&config.access.allow, &config.access.deny),
            tls,
        })
    }

    /// With the keys that the configuration names. Apart from [`Self::build`], because who checks a configuration may not
    /// be allowed to read them.
    ///
    /// # Errors
    /// [`BuildError::Keys`].
    pub fn with_keys(mut self, config: &Config) -> Result<Self, BuildError> {
        self.signers = Signers::read(config)?;
        let key = BypassKey::read(&config.tenants.answers)?;
        self.states = self.states.with_key(key);
        Ok(self)
    }

    /// The longest waits on a client.
    #[must_use]
    pub fn client_waits(&self) -> ClientWaits {
        ClientWaits {
            header: self.limits.header_timeout,
            idle: self.limits.idle_timeout,
            write: self.limits.body_timeout,
            tunnel: self.limits.tunnel_timeout,
        }
    }
}

impl Via {
    fn new(name: &str, instance: &str, on_responses: bool) -> Result<Self, BuildError> {
        let pseudonym = format!("{name}-{instance}");
        let value = |version: &str| {
            let text = format!("{version} {pseudonym}");
            HeaderValue::try_from(&text).map_err(|_invalid| BuildError::HeaderValue {
                key: "http.via",
                value: text,
            })
        };
        Ok(Self {
            values: [value("1.0")?, value("1.1")?, value("2")?],
            pseudonym,
            on_responses,
        })
    }
}

fn pools(config: &Config, registry: &Registry) -> Result<Vec<Arc<Spec>>, BuildError> {
    let probe_host = config.domains.first().map_or("", Host::as_str);
    let others = config
        .pools
        .iter()
        .map(|(name, pool)| (name.as_str(), pool));
    let mut pools = Vec::with_capacity(1 + config.pools.len());
    for (name, settings) in std::iter::once((APP, &config.upstream)).chain(others) {
        let spec = Spec::build(name, settings, probe_host, registry)?;
        pools.push(Arc::new(spec));
    }
    Ok(pools)
}

fn hsts(setting: Hsts) -> Result<Option<HeaderValue>, BuildError> {
    let Hsts::MaxAge { age, subdomains } = setting else {
        return Ok(None);
    };
    let mut text = format!("max-age={}", age.as_secs());
    if subdomains {
        text.push_str("; includeSubDomains");
    }
    match HeaderValue::try_from(&text) {
        Ok(value) => Ok(Some(value)),
        Err(_invalid) => Err(BuildError::HeaderValue {
            key: "http.hsts",
            value: text,
        }),
    }
}

/// The generation in effect. Shared by all workers; reading takes no lock.
#[derive(Debug)]
pub struct Current(ArcSwap<Snapshot>);

impl Current {
    /// Begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// Puts another generation into effect. Requests under way keep theirs.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The generation in effect.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
