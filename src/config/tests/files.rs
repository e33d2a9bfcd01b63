//! `certs` and `[files]`, and the keys of `[acme]` about what comes after a certificate.

use super::{Case, File, check, parse};
use crate::config::{AcmeRun, CertOrigin, DeployProbe};
use crate::host::Host;

#[test]
fn files_of_another_program_need_no_acme() {
    let text = "domains = [\"example.com\"]\ncerts = \"files\"\nupstream.servers = [\"unix:/run/app.sock\"]\n";
    let config = parse(text).unwrap();
    assert_eq!(config.acme.run, AcmeRun::Off);
    let CertOrigin::Files(files) = config.certs else {
        unreachable!("{:?}", config.certs)
    };
    let (chain, key) = files.of(&Host::parse("example.com").unwrap());
    assert_eq!(
        chain.to_str(),
        Some("/etc/letsencrypt/live/example.com/fullchain.pem")
    );
    assert_eq!(
        key.to_str(),
        Some("/etc/letsencrypt/live/example.com/privkey.pem")
    );

    let own = parse(&format!(
        "{text}[files]\nfullchain = \"tls/all.pem\"\nkey = \"/k/{{domain}}.key\"\n"
    ))
    .unwrap();
    let CertOrigin::Files(files) = own.certs else {
        unreachable!("{:?}", own.certs)
    };
    let (chain, key) = files.of(&Host::parse("b.example").unwrap());
    assert_eq!(chain.to_str(), Some("tls/all.pem"));
    assert_eq!(key.to_str(), Some("/k/b.example.key"));
}

#[test]
fn a_probe_address_is_taken() {
    let text = "domains = [\"example.com\"]\n[acme]\nrun = \"off\"\ndeploy_probe = \"192.0.2.1:443\"\n[upstream]\nservers = [\"unix:/run/app.sock\"]\n";
    let address = "192.0.2.1:443".parse().unwrap();
    assert_eq!(
        parse(text).unwrap().acme.deploy_probe,
        DeployProbe::Address(address)
    );
}

#[test]
fn reports() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        name: "files without the switch",
        file: File::After("[files]\nkey = \"/k.pem\"\n"),
        report: r#"portico.toml:7: files.key: the key has no use with `certs = "acme"`
  hint: write `certs = "files"` at the top of the file, or remove the key"#,
    },
    Case {
        name: "files, and somebody who renews",
        file: File::Whole(
            r#"domains = ["example.com"]
certs = "files"
[acme]
run = "daemon"
[upstream]
servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:4: acme.run: there is nothing to renew with `certs = "files"`
  hint: remove it, or write `run = "off"`"#,
    },
    Case {
        name: "a probe at no address",
        file: File::Whole(
            r#"domains = ["example.com"]
[acme]
run = "off"
deploy_probe = "0.0.0.0:443"
[upstream]
servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:4: acme.deploy_probe: neither `listener`, `off` nor an address with a port: `0.0.0.0:443`
  hint: write an address that can be connected to, as in `192.0.2.10:443`"#,
    },
    Case {
        name: "a hook with its arguments in one string",
        file: File::Whole(
            r#"domains = ["example.com"]
[acme]
run = "off"
on_event = "/bin/event --loud"
[upstream]
servers = ["unix:/run/app.sock"]
"#,
        ),
        report: r#"portico.toml:4: acme.on_event: a string is the program alone, without arguments
  hint: write `on_event = ["/usr/local/bin/cert-event", "--flag"]`"#,
    },
];
