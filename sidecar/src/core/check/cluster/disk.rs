//! Disks that are slow, refuse what they are given, keep what was under way or lose it, and outlive their processes.
//!
//! A disk is all or nothing: what is tested here is what the node makes of it, not how a file is written.

use std::collections::BTreeMap;

use super::network::Event;
use super::{Cluster, SHARDS_USED, Violation};
use crate::core::identity::{Clock, Dot, ReplicaId, SHARDS, ShardId};
use crate::core::node::{DiskHealth, Input, Restored, SavedNode, UnsavedContent, UnsavedShard};
use crate::core::packed::PackedOp;
use crate::core::shard::{Shard, ShardState};
use crate::core::time::{MonoMicros, UnixMillis};

/// Between commits of the time alone.
const BEAT_MILLIS: u64 = 5_000;

/// Between a failure and the next try.
const RETRY_MILLIS: u64 = 500;

/// What a seat's processes have saved.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    shards: BTreeMap<ShardId, SavedShard>,
    node: Option<SavedNode>,
    /// The last process left in order.
    left: bool,
    /// It is a backup that was put back.
    is_backup: bool,
    /// What is being written.
    writing: Option<(Vec<UnsavedShard>, SavedNode)>,
    /// A commit is under way or about to begin.
    busy: bool,
    /// There was more to save meanwhile.
    woken: bool,
    /// A commit of the time alone is to come.
    beats: bool,
}

#[derive(Clone, Debug, Default)]
struct SavedShard {
    image: Option<ShardState>,
    ops: Vec<PackedOp>,
    clock: Clock,
    content_sum: u128,
}

impl Disk {
    /// Takes in what is being written, all of it.
    fn land(&mut self) -> Vec<(ShardId, Clock)> {
        let Some((unsaved, node)) = self.writing.take() else { return Vec::new() };
        self.node = Some(node);
        self.is_backup = false;
        unsaved.into_iter().map(|unsaved| self.keep(unsaved)).collect()
    }

    fn keep(&mut self, unsaved: UnsavedShard) -> (ShardId, Clock) {
        let UnsavedShard { shard, clock, content_sum, content } = unsaved;
        let saved = self.shards.entry(shard).or_default();
        match content {
            UnsavedContent::Image(state) => {
                saved.image = Some(*state);
                saved.ops.clear();
            }
            UnsavedContent::Ops(ops) => saved.ops.extend(ops),
        }
        saved.clock = clock.clone();
        saved.content_sum = content_sum;
        (shard, clock)
    }

    fn time(&self) -> UnixMillis {
        self.node.as_ref().map(|node| node.time).unwrap_or_default()
    }

    /// What it has of a shard.
    pub(super) fn clock(&self, shard: ShardId) -> Clock {
        self.shards.get(&shard).map(|saved| saved.clock.clone()).unwrap_or_default()
    }

    fn has(&self, shard: ShardId, dot: Dot) -> bool {
        self.shards.get(&shard).is_some_and(|saved| saved.clock.get(&dot.actor) >= dot.counter)
    }

    /// What a process finds when it starts; `None` where nothing was ever saved.
    fn load(&self) -> Result<Option<Restored>, Violation> {
        let Some(node) = self.node.clone() else { return Ok(None) };
        let mut shards = Vec::with_capacity(SHARDS);
        for id in ShardId::all() {
            let Some(saved) = self.shards.get(&id) else {
                shards.push(Shard::new(id));
                continue;
            };
            let mut shard = match saved.image.clone() {
                Some(state) => Shard::from_state(id, state)
                    .map_err(|error| Violation(format!("an image of {id:?} does not load: {error}")))?,
                None => Shard::new(id),
            };
            for op in &saved.ops {
                let op = op.clone().open();
                shard.receive(op.ok_or_else(|| Violation("a saved operation cannot be read".into()))?);
            }
            let same = shard.digest().content_sum == saved.content_sum && *shard.clock() == saved.clock;
            if !same || shard.pending_len() > 0 {
                return Err(Violation(format!("{id:?} does not come to what was saved: {}", shard.clock())));
            }
            shards.push(shard);
        }
        let is_current = !self.left && !self.is_backup;
        Ok(Some(Restored { shards, node, is_current, is_awaited: !self.left }))
    }

