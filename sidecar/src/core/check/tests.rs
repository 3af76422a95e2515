//! The checkers, checked by hand.

mod mutants;
mod spec;
mod world;
