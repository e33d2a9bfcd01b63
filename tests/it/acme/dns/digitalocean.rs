//! The `dns-update` library's real code for DigitalOcean, from certbot's ini file to a certificate.
//!
//! Nothing of the library is replaced: `portico cert renew` runs as a process of its own with `HTTPS_PROXY` and
//! `SSL_CERT_FILE`, which the library's HTTP client obeys and Portico's own does not. The proxy is a stand-in of the API, with
//! a certificate for `api.digitalocean.com`, that feeds a real name server.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::issue::RECORD;
use super::{challenge_posts, new_orders};
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::pki::Ca;
use crate::support::web_service::{Call, Reply, WebService};

const TOKEN: &str = "dop_v1_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// As many foreign values as fill the first page of a listing.
const FOREIGN: usize = 205;

/// What goes wrong with one call that creates a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// 429 before anything is done.
    TooMany,
    /// 500 after the record was made.
    BrokenAfter,
    /// No answer after the record was made.
    SilentAfter,
}

/// The records of `example.test` at the service.
#[derive(Default)]
struct Account {
    records: Vec<(i64, String, String)>,
    last: i64,
    faults: VecDeque<Fault>,
    created: Vec<String>,
    pages: usize,
}

struct Lab {
    knot: Arc<Knot>,
    pebble: Pebble,
    account: Arc<Mutex<Account>>,
    api: WebService,
    trust: std::path::PathBuf,
    folder: TempDir,
}

impl Lab {
    fn new(foreign: usize, faults: &[Fault]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new();
        let trust = folder.path().join("api-ca.pem");
        fs::write(&trust, ca.pem()).unwrap();
        let knot = Arc::new(Knot::start(&["example.test"]));
        let mut account = Account {
            faults: faults.iter().copied().collect(),
            ..Account::default()
        };
        let lines: Vec<String> = (0..foreign)
            .map(|number| format!("add {RECORD}. 60 TXT foreign-{number:036}"))
            .collect();
        for (line, number) in lines.iter().zip(0..) {
            account.last = number;
            let value = line.rsplit(' ').next().unwrap().to_owned();
            account
                .records
                .push((number, "_acme-challenge".to_owned(), value));
        }
        for lines in lines.chunks(50) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert!(knot.update("example.test", &lines).status.success());
        }
        let account = Arc::new(Mutex::new(account));
        let (own, feed) = (Arc::clone(&account), Arc::clone(&knot));
        let tls = ca.leaf(&["api.digitalocean.com"]).server_config();
        let api =
            WebService::behind_connect(tls, move |call| own.lock().unwrap().answer(call, &feed));
        let pebble = Pebble::asking(knot.address()).start();
        let ini = folder.path().join("digitalocean.ini");
        fs::write(
            &ini,
            format!(
                "# DigitalOcean API credentials used by Certbot\ndns_digitalocean_token = {TOKEN}\n"
            ),
        )
        .unwrap();
        fs::set_permissions(&ini, fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "domains = [\"example.test\"]\nstate_dir = \"state\"\nupstream.servers = [\"http://127.0.0.1:9\"]\n\
             [acme]\ndirectory = \"{}\"\nca_file = \"{}\"\n[acme.dns]\nprovider = \"digitalocean\"\n\
             credentials = \"digitalocean.ini\"\nnameservers = [\"{}\"]\n",
            pebble.directory_url(),
            pebble.ca_file().display(),
            knot.address()
        );
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::write(folder.path().join("portico.toml"), config).unwrap();
        Self {
            knot,
            pebble,
            account,
            api,
            trust,
            folder,
        }
    }

    fn renew(&self) -> Output {
        let proxy = format!("http://{}", self.api.address());
        Command::new(env!("CARGO_BIN_EXE_portico"))
            .args(["cert", "renew", "--config"])
            .arg(self.folder.path().join("portico.toml"))
            .env("HTTPS_PROXY", proxy)
            .env("SSL_CERT_FILE", &self.trust)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .expect("portico runs")
    }
}

impl Account {
    /// The API v2, as far as records go.
    fn answer(&mut self, call: &Call, knot: &Knot) -> Reply {
        if call.header("authorization") != format!("Bearer {TOKEN}") {
            let body = json!({ "id": "Unauthorized", "message": "Unable to authenticate you" });
            return Reply::Status(401, body.to_string());
        }
        let path = call.path.split('?').next().unwrap_or_default();
        let Some(rest) = path.strip_prefix("/v2/domains/example.test/records") else {
            let body = json!({ "id": "not_found", "message": "The resource you requested could not be found." });
            return Reply::Status(404, body.to_string());
        };
        match call.method.as_str() {
            "GET" => self.list(call),
            "POST" => self.create(&call.json(), knot),
            "DELETE" => {
                let id: i64 = rest.trim_start_matches('/').parse().unwrap();
                let at = self.records.iter().position(|(known, ..)| *known == id);
                let (_, name, value) = self.records.remove(at.expect("a record that is there"));
                let line = format!("del {name}.example.test. TXT {value}");
                assert!(knot.update("example.test", &[&line]).status.success());
                Reply::Status(204, String::new())
            }
            other => Reply::Status(405, json!({ "message": other }).to_string()),
        }
    }