    /// A process notes that it goes on with what is here.
    pub(super) fn begin(&mut self, node: SavedNode) {
        self.node = Some(node);
        (self.left, self.is_backup) = (false, false);
    }
}

impl Cluster {
    /// A process has something to be saved.
    pub(super) fn unsaved(&mut self, seat: usize) {
        let id = self.seats[seat].id;
        let delay = self.rng.below(self.setup.disk_micros.unwrap_or(1).max(1));
        let Some(disk) = &mut self.seats[seat].disk else { return };
        disk.woken = disk.busy;
        if !std::mem::replace(&mut disk.busy, true) {
            self.network.at(MonoMicros(self.mono.0 + delay), Event::Save { seat, id });
        }
    }

    fn beat_later(&mut self, seat: usize) {
        let id = self.seats[seat].id;
        let Some(disk) = &mut self.seats[seat].disk else { return };
        if !std::mem::replace(&mut disk.beats, true) {
            self.network.at(self.mono.plus_millis(BEAT_MILLIS), Event::Beat { seat, id });
        }
    }

    pub(super) fn beat(&mut self, seat: usize, id: ReplicaId) {
        if self.seats[seat].id == id && self.seats[seat].node.is_some() {
            if let Some(disk) = &mut self.seats[seat].disk {
                disk.beats = false;
            }
            self.unsaved(seat);
        }
    }

    /// A commit begins, or ends: it has what the node had when it began.
    pub(super) fn save(&mut self, seat: usize, id: ReplicaId) -> Result<(), Violation> {
        if self.seats[seat].id != id || self.seats[seat].node.is_none() {
            return Ok(());
        }
        let is_written = self.seats[seat].disk.as_ref().is_some_and(|disk| disk.writing.is_some());
        if is_written { self.commit(seat) } else { self.begin_commit(seat) }
    }

    fn begin_commit(&mut self, seat: usize) -> Result<(), Violation> {
        let whole: Vec<ShardId> = SHARDS_USED.into_iter().filter(|_| self.rng.percent(10)).collect();
        let delay = self.rng.below(self.setup.disk_micros.unwrap_or(1).max(1));
        let id = self.seats[seat].id;
        let place = &mut self.seats[seat];
        let (Some(node), Some(disk)) = (&mut place.node, &mut place.disk) else { return Ok(()) };
        disk.writing = Some((node.take_unsaved(&whole), node.saved_node()));
        self.network.at(MonoMicros(self.mono.0 + delay), Event::Save { seat, id });
        self.outputs(seat)
    }

    fn commit(&mut self, seat: usize) -> Result<(), Violation> {
        let id = self.seats[seat].id;
        let fails = !self.network.calm && self.rng.percent(self.setup.disk_fails_percent);
        // What failed may be there all the same.
        let lands = !fails || self.rng.percent(30);
        let Some(disk) = &mut self.seats[seat].disk else { return Ok(()) };
        disk.busy = fails;
        let woken = disk.woken;
        let shards: Vec<ShardId> =
            disk.writing.iter().flat_map(|(unsaved, _)| unsaved).map(|unsaved| unsaved.shard).collect();
        let landed = if lands { disk.land() } else { Vec::new() };
        disk.writing = None;
        self.landed(seat);
        if fails {
            self.count("commits failed");
            self.network.at(self.mono.plus_millis(RETRY_MILLIS), Event::Save { seat, id });
            let health = if self.rng.percent(50) { DiskHealth::Full } else { DiskHealth::Failing };
            return self.input(seat, Input::NotSaved(shards, health));
        }
        self.count("commits");
        if self.rng.percent(self.setup.disk_set_back_percent) {
            let backup = self.seats[seat].disk.clone();
            self.seats[seat].backups.extend(backup);
        }
        let time = self.seats[seat].disk.as_ref().map(Disk::time).unwrap_or_default();
        self.input(seat, Input::Saved(landed, time))?;
        self.beat_later(seat);
        if woken {
            self.unsaved(seat);
        }
        Ok(())
    }

    /// What is on a disk survives.
    fn landed(&mut self, seat: usize) {
        let Some(disk) = &self.seats[seat].disk else { return };
        for shard in SHARDS_USED {
            for Dot { actor, counter } in disk.clock(shard).iter() {
                self.kept.extend((1..=counter).map(|sequence| (shard, (actor, sequence))));
            }
        }
    }

