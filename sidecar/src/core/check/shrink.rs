//! Makes a failing history short: delta debugging (Zeller and Hildebrandt, 2002), on a list of steps that each
//! carry their own randomness, so that leaving one out changes no other.

/// A history that fails, and how.
#[derive(Clone, Debug)]
pub struct Shrunk<A> {
    /// The steps that are left.
    pub steps: Vec<A>,
    /// What the last run that failed said.
    pub failure: String,
}

/// Leaves out what is not needed to fail, in at most `runs_max` runs.
///
/// `fails` runs a history and gives what went wrong with it; `None` when nothing did. Gives `None` when the whole
/// history does not fail.
pub fn shrink<A: Clone>(
    steps: &[A],
    runs_max: usize,
    mut fails: impl FnMut(&[A]) -> Option<String>,
) -> Option<Shrunk<A>> {
    let mut best = Shrunk { failure: fails(steps)?, steps: steps.to_vec() };
    let mut parts = 2;
    let mut runs = 1;
    while best.steps.len() > 1 && runs < runs_max {
        let size = (best.steps.len() / parts).max(1);
        let shorter = (0..best.steps.len()).step_by(size).find_map(|start| {
            let mut rest = best.steps.clone();
            rest.drain(start..(start + size).min(rest.len()));
            runs += 1;
            if runs > runs_max {
                return None;
            }
            fails(&rest).map(|failure| Shrunk { steps: rest, failure })
        });
        match shorter {
            Some(shorter) => {
                best = shorter;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(best.steps.len()),
        }
    }
    Some(best)
}
