//! Pages as people see them: Chromium renders them at the size of a phone and of a desktop.
//!
//! The pictures stay in `target/pages`, to be looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::child::Child;
use crate::support::program::{support_file, system};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

const PHONE: (u32, u32) = (390, 844);
const DESKTOP: (u32, u32) = (1280, 800);

/// Takes a picture of `https://HOST:PORT/` and measures it.
fn look(site: &Site, host: &str, name: &str, (width, height): (u32, u32)) -> Value {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&folder).expect("the folder of pictures");
    let picture: PathBuf = folder.join(format!("{name}-{width}.png"));
    drop(fs::remove_file(&picture));
    let profile = tempfile::tempdir().expect("a temporary folder");
    let port = site.portico.https_port();
    let mut command = Command::new(system("chromium"));
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--ignore-certificate-errors",
        ])
        .arg("--force-device-scale-factor=1")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--host-resolver-rules=MAP {host} 127.0.0.1"))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("https://{host}:{port}/"));
    let mut browser = Child::spawn("chromium", command).farewell(Signal::TERM);
    let status = browser.wait_exit();
    assert!(status.success() && picture.exists(), "{}", browser.log());
    let measured = Command::new("python3")
        .arg(support_file("picture.py"))
        .arg(&picture)
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&measured.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!(
            "{error}: {text}{}",
            String::from_utf8_lossy(&measured.stderr)
        )
    })
}

/// Words are there, nothing is cut at the sides, all of it fits on the first screen.
fn is_readable(site: &Site, host: &str, name: &str) {
    for (width, height) in [PHONE, DESKTOP] {
        let seen = look(site, host, name, (width, height));
        let number = |key: &str| seen[key].as_u64().unwrap_or_default();
        let case = format!("{name} at {width}: {seen}");
        assert_eq!(
            (number("width"), number("height")),
            (u64::from(width), u64::from(height)),
            "{case}"
        );
        assert!(
            number("ink_permille") >= 8,
            "there is something to read: {case}"
        );
        assert!(number("left") >= 16, "a margin at the left: {case}");
        assert!(
            number("right") + 16 <= u64::from(width),
            "a margin at the right: {case}"
        );
        assert!(
            number("bottom") + 8 <= u64::from(height),
            "no need to scroll: {case}"
        );
    }
}

#[tokio::test]
async fn the_pages_are_readable_on_a_phone_and_on_a_desktop() {
    // Breaks off in the middle of its head: 502.
    let broken = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-");
    let folder = tempfile::tempdir().unwrap();
    let tenants = folder.path().join("tenants.toml");
    fs::write(
        &tenants,
        "[[tenant]]\nid = \"acme\"\n\n[[tenant]]\nid = \"globex\"\nstate = \"maintenance\"\n",
    )
    .unwrap();
    let site = Site::before(&[&broken.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", tenants.display().to_string()),
        )
        .start();
    for (host, name) in [
        ("unknown.example.test", "404"),
        ("acme.example.test", "502"),
        ("globex.example.test", "maintenance"),
    ] {
        is_readable(&site, host, name);
    }
}

/// The measure can fail: a page that is wider than the phone is cut at its side.
#[tokio::test]
async fn control_a_page_that_is_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let page = "<meta name=viewport content=\"width=device-width\"><style>p { white-space: nowrap; font-size: 40px }</style>\
                <p>one line that is much too long for the screen of a phone";
    fs::write(folder.path().join("404.html"), page).unwrap();
    let site = Site::before(&["127.0.0.1:9"])
        .set(
            "pages",
            &format!("dir = {:?}", folder.path().display().to_string()),
        )
        .start();
    let seen = look(&site, "mail.example.test", "control", PHONE);
    assert!(
        seen["right"].as_u64().unwrap_or_default() > u64::from(PHONE.0) - 16,
        "{seen}"
    );
}
