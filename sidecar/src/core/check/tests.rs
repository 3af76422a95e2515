//! The checkers, checked by hand.

mod histories;
mod mutants;
mod spec;
mod world;
