//! Case 19 with a proxy: whatever becomes of the files, one that runs serves on under load and loses no request, and one
//! that starts meanwhile serves too.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{stderr, stdout};
use crate::main_line::{Load, config, credentials};
use crate::support::child::Child;
use crate::support::http::{Edge, Protocol};
use crate::support::knot::Knot;
use crate::support::origin::Origin;
use crate::support::pebble::Pebble;
use crate::support::portico::fill;
use crate::support::tls::Trust;
use crate::support::{probe, program, wait};

/// Answers between two steps, so that each is under load.
const SOME: u64 = 60;
/// Another user: `nobody`.
const NOBODY: u32 = 65534;

/// A CA, a name server, an app, and a state directory with two certificates, of which the second is current.
struct Site {
    _knot: Knot,
    pebble: Pebble,
    _app: Origin,
    folder: TempDir,
    config: String,
    trust: Trust,
    /// A copy of the program that every user may run.
    program: PathBuf,
}

/// A running proxy.
struct Proxy {
    child: Child,
    edge: Edge,
    admin: SocketAddr,
}

impl Site {
    async fn start() -> Self {
        let knot = Knot::start(&["example.test"]);
        let pebble = Pebble::asking(knot.address()).start();
        let app = Origin::hello();
        let folder = tempfile::tempdir().unwrap();
        credentials(&folder.path().join("dns.ini"), knot.address());
        let probe = "[acme]\ndeploy_probe = \"off\"";
        let config = config(&pebble, &knot, &format!("http://{}", app.address()))
            .replace("[acme]", probe)
            .replace("\"{dir}/access.log\"", "\"off\"");
        let program = folder.path().join("portico");
        fs::copy(env!("CARGO_BIN_EXE_portico"), &program).unwrap();
        let trust = pebble.root().await;
        let site = Self {
            _knot: knot,
            pebble,
            _app: app,
            folder,
            config,
            trust,
            program,
        };
        site.write_config("cert");
        for verb in ["issue --force", "renew --force"] {
            let output = run(Command::new("sh").args(["-c", &site.cert(verb)]));
            assert!(output.status.success(), "{output:?}");
        }
        site
    }

    fn write_config(&self, name: &str) -> (PathBuf, String) {
        let file = self.folder.path().join(format!("{name}.toml"));
        let text = fill(&self.config, self.folder.path());
        fs::write(&file, &text).unwrap();
        (file, text)
    }

    /// The shell's line for a verb of `portico cert`.
    fn cert(&self, verb: &str) -> String {
        let file = self.folder.path().join("cert.toml");
        let (program, file) = (self.program.display(), file.display());
        format!("{program} cert {verb} --config {file}")
    }

