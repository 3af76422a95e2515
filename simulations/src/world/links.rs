//! Links that come up, carry messages and break.

use super::network::{Arrival, Fate};
use super::{Event, Micros, World};
use crate::system::{Input, NodeIx, Process, System};

/// Between a reason to dial and the dial, at most.
const DIAL_MICROS: Micros = 1_000_000;

/// The sidecar says something on an idle link this often, so silence is noticed a little earlier or later.
const KEEPALIVE_MICROS: Micros = 1_500_000;

/// Between looks at which links are wanted, and how many of them in a row must find that one is not before it goes.
const WANTED_LOOK: Micros = 500_000;
const UNWANTED_LOOKS: u32 = 10;

impl<S: System> World<S> {
    /// Two nodes may be without a link that they want.
    pub(super) fn consider(&mut self, a: NodeIx, b: NodeIx) {
        let nodes = (a.min(b), a.max(b));
        if self.can_link(nodes) && self.network.dialling.insert(nodes) {
            let late = 1_000 + self.network.rng.below(DIAL_MICROS);
            self.queue.at(self.now + late, Event::Dial { nodes });
        }
    }

    pub(super) fn consider_all(&mut self) {
        for a in 0..self.seats.len() {
            for b in a + 1..self.seats.len() {
                self.consider(a, b);
            }
        }
    }

    fn can_link(&self, (a, b): (NodeIx, NodeIx)) -> bool {
        let (Some(one), Some(other)) = (self.seats[a].process, self.seats[b].process) else { return false };
        let known = self.membership.knows(a, other) || self.membership.knows(b, one);
        // Where there are many, few are wanted.
        known
            && self.seats[a].runs()
            && self.seats[b].runs()
            && (self.system.wants_link(a, other) || self.system.wants_link(b, one))
            && self.network.between(a, b).is_none()
            && self.network.is_open(a, b)
            && !self.network.is_clogged(a, b)
    }

    /// In a large cluster not everyone is linked with everyone, and who is changes: what is wanted is dialled, and what
    /// neither end wants goes after a while.
    pub(super) fn rewire(&mut self) {
        self.queue.at(self.now + WANTED_LOOK, Event::Rewire);
        self.consider_all();
        let links: Vec<(u64, [Process; 2])> =
            self.network.links.iter().map(|(serial, link)| (*serial, link.ends)).collect();
        self.unwanted.retain(|serial, _| self.network.links.contains_key(serial));
        for (serial, [a, b]) in links {
            if self.system.wants_link(a.node, b) && self.system.wants_link(b.node, a) {
                self.unwanted.remove(&serial);
                continue;
            }
            let looks = self.unwanted.entry(serial).or_default();
            *looks += 1;
            if *looks > UNWANTED_LOOKS {
                self.close_end(serial, usize::from(self.system.wants_link(a.node, b)));
            }
        }
    }

    /// A dial: the link stands if nothing has changed.
    pub(super) fn dial(&mut self, nodes: (NodeIx, NodeIx)) {
        self.network.dialling.remove(&nodes);
        let (Some(a), Some(b)) = (self.seats[nodes.0].process, self.seats[nodes.1].process) else { return };
        if !self.can_link(nodes) {
            return;
        }
        let serial = self.network.link(a, b);
        let trip = self.network.latency(&self.scenario, a.node, b.node)
            + self.network.latency(&self.scenario, b.node, a.node);
        self.queue.at(self.now + trip, Event::LinkUp { serial, end: 0 });
        self.queue.at(self.now + trip + trip / 2, Event::LinkUp { serial, end: 1 });
    }

    pub(super) fn link_up(&mut self, serial: u64, end: usize) {
        let Some(link) = self.network.links.get_mut(&serial) else { return };
        link.up[end] = true;
        let (me, peer) = (link.ends[end], link.ends[1 - end]);
        if self.seats[me.node].process == Some(me) {
            self.count("links made");
            self.acquaintance.meet(self.now, me, peer);
            let established = self.seats[peer.node].loner.is_none();
            if let Some(met) = self.seats[me.node].loner.as_mut().filter(|_| established) {
                met.get_or_insert(self.now);
            }
            let greeting =
                self.system.greeting(peer.node).filter(|_| self.seats[peer.node].process == Some(peer));
            self.input(me.node, Input::LinkUp(peer));
            if let Some(greeting) = greeting {
                self.input(me.node, Input::Message(peer, greeting));
            }
        }
    }

    /// One end closes the link, and the other hears of it if it can.
    pub(super) fn close_end(&mut self, serial: u64, end: usize) {
        let Some(link) = self.network.links.get_mut(&serial) else { return };
        let (me, peer) = (link.ends[end], link.ends[1 - end]);
        let was_up = std::mem::replace(&mut link.up[end], false);
        let other_up = link.up[1 - end];
        if !other_up {
            self.network.remove(serial);
        } else if !self.network.is_blocked(me.node, peer.node) {
            let late = self.network.latency(&self.scenario, me.node, peer.node);
            self.queue.at(self.now + late, Event::Closed { serial, end: 1 - end });
        }
        if was_up && self.seats[me.node].process == Some(me) {
            self.count("links lost");
            self.input(me.node, Input::LinkDown(peer));
        }
        self.consider(me.node, peer.node);
    }

