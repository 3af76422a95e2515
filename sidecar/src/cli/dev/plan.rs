//! Who sits where: names and ports of the nodes, as they are wished for.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use super::super::args::DevArgs;
use super::super::failure::Failure;

/// Room for more ports of one node, and easy to remember.
const PORTS_PER_NODE: u16 = 10;

/// One node's place. Port 0 stands for any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    index: u16,
    api_port: u16,
}

impl Seat {
    /// The node's name.
    pub(super) fn name(&self) -> String {
        format!("n{}", self.index)
    }

    /// Where its API is to listen.
    pub(super) fn api(&self) -> String {
        format!("127.0.0.1:{}", self.api_port)
    }

    /// Where it is to gossip.
    pub(super) fn gossip(&self) -> String {
        format!("127.0.0.1:{}", self.gossip_port())
    }

    fn gossip_port(&self) -> u16 {
        if self.api_port == 0 { 0 } else { self.api_port + 1 }
    }
}

/// Node i has its API on base + 10 i and gossips on the port after that. Base 0: any free ports.
pub(super) fn seats(args: DevArgs) -> Result<Vec<Seat>, Failure> {
    if args.base_port == 0 {
        return Ok((0..args.nodes).map(|index| Seat { index, api_port: 0 }).collect());
    }
    let last = u32::from(args.base_port) + u32::from(PORTS_PER_NODE) * u32::from(args.nodes - 1) + 1;
    if last > u32::from(u16::MAX) {
        let highest = u16::MAX - PORTS_PER_NODE * (args.nodes - 1) - 1;
        return Err(Failure::Usage(format!(
            "--base-port must be at most {highest} for {} nodes",
            args.nodes
        )));
    }
    let seat = |index| Seat { index, api_port: args.base_port + PORTS_PER_NODE * index };
    Ok((0..args.nodes).map(seat).collect())
}

/// Refuses to start half a cluster: tells all ports that are taken.
pub(super) fn check_free(seats: &[Seat]) -> Result<(), Failure> {
    let local = |port| (Ipv4Addr::LOCALHOST, port);
    let mut taken = Vec::new();
    for seat in seats {
        let (api, gossip) = (seat.api_port, seat.gossip_port());
        let bound = [
            (api, "API", TcpListener::bind(local(api)).map(drop)),
            (gossip, "streams", TcpListener::bind(local(gossip)).map(drop)),
            (gossip, "gossip", UdpSocket::bind(local(gossip)).map(drop)),
        ];
        for (port, purpose, bound) in bound {
            if let Err(error) = bound {
                taken.push(format!("\n  port {port} ({purpose} of {}): {error}", seat.name()));
            }
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "these ports cannot be used:{}\nStop what listens there (another `sidetalk dev`?), or choose others with \
         --base-port",
        taken.concat()
    )))
}
