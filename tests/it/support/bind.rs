//! BIND as the authority: the second implementation that our RFC 2136 client must get on with. Its policy allows
//! the challenge name only and refuses the rest with REFUSED, where knot says NOTAUTH.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::child::Child;
use super::knot::{KEY_NAME, KEY_SECRET, POOR_KEY_NAME, zone_text};
use super::{dns, port, program};

/// A running named; key name and secret are those of the knot fixture.
pub(crate) struct Bind {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Bind {
    /// Serves `zones`; the key may change `_acme-challenge.<zone>` TXT and nothing else.
    pub(crate) fn start(zones: &[&str]) -> Self {
        let zones: Vec<(&str, String)> =
            zones.iter().map(|zone| (*zone, zone_text(zone))).collect();
        Self::serve(port::local(port::free()), &zones, &|zone| {
            format!("name _acme-challenge.{zone}. TXT")
        })
    }

    /// Serves zones of any content at an address of loopback; the key may change every TXT record.
    pub(crate) fn at(address: SocketAddr, zones: &[(&str, String)]) -> Self {
        Self::serve(address, zones, &|_| "zonesub TXT".to_owned())
    }

    fn serve(
        address: SocketAddr,
        zones: &[(&str, String)],
        grant: &dyn Fn(&str) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().display();
        let mut config = format!(
            "options {{ directory \"{dir}\"; pid-file none; session-keyfile \"{dir}/session.key\"; \
             lock-file none; listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; recursion no; \
             dnssec-validation no; notify no; }};\ncontrols {{ }};\n\
             key \"{KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{KEY_SECRET}\"; }};\n\
             key \"{POOR_KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{KEY_SECRET}\"; }};\n",
            ip = address.ip(),
            port = address.port(),
        );
        for (zone, text) in zones {
            let grant = grant(zone);
            let _ = writeln!(
                config,
                "zone \"{zone}\" {{ type primary; check-names ignore; file \"{zone}.zone\"; update-policy {{ grant {KEY_NAME} {grant}; }}; }};"
            );
            let file = folder.path().join(format!("{zone}.zone"));
            fs::write(file, text).expect("our own folder");
        }
        let file = folder.path().join("named.conf");
        fs::write(&file, config).expect("our own folder");

        let mut command = Command::new(program::system("named"));
        command.args(["-g", "-4", "-n", "1", "-c"]).arg(&file);
        let child = Child::spawn("named", command)
            .ready(|| zones.iter().all(|(zone, _)| dns::serves(address, zone)));
        Self {
            address,
            child,
            folder,
        }
    }

    /// Where it answers, UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TXT values of a name, sorted.
    pub(crate) fn txt(&self, name: &str) -> Vec<String> {
        dns::txt(self.address, name)
    }
}
