//! The engine's own promises against a real CA: advice, replacement, clock, limits, the second CA, the account.

use std::fs;
use std::path::Path;
use std::time::Duration;

use portico::acme::renew::view;
use portico::acme::revoke::{By, Target, revoke};
use portico::acme::schedule::Decision;
use portico::acme::{RevocationReason, account, ari};
use portico::cert::store::file::FileStore;
use portico::cert::store::{Store, Stored};
use portico::cli::cert::{self, Verdict};
use portico::clock::UnixTime;
use portico::config::{Ca, Config, CredentialSource, Eab};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::issue::{DUE, FORCE, config, host, rfc2136, run, serial};
use crate::support::fault_proxy::{Answer, Fault, FaultProxy, Kind};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::{Pebble, PebbleBuilder};

/// A CA with a proxy before it, a name server, and a configuration for both.
struct Lab {
    knot: Knot,
    pebble: Pebble,
    proxy: FaultProxy,
    state: TempDir,
    config: Config,
}

impl Lab {
    fn new() -> Self {
        Self::with(|pebble| pebble)
    }

    fn with(change: impl FnOnce(PebbleBuilder) -> PebbleBuilder) -> Self {
        let knot = Knot::start(&["example.test", "other.test"]);
        let pebble = change(Pebble::asking(knot.address())).start();
        let proxy = FaultProxy::before(&pebble);
        let state = tempdir().unwrap();
        let provider = rfc2136(&state, knot.address(), KEY_SECRET);
        let mut config = config(state.path(), &pebble, provider, knot.address());
        config.acme.directory = proxy.directory_url();
        config.acme.ca_file = Some(proxy.ca_file().to_owned());
        Self {
            knot,
            pebble,
            proxy,
            state,
            config,
        }
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.state.path())
    }

    fn stored(&self) -> Stored {
        self.store().load(&host("example.test")).unwrap().unwrap()
    }

    fn view(&self) -> portico::acme::renew::View {
        let now = UnixTime::now();
        view(&self.config, &self.store(), &host("example.test"), now).unwrap()
    }

    /// Lets the CA be asked for advice again, as if the pause were over.
    fn forget_pause(&self) {
        self.change_advice(|advice| advice["next_fetch"] = Value::Null);
    }

    /// Five minutes pass since the CA's advice came, as far as that is concerned.
    fn age_advice(&self) {
        self.change_advice(|advice| {
            advice["since"] = (advice["since"].as_i64().unwrap() - 300).into();
        });
    }

    fn change_advice(&self, change: impl FnOnce(&mut Value)) {
        let path = self.state.path().join("certs/example.test/state.json");
        let sealed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut state = sealed.get("content").unwrap().clone();
        change(&mut state["advice"]);
        let text = serde_json::to_vec(&state).unwrap();
        self.store()
            .put_state(&host("example.test"), &text)
            .unwrap();
    }
}

#[tokio::test]
async fn follows_the_cas_advice_and_names_the_certificate_that_is_replaced() {
    let lab = Lab::new();
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    let first = lab.stored();
    let advice = lab.view().state.advice.unwrap();
    let window = advice.window.expect("asked right after the issue");
    let point = advice.point.unwrap();
    assert!(point >= window.start && point < window.end);
    assert_eq!(lab.view().renew_at, Some(point));
    assert_eq!(lab.proxy.count(Kind::RenewalInfo), 1);

    // Nothing due, no pause over: no request at all.
    let before = lab.proxy.calls().len();
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    assert_eq!(lab.proxy.calls().len(), before);

    // The CA wants it now.
    let past = json!({"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"},
        "explanationURL": "https://ca.test/incident"});
    lab.proxy.times(
        1,
        Kind::RenewalInfo,
        Fault::Answer(Answer::new(200, "application/json", past.to_string())),
    );
    lab.forget_pause();
    run(&lab.config, DUE).await;
    lab.age_advice();
    run(&lab.config, DUE).await;
    assert_ne!(lab.stored().bundle.serial(), first.bundle.serial());
    let orders = lab.proxy.calls_of(Kind::NewOrder);
    let replaces = orders.last().unwrap().payload["replaces"].clone();
    assert_eq!(replaces.as_str(), ari::identifier(&first.bundle).as_deref());
}

