//! One run, from a scenario to a record.

use crate::record::RunRecord;
use crate::scenario::{Layout, Mistake, Scenario};
use crate::system::{Blobs, Sidetalk, System};
use crate::world::{Watch, World};

/// Runs a scenario on the system that ships.
///
/// # Errors
/// What is wrong with the scenario.
pub fn run(scenario: &Scenario) -> Result<RunRecord, Vec<Mistake>> {
    run_on(scenario, Sidetalk::new(scenario), &mut Watch::default()).map(|(record, _)| record)
}

/// Runs a scenario on any system, watched. Gives the record, and the story where it was asked for.
///
/// # Errors
/// What is wrong with the scenario.
pub fn run_on<S: System>(
    scenario: &Scenario,
    system: S,
    watch: &mut Watch<'_>,
) -> Result<(RunRecord, Vec<String>), Vec<Mistake>> {
    Ok(World::new(scenario, system, watch.tell)?.run(watch))
}

/// What can run on the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Under {
    /// The core that ships.
    #[default]
    Sidetalk,
    /// Whole-session blobs, laid out as the scenario says, or in this layout.
    Blobs(Option<Layout>),
}

/// The names of what can run, as on the command line.
pub const UNDER_NAMES: [&str; 4] = ["sidetalk", "blobs", "blobs-replica-reads", "blobs-multi-primary"];

impl Under {
    /// What has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sidetalk" => Some(Self::Sidetalk),
            "blobs" => Some(Self::Blobs(None)),
            "blobs-replica-reads" => Some(Self::Blobs(Some(Layout::ReplicaReads))),
            "blobs-multi-primary" => Some(Self::Blobs(Some(Layout::MultiPrimary))),
            _ => None,
        }
    }
}

/// Runs a scenario on one of the systems there are.
///
/// # Errors
/// What is wrong with the scenario.
pub fn run_under(
    scenario: &Scenario,
    under: Under,
    watch: &mut Watch<'_>,
) -> Result<(RunRecord, Vec<String>), Vec<Mistake>> {
    match under {
        Under::Sidetalk => run_on(scenario, Sidetalk::new(scenario), watch),
        Under::Blobs(layout) => {
            let layout = layout.unwrap_or(scenario.blobs.layout);
            run_on(scenario, Blobs::new(scenario).with_layout(layout), watch)
        }
    }
}
