//! Files that are right, away from the defaults.

use std::io::Write;
use std::time::Duration;

use super::*;
use crate::units::ByteSize;

const EVERYTHING: &str = r#"
domains = ["Example.COM.", "eu.example.com", "example.co.uk"]
state_dir = "state"
[listen]
https = ["0.0.0.0:8443", "[::1]:8443"]
http = []
admin = "unix:admin.sock"
public_port = 443
proxy_protocol = ["10.0.0.0/8"]
[acme]
email = "ops+portico@example.com"
directory = "https://localhost:14000/Dir"
ca_file = "../pebble.pem"
profile = "shortlived"
challenge = "dns-account-01"
run = "daemon"
on_event = "cert-event"
deploy_probe = "off"
[acme.dns]
provider = "rfc2136"
credentials = "credential:dns"
zone = "_acme-challenge.Example.com."
propagation_seconds = 0x1E
propagation_timeout = "30m"
resolvers = ["9.9.9.9", "[2620:fe::fe]:5353", "2620:fe::9"]
nameservers = ["192.0.2.53"]
check_resolvers = ["1.1.1.1"]
[[certificates]]
names = ["www.customer.com", "Customer.com."]
challenge = "tls-alpn-01"
[[certificates]]
names = ["status.example.com"]
challenge = "dns-persist-01"
[on_demand]
enabled = true
challenge = "dns-01"
ahead = false
proof = "cname"
cname_base = "Edge.example.com"
orders_per_hour = 10
tenant_orders_per_day = 3
domain_orders_per_week = 7
names = 500
cache = 16
keep_gone = "0s"
[tls]
require_sni = true
[[client_auth]]
hosts = ["inner.example.com", "*.eu.example.com", "www.customer.com"]
ca_file = "clients.pem"
[tenants]
header = "__tenant"
value = "schema"
source = "file"
file = "tenants.toml"
cookie_scope = "warn"
apex = "public"
www = "same"
[tenants.headers]
id = "X-Tenant-Id"
rows = ["X-Theme"]
[tenants.signature]
keys = "tenant.keys"
form = "jwt-eddsa"
issuer = "edge"
[tenants.suspended]
status = "403"
paths = ["/billing/"]
support = "mailto:help@example.com"
[tenants.maintenance]
all = true
retry_after = "5m"
bypass = ["192.0.2.7"]
bypass_key = "credential:bypass"
[upstream]
servers = ["http://app_1:8000", "https://[::1]", "h2c://10.0.0.7 weight=3", "unix:///run/app.sock weight=1000", "unix:app.sock"]
connect_timeout = "100ms"
response_timeout = "1d"
keepalive = "1m30s"
keepalive_connections = 0
send_proxy_protocol = false
server_requests = 4
server_connections = 8
queue = 0
queue_timeout = "100ms"
retry_percent = 0
eject_failures = 0
eject_time = "250ms"
slow_start = "0s"
resolve_interval = "1h"
[upstream.probe]
path = "/healthz?deep=1"
host = "Probe.example.com"
interval = "250ms"
timeout = "1s"
rise = 1
fall = 100
status = "204"
[upstream.tls]
ca_file = "app-ca.pem"
server_name = "app.internal"
[http]
hsts = "0s"
hsts_subdomains = true
trusted_proxies = ["10.0.0.0/8", "2001:db8::1"]
via = "edge-1.example"
via_on_responses = true
[access]
allow = ["192.0.2.0/24", "2001:db8::/32"]
deny = ["192.0.2.7"]
[limits]
connections = 10_000
connections_per_address = 0
requests_per_connection = 5
handshakes = 64
memory = "1GiB"
body_rate = "0B"
handshake_timeout = "5s"
header_timeout = "6s"
body_timeout = "7s"
idle_timeout = "8s"
stream_timeout = "9s"
tunnel_timeout = "7d"
header_size = "4KiB"
body_size = "10MiB"
http2_streams = 250
[log]
level = "warn,portico::acme=debug"
format = "json"
access = "/var/log/portico/access.log"
mask_ipv4 = 24
mask_ipv6 = 48
query = "drop"
[server]
workers = 2
drain_timeout = "1m"
"#;

fn everything() -> Config {
    Config::parse(EVERYTHING, Path::new("/etc/portico/portico.toml")).unwrap()
}

