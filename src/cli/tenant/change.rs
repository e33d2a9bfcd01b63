//! `portico tenant suspend` and `resume`: in a file of tenants the row is changed; of other sources it is said where that is done.
//!
//! Needs no running proxy for a file: who runs one sees the change within a second. The file is replaced in one step, by one
//! that its reader has taken; two of these commands wait for one another, and what somebody else has written meanwhile is not
//! overwritten.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::super::args::TenantName;
use super::super::{Exit, complain, load, say};
use super::ask::{Method, ask};
use super::{failed, show_path, text};
use crate::cert::disk;
use crate::config::{Config, TenantSource};
use crate::host::Host;
use crate::tenant::directory::Directory;
use crate::tenant::directory::file::FileDirectory;
use crate::tenant::directory::file::edit::{self, Change, EditError, Edited};

/// Why a file is as it was.
#[derive(Debug, Error)]
enum ChangeError {
    /// It cannot be read or written.
    #[error(
        "cannot {action} the tenant file `{}`: {source}; it is as it was\n  hint: {hint}", path.display()
    )]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
        hint: &'static str,
    },
    /// Somebody else has written it.
    #[error(
        "the tenant file `{}` was changed by somebody else at the same moment; nothing is written\n  hint: try again", .0.display()
    )]
    Meanwhile(PathBuf),
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// Makes the change where that is possible.
pub(super) fn change(options: &TenantName, change: Change) -> Exit {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let (from, to) = change.states();
    let mut others = false;
    for source in &config.tenants.sources {
        let TenantSource::File(path) = source else {
            others = true;
            continue;
        };
        let (id, edited) = match in_file(&config, path, &options.name, change) {
            // Another source may have it.
            Err(ChangeError::Edit(EditError::NotListed(_))) => continue,
            Err(error) => {
                complain(&error);
                return match error {
                    ChangeError::Edit(_) => Exit::Blocked,
                    ChangeError::File { .. } | ChangeError::Meanwhile(_) => Exit::Failed,
                };
            }
            Ok(done) => done,
        };
        let rows = match edited {
            Edited::Already => 0,
            Edited::Changed { rows, .. } => rows,
        };
        say(if options.json {
            let answer = json!({
                "changed": rows > 0,
                "id": id,
                "state": to.name(),
                "file": path,
                "rows": rows,
            });
            format!("{answer:#}")
        } else if rows == 0 {
            format!(
                "tenant `{id}` is {} already in {}; nothing is written",
                to.name(),
                path.display()
            )
        } else {
            let first = if others {
                "; but a source before this one goes first, if it has the tenant too"
            } else {
                ""
            };
            format!(
                "tenant `{id}` was {} and is {} now in {} ({rows} {}); a running proxy takes it within a second{first}",
                from.name(),
                to.name(),
                path.display(),
                if rows == 1 { "row" } else { "rows" },
            )
        });
        return Exit::Done;
    }
    if others {
        elsewhere(&config, options, to.name())
    } else {
        complain(format!(
            "no tenant of the file has this id, slug or host: `{}`\n  hint: `portico tenant list` shows all there are",
            options.name
        ));
        Exit::Blocked
    }
}

/// Changes the row in the file. Returns the tenant's id and what has become of the text.
fn in_file(
    config: &Config,
    path: &Path,
    name: &str,
    change: Change,
) -> Result<(String, Edited), ChangeError> {
    let failed = |action, hint| {
        move |source| ChangeError::File {
            action,
            path: path.to_owned(),
            source,
            hint,
        }
    };
    let reading = "run it as root, or as a user who may read and write it";
    // What a link leads to is replaced, not the link.
    let real = fs::canonicalize(path).map_err(failed("find", "check `tenants.file`"))?;
    let (mut file, facts) = locked(&real).map_err(failed("read", reading))?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(failed("read", reading))?;
    let id = id_of(&text, path, config, name)?;
    let edited = edit::change(&text, path, &config.domains, &id, change)?;
    if let Edited::Changed { text, .. } = &edited {
        let now = fs::metadata(&real).map_err(failed("read", reading))?;
        if !is_same(&facts, &now) {
            return Err(ChangeError::Meanwhile(path.to_owned()));
        }
        let writing = "the new file is made beside it and gets its owner and mode: run it as root, or as its owner where the \
                       folder may be written";
        disk::replace(&real, text.as_bytes(), &facts).map_err(failed("write", writing))?;
    }
    Ok((id, edited))
}

/// Opens the file when no other of these commands is at work on it; it is the one that stands there then.
fn locked(path: &Path) -> io::Result<(File, Metadata)> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        let facts = file.metadata()?;
        if is_same(&facts, &fs::metadata(path)?) {
            return Ok((file, facts));
        }
    }
}

/// Whether nobody has replaced or written it.
fn is_same(before: &Metadata, now: &Metadata) -> bool {
    let of = |facts: &Metadata| {
        (
            (facts.dev(), facts.ino(), facts.len()),
            (facts.mtime(), facts.mtime_nsec()),
        )
    };
    of(before) == of(now)
}

/// The id of the tenant with this id, slug or host; the name itself if no host leads to it.
fn id_of(text: &str, path: &Path, config: &Config, name: &str) -> Result<String, EditError> {
    let directory = FileDirectory::parse(text, path, &config.domains)?;
    let host = Host::parse(name).ok();
    let (mut by_id, mut other) = (false, None);
    directory.each(&mut |at, tenant| {
        let slug = tenant.slug.as_ref();
        by_id = tenant.id.as_str() == name;
        if slug.is_some_and(|slug| slug.as_str() == name) || host.as_ref() == Some(at) {
            other.get_or_insert_with(|| tenant.id.to_string());
        }
        !by_id
    });
    Ok(other.filter(|_| !by_id).unwrap_or_else(|| name.to_owned()))
}

/// Where the tenant's state is set. The tenant has to be there, so that nobody changes a row for a typing error.
fn elsewhere(config: &Config, options: &TenantName, state: &str) -> Exit {
    let answer = match ask(&config.listen.admin, Method::Get, &show_path(&options.name)) {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    let id = text(&answer, "id");
    let ways: Vec<String> = config
        .tenants
        .sources
        .iter()
        .filter_map(|source| way(source, &id, state))
        .collect();
    let now = text(&answer, "state");
    if options.json {
        let answer = json!({ "changed": false, "id": id, "state": now, "how": ways });
        say(format!("{answer:#}"));
    } else {
        complain(format!(
            "tenant `{id}` is {now}; Portico only reads its source\n  hint: {}",
            ways.join("\n  hint: ")
        ));
    }
    Exit::Blocked
}

/// How it is done at this source; none at a file, which has been looked into.
fn way(source: &TenantSource, id: &str, state: &str) -> Option<String> {
    Some(match source {
        TenantSource::Pattern => {
            "`pattern` takes every label and knows no states: list tenants in a `file`, or let the app be asked".to_owned()
        }
        TenantSource::File(_) => return None,
        TenantSource::Postgres(settings) => match &settings.state_sql {
            Some(sql) => format!(
                "in the database, change the row of id {id} so that `state_sql` gives '{state}': {sql}"
            ),
            None => "in the database; but without `tenants.postgres.state_sql` every tenant is active".to_owned(),
        },
        TenantSource::Http(asked) => format!(
            "let {} answer `\"state\": \"{state}\"` for it; it is taken within {}, or at once after `portico tenant purge`",
            asked.url.authority().map_or("the app", |authority| authority.as_str()),
            crate::units::format_duration(asked.lookup.positive_ttl)
        ),
    })
}
