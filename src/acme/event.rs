//! The operator's program that hears what happens to a certificate (`acme.on_event`).
//!
//! It gets one JSON object on standard input and has ten seconds, then it is killed. It runs beside the renewal: what
//! it does, and whether it works, changes nothing for a certificate and is only logged. No shell is involved, and
//! neither secrets nor credentials are in an event or passed on.

use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::alarm::Level;

/// For one call of the program.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of the program's words a message shows.
const SHOWN: usize = 400;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A new certificate is stored.
    Renewed,
    /// A try failed; there will be another.
    Failed,
    /// Somebody must change something.
    Blocked,
    /// A new certificate is stored and not served.
    DeployFailed,
    /// The end comes nearer than it should; once for each [`Level`].
    Expiring,
    /// What an earlier event told of is over.
    Recovered,
}

/// One event, as the program reads it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What happened.
    pub event: Kind,
    /// To which lineage.
    pub lineage: String,
    /// When.
    pub time: String,
    /// How near the end is, or how bad what else is wrong.
    pub level: Level,
    /// The class of the failure, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The cause, with its hint.
    pub detail: String,
    /// What happens next, or what to do, in one line.
    pub next: String,
    /// Serial number of the certificate in the store.
    pub serial: Option<String>,
    /// Its end.
    pub not_after: Option<String>,
    /// Seconds until then; negative if it is over.
    pub seconds_left: Option<i64>,
}

/// Runs the program for each event: those of one lineage in their order, those of several side by side.
#[derive(Debug)]
pub struct Hook {
    command: Option<Vec<String>>,
    running: JoinSet<()>,
}

impl Hook {
    /// Nothing runs yet; without a command nothing ever does.
    #[must_use]
    pub fn new(command: Option<&[String]>) -> Self {
        Self {
            command: command.map(<[String]>::to_vec),
            running: JoinSet::new(),
        }
    }

    /// Logs the events of a lineage and hands them to the program, one after the other and without waiting for it.
    pub fn tell(&mut self, events: &[Event]) {
        let mut lines = Vec::new();
        for event in events {
            let (kind, detail) = (event.event, &event.detail);
            tracing::info!(EDGE_LINEAGE = event.lineage, EDGE_CLASS = event.class, event = ?kind, level = event.level.word(), "{detail}");
            match serde_json::to_vec(event) {
                Ok(mut json) => {
                    json.push(b'\n');
                    lines.push(json);
                }
                Err(error) => tracing::warn!(%error, "an event cannot be written"),
            }
        }
        if let Some(command) = self.command.clone() {
            self.running.spawn(async move {
                for json in lines {
                    call(&command, json).await;
                }
            });
        }
    }

    /// Waits until every program has ended or has been killed.
    pub async fn finish(mut self) {
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::warn!(%error, "the event hook was lost");
            }
        }
    }
}

async fn call(command: &[String], json: Vec<u8>) {
    let [program, arguments @ ..] = command else {
        return;
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(hook = program, %error, "the event hook cannot be started; see `acme.on_event`");
            return;
        }
    };
    let ended = async {
        if let Some(mut input) = child.stdin.take() {
            // A program that does not read is not at fault.
            drop(input.write_all(&json).await);
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(PATIENCE, ended).await {
        Ok(Ok(output)) if output.status.success() => {}
        Ok(Ok(output)) => {
            let words: String = String::from_utf8_lossy(&output.stderr)
                .trim()
                .chars()
                .take(SHOWN)
                .collect();
            tracing::warn!(hook = program, status = %output.status, "the event hook failed: {words}");
        }
        Ok(Err(error)) => tracing::warn!(hook = program, %error, "the event hook was lost"),
        Err(_elapsed) => {
            let seconds = PATIENCE.as_secs();
            tracing::warn!(
                hook = program,
                "the event hook took longer than {seconds} s and was killed"
            );
        }
    }
}
