//! Web requests: each loads the session at its start and saves what it changed at its end.

use sidetalk::core::identity::ObjectId;

use super::{Call, Desk, Order, Seen, Told, Traffic, VisitId, pause};
use crate::history::{Act, Outcome};
use crate::system::{Answer, Basis, Edit, Field, NodeIx, Process, Receipt, Request, What, WriteId};
use crate::world::Micros;

/// Things that a cart may hold.
const PRODUCTS: u64 = 12;

/// A user who follows a redirect is back within this time.
const REDIRECT_MICROS: Micros = 30_000;

/// One request of a user, on its way.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) user: Option<u32>,
    pub(super) object: ObjectId,
    pub(super) wish: Wish,
    pub(super) stage: Stage,
    /// The writes of the call under way.
    pub(super) writes: Vec<WriteId>,
    pub(super) basis: Basis,
    pub(super) node: Option<NodeIx>,
    pub(super) issued: Micros,
    /// The user's own writes that were answered before this was sent.
    pub(super) own: Vec<WriteId>,
    pub(super) carried: Vec<WriteId>,
}

/// What a request is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Login,
    Browse,
    Change,
    Same,
    Cart,
    Count,
    Logout,
    /// Not about a session.
    Global,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its session is being read.
    Loading,
    /// Its handler is at work.
    Handling,
    /// It writes.
    Writing,
}

impl Traffic {
    pub(super) fn next_page(&mut self, desk: &mut Desk<'_>, number: u32) {
        let traffic = &desk.scenario.traffic;
        if traffic.pages_per_second == 0 {
            return;
        }
        let rate = u64::from(traffic.pages_per_second) * desk.surge(self.began);
        let between = u64::from(traffic.users) * 1_000_000 / rate;
        let user = &mut self.users[number as usize];
        desk.wake(desk.now + pause(&mut user.rng, between), Call::Page(number));
    }

    pub(super) fn page(&mut self, desk: &mut Desk<'_>, number: u32) {
        let user = &mut self.users[number as usize];
        if user.logging_in {
            return;
        }
        let Some(session) = user.session.clone() else {
            self.log_in(desk, number);
            return;
        };
        let requests = 1 + user.rng.below(desk.scenario.traffic.parallel.into());
        for _ in 0..requests {
            let wish = self.users[number as usize].wish(desk);
            if wish != Wish::Logout {
                self.load(desk, number, session.clone(), wish);
                continue;
            }
            let user = &mut self.users[number as usize];
            if user.rng.hits(desk.scenario.traffic.logout_in_flight.0) {
                let late = user.rng.below(50_000);
                self.load(desk, number, session, Wish::Change);
                desk.wake(desk.now + late, Call::Logout(number));
            } else {
                self.log_out(desk, number);
            }
            return;
        }
    }

    fn log_in(&mut self, desk: &mut Desk<'_>, number: u32) {
        let user = &mut self.users[number as usize];
        user.logging_in = true;
        let session = user.new_session();
        let mut writes = vec![desk.history.issue(&session, Act::Create, desk.now, Vec::new())];
        if let Some(known) = desk.history.objects.get_mut(&session) {
            known.ttl = desk.scenario.traffic.ttl.0;
        }
        let fields = ["user".into(), field(0)].into_iter().map(|field: Field| {
            let write = desk.history.issue(&session, Act::Set(field.clone()), desk.now, Vec::new());
            writes.push(write);
            (field, write)
        });
        let what = What::Create(fields.collect());
        self.send(desk, number, session, Wish::Login, Stage::Writing, what, writes);
    }

    fn load(&mut self, desk: &mut Desk<'_>, number: u32, session: ObjectId, wish: Wish) {
        desk.outcomes.pages += 1;
        self.send(desk, number, session, wish, Stage::Loading, What::Load, Vec::new());
    }

    pub(super) fn log_out(&mut self, desk: &mut Desk<'_>, number: u32) {
        let Some(session) = self.users[number as usize].session.clone() else { return };
        let write = desk.history.issue(&session, Act::Destroy, desk.now, Vec::new());
        self.send(desk, number, session, Wish::Logout, Stage::Writing, What::Destroy, vec![write]);
        // The browser has dropped the cookie, whatever the answer will be.
        self.users[number as usize].forget_session();
    }

