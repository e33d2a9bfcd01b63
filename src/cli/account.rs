//! `portico account`: the ACME account at the first CA.
//!
//! The account is made with the first certificate and kept for ever; these verbs are for moving in with an account that
//! exists, for a new key, and for the end. Its key is never printed.

use std::io::{Write, stdout};

use super::args::Account;
use super::cert::{CertError, Verdict};
use super::certs::{block_on, changing, with_config};
use super::{Exit, cert};
use crate::acme::account::{self, Known};
use crate::cert::lineage::Lineage;
use crate::cert::store::file::FileStore;
use crate::cert::store::{Lock, Store, StoreError};
use crate::config::Config;

/// Runs a verb.
pub(super) fn run(verb: &Account) -> Exit {
    match verb {
        Account::Show(options) => with_config(&options.file, |config| show(config, options.json)),
        Account::Import(options) => changing(&options.file, |config| {
            // certbot has a folder for each account, below `accounts/<CA>/directory/`.
            let key = if options.key.is_dir() {
                options.key.join("private_key.json")
            } else {
                options.key.clone()
            };
            let key = zeroize::Zeroizing::new(cert::read(&key)?);
            let _alone = alone(config)?;
            let known = block_on(async {
                Ok(account::import(&config.state_dir, &config.acme.first(), &key).await?)
            })?;
            print(&known)
        }),
        Account::Rollover(file) => changing(file, |config| {
            let _alone = alone(config)?;
            let known = block_on(async {
                Ok(account::rollover(&config.state_dir, &config.acme.first()).await?)
            })?;
            writeln!(stdout(), "the account has a new key")?;
            print(&known)
        }),
        Account::Deactivate(options) => changing(&options.file, |config| {
            if !options.yes {
                let text = "this ends the account for ever, and renewals make another one\nhint: add `--yes` if that is \
                            meant";
                writeln!(stdout(), "{text}")?;
                return Ok(Verdict::Blocked);
            }
            let _alone = alone(config)?;
            block_on(async {
                Ok(account::deactivate(&config.state_dir, &config.acme.first()).await?)
            })?;
            writeln!(
                stdout(),
                "the account is deactivated; its certificates stay valid"
            )?;
            Ok(Verdict::Fine)
        }),
    }
}

/// Keeps renewals away: one that is running signs with the key that it began with.
fn alone(config: &Config) -> Result<Vec<Box<dyn Lock>>, CertError> {
    let store = FileStore::new(&config.state_dir);
    let mut locks = Vec::new();
    for lineage in Lineage::all(config) {
        let lock = store.lock(&lineage.name)?;
        locks.push(lock.ok_or(StoreError::Busy(lineage.name))?);
    }
    Ok(locks)
}

fn show(config: &Config, json: bool) -> Result<Verdict, CertError> {
    let mut all = Vec::new();
    for ca in config.acme.cas() {
        all.extend(account::show(&config.state_dir, &ca)?);
    }
    if json {
        serde_json::to_writer_pretty(stdout(), &all)?;
        writeln!(stdout())?;
        return Ok(Verdict::Fine);
    }
    if all.is_empty() {
        writeln!(
            stdout(),
            "no account yet; `portico cert issue` makes one with the first certificate"
        )?;
    }
    for known in &all {
        print(known)?;
    }
    Ok(Verdict::Fine)
}

fn print(known: &Known) -> Result<Verdict, CertError> {
    let or = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
    writeln!(
        stdout(),
        "{}: account {}, contact {}, key {} ({})",
        known.directory,
        or(&known.url, "not confirmed by the CA yet"),
        or(&known.contact, "none"),
        or(&known.thumbprint, "unreadable"),
        or(&known.key, "of no known kind"),
    )?;
    Ok(Verdict::Fine)
}
