//! Addresses of app servers.

use super::{Case, File, check};

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "no app server",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
upstream.servers = []
"#,
        ),
        report: r#"portico.toml:3: upstream.servers: the list is empty
  hint: write `servers = ["unix:/run/gunicorn.sock"]` below `[upstream]`"#,
    },
    Case {
        name: "the section without servers",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
[upstream]
keepalive = "1s"
"#,
        ),
        report: r#"portico.toml:3: upstream.servers: the key is missing
  hint: write `servers = ["unix:/run/gunicorn.sock"]` below `[upstream]`"#,
    },
    Case {
        name: "shapes",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
upstream.servers = [
  "https://app:8443/x",
  "http://app:8000/api",
  "http://127.0.0.1:8000/",
  "127.0.0.1:8000",
  "/run/app.sock",
  "ftp://app",
  "http://user:hunter2@app:8000",
  "https://user:hunter2@app:8000",
  "http://app:0",
  "http://app:8000x",
  "http://::1:8000",
  "http://[::1",
  "http://",
  "http://[::g]:80",
  "unix:",
  "unix:@app",
  "me:hunter2@app:8000",
  "http://a b",
  "http://[::1]8000",
  "unix:/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.sock",
]
"#,
        ),
        report: r#"portico.toml:4: upstream.servers[0]: an app server is an address without a path: `https://app:8443/x`
  hint: write `https://app:8443`: each request keeps its own path
portico.toml:5: upstream.servers[1]: an app server is an address without a path: `http://app:8000/api`
  hint: write `http://app:8000`: each request keeps its own path
portico.toml:6: upstream.servers[2]: an app server is an address without a path: `http://127.0.0.1:8000/`
  hint: write `http://127.0.0.1:8000`: each request keeps its own path
portico.toml:7: upstream.servers[3]: neither `http://`, `https://`, `h2c://` nor `unix:`: `127.0.0.1:8000`
  hint: write `http://127.0.0.1:8000`
portico.toml:8: upstream.servers[4]: neither `http://`, `https://`, `h2c://` nor `unix:`: `/run/app.sock`
  hint: write `unix:/run/app.sock`
portico.toml:9: upstream.servers[5]: neither `http://`, `https://`, `h2c://` nor `unix:`: `ftp://app`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:10: upstream.servers[6]: a user name or password in the address
  hint: remove everything up to the `@`: Portico does not log in to app servers
portico.toml:11: upstream.servers[7]: a user name or password in the address
  hint: remove everything up to the `@`: Portico does not log in to app servers
portico.toml:12: upstream.servers[8]: the port is not a number from 1 to 65535: `http://app:0`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:13: upstream.servers[9]: the port is not a number from 1 to 65535: `http://app:8000x`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:14: upstream.servers[10]: an IPv6 address stands in brackets: `http://::1:8000`
  hint: write `http://[::1]:8000`
portico.toml:15: upstream.servers[11]: not an IPv6 address in the brackets: `http://[::1`
  hint: write `http://[::1]:8000`
portico.toml:16: upstream.servers[12]: neither a name nor an address: `http://`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:17: upstream.servers[13]: not an IPv6 address in the brackets: `http://[::g]:80`
  hint: write `http://[::1]:8000`
portico.toml:18: upstream.servers[14]: the path is empty: `unix:`
  hint: write an absolute path, or one relative to this file
portico.toml:19: upstream.servers[15]: abstract sockets are not supported: `unix:@app`
  hint: write a path, as in `unix:/run/app.sock`
portico.toml:20: upstream.servers[16]: a user name or password in the address
  hint: remove everything up to the `@`: Portico does not log in to app servers
portico.toml:21: upstream.servers[17]: neither a name nor an address: `http://a b`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:22: upstream.servers[18]: the port is not a number from 1 to 65535: `http://[::1]8000`
  hint: write `http://127.0.0.1:8000` or `unix:/run/app.sock`
portico.toml:23: upstream.servers[19]: the path of a socket has at most 107 bytes: `unix:/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`
  hint: move the socket to a shorter path, as in `/run/app.sock`"#,
    },
    Case {
        name: "listed twice",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
upstream.servers = ["http://App:80", "http://app", "unix:/run/./a.sock", "unix:///run/a.sock"]
"#,
        ),
        report: r#"portico.toml:3: upstream.servers[1]: listed twice: `http://app`
  hint: remove one of the two
portico.toml:3: upstream.servers[3]: listed twice: `unix:///run/a.sock`
  hint: remove one of the two"#,
    },
    Case {
        name: "weights",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
upstream.servers = [
  "http://app weight=0",
  "http://app weight=1001",
  "http://app weight=+2",
  "http://app weight=2",
  "http://app",
  "http://app/ weight=3",
]
"#,
        ),
        report: r#"portico.toml:3: upstream.servers: `http://app:80` is listed twice, with two weights
  hint: remove one of the two