    #[expect(clippy::too_many_arguments, reason = "one call has as many sides")]
    fn send(
        &mut self,
        desk: &mut Desk<'_>,
        number: u32,
        object: ObjectId,
        wish: Wish,
        stage: Stage,
        what: What,
        writes: Vec<WriteId>,
    ) {
        let user = &mut self.users[number as usize];
        let majority = !writes.is_empty() && user.rng.hits(desk.scenario.traffic.majority.0);
        let request = Request { object: object.clone(), what, after: user.receipts(), majority };
        let visit = Visit {
            user: Some(number),
            object,
            wish,
            stage,
            writes: writes.clone(),
            basis: Basis::default(),
            node: None,
            issued: desk.now,
            own: user.own.values().copied().collect(),
            carried: user.carried(),
        };
        let visit = self.open(visit);
        desk.orders.push(Order::Send { visit, user: number, node: None, request, writes });
    }

    /// A request's handler is done: what it changed is saved on the node that it runs on.
    pub(super) fn save(&mut self, desk: &mut Desk<'_>, id: VisitId) {
        let Some(mut visit) = self.visits.remove(&id).filter(|visit| visit.stage == Stage::Handling) else {
            return;
        };
        let Some(number) = visit.user else { return };
        let user = &mut self.users[number as usize];
        let (what, writes) = if visit.wish == Wish::Browse {
            let write = desk.history.issue(&visit.object, Act::Touch, desk.now, Vec::new());
            (What::Touch(visit.basis.clone()), vec![write])
        } else {
            let (edits, writes) = user.edits(desk, &visit);
            (What::Save(visit.basis.clone(), edits), writes)
        };
        let majority = user.rng.hits(desk.scenario.traffic.majority.0);
        let request = Request { object: visit.object.clone(), what, after: user.receipts(), majority };
        visit.stage = Stage::Writing;
        visit.issued = desk.now;
        visit.writes.clone_from(&writes);
        visit.carried = user.carried();
        let node = visit.node;
        self.visits.insert(id, visit);
        desk.orders.push(Order::Send { visit: id, user: number, node, request, writes });
    }

    pub(super) fn go_on(&mut self, desk: &mut Desk<'_>, visit: Visit, by: Process, answer: Answer) {
        if let Answer::Refused(_) = answer {
            desk.outcomes.refused += 1;
        }
        if visit.wish == Wish::Global {
            self.global_answered(desk, &visit, by, answer);
            return;
        }
        match visit.stage {
            Stage::Loading => self.loaded(desk, visit, by, answer),
            Stage::Writing => self.written(desk, &visit, by, answer),
            Stage::Handling => {}
        }
    }

    fn loaded(&mut self, desk: &mut Desk<'_>, mut visit: Visit, by: Process, answer: Answer) {
        let Some(number) = visit.user else { return };
        let (told, behind) = match &answer {
            Answer::Found { basis, behind, .. } => (Told::Found(basis.content.clone()), *behind),
            Answer::Ended { .. } => (Told::Ended, false),
            Answer::Unknown { behind } => (Told::Unknown, *behind),
            _ => return,
        };
        self.saw(desk, &visit, by, told, behind);
        let user = &mut self.users[number as usize];
        match answer {
            Answer::Found { basis, receipt, .. } => {
                user.jar.read(receipt);
                visit.basis = basis;
                visit.node = Some(by.node);
                visit.stage = Stage::Handling;
                let changes = visit.wish != Wish::Browse || user.rng.hits(desk.scenario.traffic.touch.0);
                if changes {
                    let handler = desk.scenario.traffic.handler.draw(&mut user.rng);
                    let id = self.open(visit);
                    desk.wake(desk.now + handler, Call::Save(id));
                }
            }
            // A framework mints a new session here: whoever was logged in is not any more.
            Answer::Ended { .. } | Answer::Unknown { behind: false }
                if user.session.as_ref() == Some(&visit.object) =>
            {
                user.forget_session();
            }
            _ => {}
        }
    }

    fn saw(&mut self, desk: &mut Desk<'_>, visit: &Visit, by: Process, told: Told, behind: bool) {
        desk.outcomes.reads += 1;
        desk.outcomes.behind += u64::from(behind);
        let user = visit.user.unwrap_or(u32::MAX);
        let current = self.users.get(user as usize).and_then(|user| user.session.as_ref());
        desk.seen.push(Seen {
            user,
            object: visit.object.clone(),
            by,
            issued: visit.issued,
            at: desk.now,
            told,
            behind,
            own: visit.own.clone(),
            carried: visit.carried.clone(),
            is_current: current == Some(&visit.object),
            by_a_loner: false,
            by_a_stranger: false,
        });
    }

