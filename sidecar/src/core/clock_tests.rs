//! A clock says what the plain map says, whatever it leans on: random histories, held against `crdts::VClock` after each step.

use crdts::{CmRDT, VClock};
use proptest::prelude::*;

use super::*;
use crate::core::identity::SHARDS;
use crate::core::packed::encode;
use crate::core::past::Finals;

const CLOCKS: usize = 3;
const ACTORS: u64 = 8;
const SHARD: ShardId = ShardId(7);

type Plain = VClock<ReplicaId>;

#[derive(Clone, Debug)]
enum Step {
    Raise {
        clock: usize,
        actor: u64,
        counter: u64,
    },
    Set {
        clock: usize,
        actor: u64,
        counter: u64,
    },
    LowerTo {
        clock: usize,
        other: usize,
    },
    Copy {
        from: usize,
        to: usize,
    },
    /// A process is over: this clock's word on it becomes a row.
    Grow {
        clock: usize,
        actors: Vec<u64>,
    },
    /// The same without those who are past it.
    GrowAnother {
        clock: usize,
        actors: Vec<u64>,
    },
    Lean {
        clock: usize,
    },
    LeanOnAnother {
        clock: usize,
    },
    Travel {
        clock: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (clock, actor, counter) = (0..CLOCKS, 1..=ACTORS, 0..4u64);
    let actors = prop::collection::vec(actor.clone(), 1..4);
    let step = prop_oneof![
        6 => (clock.clone(), actor.clone(), counter.clone())
            .prop_map(|(clock, actor, counter)| Step::Raise { clock, actor, counter }),
        1 => (clock.clone(), actor, counter)
            .prop_map(|(clock, actor, counter)| Step::Set { clock, actor, counter }),
        1 => (clock.clone(), clock.clone()).prop_map(|(clock, other)| Step::LowerTo { clock, other }),
        2 => (clock.clone(), clock.clone()).prop_map(|(from, to)| Step::Copy { from, to }),
        2 => (clock.clone(), actors.clone()).prop_map(|(clock, actors)| Step::Grow { clock, actors }),
        1 => (clock.clone(), actors).prop_map(|(clock, actors)| Step::GrowAnother { clock, actors }),
        4 => clock.clone().prop_map(|clock| Step::Lean { clock }),
        1 => clock.clone().prop_map(|clock| Step::LeanOnAnother { clock }),
        1 => clock.prop_map(|clock| Step::Travel { clock }),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct World {
    clocks: [Clock; CLOCKS],
    plain: [Plain; CLOCKS],
    past: Arc<Past>,
    another: Arc<Past>,
}

fn grown(past: &Arc<Past>, clock: &Plain, actors: &[u64]) -> Arc<Past> {
    let mut new: Vec<ReplicaId> = actors.iter().map(|actor| ReplicaId(*actor)).collect();
    new.sort_unstable();
    new.dedup();
    new.retain(|actor| !past.has(*actor));
    let row = |actor: ReplicaId| {
        let mut counters = [0; SHARDS];
        counters[SHARD.index()] = clock.get(&actor);
        // Other shards are none of this one's business; some need wider rows.
        counters[0] = 1 << (8 * (actor.0 % 8));
        Finals::new(actor, &counters)
    };
    Arc::new(past.with(new.into_iter().map(row).collect()))
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Raise { clock, actor, counter } => {
                let dot = Dot::new(ReplicaId(actor), counter);
                assert_eq!(self.clocks[clock].raise(dot), counter > self.plain[clock].get(&dot.actor));
                self.plain[clock].apply(dot);
            }
            Step::Set { clock, actor, counter } => {
                self.clocks[clock].set(ReplicaId(actor), counter);
                self.plain[clock].dots.insert(ReplicaId(actor), counter);
                self.plain[clock].dots.retain(|_, counter| *counter > 0);
            }
            Step::LowerTo { clock, other } => {
                let (theirs, plain) = (self.clocks[other].clone(), self.plain[other].clone());
                self.clocks[clock].lower_to(&theirs);
                self.plain[clock].glb(&plain);
            }
            Step::Copy { from, to } => {
                self.clocks[to] = self.clocks[from].clone();
                self.plain[to] = self.plain[from].clone();
            }
            Step::Grow { clock, actors } => self.past = grown(&self.past, &self.plain[clock], &actors),
            Step::GrowAnother { clock, actors } => {
                self.another = grown(&self.another, &self.plain[clock], &actors);
            }
            Step::Lean { clock } => self.clocks[clock].lean_on(&self.past, SHARD),
            Step::LeanOnAnother { clock } => self.clocks[clock].lean_on(&self.another, SHARD),
            Step::Travel { clock } => {
                self.clocks[clock] = postcard::from_bytes(&encode(&self.clocks[clock])).unwrap();
            }
        }
    }

    fn compare(&self) {
        for (clock, plain) in self.clocks.iter().zip(&self.plain) {
            for actor in (0..=ACTORS).map(ReplicaId) {
                assert_eq!(clock.get(&actor), plain.get(&actor));
            }
            let dots: BTreeMap<ReplicaId, u64> = clock.iter().map(|dot| (dot.actor, dot.counter)).collect();
            assert_eq!((&dots, clock.len()), (&plain.dots, plain.dots.len()));
            assert!(clock.iter().is_sorted_by_key(|dot| dot.actor));
            assert_eq!(clock.is_empty(), plain.is_empty());
            assert_eq!(clock.to_string(), plain.to_string());
            assert_eq!(encode(clock), encode(plain));
            for (other, theirs) in self.clocks.iter().zip(&self.plain) {
                assert_eq!(clock.partial_cmp(other), plain.partial_cmp(theirs));
                assert_eq!(clock == other, plain == theirs);
                assert_eq!(clock.covers(other), theirs.dots.iter().all(|(id, n)| plain.get(id) >= *n));
                let beyond: Vec<Dot> = clock.beyond(other).collect();
                let lacked = plain.dots.iter().filter(|(id, counter)| **counter > theirs.get(id));
                assert_eq!(beyond, lacked.map(|(id, counter)| Dot::new(*id, *counter)).collect::<Vec<_>>());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_clock_says_what_the_plain_map_says(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
            world.compare();
        }
    }
}

fn dots(of: &[(u64, u64)]) -> Clock {
    of.iter().map(|(actor, counter)| Dot::new(ReplicaId(*actor), *counter)).collect()
}

fn past(of: &[(u64, u64)]) -> Arc<Past> {
    let plain = of.iter().map(|(actor, counter)| Dot::new(ReplicaId(*actor), *counter)).collect();
    grown(&Arc::default(), &plain, &of.iter().map(|(actor, _)| *actor).collect::<Vec<_>>())
}

#[test]
fn what_is_past_is_named_no_more() {
    let mut clock = dots(&[(1, 5), (2, 3), (3, 9)]);
    clock.lean_on(&past(&[(1, 5), (2, 3)]), SHARD);
    assert_eq!((clock.named(), clock.len()), (1, 3));
    assert_eq!(clock.get(&ReplicaId(2)), 3);
}

#[test]
fn a_clock_that_is_behind_the_past_names_everything_itself() {
    let mut clock = dots(&[(1, 5), (2, 2), (3, 9)]);
    let past = past(&[(1, 5), (2, 3)]);
    clock.lean_on(&past, SHARD);
    assert_eq!(clock.named(), 3);
    clock.raise(Dot::new(ReplicaId(2), 3));
    clock.lean_on(&past, SHARD);
    assert_eq!(clock.named(), 1);
}

/// A disk that returns may bring what nobody had.
#[test]
fn more_of_the_past_is_named_again() {
    let mut clock = dots(&[(1, 5), (2, 3)]);
    let past = past(&[(1, 5), (2, 3)]);
    clock.lean_on(&past, SHARD);
    assert!(clock.raise(Dot::new(ReplicaId(1), 6)));
    assert_eq!((clock.named(), clock.get(&ReplicaId(1))), (1, 6));
    let more = Arc::new(past.with(vec![Finals::new(ReplicaId(9), &[0; SHARDS])]));
    clock.lean_on(&more, SHARD);
    assert_eq!((clock.named(), clock.get(&ReplicaId(1))), (1, 6));
}

#[test]
fn a_row_takes_as_many_bytes_as_its_greatest_counter_needs() {
    for (most, bytes) in
        [(0, 0), (1, 256), (255, 256), (256, 512), (65_535, 512), (65_536, 768), (u64::MAX, 2_048)]
    {
        let mut counters = [0; SHARDS];
        (counters[3], counters[255]) = (most, most / 2);
        let before = Past::default().with(vec![Finals::new(ReplicaId(1), &[0; SHARDS])]).bytes();
        let past = Past::default().with(vec![Finals::new(ReplicaId(1), &counters)]);
        assert_eq!(past.bytes() - before, bytes, "{most}");
        for (shard, counter) in [(3, most), (4, 0), (255, most / 2)] {
            assert_eq!(past.counter(ReplicaId(1), ShardId(shard)), counter);
        }
    }
}

/// A clock that came from a peer names all who ever wrote. What then stands in the past takes no room in it any more.
#[test]
fn what_the_past_takes_over_is_given_back() {
    const OVER: u64 = 3_000;
    const LIVE: u64 = 3;
    let past = (1..=OVER).map(|id| Finals::new(ReplicaId(id), &[1; SHARDS])).collect();
    let past = Arc::new(Past::default().with(past));
    let mut clock = Clock::default();
    let leaned = allocation_counter::measure(|| {
        clock = (1..=OVER + LIVE).map(|id| Dot::new(ReplicaId(id), 1)).collect();
        clock.lean_on(&past, SHARD);
    });
    assert_eq!((clock.named() as u64, clock.len() as u64), (LIVE, OVER + LIVE));
    assert!(leaned.bytes_current <= 64 * LIVE as i64, "{} bytes are held", leaned.bytes_current);
}
