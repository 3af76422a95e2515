//! What all processes of the application share beside sessions: counters, rate limits, sets and documents.

use sidetalk::core::identity::{Kind, ObjectId};

use super::pages::{Stage, Visit, Wish, field};
use super::{Call, Desk, Order, Traffic, pause};
use crate::history::{Act, Outcome};
use crate::system::{Answer, Basis, Edit, Process, Request, What, WriteId};

impl Traffic {
    pub(super) fn next_global(&mut self, desk: &mut Desk<'_>, call: Call) {
        let traffic = &desk.scenario.traffic;
        let rate = match call {
            Call::Counter => traffic.counters.per_second,
            Call::Rate => traffic.rates_per_second,
            Call::Set => traffic.sets.per_second,
            Call::Document => traffic.documents.per_second,
            _ => 0,
        };
        if rate > 0 {
            let at = desk.now + pause(&mut self.globals, 1_000_000 / u64::from(rate));
            desk.wake(at, call);
        }
    }

    pub(super) fn global(&mut self, desk: &mut Desk<'_>, call: Call) {
        let traffic = &desk.scenario.traffic;
        let rng = &mut self.globals;
        match call {
            Call::Counter => {
                let number = rng.below(traffic.counters.names.into());
                let object = ObjectId::new(Kind::Counter, &format!("c{number}"));
                // Every other counter is never reset: its sum is known to the last increment.
                if number % 2 == 1 && rng.hits(traffic.counters.reset.0) {
                    self.change(desk, object, Act::Reset, What::Reset);
                } else {
                    let by = if rng.hits(200_000) { -1 } else { 1 + rng.below(3) as i64 };
                    self.change(desk, object, Act::Add(by), What::Add(by));
                }
            }
            Call::Rate => {
                let user = rng.below(traffic.users.max(1).into());
                let minute = (desk.now - self.began) / 60_000_000;
                let object = ObjectId::new(Kind::Counter, &format!("rate/u{user}/{minute}"));
                self.change(desk, object, Act::Add(1), What::Add(1));
            }
            Call::Set => {
                let object = ObjectId::new(Kind::Set, &format!("s{}", rng.below(traffic.sets.names.into())));
                let member: Box<str> = format!("m{}", rng.below(traffic.sets.members.into())).into();
                let adds = !rng.hits(traffic.sets.remove.0);
                let act = if adds { Act::Join(member.clone()) } else { Act::Part(member.clone()) };
                self.change(desk, object, act, What::Member(member, adds));
            }
            Call::Document => {
                let number = rng.below(traffic.documents.names.into());
                let object = ObjectId::new(Kind::Document, &format!("d{number}"));
                self.load_document(desk, object);
            }
            _ => {}
        }
    }

    fn change(&mut self, desk: &mut Desk<'_>, object: ObjectId, act: Act, what: What) {
        let write = desk.history.issue(&object, act, desk.now, Vec::new());
        self.send_global(desk, object, Stage::Writing, what, vec![write]);
    }

    fn load_document(&mut self, desk: &mut Desk<'_>, object: ObjectId) {
        self.send_global(desk, object, Stage::Loading, What::Load, Vec::new());
    }

    fn send_global(
        &mut self,
        desk: &mut Desk<'_>,
        object: ObjectId,
        stage: Stage,
        what: What,
        writes: Vec<WriteId>,
    ) {
        let request = Request { object: object.clone(), what, after: Vec::new(), majority: false };
        let visit = Visit {
            user: None,
            object,
            wish: Wish::Global,
            stage,
            writes: writes.clone(),
            basis: Basis::default(),
            node: None,
            issued: desk.now,
            own: Vec::new(),
            carried: Vec::new(),
        };
        let visit = self.open(visit);
        // Not the users' balancer's turn: whoever asks is a process beside a node.
        desk.orders.push(Order::Send { visit, user: u32::MAX, node: None, request, writes });
    }

    pub(super) fn global_answered(
        &mut self,
        desk: &mut Desk<'_>,
        visit: &Visit,
        by: Process,
        answer: Answer,
    ) {
        match answer {
            Answer::Found { basis, .. } => self.change_document(desk, visit, by, &basis),
            Answer::Done { receipt, lacks_acks, .. } => {
                desk.settle(&visit.writes, Outcome::Acknowledged, Some(&receipt));
                desk.outcomes.lacking_acks += u64::from(lacks_acks);
            }
            Answer::Ended { .. } | Answer::Unknown { .. } | Answer::Refused(_) => {
                desk.settle(&visit.writes, Outcome::Refused, None);
            }
        }
    }

    fn change_document(&mut self, desk: &mut Desk<'_>, visit: &Visit, by: Process, basis: &Basis) {
        let fields = desk.scenario.traffic.documents.fields.max(1);
        let place = field(self.globals.below(fields.into()));
        let saw: Vec<WriteId> = basis.content.fields.get(&place).copied().into_iter().collect();
        let write = desk.history.issue(&visit.object, Act::Set(place.clone()), desk.now, saw);
        let request = Request {
            object: visit.object.clone(),
            what: What::Save(basis.clone(), vec![Edit::Set(place, write)]),
            after: Vec::new(),
            majority: false,
        };
        let next = Visit { stage: Stage::Writing, writes: vec![write], issued: desk.now, ..visit.clone() };
        let visit = self.open(next);
        let node = Some(by.node);
        desk.orders.push(Order::Send { visit, user: u32::MAX, node, request, writes: vec![write] });
    }
}
