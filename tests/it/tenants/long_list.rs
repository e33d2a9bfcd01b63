//! A list of tenants that takes long to read: here a pipe, which is read for as long as somebody holds it open.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

/// Puts a pipe in the list's place, and waits until the proxy reads it.
fn pipe(list: &Path) -> File {
    let aside = list.with_extension("pipe");
    mknodat(CWD, &aside, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::rename(&aside, list).unwrap();
    wait::until("the list to be read", || {
        // Without a reader this fails (ENXIO) and does not wait.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        let nonblocking = i32::try_from(nonblocking).unwrap();
        OpenOptions::new()
            .write(true)
            .custom_flags(nonblocking)
            .open(list)
            .ok()
    })
}

fn write(list: &Path, text: &str) {
    let aside = list.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, list).unwrap();
}

async fn wait_status(site: &Site, host: &str, status: u16) {
    wait::until_async("the tenant to change", async || {
        let answer = site.edge.get(Protocol::Http1, host, "/").await;
        (answer.status.as_u16() == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_that_takes_long_to_read_holds_nothing_else_up() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("tenants.toml");
    write(&list, "[[tenant]]\nid = \"acme\"\n");
    let mut site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", list.display().to_string()),
        )
        .start();

    // While it is read: requests go on, and so does the watch of certificates.
    let mut reading = pipe(&list);
    site.import(&site.leaf());
    wait::until("the new certificate to be in service", || {
        let (_, status) = site.portico.admin("/status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["certificates"][0]["generation"] == 2).then_some(())
    });
    wait_status(&site, "acme.example.test", 200).await;

    // One that is bad in the end changes nothing.
    reading.write_all(b"[[tenant]]\nid = \"half").unwrap();
    drop(reading);
    site.portico.wait_log("the tenants stay as they were");
    wait_status(&site, "acme.example.test", 200).await;
    // The pipe has changed by that and is read again, for ever; a reload passes over it.
    write(&list, "[[tenant]]\nid = \"globex\"\n");
    site.portico.sighup();
    wait_status(&site, "globex.example.test", 200).await;
    wait_status(&site, "acme.example.test", 404).await;

    // And the proxy ends when it is told to, whatever is being read.
    let last = pipe(&list);
    site.portico.sigterm();
    assert!(site.portico.wait_exit().success());
    drop(last);
}
