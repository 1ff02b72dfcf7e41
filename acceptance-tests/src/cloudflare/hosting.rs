//! The runtime behind the account: runs uploads once to see what they export, serves what is deployed, and knows
//! which objects have stored data. Knows no HTTP.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::http::{Request, Response};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::account::Account;
use super::addresses::Addresses;
use super::assets::{self, Assets};
use super::bindings::{Binding, Target};
use super::dispatch;
use super::failure::ApiFailure;
use super::runtime::{
    ExportKind, KeyMaterial, ModuleFile, ProbeFailure, ProbeFailureKind, Runtime, RuntimeError,
    RuntimeOptions, ServedAssets, ServedBinding, ServedConsumer, ServedNamespace, ServedStores,
    ServedWorker, Store, Visits,
};
use super::script::{Code, Entry, Exports, Script, Settings, Syntax};
use super::stores::store_of;

/// What Cloudflare assumes for an upload without a compatibility date.
const OLDEST_DATE: &str = "2021-11-02";

pub(super) struct Hosting {
    runtime: Runtime,
    disk: PathBuf,
    /// Where uploaded assets are.
    assets: PathBuf,
    deployed: Mutex<Deployed>,
}

/// The state that the runtime has served last.
#[derive(Default)]
struct Deployed {
    serving: u64,
    namespaces: BTreeSet<String>,
    /// The account's `serving` up to which the data of deleted stores is gone; kept on the disk.
    stores_deleted: u64,
    /// What was served.
    workers: Vec<ServedWorker>,
}

