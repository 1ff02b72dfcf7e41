//! The door to the workspace member `bundler`: what code exports, and bundles that are made in a child process.
//!
//! No Terraform, nothing of Cloudflare's API.

mod child;

pub use bundler::{
    BuiltinImport, Bundle, ClassExport, Export, Exports, Main, Module, ModuleKind, Options, Place,
    Problem, Shape, Source, SyntaxError, exports,
};
pub use child::{Bundler, CHILD_MODE, Failure, serve};
