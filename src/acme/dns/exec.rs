//! The operator's hook.
//!
//! The program of `command` is run as `program [arguments] present|cleanup <fqdn> <value>` (lego's contract) with
//! certbot's variables set (`CERTBOT_DOMAIN`, `CERTBOT_VALIDATION`, `CERTBOT_TOKEN` (empty),
//! `CERTBOT_REMAINING_CHALLENGES`, `CERTBOT_ALL_DOMAINS`, and `CERTBOT_AUTH_OUTPUT` for cleanup), so hooks of either
//! kind work. No shell is involved. It has 60 seconds, then it is killed. Status 0 is success.

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
    program: String,
    arguments: Vec<String>,
    /// What `present` printed, by name and value, for `CERTBOT_AUTH_OUTPUT`.
    printed: HashMap<(String, String), String>,
}

impl Exec {
    pub(super) fn new(command: &[String]) -> Result<Self, DnsError> {
        let [program, arguments @ ..] = command else {
            return Err(DnsError::Refused(
                "`command` in [acme.dns] is empty".to_owned(),
            ));
        };
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            printed: HashMap::new(),
        })
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
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args([verb, &txt.fqdn, &txt.value])
            .env("CERTBOT_DOMAIN", &txt.domain)
            .env("CERTBOT_VALIDATION", &txt.value)
            .env("CERTBOT_TOKEN", "")
            .env("CERTBOT_REMAINING_CHALLENGES", txt.remaining.to_string())
            .env("CERTBOT_ALL_DOMAINS", txt.all.join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(printed) = printed {
            command.env("CERTBOT_AUTH_OUTPUT", printed);
        }
        let named = format!("the hook `{} {verb}`", self.program);
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
        tracing::debug!(hook = self.program, verb, fqdn = txt.fqdn, status = %output.status, %stdout, %stderr, "the DNS hook ended");
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
