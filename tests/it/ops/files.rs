//! `certs = "files"`: a pair that another program renews, as certbot keeps it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{NAMES, stderr};
use crate::main_line::served_serial;
use crate::support::pebble::Pebble;
use crate::support::pki::{Ca, Leaf};
use crate::support::portico::{Portico, portico_cmd};
use crate::support::{port, program, wait};

const CONFIG: &str = r#"domains = ["example.test"]
certs = "files"
state_dir = "{dir}/state"
[listen]
https = ["{https}"]
http = ["{http}"]
admin = "{admin}"
[files]
fullchain = "{dir}/live/{domain}/fullchain.pem"
key = "{dir}/live/{domain}/privkey.pem"
[upstream]
servers = ["http://127.0.0.1:4"]
[log]
access = "off"
"#;

/// Puts a pair into `archive/` and points the links of `live/` to it, one after the other, as certbot does.
fn renew(folder: &Path, number: u32, leaf: &Leaf) {
    let archive = folder.join(format!("archive/{number}"));
    leaf.write(&archive);
    let live = folder.join("live/example.test");
    fs::create_dir_all(&live).unwrap();
    for name in ["fullchain.pem", "privkey.pem"] {
        let _first = fs::remove_file(live.join(name));
        symlink(archive.join(name), live.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certbots_folder_is_watched_and_a_bad_pair_keeps_the_last_good_one_and_alarms() {
    let ca = Ca::new();
    let builder = Portico::with(CONFIG);
    let folder = builder.folder().to_owned();
    renew(&folder, 1, &ca.leaf(&NAMES));
    let mut portico = builder.start();
    let trust = ca.trust();
    let first = served_serial(&portico, &trust).await;

    renew(&folder, 2, &ca.leaf(&NAMES));
    let serial = |portico: &Portico| {
        let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).unwrap();
        status["certificates"][0]["serial"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let before = serial(&portico);
    wait::until("the renewed pair is in service", || {
        (serial(&portico) != before).then_some(())
    });
    let second = served_serial(&portico, &trust).await;
    assert_ne!(first, second);
    assert!(
        !portico.stderr().contains("cannot be loaded"),
        "no alarm while the links were switched"
    );
    assert_eq!(portico.metric("portico_cert_load_failed"), 0.0);

    // The chain of one pair with the key of another.
    let (one, other) = (ca.leaf(&NAMES), ca.leaf(&NAMES));
    let mixed = Leaf {
        key: other.key.clone(),
        ..one
    };
    renew(&folder, 3, &mixed);
    wait::until("the bad pair is noticed", || {
        (portico.metric("portico_cert_load_failed") == 1.0).then_some(())
    });
    assert_eq!(
        served_serial(&portico, &trust).await,
        second,
        "the last good one stays"
    );
    assert_eq!(portico.admin("/readyz").0, 200);
    assert!(portico.metric("portico_cert_level") >= 1.0);
    let (_, status) = portico.admin("/status");
    assert!(status.contains("private key does not belong"), "{status}");
    portico.wait_log("the one in service stays");

    renew(&folder, 4, &other);
    wait::until("the good pair ends the alarm", || {
        (portico.metric("portico_cert_load_failed") == 0.0).then_some(())
    });
    assert_ne!(served_serial(&portico, &trust).await, second);

    // A pair for another site, and files that are gone.
    let now = served_serial(&portico, &trust).await;
    renew(&folder, 5, &ca.leaf(&["other.test"]));
    wait::until("the foreign pair is noticed", || {
        (portico.metric("portico_cert_load_failed") == 1.0).then_some(())
    });
    fs::remove_dir_all(folder.join("live")).unwrap();
    portico.wait_log("No such file");
    assert_eq!(served_serial(&portico, &trust).await, now);
}

/// Runs certbot with its folders in `folder`.
fn certbot(folder: &Path, pebble: &Pebble, verb: &[&str]) {
    let path = |name: &str| folder.join(name).display().to_string();
    let done = Command::new(program::system("certbot"))
        .args(verb)
        .args(["--non-interactive", "--server", &pebble.directory_url()])
        .args(["--config-dir", &path(""), "--work-dir", &path("work")])
        .args(["--logs-dir", &path("logs")])
        .env("REQUESTS_CA_BUNDLE", pebble.ca_file())
        .output()
        .unwrap();
    assert!(done.status.success(), "{verb:?}: {done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_by_certbot_itself_is_served_without_a_restart() {
    // How the names are proven is certbot's business; here the CA believes it.
    let pebble = Pebble::asking(port::local(port::free()))
        .always_valid()
        .start();
    let builder = Portico::with(CONFIG);
    let folder = builder.folder().to_owned();
    let order = [
        "certonly",
        "--agree-tos",
        "--register-unsafely-without-email",
        "--manual",
        "--preferred-challenges",
        "dns",
        "--manual-auth-hook",
        "true",
        "--manual-cleanup-hook",
        "true",
        "-d",
        "example.test",
        "-d",
        "*.example.test",
    ];
    certbot(&folder, &pebble, &order);
    let link = folder.join("live/example.test/fullchain.pem");
    let target = fs::read_link(&link).expect("certbot makes links");
    assert!(
        target.ends_with("archive/example.test/fullchain1.pem"),
        "{target:?}"
    );

    let portico = builder.start();
    let trust = pebble.root().await;
    let first = served_serial(&portico, &trust).await;
    let process = portico.pid();
    certbot(
        &folder,
        &pebble,
        &["renew", "--force-renewal", "--no-random-sleep-on-renew"],
    );
    assert!(fs::read_link(&link).unwrap().ends_with("fullchain2.pem"));
    wait::until_async("the renewed pair is in service", async || {
        (served_serial(&portico, &trust).await != first).then_some(())
    })
    .await;
    assert_eq!(portico.pid(), process);
    assert_eq!(portico.metric("portico_cert_load_failed"), 0.0);
    assert!(
        !portico.stderr().contains("cannot be loaded"),
        "{}",
        portico.stderr()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_alone_that_a_private_root_signed_is_served_without_an_alarm() {
    let ca = Ca::new();
    let leaf = ca.leaf(&NAMES);
    let alone = Leaf {
        chain: leaf.certificate.clone(),
        ..leaf
    };
    let builder = Portico::with(CONFIG);
    renew(builder.folder(), 1, &alone);
    let portico = builder.start();
    served_serial(&portico, &ca.trust()).await;
    assert_eq!(portico.metric("portico_cert_level"), 0.0);

    // An import is taken the same way.
    let desk = super::Desk::new(&super::TIMER.replace("[acme]", "[acme]\nrun = \"off\""));
    desk.import(&alone);
    assert_eq!(desk.cert(&["check"]).status.code(), Some(0));
}

#[test]
fn renewing_what_another_program_renews_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    let text = crate::support::portico::fill(CONFIG, folder.path());
    fs::write(&file, text).unwrap();
    renew(folder.path(), 1, &Ca::new().leaf(&NAMES));
    let file = file.display().to_string();
    let renewed = portico_cmd(&["cert", "reconcile", "--config", &file]);
    assert_eq!(renewed.status.code(), Some(2));
    assert!(
        stderr(&renewed).contains("hint: renew there"),
        "{renewed:?}"
    );
    let status = portico_cmd(&["cert", "status", "--config", &file]);
    let line = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        line.contains("89 days left") && line.contains("renewed by another program"),
        "{line}"
    );
    assert_eq!(
        portico_cmd(&["cert", "check", "--config", &file])
            .status
            .code(),
        Some(0)
    );
}
