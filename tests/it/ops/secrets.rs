//! Nothing that a run leaves behind for others to read holds a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::main_line::{config, credentials};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::portico::{Portico, portico_cmd};
use crate::support::wait;

/// What must not be found, and where it came from.
struct Secret {
    what: String,
    text: String,
}

fn all_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            all_files(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// Whether the file may hold a secret: a key, an account or the credentials themselves.
fn is_secret_file(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    ["privkey.pem", "key.pem", "account.json", "dns.ini"].contains(&name.as_str())
}

/// The lines of a PEM body, or the base64 of an account's key, long enough to be told from chance.
fn secrets(folder: &Path) -> Vec<Secret> {
    let mut files = Vec::new();
    all_files(folder, &mut files);
    let mut found = vec![Secret {
        what: "the TSIG secret".to_owned(),
        text: KEY_SECRET.to_owned(),
    }];
    for path in files.iter().filter(|path| is_secret_file(path)) {
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| c.is_whitespace() || "\",:".contains(c));
        for word in words.filter(|word| word.len() >= 40 && !word.starts_with('/')) {
            found.push(Secret {
                what: path.display().to_string(),
                text: word.to_owned(),
            });
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_run_at_the_loudest_level_shows_no_secret_anywhere() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let text = config(&pebble, &knot, "http://127.0.0.1:4")
        .replace("[acme]\n", "[acme]\non_event = [\"{dir}/hook\"]\n")
        .replace("[log]\n", "[log]\nlevel = \"trace\"\n");
    let builder = Portico::with(&text);
    let folder = builder.folder().to_owned();
    credentials(&folder.join("dns.ini"), knot.address());
    let script = format!("#!/bin/sh\n(env; cat) >> {}/events\n", folder.display());
    fs::write(folder.join("hook"), script).unwrap();
    fs::set_permissions(folder.join("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    let portico = builder.start_unready();
    let file = portico.config_file().display().to_string();
    let mut said = Vec::new();
    let mut run = |verb: &[&str]| {
        let mut args = vec!["cert"];
        args.extend_from_slice(verb);
        args.extend_from_slice(&["--config", &file]);
        let output = portico_cmd(&args);
        let what = format!("portico {}", args.join(" "));
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        said.push((what, String::from_utf8_lossy(&all).into_owned()));
        output.status.code()
    };
    assert_eq!(run(&["issue"]), Some(0));
    assert_eq!(run(&["renew", "--force"]), Some(0));
    run(&["status", "--json"]);
    run(&["check"]);
    wait::until("the proxy serves", || {
        (portico.admin("/readyz").0 == 200).then_some(())
    });
    // And what goes wrong: credentials that the server refuses, and a file that is no ini file at all.
    let right = fs::read_to_string(folder.join("dns.ini")).unwrap();
    let wrong = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZyE=";
    fs::write(folder.join("dns.ini"), right.replace(KEY_SECRET, wrong)).unwrap();
    assert_eq!(run(&["renew", "--force"]), Some(2));
    fs::write(
        folder.join("dns.ini"),
        format!("dns_rfc2136_secret {KEY_SECRET}\n"),
    )
    .unwrap();
    assert_eq!(run(&["renew", "--force"]), Some(2));
    fs::write(folder.join("dns.ini"), right).unwrap();

    for path in ["/status", "/metrics", "/readyz"] {
        said.push((path.to_owned(), portico.admin(path).1));
    }
    said.push(("the proxy".to_owned(), portico.stdout() + &portico.stderr()));
    let mut files = Vec::new();
    all_files(&folder, &mut files);
    for path in files.iter().filter(|path| !is_secret_file(path)) {
        let content = fs::read(path).unwrap();
        said.push((
            path.display().to_string(),
            String::from_utf8_lossy(&content).into_owned(),
        ));
    }
    let mut secrets = secrets(&folder);
    secrets.push(Secret {
        what: "the wrong TSIG secret".to_owned(),
        text: wrong.to_owned(),
    });
    // The controls: there is something to look for, and the places to look at are full.
    assert!(secrets.len() >= 8, "{} secrets", secrets.len());
    let kinds = ["privkey.pem", "account.json"];
    assert!(
        kinds
            .iter()
            .all(|kind| secrets.iter().any(|secret| secret.what.ends_with(kind)))
    );
    let place = |name: &str| {
        said.iter()
            .find(|(what, _)| what.ends_with(name))
            .map(|(_, text)| text.as_str())
    };
    assert!(place("events").is_some_and(|text| text.contains("\"event\":\"renewed\"")));
    assert!(
        place("cert renew --force").is_none()
            && said.iter().any(|(_, text)| text.contains("BADSIG"))
    );
    assert!(
        said.iter()
            .any(|(_, text)| text.contains("TRACE") || text.contains("DEBUG"))
    );
    for (place, text) in &said {
        for secret in &secrets {
            assert!(
                !text.contains(&secret.text),
                "{} is in {place}",
                secret.what
            );
        }
        assert!(!text.contains("PRIVATE KEY"), "{place}");
    }
}
