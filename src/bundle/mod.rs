//! What can be told of a Worker's code by reading it. Pure: no I/O, no Terraform, nothing of Cloudflare's API.
//!
//! The only layer that knows the parser.

mod depth;
pub mod exports;
mod surface;

pub use exports::{ClassExport, Export, Exports, Main, Shape, Source, SyntaxError, exports};
