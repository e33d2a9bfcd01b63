//! The templates in effect: the operator's, tenant by tenant, over the built-in ones.
//!
//! ```text
//! pages/
//!   error.html error.json error.txt     every status that has no file of its own
//!   404.html  502.html  …               one status
//!   maintenance.html  suspended.html …  one state of a tenant
//!   tenants/acme/…                      the same, for the tenant that the app is told as `acme`
//! ```
//! The nearest file wins: the tenant's before the general one, and there the state before the status before `error`.
//! Each format falls back by itself, so a folder with one `error.html` is complete. Everything is read and checked at
//! start and at reload, never while a request waits; one bad file refuses the whole set, so what worked stays.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use thiserror::Error;

use super::format::Format;
use super::template::{Template, TemplateError};

/// States of a tenant that may have a page of their own; each is a label of the access log.
pub const STATES: &[&str] = &[
    "unknown-tenant",
    "suspended",
    "pending",
    "maintenance",
    "deleted",
];

/// Largest template, in bytes.
const MOST_BYTES: u64 = 64 << 10;
/// Most bytes of all templates together.
const MOST_IN_ALL: u64 = 64 << 20;

const HTML: &str = include_str!("../../config/pages/error.html");
const JSON: &str = include_str!("../../config/pages/error.json");
const TEXT: &str = include_str!("../../config/pages/error.txt");

/// Why the templates are not taken.
#[derive(Debug, Error)]
pub enum PagesError {
    /// A file or the folder cannot be read.
    #[error("cannot read `{}`\n  hint: `pages.dir` is a folder that the user of portico.service may read", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file whose name says nothing.
    #[error("no page is called `{}`\n  hint: a page is `error`, a status as in `404`, or one of {}, with `.html`, `.json` or `.txt`; those of a tenant lie in `tenants/ID/`", path.display(), STATES.join(", "))]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A file is too large, or all together are.
    #[error("`{}` is too large\n  hint: a page has at most 64 KiB, all pages together 64 MiB; pictures can be inline SVG", path.display())]
    TooLarge {
        /// The file that is too much.
        path: PathBuf,
    },
    /// A template with a mistake.
    #[error("{}: {source}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: TemplateError,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    State(&'static str),
    Status(u16),
    Any,
}

type Shelf = HashMap<(Subject, Format), Template>;

/// All templates.
#[derive(Debug)]
pub struct Pages {
    general: Shelf,
    /// By the value that the app is told.
    tenants: HashMap<String, Shelf>,
    html: Template,
    json: Template,
    text: Template,
}

impl Pages {
    /// The built-in templates alone.
    ///
    /// # Errors
    /// None that a release could have: the built-in templates are checked by its tests.
    pub fn built_in() -> Result<Self, PagesError> {
        let built_in = |source, format| {
            Template::parse(source, format).map_err(|source| PagesError::Template {
                path: PathBuf::from("(built in)"),
                source,
            })
        };
        Ok(Self {
            general: Shelf::new(),
            tenants: HashMap::new(),
            html: built_in(HTML, Format::Html)?,
            json: built_in(JSON, Format::Json)?,
            text: built_in(TEXT, Format::Text)?,
        })
    }

