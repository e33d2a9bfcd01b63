//! The operator's hook.
//!
//! Two contracts, so that hooks written for other clients work unchanged. Lego's: `program [arguments] present|cleanup
//! NAME VALUE`, the name with a dot at its end. Certbot's: `program [arguments]`, one for each of `--manual-auth-hook` and
//! `--manual-cleanup-hook`. Under both, certbot's variables are set as certbot 2 sets them for DNS-01: `CERTBOT_DOMAIN`,
//! `CERTBOT_VALIDATION`, `CERTBOT_REMAINING_CHALLENGES`, `CERTBOT_ALL_DOMAINS`, for cleanup `CERTBOT_AUTH_OUTPUT` (what the
//! first call printed; empty after a crash), and no `CERTBOT_TOKEN`. No shell is involved. A hook has 60 seconds, then it
//! is killed. Status 0 is success.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{DnsError, Txt};

/// For one call of the hook.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the hook's output an error shows.
const SHOWN: usize = 400;

/// The hook.
#[derive(Debug)]
pub struct Exec {
    contract: Contract,
    /// What the first call printed, by name and value, for `CERTBOT_AUTH_OUTPUT`.
    printed: HashMap<(String, String), String>,
}

/// How the hook is called: a program and its arguments.
#[derive(Debug)]
enum Contract {
    Lego(Vec<String>),
    Certbot {
        auth: Vec<String>,
        cleanup: Vec<String>,
    },
}

impl Exec {
    /// A hook written for lego.
    pub(super) fn lego(command: &[String]) -> Self {
        Self::new(Contract::Lego(command.to_vec()))
    }

    /// Hooks written for certbot.
    pub(super) fn certbot(auth: &[String], cleanup: &[String]) -> Self {
        Self::new(Contract::Certbot {
            auth: auth.to_vec(),
            cleanup: cleanup.to_vec(),
        })
    }

    fn new(contract: Contract) -> Self {
        Self {
            contract,
            printed: HashMap::new(),
        }
    }

    pub(super) async fn add(&mut self, txt: &Txt) -> Result<(), DnsError> {
        let output = self.call("present", txt, None).await?;
        self.printed
            .insert((txt.fqdn.clone(), txt.value.clone()), output);
        Ok(())
    }

    pub(super) async fn remove(&mut self, txt: &Txt) -> Result<(), DnsError> {
        let printed = self
            .printed
            .remove(&(txt.fqdn.clone(), txt.value.clone()))
            .unwrap_or_default();
        self.call("cleanup", txt, Some(&printed)).await.map(drop)
    }

    async fn call(&self, verb: &str, txt: &Txt, printed: Option<&str>) -> Result<String, DnsError> {
        let words = match &self.contract {
            Contract::Lego(command) => command,
            Contract::Certbot { auth, .. } if printed.is_none() => auth,
            Contract::Certbot { cleanup, .. } => cleanup,
        };
        let [program, arguments @ ..] = words.as_slice() else {
            return Err(DnsError::Refused(
                "`command` in [acme.dns] is empty".to_owned(),
            ));
        };
        // Certbot names the identifiers, and that of a wildcard is the domain below it.
        let all: Vec<&str> = txt
            .all
            .iter()
            .map(|name| name.strip_prefix("*.").unwrap_or(name))
            .collect();
        let mut command = Command::new(program);
        command.args(arguments);
        if let Contract::Lego(_) = self.contract {
            command.args([verb, &format!("{}.", txt.fqdn), &txt.value]);
        }
        command
            .env("CERTBOT_DOMAIN", &txt.domain)
            .env("CERTBOT_VALIDATION", &txt.value)
            .env("CERTBOT_REMAINING_CHALLENGES", txt.remaining.to_string())
            .env("CERTBOT_ALL_DOMAINS", all.join(","))
            .env_remove("CERTBOT_TOKEN")
            .env_remove("CERTBOT_AUTH_OUTPUT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(printed) = printed {
            command.env("CERTBOT_AUTH_OUTPUT", printed);
        }
        let named = format!("the hook `{program}` ({verb})");
        let child = command.spawn().map_err(|error| {
            DnsError::Refused(format!(
                "{named} cannot be started: {error}\nhint: check `command` in [acme.dns]"
            ))
        })?;
        // On a timeout the future is dropped, and the child is killed with it.
        let output = match tokio::time::timeout(PATIENCE, child.wait_with_output()).await {
            Ok(output) => output.map_err(|error| DnsError::Failed(format!("{named}: {error}")))?,
            Err(_) => {
                return Err(DnsError::Failed(format!(
                    "{named} took longer than {} s and was killed",
                    PATIENCE.as_secs()
                )));
            }
        };
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        tracing::debug!(hook = program, verb, fqdn = txt.fqdn, status = %output.status, %stdout, %stderr, "the DNS hook ended");
        if output.status.success() {
            return Ok(stdout.trim_end().to_owned());
        }
        let shown: String = stderr.trim().chars().take(SHOWN).collect();
        Err(DnsError::Failed(format!(
            "{named} failed ({}): {shown}",
            output.status
        )))
    }
}
