//! One run, from a scenario to a record.

use crate::record::RunRecord;
use crate::scenario::{Mistake, Scenario};
use crate::system::{Sidetalk, System};
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
