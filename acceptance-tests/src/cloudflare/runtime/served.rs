//! What the runtime is asked to serve and what a probe finds out, as plain values. Nothing here knows how workerd is driven.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use serde::{Deserialize, Serialize};

/// One module of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleFile {
    /// The name other modules import it by.
    pub name: String,
    /// The content type of its upload part; decides what kind of module it is.
    pub content_type: String,
    /// Its bytes as uploaded.
    #[serde(with = "base64_text")]
    pub body: Bytes,
}

/// A Worker with everything it needs to answer requests.
#[derive(Clone, Debug, Default)]
pub struct ServedWorker {
    /// The script name.
    pub name: String,
    /// The name of the module whose exports are the Worker.
    pub main: String,
    /// All modules, the main one included; none for a Worker of static assets alone.
    pub modules: Arc<[ModuleFile]>,
    /// The compatibility date, `YYYY-MM-DD`.
    pub compatibility_date: String,
    /// Compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// The Durable Object namespaces implemented by classes of this Worker.
    pub namespaces: Vec<ServedNamespace>,
    /// What the Worker finds in `env`.
    pub bindings: Vec<ServedBinding>,
    /// The files it answers with.
    pub assets: Option<ServedAssets>,
    /// Whether its default export has a `scheduled` handler.
    pub handles_cron: bool,
}

/// Files that are served beside a Worker's code, or instead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedAssets {
    /// Where the files are.
    pub folder: PathBuf,
    /// How they are served: JSON in the words of workerd's `assets` service.
    pub config: String,
}

/// A Durable Object namespace: the class that implements it now and the key its data is stored under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedNamespace {
    /// The exported class.
    pub class: String,
    /// The namespace id. Object ids and the storage folder derive from it alone, so it survives renames and transfers.
    pub unique_key: String,
    /// Whether the SQL API is available to the objects.
    pub sqlite: bool,
}

/// One entry of `env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServedBinding {
    /// A string: a variable or a secret.
    Text {
        /// The name in `env`.
        name: String,
        /// The string.
        value: String,
    },
    /// A value given as JSON text; the Worker sees it parsed.
    Json {
        /// The name in `env`.
        name: String,
        /// The JSON text.
        value: String,
    },
    /// A Durable Object namespace of this or another Worker.
    DurableObject {
        /// The name in `env`.
        name: String,
        /// The namespace's `unique_key`; a class name would not survive a rename.
        namespace_id: String,
    },
    /// The Worker's own static assets.
    Assets {
        /// The name in `env`.
        name: String,
    },
    /// Another Worker.
    Service {
        /// The name in `env`.
        name: String,
        /// The other Worker's script name.
        worker: String,
        /// A named entrypoint of it; the default export if absent.
        entrypoint: Option<String>,
    },
}

/// What an upload exports, as seen by running it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The named exports of the main module, in alphabetical order.
    pub exports: Vec<Export>,
    /// The handlers of the default export, such as `fetch`.
    pub default_handlers: Vec<String>,
}

/// One named export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The exported name.
    pub name: String,
    /// What it is.
    pub kind: ExportKind,
}

/// What a named export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// A class that extends `DurableObject`.
    DurableObject,
    /// A class that extends `WorkerEntrypoint`.
    WorkerEntrypoint,
    /// A class that extends `WorkflowEntrypoint`.
    Workflow,
    /// A class that extends nothing of the platform; usable as a Durable Object.
    LegacyClass,
    /// An object with event handlers, such as `fetch`.
    Handlers(Vec<String>),
    /// Anything else.
    Other,
}

/// Why an upload cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ProbeFailure {
    /// What the runtime says about it, as a client of the API would see it.
    pub text: String,
    /// Which rule it breaks.
    pub kind: ProbeFailureKind,
}

/// The ways in which an upload cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFailureKind {
    /// The code does not load: a syntax error, a missing module, an exception, a refused flag.
    Startup,
    /// The code loads, but nothing in it handles an event.
    NoHandlers,
    /// The code did not finish loading in time.
    TimedOut,
    /// The runtime itself could not be run; nothing is known about the upload.
    Runtime,
}

/// Bytes in JSON, a third longer than they are.
mod base64_text {
    use axum::body::Bytes;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        Ok(bytes.into())
    }
}
