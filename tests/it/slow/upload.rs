//! D09: a large upload at a slow but steady rate arrives, for as long as it takes; a byte now and then does not.
//!
//! `PORTICO_TEST_UPLOAD` is its size in bytes and `PORTICO_TEST_UPLOAD_SECONDS` how long it takes (tests/soak/upload:
//! 10 GiB in five minutes, under the default limits); the short form is a test.

use std::fs::File;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::attack::Usage;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

const SHORT: u64 = 16 << 20;
const SHORT_SECONDS: u64 = 4;
/// How much the proxy may grow meanwhile, in KiB.
const MOST_GROWTH: u64 = 32 << 10;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// What curl says of an upload of `size` bytes of nothing at this rate.
async fn upload(site: &Site, version: &'static str, size: u64, seconds: u64) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    File::set_len(file.as_file(), size).unwrap();
    let name = file.path().to_str().unwrap().to_owned();
    let (rate, patience) = ((size / seconds).to_string(), (4 * seconds + 60).to_string());
    let curl = site.edge.curl("acme.example.test");
    let done = tokio::task::spawn_blocking(move || {
        let args = [
            version,
            "--upload-file",
            &name,
            "--limit-rate",
            &rate,
            "--max-time",
            &patience,
        ];
        let format = ["--write-out", " %{http_code} %{http_version} %{time_total}"];
        curl.args(&args).args(&format).run("/upload")
    });
    let done = done.await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    drop(file);
    done.stdout
}

/// Sends a byte now and then until the proxy has had enough; what it said.
async fn drip(site: &Site, pause: Duration) -> String {
    let config = site.ca.trust().config(Alpn::Http1);
    let address = port::local(site.portico.https_port());
    let stream = tls::connect(address, "globex.example.test", config).await;
    let (mut read, mut write) = tokio::io::split(stream.unwrap());
    let head =
        b"PUT /drip HTTP/1.1\r\nHost: globex.example.test\r\nContent-Length: 1000000\r\n\r\n";
    write.write_all(head).await.unwrap();
    let dripping = async {
        while write.write_all(b"d").await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        _end = read.read_to_end(&mut answer) => {}
        () = dripping => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d09_a_large_upload_arrives_and_a_byte_now_and_then_does_not() {
    let long = number("PORTICO_TEST_UPLOAD");
    let size = long.unwrap_or(SHORT);
    let seconds = number("PORTICO_TEST_UPLOAD_SECONDS").unwrap_or(SHORT_SECONDS);
    let origin =
        Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.body_len.to_string()));
    let mut site = Site::before(&[origin.address()]);
    // The defaults are a body_timeout of 30 s and a body_rate of 64 bytes in a second.
    let (longest, pause) = if long.is_some() {
        (Duration::from_secs(30), Duration::from_secs(10))
    } else {
        site = site.set("limits", "body_timeout = \"2s\"");
        (Duration::from_secs(2), Duration::from_millis(500))
    };
    let site = site.start();
    let pid = site.portico.pid();
    Usage::reset_peak(pid);
    let before = Usage::of(pid);
    let began = Instant::now();
    let dripped = async {
        let answer = drip(&site, pause).await;
        (answer, began.elapsed())
    };
    let (dripped, first, second) = tokio::join!(
        dripped,
        upload(&site, "--http1.1", size, seconds),
        upload(&site, "--http2", size, seconds),
    );
    let (answer, took) = dripped;
    let after = Usage::of(pid);
    eprintln!(
        "upload: {size} bytes each, told back as `{first}` and `{second}`; a byte every {pause:?} ended after {took:?}; \
         grown by {} KiB, CPU {:?}",
        after.peak.saturating_sub(before.resident),
        after.cpu - before.cpu
    );
    for (told, version) in [(first, "1.1"), (second, "2")] {
        let expected = format!("{size} 200 {version} ");
        assert!(told.starts_with(&expected), "{told}");
        let time: f64 = told[expected.len()..].parse().expect("seconds");
        assert!(time > 0.7 * seconds as f64, "not slow: {told}");
    }
    assert!(after.peak.saturating_sub(before.resident) < MOST_GROWTH);
    // The answer may be lost to a reset, since the client goes on sending.
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    // No byte is missed by more than the pause, so only the rate can have ended it.
    assert!(pause < longest && took >= longest, "{took:?}");
    assert!(took < 3 * longest + Duration::from_secs(5), "{took:?}");
    let seen = origin.requests();
    let drip = seen
        .iter()
        .find(|seen| seen.target == "/drip")
        .expect("it began");
    assert!(!drip.complete && drip.body_len < 64, "{drip:?}");
}
