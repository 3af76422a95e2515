//! One virtual world: time, nodes, links, clocks, users, and what goes wrong.
//!
//! Everything that happens is an event at a virtual time; events at one time happen in the order in which they were
//! decided. Nothing here reads a clock or draws a number that does not come from the scenario's seed.

mod acquaintance;
mod clocks;
mod faults;
mod links;
mod membership;
mod network;
mod phases;
mod queue;
mod recorder;
mod requests;
mod trace;

use std::collections::{BTreeMap, VecDeque};

use sidetalk::core::time::Now;

use self::acquaintance::{ACQUAINTED, Acquaintance};
use self::clocks::Clocks;
use self::membership::Membership;
use self::network::{Arrival, Network};
use self::phases::Phase;
pub use self::queue::Micros;
use self::queue::Queue;
use self::recorder::Recorder;
use self::requests::Requests;
use self::trace::Trace;
use crate::history::History;
use crate::judges::Judges;
use crate::rng::Rng;
use crate::scenario::{Fault, Mistake, Scenario};
use crate::system::{Answer, Birth, Input, NodeIx, Output, Process, RequestId, System};
use crate::traffic::{Call, Traffic};

/// Something that happens.
enum Event<M> {
    /// A process starts.
    Start(NodeIx),
    /// A process's deadline.
    Tick(NodeIx, Micros),
    Dial {
        nodes: (NodeIx, NodeIx),
    },
    LinkUp {
        serial: u64,
        end: usize,
    },
    Closed {
        serial: u64,
        end: usize,
    },
    Silence {
        serial: u64,
        end: usize,
        turn: u64,
    },
    /// The far end of a link has not been heard for too long: its process stands still.
    Stalled {
        serial: u64,
        end: usize,
        node: NodeIx,
        since: Micros,
    },
    Arrive {
        link: u64,
        from: NodeIx,
        to: NodeIx,
        message: M,
        arrival: Arrival,
    },
    /// A slow node gets round to something.
    Late {
        to: Process,
        input: Input<M>,
    },
    Alive {
        observer: NodeIx,
        process: Process,
        alive: bool,
    },
    Mistake,
    MistakeEnds {
        observer: NodeIx,
        node: NodeIx,
        number: u64,
    },
    Fault(usize),
    FaultEnds(usize),
    /// One node of a fault that takes them in turn.
    FaultStep {
        fault: usize,
        node: NodeIx,
        begins: bool,
    },
    Flap {
        fault: usize,
        blocks: bool,
    },
    /// A leaving node looks whether it is done.
    Drain {
        process: Process,
        until: Micros,
    },
    Call(Call),
    /// A request reaches its node.
    Request(RequestId, Option<NodeIx>),
    /// An answer reaches its user.
    Reply(RequestId, Process, Answer),
    Patience(RequestId),
    HealthCheck,
    /// Looks which links are wanted.
    Rewire,
    Sample,
    /// Looks whether a phase of the run is over.
    Look,
}

/// One of the cluster's nodes, whose processes come and go.
struct Seat<M> {
    process: Option<Process>,
    starts: u64,
    /// The process stands still.
    paused: bool,
    paused_at: Micros,
    /// Its machine stands still as well, and with it the monotonic clock.
    suspended: bool,
    /// What waits for it to go on.
    held: VecDeque<Input<M>>,
    /// Everything takes so much longer.
    slow: Micros,
    slow_until: Micros,
    /// When the next tick is due.
    armed: Option<Micros>,
    /// So many faults keep users away.
    users_cut: u32,
    leaving: bool,
    /// The process has become ready without one that was before; since when it has had a link to such a one.
    loner: Option<Option<Micros>>,
    /// The process has been ready.
    has_been_ready: bool,
    /// What its process remarked on last.
    noticed: Option<&'static str>,
}

impl<M> Seat<M> {
    /// It does not know the others yet: it found nobody when it started.
    fn is_loner(&self, now: Micros) -> bool {
        self.loner.is_some_and(|met| met.is_none_or(|met| now < met + ACQUAINTED))
    }

    fn runs(&self) -> bool {
        self.process.is_some() && !self.paused
    }
}

