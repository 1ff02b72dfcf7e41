//! Serves Workers with workerd: one process for all of them, replaced at every deploy.
//!
//! A request goes through the `gate`, which knows the port of each Worker. A deploy closes the gate, lets requests
//! in progress finish, ends the old process, starts the new one, and opens the gate again. In between requests wait;
//! none is refused. The other order, new process first, would be some milliseconds shorter, but two processes would
//! have the same objects open: one would overwrite what the other has just stored, and an alarm set in the old one
//! after the new one had read the alarms would never ring.

#[cfg(not(unix))]
compile_error!(
    "local Cloudflare needs Linux or macOS: workerd announces its ports on an inherited descriptor"
);

mod capnp;
mod engines;
mod gate;
mod probe;
mod process;
mod served;
mod visits;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use axum::body::Bytes;
use axum::http::{Request, Response};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio::time::Instant;

use super::addresses::Addresses;

use capnp::{Code, Config, TRIGGERS, assets_name, service_name};
use gate::Gate;
use process::{Process, StartFailure};
pub use served::{
    Delivery, Export, ExportKind, KeyMaterial, ModuleFile, ProbeFailure, ProbeFailureKind, Probed,
    ServedAssets, ServedBinding, ServedConsumer, ServedNamespace, ServedStores, ServedWorker,
    Store, StoreKind, Syntax,
};
pub use visits::{Visit, Visits};

/// How long a process has to live to be started again at once when it dies.
const LIFETIME: Duration = Duration::from_secs(1);

/// Far more than the start of many Workers takes. Code that never finishes loading must not be waited for for ever.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where the runtime is and where it keeps data.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// The workerd binary.
    pub workerd: PathBuf,
    /// A folder for the data of Durable Objects and stores, created if missing; kept when the runtime stops.
    pub disk: PathBuf,
    /// The port of all Workers on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Who is told of every request to a Worker.
    pub visits: Visits,
    /// A file that workerd holds open. Locked, it says that somebody may still write data, even after our own end.
    pub guard: Option<Arc<File>>,
}

/// A running Workers runtime. Dropping it kills the process; [`Runtime::stop`] ends it gently.
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    workerd: PathBuf,
    disk: PathBuf,
    guard: Option<Arc<File>>,
    gate: Gate,
    /// What is served now; held for the whole of a deploy, so that there is one at a time.
    served: RwLock<Option<Served>>,
}

/// A process and the configuration it can be started from again.
struct Served {
    configuration: Configuration,
    process: Process,
}

struct Configuration {
    path: PathBuf,
    sockets: usize,
    _folder: TempDir,
}

/// How a `scheduled` handler has ended.
#[derive(Deserialize)]
struct Outcome {
    outcome: String,
}

/// Why the runtime could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The port of the Workers cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port} for Workers")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file, socket or process operation failed.
    #[error("failed to {what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// workerd refused the set of Workers. What was served before is served again.
    #[error("workerd does not serve these Workers: {0}")]
    Refused(String),
    /// Two namespaces of the set have the same key, so two classes would write the same data.
    #[error("the namespace {0:?} is implemented by two classes")]
    SharedKey(String),
    /// A namespace key that would not be a folder of its own.
    #[error("{0:?} cannot be the key of a namespace")]
    BadKey(String),
}

impl RuntimeError {
    /// The Worker of a set that workerd blames for refusing the set.
    pub fn culprit<'a>(&self, workers: &'a [ServedWorker]) -> Option<&'a str> {
        let Self::Refused(text) = self else {
            return None;
        };
        let blamed = |name: &str| {
            [service_name(name), assets_name(name)]
                .iter()
                .any(|service| {
                    let starts = [
                        format!("service {service}: "),
                        format!("Worker \"{service}\"'s "),
                    ];
                    let mut lines = text.lines();
                    lines.any(|line| starts.iter().any(|start| line.starts_with(start)))
                })
        };
        let mut names = workers.iter().map(|worker| worker.name.as_str());
        names.find(|name| blamed(name))
    }
}

