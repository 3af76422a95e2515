//! `sidetalk dev`: a whole cluster on loopback, to try things out.
//!
//! Every node is a process of this same binary, so that one can be killed without mercy and the others be watched.
//! None outlives this process, however that ends: each holds a pipe from it and stops when the pipe breaks.

mod child;
mod guide;
mod plan;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::time::Duration;

use sidetalk_client::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::args::DevArgs;
use super::failure::Failure;
use super::listening::Listening;
use super::show;
use child::Child;
use plan::Seat;

const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(5);

/// Runs a cluster until Ctrl-C.
pub(super) async fn dev(args: DevArgs) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let seats = plan::seats(args)?;
    plan::check_free(&seats)?;
    let mut children = Vec::new();
    tokio::select! {
        started = start(&seats, &mut children) => started?,
        _ = interrupt.recv() => return stop(children).await,
        _ = terminate.recv() => return stop(children).await,
    }
    show::text(&guide::guide(&nodes(&children), &guide::own_name()))?;
    tokio::select! {
        () = bury(&mut children) => Err(Failure::Failed("no node is left".to_owned())),
        _ = interrupt.recv() => stop(children).await,
        _ = terminate.recv() => stop(children).await,
    }
}

fn nodes(children: &[Child]) -> Vec<(Listening, u32)> {
    children.iter().map(|child| (child.listening().clone(), child.pid())).collect()
}

/// Starts the nodes one after the other, since each joins those before it, and waits until all serve.
async fn start(seats: &[Seat], children: &mut Vec<Child>) -> Result<(), Failure> {
    let starting = async {
        for seat in seats {
            children.push(Child::start(seat, children).await?);
        }
        for child in children {
            serving(child).await?;
        }
        Ok(())
    };
    let late = |_| Err(Failure::Failed(format!("the cluster was not ready within {START_MAX:?}")));
    timeout(START_MAX, starting).await.unwrap_or_else(late)
}

async fn serving(child: &mut Child) -> Result<(), Failure> {
    let client = Client::new(&child.listening().api)?;
    while client.ready().await.is_err() {
        if let Some(end) = child.ended()? {
            return Err(Failure::Failed(format!("{} did not start: {end}", child.listening().node)));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Tells of every node that ends, until none is left.
async fn bury(children: &mut Vec<Child>) {
    while !children.is_empty() {
        let (place, end) = child::first_end(children).await;
        let name = children.remove(place).listening().node.clone();
        // Whoever closed standard error does not want to know.
        let _ = writeln!(std::io::stderr(), "sidetalk: {name} has ended ({end}); {} left", children.len());
    }
}

/// Stops all nodes at once, by force those that take too long.
async fn stop(children: Vec<Child>) -> Result<(), Failure> {
    let deadline = Instant::now() + STOP_MAX;
    let children: Vec<_> = children.into_iter().map(Child::stop).collect();
    for mut child in children {
        if timeout_at(deadline, child.wait()).await.is_err() {
            child.kill().await;
        }
    }
    Ok(())
}
