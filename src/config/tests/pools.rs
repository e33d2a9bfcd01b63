//! Pools, plans, the canary and what they say of each other.

use super::*;
use crate::header_name::extra;
use crate::units::{ByteSize, Rate};

const START: &str = r#"domains = ["example.com"]
acme.run = "off"
[upstream]
servers = ["http://127.0.0.1:8000"]
"#;

fn after(text: &str) -> Result<Config, Problems> {
    parse(&format!("{START}{text}"))
}

#[test]
fn plans_and_pools_are_read_by_their_names() {
    let config = after(
        r#"server_requests = 10
[tenants.limits]
address_rate = "5/s"
share = 40
deny = ["192.0.2.0/24"]
[plans.gold]
pool = "eu-1"
headers = ["X-Feature: gold", "X-Theme:dark: blue"]
cookie_scope = "off"
rate = "600/m"
concurrency = 20
body_size = "10MiB"
[plans.here]
pool = "app"
[pools.eu-1]
servers = ["http://127.0.0.1:8001", "http://127.0.0.1:8002 weight=2"]
server_requests = 7
[pools.eu-1.probe]
path = "/healthz"
[canary]
pool = "eu-1"
percent = 10
"#,
    );
    let config = config.unwrap();
    assert_eq!(config.tenant_limits.share, Some(40));
    assert_eq!(config.tenant_limits.deny.len(), 1);
    let gold = config.plans.get("gold").unwrap();
    assert_eq!(
        (gold.rate, gold.concurrency),
        (Rate::parse("600/m"), Some(20))
    );
    let headers = ["x-feature: gold", "x-theme: dark: blue"].map(|text| extra(text).unwrap());
    assert_eq!(gold.headers, headers);
    assert_eq!(gold.cookie_scope, Some(CookieScope::Off));
    assert_eq!(gold.body_size, Some(ByteSize(10 << 20)));
    assert_eq!(
        gold.address_rate, None,
        "the defaults are merged for each tenant"
    );
    let pool = config.pools.get("eu-1").unwrap();
    assert_eq!((pool.servers.len(), pool.server_requests), (2, Some(7)));
    assert_eq!(pool.probe.as_ref().unwrap().path, "/healthz");
    assert_eq!(pool.queue, config.upstream.queue, "the same defaults");
    assert_eq!(
        (config.canary.percent, config.canary.pool.as_deref()),
        (10, Some("eu-1"))
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    refuses(&[
        (
            "[plans.gold]\npool = \"eu\"\n",
            "plans.gold.pool",
            "there is no pool `eu`",
        ),
        (
            "[canary]\npool = \"eu\"\n",
            "canary.pool",
            "there is no pool `eu`",
        ),
        (
            "[canary]\npercent = 10\n",
            "canary.pool",
            "the key is missing",
        ),
        (
            "[pools.app]\nservers = [\"http://127.0.0.1:1\"]\n",
            "pools.app.servers",
            "a pool cannot have this name",
        ),
        ("[pools.eu]\n", "pools.eu.servers", "the key is missing"),
        (
            "[pools.eu]\nservers = [\"http://127.0.0.1:8000\"]\n",
            "pools.eu.servers",
            "`http://127.0.0.1:8000` stands in another pool too",
        ),
        (
            "[plans.gold]\nshare = 40\n",
            "plans.gold.share",
            "the key has no use without `upstream.server_requests`",
        ),
        (
            "server_requests = 4\n[tenants.limits]\nshare = 40\n[pools.eu]\nservers = [\"http://127.0.0.1:1\"]\n",
            "tenants.limits.share",
            "the key has no use without `pools.eu.server_requests`",
        ),
        (
            "[plans.gold]\nrate = \"many\"\n",
            "plans.gold.rate",
            "not a rate",
        ),
        (
            "[plans.gold]\nrat = \"1/s\"\n",
            "plans.gold.rat",
            "unknown key",
        ),
        (
            "[tenants.limits]\npool = \"app\"\n",
            "tenants.limits.pool",
            "unknown key",
        ),
        ("[plans]\nrate = \"1/s\"\n", "plans.rate", "unknown key"),
        ("[plans.\"a b\"]\n", "plans.\"a b\"", "unknown key"),
    ]);
}

#[test]
fn headers_cookies_and_proofs_that_cannot_be_meant_are_refused() {
    refuses(&[
        (
            "[plans.gold]\nheaders = [\"X_Real_IP: 192.0.2.1\"]\n",
            "plans.gold.headers[0]",
            "this header has a meaning of its own",
        ),
        (
            "[plans.gold]\nheaders = [\"transfer_encoding: chunked\"]\n",
            "plans.gold.headers[0]",
            "this header has a meaning of its own",
        ),
        (
            "[plans.gold]\nheaders = [\"X-Theme\"]\n",
            "plans.gold.headers[0]",
            "not a header",
        ),
        (
            "[tenants]\nheader = \"X-Org\"\n[plans.gold]\nheaders = [\"x.org: acme\"]\n",
            "plans.gold.headers",
            "`x.org` reads like a header that tells the tenant",
        ),
        (
            "[tenants.headers]\nid = \"X-Org\"\nrows = [\"http-x-org\"]\n",
            "tenants.headers.rows",
            "`http-x-org` reads like a header that tells the tenant",
        ),
        (
            "[plans.gold]\nheaders = [\"X-Theme: dark\", \"x-theme: light\"]\n",
            "plans.gold.headers",
            "`x-theme` stands there twice",
        ),
        (
            "[plans.gold]\nheaders = [\"X-Theme: dark\"]\n[plans.lead]\nheaders = [\"X_Theme: dark\"]\n",
            "plans.lead.headers",
            "`x_theme` reads like `x-theme`, which stands elsewhere",
        ),
        (
            "[tenants.headers]\nrows = [\"x.theme\"]\n[plans.lead]\nheaders = [\"X-Theme: dark\"]\n",
            "plans.lead.headers",
            "`x-theme` reads like `x.theme`, which stands elsewhere",
        ),
        (
            "[tenants.headers]\nrows = [\"Cookie\"]\n",
            "tenants.headers.rows[0]",
            "this header has a meaning of its own",
        ),
        (
            "[plans.gold]\ncookie_scope = \"wide\"\n",
            "plans.gold.cookie_scope",
            "not one of the choices",
        ),
        (
            "[tenants.limits]\nheaders = []\n",
            "tenants.limits.headers",
            "unknown key",
        ),
        (
            "[pools.eu]\nservers = [\"http://127.0.0.1:1\"]\n[pools.eu.signature]\naudience = \"eu\"\n",
            "pools.eu.signature.keys",
            "the key is missing",
        ),
        (
            "[pools.eu]\nservers = [\"http://127.0.0.1:1\"]\n[pools.eu.signature]\nkeys = \"k\"\nform = \"rsa\"\n",
            "pools.eu.signature.form",
            "not one of the choices",
        ),
        ("[signature]\n", "signature", "unknown section"),
    ]);
}

/// Each text has one problem: of this key, with a message that begins so.
fn refuses(cases: &[(&str, &str, &str)]) {
    for (text, key, message) in cases {
        let problems = after(text).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{text}: {problems}");
        let problem = problems.list.first().unwrap();
        assert_eq!(problem.key, *key, "{text}");
        assert!(problem.message.starts_with(message), "{text}: {problem:?}");
        assert!(problem.hint.is_some(), "{text}");
    }
}

#[test]
fn a_pools_proof_is_that_of_all_where_it_says_nothing() {
    let pools = r#"
[pools.eu]
servers = ["http://127.0.0.1:1"]
[pools.eu.signature]
keys = "eu.keys"
[pools.us]
servers = ["http://127.0.0.1:2"]
[pools.us.signature]
audience = "us"
[pools.plain]
servers = ["http://127.0.0.1:3"]
"#;
    let all = "[tenants.signature]\nkeys = \"all.keys\"\nform = \"jwt-hs256\"\nissuer = \"edge\"\naudience = \"all\"\n";
    let config = after(&format!("{all}{pools}")).unwrap();
    let proof = |keys: &str, audience: &str| Signature {
        keys: CredentialSource::File(keys.into()),
        form: SignatureForm::JwtHs256,
        issuer: "edge".to_owned(),
        audience: audience.to_owned(),
    };
    assert_eq!(
        config.pool_signatures,
        [
            ("eu".to_owned(), proof("eu.keys", "all")),
            ("us".to_owned(), proof("all.keys", "us")),
        ]
        .into()
    );
    // Keys of a pool alone: all others are told the tenant without proof.
    let own = pools.replace("[pools.us.signature]\naudience = \"us\"\n", "");
    let config = after(&own).unwrap();
    assert_eq!(config.tenants.identity.signature, None);
    let eu = config.pool_signatures.get("eu").unwrap();
    assert_eq!(
        (eu.form, eu.audience.as_str()),
        (SignatureForm::Hmac, "app")
    );
}

#[test]
fn custom_domains_need_a_source_that_knows_them() {
    let text = |source: &str| format!("[tenants]\n{source}\n[on_demand]\nenabled = true\n");
    for source in ["", "source = \"pattern\""] {
        let problems = after(&text(source)).unwrap_err();
        let problem = problems.list.first().unwrap();
        assert_eq!(problem.key, "on_demand.enabled", "{problems}");
        assert!(problem.message.contains("knows no custom domains"));
    }
    for source in [
        "source = \"file\"\nfile = \"t.toml\"",
        "source = [\"pattern\", \"file\"]\nfile = \"t.toml\"",
    ] {
        let knows = |problems: Problems| problems.to_string().contains("custom domains");
        assert!(!after(&text(source)).is_err_and(knows), "{source}");
    }
}
