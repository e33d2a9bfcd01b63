//! Tenants from a file: states, hosts of their own, and changes while the proxy runs.

use std::fs;

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

const TENANTS: &str = r#"
[[tenant]]
id = "acme"

[[tenant]]
id = "Big Corp"
hosts = ["big.example.test", "GROSS.example.test"]

[[tenant]]
id = "late"
state = "suspended"

[[tenant]]
id = "soon"
state = "pending"

[[tenant]]
id = "works"
state = "maintenance"

[[tenant]]
id = "gone"
state = "deleted"
"#;

fn site(origin: &Origin) -> (Site, std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    fs::write(&file, TENANTS).unwrap();
    let site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", file.display().to_string()),
        )
        .start();
    (site, file, folder)
}

async fn status(site: &Site, host: &str) -> u16 {
    site.edge
        .get(Protocol::Http1, host, "/")
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn each_state_has_its_answer() {
    let origin = Origin::hello();
    let (site, _file, _folder) = site(&origin);
    for (label, status, reason, retry) in [
        ("late", 402, "suspended", None),
        ("soon", 503, "pending", Some("5")),
        ("works", 503, "maintenance", Some("60")),
        ("gone", 410, "deleted", None),
        ("other", 404, "unknown-tenant", None),
    ] {
        for protocol in Protocol::BOTH {
            let answer = site
                .edge
                .get(protocol, &format!("{label}.example.test"), "/")
                .await;
            assert_eq!(answer.status.as_u16(), status, "{label}");
            assert_eq!(answer.header("x-edge-reason"), Some(reason));
            assert_eq!(answer.header("retry-after"), retry);
        }
    }
    assert!(origin.requests().is_empty());
    assert_eq!(status(&site, "acme.example.test").await, 200);
    for host in ["big.example.test", "gross.example.test"] {
        assert_eq!(status(&site, host).await, 200);
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.one("x-tenant"), "Big%20Corp", "a legal header value");
    }
}

#[tokio::test]
async fn a_changed_file_takes_effect_by_itself_and_a_bad_one_changes_nothing() {
    let origin = Origin::hello();
    let (site, file, _folder) = site(&origin);
    assert_eq!(status(&site, "acme.example.test").await, 200);

    // As an editor does it: aside, then renamed.
    let aside = file.with_extension("new");
    fs::write(
        &aside,
        TENANTS.replace("id = \"acme\"", "id = \"acme\"\nstate = \"suspended\""),
    )
    .unwrap();
    fs::rename(&aside, &file).unwrap();
    let edge = site.edge.clone();
    wait::until_async("the tenant to be suspended", async || {
        let answer = edge.get(Protocol::Http1, "acme.example.test", "/").await;
        (answer.status.as_u16() == 402).then_some(())
    })
    .await;

    let bad = [
        "[[tenant]]\nid = \"a\"\n[[tenant]]\nid = \"a\"\n",
        "[[tenant]\n",
        "[[tenant]]\nid = \"x\"\nstat = 1\n",
    ];
    for (at, bad) in bad.into_iter().enumerate() {
        fs::write(&file, bad).unwrap();
        wait::until("the bad file to be reported", || {
            let log = site.portico.stderr();
            (log.matches("the tenants stay as they were").count() > at).then_some(())
        });
        assert_eq!(status(&site, "acme.example.test").await, 402);
        assert_eq!(status(&site, "big.example.test").await, 200);
    }
    let failed = site
        .portico
        .metric("portico_tenants_reloads_total{result=\"failed\"}");
    assert!(failed >= 3.0, "each bad file is counted: {failed}");
    assert_eq!(site.portico.metric("portico_tenants "), 6.0);
    fs::remove_file(&file).unwrap();
    assert_eq!(status(&site, "big.example.test").await, 200);

    fs::write(&file, TENANTS).unwrap();
    wait::until_async("the tenant to be active again", async || {
        let answer = edge.get(Protocol::Http1, "acme.example.test", "/").await;
        (answer.status.as_u16() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_may_be_json_or_csv() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "tenants.json",
            "[{\"id\": \"acme\"}, {\"id\": \"late\", \"state\": \"suspended\"}]",
        ),
        ("tenants.csv", "id,host,state\nacme,,\nlate,,suspended\n"),
    ] {
        let origin = Origin::hello();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let site = Site::before(&[origin.address()])
            .set("tenants", "source = \"file\"")
            .set(
                "tenants",
                &format!("file = {:?}", file.display().to_string()),
            )
            .start();
        for (label, wanted) in [("acme", 200), ("late", 402), ("nobody", 404)] {
            let host = format!("{label}.example.test");
            assert_eq!(status(&site, &host).await, wanted, "{name} {label}");
        }
        assert_eq!(origin.only_request().one("x-tenant"), "acme");
    }
}
