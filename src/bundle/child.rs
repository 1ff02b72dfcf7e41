//! Bundles are made in a child process of the provider's own program, so that no source can take down an apply that runs.

use std::path::Path;
use std::process::ExitCode;

use super::{Bundle, Options, Problem};

/// The argument that makes the program a child that bundles.
pub const CHILD_MODE: &str = "bundle";

/// Why there is no bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The sources are wrong; at least one problem.
    Sources(Vec<Problem>),
    /// The bundler did not finish: it crashed, took too long or needed too much memory. A sentence that says which.
    Stopped(String),
    /// This build of the provider has no bundler.
    NoBundler,
}

/// Makes bundles: at most as many at a time as there are cores, and each once a process.
#[derive(Debug, Default)]
pub struct Bundler {}

impl Bundler {
    /// Bundles an entry file. Ends the child when the future is dropped.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn bundle(&self, _entry: &Path, _options: &Options) -> Result<Bundle, Failure> {
        Err(Failure::NoBundler)
    }
}

/// Runs the child: reads a request from stdin, answers on stdout.
pub fn serve() -> ExitCode {
    ExitCode::FAILURE
}
