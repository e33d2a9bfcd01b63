//! The site of `tests/django`: real apps with a schema per tenant, on real servers, with a database of their own.
//!
//! Migrations take seconds, so the migrated database is made once (`prepared`) and copied for each test. It has the
//! tenants `public` (the bare domain), `acme` and `globex`, all paid for.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::apache;
use super::child::Child;
use super::key_file::KeyFile;
use super::postgres::{self, Postgres};
use super::site::DOMAIN;
use super::{port, prepared, program, wait};

/// The database of the site.
pub(crate) const DATABASE: &str = "saas";

/// The package that finds the schema of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    /// django-tenants: hosts in a table of their own.
    Tenants,
    /// django-tenant-schemas: one host in the tenant's row.
    Schemas,
}

/// The site and its database, before any server of it runs.
pub(crate) struct Django {
    pub(crate) postgres: Postgres,
    package: Package,
    env: Vec<(String, String)>,
    mail: TempDir,
}

/// A running server of the site.
pub(crate) struct App {
    address: String,
    takes_chunks: bool,
    child: Child,
    folder: TempDir,
}

impl Django {
    /// A copy of the prepared site with django-tenants.
    pub(crate) fn new() -> Self {
        Self::with(Package::Tenants)
    }

    /// The same with either package.
    pub(crate) fn with(package: Package) -> Self {
        let name = match package {
            Package::Tenants => "django-tenants",
            Package::Schemas => "django-tenant-schemas",
        };
        let key = (sources(), postgres::program("postgres"));
        let make = |folder: &Path| Self::prepare(package, &folder.join("data"));
        prepared::folder(name, &key, make, |folder| {
            let postgres = Postgres::with()
                .tcp()
                .set("track_commit_timestamp", "on")
                .data(&folder.join("data"))
                .start();
            Self::before(postgres, package)
        })
    }

    /// Lets nobody in but who is signed by these keys: `tests/django/portico_tenant.py`.
    pub(crate) fn believing(self, keys: &KeyFile) -> Self {
        self.env("SAAS_PORTICO_KEYS", &keys.path.display().to_string())
    }

