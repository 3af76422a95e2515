//! `sidetalk keygen`: a new key for a cluster.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::failure::Failure;
use super::show;
use crate::config::ClusterKey;

/// Writes a new random key to a file that only its owner can read, or to standard output.
pub(super) fn keygen(file: Option<&Path>) -> Result<(), Failure> {
    let mut bytes = [0; ClusterKey::BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Failed(format!("the system gives no random bytes: {error}")))?;
    let text = ClusterKey::new(bytes).to_text() + "\n";
    let Some(path) = file else { return show::text(&text) };
    // A key that is in use must not be lost by a slip.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::Failed(format!("{} exists already and is left as it is", path.display()))
            }
            _ => Failure::Failed(format!("{}: {error}", path.display())),
        },
    )?;
    Ok(file.write_all(text.as_bytes())?)
}
