//! `portico demo`: what somebody sees who has just built it.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::child::Child;
use crate::support::{port, program};

struct Demo {
    child: Child,
    https: String,
}

fn command(folder: &Path, https: &str) -> Command {
    let http = port::local(port::free()).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command.args(["demo", "--https", https, "--http", &http]);
    command.current_dir(folder);
    command
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let https = port::local(port::free()).to_string();
        let mut child = Child::spawn("portico demo", command(folder, &https));
        child.wait_log("Ctrl-C stops it");
        Self { child, https }
    }

    /// The `curl` lines of the banner.
    fn lines(&self) -> Vec<String> {
        let banner = self.child.stdout();
        let lines = banner
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("curl "));
        lines.map(str::to_owned).collect()
    }

    fn stop(mut self) {
        self.child.signal(Signal::INT);
        assert_eq!(
            self.child.wait_exit().code(),
            Some(0),
            "{}",
            self.child.log()
        );
    }
}

/// Runs a line of the banner in a shell, as people do; `more` are further arguments.
fn shell(folder: &Path, line: &str, more: &str) -> String {
    let curl = program::system("curl").display().to_string();
    let line = line.replacen("curl ", &format!("{curl} -q -sS --noproxy '*' {more} "), 1);
    let output = Command::new("sh")
        .arg("-c")
        .arg(&line)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_line_of_the_banner_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let lines = demo.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        let text = shell(folder.path(), line, "");
        assert!(text.starts_with("tenant    acme\n"), "{line}: {text}");
        let json: Value =
            serde_json::from_str(&shell(folder.path(), line, "-H 'Accept: application/json'"))
                .unwrap();
        assert_eq!(json["tenant"], "acme", "{json}");
        assert_eq!(
            json["host"],
            format!("acme.localhost:{}", demo.https.rsplit(':').next().unwrap())
        );
        let headers = json["headers"].as_array().unwrap();
        let tenants: Vec<_> = headers
            .iter()
            .filter(|pair| pair[0] == "x-tenant")
            .collect();
        assert_eq!(tenants, [&serde_json::json!(["x-tenant", "acme"])]);
        let html = shell(folder.path(), line, "-H 'Accept: text/html' --http1.1");
        assert!(html.contains("<h1>acme</h1>"), "{html}");
    }
    for tenant in ["globex", "initech"] {
        let text = shell(folder.path(), &lines[0].replace("acme", tenant), "");
        assert!(text.starts_with(&format!("tenant    {tenant}\n")), "{text}");
    }
    let admin = shell(
        folder.path(),
        &lines[0].replace("acme", "admin"),
        "-w ' %{http_code}'",
    );
    assert!(admin.ends_with(" 404"), "{admin}");
    demo.stop();
}

#[test]
fn a_taken_port_is_named_and_the_demo_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let mut child = Child::spawn("portico demo", command(folder.path(), &taken));
    assert_eq!(child.wait_exit().code(), Some(1));
    let said = child.stderr();
    assert!(
        said.contains(&format!(
            "cannot listen on {taken}: another process listens there already"
        )),
        "{said}"
    );
    assert!(said.contains("--https"), "{said}");
    assert!(!child.stdout().contains("Portico is running"));
}

#[test]
fn the_local_authority_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = |demo: &Demo| {
        let line = demo.lines().remove(0);
        let path = line.split(' ').nth(2).unwrap().to_owned();
        std::fs::read_to_string(folder.path().join(path)).unwrap()
    };
    let first = Demo::start(folder.path());
    let before = ca(&first);
    first.stop();
    let again = Demo::start(folder.path());
    assert_eq!(ca(&again), before);
    let text = shell(folder.path(), &again.lines()[0], "");
    assert!(text.starts_with("tenant    acme\n"), "{text}");
    again.stop();
}
