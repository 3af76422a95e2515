//! Rounds in which all sides take turns.

use std::time::Duration;

use crate::load::{Round, Target};
use crate::plan::Plan;

/// Lets every side warm up, then run in each round, a different one first each time: whoever goes first may find the
/// machine in another mood.
pub(super) async fn in_turn<'a>(plan: &Plan, sides: Vec<(&'a str, Target)>) -> Vec<(&'a str, Vec<Round>)> {
    let (names, mut targets): (Vec<&str>, Vec<Target>) = sides.into_iter().unzip();
    for target in &mut targets {
        target.round(Duration::from_millis(200)).await;
    }
    let mut rounds: Vec<Vec<Round>> = names.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for turn in 0..targets.len() {
            let side = (turn + round) % targets.len();
            rounds[side].push(targets[side].round(plan.round).await);
        }
    }
    names.into_iter().zip(rounds).collect()
}
