use super::*;

const GOOD: &str = r#"
name = "split"
duration = "60s"

[cluster]
nodes = 5

[[fault]]
kind = "partition"
at = "10s"
for = "20s"
groups = [["n1", "n2"]]
"#;

fn refused(text: &str) -> Mistake {
    Scenario::parse(text).unwrap_err().remove(0)
}

#[test]
fn a_scenario_survives_its_text() {
    let scenario = Scenario::parse(GOOD).unwrap();
    assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario.clone()));
    let faults = scenario.faults().unwrap();
    assert_eq!(faults[0].sides, [1, 1, 0, 0, 0]);
    assert_eq!(faults[0].until, Some(Span::secs(30)));
}

#[test]
fn a_wrong_file_is_refused_with_the_line_the_key_and_what_is_allowed() {
    let unknown = refused(&GOOD.replace("nodes = 5", "node = 5"));
    assert_eq!((unknown.line, unknown.key.as_str()), (6, "node"));
    assert!(unknown.what.contains("unknown field `node`"), "{unknown}");
    assert!(unknown.allowed.contains("`nodes`"), "{unknown}");

    let unit = refused(&GOOD.replace("\"60s\"", "60"));
    assert_eq!((unit.line, unit.key.as_str()), (3, "duration"));
    assert!(unit.allowed.contains("\"30s\""), "{unit}");

    let kind = refused(&GOOD.replace("\"partition\"", "\"meteor\""));
    assert_eq!(kind.line, 9, "{kind}");
    assert!(kind.allowed.contains("partition"), "{kind}");

    let nobody = refused(&GOOD.replace("\"n2\"", "\"n7\""));
    assert_eq!((nobody.line, nobody.key.as_str()), (12, "fault[0].groups"), "{nobody}");
    assert!(nobody.allowed.contains("\"n5\""), "{nobody}");

    let key = refused(&GOOD.replace("groups", "ppm = 5\ngroups"));
    assert_eq!((key.line, key.key.as_str()), (12, "fault[0].ppm"), "{key}");

    let late = refused(&GOOD.replace("\"10s\"", "\"70s\""));
    assert_eq!((late.line, late.key.as_str()), (10, "fault[0].at"), "{late}");

    let range = refused(&GOOD.replace("nodes = 5", "nodes = 0"));
    assert_eq!((range.line, range.key.as_str()), (6, "cluster.nodes"), "{range}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = GOOD.replace("nodes = 5", "nodes = 0").replace("\"10s\"", "\"70s\"");
    assert_eq!(Scenario::parse(&text).unwrap_err().len(), 2);
}

#[test]
fn whoever_any_is_does_not_depend_on_the_other_faults() {
    let text = GOOD.replace("groups = [[\"n1\", \"n2\"]]", "groups = [[\"any\"]]");
    let mut scenario = Scenario::parse(&text).unwrap();
    let sides = scenario.faults().unwrap()[0].sides.clone();
    let other =
        FaultSpec { nodes: vec!["any".into()], ..FaultSpec::new(FaultKind::Crash, Span::secs(3), None) };
    scenario.faults.insert(0, other);
    assert_eq!(scenario.faults().unwrap()[1].sides, sides);
}