    fn written(&mut self, desk: &mut Desk<'_>, visit: &Visit, by: Process, answer: Answer) {
        let Some(number) = visit.user else { return };
        match answer {
            Answer::Done { receipt, behind, lacks_acks } => {
                desk.settle(&visit.writes, Outcome::Acknowledged, Some(&receipt));
                desk.outcomes.behind += u64::from(behind);
                desk.outcomes.lacking_acks += u64::from(lacks_acks);
                if !behind {
                    seen_by_token(desk, visit);
                }
                self.acknowledged(desk, number, visit, receipt);
            }
            Answer::Ended { .. } | Answer::Unknown { .. } => {
                desk.settle(&visit.writes, Outcome::Refused, None);
                let (told, behind) = match answer {
                    Answer::Unknown { behind } => (Told::Unknown, behind),
                    _ => (Told::Ended, false),
                };
                if visit.wish != Wish::Logout {
                    self.saw(desk, visit, by, told, behind);
                }
                self.gave_up(desk, visit);
            }
            Answer::Refused(_) | Answer::Found { .. } => {
                desk.settle(&visit.writes, Outcome::Refused, None);
                self.gave_up(desk, visit);
            }
        }
    }

    fn acknowledged(&mut self, desk: &mut Desk<'_>, number: u32, visit: &Visit, receipt: Receipt) {
        let user = &mut self.users[number as usize];
        match visit.wish {
            Wish::Login => {
                desk.outcomes.logins += 1;
                user.forget_session();
                user.logging_in = false;
                user.session = Some(visit.object.clone());
                let back = desk.now + 1 + user.rng.below(REDIRECT_MICROS);
                desk.wake(back, Call::Follow(number));
            }
            Wish::Logout => {
                desk.outcomes.logouts += 1;
                return;
            }
            _ => {}
        }
        if user.session.as_ref() != Some(&visit.object) {
            return;
        }
        user.jar.wrote(&visit.writes, receipt);
        for write in &visit.writes {
            if let Act::Set(field) | Act::Unset(field) = &desk.history.write(*write).act {
                let latest = user.own.entry(field.clone()).or_insert(*write);
                *latest = (*latest).max(*write);
            }
        }
    }

    pub(super) fn gave_up(&mut self, _: &mut Desk<'_>, visit: &Visit) {
        if let (Wish::Login, Some(number)) = (visit.wish, visit.user) {
            self.users[number as usize].logging_in = false;
        }
    }
}

/// With a token, and not behind: the node had what the token stands for before it wrote.
fn seen_by_token(desk: &mut Desk<'_>, visit: &Visit) {
    for write in &visit.writes {
        let (Act::Set(field) | Act::Unset(field)) = desk.history.write(*write).act.clone() else { continue };
        let same_place = |other: &WriteId| {
            let other = desk.history.write(*other);
            other.object == visit.object
                && matches!(&other.act, Act::Set(place) | Act::Unset(place) if *place == field)
        };
        let seen: Vec<WriteId> = visit.carried.iter().copied().filter(same_place).collect();
        desk.history.saw(*write, &seen);
    }
}

/// The name of a field that requests change.
pub(super) fn field(number: u64) -> Field {
    format!("f{number}").into()
}

impl super::User {
    fn wish(&mut self, desk: &Desk<'_>) -> Wish {
        let weights = desk.scenario.traffic.mix.weights();
        [Wish::Browse, Wish::Change, Wish::Same, Wish::Cart, Wish::Count, Wish::Logout]
            [self.rng.weighted(&weights)]
    }

    /// What a request changes in the session it has loaded.
    fn edits(&mut self, desk: &mut Desk<'_>, visit: &Visit) -> (Vec<Edit>, Vec<WriteId>) {
        let number = match visit.wish {
            Wish::Same => 0,
            _ => self.rng.below(desk.scenario.traffic.fields.into()),
        };
        let place: Field = match visit.wish {
            Wish::Cart => format!("cart/p{}", self.rng.below(PRODUCTS)).into(),
            Wish::Count => "views".into(),
            _ => field(number),
        };
        let loaded = visit.basis.content.fields.get(&place).copied();
        let saw: Vec<WriteId> = loaded.into_iter().collect();
        let removes = visit.wish == Wish::Cart && loaded.is_some() && self.rng.hits(400_000);
        let (act, edit): (Act, fn(Field, WriteId) -> Edit) = match visit.wish {
            Wish::Count => (Act::Count(place.clone(), 1), |place, _| Edit::Count(place, 1)),
            _ if removes => (Act::Unset(place.clone()), |place, _| Edit::Unset(place)),
            _ => (Act::Set(place.clone()), Edit::Set),
        };
        let write = desk.history.issue(&visit.object, act, desk.now, saw);
        (vec![edit(place, write)], vec![write])
    }
}
