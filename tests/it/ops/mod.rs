//! What an operator sees and does: verbs, alarms, metrics, events, files of other programs, and what is never shown.

mod change;
mod check;
mod damaged;
mod events;
mod files;
mod idle;
mod kept;
mod metrics;
mod plan;
mod secrets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use time::OffsetDateTime;

use crate::support::pki::{Ca, Leaf};
use crate::support::portico::{fill, portico_cmd};

/// The names of the certificates of these tests.
const NAMES: [&str; 2] = ["example.test", "*.example.test"];

/// A state directory and a configuration, for verbs without a running proxy.
struct Desk {
    folder: tempfile::TempDir,
    file: PathBuf,
}

/// A configuration that renews through a CA that nobody can reach: no verb of these tests may ask it.
const TIMER: &str = r#"domains = ["example.test"]
state_dir = "{dir}/state"
[listen]
https = ["{https}"]
http = ["{http}"]
admin = "{admin}"
[acme]
directory = "https://127.0.0.1:1/dir"
deploy_probe = "off"
[acme.dns]
provider = "manual"
[upstream]
servers = ["http://127.0.0.1:4"]
[log]
access = "off"
"#;

impl Desk {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portico.toml");
        fs::write(&file, fill(config, folder.path())).unwrap();
        Self { folder, file }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a verb of `portico cert`.
    fn cert(&self, verb: &[&str]) -> Output {
        let file = self.file.display().to_string();
        let mut args = vec!["cert"];
        args.extend_from_slice(verb);
        args.extend_from_slice(&["--config", &file]);
        portico_cmd(&args)
    }

    /// Runs a verb that has to succeed; its output.
    fn done(&self, verb: &[&str]) -> String {
        let output = self.cert(verb);
        assert!(output.status.success(), "{verb:?}: {output:?}");
        stdout(&output)
    }

    fn import(&self, leaf: &Leaf) {
        let (cert, key) = leaf.write(&self.path().join("import"));
        let text = |path: &Path| path.display().to_string();
        self.done(&["import", "--cert", &text(&cert), "--key", &text(&key)]);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A certificate of 100 days of which so many thousandths are over.
fn aged(ca: &Ca, gone: u32) -> Leaf {
    let lifetime = Duration::from_secs(100 * 86_400);
    let start = OffsetDateTime::now_utc() - lifetime / 1000 * gone;
    ca.leaf_valid(&NAMES, start, start + lifetime)
}