    /// All that is left goes to the disk: a process stops in order.
    pub(super) fn save_all(&mut self, seat: usize) -> Result<bool, Violation> {
        let place = &mut self.seats[seat];
        let (Some(node), Some(disk)) = (&mut place.node, &mut place.disk) else { return Ok(true) };
        let left = node.would_leave();
        let mut landed = disk.land();
        loop {
            disk.writing = Some((node.take_unsaved(&[]), node.saved_node()));
            let more = disk.land();
            if more.is_empty() {
                break;
            }
            landed.extend(more);
        }
        disk.left = left;
        let time = disk.time();
        self.landed(seat);
        self.input(seat, Input::Saved(landed, time))?;
        Ok(left)
    }

    /// A process dies: what was being written is there or is not.
    pub(super) fn disk_dies(&mut self, seat: usize) {
        let lands = self.rng.percent(50);
        if let Some(disk) = &mut self.seats[seat].disk {
            if lands {
                disk.land();
            }
            disk.writing = None;
            disk.busy = false;
            disk.woken = false;
            disk.beats = false;
        }
        self.landed(seat);
    }

    /// What a seat's next process finds. Now and then the disk is lost.
    pub(super) fn found_on_disk(&mut self, seat: usize) -> Result<Option<Restored>, Violation> {
        if self.setup.disk_micros.is_none() {
            return Ok(None);
        }
        let starts = self.seats[seat].starts;
        if starts > 0 && self.rng.percent(self.setup.disk_lost_percent) {
            self.count("disks lost");
            self.say(|| format!("the disk of n{seat} is lost"));
            self.replace_disk(seat, Disk::default());
        } else if starts > 0
            && self.rng.percent(self.setup.disk_set_back_percent)
            && !self.seats[seat].backups.is_empty()
        {
            let at = self.rng.index(self.seats[seat].backups.len());
            // Whoever restores a backup says so.
            let backup = Disk { is_backup: true, ..self.seats[seat].backups[at].clone() };
            self.count("backups restored");
            self.say(|| format!("n{seat} is restored from a backup"));
            self.replace_disk(seat, backup);
        } else if self.setup.disk_returns_percent > 0
            && !self.seats[seat].former_disks.is_empty()
            && self.rng.percent(self.setup.disk_returns_percent)
        {
            let at = self.rng.index(self.seats[seat].former_disks.len());
            let former = self.seats[seat].former_disks[at].clone();
            self.count("disks found again");
            self.say(|| format!("n{seat} is given a disk that it had before"));
            self.replace_disk(seat, former);
        }
        let disk = self.seats[seat].disk.get_or_insert_with(Disk::default);
        disk.load()
    }

    /// Who starts over begins with nothing.
    pub(super) fn set_disk_aside(&mut self, seat: usize) {
        if self.seats[seat].disk.is_some() {
            self.count("disks set aside");
            self.replace_disk(seat, Disk::default());
        }
    }

    /// What only the disk had is lost.
    fn replace_disk(&mut self, seat: usize, with: Disk) {
        self.seats[seat].changed_disks = true;
        if let Some(old) = self.seats[seat].disk.replace(with) {
            self.seats[seat].former_disks.push(old);
        }
        self.forget_lost();
    }

    /// How far a seat's disks have ever got in a shard; `None` where it has none.
    pub(super) fn ever_saved(&self, seat: usize, shard: ShardId) -> Option<Vec<Clock>> {
        let place = &self.seats[seat];
        let now = place.disk.as_ref()?;
        let former = place.former_disks.iter().map(|disk| disk.clock(shard));
        Some(former.chain([now.clock(shard)]).collect())
    }

    pub(super) fn has_bad_disk(&self, seat: usize) -> bool {
        self.seats[seat].node.as_ref().is_some_and(|node| node.disk_health() != DiskHealth::Good)
    }

    /// Whether some disk has this that is still there.
    pub(super) fn on_some_disk(&self, shard: ShardId, dot: Dot) -> bool {
        self.seats.iter().filter_map(|seat| seat.disk.as_ref()).any(|disk| disk.has(shard, dot))
    }
}