#[tokio::test]
async fn a_refused_replacement_costs_one_more_request_and_no_certificate() {
    let lab = Lab::new();
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    for (status, kind) in [(409, "alreadyReplaced"), (400, "malformed")] {
        lab.proxy.forget();
        let before = serial(&lab.config);
        let refusal = Answer::problem(status, kind, "not this one");
        lab.proxy.times(1, Kind::NewOrder, Fault::Answer(refusal));
        let (verdict, text) = run(&lab.config, FORCE).await;
        assert_eq!(verdict, Verdict::Fine, "{text}");
        assert_ne!(serial(&lab.config), before);
        let orders = lab.proxy.calls_of(Kind::NewOrder);
        let replaces: Vec<bool> = orders
            .iter()
            .map(|call| !call.payload["replaces"].is_null())
            .collect();
        assert_eq!(replaces, [true, false], "{kind}");
    }
    // Made without being repeated in the reply: the order is taken up and not made again.
    lab.proxy.forget();
    lab.proxy.times(
        1,
        Kind::NewOrder,
        Fault::change(|answer| {
            let mut order = answer.json();
            order.as_object_mut().unwrap().remove("replaces");
            answer.with_body(order.to_string())
        }),
    );
    let (verdict, text) = run(&lab.config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1);
}

#[tokio::test]
async fn a_limit_survives_and_holds_back_only_whom_it_names() {
    let mut lab = Lab::new();
    lab.config.domains.push(host("other.test"));
    let limited = Fault::rate_limited("3600");
    lab.proxy.times(1, Kind::NewOrder, limited);
    let (verdict, text) = run(&lab.config, DUE).await;
    assert_eq!(verdict, Verdict::Failed, "{text}");
    let other = lab.store().load(&host("other.test")).unwrap();
    assert!(
        other.is_some(),
        "the second domain has its certificate: {text}"
    );
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 2);
    let left = lab
        .view()
        .waiting
        .unwrap()
        .until
        .seconds_since(UnixTime::now());
    assert!((3500..=3600).contains(&left), "{left}");
    for order in [DUE, FORCE] {
        let single = cert::Order {
            domain: Some(&lab.config.domains[0]),
            ..order
        };
        assert_eq!(run(&lab.config, single).await.0, Verdict::Waiting);
    }
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 2);
}

#[tokio::test]
async fn never_more_than_four_failed_validations_an_hour_even_by_force() {
    let other = Knot::start(&["example.test"]);
    let mut lab = Lab::new();
    // The CA asks a server that has no record.
    let pebble = Pebble::asking(other.address()).start();
    lab.config.acme.directory = pebble.directory_url();
    lab.config.acme.ca_file = Some(pebble.ca_file().to_owned());
    for _ in 0..2 {
        let (verdict, text) = run(&lab.config, FORCE).await;
        assert_eq!(verdict, Verdict::Failed, "{text}");
    }
    // Two names each: that was four.
    let orders = pebble.log().matches("Added order").count();
    let (verdict, text) = run(&lab.config, FORCE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(text.contains("validations have failed lately"), "{text}");
    assert_eq!(pebble.log().matches("Added order").count(), orders);
    assert_eq!(run(&lab.config, FORCE).await.0, Verdict::Waiting);
}

#[tokio::test]
async fn a_clock_far_ahead_orders_nothing_that_the_cas_clock_does_not() {
    let lab = Lab::with(|pebble| pebble.profile("short", Duration::from_secs(120)));
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    let issued = serial(&lab.config);
    let due = lab.view().renew_at.unwrap();
    let wait = due.seconds_since(UnixTime::now()).max(0);
    tokio::time::sleep(Duration::from_secs(wait.unsigned_abs() + 1)).await;
    assert!(matches!(lab.view().decision, Decision::Renew(_)));

    // By the CA's clock it is two hours earlier: not due.
    lab.proxy.skew(-7200);
    let orders = lab.proxy.posts(Kind::NewOrder);
    let (verdict, text) = run(&lab.config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked, "{text}");
    assert!(
        text.contains("s ahead of the CA's") && text.contains("hint: set the clock"),
        "{text}"
    );
    assert_eq!(lab.proxy.posts(Kind::NewOrder), orders);
    let skew = lab.view().state.clock.unwrap().seconds;
    assert!((7195..=7205).contains(&skew), "{skew}");
    assert_eq!(serial(&lab.config), issued);

    // The clocks agree again, and a person does not want to wait.
    lab.proxy.skew(0);
    let (verdict, text) = run(&lab.config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
}

#[tokio::test]
async fn the_second_ca_stands_in_and_the_first_one_comes_back() {
    let mut lab = Lab::with(|pebble| pebble.profile("short", Duration::from_secs(60)));
    let second = Pebble::asking(lab.knot.address()).start();
    lab.config.acme.fallback = Some(Ca {
        directory: second.directory_url(),
        email: None,
        ca_file: Some(second.ca_file().to_owned()),
        profile: None,
        eab: None,
    });
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    assert_eq!(lab.stored().meta.directory, lab.config.acme.directory);

    // A sixth of a minute is left, and the first CA is down.
    let end = lab.stored().bundle.not_after().0;
    let wait = (end - 9 - UnixTime::now().0).max(0).unsigned_abs();
    tokio::time::sleep(Duration::from_secs(wait)).await;
    lab.proxy
        .on(Kind::Directory, Fault::Answer(Answer::html(500)));
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Failed);
    let (verdict, text) = run(&lab.config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(lab.stored().meta.directory, second.directory_url());
    assert_eq!(lab.view().state.fallback, Some(second.directory_url()));
    // Its certificate stays for its lifetime.
    assert!(matches!(lab.view().decision, Decision::Wait(_)));

    lab.proxy.heal();
    assert_eq!(run(&lab.config, FORCE).await.0, Verdict::Fine);
    assert_eq!(lab.stored().meta.directory, lab.config.acme.directory);
    assert_eq!(lab.view().state.fallback, None);
}

fn eab(folder: &Path, kid: &str) -> Eab {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("eab.ini");
    fs::write(
        &file,
        "eab_hmac_key = zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n",
    )
    .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    Eab {
        kid: kid.to_owned(),
        key_file: CredentialSource::File(file),
    }
}

#[tokio::test]
async fn binds_the_account_to_an_external_one_and_says_so_when_that_is_missing() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let mut lab = Lab::with(|pebble| {
        pebble
            .config("externalAccountBindingRequired", json!(true))
            .config("externalAccountMACKeys", json!({ "kid-1": key }))
    });
    let (verdict, text) = run(&lab.config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked, "{text}");
    assert!(text.contains("[acme.eab]"), "{text}");
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Blocked, "no loop");
    lab.config.acme.eab = Some(eab(lab.state.path(), "kid-1"));
    let (verdict, text) = run(&lab.config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "a change ends the wait: {text}");
    assert!(!text.contains(key));
}

