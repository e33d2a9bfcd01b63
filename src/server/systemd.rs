//! What the process tells systemd: ready, reloading, stopping, a line of status, and that it is alive.
//!
//! Without `NOTIFY_SOCKET` (not started by systemd, or not as `Type=notify`) everything here does nothing. A message
//! that cannot be sent is a warning, never a failure: serving goes on.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The listeners are open and the first snapshot is in service; also the end of a reload, whether it took effect or
/// not.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// A reload begins. [`ready`] has to follow.
pub fn reloading() {
    // systemd from 253 on wants the time, to tell this reload from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
    }
}

/// The drain begins; the process ends when it is done.
pub fn stopping(status: &str) {
    send(&[
        NotifyState::Stopping,
        NotifyState::Status(&one_line(status)),
    ]);
}

/// Sets the line that `systemctl status` shows.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// How often systemd has to hear from the process: half of `WATCHDOG_USEC`. `None` if it does not watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|limit| limit / 2)
        .filter(|interval| !interval.is_zero())
}

/// Tells systemd in time that the process is alive, as long as `alive` says so, until `shutdown`. Returns at once if
/// systemd does not watch.
///
/// Run on the control plane. That it runs proves only that this runtime turns, so `alive` should look for signs of
/// life of every worker; once it says no for long enough, systemd kills and restarts the process.
pub async fn feed_watchdog(alive: impl Fn() -> bool, shutdown: CancellationToken) {
    if let Some(interval) = watchdog_interval() {
        beat(interval, alive, || send(&[NotifyState::Watchdog]), shutdown).await;
    }
}

async fn beat(
    interval: Duration,
    alive: impl Fn() -> bool,
    say: impl Fn(),
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if alive() {
            say();
        } else {
            tracing::error!("a worker does not turn; systemd is not told that all is well");
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// The protocol is lines, so a line break in a text would begin another message.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// By itself: nothing is sent and nothing fails. As a child of the next test, which gives it a socket: the life of
    /// a process.
    #[tokio::test]
    async fn is_silent_without_a_socket() {
        status("starting\nMAINPID=1");
        ready("serving");
        reloading();
        ready("serving generation 2");
        let shutdown = CancellationToken::new();
        let feeding = feed_watchdog(|| true, shutdown.clone());
        let ending = async {
            if watchdog_interval().is_some() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            shutdown.cancel();
        };
        tokio::join!(feeding, ending);
        stopping("draining");
    }

    #[test]
    fn tells_systemd_every_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "server::systemd::tests::is_silent_without_a_socket",
            ])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let next = || {
            let mut bytes = [0; 4096];
            let length = socket.recv(&mut bytes).unwrap();
            String::from_utf8(bytes.get(..length).unwrap().to_vec()).unwrap()
        };
        assert_eq!(next(), "STATUS=starting MAINPID=1\n");
        assert_eq!(next(), "READY=1\nSTATUS=serving\n");
        let reload = next();
        let time = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.trim().parse::<u64>().unwrap() > 0);
        assert_eq!(next(), "READY=1\nSTATUS=serving generation 2\n");
        // At once and each 100 ms, for 250 ms.
        assert_eq!(next(), "WATCHDOG=1\n");
        assert_eq!(next(), "WATCHDOG=1\n");
        let mut last = next();
        while last == "WATCHDOG=1\n" {
            last = next();
        }
        assert_eq!(last, "STOPPING=1\nSTATUS=draining\n");
    }

    #[tokio::test]
    async fn is_not_fed_while_a_worker_hangs() {
        let (asked, said) = (Cell::new(0), Cell::new(0));
        let shutdown = CancellationToken::new();
        let alive = || {
            asked.set(asked.get() + 1);
            if asked.get() == 9 {
                shutdown.cancel();
            }
            !(3..=6).contains(&asked.get())
        };
        let say = || said.set(said.get() + 1);
        beat(Duration::from_millis(1), alive, say, shutdown.clone()).await;
        assert!(asked.get() >= 9);
        assert_eq!(said.get(), asked.get() - 4);
    }
}
