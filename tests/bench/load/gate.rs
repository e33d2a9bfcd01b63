//! Standard input as the rig's hand on the throttle: a line means go on, its end means leave.

use crate::Error;
use std::io::BufRead as _;
use tokio::sync::mpsc;

pub(crate) struct Gate(mpsc::UnboundedReceiver<()>);

impl Gate {
    /// Starts the thread that reads; it dies with the process.
    pub(crate) fn stdin() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if line.is_err() || sender.send(()).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next line; an error when there will be none.
    pub(crate) async fn line(&mut self) -> Result<(), Error> {
        self.0
            .recv()
            .await
            .ok_or_else(|| "standard input ended".into())
    }

    /// Waits until standard input ends.
    pub(crate) async fn closed(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}
