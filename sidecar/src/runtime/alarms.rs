//! Alarms, in the log, each kind at a limited rate: an alarm that floods is not read.

use parking_lot::Mutex;

use crate::core::node::Alarm;
use crate::core::time::MonoMicros;

/// Between two lines of one kind.
const QUIET_MILLIS: u64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Alarms {
    skew_quiet_until: Mutex<MonoMicros>,
}

impl Alarms {
    pub(super) fn tell(&self, alarm: &Alarm, now: MonoMicros) {
        match alarm {
            Alarm::Diverged { peer, shard } => tracing::error!(
                peer = %peer.node,
                shard = shard.0,
                "two nodes with the same clock hold different content: keep both, compare with /v1/explain, \
                 restart the one that is wrong without its memory"
            ),
            Alarm::Corrected { millis } => tracing::error!(
                millis,
                "this node's clock is out of step with most of the cluster: its stamps are corrected; check NTP"
            ),
            Alarm::Skewed { author, ahead_millis } => {
                let mut quiet_until = self.skew_quiet_until.lock();
                if *quiet_until <= now {
                    *quiet_until = now.plus_millis(QUIET_MILLIS);
                    tracing::warn!(%author, ahead_millis, "a stamp from the future: some node's clock is wrong");
                }
            }
        }
    }
}
