//! The door to the workspace member `bundler`: what code exports, and bundles that are made in a child process.
//!
//! `parent` asks for bundles, `process` runs one child and tells how it ended, `child` is what runs in there. No Terraform, nothing of
//! Cloudflare's API.

#[cfg(feature = "bundler")]
mod child;
mod kept;
pub mod node;
mod parent;
mod process;

pub use bundler::{
    BuiltinImport, Bundle, ClassExport, Export, Exports, Main, Module, ModuleKind, Options, Place,
    Problem, Shape, Source, SyntaxError, exports,
};
#[cfg(feature = "bundler")]
pub use child::serve;
pub use parent::{Bundler, Failure};

/// The argument that makes the program a child that bundles. A flag, so that programs that know none of the kind refuse it.
pub const CHILD_MODE: &str = "--bundle";

/// Says that there is nothing to run.
#[cfg(not(feature = "bundler"))]
pub fn serve() -> std::process::ExitCode {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "This build of the provider has no bundler."
    );
    std::process::ExitCode::FAILURE
}
