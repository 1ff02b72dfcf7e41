//! Terraform's ideas in plain Rust: values, schemas, diagnostics, and what a resource is.
//!
//! Knows neither the wire nor Cloudflare. The words are Terraform's own: prior, config, proposed, planned.

mod diagnostics;
mod resource;
mod schema;
mod value;

pub use diagnostics::{AttributePath, Diagnostic, Diagnostics, Severity, Step};
pub use resource::{
    ApplyRequest, ApplyResponse, Checkpoint, Imported, PlanRequest, PlanResponse, Provider,
    Reached, ReadRequest, ReadResponse, Resource,
};
pub use schema::{Attribute, Kind, Mode, Nesting, Schema};
pub use value::{Attr, Number, Type, Value};