    /// A proxy on addresses of its own, started by what `wrap` makes of the shell's line for it.
    fn proxy(&self, name: &str, wrap: impl FnOnce(&str) -> Command) -> Proxy {
        let (file, text) = self.write_config(name);
        let table: toml::Table = text.parse().unwrap();
        let address = |key: &str| -> SocketAddr {
            let value = &table["listen"][key];
            let value = value.as_array().map_or(value, |list| &list[0]);
            value.as_str().unwrap().parse().unwrap()
        };
        let admin = address("admin");
        let line = format!(
            "exec {} run --config {}",
            self.program.display(),
            file.display()
        );
        let child = Child::spawn(name, wrap(&line));
        let ready = || probe::get(admin, "/readyz").is_ok_and(|(status, _)| status == 200);
        Proxy {
            child: child.ready(ready),
            edge: Edge::new(address("https").port(), self.trust.clone()),
            admin,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn lineage(&self) -> PathBuf {
        self.state().join("certs/example.test")
    }

    /// What the CA was asked for so far.
    fn orders(&self) -> usize {
        self.pebble.log().matches("Added order").count()
    }
}

impl Proxy {
    fn status(&self) -> Value {
        serde_json::from_str(&probe::get(self.admin, "/status").unwrap().1).unwrap()
    }

    /// The certificate in service, as clients get it by a request each of both protocols.
    async fn serves(&self) -> String {
        for protocol in Protocol::BOTH {
            let answer = self.edge.get(protocol, "a.example.test", "/").await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
        }
        let serial = &self.status()["certificates"][0]["serial"];
        serial.as_str().unwrap().to_owned()
    }

    /// Makes it read all files again; returns when it has.
    fn reload(&self) {
        let before = self.status()["generation"].as_u64();
        self.child.signal(Signal::HUP);
        wait::until("the reload", || {
            (self.status()["generation"].as_u64() > before).then_some(())
        });
    }
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    eprintln!("{command:?}: {}{}", stdout(&output), stderr(&output));
    output
}

/// A way of damaging a lineage.
type Damage = (&'static str, fn(&Path));

const DAMAGES: &[Damage] = &[
    ("state.json cut off", |lineage| {
        let path = lineage.join("state.json");
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..good.len() / 2]).unwrap();
    }),
    ("state.json and its copy garbage", |lineage| {
        for name in ["state.json", "state.json.prev"] {
            fs::write(lineage.join(name), b"\xff\xfe{]").unwrap();
        }
    }),
    ("state.json zeros", |lineage| {
        fs::write(lineage.join("state.json"), [0; 4096]).unwrap();
    }),
    ("ledger torn", |lineage| {
        let path = lineage.join("txt-ledger.jsonl");
        fs::write(&path, "{\"op\":\"owe\",\"domain\":\"exam").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }),
    ("`current` dangling", |lineage| {
        fs::remove_file(lineage.join("current")).unwrap();
        symlink("gen/000099-feedbeef", lineage.join("current")).unwrap();
    }),
    ("`current` gone", |lineage| {
        fs::remove_file(lineage.join("current")).unwrap();
    }),
    ("key readable by all", |lineage| {
        let key = lineage.join("current/privkey.pem");
        fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_19_damaged_files_cost_no_request_of_a_proxy_that_runs_or_starts() {
    let site = Site::start().await;
    let running = site.proxy("running", shell);
    let serial = running.serves().await;
    let orders = site.orders();
    let load = Load::start(&running.edge);
    for (what, damage) in DAMAGES {
        damage(&site.lineage());
        running.reload();
        load.after(SOME).await;
        assert_eq!(running.serves().await, serial, "{what}");
        let starting = site.proxy("starting", shell);
        assert_eq!(starting.serves().await, serial, "{what}: one that starts");
        drop(starting);
        // The renewal mends what it finds, and orders nothing for it.
        let renewed = run(&mut shell(&site.cert("renew")));
        assert!(renewed.status.success(), "{what}: {renewed:?}");
        assert!(stdout(&renewed).contains("not due"), "{what}");
        running.reload();
        assert_eq!(running.serves().await, serial, "{what}: mended");
    }
    let key = site.lineage().join("current/privkey.pem");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "tightened");
    load.after(SOME).await;
    let (answered, failed) = load.stop().await;
    assert_eq!(failed, [""; 0], "of {answered}");
    assert_eq!(site.orders(), orders);
    eprintln!("case 19, damaged: {answered} requests, none failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_19_a_full_and_a_read_only_disk_cost_no_request_of_a_proxy_that_runs_or_starts() {
    let site = Site::start().await;
    let state = site.state().display().to_string();
    // The state directory is a small file system of its own, which only the proxies and the renewals see.
    let running = site.proxy("running", |line| {
        let mount = format!(
            "set -e; cp -a {state} {state}.copy; mount -t tmpfs -o size=400k,mode=0750 tmpfs {state}; \
             cp -a {state}.copy/. {state}/; {line}"
        );
        let mut command = Command::new(program::system("unshare"));
        command.args(["--mount", "--map-root-user", "sh", "-c", &mount]);
        command
    });
    let pid = running.child.pid().to_string();
    let inside = |line: &str| {
        let mut command = Command::new(program::system("nsenter"));
        command
            .args([
                "--target",
                &pid,
                "--user",
                "--mount",
                "--preserve-credentials",
            ])
            .args(["sh", "-c", line]);
        command
    };
    let must = |line: &str| {
        let output = run(&mut inside(line));
        assert!(output.status.success(), "{line}: {output:?}");
    };
    let serial = running.serves().await;
    let orders = site.orders();
    let load = Load::start(&running.edge);

    let full = format!("dd if=/dev/zero of={state}/filler bs=1k status=none 2>/dev/null || true");
    for (what, before, words, after) in [
        ("full", full, "No space left", format!("rm {state}/filler")),
        (
            "read-only",
            format!("mount -o remount,ro {state}"),
            "Read-only",
            format!("mount -o remount,rw {state}"),
        ),
    ] {
        must(&before);
        let refused = run(&mut inside(&site.cert("renew --force")));
        assert!(!refused.status.success(), "{what}: {refused:?}");
        let said = stdout(&refused) + &stderr(&refused);
        assert!(said.contains(words), "{what}: {said}");
        assert_eq!(site.orders(), orders, "{what}: the CA was not asked");
        running.reload();
        load.after(SOME).await;
        assert_eq!(running.serves().await, serial, "{what}");
        let starting = site.proxy("starting", inside);
        assert_eq!(starting.serves().await, serial, "{what}: one that starts");
        drop(starting);
        must(&after);
    }

    // A key that all may read, where nobody can change that: refused, and what is in service stays.
    must(&format!(
        "chmod 644 {state}/certs/example.test/current/privkey.pem && mount -o remount,ro {state}"
    ));
    refused_key(&site, &running, &serial, inside).await;
    must(&format!("mount -o remount,rw {state}"));
    must(&site.cert("renew --force"));
    wait::until("the new certificate is in service", || {
        let status = running.status();
        (status["certificates"][0]["serial"] != serial.as_str()).then_some(())
    });
    load.after(SOME).await;
    let (answered, failed) = load.stop().await;
    assert_eq!(failed, [""; 0], "of {answered}");
    eprintln!("case 19, disk: {answered} requests, none failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_19_a_key_of_another_user_that_all_may_read_costs_no_request() {
    let site = Site::start().await;
    let us = rustix::process::geteuid();
    // The proxy must not be root, who may change every file.
    let as_user = |line: &str| {
        if !us.is_root() {
            return shell(line);
        }
        let id = NOBODY.to_string();
        let mut command = Command::new(program::system("setpriv"));
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            .args(["sh", "-c", line]);
        command
    };
    if us.is_root() {
        fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        give_to_nobody(site.folder.path());
    }
    let running = site.proxy("running", as_user);
    let serial = running.serves().await;
    let load = Load::start(&running.edge);
    let key = site.lineage().join("current/privkey.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    if us.is_root() {
        chown(&key, Some(0), Some(0)).unwrap();
    } else {
        let sudo = run(Command::new("sudo").args(["-n", "chown", "0:0"]).arg(&key));
        assert!(sudo.status.success(), "as root, or with sudo: {sudo:?}");
    }
    refused_key(&site, &running, &serial, as_user).await;
    load.after(SOME).await;
    let (answered, failed) = load.stop().await;
    assert_eq!(failed, [""; 0], "of {answered}");
    eprintln!("case 19, foreign key: {answered} requests, none failed");
}

/// The current key is refused: the proxy that runs keeps the certificate of `serial`, one that starts takes the newest
/// good one. Both say so.
async fn refused_key(
    site: &Site,
    running: &Proxy,
    serial: &str,
    wrap: impl FnOnce(&str) -> Command,
) {
    running.reload();
    assert_eq!(running.serves().await, serial);
    let log = running.child.stderr();
    assert!(log.contains("others may read it"), "{log}");
    assert!(log.contains("the one in service stays"), "{log}");
    let starting = site.proxy("starting", wrap);
    assert_ne!(starting.serves().await, serial, "the one before it");
    assert_eq!(starting.status()["certificates"][0]["generation"], 1);
    let log = starting.child.stderr();
    assert!(log.contains("using the newest good one"), "{log}");
}

fn give_to_nobody(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
    if !path.is_symlink() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
