//! An app that is asked for tenants: gunicorn with `ask_app.py`.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gunicorn::Gunicorn;
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::site::{Site, SiteBuilder};

/// The app, and what it knows.
pub(super) struct AskApp {
    gunicorn: Option<Gunicorn>,
    address: SocketAddr,
    rows: BTreeMap<String, Value>,
    token: bool,
    folder: TempDir,
}

impl AskApp {
    pub(super) fn start() -> Self {
        Self::new(false)
    }

    /// Questions without the token in [`Self::token_file`] are refused.
    pub(super) fn with_token(token: &str) -> Self {
        let app = Self::new(true);
        app.set_token(token);
        app
    }

    fn new(token: bool) -> Self {
        let mut app = Self {
            gunicorn: None,
            address: port::local(port::free()),
            rows: BTreeMap::new(),
            token,
            folder: tempfile::tempdir().unwrap(),
        };
        app.write();
        app.up();
        app
    }

    /// Starts it where it was before.
    pub(super) fn up(&mut self) {
        let mut env = vec![
            format!("ASK_APP_ROWS={}", self.path("rows.json").display()),
            format!("ASK_APP_CALLS={}", self.path("calls").display()),
        ];
        if self.token {
            env.push(format!(
                "ASK_APP_TOKEN={}",
                self.path("app-token").display()
            ));
        }
        let args: Vec<&str> = env.iter().flat_map(|env| ["--env", env]).collect();
        let gunicorn = Gunicorn::worker("gthread")
            .app("ask_app:application", "/")
            .args(&args)
            .at(self.address);
        self.gunicorn = Some(gunicorn);
    }

    /// Ends it as a crash would.
    pub(super) fn down(&mut self) {
        self.gunicorn.take().expect("it runs").kill();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn set_token(&self, token: &str) {
        fs::write(self.path("app-token"), token).unwrap();
    }

    /// What is answered for a host: `{"row": {…}}` and more, see `ask_app.py`.
    pub(super) fn put(&mut self, host: &str, rule: Value) {
        self.rows.insert(host.to_owned(), rule);
        self.write();
    }

    /// The host is a tenant of this id.
    pub(super) fn put_tenant(&mut self, host: &str, id: &str) {
        self.put(host, json!({ "row": { "id": id } }));
    }

    pub(super) fn remove(&mut self, host: &str) {
        self.rows.remove(host);
        self.write();
    }

    fn write(&self) {
        // Renamed into place, since a worker may read it at any time.
        let aside = self.path("rows.new");
        fs::write(&aside, json!(self.rows).to_string()).unwrap();
        fs::rename(aside, self.path("rows.json")).unwrap();
    }

    /// The questions so far: `/tenant host acme.example.test - 200`.
    pub(super) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// A site whose tenants are asked for at `path`.
    pub(super) fn site(&self, origin: &Origin, path: &str) -> SiteBuilder {
        Site::before(&[origin.address()])
            .set("tenants", "source = \"http\"")
            .set("tenants.http", &format!("url = \"http://{}{path}\"", self.address))
            // The wait is for the app's answer, however busy the machine is.
            .set("tenants.http", "timeout = \"20s\"")
    }
}
