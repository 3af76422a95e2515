//! The command line: starts a node or a whole cluster, or calls a node that runs.
//!
//! Only this room prints, and only what was asked for goes to standard output. It reaches nodes through the
//! client crate, as any other program would; it knows nothing of the core.

mod args;
mod backup;
mod call;
mod dev;
mod failure;
mod keygen;
mod listening;
mod run;
mod show;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Command, Line};
use failure::Failure;

/// Does what the process's arguments say.
///
/// Exit codes: 0 done, 1 the node said no (or a node that was started failed), 2 wrong usage or configuration,
/// 3 no node answers.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Line::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Dev(args) => block_on(dev::dev(args)),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Keygen(args) => keygen::keygen(&args),
        Command::Completions(args) => show::text(&completions(args.shell)),
        Command::Watch(args) => block_on(watch::watch(args)),
        Command::Status(args) => block_on(status::status(args)),
        Command::Members(args) => block_on(status::members(args)),
        Command::Forget(args) => block_on(status::forget(args)),
        Command::Call(call) => block_on(call::call(call)),
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "sidetalk", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Runs something that only waits for others: one thread is enough.
fn block_on<F: Future<Output = Result<(), Failure>>>(future: F) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?.block_on(future)
}
