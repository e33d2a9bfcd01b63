//! `acme.challenge` and `[[certificates]]`.

use super::*;

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "a wildcard by http-01",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
[acme]
run = "off"
challenge = "http-01"
"#,
        ),
        report: r#"portico.toml:5: acme.challenge: a wildcard cannot be proven so: `http-01`
  hint: write `dns-01` or `dns-persist-01` here, and single names with their own `challenge` below `[[certificates]]`"#,
    },
    Case {
        name: "an unknown challenge",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
acme.run = "off"
acme.challenge = "dns-1"
"#,
        ),
        report: r#"portico.toml:4: acme.challenge: not one of the choices: `dns-1`
  hint: write `"dns-01"`"#,
    },
    Case {
        name: "names that are wrong",
        file: File::After(
            r#"[[certificates]]
names = ["*.customer.com"]
[[certificates]]
names = []
[[certificates]]
challenge = "tls-alpn-01"
[[certificates]]
names = ["example.com"]
[[certificates]]
names = ["www.customer.com"]
[[certificates]]
names = ["www.customer.com", "customer.com"]
"#,
        ),
        report: r#"portico.toml:7: certificates.names[0]: a single name is needed, not a wildcard: `*.customer.com`
  hint: list `customer.com` in `domains`: a base domain comes with its wildcard
portico.toml:9: certificates.names: the list is empty
  hint: write `names = ["www.customer.com"]` below `[[certificates]]`
portico.toml:10: certificates.names: the key is missing
  hint: write `names = ["www.customer.com"]` below `[[certificates]]`
portico.toml:13: certificates.names: another certificate is called by the first name: `example.com`
  hint: put another name first, or join the two
portico.toml:17: certificates.names: another certificate is called by the first name: `www.customer.com`
  hint: put another name first, or join the two"#,
    },
    Case {
        name: "what the challenge needs is missing",
        file: File::After(
            r#"[listen]
http = []
[[certificates]]
names = ["a.test"]
[[certificates]]
names = ["b.test"]
challenge = "dns-01"
[[certificates]]
names = ["c.test"]
chalenge = "dns-01"
"#,
        ),
        report: r#"portico.toml:8: certificates.challenge: `http-01` is answered on port 80, and there is no plain listener
  hint: write `http = ["[::]:80"]` below `[listen]`, or `challenge = "tls-alpn-01"`
portico.toml:12: certificates.challenge: a DNS provider is needed for this kind, and there is none
  hint: add `[acme.dns]` with a `provider`, or write `challenge = "http-01"`
portico.toml:13: certificates.challenge: `http-01` is answered on port 80, and there is no plain listener
  hint: write `http = ["[::]:80"]` below `[listen]`, or `challenge = "tls-alpn-01"`
portico.toml:15: certificates.chalenge: unknown key
  hint: the key is `challenge`"#,
    },
    Case {
        name: "no list of sections",
        file: File::After("[certificates]\nnames = [\"a.test\"]\n"),
        report: r#"portico.toml:6: certificates: a list of sections is needed, not a section
  hint: write `[[certificates]]` on a line of its own and its keys below it"#,
    },
    Case {
        name: "a list of something else",
        file: File::Whole(
            r#"domains = ["example.com"]
certificates = ["a.test"]
acme.run = "off"
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:2: certificates: a section is needed, not a string
  hint: write `[[certificates]]` on a line of its own and its keys below it"#,
    },
    Case {
        name: "custom domains that could get no certificate",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
certs = "files"
[acme]
run = "off"
[on_demand]
enabled = true
challenge = "dns-01"
proof = "cname"
orders_per_hour = 0
"#,
        ),
        report: r#"portico.toml:6: on_demand.cname_base: the key is missing
  hint: write `cname_base = "edge.example.com"`, a domain that leads to this edge
portico.toml:7: on_demand.enabled: with `certs = "files"` Portico gets no certificates
  hint: write `certs = "acme"`, or remove the line
portico.toml:7: on_demand.enabled: `tenants.source = "pattern"` knows no custom domains, so none could ever get a certificate
  hint: set `tenants.source` to `file`, `postgres` or `http`, or remove the line
portico.toml:8: on_demand.challenge: a DNS provider is needed for this kind, and there is none
  hint: add `[acme.dns]` with a `provider`, or write `challenge = "tls-alpn-01"`
portico.toml:10: on_demand.orders_per_hour: not between `1` and `10000`: `0`
  hint: the default is `80`"#,
    },
    Case {
        name: "custom domains by http-01 without a plain listener",
        file: File::After(
            r#"[listen]
http = []
[tenants]
source = "file"
file = "tenants.toml"
[on_demand]
enabled = true
challenge = "http-01"
"#,
        ),
        report: r#"portico.toml:13: on_demand.challenge: `http-01` is answered on port 80, and there is no plain listener
  hint: write `http = ["[::]:80"]` below `[listen]`, or `challenge = "tls-alpn-01"`"#,
    },
];

#[test]
fn a_standing_record_needs_no_provider() {
    let base = "domains = [\"example.com\"]\nupstream.servers = [\"unix:/run/app.sock\"]\n\
                acme.challenge = \"dns-persist-01\"\n";
    let config = parse(base).unwrap();
    assert_eq!(config.acme.challenge, Challenge::DnsPersist01);
    assert_eq!(config.acme.dns, None);
    let config = parse(&format!("{base}acme.dns.nameservers = [\"192.0.2.1\"]\n")).unwrap();
    let dns = config.acme.dns.unwrap();
    assert_eq!(dns.provider, DnsProvider::None);
    assert_eq!(dns.nameservers, ["192.0.2.1:53".parse().unwrap()]);
}
