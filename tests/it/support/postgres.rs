//! PostgreSQL as Debian packs it: a throw-away cluster per test, never the system's.
//!
//! It listens on a Unix socket in its own folder and, when asked, on a port of 127.0.0.1. It runs as `postgres` when the
//! tests run as root (the server refuses to be root), else as who runs the tests. Nothing is synced to the disk: a
//! cluster survives the death of its processes, as the tests need, and no power cut.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::child::Child;
use super::pki::Leaf;
use super::{port, prepared, wait};

/// The superuser of every cluster. No password: `pg_hba.conf` trusts everybody, until [`PostgresBuilder::hba`].
pub(crate) const SUPERUSER: &str = "postgres";

/// Clusters are many and short-lived: no work that only a long life pays for.
const SHORT_LIVED: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("max_wal_senders", "0"),
    ("shared_buffers", "16MB"),
    ("dynamic_shared_memory_type", "mmap"),
];

/// What a cluster shall be like: `Postgres::with().tcp().set("log_statement", "all").start()`.
pub(crate) struct PostgresBuilder {
    tcp: bool,
    settings: Vec<(String, String)>,
    hba: Option<String>,
    tls: Option<Leaf>,
    data: Option<PathBuf>,
}

/// A cluster; dropping it ends its server and removes it.
pub(crate) struct Postgres {
    server: Option<Child>,
    tcp: bool,
    port: u16,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl PostgresBuilder {
    /// Listens on 127.0.0.1 too, at the port of the Unix socket's name.
    pub(crate) fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// A setting of `postgresql.conf`.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The lines of `pg_hba.conf`. `local all postgres trust` stays first: [`Postgres::psql`] needs it.
    pub(crate) fn hba(mut self, lines: &str) -> Self {
        self.hba = Some(format!("local all {SUPERUSER} trust\n{lines}\n"));
        self
    }

    /// TLS on the TCP port, with this certificate.
    pub(crate) fn tls(mut self, leaf: &Leaf) -> Self {
        self.tls = Some(leaf.clone());
        self
    }

    /// Starts from a copy of this data directory (of a stopped cluster) in place of an empty one.
    pub(crate) fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(mut self) -> Postgres {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        match &self.data {
            Some(prepared) => copy(prepared, &data),
            None => prepared::folder("postgres-empty", &program("postgres"), initdb, |empty| {
                copy(&empty.join("data"), &data);
            }),
        }
        give(folder.path());
        if let Some(lines) = &self.hba {
            fs::write(data.join("pg_hba.conf"), lines).expect("our own folder");
        }
        if let Some(leaf) = &self.tls {
            let (chain, key) = leaf.write(folder.path());
            give(&chain);
            give(&key);
            for (name, value) in [
                ("ssl", "on".to_owned()),
                ("ssl_cert_file", chain.display().to_string()),
                ("ssl_key_file", key.display().to_string()),
            ] {
                self.settings.push((name.to_owned(), value));
            }
        }
        let mut postgres = Postgres {
            server: None,
            tcp: self.tcp,
            port: port::free(),
            settings: self.settings,
            folder,
        };
        postgres.start_again();
        postgres
    }
}

impl Postgres {
    /// An empty cluster on a Unix socket.
    pub(crate) fn start() -> Self {
        Self::with().start()
    }

    /// The same with more to say before it starts.
    pub(crate) fn with() -> PostgresBuilder {
        PostgresBuilder {
            tcp: false,
            settings: Vec::new(),
            hba: None,
            tls: None,
            data: None,
        }
    }

    /// The folder of the Unix socket: the `host` of a DSN. Everybody on the machine may connect there.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of the TCP address, and the number in the name of the Unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address on 127.0.0.1.
    pub(crate) fn address(&self) -> SocketAddr {
        assert!(self.tcp, "this PostgreSQL listens on a Unix socket only");
        port::local(self.port)
    }

    /// A DSN by the Unix socket: `host=… port=… user=… dbname=…`.
    pub(crate) fn dsn(&self, user: &str, database: &str) -> String {
        let folder = self.folder.path().display();
        let port = self.port;
        format!("host={folder} port={port} user={user} dbname={database}")
    }

    /// The data directory, for a test that breaks it, or for a copy of a stopped cluster.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs SQL as the superuser; what it prints, columns parted by `|`. Each statement is a transaction of its own.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_as(SUPERUSER, database, sql)
            .unwrap_or_else(|error| panic!("psql: {error}\n{sql}"))
    }

