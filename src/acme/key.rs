//! Keys that sign for us at a CA: those of accounts, and that of a certificate that is to be revoked.
//!
//! Reads every form in which ACME clients keep such keys (PKCS#8, SEC 1, PKCS#1, JWK) and writes one, PKCS#8. Knows ECDSA
//! on the curves P-256, P-384 and P-521 and RSA from 2048 bits, which is what RFC 8555 servers take. Never shows what is
//! in a key: neither errors nor `Debug` do. Makes P-256 keys only.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, rsa};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use zeroize::Zeroizing;

/// Why a key cannot be used; nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum KeyError {
    /// No private key at all.
    #[error("there is no private key in it")]
    Absent,
    /// A passphrase is needed.
    #[error("the key is encrypted, and nobody could type its passphrase at a renewal")]
    Encrypted,
    /// Damaged, or of a kind that CAs do not take.
    #[error(
        "the key is damaged or of a kind that CAs do not take (they take EC P-256, P-384, P-521 and RSA from 2048 bits)"
    )]
    Unusable,
    /// No randomness, no memory: nothing more is known.
    #[error("the crypto library failed")]
    Crypto,
}

/// A private key with which requests to a CA are signed.
pub(super) enum Key {
    /// ECDSA.
    Ec(EcdsaKeyPair, &'static Curve),
    /// RSA with PKCS#1 v1.5 padding and SHA-256.
    Rsa(Box<RsaKeyPair>),
}

/// A curve and how it is called (RFC 7518 §3.1 and §6.2.1.1).
pub(super) struct Curve {
    name: &'static str,
    algorithm: &'static str,
    signing: &'static EcdsaSigningAlgorithm,
    /// Bytes of a coordinate and of a private key.
    size: usize,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        algorithm: "ES256",
        signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
        size: 32,
    },
    Curve {
        name: "P-384",
        algorithm: "ES384",
        signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
        size: 48,
    },
    Curve {
        name: "P-521",
        algorithm: "ES512",
        signing: &ECDSA_P521_SHA512_FIXED_SIGNING,
        size: 66,
    },
];

impl Key {
    /// A new P-256 key.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let [curve, ..] = &CURVES;
        let pair = EcdsaKeyPair::generate(curve.signing).map_err(|_no_more| KeyError::Crypto)?;
        Ok(Self::Ec(pair, curve))
    }

    /// Reads PKCS#8 in DER.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let ec = CURVES.iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing, der).ok()?;
            Some(Self::Ec(pair, curve))
        });
        ec.map_or_else(|| Self::rsa(RsaKeyPair::from_pkcs8(der).ok()), Ok)
    }

    /// Reads the first private key of a PEM text.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
        match key.map_err(|_shows_key| KeyError::Absent)? {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => {
                Self::rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok())
            }
            PrivateKeyDer::Sec1(der) => Self::from_sec1(der.secret_sec1_der()),
            _ => Err(KeyError::Unusable),
        }
    }

    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let ec = CURVES.iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_private_key_der(curve.signing, der).ok()?;
            Some(Self::Ec(pair, curve))
        });
        ec.ok_or(KeyError::Unusable)
    }

    /// Reads a private key as JSON (RFC 7517, RFC 7518 §6), as certbot keeps it.
    pub(super) fn from_jwk(text: &str) -> Result<Self, KeyError> {
        // The parser's error could show a part of the key.
        let jwk: Jwk = serde_json::from_str(text).map_err(|_shows_key| KeyError::Absent)?;
        match jwk.kty.as_str() {
            "EC" => jwk.ec(),
            "RSA" => jwk.rsa(),
            _ => Err(KeyError::Unusable),
        }
    }

    fn rsa(pair: Option<RsaKeyPair>) -> Result<Self, KeyError> {
        let pair = pair.filter(|pair| pair.public_modulus_len() >= 256);
        pair.map(|pair| Self::Rsa(Box::new(pair)))
            .ok_or(KeyError::Unusable)
    }

    /// The key in PKCS#8, DER.
    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = match self {
            Self::Ec(pair, _) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let der: Result<Pkcs8V1Der<'static>, _> = pair.as_der();
                der.map(|der| der.as_ref().to_vec())
            }
        };
        der.map(Zeroizing::new).map_err(|_no_more| KeyError::Crypto)
    }

    /// `alg` of a JWS (RFC 7518 §3.1).
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_, curve) => curve.algorithm,
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public half as JSON, with the members and in the order that RFC 7638 §3.2 wants for a thumbprint.
    pub(super) fn jwk(&self) -> Result<String, KeyError> {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair, curve) => {
                // Uncompressed: a byte 4, then both coordinates.
                let point = pair.public_key().as_ref().split_first();
                let point = point.and_then(|(_, point)| point.split_at_checked(curve.size));
                let (x, y) = point.ok_or(KeyError::Crypto)?;
                let (name, x, y) = (curve.name, text(x), text(y));
                Ok(format!(
                    r#"{{"crv":"{name}","kty":"EC","x":"{x}","y":"{y}"}}"#
                ))
            }
            Self::Rsa(pair) => {
                let public: &rsa::PublicKey = pair.public_key();
                let (_, public) =
                    RSAPublicKey::from_der(public.as_ref()).map_err(|_no_more| KeyError::Crypto)?;
                let [e, n] = [public.exponent, public.modulus].map(|part| text(unsigned(part)));
                Ok(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
            }
        }
    }

    /// The SHA-256 of the public half, base64url (RFC 7638).
    pub(super) fn thumbprint(&self) -> Result<String, KeyError> {
        let digest = digest::digest(&digest::SHA256, self.jwk()?.as_bytes());
        Ok(BASE64_URL_SAFE_NO_PAD.encode(digest))
    }

    /// Signs as a JWS does (RFC 7518 §3.3 and §3.4).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ec(pair, _) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
            }
        };
        signature.map_err(|_no_more| KeyError::Crypto)
    }
}

