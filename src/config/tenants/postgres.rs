//! `[tenants.postgres]`: tenants from the app's own PostgreSQL.

mod mode;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use self::mode::{MODES, check_mode};
use super::super::problem::Flaw;
use super::super::reader::Reader;
use super::super::secret::CredentialSource;
use super::super::section::Section;
use super::Lookup;

pub use self::mode::Mode;

/// The database and what to ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The file with the connection string: `host=… user=… dbname=…` or `postgresql://…`.
    pub dsn: CredentialSource,
    /// Whose tables they are. Default [`Preset::DjangoTenants`].
    pub preset: Preset,
    /// The table of hosts. Default: as the preset's framework names it.
    pub domain_table: TableName,
    /// The table of tenants. Default: as the preset's framework names it.
    pub tenant_table: TableName,
    /// An SQL expression that gives the state; `c` is the tenant's row and `d` the host's. Default: every tenant is active.
    pub state_sql: Option<String>,
    /// Further columns, as in `c.plan AS plan`. Default: none.
    pub columns: Vec<String>,
    /// The whole query of [`Preset::Custom`].
    pub query: Option<String>,
    /// Whether all rows are read, or one host at a time. Default [`Mode::Preload`].
    pub mode: Mode,
    /// The channel of the triggers' notifications; empty to ask every [`Self::poll`] instead. Default `portico_tenants`.
    pub listen: String,
    /// Time between two full comparisons while notifications come. Default `5m`.
    pub resync: Duration,
    /// Time between two full comparisons without notifications. Default `30s`.
    pub poll: Duration,
    /// Where what is known is saved for a start without the database; `None`: `tenants/` in the state directory.
    pub snapshot: Option<PathBuf>,
    /// How long the last known rows are believed while the database is away; `None` is for ever, the default.
    pub max_stale: Option<Duration>,
}

/// Whose tables they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// django-tenants: a table of domains and one of tenants.
    DjangoTenants,
    /// django-tenant-schemas: one table with `domain_url`.
    DjangoTenantSchemas,
    /// Rails with acts_as_tenant: `accounts` with `subdomain` and `domain`.
    Rails,
    /// Laravel with stancl/tenancy: `domains` and `tenants`.
    LaravelTenancy,
    /// A query of one's own.
    Custom,
}

impl Preset {
    /// All of them by name.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("django-tenants", Self::DjangoTenants),
        ("django-tenant-schemas", Self::DjangoTenantSchemas),
        ("rails", Self::Rails),
        ("laravel-tenancy", Self::LaravelTenancy),
        ("custom", Self::Custom),
    ];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, preset)| *preset == self);
        found.map_or("", |(name, _)| *name)
    }

    /// The tables of hosts and of tenants as the framework names them, if it has both.
    #[must_use]
    pub fn tables(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::DjangoTenants => (
                Some("public.customers_domain"),
                Some("public.customers_client"),
            ),
            Self::DjangoTenantSchemas => (None, Some("public.customers_client")),
            Self::Rails => (None, Some("public.accounts")),
            Self::LaravelTenancy => (Some("public.domains"), Some("public.tenants")),
            Self::Custom => (None, None),
        }
    }
}

/// A table with its schema, which is `public` unless named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: String,
    table: String,
}

impl TableName {
    /// Reads `table` or `schema.table`, without quotes and as the database spells it; `None` if it is neither.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        let fits = |name: &str| {
            (1..=63).contains(&name.len())
                && !name.contains(|char: char| char.is_control() || matches!(char, '"' | '.'))
        };
        (fits(schema) && fits(table)).then(|| Self {
            schema: schema.to_owned(),
            table: table.to_owned(),
        })
    }

    /// The name as SQL takes it, both parts quoted.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.table)
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table without its schema.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The channel unless another one is named.
pub const CHANNEL: &str = "portico_tenants";

