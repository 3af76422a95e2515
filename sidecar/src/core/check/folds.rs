//! What became of folds: that they were reset, and that they were reset by somebody who had not seen them.

use super::spec::Known;
use crate::core::identity::{Clock, Dot};
use crate::core::op::{Action, Edit, Op};

/// What to count this operation as, whose author had this history.
pub(super) fn resets<'a>(
    op: &Op,
    history: &Clock,
    known: impl Iterator<Item = &'a Known>,
) -> Vec<&'static str> {
    let covers = match &op.action {
        Action::Create { edit: Edit { removal, .. }, .. }
        | Action::Edit { edit: Edit { removal, .. }, .. }
        | Action::Destroy { removal, .. } => removal.covers.as_slice(),
        _ => &[],
    };
    let covers = |name: Dot| covers.iter().any(|cover| cover.accumulator == name);
    let (mut seen, mut unseen) = (false, false);
    for Known { op, .. } in known {
        if let Action::Fold(fold) = &op.action
            && covers(fold.into)
        {
            let knows = history.get(&op.dot.actor) >= op.dot.counter;
            seen |= knows;
            unseen |= !knows;
        }
    }
    [seen.then_some("resets of what is folded"), unseen.then_some("resets beside a fold")]
        .into_iter()
        .flatten()
        .collect()
}
