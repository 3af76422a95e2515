//! The order of changes of one object that come in one batch, where the first of them has to wait before it is made.
//!
//! A change that waits for its acknowledgements, or for the disk, is made: it holds up nobody.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::core::limits::WAIT_MILLIS_MAX;

/// The place of one change. When it is dropped, the change is made or will not be, and the turn of the next one has come.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<Before>,
    _made: watch::Sender<()>,
}

/// A change that may not be made yet.
#[derive(Clone, Debug)]
pub(super) struct Before {
    made: watch::Receiver<()>,
    /// By then all that stand in a row are made or begin at once: what each waits must not add up.
    until: Instant,
}

impl Before {
    /// Whether it is made, or will not be.
    pub(super) fn is_over(&self) -> bool {
        self.made.has_changed().is_err()
    }

    /// Waits until it is.
    pub(super) async fn over(mut self) {
        // Nothing is ever sent: it ends when the sender is dropped, or takes too long.
        let _ = timeout_at(self.until, self.made.changed()).await;
    }
}

impl Turn {
    /// The place behind another one, and what the next one waits for.
    pub(super) fn behind(before: Option<Before>) -> (Self, Before) {
        let (sender, made) = watch::channel(());
        let longest = Duration::from_millis(WAIT_MILLIS_MAX);
        let until = before.as_ref().map_or_else(|| Instant::now() + longest, |before| before.until);
        (Self { before, _made: sender }, Before { made, until })
    }

    /// Whether another one comes first.
    pub(super) fn waits(&self) -> bool {
        self.before.is_some()
    }

    /// Waits until its turn has come.
    pub(super) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            before.over().await;
        }
    }
}
