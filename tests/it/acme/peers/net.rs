//! The network of a case: name servers at port 53, the resolver of this machine, the CA behind the proxy with faults.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::dns::{Authority, Brand, zone, zones};
use super::super::issue::RECORD;
use crate::support::fault_proxy::FaultProxy;
use crate::support::knot::{KEY_NAME, KEY_SECRET};
use crate::support::pebble::{Pebble, PebbleBuilder};
use crate::support::port;
use crate::support::unbound::Unbound;

pub(super) const DOMAIN: &str = "example.test";

/// Where `/etc/resolv.conf` leads inside the namespace.
const RESOLVER: u8 = 53;

/// `127.0.0.last`, port 53.
pub(super) fn at(last: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 53))
}

/// Fails at once outside of the namespace, where port 53 and the resolver belong to others.
pub(super) fn expect_namespace() {
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(
        resolvers.trim(),
        format!("nameserver {}", at(RESOLVER).ip()),
        "run this by tests/acme-peers/run"
    );
}

/// The running parts of a case, and the folder of the program under test.
pub(super) struct Net {
    pub(super) pebble: Pebble,
    pub(super) proxy: FaultProxy,
    /// The server that takes the updates.
    pub(super) authority: Authority,
    /// How long certbot sleeps after the update; its own default is 60 seconds.
    pub(super) pause: &'static str,
    folder: TempDir,
    _resolver: Unbound,
}

impl Net {
    /// One zone at one server, which the CA asks as well.
    pub(super) fn start(brand: Brand, change: impl FnOnce(PebbleBuilder) -> PebbleBuilder) -> Self {
        let all = [zone(DOMAIN, &[1], "")];
        let authority = Authority::start(brand, at(1), &zones(&all));
        let pebble = change(Pebble::asking(authority.address())).start();
        Self::of(authority, pebble, &[(DOMAIN, at(1))])
    }

    /// With parts that are there already; the machine's resolver finds `stubs`.
    pub(super) fn of(authority: Authority, pebble: Pebble, stubs: &[(&str, SocketAddr)]) -> Self {
        let resolver = Unbound::at(at(RESOLVER), stubs, "");
        let proxy = FaultProxy::before(&pebble);
        let net = Self {
            pebble,
            proxy,
            authority,
            pause: "1",
            folder: tempfile::tempdir().expect("a temporary folder"),
            _resolver: resolver,
        };
        net.write_files();
        net
    }

    /// Our configuration, with every default that a program in production has, and the credentials that we share
    /// with certbot.
    fn write_files(&self) {
        let (server, credentials) = (self.authority.address(), self.credentials());
        let text = format!(
            "dns_rfc2136_server = {}\ndns_rfc2136_port = {}\ndns_rfc2136_name = {KEY_NAME}\n\
             dns_rfc2136_secret = {KEY_SECRET}\ndns_rfc2136_algorithm = HMAC-SHA256\n",
            server.ip(),
            server.port()
        );
        fs::write(&credentials, text).expect("our own folder");
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("our file");
        let [https, admin] = [(); 2].map(|()| port::free());
        let config = format!(
            "domains = [\"{DOMAIN}\"]\nstate_dir = \"{}\"\n\
             [listen]\nhttps = [\"{}\"]\nadmin = \"{}\"\n\
             [upstream]\nservers = [\"http://127.0.0.1:9\"]\n\
             [acme]\nemail = \"ops@example.test\"\ndirectory = \"{}\"\nca_file = \"{}\"\n\
             [acme.dns]\nprovider = \"rfc2136\"\ncredentials = \"{}\"\n",
            self.file("state").display(),
            port::local(https),
            port::local(admin),
            self.proxy.directory_url(),
            self.proxy.ca_file().display(),
            credentials.display(),
        );
        fs::write(self.config_file(), config).expect("our own folder");
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.file("portico.toml")
    }

    pub(super) fn credentials(&self) -> PathBuf {
        self.file("rfc2136.ini")
    }

    /// The values at the name of the challenge.
    pub(super) fn txt(&self) -> Vec<String> {
        self.authority.txt(RECORD)
    }

    /// How many certificates the CA has issued.
    pub(super) fn issued(&self) -> usize {
        let log = self.pebble.log();
        log.matches("Issued certificate serial").count()
    }
}
