//! One node as a process.

use std::future::poll_fn;
use std::io::Write as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdin, Command};

use super::super::failure::Failure;
use super::super::listening::Listening;
use super::Seat;

/// A node that runs. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    listening: Listening,
    process: tokio::process::Child,
    /// The node lives as long as this pipe.
    lifeline: Option<ChildStdin>,
}

impl Child {
    /// Starts the node of a seat, which joins those that run already, and waits until it listens.
    pub(super) async fn start(seat: &Seat, running: &[Self]) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Failed(format!("{} cannot be started: {error}", seat.name()));
        let mut process = command(seat, running).map_err(failed)?.spawn().map_err(failed)?;
        let lifeline = process.stdin.take();
        let log = process.stderr.take().map(|log| tokio::spawn(pass_on(seat.name(), log)));
        let line = match process.stdout.take() {
            Some(out) => BufReader::new(out).lines().next_line().await.map_err(failed)?,
            None => None,
        };
        match line.as_deref().and_then(Listening::parse) {
            Some(listening) => Ok(Self { listening, process, lifeline }),
            None => {
                let end = process.wait().await.map_err(failed)?;
                if let Some(log) = log {
                    // What it said of its end comes before what is said here.
                    let _ = log.await;
                }
                Err(Failure::Failed(format!("{} did not start: {end}", seat.name())))
            }
        }
    }

    /// Who it is and where it listens.
    pub(super) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The process's number; 0 when it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.process.try_wait()?)
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Tells it to stop.
    pub(super) fn stop(mut self) -> Self {
        self.lifeline = None;
        self
    }

    /// Ends it by force.
    pub(super) async fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill().await;
    }
}

fn command(seat: &Seat, running: &[Child]) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for (variable, _) in std::env::vars_os() {
        // What is set for a node that runs here must not leak into these.
        if variable.to_string_lossy().starts_with("SIDETALK_") {
            command.env_remove(variable);
        }
    }
    command.args([
        "run",
        "--chaos",
        "--stop-with-stdin",
        "--cluster=dev",
        "--log=warn",
        "--drain-millis=500",
    ]);
    command.arg(format!("--node-id={}", seat.name()));
    command.args([format!("--api={}", seat.api()), format!("--gossip={}", seat.gossip())]);
    command.args(running.iter().map(|child| format!("--join={}", child.listening.gossip)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Waits until one of them ends; gives its place and how it ended.
pub(super) async fn first_end(children: &mut [Child]) -> (usize, String) {
    let mut waits: Vec<_> = children.iter_mut().map(|child| Box::pin(child.wait())).collect();
    poll_fn(|context| {
        for (place, wait) in waits.iter_mut().enumerate() {
            if let Poll::Ready(end) = pin!(wait).poll(context) {
                return Poll::Ready((place, end));
            }
        }
        Poll::Pending
    })
    .await
}

/// Prints a node's log lines behind its name.
async fn pass_on(name: String, log: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if writeln!(std::io::stderr(), "{name} | {line}").is_err() {
            return;
        }
    }
}
