//! Links that stand, break and stand again, and what is under way on them.

use std::collections::BTreeMap;

use super::{Cluster, Violation};
use crate::core::identity::ReplicaId;
use crate::core::message::Message;
use crate::core::node::{Input, Node, Output};
use crate::core::time::MonoMicros;

/// Between looks at which links should stand.
const LOOK_MILLIS: u64 = 150;

/// The longest it takes a node to notice that a link is gone.
pub(super) const NOTICE_MICROS: u64 = 2_500_000;

/// A link between two processes, from its making until both know that it is gone.
#[derive(Debug)]
struct Link {
    /// The seats' processes, the lower seat first.
    ends: [ReplicaId; 2],
    /// Who has been told that it stands and not yet that it is gone.
    told: [bool; 2],
    /// Who has got a message over it.
    heard: [bool; 2],
    /// Nothing passes any more.
    broken: bool,
    /// A queue on it has overflowed.
    overflowed: bool,
    /// What is under way arrives though the sender has died: it lies in some buffer.
    outlives: bool,
    /// What is sent now takes this much longer.
    stalled_micros: u64,
}

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A message arrives over the link of this number.
    Arrive { link: u64, to: usize, message: Box<Message> },
    /// One end notices that the link is gone.
    Notice { link: u64, end: usize },
    /// A process's commit begins or ends.
    Save { seat: usize, id: ReplicaId },
    /// It saves the time, though there is nothing else to save.
    Beat { seat: usize, id: ReplicaId },
    /// Links are made where they should stand.
    Look,
}

/// All links, and what is under way.
#[derive(Debug)]
pub(super) struct Network {
    links: BTreeMap<u64, Link>,
    by_seats: BTreeMap<(usize, usize), u64>,
    made: u64,
    queue: BTreeMap<(MonoMicros, u64), Event>,
    queued: u64,
    /// When the last message from one seat to another arrives: none overtakes it on an orderly link.
    last_arrival: BTreeMap<(usize, usize), MonoMicros>,
    /// Seats of different groups cannot reach each other.
    pub(super) groups: Vec<u64>,
    /// Who can reach whom has changed.
    pub(super) dirty: bool,
    /// Nothing is lost, repeated or overtaken any more.
    pub(super) calm: bool,
    liveness_told: BTreeMap<(ReplicaId, ReplicaId), bool>,
}

impl Network {
    pub(super) fn new(seats: usize) -> Self {
        let mut network = Self {
            links: BTreeMap::new(),
            by_seats: BTreeMap::new(),
            made: 0,
            queue: BTreeMap::new(),
            queued: 0,
            last_arrival: BTreeMap::new(),
            groups: vec![0; seats],
            dirty: true,
            calm: false,
            liveness_told: BTreeMap::new(),
        };
        network.at(MonoMicros(0), Event::Look);
        network
    }

    pub(super) fn at(&mut self, time: MonoMicros, event: Event) {
        self.queued += 1;
        self.queue.insert((time, self.queued), event);
    }

    fn next(&self) -> Option<MonoMicros> {
        self.queue.keys().next().map(|(time, _)| *time)
    }

    /// The link that stands between two seats, from which nothing has been lost.
    pub(super) fn stands(&self, a: usize, b: usize) -> Option<u64> {
        self.between(a, b).filter(|number| self.is_whole(*number))
    }

    /// It stands, and nothing has been lost from it.
    pub(super) fn is_whole(&self, number: u64) -> bool {
        self.links.get(&number).is_some_and(|link| !link.broken && !link.overflowed)
    }

    /// A process has been told of a link with another, and not that it is gone.
    pub(super) fn believes_in(&self, process: ReplicaId, other: ReplicaId) -> bool {
        let ends = [[process, other], [other, process]];
        self.links
            .values()
            .any(|link| ends.iter().enumerate().any(|(end, ends)| link.ends == *ends && link.told[end]))
    }

    /// Something has come to this process over the link, or the link is no more.
    pub(super) fn has_heard(&self, number: u64, process: ReplicaId) -> bool {
        self.links.get(&number).is_none_or(|link| link.heard[usize::from(link.ends[1] == process)])
    }

