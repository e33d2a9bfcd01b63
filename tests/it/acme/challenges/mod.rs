//! The kinds of challenge beside dns-01, each against Pebble (strict) and, where the proxy answers, the built program.

mod dns_account;
mod dns_persist;
mod dns_single;
mod http;
mod plan;
mod tls_alpn;

use std::net::SocketAddr;
use std::process::Output;

use portico::cert::answers::{Answer, Shown};
use serde_json::json;

use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::port;
use crate::support::portico::{Portico, PorticoBuilder, portico_cmd};

/// A name that no base domain covers.
const NAME: &str = "www.customer.test";

/// A proxy with one certificate for single names, and a CA that comes to its ports.
struct Rig {
    pebble: Pebble,
    knot: Knot,
    http: SocketAddr,
    https: SocketAddr,
    challenge: &'static str,
}

impl Rig {
    fn new(challenge: &'static str) -> Self {
        Self::with(challenge, Knot::start(&["example.test", "customer.test"]))
    }

    fn with(challenge: &'static str, knot: Knot) -> Self {
        let (http, https) = (port::local(port::free()), port::local(port::free()));
        let pebble = Pebble::asking(knot.address())
            .config("httpPort", json!(http.port()))
            .config("tlsPort", json!(https.port()))
            .start();
        Self {
            pebble,
            knot,
            http,
            https,
            challenge,
        }
    }

    /// The base domain is never issued here; its standing record would be the only thing that it needs.
    fn portico(&self) -> PorticoBuilder {
        Portico::with(&format!(
            r#"domains = ["example.test"]
state_dir = "{{dir}}/state"
[listen]
https = ["{}"]
http = ["{}"]
admin = "{{admin}}"
[acme]
directory = "{}"
ca_file = "{}"
challenge = "dns-persist-01"
[acme.dns]
nameservers = ["{}"]
[[certificates]]
names = ["{NAME}", "customer.test"]
challenge = "{}"
[upstream]
servers = ["http://127.0.0.1:9"]
"#,
            self.https,
            self.http,
            self.pebble.directory_url(),
            self.pebble.ca_file().display(),
            self.knot.address(),
            self.challenge,
        ))
    }

    /// How often the CA went to look.
    fn looked(&self) -> usize {
        self.pebble.log().matches("Pulled a task").count()
    }
}

/// Runs `portico cert …` as the renewal unit does: a process of its own.
fn cert(portico: &Portico, verb: &[&str]) -> Output {
    let file = portico.config_file().display().to_string();
    let mut args = vec!["cert"];
    args.extend_from_slice(verb);
    args.extend_from_slice(&["--config", &file]);
    portico_cmd(&args)
}

/// Both outputs, for assertions on words.
fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What `/status` says of the certificate of [`NAME`].
fn generation(portico: &Portico) -> Option<u64> {
    let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).ok()?;
    let all = status["certificates"].as_array()?;
    let own = all.iter().find(|row| row["lineage"] == NAME)?;
    own["generation"].as_u64()
}

/// An answer as the engine hands it over.
fn answer(name: &str, token: &str, shown: Shown) -> Answer {
    Answer {
        lineage: NAME.to_owned(),
        name: name.to_owned(),
        token: token.to_owned(),
        shown,
    }
}