    /// Sets an environment variable of everything that is started from now on.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn before(postgres: Postgres, package: Package) -> Self {
        let mail = tempfile::tempdir().expect("a temporary folder");
        postgres::give(mail.path());
        Self {
            postgres,
            package,
            env: Vec::new(),
            mail,
        }
    }

    /// What the tutorials do by hand: a database, its migrations and the first tenants.
    fn prepare(package: Package, data: &Path) {
        let mut site = Self::before(Postgres::start(), package);
        site.postgres
            .psql("postgres", &format!("CREATE DATABASE {DATABASE}"));
        site.manage(&["migrate_schemas", "--shared", "--verbosity=0"]);
        site.create_tenant("public", DOMAIN);
        for name in ["acme", "globex"] {
            site.create_tenant(name, &format!("{name}.{DOMAIN}"));
        }
        site.postgres.stop();
        postgres::copy(&site.postgres.data(), data);
    }

    /// Creates a tenant as its package's manual says; returns when its schema is migrated and its host is committed.
    pub(crate) fn create_tenant(&self, name: &str, host: &str) {
        match self.package {
            Package::Tenants => self.manage(&[
                "create_tenant",
                &format!("--schema_name={name}"),
                &format!("--name={name}"),
                "--paid_until=2099-12-31",
                "--on_trial=False",
                &format!("--domain-domain={host}"),
                "--domain-is_primary=True",
                "--noinput",
            ]),
            Package::Schemas => self.manage(&[
                "shell",
                "--command",
                &format!(
                    "from schemas.customers.models import Client; Client.objects.create(schema_name='{name}', \
                     name='{name}', domain_url='{host}', paid_until='2099-12-31', on_trial=False)"
                ),
            ]),
        };
    }

    /// Runs `manage.py`; what it prints.
    pub(crate) fn manage(&self, args: &[&str]) -> String {
        let mut command = self.command(&program::venv("python"));
        let output = command.arg("manage.py").args(args).output();
        let output = output.expect("python runs");
        assert!(output.status.success(), "manage.py {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs SQL in the site's database.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.postgres.psql(DATABASE, sql)
    }

    /// The e-mails sent so far, the oldest first.
    pub(crate) fn mails(&self) -> Vec<String> {
        let files = fs::read_dir(self.mail.path()).expect("our own folder");
        let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        files.sort();
        let text = |file: &PathBuf| fs::read_to_string(file).expect("a text");
        files.iter().map(text).collect()
    }

    /// gunicorn on a port of 127.0.0.1.
    pub(crate) fn gunicorn(&self) -> App {
        self.gunicorn_at(port::local(port::free()).to_string())
    }

    /// gunicorn on a Unix socket.
    pub(crate) fn gunicorn_unix(&self) -> App {
        self.gunicorn_at("unix:".to_owned())
    }

    fn gunicorn_at(&self, address: String) -> App {
        let mut command = self.command(&program::venv("gunicorn"));
        command.args(["--worker-class", "gthread", "--threads", "4"]);
        command.args(["--no-control-socket", "--worker-tmp-dir", "/dev/shm"]);
        command.args(["--access-logfile", "-"]);
        self.serve("gunicorn", command, address, |command, address, _| {
            command.args(["--bind", address, "saas.wsgi"]);
        })
    }

    /// uvicorn, with Django's ASGI, on a port of 127.0.0.1.
    pub(crate) fn uvicorn(&self) -> App {
        let address = port::local(port::free());
        let mut command = self.command(&program::venv("uvicorn"));
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        self.serve("uvicorn", command, address.to_string(), |command, _, _| {
            command.arg("saas.asgi:application");
        })
    }

    /// Apache with mod_wsgi, with the virtual host of the tutorials less its lines about TLS.
    pub(crate) fn apache(&self) -> App {
        App {
            takes_chunks: false,
            ..self.apache_with(&[])
        }
    }

    /// The same with further directives.
    pub(crate) fn apache_with(&self, directives: &[&str]) -> App {
        let address = port::local(port::free());
        let mut command = self.command_of(apache::command());
        for directive in directives {
            command.arg("-c").arg(directive);
        }
        let address_text = address.to_string();
        self.serve("apache2", command, address_text, |command, _, folder| {
            let file = apache::configure(folder, address, &program::venv("python"), &root());
            command.arg("-f").arg(file);
        })
    }

    fn serve(
        &self,
        name: &str,
        mut command: Command,
        mut address: String,
        last: impl FnOnce(&mut Command, &str, &Path),
    ) -> App {
        let folder = tempfile::tempdir().expect("a temporary folder");
        postgres::give(folder.path());
        if address == "unix:" {
            address.push_str(&folder.path().join("app.sock").display().to_string());
        }
        last(&mut command, &address, folder.path());
        let signed = self.env.iter().any(|(name, _)| name == "SAAS_PORTICO_KEYS");
        let child = Child::spawn(name, command)
            .farewell(Signal::TERM)
            .ready(|| healthy(&address, signed));
        App {
            address,
            takes_chunks: true,
            child,
            folder,
        }
    }

    /// A command in the site's folder with its environment.
    fn command(&self, program: &Path) -> Command {
        self.command_of(Command::new(program))
    }

    fn command_of(&self, mut command: Command) -> Command {
        let settings = match self.package {
            Package::Tenants => "saas.settings",
            Package::Schemas => "saas.settings_schemas",
        };
        command
            .env("DJANGO_SETTINGS_MODULE", settings)
            .env("SAAS_BASE", DOMAIN)
            .env("SAAS_DB_HOST", self.postgres.socket_folder())
            .env("SAAS_DB_PORT", self.postgres.port().to_string())
            .env("SAAS_DB_NAME", DATABASE)
            .env("SAAS_MAIL_DIR", self.mail.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(root());
        command
    }
}

impl App {
    /// For `[upstream] servers`: `127.0.0.1:PORT` or `unix:PATH`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> &Path {
        let path = self.address.strip_prefix("unix:");
        Path::new(path.expect("this app listens on a Unix socket"))
    }

    /// Whether it takes a body without a length. Apache's mod_wsgi does only after `WSGIChunkedRequest On`.
    pub(crate) fn takes_chunks(&self) -> bool {
        self.takes_chunks
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let apache = self.folder.path().join("access.log");
        self.child.log() + &fs::read_to_string(apache).unwrap_or_default()
    }

    /// The lines of its access log with this text in their target.
    pub(crate) fn requests(&self, target: &str) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("HTTP/1.1\""));
        lines.filter(|line| line.contains(target)).count()
    }

    /// Waits until such a line is there.
    pub(crate) fn wait_request(&self, target: &str) {
        let what = format!("the app logs a request for {target}");
        wait::until(&what, || (self.requests(target) > 0).then_some(()));
    }
}

/// The site's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django")
}

/// Does the site answer for its bare domain? One that wants signatures has found the tenant when it misses ours.
fn healthy(address: &str, signed: bool) -> bool {
    let ask = |mut stream: Box<dyn Exchange>| {
        let request =
            format!("GET /healthz/ HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let expected = if signed { " 421 " } else { "fine: public" };
        answer.contains(expected).then_some(())
    };
    let stream: Option<Box<dyn Exchange>> = match address.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path)
            .ok()
            .map(|stream| Box::new(stream) as _),
        None => {
            let address: SocketAddr = address.parse().expect("an address");
            TcpStream::connect(address)
                .ok()
                .map(|stream| Box::new(stream) as _)
        }
    };
    stream.and_then(ask).is_some()
}

/// A connection of either kind.
trait Exchange: Read + Write {}
impl<T: Read + Write> Exchange for T {}

/// Everything that the prepared database depends on: the site's files and the versions of the packages.
fn sources() -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders = vec![root()];
    let mut files = vec![program::support_file("requirements.txt")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our own folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                files.push(path);
            }
        }
    }
    files.sort();
    let content = |file: PathBuf| (file.clone(), fs::read(&file).expect("our own file"));
    files.into_iter().map(content).collect()
}
