//! Whole clusters of Sidetalk's core in one virtual world: no socket, no real clock, one seed decides everything.
//!
//! The rooms:
//!
//! | room | what it owns |
//! | --- | --- |
//! | [`scenario`] | what is simulated: one TOML file, checked, with every mistake told by line and key |
//! | [`system`] | the door between a world and what runs on its nodes; behind it [`system::shipped`], the core that ships |
//! | [`world`] | virtual time and the order of events, links, partitions, crashes, clocks, who is thought alive |
//! | [`traffic`] | the users: what they ask for, what they believe, what they were told |
//! | [`history`] | what users did and were told: the only knowledge the judges have of what ought to be |
//! | [`judges`] | what must hold, one file for each promise |
//! | [`record`] | everything that was observed in a run, as plain values: for tables, reports and comparisons |
//! | [`report`] | a record as one HTML page with plots, and the figures as JSON |
//! | [`explore`] | scenarios drawn from a seed, shrinking, replay files |
//! | [`cli`] | the command line |
//!
//! Arrows run one way: `cli → explore → run → world → system, traffic, judges → history → scenario`. A run depends on
//! its [`scenario::Scenario`] and nothing else. Nothing but [`cli`] and [`explore`] knows of real time, threads or files.
//!
//! A second system, such as a model of another store, implements [`system::System`]; [`run::run`] takes it in place
//! of [`system::Sidetalk`], and everything else stays as it is.

pub mod cli;
pub mod explore;
pub mod history;
pub mod judges;
pub mod record;
pub mod report;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod system;
pub mod traffic;
pub mod world;
