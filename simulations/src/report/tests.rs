use super::*;
use crate::record::{FaultSpan, NodeSample, NodeState, Sample};
use crate::run::{Under, run_under};
use crate::scenario::Scenario;
use crate::world::Watch;

const SMALL: &str = r#"
name = "small <split> & heal"
about = "Two nodes lose the third."
duration = "12s"
[traffic]
users = 20
pages_per_second = 20
[[fault]]
kind = "partition"
at = "3s"
for = "4s"
groups = [["n1"]]
[[fault]]
kind = "crash"
at = "4s"
for = "3s"
nodes = ["n2"]
"#;

fn made(under: Under) -> (RunRecord, Vec<String>) {
    let scenario = Scenario::parse(SMALL).unwrap();
    let mut watch = Watch { tell: true, ..Watch::default() };
    run_under(&scenario, under, &mut watch).unwrap()
}

/// Every tag is closed in order, and nothing stands open: what an XML parser would say.
fn well_formed(page: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').ok_or("a tag without an end")?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).ok_or("a tag without a name")?;
        if tag.starts_with('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
        } else if tag.matches('"').count() % 2 == 1 {
            return Err(format!("an odd quote in <{tag}>"));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        let text = &rest[..rest.find('<').unwrap_or(rest.len())];
        let raw = matches!(open.last(), Some(&("script" | "style")));
        if !raw
            && text.split('&').skip(1).any(|entity| {
                !entity.split(';').next().is_some_and(|e| matches!(e, "amp" | "lt" | "gt" | "quot"))
            })
        {
            return Err(format!("a bare & in {text:?}"));
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

fn is_self_contained(page: &str) {
    for outside in
        ["http://", "https://", "src=", "href=", "@import", "url(", "<link", "<img", "fetch(", "//cdn"]
    {
        assert!(!page.contains(outside), "the page asks for something outside: {outside}");
    }
}

#[test]
fn the_checker_sees_what_is_not_well_formed() {
    for wrong in ["<p>", "<p></b>", "<p>a & b</p>", "<p class=\"x></p>"] {
        assert!(well_formed(&format!("<!DOCTYPE html>{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn a_runs_page_stands_alone_and_holds_every_section() {
    let (record, story) = made(Under::Sidetalk);
    let side = Side {
        name: "sidetalk",
        record: &record,
        command: "sidetalk-sim run small.toml --seed 1",
        story: &story,
    };
    let page = page::run(&side);
    well_formed(&page).unwrap();
    is_self_contained(&page);
    for section in
        ["summary", "outcomes", "verdicts", "nodes", "users", "healing", "sorts", "traffic", "sizes", "world"]
    {
        assert!(page.contains(&format!("id=\"section-{section}\"")), "{section}");
    }
    for told in [
        &record.trace_hash,
        "sidetalk-sim run small.toml --seed 1",
        "partition: n2 n3 | n1",
        "small &lt;split&gt; &amp; heal",
    ] {
        assert!(
            page.contains(told) || told.starts_with("partition") && page.contains("partition: n1 | n2 n3"),
            "{told}"
        );
    }
    assert_eq!(page.contains("All promises held"), record.is_clean());
}

#[test]
fn a_comparisons_page_shows_both_and_the_first_broken_promise_is_told() {
    let (ours, _) = made(Under::Sidetalk);
    let (theirs, story) = made(Under::Blobs(None));
    let a = Side { name: "sidetalk", record: &ours, command: "a", story: &[] };
    let b = Side { name: "blobs", record: &theirs, command: "b", story: &story };
    let page = page::compare([&a, &b], "sidetalk-sim compare small.toml");
    well_formed(&page).unwrap();
    is_self_contained(&page);
    assert!(page.contains(&ours.trace_hash) && page.contains(&theirs.trace_hash));
    assert!(!theirs.is_clean(), "parallel requests lose updates in whole blobs");
    let page = page::run(&b);
    well_formed(&page).unwrap();
    assert!(page.contains("id=\"section-violation\""));
}

#[test]
fn the_figures_are_as_long_as_their_time_axis_and_are_valid_json() {
    let (record, _) = made(Under::Sidetalk);
    let folder = std::env::temp_dir().join(format!("sidetalk-report-{}", std::process::id()));
    let side = Side { name: "sidetalk", record: &record, command: "c", story: &[] };
    write_run(&folder, &side).unwrap();
    let text = std::fs::read_to_string(folder.join("figures.json")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["trace_hash"], record.trace_hash);
    let figures = json["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 11);
    for figure in figures {
        let x = figure["x"].as_array().unwrap().len();
        assert!(x > 5, "{}", figure["id"]);
        for series in figure["series"].as_array().unwrap() {
            assert_eq!(series["values"].as_array().unwrap().len(), x, "{}", figure["id"]);
        }
    }
    let states = json["lanes"][1].to_string();
    assert!(states.contains("\"down\"") && states.contains("\"up\""), "the crash is in the lane: {states}");
}

/// Many nodes that are restarted one after the other.
fn crowd(nodes: usize) -> RunRecord {
    let state = |node: usize, t: usize| {
        if t > 5 + node / 3 && t < 9 + node / 3 { NodeState::Down } else { NodeState::Up }
    };
    let sample = |t: usize| Sample {
        t: t as f64,
        nodes: (0..nodes)
            .map(|node| NodeSample {
                state: state(node, t),
                bytes_sent: node as u64 * 10,
                ..NodeSample::default()
            })
            .collect(),
    };
    let name = Scenario::node_name;
    let fault = |place: usize| FaultSpan {
        kind: "crash".into(),
        from: 5.0 + place as f64,
        until: 9.0 + place as f64,
        nodes: (place * 3..(place * 3 + 3).min(nodes)).map(name).collect(),
        sides: Vec::new(),
    };
    RunRecord {
        scenario: "crowd".into(),
        system: "sidetalk".into(),
        nodes: (0..nodes).map(name).collect(),
        duration_s: 50.0,
        samples: (0..=50).map(sample).collect(),
        faults: (0..nodes / 3).map(fault).collect(),
        ..RunRecord::default()
    }
}

#[test]
fn names_keep_clear_of_each_other_with_any_number_of_nodes() {
    for nodes in [3, 10, 30, 100, 1_000] {
        let record = crowd(nodes);
        let drawing = svg::timeline(&record, &lanes(&record));
        let heights = drawing
            .split("<text class=\"tick\"")
            .filter(|text| text.contains("text-anchor=\"end\""))
            .filter_map(|text| text.split(" y=\"").nth(1)?.split('"').next()?.parse::<f64>().ok());
        let heights: Vec<f64> = heights.collect();
        assert!(heights.len() >= 3.min(nodes), "{nodes} nodes, {} names", heights.len());
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= 10.5), "{nodes} nodes: {heights:?}");
        let side = Side { name: "sidetalk", record: &record, command: "c", story: &[] };
        well_formed(&page::run(&side)).unwrap();
    }
}

#[test]
fn what_grows_is_drawn_and_written() {
    let size = |nodes: u64, same_after_s| Size {
        nodes,
        links: nodes * (nodes - 1) / 2,
        up_after_s: 2.0,
        same_after_s,
        idle_bytes_per_node_s: 500.0 * nodes as f64,
        write_bytes_per_node: 300.0,
        meeting_bytes_per_node: 2_048.0,
        held_bytes_per_node: 20_000,
        clock_entries: nodes,
        real_s: 1.0,
        resident_bytes_per_node: (nodes > 3).then_some(1 << 20),
    };
    let sizes = [size(3, Some(0.05)), size(10, None), size(1_000, Some(0.0))];
    let svg = growth(&sizes);
    well_formed(&format!("<!DOCTYPE html>{svg}")).unwrap();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    assert_eq!(
        svg.matches("<circle").count(),
        3 * 6 + 1 + 2,
        "what is never, or nothing, has no place on such a scale"
    );
    let table = growth_table(&sizes);
    assert!(
        table.contains(
            "| 1,000 | 499,500 | 2.00 s | 0.00 s | 500,000 | 300 | 2 KiB | 20 KiB | 1,000 | 1 s | 1,024 KiB |"
        ),
        "{table}"
    );
    assert!(table.contains("| never |"), "{table}");
    well_formed(&format!("<!DOCTYPE html>{}", growth(&[]))).unwrap();
}