impl Runtime {
    /// Starts to listen. Until the first deploy every request is answered with 404.
    pub async fn start(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let RuntimeOptions {
            workerd,
            disk,
            port,
            visits,
            guard,
        } = options;
        fs::create_dir_all(&disk).map_err(failed("create the folder for Durable Objects"))?;
        // workerd runs with paths as they are written in its configuration.
        let disk = disk
            .canonicalize()
            .map_err(failed("find the folder for Durable Objects"))?;
        let gate = Gate::open(port, visits)
            .await
            .map_err(|source| RuntimeError::Listen { port, source })?;
        Ok(Self {
            inner: Arc::new(Inner {
                workerd,
                disk,
                guard,
                gate,
                served: RwLock::new(None),
            }),
        })
    }

    /// Where deployed Workers answer: at `http://<script>.localhost:<port>/`, or at any name of this address for
    /// requests with the header `x-local-worker: <script>`.
    pub fn address(&self) -> SocketAddr {
        self.inner.gate.address
    }

    /// Runs an upload once, alone, with those of its bindings that need nothing else, to see whether it loads and what
    /// it exports.
    pub async fn probe(
        &self,
        modules: &[ModuleFile],
        main: &str,
        bindings: &[ServedBinding],
        compat_date: &str,
        flags: &[String],
    ) -> Result<Probed, ProbeFailure> {
        let code = Code {
            main,
            syntax: Syntax::Modules,
            modules,
            compatibility_date: compat_date,
            compatibility_flags: flags,
        };
        probe::probe(&self.inner.workerd, code, bindings).await
    }

    /// Runs a classic script once, with those of its bindings that need nothing else, because it finds them as globals.
    pub async fn probe_script(
        &self,
        script: &ModuleFile,
        bindings: &[ServedBinding],
        compat_date: &str,
        flags: &[String],
    ) -> Result<Probed, ProbeFailure> {
        let code = Code {
            main: &script.name,
            syntax: Syntax::ServiceWorker,
            modules: std::slice::from_ref(script),
            compatibility_date: compat_date,
            compatibility_flags: flags,
        };
        probe::probe_script(&self.inner.workerd, code, bindings).await
    }

    /// Serves exactly these Workers from now on and removes the data of `drop_namespaces`.
    ///
    /// Bindings to a namespace or Worker that is not in the set are left out. If workerd refuses the set, what was
    /// served before is served again and no data is removed.
    pub async fn deploy(
        &self,
        workers: Vec<ServedWorker>,
        drop_namespaces: &[String],
    ) -> Result<(), RuntimeError> {
        let deploy = self.deploy_with_stores(workers, ServedStores::default(), drop_namespaces);
        deploy.await.inspect_err(|_| self.resume())
    }

    /// The same for Workers with KV namespaces, databases, buckets and queues. What was served before runs again when the
    /// set is refused, but requests wait until [`Runtime::resume`] or another deploy.
    pub async fn deploy_with_stores(
        &self,
        workers: Vec<ServedWorker>,
        stores: ServedStores,
        drop_namespaces: &[String],
    ) -> Result<(), RuntimeError> {
        let inner = Arc::clone(&self.inner);
        let dropped = drop_namespaces.to_vec();
        // In a task of its own: a caller that stops waiting must not leave the gate closed.
        tokio::spawn(async move { inner.deploy(&workers, &stores, &dropped).await })
            .await
            .map_err(|error| failed("finish a deploy")(io::Error::other(error)))?
    }

    /// Has a throw-away process read how assets are to be served.
    pub async fn check_assets(
        &self,
        config: &str,
        compat_date: &str,
        flags: &[String],
    ) -> Result<(), ProbeFailure> {
        probe::check_assets(&self.inner.workerd, config, compat_date, flags).await
    }

    /// Where Workers can be called from now on, besides by name.
    pub fn lead(&self, addresses: Addresses) {
        self.inner.gate.lead(addresses);
    }

