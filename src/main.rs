//! The `portico` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use portico::cli::{self, args::Args};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(cli::run(Args::parse()).code())
}
