//! Numbers out of one seed: every decision of a run can be made again, on any machine.
//!
//! SplitMix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, 2014). Whole numbers only: what a
//! logarithm gives differs between machines.

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug)]
pub struct Rng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one part of a run: what that part draws changes nothing for the others.
    #[must_use]
    pub fn fork(seed: u64, part: &str, number: u64) -> Self {
        let salt = xxhash_rust::xxh3::xxh3_64_with_seed(part.as_bytes(), seed);
        let mut rng = Self(salt ^ number.wrapping_mul(GOLDEN));
        rng.bits();
        rng
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// An index into something of this length; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True this often in a million.
    pub fn hits(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// The place of one of these weights, each as often as it weighs; 0 when all weigh nothing.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut at = self.below(weights.iter().map(|weight| u64::from(*weight)).sum());
        for (index, weight) in weights.iter().enumerate() {
            if at < u64::from(*weight) {
                return index;
            }
            at -= u64::from(*weight);
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        let mut rng = Rng::new(1);
        assert_eq!([rng.bits(), rng.bits()], [10_451_216_379_200_822_465, 13_757_245_211_066_428_519]);
    }

    #[test]
    fn parts_draw_independently() {
        assert_ne!(Rng::fork(1, "network", 0).bits(), Rng::fork(1, "network", 1).bits());
        assert_ne!(Rng::fork(1, "network", 0).bits(), Rng::fork(1, "users", 0).bits());
        assert_ne!(Rng::fork(1, "network", 0).bits(), Rng::fork(2, "network", 0).bits());
    }
}
