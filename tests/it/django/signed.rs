//! The middleware that README shows, installed in the site: it lets in what the edge has signed and nothing else.

use portico::clock::UnixTime;
use portico::config::{CredentialSource, Signature, SignatureForm};
use portico::tenant::signature::{Signed, Signer};

use super::{ACME, GLOBEX, accounts, before, env, isolation, understood};
use crate::support::body;
use crate::support::django::{App, Django};
use crate::support::http::{Connection, Protocol};
use crate::support::key_file::KeyFile;
use crate::support::site::Site;

/// The headers that the signature is about, and itself, with Django's names for them.
const SIGNED: [(&str, &str); 4] = [
    ("x-tenant", "HTTP_X_TENANT"),
    ("x-real-ip", "HTTP_X_REAL_IP"),
    ("x-request-id", "HTTP_X_REQUEST_ID"),
    ("x-tenant-signature", "HTTP_X_TENANT_SIGNATURE"),
];
const CLIENT: &str = "192.0.2.7";
const REQUEST_ID: &str = "0123456789abcdef";
const TARGET: &str = "/env/?a=%20b&c=%E2%82%AC";

fn keys(digit: &str) -> KeyFile {
    KeyFile::new(&format!("k1 = {}\n", digit.repeat(64)))
}

/// The site behind the edge, which shares its keys with it.
fn site(app: &App, keys: &KeyFile) -> Site {
    before(app).set("tenants.signature", &keys.line()).start()
}

/// A signature as the edge makes it, of a time so many seconds from now.
fn sign(keys: &KeyFile, tenant: &str, host: &str, target: &str, seconds: i64) -> String {
    let signature = Signature {
        keys: CredentialSource::File(keys.path.clone()),
        form: SignatureForm::Hmac,
        issuer: String::new(),
        audience: String::new(),
    };
    let Ok(Signer::Hmac(signer)) = Signer::read(&signature) else {
        panic!("the keys can be read");
    };
    let signed = Signed {
        tenant: tenant.as_bytes(),
        host: host.as_bytes(),
        method: "GET",
        target,
        client: CLIENT.as_bytes(),
        request_id: REQUEST_ID.as_bytes(),
    };
    let value = signer.sign(&signed, UnixTime(UnixTime::now().0 + seconds));
    value.to_str().expect("a text").to_owned()
}

/// The status that the app itself answers to a request with these headers, which did not come through the edge.
async fn straight(app: &App, host: &str, target: &str, headers: &[(&str, String)]) -> u16 {
    let address = app.address().parse().expect("an app on TCP");
    let mut connection = Connection::tcp(address, host).await;
    let mut request = connection
        .request("GET", target)
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", CLIENT);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await.status.as_u16()
}

/// Requests of every kind pass through the edge, whatever their client says of itself.
async fn what_the_edge_signs_passes(site: &Site) {
    for protocol in Protocol::BOTH {
        for (host, tenant) in [
            (ACME, "acme"),
            (GLOBEX, "globex"),
            ("example.test", "public"),
        ] {
            let mut connection = site.edge.connect(protocol, host).await;
            // A question mark with nothing behind it is signed too.
            for target in ["/env/", TARGET, "/env/?", "/env/?x=1?y"] {
                let request = connection
                    .request("GET", target)
                    .header("x-tenant", "evil")
                    .header("x-tenant-signature", "v1;kid=k1;t=1;s=x");
                let answer = request.send().await;
                assert_eq!(answer.status, 200, "{host}{target}: {}", answer.text());
                assert_eq!(understood(&answer)["tenant"], tenant);
            }
            let answer = connection.request("GET", "/none%2Fsuch/").send().await;
            assert_eq!(answer.status, 404, "the app's own");
        }
    }
    isolation::notes_stay_apart(&site.edge).await;
}

