//! Pools, plans, the canary and what they say of each other.

use super::*;
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
    for (text, key, message) in [
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
    ] {
        let problems = after(text).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{text}: {problems}");
        let problem = problems.list.first().unwrap();
        assert_eq!(problem.key, key, "{text}");
        assert!(problem.message.starts_with(message), "{text}: {problem:?}");
    }
}
