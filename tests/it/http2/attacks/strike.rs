//! Attackers: they open connections, send what they were told to, and come back when they are sent away.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::framer::{Frames, HOST, PREFACE, kind};
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

/// Longest life of a connection that attacks.
const LONGEST: Duration = Duration::from_secs(15);

/// What is sent in the round with a number, from 0.
pub(super) type Round = fn(u32) -> Frames;

/// What an attacker sends on each connection.
#[derive(Clone)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// After the preface: settings and whatever comes first.
    pub(super) opening: Frames,
    pub(super) round: Round,
    /// After so many it only waits for the end.
    pub(super) rounds: u32,
    /// Time between two rounds.
    pub(super) pause: Duration,
    /// Whether it reads what comes.
    pub(super) reads: bool,
}

impl Attack {
    /// Sends `round` a hundred thousand times, without a pause.
    pub(super) fn flood(name: &'static str, opening: Frames, round: Round) -> Self {
        Self {
            name,
            opening: Frames::new().settings(&[]).raw(&opening.0),
            round,
            rounds: 100_000,
            pause: Duration::ZERO,
            reads: true,
        }
    }
}

/// What came of one connection.
#[derive(Debug, Clone)]
pub(super) struct Strike {
    /// How many rounds were written.
    pub(super) rounds: usize,
    /// The code of GOAWAY, if it came through.
    pub(super) goaway: Option<u32>,
    /// Whether the proxy ended the connection.
    pub(super) closed: bool,
    /// Bytes that came.
    pub(super) received: usize,
}

/// Attackers on a thread of their own.
pub(super) struct Strikers {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    strikes: Mutex<Vec<Strike>>,
}

impl Strikers {
    pub(super) fn start(site: &Site, attack: Attack, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let address = port::local(site.portico.https_port());
        let config = site.ca.trust().config(Alpn::Http2);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let one = |_| {
                    tokio::spawn(again_and_again(
                        Arc::clone(&of_thread),
                        address,
                        config.clone(),
                        attack.clone(),
                    ))
                };
                let tasks: Vec<_> = (0..count).map(one).collect();
                for task in tasks {
                    task.await.expect("no attacker panics");
                }
            });
        });
        Self { shared, thread }
    }

    /// How many connections have ended.
    pub(super) fn ended(&self) -> usize {
        assert!(!self.thread.is_finished(), "an attacker panicked");
        self.shared
            .strikes
            .lock()
            .expect("never held over a panic")
            .len()
    }

    /// Lets the connections under way end.
    pub(super) fn stop(self) -> Vec<Strike> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("no attacker panics");
        self.shared
            .strikes
            .lock()
            .expect("never held over a panic")
            .clone()
    }
}

async fn again_and_again(
    shared: Arc<Shared>,
    address: SocketAddr,
    config: ClientConfig,
    attack: Attack,
) {
    while !shared.stop.load(Ordering::SeqCst) {
        let strike = strike(address, config.clone(), &attack).await;
        shared
            .strikes
            .lock()
            .expect("never held over a panic")
            .push(strike);
    }
}

/// One connection.
pub(super) async fn strike(address: SocketAddr, config: ClientConfig, attack: &Attack) -> Strike {
    let stream = tls::connect(address, HOST, config)
        .await
        .expect("TLS handshake");
    let (mut read, mut write) = tokio::io::split(stream);
    let reads = attack.reads;
    let reader = async move {
        let mut bytes = Vec::new();
        if !reads {
            std::future::pending::<()>().await;
        }
        while matches!(read.read_buf(&mut bytes).await, Ok(1..)) {}
        bytes
    };
    let mut rounds = 0;
    let writer = async {
        let start = Frames::new().raw(PREFACE).raw(&attack.opening.0);
        if write.write_all(&start.0).await.is_err() {
            return;
        }
        for number in 0..attack.rounds {
            let sent = async {
                write.write_all(&(attack.round)(number).0).await?;
                write.flush().await
            };
            if sent.await.is_err() {
                return;
            }
            rounds += 1;
            if !attack.pause.is_zero() {
                tokio::time::sleep(attack.pause).await;
            } else if number % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
        if attack.reads {
            std::future::pending::<()>().await;
        }
        // Whoever does not read learns of the end when it writes.
        while write
            .write_all(&Frames::new().ping(*b"still up").0)
            .await
            .is_ok()
        {
            let _ = write.flush().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut reader = Box::pin(reader);
    let both = async {
        tokio::select! {
            bytes = &mut reader => bytes,
            () = writer => timeout(Duration::from_secs(2), &mut reader).await.unwrap_or_default(),
        }
    };
    let end = timeout(LONGEST, both).await;
    let bytes = end.as_ref().map_or(&[][..], |bytes| bytes);
    Strike {
        rounds,
        goaway: goaway(bytes),
        closed: end.is_ok(),
        received: bytes.len(),
    }
}

/// The code of the last GOAWAY among these frames.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    let mut code = None;
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[3] == kind::GOAWAY {
            code = Some(u32::from_be_bytes(
                payload[4..8].try_into().expect("four bytes"),
            ));
        }
        bytes = rest;
    }
    code
}
