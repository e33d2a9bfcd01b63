//! Child processes, programs and the proxy's configuration text.

use std::path::Path;
use std::process::Command;

use super::panic_of;
use crate::support::child::Child;
use crate::support::portico::fill;
use crate::support::{program, wait};

#[test]
fn a_child_that_ends_too_early_is_reported_with_its_log() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo port is taken >&2; exit 3"]);
    let message = panic_of(|| drop(Child::spawn("server", command).ready(|| false)));
    assert!(
        message.contains("server ended before it was ready: exit status: 3"),
        "{message}"
    );
    assert!(message.contains("port is taken"), "{message}");
}

#[test]
fn a_dropped_child_takes_its_own_children_along() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 300 & echo started $!; wait"]);
    let mut child = Child::spawn("server", command);
    child.wait_log("started");
    let sleeper = child.stdout().trim().replace("started ", "/proc/");
    assert!(Path::new(&sleeper).exists());
    drop(child);
    wait::until("the grandchild ends", || {
        (!is_running(&sleeper)).then_some(())
    });
}

/// A process that has ended but has not been waited for by its new parent counts as ended.
fn is_running(proc: &str) -> bool {
    let state = std::fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
    state
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn placeholders_of_a_configuration_become_addresses() {
    let text = fill(
        "[listen]\nhttps = \"{https}\"\nagain = \"{https}\"\nadmin = \"{admin}\"",
        Path::new("/x"),
    );
    let table: toml::Table = text.parse().unwrap();
    let listen = |key: &str| table["listen"][key].as_str().unwrap().to_owned();
    assert_eq!(listen("https"), listen("again"));
    assert_ne!(listen("https"), listen("admin"));
    assert!(listen("https").parse::<std::net::SocketAddr>().is_ok());
}

#[test]
fn a_missing_program_names_the_command_that_installs_it() {
    let message = panic_of(|| drop(program::system("no-such-program")));
    assert_eq!(
        message,
        "`no-such-program` is missing (PATH): run `tests/run`, which installs it"
    );
}
