//! `X-Tenant-Token`: verified by PyJWT, as an app would.

use std::process::Command;

use serde_json::Value;

use crate::support::http::Protocol;
use crate::support::key_file::KeyFile;
use crate::support::origin::{Origin, Seen};
use crate::support::program;
use crate::support::site::Site;

/// What PyJWT makes of a token: its claims, or the name of its error. `key` is a secret or a key set.
pub(super) fn verify(token: &str, algorithm: &str, key: &str, audience: &str) -> Value {
    let program = r#"
import json, sys, jwt
token, algorithm, key, audience = sys.argv[1:]
if algorithm == "EdDSA":
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(one.key for one in jwt.PyJWKSet.from_json(key).keys if one.key_id == kid)
try:
    claims = jwt.decode(token, key, algorithms=[algorithm], audience=audience, issuer="edge-1",
                        options={"require": ["exp", "iat", "aud", "iss", "sub"]})
    print(json.dumps(claims))
except jwt.InvalidTokenError as error:
    print(json.dumps(type(error).__name__))
"#;
    let output = Command::new(program::venv("python3"))
        .args(["-c", program, token, algorithm, key, audience])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn site(origin: &Origin, keys: &KeyFile, form: &str) -> Site {
    Site::before(&[origin.address()])
        .set("tenants", "value = \"schema\"")
        .set("tenants", "schema = \"app_{slug}\"")
        .set("tenants", "schema_underscore = true")
        .set("tenants.signature", &keys.line())
        .set("tenants.signature", &format!("form = {form:?}"))
        .set("tenants.signature", "issuer = \"edge-1\"")
        .set("tenants.signature", "audience = \"crm\"")
        .start()
}

async fn seen(site: &Site, origin: &Origin, protocol: Protocol, host: &str) -> Seen {
    let mut connection = site.edge.connect(protocol, host).await;
    let request = connection
        .request("GET", "/")
        .header("x-tenant-token", "evil");
    assert_eq!(request.send().await.status, 200);
    origin.requests().pop().unwrap()
}

fn check(claims: &Value, host: &str) {
    assert_eq!(claims["sub"], "big-corp", "{claims}");
    assert_eq!(claims["tenant"], "app_big_corp");
    assert_eq!(claims["schema"], "app_big_corp");
    assert_eq!(claims["host"], host);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 60);
}

#[tokio::test]
async fn a_token_with_a_shared_key_is_what_pyjwt_takes() {
    let origin = Origin::hello();
    let keys = KeyFile::new(&format!("k1 = {}\n", "1".repeat(64)));
    let site = site(&origin, &keys, "jwt-hs256");
    let host = "big-corp.example.test";
    for protocol in Protocol::BOTH {
        let seen = seen(&site, &origin, protocol, host).await;
        assert_eq!(seen.one("x-tenant"), "app_big_corp");
        let token = seen.one("x-tenant-token");
        check(&verify(token, "HS256", &"1".repeat(64), "crm"), host);
        let wrong = verify(token, "HS256", &"2".repeat(64), "crm");
        assert_eq!(wrong, "InvalidSignatureError");
    }
    let (status, jwks) = site.portico.admin("/jwks.json");
    assert_eq!(status, 200);
    assert!(
        !jwks.contains("111"),
        "a shared key is not published: {jwks}"
    );
}

#[tokio::test]
async fn a_token_with_a_private_key_is_verified_by_the_published_one() {
    let private = || {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "ed25519", "-outform", "DER"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(made.stdout)
    };
    let origin = Origin::hello();
    let keys = KeyFile::new(&format!("e2 = {}\ne1 = {}\n", private(), private()));
    let site = site(&origin, &keys, "jwt-eddsa");
    let (_, jwks) = site.portico.admin("/jwks.json");
    assert!(jwks.contains("\"e1\"") && jwks.contains("\"e2\"") && !jwks.contains("\"d\""));
    let host = "big-corp.example.test";
    let mut tokens = Vec::new();
    for protocol in Protocol::BOTH {
        let seen = seen(&site, &origin, protocol, host).await;
        let token = seen.one("x-tenant-token").to_owned();
        check(&verify(&token, "EdDSA", &jwks, "crm"), host);
        tokens.push(token);
    }
    let (head, proof) = tokens.first().unwrap().rsplit_once('.').unwrap();
    let other = seen(&site, &origin, Protocol::Http1, "globex.example.test").await;
    let other = other.one("x-tenant-token").to_owned();
    assert_eq!(verify(&other, "EdDSA", &jwks, "crm")["sub"], "globex");
    let mixed = format!("{}.{proof}", other.rsplit_once('.').unwrap().0);
    assert_eq!(
        verify(&mixed, "EdDSA", &jwks, "crm"),
        "InvalidSignatureError"
    );
    assert!(!head.is_empty());
}
