//! A whole scenario out of one number.

use crate::rng::Rng;
use crate::scenario::{
    Balancer, Bytes, ClockSpec, ClusterSpec, FaultKind, FaultSpec, LimitSpec, Lost, NetworkSpec, Offset,
    Scenario, Share, Span, Spread, TrafficSpec,
};

/// The scenario of a seed: every knob is drawn, faults and all.
#[must_use]
pub fn draw(seed: u64) -> Scenario {
    let mut rng = Rng::fork(seed, "draw", 0);
    let rng = &mut rng;
    let nodes = rng.pick(&[2, 3, 3, 3, 4, 5, 5, 7]);
    let duration = Span::secs(rng.between(8, 60));
    let mut scenario = Scenario {
        name: format!("seed-{seed}"),
        about: String::new(),
        seed,
        duration,
        settle: Span::secs(120),
        quiet: Span::secs(5),
        sample: Span::millis(rng.pick(&[200, 1_000])),
        cluster: cluster(rng, nodes),
        network: network(rng),
        clocks: ClockSpec {
            skew: rng.pick(&[Span(0), Span::millis(100), Span::secs(3), Span::secs(9), Span::secs(3_600)]),
            drift_ppm: rng.pick(&[0, 50, 500]),
        },
        membership: crate::scenario::MembershipSpec {
            mistakes_per_hour: rng.pick(&[0, 0, 100, 2_000]),
            ..crate::scenario::MembershipSpec::default()
        },
        traffic: traffic(rng),
        // A lossy link is sent things again, and small logs make states of what would be operations.
        limits: LimitSpec { idle_per_link: Bytes(16 << 10), overhead_per_write: Bytes(1 << 20) },
        blobs: crate::scenario::BlobSpec::default(),
        faults: Vec::new(),
    };
    for _ in 0..rng.below(7) {
        let fault = fault(rng, &scenario);
        scenario.faults.push(fault);
    }
    scenario
}

fn cluster(rng: &mut Rng, nodes: usize) -> ClusterSpec {
    ClusterSpec {
        nodes,
        zones: rng.between(1, nodes.min(3) as u64) as usize,
        log: rng.pick(&[Bytes(64 << 20), Bytes(64 << 20), Bytes(1 << 20), Bytes(128 << 10)]),
        bootstrap: rng.pick(&[Span::secs(2), Span::secs(5), Span::secs(10)]),
        stagger: rng.pick(&[Span(0), Span::millis(50), Span::secs(1)]),
        session_lifetime: None,
        full_mesh: if nodes > 3 && rng.below(3) == 0 { 3 } else { 32 },
        drain: Span::secs(rng.between(1, 10)),
        disk: rng.pick(&[None, None, None, Some(Span::millis(2)), Some(Span::millis(50))]),
    }
}

fn latency(rng: &mut Rng) -> Spread {
    let spread =
        |min, p50, p99, max| Spread { min: Span(min), p50: Span(p50), p99: Span(p99), max: Span(max) };
    rng.pick(&[
        spread(50, 150, 1_000, 5_000),
        spread(80, 200, 2_000, 20_000),
        spread(5_000, 12_000, 40_000, 200_000),
        spread(40_000, 80_000, 300_000, 1_500_000),
    ])
}

fn network(rng: &mut Rng) -> NetworkSpec {
    let mut spec = NetworkSpec { latency: latency(rng), ..NetworkSpec::default() };
    spec.between_zones = (rng.below(3) == 0).then(|| latency(rng));
    spec.loss = rng.pick(&[Share(0), Share(0), Share(1_000), Share(20_000)]);
    spec.lost = Lost::SentAgain;
    spec.bandwidth = rng.pick(&[None, None, Some(Bytes(1 << 20)), Some(Bytes(10 << 20))]);
    spec.queue = rng.pick(&[Bytes(64 << 20), Bytes(256 << 10)]);
    spec.silence = rng.pick(&[Span::secs(5), Span::secs(5), Span::secs(2)]);
    spec.reorder_by = Span::millis(rng.pick(&[5, 50, 1_000]));
    spec.through_bytes = rng.below(5) == 0;
    spec
}

