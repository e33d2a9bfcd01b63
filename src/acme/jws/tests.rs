//! Requests as the RFCs and a CA want them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

use super::*;
use crate::acme::key::tests::{rfc7515_ec, rfc7515_rsa};

const URL: &str = "https://ca.test/new-order";

fn decoded(text: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

#[test]
fn a_request_names_either_the_account_or_the_key() {
    let key = rfc7515_ec();
    let by_account = Jws::new(
        Signer::Account("https://ca.test/acct/1", &key),
        Some("nonce-1"),
        URL,
        b"{}",
    )
    .unwrap();
    assert_eq!(
        decoded(&by_account.protected),
        serde_json::json!({ "alg": "ES256", "kid": "https://ca.test/acct/1", "nonce": "nonce-1", "url": URL })
    );
    let by_key = Jws::new(Signer::Key(&key), None, URL, b"").unwrap();
    assert_eq!(
        decoded(&by_key.protected),
        serde_json::json!({ "alg": "ES256", "jwk": public(&key).unwrap(), "url": URL })
    );
    // RFC 8555 §6.3: a POST-as-GET has no payload at all.
    assert_eq!(by_key.payload, "");
}

#[test]
fn the_signature_is_over_header_and_payload_as_they_are_sent() {
    let key = rfc7515_rsa();
    let jws = Jws::new(Signer::Key(&key), Some("n"), URL, b"{\"a\":1}").unwrap();
    let input = format!("{}.{}", jws.protected, jws.payload);
    let expected = key.sign(input.as_bytes()).unwrap();
    assert_eq!(jws.signature, BASE64_URL_SAFE_NO_PAD.encode(expected));
    assert_eq!(decoded(&jws.protected).get("alg").unwrap(), "RS256");
}

#[test]
fn a_binding_is_a_mac_over_the_public_key() {
    let key = rfc7515_ec();
    let jws = Jws::binding("kid-1", b"secret", URL, &key).unwrap();
    assert_eq!(
        decoded(&jws.protected),
        serde_json::json!({ "alg": "HS256", "kid": "kid-1", "url": URL })
    );
    assert_eq!(decoded(&jws.payload), public(&key).unwrap());
    let mac = BASE64_URL_SAFE_NO_PAD.decode(&jws.signature).unwrap();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let input = format!("{}.{}", jws.protected, jws.payload);
    hmac::verify(&secret, input.as_bytes(), &mac).unwrap();
}
