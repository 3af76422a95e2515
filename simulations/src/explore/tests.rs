use super::*;
use crate::scenario::Scenario;

#[test]
fn what_is_drawn_is_a_scenario_and_survives_its_text() {
    for seed in 0..300 {
        let scenario = draw(seed);
        assert_eq!(scenario.mistakes(), [], "seed {seed}");
        assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario), "seed {seed}");
    }
}

#[test]
fn a_failing_scenario_is_made_smaller() {
    let scenario = (0..).map(draw).find(|scenario| scenario.faults.len() > 3).unwrap();
    let failure = Failure { judge: "test".into(), what: String::new() };
    // It takes one user, the first fault, and nothing else.
    let needed = scenario.faults[0].clone();
    let mut fails = |candidate: &Scenario| {
        let users = &candidate.traffic.only_users;
        let wanted = users.is_empty() || users.contains(&1);
        let same = |fault: &crate::scenario::FaultSpec| fault.kind == needed.kind && fault.at == needed.at;
        (wanted && candidate.faults.iter().any(same)).then(|| failure.clone())
    };
    let (smaller, _) = shrink(&scenario, &failure, 10_000, &mut fails);
    assert_eq!(smaller.faults.len(), 1);
    assert_eq!(smaller.traffic.only_users, [1]);
    assert_eq!(smaller.traffic.pages_per_second, 0);
    assert_eq!(Scenario::parse(&smaller.to_toml()), Ok(smaller));
}
