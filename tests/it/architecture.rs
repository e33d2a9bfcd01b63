//! The rules of the house that a machine can check: floors of modules, names and sizes of files.
//!
//! A module of `src/` may use modules of lower floors only; those of its own floor do not exist for it unless
//! [`NEIGHBOURS`] lists the pair. Each rule has a control: a made-up source that breaks it must be found.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use self::source::{modules_used, strip};

/// From the ground up.
const FLOORS: &[&[&str]] = &[
    &["host", "header_name", "clock", "units", "telemetry"],
    &["config"],
    &["net", "cert", "tenant", "pages"],
    &["tls", "acme", "policy", "upstream", "sources"],
    &["snapshot"],
    &["proxy"],
    &["server"],
    &["main", "cli"],
];

/// Pairs on one floor of which the first may use the second.
const NEIGHBOURS: &[(&str, &str)] = &[("main", "cli"), ("telemetry", "clock")];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "types", "misc",
];

/// The longest `main.rs`: it parses, calls, exits.
const MAIN_LINES: usize = 40;

/// A file of `src/` or `tests/`, with its path from there.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// All Rust files below `folder`, sorted.
    fn all(folder: &str) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files = Vec::new();
        collect(&root, &mut files);
        files.sort();
        assert!(!files.is_empty(), "no source in {folder}");
        let read = |file: &PathBuf| Self {
            path: file
                .strip_prefix(&root)
                .expect("found below")
                .display()
                .to_string(),
            text: fs::read_to_string(file).expect("a text"),
        };
        files.iter().map(read).collect()
    }

    /// The name without `.rs`.
    fn stem(&self) -> &str {
        self.path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// The module of the crate's root that this file is part of.
    fn module(&self) -> &str {
        self.path
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What one file does against the floors.
fn floor_violations(source: &Source) -> Vec<String> {
    let module = source.module();
    if module == "lib" {
        return Vec::new(); // it only declares
    }
    let Some(own) = floor(module) else {
        return vec![format!("{}: `{module}` is on no floor", source.path)];
    };
    let is_wrong = |used: &&String| match floor(used) {
        _ if used.as_str() == module => false,
        _ if NEIGHBOURS.contains(&(module, used.as_str())) => false,
        Some(floor) => floor >= own,
        None => true, // an item of lib.rs: nobody's
    };
    let used = modules_used(&source.path, &source.text);
    let used = used.iter().filter(is_wrong);
    used.map(|used| format!("{}: `{module}` (floor {own}) uses `{used}`", source.path))
        .collect()
}

/// What one file of `src/` does against the other rules.
fn house_violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |broken: bool, rule: &str| {
        if broken {
            found.push(format!("{}: {rule}", source.path));
        }
    };
    let code = strip(&source.text);
    let lines = source.text.lines().count();
    check(
        !source.text.starts_with("//!"),
        "begins with `//!`: what it does, what it assumes",
    );
    check(
        EMPTY_NAMES.contains(&source.stem()),
        "its name says nothing: name the noun",
    );
    check(
        source.path == "main.rs" && lines > MAIN_LINES,
        "`main.rs` has at most 40 lines",
    );
    check(
        code.contains("macro_rules!"),
        "no `macro_rules!` outside tests",
    );
    check(code.contains("#[ignore]"), "`#[ignore]` needs a reason");
    found
}

fn report(violations: &[String]) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn modules_use_lower_floors_only() {
    let found: Vec<_> = Source::all("src")
        .iter()
        .flat_map(floor_violations)
        .collect();
    report(&found);
}

#[test]
fn source_files_keep_the_rules_of_the_house() {
    let found: Vec<_> = Source::all("src")
        .iter()
        .flat_map(house_violations)
        .collect();
    report(&found);
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    let is_bare = |source: &Source| strip(&source.text).contains("#[ignore]");
    let found: Vec<_> = Source::all("tests")
        .into_iter()
        .filter(is_bare)
        .map(|source| source.path)
        .collect();
    report(&found);
}

#[test]
fn every_test_module_is_mounted() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/main.rs"));
    let main = strip(&main.expect("this crate"));
    let files = Source::all("tests/it");
    let modules = files
        .iter()
        .map(Source::module)
        .filter(|&module| module != "main");
    let lost = |module: &&str| {
        !main
            .lines()
            .any(|line| line.trim() == format!("mod {module};"))
    };
    let found: Vec<_> = modules
        .filter(lost)
        .map(|module| format!("`{module}` is not in main.rs"))
        .collect();
    report(&found);
}

#[test]
fn control_finds_each_way_up_the_floors() {
    for (path, text) in [
        ("tls/accept.rs", "use crate::proxy::service;"),
        (
            "tls/accept.rs",
            "use crate::{\n    cert::live,\n    acme::{order, account},\n};",
        ),
        ("tls/accept.rs", "fn f() { crate::server::run() }"),
        (
            "tls/accept.rs",
            "use crate::cert::{live, store}; pub(crate) use crate :: upstream::pool;",
        ),
        ("tls/accept.rs", "use super::super::snapshot::Snapshot;"),
        ("host.rs", "use super::config::Config;"),
        ("host.rs", "use crate::clock::Clock;"),
        ("config/mod.rs", "mod tests { use crate::net::listener; }"),
        ("proxy/mod.rs", "use crate::Version;"),
        ("gateway/mod.rs", "//! Not in the plan."),
        ("cert/store.rs", "let x = r#\"\"\"#; use crate::tenant::id;"),
        (
            "cert/store.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' } use crate::tenant::id;",
        ),
    ] {
        let found = floor_violations(&Source::new(path, text));
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
}

#[test]
fn control_lets_the_allowed_pass() {
    for (path, text) in [
        (
            "tls/accept.rs",
            "use crate::cert::live; use crate::{config::Config, host::Host, tls::tickets};",
        ),
        (
            "tls/accept.rs",
            "// use crate::proxy;\n/* crate::acme /* crate::acme */ */ //! [`crate::server`]",
        ),
        (
            "tls/accept.rs",
            "const S: &str = \"use crate::proxy;\"; const R: &str = r#\"crate::\"acme\"#;",
        ),
        (
            "tls/accept.rs",
            "use super::config; use super::super::cert::live; pub(crate) fn f() {}",
        ),
        ("main.rs", "use portico::cli;"),
        ("lib.rs", "pub mod proxy;"),
        (
            "server/worker.rs",
            "mycrate::cli::run(); use crate::proxy::service as crate_service;",
        ),
        (
            "upstream/mod.rs",
            "use self::config::Pool; use super::config::Config;",
        ),
    ] {
        let found = floor_violations(&Source::new(path, text));
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

#[test]
fn control_finds_each_broken_house_rule() {
    let long = format!("//! Main.\n{}", "\n".repeat(MAIN_LINES));
    for (path, text) in [
        ("net/listener.rs", "use std::io;"),
        ("net/common.rs", "//! Things."),
        ("types.rs", "//! Things."),
        ("main.rs", long.as_str()),
        ("net/listener.rs", "//! Net.\nmacro_rules! m { () => {} }"),
        ("net/listener.rs", "//! Net.\n#[test]\n#[ignore]\nfn f() {}"),
    ] {
        let found = house_violations(&Source::new(path, text));
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
}
