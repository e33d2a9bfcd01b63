//! The samples in `config/` load, and `portico.toml` tells the truth about every key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::*;
use crate::units::parse_duration;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(directory().join(name)).unwrap()
}

#[track_caller]
fn load(name: &str) -> Config {
    Config::load(&directory().join(name)).unwrap()
}

/// What the samples have to set because there is no default.
fn with_required(servers: &str) -> Config {
    let mut config = Config::for_domains(vec![Host::parse("example.com").unwrap()]);
    config.acme.dns = Some(Dns {
        provider: DnsProvider::Hosted {
            service: Service::find("digitalocean").unwrap(),
            credentials: CredentialSource::Systemd("dns".to_owned()),
        },
        zone: None,
        propagation_floor: std::time::Duration::ZERO,
        propagation_timeout: std::time::Duration::from_secs(120),
        resolvers: Vec::new(),
        nameservers: Vec::new(),
        check_resolvers: Vec::new(),
        allow_dead_ns: false,
        port: 53,
    });
    config.upstream.servers = match servers.strip_prefix("unix:") {
        Some(path) => vec![UpstreamAddress::Unix(path.into()).into()],
        None => {
            let address: SocketAddr = servers.parse().unwrap();
            let address = UpstreamAddress::Tcp {
                transport: Transport::Http,
                host: address.ip().to_string(),
                port: address.port(),
            };
            vec![address.into()]
        }
    };
    config
}

#[test]
fn portico_toml_has_the_defaults() {
    assert_eq!(load("portico.toml"), with_required("127.0.0.1:8000"));
}

#[test]
fn minimal_toml_is_short_and_changes_no_default() {
    let mut expected = with_required("127.0.0.1:8000");
    expected.acme.email = Some("ops@example.com".to_owned());
    assert_eq!(load("minimal.toml"), expected);
    assert!(read("minimal.toml").lines().count() <= 12);
}

#[test]
fn django_toml_loads() {
    let config = load("django.toml");
    let mut expected = with_required("unix:/run/app/app.sock");
    expected.acme.email = Some("ops@example.com".to_owned());
    expected.tenants.apex = Apex::Tenant("public".to_owned());
    expected.upstream.keepalive = std::time::Duration::from_secs(4);
    assert_eq!(config, expected);
}

#[test]
fn the_tenants_sample_is_toml() {
    let table: toml::Table = read("tenants.example.toml").parse().unwrap();
    assert!(
        table
            .get("tenant")
            .and_then(toml::Value::as_array)
            .is_some_and(|tenants| tenants.len() == 3)
    );
}

#[test]
fn the_credentials_sample_has_the_keys_of_each_provider() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("credentials");
    std::fs::copy(directory().join("credentials.example"), &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let credentials = Credentials::read(&path).unwrap();
    for key in [
        "dns_digitalocean_token",
        "dns_rfc2136_server",
        "dns_rfc2136_port",
        "dns_rfc2136_name",
        "dns_rfc2136_secret",
        "dns_rfc2136_algorithm",
    ] {
        assert!(credentials.require(key).is_ok(), "{key}");
    }
}

/// Sections that stand in comments until somebody names one.
const OPTIONAL: &[&str] = &["plans.NAME", "pools.NAME.signature", "pools.NAME"];

/// `# key = value` and `key = value` of `portico.toml`, by section.
fn sample_keys() -> Vec<(String, String, bool)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in read("portico.toml").lines() {
        // A list of sections, or sections with names, are shown commented out, since there are none by default.
        let named = |line: &str| OPTIONAL.iter().any(|name| line == format!("# [{name}]"));
        let name = line
            .strip_prefix("# [[")
            .or_else(|| line.strip_prefix("# [").filter(|_| named(line)))
            .or_else(|| line.strip_prefix('['));
        if let Some(name) = name {
            section = format!("{}.", name.trim_end_matches(']'));
        }
        let (active, line) = match line.strip_prefix("# ") {
            Some(comment) => (false, comment),
            None => (true, line),
        };
        if let Some((key, value)) = line.split_once(" = ")
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            keys.push((format!("{section}{key}"), value.to_owned(), active));
        }
    }
    keys
}

#[test]
fn portico_toml_shows_every_key_once_with_its_default() {
    let shown = sample_keys();
    let rows = reference();
    let names: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let shown_names: Vec<&str> = shown.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(shown_names, names);
    for ((key, value, active), row) in shown.iter().zip(&rows) {
        let KeyDefault::Value(default) = &row.default else {
            continue;
        };
        let duration = |text: &str| parse_duration(text.trim_matches('"')).ok();
        let equal = value.eq_ignore_ascii_case(default)
            || duration(value).is_some_and(|it| Some(it) == duration(default));
        assert!(equal, "{key}: {value} is shown, {default} is the default");
        // Commented out: keys of another provider than the sample's, and of sections that are off without a certain key.
        assert!(
            *active
                || [
                    "acme.dns.",
                    "certificates.",
                    "client_auth.",
                    "tenants.postgres.",
                    "tenants.signature.",
                    "plans.",
                    "pools.",
                    "upstream.probe."
                ]
                .iter()
                .any(|section| key.starts_with(section)),
            "{key} is commented out"
        );
    }
}

#[test]
fn commented_keys_of_portico_toml_are_well_formed() {
    let sample = read("portico.toml");
    for (key, value, active) in sample_keys() {
        let name = key.rsplit_once('.').map_or(key.as_str(), |(_, name)| name);
        let commented = format!("\n# {name} = {value}\n");
        if active {
            continue;
        }
        if let Some((section @ ("certificates" | "client_auth"), _)) = key.split_once('.') {
            let list = sample.replace(
                &format!("\n# [[{section}]]\n"),
                &format!("\n[[{section}]]\n"),
            );
            let list = list.replace(&commented, &format!("\n{name} = {value}\n"));
            // One key of the section alone: only that the other is missing may be said.
            let missing = |problem: &Problem| problem.message == "the key is missing";
            if let Err(problems) = parse(&list) {
                assert!(problems.list.iter().all(missing), "{problems}");
            }
            continue;
        }
        assert!(sample.contains(&commented), "{key}");
        let mut sample = sample.clone();
        if let Some(section) = OPTIONAL.iter().find(|name| key.starts_with(**name)) {
            let at = sample.find(&format!("\n# [{section}]\n")).unwrap();
            let (_, rest) = sample.split_at(at);
            let (own, _) = rest.split_once("\n\n").unwrap();
            let end = at + own.len();
            let own = own.replace(&format!("# [{section}]"), &format!("[{section}]"));
            let own = format!("{own}\n").replace(&commented, &format!("\n{name} = {value}\n"));
            sample.replace_range(at..=end, &own);
        }
        if let Err(problems) = parse(&sample.replace(&commented, &format!("\n{name} = {value}\n")))
        {
            // A key of another provider, or one of a pair whose other half is still a comment.
            let alone = |problem: &Problem| {
                problem.message.starts_with("the key has no use with")
                    || problem.message.starts_with("there is no pool")
                    || (problem.message == "the key is missing" && !problem.key.ends_with(name))
            };
            assert!(problems.list.iter().all(alone), "{problems}");
        }
    }
}

#[test]
fn the_reference_is_a_table_of_all_keys() {
    let table = reference_markdown();
    assert_eq!(table.lines().count(), reference().len() + 2);
    assert!(table.contains("| `domains` | required | "), "{table}");
    assert!(
        table.contains("| `limits.header_size` | `\"32KiB\"` | Largest request head |"),
        "{table}"
    );
}
