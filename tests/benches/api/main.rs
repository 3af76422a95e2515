//! The figures of running nodes: `cargo bench -p sidetalk-tests --bench api`.
//!
//! Builds and starts the release binary, drives it with keep-alive connections over loopback, and prints tables.
//! `-- get patch visible memory` picks parts, `--rounds N`, `--millis N`, `--writes N` and `--sessions N` size them.
//! How each figure is measured, and what it means, is in `docs/performance.md`.

// A benchmark fails by panicking, and its result is what it prints.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod bare;
mod connection;
mod http;
mod load;
mod memory;
mod nodes;
mod process;
mod table;
mod visible;

use std::process::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A session as express-session writes one, 282 bytes.
pub(crate) const SESSION: &str = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2026-11-24T06:05:42.000Z","secure":true,"httpOnly":true,"path":"/","sameSite":"lax"},"user":{"id":184467,"name":"Ada King","email":"ada@example.org","roles":["admin","editor"]},"cart":[{"sku":"A-1","n":2}],"views":7,"csrf":"9f8e7d6c"}"#;

/// What is measured, and how much of it.
#[derive(Debug)]
pub(crate) struct Plan {
    parts: Vec<String>,
    /// Rounds of each comparison.
    pub(crate) rounds: usize,
    /// How long one side of a round takes.
    pub(crate) millis: u64,
    /// Writes whose arrival elsewhere is timed, in each setting.
    pub(crate) writes: u64,
    /// Sessions whose memory is measured.
    pub(crate) sessions: usize,
}

impl Plan {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self { parts: Vec::new(), rounds: 9, millis: 700, writes: 3_000, sessions: 400_000 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|text| text.parse().ok());
                value.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                "--rounds" => plan.rounds = number(),
                "--millis" => plan.millis = number() as u64,
                "--writes" => plan.writes = number() as u64,
                "--sessions" => plan.sessions = number(),
                "get" | "patch" | "visible" | "memory" => plan.parts.push(argument),
                // What `cargo bench` itself adds.
                "--bench" => {}
                other => panic!("{other}: there are get, patch, visible, memory, and four sizes"),
            }
        }
        plan
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(bare::ARGUMENT) {
        return bare::serve();
    }
    let plan = Plan::from_arguments(std::env::args().skip(1));
    assert_eq!(SESSION.len(), 282);
    build();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(&plan));
}

/// Builds the binary as it is released, so that no stale one is measured.
fn build() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "-p", "sidetalk", "--locked"]);
    // What cargo tells this program about its own package would look like a change to build scripts.
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|of| name.starts_with(of))
        });
        if ours {
            command.env_remove(name);
        }
    }
    assert!(command.status().expect("cargo can be started").success(), "the binary does not build");
}

async fn measure(plan: &Plan) {
    println!("load average {}", process::load_average());
    if plan.has("get") {
        http::compare(plan, http::What::Get).await;
    }
    if plan.has("patch") {
        http::compare(plan, http::What::Patch).await;
    }
    if plan.has("visible") {
        visible::measure(plan).await;
    }
    if plan.has("memory") {
        memory::measure(plan).await;
    }
    println!("\nload average {}", process::load_average());
}
