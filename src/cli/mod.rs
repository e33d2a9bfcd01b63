//! The command line: one file per verb.
//!
//! Each verb returns an [`Exit`]; only `main` ends the process. Messages for people go to standard output, errors to
//! standard error with a `hint:` where there is one.

mod account;
mod admin;
pub mod args;
pub mod cert;
mod certs;
pub mod check;
mod daemon;
pub mod demo;
mod dns;
pub mod persist;
pub mod run;
pub mod tenant;

use std::error::Error;
use std::fmt::Display;

use self::args::{Args, Verb};
use crate::config::{Config, LogFormat};
use crate::telemetry::log::{self, Filter, Format};

/// How a verb ended; the exit code is part of the interface (README, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or nothing to do.
    Done,
    /// 1: failed; trying again may help.
    Failed,
    /// 2: wrong usage or configuration, or an operator is needed.
    Blocked,
    /// 3: nothing is known; only `cert check` ends so.
    Unknown,
    /// 75: waiting (back-off); the next run of the timer goes on.
    Waiting,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Blocked => 2,
            Self::Unknown => 3,
            Self::Waiting => 75,
        }
    }
}

/// Runs what the command line asks for.
#[must_use]
pub fn run(args: Args) -> Exit {
    match args.verb {
        Verb::Run(options) => run::run(&options),
        Verb::Check(options) => check::check(&options),
        Verb::Cert(verb) => certs::run(&verb),
        Verb::Account(verb) => account::run(&verb),
        Verb::Dns(verb) => dns::run(&verb),
        Verb::Tenant(verb) => tenant::run(&verb),
        Verb::Demo(options) => demo::start::demo(&options),
        Verb::Version => {
            say(concat!("portico ", env!("CARGO_PKG_VERSION")));
            Exit::Done
        }
    }
}

/// Reads the configuration and sets up messages as it says.
fn load(file: &args::ConfigFile) -> Result<Config, Exit> {
    let blocked = |error: &dyn Display| {
        complain(error);
        Exit::Blocked
    };
    let config = Config::load(&file.config).map_err(|error| {
        let hint = error.hint().map(|hint| format!("\n  hint: {hint}"));
        let cause = error.source().map(|cause| format!(": {cause}"));
        blocked(&format!(
            "{error}{}{}",
            cause.unwrap_or_default(),
            hint.unwrap_or_default()
        ))
    })?;
    let format = match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    Filter::parse(&config.log.level)
        .and_then(|filter| log::init(filter, format))
        .map_err(|error| blocked(&format!("{error}\n  hint: see `log.level`")))?;
    Ok(config)
}

/// A line on standard output.
#[expect(clippy::print_stdout, reason = "command output")]
fn say(text: impl Display) {
    println!("{text}");
}

/// An error on standard error.
#[expect(clippy::print_stderr, reason = "command output")]
fn complain(text: impl Display) {
    eprintln!("error: {text}");
}
