//! Pings: the round trip, the difference of clocks, and a peer's time reported together with how far it has got.

use xxhash_rust::xxh3::xxh3_64;

use super::peer::Peer;
use super::{Alarm, Node};
use crate::core::message::{Message, Micros, PeerId, RosterEntry};
use crate::core::time::{MonoMicros, Now, UnixMillis};

/// Between pings to one peer.
const PING_MILLIS: u64 = 1_000;

/// A round trip that took longer says too little of the other clock: nobody knows which way took how much of it.
const MEASURABLE_MICROS_MAX: u64 = 4_000_000;

impl Node {
    pub(super) fn ping_if_due(&mut self, now: Now, id: PeerId) {
        let clock = &self.clock;
        let due = |peer: &&mut Peer| peer.ping_at <= now.mono || clock.was_set_since(peer.pinged);
        let Some(peer) = self.peers.get_mut(&id).filter(due) else { return };
        let sent = clock.sending(now);
        peer.pinged = sent;
        peer.ping_at = now.mono.plus_millis(PING_MILLIS);
        // First what the ping's sum contains.
        self.tell_progress(id);
        self.remind_of_saved(id);
        self.tell_of_successor(id);
        let ping = Message::Ping {
            sent: Micros::from(sent),
            wall: now.wall,
            now: self.time_for_good(now),
            clock_sum: self.clock_sum(),
            introduction: self.introduction(),
        };
        self.send(id, ping);
    }

    pub(super) fn pinged(
        &mut self,
        now: Now,
        from: PeerId,
        sent: Micros,
        time: UnixMillis,
        clock_sum: u64,
        theirs: u64,
    ) {
        let roster_sum = self.is_overlay().then(|| self.roster.sum());
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let clocks_known = peer.known.sum() == clock_sum;
        let known = match roster_sum {
            // Among many all have one roster, or will have.
            Some(sum) => short_introduction(peer.traits(), peer.lineage, sum),
            None => introduction(peer.traits(), peer.lineage, &peer.roster_stamps),
        };
        // What was said on a link before does not count: that on this one may be lost, which a full queue does.
        let introduction_known = peer.introduced && peer.has_named_members && known == theirs;
        let storage_told = introduction_known && peer.saved.is_none() && !peer.diskless;
        peer.diskless |= storage_told;
        // Equal rosters among many: this process stands on both.
        peer.admits |= roster_sum.is_some() && introduction_known;
        peer.told |= clocks_known && introduction_known && !peer.fresh;
        if roster_sum.is_none() && clocks_known && introduction_known && !peer.fresh {
            // Time, clocks and roster belong together: what it may still write after this time it cannot write for
            // what had expired by then.
            peer.reports(time);
        }
        if storage_told {
            self.check_all_waits();
        }
        if self.is_fresh() || self.is_returning() {
            self.clock.not_before(now, time);
        }
        self.send(from, Message::Pong { sent, wall: now.wall, clocks_known, introduction_known });
    }

    pub(super) fn ponged(&mut self, now: Now, from: PeerId, sent: Micros, wall: UnixMillis) {
        let round_trip_micros = now.mono.0.saturating_sub(sent.0);
        let half_millis = i64::try_from(round_trip_micros / 2_000).unwrap_or(i64::MAX);
        let millis = |wall: UnixMillis| i64::try_from(wall.0).unwrap_or(i64::MAX);
        let offset_millis = millis(wall) - millis(now.wall);
        // A name has one voice in what the time is, however many processes bear it.
        let counts = self.peers.get(&from).is_some_and(|peer| peer.introduced);
        if counts && round_trip_micros <= MEASURABLE_MICROS_MAX {
            self.clock.measured(from, MonoMicros(sent.0), offset_millis.saturating_add(half_millis));
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.round_trip_micros = Some(round_trip_micros);
        }
        if let Some(millis) = self.clock.correct(now, self.within_sight()) {
            if self.is_fresh() {
                self.clock.start_over(now);
            }
            self.alarm(Alarm::Corrected { millis });
        }
    }

    fn introduction(&self) -> u64 {
        let traits = traits(self.is_fresh(), self.is_durable());
        if self.is_overlay() {
            return short_introduction(traits, self.lineage, self.roster.sum());
        }
        introduction(traits, self.lineage, &stamps(self.roster.iter()))
    }

    /// Time for deadlines as of the last input.
    pub(super) fn clock_floor(&self) -> UnixMillis {
        self.clock.floor()
    }
}

/// Stands for whether a node has no memory yet, and whether it has a disk.
fn traits(fresh: bool, durable: bool) -> u8 {
    u8::from(fresh) | u8::from(durable) << 2
}

impl Peer {
    fn traits(&self) -> u8 {
        traits(self.fresh, self.saved.is_some())
    }
}

/// Stands for what a node says of itself and of the members.
fn introduction(traits: u8, lineage: u64, roster_stamps: &[u8]) -> u64 {
    let mut bytes = vec![traits];
    bytes.extend_from_slice(&lineage.to_le_bytes());
    bytes.extend_from_slice(roster_stamps);
    xxh3_64(&bytes)
}

/// What an introduction says of each member: all that is kept of a peer's roster.
pub(super) fn stamps<'a>(roster: impl Iterator<Item = &'a RosterEntry>) -> Box<[u8]> {
    let mut bytes = Vec::new();
    for entry in roster {
        bytes.extend_from_slice(&entry.replica.id.0.to_le_bytes());
        bytes.extend_from_slice(&entry.replica.started.0.to_le_bytes());
        bytes.push(u8::from(entry.left));
    }
    bytes.into()
}

/// The same, where the roster is too long to be kept for each peer.
fn short_introduction(traits: u8, lineage: u64, roster_sum: u64) -> u64 {
    let mut bytes = vec![2 + traits];
    bytes.extend_from_slice(&lineage.to_le_bytes());
    bytes.extend_from_slice(&roster_sum.to_le_bytes());
    xxh3_64(&bytes)
}
