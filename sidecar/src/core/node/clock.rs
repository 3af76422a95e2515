//! This node's hybrid clock, and how far it is out of step.

use std::collections::BTreeMap;

use crate::core::identity::ReplicaId;
use crate::core::limits::DRIFT_MILLIS_MAX;
use crate::core::time::{Hlc, MonoMicros, Now, UnixMillis};

/// No token draws a stamp further ahead than this. Tokens pass through the hands of strangers, and what one of them makes
/// up would travel on in the tokens of all who read that shard; a second below the limit, so that nobody raises an alarm.
const AFTER_MILLIS_MAX: u64 = DRIFT_MILLIS_MAX - 1_000;

/// A correction that is in force moves only when it is off by more than this.
const CORRECTION_STEP_MILLIS: u64 = 1_000;

/// Linked peers that do not answer for so long have no say in whether the wall clock was set.
const ANSWER_MICROS_MAX: u64 = 4_000_000;

#[derive(Debug, Default)]
pub(super) struct HybridClock {
    last: Hlc,
    /// Added to the wall clock.
    correction_millis: i64,
    /// The last moment that was looked at: a wall clock that runs away from the monotonic one has been set.
    seen: Now,
    /// How much of the correction nobody has confirmed yet: the wall clock was set by that much.
    unconfirmed_millis: i64,
    /// Time for deadlines never steps back: others may have acted on what this node reported.
    floor: UnixMillis,
    /// When the wall clock was last found to have been set, or the machine to have been suspended, which is the same
    /// where the monotonic clock stands still meanwhile.
    set_at: Option<MonoMicros>,
    /// How many had a say in the correction, this node among them.
    decided_by: usize,
    /// Raw wall clocks of linked peers less ours.
    offsets: BTreeMap<ReplicaId, Offset>,
}

/// What one peer's wall clock showed less ours.
#[derive(Debug)]
struct Offset {
    millis: i64,
    /// Measured before our clock was set: no vote on what has happened since.
    stale: bool,
}

impl HybridClock {
    /// Time for deadlines.
    pub(super) fn time(&self, now: Now) -> UnixMillis {
        self.wall(now).max(self.floor)
    }

    /// Time for deadlines, from which it will not step back.
    pub(super) fn advance(&mut self, now: Now) -> UnixMillis {
        self.floor = self.time(now);
        let step_millis = self.step_millis(now);
        if step_millis != 0 {
            self.set_at = Some(now.mono);
        }
        let doubted_millis = self.doubted_millis(now);
        self.correction_millis = self.correction_millis.saturating_sub(doubted_millis);
        self.unconfirmed_millis = self.unconfirmed_millis.saturating_add(doubted_millis);
        for offset in self.offsets.values_mut().filter(|_| step_millis != 0) {
            *offset = Offset { millis: offset.millis.saturating_sub(step_millis), stale: true };
        }
        self.seen = now;
        if step_millis < 0 && self.offsets.is_empty() {
            self.stamp_back(now);
        }
        self.floor
    }

    /// The later of the two times that it may be, while nobody has confirmed or denied that the wall clock was set.
    pub(super) fn leases_from(&self, now: Now) -> UnixMillis {
        self.time(now).max(now.wall.offset(self.correction_millis.saturating_add(self.unconfirmed_millis)))
    }

    /// Whether the wall clock was found to have been set after a ping that was sent then: what it measures is wrong by as
    /// much, and looks quick when the machine was suspended.
    pub(super) fn was_set_since(&self, sent: MonoMicros) -> bool {
        self.set_at.is_some_and(|at| at >= sent)
    }

    /// As when a ping counts that is sent now.
    pub(super) fn sending(&self, now: Now) -> MonoMicros {
        self.set_at.map_or(now.mono, |at| now.mono.max(MonoMicros(at.0.saturating_add(1))))
    }

    /// How much of what has been set since the last look does not count yet. With peers to compare with, a step counts
    /// only when they confirm it: all that it seems to have ended would have ended for good.
    fn doubted_millis(&self, now: Now) -> i64 {
        if self.offsets.is_empty() { 0 } else { self.step_millis(now) }
    }

    /// By how much the wall clock has been set since it was last looked at.
    fn step_millis(&self, now: Now) -> i64 {
        let passed_millis = now.mono.since(self.seen.mono) / 1_000;
        let millis = |wall: UnixMillis| i64::try_from(wall.0).unwrap_or(i64::MAX);
        let step_millis = millis(now.wall).saturating_sub(millis(self.seen.wall.plus(passed_millis)));
        if step_millis.unsigned_abs() > DRIFT_MILLIS_MAX { step_millis } else { 0 }
    }

    /// A process that has not served or reported yet need not stand by what its clock said before.
    pub(super) fn start_over(&mut self, now: Now) {
        self.floor = self.wall(now);
    }

