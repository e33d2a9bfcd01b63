//! `X-Tenant-Signature`: the Rust that signs and the Python that verifies agree, and a real app believes nothing else.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portico::clock::UnixTime;
use portico::config::{CredentialSource, Signature, SignatureForm};
use portico::tenant::signature::{Signed, Signer};
use serde_json::Value;

use crate::support::body;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::{Connection, Protocol};
use crate::support::key_file::KeyFile;
use crate::support::program;
use crate::support::site::Site;

const VECTORS: &str = include_str!("../../vectors/tenant_signature.json");

/// The folder of the middleware that is shipped.
fn middleware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django")
}

/// A gunicorn with the app that verifies, which shares `keys` with the edge.
pub(super) fn verifying_app(keys: &KeyFile) -> Gunicorn {
    let paths = format!(
        "{},{}",
        program::support_file("").display(),
        middleware().display()
    );
    let env = format!("PORTICO_TEST_KEYS={}", keys.path.display());
    Gunicorn::worker("gthread")
        .app("signed_app:application", "/ready")
        .args(&["--pythonpath", &paths, "--env", &env])
        .tcp()
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key]
        .as_str()
        .unwrap_or_else(|| panic!("`{key}` in {case}"))
}

#[test]
fn hmac_vectors_rust_python() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let keys = vectors["keys"].as_array().unwrap();
    let key_line = |key: &Value| format!("{} = {}\n", text(key, "name"), text(key, "key"));
    let mut signed_by_us = 0;
    for case in cases.iter().filter(|case| !case["signed_by"].is_null()) {
        // The key that signs stands first, as in each step of a rotation.
        let (first, rest): (Vec<_>, Vec<_>) = keys
            .iter()
            .partition(|key| text(key, "name") == text(case, "signed_by"));
        let lines: String = first.into_iter().chain(rest).map(key_line).collect();
        let file = KeyFile::new(&lines);
        let signature = Signature {
            keys: CredentialSource::File(file.path.clone()),
            form: SignatureForm::Hmac,
            issuer: String::new(),
            audience: String::new(),
        };
        let Ok(Signer::Hmac(signer)) = Signer::read(&signature) else {
            panic!("the keys can be read");
        };
        let signed = Signed {
            tenant: text(case, "tenant").as_bytes(),
            host: text(case, "host").as_bytes(),
            method: text(case, "method"),
            target: text(case, "target"),
            client: text(case, "client").as_bytes(),
            request_id: text(case, "request_id").as_bytes(),
        };
        let time = UnixTime(case["time"].as_i64().unwrap());
        assert_eq!(
            signer.sign(&signed, time),
            text(case, "signature"),
            "{case}"
        );
        signed_by_us += 1;
    }
    assert!(signed_by_us >= 6);

    let file = KeyFile::new(&keys.iter().map(key_line).collect::<String>());
    let program = r#"
import json, sys
import portico_tenant
keys = portico_tenant.read_keys(sys.argv[1])
for case in json.load(sys.stdin)["cases"]:
    meta = {"HTTP_X_TENANT_SIGNATURE": case["signature"], "HTTP_X_TENANT": case["tenant"], "HTTP_HOST": case["host"],
            "REQUEST_METHOD": case["method"], "HTTP_X_REAL_IP": case["client"], "HTTP_X_REQUEST_ID": case["request_id"]}
    print(json.dumps(portico_tenant.verify(keys, meta, case["target"], case["now"])))
"#;
    let mut python = Command::new(program::venv("python3"))
        .args(["-c", program])
        .arg(&file.path)
        .env("PYTHONPATH", middleware())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(VECTORS.as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> = verdicts
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(verdicts.len(), cases.len());
    for (case, verdict) in cases.iter().zip(verdicts) {
        let expected = match case["valid"].as_bool() {
            Some(true) => case["tenant"].clone(),
            _ => Value::Null,
        };
        assert_eq!(verdict, expected, "{}", case["name"]);
    }
    let valid = cases.iter().filter(|case| case["valid"] == true).count();
    assert!(valid >= 8 && cases.len() - valid >= 25);
}

