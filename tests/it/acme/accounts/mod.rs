//! The ACME account over its life, and revocation: from the command line, against Pebble.

mod killed;
mod moving_in;
mod revoked;
mod staging;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::cases::lab::{DONE, Lab};

/// The one account of `account show`; null if there is none.
fn account(lab: &Lab) -> Value {
    let shown = lab.portico(&["account", "show", "--json"]).ends(DONE);
    let all: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert!(all.as_array().is_some_and(|all| all.len() <= 1), "{all}");
    all[0].clone()
}

/// Where the account's key is.
fn account_file(lab: &Lab) -> PathBuf {
    let accounts = lab.state().join("acme/accounts");
    let mut folders = fs::read_dir(&accounts).expect("a folder of accounts");
    let folder = folders.next().expect("an account").expect("an entry");
    folder.path().join("account.json")
}

/// What the file says.
fn saved(lab: &Lab) -> Value {
    serde_json::from_slice(&fs::read(account_file(lab)).expect("a file")).expect("JSON")
}

/// How many accounts Pebble has made since it started.
fn accounts_at_the_ca(lab: &Lab) -> usize {
    lab.pebble.log().matches("accounts in memory").count()
}
