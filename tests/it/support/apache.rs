//! Apache with mod_wsgi as Debian packs them, in the foreground and with files of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{postgres, program};

/// Debian's modules that the configuration below needs, those that are not built in.
const MODULES: [(&str, &str); 5] = [
    ("mpm_event_module", "mod_mpm_event.so"),
    ("authz_core_module", "mod_authz_core.so"),
    ("alias_module", "mod_alias.so"),
    ("mime_module", "mod_mime.so"),
    ("wsgi_module", "mod_wsgi.so"),
];

/// Apache in the foreground, never as root. Its user may read everything: the checkout may be in a private folder.
pub(crate) fn command() -> Command {
    let apache = program::system("apache2");
    let mut command = match postgres::owner() {
        Some((user, group)) => {
            let mut command = Command::new(program::system("setpriv"));
            command
                .args([format!("--reuid={user}"), format!("--regid={group}")])
                .arg("--clear-groups")
                .args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
                .arg(apache);
            command
        }
        None => Command::new(apache),
    };
    command.args(["-D", "FOREGROUND"]);
    command
}

/// Writes the configuration: the tutorials' virtual host (server name and wildcard alias, a daemon process with the
/// environment's packages, the script) less its lines about TLS, which Portico does. Returns the file.
pub(crate) fn configure(folder: &Path, address: SocketAddr, python: &Path, site: &Path) -> PathBuf {
    let dir = folder.display();
    let mut text = String::new();
    for (name, file) in MODULES {
        let _ = writeln!(text, "LoadModule {name} /usr/lib/apache2/modules/{file}");
    }
    let domain = super::site::DOMAIN;
    let site = site.display();
    let home = python.parent().and_then(Path::parent);
    let home = home.expect("a virtual environment").display();
    let _ = write!(
        text,
        r#"
ServerName {domain}
Listen {address}
PidFile {dir}/apache.pid
DefaultRuntimeDir {dir}
WSGISocketPrefix {dir}/wsgi
TypesConfig /etc/mime.types
ErrorLog /dev/stderr
LogFormat "%h \"%r\" %>s %b" common
StartServers 1
ThreadsPerChild 8
MinSpareThreads 1
MaxSpareThreads 8
MaxRequestWorkers 8

<VirtualHost {address}>
    ServerName {domain}
    ServerAlias *.{domain}
    CustomLog {dir}/access.log common

    WSGIDaemonProcess saas python-home={home} python-path={site} processes=1 threads=4
    WSGIProcessGroup saas
    WSGIApplicationGroup %{{GLOBAL}}
    WSGIScriptAlias / {site}/saas/wsgi.py
    <Directory {site}/saas>
        <Files wsgi.py>
            Require all granted
        </Files>
    </Directory>
</VirtualHost>
"#
    );
    let file = folder.join("apache2.conf");
    fs::write(&file, text).expect("our own folder");
    file
}
