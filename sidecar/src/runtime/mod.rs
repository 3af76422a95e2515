//! The running node: it reads the clocks, drives the core, and ties the rooms together.
//!
//! [`Bound`] has every port bound and nothing started; [`Bound::run`] runs until it is told to stop, and leaves in
//! order.

mod alarms;
mod chaos;
mod clocks;
mod drain;
mod driver;
mod handler;
mod port;
mod reload;
mod rescue;
mod serve;
mod service;
mod socket_file;
#[cfg(test)]
mod tests;

pub use clocks::Clocks;
pub use drain::Drained;
pub use driver::{Driver, Outlet};
pub use serve::{Bound, ServeError};
