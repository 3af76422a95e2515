//! The checkers, checked by hand.

mod spec;
mod world;