    /// Runs the `scheduled` handler of a served Worker; how it has ended, in workerd's word.
    pub async fn trigger(
        &self,
        script: &str,
        cron: &str,
        time: u64,
    ) -> Result<String, RuntimeError> {
        let body = json!({"script": script, "cron": cron, "time": time}).to_string();
        let answer = self.inner.gate.post(TRIGGERS, body).await;
        answer
            .and_then(|answer| Ok(serde_json::from_slice::<Outcome>(&answer)?))
            .map(|done| done.outcome)
            .map_err(failed("trigger a scheduled handler"))
    }

    /// The id of the process, if one runs.
    pub async fn process(&self) -> Option<u32> {
        let served = self.inner.served.read().await;
        served.as_ref().and_then(|served| served.process.id())
    }

    /// Makes requests wait until a deploy or [`Runtime::resume`] that comes after [`Runtime::renew`]. What is served goes
    /// on running meanwhile.
    pub fn hold(&self) {
        self.inner.gate.hold();
    }

    /// Says that what comes next to be served is all that was asked for so far.
    pub fn renew(&self) {
        self.inner.gate.renew();
    }

    /// Lets requests through again to what is served.
    pub fn resume(&self) {
        self.inner.gate.resume();
    }

    /// Returns when a request waits, or would be cut off, or [`Runtime::demand`] was called.
    pub async fn demanded(&self) {
        self.inner.gate.demanded().await;
    }

    /// Asks for what a request that waits asks for.
    pub fn demand(&self) {
        self.inner.gate.demand();
    }

    /// Answers every request with this text until the next deploy, because nothing can be served.
    pub async fn fail(&self, reason: &str) {
        let _served = self.inner.served.write().await;
        self.inner.gate.close().await;
        self.inner.gate.lead_nowhere(reason);
    }

    /// Asks a store what a binding to it would ask, at a path of that protocol. Waits for a deploy in progress.
    pub async fn ask(
        &self,
        store: &Store,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, RuntimeError> {
        self.inner.gate.ready().await;
        let served = self.inner.served.read().await;
        let ports = served.as_ref().map(|served| &served.process.ports);
        let port = ports.and_then(|ports| ports.get(engines::DOOR)).copied();
        engines::ask(port, store, request)
            .await
            .map_err(failed("reach what Workers store"))
    }

    /// Finishes requests in progress and ends the process.
    pub async fn stop(self) {
        let mut served = self.inner.served.write().await;
        self.inner.gate.close().await;
        if let Some(served) = served.take() {
            served.process.end().await;
        }
    }
}

impl Inner {
    async fn deploy(
        self: &Arc<Self>,
        workers: &[ServedWorker],
        stores: &ServedStores,
        dropped: &[String],
    ) -> Result<(), RuntimeError> {
        check_keys(workers, dropped)?;
        let next = self
            .configure(workers, stores)
            .map_err(failed("write workerd's configuration"))?;

        let mut served = self.served.write().await;
        self.gate.close().await;
        let previous = match served.take() {
            Some(Served {
                configuration,
                process,
            }) => {
                process.end().await;
                Some(configuration)
            }
            None => None,
        };
        // A store that is there again must not be opened with the data of the one before.
        let removed = stores
            .dropped
            .iter()
            .try_for_each(|store| engines::remove(&self.disk, store));
        let mut result = self.replace(&mut served, next, previous).await;
        if result.is_ok() {
            let namespaces = || {
                dropped
                    .iter()
                    .try_for_each(|key| remove(&self.disk.join(key)))
            };
            result = removed
                .and_then(|()| namespaces())
                .map_err(failed("remove data that nobody has any more"));
        }
        let ports = self.watch(served.as_ref());
        match &result {
            Ok(()) => self.gate.lead_to(ports),
            Err(_) => self.gate.lead_later(ports),
        }
        let door = served
            .as_ref()
            .and_then(|now| now.process.ports.get(engines::DOOR));
        if let Some(port) = door
            && let Err(error) = engines::wake(&self.disk, stores, *port).await
        {
            log::warn!("queues deliver what they hold with their next message only: {error}");
        }
        result
    }

