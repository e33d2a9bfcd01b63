//! `acme.run = "daemon"`: renewals beside the proxy, for containers and the demo.
//!
//! The same step as the timer's, at the same places on disk, so that both together do no harm: one of them holds the
//! lineage's lock.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cert::{self, Order};
use crate::acme::Trigger;
use crate::cert::on_demand::spool::Spool;
use crate::clock::UnixTime;
use crate::config::Config;

/// Between two looks at what is due. A look at nothing due opens no connection.
const PERIOD: Duration = Duration::from_secs(60);
/// Between two looks at what the proxy wants for custom domains.
const LOOK: Duration = Duration::from_secs(1);

/// Wait after a first panic, and the longest one; a run of [`STEADY`] begins anew.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const STEADY: Duration = Duration::from_secs(3600);

/// Starts the renewals in a thread of their own, which ends with the process: an order may be cut short at any time.
/// Another thread watches it and starts it again after a panic. If even that fails, the heartbeat in the metrics stands
/// still.
///
/// # Errors
/// The thread cannot be made.
pub(super) fn start(config: Config) -> io::Result<()> {
    let config = Arc::new(config);
    if config.on_demand.enabled {
        // A thread of their own: many names, and none of them is to hold up the base domains.
        watched("domains-renew", Arc::clone(&config), |runtime, config| {
            runtime.block_on(domains(config));
        })?;
    }
    watched("renewals", config, |runtime, config| {
        runtime.block_on(renewals(config));
    })
}

/// Starts a thread that does `work` and another one that watches it.
fn watched(
    name: &'static str,
    config: Arc<Config>,
    work: fn(&tokio::runtime::Runtime, &Config),
) -> io::Result<()> {
    let begin = move || {
        let config = Arc::clone(&config);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || match runtime() {
                Ok(runtime) => work(&runtime, &config),
                Err(error) => tracing::error!(%error, "the renewals have no runtime"),
            })
    };
    let watcher = thread::Builder::new().name("renewals-watch".to_owned());
    // Nobody waits for it.
    drop(watcher.spawn(move || supervise(begin, thread::sleep))?);
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Starts what `begin` makes, again and again: the renewals have no good end. `pause` waits.
fn supervise(begin: impl Fn() -> io::Result<JoinHandle<()>>, mut pause: impl FnMut(Duration)) {
    let mut wait = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        match begin().map(JoinHandle::join) {
            Ok(Err(_panic)) => tracing::error!("the renewals ended in a panic; they start again"),
            Ok(Ok(())) => tracing::error!("the renewals have ended; they start again"),
            Err(error) => tracing::error!(%error, "the renewals cannot be started"),
        }
        if began.elapsed() >= STEADY {
            wait = FIRST_PAUSE;
        }
        pause(wait);
        wait = (wait * 2).min(LONGEST_PAUSE);
    }
}

async fn renewals(config: &Config) {
    loop {
        let order = Order {
            domain: None,
            trigger: Trigger::Due,
        };
        if let Err(error) = cert::renew(config, order, &mut Lines::default()).await {
            tracing::error!("renewal: {error}");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Does what is due for custom domains: at once when the proxy has left a wish, else when the last run said.
async fn domains(config: &Config) {
    let spool = Spool::new(&config.state_dir);
    loop {
        let seen = spool.fingerprint();
        let worked = cert::domains::work(config, Duration::MAX, &mut Lines::default()).await;
        let next = match worked {
            Ok(report) => report.and_then(|report| report.next),
            Err(error) => {
                tracing::error!("custom domains: {error}");
                None
            }
        };
        let begun = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            // What the run itself has taken out of the spool makes for one look more.
            if begun.elapsed() >= PERIOD
                || spool.fingerprint() != seen
                || next.is_some_and(|next| UnixTime::now() >= next)
            {
                break;
            }
        }
    }
}

/// Puts each line into the log.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.0);
                // The quiet outcome of each look is worth nothing in the log.
                if line.contains(": not due before ") || line.contains(": waiting until ") {
                    tracing::debug!("renewal: {line}");
                } else {
                    tracing::info!("renewal: {line}");
                }
                self.0.clear();
            } else {
                self.0.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn a_panic_of_the_renewals_starts_them_again_with_growing_pauses() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let begin = move || {
            counted.fetch_add(1, SeqCst);
            thread::Builder::new().spawn(|| panic::resume_unwind(Box::new("injected")))
        };
        let mut pauses = Vec::new();
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            supervise(begin, |wait| {
                pauses.push(wait.as_secs());
                if pauses.len() == 12 {
                    // The only way out of a loop that has none.
                    panic::resume_unwind(Box::new("enough"));
                }
            });
        }));
        assert!(ended.is_err());
        assert_eq!(starts.load(SeqCst), 12, "started again each time");
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }
}
