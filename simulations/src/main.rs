//! `sidetalk-sim`: what a partition would do to your sessions, before it happens.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    sidetalk_simulations::cli::main(&sidetalk_simulations::cli::Args::parse())
}
