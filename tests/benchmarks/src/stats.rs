//! Medians and percentiles.

use std::time::Duration;

use serde::Serialize;

/// The middle of some numbers, and what most of them lie between.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

pub(crate) fn spread(numbers: impl IntoIterator<Item = f64>) -> Spread {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    Spread { median: numbers[numbers.len() / 2], least: numbers[0], most: numbers[numbers.len() - 1] }
}

/// A percentile in microseconds; sorts.
pub(crate) fn percentile(latencies: &mut [Duration], percent: f64) -> f64 {
    latencies.sort_unstable();
    let at = ((latencies.len() - 1) as f64 * percent / 100.0).round() as usize;
    latencies[at].as_nanos() as f64 / 1e3
}
