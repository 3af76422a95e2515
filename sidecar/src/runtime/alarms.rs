//! Alarms, in the log, each at a limited rate: an alarm that floods is not read.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::core::node::Alarm;
use crate::core::time::MonoMicros;

/// Between two lines about one thing.
const QUIET_MILLIS: u64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<BTreeMap<Subject, MonoMicros>>);

/// What is told at most once in a while. Few: bounded by the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Divergence(u8),
    Correction,
    Skew,
    Memory,
    Forgotten,
}

impl Alarms {
    pub(super) fn tell(&self, alarm: &Alarm, now: MonoMicros) {
        if self.is_due(alarm, now) {
            log(alarm);
        }
    }

    /// Whether this is to be told now, and not the same again.
    pub(super) fn is_due(&self, alarm: &Alarm, now: MonoMicros) -> bool {
        let subject = match alarm {
            Alarm::Diverged { shard, .. } => Subject::Divergence(shard.0),
            Alarm::Corrected { .. } => Subject::Correction,
            Alarm::Skewed { .. } => Subject::Skew,
            Alarm::MemoryFull { .. } => Subject::Memory,
            Alarm::Forgotten { .. } => Subject::Forgotten,
        };
        let mut quiet_until = self.0.lock();
        let due = quiet_until.get(&subject).is_none_or(|until| *until <= now);
        if due {
            quiet_until.insert(subject, now.plus_millis(QUIET_MILLIS));
        }
        due
    }
}

fn log(alarm: &Alarm) {
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
        Alarm::MemoryFull { bytes, limit } => tracing::error!(
            bytes,
            limit,
            "the state has reached --max-memory: writes that make it grow get 507; raise it on every node, or destroy \
             what is not needed"
        ),
        Alarm::Forgotten { member } => tracing::error!(
            member = %member.node,
            id = %member.id,
            "nothing was heard of a member for so long that it is one no more: it starts empty if it comes back"
        ),
        Alarm::Skewed { author, ahead_millis } => {
            tracing::warn!(%author, ahead_millis, "a stamp from the future: some node's clock is wrong");
        }
    }
}
