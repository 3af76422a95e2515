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
use tokio::time::{Instant, sleep, timeout_at};

use super::args::DevArgs;
use super::failure::Failure;
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
    for seat in &seats {
        children.push(Child::start(seat, &seats)?);
    }
    tokio::select! {
        started = ready(&seats, &mut children) => started?,
        _ = interrupt.recv() => return stop(children).await,
        _ = terminate.recv() => return stop(children).await,
    }
    let pids: Vec<_> = children.iter().map(Child::pid).collect();
    show::text(&guide::guide(&seats, &pids, &guide::own_name()))?;
    tokio::select! {
        () = bury(&mut children) => Err(Failure::Failed("no node is left".to_owned())),
        _ = interrupt.recv() => stop(children).await,
        _ = terminate.recv() => stop(children).await,
    }
}

/// Waits until every node serves.
async fn ready(seats: &[Seat], children: &mut [Child]) -> Result<(), Failure> {
    let deadline = Instant::now() + START_MAX;
    for (seat, child) in seats.iter().zip(children) {
        let client = Client::new(&seat.api())?;
        let serving = async {
            loop {
                if let Some(end) = child.ended()? {
                    return Err(Failure::Failed(format!("{} did not start: {end}", seat.name())));
                }
                if client.ready().await.is_ok() {
                    return Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout_at(deadline, serving).await.unwrap_or_else(|_| {
            Err(Failure::Failed(format!("{} was not ready within {START_MAX:?}", seat.name())))
        })?;
    }
    Ok(())
}

/// Tells of every node that ends, until none is left.
async fn bury(children: &mut Vec<Child>) {
    while !children.is_empty() {
        let (place, end) = child::first_end(children).await;
        let name = children.remove(place).name().to_owned();
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
