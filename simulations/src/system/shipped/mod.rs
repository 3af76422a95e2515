//! The core that ships, one [`Node`] for each process of the cluster.

mod content;
mod disk;
mod door;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sidetalk::core::identity::{Clock, Replica, ReplicaId, ShardId};
use sidetalk::core::message::Message;
use sidetalk::core::mutant::Mutants;
use sidetalk::core::node::{self, FOLD_MIN, Node, NodeConfig};
use sidetalk::core::time::{MonoMicros, Now};
use sidetalk::wire::{self, Decoder, Guard, Incoming};

use self::disk::Disk;
use self::door::Door;
use super::{Answer, Birth, Digest, Gauges, Input, NodeIx, Output, Process, Receipt, System};
use crate::scenario::Scenario;

/// The system that ships.
pub struct Sidetalk {
    config: Config,
    seats: Vec<Option<Seat>>,
    /// One for each node, where they have any: they outlive processes.
    disks: Vec<Disk>,
    /// What was measured last: a broadcast is one message to many.
    measured: Option<(Arc<Message>, u64)>,
    buffer: Vec<u8>,
}

/// What a scenario says of every node.
#[derive(Clone, Debug)]
struct Config {
    bootstrap_millis: u64,
    log_bytes_max: u64,
    full_mesh_max: usize,
    session_lifetime_millis: Option<u64>,
    field_bytes: usize,
    ttl_millis: u64,
    mutants: Mutants,
}

/// A process that runs.
struct Seat {
    node: Node,
    door: Door,
    outbox: VecDeque<Output<Arc<Message>>>,
    /// Who is behind a replica id.
    known: BTreeMap<ReplicaId, Process>,
    /// There is something to be saved.
    unsaved: bool,
    /// It goes on with all that the process before it had saved.
    remembers: bool,
}

impl Sidetalk {
    /// The nodes of a scenario, none of them started.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self::with_mutants(scenario, Mutants::NONE)
    }

    /// With rules of the core switched off.
    #[must_use]
    pub fn with_mutants(scenario: &Scenario, mutants: Mutants) -> Self {
        let config = Config {
            bootstrap_millis: scenario.cluster.bootstrap.as_millis(),
            log_bytes_max: scenario.cluster.log.0,
            full_mesh_max: scenario.cluster.full_mesh,
            session_lifetime_millis: scenario.cluster.session_lifetime.map(|span| span.as_millis()),
            field_bytes: scenario.traffic.field_bytes.0 as usize,
            ttl_millis: scenario.traffic.ttl.as_millis(),
            mutants,
        };
        let seats = (0..scenario.cluster.nodes).map(|_| None).collect();
        let disk = scenario.cluster.disk.map(|commit| commit.0);
        let disks =
            disk.into_iter().flat_map(|commit| (0..scenario.cluster.nodes).map(move |_| Disk::new(commit)));
        Self { config, seats, disks: disks.collect(), measured: None, buffer: Vec::new() }
    }

    fn seat(&self, node: NodeIx) -> Option<&Seat> {
        self.seats.get(node).and_then(Option::as_ref)
    }
}

fn replica_of(process: Process) -> ReplicaId {
    ReplicaId(process.id)
}

impl Seat {
    /// Hands an input to the core, and turns what it wants done into what the world knows.
    fn input(&mut self, now: Now, input: node::Input) {
        self.node.handle(now, input);
        self.drain(now);
    }