    /// Takes over a member's time, unless that is out of step: what members hold to be expired must not be alive for
    /// one that joins them.
    pub(super) fn not_before(&mut self, now: Now, time: UnixMillis) {
        if time.since(self.wall(now)) <= DRIFT_MILLIS_MAX {
            self.floor = self.floor.max(time);
        }
    }

    /// Time for deadlines as of the last input.
    pub(super) fn floor(&self) -> UnixMillis {
        self.floor
    }

    pub(super) fn wall(&self, now: Now) -> UnixMillis {
        now.wall.offset(self.correction_millis.saturating_sub(self.doubted_millis(now)))
    }

    /// The stamp that a write made now would get, later than what its client has seen if that is not far ahead.
    pub(super) fn next_stamp(&self, now: Now, after: Option<Hlc>) -> Hlc {
        let wall = self.wall(now);
        let stamp = self.last.next().max(Hlc::from_wall(wall));
        let limit = Hlc::end_of(wall.plus(AFTER_MILLIS_MAX));
        after.map_or(stamp, |after| stamp.max(after.next().min(limit)))
    }

    /// A stamp has been used here, or seen. Gives by how much it is beyond the limit, if it is: such a stamp does
    /// not move this clock.
    pub(super) fn observe(&mut self, now: Now, stamp: Hlc) -> Option<u64> {
        let ahead_millis = stamp.wall().since(self.wall(now));
        if ahead_millis > DRIFT_MILLIS_MAX {
            return Some(ahead_millis);
        }
        self.last = self.last.max(stamp);
        None
    }

    /// A linked peer's wall clock less ours, by a ping that was sent then.
    pub(super) fn measured(&mut self, peer: ReplicaId, sent: MonoMicros, millis: i64) {
        if !self.was_set_since(sent) {
            self.offsets.insert(peer, Offset { millis, stale: false });
        }
    }

    pub(super) fn forget(&mut self, now: Now, peer: ReplicaId) {
        self.offsets.remove(&peer);
        if self.offsets.is_empty() {
            // Nobody is left to confirm it: the machine knows best.
            self.correction_millis = self.correction_millis.saturating_add(self.unconfirmed_millis);
            self.unconfirmed_millis = 0;
            self.stamp_back(now);
        }
    }

    /// Stamps may go back where the clock does: what this node writes next names what it replaces.
    fn stamp_back(&mut self, now: Now) {
        let wall = self.wall(now);
        if self.last.wall().since(wall) > DRIFT_MILLIS_MAX {
            self.last = Hlc::from_wall(wall);
        }
    }

    pub(super) fn offset_of(&self, peer: ReplicaId) -> Option<i64> {
        self.offsets.get(&peer).map(|offset| offset.millis)
    }

    /// How far our wall clock is ahead of the middle of the cluster.
    pub(super) fn skew_millis(&self) -> i64 {
        let (low, high) = middles(self.offsets.values());
        -half_way(low, high)
    }

    pub(super) fn correction_millis(&self) -> i64 {
        self.correction_millis
    }

    /// Falls into step with most of so many members where the skew is beyond the limit. Gives a new correction.
    ///
    /// Fewer than most are not believed: a split that leaves a node alone with one fast clock must not draw it along,
    /// since time for deadlines would not step back when the others return. And two that disagree do not meet half way,
    /// at a time that nobody's clock shows, once a third has told them which of them is right: not because it is gone.
    pub(super) fn correct(&mut self, now: Now, members: usize) -> Option<i64> {
        let (stale, votes): (Vec<&Offset>, Vec<&Offset>) =
            self.offsets.values().partition(|offset| offset.stale);
        // Half of the answers would put us half way between two times of which neither is.
        let waits = self.set_at.is_some_and(|at| now.mono.since(at) < ANSWER_MICROS_MAX);
        if 2 * (votes.len() + 1) <= members || waits && !stale.is_empty() {
            return None;
        }
        let voices = votes.len() + 1;
        let (low, high) = middles(votes.into_iter());
        let torn = high.abs_diff(low) > DRIFT_MILLIS_MAX;
        if torn && self.unconfirmed_millis == 0 && voices < self.decided_by.min(members) {
            return None;
        }
        self.decided_by = voices;
        let wanted = half_way(low, high);
        let wanted = if wanted.unsigned_abs() > DRIFT_MILLIS_MAX { wanted } else { 0 };
        let moved = wanted.abs_diff(self.correction_millis);
        let confirmed = std::mem::take(&mut self.unconfirmed_millis) == 0;
        if confirmed && (moved <= CORRECTION_STEP_MILLIS && wanted != 0 || moved == 0) {
            return None;
        }
        self.correction_millis = wanted;
        self.stamp_back(now);
        Some(wanted)
    }
}