/// One virtual world.
pub struct World<S: System> {
    scenario: Scenario,
    system: S,
    queue: Queue<Event<S::Message>>,
    now: Micros,
    seats: Vec<Seat<S::Message>>,
    network: Network<S::Message>,
    membership: Membership,
    acquaintance: Acquaintance,
    clocks: Clocks,
    faults: Vec<Fault>,
    traffic: Traffic,
    requests: Requests,
    /// Links that an end does not want, and for how many looks.
    unwanted: BTreeMap<u64, u32>,
    history: History,
    judges: Judges,
    recorder: Recorder<S::Mark>,
    trace: Trace,
    phase: Phase,
    rng: Rng,
    happened: BTreeMap<&'static str, u64>,
}

/// How a run is watched.
#[derive(Default)]
pub struct Watch<'a> {
    /// Told now and then how far the run is.
    pub progress: Option<&'a mut dyn FnMut(&Progress)>,
    /// Keep the story.
    pub tell: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual seconds since the beginning.
    pub virtual_s: f64,
    /// The phase it is in.
    pub phase: &'static str,
    /// Requests so far.
    pub requests: u64,
    /// Nodes that serve.
    pub ready: usize,
    /// What the judges have found so far.
    pub broken: u64,
}

impl<S: System> World<S> {
    /// A world with nothing running yet.
    ///
    /// # Errors
    /// What is wrong with the scenario.
    pub fn new(scenario: &Scenario, system: S, tell: bool) -> Result<Self, Vec<Mistake>> {
        let faults = scenario.faults()?;
        let seats = (0..scenario.cluster.nodes).map(|_| Seat {
            process: None,
            starts: 0,
            paused: false,
            paused_at: 0,
            suspended: false,
            held: VecDeque::new(),
            slow: 0,
            slow_until: 0,
            armed: None,
            users_cut: 0,
            leaving: false,
            loner: None,
            has_been_ready: false,
            noticed: None,
        });
        let mut world = Self {
            seats: seats.collect(),
            system,
            queue: Queue::new(),
            now: 0,
            network: Network::new(scenario.seed),
            membership: Membership::new(scenario),
            acquaintance: Acquaintance::default(),
            clocks: Clocks::new(scenario),
            faults,
            traffic: Traffic::new(scenario),
            requests: Requests::new(scenario),
            unwanted: BTreeMap::new(),
            history: History::default(),
            judges: Judges::new(scenario),
            recorder: Recorder::new(scenario),
            trace: Trace::new(tell),
            phase: Phase::Forming,
            rng: Rng::fork(scenario.seed, "world", 0),
            happened: BTreeMap::new(),
            scenario: scenario.clone(),
        };
        for node in 0..scenario.cluster.nodes {
            world.queue.at(scenario.cluster.stagger.0 * node as u64, Event::Start(node));
        }
        world.queue.at(0, Event::Look);
        if scenario.cluster.nodes > scenario.cluster.full_mesh {
            world.queue.at(0, Event::Rewire);
        }
        Ok(world)
    }

