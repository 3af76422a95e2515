//! What comparisons come to: rows of a table, JSON, and bars.

use serde::Serialize;

use crate::load::Round;
use crate::stats::{Spread, percentile, spread};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    More,
    Less,
}

/// One thing, measured on some systems in one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) part: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Sidetalk first.
    pub(crate) sides: Vec<Side>,
    /// Of the first to each of the others, and what it should be.
    pub(crate) ratios: Vec<Ratio>,
}

/// One system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) who: String,
    pub(crate) value: Spread,
    pub(crate) p50_micros: Option<f64>,
    pub(crate) p99_micros: Option<f64>,
    /// Processor time of the servers for each call.
    pub(crate) server_micros: Option<f64>,
    /// Processor time of the load generator for each call.
    pub(crate) load_micros: Option<f64>,
}

/// One beside another.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) to: String,
    pub(crate) of: Spread,
    /// At least this where more is better, at most this where less is.
    pub(crate) target: Option<f64>,
    pub(crate) met: Option<bool>,
}

impl Side {
    /// Of figures that were measured one by one.
    pub(crate) fn of(who: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let value = spread(values);
        Self {
            who: who.to_owned(),
            value,
            p50_micros: None,
            p99_micros: None,
            server_micros: None,
            load_micros: None,
        }
    }

    /// Calls a second, of rounds.
    pub(crate) fn of_rounds(who: &str, rounds: &mut [Round]) -> Self {
        let median = |of: &dyn Fn(&Round) -> f64| Some(spread(rounds.iter().map(of)).median);
        let (server_micros, load_micros) =
            (median(&|round| round.cpu_micros), median(&|round| round.load_micros));
        let value = spread(rounds.iter().map(|round| round.per_second));
        let mut at =
            |percent| spread(rounds.iter_mut().map(|round| percentile(&mut round.latencies, percent))).median;
        let (p50, p99) = (at(50.0), at(99.0));
        Self {
            who: who.to_owned(),
            value,
            p50_micros: Some(p50),
            p99_micros: Some(p99),
            server_micros,
            load_micros,
        }
    }
}

impl Comparison {
    /// Of sides that took turns: the ratios are those of rounds that stood beside each other.
    pub(crate) fn of_rounds(
        part: &'static str,
        name: String,
        unit: &'static str,
        mut sides: Vec<(&str, Vec<Round>)>,
        targets: &[(&str, f64)],
    ) -> Self {
        let per_second = |rounds: &[Round]| rounds.iter().map(|round| round.per_second).collect::<Vec<_>>();
        let speeds: Vec<(String, Vec<f64>)> =
            sides.iter().map(|(who, rounds)| ((*who).to_owned(), per_second(rounds))).collect();
        let sides = sides.iter_mut().map(|(who, rounds)| Side::of_rounds(who, rounds)).collect();
        let mut comparison = Self { part, name, unit, better: Better::More, sides, ratios: Vec::new() };
        comparison.ratios = comparison.ratios_of(&speeds, targets);
        comparison
    }

    /// Of figures that were measured one by one, as many on each side.
    pub(crate) fn of_values(
        part: &'static str,
        name: String,
        unit: &'static str,
        better: Better,
        sides: &[(&str, Vec<f64>)],
        targets: &[(&str, f64)],
    ) -> Self {
        let values: Vec<(String, Vec<f64>)> =
            sides.iter().map(|(who, values)| ((*who).to_owned(), values.clone())).collect();
        let sides = sides.iter().map(|(who, values)| Side::of(who, values.iter().copied())).collect();
        let mut comparison = Self { part, name, unit, better, sides, ratios: Vec::new() };
        comparison.ratios = comparison.ratios_of(&values, targets);
        comparison
    }

    fn ratios_of(&self, values: &[(String, Vec<f64>)], targets: &[(&str, f64)]) -> Vec<Ratio> {
        let Some(((_, ours), others)) = values.split_first() else { return Vec::new() };
        let ratio = |(to, theirs): &(String, Vec<f64>)| {
            let of = spread(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs));
            let target = targets.iter().find(|(who, _)| who == to).map(|(_, target)| *target);
            let met = target.map(|target| match self.better {
                Better::More => of.median >= target,
                Better::Less => of.median <= target,
            });
            Ratio { to: to.clone(), of, target, met }
        };
        others.iter().map(ratio).collect()
    }

    /// A comparison with a fixed bound instead of another system.
    pub(crate) fn bounded(
        part: &'static str,
        name: String,
        unit: &'static str,
        values: &[f64],
        at_most: f64,
    ) -> Self {
        let sides: [(&str, Vec<f64>); 2] =
            [("Sidetalk", values.to_vec()), ("the bound", vec![at_most; values.len()])];
        Self::of_values(part, name, unit, Better::Less, &sides, &[("the bound", 1.0)])
    }

    /// Percentiles of waiting beside each other, as a comparison of its own.
    pub(crate) fn p99(&self, target: f64) -> Self {
        let sides: Vec<(&str, Vec<f64>)> =
            self.sides.iter().filter_map(|side| Some((side.who.as_str(), vec![side.p99_micros?]))).collect();
        let targets: Vec<(&str, f64)> = sides.iter().skip(1).map(|(who, _)| (*who, target)).collect();
        let name = format!("{}: p99", self.name);
        Self::of_values(self.part, name, "µs", Better::Less, &sides, &targets)
    }
}
