//! Datagrams that were said before are not heard again.
//!
//! A datagram is believed when it names this process's mailbox, which was drawn when the process started, and bears a
//! number that its sender has not used yet. So what was captured in an earlier life of this process is worth nothing, and
//! what was captured in this one is known by its number. Who does not know the mailbox is told it and asks again: that
//! costs a newcomer one exchange, and a clock would cost everyone whose clock is wrong.
//!
//! Only what was opened with the cluster's key gets here, so nobody else can fill the table or spoil it.

use std::collections::HashMap;

use crate::core::identity::ReplicaId;

/// Numbers behind the highest that may still come, in words of 64. UDP reorders, and a rehearsed delay does so more.
const WORDS: usize = 16;

/// Senders that are remembered, at most. When there are more, all are forgotten and the mailbox is another one.
const SENDERS_MAX: usize = 4_096;

/// Names a process to those who send it datagrams.
pub(super) type Mailbox = [u8; 8];

/// No mailbox: the sender does not know it.
pub(super) const NOWHERE: Mailbox = [0; 8];

/// What has been heard of whom.
pub(super) struct Replays {
    mailbox: Mailbox,
    senders: HashMap<ReplicaId, Window>,
    draw: fn() -> Mailbox,
}

/// What to think of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is for this process, and new.
    New,
    /// It was heard already.
    Again,
    /// It is for nobody, or for an earlier process.
    Unaddressed,
}

impl Replays {
    pub(super) fn new() -> Self {
        Self::drawing(random)
    }

    fn drawing(draw: fn() -> Mailbox) -> Self {
        Self { mailbox: draw(), senders: HashMap::new(), draw }
    }

    /// Where others reach this process now.
    pub(super) fn mailbox(&self) -> Mailbox {
        self.mailbox
    }

    /// Takes note of a datagram.
    pub(super) fn hear(&mut self, from: ReplicaId, to: Mailbox, number: u64) -> Heard {
        if to != self.mailbox {
            return Heard::Unaddressed;
        }
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&from) {
            self.senders.clear();
            self.mailbox = (self.draw)();
            return Heard::Unaddressed;
        }
        if self.senders.entry(from).or_default().take(number) { Heard::New } else { Heard::Again }
    }
}

fn random() -> Mailbox {
    let mut mailbox = NOWHERE;
    // Without random bits nothing is sent either.
    let _ = getrandom::fill(&mut mailbox);
    mailbox
}

/// The numbers of one sender that have come (RFC 6479).
#[derive(Default)]
struct Window {
    /// The highest that has come, plus one.
    end: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// Whether this number is new. It is not, from now on.
    fn take(&mut self, number: u64) -> bool {
        let behind = self.end > 0 && number / 64 + WORDS as u64 <= (self.end - 1) / 64;
        if number == u64::MAX || behind {
            return false;
        }
        if number >= self.end {
            self.advance(number + 1);
        }
        let (word, bit) = (number / 64 % WORDS as u64, 1 << (number % 64));
        let word = &mut self.seen[word as usize];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn advance(&mut self, end: u64) {
        // Words that the window moves into are empty.
        let (last, next) = (self.end.div_ceil(64), end.div_ceil(64));
        for word in last..next.min(last + WORDS as u64) {
            self.seen[(word % WORDS as u64) as usize] = 0;
        }
        self.end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = WORDS as u64 * 64;
    const A: ReplicaId = ReplicaId(1);

    fn counting() -> Mailbox {
        use std::sync::atomic::{AtomicU64, Ordering};
        static DRAWN: AtomicU64 = AtomicU64::new(1);
        DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes()
    }

    #[test]
    fn each_number_is_heard_once_in_any_order() {
        let mut window = Window::default();
        let mut heard = std::collections::BTreeSet::new();
        let mut random = 7u64;
        for step in 0..20_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Forwards on average, and back by up to twice the window.
            let number =
                (step / 4 + random % 300).saturating_sub(if random >> 60 == 0 { 2 * WINDOW } else { 0 });
            let new = window.take(number);
            assert!(!(new && heard.contains(&number)), "{number} was heard twice");
            let end = heard.last().map_or(0, |last| last + 1);
            if number + WINDOW - 64 >= end {
                assert!(new || heard.contains(&number), "{number} was refused below {end}");
            }
            if new {
                heard.insert(number);
            }
        }
        assert!(heard.len() > 3_000);
        assert!(
            window.take(u64::MAX - 1)
                && !window.take(u64::MAX)
                && !window.take(0)
                && !window.take(u64::MAX - 1)
        );
    }

    #[test]
    fn what_is_for_another_life_is_not_heard() {
        let mut replays = Replays::drawing(counting);
        let here = replays.mailbox();
        assert_eq!(replays.hear(A, NOWHERE, 0), Heard::Unaddressed);
        assert_eq!(replays.hear(A, here, 0), Heard::New);
        assert_eq!(replays.hear(A, here, 0), Heard::Again);
        assert_eq!(Replays::drawing(counting).hear(A, here, 1), Heard::Unaddressed);
    }

    #[test]
    fn a_crowd_costs_the_mailbox_and_nothing_is_heard_twice() {
        let mut replays = Replays::drawing(counting);
        let here = replays.mailbox();
        for id in 0..SENDERS_MAX as u64 {
            assert_eq!(replays.hear(ReplicaId(id), here, 5), Heard::New);
        }
        assert_eq!(replays.hear(ReplicaId(u64::MAX), here, 5), Heard::Unaddressed);
        assert_ne!(replays.mailbox(), here);
        assert_eq!(replays.hear(A, here, 5), Heard::Unaddressed);
        assert_eq!(replays.hear(A, replays.mailbox(), 5), Heard::New);
    }
}