    /// What a node reads when it looks at its clocks.
    fn clock(&self, node: NodeIx) -> Now {
        self.clocks.now(node, self.now)
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn alarm(&mut self, node: NodeIx, what: &str) {
        let name = Scenario::node_name(node);
        self.trace.say(self.now, || format!("{name}: ALARM: {what}"));
        self.judges.alarm(&format!("{name}: {what}"));
    }

    /// A node remarks on something; told once, however often it says so in a row.
    fn notice(&mut self, node: NodeIx, what: &'static str) {
        if self.seats[node].noticed.replace(what) != Some(what) {
            self.trace.say(self.now, || format!("{}: {what}", Scenario::node_name(node)));
        }
        self.count(what);
    }

    /// Something happens.
    fn happen(&mut self, event: Event<S::Message>) {
        match event {
            Event::Start(node) => self.start(node),
            Event::Tick(node, at) => self.tick(node, at),
            Event::Dial { nodes } => self.dial(nodes),
            Event::LinkUp { serial, end } => self.link_up(serial, end),
            Event::Closed { serial, end } => self.close_end(serial, end),
            Event::Silence { serial, end, turn } => self.silence(serial, end, turn),
            Event::Stalled { serial, end, node, since } => {
                if self.seats[node].paused && self.seats[node].paused_at == since {
                    self.close_end(serial, end);
                }
            }
            Event::Arrive { link, from, to, message, arrival } => {
                self.arrive(link, from, to, message, &arrival);
            }
            Event::Late { to, input } => {
                if self.seats[to.node].process == Some(to) {
                    self.take(to.node, input);
                }
            }
            Event::Alive { observer, process, alive } => self.hear(observer, process, alive),
            Event::Mistake => self.random_mistake(),
            Event::MistakeEnds { observer, node, number } => {
                self.ordered_mistake(observer, node, number, false);
            }
            Event::Fault(index) => self.fault_begins(index),
            Event::FaultEnds(index) => self.fault_ends(index),
            Event::FaultStep { fault, node, begins } => self.fault_step(fault, node, begins),
            Event::Flap { fault, blocks } => self.flap(fault, blocks),
            Event::Drain { process, until } => self.drain(process, until),
            Event::Call(call) => self.call(call),
            Event::Request(id, node) => self.deliver(id, node),
            Event::Reply(id, by, answer) => self.reply(id, by, answer),
            Event::Patience(id) => self.give_up(id),
            Event::HealthCheck => self.health_check(),
            Event::Rewire => self.rewire(),
            Event::Sample => self.sample(),
            Event::Look => self.look(),
        }
    }

    /// A process starts on a node, without memory.
    fn start(&mut self, node: NodeIx) {
        if self.seats[node].process.is_some() {
            return;
        }
        let seat = &mut self.seats[node];
        seat.starts += 1;
        let mut bits = Rng::fork(self.scenario.seed, "process", node as u64 * 1_000_000 + seat.starts);
        let process = Process { node, id: bits.bits() };
        seat.process = Some(process);
        seat.leaving = false;
        seat.armed = None;
        (seat.loner, seat.has_been_ready) = (None, false);
        if seat.starts > 1 {
            self.count("restarts");
        }
        self.trace.note(self.now, "start", [node as u64, process.id, 0]);
        self.trace.say(self.now, || format!("{} starts as {:016x}", Scenario::node_name(node), process.id));
        let now = self.clock(node);
        self.system.start(&Birth { process, random: bits.bits() }, now);
        self.judges.started(process);
        self.put_out(node);
        self.look_around_for(node);
    }

    /// Hands something to a node's process, as soon as it gets round to it.
    fn input(&mut self, node: NodeIx, input: Input<S::Message>) {
        let now = self.now;
        let seat = &mut self.seats[node];
        let Some(process) = seat.process else { return };
        if seat.paused {
            seat.held.push_back(input);
        } else if seat.slow > 0 || seat.slow_until > now {
            seat.slow_until = seat.slow_until.max(now + seat.slow);
            let at = seat.slow_until;
            self.queue.at(at, Event::Late { to: process, input });
        } else {
            self.take(node, input);
        }
    }

    /// A node's process takes something.
    fn take(&mut self, node: NodeIx, input: Input<S::Message>) {
        if self.seats[node].paused {
            self.seats[node].held.push_back(input);
            return;
        }
        self.trace.note(self.now, "take", [node as u64, 0, 0]);
        let now = self.clock(node);
        self.system.input(node, now, input);
        self.put_out(node);
    }

    fn tick(&mut self, node: NodeIx, at: Micros) {
        if self.seats[node].armed != Some(at) {
            return;
        }
        self.seats[node].armed = None;
        if !self.seats[node].runs() {
            return;
        }
        let now = self.clock(node);
        if self.system.deadline(node).is_some_and(|deadline| deadline <= now.mono) {
            self.take(node, Input::Tick);
        } else {
            self.arm(node);
        }
    }

    fn arm(&mut self, node: NodeIx) {
        let Some(deadline) = self.system.deadline(node) else { return };
        let at = self.clocks.when(node, deadline).max(self.now + 1);
        let seat = &mut self.seats[node];
        if seat.armed.is_none_or(|armed| at < armed || armed <= self.now) {
            seat.armed = Some(at);
            self.queue.at(at, Event::Tick(node, at));
        }
    }

    /// Does what a process wants done.
    fn put_out(&mut self, node: NodeIx) {
        let Some(process) = self.seats[node].process else { return };
        while let Some(output) = self.system.poll(node) {
            match output {
                Output::Send(to, message) => self.send(process, to, message),
                Output::Answer(id, answer) => self.answer(id, process, answer),
                Output::Disconnect(peer) => {
                    if let Some(serial) = self.network.between(node, peer.node) {
                        let end = usize::from(node > peer.node);
                        self.count("links refused");
                        self.close_end(serial, end);
                    }
                }
                Output::Alarm(what) => self.alarm(node, &what),
                Output::Notice(what) => self.notice(node, what),
            }
        }
        if !self.seats[node].has_been_ready && self.system.ready(node) {
            self.ready_at_last(process);
        }
        self.arm(node);
    }

    /// A process serves from now on. One that found nobody who did before has started a history of its own.
    fn ready_at_last(&mut self, process: Process) {
        let known = self.network.links_of(process).into_iter().any(|(serial, end)| {
            self.network.links.get(&serial).is_some_and(|link| {
                let peer = &self.seats[link.ends[1 - end].node];
                peer.has_been_ready && peer.loner.is_none()
            })
        });
        // At the very beginning all start together.
        let alone = !known
            && self.phase != Phase::Forming
            && self.seats.len() > 1
            && !self.system.remembers(process.node);
        let seat = &mut self.seats[process.node];
        seat.has_been_ready = true;
        seat.loner = alone.then_some(None);
        self.acquaintance.serves(process);
        if alone {
            self.count("nodes that started alone");
        }
    }

    /// A process stands still.
    fn pause(&mut self, node: NodeIx, suspends: bool) {
        let seat = &mut self.seats[node];
        if seat.process.is_none() || seat.paused {
            return;
        }
        seat.paused = true;
        seat.paused_at = self.now;
        seat.suspended = suspends;
        let Some(process) = seat.process else { return };
        // Its machine still takes in what comes; but nobody hears from it.
        let since = self.now;
        for (serial, end) in self.network.links_of(process) {
            let late = self.silence_micros();
            self.queue.at(since + late, Event::Stalled { serial, end: 1 - end, node, since });
        }
        self.look_around_for(node);
    }

    /// It goes on.
    fn resume(&mut self, node: NodeIx) {
        if !self.seats[node].paused {
            return;
        }
        self.seats[node].paused = false;
        if std::mem::take(&mut self.seats[node].suspended) {
            let lasted = self.now - self.seats[node].paused_at;
            self.clocks.suspend(node, lasted);
            if let Some(process) = self.seats[node].process {
                self.drop_links(process);
            }
        }
        self.seats[node].armed = None;
        for input in std::mem::take(&mut self.seats[node].held) {
            self.input(node, input);
        }
        self.put_out(node);
        self.look_around_for(node);
        self.consider_all();
    }

    /// A machine that was suspended finds its links dead.
    fn drop_links(&mut self, process: Process) {
        for (serial, end) in self.network.links_of(process) {
            self.close_end(serial, end);
        }
    }

    /// A process is gone, memory and all.
    fn stop(&mut self, node: NodeIx, told: bool) {
        let Some(process) = self.seats[node].process.take() else { return };
        let seat = &mut self.seats[node];
        seat.paused = false;
        seat.suspended = false;
        seat.held.clear();
        seat.armed = None;
        self.trace.note(self.now, "stop", [node as u64, process.id, 0]);
        if self.system.stop(node) {
            self.count("commits cut off");
        }
        self.break_links(process, told);
        self.forget_beliefs(node);
        self.abandon(process);
        let (system, running) = (&self.system, self.running());
        let nodes = self.seats.len();
        let lost = self.history.excuse(|receipt| {
            running.iter().any(|node| system.holds(*node, receipt))
                || (0..nodes).any(|node| system.on_disk(node, receipt))
        });
        self.recorder.outcomes.lost_with_their_holders += lost;
        self.look_around_for(node);
    }

    /// Nodes with a process, paused or not.
    fn running(&self) -> Vec<NodeIx> {
        (0..self.seats.len()).filter(|node| self.seats[*node].process.is_some()).collect()
    }
}