    /// The templates of the folder `dir` over the built-in ones.
    ///
    /// # Errors
    /// [`PagesError`]; a folder is taken whole or not at all.
    pub fn load(dir: &Path) -> Result<Self, PagesError> {
        let mut pages = Self::built_in()?;
        let mut room = MOST_IN_ALL;
        pages.general = read_shelf(dir, true, &mut room)?;
        let tenants = dir.join("tenants");
        if !tenants.is_dir() {
            return Ok(pages);
        }
        for path in entries(&tenants)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| path.is_dir()) else {
                return Err(PagesError::Name { path });
            };
            let shelf = read_shelf(&path, false, &mut room)?;
            pages.tenants.insert(name.to_owned(), shelf);
        }
        Ok(pages)
    }

    /// The template for an answer. `tenant` is the value that the app is told, `reason` the label of the access log.
    #[must_use]
    pub fn find(
        &self,
        tenant: Option<&str>,
        reason: &str,
        status: StatusCode,
        format: Format,
    ) -> &Template {
        let state = STATES.iter().find(|state| **state == reason);
        let own = tenant.and_then(|tenant| self.tenants.get(tenant));
        let shelves = own.into_iter().chain([&self.general]);
        let subjects = || {
            let state = state.map(|state| Subject::State(state));
            state
                .into_iter()
                .chain([Subject::Status(status.as_u16()), Subject::Any])
        };
        shelves
            .filter(|shelf| !shelf.is_empty())
            .find_map(|shelf| subjects().find_map(|subject| shelf.get(&(subject, format))))
            .unwrap_or(match format {
                Format::Html => &self.html,
                Format::Json => &self.json,
                Format::Text => &self.text,
            })
    }

    /// How many templates of the operator there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.general.len() + self.tenants.values().map(Shelf::len).sum::<usize>()
    }

    /// Whether the built-in templates are all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What lies in a folder, in order of names; what editors and people leave beside pages is passed over.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, PagesError> {
    let failed = |source| PagesError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = name.starts_with('.')
            || name.ends_with('~')
            || name.to_ascii_lowercase().starts_with("readme");
        if !aside {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_shelf(dir: &Path, with_tenants: bool, room: &mut u64) -> Result<Shelf, PagesError> {
    let mut shelf = Shelf::new();
    for path in entries(dir)? {
        if with_tenants && path.file_name().is_some_and(|name| name == "tenants") {
            continue;
        }
        let Some((subject, format)) = meaning(&path) else {
            return Err(PagesError::Name { path });
        };
        let failed = |source| PagesError::Read {
            path: path.clone(),
            source,
        };
        let length = fs::metadata(&path).map_err(failed)?.len();
        if length > MOST_BYTES || length > *room {
            return Err(PagesError::TooLarge { path });
        }
        *room -= length;
        let source = fs::read_to_string(&path).map_err(failed)?;
        let template = Template::parse(&source, format).map_err(|source| PagesError::Template {
            path: path.clone(),
            source,
        })?;
        shelf.insert((subject, format), template);
    }
    Ok(shelf)
}

/// What a file is for, by its name.
fn meaning(path: &Path) -> Option<(Subject, Format)> {
    let format = match path.extension()?.to_str()? {
        "html" => Format::Html,
        "json" => Format::Json,
        "txt" => Format::Text,
        _ => return None,
    };
    let stem = path.file_stem()?.to_str()?;
    let subject = match stem {
        "error" => Subject::Any,
        _ => match stem.parse::<u16>() {
            Ok(status) if (400..600).contains(&status) && stem.len() == 3 => {
                Subject::Status(status)
            }
            Ok(_) => return None,
            Err(_) => Subject::State(STATES.iter().find(|state| **state == stem)?),
        },
    };
    Some((subject, format))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "templates of a test")]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(pages: &Pages, tenant: Option<&str>, reason: &str, status: u16) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        let template = pages.find(tenant, reason, status, Format::Text);
        let page = template.render(&[""; super::super::template::NAMES.len()]);
        page.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_nearest_file_wins() {
        let folder = folder(&[
            ("error.txt", "any"),
            ("503.txt", "503"),
            ("maintenance.txt", "maintenance"),
            ("tenants/acme/503.txt", "acme 503"),
            ("tenants/globex/error.txt", "globex any"),
            ("README.md", "notes"),
            (".error.txt.swp", "x"),
        ]);
        let pages = Pages::load(folder.path()).unwrap();
        assert_eq!(pages.len(), 5);
        for (tenant, reason, status, text) in [
            (None, "upstream-exchange", 502, "any"),
            (None, "upstream-connect", 503, "503"),
            (None, "maintenance", 503, "maintenance"),
            (Some("initech"), "maintenance", 503, "maintenance"),
            (Some("acme"), "maintenance", 503, "acme 503"),
            (Some("acme"), "deleted", 410, "any"),
            (Some("globex"), "maintenance", 503, "globex any"),
        ] {
            assert_eq!(
                found(&pages, tenant, reason, status),
                text,
                "{tenant:?} {reason}"
            );
        }
        let html = pages.find(
            None,
            "maintenance",
            StatusCode::SERVICE_UNAVAILABLE,
            Format::Html,
        );
        assert!(html.policy().is_some(), "the built-in page");
    }

    #[test]
    fn a_bad_folder_is_refused_whole_and_says_why() {
        let large = "x".repeat(70_000);
        for (name, text, part) in [
            ("eror.html", "", "no page is called"),
            ("200.html", "", "no page is called"),
            ("0404.html", "", "no page is called"),
            ("404.htm", "", "no page is called"),
            ("tenants/acme.html", "", "no page is called"),
            ("tenants/acme/tenants/x.html", "", "no page is called"),
            (
                "404.html",
                "{{nmae}}",
                "404.html: line 1: there is no value `nmae`",
            ),
            ("404.html", &large, "too large"),
        ] {
            let folder = folder(&[("error.html", "good"), (name, text)]);
            let error = Pages::load(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("hint: "),
                "{name}: {error}"
            );
        }
        let error = Pages::load(Path::new("/nowhere/pages")).unwrap_err();
        assert!(
            error.to_string().contains("`pages.dir` is a folder"),
            "{error}"
        );
    }
}
