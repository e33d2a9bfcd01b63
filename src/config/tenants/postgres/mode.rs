//! `tenants.postgres.mode`: whether the database's rows are all read, or one host at a time, and which keys go with which.

use super::super::super::section::Section;
use super::Lookup;

/// How the database is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `"preload"`: all rows, in memory and on the disk. No request leads to a query.
    Preload,
    /// `"lookup"`: the row of a host when it is asked for, remembered for a while.
    Lookup(Lookup),
}

/// Whether hosts are looked up.
pub(super) const MODES: &[(&str, bool)] = &[("preload", false), ("lookup", true)];

/// Keys that only mean something while all rows are read, with what to do.
const PRELOAD_KEYS: &[(&str, &str)] = &[
    (
        "resync",
        "remove it: nothing is compared; `positive_ttl` says how long an answer is good",
    ),
    (
        "poll",
        "remove it: without notifications an answer is good for `positive_ttl`",
    ),
    (
        "snapshot",
        "remove it, or set `mode = \"preload\"`: answers about single hosts are not saved, so a start needs the database",
    ),
];

/// Refuses keys of the other mode.
pub(super) fn check_mode(section: &mut Section<'_, '_>, mode: &Mode) {
    match mode {
        Mode::Preload => {
            for key in Lookup::KEYS {
                if section.has(key) {
                    let message = "the key has no use with `mode = \"preload\"`";
                    let hint = "remove it, or set `mode = \"lookup\"`";
                    section.refuse(key, message, hint);
                }
            }
        }
        Mode::Lookup(_) => {
            for (key, hint) in PRELOAD_KEYS {
                if section.has(key) {
                    let message = "the key has no use with `mode = \"lookup\"`";
                    section.refuse(key, message, hint);
                }
            }
        }
    }
}
