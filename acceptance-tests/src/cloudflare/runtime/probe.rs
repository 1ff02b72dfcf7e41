//! Runs an upload once, alone, in a throw-away process, to learn whether it loads and what it exports.
//! A Worker that does not load would take all others down with it, so every upload has to pass here first.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::capnp::dated;
use super::capnp::{Code, Config};
use super::process::{Process, StartFailure};
use super::served::{
    Export, ExportKind, ModuleFile, ProbeFailure, ProbeFailureKind, Probed, ServedAssets,
    ServedBinding,
};

/// Far more than a start takes on a busy machine, and short enough to wait for when the code never finishes.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The upload as it is going to be served, and beside it the one that describes it.
const SERVICE: &str = "upload";
const PROBE: &str = "probe";

#[derive(Deserialize)]
struct Described {
    kind: Kind,
    #[serde(default)]
    handlers: Vec<String>,
    #[serde(default)]
    alarm: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    DurableObject,
    WorkerEntrypoint,
    Workflow,
    LegacyClass,
    Object,
    Other,
    Value,
}

/// What was found out about uploads that load, by their content. The same code is uploaded again and again.
static LOADED: LazyLock<Mutex<HashMap<Fingerprint, Probed>>> = LazyLock::new(Mutex::default);

type Fingerprint = [u8; 32];

/// See [`super::Runtime::probe`].
pub(super) async fn probe(
    workerd: &Path,
    code: Code<'_>,
    bindings: &[ServedBinding],
) -> Result<Probed, ProbeFailure> {
    let fingerprint = fingerprint(workerd, &code, bindings);
    let known = || LOADED.lock().expect("no holder panics");
    if let Some(probed) = known().get(&fingerprint) {
        return Ok(probed.clone());
    }
    let probed = within_limit(describe_exports(workerd, code, bindings)).await?;
    known().insert(fingerprint, probed.clone());
    Ok(probed)
}

fn fingerprint(workerd: &Path, code: &Code<'_>, bindings: &[ServedBinding]) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(workerd.as_os_str().as_encoded_bytes());
    for text in [code.main, code.compatibility_date] {
        part(text.as_bytes());
    }
    part(code.compatibility_flags.join("\0").as_bytes());
    part(format!("{bindings:?}").as_bytes());
    for module in code.modules {
        part(module.name.as_bytes());
        part(module.content_type.as_bytes());
        part(&module.body);
    }
    hash.finalize().into()
}

/// See [`super::Runtime::probe_script`]. What is put in front of the script has no line of its own, so that the lines
/// in messages are those of the upload.
pub(super) async fn probe_script(
    workerd: &Path,
    code: Code<'_>,
    bindings: &[ServedBinding],
) -> Result<Probed, ProbeFailure> {
    let first = include_str!("probe-script.js").replace('\n', " ");
    let mut modules = code.modules.to_vec();
    for module in modules.iter_mut().filter(|it| it.name == code.main) {
        module.body = Bytes::from([first.as_bytes(), &module.body].concat());
    }
    let code = Code {
        modules: &modules,
        ..code
    };
    within_limit(async {
        let folder = tempfile::tempdir().map_err(broken)?;
        let mut config = Config::new(folder.path());
        let values = config.values(bindings).map_err(broken)?;
        config
            .worker(SERVICE, code, &format!(", bindings = {values}"))
            .map_err(broken)?;
        ask(workerd, config, SERVICE).await
    })
    .await
}

async fn within_limit(
    describe: impl Future<Output = Result<BTreeMap<String, Described>, ProbeFailure>>,
) -> Result<Probed, ProbeFailure> {
    match timeout(TIME_LIMIT, describe).await {
        Ok(described) => judge(described?),
        Err(_) => Err(ProbeFailure {
            text: "Script startup exceeded CPU time limit.".into(),
            kind: ProbeFailureKind::TimedOut,
        }),
    }
}

async fn describe_exports(
    workerd: &Path,
    code: Code<'_>,
    bindings: &[ServedBinding],
) -> Result<BTreeMap<String, Described>, ProbeFailure> {
    let folder = tempfile::tempdir().map_err(broken)?;
    let mut config = Config::new(folder.path());
    // Code can read values while it loads.
    let values = config.values(bindings).map_err(broken)?;
    let values = format!(", bindings = {values}");
    config.worker(SERVICE, code, &values).map_err(broken)?;
    let specifier = if code.main.starts_with("./") {
        code.main.into()
    } else {
        format!("./{}", code.main)
    };
    let import = serde_json::Value::from(specifier);
    let source = format!(
        "import * as upload from {import};\n{}",
        include_str!("probe.js")
    );
    let mut modules = code.modules.to_vec();
    let mut name = "local-cloudflare-probe.js".to_owned();
    while modules.iter().any(|module| module.name == name) {
        name.insert(0, '_');
    }
    modules.push(ModuleFile {
        name: name.clone(),
        content_type: "application/javascript+module".into(),
        body: Bytes::from(source),
    });
    let code = Code {
        main: &name,
        modules: &modules,
        ..code
    };
    config.worker(PROBE, code, &values).map_err(broken)?;
    ask(workerd, config, PROBE).await
}

