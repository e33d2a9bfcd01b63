//! Pairs that are wrong in one way each.

use rcgen::{BasicConstraints, IsCa, Issuer};

use super::*;
use crate::config::Challenge;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn domain() -> Host {
    Host::parse("example.test").unwrap()
}

/// A leaf of an intermediate of a root: (leaf, intermediate, root, key of the leaf), all PEM.
fn chain() -> (String, String, String, String) {
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, middle_key, key) = (key(), key(), key());
    let root_params = ca("root");
    let root = root_params.self_signed(&root_key).unwrap().pem();
    let root_issuer = Issuer::new(root_params, root_key);
    let middle_params = ca("middle");
    let middle = middle_params
        .signed_by(&middle_key, &root_issuer)
        .unwrap()
        .pem();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let leaf = leaf(NOW).signed_by(&key, &middle_issuer).unwrap().pem();
    (leaf, middle, root, key.serialize_pem())
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn leaf(from: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names_of(&domain())
        .iter()
        .map(|name| san(name).unwrap())
        .collect();
    params.serial_number = Some(vec![0x00, 0xab, 0x01].into());
    params.not_before = date(from).unwrap();
    params.not_after = date(from.plus(Duration::from_secs(90 * 86400))).unwrap();
    params
}

fn error(chain: &str, key: &str) -> BundleError {
    Bundle::parse(chain.as_bytes(), key.as_bytes()).unwrap_err()
}

#[test]
fn takes_a_chain_in_order_and_reads_its_facts() {
    let (leaf, middle, root, key) = chain();
    for pem in [
        leaf.clone(),
        format!("{leaf}{middle}"),
        format!("# note\n{leaf}\n{middle}\n{root}"),
    ] {
        let bundle = Bundle::parse(pem.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(bundle.names(), names_of(&domain()));
        assert_eq!(bundle.serial(), "ab01");
        assert_eq!(bundle.issuer(), "CN=middle");
        assert_eq!(bundle.not_before(), NOW);
        bundle.check_dates(NOW).unwrap();
        bundle.check_names(&names_of(&domain())).unwrap();
    }
}

#[test]
fn refuses_a_key_of_another_certificate() {
    let (leaf, middle, ..) = chain();
    let other = key().serialize_pem();
    assert!(matches!(
        error(&format!("{leaf}{middle}"), &other),
        BundleError::WrongKey(_)
    ));
}

#[test]
fn refuses_a_chain_out_of_order() {
    let (leaf, middle, root, key) = chain();
    let wrong = error(&format!("{middle}{leaf}"), &key);
    assert!(
        matches!(&wrong, BundleError::CaFirst(name) if name == "CN=middle"),
        "{wrong}"
    );
    let wrong = error(&format!("{leaf}{root}{middle}"), &key);
    assert!(
        matches!(wrong, BundleError::Order { position: 1, .. }),
        "{wrong}"
    );
    assert!(
        wrong
            .to_string()
            .ends_with("hint: order the file leaf first, then each issuer, without the root")
    );
}

#[test]
fn refuses_what_is_no_certificate_or_no_key() {
    let (leaf, _, _, key) = chain();
    assert!(matches!(error("", &key), BundleError::NoCertificate));
    assert!(matches!(error(&key, &key), BundleError::NoCertificate));
    assert!(matches!(error(&leaf, &leaf), BundleError::KeyPem(_)));
    let cut: String = leaf.chars().take(leaf.len() / 2).collect();
    assert!(matches!(
        error(&cut, &key),
        BundleError::NoCertificate | BundleError::ChainPem(_)
    ));
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        error(damaged, &key),
        BundleError::Damaged { position: 1, .. }
    ));
}

#[test]
fn an_error_never_shows_the_key() {
    let (leaf, ..) = chain();
    let secret = "-----BEGIN PRIVATE KEY-----\nU0VDUkVU!!\n-----END PRIVATE KEY-----\n";
    assert!(!error(&leaf, secret).to_string().contains("U0VDUkVU"));
}

#[test]
fn judges_dates_by_the_callers_clock() {
    let (leaf, _, _, key) = chain();
    let bundle = Bundle::parse(leaf.as_bytes(), key.as_bytes()).unwrap();
    assert!(bundle.check_dates(UnixTime(NOW.0 - 299)).is_ok());
    assert!(matches!(
        bundle.check_dates(UnixTime(NOW.0 - 301)),
        Err(BundleError::NotYet(_))
    ));
    assert!(matches!(
        bundle.check_dates(UnixTime(NOW.0 + 90 * 86400)),
        Err(BundleError::Expired(_))
    ));
}

#[test]
fn names_must_all_be_there() {
    let (leaf, _, _, key) = chain();
    let bundle = Bundle::parse(leaf.as_bytes(), key.as_bytes()).unwrap();
    let other = Host::parse("other.test").unwrap();
    let error = bundle
        .check_names(&names_of(&other))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the certificate does not cover `other.test`; it covers: example.test, *.example.test"
    );
}

#[test]
fn the_placeholder_covers_every_name_and_says_that_it_is_one() {
    let served = placeholder(&Lineage::base(&domain(), Challenge::Dns01), NOW).unwrap();
    assert!(served.placeholder);
    assert!(served.covers(&Host::parse("a.example.test").unwrap()) && served.covers(&domain()));
    assert_eq!(
        (served.lineage.as_str(), served.generation),
        ("example.test", 0)
    );
}

#[test]
fn a_leaf_alone_will_do_if_a_root_that_is_named_signed_it() {
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(params, key()).unwrap()
    };
    let (own, other) = (ca("private root"), ca("private root"));
    let leaf_key = key();
    let alone = leaf(NOW).signed_by(&leaf_key, &own).unwrap().pem();
    let pem = leaf_key.serialize_pem();
    let bundle = Bundle::parse(alone.as_bytes(), pem.as_bytes()).unwrap();
    let (own, other) = (own.der().clone(), other.der().clone());
    assert!(bundle.check_chain(&[other.clone(), own]).is_ok());
    // Another root of the same name did not.
    for roots in [vec![], vec![other]] {
        let refused = bundle.check_chain(&roots);
        assert!(matches!(refused, Err(BundleError::NoIssuer)));
    }
    assert!(!bundle.lacks_issuer(), "a private CA may do so");

    // Below an intermediate the root alone is not enough.
    let (leaf, _, root, key) = chain();
    let bundle = Bundle::parse(leaf.as_bytes(), key.as_bytes()).unwrap();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    assert!(bundle.check_chain(&[root]).is_err());
}

#[test]
fn a_leaf_alone_with_stamps_of_public_logs_lacks_its_issuer() {
    let issuer_key = key();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&issuer_key).unwrap().pem();
    let issuer = Issuer::new(params, issuer_key);
    let (leaf_key, mut params) = (key(), leaf(NOW));
    // An empty list of stamps (RFC 6962 §3.3): an OCTET STRING of two bytes of length.
    let stamps = vec![4, 2, 0, 0];
    let list = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&list, stamps)];
    let alone = params.signed_by(&leaf_key, &issuer).unwrap().pem();
    let pem = leaf_key.serialize_pem();
    let parse = |chain: &str| Bundle::parse(chain.as_bytes(), pem.as_bytes()).unwrap();
    assert!(parse(&alone).lacks_issuer());
    assert!(!parse(&(alone + &root)).lacks_issuer());
}
