//! `portico cert export`: the certificate in service as PEM files, for another program.
//!
//! The pair is proven before it is written, keys get mode 0600, nothing is overwritten unasked, and a key is not shown
//! on a terminal unless that is asked for.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{CertError, chosen};
use crate::cert::bundle::{Bundle, BundleError};
use crate::cert::disk;
use crate::cert::store::file::FileStore;
use crate::config::{CertOrigin, Config};
use crate::host::Host;

/// Why nothing was exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Several domains and no choice.
    #[error("which one? the configuration has: {0}\n  hint: add `--domain`")]
    Which(String),
    /// There is none.
    #[error(
        "there is no certificate for `{0}`\n  hint: `portico cert status` says what happens next"
    )]
    Missing(Host),
    /// What is stored is damaged.
    #[error("`{}`: {error}", folder.display())]
    Bad {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        error: BundleError,
    },
    /// A key for a terminal.
    #[error(
        "a private key is not shown on a terminal\n  hint: send it elsewhere, as in `| ssh host ...`, or add `--force`"
    )]
    Terminal,
    /// Something is there already.
    #[error("`{}` is there already\n  hint: add `--force` to overwrite it", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The chain, leaf first.
    Fullchain,
    /// The private key.
    Key,
}

/// Where it goes.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// `fullchain.pem` and `privkey.pem` in this folder.
    Folder(&'a Path),
    /// One of the two on standard output.
    Output(Part),
}

/// Exports the pair of one domain.
///
/// # Errors
/// [`CertError`].
pub fn export(
    config: &Config,
    domain: Option<&Host>,
    to: To<'_>,
    force: bool,
    out: &mut dyn Write,
) -> Result<(), CertError> {
    let domain = &match chosen(config, domain)?.as_slice() {
        [one] => one.clone(),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Err(ExportError::Which(names.join(", ")).into());
        }
    };
    let (chain, key) = pair(config, domain)?;
    match to {
        To::Output(Part::Fullchain) => out.write_all(chain.as_bytes())?,
        To::Output(Part::Key) => {
            if !force && io::stdout().is_terminal() {
                return Err(ExportError::Terminal.into());
            }
            out.write_all(key.as_bytes())?;
        }
        To::Folder(folder) => {
            let files = [
                ("fullchain.pem", chain.as_str()),
                ("privkey.pem", key.as_str()),
            ];
            let files = files.map(|(name, content)| (folder.join(name), content));
            if let Some((path, _)) = files.iter().find(|(path, _)| path.exists() && !force) {
                return Err(ExportError::Exists(path.clone()).into());
            }
            let failed = |path: &Path, error| ExportError::Write {
                path: path.to_owned(),
                error,
            };
            disk::create_dir(folder, disk::PRIVATE_DIR).map_err(|error| failed(folder, error))?;
            for (path, content) in &files {
                disk::write(path, content.as_bytes(), disk::PRIVATE)
                    .map_err(|error| failed(path, error))?;
                writeln!(out, "{domain}: wrote {}", path.display())?;
            }
        }
    }
    Ok(())
}

/// The pair in service, proven.
fn pair(config: &Config, domain: &Host) -> Result<(String, Zeroizing<String>), CertError> {
    let (chain, key) = match &config.certs {
        CertOrigin::Files(files) => files.of(domain),
        CertOrigin::Acme => {
            let current = FileStore::new(&config.state_dir)
                .lineage(domain)
                .join("current");
            if !current.exists() {
                return Err(ExportError::Missing(domain.clone()).into());
            }
            (current.join("fullchain.pem"), current.join("privkey.pem"))
        }
    };
    let fullchain = super::read(&chain)?;
    let key = Zeroizing::new(super::read(&key)?);
    match Bundle::parse(fullchain.as_bytes(), key.as_bytes()) {
        Ok(_) => Ok((fullchain, key)),
        Err(error) => {
            let folder = chain.parent().unwrap_or(&chain).to_owned();
            Err(ExportError::Bad { folder, error }.into())
        }
    }
}
