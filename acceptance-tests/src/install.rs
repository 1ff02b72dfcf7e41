//! Makes the tools available that tests and the demo need: the Workers runtime, a core (Terraform or OpenTofu), and other
//! clients of Cloudflare's API.
//! What is missing is installed the first time, into a cache folder that all processes share.

mod cache;
mod clients;
mod core;
mod npm;
mod packages;
mod workerd;

use std::io;
use std::path::PathBuf;

pub use self::clients::{Client, alchemy, wrangler};
pub use self::core::{Core, CoreKind, core, opentofu};
pub use self::packages::{Packages, packages};
pub use self::workerd::workerd;

/// Why a tool is not available.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A program that is needed to install the tool is missing.
    #[error("{tool} needs {program}, which is not on PATH: {advice}")]
    Missing {
        /// What was to be installed.
        tool: String,
        /// The program that is not there.
        program: String,
        /// What to install, and where to get it.
        advice: String,
    },
    /// The installation ran and failed; its own output says why.
    #[error("failed to install {tool}: {command} ended with {status}; its output is above")]
    Failed {
        /// What was to be installed.
        tool: String,
        /// The command that failed.
        command: String,
        /// How it ended.
        status: String,
    },
    /// The core chosen with `TF_CORE` cannot be used.
    #[error("TF_CORE is {value:?}: {why}")]
    Choice {
        /// The value of the variable.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A program that does not answer `version` like a core.
    #[error("{} does not answer `version` like Terraform or OpenTofu", .0.display())]
    NotACore(PathBuf),
    /// There is no workerd for this operating system and processor.
    #[error(
        "there is no workerd for {0}; it runs on Linux, macOS and Windows with an x86-64 or arm64 processor"
    )]
    Platform(String),
    /// A file or process operation failed.
    #[error("failed to {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or program.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl InstallError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
