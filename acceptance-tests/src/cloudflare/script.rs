//! One Worker as the account stores it: what is served now. Its history stands in `versions`. Pure: no HTTP, no
//! runtime process.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::assets::Assets;
use super::bindings::Binding;
use super::exports::Lifecycle;
use super::runtime::ModuleFile;
pub use super::runtime::Syntax;
use super::schedules::Schedule;
use super::versions::{Deployment, Version};

/// A deployed Worker. `code`, `bindings` and most of `settings` are those of the version that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The immutable id, kept through renames (`tag` in the API).
    pub tag: String,
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
    /// What declared classes have left behind.
    #[serde(default)]
    pub exports: Lifecycle,
    /// How many uploads have changed which classes it implements; no version is deployed across such a change.
    pub migrations: u64,
    /// Whether the Worker answers on workers.dev.
    pub subdomain: ScriptSubdomain,
    /// When it is run by the clock.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// Open tail sessions.
    pub tails: Vec<Tail>,
    /// What was ever uploaded, oldest first, as far as it is kept.
    pub versions: Vec<Arc<Version>>,
    /// What was ever deployed, newest first, as far as it is kept.
    pub deployments: Vec<Arc<Deployment>>,
}

/// A session in which somebody reads a Worker's logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tail {
    /// 32 hex digits.
    pub id: String,
    /// When it ends by itself.
    pub expires_at: String,
}

/// Reachability on workers.dev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptSubdomain {
    /// The Worker's own address.
    pub enabled: bool,
    /// Addresses of single versions.
    pub previews_enabled: bool,
}

/// Modules and what they export. Without modules and assets there is nothing that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    /// The part that is started.
    pub main: String,
    /// How it is started.
    pub syntax: Syntax,
    /// All parts. A state file does not repeat them; they are kept by their hash.
    #[serde(skip)]
    pub modules: Arc<[ModuleFile]>,
    /// Hash of the parts.
    pub hash: String,
    /// What running the main module has shown.
    pub exports: Exports,
    /// Hash of the content as the API shows it.
    pub etag: String,
    /// How long it took to start.
    pub startup_ms: u64,
    /// Static assets.
    #[serde(default)]
    pub assets: Option<Assets>,
}

/// The part of an upload that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The part's name.
    pub part: String,
    /// How it is started.
    pub syntax: Syntax,
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
    /// Whether a class handles alarms.
    #[serde(default)]
    pub alarms: bool,
}

impl Exports {
    /// Whether a service binding can name an export.
    pub fn has_entrypoint(&self, wanted: &str) -> bool {
        self.entrypoints.iter().any(|(name, _)| name == wanted)
    }
}

impl Script {
    /// Whether there is something that a cron trigger can run.
    pub fn handles_cron(&self) -> bool {
        let handlers = &self.code.exports.handlers;
        handlers.iter().any(|handler| handler == "scheduled")
    }

    /// A Worker that has no version yet.
    pub fn without_code(tag: String, now: &str) -> Self {
        Self {
            tag,
            created_on: now.into(),
            modified_on: now.into(),
            code: Code::without_modules(),
            settings: Settings::default(),
            bindings: Vec::new(),
            migration_tag: None,
            exports: Lifecycle::default(),
            migrations: 0,
            subdomain: ScriptSubdomain::default(),
            versions: Vec::new(),
            deployments: Vec::new(),
            tails: Vec::new(),
            schedules: Vec::new(),
        }
    }
}

impl Code {
    /// What a Worker has before its first upload, or beside static assets.
    pub fn without_modules() -> Self {
        let entry = Entry {
            part: String::new(),
            syntax: Syntax::Modules,
        };
        Self::new(entry, Vec::new(), Exports::default(), 0)
    }

    /// Code with the etag of its content.
    pub fn new(entry: Entry, modules: Vec<ModuleFile>, exports: Exports, startup_ms: u64) -> Self {
        let Entry { part: main, syntax } = entry;
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
            syntax,
            modules: modules.into(),
            exports,
            hash: etag.clone(),
            etag,
            startup_ms,
            assets: None,
        }
    }

    /// Whether there is nothing that could answer.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.assets.is_none()
    }

    /// The named exports as the API lists them.
    pub fn named_handlers(&self) -> Value {
        let classes = self
            .exports
            .classes
            .iter()
            .map(|class| json!({"name": class, "handlers": ["class"]}));
        let entrypoints = self
            .exports
            .entrypoints
            .iter()
            .map(|(name, handlers)| json!({"name": name, "handlers": handlers}));
        classes.chain(entrypoints).collect()
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
pub const STORED_SETTINGS: [&str; 6] = [
    "observability",
    "placement",
    "limits",
    "tail_consumers",
    "usage_model",
    "cache_options",
];

/// The settings that `script-settings` shows and changes: they belong to the Worker, all others to a version.
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
    /// Without the settings that belong to the Worker.
    pub fn of_version(&self) -> Self {
        self.with_those_of_worker(&Self::default())
    }

    /// With the settings that belong to the Worker taken from elsewhere.
    pub fn with_those_of_worker(&self, worker: &Self) -> Self {
        let is_of_worker = |name: &String| SCRIPT_SETTINGS.contains(&name.as_str());
        let mut others = self.others.clone();
        others.retain(|name, _| !is_of_worker(name));
        let theirs = worker.others.iter().filter(|(name, _)| is_of_worker(name));
        others.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
        Self {
            compatibility_date: self.compatibility_date.clone(),
            compatibility_flags: self.compatibility_flags.clone(),
            tags: worker.tags.clone(),
            logpush: worker.logpush,
            others,
        }
    }
}
