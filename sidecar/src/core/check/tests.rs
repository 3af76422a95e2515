//! The checkers, checked by hand.

mod cluster;
mod histories;
mod mutants;
mod oracles;
mod rubbish;
mod spec;
mod world;
