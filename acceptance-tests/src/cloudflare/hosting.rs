//! The runtime behind the account: runs uploads once to see what they export, serves what is deployed, and knows
//! which objects have stored data. Knows no HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::account::Account;
use super::addresses::Addresses;
use super::assets::{self, Assets};
use super::bindings::{Binding, Target};
use super::failure::ApiFailure;
use super::runtime::{
    ExportKind, ModuleFile, ProbeFailureKind, Runtime, RuntimeError, RuntimeOptions, ServedAssets,
    ServedBinding, ServedNamespace, ServedWorker,
};
use super::script::{Code, Exports, Script, Settings};

/// What Cloudflare assumes for an upload without a compatibility date.
const OLDEST_DATE: &str = "2021-11-02";

pub(super) struct Hosting {
    runtime: Runtime,
    disk: PathBuf,
    /// Where uploaded assets are.
    assets: PathBuf,
    deployed: Mutex<Deployed>,
}

/// The state that the runtime serves now.
#[derive(Default)]
struct Deployed {
    serving: u64,
    namespaces: BTreeSet<String>,
}

impl Hosting {
    pub(super) async fn start(
        workerd: PathBuf,
        disk: PathBuf,
        assets: PathBuf,
    ) -> Result<Self, RuntimeError> {
        let runtime = Runtime::start(RuntimeOptions {
            workerd,
            disk: disk.clone(),
        })
        .await?;
        Ok(Self {
            runtime,
            disk,
            assets,
            deployed: Mutex::default(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.runtime.address()
    }

    /// Runs an upload once; refuses what does not load (10021) or handles nothing (10068).
    pub(super) async fn probe(
        &self,
        main: String,
        modules: Vec<ModuleFile>,
        settings: &Settings,
    ) -> Result<Code, ApiFailure> {
        if !modules.iter().any(|module| module.name == main) {
            return Err(ApiFailure::invalid(format!("No such module \"{main}\".")));
        }
        let date = settings
            .compatibility_date
            .as_deref()
            .unwrap_or(OLDEST_DATE);
        let probed = self
            .runtime
            .probe(&modules, &main, date, &settings.compatibility_flags)
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
        let mut exports = Exports {
            handlers: probed.default_handlers,
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
        Ok(Code::new(main, modules, exports))
    }

    /// Serves the account as `current` gives it, at least as new as `wanted`. Changes that wait for one another are
    /// served together.
    pub(super) async fn serve(
        &self,
        wanted: u64,
        current: impl Fn() -> std::sync::Arc<Account>,
    ) -> Result<(), RuntimeError> {
        let mut deployed = self.deployed.lock().await;
        let account = current();
        if deployed.serving >= wanted {
            // Addresses change without a deploy. Those of a deploy that is still to come are its own business.
            if deployed.serving >= account.serving {
                self.runtime.lead(Addresses::of(&account));
            }
            return Ok(());
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
            .map(|(name, script)| self.served(&account, name, script))
            .collect::<Result<_, _>>()?;
        let addresses = Addresses::of(&account);
        self.runtime
            .deploy_at(workers, &dropped, Some(addresses))
            .await?;
        *deployed = Deployed {
            serving: account.serving,
            namespaces,
        };
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
        checked.map_err(|failure| match failure.kind {
            ProbeFailureKind::Runtime => ApiFailure::new(
                500,
                10013,
                format!("The local runtime failed: {}", failure.text),
            ),
            _ => ApiFailure::invalid(failure.text),
        })
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

    fn served(
        &self,
        account: &Account,
        name: &str,
        script: &Script,
    ) -> Result<ServedWorker, RuntimeError> {
        let assets = script.code.assets.as_ref();
        let assets = assets
            .map(|assets| self.served_assets(assets))
            .transpose()?;
        let mut worker = served(account, name, script);
        worker.assets = assets;
        worker.handles_cron = script.handles_cron();
        Ok(worker)
    }

    fn served_assets(&self, assets: &Assets) -> Result<ServedAssets, RuntimeError> {
        let site = assets::site(&self.assets, &assets.manifest);
        // A folder that somebody has removed must not keep everything else from being served.
        let folder = std::fs::create_dir_all(&site).and_then(|()| site.canonicalize());
        Ok(ServedAssets {
            folder: folder.map_err(|source| RuntimeError::Io {
                what: "find the files of assets".into(),
                source,
            })?,
            config: assets::service_config(&assets.config).to_string(),
        })
    }

    /// The ids of the objects of a namespace, each with whether it has stored data, in order.
    pub(super) async fn objects(&self, namespace: &str) -> Vec<(String, bool)> {
        let folder = self.disk.join(namespace);
        let listing = tokio::task::spawn_blocking(move || stored_objects(&folder));
        listing.await.unwrap_or_default()
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
        ..ServedWorker::default()
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
        ("assets", _) => Some(ServedBinding::Assets { name }),
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
        _ => None,
    }
}