    /// Nothing has come on a link for too long, if its direction is still the one that was blocked then.
    pub(super) fn silence(&mut self, serial: u64, end: usize, turn: u64) {
        let Some(link) = self.network.links.get(&serial) else { return };
        let (me, peer) = (link.ends[end], link.ends[1 - end]);
        if self.network.pipe(peer.node, me.node).turn == turn {
            self.close_end(serial, end);
        }
    }

    /// All links of a node break: its process is gone. Peers hear of it at once, or by the silence.
    pub(super) fn break_links(&mut self, process: Process, told: bool) {
        for (serial, end) in self.network.links_of(process) {
            let Some(link) = self.network.links.get_mut(&serial) else { continue };
            link.up[end] = false;
            let (me, peer) = (link.ends[end], link.ends[1 - end]);
            let late = if told && !self.network.is_blocked(me.node, peer.node) {
                self.network.latency(&self.scenario, me.node, peer.node)
            } else {
                self.silence_micros()
            };
            self.queue.at(self.now + late, Event::Closed { serial, end: 1 - end });
        }
    }

    pub(super) fn silence_micros(&mut self) -> Micros {
        let silence = self.scenario.network.silence.0;
        silence.saturating_sub(self.network.rng.below(KEEPALIVE_MICROS.min(silence)))
    }

    /// Which paths are blocked may have changed.
    pub(super) fn look_at_paths(&mut self) {
        for from in 0..self.seats.len() {
            for to in 0..self.seats.len() {
                if from != to {
                    self.look_at_path(from, to);
                }
            }
        }
        self.look_around();
        self.consider_all();
    }

    fn look_at_path(&mut self, from: NodeIx, to: NodeIx) {
        let blocked = self.network.is_blocked(from, to);
        let now = self.now;
        let pipe = self.network.pipe(from, to);
        if blocked == pipe.blocked_since.is_some() {
            if !blocked {
                // A clog may be over.
                self.release(from, to, 0);
            }
            return;
        }
        pipe.turn += 1;
        let turn = pipe.turn;
        let since = std::mem::replace(&mut pipe.blocked_since, blocked.then_some(now));
        let serial = self.network.between(from, to);
        let end = usize::from(from < to);
        if blocked {
            if let Some(serial) = serial {
                let late = self.silence_micros();
                self.queue.at(now + late, Event::Silence { serial, end, turn });
            }
            return;
        }
        // What was sent meanwhile is sent again when TCP tries the next time.
        let lasted = now - since.unwrap_or(now);
        let late = self.network.rng.below(lasted.min(2_000_000) + 1);
        self.release(from, to, late);
        if let Some((serial, link)) =
            serial.and_then(|serial| Some((serial, self.network.links.get(&serial)?)))
            && link.up[end]
            && !link.up[1 - end]
        {
            self.queue.at(now + late + 1_000, Event::Closed { serial, end });
        }
    }

    fn release(&mut self, from: NodeIx, to: NodeIx, late: Micros) {
        for (serial, message, bytes) in self.network.release(from, to) {
            let fate =
                self.network.send(&self.scenario, self.now + late, (from, to), serial, &message, bytes);
            self.fly(serial, from, to, &message, fate);
        }
    }

    /// A process sends something to another.
    pub(super) fn send(&mut self, from: Process, to: Process, message: S::Message) {
        let Some(serial) = self.network.between(from.node, to.node) else { return };
        let Some(link) = self.network.links.get(&serial) else { return };
        let (Some(end), Some(_)) = (link.end_of(from), link.end_of(to)) else { return };
        if !link.up[end] {
            return;
        }
        let bytes = self.system.wire_bytes(&message);
        let sort = S::sort_of(&message);
        self.recorder.sent(from.node, sort, bytes);
        self.trace.note(self.now, sort, [from.node as u64, to.node as u64, bytes]);
        let message = if self.scenario.network.through_bytes {
            match self.system.through_bytes(message) {
                Ok(message) => message,
                Err(error) => {
                    self.alarm(from.node, &format!("a message does not survive its bytes: {error}"));
                    return;
                }
            }
        } else {
            message
        };
        let ends = (from.node, to.node);
        let fate = self.network.send(&self.scenario, self.now, ends, serial, &message, bytes);
        self.fly(serial, from.node, to.node, &message, fate);
    }

    fn fly(&mut self, link: u64, from: NodeIx, to: NodeIx, message: &S::Message, fate: Fate) {
        match fate {
            Fate::Arrives(arrivals) => {
                for arrival in arrivals {
                    let message = message.clone();
                    self.queue.at(arrival.at, Event::Arrive { link, from, to, message, arrival });
                }
            }
            Fate::Overflow => {
                if let Some(peer) = self.seats[to].process {
                    self.input(from, Input::Overflowed(peer));
                }
            }
            Fate::Held | Fate::Lost => {}
        }
    }

    /// A message arrives, if its link still stands.
    pub(super) fn arrive(
        &mut self,
        link: u64,
        from: NodeIx,
        to: NodeIx,
        message: S::Message,
        arrival: &Arrival,
    ) {
        if self.network.was_dropped(from, to, arrival) {
            return;
        }
        let Some(known) = self.network.links.get(&link) else { return };
        let end = usize::from(from < to);
        let (me, peer) = (known.ends[end], known.ends[1 - end]);
        if known.up[end] && self.seats[to].process == Some(me) {
            self.input(to, Input::Message(peer, message));
        }
    }
}
