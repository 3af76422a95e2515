//! What happens how often, and what users wish for.

/// A sort of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Time passes.
    Time,
    /// A user writes a session.
    Session,
    /// A user writes a document.
    Document,
    /// A user counts.
    Counter,
    /// A user changes a set.
    Set,
    /// Some of what is under way to a replica arrives, in any order, perhaps twice, perhaps not at all.
    Deliver,
    /// Two replicas compare clocks; one catches up with the other.
    Sync,
    /// A whole state sets out for another replica, and may arrive much later.
    Snapshot,
    /// A whole state arrives at once, whatever the receiver has that the sender lacks.
    Join,
    /// A log loses its oldest operations.
    Truncate,
    /// A process dies; the next one has its disk, or nothing.
    Restart,
    /// The network splits, or heals.
    Split,
    /// A replica tidies up.
    Collect,
}

/// How often each sort of step happens.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What a report calls it.
    pub name: &'static str,
    /// Weights.
    pub weights: &'static [(Act, u64)],
    /// What users wish for.
    pub taste: Taste,
}

/// What users wish for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Everything.
    Wide,
    /// Documents of two paths, one above the other: all that competes there competes often.
    Narrow,
    /// Documents and sets of many entries.
    Large,
    /// Counters are never reset, sets never cleared, documents hold one register: what the oracles can express.
    Plain,
}

/// A bit of everything.
pub const MIXED: Profile = Profile {
    name: "mixed",
    weights: &[
        (Act::Time, 5),
        (Act::Session, 10),
        (Act::Document, 12),
        (Act::Counter, 7),
        (Act::Set, 4),
        (Act::Deliver, 24),
        (Act::Sync, 8),
        (Act::Snapshot, 2),
        (Act::Join, 5),
        (Act::Truncate, 2),
        (Act::Restart, 1),
        (Act::Split, 1),
        (Act::Collect, 3),
    ],
    taste: Taste::Wide,
};

/// Sessions and their ends.
pub const SESSIONS: Profile = Profile {
    name: "sessions",
    weights: &[
        (Act::Time, 6),
        (Act::Session, 24),
        (Act::Deliver, 22),
        (Act::Sync, 6),
        (Act::Snapshot, 3),
        (Act::Join, 8),
        (Act::Truncate, 1),
        (Act::Restart, 1),
        (Act::Collect, 4),
    ],
    taste: Taste::Wide,
};

/// One counter, many increments and resets, many merges.
pub const COUNTERS: Profile = Profile {
    name: "counters",
    weights: &[
        (Act::Time, 3),
        (Act::Counter, 24),
        (Act::Deliver, 16),
        (Act::Sync, 8),
        (Act::Snapshot, 3),
        (Act::Join, 10),
        (Act::Truncate, 2),
        (Act::Restart, 2),
        (Act::Split, 1),
        (Act::Collect, 5),
    ],
    taste: Taste::Wide,
};

/// Counters and processes that come and go: what those that are over have counted is folded.
pub const FOLDS: Profile = Profile {
    name: "folds",
    weights: &[
        (Act::Time, 2),
        (Act::Counter, 16),
        (Act::Document, 2),
        (Act::Deliver, 14),
        (Act::Sync, 22),
        (Act::Snapshot, 2),
        (Act::Join, 12),
        (Act::Truncate, 2),
        (Act::Restart, 6),
        (Act::Collect, 16),
    ],
    taste: Taste::Wide,
};

/// Documents with conflicts at every level.
pub const TREES: Profile = Profile {
    name: "trees",
    weights: &[
        (Act::Time, 3),
        (Act::Document, 28),
        (Act::Deliver, 22),
        (Act::Sync, 8),
        (Act::Snapshot, 2),
        (Act::Join, 6),
        (Act::Truncate, 2),
    ],
    taste: Taste::Wide,
};

/// One path above another, and all that can compete there.
pub const CONFLICTS: Profile = Profile {
    name: "conflicts",
    weights: &[(Act::Time, 8), (Act::Document, 30), (Act::Deliver, 18), (Act::Sync, 5), (Act::Join, 8)],
    taste: Taste::Narrow,
};

/// Documents and sets that take many runs of records.
pub const LARGE: Profile = Profile {
    name: "large",
    weights: &[
        (Act::Time, 4),
        (Act::Document, 12),
        (Act::Set, 12),
        (Act::Deliver, 20),
        (Act::Sync, 6),
        (Act::Snapshot, 2),
        (Act::Join, 8),
        (Act::Truncate, 1),
    ],
    taste: Taste::Large,
};

/// What the types of the `crdts` crate can express as well.
pub const PLAIN: Profile = Profile {
    name: "plain",
    weights: &[
        (Act::Time, 3),
        (Act::Document, 8),
        (Act::Counter, 8),
        (Act::Set, 14),
        (Act::Deliver, 22),
        (Act::Sync, 8),
        (Act::Snapshot, 3),
        (Act::Join, 8),
        (Act::Truncate, 2),
        (Act::Restart, 1),
    ],
    taste: Taste::Plain,
};
