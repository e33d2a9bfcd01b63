//! What the documents say is what the program does.

use portico::config;

use crate::support::portico::portico_cmd;

const README: &str = include_str!("../../README.md");

#[test]
fn readme_lists_every_key_with_its_default() {
    let table = README
        .split_once("<!-- keys: begin -->")
        .and_then(|(_, rest)| rest.split_once("<!-- keys: end -->"))
        .map(|(table, _)| table.trim())
        .expect("README.md has its table of keys");
    assert_eq!(table, config::reference_markdown().trim());
}

#[test]
fn readme_lists_every_provider_as_the_program_does() {
    let table = README
        .split_once("<!-- providers: begin -->")
        .and_then(|(_, rest)| rest.split_once("<!-- providers: end -->"))
        .map(|(table, _)| table.trim())
        .expect("README.md has its table of providers");
    assert_eq!(table, config::Service::markdown().trim());
    let told = portico_cmd(&["dns", "providers"]);
    assert!(told.status.success());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for service in config::SERVICES {
        let line = format!("\n{:<14} {}\n", service.name, service.tested());
        assert!(told.contains(&line), "{} in:\n{told}", service.name);
        for key in service.needed {
            assert!(told.contains(key), "{key} in:\n{told}");
        }
    }
}

#[test]
fn readme_shows_the_middleware_as_it_is_shipped_and_tested() {
    let shown = README
        .split_once("<!-- middleware: begin -->\n```python\n")
        .and_then(|(_, rest)| rest.split_once("```\n<!-- middleware: end -->"))
        .map(|(shown, _)| shown)
        .expect("README.md shows the middleware");
    assert_eq!(shown, include_str!("../django/portico_tenant.py"));
}

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let help = portico_cmd(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success());
    for word in [
        "run",
        "check",
        "cert",
        "dns",
        "demo",
        "version",
        "Exit codes:",
    ] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    let version = portico_cmd(&["version"]);
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        concat!("portico ", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(portico_cmd(&["no-such-verb"]).status.code(), Some(2));
}

#[test]
fn samples_that_need_no_more_pass_the_check() {
    for sample in ["minimal.toml", "portico.toml", "django.toml"] {
        let path = format!("{}/config/{sample}", env!("CARGO_MANIFEST_DIR"));
        let check = portico_cmd(&["check", "--config", &path]);
        let errors = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(0), "{sample}: {errors}");
    }
    let bad = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(bad.path(), "domains = []\nfoo = 1\n").expect("it can be written");
    let check = portico_cmd(&["check", "--config", &bad.path().display().to_string()]);
    assert_eq!(check.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(errors.contains(":2: foo: unknown key"), "{errors}");
}