    /// Runs SQL as this role; the server's first complaint ends it.
    pub(crate) fn psql_as(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(program("psql"))
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--set=ON_ERROR_STOP=1", "--file=-", "--dbname"])
            .arg(self.dsn(user, database))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut stdin = psql.stdin.take().expect("piped above");
        // It may be gone before it read all: its complaint says why.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        let output = psql.wait_with_output().expect("psql ends");
        if output.status.success() {
            let text = String::from_utf8(output.stdout).expect("a database in UTF-8");
            Ok(text.trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What the running server has logged.
    pub(crate) fn log(&self) -> String {
        self.running().log()
    }

    /// Ends the server in order, as for an upgrade: clients are told and thrown out (the "fast" shutdown).
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.signal(Signal::INT);
        server.wait_exit();
    }

    /// Ends all of its processes in the middle of whatever they do.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        let pid = server.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        server.signal(Signal::KILL);
        server.wait_exit();
        for child in children.expect("our own child").split_whitespace() {
            let raw = child.parse().ok().and_then(Pid::from_raw);
            let _ = kill_process(raw.expect("a process id"), Signal::KILL);
            // The next server refuses to start while one of them still has the shared memory.
            wait::until("a process of PostgreSQL's ends", || {
                let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
        }
    }

    /// Starts a stopped or killed one, at the same socket and port.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let mut command = Command::new(program("postgres"));
        command.arg("-D").arg(self.data());
        let listen = if self.tcp { "127.0.0.1" } else { "" };
        let fixed = [
            ("port", self.port.to_string()),
            ("listen_addresses", listen.to_owned()),
            (
                "unix_socket_directories",
                self.folder.path().display().to_string(),
            ),
        ];
        // The last of two wins.
        let own = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        let quick = SHORT_LIVED.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in (quick
            .iter()
            .chain(&fixed)
            .map(|(name, value)| (*name, value)))
        .chain(own)
        {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        unprivileged(&mut command).current_dir(self.folder.path());
        let mut server = Child::spawn("postgres", command).farewell(Signal::QUIT);
        server.wait_log("database system is ready to accept connections");
        self.server = Some(server);
    }

    /// Ends it in order and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    fn running(&self) -> &Child {
        self.server.as_ref().expect("it runs")
    }
}

/// A program of the newest PostgreSQL here. Debian's wrappers in `PATH` would look for clusters of the system.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .flatten()
        .filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok())
        .max();
    let version = newest
        .unwrap_or_else(|| panic!("PostgreSQL is missing: run `tests/run`, which installs it"));
    Path::new("/usr/lib/postgresql")
        .join(version.to_string())
        .join("bin")
        .join(name)
}

/// Makes the command run as `postgres` when the tests run as root.
pub(crate) fn unprivileged(command: &mut Command) -> &mut Command {
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// Gives a file or folder to the user that the servers run as.
pub(crate) fn give(path: &Path) {
    if let Some((user, group)) = owner() {
        chown(path, Some(user), Some(group)).expect("root may give");
    }
    if path.is_dir() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).expect("our own folder");
    }
}

/// User and group of `postgres`, if the tests run as root.
pub(crate) fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("a readable file");
    let user = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(SUPERUSER)).then_some(())?;
        let user = fields.nth(1)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    });
    Some(user.unwrap_or_else(|| {
        panic!("the user `{SUPERUSER}` is missing: run `tests/run`, which installs PostgreSQL")
    }))
}

/// An empty cluster in `folder`, which `postgres` may not be able to reach: made elsewhere and copied by its owner.
fn initdb(folder: &Path) {
    let place = tempfile::tempdir().expect("a temporary folder");
    give(place.path());
    let data = place.path().join("data");
    let mut command = Command::new(program("initdb"));
    command
        .args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--no-sync", "--no-instructions", "--username", SUPERUSER])
        .arg("--pgdata")
        .arg(&data);
    let output = unprivileged(&mut command)
        .current_dir(place.path())
        .output();
    let output = output.expect("initdb runs");
    assert!(output.status.success(), "{output:?}");
    copy(&data, &folder.join("data"));
}

/// A copy of the data directory with its owner and modes.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp runs").success(), "cp -a {from:?} {to:?}");
}
