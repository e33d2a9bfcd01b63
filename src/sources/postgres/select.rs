//! The queries of each preset. Pure text; every name of a table is quoted and has its schema, because `search_path` is the
//! session's.
//!
//! Whatever the preset, a row comes as one JSON object of columns. So types of the database do not matter here, and a query of
//! the operator's own needs no description.

use crate::config::{Postgres, Preset};

/// What is asked of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Select {
    /// Every row.
    pub(super) all: String,
    /// The rows of the hosts in the list `$1`, spelled as in the database.
    pub(super) some: String,
    /// One text that changes when any row does.
    pub(super) digest: String,
    /// What finds the rows of one host in a large table: the statement, or words for a query of the operator's own.
    pub(super) index: String,
}

impl Select {
    pub(super) fn new(settings: &Postgres) -> Self {
        let (rows, of) = rows(settings);
        let json = |from: &str| format!("SELECT row_to_json(q)::text FROM ({from}) AS q");
        let some = match of {
            Some(of) => json(&format!("{rows}\nWHERE {of}")),
            None => format!("{} WHERE q.host = ANY($1)", json(&rows)),
        };
        Self {
            all: json(&rows),
            some,
            digest: format!(
                "SELECT concat(count(*), ' ', sum(hashtextextended(row_to_json(q)::text, 0))) FROM ({rows}) AS q"
            ),
            index: index(settings),
        }
    }
}

/// The seconds until the database's next midnight: conditions on `current_date` change then, without any change of a row.
pub(super) const TO_MIDNIGHT: &str =
    "SELECT ceil(extract(epoch FROM date_trunc('day', now()) + interval '1 day' - now()))::text";

/// All rows, and the condition for those of the hosts in `$1`, if it can stand behind them.
fn rows(settings: &Postgres) -> (String, Option<String>) {
    let domains = settings.domain_table.sql();
    let tenants = settings.tenant_table.sql();
    let mut more = String::new();
    if let Some(state) = &settings.state_sql {
        more.push_str(&format!(", ({state}) AS state"));
    }
    for column in &settings.columns {
        more.push_str(&format!(", {column}"));
    }
    match settings.preset {
        Preset::DjangoTenants => (
            format!(
                "SELECT d.domain AS host, c.id AS id, c.schema_name AS schema, p.domain AS \"primary\"{more}\n\
                 FROM {domains} AS d JOIN {tenants} AS c ON c.id = d.tenant_id\n\
                 LEFT JOIN {domains} AS p ON p.tenant_id = d.tenant_id AND p.is_primary"
            ),
            Some("d.domain = ANY($1)".to_owned()),
        ),
        Preset::DjangoTenantSchemas => (
            format!(
                "SELECT c.domain_url AS host, c.id AS id, c.schema_name AS schema{more}\nFROM {tenants} AS c"
            ),
            Some("c.domain_url = ANY($1)".to_owned()),
        ),
        Preset::Rails => (
            format!(
                "SELECT concat_ws(' ', c.subdomain, c.domain) AS hosts, c.id AS id, c.subdomain AS slug{more}\n\
                 FROM {tenants} AS c"
            ),
            Some("c.subdomain = ANY($1) OR c.domain = ANY($1)".to_owned()),
        ),
        Preset::LaravelTenancy => (
            format!(
                "SELECT d.domain AS host, c.id AS id{more}\n\
                 FROM {domains} AS d JOIN {tenants} AS c ON c.id = d.tenant_id"
            ),
            Some("d.domain = ANY($1)".to_owned()),
        ),
        Preset::Custom => (settings.query.clone().unwrap_or_default(), None),
    }
}

/// The indexes that the condition for single hosts needs. The frameworks make most of them.
fn index(settings: &Postgres) -> String {
    let (domains, tenants) = (settings.domain_table.sql(), settings.tenant_table.sql());
    let on = |table: &str, columns: &[&str]| {
        let each = columns
            .iter()
            .map(|column| format!("CREATE INDEX ON {table} ({column})"));
        format!("`{}`", each.collect::<Vec<_>>().join("; "))
    };
    match settings.preset {
        Preset::DjangoTenants => on(&domains, &["domain", "tenant_id"]),
        Preset::DjangoTenantSchemas => on(&tenants, &["domain_url"]),
        Preset::Rails => on(&tenants, &["subdomain", "domain"]),
        Preset::LaravelTenancy => on(&domains, &["domain"]),
        Preset::Custom => "An index on what `query` calls `host`".to_owned(),
    }
}