const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// Shorter would throw away good rows between two comparisons.
const STALE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * 86_400);
const KEYS: &[&str] = &[
    "dsn_file",
    "preset",
    "domain_table",
    "tenant_table",
    "state_sql",
    "columns",
    "query",
    "mode",
    "listen",
    "resync",
    "poll",
    "snapshot",
    "max_stale",
];
const ABSENT_TABLE: &str = "as the preset's framework names it";

impl Postgres {
    /// The settings of a preset, all else by default and without a database: for `portico tenant sql`.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        let (domains, tenants) = preset.tables();
        // A preset that has no such table never looks at it.
        let table = |name: Option<&str>| {
            let (schema, table) = name
                .and_then(|name| name.split_once('.'))
                .unwrap_or(("public", "unused"));
            TableName {
                schema: schema.to_owned(),
                table: table.to_owned(),
            }
        };
        Self {
            dsn: CredentialSource::File(PathBuf::new()),
            preset,
            domain_table: table(domains),
            tenant_table: table(tenants),
            state_sql: None,
            columns: Vec::new(),
            query: None,
            mode: Mode::Preload,
            listen: CHANNEL.to_owned(),
            resync: Duration::from_secs(300),
            poll: Duration::from_secs(30),
            snapshot: None,
            max_stale: None,
        }
    }

    /// How long answers are kept, if hosts are looked up.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        match &self.mode {
            Mode::Preload => None,
            Mode::Lookup(lookup) => Some(lookup),
        }
    }

    /// `wanted`: the source is in use, so that the section has to be whole. `None` if it is not, or is wrong.
    pub(super) fn read(reader: &mut Reader<'_>, wanted: bool) -> Option<Self> {
        let mut section = reader.section("tenants.postgres");
        let base = section.base();
        let mut preset = Preset::DjangoTenants;
        let clear = section.choice(
            "preset",
            &mut preset,
            Preset::NAMES,
            "Whose tables they are: `django-tenants`, `django-tenant-schemas`, `rails`, `laravel-tenancy`, or `custom` with `query`",
        );
        let dsn = section.maybe_text(
            "dsn_file",
            "required for `source = \"postgres\"`",
            "The file with the connection string (mode 0600), or `credential:NAME` for one that systemd passes",
            |text| CredentialSource::parse(text, base),
        );
        let mut settings = Self::of(preset);
        settings.read_tables(&mut section);
        let clear = settings.read_times(&mut section) && clear;
        if !wanted {
            let mut keys = KEYS.iter().chain(Lookup::KEYS);
            if let Some(key) = keys.find(|key| section.has(key)) {
                section.refuse(
                    key,
                    "the key has no use without `source = \"postgres\"`",
                    "remove the section, or set `tenants.source = \"postgres\"`",
                );
            }
            return None;
        }
        if dsn.is_none() && !section.has("dsn_file") {
            let hint = "write `dsn_file = \"/etc/portico/pg.dsn\"` below `[tenants.postgres]`";
            section.missing("dsn_file", hint);
        }
        if !clear {
            return None;
        }
        check_own_keys(&mut section, preset);
        check_mode(&mut section, &settings.mode);
        settings.dsn = dsn?;
        Some(settings)
    }

    fn read_tables(&mut self, section: &mut Section<'_, '_>) {
        let table = |section: &mut Section<'_, '_>, name, meaning, slot: &mut TableName| {
            if let Some(table) = section.maybe_text(name, ABSENT_TABLE, meaning, parse_table) {
                *slot = table;
            }
        };
        let meaning = "The table of hosts, as `schema.table`";
        table(section, "domain_table", meaning, &mut self.domain_table);
        let meaning = "The table of tenants, as `schema.table`";
        table(section, "tenant_table", meaning, &mut self.tenant_table);
        self.state_sql = section.maybe_text(
            "state_sql",
            "every tenant is active",
            "An SQL expression that gives a tenant's state; `c` is its row and `d` that of the host",
            parse_sql,
        );
        let columns = section.maybe_list(
            "columns",
            "none",
            "Further columns of a tenant, as in `c.plan AS plan`",
            parse_sql,
        );
        self.columns = columns.unwrap_or_default();
        self.query = section.maybe_text(
            "query",
            "required for `preset = \"custom\"`",
            "A SELECT with the columns `host`, `id` and any others of a tenant file",
            parse_sql,
        );
    }

    /// False if it is not clear which mode is meant.
    fn read_times(&mut self, section: &mut Section<'_, '_>) -> bool {
        let mut lookup = false;
        let clear = section.choice(
            "mode",
            &mut lookup,
            MODES,
            "`preload` reads all rows at the start and no request leads to a query; `lookup` asks for one host at a time",
        );
        section.text(
            "listen",
            &mut self.listen,
            "The channel of the triggers' notifications; empty to ask every `poll` instead, as behind PgBouncer",
            parse_channel,
        );
        section.duration(
            "resync",
            &mut self.resync,
            INTERVAL,
            "Time between two full comparisons with the database",
        );
        section.duration(
            "poll",
            &mut self.poll,
            INTERVAL,
            "The same when `listen` is empty",
        );
        self.snapshot = section.maybe_path(
            "snapshot",
            "`tenants/` in `state_dir`",
            "The folder where what is known is saved, for a start while the database is down",
        );
        self.max_stale = read_stale(section);
        let answers = Lookup::read_beside(section, self.max_stale);
        if lookup {
            self.mode = Mode::Lookup(answers);
        }
        clear
    }
}