/// Starts what is configured and asks one service of it what the upload is.
async fn ask(
    workerd: &Path,
    mut config: Config<'_>,
    service: &str,
) -> Result<BTreeMap<String, Described>, ProbeFailure> {
    config.socket(service, service);
    let (path, sockets) = config.finish().map_err(broken)?;

    let process = start(workerd, &path, sockets).await?;
    let port = process.ports.get(service).copied().unwrap_or_default();
    let answer = super::gate::get(port).await.map_err(broken)?;
    // Dropping the process kills it; nothing in it is worth waiting for.
    serde_json::from_slice(&answer).map_err(|error| broken(error.into()))
}

/// See [`super::Runtime::check_assets`].
pub(super) async fn check_assets(
    workerd: &Path,
    config: &str,
    date: &str,
    flags: &[String],
) -> Result<(), ProbeFailure> {
    let folder = tempfile::tempdir().map_err(broken)?;
    let assets = ServedAssets {
        folder: folder.path().to_owned(),
        config: config.to_owned(),
    };
    let mut config = Config::new(folder.path());
    config
        .assets(SERVICE, &assets, &dated(date, flags))
        .map_err(broken)?;
    config.socket(SERVICE, SERVICE);
    let (path, sockets) = config.finish().map_err(broken)?;
    match timeout(TIME_LIMIT, start(workerd, &path, sockets)).await {
        Ok(started) => started.map(drop),
        Err(elapsed) => Err(broken(elapsed.into())),
    }
}

async fn start(workerd: &Path, config: &Path, sockets: usize) -> Result<Process, ProbeFailure> {
    Process::start(workerd, config, sockets, None)
        .await
        .map_err(|failure| match failure {
            StartFailure::Io(error) => broken(error),
            StartFailure::Exited(stderr) => ProbeFailure {
                text: startup_text(&stderr),
                kind: ProbeFailureKind::Startup,
            },
        })
}

fn judge(described: BTreeMap<String, Described>) -> Result<Probed, ProbeFailure> {
    let mut exports = Vec::new();
    let mut default_handlers = Vec::new();
    let mut alarms = false;
    for (
        name,
        Described {
            kind,
            handlers,
            alarm,
        },
    ) in described
    {
        alarms |= alarm;
        let kind = match kind {
            // workerd refuses such an export when it is in the main module, which it is not while probed.
            Kind::Value => {
                return Err(ProbeFailure {
                    text: format!(
                        "Uncaught TypeError: Incorrect type for map entry '{name}': the provided \
                         value is not of type 'function or ExportedHandler'."
                    ),
                    kind: ProbeFailureKind::Startup,
                });
            }
            _ if name == "default" => {
                default_handlers = handlers;
                continue;
            }
            Kind::DurableObject => ExportKind::DurableObject,
            Kind::WorkerEntrypoint => ExportKind::WorkerEntrypoint,
            Kind::Workflow => ExportKind::Workflow,
            Kind::LegacyClass => ExportKind::LegacyClass,
            Kind::Object if !handlers.is_empty() => ExportKind::Handlers(handlers),
            Kind::Object | Kind::Other => ExportKind::Other,
        };
        exports.push(Export { name, kind });
    }
    let handles_nothing = default_handlers.is_empty()
        && exports
            .iter()
            .all(|export| export.kind == ExportKind::Other);
    if handles_nothing {
        return Err(ProbeFailure {
            text: "The uploaded script has no registered event handlers.".into(),
            kind: ProbeFailureKind::NoHandlers,
        });
    }
    Ok(Probed {
        exports,
        default_handlers,
        alarms,
    })
}

/// What workerd printed, as the API shows it: without the name of the service and without notes of its own.
fn startup_text(stderr: &str) -> String {
    let [own, beside] = [SERVICE, PROBE].map(|service| format!("service {service}: "));
    let mut lines: Vec<&str> = Vec::new();
    for line in stderr.lines() {
        // What is wrong with the upload may be wrong with what is beside it, too.
        if line.starts_with(&beside) && !lines.is_empty() {
            break;
        }
        let line = line.strip_prefix(&own).unwrap_or(line);
        let line = line.strip_prefix(&beside).unwrap_or(line);
        let own_note = line.starts_with("workerd/") && line.contains(": warning: ");
        if !own_note {
            lines.push(line);
        }
    }
    let config = format!("Assets service {SERVICE:?}'s config");
    lines.join("\n").replace(&config, "assets.config")
}

fn broken(error: io::Error) -> ProbeFailure {
    ProbeFailure {
        text: format!("the Workers runtime could not be run: {error}"),
        kind: ProbeFailureKind::Runtime,
    }
}
