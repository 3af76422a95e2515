//! Requests on their way to a node and back, and the balancer in between.

use std::collections::BTreeMap;

use super::{Event, Micros, World};
use crate::history::Act;
use crate::rng::Rng;
use crate::scenario::{Balancer, Scenario};
use crate::system::{Answer, Input, NodeIx, Process, Request, RequestId, System, What, WriteId};
use crate::traffic::{Call, Desk, Order, Seen, VisitId};

/// A request that has no answer yet.
struct Open {
    visit: VisitId,
    request: Option<Request>,
    writes: Vec<WriteId>,
    user: u32,
    /// Which process has it.
    taken_by: Option<Process>,
    tries: usize,
    /// Which node it must go to.
    pinned: bool,
}

/// What is on its way, and what the balancer believes.
pub(super) struct Requests {
    open: BTreeMap<RequestId, Open>,
    made: u64,
    healthy: Vec<bool>,
    turn: usize,
    rng: Rng,
    pub(super) count: u64,
}

impl Requests {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            open: BTreeMap::new(),
            made: 0,
            healthy: vec![true; scenario.cluster.nodes],
            turn: 0,
            rng: Rng::fork(scenario.seed, "balancer", 0),
            count: 0,
        }
    }

    fn choose(&mut self, balancer: Balancer, user: u32) -> Option<NodeIx> {
        let healthy: Vec<NodeIx> = (0..self.healthy.len()).filter(|node| self.healthy[*node]).collect();
        if healthy.is_empty() {
            return None;
        }
        let place = match balancer {
            Balancer::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                self.turn
            }
            Balancer::Random => self.rng.index(healthy.len()),
            Balancer::Sticky if user == u32::MAX => self.rng.index(healthy.len()),
            Balancer::Sticky => user as usize,
        };
        healthy.get(place % healthy.len()).copied()
    }
}