portico.toml:4: upstream.servers[0]: the weight is not a number from 1 to 1000: `http://app weight=0`
  hint: write `http://app weight=2`
portico.toml:5: upstream.servers[1]: the weight is not a number from 1 to 1000: `http://app weight=1001`
  hint: write `http://app weight=2`
portico.toml:6: upstream.servers[2]: the weight is not a number from 1 to 1000: `http://app weight=+2`
  hint: write `http://app weight=2`
portico.toml:9: upstream.servers[5]: an app server is an address without a path: `http://app/ weight=3`
  hint: write `http://app`: each request keeps its own path"#,
    },
    Case {
        name: "keys that have no effect, and values that are none",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
[upstream]
servers = ["http://app"]
server_requests = 0
eject_time = "100ms"
[upstream.probe]
host = "a b"
status = "2xx"
[upstream.tls]
ca_file = "ca.pem"
server_name = "app.internal"
"#,
        ),
        report: r#"portico.toml:5: upstream.server_requests: not between `1` and `1000000`: `0`
  hint: without the key it is no limit
portico.toml:6: upstream.eject_time: not between `250ms` and `1h`: `100ms`
  hint: the default is `"5s"`
portico.toml:7: upstream.probe.path: the key is missing
  hint: write `path = "/healthz"` below `[upstream.probe]`
portico.toml:8: upstream.probe.host: the host name has a character that is not a letter, digit, `-` or `.`: `a b`
  hint: write the name alone, as in `example.com`
portico.toml:9: upstream.probe.status: not a status or a range of them, within 200 and 599: `2xx`
  hint: write `200` or `200-399`
portico.toml:11: upstream.tls.ca_file: the key has no use without a server with `https`
  hint: write `https://host:port` in `upstream.servers`, or remove the key
portico.toml:12: upstream.tls.server_name: the key has no use without a server with `https`
  hint: write `https://host:port` in `upstream.servers`, or remove the key"#,
    },
    Case {
        name: "the PROXY protocol before HTTP/2",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
[upstream]
servers = ["http://app:8000", "h2c://app:50051"]
send_proxy_protocol = true
"#,
        ),
        report: r#"portico.toml:5: upstream.send_proxy_protocol: a PROXY protocol header names one client, and connections to `h2c://app:50051` are shared
  hint: set `send_proxy_protocol = false`, or use `http://` or `https://`; h2c apps read `X-Forwarded-For`"#,
    },
    Case {
        name: "loops",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
[listen]
http = ["192.0.2.1:80"]
admin = "unix:/run/portico/admin.sock"
[upstream]
servers = [
  "http://127.0.0.1:443",
  "http://localhost:443",
  "http://0.0.0.0:443",
  "http://[::ffff:127.0.0.1]:443",
  "http://192.0.2.1",
  "unix:/run/portico/admin.sock",
]
"#,
        ),
        report: r#"portico.toml:8: upstream.servers[0]: Portico itself listens there, so each request would go round for ever: `http://127.0.0.1:443`
  hint: name the address that the app server listens on
portico.toml:9: upstream.servers[1]: Portico itself listens there, so each request would go round for ever: `http://localhost:443`
  hint: name the address that the app server listens on
portico.toml:10: upstream.servers[2]: Portico itself listens there, so each request would go round for ever: `http://0.0.0.0:443`
  hint: name the address that the app server listens on
portico.toml:11: upstream.servers[3]: Portico itself listens there, so each request would go round for ever: `http://[::ffff:127.0.0.1]:443`
  hint: name the address that the app server listens on
portico.toml:12: upstream.servers[4]: Portico itself listens there, so each request would go round for ever: `http://192.0.2.1`
  hint: name the address that the app server listens on
portico.toml:13: upstream.servers[5]: Portico itself listens there, so each request would go round for ever: `unix:/run/portico/admin.sock`
  hint: name the address that the app server listens on"#,
    },
    Case {
        name: "a loop to the admin listener",
        file: File::Whole(
            r#"domains = ["example.com"]
acme.run = "off"
upstream.servers = ["http://127.0.0.1:9180", "http://127.0.0.1:80"]
"#,
        ),
        report: r#"portico.toml:3: upstream.servers[0]: Portico itself listens there, so each request would go round for ever: `http://127.0.0.1:9180`
  hint: name the address that the app server listens on
portico.toml:3: upstream.servers[1]: Portico itself listens there, so each request would go round for ever: `http://127.0.0.1:80`
  hint: name the address that the app server listens on"#,
    },
];
