//! From nothing to a certificate, and on to the next one.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use portico::acme::Trigger;
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::cli::cert::{self, Order, Verdict};
use portico::clock::UnixTime;
use portico::config::{
    Acme, AcmeRun, CertOrigin, Challenge, Config, DeployProbe, Dns, DnsProvider, Http, Limits,
    Listen, Log, OnDemand, Pages, Server, Tenants, Upstream,
};
use portico::host::Host;
use tempfile::TempDir;

use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::port;

pub(super) const RECORD: &str = "_acme-challenge.example.test";
pub(super) const DUE: Order<'static> = Order {
    domain: None,
    trigger: Trigger::Due,
};
pub(super) const FORCE: Order<'static> = Order {
    domain: None,
    trigger: Trigger::Force,
};

pub(super) fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

pub(super) fn config(
    state: &Path,
    pebble: &Pebble,
    provider: DnsProvider,
    nameserver: SocketAddr,
) -> Config {
    Config {
        domains: vec![host("example.test")],
        state_dir: state.to_owned(),
        certs: CertOrigin::Acme,
        listen: Listen::default(),
        acme: Acme {
            email: Some("ops@example.test".to_owned()),
            directory: pebble.directory_url(),
            ca_file: Some(pebble.ca_file().to_owned()),
            profile: None,
            challenge: Challenge::Dns01,
            run: AcmeRun::Timer,
            on_event: None,
            deploy_probe: DeployProbe::Off,
            dns: Some(Dns {
                provider,
                zone: None,
                propagation_floor: Duration::ZERO,
                propagation_timeout: Duration::from_secs(10),
                allow_dead_ns: false,
                resolvers: Vec::new(),
                nameservers: vec![nameserver],
                check_resolvers: Vec::new(),
                port: 53,
            }),
            eab: None,
            fallback: None,
        },
        certificates: Vec::new(),
        on_demand: OnDemand::default(),
        tls: portico::config::Tls::default(),
        client_auth: Vec::new(),
        tenants: Tenants::default(),
        tenant_limits: portico::config::Plan::default(),
        plans: portico::config::Plans::new(),
        upstream: Upstream::default(),
        pools: portico::config::Pools::new(),
        pool_signatures: portico::config::PoolSignatures::new(),
        canary: portico::config::Canary::default(),
        http: Http::default(),
        pages: Pages::default(),
        access: portico::config::AccessLists::default(),
        limits: Limits::default(),
        log: Log::default(),
        metrics: portico::config::Metrics::default(),
        usage: portico::config::Usage::default(),
        server: Server::default(),
    }
}

/// Certbot's ini for knot's key.
pub(super) fn rfc2136(folder: &TempDir, server: SocketAddr, secret: &str) -> DnsProvider {
    let credentials = folder.path().join("rfc2136.ini");
    let text = format!(
        "dns_rfc2136_server = {}\ndns_rfc2136_port = {}\ndns_rfc2136_name = {KEY_NAME}\n\
         dns_rfc2136_secret = {secret}\ndns_rfc2136_algorithm = HMAC-SHA256\n",
        server.ip(),
        server.port()
    );
    fs::write(&credentials, text).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    DnsProvider::Rfc2136 {
        credentials: portico::config::CredentialSource::File(credentials),
    }
}

