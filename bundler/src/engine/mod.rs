//! The bundler: Rolldown, told what a Worker needs.

mod decorators;

use crate::bundle::{Bundle, Problem, Request};

/// Bundles, on threads of its own.
///
/// # Errors
/// Everything that is wrong with the sources, at least one problem.
pub fn bundle(_request: &Request) -> Result<Bundle, Vec<Problem>> {
    Err(Vec::new())
}
