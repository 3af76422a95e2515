//! The binary as it is released.

use std::process::Command;

/// Builds it, so that no stale one is measured.
pub(crate) fn release() {
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
