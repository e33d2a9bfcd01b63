//! The mistake of many tutorials, `SESSION_COOKIE_DOMAIN = ".example.com"`: the session of one tenant goes to all of them.

use super::accounts::{EMAIL, log_in, sign_up_and_in};
use super::browser::Browser;
use super::{ACME, GLOBEX, before};
use crate::support::django::Django;
use crate::support::http::Protocol;

/// Somebody logs in at acme and goes on to globex: whether acme's session came along.
async fn session_travels(mut browser: Browser<'_>) -> bool {
    log_in(&mut browser, ACME).await;
    let session = browser.cookie(ACME, "sessionid").expect("a session");
    let sent = format!("sessionid={session}");
    assert!(browser.cookies_for(ACME).unwrap().contains(&sent));
    let seen = browser.get(GLOBEX, "/env/").await.json();
    assert_eq!(seen["tenant"], "globex");
    let cookies = seen["headers"]["HTTP_COOKIE"].as_str().unwrap_or_default();
    let came = cookies.contains(&sent);
    // One cookie for both: whoever logs in at the second is logged out of the first.
    log_in(&mut browser, GLOBEX).await;
    let user = browser.get(ACME, "/env/").await.json()["user"].clone();
    let kept = user == EMAIL;
    assert_eq!(kept, !came, "known to acme as {user}");
    came
}

#[tokio::test]
async fn cookie_domain_stripped_from_djangos_sessions() {
    let django = Django::new().env("SAAS_COOKIE_BASE", "1");
    let app = django.gunicorn();
    let mut site = before(&app)
        .set("tenants", "cookie_scope = \"host\"")
        .start();
    for host in [ACME, GLOBEX] {
        sign_up_and_in(&django, &site.edge, host).await;
    }
    assert!(session_travels(Browser::straight(&app)).await, "without us");
    for (scope, travels) in [("host", false), ("warn", true), ("off", true)] {
        site.portico.rewrite_config(|text| {
            let at = text.find("cookie_scope = ").unwrap();
            let line = text[at..].lines().next().unwrap();
            text.replace(line, &format!("cookie_scope = {scope:?}"))
        });
        site.portico.reload();
        for protocol in Protocol::BOTH {
            let browser = Browser::new(&site.edge, protocol);
            let came = session_travels(browser).await;
            assert_eq!(came, travels, "{scope}, {protocol:?}");
        }
    }
}
