//! What each sort of step does.

use super::{Act, Cluster, Step, Theme, Violation, objects};
use crate::core::check::rng::Rng;
use crate::core::command::{Change, MemberState, MemberStatus, Write};
use crate::core::identity::Kind;
use crate::core::node::{Input, Node};

/// Processes of one node, at most.
const STARTS_MAX: u64 = 4;

/// The same where it is all about them.
const STARTS_MAX_OF_MANY: u64 = 9;

impl Cluster {
    pub(super) fn act(&mut self, step: &Step) -> Result<(), Violation> {
        let mut rng = Rng::new(step.seed);
        let (seat, rng) = (step.node, &mut rng);
        let up = self.seats[seat].node.is_some();
        match step.act {
            Act::Pass => {
                let millis = rng.pick(&[1, 5, 20, 100, 400, 400, 1_000, 3_000]);
                self.pass(millis)
            }
            Act::Idle => {
                let millis = rng.pick(&[8_000, 20_000, 40_000]);
                self.pass(millis)
            }
            Act::Write if up => self.user(seat, rng),
            Act::Ask if up => self.ask(seat, rng),
            Act::Login if up => self.login(seat, rng),
            Act::Follow if up => self.follow(seat, rng),
            Act::Acks if up => self.acks(seat, rng),
            Act::Split => {
                let groups: Vec<u64> = self.seats.iter().map(|_| rng.below(2)).collect();
                self.split(&groups);
                Ok(())
            }
            Act::Heal => {
                self.reunite();
                Ok(())
            }
            Act::Crash if up && self.setup.crashes && self.up().count() > 1 => {
                self.say(|| format!("n{seat} crashes"));
                self.count("crashes");
                self.bury(seat);
                Ok(())
            }
            Act::Blackout if self.setup.disk_micros.is_some() => {
                self.say(|| "everything goes dark".into());
                self.count("blackouts");
                self.count("crashes");
                for seat in 0..self.seats.len() {
                    self.bury(seat);
                }
                Ok(())
            }
            Act::Start if !up && self.may_start(seat) => {
                self.count("restarts");
                self.start(seat)
            }
            Act::Leave if up && self.setup.theme == Theme::Deploys && self.up().count() > 1 => {
                self.leave(seat)
            }
            Act::Leave if up && self.up().count() > 2 && rng.percent(40) => self.leave(seat),
            Act::Overflow if up => {
                let to = (seat + 1 + rng.index(self.seats.len() - 1)) % self.seats.len();
                self.overflow(seat, to)
            }
            Act::Forget if up => {
                let other = (seat + 1 + rng.index(self.seats.len() - 1)) % self.seats.len();
                self.give_up(seat, other)
            }
            Act::Stall if up => {
                let to = (seat + 1 + rng.index(self.seats.len() - 1)) % self.seats.len();
                let micros = rng.pick(&[0, 2_000_000, 8_000_000, 20_000_000]);
                self.stall(seat, to, micros);
                Ok(())
            }
            Act::Step => {
                self.seats[seat].skew_millis += rng.below(4_000) as i64 - 2_000;
                self.count("clocks stepped");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn may_start(&self, seat: usize) -> bool {
        let seat = &self.seats[seat];
        let most = match self.setup.theme {
            Theme::Forgetting | Theme::GivingUp | Theme::Deploys => STARTS_MAX_OF_MANY,
            _ => STARTS_MAX,
        };
        // Who has left in order may come back with what it saved; where it is about that, also without.
        let comes_back = self.setup.theme == Theme::Deploys || seat.disk.is_some();
        seat.starts < most && (!seat.left || comes_back)
    }

    /// Seats of different groups cannot reach each other from now on.
    pub fn split(&mut self, groups: &[u64]) {
        self.network.groups = groups.to_vec();
        if groups.iter().any(|group| *group != groups[0]) {
            self.count("splits");
        }
        self.say(|| format!("the network is split into {groups:?}"));
        self.cut();
    }

    /// What users do from now on they do later than what they did before.
    pub fn next_step(&mut self) {
        self.step += 1;
    }

    /// Seats of all groups reach each other again.
    pub fn reunite(&mut self) {
        self.network.groups.fill(0);
        self.network.dirty = true;
        self.say(|| "the network is whole".into());
    }

    /// An operator on one seat says that another one will not come back, and is right: its process is no more.
    ///
    /// # Errors
    /// What must not happen.
    pub fn give_up(&mut self, seat: usize, other: usize) -> Result<(), Violation> {
        if self.seats[other].node.is_some() {
            return Ok(());
        }
        let Some(node) = &mut self.seats[seat].node else { return Ok(()) };
        if node.give_up(&format!("n{other}")).is_ok() {
            self.count("given up");
            self.seats[other].given_up = true;
            self.say(|| format!("n{seat} is told to forget n{other}"));
        }
        self.outputs(seat)
    }

    /// Those who have heard a farewell refuse what comes after it: nothing may be acknowledged any more.
    fn say_farewell(&mut self, seat: usize) -> Result<(), Violation> {
        let leaves = self.seats[seat].node.as_ref().is_some_and(Node::would_leave);
        self.input(seat, Input::Farewell)?;
        let [session, _] = objects(Kind::Session);
        let now = self.now(seat);
        match &mut self.seats[seat].node {
            Some(node) if leaves => match node.write(now, &Write::new(session, Change::Destroy)) {
                Ok(_) => Err(Violation(format!("n{seat} writes after its farewell"))),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether another that is up knows that it has left.
    pub(super) fn is_known_to_have_left(&self, seat: usize) -> bool {
        let name = format!("n{seat}");
        let gone = |member: &MemberStatus| member.replica.node == name && member.state == MemberState::Left;
        let others = self.up().filter(|(other, _)| *other != seat);
        others.map(|(other, node)| node.members(self.now(other))).any(|them| them.iter().any(gone))
    }

    /// A process leaves as a good driver lets it: it stops, hands over, and goes when nothing is left with it alone.
    ///
    /// # Errors
    /// What must not happen.
    pub fn leave(&mut self, seat: usize) -> Result<(), Violation> {
        self.say(|| format!("n{seat} leaves"));
        self.input(seat, Input::Leave)?;
        self.pass(1_500)?;
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        if node.hand_over().held_by_nobody_else == 0 {
            self.handed_over(seat)?;
            if self.save_all(seat)? {
                self.say_farewell(seat)?;
            }
            self.pass(500)?;
        }
        // A goodbye that nobody heard is a crash.
        let heard = self.is_known_to_have_left(seat);
        self.count(if heard { "departures" } else { "crashes" });
        self.bury(seat);
        self.seats[seat].left = heard;
        Ok(())
    }
}
