//! An Express application with express-session, and the store of it: the Node.js client's own benchmark, asked from here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::plan::Plan;
use crate::result::{Better, Comparison};
use crate::stats::spread;

/// What one store came to, one figure for each round.
#[derive(Clone, Debug, Deserialize)]
struct Store {
    name: String,
    rates: Vec<f64>,
    /// Processor time of the application for each request, in microseconds.
    app: Vec<f64>,
    server: Vec<f64>,
}

/// By path, and by kind of store.
type Found = BTreeMap<String, BTreeMap<String, Store>>;

/// Path, store as the benchmark calls it, and what it should reach beside others.
type Ours = (&'static str, &'static str, &'static [(&'static str, f64)]);

const OURS: [Ours; 4] = [
    ("read", "sidetalk", &[("connect-redis", 1.0), ("memory store", 0.95)]),
    ("read", "wrapped", &[("connect-redis", 1.0)]),
    ("write", "sidetalk", &[("connect-redis", 1.0)]),
    ("write", "wrapped", &[("connect-redis", 0.85)]),
];

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../client-sdk/node");
    if let Err(why) = prepare(&package) {
        println!("left out: {why}");
        return Vec::new();
    }
    let results = plan.output.join("express.json");
    match run(&package, plan, &results) {
        Ok(found) => {
            OURS.iter().filter_map(|(path, kind, targets)| compare(&found, path, kind, targets)).collect()
        }
        Err(why) => {
            println!("left out: {why}");
            Vec::new()
        }
    }
}

/// Installs what the package needs, once, and builds it.
fn prepare(package: &Path) -> Result<(), String> {
    if !package.join("node_modules/connect-memcached").exists() {
        step(package, "npm", &["ci", "--no-audit", "--no-fund"])?;
    }
    step(package, "npm", &["run", "--silent", "build"])
}

fn step(directory: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {} ended with {status}", arguments.join(" "))),
        Err(error) => Err(format!("there is no {program}: {error}")),
    }
}

fn run(package: &Path, plan: &Plan, results: &Path) -> Result<Found, String> {
    std::fs::create_dir_all(&plan.output).map_err(|error| error.to_string())?;
    let results: PathBuf = std::path::absolute(results).map_err(|error| error.to_string())?;
    let (rounds, millis) = (plan.rounds.to_string(), plan.round.as_millis().to_string());
    let file = results.to_string_lossy();
    let arguments = ["bench/main.mjs", "express", "--rounds", &rounds, "--millis", &millis, "--json", &file];
    step(package, "node", &arguments)?;
    let text = std::fs::read(&results).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn compare(found: &Found, path: &str, kind: &str, targets: &[(&str, f64)]) -> Option<Comparison> {
    let kinds = found.get(path)?;
    let ours = kinds.get(kind)?;
    let others = ["redis", "memcached", "memory"].iter().filter_map(|other| kinds.get(*other));
    let stores: Vec<&Store> = std::iter::once(ours).chain(others).collect();
    let sides: Vec<(&str, Vec<f64>)> =
        stores.iter().map(|store| (store.name.as_str(), store.rates.clone())).collect();
    let name = format!("Express, a {path}, 32 connections (load CPU is the application's)");
    let mut comparison = Comparison::of_values("express", name, "requests/s", Better::More, &sides, targets);
    for (side, store) in comparison.sides.iter_mut().zip(&stores) {
        side.server_micros = Some(spread(store.server.iter().copied()).median);
        side.load_micros = Some(spread(store.app.iter().copied()).median);
    }
    Some(comparison)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_left_out_and_targets_are_judged() {
        let store = |name: &str, rate: f64| serde_json::json!({"name": name, "rates": [rate], "app": [1.0], "server": [2.0]});
        let text = serde_json::json!({"read": {
            "sidetalk": store("SidetalkStore", 96.0), "redis": store("connect-redis", 100.0), "memory": store("memory store", 100.0),
        }});
        let found: Found = serde_json::from_value(text).unwrap();
        let (path, kind, targets) = OURS[0];
        let comparison = compare(&found, path, kind, targets).unwrap();
        let met: Vec<_> = comparison.ratios.iter().map(|ratio| (ratio.to.as_str(), ratio.met)).collect();
        assert_eq!(met, [("connect-redis", Some(false)), ("memory store", Some(true))]);
        assert_eq!(comparison.sides[0].server_micros, Some(2.0));
        assert!(compare(&found, "write", kind, targets).is_none());
    }
}