    fn between(&self, a: usize, b: usize) -> Option<u64> {
        self.by_seats.get(&(a.min(b), a.max(b))).copied()
    }
}

impl Cluster {
    /// Lets time pass, with all that happens on the way.
    ///
    /// # Errors
    /// What must not happen.
    pub fn pass(&mut self, millis: u64) -> Result<(), Violation> {
        let end = self.mono.plus_millis(millis);
        loop {
            let ticks = self.up().map(|(_, node)| node.deadline()).min();
            let next = self.network.next().into_iter().chain(ticks).min().unwrap_or(end);
            if next > end {
                self.mono = end;
                return Ok(());
            }
            self.mono = self.mono.max(next);
            while let Some(at) = self.network.next().filter(|at| *at <= self.mono) {
                let Some(((_, _), event)) = self.network.queue.pop_first() else { break };
                debug_assert!(at <= self.mono);
                self.happen(event)?;
            }
            for seat in 0..self.seats.len() {
                if self.seats[seat].node.as_ref().is_some_and(|node| node.deadline() <= self.mono) {
                    self.input(seat, Input::Tick)?;
                }
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Look => {
                self.look()?;
                self.network.at(self.mono.plus_millis(LOOK_MILLIS), Event::Look);
                Ok(())
            }
            Event::Arrive { link, to, message } => self.arrive(link, to, *message),
            Event::Notice { link, end } => self.notice(link, end),
            Event::Save { seat, id } => self.save(seat, id),
            Event::Beat { seat, id } => {
                self.beat(seat, id);
                Ok(())
            }
        }
    }

    fn arrive(&mut self, number: u64, to: usize, message: Message) -> Result<(), Violation> {
        let me = self.seats[to].id;
        let Some(link) = self.network.links.get_mut(&number) else { return Ok(()) };
        let end = usize::from(link.ends[1] == me);
        let broken = link.broken && !link.outlives;
        if !link.told[end] || broken || link.ends[end] != me || self.seats[to].node.is_none() {
            return Ok(());
        }
        link.heard[end] = true;
        let from = link.ends[1 - end];
        if self.seat_of(from).is_none() {
            self.count("late words");
        }
        self.input(to, Input::Message(from, message))
    }

    fn notice(&mut self, number: u64, end: usize) -> Result<(), Violation> {
        let Some(link) = self.network.links.get_mut(&number) else { return Ok(()) };
        let (me, peer) = (link.ends[end], link.ends[1 - end]);
        let told = std::mem::replace(&mut link.told[end], false);
        if link.told == [false, false] {
            self.network.links.remove(&number);
            self.network.by_seats.retain(|_, link| *link != number);
        }
        match self.seat_of(me) {
            Some(seat) if told => self.input(seat, Input::LinkDown(peer)),
            _ => Ok(()),
        }
    }

    fn seat_of(&self, id: ReplicaId) -> Option<usize> {
        self.seats.iter().position(|seat| seat.id == id && seat.node.is_some())
    }

    /// Breaks links that cannot stand, makes those that can, and tells who gossips.
    fn look(&mut self) -> Result<(), Violation> {
        // Which links are wanted changes by itself.
        let sparse = self.seats.len() > self.setup.full_mesh_max;
        if !std::mem::take(&mut self.network.dirty)
            && !sparse
            && !self.network.links.values().any(|link| link.broken)
        {
            let pairs = self.up().count() * self.up().count().saturating_sub(1) / 2;
            if self.network.links.len() >= pairs || self.network.groups.iter().any(|group| *group > 0) {
                return Ok(());
            }
        }
        for b in 0..self.seats.len() {
            for a in 0..b {
                self.look_at(a, b)?;
            }
        }
        Ok(())
    }

    /// A link stands when one of the two wants it.
    fn wanted(&self, a: usize, b: usize) -> bool {
        let wants = |one: usize, other: usize| {
            self.seats[one].node.as_ref().is_some_and(|node| node.wants_link(self.seats[other].id))
        };
        wants(a, b) || wants(b, a)
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        let up = |seat: usize| self.seats[seat].node.is_some();
        up(a) && up(b) && self.network.groups[a] == self.network.groups[b]
    }

    fn look_at(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let ends = [self.seats[a].id, self.seats[b].id];
        let reaches = self.reaches(a, b);
        self.tell_liveness(a, b, reaches)?;
        self.tell_liveness(b, a, reaches)?;
        if let Some(number) = self.network.between(a, b) {
            let Some(link) = self.network.links.get_mut(&number) else { return Ok(()) };
            let fits = !link.broken && reaches && link.ends == ends;
            if !(link.broken || fits && self.wanted(a, b)) {
                if fits {
                    self.count("links dropped");
                }
                self.break_link(number);
            }
            return Ok(());
        }
        if reaches && !self.wanted(a, b) {
            self.count("links not wanted");
        }
        if !reaches || !self.wanted(a, b) {
            return Ok(());
        }
        self.network.made += 1;
        let number = self.network.made;
        self.network.by_seats.insert((a, b), number);
        self.network.links.insert(
            number,
            Link {
                ends,
                told: [true, true],
                heard: [false, false],
                broken: false,
                overflowed: false,
                outlives: false,
                stalled_micros: 0,
            },
        );
        self.meet(number, a, b);
        self.meet(number, b, a);
        self.input(a, Input::LinkUp(ends[1]))?;
        self.input(b, Input::LinkUp(ends[0]))
    }

    /// What one seat's failure detector says of another's process.
    fn tell_liveness(&mut self, seat: usize, other: usize, alive: bool) -> Result<(), Violation> {
        let (me, id) = (self.seats[seat].id, self.seats[other].id);
        if self.seats[seat].node.is_none() || self.seats[other].starts == 0 {
            return Ok(());
        }
        if self.network.liveness_told.insert((me, id), alive) == Some(alive) {
            return Ok(());
        }
        let wall = super::EPOCH;
        let replica = crate::core::identity::Replica {
            node: format!("n{other}"),
            started: wall.plus(self.seats[other].starts),
            id,
        };
        self.input(seat, Input::Liveness { replica, alive })
    }

    /// Nothing passes from now on; each end notices in its own time.
    fn break_link(&mut self, number: u64) {
        let Some(link) = self.network.links.get_mut(&number) else { return };
        link.broken = true;
        for end in 0..2 {
            let delay = match self.network.links.get(&number) {
                _ if self.network.calm => 1,
                // The end of the stream comes after all that was sent.
                Some(link) if link.outlives => link.stalled_micros + 400_000,
                _ => self.rng.below(NOTICE_MICROS),
            };
            self.network.at(MonoMicros(self.mono.0 + delay), Event::Notice { link: number, end });
        }
    }

    /// Breaks what cannot stand at once: a cut is not announced.
    pub(super) fn cut(&mut self) {
        self.network.dirty = true;
        let broken: Vec<u64> = self
            .network
            .by_seats
            .iter()
            .filter(|((a, b), _)| !self.reaches(*a, *b))
            .map(|(_, number)| *number)
            .filter(|number| self.network.links.get(number).is_some_and(|link| !link.broken))
            .collect();
        for number in broken {
            self.break_link(number);
        }
    }

    /// All that is under way from one seat to another is lost, and the sender is told.
    pub(super) fn overflow(&mut self, from: usize, to: usize) -> Result<(), Violation> {
        let Some(number) = self.network.between(from, to) else { return Ok(()) };
        if let Some(link) = self.network.links.get_mut(&number) {
            link.overflowed = true;
        }
        let before = self.network.queue.len();
        let lost = |event: &Event| matches!(event, Event::Arrive { link, to: at, .. } if *link == number && *at == to);
        self.network.queue.retain(|_, event| !lost(event));
        if self.network.queue.len() < before {
            self.count("overflows");
        }
        let peer = self.seats[to].id;
        self.input(from, Input::Overflowed(peer))
    }

    /// What goes between two seats from now on takes long, and outlives its sender.
    pub fn stall(&mut self, a: usize, b: usize, micros: u64) {
        let Some(number) = self.network.stands(a, b) else { return };
        if let Some(link) = self.network.links.get_mut(&number) {
            link.outlives = true;
            link.stalled_micros = micros;
        }
        self.say(|| format!("n{a} and n{b} hear each other {} ms late", micros / 1_000));
        self.count("stalls");
    }

    /// Hands an input to a seat's process and does what it wants done.
    pub(super) fn input(&mut self, seat: usize, input: Input) -> Result<(), Violation> {
        let now = self.now(seat);
        let Some(node) = &mut self.seats[seat].node else { return Ok(()) };
        let before = super::observe::Before::of(node, &input);
        node.handle(now, input);
        self.after(seat, Some(before))
    }

    pub(super) fn outputs(&mut self, seat: usize) -> Result<(), Violation> {
        while let Some(output) = self.seats[seat].node.as_mut().and_then(Node::poll_output) {
            match output {
                Output::Send(to, message) => self.send(seat, to, &message)?,
                Output::Done(wait, how) => self.done(seat, wait, how)?,
                Output::Changed(_) => {}
                Output::Unsaved => self.unsaved(seat),
                Output::Alarm(alarm) => self.alarmed(seat, &alarm)?,
                Output::Disconnect(peer, why) => self.disconnect(seat, peer, why)?,
                Output::StartOver(dropped) => self.start_over(seat, &dropped)?,
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: ReplicaId, message: &Message) -> Result<(), Violation> {
        let Some(to) = self.seat_of(to) else { return Ok(()) };
        let Some(link) = self.network.between(from, to) else { return Ok(()) };
        let standing = self.network.links.get(&link).is_some_and(|known| {
            !known.broken
                && known.ends.contains(&self.seats[from].id)
                && known.ends.contains(&self.seats[to].id)
        });
        if !standing {
            return Ok(());
        }
        self.count(name_of(message));
        let wild = !self.network.calm;
        if wild && self.rng.percent(self.setup.lost_percent) {
            self.count("lost");
            return Ok(());
        }
        let message = (self.setup.codec)(message).map_err(|error| {
            Violation(format!("a message does not survive its bytes: {error}: {message:?}"))
        })?;
        let copies = if wild && self.rng.percent(self.setup.repeated_percent) {
            self.count("repeated");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let time = self.arrival(from, to);
            self.network.at(time, Event::Arrive { link, to, message: Box::new(message.clone()) });
        }
        Ok(())
    }

    fn arrival(&mut self, from: usize, to: usize) -> MonoMicros {
        let stalled = self.network.between(from, to).and_then(|number| self.network.links.get(&number));
        let stalled = stalled.filter(|_| !self.network.calm).map_or(0, |link| link.stalled_micros);
        let time = MonoMicros(self.mono.0 + 100 + stalled + self.rng.below(self.setup.delay_micros));
        let last = self.network.last_arrival.entry((from, to)).or_default();
        if time < *last && (self.network.calm || !self.setup.overtaking) {
            return *last;
        }
        let overtakes = time < *last;
        *last = time.max(*last);
        if overtakes {
            self.count("overtaken");
        }
        time
    }
}

fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "sent Hello",
        Message::Roster(_) => "sent Roster",
        Message::Ops(_) => "sent Ops",
        Message::Applied(_) => "sent Applied",
        Message::Clocks(_) => "sent Clocks",
        Message::Digests { .. } => "sent Digests",
        Message::WantStates(_) => "sent WantStates",
        Message::State(_) => "sent State",
        Message::Ask { .. } => "sent Ask",
        Message::Answer { .. } => "sent Answer",
        Message::Ping { .. } => "sent Ping",
        Message::Pong { .. } => "sent Pong",
        Message::Leave => "sent Leave",
        Message::Saved { .. } => "sent Saved",
        Message::WantSaved => "sent WantSaved",
        Message::Relay { .. } => "sent Relay",
        Message::Members(_) => "sent Members",
        Message::Wave { .. } => "sent Wave",
        Message::Echo { .. } => "sent Echo",
        Message::Settled(_) => "sent Settled",
    }
}
