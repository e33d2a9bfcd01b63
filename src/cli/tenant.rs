//! `portico tenant …`: what the running proxy knows of tenants, for people and, with `--json`, for programs.
//!
//! Sources are the app's. Only a file of tenants is the operator's, so there `suspend` and `resume` change the row; of other
//! sources they say where that is done. `sql` prints what a database has to be told.

mod ask;
mod change;
mod explain;
mod sql;

use serde_json::Value;

use self::ask::{AskError, Method, ask};
use super::args::{ConfigFile, Tenant, TenantResync};
use super::{Exit, admin, complain, load, say};
use crate::tenant::directory::file::edit::Change;

/// Runs a verb.
pub(super) fn run(verb: &Tenant) -> Exit {
    match verb {
        Tenant::Explain(options) => explain::explain(options),
        Tenant::List(options) => {
            let path = format!("/tenants?limit={}", options.limit);
            told(&options.file, options.json, Method::Get, &path, listed)
        }
        Tenant::Show(options) => {
            let path = show_path(&options.name);
            told(&options.file, options.json, Method::Get, &path, shown)
        }
        Tenant::Purge(options) => {
            let which = match &options.host {
                Some(host) => format!("host={host}"),
                None => "all=true".to_owned(),
            };
            let path = format!("/tenants/purge?{which}");
            told(&options.file, options.json, Method::Post, &path, purged)
        }
        Tenant::Sql(options) => sql::sql(options),
        Tenant::Resync(options) => resync(options),
        Tenant::Suspend(options) => change::change(options, Change::Suspend),
        Tenant::Resume(options) => change::change(options, Change::Resume),
    }
}

fn resync(options: &TenantResync) -> Exit {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let target = if options.force {
        "/tenants/resync?force=1"
    } else {
        "/tenants/resync"
    };
    match admin::post(&config.listen.admin, target) {
        Ok((202, _)) => {
            say("the proxy compares its tenants with the database now");
            Exit::Done
        }
        Ok((_, answer)) => {
            complain(format!("the proxy says no: {}", answer.trim()));
            Exit::Failed
        }
        Err(error) => {
            complain(format!(
                "no answer from the proxy: {error}\n  hint: is it running, with this `listen.admin`?"
            ));
            Exit::Failed
        }
    }
}

/// Asks, and prints the answer as JSON or by `print`.
fn told(
    file: &ConfigFile,
    as_json: bool,
    method: Method,
    path: &str,
    print: fn(&Value) -> String,
) -> Exit {
    let config = match load(file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match ask(&config.listen.admin, method, path) {
        Ok(answer) => {
            say(if as_json {
                format!("{answer:#}")
            } else {
                print(&answer)
            });
            Exit::Done
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &AskError) -> Exit {
    complain(error);
    match error {
        AskError::Off | AskError::Refused(_) => Exit::Blocked,
        AskError::NoAnswer { .. } => Exit::Failed,
    }
}

fn show_path(name: &str) -> String {
    let escaped: String = name
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("/tenants/show?name={escaped}")
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn listed(answer: &Value) -> String {
    let hosts = answer.get("hosts").and_then(Value::as_array);
    let mut lines: Vec<String> = hosts
        .into_iter()
        .flatten()
        .map(|row| {
            format!(
                "{}  {}  {}",
                text(row, "host"),
                text(row, "id"),
                text(row, "state")
            )
        })
        .collect();
    lines.sort();
    let source = text(answer, "source");
    lines.push(match (answer.get("more"), lines.len()) {
        (Some(Value::Bool(true)), _) => "… and more: see `--limit`".to_owned(),
        (_, 0) => format!("the source `{source}` has no hosts in memory"),
        (_, count) => format!("{count} hosts in memory, source `{source}`"),
    });
    if answer.get("complete") == Some(&Value::Bool(false)) {
        lines.push(
            "these are not all tenants: a source that is asked host by host has no list, and only hosts that were asked for lately \
             are in memory; `portico tenant explain HOST` asks for one"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn shown(answer: &Value) -> String {
    let columns = answer.as_object().into_iter().flatten();
    let lines: Vec<(&str, String)> = columns
        .filter(|(_, value)| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        })
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Array(list) => {
                    let items: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                    items.join(" ")
                }
                other => other.to_string(),
            };
            (key.as_str(), value)
        })
        .collect();
    table(&lines)
}

fn purged(answer: &Value) -> String {
    match text(answer, "purged").as_str() {
        "all" => {
            "forgotten: each host is asked for again, at its next request at the latest".to_owned()
        }
        host => format!("forgotten: {host} is asked for again, at its next request at the latest"),
    }
}

fn table(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines
        .iter()
        .map(|(key, value)| format!("{key:width$}  {value}"))
        .collect();
    lines.join("\n")
}
