//! Keys of RFC 7515, forms of keys, and what is no key.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::*;

/// RFC 7515 §A.2.1.
const RSA: &str = r#"{"kty":"RSA",
"n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
"e":"AQAB",
"d":"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
"p":"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
"q":"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
"dp":"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
"dq":"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
"qi":"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;

/// RFC 7515 §A.3.1.
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// What both sign: header and payload of RFC 7515 §A.2.1.
const INPUT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

pub(in crate::acme) fn rfc7515_rsa() -> Key {
    Key::from_jwk(RSA).unwrap()
}

pub(in crate::acme) fn rfc7515_ec() -> Key {
    Key::from_jwk(EC).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn signs_as_the_rfc_does() {
    let signature = rfc7515_rsa().sign(INPUT.as_bytes()).unwrap();
    assert_eq!(
        BASE64_URL_SAFE_NO_PAD.encode(signature),
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    // ECDSA is random: the signature is one that the RFC's public key proves.
    let jwk: Jwk = serde_json::from_str(EC).unwrap();
    let mut public = vec![4];
    public.extend(decode(jwk.x.as_ref()).unwrap().iter());
    public.extend(decode(jwk.y.as_ref()).unwrap().iter());
    let signature = rfc7515_ec().sign(INPUT.as_bytes()).unwrap();
    assert_eq!(signature.len(), 64);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(INPUT.as_bytes(), &signature)
        .unwrap();
}

#[test]
fn shows_the_public_half_as_it_came() {
    for (text, members) in [(RSA, &["n", "e"][..]), (EC, &["x", "y", "crv"])] {
        let private: serde_json::Value = serde_json::from_str(text).unwrap();
        let public = Key::from_jwk(text).unwrap().jwk().unwrap();
        assert!(!public.contains(private.get("d").unwrap().as_str().unwrap()));
        let public: serde_json::Value = serde_json::from_str(&public).unwrap();
        for member in members {
            assert_eq!(public.get(member), private.get(member), "{member}");
        }
        assert_eq!(public.as_object().unwrap().len(), members.len() + 1);
    }
}

#[test]
fn every_form_of_a_key_is_the_same_key() {
    for key in [rfc7515_rsa(), rfc7515_ec(), Key::generate().unwrap()] {
        let pkcs8 = key.to_pkcs8().unwrap();
        let again = Key::from_pem(&pem("PRIVATE KEY", &pkcs8)).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert_eq!(again.to_pkcs8().unwrap(), pkcs8);
        assert_eq!(again.to_string(), key.to_string());
    }
}

#[test]
fn refuses_what_is_no_private_key_and_does_not_show_it() {
    let public = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let other_half = EC.replace("f83OJ3D2", "x_FEzRu9");
    let short = EC.replace("jpsQnnGQ", "jpsQnnG");
    for (text, error) in [
        (public, KeyError::Absent),
        (other_half.as_str(), KeyError::Unusable),
        (short.as_str(), KeyError::Unusable),
        (r#"{"kty":"oct","k":"AAAA"}"#, KeyError::Unusable),
        (
            r#"{"kty":"EC","crv":"Ed25519","d":"AAAA"}"#,
            KeyError::Unusable,
        ),
        ("{}", KeyError::Absent),
        ("secret", KeyError::Absent),
    ] {
        assert_eq!(Key::from_jwk(text).unwrap_err(), error, "{text}");
    }
    for (text, error) in [
        (String::new(), KeyError::Absent),
        (pem("CERTIFICATE", b"x"), KeyError::Absent),
        (pem("PRIVATE KEY", b"x"), KeyError::Unusable),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), KeyError::Encrypted),
    ] {
        assert_eq!(Key::from_pem(&text).unwrap_err(), error, "{text}");
    }
    assert_eq!(format!("{:?}", rfc7515_rsa()), "Key(RSA 2048)");
}
