use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use super::args::{Command, Line};
use super::failure::Failure;
use super::listening::Listening;
use super::{call, show, status};

fn parse(line: &str) -> Result<Command, String> {
    Line::try_parse_from(line.split(' ')).map(|line| line.command).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_is_well_formed() {
    Line::command().debug_assert();
}

#[test]
fn objects_are_checked_before_anything_is_sent() {
    assert!(parse("sidetalk get sessions/a/b --api http://127.0.0.1:1").is_ok());
    assert!(parse("sidetalk incr counters/c -5").is_ok());
    assert!(parse("sidetalk set sessions/a {} --acks majority --ttl 5").is_ok());
    for (line, told) in [
        ("sidetalk get session/x", "is no kind of object"),
        ("sidetalk get x", "names no object"),
        ("sidetalk get sessions/a --ttl 5", "unexpected argument '--ttl'"),
        ("sidetalk set counters/c 5", "changes by incr"),
        ("sidetalk patch sets/s {}", "changes by add and remove"),
        ("sidetalk set sessions/a {} --acks some", "majority or all"),
        ("sidetalk add sets/s", "required"),
        ("sidetalk dev --nodes 0", "1..=32"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(told), "{line}: {error}");
    }
}

#[test]
fn pointers_are_those_of_the_rfc() {
    assert_eq!(call::parse_pointer("/a~1b/~01/").unwrap(), ["a/b", "~1", ""]);
    assert!(matches!(call::parse_pointer("a"), Err(Failure::Usage(_))));
}

#[test]
fn json_is_laid_out_without_touching_numbers_order_or_strings() {
    let compact = r#"{"b":12345678901234567890.10,"a":["x,{}:\"\\",{"e":{}},[]],"c":null}"#;
    let want = "{\n  \"b\": 12345678901234567890.10,\n  \"a\": [\n    \"x,{}:\\\"\\\\\",\n    {\n      \"e\": {}\n    },\n    []\n  ],\n  \"c\": null\n}";
    assert_eq!(show::pretty(compact), want);
    assert_eq!(show::pretty("7"), "7");
}

#[test]
fn tables_take_their_columns_from_the_answer() {
    let members = [
        json!({"node": "n0", "state": "up", "self": true, "replica": "ab", "new": 1}),
        json!({"lag_ops": 12, "node": "a-long-name", "state": "down"}),
    ];
    let members: Vec<_> = members.iter().map(|member| member.as_object().unwrap().clone()).collect();
    let want = "NODE         STATE  SELF  LAG OPS  NEW\nn0           up     yes            1\na-long-name  down         12\n";
    assert_eq!(show::table(&status::columns(&members)), want);
}

#[test]
fn the_line_that_programs_wait_for_stays_as_it_is() {
    let listening =
        Listening { node: "n1".into(), api: "127.0.0.1:7411".into(), gossip: "127.0.0.1:7412".into() };
    let line = "sidetalk ready-to-accept node=n1 api=http://127.0.0.1:7411 gossip=127.0.0.1:7412";
    assert_eq!(listening.line(), format!("{line}\n"));
    assert_eq!(Listening::parse(&format!("{line} more=later")), Some(listening));
    assert_eq!(Listening::parse("sidetalk ready-to-accept node=n1"), None);
}