/// Round the edge: nothing, something invented, what was good once, and what is good for somebody else.
async fn nothing_else_does(app: &App, site: &Site, keys: &KeyFile) {
    // What the app gets from the edge, as somebody might see it who reads the app's log.
    let mut connection = site.edge.connect(Protocol::Http1, GLOBEX).await;
    let seen = understood(&connection.request("GET", TARGET).send().await);
    let captured = SIGNED.map(|(name, key)| {
        let value = seen["headers"][key].as_str();
        (name, value.expect("sent by the edge").to_owned())
    });
    let as_acme = captured.clone().map(|(name, value)| match name {
        "x-tenant" => (name, "acme".to_owned()),
        _ => (name, value),
    });
    // The control: at once, and whole, it is still what the edge has signed.
    assert_eq!(straight(app, GLOBEX, TARGET, &captured).await, 200);
    assert_eq!(straight(app, ACME, TARGET, &captured).await, 421);
    assert_eq!(straight(app, ACME, TARGET, &as_acme).await, 421);
    assert_eq!(straight(app, GLOBEX, "/env/", &captured).await, 421);
    for host in [ACME, GLOBEX, "example.test"] {
        assert_eq!(straight(app, host, TARGET, &[]).await, 421, "{host}");
        let alone = [("x-tenant", "acme".to_owned())];
        assert_eq!(straight(app, host, TARGET, &alone).await, 421, "{host}");
    }

    let claim = |tenant: &str, signature: String| {
        [
            ("x-tenant", tenant.to_owned()),
            ("x-real-ip", CLIENT.to_owned()),
            ("x-request-id", REQUEST_ID.to_owned()),
            ("x-tenant-signature", signature),
        ]
    };
    let strangers = self::keys("2");
    for (what, tenant, signature, status) in [
        ("good", "acme", sign(keys, "acme", ACME, TARGET, 0), 200),
        ("old", "acme", sign(keys, "acme", ACME, TARGET, -31), 421),
        ("early", "acme", sign(keys, "acme", ACME, TARGET, 600), 421),
        (
            "another's key",
            "acme",
            sign(&strangers, "acme", ACME, TARGET, 0),
            421,
        ),
        (
            "another's host",
            "acme",
            sign(keys, "acme", GLOBEX, TARGET, 0),
            421,
        ),
        // Edge and app do not agree whose the host is: then it is nobody's.
        (
            "another's tenant",
            "globex",
            sign(keys, "globex", ACME, TARGET, 0),
            421,
        ),
        (
            "no signature",
            "acme",
            format!("v1;kid=k1;t={};s={}", UnixTime::now().0, "A".repeat(43)),
            421,
        ),
    ] {
        let headers = claim(tenant, signature);
        assert_eq!(
            straight(app, ACME, TARGET, &headers).await,
            status,
            "{what}"
        );
    }
}

#[tokio::test]
async fn the_middleware_of_readme_guards_the_site_on_gunicorn() {
    let keys = keys("1");
    let django = Django::new().believing(&keys);
    let app = django.gunicorn();
    let site = site(&app, &keys);
    what_the_edge_signs_passes(&site).await;
    nothing_else_does(&app, &site, &keys).await;
    // Log-in and all, as without it.
    accounts::sign_up_and_in(&django, &site.edge, ACME).await;
    // Whoever gets at the app changes nothing there.
    let count = || django.sql("SELECT count(*) FROM acme.notes_note");
    let before = count();
    let mut connection = Connection::tcp(app.address().parse().unwrap(), ACME).await;
    let request = connection
        .request("POST", "/notes/")
        .header("x-tenant", "acme")
        .body(body::full("text=forged"));
    assert_eq!(request.send().await.status, 421);
    assert_eq!(count(), before);
    // And an edge that does not sign is no edge.
    let unsigned = super::before(&app).start();
    let answer = unsigned.edge.get(Protocol::Http2, ACME, "/env/").await;
    assert_eq!(answer.status, 421);
    assert_eq!(
        env(&site.edge, Protocol::Http2, ACME).await["tenant"],
        "acme"
    );
}

#[tokio::test]
async fn the_middleware_of_readme_guards_the_site_on_uvicorn() {
    let keys = keys("1");
    let django = Django::new().believing(&keys);
    let app = django.uvicorn();
    let site = site(&app, &keys);
    what_the_edge_signs_passes(&site).await;
    nothing_else_does(&app, &site, &keys).await;
}

#[tokio::test]
async fn the_middleware_of_readme_guards_the_site_on_apache() {
    let keys = keys("1");
    let django = Django::new().believing(&keys);
    let app = django.apache();
    let site = site(&app, &keys);
    what_the_edge_signs_passes(&site).await;
    nothing_else_does(&app, &site, &keys).await;
}
