//! `acme.run = "daemon"`: renewals beside the proxy, for containers and the demo.
//!
//! The same step as the timer's, at the same places on disk, so that both together do no harm: one of them holds the
//! lineage's lock.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::cert::{self, Order};
use crate::acme::Trigger;
use crate::config::Config;

/// Between two looks at what is due. A look at nothing due opens no connection.
const PERIOD: Duration = Duration::from_secs(60);

/// Starts the renewals in a thread of their own, which ends with the process: an order may be cut short at any time.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub(super) fn start(config: Config) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::Builder::new().name("renewals".to_owned());
    // Nobody waits for it.
    drop(thread.spawn(move || runtime.block_on(renewals(&config)))?);
    Ok(())
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

/// Puts each line into the log.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.0);
                // The quiet outcome of each look is worth nothing in the log.
                if line.contains(": not due before ") {
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
