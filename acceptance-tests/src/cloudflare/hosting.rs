//! The runtime behind the account: runs uploads once to see what they export, serves what is deployed, and knows
//! which objects have stored data. Knows no HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::account::Account;
use super::bindings::{Binding, Target};
use super::failure::ApiFailure;
use super::runtime::{
    ExportKind, ModuleFile, ProbeFailureKind, Runtime, RuntimeError, RuntimeOptions, ServedBinding,
    ServedNamespace, ServedWorker, Visits,
};
use super::script::{Code, Exports, Script, Settings};

/// What Cloudflare assumes for an upload without a compatibility date.
const OLDEST_DATE: &str = "2021-11-02";

pub(super) struct Hosting {
    runtime: Runtime,
    disk: PathBuf,
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
        port: u16,
        visits: Visits,
    ) -> Result<Self, RuntimeError> {
        let runtime = Runtime::start(RuntimeOptions {
            workerd,
            disk: disk.clone(),
            port,
            visits,
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
        if deployed.serving >= wanted {
            return Ok(());
        }
        let account = current();
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
        self.runtime.deploy(workers, &dropped).await?;
        *deployed = Deployed {
            serving: account.serving,
            namespaces,
        };
        Ok(())
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
        _ => None,
    }
}
