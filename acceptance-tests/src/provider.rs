//! The provider's binary, built from this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const NAME: &str = "terraform-provider-cloudflare";

/// The provider's binary, of the same profile as the running program. Built once per process.
///
/// # Panics
/// If it does not build; cargo has said why.
pub fn provider_binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace, so that its features are the ones that tests are built with and nothing builds twice.
    command.args(["build", "--quiet", "--workspace", "--bin", NAME]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the provider does not build");
    profile_directory().join(format!("{NAME}{}", std::env::consts::EXE_SUFFIX))
}

/// Where cargo puts binaries: the directory of the running program, or the one above if that is a test.
fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let directory = program.parent().expect("a program is in a directory");
    if directory.ends_with("deps") {
        directory.parent().map(Path::to_path_buf)
    } else {
        Some(directory.to_path_buf())
    }
    .expect("test programs are in a directory within the profile's")
}
