//! What a real process tells systemd, from READY to STOPPING.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn systemd_hears_ready_only_with_a_certificate_then_watchdog_reload_and_stopping() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a timeout");
    let mut heard = Heard {
        socket,
        text: String::new(),
    };
    let mut site = Site::before(&[origin.address()])
        .env("NOTIFY_SOCKET", &path.display().to_string())
        .env("WATCHDOG_USEC", "200000")
        .start_without_certificate();
    heard.until("STATUS=no certificate for `example.test` yet");
    heard.until("WATCHDOG=1");
    assert!(!heard.text.contains("READY=1"), "{}", heard.text);
    site.import(&site.leaf());
    heard.until("READY=1");
    heard.until("STATUS=serving; configuration 1");
    heard.text.clear();
    site.portico.sighup();
    heard.until("RELOADING=1");
    heard.until("READY=1");
    heard.until("STATUS=serving; configuration 2");
    site.portico.sigterm();
    heard.until("STOPPING=1");
    assert!(site.portico.wait_exit().success());
}

struct Heard {
    socket: UnixDatagram,
    text: String,
}

impl Heard {
    /// Listens until `words` have been said; what was said before counts.
    fn until(&mut self, words: &str) {
        let mut buffer = [0; 4096];
        wait::until(words, || {
            if let Ok(size) = self.socket.recv(&mut buffer) {
                self.text
                    .push_str(&String::from_utf8_lossy(&buffer[..size]));
                self.text.push('\n');
            }
            self.text.contains(words).then_some(())
        });
    }
}
