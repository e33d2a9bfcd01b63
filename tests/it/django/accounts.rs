//! allauth behind the proxy with its own defaults: links and forms are right, and a client is who it is.

use std::net::Ipv4Addr;

use super::browser::{Browser, between};
use super::{ACME, GLOBEX, before};
use crate::support::django::{App, Django};
use crate::support::http::{Edge, Protocol};
use crate::support::wait;

pub(super) const EMAIL: &str = "ann@customer.test";
const PASSWORD: &str = "correct horse battery";
const TOO_MANY: &str = "Too many failed login attempts";

/// Signs up at `host`, confirms by the link in the e-mail and logs in.
pub(super) async fn sign_up_and_in(django: &Django, edge: &Edge, host: &str) {
    let mut browser = Browser::new(edge, Protocol::Http2);
    let fields = [
        ("email", EMAIL),
        ("password1", PASSWORD),
        ("password2", PASSWORD),
    ];
    // Django names its files by the second: among those of one second, ours is known by its host alone.
    let own = || {
        let mut mails = django.mails();
        mails.retain(|mail| mail.contains(&format!("https://{host}/")));
        mails
    };
    let before = own().len();
    let done = browser.submit(host, "/accounts/signup/", &fields).await;
    assert_eq!(done.status, 302, "{}", done.text());
    assert_eq!(done.header("location"), Some("/accounts/confirm-email/"));
    let mail = wait::until("the e-mail", || own().into_iter().nth(before));
    let link = between(&mail, &format!("https://{host}"), "\n");
    let link = link
        .unwrap_or_else(|| panic!("no link to https://{host} in {mail}"))
        .trim();
    assert!(link.starts_with("/accounts/confirm-email/"), "{mail}");
    assert!(!mail.contains("http://"), "{mail}");

    let fresh = &mut Browser::new(edge, Protocol::Http1);
    let early = fresh
        .submit(host, "/accounts/login/", &credentials(PASSWORD))
        .await;
    assert_eq!(
        early.header("location"),
        Some("/accounts/confirm-email/"),
        "{early:?}"
    );
    let confirmed = browser.submit(host, link, &[]).await;
    assert_eq!(confirmed.status, 302, "{}", confirmed.text());
    for protocol in Protocol::BOTH {
        log_in(&mut Browser::new(edge, protocol), host).await;
    }
}

/// Logs in; the app knows the user then.
pub(super) async fn log_in(browser: &mut Browser<'_>, host: &str) {
    let done = browser
        .submit(host, "/accounts/login/", &credentials(PASSWORD))
        .await;
    assert_eq!(
        (done.status.as_u16(), done.header("location")),
        (302, Some("/env/")),
        "{}",
        done.text()
    );
    let seen = browser.get(host, "/env/").await.json();
    assert_eq!(seen["user"], EMAIL);
    assert_eq!(seen["tenant"], host.split('.').next().unwrap());
}

fn credentials(password: &str) -> [(&str, &str); 2] {
    [("login", EMAIL), ("password", password)]
}

/// The token alone is not enough: a form must come from the same host.
pub(super) async fn forged_forms_fail(edge: &Edge) {
    for protocol in Protocol::BOTH {
        for origin in [
            &format!("https://{GLOBEX}"),
            &format!("http://{ACME}"),
            "https://evil.test",
            "null",
        ] {
            let mut browser = Browser::new(edge, protocol);
            let fields = [("text", "forged")];
            let answer = browser.submit_from(origin, ACME, "/notes/", &fields).await;
            assert_eq!(answer.status, 403, "{origin}");
        }
    }
    assert!(
        !edge
            .get(Protocol::Http1, ACME, "/notes/")
            .await
            .text()
            .contains("forged")
    );
}

async fn accounts_of(django: &Django, app: &App) {
    let site = before(app).start();
    for host in [ACME, GLOBEX] {
        sign_up_and_in(django, &site.edge, host).await;
    }
    assert_eq!(django.sql("SELECT count(*) FROM acme.auth_user"), "1");
    assert_eq!(django.sql("SELECT count(*) FROM globex.auth_user"), "1");
    assert_eq!(django.sql("SELECT count(*) FROM public.auth_user"), "0");
    forged_forms_fail(&site.edge).await;
    // A port that is not https's own is part of the origin.
    let host = format!("{ACME}:{}", site.portico.https_port());
    let mut browser = Browser::new(&site.edge, Protocol::Http2);
    let done = browser
        .submit(&host, "/notes/", &[("text", "by port")])
        .await;
    assert_eq!(done.status, 302, "{}", done.text());
}

#[tokio::test]
async fn allauth_is_right_for_each_tenant_over_tcp() {
    let django = Django::new();
    let app = django.gunicorn();
    accounts_of(&django, &app).await;
}

#[tokio::test]
async fn allauth_is_right_for_each_tenant_over_a_unix_socket() {
    let django = Django::new();
    let app = django.gunicorn_unix();
    accounts_of(&django, &app).await;
}

/// allauth counts bad logins by address, ten a minute. Behind a proxy that hides addresses that is ten for everybody.
async fn eleven_bad_logins(app: &App, django: &Django) {
    let site = before(app).start();
    sign_up_and_in(django, &site.edge, ACME).await;
    let guesser = site.edge.from(Ipv4Addr::new(127, 0, 0, 2));
    let mut browser = Browser::new(&guesser, Protocol::Http2);
    for turn in 0..=10 {
        let name = format!("guess{turn}@customer.test");
        let fields = [("login", name.as_str()), ("password", "wrong")];
        let answer = browser.submit(ACME, "/accounts/login/", &fields).await;
        assert_eq!(answer.status, 200, "a form again: {}", answer.text());
        assert_eq!(answer.text().contains(TOO_MANY), turn == 10, "{turn}");
    }
    let locked = browser
        .submit(ACME, "/accounts/login/", &credentials(PASSWORD))
        .await;
    assert!(locked.text().contains(TOO_MANY));
    let other = site.edge.from(Ipv4Addr::new(127, 0, 0, 3));
    log_in(&mut Browser::new(&other, Protocol::Http2), ACME).await;
}

#[tokio::test]
async fn eleven_bad_logins_lock_nobody_else_over_tcp() {
    let django = Django::new();
    let app = django.gunicorn();
    eleven_bad_logins(&app, &django).await;
}

#[tokio::test]
async fn eleven_bad_logins_lock_nobody_else_over_a_unix_socket() {
    let django = Django::new();
    let app = django.gunicorn_unix();
    eleven_bad_logins(&app, &django).await;
}
