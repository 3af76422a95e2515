//! Users: what they write, ask and wait for, and what they are promised.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cluster, SHARDS_USED, Theme, Violation, object_in, objects};
use crate::core::check::promise::{Promise, conditional};
use crate::core::check::reading;
use crate::core::check::rng::Rng;
use crate::core::check::wishes;
use crate::core::command::{
    Acks, Change, EntityTag, Lookup, MemberState, Refusal, Wait, WaitId, Waited, Write, Written,
};
use crate::core::contents::DotKey;
use crate::core::identity::{Clock, Kind, LifeId, ObjectId, ReplicaId, dot_order};
use crate::core::time::MonoMicros;
use crate::core::token::Token;

/// Lets a wait end this much after its deadline.
const TICK_SLACK_MICROS: u64 = 1_000;

/// A token from further ahead than this need not draw a write's stamp.
const DRAWN_MILLIS: u64 = 8_000;

/// What somebody waits for.
#[derive(Clone, Debug)]
enum Waiting {
    /// To have seen what a token names: whoever reads then has seen this clock.
    Seen(Token, Clock),
    Acks(Token, Acks),
    /// The processes that knew the object when the question was put.
    Asked(ObjectId, Vec<ReplicaId>),
    /// Who has just logged in elsewhere, over a link that loses nothing.
    LoggedIn(ObjectId, usize, u64),
}

/// A DELETE of a session that its node saw nothing of, answered with 204.
#[derive(Clone, Debug)]
pub(super) struct BlindDelete {
    pub(super) step: usize,
    pub(super) seat: usize,
    pub(super) object: ObjectId,
    pub(super) op: Option<DotKey>,
    /// The members that its node knew of.
    pub(super) known: Vec<String>,
    /// The processes that it knew of, those that were over as well.
    pub(super) processes: Vec<ReplicaId>,
}

/// What users remember.
#[derive(Debug, Default)]
pub(super) struct Users {
    waits: BTreeMap<(usize, WaitId), (MonoMicros, Waiting)>,
    /// Tokens of writes and reads, with the clocks of the nodes that gave them.
    tokens: Vec<(Token, Clock)>,
    loaded: BTreeMap<ObjectId, Vec<LifeId>>,
    pub(super) deletes: Vec<BlindDelete>,
    logins: u64,
}

impl Users {
    pub(super) fn buried(&mut self, seat: usize) {
        self.waits.retain(|(at, _), _| *at != seat);
    }
}

impl Cluster {
    fn look_up(&self, seat: usize, object: &ObjectId) -> Lookup {
        let now = self.now(seat);
        self.seats[seat].node.as_ref().map_or(Lookup::Unknown, |node| node.look_up(now, object))
    }

    /// What a reader on a seat's process sees of an object.
    #[must_use]
    pub fn read(&self, seat: usize, object: &ObjectId) -> Option<Value> {
        self.seen(seat, object).map(|(value, _)| value)
    }

    fn seen(&self, seat: usize, object: &ObjectId) -> Option<(Value, EntityTag)> {
        match self.look_up(seat, object) {
            Lookup::Found(view) => Some((serde_json::from_slice(&view.body).ok()?, view.tag)),
            Lookup::Ended | Lookup::Unknown => None,
        }
    }

    /// One random wish of one user.
    pub(super) fn user(&mut self, seat: usize, rng: &mut Rng) -> Result<(), Violation> {
        let weights = match self.setup.theme {
            Theme::Everything | Theme::Restarts => [50, 22, 16, 12],
            Theme::Forgetting | Theme::GivingUp => [40, 15, 35, 10],
            Theme::Expiry => [94, 2, 2, 2],
            Theme::Deploys => [5, 10, 80, 5],
        };
        let kind = Kind::ALL[rng.weighted(&weights)];
        let crowded = self.setup.theme == Theme::Deploys && kind == Kind::Counter;
        let object = objects(kind)[if crowded { 0 } else { rng.index(2) }].clone();
        let loaded = self.users.loaded.entry(object.clone()).or_default();
        let mut write = match kind {
            Kind::Session => wishes::session(object.clone(), loaded, rng),
            Kind::Document => wishes::document(object.clone(), loaded, rng),
            Kind::Counter => wishes::counter(object.clone(), rng, false),
            Kind::Set => wishes::set(object.clone(), rng, false),
        };
        if rng.percent(20) && !self.users.tokens.is_empty() {
            let (token, _) = &self.users.tokens[rng.index(self.users.tokens.len())];
            write.after = Some(token.hlc);
        }
        if let Lookup::Found(view) = self.look_up(seat, &object)
            && let Some(life) = view.life
        {
            let loaded = self.users.loaded.entry(object).or_default();
            if !loaded.contains(&life) {
                loaded.push(life);
            }
        }
        let tag = self.seen(seat, &write.object).map(|(_, tag)| tag);
        write.precondition = wishes::condition(tag, rng);
        self.write(seat, &write).map(drop)
    }