/// The kind, for people.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec(_, curve) => write!(f, "EC {}", curve.name),
            Self::Rsa(pair) => write!(f, "RSA {}", pair.public_modulus_len() * 8),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Members of a private key as JSON (RFC 7518 §6.2 and §6.3).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<Part>,
    y: Option<Part>,
    n: Option<Part>,
    e: Option<Part>,
    d: Option<Part>,
    p: Option<Part>,
    q: Option<Part>,
    dp: Option<Part>,
    dq: Option<Part>,
    qi: Option<Part>,
}

/// A base64url text that is wiped after use.
struct Part(Zeroizing<String>);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Jwk {
    fn ec(&self) -> Result<Key, KeyError> {
        let curve = CURVES
            .iter()
            .find(|curve| self.crv.as_deref() == Some(curve.name));
        let curve = curve.ok_or(KeyError::Unusable)?;
        let d = decode(self.d.as_ref())?;
        let mut secret = Zeroizing::new(Vec::with_capacity(curve.size));
        pad(&mut secret, &d, curve.size)?;
        let mut point = vec![4];
        for part in [&self.x, &self.y] {
            pad(&mut point, &decode(part.as_ref())?, curve.size)?;
        }
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &secret, &point);
        pair.map(|pair| Key::Ec(pair, curve))
            .map_err(|_no_more| KeyError::Unusable)
    }

    /// Through `RSAPrivateKey` of RFC 8017 §A.1.2.
    fn rsa(&self) -> Result<Key, KeyError> {
        let parts = [
            &self.n, &self.e, &self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi,
        ];
        let mut content = Zeroizing::new(Vec::new());
        integer(&mut content, &[0])?;
        for part in parts {
            integer(&mut content, &decode(part.as_ref())?)?;
        }
        let mut der = Zeroizing::new(Vec::with_capacity(content.len() + 4));
        header(&mut der, SEQUENCE, content.len())?;
        der.extend_from_slice(&content);
        Key::rsa(RsaKeyPair::from_der(&der).ok())
    }
}

fn decode(part: Option<&Part>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Without it, it is the public half.
    let part = part.ok_or(KeyError::Absent)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part.0.trim_end_matches('='));
    bytes
        .map(Zeroizing::new)
        .map_err(|_shows_key| KeyError::Unusable)
}

/// Appends a number with zeros before it up to `size` bytes.
fn pad(to: &mut Vec<u8>, number: &[u8], size: usize) -> Result<(), KeyError> {
    let number = unsigned(number);
    let zeros = size.checked_sub(number.len()).ok_or(KeyError::Unusable)?;
    to.resize(to.len() + zeros, 0);
    to.extend_from_slice(number);
    Ok(())
}

/// A number without zeros before it.
fn unsigned(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// Appends a DER integer that is not negative.
fn integer(to: &mut Vec<u8>, number: &[u8]) -> Result<(), KeyError> {
    let number = unsigned(number);
    let sign = number.first().is_none_or(|first| *first >= 0x80);
    header(to, INTEGER, number.len() + usize::from(sign))?;
    if sign {
        to.push(0);
    }
    to.extend_from_slice(number);
    Ok(())
}

/// Appends tag and length in DER.
fn header(to: &mut Vec<u8>, tag: u8, length: usize) -> Result<(), KeyError> {
    let length = u16::try_from(length).map_err(|_too_long| KeyError::Unusable)?;
    let [high, low] = length.to_be_bytes();
    to.push(tag);
    match (high, low) {
        (0, 0..=0x7f) => to.push(low),
        (0, _) => to.extend([0x81, low]),
        _ => to.extend([0x82, high, low]),
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
