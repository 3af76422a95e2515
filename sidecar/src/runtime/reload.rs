//! Looks at the files of keys and tokens again while the node runs: a secret that can only be changed by a restart is
//! never changed.
//!
//! Every two seconds each file is read, as short as it is: its time of change says too little, where a file is
//! replaced by a link or written twice within a second. A file that is of no use changes nothing and is complained of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::api::ApiTokens;
use crate::keyring::{KeyFile, KeyRing, SessionIdHash};
use crate::net::Links;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// One complaint in so many looks.
const COMPLAIN_EVERY: u32 = 15;

/// What is looked at.
pub(super) struct Reload {
    /// The keys as last read, where they go, and their file.
    pub(super) keys: Option<((KeyFile, KeyRing), PathBuf)>,
    pub(super) session_ids: Option<SessionIdHash>,
    pub(super) tokens: Option<(ApiTokens, PathBuf)>,
    pub(super) links: Arc<Links>,
}

impl Reload {
    /// Goes on for ever.
    pub(super) async fn keep(mut self) {
        if let Some(((_, ring), _)) = &self.keys {
            tracing::info!(keys = %listed(ring), "cluster keys: the first is used, all are accepted");
        }
        let mut failed = 0u32;
        loop {
            tokio::time::sleep(LOOK).await;
            let looked = [self.look_at_keys().await, self.look_at_tokens().await];
            let complaints: Vec<String> = looked.into_iter().filter_map(Result::err).collect();
            if complaints.is_empty() {
                failed = 0;
            } else {
                if failed.is_multiple_of(COMPLAIN_EVERY) {
                    tracing::error!("what was read before stays in force: {}", complaints.join("; "));
                }
                failed = failed.wrapping_add(1);
            }
        }
    }

    async fn look_at_keys(&mut self) -> Result<(), String> {
        let Some(((known, ring), path)) = &mut self.keys else { return Ok(()) };
        let read = read_again(path, KeyFile::read).await?;
        if read == *known {
            return Ok(());
        }
        if self.session_ids.as_ref().is_some_and(|hash| *hash != read.session_id_hash()) {
            return Err(format!(
                "{}: session ids would be hashed with another key and every session be lost; keep the session-ids line \
                 that `sidetalk keygen --add` writes",
                path.display()
            ));
        }
        ring.replace(&read.keys);
        tracing::info!(keys = %listed(ring), "cluster keys changed: the first is used, all are accepted");
        *known = read;
        self.links.keys_changed();
        Ok(())
    }

    async fn look_at_tokens(&self) -> Result<(), String> {
        let Some((tokens, path)) = &self.tokens else { return Ok(()) };
        let read = read_again(path, ApiTokens::read).await?;
        if !tokens.is_same(&read) {
            tokens.replace(&read);
            tracing::info!("API tokens changed");
        }
        Ok(())
    }
}

fn listed(ring: &KeyRing) -> String {
    ring.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Off the threads that serve: a file may be on a network.
async fn read_again<T, E>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, E> + Send + 'static,
) -> Result<T, String>
where
    T: Send + 'static,
    E: ToString + Send + 'static,
{
    let file = path.to_owned();
    let read = spawn_blocking(move || read(&file).map_err(|error| error.to_string())).await;
    let read = read.map_err(|error| error.to_string()).and_then(|read| read);
    read.map_err(|error| format!("{}: {error}", path.display()))
}
