//! The proxy before Pebble passes on what it should, and spoils what it should.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::fault_proxy::{Answer, Fault, FaultProxy, Kind};
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::program;

const RESET: i32 = 56;
const TIMEOUT: i32 = 28;

struct Rig {
    _knot: Knot,
    pebble: Pebble,
    proxy: FaultProxy,
}

impl Rig {
    fn start() -> Self {
        let knot = Knot::start(&["example.test"]);
        let pebble = Pebble::asking(knot.address()).start();
        let proxy = FaultProxy::before(&pebble);
        Self {
            _knot: knot,
            pebble,
            proxy,
        }
    }

    fn curl(&self, url: &str, args: &[&str]) -> Output {
        Command::new(program::system("curl"))
            .args(["-q", "-sS", "-i", "--http1.1", "--noproxy", "*", "--cacert"])
            .arg(self.proxy.ca_file())
            .args(args)
            .arg(url)
            .output()
            .unwrap()
    }

    /// The directory as a client sees it: headers and body.
    fn directory(&self, args: &[&str]) -> (Option<i32>, String) {
        let done = self.curl(&self.proxy.directory_url(), args);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        (done.status.code(), text)
    }
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").expect("a head").1
}

#[test]
fn hands_out_its_own_urls_and_counts_what_it_passes_on() {
    let rig = Rig::start();
    let (code, text) = rig.directory(&[]);
    assert_eq!(code, Some(0), "{text}");
    let directory: Value = serde_json::from_str(body(&text)).unwrap();
    let base = rig.proxy.directory_url().replace("/dir", "/");
    for (field, kind) in [
        ("newNonce", Kind::NewNonce),
        ("newAccount", Kind::NewAccount),
        ("newOrder", Kind::NewOrder),
        ("revokeCert", Kind::Revoke),
        ("keyChange", Kind::KeyChange),
        ("renewalInfo", Kind::RenewalInfo),
    ] {
        let url = directory[field].as_str().unwrap();
        assert!(url.starts_with(&base), "{field}: {url}");
        rig.proxy.forget();
        rig.curl(
            &format!("{}/x", url.trim_end_matches('/')),
            &["-d", "{\"payload\":\"e30\"}"],
        );
        assert_eq!(rig.proxy.posts(kind), 1, "{field}: {url}");
        let call = rig.proxy.calls().remove(0);
        assert_eq!(call.payload, serde_json::json!({}));
        assert!(call.by_ca.is_some() && call.by_ca == call.answered);
    }
}

#[test]
fn gives_made_up_answers_and_changed_ones() {
    let rig = Rig::start();
    rig.proxy
        .times(1, Kind::Directory, Fault::rate_limited("17"))
        .times(
            1,
            Kind::Directory,
            Fault::change(|answer| {
                let mut directory = answer.json();
                directory["renewalInfo"] = Value::Null;
                answer.with_body(directory.to_string())
            }),
        )
        .rule(Kind::Directory, 1, 1, Fault::Answer(Answer::html(503)));
    let (_, limited) = rig.directory(&[]);
    assert!(
        limited.starts_with("HTTP/1.1 429") && limited.contains("retry-after: 17"),
        "{limited}"
    );
    let (_, changed) = rig.directory(&[]);
    let directory: Value = serde_json::from_str(body(&changed)).unwrap();
    assert!(directory["renewalInfo"].is_null() && directory["newOrder"].is_string());
    assert!(rig.directory(&[]).1.starts_with("HTTP/1.1 200"), "skipped");
    assert!(rig.directory(&[]).1.starts_with("HTTP/1.1 503"));
    assert!(rig.directory(&[]).1.starts_with("HTTP/1.1 200"), "used up");
    let by_ca = |calls: Vec<_>| -> Vec<Option<u16>> {
        let by_ca = |call: crate::support::fault_proxy::Call| call.by_ca;
        calls.into_iter().map(by_ca).collect()
    };
    let expected = [None, Some(200), Some(200), None, Some(200)];
    assert_eq!(by_ca(rig.proxy.calls_of(Kind::Directory)), expected);
    rig.proxy.skew(-7200);
    let shifted = rig.directory(&[]).1;
    rig.proxy.heal();
    let true_one = rig.directory(&[]).1;
    let date = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("date: "))
            .expect("a date")
            .to_owned();
        let done = Command::new("date")
            .args(["+%s", "-d", &line])
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout)
            .trim()
            .parse::<i64>()
            .unwrap()
    };
    let seconds = date(&true_one) - date(&shifted);
    assert!((7200..7210).contains(&seconds), "{shifted}{true_one}");
}

#[test]
fn breaks_connections_before_and_after_pebble_has_done_its_work() {
    let rig = Rig::start();
    rig.proxy
        .times(1, Kind::Directory, Fault::Hang)
        .times(1, Kind::Directory, Fault::Reset)
        .times(1, Kind::Directory, Fault::ResetAfter)
        .times(1, Kind::Directory, Fault::Drip);
    assert_eq!(rig.directory(&["-m", "1"]), (Some(TIMEOUT), String::new()));
    assert_eq!(rig.directory(&[]), (Some(RESET), String::new()));
    assert_eq!(rig.directory(&[]), (Some(RESET), String::new()));
    let (code, text) = rig.directory(&["-m", "2"]);
    assert_eq!(code, Some(TIMEOUT));
    let dripped = body(&text).len();
    assert!((1..5).contains(&dripped), "{dripped} bytes in 2 s");
    assert_eq!(rig.directory(&[]).0, Some(0), "none is left");
    let calls = rig.proxy.calls_of(Kind::Directory);
    let by_ca: Vec<Option<u16>> = calls.iter().map(|call| call.by_ca).collect();
    assert_eq!(by_ca, [None, None, Some(200), Some(200), Some(200)]);
}

#[test]
fn goes_on_when_pebble_is_restarted_behind_it() {
    let mut rig = Rig::start();
    assert_eq!(rig.directory(&[]).0, Some(0));
    rig.pebble = rig.pebble.restart();
    assert_eq!(rig.directory(&[]).0, Some(0));
}