/// How far the two clocks in the middle of the cluster are ahead of us; with an odd number they are one.
fn middles<'a>(offsets: impl Iterator<Item = &'a Offset>) -> (i64, i64) {
    let mut offsets: Vec<i64> = offsets.map(|offset| offset.millis).chain([0]).collect();
    offsets.sort_unstable();
    (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2])
}

/// Half way between the two in the middle, so that two nodes that disagree meet instead of changing places.
fn half_way(low: i64, high: i64) -> i64 {
    low / 2 + high / 2 + (low % 2 + high % 2) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { mono: MonoMicros(millis * 1_000), wall: UnixMillis(1_700_000_000_000 + millis) }
    }

    fn ahead(millis: u64) -> Hlc {
        Hlc::from_wall(at(millis).wall)
    }

    #[test]
    fn a_write_is_stamped_later_than_its_token() {
        let clock = HybridClock::default();
        for millis in [0, 1, DRIFT_MILLIS_MAX / 2, AFTER_MILLIS_MAX] {
            assert!(clock.next_stamp(at(0), Some(ahead(millis))) > ahead(millis), "{millis}");
        }
    }

    #[test]
    fn stamps_go_back_with_a_clock_that_is_set_back_while_nobody_is_linked() {
        let mut clock = HybridClock::default();
        let now = |mono: u64, wall: u64| Now { mono: at(mono).mono, wall: at(wall).wall };
        for (mono, wall) in [(0, 0), (1_000, 61_000), (2_000, 2_000)] {
            let now = now(mono, wall);
            clock.advance(now);
            let stamp = clock.next_stamp(now, None);
            assert_eq!(stamp.wall(), now.wall);
            assert_eq!(clock.observe(now, stamp), None);
        }
        assert_eq!(clock.floor(), at(61_000).wall, "deadlines do not go back");
    }

    #[test]
    fn a_token_that_somebody_has_made_up_draws_nothing_far_ahead() {
        let mut clock = HybridClock::default();
        let forged = [ahead(AFTER_MILLIS_MAX + 1), ahead(24 * 3_600 * 1_000), Hlc(u64::MAX)];
        for (step, after) in (0..).zip(forged.iter().cycle().take(3_000)) {
            let now = at(step);
            let stamp = clock.next_stamp(now, Some(*after));
            let limit = now.wall.plus(AFTER_MILLIS_MAX + 1);
            assert!(stamp.wall() <= limit, "{stamp:?} at step {step}");
            // It is no alarm to a peer whose clock is somewhat behind, and does not push this clock on.
            assert_eq!(clock.observe(now, stamp), None);
        }
        assert!(
            clock.next_stamp(at(3_000 + AFTER_MILLIS_MAX + 1), None).wall()
                <= at(3_000 + AFTER_MILLIS_MAX + 2).wall
        );
    }

    #[test]
    fn two_that_disagree_do_not_meet_half_way_once_a_third_has_told_them_who_is_right() {
        let (fast, third) = (ReplicaId(1), ReplicaId(2));
        let mut clock = HybridClock::default();
        clock.advance(at(0));
        clock.measured(fast, at(1).mono, 60_000);
        assert_eq!(clock.correct(at(1), 3), Some(30_000), "two of three meet while they know no better");
        clock.measured(third, at(1).mono, 0);
        assert_eq!(clock.correct(at(1), 3), Some(0));
        clock.forget(at(2), third);
        assert_eq!(clock.correct(at(2), 3), None);
        assert_eq!(clock.correction_millis(), 0);
        // They are all there are: nobody is missed.
        assert_eq!(clock.correct(at(3), 2), Some(30_000));
    }

    #[test]
    fn who_was_told_that_it_is_fast_stays_told_when_one_of_the_others_goes() {
        let mut clock = HybridClock::default();
        clock.advance(at(0));
        for peer in [1, 2] {
            clock.measured(ReplicaId(peer), at(1).mono, -60_000);
        }
        assert_eq!(clock.correct(at(1), 3), Some(-60_000));
        clock.forget(at(1), ReplicaId(2));
        assert_eq!(clock.correct(at(1), 3), None);
        assert_eq!(clock.correction_millis(), -60_000);
        // Its clock is put right: what is left of the others confirms it.
        let right = Now { mono: at(1_000).mono, wall: UnixMillis(at(1_000).wall.0 - 60_000) };
        clock.advance(right);
        clock.measured(ReplicaId(1), right.mono.plus_millis(1), 0);
        let later = Now { mono: right.mono.plus_millis(5_000), wall: right.wall.plus(5_000) };
        clock.advance(later);
        assert_eq!(clock.correct(later, 3), Some(0));
        assert_eq!(clock.correction_millis(), 0);
    }
}
