//! What a reader must see of an object, computed from its specified content.
//!
//! Merge the visible lives; at each path the kind of content with the greatest (hybrid time, dot) shows, and a
//! counter adds to the number that wins there. Plain and slow: every path looks at every entry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::spec::{Life, Object, Slot};
use crate::core::contents::DotKey;
use crate::core::identity::{Kind, UNLEASED, dot_order};
use crate::core::path::Path;
use crate::core::time::{Hlc, UnixMillis};

/// What can be seen of an object at a time; `None` when nothing can.
#[must_use]
pub fn view(object: &Object, kind: Kind, now: UnixMillis) -> Option<Value> {
    let lives = visible(object, now);
    if lives.is_empty() {
        return None;
    }
    let sight = Sight::of(lives.into_iter().map(|life| &object.lives[&life]));
    match kind {
        // A leased object without content is an object all the same.
        Kind::Session | Kind::Document => Some(sight.object(&[])),
        Kind::Counter | Kind::Set => sight.at(&[]),
    }
}

/// The lives a reader sees at a time, the one that new entries go to last.
#[must_use]
pub fn visible(object: &Object, now: UnixMillis) -> Vec<DotKey> {
    let mut visible: Vec<_> = object
        .lives
        .iter()
        .filter(|(id, life)| {
            **id == dot_order(&UNLEASED) || (life.lease.ends() > now && !hidden(object, life))
        })
        .map(|(id, life)| (life.created, *id))
        .collect();
    visible.sort_unstable();
    visible.into_iter().map(|(_, id)| id).collect()
}

/// Whether a barrier that the life's creator did not know reaches past its creation.
#[must_use]
pub fn hidden(object: &Object, life: &Life) -> bool {
    object
        .barriers
        .iter()
        .any(|(barrier, until)| life.created <= *until && !life.barriers_seen.contains(barrier))
}

/// The values that were written to one path at once, the winner first.
#[must_use]
pub fn conflicts(object: &Object, now: UnixMillis) -> BTreeMap<Path, Vec<(String, DotKey)>> {
    let mut siblings: BTreeMap<Path, Vec<(Rank, String)>> = BTreeMap::new();
    for life in visible(object, now) {
        for ((path, slot, dot), hlc) in &object.lives[&life].entries {
            if let Slot::Register(text) = slot {
                siblings.entry(path.clone()).or_default().push(((*hlc, *dot), text.clone()));
            }
        }
    }
    siblings.retain(|_, values| values.len() > 1);
    let winner_first = |mut values: Vec<(Rank, String)>| {
        values.sort_unstable();
        values.into_iter().rev().map(|((_, dot), text)| (text, dot)).collect()
    };
    siblings.into_iter().map(|(path, values)| (path, winner_first(values))).collect()
}

/// Decides between what was written at once.
type Rank = (Hlc, DotKey);

/// Everything that stands in the visible lives, by place.
#[derive(Default)]
struct Sight {
    registers: Vec<(Vec<String>, Rank, String)>,
    markers: Vec<(Vec<String>, Rank)>,
    members: Vec<(Vec<String>, Rank, String)>,
    counts: Vec<(Vec<String>, Rank, i128)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shows {
    Register,
    Object,
    Counter,
    Set,
}

impl Sight {
    fn of<'a>(lives: impl Iterator<Item = &'a Life>) -> Self {
        let mut sight = Self::default();
        for life in lives {
            for ((path, slot, dot), hlc) in &life.entries {
                let (place, rank) = (names(path), (*hlc, *dot));
                match slot {
                    Slot::Register(text) => sight.registers.push((place, rank, text.clone())),
                    Slot::Marker => sight.markers.push((place, rank)),
                    Slot::Member(member) => sight.members.push((place, rank, member.clone())),
                }
            }
            for (path, count) in &life.counts {
                sight.counts.push((names(path), count.latest, count.sum));
            }
        }
        sight
    }

    fn places(&self) -> impl Iterator<Item = (&Vec<String>, Rank, Shows)> {
        let registers = self.registers.iter().map(|(place, rank, _)| (place, *rank, Shows::Register));
        let markers = self.markers.iter().map(|(place, rank)| (place, *rank, Shows::Object));
        let members = self.members.iter().map(|(place, rank, _)| (place, *rank, Shows::Set));
        let counts = self.counts.iter().map(|(place, rank, _)| (place, *rank, Shows::Counter));
        registers.chain(markers).chain(members).chain(counts)
    }

    /// What shows at a place; `None` when nothing stands there or below.
    fn shows(&self, at: &[String]) -> Option<Shows> {
        self.places()
            .filter(|(place, ..)| place.starts_with(at))
            .map(|(place, rank, shows)| (rank, if place.len() > at.len() { Shows::Object } else { shows }))
            .max()
            .map(|(_, shows)| shows)
    }

    fn at(&self, at: &[String]) -> Option<Value> {
        let register =
            self.registers.iter().filter(|(place, ..)| place == at).max_by_key(|(_, rank, _)| *rank);
        let number: Option<i64> = register.and_then(|(_, _, text)| text.parse().ok());
        match self.shows(at)? {
            Shows::Register if number.is_none() => {
                register.map(|(_, _, text)| serde_json::from_str(text).unwrap_or(Value::Null))
            }
            Shows::Register | Shows::Counter => {
                let counted: i128 =
                    self.counts.iter().filter(|(place, ..)| place == at).map(|(.., sum)| sum).sum();
                Some(number_value(i128::from(number.unwrap_or(0)) + counted))
            }
            Shows::Set => {
                let members = self.members.iter().filter(|(place, ..)| place == at);
                let members: BTreeSet<_> = members.map(|(_, _, member)| member.clone()).collect();
                Some(members.into_iter().collect())
            }
            Shows::Object => Some(self.object(at)),
        }
    }

    fn object(&self, at: &[String]) -> Value {
        let below = self.places().filter(|(place, ..)| place.len() > at.len() && place.starts_with(at));
        let keys: BTreeSet<_> = below.map(|(place, ..)| place[..=at.len()].to_vec()).collect();
        let members: BTreeMap<_, _> =
            keys.into_iter().filter_map(|key| self.at(&key).map(|value| (key, value))).collect();
        let members: Map<_, _> =
            members.into_iter().filter_map(|(mut key, value)| key.pop().map(|name| (name, value))).collect();
        Value::Object(members)
    }
}

fn names(path: &Path) -> Vec<String> {
    path.segments().map(std::borrow::Cow::into_owned).collect()
}

fn number_value(number: i128) -> Value {
    serde_json::from_str(&number.to_string()).unwrap_or(Value::Null)
}
