//! Takes one hot path so many times and ends: `tests/benchmarks/guard` counts the instructions of the steps.

#[expect(dead_code, reason = "other guards look at more")]
mod hot;

fn main() {
    // `cargo test` and `cargo bench` run it too, with arguments of their own: then it has nothing to do.
    let mut arguments = std::env::args().skip(1);
    if let (Some(name), Some(Ok(steps))) = (arguments.next(), arguments.next().map(|steps| steps.parse())) {
        let mut step = hot::path(&name, steps);
        counted_steps(&mut step, steps);
    }
}

/// Named in the guard: nothing outside it counts.
#[inline(never)]
fn counted_steps(step: &mut hot::Step, steps: usize) {
    (0..steps).for_each(step);
}
