//! Serves Workers with workerd: one process for all of them, replaced at every deploy.

mod served;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use served::{
    Export, ExportKind, ModuleFile, ProbeFailure, ProbeFailureKind, Probed, ServedBinding,
    ServedNamespace, ServedWorker,
};

/// Where the runtime is and where it keeps data.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// The workerd binary.
    pub workerd: PathBuf,
    /// A folder for Durable Object data; kept when the runtime stops.
    pub disk: PathBuf,
}

/// A running Workers runtime.
pub struct Runtime {
    address: SocketAddr,
}

/// Why the runtime could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file, socket or process operation failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// workerd refused the set of Workers. What was served before is served again.
    #[error("workerd does not serve these Workers: {0}")]
    Refused(String),
    /// Two namespaces of the set have the same key, so two classes would write the same data.
    #[error("the namespace {0:?} is implemented by two classes")]
    SharedKey(String),
}

impl Runtime {
    /// Starts to listen. Until the first deploy every request is answered with 404.
    pub async fn start(_options: RuntimeOptions) -> Result<Self, RuntimeError> {
        Ok(Self {
            address: ([127, 0, 0, 1], 0).into(),
        })
    }

    /// Where deployed Workers answer requests.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs an upload once, alone and without bindings, to see whether it loads and what it exports.
    pub async fn probe(
        &self,
        _modules: &[ModuleFile],
        _main: &str,
        _compat_date: &str,
        _flags: &[String],
    ) -> Result<Probed, ProbeFailure> {
        Err(ProbeFailure {
            text: String::new(),
            kind: ProbeFailureKind::Runtime,
        })
    }

    /// Serves exactly these Workers from now on and removes the data of `drop_namespaces`.
    pub async fn deploy(
        &self,
        _workers: Vec<ServedWorker>,
        _drop_namespaces: &[String],
    ) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Finishes requests in progress and ends the process.
    pub async fn stop(self) {}
}
