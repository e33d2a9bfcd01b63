//! `[acme]` and `[acme.dns]`.

use super::{Case, File, check};

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "no dns provider",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml: acme.dns.provider: the key is missing
  hint: add `[acme.dns]` with a `provider`, or set `run = "off"` and use `portico cert import`"#,
    },
    Case {
        name: "a dns section without provider",
        file: File::After(
            r#"[acme.dns]
zone = "example.com"
"#,
        ),
        report: r#"portico.toml:6: acme.dns.provider: the key is missing
  hint: write `provider = "digitalocean"` or another one below `[acme.dns]`"#,
    },
    Case {
        name: "an unknown provider",
        file: File::After(
            r#"[acme.dns]
provider = "digital-ocean"
credentials = "do.ini"
"#,
        ),
        report: r#"portico.toml:7: acme.dns.provider: not one of the choices: `digital-ocean`
  hint: write `"digitalocean"`"#,
    },
    Case {
        name: "a provider that is far off",
        file: File::After(
            r#"[acme.dns]
provider = "cloud-thing"
"#,
        ),
        report: r#"portico.toml:7: acme.dns.provider: not one of the choices: `cloud-thing`
  hint: `portico dns providers` lists them; for any other service write a hook (`provider = "exec"`) or delegate to `provider = "responder"`"#,
    },
    Case {
        name: "no credentials",
        file: File::After(
            r#"[acme.dns]
provider = "rfc2136"
"#,
        ),
        report: r#"portico.toml:6: acme.dns.credentials: the key is missing
  hint: write `credentials = "credential:dns"` for the one that systemd passes, or a path to a file of mode 0600"#,
    },
    Case {
        name: "keys of other providers",
        file: File::After(
            r#"[acme.dns]
provider = "manual"
credentials = "do.ini"
listen = ["[::]:53"]
name_server = "ns.example.com"
command = "/bin/hook"
"#,
        ),
        report: r#"portico.toml:8: acme.dns.credentials: the key has no use with `provider = "manual"`
  hint: remove it, or set a provider that `portico dns providers` lists with keys
portico.toml:9: acme.dns.listen: the key has no use with `provider = "manual"`
  hint: remove it, or set `provider = "responder"`
portico.toml:10: acme.dns.name_server: the key has no use with `provider = "manual"`
  hint: remove it, or set `provider = "responder"`
portico.toml:11: acme.dns.command: the key has no use with `provider = "manual"`
  hint: remove it, or set `provider = "exec"`"#,
    },
    Case {
        name: "credentials",
        file: File::After(
            r#"[acme.dns]
provider = "digitalocean"
credentials = "credential:../token"
"#,
        ),
        report: r#"portico.toml:8: acme.dns.credentials: not the name of a credential: `credential:../token`
  hint: write the name in `LoadCredential=`, as in `credential:dns-token`"#,
    },
    Case {
        name: "a responder",
        file: File::After(
            r#"[acme.dns]
provider = "responder"
listen = []
name_server = "192.0.2.1"
zone = "_acme-challenge.example..com"
resolvers = ["9.9.9.9", "dns.quad9.net"]
propagation_seconds = 4000
propagation_timeout = "2h"
"#,
        ),
        report: r#"portico.toml:8: acme.dns.listen: the list is empty
  hint: write `listen = ["[::]:53"]`, or remove the key
portico.toml:9: acme.dns.name_server: not a DNS name: `192.0.2.1`
  hint: write a name, as in `ns.example.com`
portico.toml:10: acme.dns.zone: not a DNS name: `_acme-challenge.example..com`
  hint: write a name, as in `ns.example.com`
portico.toml:11: acme.dns.resolvers[1]: not an address: `dns.quad9.net`
  hint: write `9.9.9.9` or `9.9.9.9:53`
portico.toml:12: acme.dns.propagation_seconds: not between `0` and `3600`: `4000`
  hint: the default is `0`
portico.toml:13: acme.dns.propagation_timeout: not between `1s` and `1h`: `2h`
  hint: the default is `"2m"`"#,
    },
    Case {
        name: "hooks",
        file: File::After(
            r#"[acme.dns]
provider = "exec"
hook = "caddy"
command = "/bin/hook"
cleanup_command = "/bin/clean"
endpoint = "auth.example.org"
"#,
        ),
        report: r#"portico.toml:8: acme.dns.hook: not one of the choices: `caddy`
  hint: the choices are `"lego"`, `"certbot"`
portico.toml:10: acme.dns.cleanup_command: the key has no use with `hook = "lego"`
  hint: remove it, or set `hook = "certbot"`
portico.toml:11: acme.dns.endpoint: the key has no use with `provider = "exec"`
  hint: remove it, or set `provider = "acme-dns"`
portico.toml:11: acme.dns.endpoint: not a URL: `auth.example.org`
  hint: write its URL, as in `https://auth.example.org`"#,
    },
    Case {
        name: "no command",
        file: File::After(
            r#"[acme.dns]
provider = "exec"
"#,
        ),
        report: r#"portico.toml:6: acme.dns.command: the key is missing
  hint: write `command = "/usr/local/bin/dns-hook"`"#,
    },
    Case {
        name: "a command with arguments in one text",
        file: File::After(
            r#"[acme.dns]
provider = "exec"
command = "/bin/hook --flag"
"#,
        ),
        report: r#"portico.toml:8: acme.dns.command: a string is the program alone, without arguments
  hint: write `command = ["/usr/local/bin/dns-hook", "--flag"]`"#,
    },
    Case {
        name: "an empty command",
        file: File::After(
            r#"[acme.dns]
provider = "exec"
command = []
"#,
        ),
        report: r#"portico.toml:8: acme.dns.command: the program is missing
  hint: write `command = ["/usr/local/bin/dns-hook", "--flag"]`"#,
    },
    Case {
        name: "account",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
[acme]
email = "mailto:ops@example.com"
directory = "staging"
profile = ""
run = "off"
"#,
        ),
        report: r#"portico.toml:4: acme.email: an address without `mailto:` is needed: `mailto:ops@example.com`
  hint: write `ops@example.com`
portico.toml:5: acme.directory: not an `https://` URL: `staging`
  hint: write `https://acme-staging-v02.api.letsencrypt.org/directory`
portico.toml:6: acme.profile: not the name of a profile: ``
  hint: write one word, as in `tlsserver`, or remove the key"#,
    },
    Case {
        name: "directories",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
[acme]
email = "ops"
directory = "http://127.0.0.1:14000/dir"
run = "off"
"#,
        ),
        report: r#"portico.toml:4: acme.email: not an e-mail address: `ops`
  hint: write one address, as in `ops@example.com`
portico.toml:5: acme.directory: not an `https://` URL: `http://127.0.0.1:14000/dir`
  hint: write the whole address, as in `https://acme-v02.api.letsencrypt.org/directory`"#,
    },
    Case {
        name: "a directory with a password",
        file: File::Whole(
            r#"domains = ["example.com"]
upstream.servers = ["unix:/run/app.sock"]
[acme]
email = "a@b@example.com"
directory = "https://me:hunter2@ca.example/dir"
run = "off"
"#,
        ),
        report: r#"portico.toml:4: acme.email: not an e-mail address: `a@b@example.com`
  hint: write one address, as in `ops@example.com`
portico.toml:5: acme.directory: a user name or password in the URL
  hint: remove everything up to the `@`"#,
    },
];
