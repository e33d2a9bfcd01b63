//! The SQL that an operator runs once in the app's database: a role that may read the named columns and nothing else, and
//! triggers that tell which hosts have changed. Pure text; it can be run again at any time.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::config::{Postgres, Preset, TableName};

/// What is read of a table, and by which columns a host is found.
struct Table<'s> {
    name: &'s TableName,
    /// Columns whose values are hosts or labels.
    hosts: &'static [&'static str],
    columns: BTreeSet<String>,
}

/// The script; `None` for a preset whose tables are not known. `more` are columns that the settings do not show, as in
/// `c.paid_until`.
#[must_use]
pub fn script(settings: &Postgres, role: &str, more: &[String]) -> Option<String> {
    let text = std::iter::once(settings.state_sql.as_ref())
        .flatten()
        .chain(&settings.columns)
        .chain(more);
    let (mut of_hosts, mut of_tenants) = (BTreeSet::new(), BTreeSet::new());
    for text in text {
        of_hosts.extend(columns_of(text, 'd'));
        of_tenants.extend(columns_of(text, 'c'));
    }
    let mut hosts = Table {
        name: &settings.domain_table,
        hosts: &["domain"],
        columns: of_hosts,
    };
    let mut tenants = Table {
        name: &settings.tenant_table,
        hosts: &[],
        columns: of_tenants,
    };
    let primary = settings.preset == Preset::DjangoTenants;
    let two = match settings.preset {
        Preset::DjangoTenants => {
            hosts.add(&["domain", "tenant_id", "is_primary"]);
            tenants.add(&["id", "schema_name"]);
            true
        }
        Preset::LaravelTenancy => {
            hosts.add(&["domain", "tenant_id"]);
            tenants.add(&["id"]);
            true
        }
        Preset::DjangoTenantSchemas => {
            tenants.hosts = &["domain_url"];
            tenants.add(&["id", "schema_name", "domain_url"]);
            false
        }
        Preset::Rails => {
            tenants.hosts = &["subdomain", "domain"];
            tenants.add(&["id", "subdomain", "domain"]);
            false
        }
        Preset::Custom => return None,
    };
    let channel = &settings.listen;
    let mut out = format!(
        "-- For Portico: lets it read who its tenants are, and tells it of changes. Run it in the app's database with psql, as a\n\
         -- superuser or as the tables' owner with CREATEROLE; it can be run again. Then give the role a password:\n\
         --   \\password {role}\n\
         BEGIN;\n\n"
    );
    if two {
        grants(&mut out, role, &[&hosts, &tenants]);
    } else {
        grants(&mut out, role, &[&tenants]);
    }
    if channel.is_empty() {
        out.push_str("COMMIT;\n");
        return Some(out);
    }
    if two {
        own_hosts(&mut out, &hosts, channel, primary);
        others_hosts(&mut out, &tenants, &hosts, channel);
    } else {
        own_hosts(&mut out, &tenants, channel, false);
    }
    out.push_str("COMMIT;\n");
    Some(out)
}

impl Table<'_> {
    fn add(&mut self, columns: &[&str]) {
        self.columns.extend(columns.iter().map(|&it| it.to_owned()));
    }

    /// The name of one of our objects that belongs to it.
    fn object(&self, name: &str) -> String {
        let mut whole = format!("portico_{}_{name}", self.name.table());
        whole.truncate(63);
        quoted(&whole)
    }

    fn function(&self, name: &str) -> String {
        format!("{}.{}", quoted(self.name.schema()), self.object(name))
    }

    /// Whether a change of a row is one of what is read.
    fn differs(&self) -> String {
        let differs: Vec<_> = self
            .columns
            .iter()
            .map(|column| quoted(column))
            .map(|column| format!("OLD.{column} IS DISTINCT FROM NEW.{column}"))
            .collect();
        differs.join("\n        OR ")
    }
}

