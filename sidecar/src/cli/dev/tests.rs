use std::net::TcpListener;

use super::*;

fn seats(nodes: u16, base_port: u16) -> Vec<Seat> {
    plan::seats(DevArgs { nodes, base_port }).unwrap()
}

#[test]
fn node_i_sits_ten_ports_further() {
    let seats = seats(3, 7411);
    let places: Vec<_> = seats.iter().map(|seat| (seat.name(), seat.api(), seat.gossip())).collect();
    assert_eq!(places[0], ("n0".into(), "127.0.0.1:7411".into(), "127.0.0.1:7412".into()));
    assert_eq!(places[2], ("n2".into(), "127.0.0.1:7431".into(), "127.0.0.1:7432".into()));
}

#[test]
fn ports_that_do_not_exist_are_refused() {
    let Err(Failure::Usage(told)) = plan::seats(DevArgs { nodes: 3, base_port: 65_000 + 515 }) else {
        panic!()
    };
    assert_eq!(told, "--base-port must be at most 65514 for 3 nodes");
    assert!(plan::seats(DevArgs { nodes: 3, base_port: 65_514 }).is_ok());
    assert!(seats(3, 0).iter().all(|seat| seat.api() == "127.0.0.1:0" && seat.gossip() == "127.0.0.1:0"));
}

#[test]
fn every_port_that_is_taken_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let Err(Failure::Failed(told)) = plan::check_free(&seats(1, port)) else { panic!("not noticed") };
    assert!(told.contains(&format!("port {port} (API of n0)")) && told.contains("--base-port"), "{told}");
}

fn nodes(count: u32) -> Vec<(Listening, u32)> {
    let node = |n| {
        let (api, gossip) = (format!("127.0.0.1:{}", 7411 + 10 * n), format!("127.0.0.1:{}", 7412 + 10 * n));
        (Listening { node: format!("n{n}"), api, gossip }, n + 1)
    };
    (0..count).map(node).collect()
}

#[test]
fn the_guide_names_every_node_and_cuts_off_the_last() {
    let text = guide::guide(&nodes(3), "target/debug/sidetalk");
    assert!(text.contains("n2    http://127.0.0.1:7431  127.0.0.1:7432  3"), "{text}");
    let cut = r#"curl -w '\n' -X PUT http://127.0.0.1:7431/v1/chaos -H content-type:application/json "#;
    let peers = r#"-d '{"peers":{"n0":{"blocked":true},"n1":{"blocked":true}}}'"#;
    assert!(text.contains(&[cut, peers].concat()), "{text}");
    assert!(text.lines().all(|line| line.len() <= 160), "{text}");
    assert!(!guide::guide(&nodes(1), "sidetalk").contains("chaos"));
}