    fn list(&mut self, call: &Call) -> Reply {
        self.pages += 1;
        let number = |name, default| {
            call.query(name)
                .map_or(default, |text| text.parse().unwrap())
        };
        let (page, size): (usize, usize) = (number("page", 1), number("per_page", 20));
        assert!(size <= 200, "the API's own limit");
        let wanted = call.query("name");
        let all: Vec<Value> = self
            .records
            .iter()
            .filter(|(_, name, _)| wanted.is_none_or(|wanted| wanted == format!("{name}.example.test")))
            .map(|(id, name, value)| {
                json!({ "id": id, "type": "TXT", "name": name, "data": value, "priority": null, "port": null,
                        "ttl": 30, "weight": null, "flags": null, "tag": null })
            })
            .collect();
        let shown: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
        let links = if page * size < all.len() {
            json!({ "pages": { "next": format!("https://api.digitalocean.com/v2/domains/example.test/records?page={}", page + 1) } })
        } else {
            json!({})
        };
        let body =
            json!({ "domain_records": shown, "links": links, "meta": { "total": all.len() } });
        Reply::Status(200, body.to_string())
    }

    fn create(&mut self, body: &Value, knot: &Knot) -> Reply {
        let fault = self.faults.pop_front();
        if fault == Some(Fault::TooMany) {
            let body = json!({ "id": "too_many_requests", "message": "API Rate limit exceeded." });
            return Reply::Status(429, body.to_string());
        }
        assert_eq!(body["type"], "TXT");
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        let (name, value) = (text("name"), text("data"));
        let line = format!("add {name}.example.test. {} TXT {value}", body["ttl"]);
        assert!(knot.update("example.test", &[&line]).status.success());
        self.last += 1;
        self.records.push((self.last, name.clone(), value.clone()));
        self.created.push(value.clone());
        match fault {
            Some(Fault::BrokenAfter) => Reply::Status(500, "{\"id\":\"server_error\"}".to_owned()),
            Some(Fault::SilentAfter) => Reply::Silence,
            _ => {
                let record = json!({ "id": self.last, "type": "TXT", "name": name, "data": value, "ttl": 30 });
                Reply::Status(201, json!({ "domain_record": record }).to_string())
            }
        }
    }
}

fn words(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn issues_through_digitalocean_from_certbots_ini_file() {
    let lab = Lab::new(FOREIGN, &[]);
    let renewed = lab.renew();
    let text = words(&renewed);
    assert_eq!(renewed.status.code(), Some(0), "{text}");
    assert!(text.contains("new certificate"), "{text}");
    assert!(!text.contains(TOKEN), "{text}");
    let account = lab.account.lock().unwrap();
    assert_eq!(account.created.len(), 2);
    assert!(account.pages >= 8, "two pages for each of four listings");
    assert_eq!(
        account.records.len(),
        FOREIGN,
        "foreign ones stay, at the service"
    );
    assert_eq!(lab.knot.txt(RECORD).len(), FOREIGN, "and in DNS");
    let agent = lab
        .api
        .calls()
        .iter()
        .all(|call| call.header("host") == "api.digitalocean.com");
    assert!(agent, "under the service's own name");
}

#[test]
fn case_10_digitalocean_fails_after_it_has_worked() {
    let lab = Lab::new(1, &[Fault::TooMany, Fault::BrokenAfter, Fault::SilentAfter]);
    let renewed = lab.renew();
    assert_eq!(renewed.status.code(), Some(0), "{}", words(&renewed));
    let account = lab.account.lock().unwrap();
    let mut values = account.created.clone();
    values.sort();
    values.dedup();
    assert_eq!(
        (account.created.len(), values.len()),
        (2, 2),
        "no value twice"
    );
    assert_eq!(account.records.len(), 1);
    assert_eq!(challenge_posts(&lab.pebble), 2);
}

#[test]
fn case_10_digitalocean_refuses_for_as_long_as_we_try() {
    let lab = Lab::new(0, &[Fault::TooMany; 20]);
    let renewed = lab.renew();
    let text = words(&renewed);
    assert_eq!(renewed.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot change DNS: digitalocean, record") && text.contains("429"),
        "{text}"
    );
    assert_eq!(challenge_posts(&lab.pebble), 0);
    let calls = lab.api.calls().len();
    let again = lab.renew();
    assert_eq!(again.status.code(), Some(75), "{}", words(&again));
    assert_eq!(lab.api.calls().len(), calls, "the service is left alone");
    assert_eq!(new_orders(&lab.pebble), 1);
}

#[test]
fn a_token_that_digitalocean_does_not_know_is_not_shown() {
    let lab = Lab::new(0, &[]);
    let ini = lab.folder.path().join("digitalocean.ini");
    fs::write(&ini, "dns_digitalocean_token = dop_v1_another-token\n").unwrap();
    let renewed = lab.renew();
    let text = words(&renewed);
    assert_eq!(renewed.status.code(), Some(2), "{text}");
    assert!(text.contains("hint: check the credentials"), "{text}");
    assert!(!text.contains("another-token"), "{text}");
    fs::set_permissions(&ini, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = words(&lab.renew());
    assert!(
        refused.contains(&format!("hint: chmod 600 {}", ini.display())),
        "{refused}"
    );
}
