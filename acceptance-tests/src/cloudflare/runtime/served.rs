//! What the runtime is asked to serve and what a probe finds out, as plain values. Nothing here knows how workerd is driven.

use std::collections::BTreeSet;
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

/// The two ways to write a Worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// ES modules: `main_module`.
    #[default]
    Modules,
    /// A classic script that adds event listeners: `body_part`. It exports nothing.
    ServiceWorker,
}

/// A Worker with everything it needs to answer requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedWorker {
    /// The script name.
    pub name: String,
    /// The name of the module whose exports are the Worker.
    pub main: String,
    /// How it is written; of a classic script only the main part is code.
    pub syntax: Syntax,
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
    /// Whether only other Workers can call it.
    pub inner: bool,
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
    /// Bytes.
    Data {
        /// The name in `env`.
        name: String,
        /// The bytes.
        value: Bytes,
    },
    /// A compiled WebAssembly module.
    Wasm {
        /// The name in `env`.
        name: String,
        /// The binary form.
        value: Bytes,
    },
    /// A `CryptoKey` that never leaves the Worker.
    Key {
        /// The name in `env`.
        name: String,
        /// The key itself.
        material: KeyMaterial,
        /// What the key is for, as JSON text.
        algorithm: String,
        /// What may be done with it, such as `sign`.
        usages: Vec<String>,
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
    /// Workers without an address, by name.
    Dispatcher {
        /// The name in `env`.
        name: String,
        /// Their names, each with the script name in the set of Workers.
        workers: Vec<(String, String)>,
    },
    /// A KV namespace, a database, a bucket or a queue.
    Store {
        /// The name in `env`.
        name: String,
        /// Which one.
        store: Store,
    },
}

/// A key in one of the forms it can be imported from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The bytes, in base 64.
    Raw(String),
    /// A private key, in base 64.
    Pkcs8(String),
    /// A public key, in base 64.
    Spki(String),
    /// A JSON Web Key, as JSON text.
    Jwk(String),
}

/// A place for data that is not a Durable Object: its kind and the key its data is stored under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Store {
    /// What it is.
    pub kind: StoreKind,
    /// Its id, or its name where that is what never changes.
    pub key: String,
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A KV namespace, by id.
    Kv,
    /// A D1 database, by id.
    D1,
    /// An R2 bucket, by name.
    R2,
    /// A queue, by name.
    Queue,
}

/// The stores of a set of Workers.
#[derive(Clone, Debug, Default)]
pub struct ServedStores {
    /// All there are. If there is none, nothing is started for them.
    pub kept: BTreeSet<Store>,
    /// Those whose data is removed before anything is served, also if they are there again.
    pub dropped: Vec<Store>,
    /// Who is handed the messages of queues.
    pub consumers: Vec<ServedConsumer>,
}

/// A Worker whose `queue` handler gets the messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedConsumer {
    /// The queue's name.
    pub queue: String,
    /// The Worker's script name.
    pub worker: String,
    /// The queue that messages go to when all attempts have failed.
    pub dead_letter_queue: Option<String>,
    /// How they are handed over.
    pub delivery: Delivery,
}

/// How messages of a queue are handed to its consumer; the names and defaults are those of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// The most messages at a time.
    pub batch_size: u32,
    /// The most batches at a time, unlimited if absent.
    pub max_concurrency: Option<u32>,
    /// How often a message is tried again.
    pub max_retries: u32,
    /// How long a batch waits to become full.
    pub max_wait_time_ms: u32,
    /// Seconds before a message is tried again.
    pub retry_delay: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_size: 10,
            max_concurrency: None,
            max_retries: 3,
            max_wait_time_ms: 5000,
            retry_delay: 0,
        }
    }
}

/// What an upload exports, as seen by running it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The named exports of the main module, in alphabetical order.
    pub exports: Vec<Export>,
    /// The handlers of the default export, such as `fetch`.
    pub default_handlers: Vec<String>,
    /// Whether a class handles alarms, which ring without a request.
    pub alarms: bool,
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
