//! Sidetalk beside bare hyper: the same machine, connections and answers, in rounds that take turns.

use std::sync::Arc;
use std::time::Duration;

use crate::bare::Bare;
use crate::load::{CONNECTIONS, Round, Target};
use crate::table::{percentile, spread};
use crate::{Plan, connection, nodes};

/// Sessions that are asked for in turn.
const SESSIONS: usize = 1_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// One session.
    Get,
    /// One field of one session.
    Patch,
}

fn requests(what: What) -> Arc<Vec<Vec<u8>>> {
    let of = |number| {
        let path = format!("/v1/sessions/{}", nodes::id("sess", number));
        match what {
            What::Get => connection::request("GET", &path, ""),
            What::Patch => {
                connection::request("PATCH", &path, &format!(r#"{{"views":{}}}"#, 10 + number % 90))
            }
        }
    };
    Arc::new((0..SESSIONS).map(of).collect())
}

pub(crate) async fn compare(plan: &Plan, what: What) {
    let node = &nodes::start(1).await[0];
    nodes::store(node, "sess", SESSIONS).await;
    let bare = Bare::start();
    let requests = requests(what);
    let mut yardstick = Target::new(bare.address, bare.pid(), Arc::clone(&requests)).await;
    let mut ours = Target::new(nodes::address(node), node.pid(), requests).await;
    let length = Duration::from_millis(plan.millis);
    let warm_up = Duration::from_millis(200);
    yardstick.round(warm_up).await;
    ours.round(warm_up).await;
    let (mut of_bare, mut of_ours) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // Whoever goes first may find the machine in another mood.
        if round % 2 == 0 {
            of_bare.push(yardstick.round(length).await);
            of_ours.push(ours.round(length).await);
        } else {
            of_ours.push(ours.round(length).await);
            of_bare.push(yardstick.round(length).await);
        }
    }
    print(plan, what, &mut of_bare, &mut of_ours);
}

fn print(plan: &Plan, what: What, bare: &mut [Round], ours: &mut [Round]) {
    println!(
        "\n{what:?} of a session, {CONNECTIONS} connections, {} rounds of {} ms",
        plan.rounds, plan.millis
    );
    println!("| | requests/s, median (range) | p50 | p99 | server CPU for each |");
    println!("| --- | --- | --- | --- | --- |");
    let ratio =
        |of: fn(&Round) -> f64| spread(ours.iter().zip(&*bare).map(|(ours, bare)| of(ours) / of(bare)));
    let (throughput, cpu) = (ratio(|round| round.per_second), ratio(|round| round.cpu_micros));
    let row = |name: &str, rounds: &mut [Round]| {
        let per_second = spread(rounds.iter().map(|round| round.per_second));
        let p50 = spread(rounds.iter_mut().map(|round| percentile(&mut round.latencies, 50.0)));
        let p99 = spread(rounds.iter_mut().map(|round| percentile(&mut round.latencies, 99.0)));
        let cpu = spread(rounds.iter().map(|round| round.cpu_micros));
        println!(
            "| {name} | {:.0} ({:.0} to {:.0}) | {:.0} µs | {:.0} µs | {:.1} µs |",
            per_second.median, per_second.least, per_second.most, p50.median, p99.median, cpu.median
        );
    };
    row("bare hyper", bare);
    row("Sidetalk", ours);
    println!(
        "| ratio, median of rounds (range) | {:.2} ({:.2} to {:.2}) | | | {:.2} |",
        throughput.median, throughput.least, throughput.most, cpu.median
    );
}