fn traffic(rng: &mut Rng) -> TrafficSpec {
    let mut spec = TrafficSpec {
        users: rng.pick(&[2, 5, 20, 60]),
        pages_per_second: rng.pick(&[3, 15, 60]),
        parallel: rng.between(1, 5) as u32,
        balancer: rng.pick(&[Balancer::RoundRobin, Balancer::RoundRobin, Balancer::Random, Balancer::Sticky]),
        tokens: rng.pick(&[Share(0), Share(500_000), Share(1_000_000)]),
        majority: rng.pick(&[Share(0), Share(20_000), Share(500_000)]),
        logout_in_flight: rng.pick(&[Share(0), Share(500_000), Share(1_000_000)]),
        fields: rng.pick(&[1, 6, 30]),
        field_bytes: rng.pick(&[Bytes(20), Bytes(40), Bytes(2_000)]),
        ttl: rng.pick(&[Span::secs(1_800), Span::secs(1_800), Span::secs(20), Span::secs(6)]),
        touch: rng.pick(&[Share(0), Share(200_000), Share(1_000_000)]),
        rates_per_second: rng.pick(&[0, 5]),
        patience: rng.pick(&[Span::secs(2), Span::secs(10)]),
        ..TrafficSpec::default()
    };
    spec.mix.logout = rng.pick(&[0, 2, 30]);
    spec.mix.same = rng.pick(&[5, 50]);
    spec.mix.count = rng.pick(&[5, 30]);
    spec.counters.per_second = rng.pick(&[0, 5, 30]);
    spec.counters.reset = rng.pick(&[Share(0), Share(20_000), Share(200_000)]);
    spec.sets.per_second = rng.pick(&[0, 3, 20]);
    spec.sets.members = rng.pick(&[3, 50]);
    spec.documents.per_second = rng.pick(&[0, 3, 20]);
    spec
}

fn fault(rng: &mut Rng, scenario: &Scenario) -> FaultSpec {
    let kind = match rng.pick(&FaultKind::ALL) {
        FaultKind::SlowDisk if scenario.cluster.disk.is_none() => FaultKind::Slow,
        kind => kind,
    };
    let at = Span::millis(rng.below(scenario.duration.as_millis()));
    let lasts = Span::millis(rng.pick(&[50, 500, 3_000, 8_000, 20_000, 40_000]) + rng.below(2_000));
    let mut fault = FaultSpec::new(kind, at, Some(lasts));
    let nodes = scenario.cluster.nodes as u64;
    let some = |rng: &mut Rng| vec![format!("n{}", 1 + rng.below(nodes))];
    fault.nodes = match kind {
        FaultKind::Partition | FaultKind::Cut => Vec::new(),
        _ if rng.below(12) == 0 => vec!["all".into()],
        _ if rng.below(8) == 0 => vec![format!("z{}", 1 + rng.below(scenario.cluster.zones as u64))],
        _ => some(rng),
    };
    match kind {
        FaultKind::Partition => {
            let side = |node: u64| format!("n{}", node + 1);
            let group: Vec<String> = (0..nodes).filter(|_| rng.below(2) == 0).map(side).collect();
            fault.groups =
                vec![if group.is_empty() || group.len() as u64 == nodes { some(rng) } else { group }];
            fault.users_too = rng.below(4) == 0;
        }
        FaultKind::Cut => (fault.from, fault.to) = (some(rng), vec!["all".into()]),
        FaultKind::Isolate => fault.users_too = rng.below(4) == 0,
        FaultKind::Flap => fault.every = Some(Span::millis(rng.pick(&[200, 2_000, 7_000]))),
        FaultKind::Degrade => degrade(rng, &mut fault),
        FaultKind::Crash | FaultKind::Leave => {
            fault.every = (rng.below(2) == 0).then(|| Span::millis(rng.pick(&[100, 3_000, 10_000])));
            if rng.below(8) == 0 && fault.nodes[0].starts_with('n') {
                fault.r#for = None;
            }
        }
        FaultKind::Slow | FaultKind::SlowDisk => fault.by = Some(Offset(rng.pick(&[5, 100, 1_500]))),
        FaultKind::ClockStep => {
            let by = rng.pick(&[200, 5_000, 60_000, 3_600_000]);
            fault.by = Some(Offset(if rng.below(2) == 0 { by } else { -by }));
        }
        FaultKind::ClockDrift => fault.ppm = Some(rng.pick(&[-20_000, -500, 500, 20_000])),
        FaultKind::Clog | FaultKind::Pause | FaultKind::Suspend | FaultKind::Mistake => {}
    }
    fault
}

fn degrade(rng: &mut Rng, fault: &mut FaultSpec) {
    fault.latency = (rng.below(2) == 0).then(|| latency(rng));
    fault.loss = rng.pick(&[None, Some(Share(20_000)), Some(Share(250_000))]);
    fault.duplicate = rng.pick(&[None, Some(Share(100_000))]);
    fault.reorder = rng.pick(&[None, Some(Share(300_000))]);
    fault.bandwidth = rng.pick(&[None, Some(Bytes(20 << 10)), Some(Bytes(1 << 20))]);
}