    /// Does what the node wants done, its disk among it.
    fn settle(&mut self, now: Now, disk: Option<&mut Disk>) {
        self.drain(now);
        let Some(disk) = disk else { return };
        while let Some(told) = disk.turn(&mut self.node, now, std::mem::take(&mut self.unsaved)) {
            self.input(now, told);
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.node.poll_output() {
            match output {
                node::Output::Send(peer, message) => {
                    if let Some(process) = self.known.get(&peer) {
                        self.outbox.push_back(Output::Send(*process, message));
                    }
                }
                node::Output::Done(wait, how) => {
                    self.door.waited(&mut self.node, now, wait, how, &mut self.outbox);
                }
                node::Output::Changed(_) => {}
                node::Output::Unsaved => self.unsaved = true,
                node::Output::Alarm(alarm) => self.outbox.push_back(told(&alarm)),
                // Nobody is given up here, and no name is borne twice.
                node::Output::StartOver(dropped) => {
                    let what = format!("{:?} by {}: it starts over", dropped.why, dropped.told_by);
                    self.outbox.push_back(Output::Alarm(what));
                }
                node::Output::Disconnect(peer, _) => {
                    if let Some(process) = self.known.get(&peer) {
                        self.outbox.push_back(Output::Disconnect(*process));
                    }
                }
            }
        }
    }
}

/// A node that goes on from what its disk holds, or begins to keep everything there; without a disk, one without memory.
fn node_of(
    config: NodeConfig,
    now: Now,
    disk: Option<&mut Disk>,
    mutants: Mutants,
    outbox: &mut VecDeque<Output<Arc<Message>>>,
) -> Node {
    let Some(disk) = disk else { return Node::with_mutants(config, now, mutants) };
    let restored = disk.load().unwrap_or_else(|damage| {
        outbox.push_back(Output::Alarm(damage));
        None
    });
    match restored {
        Some(restored) => {
            outbox.push_back(Output::Notice("images restored"));
            let node = Node::restore_with_mutants(config, now, restored, mutants);
            disk.begin(node.saved_node());
            node
        }
        None => {
            let mut node = Node::with_mutants(config, now, mutants);
            node.keep_on_disk();
            node
        }
    }
}

fn told(alarm: &node::Alarm) -> Output<Arc<Message>> {
    match alarm {
        node::Alarm::Diverged { peer, shard } => {
            let peer = &peer.node;
            Output::Alarm(format!("shard {} differs from {peer}'s under the same clock", shard.0))
        }
        node::Alarm::MemoryFull { .. } => Output::Notice("memory full"),
        node::Alarm::Skewed { .. } => Output::Notice("stamps from beyond the drift limit"),
        node::Alarm::Corrected { .. } => Output::Notice("clocks corrected"),
        node::Alarm::Forgotten { .. } => Output::Notice("members given up"),
    }
}

impl System for Sidetalk {
    type Message = Arc<Message>;
    type Mark = Vec<Clock>;

    fn name(&self) -> &'static str {
        "sidetalk"
    }

    fn start(&mut self, birth: &Birth, now: Now) {
        let config = NodeConfig {
            replica: Replica {
                node: Scenario::node_name(birth.process.node),
                started: now.wall,
                id: replica_of(birth.process),
            },
            cluster: "virtual".into(),
            joins: true,
            bootstrap_millis: self.config.bootstrap_millis,
            lineage: birth.random.max(1),
            log_bytes_max: self.config.log_bytes_max,
            full_mesh_max: self.config.full_mesh_max,
            fold_min: FOLD_MIN,
            // That a node without room refuses writes is tested on the real binary.
            memory_bytes_max: None,
            session_lifetime_millis: self.config.session_lifetime_millis,
        };
        let mut outbox = VecDeque::new();
        let disk = self.disks.get_mut(birth.process.node);
        let (saves, remembers) = (disk.is_some(), disk.as_ref().is_some_and(|disk| disk.is_current()));
        let node = node_of(config, now, disk, self.config.mutants, &mut outbox);
        let door = Door::new(self.config.field_bytes, self.config.ttl_millis, saves);
        let seat = Seat { node, door, outbox, known: BTreeMap::new(), unsaved: false, remembers };
        self.seats[birth.process.node] = Some(seat);
    }

    fn stop(&mut self, node: NodeIx) -> bool {
        self.seats[node] = None;
        self.disks.get_mut(node).is_some_and(Disk::cut_off)
    }

    fn slow_disk(&mut self, node: NodeIx, late_micros: u64) {
        if let Some(disk) = self.disks.get_mut(node) {
            disk.late_micros = late_micros;
        }
    }

