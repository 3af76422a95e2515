//! What goes wrong, as it begins and ends. Every fault that a scenario asks for must have happened by the end.

use super::{Event, Micros, World};
use crate::scenario::{Fault, FaultKind, Scenario};
use crate::system::{Input, NodeIx, Process, System};

/// Between looks at whether a leaving node is done, as in the sidecar.
const DRAIN_LOOK: Micros = 20_000;

/// Between a leaving node's goodbye and its end.
const LAST_WORDS: Micros = 100_000;

impl<S: System> World<S> {
    /// The cluster is up: from now on things may go wrong.
    pub(super) fn schedule_faults(&mut self) {
        for (index, fault) in self.faults.iter().enumerate() {
            self.queue.at(self.now + fault.at.0, Event::Fault(index));
        }
        self.next_mistake();
    }

    pub(super) fn fault_begins(&mut self, index: usize) {
        let fault = self.faults[index].clone();
        self.recorder.fault_begins(&fault, self.now);
        let what = || format!("fault: {} {:?}", fault.kind.name(), touched(&fault));
        self.trace.say(self.now, what);
        self.trace.note(self.now, fault.kind.name(), [index as u64, 0, 0]);
        let ends = fault.until.map(|until| self.now + (until.0 - fault.at.0));
        match fault.kind {
            kind if kind.is_process() => {
                self.process_fault(index, &fault);
                return;
            }
            FaultKind::Flap => {
                self.network.active.push(fault.clone());
                self.flap(index, true);
            }
            FaultKind::Partition | FaultKind::Cut | FaultKind::Isolate => {
                self.count("paths blocked");
                self.network.active.push(fault.clone());
                self.look_at_paths();
            }
            FaultKind::Degrade | FaultKind::Clog => {
                self.count(if fault.kind == FaultKind::Clog { "clogs" } else { "links degraded" });
                self.network.active.push(fault.clone());
            }
            FaultKind::Slow | FaultKind::SlowDisk | FaultKind::ClockStep | FaultKind::ClockDrift => {
                self.node_fault(&fault, true);
            }
            FaultKind::Mistake => {
                self.mistakes(index, true);
            }
            FaultKind::Crash | FaultKind::Leave | FaultKind::Pause | FaultKind::Suspend => {}
        }
        self.cut_users(&fault, true);
        if let Some(ends) = ends {
            self.queue.at(ends, Event::FaultEnds(index));
        }
    }

    pub(super) fn fault_ends(&mut self, index: usize) {
        let fault = self.faults[index].clone();
        if !self.recorder.fault_ends(index, self.now) {
            return;
        }
        self.trace.say(self.now, || format!("over: {} {:?}", fault.kind.name(), touched(&fault)));
        self.network.active.retain(|active| active.index != fault.index);
        self.network.flapped.remove(&index);
        match fault.kind {
            FaultKind::Slow | FaultKind::SlowDisk | FaultKind::ClockStep | FaultKind::ClockDrift => {
                self.node_fault(&fault, false);
            }
            FaultKind::Mistake => self.mistakes(index, false),
            _ => {}
        }
        self.cut_users(&fault, false);
        self.look_at_paths();
        self.healed(fault.kind.name());
    }

    /// Users cannot reach these nodes either, or can again.
    fn cut_users(&mut self, fault: &Fault, begins: bool) {
        if !fault.spec.users_too {
            return;
        }
        let sided = |node: &NodeIx| fault.kind == FaultKind::Partition && fault.sides[*node] != 0;
        let nodes = (0..self.seats.len()).filter(|node| fault.nodes.contains(node) || sided(node));
        for node in nodes.collect::<Vec<_>>() {
            let cut = &mut self.seats[node].users_cut;
            *cut = if begins { *cut + 1 } else { cut.saturating_sub(1) };
        }
    }

    fn node_fault(&mut self, fault: &Fault, begins: bool) {
        let (now, sign) = (self.now, if begins { 1 } else { -1 });
        let by_millis = fault.spec.by.map_or(0, |by| by.0);
        for node in fault.nodes.clone() {
            match fault.kind {
                FaultKind::Slow => {
                    self.seats[node].slow = if begins { by_millis.unsigned_abs() * 1_000 } else { 0 };
                    self.count(if begins { "slow nodes" } else { "slow nodes healed" });
                }
                FaultKind::SlowDisk => {
                    self.system.slow_disk(node, if begins { by_millis.unsigned_abs() * 1_000 } else { 0 });
                    self.count(if begins { "slow disks" } else { "slow disks healed" });
                }
                FaultKind::ClockStep => {
                    self.clocks.step(node, now, sign * by_millis);
                    self.count("clocks stepped");
                }
                _ => {
                    self.clocks.drift(node, now, sign * i64::from(fault.spec.ppm.unwrap_or(0)));
                    self.count("clocks drifting");
                }
            }
        }
    }

    fn mistakes(&mut self, index: usize, begins: bool) {
        let fault = self.faults[index].clone();
        let observers = if fault.from.is_empty() { (0..self.seats.len()).collect() } else { fault.from };
        // No mistake that nobody ordered has such a number.
        let number = u64::MAX - index as u64;
        let mut news = false;
        for observer in observers {
            for node in fault.nodes.iter().filter(|node| **node != observer) {
                news |= self.ordered_mistake(observer, *node, number, begins);
            }
        }
        if !news {
            self.count("mistake in vain");
        }
    }