    /// The ports of a process that requests may go to. Sees to it that there is another process when this one dies.
    fn watch(self: &Arc<Self>, served: Option<&Served>) -> HashMap<String, u16> {
        let Some(served) = served else {
            return HashMap::new();
        };
        let (gone, started) = (served.process.gone.clone(), Instant::now());
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            gone.cancelled().await;
            if let Some(inner) = inner.upgrade() {
                inner.revive(started).await;
            }
        });
        let mut ports = served.process.ports.clone();
        ports.remove(engines::DOOR);
        ports
    }

    /// Starts the process again if it has died; a deploy or the end of everything may have been the reason.
    fn revive(
        self: Arc<Self>,
        started: Instant,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut served = self.served.write().await;
            let Some(dead) = served.take_if(|served| served.process.gone.is_cancelled()) else {
                return;
            };
            log::warn!("workerd has died; it is started again");
            // What was held back before is not what may be served now.
            let held = self.gate.is_shut();
            self.gate.close().await;
            // One that dies again and again must not keep the machine busy.
            tokio::time::sleep_until(started + LIFETIME).await;
            let configuration = dead.configuration;
            match self.run(&configuration).await {
                Ok(process) => {
                    *served = Some(Served {
                        configuration,
                        process,
                    });
                }
                Err(error) => log::error!("workerd cannot be started again: {error}"),
            }
            let ports = self.watch(served.as_ref());
            if held {
                self.gate.lead_later(ports);
            } else {
                self.gate.lead_to(ports);
            }
        })
    }

    /// Starts the next process, or the previous one again if the next one does not start.
    async fn replace(
        &self,
        served: &mut Option<Served>,
        next: Option<Configuration>,
        previous: Option<Configuration>,
    ) -> Result<(), RuntimeError> {
        let Some(configuration) = next else {
            return Ok(());
        };
        match self.run(&configuration).await {
            Ok(process) => {
                *served = Some(Served {
                    configuration,
                    process,
                });
                Ok(())
            }
            Err(error) => {
                if let Some(configuration) = previous {
                    let process = self.run(&configuration).await?;
                    *served = Some(Served {
                        configuration,
                        process,
                    });
                }
                Err(error)
            }
        }
    }

    async fn run(&self, configuration: &Configuration) -> Result<Process, RuntimeError> {
        let start = Process::start(
            &self.workerd,
            &configuration.path,
            configuration.sockets,
            self.guard.as_deref(),
        );
        let Ok(started) = tokio::time::timeout(START_LIMIT, start).await else {
            let text = format!("it did not start within {START_LIMIT:?}");
            return Err(RuntimeError::Refused(text));
        };
        started.map_err(|failure| match failure {
            StartFailure::Io(error) => failed("run workerd")(error),
            StartFailure::Exited(text) => RuntimeError::Refused(text.trim().into()),
        })
    }

    /// Writes the configuration of a set of Workers; no Workers and no stores need none, and no process.
    fn configure(
        &self,
        workers: &[ServedWorker],
        stores: &ServedStores,
    ) -> io::Result<Option<Configuration>> {
        if workers.is_empty() && stores.kept.is_empty() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let mut config = Config::new(folder.path());
        config.serve(workers, stores, &self.disk)?;
        let (path, sockets) = config.finish()?;
        Ok(Some(Configuration {
            path,
            sockets,
            _folder: folder,
        }))
    }
}

/// workerd itself accepts two classes with one key, and would let both write the same files.
fn check_keys(workers: &[ServedWorker], dropped: &[String]) -> Result<(), RuntimeError> {
    let served = workers
        .iter()
        .flat_map(|worker| &worker.namespaces)
        .map(|owned| &owned.unique_key);
    let mut seen = HashSet::new();
    for key in served.chain(dropped) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(plain) {
            return Err(RuntimeError::BadKey(key.clone()));
        }
        if !seen.insert(key) {
            return Err(RuntimeError::SharedKey(key.clone()));
        }
    }
    Ok(())
}

/// A namespace in which nothing was ever stored has no folder.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> RuntimeError {
    let what = what.into();
    move |source| RuntimeError::Io { what, source }
}
