//! `sidetalk status` and `sidetalk members`: what a node says of itself and of the cluster, as tables.
//!
//! The tables take their rows and columns from the answer, so that a newer node's figures are shown too.

use serde_json::{Map, Value};

use super::args::{ForgetArgs, ReportArgs};
use super::failure::Failure;
use super::show;

/// What a reader looks for first, in this order; the rest follows.
const STATUS_FIRST: [&str; 5] = ["node", "version", "readiness", "skew_millis", "objects"];
const MEMBERS_FIRST: [&str; 7] =
    ["node", "state", "self", "lag_ops", "lag_millis", "round_trip_micros", "clock_offset_millis"];

/// For programs; `--json` shows them.
const MEMBERS_HIDDEN: [&str; 2] = ["replica", "started_unix_millis"];

/// Prints how a node is.
pub(super) async fn status(args: ReportArgs) -> Result<(), Failure> {
    let answer = args.api.client()?.status().await?.value;
    if args.json {
        return show::json(&answer.to_string());
    }
    let mut rows = Vec::new();
    for key in order(&STATUS_FIRST, answer.as_object().into_iter().flat_map(Map::keys)) {
        flatten(&key, &answer[&key], &mut rows);
    }
    show::text(&show::table(&rows))
}

/// Prints the members as a node sees them.
pub(super) async fn members(args: ReportArgs) -> Result<(), Failure> {
    let call = args.api.client()?.cluster().typed::<Value>();
    let answer = call.await?.value;
    if args.json {
        return show::json(&answer.to_string());
    }
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let members: Vec<_> = members.into_iter().filter_map(into_object).collect();
    show::text(&show::table(&columns(&members)))
}

/// Has a node give up a member.
pub(super) async fn forget(args: ForgetArgs) -> Result<(), Failure> {
    args.api.client()?.forget(&args.node).await?;
    Ok(())
}

/// One row for every value in an object, named by its path.
fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                flatten(&format!("{name}.{key}"), value, rows);
            }
        }
        _ => rows.push(vec![name.to_owned(), cell(value)]),
    }
}

/// Every key once: those that come first, if they occur, then the others in their order.
fn order<'a>(first: &[&str], keys: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let known =
        first.iter().filter(|name| keys.clone().any(|key| key == *name)).map(|name| (*name).to_owned());
    let mut ordered: Vec<_> = known.collect();
    for key in keys {
        if !ordered.contains(key) {
            ordered.push(key.clone());
        }
    }
    ordered
}

/// A head with every key that occurs, and a row for each member.
pub(super) fn columns(objects: &[Map<String, Value>]) -> Vec<Vec<String>> {
    let mut keys = order(&MEMBERS_FIRST, objects.iter().flat_map(Map::keys));
    keys.retain(|key| !MEMBERS_HIDDEN.contains(&key.as_str()));
    let row = |object: &Map<String, Value>| {
        keys.iter().map(|key| object.get(key).map_or_else(String::new, cell)).collect()
    };
    let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
    let head = keys.iter().map(|key| key.replace('_', " ").to_uppercase()).collect();
    std::iter::once(head).chain(rows).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn into_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}
