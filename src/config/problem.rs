//! What is wrong with a configuration file: a list of problems, each with its line, its key and a way out.
//!
//! A [`Flaw`] is what a value's own rule finds; the reader knows where the value stands and makes a [`Problem`] of it.

use std::fmt;
use std::path::PathBuf;

use super::value;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1; none if something is missing that has no place in the file yet.
    pub line: Option<usize>,
    /// The key's path, as in `upstream.servers[1]`; empty if the file is not TOML at all.
    pub key: String,
    /// What is wrong, the value last.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a way out. Keys and values come from the file, so control characters in them are escaped.
    pub(super) fn new(line: Option<usize>, key: &str, message: &str, hint: &str) -> Self {
        Self {
            line,
            key: value::one_line(key),
            message: value::one_line(message),
            hint: Some(value::one_line(hint)),
        }
    }
}

/// Everything that is wrong with one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file, as the caller named it.
    pub path: PathBuf,
    /// The problems.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    /// One problem a line, each followed by its hint; no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why a value is refused. The value is not part of the message: the reader adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) hint: String,
    /// Whether the value may have a secret in it and is not shown.
    pub(super) hide: bool,
}

impl Flaw {
    /// A flaw with its way out.
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            hide: false,
        }
    }

    /// The same flaw, without the value in its report.
    pub(super) fn hidden(self) -> Self {
        Self { hide: true, ..self }
    }
}
