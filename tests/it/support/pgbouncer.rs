//! PgBouncer as Debian packs it, before a cluster of the test's own.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::child::Child;
use super::postgres::{Postgres, give, unprivileged};
use super::{port, probe, program};

/// A running PgBouncer that hands out server connections by transaction.
pub(crate) struct PgBouncer {
    port: u16,
    _child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// In front of this database; `user` needs no password.
    pub(crate) fn before(postgres: &Postgres, user: &str, database: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        give(folder.path());
        let users = folder.path().join("users.txt");
        fs::write(&users, format!("\"{user}\" \"\"\n")).expect("our own folder");
        let port = port::free();
        let config = format!(
            "[databases]\n{database} = host={host} port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\nlogfile =\npidfile =\n",
            host = postgres.socket_folder().display(),
            server = postgres.port(),
            users = users.display(),
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, config).expect("our own folder");
        let mut command = Command::new(program::system("pgbouncer"));
        command.arg(&file);
        unprivileged(&mut command).current_dir(folder.path());
        let address = port::local(port);
        let child = Child::spawn("pgbouncer", command).ready(|| probe::accepts(address));
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }

    /// A DSN by way of it.
    pub(crate) fn dsn(&self, user: &str, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={user} dbname={database}",
            self.port
        )
    }
}
