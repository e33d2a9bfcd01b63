//! Pebble, name servers and gunicorn really run and do what the fixtures say.

use std::process::Command;
use std::time::Duration;

use crate::support::bind::Bind;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::Connection;
use crate::support::knot::{self, Knot};
use crate::support::pebble::Pebble;
use crate::support::{body, program};

#[tokio::test]
async fn pebble_serves_its_directory_and_its_root() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address())
        .profile("short", Duration::from_secs(45))
        .config("domainBlocklist", serde_json::json!(["blocked.test"]))
        .start();

    let directory = Command::new(program::system("curl"))
        .args(["-q", "-sS", "--noproxy", "*", "--cacert"])
        .arg(pebble.ca_file())
        .arg(pebble.directory_url())
        .output()
        .unwrap();
    assert!(directory.status.success(), "{directory:?}");
    let directory: serde_json::Value = serde_json::from_slice(&directory.stdout).unwrap();
    assert!(directory["newOrder"].is_string(), "{directory}");
    assert!(
        directory["renewalInfo"].is_string(),
        "too old for ARI: {directory}"
    );
    assert_eq!(directory["meta"]["profiles"]["short"], "short");
    pebble.root().await;
}

#[test]
fn knot_takes_a_signed_txt_update_and_nothing_else() {
    let knot = Knot::start(&["example.test", "other.test"]);
    let name = "_acme-challenge.example.test";
    assert!(knot.txt(name).is_empty());

    for value in ["one", "two"] {
        let done = knot.update("example.test", &[&format!("add {name}. 60 TXT {value}")]);
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(knot.txt(name), ["one", "two"]);
    let done = knot.update("example.test", &[&format!("del {name}. TXT one")]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(knot.txt(name), ["two"]);

    let address = knot.update("example.test", &["add www.example.test. 60 A 127.0.0.2"]);
    assert!(!address.status.success(), "the key may change TXT only");
    let wrong = knot::nsupdate(
        knot.address(),
        "d3Jvbmc=",
        "example.test",
        &[&format!("add {name}. 60 TXT x")],
    );
    assert!(!wrong.status.success(), "a wrong secret must be refused");
    assert_eq!(knot.txt(name), ["two"]);
}

#[test]
fn bind_takes_the_challenge_name_only() {
    let bind = Bind::start(&["example.test"]);
    let update =
        |line: &str| knot::nsupdate(bind.address(), knot::KEY_SECRET, "example.test", &[line]);
    let done = update("add _acme-challenge.example.test. 60 TXT value");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(bind.txt("_acme-challenge.example.test"), ["value"]);
    assert!(
        !update("add www.example.test. 60 TXT value")
            .status
            .success()
    );
}

#[tokio::test]
async fn gunicorn_answers_over_tcp() {
    let gunicorn = Gunicorn::worker("gthread").keep_alive(5).tcp();
    let address = gunicorn.address().parse().unwrap();
    let mut connection = Connection::tcp(address, "acme.example.test").await;

    let seen = connection
        .request("GET", "/a%20b?c=d")
        .header("x-tenant", "acme")
        .send()
        .await
        .json();
    assert_eq!(seen["path"], "/a b");
    assert_eq!(seen["query"], "c=d");
    assert_eq!(seen["headers"]["HTTP_X_TENANT"], "acme");
    assert_eq!(seen["headers"]["HTTP_HOST"], "acme.example.test");
    assert_eq!(seen["remote_addr"], "127.0.0.1");

    let echo = connection
        .request("POST", "/echo")
        .body(body::full("data"))
        .send()
        .await;
    assert_eq!(echo.text(), "data");
    let big = connection.request("GET", "/big?n=200000").send().await;
    assert_eq!(big.body.len(), 200_000);
}

#[tokio::test]
async fn gunicorn_answers_over_a_unix_socket() {
    let gunicorn = Gunicorn::worker("sync").unix();
    let mut connection = Connection::unix(gunicorn.socket(), "acme.example.test").await;
    let seen = connection
        .request("POST", "/")
        .body(body::full("12345"))
        .send()
        .await
        .json();
    assert_eq!(seen["body_length"], 5);
    assert_eq!(seen["remote_addr"], "", "a Unix socket has no peer address");
}