    fn remembers(&self, node: NodeIx) -> bool {
        self.seat(node).is_some_and(|seat| seat.remembers)
    }

    fn on_disk(&self, node: NodeIx, receipt: &Receipt) -> bool {
        match (self.disks.get(node), receipt) {
            (Some(disk), Receipt::Token(token)) => disk.has(token),
            _ => false,
        }
    }

    fn input(&mut self, node: NodeIx, now: Now, input: Input<Arc<Message>>) {
        let Some(seat) = self.seats[node].as_mut() else { return };
        let input = match input {
            Input::LinkUp(peer) => {
                seat.known.insert(replica_of(peer), peer);
                node::Input::LinkUp(replica_of(peer))
            }
            Input::LinkDown(peer) => node::Input::LinkDown(replica_of(peer)),
            Input::Message(peer, message) => {
                node::Input::Message(replica_of(peer), Arc::unwrap_or_clone(message))
            }
            Input::Alive(peer, alive) => {
                let name = Scenario::node_name(peer.node);
                let started = now.wall;
                node::Input::Liveness {
                    replica: Replica { node: name, started, id: replica_of(peer) },
                    alive,
                }
            }
            Input::Overflowed(peer) => node::Input::Overflowed(replica_of(peer)),
            Input::Tick => node::Input::Tick,
            Input::Leave => node::Input::Leave,
            Input::Farewell => node::Input::Farewell,
            Input::Request(id, request) => {
                seat.door.open(&mut seat.node, now, id, request, &mut seat.outbox);
                seat.settle(now, self.disks.get_mut(node));
                return;
            }
        };
        if let (node::Input::Farewell, Some(disk)) = (&input, self.disks.get_mut(node)) {
            let told = disk.last_commit(&mut seat.node);
            let stays = disk.is_current();
            for told in told {
                seat.input(now, told);
            }
            // As in the sidecar: who says on its disk that others count on it does not leave them.
            if stays {
                return;
            }
        }
        seat.input(now, input);
        seat.settle(now, self.disks.get_mut(node));
    }

    fn poll(&mut self, node: NodeIx) -> Option<Output<Arc<Message>>> {
        self.seats[node].as_mut()?.outbox.pop_front()
    }

    fn deadline(&self, node: NodeIx) -> Option<MonoMicros> {
        let disk = self.disks.get(node).map_or(MonoMicros(u64::MAX), Disk::deadline);
        self.seat(node).map(|seat| seat.node.deadline().min(disk))
    }

    fn wants_link(&self, node: NodeIx, peer: Process) -> bool {
        self.seat(node).is_some_and(|seat| seat.node.wants_link(replica_of(peer)))
    }

    fn greeting(&self, node: NodeIx) -> Option<Arc<Message>> {
        self.seat(node).map(|seat| Arc::new(Message::Hello(seat.node.hello())))
    }

    fn wire_bytes(&mut self, message: &Arc<Message>) -> u64 {
        if let Some((last, bytes)) = &self.measured
            && Arc::ptr_eq(last, message)
        {
            return *bytes;
        }
        self.buffer.clear();
        let bytes = match wire::encode(message, Guard::Checksum, &mut self.buffer) {
            Ok(()) => self.buffer.len() as u64,
            Err(too_long) => too_long.bytes as u64,
        };
        self.measured = Some((Arc::clone(message), bytes));
        bytes
    }

    fn through_bytes(&self, message: Arc<Message>) -> Result<Arc<Message>, String> {
        let mut bytes = Vec::new();
        wire::encode(&message, Guard::Checksum, &mut bytes).map_err(|error| error.to_string())?;
        let mut decoder = Decoder::new(Guard::Checksum);
        decoder.push(&bytes);
        let decoded = match decoder.next_message() {
            Ok(Some(Incoming::Message(decoded))) => *decoded,
            Ok(other) => return Err(format!("a {} comes out as {other:.40?}", Self::sort_of(&message))),
            Err(error) => return Err(format!("a {}: {error}", Self::sort_of(&message))),
        };
        // How a state is packed in memory may differ; what it says may not.
        let mut again = Vec::new();
        wire::encode(&decoded, Guard::Checksum, &mut again).map_err(|error| error.to_string())?;
        if again == bytes {
            Ok(Arc::new(decoded))
        } else {
            Err(format!("a {} comes out as another one", Self::sort_of(&message)))
        }
    }

