//! Rows as JSON objects: what the sources that are asked over a network hand over, and what is saved on the disk.
//!
//! A host without a dot is a label below every base domain, as frameworks keep the subdomain of a tenant.

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use thiserror::Error;

use crate::host::Host;
use crate::tenant::attributes::Attributes;
use crate::tenant::row::{Flaw, Row};
use crate::tenant::{State, Tenant};

/// Why an object is no row.
#[derive(Debug, Error)]
pub enum RowError {
    /// It is no object at all.
    #[error("not a row: {0}\n  hint: each row is an object of columns")]
    Shape(#[from] serde_json::Error),
    /// A column that nobody knows: a mistake in the query, not in a row.
    #[error(
        "there is no such column: `{0}`\n  hint: name it as in tenants.example.toml, with `AS`, or leave it out"
    )]
    Column(String),
    /// A value that it cannot have.
    #[error("{}: column `{column}`: `{value}`\n  hint: {}", flaw.message, flaw.hint)]
    Value {
        /// The column.
        column: String,
        /// The value, shortened.
        value: String,
        /// What is wrong.
        flaw: Flaw,
    },
}

impl RowError {
    /// Whether every other row will have the same.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Shape(_) | Self::Column(_))
    }
}

/// Reads one row.
///
/// # Errors
/// [`RowError`].
pub fn parse(json: &str, bases: &[Host]) -> Result<Row, RowError> {
    let mut row = Row::default();
    let mut wrong = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_map(Reading {
        row: &mut row,
        wrong: &mut wrong,
        bases,
    })?;
    reader.end()?;
    match wrong {
        Some(error) => Err(error),
        None => Ok(row),
    }
}

struct Reading<'r> {
    row: &'r mut Row,
    /// The first thing that is wrong, as the format's own errors cannot carry it.
    wrong: &'r mut Option<RowError>,
    bases: &'r [Host],
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    /// One by one, for a column may come more than once.
    fn visit_map<A: MapAccess<'de>>(self, mut columns: A) -> Result<(), A::Error> {
        while let Some((column, value)) = columns.next_entry::<String, Value>()? {
            if self.wrong.is_none() {
                *self.wrong = set(self.row, self.bases, &column, &value).err();
            }
        }
        Ok(())
    }
}

fn set(row: &mut Row, bases: &[Host], column: &str, value: &Value) -> Result<(), RowError> {
    row.set_json(column, value, &mut |row, column, text| match column {
        "host" | "hosts" => hosts(row, bases, text),
        _ => put(row, column, text),
    })
}

fn hosts(row: &mut Row, bases: &[Host], text: &str) -> Result<(), RowError> {
    for item in text.split([',', ' ']).filter(|item| !item.is_empty()) {
        if item.contains('.') {
            put(row, "host", item)?;
            continue;
        }
        for base in bases {
            put(row, "host", &format!("{item}.{base}"))?;
        }
    }
    Ok(())
}

fn put(row: &mut Row, column: &str, text: &str) -> Result<(), RowError> {
    match row.set(column, text) {
        Ok(true) => Ok(()),
        Ok(false) => Err(RowError::Column(column.to_owned())),
        Err(flaw) => Err(RowError::Value {
            column: column.to_owned(),
            value: text.chars().take(100).collect(),
            flaw,
        }),
    }
}

/// The row of one host, to be written: what [`parse`] reads, it reads back as the same.
#[derive(Debug)]
pub struct Columns<'t> {
    host: &'t Host,
    tenant: &'t Tenant,
}

impl<'t> Columns<'t> {
    /// The row that says that `host` is this tenant's.
    #[must_use]
    pub fn new(host: &'t Host, tenant: &'t Tenant) -> Self {
        Self { host, tenant }
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Taken apart, so that a column that is new is not forgotten here.
        let Tenant {
            id,
            slug,
            schema,
            state,
            primary,
            attributes,
        } = self.tenant;
        let Attributes {
            plan,
            pool,
            rate,
            address_rate,
            concurrency,
            share,
            body_size,
            allow,
            deny,
            headers,
            cookie_scope,
            access_log,
            verified,
        } = &**attributes;
        let texts = [
            ("slug", slug.as_ref().map(ToString::to_string)),
            ("schema", schema.as_ref().map(ToString::to_string)),
            (
                "state",
                (*state != State::Active).then(|| state.name().to_owned()),
            ),
            ("primary", primary.as_ref().map(ToString::to_string)),
            ("plan", plan.as_ref().map(ToString::to_string)),
            ("pool", pool.as_ref().map(ToString::to_string)),
            ("rate", rate.as_ref().map(ToString::to_string)),
            (
                "address_rate",
                address_rate.as_ref().map(ToString::to_string),
            ),
            ("concurrency", concurrency.as_ref().map(ToString::to_string)),
            ("share", share.as_ref().map(ToString::to_string)),
            (
                "cookie_scope",
                cookie_scope.as_ref().map(ToString::to_string),
            ),
            ("body_size", body_size.as_ref().map(ToString::to_string)),
            ("access_log", access_log.as_ref().map(ToString::to_string)),
            ("verified", verified.as_ref().map(ToString::to_string)),
        ];
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("host", self.host.as_str())?;
        map.serialize_entry("id", id.as_str())?;
        for (column, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(column, &text)?;
            }
        }
        for (column, networks) in [("allow", allow), ("deny", deny)] {
            if !networks.is_empty() {
                let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
                map.serialize_entry(column, &texts)?;
            }
        }
        if !headers.is_empty() {
            let texts: Vec<_> = headers
                .iter()
                .map(|(name, value)| {
                    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
                })
                .collect();
            map.serialize_entry("header", &texts)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Vec<Host> {
        ["example.com", "example.org"]
            .map(|base| Host::parse(base).unwrap())
            .to_vec()
    }

    #[test]
    fn types_of_databases_become_columns() {
        let json = r#"{"id":42,"host":"ACME","hosts":["www.customer.com","b c.example.net"],"schema":null,
            "state":"suspended","verified":true,"concurrency":7,"headers":{"X-Theme":"dark"}}"#;
        let row = parse(json, &bases()).unwrap();
        let hosts: Vec<_> = row.hosts.clone().unwrap();
        let hosts: Vec<&str> = hosts.iter().map(Host::as_str).collect();
        let all = [
            "acme.example.com",
            "acme.example.org",
            "www.customer.com",
            "b.example.com",
            "b.example.org",
            "c.example.net",
        ];
        assert_eq!(hosts, all);
        let tenant = row.tenant().unwrap();
        assert_eq!(
            (tenant.id.as_str(), tenant.state.name()),
            ("42", "suspended")
        );
        assert_eq!(tenant.attributes.concurrency, Some(7));
        assert_eq!(tenant.attributes.headers.len(), 1);
    }

    #[test]
    fn wrong_values_are_a_rows_and_wrong_columns_everybodys() {
        for (json, of_all) in [
            ("[]", true),
            ("{", true),
            (r#"{"colour":"red"}"#, true),
            (r#"{"colour":null}"#, true),
            (r#"{"id":"1","state":"asleep"}"#, false),
            (r#"{"id":"1","host":"a_b.example.com"}"#, false),
            (r#"{"id":{"a":1},"host":"a_b.example.com"}"#, false),
        ] {
            let error = parse(json, &bases()).unwrap_err();
            assert_eq!(error.is_of_all(), of_all, "{json}: {error}");
            assert!(error.to_string().contains("hint: "), "{error}");
        }
    }
}