    /// A write through the node, held against what it promises. `None` where it is refused.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub fn write(&mut self, seat: usize, write: &Write) -> Result<Option<Written>, Violation> {
        let before = self.seen(seat, &write.object);
        let promised = self.promised(seat, write, before.as_ref());
        let before = before.map(|(value, _)| value);
        let now = self.now(seat);
        let Some(node) = &mut self.seats[seat].node else { return Ok(None) };
        let drawn_until = node.stamping_time(now).plus(DRAWN_MILLIS);
        let written = node.write(now, write);
        self.after(seat, None)?;
        let written = match written {
            Ok(written) => written,
            Err(Refusal::NotReady) => return Ok(None),
            Err(Refusal::DiskFull | Refusal::DiskFailing) if self.has_bad_disk(seat) => {
                self.count("refused for the disk");
                return Ok(None);
            }
            Err(refusal) if promised.allows(&refusal) => return Ok(None),
            Err(refusal) => {
                let what =
                    format!("n{seat}: {:?} is refused with {refusal:?}, not {promised:?}", write.change);
                return Err(Violation(what));
            }
        };
        let after = self.read(seat, &write.object);
        if !promised.is_kept_by(after.as_ref()) {
            let what = format!("n{seat}: {:?} on {before:?} gives {after:?}, not {promised:?}", write.change);
            return Err(Violation(what));
        }
        if write.after.is_some_and(|seen| seen.wall() > drawn_until) {
            self.count("tokens too far ahead");
        } else {
            self.is_stamped_after(seat, write, &written)?;
        }
        self.wrote(seat, write, before.is_none(), &written)?;
        Ok(Some(written))
    }

    /// The operation of a write, where it made one.
    fn own_dot(&self, seat: usize, written: &Written) -> Option<DotKey> {
        let [dot] = written.token.dots.as_slice() else { return None };
        let born = self.born.get(&(written.token.shard, dot_order(dot)));
        born.filter(|born| **born == (self.step, seat)).map(|_| dot_order(dot))
    }

    /// Whoever has seen something writes later.
    fn is_stamped_after(&self, seat: usize, write: &Write, written: &Written) -> Result<(), Violation> {
        match write.after {
            Some(seen) if written.token.hlc <= seen && self.own_dot(seat, written).is_some() => {
                let stamp = written.token.hlc;
                Err(Violation(format!("n{seat}: a write after {seen:?} is stamped {stamp:?}")))
            }
            _ => Ok(()),
        }
    }

    fn wrote(&mut self, seat: usize, write: &Write, blind: bool, written: &Written) -> Result<(), Violation> {
        self.count("writes");
        let own = self.own_dot(seat, written);
        if write.object.kind == Kind::Session && write.change == Change::Destroy && blind {
            self.count("blind deletes");
            let now = self.now(seat);
            let members = self.seats[seat].node.iter().flat_map(|node| node.members(now));
            let known = members.map(|member| member.replica.node).collect();
            let roster = self.seats[seat].node.iter().flat_map(|node| node.saved_node().roster);
            let processes = roster.map(|entry| entry.replica.id).collect();
            let object = write.object.clone();
            let delete = BlindDelete { step: self.step, seat, object, op: own, known, processes };
            self.users.deletes.push(delete);
        }
        self.remember_token(seat, written.token.clone());
        Ok(())
    }

    fn remember_token(&mut self, seat: usize, token: Token) {
        let Some(node) = &self.seats[seat].node else { return };
        let clock = match token.dots.as_slice() {
            // A write's token names the write and so what its author had seen.
            [dot] => self.known.get(&(token.shard, dot_order(dot))).map(|known| known.history.clone()),
            _ => Some(node.shard(token.shard).clock().clone()),
        };
        self.users.tokens.push((token, clock.unwrap_or_default()));
        if self.users.tokens.len() > 12 {
            self.users.tokens.remove(0);
        }
    }

    fn promised(&self, seat: usize, write: &Write, before: Option<&(Value, EntityTag)>) -> Promise {
        let visible = || {
            let specified = self.specified(seat, write.object.shard());
            let now = self.time_of(seat);
            specified.get(&write.object).map(|object| reading::visible(object, now)).unwrap_or_default()
        };
        match write.life {
            Some(life) if !visible().contains(&dot_order(&life)) => Promise::Missing,
            _ => conditional(write, before.map(|(value, tag)| (value, *tag))),
        }
    }

    /// A user asks for a session that may be nowhere.
    pub(super) fn ask(&mut self, seat: usize, rng: &mut Rng) -> Result<(), Violation> {
        let object = objects(Kind::Session)[rng.index(2)].clone();
        if self.look_up(seat, &object) != Lookup::Unknown {
            return self.read_here(seat, &object);
        }
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let members: Vec<ReplicaId> =
            node.members(self.now(seat)).into_iter().map(|member| member.replica.id).collect();
        let knowing = self
            .up()
            .filter(|(other, node)| {
                members.contains(&node.id()) && matches!(self.look_up(*other, &object), Lookup::Found(_))
            })
            .map(|(_, node)| node.id())
            .collect();
        self.wait(seat, Wait::Asked(object.clone()), Waiting::Asked(object, knowing), rng)
    }

    /// A user logs in on one node and is sent to another a moment later.
    fn logged_in(&mut self, seat: usize, object: &ObjectId, at: usize, link: u64) -> Result<(), Violation> {
        let here = self.look_up(seat, object);
        let there = self.look_up(at, object);
        let stood = self.network.stands(at, seat) == Some(link);
        if stood && matches!(there, Lookup::Found(_)) && !matches!(here, Lookup::Found(_)) {
            return Err(Violation(format!("{object} was created on n{at}, and n{seat} says {here:?}")));
        }
        self.count("logins that held");
        Ok(())
    }

    /// Logs in with a new session and goes elsewhere.
    pub(super) fn login(&mut self, seat: usize, rng: &mut Rng) -> Result<(), Violation> {
        let to = (seat + 1 + rng.index(self.seats.len() - 1)) % self.seats.len();
        self.users.logins += 1;
        let object = object_in(SHARDS_USED[0], Kind::Session, &format!("login{}-", self.users.logins));
        let mut put = Write::new(object.clone(), Change::Put(crate::core::value::Tree::EMPTY));
        put.ttl_millis = Some(rng.pick(&[20_000, 600_000]));
        let Some(written) = self.write(seat, &put)? else { return Ok(()) };
        self.pass(rng.below(3))?;
        let ready =
            self.seats[to].node.as_ref().is_some_and(|node| node.is_ready() && self.introduced(to, seat));
        // To a clock that is an hour ahead the session has expired, and it may have drawn others along.
        let sane = !(0..self.seats.len()).any(|seat| self.is_mad(seat));
        let link = self.network.stands(seat, to).filter(|_| self.setup.lost_percent == 0 && ready && sane);
        let (Some(link), Lookup::Unknown) = (link, self.look_up(to, &object)) else { return Ok(()) };
        if written.life.is_none() {
            return Err(Violation(format!("n{seat} logs somebody in without a life")));
        }
        self.wait(to, Wait::Asked(object.clone()), Waiting::LoggedIn(object, seat, link), rng)
    }

    /// Whether one seat's process counts another's as a member that it can ask.
    fn introduced(&self, seat: usize, other: usize) -> bool {
        let Some(node) = &self.seats[seat].node else { return false };
        let members = node.members(self.now(seat));
        members
            .iter()
            .any(|member| member.replica.id == self.seats[other].id && member.state == MemberState::Up)
    }

    fn read_here(&mut self, seat: usize, object: &ObjectId) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let token = node.read_token(object);
        let clock = node.shard(token.shard).clock().clone();
        self.users.tokens.push((token, clock));
        Ok(())
    }

    /// A client that has been elsewhere comes with its token.
    pub(super) fn follow(&mut self, seat: usize, rng: &mut Rng) -> Result<(), Violation> {
        if self.users.tokens.is_empty() {
            return Ok(());
        }
        let (token, clock) = self.users.tokens[rng.index(self.users.tokens.len())].clone();
        self.wait(seat, Wait::Seen(vec![token.clone()]), Waiting::Seen(token, clock), rng)
    }

    /// A writer who wants others to have what it wrote.
    pub(super) fn acks(&mut self, seat: usize, rng: &mut Rng) -> Result<(), Violation> {
        let object = objects(Kind::Counter)[rng.index(2)].clone();
        let Some(written) = self.write(seat, &wishes::counter(object, rng, true))? else { return Ok(()) };
        let need = rng.pick(&[Acks::Majority, Acks::All, Acks::Count(2)]);
        let wait = Wait::Acks { token: written.token.clone(), need };
        self.wait(seat, wait, Waiting::Acks(written.token, need), rng)
    }

    fn wait(&mut self, seat: usize, wait: Wait, waiting: Waiting, rng: &mut Rng) -> Result<(), Violation> {
        let login = matches!(waiting, Waiting::LoggedIn(..));
        let millis = if login { 2_000 } else { rng.pick(&[50, 500, 2_000]) };
        let now = self.now(seat);
        let Some(node) = &mut self.seats[seat].node else { return Ok(()) };
        match node.wait(now, wait, millis) {
            Ok(how) => {
                self.waited(seat, &waiting, how)?;
            }
            Err(id) => {
                let until = MonoMicros(self.mono.plus_millis(millis).0 + TICK_SLACK_MICROS);
                self.users.waits.insert((seat, id), (until, waiting));
            }
        }
        self.after(seat, None)
    }

    pub(super) fn done(&mut self, seat: usize, wait: WaitId, how: Waited) -> Result<(), Violation> {
        match self.users.waits.remove(&(seat, wait)) {
            Some((_, waiting)) => self.waited(seat, &waiting, how),
            None => Err(Violation(format!("n{seat} ends {wait:?}, for which nobody waits"))),
        }
    }

    fn waited(&mut self, seat: usize, waiting: &Waiting, how: Waited) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        match (waiting, how) {
            (Waiting::Seen(token, clock), Waited::Seen) => {
                let ours = node.shard(token.shard).clock();
                if clock.iter().any(|dot| ours.get(&dot.actor) < dot.counter) {
                    return Err(Violation(format!(
                        "n{seat} claims to have seen {token:?}, and lacks some of {clock:?}"
                    )));
                }
                self.count("tokens seen");
            }
            (Waiting::Seen(token, _), Waited::Behind) => {
                if node.seen(std::slice::from_ref(token)) {
                    return Err(Violation(format!("n{seat} has seen {token:?} and says that it is behind")));
                }
                self.count("tokens not seen");
            }
            (Waiting::Acks(token, need), Waited::Acks { have, need: needed }) => {
                self.acked(seat, token, *need, have, needed)?;
            }
            (Waiting::LoggedIn(object, at, link), Waited::Asked { .. }) => {
                self.logged_in(seat, object, *at, *link)?;
            }
            (Waiting::Asked(object, knowing), Waited::Asked { by_all, .. }) => {
                self.answered(seat, object, knowing, by_all)?;
            }
            (waiting, how) => {
                return Err(Violation(format!("n{seat} waits for {waiting:?} and gets {how:?}")));
            }
        }
        Ok(())
    }

    /// No more acknowledgements than processes of different nodes have applied it.
    fn acked(
        &mut self,
        seat: usize,
        token: &Token,
        need: Acks,
        have: usize,
        needed: usize,
    ) -> Result<(), Violation> {
        let applied = |clock: &Clock| token.dots.iter().all(|dot| clock.get(&dot.actor) >= dot.counter);
        let really =
            (0..self.seats.len()).filter(|seat| self.ever(*seat, token.shard).iter().any(applied)).count();
        if have > really {
            return Err(Violation(format!(
                "n{seat} counts {have} acknowledgements of {token:?}, but {really} have it"
            )));
        }
        let roster = self.seats[seat].node.as_ref().map_or(0, |node| {
            let members = node.members(self.now(seat));
            members.iter().filter(|member| member.state != MemberState::Left).count()
        });
        let least = match need {
            Acks::Count(count) => count,
            Acks::Majority => roster / 2 + 1,
            Acks::All => roster,
        };
        if needed < least {
            return Err(Violation(format!("n{seat} needs {needed} for {need:?} of a roster of {roster}")));
        }
        self.count(if have >= needed { "enough acks" } else { "not enough acks" });
        Ok(())
    }

    /// What every member does not know nobody knows.
    fn answered(
        &mut self,
        seat: usize,
        object: &ObjectId,
        knowing: &[ReplicaId],
        by_all: bool,
    ) -> Result<(), Violation> {
        let found = self.look_up(seat, object);
        if by_all && found == Lookup::Unknown {
            let still = self.up().find(|(other, node)| {
                knowing.contains(&node.id()) && matches!(self.look_up(*other, object), Lookup::Found(_))
            });
            if let Some((other, _)) = still {
                return Err(Violation(format!("n{seat} says that nobody knows {object}, but n{other} does")));
            }
            self.count("known to nobody");
        }
        self.count(match found {
            Lookup::Found(_) => "found by asking",
            Lookup::Ended => "ended by asking",
            Lookup::Unknown => "not found by asking",
        });
        Ok(())
    }

    /// Every wait ends in time.
    pub(super) fn overdue(&self) -> Result<(), Violation> {
        match self.users.waits.iter().find(|(_, (until, _))| *until < self.mono) {
            Some(((seat, _), (_, waiting))) => {
                Err(Violation(format!("n{seat} lets somebody wait too long for {waiting:?}")))
            }
            None => Ok(()),
        }
    }
}
