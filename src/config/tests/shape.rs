//! Keys, sections, types and syntax.

use super::{Case, File, check};

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "an empty file",
        file: File::Whole(""),
        report: r#"portico.toml: domains: the key is missing
  hint: write `domains = ["example.com"]` at the top of the file
portico.toml: acme.dns.provider: the key is missing
  hint: add `[acme.dns]` with a `provider`, or set `run = "off"` and use `portico cert import`
portico.toml: upstream.servers: the key is missing
  hint: write `servers = ["unix:/run/gunicorn.sock"]` below `[upstream]`"#,
    },
    Case {
        name: "text without quotes",
        file: File::After(
            r#"[log]
level = info
"#,
        ),
        report: r#"portico.toml:7: not TOML: a string without quotes: `info`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a key twice",
        file: File::After(
            r#"[log]
level = "info"
level = "warn"
"#,
        ),
        report: r#"portico.toml:8: not TOML: duplicate key: `level`
  hint: join the two into one"#,
    },
    Case {
        name: "a path without quotes",
        file: File::After(
            r#"[log]
access = /var/log/access.log
"#,
        ),
        report: r#"portico.toml:7: not TOML: a string without quotes: `/var/log/access.log`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a duration without quotes",
        file: File::After(
            r#"connect_timeout = 3s
"#,
        ),
        report: r#"portico.toml:6: not TOML: a string without quotes: `3s`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a value that is missing",
        file: File::After(
            r#"connect_timeout =
"#,
        ),
        report: r#"portico.toml:6: not TOML: the value is missing
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a section that is not closed",
        file: File::After(
            r#"[log
level = "info"
"#,
        ),
        report: r#"portico.toml:6: not TOML: unclosed table, expected `]`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a section twice",
        file: File::After(
            r#"[log]
[log]
"#,
        ),
        report: r#"portico.toml:7: not TOML: duplicate key: `log`
  hint: join the two into one"#,
    },
    Case {
        name: "an unclosed text",
        file: File::After(
            r#"[log]
level = "info
"#,
        ),
        report: r#"portico.toml:7: not TOML: invalid basic string, expected `"`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "a list that is not closed",
        file: File::Whole(
            r#"domains = ["example.com"
[upstream]
"#,
        ),
        report: r#"portico.toml:2: not TOML: missing comma between array elements, expected `,`
  hint: strings stand in double quotes; `config/portico.toml` shows every key"#,
    },
    Case {
        name: "misspelled keys",
        file: File::After(
            r#"conect_timeout = "3s"
[log]
levl = "info"
formt = "json"
"#,
        ),
        report: r#"portico.toml:6: upstream.conect_timeout: unknown key
  hint: the key is `connect_timeout`
portico.toml:8: log.levl: unknown key
  hint: the key is `level`
portico.toml:9: log.formt: unknown key
  hint: the key is `format`"#,
    },
    Case {
        name: "a misspelled section",
        file: File::After(
            r#"[limit]
idle_timeout = "60s"
[acme.dsn]
"#,
        ),
        report: r#"portico.toml:6: limit: unknown section
  hint: the section is `[limits]`
portico.toml:8: acme.dsn: unknown section
  hint: the section is `[acme.dns]`"#,
    },
    Case {
        name: "a key in the wrong section",
        file: File::After(
            r#"email = "ops@example.com"
[acme.dns]
provider = "manual"
state_dir = "/srv"
"#,
        ),
        report: r#"portico.toml:6: upstream.email: unknown key
  hint: `email` belongs in `[acme]`
portico.toml:9: acme.dns.state_dir: unknown key
  hint: `state_dir` belongs at the top of the file, above the first `[section]`"#,
    },
    Case {
        name: "a key above its section",
        file: File::Whole(
            r#"email = "ops@example.com"
domains = ["example.com"]
acme.run = "off"
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:1: email: unknown key
  hint: `email` belongs in `[acme]`"#,
    },
    Case {
        name: "names from elsewhere",
        file: File::After(
            r#"token = "hunter2"
max_body_size = "1MiB"
"#,
        ),
        report: r#"portico.toml:6: upstream.token: unknown key
  hint: put the token into a file of mode 0600 and name it in `acme.dns.credentials`
portico.toml:7: upstream.max_body_size: unknown key
  hint: the key is `limits.body_size`"#,
    },
    Case {
        name: "a key that is near nothing",
        file: File::After(
            r#"[log]
colour_of_the_sky = "blue"
[nonsense]
[[tenant]]
id = "acme"
[[listener]]
"#,
        ),
        report: r#"portico.toml:7: log.colour_of_the_sky: unknown key
  hint: the keys of `[log]` are `level`, `format`, `access`, `mask_ipv4`, `mask_ipv6`, `query`
portico.toml:8: nonsense: unknown section
  hint: the sections are `[listen]`, `[acme]`, `[acme.eab]`, `[acme.fallback]`, `[acme.fallback.eab]`, `[acme.dns]`, `[certificates]`, `[on_demand]`, `[files]`, `[tls]`, `[client_auth]`, `[tenants]`, `[tenants.headers]`, `[tenants.signature]`, `[tenants.suspended]`, `[tenants.maintenance]`, `[tenants.postgres]`, `[tenants.http]`, `[tenants.limits]`, `[plans.NAME]`, `[upstream]`, `[upstream.probe]`, `[upstream.tls]`, `[pools.NAME]`, `[pools.NAME.signature]`, `[canary]`, `[http]`, `[pages]`, `[access]`, `[limits]`, `[log]`, `[metrics]`, `[usage]`, `[server]`
portico.toml:9: tenant: unknown section
  hint: list the tenants in a file of their own and name it in `tenants.file`
portico.toml:11: listener: unknown section
  hint: the section is `[listen]`"#,
    },
    Case {
        name: "a quoted key with a dot",
        file: File::After(
            r#"[tenants]
[listen]
"public_port" = 443
["acme.dns"]
provider = "manual"
[log]
"" = 1
"a\nb" = 1
"#,
        ),
        report: r#"portico.toml:9: "acme.dns": unknown key
  hint: no key has quotes around it
portico.toml:12: log."": unknown key
  hint: no key has quotes around it
portico.toml:13: log."a\nb": unknown key
  hint: no key has quotes around it"#,
    },
    Case {
        name: "a value for a section",
        file: File::After(
            r#"log = "debug"
[[server]]
workers = 2
"#,
        ),
        report: r#"portico.toml:6: upstream.log: unknown key
  hint: the keys of `[upstream]` are `servers`, `connect_timeout`, `response_timeout`, `keepalive`, `keepalive_connections`, `send_proxy_protocol`, `server_requests`, `server_connections`, `queue`, `queue_timeout`, `retry_percent`, `eject_failures`, `eject_time`, `slow_start`, `resolve_interval`
portico.toml:7: server: a section is needed, not a list
  hint: write `[server]` on a line of its own and its keys below it"#,
    },
    Case {
        name: "a top-level value for a section",
        file: File::Whole(
            r#"domains = ["example.com"]
log = "debug"
acme = { run = "off", dns = "manual" }
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:2: log: a section is needed, not a string
  hint: write `[log]` on a line of its own and its keys below it
portico.toml:3: acme.dns: a section is needed, not a string
  hint: write `[acme.dns]` on a line of its own and its keys below it"#,
    },
    Case {
        name: "wrong types",
        file: File::After(
            r#"connect_timeout = 3
keepalive_connections = "64"
[http]
via_on_responses = "yes"
trusted_proxies = "10.0.0.0/8"
[limits]
header_size = 65536
connections = 1.5
[tenants]
header = ["X-Tenant"]
[log]
level = 1979-05-27
access = { file = "x" }
"#,
        ),
        report: r#"portico.toml:6: upstream.connect_timeout: a string is needed, not a whole number: `3`
  hint: write `"3s"`
portico.toml:7: upstream.keepalive_connections: a whole number is needed, not a string: `64`
  hint: write `keepalive_connections = 64`
portico.toml:9: http.via_on_responses: `true` or `false` is needed, not a string: `yes`
  hint: write `via_on_responses = true` or `via_on_responses = false`
portico.toml:10: http.trusted_proxies: a list is needed, not a string: `10.0.0.0/8`
  hint: write `trusted_proxies = ["10.0.0.0/8"]`
portico.toml:12: limits.header_size: a string is needed, not a whole number: `65536`
  hint: write `"65536B"`
portico.toml:13: limits.connections: a whole number is needed, not a number with a fraction: `1.5`
  hint: write digits, without quotes and without a fraction
portico.toml:15: tenants.header: a string is needed, not a list
  hint: write one string in double quotes
portico.toml:17: log.level: a string is needed, not a date: `1979-05-27`
  hint: write `"1979-05-27"`
portico.toml:18: log.access: a string is needed, not a section
  hint: write one string in double quotes"#,
    },
    Case {
        name: "wrong types inside of lists",
        file: File::Whole(
            r#"domains = [
  "example.com",
  7,
  ["example.net"],
]
acme.run = "off"
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:3: domains[1]: a string is needed, not a whole number: `7`
  hint: write `"7"`
portico.toml:4: domains[2]: a string is needed, not a list
  hint: write one string in double quotes"#,
    },
    Case {
        name: "many problems in one file",
        file: File::Whole(
            r#"# A comment.
domains = [
  "example.com",
  "*.example.org",
  "EXAMPLE.com.",
  "https://example.net",
]

[listn]
https = []

[upstream]
servers = [
  "http://127.0.0.1:8000",  # fine
  "htps://app:8443",
  "app:9000",
]
connect_timeout = "3"
respons_timeout = "60s"

[limits]
header_size = "64KB"
http2_streams = 0

[acme]
run = "sometimes"
"#,
        ),
        report: r#"portico.toml:4: domains[1]: a base domain is needed, not a wildcard: `*.example.org`
  hint: write `example.org`: the wildcard is always part of it
portico.toml:5: domains[2]: listed twice: `EXAMPLE.com.`
  hint: remove one of the two
portico.toml:6: domains[3]: the host name has a character that is not a letter, digit, `-` or `.`: `https://example.net`
  hint: write the name alone, as in `example.com`
portico.toml:9: listn: unknown section
  hint: the section is `[listen]`
portico.toml:15: upstream.servers[1]: neither `http://`, `https://`, `h2c://` nor `unix:`: `htps://app:8443`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:16: upstream.servers[2]: neither `http://`, `https://`, `h2c://` nor `unix:`: `app:9000`
  hint: write `http://app:9000`
portico.toml:18: upstream.connect_timeout: a duration is a number with a unit: `3`
  hint: the units are `ms`, `s`, `m`, `h`, `d`, as in `"30s"`
portico.toml:19: upstream.respons_timeout: unknown key
  hint: the key is `response_timeout`
portico.toml:22: limits.header_size: the unit `KB` is not known: `64KB`
  hint: the units are `B`, `KiB`, `MiB`, `GiB`, as in `"64KiB"`
portico.toml:23: limits.http2_streams: not between `1` and `10000`: `0`
  hint: the default is `100`
portico.toml:26: acme.run: not one of the choices: `sometimes`
  hint: the choices are `"timer"`, `"daemon"`, `"off"`"#,
    },
];
