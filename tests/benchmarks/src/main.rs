//! Sidetalk beside what people have: `tests/benchmarks/run`.
//!
//! Builds the release binary, starts it and the others on loopback, lets them take turns within one run, and writes a
//! table, JSON and a page. `-- reads writes` picks parts, `--quick` makes all of it shorter, `--sessions N` sizes what is
//! filled. How each figure is measured, and what it means, is in `docs/performance.md`.

// A benchmark fails by panicking, and its result is what it prints.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod bare;
mod build;
mod callgrind;
mod connection;
mod load;
mod nodes;
mod parts;
mod plan;
mod process;
mod redis;
mod report;
mod result;
mod sessions;
mod stats;

use plan::Plan;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(bare::ARGUMENT) {
        return bare::serve();
    }
    let plan = Plan::from_arguments(std::env::args().skip(1));
    build::release();
    // As many threads as the servers have: on two processors, one for each side.
    let threads = (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build().expect("a runtime");
    runtime.block_on(measure(&plan));
}

async fn measure(plan: &Plan) {
    let mut machine = process::machine();
    machine
        .push(("Redis".into(), redis::Redis::version().unwrap_or_else(|| "not installed: left out".into())));
    for (name, value) in &machine {
        println!("{name}: {value}");
    }
    let mut all = Vec::new();
    for (name, part) in parts::ALL {
        if !plan.has(name) {
            continue;
        }
        println!("\n## {name}\n");
        let started = std::time::Instant::now();
        let found = part(plan).await;
        print!("{}", report::table(&found));
        println!("\n({:.0} s, load average {})", started.elapsed().as_secs_f64(), process::load_average());
        all.extend(found);
    }
    let directory = &plan.output;
    std::fs::create_dir_all(directory).expect("a directory for the results");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("the results can be written");
        println!("wrote {}", path.display());
    };
    println!();
    write("results.md", report::table(&all));
    write("results.json", report::json(&machine, &all));
    write("results.html", report::page(&machine, &all));
    let missed = all.iter().flat_map(|found| &found.ratios).filter(|ratio| ratio.met == Some(false)).count();
    let judged = all.iter().flat_map(|found| &found.ratios).filter(|ratio| ratio.met.is_some()).count();
    println!("{} of {judged} targets met", judged - missed);
}
