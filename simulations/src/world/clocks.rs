//! What each node reads when it looks at its clocks.

use sidetalk::core::time::{MonoMicros, Now, UnixMillis};

use super::queue::Micros;
use crate::rng::Rng;
use crate::scenario::Scenario;

/// When every world begins, by the true time.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

/// A monotonic clock does not begin at zero.
const MONO_START: Micros = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    skew_millis: i64,
    drift_ppm: i64,
    /// When the drift began to count.
    since: Micros,
    /// How long the machine was suspended: its monotonic clock stood still.
    suspended: Micros,
}

/// The clocks of all nodes, and how far apart they have been.
pub(super) struct Clocks {
    clocks: Vec<Clock>,
    lowest_millis: i64,
    highest_millis: i64,
}

impl Clocks {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut rng = Rng::fork(scenario.seed, "clocks", 0);
        let mut symmetric = |bound: u64| rng.between(0, 2 * bound) as i64 - bound as i64;
        let clocks = (0..scenario.cluster.nodes)
            .map(|_| Clock {
                skew_millis: symmetric(scenario.clocks.skew.as_millis()),
                drift_ppm: symmetric(scenario.clocks.drift_ppm.into()),
                ..Clock::default()
            })
            .collect();
        let mut clocks = Self { clocks, lowest_millis: 0, highest_millis: 0 };
        clocks.look(0);
        clocks
    }

    /// By how much a node's wall clock is off.
    pub(super) fn offset_millis(&self, node: usize, now: Micros) -> i64 {
        let clock = &self.clocks[node];
        // A part per million of a microsecond, in milliseconds.
        let drifted = now.saturating_sub(clock.since) as i64 * clock.drift_ppm / 1_000_000_000;
        clock.skew_millis + drifted
    }

    pub(super) fn now(&self, node: usize, now: Micros) -> Now {
        let mono = MonoMicros(MONO_START + now - self.clocks[node].suspended.min(now));
        Now { mono, wall: EPOCH.plus(now / 1_000).offset(self.offset_millis(node, now)) }
    }

    /// The moment at which a node's monotonic clock shows this.
    pub(super) fn when(&self, node: usize, mono: MonoMicros) -> Micros {
        (mono.0 + self.clocks[node].suspended).saturating_sub(MONO_START)
    }

    pub(super) fn step(&mut self, node: usize, now: Micros, millis: i64) {
        self.clocks[node].skew_millis += millis;
        self.look(now);
    }

    pub(super) fn drift(&mut self, node: usize, now: Micros, ppm: i64) {
        let skew_millis = self.offset_millis(node, now);
        let clock = &mut self.clocks[node];
        (clock.skew_millis, clock.since) = (skew_millis, now);
        clock.drift_ppm += ppm;
    }

    pub(super) fn suspend(&mut self, node: usize, lasted: Micros) {
        self.clocks[node].suspended += lasted;
    }

    /// Notes how far apart they are.
    pub(super) fn look(&mut self, now: Micros) {
        for node in 0..self.clocks.len() {
            let offset = self.offset_millis(node, now);
            self.lowest_millis = self.lowest_millis.min(offset);
            self.highest_millis = self.highest_millis.max(offset);
        }
    }

    /// The furthest apart that two clocks have been.
    pub(super) fn spread_millis(&self) -> u64 {
        self.highest_millis.abs_diff(self.lowest_millis)
    }
}
