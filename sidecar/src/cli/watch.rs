//! `sidetalk watch`: changes as lines.

use sidetalk_client::Event;

use super::args::WatchArgs;
use super::failure::Failure;
use super::show;

/// Prints changes until the node ends the watch.
pub(super) async fn watch(args: WatchArgs) -> Result<(), Failure> {
    let mut call = args.api.client()?.watch();
    if let Some(kind) = args.kind {
        call = call.kind(kind);
    }
    if let Some(prefix) = &args.prefix {
        call = call.prefix(prefix);
    }
    let mut watch = call.open().await?;
    while let Some(event) = watch.next().await? {
        match event {
            Event::Change(change) => show::text(&(change.text + "\n"))?,
            // Only a resumed watch is reset, and only one that asked for the state is told that it has it.
            Event::Reset | Event::Current => (),
        }
    }
    Err(Failure::Unreachable("the node has ended the watch".to_owned()))
}
