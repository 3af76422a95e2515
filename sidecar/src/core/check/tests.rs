//! The checkers, checked by hand.

mod histories;
mod mutants;
mod oracles;
mod spec;
mod world;
