//! The table against the library.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::{DnsClient, SERVICES};

/// A value that passes as what the key is.
fn sample(key: &str, folder: &std::path::Path) -> String {
    match key {
        "dns_ovh_endpoint" => "ovh-eu".to_owned(),
        "dns_cloudns_auth_id" => "1234".to_owned(),
        key if key.ends_with("_sandbox") || key.ends_with("_skip_deploy") => "no".to_owned(),
        key if key.ends_with("_global_key") => "true".to_owned(),
        key if key.ends_with("_context") => "4".to_owned(),
        key if key.ends_with("_environment") => "china".to_owned(),
        key if key.ends_with("_key_password") => String::new(),
        key if key.ends_with("_region") || key == "region" => "eu-central-1".to_owned(),
        key if key.ends_with("_url") || key.ends_with("_endpoint") => {
            "https://dns.example.net".to_owned()
        }
        key if key.ends_with("_key_file") => {
            let params = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
            let file = folder.join(key);
            write(&file, &params.serialize_pem());
            file.display().to_string()
        }
        // Some want base64, and of JSON.
        "dns_yandexcloud_iam_token" => "eyJpZCI6ICJhIn0=".to_owned(),
        _ => "c29tZXRoaW5nc2VjcmV0".to_owned(),
    }
}

fn write(file: &std::path::Path, text: &str) {
    std::fs::File::create(file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn credentials(
    service: &Service,
    folder: &std::path::Path,
    leave_out: Option<&str>,
) -> CredentialSource {
    let keys = service
        .needed
        .iter()
        .chain(service.optional)
        .filter(|key| Some(**key) != leave_out);
    let file = folder.join(service.name);
    let text: String = if service.name == "google" {
        let map: serde_json::Map<String, serde_json::Value> = keys
            .map(|key| (key.to_string(), sample(key, folder).into()))
            .collect();
        serde_json::Value::Object(map).to_string()
    } else {
        keys.map(|key| format!("{key} = {}\n", sample(key, folder)))
            .collect()
    };
    write(&file, &text);
    CredentialSource::File(file)
}

#[test]
fn every_service_of_the_table_is_made_from_its_keys_and_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let hosted = SERVICES
        .iter()
        .filter(|service| service.client == DnsClient::Library);
    for service in hosted {
        let made = Hosted::new(service, &credentials(service, folder.path(), None));
        let error = made.err().map(|error| error.to_string());
        assert_eq!(error, None, "{}", service.name);
        for &key in service.needed {
            let error = Hosted::new(service, &credentials(service, folder.path(), Some(key)));
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(key),
                "{} without {key}: {error}",
                service.name
            );
        }
    }
}

#[test]
fn the_table_has_each_name_once_and_each_key_with_one_meaning() {
    let mut names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SERVICES.len());
    // Every client of the library but its own rfc2136, for which we have one that verifies the answer.
    let hosted = SERVICES
        .iter()
        .filter(|service| service.client == DnsClient::Library);
    assert_eq!(hosted.count(), 72);
}

#[test]
fn no_secret_gets_into_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("duck");
    write(&file, "dns_duckdns_token = abc/defgh+12345\n");
    let service = Service::find("duckdns").unwrap();
    let keys = Keys::read(service, &CredentialSource::File(file)).unwrap();
    let told = keys.blot("GET https://x/?token=abc%2Fdefgh%2B12345&y (abc/defgh+12345)");
    assert_eq!(told, "GET https://x/?token=…&y (…)");
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().unwrap();
    for service in ["digitalocean", "google"] {
        let service = Service::find(service).unwrap();
        let source = credentials(service, folder.path(), None);
        let file = source.path().unwrap();
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Hosted::new(service, &source).unwrap_err().to_string();
            assert!(error.contains("hint: chmod 600 "), "{error}");
        }
    }
}

#[test]
fn cloudflares_global_key_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cf");
    write(
        &file,
        "dns_cloudflare_email = a@example.com\ndns_cloudflare_api_key = 0123456789abcdef\n",
    );
    let service = Service::find("cloudflare").unwrap();
    let error = Hosted::new(service, &CredentialSource::File(file)).unwrap_err();
    assert!(
        error.to_string().contains("dns_cloudflare_api_token = "),
        "{error}"
    );
    assert!(!error.to_string().contains("0123456789abcdef"));
}
