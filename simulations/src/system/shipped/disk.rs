//! One node's disk: what was saved outlives the process; what was being written when it died does not.
//!
//! As the sidecar's storage with `--fsync always`: one commit at a time takes all that has come since the last, images of
//! shards and operations behind them. It checks, as the sidecar does, that what is loaded comes to what was saved.

use sidetalk::core::identity::{Clock, SHARDS, ShardId};
use sidetalk::core::node::{Input, Node, Restored, SavedNode, UnsavedContent, UnsavedShard};
use sidetalk::core::packed::PackedOp;
use sidetalk::core::shard::{Shard, ShardState};
use sidetalk::core::time::{MonoMicros, Now};
use sidetalk::core::token::Token;

/// Between two commits when there is nothing new but the time.
const BEAT_MICROS: u64 = 5_000_000;

/// Operations behind an image before the two become one image.
const OPS_MAX: usize = 200;

/// A node's disk.
pub(super) struct Disk {
    /// How long a commit takes.
    commit_micros: u64,
    /// How much longer it takes now.
    pub(super) late_micros: u64,
    saved: Vec<Saved>,
    /// What stands beside the shards; `None` on a new disk.
    head: Option<(SavedNode, bool)>,
    /// What is being written, and when that is over.
    writing: Option<(Vec<UnsavedShard>, SavedNode, MonoMicros)>,
    /// The node has said that there is something to be saved.
    wanted: bool,
    /// When the time is saved, if nothing else is; never after the last commit.
    beat: MonoMicros,
    /// The last commit of a process is done.
    closed: bool,
}

#[derive(Default)]
struct Saved {
    image: Option<ShardState>,
    ops: Vec<PackedOp>,
    clock: Clock,
    content_sum: u128,
}

impl Disk {
    pub(super) fn new(commit_micros: u64) -> Self {
        let saved = (0..SHARDS).map(|_| Saved::default()).collect();
        Self {
            commit_micros,
            late_micros: 0,
            saved,
            head: None,
            writing: None,
            wanted: false,
            beat: MonoMicros(0),
            closed: false,
        }
    }

    /// The process is gone. Gives whether something was being written.
    pub(super) fn cut_off(&mut self) -> bool {
        (self.wanted, self.closed, self.beat) = (false, false, MonoMicros(0));
        self.writing.take().is_some()
    }

    /// What a process finds; `None` on a new disk.
    ///
    /// # Errors
    /// What is saved does not come to what it should be.
    pub(super) fn load(&self) -> Result<Option<Restored>, String> {
        let Some((node, is_current)) = &self.head else { return Ok(None) };
        let shards: Result<Vec<Shard>, String> =
            ShardId::all().map(|id| self.saved[id.index()].load(id)).collect();
        Ok(Some(Restored {
            shards: shards?,
            node: node.clone(),
            is_current: *is_current,
            is_awaited: *is_current,
        }))
    }

    /// A process notes that it goes on with what is here, before it meets anybody.
    pub(super) fn begin(&mut self, head: SavedNode) {
        self.head = Some((head, true));
    }

    /// It holds all that the last process had saved, and that process did not leave.
    pub(super) fn is_current(&self) -> bool {
        self.head.as_ref().is_some_and(|(_, is_current)| *is_current)
    }

    /// When a commit is over, or else the next must begin.
    pub(super) fn deadline(&self) -> MonoMicros {
        self.writing.as_ref().map_or(self.beat, |(.., over)| *over)
    }

    /// Ends the commit that is over, or begins the next where there is something to be saved. What the node is to be told
    /// of one that is over: then there may be more to do.
    pub(super) fn turn(&mut self, node: &mut Node, now: Now, unsaved: bool) -> Option<Input> {
        self.wanted |= unsaved;
        let told = match self.writing.take() {
            Some((shards, head, over)) if over <= now.mono => Some(self.keep(shards, head, true)),
            writing => {
                self.writing = writing;
                None
            }
        };
        if self.closed {
            return None;
        }
        self.wanted |= self.beat <= now.mono;
        if told.is_none() && self.writing.is_none() && std::mem::take(&mut self.wanted) {
            self.beat = MonoMicros(now.mono.0 + BEAT_MICROS);
            let shards = node.take_unsaved(&[]);
            let micros = self.commit_micros + self.late_micros;
            self.writing = Some((shards, node.saved_node(), MonoMicros(now.mono.0 + micros)));
        }
        told
    }

    /// The process ends in order: all there is, now. What the node is to be told.
    pub(super) fn last_commit(&mut self, node: &mut Node) -> Vec<Input> {
        let mut told = Vec::new();
        if let Some((shards, head, _)) = self.writing.take() {
            told.push(self.keep(shards, head, true));
        }
        loop {
            let shards = node.take_unsaved(&[]);
            let over = shards.is_empty();
            told.push(self.keep(shards, node.saved_node(), !(over && node.would_leave())));
            if over {
                (self.closed, self.beat) = (true, MonoMicros(u64::MAX));
                return told;
            }
        }
    }

    fn keep(&mut self, shards: Vec<UnsavedShard>, head: SavedNode, is_current: bool) -> Input {
        let clocks = shards.iter().map(|unsaved| (unsaved.shard, unsaved.clock.clone())).collect();
        for unsaved in shards {
            let saved = &mut self.saved[unsaved.shard.index()];
            match unsaved.content {
                UnsavedContent::Image(image) => (saved.image, saved.ops) = (Some(*image), Vec::new()),
                UnsavedContent::Ops(ops) => saved.ops.extend(ops),
            }
            (saved.clock, saved.content_sum) = (unsaved.clock, unsaved.content_sum);
            saved.compact(unsaved.shard);
        }
        let time = head.time;
        self.head = Some((head, is_current));
        Input::Saved(clocks, time)
    }

    /// Whether it has what a token names.
    pub(super) fn has(&self, token: &Token) -> bool {
        let clock = &self.saved[token.shard.index()].clock;
        token.dots.iter().all(|dot| dot.counter <= clock.get(&dot.actor))
    }
}

impl Saved {
    fn load(&self, id: ShardId) -> Result<Shard, String> {
        let mut shard = match &self.image {
            Some(image) => Shard::from_state(id, image.clone()).map_err(|error| error.to_string())?,
            None => Shard::new(id),
        };
        for op in &self.ops {
            shard.receive(op.clone().open().ok_or("an operation cannot be read")?);
        }
        let whole = shard.pending_len() == 0
            && shard.digest().content_sum == self.content_sum
            && *shard.clock() == self.clock;
        if whole {
            Ok(shard)
        } else {
            Err(format!("what is saved of shard {} does not come to what was", id.0))
        }
    }

    /// As the sidecar does from time to time; a disk that cannot be read is told when it is loaded.
    fn compact(&mut self, id: ShardId) {
        if self.ops.len() > OPS_MAX
            && let Ok(shard) = self.load(id)
        {
            (self.image, self.ops) = (Some(shard.state()), Vec::new());
        }
    }
}
