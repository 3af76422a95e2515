//! `sidetalk run`: one node, until it is told to stop.

use std::io::Read as _;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::args::RunArgs;
use super::failure::Failure;
use super::listening::Listening;
use super::show;
use crate::config::Config;
use crate::runtime::{Bound, Drained};
use crate::telemetry;

/// Of the runtime's own queue only 256 tasks find room; with more connections that are ready the rest waits in a second one, and
/// would have its turn after 61 of the first: a request in a hundred took 50 ms with 500 connections, and takes 7 with this.
const TURNS_BETWEEN_OVERFLOWED: u32 = 4;

/// Runs a node.
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let config = Config::load(&args.flags).map_err(|mistakes| Failure::Usage(mistakes.to_string()))?;
    telemetry::log::init(&config.log);
    let runtime = runtime(config.threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(config, args.stop_with_stdin))
}

/// One thread by itself has no other that could take its tasks, and needs no queue that is made for that.
fn runtime(threads: usize) -> Builder {
    if threads == 1 {
        return Builder::new_current_thread();
    }
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(threads).global_queue_interval(TURNS_BETWEEN_OVERFLOWED);
    runtime
}

async fn serve(config: Config, stop_with_stdin: bool) -> Result<(), Failure> {
    let stop = told_to_stop(stop_with_stdin)?;
    let name = config.node_id.clone();
    let bound = Bound::bind(config).await.map_err(|error| Failure::Failed(error.to_string()))?;
    let listening =
        Listening { node: name.clone(), api: bound.api().to_string(), gossip: bound.gossip().to_string() };
    // The node runs whether or not anybody reads this.
    let _ = show::text(&listening.line());
    let drained = bound.run(stop).await.map_err(|error| Failure::Failed(error.to_string()))?;
    let _ = show::text(&stopped_line(&name, &drained));
    Ok(())
}

/// The last line on standard output. Part of the contract: it may grow further fields, and changes in no other way.
fn stopped_line(node: &str, drained: &Drained) -> String {
    format!("sidetalk stopped node={node} {drained}\n")
}

/// Ends at SIGTERM, at SIGINT, or when whoever started this process is gone.
fn told_to_stop(with_stdin: bool) -> Result<impl Future<Output = &'static str>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin = with_stdin.then(end_of_stdin);
    Ok(async move {
        let abandoned = async {
            match stdin {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = abandoned => "standard input has ended",
        }
    })
}

/// Resolves when standard input ends. A thread of its own: the runtime would wait for a blocked read when it stops.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut scrap = [0; 256];
        while matches!(input.read(&mut scrap), Ok(1..)) {}
        // Nobody listens any more when the node is stopping already.
        let _ = ended.send(());
    });
    end
}
