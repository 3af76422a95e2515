//! What is to happen, in the order of time; at one moment, in the order in which it was decided.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Virtual time since the beginning, in microseconds.
pub type Micros = u64;

/// The events to come. They lie still while their times are put in order: many are large.
pub(super) struct Queue<E> {
    /// When, the how manieth that was decided, and where it lies.
    order: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    number: u64,
    events: Vec<Option<E>>,
    /// Places where nothing lies.
    free: Vec<usize>,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), number: 0, events: Vec::new(), free: Vec::new() }
    }

    pub(super) fn at(&mut self, at: Micros, event: E) {
        self.number += 1;
        let place = self.free.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(Some(event));
        } else {
            self.events[place] = Some(event);
        }
        self.order.push(Reverse((at, self.number, place)));
    }

    pub(super) fn pop(&mut self) -> Option<(Micros, E)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        self.events[place].take().map(|event| (at, event))
    }
}
