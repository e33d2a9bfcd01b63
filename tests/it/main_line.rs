//! The whole main job with real parts: from an empty state directory to an app that knows its tenant, and a renewal
//! that nobody notices. Pebble (strict), knot (TSIG), gunicorn, curl, and Portico as the processes an operator runs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::gunicorn::Gunicorn;
use crate::support::http::{Edge, Protocol};
use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::portico::{Portico, portico_cmd};
use crate::support::tls::{self, Alpn, Trust};
use crate::support::wait;

/// From nothing to a served request.
const PROMISED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_empty_directory_to_the_tenants_app_and_through_a_renewal_under_load() {
    let began = Instant::now();
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let app = Gunicorn::worker("gthread").keep_alive(5).unix();
    let builder = Portico::with(&config(&pebble, &knot, app.address()));
    credentials(&builder.folder().join("dns.ini"), knot.address());
    // The proxy first, as after a boot without any certificate: it waits, and takes what the renewal unit gets.
    let portico = builder.start_unready();
    assert_eq!(portico.admin("/readyz").0, 503);
    cert(&portico, &["issue"]);
    wait::until("the proxy serves the certificate", || {
        (portico.admin("/readyz").0 == 200).then_some(())
    });
    let trust = pebble.root().await;
    let edge = portico.edge(&trust);
    for protocol in Protocol::BOTH {
        assert_tenant(&edge, protocol, "acme").await;
        assert_tenant(&edge, protocol, "globex").await;
    }
    let curl = edge
        .curl("acme.example.test")
        .args(&["-H", "X-Tenant: evil"])
        .run("/hello");
    assert_eq!(curl.code, Some(0), "{}", curl.stderr);
    assert!(
        curl.stdout.contains("\"HTTP_X_TENANT\": \"acme\""),
        "{}",
        curl.stdout
    );
    assert!(began.elapsed() < PROMISED, "it took {:?}", began.elapsed());
    eprintln!("from nothing to a served request: {:?}", began.elapsed());
    let records = knot.txt("_acme-challenge.example.test");
    assert!(records.is_empty(), "left in the zone: {records:?}");

    let old = served_serial(&portico, &trust).await;
    let load = Load::start(&edge);
    load.after(200).await;
    cert(&portico, &["renew", "--force"]);
    wait::until("the new certificate is in service", || {
        let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).ok()?;
        (status["certificates"][0]["generation"] == 2).then_some(())
    });
    let new = served_serial(&portico, &trust).await;
    assert_ne!(old, new);
    load.after(200).await;
    let (answered, failed) = load.stop().await;
    assert_eq!(failed, Vec::<String>::new(), "of {answered}");
    assert!(answered >= 400);
    eprintln!("renewed under load: {answered} requests, none failed");
}

pub(crate) fn config(pebble: &Pebble, knot: &Knot, app: &str) -> String {
    format!(
        r#"domains = ["example.test"]
state_dir = "{{dir}}/state"
[listen]
https = ["{{https}}"]
http = ["{{http}}"]
admin = "{{admin}}"
[acme]
email = "ops@example.test"
directory = "{}"
ca_file = "{}"
[acme.dns]
provider = "rfc2136"
credentials = "{{dir}}/dns.ini"
zone = "example.test"
nameservers = ["{}"]
[tenants]
header = "X-Tenant"
source = "pattern"
[upstream]
servers = ["{app}"]
[log]
access = "{{dir}}/access.log"
"#,
        pebble.directory_url(),
        pebble.ca_file().display(),
        knot.address(),
    )
}

pub(crate) fn credentials(path: &Path, server: SocketAddr) {
    let text = format!(
        "dns_rfc2136_server = {}\ndns_rfc2136_port = {}\ndns_rfc2136_name = {KEY_NAME}\n\
         dns_rfc2136_secret = {KEY_SECRET}\ndns_rfc2136_algorithm = HMAC-SHA256\n",
        server.ip(),
        server.port()
    );
    fs::write(path, text).expect("our own folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
}

/// Runs `portico cert …` as the renewal unit does: a process of its own beside the proxy.
pub(crate) fn cert(portico: &Portico, verb: &[&str]) {
    let file = portico.config_file().display().to_string();
    let mut args = vec!["cert"];
    args.extend_from_slice(verb);
    args.extend_from_slice(&["--config", &file]);
    let done = portico_cmd(&args);
    assert!(done.status.success(), "{verb:?}: {done:?}");
}

async fn assert_tenant(edge: &Edge, protocol: Protocol, tenant: &str) {
    let host = format!("{tenant}.example.test");
    let mut connection = edge.connect(protocol, &host).await;
    let request = connection
        .request("GET", "/hello?x=1")
        .header("x-tenant", "evil");
    let answer = request.header("x_tenant", "evil").send().await;
    assert_eq!(answer.status, 200, "{protocol:?} {}", answer.text());
    let seen = answer.json();
    assert_eq!(seen["headers"]["HTTP_X_TENANT"], tenant, "{protocol:?}");
    assert_eq!(seen["headers"]["HTTP_HOST"], host);
    assert_eq!(
        seen["scheme"], "https",
        "{protocol:?}: gunicorn knows that it is TLS"
    );
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&"/hello".into(), &"x=1".into())
    );
}

/// The serial number of the certificate that a new client gets.
pub(crate) async fn served_serial(portico: &Portico, trust: &Trust) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, portico.https_port()));
    let stream = tls::connect(address, "probe.example.test", trust.config(Alpn::Http1))
        .await
        .expect("a handshake");
    let chain = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate");
    let (_, leaf) = X509Certificate::from_der(&chain[0]).expect("X.509");
    leaf.raw_serial_as_string()
}

/// Clients of both protocols, some on connections that stay, some on new ones, until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn start(edge: &Edge) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let kinds = Protocol::BOTH
            .into_iter()
            .flat_map(|protocol| [(protocol, 1), (protocol, 1), (protocol, 50)]);
        let clients = kinds
            .enumerate()
            .map(|(number, (protocol, each))| {
                let (edge, stop, answered) =
                    (edge.clone(), Arc::clone(&stop), Arc::clone(&answered));
                tokio::spawn(async move {
                    let host = format!("t{number}.example.test");
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let mut connection = edge.connect(protocol, &host).await;
                        for _ in 0..each {
                            match connection.request("GET", "/").try_send().await {
                                Ok(answer) if answer.status == 200 => {
                                    answered.fetch_add(1, Ordering::Relaxed);
                                }
                                Ok(answer) => {
                                    failures.push(format!("{protocol:?}: {}", answer.status))
                                }
                                Err(error) => failures.push(format!("{protocol:?}: {error:?}")),
                            }
                        }
                    }
                    failures
                })
            })
            .collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits for so many more answers.
    pub(crate) async fn after(&self, more: u64) {
        let target = self.answered.load(Ordering::Relaxed) + more;
        wait::until_async("answers under load", async || {
            (self.answered.load(Ordering::Relaxed) >= target).then_some(())
        })
        .await;
    }

    pub(crate) async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("a client"));
        }
        (self.answered.load(Ordering::Relaxed), failures)
    }
}