#[tokio::test]
async fn signed_requests_are_verified_by_a_real_gunicorn_and_forged_ones_are_not() {
    let keys = KeyFile::new(&format!(
        "k2 = {}\nk1 = {}\n",
        "2".repeat(64),
        "1".repeat(64)
    ));
    let app = verifying_app(&keys);
    let site = Site::before(&[app.address()])
        .set("tenants.signature", &keys.line())
        .start();
    let mut captured = None;
    for protocol in Protocol::BOTH {
        for host in ["acme.example.test", "globex.example.test"] {
            let mut connection = site.edge.connect(protocol, host).await;
            for (method, target) in [
                ("GET", "/"),
                ("POST", "/a/%2e%2E;x/caf%C3%A9?q=%20&r=a+b&&=?"),
                ("DELETE", "//a//?"),
            ] {
                let mut request = connection
                    .request(method, target)
                    .header("x-tenant", "evil")
                    .header("x_tenant_signature", "v1;kid=k2;t=1;s=x")
                    .header("x-tenant-signature", "v1;kid=k2;t=1;s=x");
                if method == "POST" {
                    request = request.body(body::full("four"));
                }
                let answer = request.send().await;
                assert_eq!(answer.status, 200, "{protocol:?} {host} {method} {target}");
                let seen = answer.json();
                assert_eq!(seen["tenant"], host.split('.').next().unwrap());
                assert_eq!(seen["target"], target);
                let signature = seen["headers"]["HTTP_X_TENANT_SIGNATURE"].as_str().unwrap();
                assert!(signature.starts_with("v1;kid=k2;t="), "{signature}");
                captured = Some(seen);
            }
        }
    }

    // Round the edge: what was captured there serves for no other request, and nothing of one's own does.
    let seen = captured.unwrap();
    let address = app.address().parse().unwrap();
    let header = |name: &str| seen["headers"][name].as_str().unwrap().to_owned();
    let names = [
        ("x-tenant", "HTTP_X_TENANT"),
        ("x-tenant-signature", "HTTP_X_TENANT_SIGNATURE"),
        ("x-real-ip", "HTTP_X_REAL_IP"),
        ("x-request-id", "HTTP_X_REQUEST_ID"),
    ];
    for (host, changed, value, status) in [
        ("globex.example.test", "", "", 200),
        ("globex.example.test", "x-tenant", "acme", 403),
        ("acme.example.test", "", "", 403),
        ("acme.example.test", "x-tenant", "acme", 403),
        ("globex.example.test", "x-real-ip", "192.0.2.1", 403),
        ("globex.example.test", "x-request-id", "1", 403),
        (
            "globex.example.test",
            "x-tenant-signature",
            "v1;kid=k2;t=1;s=x",
            403,
        ),
    ] {
        let mut connection = Connection::tcp(address, host).await;
        let mut request = connection.request("DELETE", "//a//?");
        for (name, key) in names {
            let sent = if name == changed {
                value.to_owned()
            } else {
                header(key)
            };
            request = request.header(name, &sent);
        }
        let answer = request.send().await;
        // The first is the control: what is replayed whole and at once is still what the edge has signed.
        assert_eq!(answer.status, status, "{host} {changed}");
    }
    let mut connection = Connection::tcp(address, "globex.example.test").await;
    for target in ["/", "//a//?"] {
        let request = connection
            .request("GET", target)
            .header("x-tenant", "globex");
        assert_eq!(request.send().await.status, 403);
    }
}

#[tokio::test]
async fn keys_are_changed_by_a_reload_without_a_request_refused() {
    let (old, new) = ("1".repeat(64), "2".repeat(64));
    let keys = KeyFile::new(&format!("k1 = {old}\nk2 = {new}\n"));
    let app = verifying_app(&keys);
    let mut site = Site::before(&[app.address()])
        .set("tenants.signature", &keys.line())
        .start();
    let kid = async |site: &Site| {
        let answer = site
            .edge
            .get(Protocol::Http1, "acme.example.test", "/")
            .await;
        assert_eq!(answer.status, 200);
        let signature = answer.json()["headers"]["HTTP_X_TENANT_SIGNATURE"].to_string();
        signature.split(';').nth(1).unwrap().to_owned()
    };
    assert_eq!(kid(&site).await, "kid=k1");
    fs::write(&keys.path, format!("k2 = {new}\nk1 = {old}\n")).unwrap();
    site.portico.reload();
    assert_eq!(kid(&site).await, "kid=k2");
    // A file that others may read is no secret: what works stays.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&keys.path, mode).unwrap();
    site.portico.sighup();
    site.portico.wait_log("can be read by others");
    assert_eq!(kid(&site).await, "kid=k2");
    assert!(!site.portico.stderr().contains(&new));
}