#[test]
fn every_key_on_who_may_come_arrives() {
    let config = everything();
    assert_eq!(
        config.access,
        AccessLists {
            allow: vec![
                "192.0.2.0/24".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            deny: vec!["192.0.2.7/32".parse().unwrap()],
        }
    );
    assert!(config.tls.require_sni);
    let auth = config.client_auth.first().unwrap();
    let hosts: Vec<_> = auth.hosts.iter().collect();
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    assert_eq!(
        hosts,
        ["inner.example.com", "*.eu.example.com", "www.customer.com"]
    );
    assert_eq!(auth.ca_file, Path::new("/etc/portico/clients.pem"));
}

#[test]
fn every_key_of_the_edge_arrives() {
    let config = everything();
    let seconds = Duration::from_secs;
    let names = ["example.com", "eu.example.com", "example.co.uk"];
    assert_eq!(config.domains, names.map(|name| Host::parse(name).unwrap()));
    assert_eq!(config.state_dir, Path::new("/etc/portico/state"));
    assert_eq!(
        config.listen,
        Listen {
            https: vec![
                "0.0.0.0:8443".parse().unwrap(),
                "[::1]:8443".parse().unwrap(),
            ],
            http: Vec::new(),
            admin: AdminAddress::Unix("/etc/portico/admin.sock".into()),
            proxy_protocol: vec!["10.0.0.0/8".parse().unwrap()],
            public_port: Some(443),
        }
    );
    assert_eq!(
        config.acme,
        Acme {
            email: Some("ops+portico@example.com".to_owned()),
            directory: "https://localhost:14000/Dir".to_owned(),
            ca_file: Some("/etc/portico/../pebble.pem".into()),
            profile: Some("shortlived".to_owned()),
            challenge: Challenge::DnsAccount01,
            run: AcmeRun::Daemon,
            eab: None,
            fallback: None,
            on_event: Some(vec!["cert-event".to_owned()]),
            deploy_probe: DeployProbe::Off,
            dns: Some(Dns {
                provider: DnsProvider::Rfc2136 {
                    credentials: CredentialSource::Systemd("dns".to_owned()),
                },
                zone: Some("_acme-challenge.example.com".to_owned()),
                propagation_floor: seconds(30),
                propagation_timeout: seconds(1800),
                resolvers: ["9.9.9.9:53", "[2620:fe::fe]:5353", "[2620:fe::9]:53"]
                    .map(|it| it.parse().unwrap())
                    .to_vec(),
                nameservers: vec!["192.0.2.53:53".parse().unwrap()],
                check_resolvers: vec!["1.1.1.1:53".parse().unwrap()],
                allow_dead_ns: false,
                port: 53,
            }),
        }
    );
    assert_eq!(
        config.certificates,
        [
            Certificate {
                names: ["www.customer.com", "customer.com"]
                    .map(|name| Host::parse(name).unwrap())
                    .to_vec(),
                challenge: Challenge::TlsAlpn01,
            },
            Certificate {
                names: vec![Host::parse("status.example.com").unwrap()],
                challenge: Challenge::DnsPersist01,
            },
        ]
    );
}

#[test]
fn every_key_of_tenants_arrives() {
    let config = everything();
    let suspended = &config.tenants.answers.suspended;
    assert_eq!(suspended.status, SuspendedStatus::Forbidden);
    let paths: Vec<_> = suspended.paths.iter().map(OpenPath::as_str).collect();
    assert_eq!(paths, ["/billing/"]);
    assert_eq!(
        suspended.support.as_deref(),
        Some("mailto:help@example.com")
    );
    assert_eq!(
        config.tenants.answers.maintenance,
        Maintenance {
            all: true,
            retry_after: Duration::from_secs(300),
            bypass: vec!["192.0.2.7/32".parse().unwrap()],
            bypass_key: Some(CredentialSource::Systemd("bypass".to_owned())),
        }
    );
    let mut tenants = config.tenants;
    tenants.answers = Answers::default();
    assert_eq!(
        tenants,
        Tenants {
            header: "__tenant".parse().unwrap(),
            sources: vec![TenantSource::File("/etc/portico/tenants.toml".into())],
            redirect_to_primary: false,
            apex: Apex::Tenant("public".to_owned()),
            www: Www::Same,
            identity: Identity {
                value: TenantValue::Schema,
                headers: TenantHeaders {
                    id: Some("x-tenant-id".parse().unwrap()),
                    rows: vec!["x-theme".parse().unwrap()],
                    ..TenantHeaders::default()
                },
                signature: Some(Signature {
                    keys: CredentialSource::File("/etc/portico/tenant.keys".into()),
                    form: SignatureForm::JwtEdDsa,
                    issuer: "edge".to_owned(),
                    audience: "app".to_owned(),
                }),
                cookie_scope: CookieScope::Warn,
                ..Identity::default()
            },
            ..Tenants::default()
        }
    );
}

#[test]
fn every_key_of_custom_domains_arrives() {
    assert_eq!(
        everything().on_demand,
        OnDemand {
            enabled: true,
            challenge: Challenge::Dns01,
            ahead: false,
            proof: Ownership::Cname,
            cname_base: Some(Host::parse("edge.example.com").unwrap()),
            orders_per_hour: 10,
            tenant_orders_per_day: 3,
            domain_orders_per_week: 7,
            names: 500,
            cache: 16,
            keep_gone: Duration::ZERO,
        }
    );
}

#[test]
fn every_key_of_the_app_servers_arrives() {
    let config = everything();
    let seconds = Duration::from_secs;
    let tcp = |transport, host: &str, port| UpstreamAddress::Tcp {
        transport,
        host: host.to_owned(),
        port,
    };
    let server = |address, weight| UpstreamServer { address, weight };
    assert_eq!(
        config.upstream,
        Upstream {
            servers: vec![
                server(tcp(Transport::Http, "app_1", 8000), 1),
                server(tcp(Transport::Https, "::1", 443), 1),
                server(tcp(Transport::H2c, "10.0.0.7", 80), 3),
                server(UpstreamAddress::Unix("/run/app.sock".into()), 1000),
                server(UpstreamAddress::Unix("/etc/portico/app.sock".into()), 1),
            ],
            connect_timeout: Duration::from_millis(100),
            response_timeout: seconds(86400),
            keepalive: seconds(90),
            keepalive_connections: 0,
            send_proxy_protocol: false,
            server_requests: Some(4),
            server_connections: Some(8),
            queue: 0,
            queue_timeout: Duration::from_millis(100),
            retry_percent: 0,
            eject_failures: 0,
            eject_time: Duration::from_millis(250),
            slow_start: Duration::ZERO,
            resolve_interval: seconds(3600),
            probe: Some(Probe {
                path: "/healthz?deep=1".to_owned(),
                host: Some("probe.example.com".to_owned()),
                interval: Duration::from_millis(250),
                timeout: seconds(1),
                rise: 1,
                fall: 100,
                status: (204, 204),
            }),
            tls: UpstreamTls {
                ca_file: Some("/etc/portico/app-ca.pem".into()),
                server_name: Some("app.internal".to_owned()),
            },
        }
    );
}

#[test]
fn the_proxy_protocol_can_be_sent_to_all_but_h2c() {
    let text = "domains = [\"example.com\"]\nacme.run = \"off\"\n[upstream]\nsend_proxy_protocol = true\nservers = ";
    for server in ["http://app:8000", "https://app", "unix:/run/app.sock"] {
        let config = parse(&format!("{text}[{server:?}]\n")).unwrap();
        assert!(config.upstream.send_proxy_protocol, "{server}");
    }
}

#[test]
fn every_key_of_the_requests_arrives() {
    let config = everything();
    let seconds = Duration::from_secs;
    assert_eq!(
        config.http,
        Http {
            hsts: Hsts::MaxAge {
                age: Duration::ZERO,
                subdomains: true,
            },
            trusted_proxies: vec![
                "10.0.0.0/8".parse().unwrap(),
                "2001:db8::1/128".parse().unwrap(),
            ],
            via: "edge-1.example".to_owned(),
            via_on_responses: true,
        }
    );
    assert_eq!(
        config.limits,
        Limits {
            connections: Some(10_000),
            connections_per_address: 0,
            requests_per_connection: 5,
            handshakes: 64,
            memory: Some(ByteSize(1 << 30)),
            body_rate: ByteSize(0),
            handshake_timeout: seconds(5),
            header_timeout: seconds(6),
            body_timeout: seconds(7),
            idle_timeout: seconds(8),
            stream_timeout: seconds(9),
            tunnel_timeout: seconds(7 * 86400),
            header_size: ByteSize(4096),
            body_size: Some(ByteSize(10 << 20)),
            http2_streams: 250,
        }
    );
    assert_eq!(
        config.log,
        Log {
            level: "warn,portico::acme=debug".to_owned(),
            format: LogFormat::Json,
            access: AccessLog::File("/var/log/portico/access.log".into()),
            mask_ipv4: 24,
            mask_ipv6: 48,
            query: LogQuery::Drop,
        }
    );
    assert_eq!(
        config.server,
        Server {
            workers: Some(2),
            drain_timeout: seconds(60),
        }
    );
}

#[track_caller]
fn after_base(text: &str) -> Config {
    parse(&format!("{BASE}{text}")).unwrap()
}

#[track_caller]
fn provider(text: &str) -> DnsProvider {
    after_base(&format!("[acme.dns]\nprovider = {text}\n"))
        .acme
        .dns
        .unwrap()
        .provider
}

#[test]
fn each_provider_has_its_keys() {
    let file = |path: &str| CredentialSource::File(path.into());
    let exec = |words: &[&str]| DnsProvider::Exec {
        command: words.iter().map(|&word| word.to_owned()).collect(),
    };
    assert_eq!(provider("\"manual\""), DnsProvider::Manual);
    assert_eq!(
        provider("\"digitalocean\"\ncredentials = \"/etc/do.ini\""),
        DnsProvider::Hosted {
            service: Service::find("digitalocean").unwrap(),
            credentials: file("/etc/do.ini")
        }
    );
    assert_eq!(
        provider("\"responder\"\nname_server = \"NS.example.com.\""),
        DnsProvider::Responder {
            listen: vec!["[::]:53".parse().unwrap()],
            name_server: Some("ns.example.com".to_owned())
        }
    );
    assert_eq!(
        provider("\"exec\"\ncommand = \"/bin/hook\""),
        exec(&["/bin/hook"])
    );
    assert_eq!(
        provider("\"exec\"\nhook = \"certbot\"\ncommand = \"/bin/auth\""),
        DnsProvider::CertbotHook {
            auth: vec!["/bin/auth".to_owned()],
            cleanup: vec!["/bin/auth".to_owned()]
        }
    );
    assert_eq!(
        provider(
            "\"acme-dns\"\ncredentials = \"/etc/a.json\"\nendpoint = \"https://auth.example.org/\""
        ),
        DnsProvider::AcmeDns {
            credentials: file("/etc/a.json"),
            endpoint: Some("https://auth.example.org".to_owned())
        }
    );
    assert_eq!(
        provider("\"exec\"\ncommand = [\"hook\", \"a b\", \"a b\"]"),
        exec(&["hook", "a b", "a b"])
    );
}

#[test]
fn hsts_can_be_off_or_cover_subdomains() {
    assert_eq!(after_base("[http]\nhsts = \"off\"\n").http.hsts, Hsts::Off);
    assert_eq!(
        after_base("[http]\nhsts_subdomains = true\n").http.hsts,
        Hsts::MaxAge {
            age: Duration::from_secs(365 * 86400),
            subdomains: true
        }
    );
}

#[test]
fn neighbours_of_a_listener_are_no_loop() {
    for (listen, server) in [
        ("0.0.0.0:443", "http://[::1]:443"),
        ("192.0.2.1:443", "http://127.0.0.1:443"),
        ("[::]:443", "http://127.0.0.1:4430"),
        ("[::]:443", "http://10.0.0.7:443"),
        ("[::]:0", "http://127.0.0.1:443"),
    ] {
        let text = format!(
            "domains = [\"example.com\"]\nacme.run = \"off\"\nlisten.https = [\"{listen}\"]\nupstream.servers = [\"{server}\"]\n"
        );
        assert!(parse(&text).is_ok(), "{listen} {server}");
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_fine() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert!(parse(&text).is_ok());
    let problems = parse(&format!("{text}\r\nnonsense = 1\r\n")).unwrap_err();
    assert_eq!(
        problems
            .list
            .iter()
            .map(|problem| problem.line)
            .collect::<Vec<_>>(),
        [Some(7)]
    );
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portico.toml");
    let error = Config::load(&path).unwrap_err();
    let report = format!("cannot read the configuration: `{}`", path.display());
    assert!(matches!(error, ConfigError::Read { .. }));
    assert_eq!(error.to_string(), report);
    assert_eq!(
        error.hint(),
        Some("name the file, or start from `config/minimal.toml`")
    );

    let write = |bytes: &[u8]| {
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap()
    };
    write(b"domains = []\nlog = \"\xff\"\n");
    let report = format!(
        "{}:2: not UTF-8\n  hint: save the file as UTF-8",
        path.display()
    );
    assert_eq!(Config::load(&path).unwrap_err().to_string(), report);

    write("#".repeat((1 << 20) + 1).as_bytes());
    assert!(matches!(
        Config::load(&path).unwrap_err(),
        ConfigError::Read { .. }
    ));

    write(BASE.as_bytes());
    assert_eq!(Config::load(&path).unwrap(), parse(BASE).unwrap());
}
