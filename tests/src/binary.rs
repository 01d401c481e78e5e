//! The program under test, built from the present sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, bail};

use crate::services::project;

/// The binary `fetchline`, rebuilt if it is older than its sources. Cargo builds the binaries of a
/// package only for the tests of that package, and these tests are in another one. The workspace
/// and a test are selected so that dependencies get the features that `cargo test --workspace` has
/// built them with: a different selection would build most of them twice.
pub fn fetchline() -> anyhow::Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace", "--bin", "fetchline", "--test", "docs"])
        .current_dir(project());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // Variables that Cargo sets for this test. The build script of `ring` runs again whenever
    // these change, and most dependencies are built again after it.
    for (name, _) in std::env::vars_os() {
        let is_of_package = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
        };
        if name.to_str().is_some_and(is_of_package) {
            cargo.env_remove(name);
        }
    }
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("the binary `fetchline` cannot be built");
    }
    // The current executable is target/<profile>/deps/<name> or target/<profile>/<name>.
    let executable = std::env::current_exe()?;
    let folder = executable.ancestors().find(|folder| folder.join("deps").is_dir());
    Ok(folder.context("no target folder")?.join("fetchline"))
}