pub(super) async fn run(config: &Config, order: Order<'_>) -> (Verdict, String) {
    let mut out = Vec::new();
    let start = Instant::now();
    let verdict = cert::renew(config, order, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    eprintln!("{verdict:?} after {:?}: {text}", start.elapsed());
    (verdict, text)
}

pub(super) fn serial(config: &Config) -> String {
    let stored = FileStore::new(&config.state_dir)
        .load(&host("example.test"))
        .unwrap()
        .unwrap();
    stored.bundle.serial().to_owned()
}

/// How many requests Pebble has seen.
pub(super) fn requests(pebble: &Pebble) -> usize {
    pebble
        .log()
        .lines()
        .filter(|line| line.contains("-> calling handler"))
        .count()
}

#[tokio::test]
async fn issues_by_dynamic_update_renews_and_rests() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    assert!(
        knot.update("example.test", &[&format!("add {RECORD}. 60 TXT foreign")])
            .status
            .success()
    );

    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    let first = serial(&config);
    assert_eq!(knot.txt(RECORD), ["foreign"], "ours are gone, others stay");
    let stored = FileStore::new(state.path())
        .load(&host("example.test"))
        .unwrap()
        .unwrap();
    let names: Vec<String> = stored
        .bundle
        .names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names.len(), 2);
    assert!(
        names.contains(&"example.test".to_owned()) && names.contains(&"*.example.test".to_owned())
    );

    let before = requests(&pebble);
    assert!(before > 0);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine);
    assert!(text.contains("not due before"), "{text}");
    assert_eq!(
        requests(&pebble),
        before,
        "nothing is asked when nothing is due"
    );

    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_ne!(serial(&config), first);
    assert_eq!(knot.txt(RECORD), ["foreign"]);
    let status = cert::status(&config, UnixTime::now()).unwrap();
    assert_eq!(status[0].generation, Some(2));
    assert_eq!(status[0].days_left, Some(89));
    let accounts = pebble.log().matches("There are now 1 accounts").count();
    assert!(
        accounts <= 1 && !pebble.log().contains("There are now 2 accounts"),
        "one account for ever"
    );
}

#[tokio::test]
async fn issues_through_its_own_responder() {
    let address = port::local(port::free());
    let pebble = Pebble::asking(address).start();
    let state = tempfile::tempdir().unwrap();
    let provider = DnsProvider::Responder {
        listen: vec![address],
        name_server: None,
    };
    let config = config(state.path(), &pebble, provider, address);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(serial(&config).len() % 2, 0);
    std::net::TcpListener::bind(address).expect("the responder is closed after the order");
}

#[tokio::test]
async fn issues_through_a_hook_and_tells_it_what_certbot_would() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let script = state.path().join("hook.sh");
    let calls = state.path().join("calls");
    let text = format!(
        "#!/bin/sh\nset -e\n\
         echo \"$1 $CERTBOT_DOMAIN $CERTBOT_REMAINING_CHALLENGES $CERTBOT_ALL_DOMAINS [$CERTBOT_AUTH_OUTPUT]\" >> {calls}\n\
         test \"$3\" = \"$CERTBOT_VALIDATION\"\n\
         case $1 in present) verb=add ttl=60;; cleanup) verb=del ttl=;; esac\n\
         knsupdate -y hmac-sha256:{KEY_NAME}:{KEY_SECRET} <<END\n\
         server {ip} {port}\nzone example.test.\n$verb $2 $ttl TXT $3\nsend\nquit\nEND\n\
         echo noted-$CERTBOT_REMAINING_CHALLENGES\n",
        calls = calls.display(),
        ip = knot.address().ip(),
        port = knot.address().port(),
    );
    fs::write(&script, text).unwrap();
    let command = vec!["/bin/sh".to_owned(), script.display().to_string()];
    let config = config(
        state.path(),
        &pebble,
        DnsProvider::Exec { command },
        knot.address(),
    );
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
    let calls = fs::read_to_string(calls).unwrap();
    let all = "example.test,example.test"; // as certbot: the identifiers, without `*.`
    let expected = format!(
        "present example.test 1 {all} []\npresent example.test 0 {all} []\n\
         cleanup example.test 1 {all} [noted-1]\ncleanup example.test 0 {all} [noted-0]\n"
    );
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn survives_a_storm_of_bad_nonces() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).nonce_reject(70).start();
    let state = tempfile::tempdir().unwrap();
    let config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
}

#[tokio::test]
async fn writes_no_record_when_the_authorization_is_still_valid() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).authz_reuse(100).start();
    let state = tempfile::tempdir().unwrap();
    let mut config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    assert_eq!(run(&config, DUE).await.0, Verdict::Fine);
    let first = serial(&config);
    // A hook that always fails shows that none is called.
    config.acme.dns.as_mut().unwrap().provider = DnsProvider::Exec {
        command: vec!["/bin/false".to_owned()],
    };
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_ne!(serial(&config), first);
}