impl<S: System> World<S> {
    /// Lets the users act, and does what they order.
    pub(super) fn desk(&mut self, act: impl FnOnce(&mut crate::traffic::Traffic, &mut Desk<'_>)) {
        let mut desk = Desk {
            now: self.now,
            scenario: &self.scenario,
            history: &mut self.history,
            outcomes: &mut self.recorder.outcomes,
            orders: Vec::new(),
            seen: Vec::new(),
        };
        act(&mut self.traffic, &mut desk);
        let (orders, seen) = (desk.orders, desk.seen);
        self.history.clock_spread = self.clocks.spread_millis() * 1_000;
        for mut seen in seen {
            seen.by_a_loner = self.seats[seen.by.node].is_loner(self.now);
            seen.by_a_stranger = self.is_strange_to(&seen);
            let verdicts = self.judges.saw(&seen, &self.history);
            self.recorder.saw(&seen, &verdicts);
        }
        for order in orders {
            match order {
                Order::Wake { at, call } => self.queue.at(at, Event::Call(call)),
                Order::Send { visit, user, node, request, writes } => {
                    let open = Open {
                        visit,
                        request: Some(request),
                        writes,
                        user,
                        taken_by: None,
                        tries: 0,
                        pinned: node.is_some(),
                    };
                    self.submit(open, node);
                }
            }
        }
    }

    /// Whoever answered does not know whoever created what was asked for.
    fn is_strange_to(&self, seen: &Seen) -> bool {
        let created = self.history.objects.get(&seen.object).and_then(|known| known.created);
        let Some(creator) = created.and_then(|id| self.history.write(id).taken_by) else { return false };
        self.acquaintance.known_from(seen.by, creator).is_none_or(|known| self.now < known)
    }

    pub(super) fn call(&mut self, call: Call) {
        self.trace.note(self.now, "call", [0, 0, 0]);
        self.desk(|traffic, desk| traffic.wake(desk, call));
    }

    fn submit(&mut self, open: Open, node: Option<NodeIx>) {
        self.requests.made += 1;
        self.requests.count += 1;
        let id = RequestId(self.requests.made);
        let latency = self.client_latency();
        let patience = self.scenario.traffic.patience.0;
        self.requests.open.insert(id, open);
        // A handler runs beside its node: what it asks for is there at once.
        let late = if node.is_some() { 50 } else { latency };
        self.queue.at(self.now + late, Event::Request(id, node));
        self.queue.at(self.now + patience, Event::Patience(id));
    }

    fn client_latency(&mut self) -> Micros {
        self.scenario.traffic.client_latency.draw(&mut self.requests.rng)
    }

    /// A request reaches its node, or the balancer finds out that it does not.
    pub(super) fn deliver(&mut self, id: RequestId, node: Option<NodeIx>) {
        let Some(open) = self.requests.open.get(&id) else { return };
        let (user, pinned, tries) = (open.user, open.pinned, open.tries);
        let node = node.or_else(|| self.requests.choose(self.scenario.traffic.balancer, user));
        let Some(node) = node else {
            self.fail(id);
            return;
        };
        if self.seats[node].users_cut > 0 && !pinned {
            // Nothing comes back: the user waits.
            self.count("requests that reached nobody");
            return;
        }
        let Some(process) = self.seats[node].process else {
            self.requests.healthy[node] = false;
            if pinned || tries >= self.seats.len() {
                self.fail(id);
            } else if let Some(open) = self.requests.open.get_mut(&id) {
                open.tries += 1;
                self.queue.at(self.now + 200, Event::Request(id, None));
            }
            return;
        };
        let Some(open) = self.requests.open.get_mut(&id) else { return };
        let Some(request) = open.request.take() else { return };
        open.taken_by = Some(process);
        let writes = open.writes.clone();
        // Where it matters which of two clocks is ahead.
        let lives = matches!(request.what, What::Create(_) | What::Destroy);
        let clock_millis = if lives { self.clock_millis(node) } else { 0 };
        let by_a_loner = self.seats[node].is_loner(self.now);
        for write in writes {
            self.history.take(write, process, clock_millis, by_a_loner);
        }
        self.trace.note(self.now, "request", [node as u64, id.0, request.object.hash()]);
        let object = &request.object;
        self.trace.say(self.now, || {
            format!("{} is asked: {} {}", Scenario::node_name(node), object, brief(&request))
        });
        self.input(node, Input::Request(id, request));
    }

    /// What a node's clock is off by, with its own correction.
    fn clock_millis(&self, node: NodeIx) -> i64 {
        self.clocks.offset_millis(node, self.now) + self.system.clock_correction_millis(node)
    }

    /// A process has answered.
    pub(super) fn answer(&mut self, id: RequestId, by: Process, answer: Answer) {
        let writes = self.requests.open.get(&id).map(|open| open.writes.clone()).unwrap_or_default();
        for write in writes {
            if matches!(self.history.write(write).act, Act::Create | Act::Destroy) {
                self.history.answers(write, self.clock_millis(by.node));
            }
        }
        let latency = self.client_latency();
        self.queue.at(self.now + latency, Event::Reply(id, by, answer));
    }

    pub(super) fn reply(&mut self, id: RequestId, by: Process, answer: Answer) {
        if self.seats[by.node].users_cut > 0 {
            // The answer is lost; its user still waits.
            return;
        }
        let Some(open) = self.requests.open.remove(&id) else { return };
        self.trace.note(self.now, told(&answer), [by.node as u64, id.0, 0]);
        self.trace.say(self.now, || {
            format!("{} answers: {} (request {})", Scenario::node_name(by.node), told(&answer), id.0)
        });
        self.desk(|traffic, desk| traffic.answered(desk, open.visit, by, answer));
    }

    /// Its user has waited long enough.
    pub(super) fn give_up(&mut self, id: RequestId) {
        if self.requests.open.contains_key(&id) {
            self.count("requests given up");
            self.fail(id);
        }
    }

    fn fail(&mut self, id: RequestId) {
        let Some(open) = self.requests.open.remove(&id) else { return };
        self.trace.note(self.now, "no answer", [id.0, 0, 0]);
        self.desk(|traffic, desk| traffic.failed(desk, open.visit));
    }

    /// A process is gone: what it was asked gets no answer.
    pub(super) fn abandon(&mut self, process: Process) {
        let lost: Vec<RequestId> = self
            .requests
            .open
            .iter()
            .filter(|(_, open)| open.taken_by == Some(process))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.fail(id);
        }
    }

    /// Whether a process still has requests to answer.
    pub(super) fn requests_at(&self, process: Process) -> bool {
        self.requests.open.values().any(|open| open.taken_by == Some(process))
    }

    /// The balancer asks every node whether it is ready.
    pub(super) fn health_check(&mut self) {
        for node in 0..self.seats.len() {
            let seat = &self.seats[node];
            let answers = seat.runs() && seat.users_cut == 0 && !seat.leaving;
            self.requests.healthy[node] = answers && self.system.ready(node);
        }
        self.queue.at(self.now + self.scenario.traffic.health_check.0, Event::HealthCheck);
    }
}

fn brief(request: &Request) -> String {
    let mut text = format!("{:?}", request.what);
    text.truncate(text.floor_char_boundary(120));
    text
}

fn told(answer: &Answer) -> &'static str {
    match answer {
        Answer::Found { .. } => "found",
        Answer::Unknown { behind: true } => "unknown to those who could be asked",
        Answer::Unknown { behind: false } => "unknown",
        Answer::Ended { .. } => "ended",
        Answer::Done { .. } => "done",
        Answer::Refused(why) => why,
    }
}