#[tokio::test]
async fn an_account_is_shown_gets_a_new_key_moves_and_ends() {
    let lab = Lab::new();
    let ca = lab.config.acme.first();
    assert_eq!(account::show(lab.state.path(), &ca).unwrap(), None);
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    let before = account::show(lab.state.path(), &ca).unwrap().unwrap();
    assert!(before.url.is_some() && before.contact.as_deref() == Some("ops@example.test"));

    let after = account::rollover(lab.state.path(), &ca).await.unwrap();
    assert_eq!(after.url, before.url, "the account is the same");
    assert_ne!(after.thumbprint, before.thumbprint, "the key is not");
    assert_eq!(run(&lab.config, FORCE).await.0, Verdict::Fine);

    let leaf = lab.stored().bundle.leaf().unwrap().clone();
    let target = Target {
        certificate: &leaf,
        key: "",
        reason: &RevocationReason::Superseded,
    };
    for _ in 0..2 {
        let revoked = revoke(lab.state.path(), &ca, target, By::Account);
        assert_eq!(revoked.await.unwrap(), By::Account);
    }
    let revoked = serial(&lab.config);
    lab.forget_pause();
    run(&lab.config, DUE).await;
    lab.age_advice();
    run(&lab.config, DUE).await;
    assert_ne!(serial(&lab.config), revoked, "revocation is seen by advice");

    account::deactivate(lab.state.path(), &ca).await.unwrap();
    assert_eq!(account::show(lab.state.path(), &ca).unwrap(), None);
    let gone = account::rollover(lab.state.path(), &ca).await.unwrap_err();
    assert!(gone.to_string().contains("hint:"), "{gone}");
}

#[tokio::test]
async fn a_rehearsal_goes_the_whole_way_and_installs_nothing() {
    let lab = Lab::new();
    let mut out = Vec::new();
    let verdict = cert::dry_run(&lab.config, None, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert!(text.contains("nothing was installed"), "{text}");
    assert!(lab.pebble.log().contains("Issued certificate"));
    assert!(lab.store().load(&host("example.test")).unwrap().is_none());
    assert!(!lab.state.path().join("dry-run/certs/example.test").exists());
    assert_eq!(lab.knot.txt(super::issue::RECORD), [""; 0]);
}

#[tokio::test]
async fn a_compromised_key_is_replaced_and_never_gone_back_to() {
    let lab = Lab::new();
    assert_eq!(run(&lab.config, DUE).await.0, Verdict::Fine);
    let store = lab.store();
    let domain = host("example.test");
    store.compromise(&domain, 1).unwrap();
    let mut out = Vec::new();
    let verdict = cert::reconcile(&lab.config, None, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert!(text.contains("others know its key"), "{text}");
    assert_eq!(lab.stored().generation, 2);
    assert!(store.rollback(&domain, None).is_err());
}
