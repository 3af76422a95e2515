//! Day 1000: however often processes were restarted, clocks, rosters and logs are where they were.

use super::*;

/// What must not grow with the number of restarts: ids in clocks and rosters, peers, logged operations.
fn sizes(net: &Net) -> Vec<(usize, usize, usize, u64)> {
    let of = |node: &Node| {
        let ids = node.shards.iter().map(|shard| shard.clock().dots.len()).max().unwrap_or(0);
        (ids, node.roster.entries().len(), node.peers.len(), node.status().figures.log_ops)
    };
    net.nodes.iter().map(of).collect()
}

fn restart_in_turn(net: &mut Net, restarts: usize) {
    for n in 0..restarts {
        let other = (n + 1) % 3;
        net.put(other, &session(&format!("s{}", n % 5)), "{}");
        net.run_millis(200);
        net.start(n % 3);
        net.run_millis(4_000);
        net.write(other, &Write::new(session(&format!("s{}", n % 5)), Change::Destroy));
        net.run_millis(2_000);
    }
    // Every shard is swept.
    net.run_millis(60_000);
}

fn day_1000(restarts: usize) {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    restart_in_turn(&mut net, 6);
    let before = sizes(&net);
    restart_in_turn(&mut net, restarts);
    assert_eq!(sizes(&net), before);
    for node in &net.nodes {
        let figures = node.status().figures;
        assert_eq!((figures.sealed, figures.content_bytes, figures.pending_ops), (0, 0, 0));
        assert_eq!(figures.objects, [0; 4]);
        assert!(figures.clock_entries <= 3);
        // Remembered for a week: at most one entry a restart.
        assert!(figures.retired <= restarts as u64 + 6, "{}", figures.retired);
    }
    assert_eq!(net.alarms, []);
}

#[test]
fn thirty_restarts_leave_everything_where_it_was() {
    day_1000(30);
}

#[test]
#[ignore = "takes minutes"]
fn a_thousand_restarts_leave_everything_where_it_was() {
    day_1000(1_000);
}