impl Deployed {
    /// The Workers that keep a set from being served: the one that the runtime names, or else what was not served before.
    fn guilty(&self, error: &RuntimeError, workers: &[ServedWorker]) -> Vec<String> {
        match (error.culprit(workers), error) {
            (Some(culprit), _) => vec![culprit.into()],
            (None, RuntimeError::Refused(_)) => workers
                .iter()
                .filter(|worker| !self.workers.contains(worker))
                .map(|worker| worker.name.clone())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Holds that number. No namespace and no kind of store has a folder of this name.
const STORES_DELETED: &str = "stores-deleted";

impl Hosting {
    pub(super) async fn start(
        workerd: PathBuf,
        disk: PathBuf,
        assets: PathBuf,
        port: u16,
        visits: Visits,
        guard: Option<Arc<File>>,
    ) -> Result<Self, RuntimeError> {
        let runtime = Runtime::start(RuntimeOptions {
            workerd,
            disk: disk.clone(),
            port,
            visits,
            guard,
        })
        .await?;
        // Nothing was deleted in a folder that does not say so.
        let deleted = std::fs::read_to_string(disk.join(STORES_DELETED)).unwrap_or_default();
        let deployed = Deployed {
            stores_deleted: deleted.trim().parse().unwrap_or_default(),
            ..Deployed::default()
        };
        Ok(Self {
            runtime,
            disk,
            assets,
            deployed: Mutex::new(deployed),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.runtime.address()
    }

    /// Runs an upload once; refuses what does not load (10021) or handles nothing (10068). `bindings` are what it
    /// may read while it loads.
    pub(super) async fn probe(
        &self,
        entry: Entry,
        modules: Vec<ModuleFile>,
        settings: &Settings,
        bindings: &[Binding],
    ) -> Result<Code, ApiFailure> {
        let main = &entry.part;
        let Some(script) = modules.iter().find(|module| module.name == *main) else {
            return Err(ApiFailure::invalid(format!("No such module \"{main}\".")));
        };
        self.check_keys(bindings).await?;
        let started = Instant::now();
        let date = settings
            .compatibility_date
            .as_deref()
            .unwrap_or(OLDEST_DATE);
        let flags = &settings.compatibility_flags;
        let values = served_values(bindings, &modules);
        let probed = match entry.syntax {
            Syntax::Modules => {
                self.runtime
                    .probe(&modules, main, &values, date, flags)
                    .await
            }
            Syntax::ServiceWorker => {
                self.runtime
                    .probe_script(script, &values, date, flags)
                    .await
            }
        };
        let probed = probed.map_err(refusal)?;
        let startup_ms = started.elapsed().as_millis() as u64;
        let mut exports = Exports {
            handlers: probed.default_handlers,
            alarms: probed.alarms,
            ..Exports::default()
        };
        for export in probed.exports {
            match export.kind {
                ExportKind::DurableObject | ExportKind::LegacyClass => {
                    exports.classes.insert(export.name);
                }
                ExportKind::WorkerEntrypoint | ExportKind::Workflow => {
                    exports
                        .entrypoints
                        .push((export.name, vec!["class".into()]));
                }
                ExportKind::Handlers(handlers) => exports.entrypoints.push((export.name, handlers)),
                ExportKind::Other => {}
            }
        }
        Ok(Code::new(entry, modules, exports, startup_ms))
    }

    /// Sees whether code that was run before loads with other settings and bindings, too.
    pub(super) async fn check_again(
        &self,
        code: &Code,
        settings: &Settings,
        bindings: &[Binding],
    ) -> Result<(), ApiFailure> {
        if let Some(assets) = &code.assets {
            self.check_assets(&assets.config, settings).await?;
        }
        if code.modules.is_empty() {
            return self.check_keys(bindings).await;
        }
        let entry = Entry {
            part: code.main.clone(),
            syntax: code.syntax,
        };
        let modules = code.modules.to_vec();
        self.probe(entry, modules, settings, bindings).await?;
        Ok(())
    }

    /// Refuses keys that cannot be imported: 10021. One of them would keep everything from being served.
    pub(super) async fn check_keys(&self, bindings: &[Binding]) -> Result<(), ApiFailure> {
        let keys: Vec<ServedBinding> = bindings
            .iter()
            .filter(|binding| binding.kind == "secret_key")
            .map(|binding| {
                served_key(binding).ok_or_else(|| {
                    ApiFailure::invalid(format!(
                        "binding {} of type secret_key must have valid `format`, `algorithm`, `usages` and key specified",
                        binding.name
                    ))
                })
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Ok(());
        }
        let script = ModuleFile {
            name: "keys".into(),
            content_type: "application/javascript".into(),
            body: "addEventListener('fetch', () => {})".into(),
        };
        let run = self.runtime.probe_script(&script, &keys, OLDEST_DATE, &[]);
        run.await.map_err(refusal)?;
        Ok(())
    }

    /// Takes note that what is to be served has changed. Requests that come from now on see it; until one comes, only
    /// Workers that may ring an alarm or get messages are started, because most changes of most accounts are followed by others.
    pub(super) fn changed(&self, account: &Account) {
        self.runtime.hold();
        let rings = |(name, script): (&String, &Script)| {
            script.code.exports.alarms && account.namespaces_of(name).next().is_some()
        };
        let queues = &account.stores.queues;
        if account.scripts.iter().any(rings) || queues.iter().any(|queue| queue.consumer.is_some())
        {
            self.runtime.demand();
        }
    }

    /// Takes note of the addresses that an account gives its Workers.
    pub(super) fn lead(&self, account: &Account) {
        self.runtime.lead(Addresses::of(account));
    }

    /// Returns when somebody wants to be served.
    pub(super) async fn demanded(&self) {
        self.runtime.demanded().await;
    }

    /// Serves the account as `current` gives it.
    pub(super) async fn serve(&self, current: impl Fn() -> Arc<Account>) {
        let mut deployed = self.deployed.lock().await;
        // A change after this line is not lost: it holds the gate beyond this deploy.
        self.runtime.renew();
        let account = current();
        if deployed.serving >= account.serving {
            return self.runtime.resume();
        }
        let namespaces: BTreeSet<String> =
            account.namespaces.iter().map(|ns| ns.id.clone()).collect();
        let dropped: Vec<String> = deployed
            .namespaces
            .difference(&namespaces)
            .cloned()
            .collect();
        let mut workers: Vec<ServedWorker> = account
            .scripts
            .iter()
            // A Worker that was made without code answers nothing yet.
            .filter_map(|(name, script)| self.served(&account, name, script))
            .collect();
        let deleted = account.stores.deleted.iter();
        let stores = ServedStores {
            kept: account.stores.all(),
            dropped: deleted
                .filter(|deleted| deleted.serving > deployed.stores_deleted)
                .map(|deleted| deleted.store.clone())
                .collect(),
            consumers: consumers(&account),
        };
        loop {
            let deploy = self
                .runtime
                .deploy_with_stores(workers.clone(), stores.clone(), &dropped);
            let Err(error) = deploy.await else {
                *deployed = Deployed {
                    serving: account.serving,
                    namespaces,
                    stores_deleted: account.serving,
                    workers,
                };
                let number = account.serving.to_string();
                if !stores.dropped.is_empty()
                    && let Err(error) = std::fs::write(self.disk.join(STORES_DELETED), number)
                {
                    log::error!("deleted stores will be deleted again: {error}");
                }
                return;
            };
            // Every upload has been run before. Code can still load in one place and not in the other; then all other
            // Workers do without it. Old code must not hide it.
            let guilty = deployed.guilty(&error, &workers);
            if guilty.is_empty() || guilty.len() == workers.len() {
                let reason = format!("The local runtime failed: {error}");
                log::error!("{reason}");
                return self.runtime.fail(&reason).await;
            }
            log::error!("the Workers {guilty:?} do not start and are left out: {error}");
            workers.retain(|worker| !guilty.contains(&worker.name));
        }
    }

    /// Removes the data of namespaces that were deleted when nobody served the account any more.
    pub(super) fn forget_deleted(&self, account: &Account) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.disk)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_namespace = |name: &str| name.len() == 32 && hex::decode(name).is_ok();
            let deleted = name
                .to_str()
                .is_some_and(|name| is_namespace(name) && account.namespace_by_id(name).is_none());
            if deleted {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Has workerd read how assets are to be served; refuses what it refuses (10021).
    pub(super) async fn check_assets(
        &self,
        config: &Map<String, Value>,
        settings: &Settings,
    ) -> Result<(), ApiFailure> {
        let date = settings
            .compatibility_date
            .as_deref()
            .unwrap_or(OLDEST_DATE);
        let config = assets::service_config(config).to_string();
        let checked = self
            .runtime
            .check_assets(&config, date, &settings.compatibility_flags)
            .await;
        checked.map_err(refusal)
    }

    /// Runs the `scheduled` handler of a Worker; how it has ended, in the runtime's word.
    pub(super) async fn trigger(
        &self,
        script: &str,
        cron: &str,
        time: u64,
    ) -> Result<String, RuntimeError> {
        self.runtime.trigger(script, cron, time).await
    }

    pub(super) async fn process(&self) -> Option<u32> {
        self.runtime.process().await
    }

    /// A Worker as it is to be served, or nothing if there is nothing that answers.
    fn served(&self, account: &Account, name: &str, script: &Script) -> Option<ServedWorker> {
        let mut worker = served(account, name, script);
        worker.assets = script.code.assets.as_ref().and_then(|assets| {
            self.served_assets(assets)
                .inspect_err(|error| {
                    log::error!("the assets of {name:?} cannot be served: {error}")
                })
                .ok()
        });
        (worker.assets.is_some() || !worker.modules.is_empty()).then_some(worker)
    }

    fn served_assets(&self, assets: &Assets) -> io::Result<ServedAssets> {
        let site = assets::site(&self.assets, &assets.manifest);
        // A folder that somebody has removed must not keep everything else from being served.
        std::fs::create_dir_all(&site)?;
        Ok(ServedAssets {
            folder: site.canonicalize()?,
            config: assets::service_config(&assets.config).to_string(),
        })
    }

    /// The ids of the objects of a namespace, each with whether it has stored data, in order.
    pub(super) async fn objects(&self, namespace: &str) -> Vec<(String, bool)> {
        let folder = self.disk.join(namespace);
        let listing = tokio::task::spawn_blocking(move || stored_objects(&folder));
        listing.await.unwrap_or_default()
    }

    /// Asks a store what a binding to it would ask.
    pub(super) async fn ask(
        &self,
        store: &Store,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ApiFailure> {
        self.runtime.ask(store, request).await.map_err(|error| {
            ApiFailure::new(500, 10013, format!("The local runtime failed: {error}"))
        })
    }

    pub(super) async fn stop(self) {
        self.runtime.stop().await;
    }
}

fn refusal(failure: ProbeFailure) -> ApiFailure {
    match failure.kind {
        ProbeFailureKind::Startup | ProbeFailureKind::TimedOut => ApiFailure::invalid(failure.text),
        ProbeFailureKind::NoHandlers => ApiFailure::refused(10068, failure.text),
        ProbeFailureKind::Runtime => ApiFailure::new(
            500,
            10013,
            format!("The local runtime failed: {}", failure.text),
        ),
    }
}

/// One file an object; `metadata.sqlite` holds the alarms of all and is none.
fn stored_objects(folder: &Path) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut objects: Vec<(String, bool)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.strip_suffix(".sqlite")?;
            let is_object = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
            let stored = entry.metadata().is_ok_and(|metadata| metadata.len() > 0);
            is_object.then(|| (id.to_owned(), stored))
        })
        .collect();
    objects.sort();
    objects
}

fn consumers(account: &Account) -> Vec<ServedConsumer> {
    let queues = account.stores.queues.iter();
    queues
        .filter_map(|queue| {
            let consumer = queue.consumer.as_ref()?;
            Some(ServedConsumer {
                queue: queue.name.clone(),
                worker: account.name_of(&consumer.worker)?.into(),
                dead_letter_queue: consumer.dead_letter_queue.clone(),
                delivery: consumer.delivery.clone(),
            })
        })
        .collect()
}

fn served(account: &Account, name: &str, script: &Script) -> ServedWorker {
    let settings = &script.settings;
    ServedWorker {
        name: name.into(),
        main: script.code.main.clone(),
        syntax: script.code.syntax,
        modules: script.code.modules.clone(),
        compatibility_date: settings
            .compatibility_date
            .clone()
            .unwrap_or(OLDEST_DATE.into()),
        compatibility_flags: settings.compatibility_flags.clone(),
        namespaces: account
            .namespaces_of(name)
            .map(|ns| ServedNamespace {
                class: ns.class.clone(),
                unique_key: ns.id.clone(),
                sqlite: ns.sqlite,
            })
            .collect(),
        bindings: script
            .bindings
            .iter()
            .filter_map(|b| {
                served_value(b, &script.code.modules).or_else(|| served_binding(account, b))
            })
            .collect(),
        handles_cron: script.handles_cron(),
        inner: dispatch::namespace(name).is_some(),
        assets: None,
    }
}

/// Bindings of other kinds have nothing behind them here; those whose target is gone, or has no such entrypoint
/// (any more), are left out.
fn served_binding(account: &Account, binding: &Binding) -> Option<ServedBinding> {
    let name = binding.name.clone();
    match &binding.target {
        Target::Elsewhere if binding.kind == "assets" => Some(ServedBinding::Assets { name }),
        // An outbound Worker is not put in between.
        Target::Elsewhere if binding.kind == "dispatch_namespace" => {
            let namespace = binding.text("namespace")?;
            let workers = account.workers_in(namespace);
            let workers = workers.map(|(key, _)| (dispatch::name(key).to_owned(), key.clone()));
            Some(ServedBinding::Dispatcher {
                name,
                workers: workers.collect(),
            })
        }
        Target::Namespace(id) => {
            account.namespace_by_id(id)?;
            Some(ServedBinding::DurableObject {
                name,
                namespace_id: id.clone(),
            })
        }
        Target::Worker(tag) => {
            let worker = account.name_of(tag)?;
            let code = &account.scripts[worker].code;
            let entrypoint = binding.text("entrypoint");
            let entrypoint = entrypoint.filter(|it| !it.is_empty() && *it != "default");
            let exported = entrypoint.is_none_or(|it| code.exports.has_entrypoint(it));
            (exported && !code.is_empty()).then(|| ServedBinding::Service {
                name,
                worker: worker.into(),
                entrypoint: entrypoint.map(str::to_owned),
            })
        }
        Target::Elsewhere => Some(ServedBinding::Store {
            name,
            store: store_of(binding)?,
        }),
    }
}

fn served_values(bindings: &[Binding], modules: &[ModuleFile]) -> Vec<ServedBinding> {
    let values = bindings.iter().map(|b| served_value(b, modules));
    values.flatten().collect()
}

/// A binding that is complete by itself, or with a part of the upload.
fn served_value(binding: &Binding, modules: &[ModuleFile]) -> Option<ServedBinding> {
    let name = binding.name.clone();
    let part = || {
        let part = binding.text("part")?;
        let found = modules.iter().find(|module| module.name == part)?;
        Some(found.body.clone())
    };
    Some(match binding.kind.as_str() {
        "plain_text" | "secret_text" => ServedBinding::Text {
            name,
            value: binding.text("text")?.into(),
        },
        "json" => ServedBinding::Json {
            name,
            value: binding.members.get("json")?.to_string(),
        },
        "secret_key" => served_key(binding)?,
        "text_blob" => ServedBinding::Text {
            name,
            value: String::from_utf8_lossy(&part()?).into_owned(),
        },
        "data_blob" => ServedBinding::Data {
            name,
            value: part()?,
        },
        "wasm_module" => ServedBinding::Wasm {
            name,
            value: part()?,
        },
        _ => return None,
    })
}

fn served_key(binding: &Binding) -> Option<ServedBinding> {
    const USAGES: [&str; 8] = [
        "encrypt",
        "decrypt",
        "sign",
        "verify",
        "deriveKey",
        "deriveBits",
        "wrapKey",
        "unwrapKey",
    ];
    let base64 = || binding.text("key_base64").map(str::to_owned);
    let material = match binding.text("format")? {
        "raw" => KeyMaterial::Raw(base64()?),
        "pkcs8" => KeyMaterial::Pkcs8(base64()?),
        "spki" => KeyMaterial::Spki(base64()?),
        "jwk" => KeyMaterial::Jwk(binding.members.get("key_jwk")?.to_string()),
        _ => return None,
    };
    let usage = |usage: &serde_json::Value| {
        usage
            .as_str()
            .filter(|usage| USAGES.contains(usage))
            .map(str::to_owned)
    };
    Some(ServedBinding::Key {
        name: binding.name.clone(),
        material,
        algorithm: binding.members.get("algorithm")?.to_string(),
        usages: binding
            .members
            .get("usages")?
            .as_array()?
            .iter()
            .map(usage)
            .collect::<Option<_>>()?,
    })
}
