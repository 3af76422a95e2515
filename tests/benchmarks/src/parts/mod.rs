//! One file for each thing that is compared.

mod batch;
mod durability;
mod encryption;
mod express;
mod filling;
mod instructions;
mod memory;
mod mixed;
mod reads;
mod rounds;
mod traffic;
mod visible;
mod writes;

use std::pin::Pin;

use crate::plan::Plan;
use crate::result::Comparison;

/// One part: measures, and gives what it found.
pub(crate) type Part = fn(&Plan) -> Pin<Box<dyn Future<Output = Vec<Comparison>> + '_>>;

/// All of them, in the order in which they run.
pub(crate) const ALL: [(&str, Part); 12] = [
    ("reads", |plan| Box::pin(reads::measure(plan))),
    ("writes", |plan| Box::pin(writes::measure(plan))),
    ("batch", |plan| Box::pin(batch::measure(plan))),
    ("mixed", |plan| Box::pin(mixed::measure(plan))),
    ("visible", |plan| Box::pin(visible::measure(plan))),
    ("traffic", |plan| Box::pin(traffic::measure(plan))),
    ("express", |plan| Box::pin(express::measure(plan))),
    ("encryption", |plan| Box::pin(encryption::measure(plan))),
    ("memory", |plan| Box::pin(memory::measure(plan))),
    ("filling", |plan| Box::pin(filling::measure(plan))),
    ("durability", |plan| Box::pin(durability::measure(plan))),
    ("instructions", |plan| Box::pin(instructions::measure(plan))),
];
