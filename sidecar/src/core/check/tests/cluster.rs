use crate::core::check::cluster::check_seed;
use crate::core::check::world::Tally;
use crate::core::mutant::Mutants;

#[test]
fn whole_nodes_on_a_hostile_network() {
    let mut total = Tally::new();
    for seed in 0..10 {
        match check_seed(seed, 120, Mutants::NONE) {
            Ok(tally) => tally.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{total:?}");
}
