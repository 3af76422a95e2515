use super::*;
use crate::core::identity::{Dot, ReplicaId};
use crate::core::path::Path;
use crate::core::record::{Body, Text};
use crate::core::time::Hlc;

const ORIGIN: Origin = Origin { life: Dot { actor: ReplicaId(9), counter: 9 }, created: Hlc(9) };

fn record(path: &[&str], dot: u64, text: &str) -> NewRecord {
    let path = Path::of(path);
    NewRecord::new(
        ORIGIN,
        path.as_bytes(),
        Body::Register(Text::new(text)),
        Dot::new(ReplicaId(1), dot),
        Hlc(7),
    )
}

fn prefix(path: &[&str]) -> Vec<u8> {
    Path::of(path).as_bytes().to_vec()
}

/// What an edit does, and the records that it tells to go, once in one go and once step by step.
fn both(
    stored: &[NewRecord],
    scopes: &[Vec<u8>],
    up_to: u64,
    new: &[NewRecord],
) -> [(Records<'static>, Vec<Vec<u8>>); 2] {
    let mut steps = Records::default();
    steps.insert(ORIGIN, stored.to_vec(), |_| {});
    let (mut told, mut told_steps) = (Vec::new(), Vec::new());
    let mut rewrite = Rewrite::of(&steps, ORIGIN).expect("one run");
    for scope in scopes {
        rewrite.cut(scope.into(), |record| record.dot.counter <= up_to, |old| told.push(old.bytes.to_vec()));
    }
    let at_once = rewrite.write(&mut new.to_vec(), |old| told.push(old.bytes.to_vec()));
    for scope in scopes {
        let removed = |old: &Record<'_>| told_steps.push(old.bytes.to_vec());
        steps.remove_range(ORIGIN, scope, |record| record.dot.counter <= up_to, removed);
    }
    steps.insert(ORIGIN, new.to_vec(), |old| told_steps.push(old.bytes.to_vec()));
    told.sort();
    told_steps.sort();
    [(at_once, told), (steps.detached(), told_steps)]
}

#[test]
fn one_go_does_what_the_steps_do() {
    let mut rng = crate::core::check::rng::Rng::new(1);
    let names = ["a", "ab", "abc", "b", "user", "users", "a long name that is longer than eight", "views"];
    let mut gone = 0;
    for _ in 0..5_000 {
        let mut path = || {
            let depth = 1 + rng.below(2) as usize;
            (0..depth).map(|_| names[rng.below(names.len() as u64) as usize]).collect::<Vec<_>>()
        };
        let paths: Vec<Vec<&str>> = (0..12).map(|_| path()).collect();
        let stored: Vec<NewRecord> =
            paths[..8].iter().enumerate().map(|(n, path)| record(path, 1 + n as u64, "17")).collect();
        let scopes: Vec<Vec<u8>> =
            paths[6..9].iter().map(|path| prefix(&path[..1])).take(rng.below(4) as usize).collect();
        let written: std::collections::BTreeSet<&Vec<&str>> =
            paths[7..].iter().take(rng.below(6) as usize).collect();
        let new: Vec<NewRecord> = written.into_iter().map(|path| record(path, 8, "\"new\"")).collect();
        let [at_once, steps] = both(&stored, &scopes, 1 + rng.below(8), &new);
        gone += at_once.1.len();
        assert_eq!(at_once, steps);
        assert!(at_once.0.examine(ORIGIN, |_| {}));
    }
    assert!(gone > 5_000, "{gone}");
}

#[test]
fn what_outgrows_a_run_is_split() {
    let new: Vec<NewRecord> = (0..400).map(|n| record(&[&format!("field {n:04}")], 1, "12345")).collect();
    let [at_once, steps] = both(&[], &[], 0, &new);
    assert!(matches!(at_once.0.runs, Runs::Many(_)));
    assert_eq!(at_once, steps);
    assert!(Rewrite::of(&at_once.0, ORIGIN).is_none());
}