/// Refuses keys that a preset has no use for, and misses those that it needs.
fn check_own_keys(section: &mut Section<'_, '_>, preset: Preset) {
    let (domains, tenants) = preset.tables();
    let custom = preset == Preset::Custom;
    for (key, useful) in [
        ("domain_table", domains.is_some()),
        ("tenant_table", tenants.is_some()),
        ("state_sql", !custom),
        ("columns", !custom),
        ("query", custom),
    ] {
        if section.has(key) && !useful {
            section.refuse(
                key,
                "the key has no use with this `preset`",
                "remove it: `query` is for `custom`, tables are for the others",
            );
        }
    }
    if custom && !section.has("query") {
        let hint = "write `query = \"SELECT host, id FROM …\"` below `[tenants.postgres]`";
        section.missing("query", hint);
    }
}

fn read_stale(section: &mut Section<'_, '_>) -> Option<Duration> {
    let stale = section.maybe_text(
        "max_stale",
        "`never`",
        "How long the last known tenants are believed while the database is down: a duration, or `never` for without end",
        |text| {
            if text == "never" {
                return Ok(None);
            }
            super::super::value::duration(text, &STALE, "the default is `\"never\"`").map(Some)
        },
    );
    stale.flatten()
}

fn parse_table(text: &str) -> Result<TableName, Flaw> {
    TableName::new(text).ok_or_else(|| {
        Flaw::new(
            "not the name of a table",
            "write `schema.table` without quotes, as in `public.customers_domain`",
        )
    })
}

/// One expression or query: no comment and no second statement, so that what is put round it stays round it.
fn parse_sql(text: &str) -> Result<String, Flaw> {
    let text = text.trim().trim_end_matches(';').trim_end();
    if text.is_empty() {
        return Err(Flaw::new("there is no SQL in it", "remove the key"));
    }
    if text.contains(';') || text.contains("--") || text.contains("/*") || text.contains('\0') {
        return Err(Flaw::new(
            "a `;` or a comment in the SQL",
            "write one expression or query, without comments",
        ));
    }
    Ok(text.to_owned())
}

fn parse_channel(text: &str) -> Result<String, Flaw> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if text.len() > 63 || !plain || text.starts_with(|char: char| char.is_ascii_digit()) {
        return Err(Flaw::new(
            "not the name of a channel",
            "lower-case letters, digits and `_`, as in `portico_tenants`",
        ));
    }
    Ok(text.to_owned())
}
