//! What the access log does not tell.

use serde_json::Value;

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn log_ip_masked() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = folder.path().join("tenants.toml");
    let rows = "[[tenant]]\nid = \"acme\"\n[[tenant]]\nid = \"quiet\"\naccess_log = false\n";
    std::fs::write(&tenants, rows).unwrap();
    let log = folder.path().join("access.log");
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", tenants.display().to_string()),
        )
        .set("http", "trusted_proxies = [\"127.0.0.0/8\"]")
        .set("log", &format!("access = {:?}", log.display().to_string()))
        .set("log", "mask_ipv4 = 16")
        .set("log", "mask_ipv6 = 48")
        .set("log", "query = \"drop\"")
        // One worker, one buffer of lines: they come in the order of the requests.
        .set("server", "workers = 1")
        .start();
    let clients = [
        ("203.0.113.77", "203.0.0.0"),
        ("2001:db8:1:2::77", "2001:db8:1::"),
    ];
    for protocol in Protocol::BOTH {
        for (client, _) in clients {
            for host in ["quiet.example.test", "acme.example.test"] {
                let mut connection = site.edge.connect(protocol, host).await;
                let request = connection
                    .request("GET", "/reset?token=s3cret")
                    .header("x-forwarded-for", client)
                    .header("referer", "https://x.test/from?token=s3cret");
                assert_eq!(request.send().await.status, 200);
                let seen = origin.requests().pop().unwrap();
                assert!(
                    seen.one("x-forwarded-for").starts_with(client),
                    "apps see all of it"
                );
                assert_eq!(seen.one("x-real-ip"), client);
                assert_eq!(seen.target, "/reset?token=s3cret");
            }
        }
    }
    let text = wait::until_async("four lines in the access log", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.lines().count() >= 4 && text.ends_with('\n')).then_some(text)
    })
    .await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [clients, clients].concat();
    assert_eq!(
        lines.len(),
        expected.len(),
        "the quiet tenant has none: {text}"
    );
    for (line, (_, masked)) in lines.iter().zip(expected) {
        assert_eq!(line["client"], masked);
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["path"], "/reset");
        assert_eq!(line["referer"], "https://x.test/from");
    }
    assert!(!text.contains("s3cret") && !text.contains("quiet"));
    let requests = site.portico.metric("portico_requests_total{");
    assert!(requests > 0.0, "metrics count all the same");
}
