//! The code of a Worker: what it exports, and one bundle from many sources.
//!
//! The only crate that knows the parser and the bundler; no type of theirs is in its interface. It knows neither Terraform nor
//! Cloudflare's API.

mod bundle;
mod depth;
#[cfg(feature = "engine")]
mod engine;
pub mod exports;
mod surface;
pub mod wire;

pub use bundle::{BuiltinImport, Bundle, Module, ModuleKind, Options, Place, Problem, Request};
#[cfg(feature = "engine")]
pub use engine::bundle;
pub use exports::{ClassExport, Export, Exports, Main, Shape, Source, SyntaxError, exports};