    fn sort_of(message: &Arc<Message>) -> &'static str {
        match &**message {
            Message::Hello(_) => "hello",
            Message::Roster(_) => "roster",
            Message::Ops(_) => "ops",
            Message::Applied(_) => "applied",
            Message::Clocks(_) => "clocks",
            Message::Digests { .. } => "digests",
            Message::WantStates(_) => "want-states",
            Message::State(_) => "state",
            Message::Ask { .. } => "ask",
            Message::Answer { .. } => "answer",
            Message::Ping { .. } => "ping",
            Message::Pong { .. } => "pong",
            Message::Relay { .. } => "relay",
            Message::Members(..) => "members",
            Message::Wave { .. } => "wave",
            Message::Echo { .. } => "echo",
            Message::Settled(..) => "settled",
            Message::Leave => "leave",
            Message::Saved { .. } => "saved",
            Message::WantSaved => "want-saved",
        }
    }

    fn ready(&self, node: NodeIx) -> bool {
        self.seat(node).is_some_and(|seat| seat.node.is_ready())
    }

    fn clock_correction_millis(&self, node: NodeIx) -> i64 {
        self.seat(node).map_or(0, |seat| seat.node.status().correction_millis)
    }

    fn gauges(&self, node: NodeIx) -> Option<Gauges> {
        let seat = self.seat(node)?;
        let status = seat.node.status();
        let figures = status.figures;
        let clock_entries = ShardId::all().map(|id| seat.node.shard(id).clock().named()).max();
        Some(Gauges {
            ready: seat.node.is_ready(),
            objects: figures.objects.iter().sum(),
            content_bytes: figures.content_bytes,
            log_ops: figures.log_ops,
            log_bytes: figures.log_bytes,
            pending_ops: figures.pending_ops,
            clock_entries: clock_entries.unwrap_or_default() as u64,
            waits: figures.waits,
            written: figures.ops_authored,
            applied: figures.ops_applied,
            states_merged: figures.states_merged,
            asks: figures.asks,
            correction_millis: status.correction_millis,
        })
    }

    fn digest(&self, node: NodeIx) -> Digest {
        let Some(seat) = self.seat(node) else { return Digest::default() };
        let parts = ShardId::all().map(|id| {
            let digest = seat.node.shard(id).digest();
            (digest.clock_sum, digest.content_sum)
        });
        Digest { parts: parts.collect() }
    }

    fn handed_over(&self, node: NodeIx) -> bool {
        self.seat(node).is_none_or(|seat| seat.node.hand_over() == node::HandOver::default())
    }

    fn look(&self, node: NodeIx, now: Now, object: &sidetalk::core::identity::ObjectId) -> Answer {
        match self.seat(node) {
            Some(seat) => door::look(&seat.node, now, object, false),
            None => Answer::Refused("no process"),
        }
    }

    fn holds(&self, node: NodeIx, receipt: &Receipt) -> bool {
        match (self.seat(node), receipt) {
            (Some(seat), Receipt::Token(token)) => seat.node.seen(std::slice::from_ref(token)),
            _ => false,
        }
    }

    fn mark(&self) -> Vec<Clock> {
        let mut mark = vec![Clock::default(); ShardId::all().count()];
        for seat in self.seats.iter().flatten() {
            for id in ShardId::all() {
                for dot in seat.node.shard(id).clock().iter() {
                    mark[id.index()].raise(dot);
                }
            }
        }
        mark
    }

    fn covers(&self, node: NodeIx, mark: &Vec<Clock>) -> bool {
        let Some(seat) = self.seat(node) else { return true };
        ShardId::all().all(|id| seat.node.shard(id).clock().covers(&mark[id.index()]))
    }
}
