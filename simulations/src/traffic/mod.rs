//! The users: what they ask for and when, what they believe, and what they were told.
//!
//! Users know nothing of nodes, links or cores. They hand orders to the world and get answers back; what they see is
//! told to the judges as [`Seen`].

mod globals;
mod pages;
mod user;

use std::collections::BTreeMap;

use sidetalk::core::identity::ObjectId;

pub use self::user::Jar;
use self::user::User;
use crate::history::{History, Outcome};
use crate::record::Outcomes;
use crate::rng::Rng;
use crate::scenario::{Scenario, Span};
use crate::system::{Answer, Content, NodeIx, Process, Receipt, Request, WriteId};
use crate::world::Micros;

/// Names one request of a user, from its first call to its last.
pub type VisitId = u64;

/// What the users want of the world.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "handed over at once, never stored")]
pub enum Order {
    /// Send this to a node.
    Send {
        /// For whom.
        visit: VisitId,
        /// Whose.
        user: u32,
        /// To which node; `None`: as the balancer decides.
        node: Option<NodeIx>,
        /// What.
        request: Request,
        /// The writes in it.
        writes: Vec<WriteId>,
    },
    /// Wake me up.
    Wake {
        /// When.
        at: Micros,
        /// What for.
        call: Call,
    },
}

/// What users are woken up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A user looks at a page.
    Page(u32),
    /// A user follows a redirect.
    Follow(u32),
    /// A request's handler is done.
    Save(VisitId),
    /// A user logs out.
    Logout(u32),
    /// Somebody changes a counter.
    Counter,
    /// Somebody is counted for a rate limit.
    Rate,
    /// Somebody changes a set.
    Set,
    /// Somebody changes a document.
    Document,
}

/// What a user was told when reading.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose read.
    pub user: u32,
    /// Of what.
    pub object: ObjectId,
    /// Who answered.
    pub by: Process,
    /// When it was sent.
    pub issued: Micros,
    /// When the answer came.
    pub at: Micros,
    /// What it said.
    pub told: Told,
    /// It said that the node is behind, or could not ask everyone.
    pub behind: bool,
    /// The user's own writes to the object, those answered before this was sent.
    pub own: Vec<WriteId>,
    /// Of those, the ones that the token stood for.
    pub carried: Vec<WriteId>,
    /// The session that the user takes for theirs.
    pub is_current: bool,
    /// Whoever answered has never met the others. The world fills this in.
    pub by_a_loner: bool,
    /// No chain of links has ever joined whoever answered and whoever created the object, or only just. The world
    /// fills this in.
    pub by_a_stranger: bool,
}

/// What an answer to a read said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Here it is.
    Found(Content),
    /// It has ended.
    Ended,
    /// There is no such thing.
    Unknown,
}

/// What the users may touch while they act.
pub struct Desk<'a> {
    /// The true time.
    pub now: Micros,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What was done so far.
    pub history: &'a mut History,
    /// What was counted so far.
    pub outcomes: &'a mut Outcomes,
    /// What the world is to do.
    pub orders: Vec<Order>,
    /// What the judges are to hear.
    pub seen: Vec<Seen>,
}

/// All users, and their requests on the way.
pub struct Traffic {
    users: Vec<User>,
    visits: BTreeMap<VisitId, pages::Visit>,
    visits_made: VisitId,
    globals: Rng,
    began: Micros,
    ends: Micros,
}

impl Traffic {
    /// The users of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            users: (0..scenario.traffic.users).map(|number| User::new(scenario, number)).collect(),
            visits: BTreeMap::new(),
            visits_made: 0,
            globals: Rng::fork(scenario.seed, "globals", 0),
            began: 0,
            ends: 0,
        }
    }

    /// The cluster is up: users come.
    pub fn begin(&mut self, desk: &mut Desk<'_>) {
        self.began = desk.now;
        self.ends = desk.now + desk.scenario.duration.0;
        let only = &desk.scenario.traffic.only_users;
        let wanted = |number: &u32| only.is_empty() || only.contains(number);
        for number in (0..desk.scenario.traffic.users).filter(wanted) {
            self.next_page(desk, number);
        }
        for call in [Call::Counter, Call::Rate, Call::Set, Call::Document] {
            self.next_global(desk, call);
        }
    }

    /// Something that was ordered is due.
    pub fn wake(&mut self, desk: &mut Desk<'_>, call: Call) {
        if desk.now >= self.ends && !matches!(call, Call::Save(_)) {
            return;
        }
        match call {
            Call::Page(user) => {
                self.next_page(desk, user);
                self.page(desk, user);
            }
            Call::Follow(user) => self.page(desk, user),
            Call::Save(visit) => self.save(desk, visit),
            Call::Logout(user) => self.log_out(desk, user),
            Call::Counter | Call::Rate | Call::Set | Call::Document => {
                self.next_global(desk, call);
                self.global(desk, call);
            }
        }
    }

    /// An answer has come.
    pub fn answered(&mut self, desk: &mut Desk<'_>, visit: VisitId, by: Process, answer: Answer) {
        let Some(visit) = self.visits.remove(&visit) else { return };
        self.go_on(desk, visit, by, answer);
    }

    /// No answer will come: the user has given up, or the node is gone.
    pub fn failed(&mut self, desk: &mut Desk<'_>, visit: VisitId) {
        let Some(visit) = self.visits.remove(&visit) else { return };
        desk.outcomes.no_answer += 1;
        for write in &visit.writes {
            desk.history.answer(*write, desk.now, Outcome::Unknown, None);
        }
        self.gave_up(desk, &visit);
    }

    /// Requests on the way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.visits.len()
    }

    fn open(&mut self, visit: pages::Visit) -> VisitId {
        self.visits_made += 1;
        self.visits.insert(self.visits_made, visit);
        self.visits_made
    }
}

/// How long until the next of something that happens so often in a second, on average.
fn pause(rng: &mut Rng, micros_between: Micros) -> Micros {
    1 + rng.below(2 * micros_between)
}

impl Desk<'_> {
    /// How many times as many page views there are now.
    fn surge(&self, began: Micros) -> u64 {
        let at = Span(self.now - began);
        let surges = self.scenario.traffic.surge.iter();
        let times = surges.filter(|surge| surge.at <= at && at.0 < surge.at.0 + surge.r#for.0);
        u64::from(times.map(|surge| surge.times).max().unwrap_or(1))
    }

    fn wake(&mut self, at: Micros, call: Call) {
        self.orders.push(Order::Wake { at, call });
    }

    /// Writes down what became of writes.
    fn settle(&mut self, writes: &[WriteId], outcome: Outcome, receipt: Option<&Receipt>) {
        for write in writes {
            self.history.answer(*write, self.now, outcome, receipt.cloned());
        }
    }
}
