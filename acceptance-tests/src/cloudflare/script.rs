//! One Worker as the account stores it. Pure: no HTTP, no runtime process.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::assets::Assets;
use super::bindings::Binding;
use super::runtime::ModuleFile;
use super::schedules::Schedule;

/// A deployed Worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The immutable id, kept through renames (`tag` in the API).
    pub tag: String,
    /// Changes with every upload.
    pub deployment_id: String,
    /// When the Worker was first uploaded.
    pub created_on: String,
    /// When the Worker was last changed.
    pub modified_on: String,
    /// What runs.
    pub code: Code,
    /// Everything of the upload's metadata but bindings and migrations.
    pub settings: Settings,
    /// The current bindings, secrets included.
    pub bindings: Vec<Binding>,
    /// The tag of the last migration, the optimistic lock of the next one.
    pub migration_tag: Option<String>,
    /// Whether the Worker answers on workers.dev.
    pub subdomain: ScriptSubdomain,
    /// When it is run by the clock.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
}

/// Reachability on workers.dev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptSubdomain {
    /// The Worker's own address.
    pub enabled: bool,
    /// Addresses of single versions.
    pub previews_enabled: bool,
}

/// Modules and what they export. A Worker of static assets alone has no modules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    /// The module that is started.
    pub main: String,
    /// All modules.
    pub modules: Arc<[ModuleFile]>,
    /// What running the main module has shown.
    pub exports: Exports,
    /// Hash of the content.
    pub etag: String,
    /// Static assets.
    #[serde(default)]
    pub assets: Option<Assets>,
}

impl Script {
    /// Whether there is something that a cron trigger can run.
    pub fn handles_cron(&self) -> bool {
        let handlers = &self.code.exports.handlers;
        handlers.iter().any(|handler| handler == "scheduled")
    }
}

/// What a main module exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exports {
    /// Classes that can implement Durable Objects.
    pub classes: BTreeSet<String>,
    /// Named exports that answer calls, with their handlers.
    pub entrypoints: Vec<(String, Vec<String>)>,
    /// Handlers of the default export.
    pub handlers: Vec<String>,
}

impl Code {
    /// What a Worker of static assets alone has.
    pub fn without_modules() -> Self {
        Self::new(String::new(), Vec::new(), Exports::default())
    }

    /// Code with the etag of its content.
    pub fn new(main: String, modules: Vec<ModuleFile>, exports: Exports) -> Self {
        let mut hash = Sha256::new();
        let mut sorted: Vec<&ModuleFile> = modules.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        for part in [main.as_bytes()].into_iter().chain(
            sorted
                .iter()
                .flat_map(|m| [m.name.as_bytes(), m.content_type.as_bytes(), &m.body]),
        ) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let etag = hex::encode(hash.finalize());
        Self {
            main,
            modules: modules.into(),
            exports,
            etag,
            assets: None,
        }
    }
}

/// Settings that an upload replaces. Absent in an upload means reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The date whose behaviour the runtime keeps.
    pub compatibility_date: Option<String>,
    /// Switches beside the date.
    pub compatibility_flags: Vec<String>,
    /// Script tags.
    pub tags: Vec<String>,
    /// Whether logs are pushed.
    pub logpush: bool,
    /// Settings that local Cloudflare stores but does not act on, by their API names.
    pub others: Map<String, Value>,
}

/// The settings kept as they were sent.
pub const STORED_SETTINGS: [&str; 7] = [
    "observability",
    "placement",
    "limits",
    "tail_consumers",
    "usage_model",
    "cache_options",
    "annotations",
];

/// The settings that `script-settings` shows and changes.
pub const SCRIPT_SETTINGS: [&str; 4] = ["logpush", "observability", "tags", "tail_consumers"];

impl Settings {
    /// One setting as the API shows it.
    pub fn get(&self, name: &str) -> Value {
        match name {
            "compatibility_date" => self.compatibility_date.clone().into(),
            "compatibility_flags" => self.compatibility_flags.clone().into(),
            "tags" => self.tags.clone().into(),
            "logpush" => self.logpush.into(),
            "usage_model" => self
                .others
                .get(name)
                .cloned()
                .unwrap_or_else(|| "standard".into()),
            other => self.others.get(other).cloned().unwrap_or(Value::Null),
        }
    }
}
