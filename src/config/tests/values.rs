//! Values of all sections but `[upstream]` and `[acme]`.

use super::{Case, File, check};

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "domains",
        file: File::Whole(
            r#"domains = []
acme.run = "off"
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:1: domains: the list is empty
  hint: write `domains = ["example.com"]` at the top of the file"#,
    },
    Case {
        name: "domain names",
        file: File::Whole(
            r#"domains = ["bücher.example", "a_b.example", "192.0.2.1", "", "example.com:443"]
acme.run = "off"
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:1: domains[0]: the host name has a character that is not a letter, digit, `-` or `.`: `bücher.example`
  hint: write the name with A-labels, as in `xn--bcher-kva.example`
portico.toml:1: domains[1]: a label of the host name has `_`: `a_b.example`
  hint: write the name alone, as in `example.com`
portico.toml:1: domains[2]: an address stands where a host name is needed: `192.0.2.1`
  hint: a name is needed here, as in `example.com`
portico.toml:1: domains[3]: the host name is empty: ``
  hint: write the name alone, as in `example.com`
portico.toml:1: domains[4]: the host name has a character that is not a letter, digit, `-` or `.`: `example.com:443`
  hint: write the name alone, as in `example.com`"#,
    },
    Case {
        name: "paths",
        file: File::Whole(
            r#"domains = ["example.com"]
state_dir = ""
acme.run = "off"
acme.ca_file = "~/ca.pem"
upstream.servers = ["unix:/run/app.sock"]
tenants.source = "file"
tenants.file = "a\u0000b"
"#,
        ),
        report: r#"portico.toml:2: state_dir: the path is empty: ``
  hint: write an absolute path, or one relative to this file
portico.toml:4: acme.ca_file: `~` is not expanded: `~/ca.pem`
  hint: write an absolute path, or one relative to this file
portico.toml:7: tenants.file: the path has a control character: `a\u{0}b`
  hint: write an absolute path, or one relative to this file"#,
    },
    Case {
        name: "listeners",
        file: File::After(
            r#"[listen]
https = ["443", ":8443", "0.0.0.0", "localhost:443"]
http = ["*:80", "::1"]
"#,
        ),
        report: r#"portico.toml:7: listen.https[0]: not an address with a port: `443`
  hint: write `[::]:443` for all addresses of this machine
portico.toml:7: listen.https[1]: not an address with a port: `:8443`
  hint: write `[::]:8443` for all addresses of this machine
portico.toml:7: listen.https[2]: not an address with a port: `0.0.0.0`
  hint: write `0.0.0.0:443`
portico.toml:7: listen.https[3]: not an address with a port: `localhost:443`
  hint: write an address and a port, as in `[::]:443` or `127.0.0.1:443`
portico.toml:8: listen.http[0]: not an address with a port: `*:80`
  hint: write `[::]:80` for all addresses of this machine
portico.toml:8: listen.http[1]: not an address with a port: `::1`
  hint: write `[::1]:80`"#,
    },
    Case {
        name: "no https listener",
        file: File::After(
            r#"[listen]
https = []
http = []
"#,
        ),
        report: r#"portico.toml:7: listen.https: the list is empty
  hint: write `https = ["[::]:443"]`, or remove the key"#,
    },
    Case {
        name: "two listeners on one address",
        file: File::After(
            r#"[listen]
https = ["[::]:443", "[::]:443"]
http = ["0.0.0.0:80", "127.0.0.1:9000"]
admin = "127.0.0.1:9000"
"#,
        ),
        report: r#"portico.toml:7: listen.https[1]: listed twice: `[::]:443`
  hint: remove one of the two
portico.toml:9: listen.admin: another listener has this address: `127.0.0.1:9000`
  hint: choose another port"#,
    },
    Case {
        name: "a public admin listener",
        file: File::After(
            r#"[listen]
admin = "0.0.0.0:9180"
public_port = 0
"#,
        ),
        report: r#"portico.toml:7: listen.admin: the admin listener is for this machine only: `0.0.0.0:9180`
  hint: write `127.0.0.1:9180`, `unix:/run/portico/admin.sock` or `off`
portico.toml:8: listen.public_port: not between `1` and `65535`: `0`
  hint: without the key it is each listener's own port"#,
    },
    Case {
        name: "an admin listener that is no address",
        file: File::After(
            r#"[listen]
admin = "on"
public_port = 70000
"#,
        ),
        report: r#"portico.toml:7: listen.admin: not an address with a port: `on`
  hint: write an address and a port, as in `[::]:9180` or `127.0.0.1:9180`
portico.toml:8: listen.public_port: not between `1` and `65535`: `70000`
  hint: without the key it is each listener's own port"#,
    },
    Case {
        name: "an admin socket",
        file: File::After(
            r#"[listen]
admin = "unix:"
"#,
        ),
        report: r#"portico.toml:7: listen.admin: the path is empty: `unix:`
  hint: write an absolute path, or one relative to this file"#,
    },
    Case {
        name: "durations",
        file: File::After(
            r#"connect_timeout = "0s"
response_timeout = "2d"
keepalive = "1.5s"
[limits]
tunnel_timeout = "8d"
idle_timeout = "5min"
body_timeout = "99999999999999999999s"
[server]
drain_timeout = ""
"#,
        ),
        report: r#"portico.toml:6: upstream.connect_timeout: not between `100ms` and `1d`: `0s`
  hint: the default is `"3s"`
portico.toml:7: upstream.response_timeout: not between `100ms` and `1d`: `2d`
  hint: the default is `"1m"`
portico.toml:8: upstream.keepalive: a duration is a number with a unit: `1.5s`
  hint: the units are `ms`, `s`, `m`, `h`, `d`, as in `"30s"`
portico.toml:10: limits.tunnel_timeout: not between `100ms` and `7d`: `8d`
  hint: the default is `"1h"`
portico.toml:11: limits.idle_timeout: the unit `min` is not known: `5min`
  hint: the units are `ms`, `s`, `m`, `h`, `d`, as in `"30s"`
portico.toml:12: limits.body_timeout: not between `100ms` and `1d`: `99999999999999999999s`
  hint: the default is `"30s"`
portico.toml:14: server.drain_timeout: a duration is a number with a unit: ``
  hint: the units are `ms`, `s`, `m`, `h`, `d`, as in `"30s"`"#,
    },
    Case {
        name: "numbers and sizes",
        file: File::After(
            r#"keepalive_connections = -1
[limits]
connections = 0
header_size = "1KiB"
body_size = "0B"
http2_streams = 99999999999999999999
[server]
workers = 0
"#,
        ),
        report: r#"portico.toml:6: upstream.keepalive_connections: not between `0` and `65536`: `-1`
  hint: the default is `256`
portico.toml:8: limits.connections: not between `1` and `10000000`: `0`
  hint: without the key it is as many as the limit of open files allows
portico.toml:9: limits.header_size: not between `4KiB` and `1MiB`: `1KiB`
  hint: the default is `"32KiB"`
portico.toml:10: limits.body_size: not between `1B` and `1024GiB`: `0B`
  hint: without the key it is no limit
portico.toml:11: limits.http2_streams: not between `1` and `10000`: `99999999999999999999`
  hint: the default is `100`
portico.toml:13: server.workers: not between `1` and `1024`: `0`
  hint: without the key it is one for each core"#,
    },
    Case {
        name: "choices",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
[acme]
run = "cron"
[tenants]
source = "fil"
file = "tenants.toml"
www = "yes"
[log]
format = "jsn"
"#,
        ),
        report: r#"portico.toml:4: acme.run: not one of the choices: `cron`
  hint: the choices are `"timer"`, `"daemon"`, `"off"`
portico.toml:6: tenants.source: not one of the choices: `fil`
  hint: write `"file"`
portico.toml:8: tenants.www: not one of the choices: `yes`
  hint: the choices are `"redirect"`, `"same"`, `"reject"`
portico.toml:10: log.format: not one of the choices: `jsn`
  hint: write `"json"`"#,
    },
    Case {
        name: "log",
        file: File::After(
            r#"[log]
level = "verbose"
access = "stderr"
"#,
        ),
        report: r#"portico.toml:7: log.level: the level `verbose` is not known: `verbose`
  hint: write a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or `info,portico::acme=debug`
portico.toml:8: log.access: neither `stdout` nor `off` nor a path: `stderr`
  hint: a path has a `/`, as in `/var/log/portico/access.log`"#,
    },
    Case {
        name: "log filters",
        file: File::After(
            r#"[log]
level = "info,portico::acme=loud"
access = ""
"#,
        ),
        report: r#"portico.toml:7: log.level: the level `loud` is not known: `info,portico::acme=loud`
  hint: write a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or `info,portico::acme=debug`
portico.toml:8: log.access: neither `stdout` nor `off` nor a path: ``
  hint: a path has a `/`, as in `/var/log/portico/access.log`"#,
    },
    Case {
        name: "log filters with spaces",
        file: File::After(
            r#"[log]
level = "info, portico=debug"
"#,
        ),
        report: r#"portico.toml:7: log.level: a filter has no spaces: `info, portico=debug`
  hint: write a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or `info,portico::acme=debug`"#,
    },
    Case {
        name: "hsts",
        file: File::After(
            r#"[http]
hsts = "off"
hsts_subdomains = true
"#,
        ),
        report: r#"portico.toml:8: http.hsts_subdomains: the key has no use with `hsts = "off"`
  hint: remove it, or set `hsts = "365d"`"#,
    },
    Case {
        name: "http",
        file: File::After(
            r#"[http]
hsts = "forever"
trusted_proxies = ["10.0.0.1/8", "0.0.0.0/0", "lb.internal", "10.0.0.1", "10.0.0.1/32"]
via = "my edge"
"#,
        ),
        report: r#"portico.toml:7: http.hsts: a duration is a number with a unit: `forever`
  hint: the units are `ms`, `s`, `m`, `h`, `d`, as in `"30s"`
portico.toml:8: http.trusted_proxies[0]: not a network but an address in one: `10.0.0.1/8`
  hint: write `10.0.0.0/8`
portico.toml:8: http.trusted_proxies[1]: this trusts every client: `0.0.0.0/0`
  hint: name the addresses of the load balancer
portico.toml:8: http.trusted_proxies[2]: not a network: `lb.internal`
  hint: write an address or a network, as in `10.0.0.0/8` or `fd00::/8`
portico.toml:8: http.trusted_proxies[4]: listed twice: `10.0.0.1/32`
  hint: remove one of the two
portico.toml:9: http.via: not a name for `Via`: `my edge`
  hint: write one word of at most 64 letters, digits, `-`, `.` or `_`"#,
    },
    Case {
        name: "tenant header",
        file: File::After(
            r#"[tenants]
header = "X_Forwarded_For"
"#,
        ),
        report: r#"portico.toml:7: tenants.header: this header has a meaning of its own: `X_Forwarded_For`
  hint: choose another one, as in `X-Tenant`"#,
    },
    Case {
        name: "tenant header that is no token",
        file: File::After(
            r#"[tenants]
header = "X Tenant"
"#,
        ),
        report: r#"portico.toml:7: tenants.header: not a header name: `X Tenant`
  hint: write letters, digits and `-`, as in `X-Tenant`"#,
    },
    Case {
        name: "tenants",
        file: File::After(
            r#"[tenants]
apex = "two words"
reserved = ["@default", "@all", "a.b", "-x", "blog"]
"#,
        ),
        report: r#"portico.toml:7: tenants.apex: a tenant's name has 1 to 128 printable ASCII characters without spaces: `two words`
  hint: write the name, as in `"public"`, or `"reject"`
portico.toml:8: tenants.reserved[1]: there is no such list: `@all`
  hint: the one built-in list is `@default`
portico.toml:8: tenants.reserved[2]: not one label of a host name: `a.b`
  hint: write `blog` for `blog.example.com`
portico.toml:8: tenants.reserved[3]: not one label of a host name: `-x`
  hint: write `blog` for `blog.example.com`"#,
    },
    Case {
        name: "tenants from a file without the file",
        file: File::After(
            r#"[tenants]
source = "file"
reserved = ["blog"]
"#,
        ),
        report: r#"portico.toml:6: tenants.file: the key is missing
  hint: write `file = "tenants.toml"` below `[tenants]`
portico.toml:8: tenants.reserved: the key has no use without `source = "pattern"`
  hint: remove it: the source lists every tenant there is"#,
    },
    Case {
        name: "a file for a pattern",
        file: File::After(
            r#"[tenants]
file = "tenants.toml"
"#,
        ),
        report: r#"portico.toml:7: tenants.file: the key has no use without `source = "file"`
  hint: remove it, or set `source = "file"`"#,
    },
    Case {
        name: "an address that would see the token in clear",
        file: File::After(
            r#"[tenants]
source = "http"
[tenants.http]
url = "http://app.internal/ask"
token_file = "token"
ca_file = "ca.pem"
"#,
        ),
        report: r#"portico.toml:10: tenants.http.token_file: the token would be readable on the way
  hint: write `https://` in `url`; only to this machine itself is `http://` enough
portico.toml:11: tenants.http.ca_file: the key has no use without `https://`
  hint: write `https://` in `url`, or remove the key"#,
    },
    Case {
        name: "an address with a password, which the report does not show",
        file: File::After(
            r#"[tenants]
source = "http"
[tenants.http]
url = "https://user:secret@app.internal/ask"
"#,
        ),
        report: r#"portico.toml:9: tenants.http.url: a URL is no place for a password
  hint: write a token into a file and name it in `token_file`"#,
    },
    Case {
        name: "tenants that are asked for, but where",
        file: File::After(
            r#"[tenants]
source = ["file", "http"]
file = "tenants.toml"
[tenants.http]
timeout = "2s"
"#,
        ),
        report: r#"portico.toml:9: tenants.http.url: the key is missing
  hint: write `url = "http://127.0.0.1:8000/tenant"` below `[tenants.http]`"#,
    },
    Case {
        name: "an address that nobody asks",
        file: File::After(
            r#"[tenants.http]
url = "https://app.internal/ask"
"#,
        ),
        report: r#"portico.toml:7: tenants.http.url: the key has no use without `source = "http"`
  hint: remove it, or set `tenants.source = "http"`"#,
    },
    Case {
        name: "look-ups that would be saved, compared and polled",
        file: File::After(
            r#"[tenants]
source = "postgres"
[tenants.postgres]
dsn_file = "pg.dsn"
mode = "lookup"
resync = "1m"
poll = "1m"
snapshot = "saved"
positive_ttl = "1h"
"#,
        ),
        report: r#"portico.toml:11: tenants.postgres.resync: the key has no use with `mode = "lookup"`
  hint: remove it: nothing is compared; `positive_ttl` says how long an answer is good
portico.toml:12: tenants.postgres.poll: the key has no use with `mode = "lookup"`
  hint: remove it: without notifications an answer is good for `positive_ttl`
portico.toml:13: tenants.postgres.snapshot: the key has no use with `mode = "lookup"`
  hint: remove it, or set `mode = "preload"`: answers about single hosts are not saved, so a start needs the database"#,
    },
    Case {
        name: "answers that are kept where nothing is asked",
        file: File::After(
            r#"[tenants]
source = "postgres"
[tenants.postgres]
dsn_file = "pg.dsn"
negative_ttl = "1h"
lookup_qps = 1
"#,
        ),
        report: r#"portico.toml:10: tenants.postgres.negative_ttl: the key has no use with `mode = "preload"`
  hint: remove it, or set `mode = "lookup"`
portico.toml:11: tenants.postgres.lookup_qps: the key has no use with `mode = "preload"`
  hint: remove it, or set `mode = "lookup"`"#,
    },
];
