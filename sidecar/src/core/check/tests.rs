//! The checkers, checked by hand.

mod cluster;
mod histories;
mod mutants;
mod oracles;
mod spec;
mod world;
