//! From a scenario that breaks a promise to a smaller one that breaks the same.

use super::Failure;
use crate::scenario::{ClockSpec, MembershipSpec, Mix, NetworkSpec, Scenario, Share, Span, TrafficSpec};

/// One way to make a scenario smaller.
type Smaller = Box<dyn Fn(&Scenario) -> Option<Scenario>>;

/// Leaves out what is not needed, as long as `fails` gives the same judge; at most so many attempts.
pub fn shrink(
    scenario: &Scenario,
    failure: &Failure,
    attempts_max: usize,
    fails: &mut dyn FnMut(&Scenario) -> Option<Failure>,
) -> (Scenario, Failure) {
    let (mut best, mut found) = (scenario.clone(), failure.clone());
    let mut attempts = 0;
    loop {
        let mut progress = false;
        for smaller in ways(&best) {
            if attempts >= attempts_max {
                return (best, found);
            }
            let Some(candidate) = smaller(&best).filter(|candidate| *candidate != best) else { continue };
            if !candidate.mistakes().is_empty() {
                continue;
            }
            attempts += 1;
            if let Some(failure) = fails(&candidate).filter(|failure| failure.judge == found.judge) {
                (best, found) = (candidate, failure);
                progress = true;
            }
        }
        if !progress {
            return (best, found);
        }
    }
}

fn way(change: impl Fn(&mut Scenario) + 'static) -> Smaller {
    Box::new(move |scenario| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        Some(smaller)
    })
}

/// The ways that make sense for a scenario, the greatest gains first.
fn ways(scenario: &Scenario) -> Vec<Smaller> {
    let mut ways = vec![way(|s| shorten(s, 2, 1)), way(|s| shorten(s, 4, 3))];
    // From the last: leaving one out moves no other.
    for index in (0..scenario.faults.len()).rev() {
        ways.push(Box::new(move |s| {
            let mut smaller = s.clone();
            (index < smaller.faults.len()).then(|| smaller.faults.remove(index))?;
            Some(smaller)
        }));
    }
    ways.push(way(|s| s.cluster.disk = None));
    ways.extend(calmer());
    ways.extend(quieter());
    ways.extend(fewer_users(scenario));
    for index in 0..scenario.faults.len() {
        ways.push(way(move |s| {
            if let Some(fault) = s.faults.get_mut(index) {
                fault.r#for = fault.r#for.map(|lasts| Span(lasts.0 / 2));
            }
        }));
        ways.push(way(move |s| {
            if let Some(fault) = s.faults.get_mut(index) {
                (fault.loss, fault.duplicate, fault.reorder) = (None, None, None);
                (fault.latency, fault.bandwidth) = (None, None);
            }
        }));
    }
    ways
}

fn shorten(scenario: &mut Scenario, divisor: u64, times: u64) {
    let duration = Span(scenario.duration.0 / divisor * times);
    let kept = scenario.faults.iter().filter(|fault| fault.at < duration).cloned().collect();
    scenario.duration = duration.max(Span::secs(1));
    scenario.faults = kept;
}

/// A better network, truer clocks.
fn calmer() -> Vec<Smaller> {
    vec![
        way(|s| s.network = NetworkSpec::default()),
        way(|s| s.clocks = ClockSpec::default()),
        way(|s| s.membership = MembershipSpec::default()),
        way(|s| (s.network.loss, s.network.duplicate, s.network.reorder) = Default::default()),
        way(|s| s.network.bandwidth = None),
        way(|s| s.network.queue = NetworkSpec::default().queue),
        way(|s| s.network.latency = NetworkSpec::default().latency),
        way(|s| s.network.between_zones = None),
        way(|s| s.network.through_bytes = false),
        way(|s| s.cluster.log = crate::scenario::Bytes(64 << 20)),
        way(|s| s.cluster.stagger = Span::millis(50)),
        way(|s| s.cluster.zones = 1),
        way(|s| s.cluster.nodes -= usize::from(s.cluster.nodes > 2)),
    ]
}

/// Less of everything that users do.
fn quieter() -> Vec<Smaller> {
    let calm = TrafficSpec::default();
    vec![
        way(|s| s.traffic.counters.per_second = 0),
        way(|s| s.traffic.sets.per_second = 0),
        way(|s| s.traffic.documents.per_second = 0),
        way(|s| s.traffic.rates_per_second = 0),
        way(|s| s.traffic.pages_per_second = 0),
        way(|s| s.traffic.surge.clear()),
        way(|s| s.traffic.parallel = 1),
        way(|s| s.traffic.majority = Share(0)),
        way(|s| s.traffic.touch = Share(0)),
        way(|s| s.traffic.tokens = Share(0)),
        way(|s| s.traffic.fields = 1),
        way(|s| s.traffic.mix = Mix { logout: 0, ..s.traffic.mix.clone() }),
        way(|s| s.traffic.mix = Mix { cart: 0, ..s.traffic.mix.clone() }),
        way(|s| s.traffic.mix = Mix { same: 0, count: 0, ..s.traffic.mix.clone() }),
        way(|s| s.traffic.mix = Mix { browse: 0, ..s.traffic.mix.clone() }),
        way(move |s| s.traffic.field_bytes = calm.field_bytes),
        way(|s| s.traffic.counters.names = s.traffic.counters.names.min(2)),
        way(|s| s.traffic.pages_per_second /= 2),
        way(|s| s.traffic.counters.per_second /= 2),
        way(|s| s.traffic.sets.per_second /= 2),
        way(|s| s.traffic.documents.per_second /= 2),
    ]
}

/// Halves, quarters and single ones of the users left out.
fn fewer_users(scenario: &Scenario) -> Vec<Smaller> {
    let traffic = &scenario.traffic;
    let users: Vec<u32> =
        if traffic.only_users.is_empty() { (0..traffic.users).collect() } else { traffic.only_users.clone() };
    let mut ways: Vec<Smaller> = Vec::new();
    let mut chunk = users.len().div_ceil(2);
    while chunk > 0 && users.len() > 1 {
        for out in users.chunks(chunk) {
            let out = out.to_vec();
            let all = users.clone();
            ways.push(Box::new(move |s| {
                let mut smaller = s.clone();
                let now =
                    if smaller.traffic.only_users.is_empty() { &all } else { &smaller.traffic.only_users };
                let left: Vec<u32> = now.iter().copied().filter(|user| !out.contains(user)).collect();
                (!left.is_empty()).then(|| smaller.traffic.only_users = left)?;
                Some(smaller)
            }));
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(4);
    }
    ways
}
