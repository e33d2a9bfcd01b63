//! Load generator and origin server for `tests/bench/run`.
//!
//! `origin` answers as the upstream of every proxy; the other modes put load on a proxy and print one JSON line.
//! One thread, so that a single core can be given to it. See `tests/bench/README.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "a load generator has no drain: its tasks end with it"
)]
#![expect(
    clippy::print_stdout,
    reason = "the JSON lines on standard output are what this program is for"
)]

mod args;
mod gate;
mod idle;
mod origin;
mod run;
mod tls;
mod units;

use args::{Args, Mode};
use clap::Parser as _;

/// Any failure that ends the program; failures of single requests are counted instead.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let Some(mode) = Args::parse().mode else {
        println!("this target is a program for tests/bench/run; see --help");
        return Ok(());
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            match mode {
                Mode::Origin { listen } => origin::serve(listen).await,
                Mode::H1(load) => run::h1(&load, "h1", origin::SMALL).await,
                Mode::Body(load) => run::h1(&load, "body", origin::LARGE).await,
                Mode::H2(load) => run::h2(&load).await,
                Mode::Handshake(load) => run::handshake(&load).await,
                Mode::Idle(idle) => idle::hold(&idle).await,
            }
        })
}
