//! A row of a source while its columns come in, whatever the source: a line of a file, a result of a query, an object of
//! an answer. One set of columns and rules for all of them.
//!
//! | column | value |
//! |---|---|
//! | `id` | the name that stays; required |
//! | `host`, `hosts` | a host, or a list of them separated by commas or spaces; may come more than once |
//! | `slug`, `schema` | further names |
//! | `state` | `active` (the default), `suspended`, `pending`, `maintenance`, `moved` or `deleted` |
//! | `primary` | the host that others of this tenant lead to |
//! | `is_primary` | whether the row's host is that one |
//! | others | see [`Attributes`] |

use std::sync::Arc;

use serde_json::Value;

use super::attributes::{Attributes, flag};
use super::id::{Name, State, Tenant};
use crate::host::Host;

/// What is wrong with a value, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
}

impl Flaw {
    pub(super) const fn new(message: &'static str, hint: &'static str) -> Self {
        Self { message, hint }
    }
}

/// A row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The name that stays.
    pub id: Option<Name>,
    /// The name in host names.
    pub slug: Option<Name>,
    /// The name of the schema.
    pub schema: Option<Name>,
    /// Its hosts, in the order of the row. `None`: no column of hosts had a value.
    pub hosts: Option<Vec<Host>>,
    /// Whether it is served. `None`: not said.
    pub state: Option<State>,
    /// The host that others lead to.
    pub primary: Option<Host>,
    /// Whether the row's first host is that one.
    pub is_primary: bool,
    /// Everything else.
    pub attributes: Attributes,
}

impl Row {
    /// The columns that are not those of [`Attributes`].
    pub const COLUMNS: &'static [&'static str] = &[
        "host",
        "hosts",
        "id",
        "is_primary",
        "primary",
        "schema",
        "slug",
        "state",
    ];

    /// Whether there is such a column.
    #[must_use]
    pub fn knows(column: &str) -> bool {
        Self::COLUMNS.contains(&column) || Attributes::COLUMNS.contains(&column)
    }

    /// Takes the value of a column; an empty value says nothing. Returns whether there is such a column.
    ///
    /// # Errors
    /// [`Flaw`] for a value that it cannot have.
    pub fn set(&mut self, column: &str, value: &str) -> Result<bool, Flaw> {
        if !Self::COLUMNS.contains(&column) {
            return self.attributes.set(column, value);
        }
        let value = value.trim();
        if value.is_empty() {
            return if column == "id" { Err(NO_ID) } else { Ok(true) };
        }
        match column {
            "id" => self.id = Some(Name::new(value).ok_or(NO_ID)?),
            "slug" => self.slug = Some(Name::new(value).ok_or(NO_NAME)?),
            "schema" => self.schema = Some(Name::new(value).ok_or(NO_NAME)?),
            "host" => self.hosts.get_or_insert_default().push(host(value)?),
            "hosts" => {
                let hosts = self.hosts.get_or_insert_default();
                for item in value.split([',', ' ']).filter(|item| !item.is_empty()) {
                    hosts.push(host(item)?);
                }
            }
            "state" => self.state = Some(State::parse(value).ok_or(NO_STATE)?),
            "primary" => self.primary = Some(host(value)?),
            "is_primary" => self.is_primary = flag(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes a JSON value: a list is a column that comes more than once, an object of `headers` is one `header` each, and
    /// `null` says nothing. `set` takes each text with its column.
    ///
    /// # Errors
    /// Those of `set`.
    pub fn set_json<E>(
        &mut self,
        column: &str,
        value: &Value,
        set: &mut dyn FnMut(&mut Self, &str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        match value {
            Value::Null if Self::knows(column) => Ok(()),
            Value::String(text) => set(self, column, text),
            Value::Array(list) => {
                if column == "hosts" {
                    self.hosts.get_or_insert_default();
                }
                list.iter()
                    .try_for_each(|item| self.set_json(column, item, set))
            }
            Value::Object(headers) if column == "headers" => {
                headers.iter().try_for_each(|(name, value)| {
                    let value = value.as_str().unwrap_or_default();
                    set(self, "header", &format!("{name}: {value}"))
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                set(self, column, &value.to_string())
            }
        }
    }

    /// The host that others lead to, by either way of saying it.
    #[must_use]
    pub fn primary_host(&self) -> Option<&Host> {
        let first = || self.hosts.as_ref().and_then(|hosts| hosts.first());
        let own = if self.is_primary { first() } else { None };
        self.primary.as_ref().or(own)
    }

    /// The tenant of this row; `None` without an id.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        Some(Tenant {
            id: self.id.clone()?,
            slug: self.slug.clone(),
            schema: self.schema.clone(),
            state: self.state.unwrap_or_default(),
            primary: self.primary_host().cloned(),
            attributes: Arc::new(self.attributes.clone()),
        })
    }
}

const NO_ID: Flaw = Flaw::new(
    "not a tenant id",
    "1 to 63 characters, none of them a control character",
);
const NO_NAME: Flaw = Flaw::new(
    "not a name of a tenant",
    "1 to 63 characters, none of them a control character",
);
const NO_STATE: Flaw = Flaw::new(
    "not a state",
    "one of active, suspended, pending, maintenance, moved, deleted",
);

fn host(value: &str) -> Result<Host, Flaw> {
    Host::parse(value).map_err(|_invalid| {
        Flaw::new(
            "not a host name",
            "letters, digits and `-` only; give `hosts` if the id is no label",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_any_order_and_hosts_more_than_once() {
        let mut row = Row::default();
        for (column, value) in [
            ("host", "ACME.example.com."),
            ("id", "42"),
            ("schema", "acme"),
            ("is_primary", "t"),
            ("hosts", "a.example.com, b.example.com"),
            ("state", "moved"),
            ("pool", "eu"),
            ("slug", ""),
        ] {
            assert_eq!(row.set(column, value), Ok(true), "{column}");
        }
        let tenant = row.tenant().unwrap();
        assert_eq!((tenant.id.as_str(), tenant.state), ("42", State::Moved));
        assert_eq!(tenant.primary.unwrap().as_str(), "acme.example.com");
        assert_eq!(tenant.attributes.pool.as_deref(), Some("eu"));
        assert_eq!((tenant.slug, row.hosts.unwrap().len()), (None, 3));
        assert_eq!(Row::default().tenant(), None);
    }

    #[test]
    fn values_and_columns_that_are_none_are_said() {
        let mut row = Row::default();
        for (column, value) in [
            ("id", ""),
            ("id", "a\u{7}"),
            ("host", "a b"),
            ("hosts", "a.example.com,b_c"),
            ("state", "asleep"),
            ("primary", "*"),
            ("rate", "many"),
            ("is_primary", "perhaps"),
        ] {
            assert!(row.set(column, value).is_err(), "{column} {value}");
        }
        assert_eq!(row.set("colour", "red"), Ok(false));
        for column in Row::COLUMNS.iter().chain(Attributes::COLUMNS) {
            assert!(Row::knows(column));
        }
        for (name, state) in State::NAMES {
            assert_eq!((State::parse(name), state.name()), (Some(state), name));
        }
    }
}
