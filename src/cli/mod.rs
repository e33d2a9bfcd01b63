//! The command line: one file per verb.
//!
//! Each verb returns an [`Exit`]; only `main` ends the process. Messages for people go to standard output, errors to
//! standard error with a `hint:` where there is one.

pub mod args;
pub mod check;
pub mod demo;
pub mod run;

use std::fmt::Display;

use self::args::{Args, Verb};

/// How a verb ended; the exit code is part of the interface (README, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or nothing to do.
    Done,
    /// 1: failed; trying again may help.
    Failed,
    /// 2: wrong usage or configuration, or an operator is needed.
    Blocked,
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
        Verb::Cert(args::Cert::Import(import)) => {
            let config = crate::config::Config::load(&import.file.config)
                .unwrap_or_else(|_| crate::config::Config::for_domains(vec![]));
            let store = crate::cert::store::file::FileStore::new(&config.state_dir);
            let (Ok(chain), Ok(key)) = (
                std::fs::read_to_string(&import.cert),
                std::fs::read_to_string(&import.key),
            ) else {
                return Exit::Failed;
            };
            match crate::cert::store::import::import(
                &store,
                &config.domains,
                &chain,
                &key.into(),
                crate::clock::UnixTime::now(),
            ) {
                Ok(_) => Exit::Done,
                Err(error) => {
                    complain(error);
                    Exit::Failed
                }
            }
        }
        Verb::Cert(_) => Exit::Failed,
        Verb::Demo(options) => demo::start::demo(&options),
        Verb::Version => {
            say(concat!("portico ", env!("CARGO_PKG_VERSION")));
            Exit::Done
        }
    }
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