fn grants(out: &mut String, role: &str, tables: &[&Table<'_>]) {
    let (name, role) = (literal(role), quoted(role));
    let _infallible = write!(
        out,
        "DO $do$ BEGIN\n  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN\n    \
         CREATE ROLE {role} LOGIN;\n  END IF;\nEND $do$;\n"
    );
    for table in tables {
        let columns: Vec<_> = table.columns.iter().map(|column| quoted(column)).collect();
        let _infallible = write!(
            out,
            "GRANT USAGE ON SCHEMA {} TO {role};\nREVOKE ALL ON {on} FROM {role};\nGRANT SELECT ({}) ON {on} TO {role};\n",
            quoted(table.name.schema()),
            columns.join(", "),
            on = table.name.sql(),
        );
    }
    out.push('\n');
}

/// The function and triggers of the table that has the hosts.
fn own_hosts(out: &mut String, table: &Table<'_>, channel: &str, primary: bool) {
    let channel = literal(channel);
    let mut body = String::new();
    for (side, when) in [("OLD", "INSERT"), ("NEW", "DELETE")] {
        let _infallible = writeln!(body, "  IF TG_OP <> '{when}' THEN");
        for host in table.hosts {
            let host = format!("{side}.{}", quoted(host));
            let _infallible = writeln!(
                body,
                "    IF {host} <> '' THEN PERFORM pg_notify({channel}, {host}); END IF;"
            );
        }
        if primary {
            let _infallible = writeln!(
                body,
                "    IF {side}.is_primary THEN -- the tenant's other hosts lead to this one\n      \
                 PERFORM pg_notify({channel}, d.domain) FROM {} AS d WHERE d.tenant_id = {side}.tenant_id;\n    END IF;",
                table.name.sql()
            );
        }
        body.push_str("  END IF;\n");
    }
    function(out, table, "row", &body);
    trigger(out, table, "row", "AFTER INSERT OR DELETE", "ROW", "");
    let when = format!("\n  WHEN ({})", table.differs());
    trigger_of(out, table, "update", "row", "AFTER UPDATE", "ROW", &when);
    truncated(out, table, &channel);
}

/// The function and triggers of the table of tenants, whose hosts are in another one.
fn others_hosts(out: &mut String, table: &Table<'_>, hosts: &Table<'_>, channel: &str) {
    let channel = literal(channel);
    let body = format!(
        "  PERFORM pg_notify({channel}, d.domain) FROM {} AS d WHERE d.tenant_id IN (OLD.id, NEW.id);\n",
        hosts.name.sql()
    );
    function(out, table, "row", &body);
    let when = format!("\n  WHEN ({})", table.differs());
    trigger_of(out, table, "update", "row", "AFTER UPDATE", "ROW", &when);
    truncated(out, table, &channel);
}

fn truncated(out: &mut String, table: &Table<'_>, channel: &str) {
    let body = format!("  PERFORM pg_notify({channel}, '*');\n");
    function(out, table, "truncate", &body);
    trigger(out, table, "truncate", "AFTER TRUNCATE", "STATEMENT", "");
}

fn function(out: &mut String, table: &Table<'_>, name: &str, body: &str) {
    let _infallible = write!(
        out,
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $fn$ BEGIN\n\
         {body}  RETURN NULL;\nEND $fn$;\n",
        table.function(name)
    );
}

fn trigger(out: &mut String, table: &Table<'_>, name: &str, event: &str, each: &str, when: &str) {
    trigger_of(out, table, name, name, event, each, when);
}

fn trigger_of(
    out: &mut String,
    table: &Table<'_>,
    name: &str,
    function: &str,
    event: &str,
    each: &str,
    when: &str,
) {
    let (trigger, on) = (table.object(name), table.name.sql());
    let _infallible = write!(
        out,
        "DROP TRIGGER IF EXISTS {trigger} ON {on};\nCREATE TRIGGER {trigger} {event} ON {on}\n  FOR EACH {each}{when} \
         EXECUTE FUNCTION {}();\n\n",
        table.function(function)
    );
}

/// The columns of the row `alias` that an SQL expression names.
fn columns_of(sql: &str, alias: char) -> Vec<String> {
    let mut found = Vec::new();
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut before = ' ';
    let mut rest = sql.chars();
    while let Some(char) = rest.next() {
        if char == alias
            && !is_word(before)
            && before != '.'
            && let Some(name) = rest.as_str().strip_prefix('.')
        {
            let end = name.find(|char| !is_word(char)).unwrap_or(name.len());
            let (name, _) = name.split_at(end);
            if !name.is_empty() {
                found.push(name.to_ascii_lowercase());
            }
        }
        before = char;
    }
    found
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_in_expressions() {
        let sql = "CASE WHEN c.paid_until < current_date AND NOT c.On_Trial THEN abc.x ELSE d.c.y END || c.paid_until";
        assert_eq!(
            columns_of(sql, 'c'),
            ["paid_until", "on_trial", "paid_until"]
        );
        assert_eq!(columns_of("d.kind AS plan", 'd'), ["kind"]);
        assert!(columns_of("'c' || c", 'c').is_empty());
    }
}
