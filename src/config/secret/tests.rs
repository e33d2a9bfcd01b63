//! Credential files: their lines, their modes, and what is never printed.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    File::create(&path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn parse(text: &str) -> Result<Credentials, SecretError> {
    Credentials::parse(Path::new("dns.ini"), text)
}

#[test]
fn reads_what_certbot_reads() {
    let credentials = parse(
        "\u{feff}# a comment\r\n; another\r\n\r\n  dns_digitalocean_token =  abc=def#1  \r\nquoted = \"a # b\" # c\n\
         plain = value # a comment\nsingle = 'x y'\nempty =\nlast = \"open",
    )
    .unwrap();
    let get = |key: &str| credentials.get(key).map(Secret::expose);
    assert_eq!(get("dns_digitalocean_token"), Some("abc=def#1"));
    assert_eq!(get("quoted"), Some("a # b"));
    assert_eq!(get("plain"), Some("value"));
    assert_eq!(get("single"), Some("x y"));
    assert_eq!(get("empty"), Some(""));
    assert_eq!(get("last"), Some("\"open"));
    assert_eq!(get("absent"), None);
}

#[test]
fn says_which_key_is_missing() {
    let credentials = parse("token =\n").unwrap();
    let report = "the key `token` is missing or empty: `dns.ini`\n  hint: add `token = …`, as in `config/credentials.example`";
    assert_eq!(
        credentials.require("token").unwrap_err().to_string(),
        report
    );
}

#[test]
fn bad_lines_are_named_but_not_shown() {
    for (text, line, message) in [
        ("a = 1\nhunter2\n", 2, "not `key = value`"),
        ("= hunter2\n", 1, "not `key = value`"),
        ("my key = hunter2\n", 1, "not `key = value`"),
        ("a = 1\n\na = hunter2\n", 3, "the key was there before"),
    ] {
        let report = parse(text).unwrap_err().to_string();
        let hint = "hint: write one `key = value` a line, as in `config/credentials.example`";
        assert_eq!(report, format!("dns.ini:{line}: {message}\n  {hint}"));
    }
}

#[test]
fn refuses_files_that_others_may_read() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let path = file(directory.path(), "it's open", "token = hunter2\n", mode);
        let report = Credentials::read_with(&path, None).unwrap_err().to_string();
        let shown = path.display();
        let command = shown.to_string().replace('\'', r"'\''");
        assert_eq!(
            report,
            format!(
                "the credentials can be read by others (mode {mode:04o}): `{shown}`\n  hint: chmod 600 '{command}'"
            )
        );
    }
    for mode in [0o600, 0o400] {
        let path = file(directory.path(), "closed", "token = hunter2\n", mode);
        assert_eq!(
            Credentials::read_with(&path, None)
                .unwrap()
                .get("token")
                .map(Secret::expose),
            Some("hunter2")
        );
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn takes_any_mode_from_the_credentials_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "dns", "token = hunter2\n", 0o440);
    let inside = Some(directory.path());
    assert!(
        CredentialSource::Systemd("dns".to_owned())
            .read_with(inside)
            .is_ok()
    );
    assert!(
        CredentialSource::File(path.clone())
            .read_with(inside)
            .is_ok()
    );
    assert!(CredentialSource::File(path).read_with(None).is_err());
    let other = tempfile::tempdir().unwrap();
    let outside = file(other.path(), "dns", "token = hunter2\n", 0o440);
    assert!(
        CredentialSource::File(outside.clone())
            .read_with(inside)
            .is_err()
    );
    let around = directory
        .path()
        .join("..")
        .join(other.path().file_name().unwrap())
        .join("dns");
    assert!(CredentialSource::File(around).read_with(inside).is_err());
}

#[test]
fn systemd_credentials_need_systemd() {
    let report = CredentialSource::Systemd("dns".to_owned())
        .read_with(None)
        .unwrap_err()
        .to_string();
    let hint = "hint: start it as a unit with `LoadCredential=dns:PATH`, or name a file in `acme.dns.credentials`";
    assert_eq!(
        report,
        format!("`CREDENTIALS_DIRECTORY` is not set: `credential:dns`\n  {hint}")
    );
}

#[test]
fn only_small_regular_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let large = file(directory.path(), "large", &"#".repeat(1 << 20), 0o600);
    for path in [directory.path(), Path::new("/dev/zero"), &large] {
        let error = Credentials::read_with(path, None).unwrap_err();
        assert!(
            matches!(error, SecretError::Kind { .. } | SecretError::Mode { .. }),
            "{error}"
        );
    }
    let missing = directory.path().join("missing");
    assert!(matches!(
        Credentials::read_with(&missing, None),
        Err(SecretError::Read { .. })
    ));
}

#[test]
fn secrets_are_not_printed() {
    let credentials = parse("token = hunter2\n").unwrap();
    assert_eq!(format!("{:?}", credentials.get("token")), "Some(Secret(…))");
    assert!(!format!("{credentials:?}").contains("hunter2"));
}

#[test]
fn prints_as_it_stands_in_the_file() {
    for text in ["credential:dns-token", "/etc/portico/credentials"] {
        assert_eq!(
            CredentialSource::parse(text, Path::new(""))
                .unwrap()
                .to_string(),
            text
        );
    }
    for text in [
        "credential:",
        "credential:..",
        "credential:a/b",
        "credential:a b",
        "",
    ] {
        assert!(
            CredentialSource::parse(text, Path::new("")).is_err(),
            "{text}"
        );
    }
}
