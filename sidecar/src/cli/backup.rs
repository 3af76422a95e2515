//! Backups of what a node has on its disk.

use super::args::{BackupArgs, RestoreArgs};
use super::failure::Failure;
use super::show;
use crate::storage;

pub(super) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let bytes = storage::backup(&args.data_dir, &args.file)
        .map_err(|error| Failure::Failed(format!("no backup: {error}")))?;
    show::text(&format!("wrote {bytes} bytes to {}\n", args.file.display()))
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let found = storage::restore(&args.file, &args.data_dir)
        .map_err(|error| Failure::Failed(format!("nothing restored: {error}")))?;
    show::text(&format!(
        "restored {} bytes into {}: start it with --node-id {} --cluster {}\n",
        found.bytes,
        args.data_dir.display(),
        found.node,
        found.cluster
    ))
}
