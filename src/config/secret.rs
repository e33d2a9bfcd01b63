//! Secrets: files that hold them, and values that do not end up in a log.
//!
//! This is the only module that reads the environment, and it reads one variable: `CREDENTIALS_DIRECTORY`, where
//! systemd puts what `LoadCredential=` names. Errors name files, lines and keys, never values.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::problem::Flaw;
use super::value;

/// What stands before the name of a credential in the configuration.
const SCHEME: &str = "credential:";
/// Largest credential file; real ones have a few hundred bytes.
const LARGEST: u64 = 64 << 10;

/// A secret text: zeroed when dropped, not printed by `Debug`, without `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a credential file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A path.
    File(PathBuf),
    /// `"credential:NAME"`: the file NAME in `$CREDENTIALS_DIRECTORY`, which systemd fills (`LoadCredential=NAME:…`).
    Systemd(String),
}

impl CredentialSource {
    /// `base` is where relative paths start.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, Flaw> {
        let Some(name) = text.strip_prefix(SCHEME) else {
            return value::path(text, base).map(Self::File);
        };
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if name.is_empty() || matches!(name, "." | "..") || !plain {
            return Err(Flaw::new(
                "not the name of a credential",
                "write the name in `LoadCredential=`, as in `credential:dns-token`",
            ));
        }
        Ok(Self::Systemd(name.to_owned()))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self) -> Result<Credentials, SecretError> {
        self.read_with(credentials_directory().as_deref())
    }

    /// Reads a file of another form than ini, with the same care.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_text(&self) -> Result<Secret, SecretError> {
        let directory = credentials_directory();
        let path = match (self, &directory) {
            (Self::File(path), _) => path.clone(),
            (Self::Systemd(name), Some(directory)) => directory.join(name),
            (Self::Systemd(name), None) => {
                return Err(SecretError::NoDirectory { name: name.clone() });
            }
        };
        read_guarded(&path, directory.as_deref()).map(Secret)
    }

    /// Where the file is; `None` if systemd passes no credentials to this process.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Systemd(name) => Some(credentials_directory()?.join(name)),
        }
    }

    fn read_with(&self, directory: Option<&Path>) -> Result<Credentials, SecretError> {
        match (self, directory) {
            (Self::File(path), _) => Credentials::read_with(path, directory),
            (Self::Systemd(name), Some(directory)) => {
                Credentials::read_with(&directory.join(name), Some(directory))
            }
            (Self::Systemd(name), None) => Err(SecretError::NoDirectory { name: name.clone() }),
        }
    }
}

impl fmt::Display for CredentialSource {
    /// As it stands in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Systemd(name) => write!(f, "{SCHEME}{name}"),
        }
    }
}

/// Why a credential file is of no use.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It cannot be opened or read.
    #[error("cannot read the credentials: `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("the credentials can be read by others (mode {mode:04o}): `{}`\n  hint: chmod 600 {}", path.display(), quoted(path))]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a directory, a device or too large.
    #[error("not a small regular file: `{}`\n  hint: name an ini file as in `config/credentials.example`", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A line is no `key = value`, or its key was there before.
    #[error("{}:{line}: {message}\n  hint: write one `key = value` a line, as in `config/credentials.example`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A key that the provider needs is missing or empty.
    #[error("the key `{key}` is missing or empty: `{}`\n  hint: add `{key} = …`, as in `config/credentials.example`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The credential is systemd's, but this process was not started by systemd.
    #[error(
        "`CREDENTIALS_DIRECTORY` is not set: `{SCHEME}{name}`\n  hint: start it as a unit with `LoadCredential={name}:PATH`, or name a file in `acme.dns.credentials`"
    )]
    NoDirectory {
        /// The credential's name.
        name: String,
    },
}

/// The keys and secrets of one ini file in certbot's form: `key = value` lines, `#` and `;` comments.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    values: BTreeMap<String, Secret>,
}

impl Credentials {
    /// Reads a file that only its owner may read. Under `$CREDENTIALS_DIRECTORY` the mode does not matter: systemd
    /// mounts it for this unit alone, with modes 0400 or 0440.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::read_with(path, credentials_directory().as_deref())
    }

    fn read_with(path: &Path, directory: Option<&Path>) -> Result<Self, SecretError> {
        Self::parse(path, &read_guarded(path, directory)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SecretError> {
        let mut values = BTreeMap::new();
        for (index, line) in text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .lines()
            .enumerate()
        {
            let line = line.trim();
            // The heading of a section, as in AWS's file: a second section with the same keys is refused below.
            let heading = line.starts_with('[') && line.ends_with(']');
            if line.is_empty() || line.starts_with(['#', ';']) || heading {
                continue;
            }
            let wrong = |message| SecretError::Line {
                path: path.to_owned(),
                line: index + 1,
                message,
            };
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| wrong("not `key = value`"))?;
            let key = key.trim();
            if key.is_empty()
                || !key
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            {
                return Err(wrong("not `key = value`"));
            }
            let secret = Secret::new(unquote(value.trim()).to_owned());
            if values.insert(key.to_owned(), secret).is_some() {
                return Err(wrong("the key was there before"));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// The secret under `key`, as in `dns_digitalocean_token`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Secret> {
        self.values.get(key)
    }

    /// The secret under a key that must be there and must not be empty.
    ///
    /// # Errors
    /// [`SecretError::Missing`].
    pub fn require(&self, key: &str) -> Result<&Secret, SecretError> {
        let secret = self.get(key).filter(|secret| !secret.expose().is_empty());
        secret.ok_or_else(|| SecretError::Missing {
            path: self.path.clone(),
            key: key.to_owned(),
        })
    }
}

/// The content of a small regular file that only its owner may read.
fn read_guarded(path: &Path, directory: Option<&Path>) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = std::fs::metadata(path).map_err(failed)?;
    if !kind.is_file() {
        // Not opened: to open a FIFO would wait for ever.
        return Err(SecretError::Kind {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it cannot be exchanged between the check and the reading.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 && !directory.is_some_and(|directory| is_below(path, directory)) {
        return Err(SecretError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(SecretError::Kind {
            path: path.to_owned(),
        });
    }
    // The whole room at once, so that growing leaves no copies behind.
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(LARGEST).unwrap_or(0) + 1,
    ));
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Takes one pair of quotes off; without quotes, a comment behind the value. As certbot's parser does.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote)
            && let Some((inner, rest)) = inner.split_once(quote)
            && (rest.trim().is_empty() || rest.trim_start().starts_with('#'))
        {
            return inner;
        }
    }
    match value.find(" #").or_else(|| value.find("\t#")) {
        Some(end) => value.split_at(end).0.trim_end(),
        None => value,
    }
}

/// Where systemd puts this unit's credentials.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory) && !path.components().any(|part| part == Component::ParentDir)
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@".contains(char);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