    /// Nodes stop or stand still, all at once or one after the other.
    fn process_fault(&mut self, index: usize, fault: &Fault) {
        let every = fault.spec.every.map_or(0, |every| every.0);
        let lasts = fault.until.map(|until| until.0 - fault.at.0);
        let mut last = self.now;
        for (place, node) in fault.nodes.iter().enumerate() {
            let at = self.now + every * place as u64;
            self.queue.at(at, Event::FaultStep { fault: index, node: *node, begins: true });
            if let Some(lasts) = lasts {
                last = last.max(at + lasts);
                self.queue.at(at + lasts, Event::FaultStep { fault: index, node: *node, begins: false });
            }
        }
        if lasts.is_some() {
            self.queue.at(last, Event::FaultEnds(index));
        }
    }

    pub(super) fn fault_step(&mut self, index: usize, node: NodeIx, begins: bool) {
        let kind = self.faults[index].kind;
        let name = Scenario::node_name(node);
        let word = if begins { "begins" } else { "is over" };
        self.trace.say(self.now, || format!("{name}: {} {word}", kind.name()));
        match (kind, begins) {
            (FaultKind::Crash, true) => {
                if self.seats[node].process.is_some() {
                    self.count("crashes");
                    // A machine that goes with its process says nothing; a process alone is missed at once.
                    let told = self.rng.hits(500_000);
                    self.stop(node, told);
                } else {
                    self.count("crash in vain");
                }
            }
            (FaultKind::Leave, true) => self.leave(node),
            (FaultKind::Crash | FaultKind::Leave, false) => self.start(node),
            (FaultKind::Pause | FaultKind::Suspend, true) => {
                let pauses = kind == FaultKind::Pause;
                self.count(match self.seats[node].runs() {
                    true if pauses => "pauses",
                    true => "suspensions",
                    false if pauses => "pause in vain",
                    false => "suspend in vain",
                });
                self.pause(node, !pauses);
            }
            _ => self.resume(node),
        }
        if !begins {
            self.healed(kind.name());
        }
    }

    /// A process is told to stop, as by SIGTERM.
    fn leave(&mut self, node: NodeIx) {
        let Some(process) = self.seats[node].process else {
            self.count("leave in vain");
            return;
        };
        self.count("departures");
        self.seats[node].leaving = true;
        self.input(node, Input::Leave);
        let until = self.now + self.scenario.cluster.drain.0;
        self.queue.at(self.now + DRAIN_LOOK, Event::Drain { process, until });
    }

    pub(super) fn drain(&mut self, process: Process, until: Micros) {
        let node = process.node;
        if self.seats[node].process != Some(process) {
            return;
        }
        if self.seats[node].paused {
            self.queue.at(self.now + DRAIN_LOOK, Event::Drain { process, until });
            return;
        }
        if until == 0 {
            self.stop(node, true);
            self.restart_if_over(node);
            return;
        }
        let requests_are_over = !self.requests_at(process);
        if self.now >= until || self.system.handed_over(node) && requests_are_over {
            self.take(node, Input::Farewell);
            self.queue.at(self.now + LAST_WORDS, Event::Drain { process, until: 0 });
        } else {
            self.queue.at(self.now + DRAIN_LOOK, Event::Drain { process, until });
        }
    }

    /// Its time away may have been over before it was gone.
    fn restart_if_over(&mut self, node: NodeIx) {
        let began = self.recorder.began();
        let over = self.faults.iter().any(|fault| {
            let ends = fault.until.map(|until| {
                let place = fault.nodes.iter().position(|other| *other == node).unwrap_or(0) as u64;
                began + until.0 + place * fault.spec.every.map_or(0, |every| every.0)
            });
            fault.kind == FaultKind::Leave
                && fault.nodes.contains(&node)
                && ends.is_some_and(|ends| ends <= self.now)
        });
        if over {
            self.queue.at(self.now + 1, Event::Start(node));
        }
    }

    pub(super) fn flap(&mut self, index: usize, blocks: bool) {
        if !self.network.active.iter().any(|active| active.index == self.faults[index].index) {
            return;
        }
        if blocks {
            self.count("flaps");
            self.network.flapped.insert(self.faults[index].index);
        } else {
            self.network.flapped.remove(&self.faults[index].index);
        }
        let every = self.faults[index].spec.every.map_or(1, |every| every.0).max(2);
        self.queue.at(self.now + every / 2, Event::Flap { fault: index, blocks: !blocks });
        self.look_at_paths();
    }

    /// The end: whatever still goes wrong is over.
    pub(super) fn heal_all(&mut self) {
        for index in 0..self.faults.len() {
            if !self.faults[index].kind.is_process() {
                self.fault_ends(index);
            }
        }
        for node in 0..self.seats.len() {
            self.resume(node);
            self.seats[node].slow = 0;
        }
    }
}

fn touched(fault: &Fault) -> Vec<String> {
    let sided = fault.sides.iter().enumerate().filter(|(_, side)| **side > 0).map(|(node, _)| node);
    fault.nodes.iter().copied().chain(sided).map(Scenario::node_name).collect()
}
