//! The runtime behind the account: runs uploads once to see what they export, serves what is deployed, and knows
//! which objects have stored data. Knows no HTTP.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::http::{Request, Response};
use tokio::sync::Mutex;

use super::account::Account;
use super::bindings::{Binding, Target};
use super::failure::ApiFailure;
use super::runtime::{
    ExportKind, ModuleFile, ProbeFailureKind, Runtime, RuntimeError, RuntimeOptions, ServedBinding,
    ServedConsumer, ServedNamespace, ServedStores, ServedWorker, Store,
};
use super::script::{Code, Entry, Exports, Script, Settings};
use super::stores::store_of;

/// What Cloudflare assumes for an upload without a compatibility date.
const OLDEST_DATE: &str = "2021-11-02";

pub(super) struct Hosting {
    runtime: Runtime,
    disk: PathBuf,
    deployed: Mutex<Deployed>,
}

/// The state that the runtime has served last.
#[derive(Default)]
struct Deployed {
    serving: u64,
    namespaces: BTreeSet<String>,
    stores: BTreeSet<Store>,
}

impl Hosting {
    pub(super) async fn start(workerd: PathBuf, disk: PathBuf) -> Result<Self, RuntimeError> {
        let runtime = Runtime::start(RuntimeOptions {
            workerd,
            disk: disk.clone(),
        })
        .await?;
        Ok(Self {
            runtime,
            disk,
            deployed: Mutex::default(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.runtime.address()
    }

    /// Runs an upload once; refuses what does not load (10021) or handles nothing (10068).
    pub(super) async fn probe(
        &self,
        entry: Entry,
        modules: Vec<ModuleFile>,
        settings: &Settings,
    ) -> Result<Code, ApiFailure> {
        let main = &entry.part;
        if !modules.iter().any(|module| module.name == *main) {
            return Err(ApiFailure::invalid(format!("No such module \"{main}\".")));
        }
        let started = Instant::now();
        let date = settings
            .compatibility_date
            .as_deref()
            .unwrap_or(OLDEST_DATE);
        let probed = self
            .runtime
            .probe(&modules, main, date, &settings.compatibility_flags)
            .await
            .map_err(|failure| match failure.kind {
                ProbeFailureKind::Startup | ProbeFailureKind::TimedOut => {
                    ApiFailure::invalid(failure.text)
                }
                ProbeFailureKind::NoHandlers => ApiFailure::refused(10068, failure.text),
                ProbeFailureKind::Runtime => ApiFailure::new(
                    500,
                    10013,
                    format!("The local runtime failed: {}", failure.text),
                ),
            })?;
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

    /// Takes note that what is to be served has changed. Requests that come from now on see it; until one comes, only
    /// Workers that may ring an alarm are started, because most changes of most accounts are followed by others.
    pub(super) fn changed(&self, account: &Account) {
        self.runtime.hold();
        let rings = |(name, script): (&String, &Script)| {
            script.code.exports.alarms && account.namespaces_of(name).next().is_some()
        };
        if account.scripts.iter().any(rings) {
            self.runtime.demand();
        }
    }

    /// Returns when somebody wants to be served.
    pub(super) async fn demanded(&self) {
        self.runtime.demanded().await;
    }

    /// Serves the account as `current` gives it.
    pub(super) async fn serve(&self, current: impl Fn() -> Arc<Account>) {
        let mut deployed = self.deployed.lock().await;
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
        let workers = account
            .scripts
            .iter()
            .map(|(name, script)| served(&account, name, script))
            .collect();
        let kept = account.stores.all();
        let stores = ServedStores {
            dropped: deployed.stores.difference(&kept).cloned().collect(),
            consumers: consumers(&account),
            kept: kept.clone(),
        };
        let deploy = self.runtime.deploy_with_stores(workers, stores, &dropped);
        match deploy.await {
            Ok(()) => {
                *deployed = Deployed {
                    serving: account.serving,
                    namespaces,
                    stores: kept,
                };
            }
            Err(error) => {
                // Every upload has been run before, so this is a fault of local Cloudflare. Old code must not hide it.
                let reason = format!("The local runtime failed: {error}");
                log::error!("{reason}");
                self.runtime.fail(&reason).await;
            }
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
            .filter_map(|b| served_binding(account, b))
            .collect(),
    }
}

/// Bindings of other kinds have nothing behind them here; those whose target is gone are left out.
fn served_binding(account: &Account, binding: &Binding) -> Option<ServedBinding> {
    let name = binding.name.clone();
    match (binding.kind.as_str(), &binding.target) {
        ("plain_text" | "secret_text", _) => Some(ServedBinding::Text {
            name,
            value: binding.text("text")?.into(),
        }),
        ("json", _) => Some(ServedBinding::Json {
            name,
            value: binding.members.get("json")?.to_string(),
        }),
        (_, Target::Namespace(id)) => {
            account.namespace_by_id(id)?;
            Some(ServedBinding::DurableObject {
                name,
                namespace_id: id.clone(),
            })
        }
        (_, Target::Worker(tag)) => Some(ServedBinding::Service {
            name,
            worker: account.name_of(tag)?.into(),
            entrypoint: binding.text("entrypoint").map(str::to_owned),
        }),
        _ => Some(ServedBinding::Store {
            name,
            store: store_of(binding)?,
        }),
    }
}
