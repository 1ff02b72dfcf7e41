//! The door to the workspace member `bundler`: what code exports, and bundles that are made in a child process.
//!
//! `parent` asks for bundles, `child` makes them. No Terraform, nothing of Cloudflare's API.

mod child;
pub mod node;
mod parent;

pub use bundler::{
    BuiltinImport, Bundle, ClassExport, Export, Exports, Main, Module, ModuleKind, Options, Place,
    Problem, Shape, Source, SyntaxError, exports,
};
pub use child::{CHILD_MODE, serve};
pub use parent::{Bundler, Failure};
