//! Writes workerd's configuration: a Cap'n Proto text file, and beside it one file per module and value.
//! Code and values are embedded as files, so that no byte of them is ever interpreted as configuration.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::engines;
use super::served::{
    KeyMaterial, ModuleFile, ServedAssets, ServedBinding, ServedStores, ServedWorker, Syntax,
};

/// The service that stores objects. The space keeps it apart from every Worker's service.
pub(super) const DISK: &str = "object storage";

/// The service, and its socket, that runs `scheduled` handlers. The space keeps it apart from every Worker's.
pub(super) const TRIGGERS: &str = "cron triggers";

/// The module behind bindings to dispatch namespaces.
const DISPATCH: &str = "local-cloudflare:dispatch";

/// A configuration being written into a folder.
pub(super) struct Config<'a> {
    folder: &'a Path,
    files: usize,
    services: Vec<String>,
    sockets: Vec<String>,
    /// The file of the module behind bindings to dispatch namespaces, once there is one.
    dispatcher: Option<String>,
}

impl<'a> Config<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            files: 0,
            services: Vec::new(),
            sockets: Vec::new(),
            dispatcher: None,
        }
    }

    /// Adds all Workers, the storage of their objects and of the stores, and a socket for each Worker, named like it.
    pub(super) fn serve(
        &mut self,
        workers: &[ServedWorker],
        stores: &ServedStores,
        disk: &Path,
    ) -> io::Result<()> {
        self.disk(DISK, disk)?;
        engines::add(self, workers, stores, disk)?;
        let owners = Owners::of(workers, stores);
        for worker in workers {
            let mut extra = String::new();
            if !worker.namespaces.is_empty() {
                let namespaces = worker.namespaces.iter().map(|namespace| {
                    format!(
                        "(className = {}, uniqueKey = {}, enableSql = {})",
                        quoted(&namespace.class),
                        quoted(&namespace.unique_key),
                        namespace.sqlite
                    )
                });
                write!(
                    extra,
                    ", durableObjectNamespaces = {}, durableObjectStorage = (localDisk = {})",
                    list(namespaces),
                    quoted(DISK)
                )
                .expect("writing to a String cannot fail");
            }
            let mut bindings = Vec::new();
            for binding in &worker.bindings {
                bindings.extend(self.binding(worker, binding, &owners)?);
            }
            write!(extra, ", bindings = {}", list(bindings))
                .expect("writing to a String cannot fail");
            let service = service_name(&worker.name);
            if !worker.modules.is_empty() {
                self.worker(&service, worker.into(), &extra)?;
            }
            if let Some(assets) = &worker.assets {
                self.assets_of(worker, assets)?;
            }
            if !worker.inner {
                self.socket(&worker.name, &front_name(worker));
            }
        }
        self.triggers(workers)
    }

    /// Adds the files of a Worker, and in front of them what decides between them and its code.
    fn assets_of(&mut self, worker: &ServedWorker, assets: &ServedAssets) -> io::Result<()> {
        let code = if worker.modules.is_empty() {
            dated(&worker.compatibility_date, &worker.compatibility_flags)
        } else {
            format!("userWorker = {}", quoted(&service_name(&worker.name)))
        };
        self.assets(&assets_name(&worker.name), assets, &code)
    }

    /// Adds a service of files; `code` says what stands behind them.
    pub(super) fn assets(
        &mut self,
        service: &str,
        assets: &ServedAssets,
        code: &str,
    ) -> io::Result<()> {
        let folder = assets.folder.to_str().ok_or_else(|| {
            io::Error::other(format!(
                "the path {} is not valid UTF-8",
                assets.folder.display()
            ))
        })?;
        let config = self.embed(assets.config.as_bytes())?;
        self.services.push(format!(
            "(name = {}, assets = (path = {}, config = {config}, {code}))",
            quoted(service),
            quoted(folder)
        ));
        Ok(())
    }

    /// Adds the service that runs `scheduled` handlers, if there are any.
    fn triggers(&mut self, workers: &[ServedWorker]) -> io::Result<()> {
        let targets: Vec<String> = workers
            .iter()
            .filter(|worker| worker.handles_cron)
            .map(|worker| {
                format!(
                    "(name = {}, service = {})",
                    quoted(&worker.name),
                    quoted(&service_name(&worker.name))
                )
            })
            .collect();
        if targets.is_empty() {
            return Ok(());
        }
        let modules = [ModuleFile {
            name: "triggers.js".into(),
            content_type: "application/javascript+module".into(),
            body: include_bytes!("triggers.js").as_slice().into(),
        }];
        let code = Code {
            main: "triggers.js",
            syntax: Syntax::Modules,
            modules: &modules,
            compatibility_date: "2026-01-01",
            compatibility_flags: &["service_binding_extra_handlers".to_owned()],
        };
        self.worker(TRIGGERS, code, &format!(", bindings = {}", list(targets)))?;
        self.socket(TRIGGERS, TRIGGERS);
        Ok(())
    }

    /// Adds one Worker without storage; `extra` continues its definition.
    pub(super) fn worker(&mut self, service: &str, code: Code<'_>, extra: &str) -> io::Result<()> {
        let source = match code.syntax {
            Syntax::Modules => format!("modules = {}", self.modules(&code)?),
            Syntax::ServiceWorker => {
                let main = code.modules.iter().find(|part| part.name == code.main);
                let main = self.embed(main.map_or(&[], |part| &part.body))?;
                format!("serviceWorkerScript = {main}")
            }
        };
        self.services.push(format!(
            "(name = {}, worker = ({source}, {}{extra}))",
            quoted(service),
            dated(code.compatibility_date, code.compatibility_flags),
        ));
        Ok(())
    }

    fn modules(&mut self, code: &Code<'_>) -> io::Result<String> {
        let (main, others): (Vec<_>, Vec<_>) = code
            .modules
            .iter()
            .partition(|module| module.name == code.main);
        let mut modules = Vec::new();
        // workerd takes the first module for the main one.
        for module in main.into_iter().chain(others) {
            if let Some(kind) = module_kind(&module.content_type) {
                let file = self.embed(&module.body)?;
                modules.push(format!(
                    "(name = {}, {kind} = {file})",
                    quoted(&module.name)
                ));
            }
        }
        Ok(list(modules))
    }

    /// A list of bindings that need nothing else of the configuration; others are left out.
    pub(super) fn values(&mut self, bindings: &[ServedBinding]) -> io::Result<String> {
        let nothing = ServedStores::default();
        let nobody = ServedWorker::default();
        let owners = Owners::of(&[], &nothing);
        let mut found = Vec::new();
        for binding in bindings {
            found.extend(self.binding(&nobody, binding, &owners)?);
        }
        Ok(list(found))
    }

    /// Adds a service that reads and writes files in a folder.
    pub(super) fn disk(&mut self, service: &str, folder: &Path) -> io::Result<()> {
        let path = folder.to_str().ok_or_else(|| {
            io::Error::other(format!("the path {} is not valid UTF-8", folder.display()))
        })?;
        self.services.push(format!(
            "(name = {}, disk = (path = {}, writable = true))",
            quoted(service),
            quoted(path)
        ));
        Ok(())
    }

    /// Adds a service that is written out already.
    pub(super) fn service(&mut self, definition: String) {
        self.services.push(definition);
    }

    /// Adds a socket on a free port of the loopback interface.
    pub(super) fn socket(&mut self, name: &str, service: &str) {
        self.sockets.push(format!(
            "(name = {}, address = \"127.0.0.1:0\", http = (), service = {})",
            quoted(name),
            quoted(service)
        ));
    }

    /// Writes the file and returns its path and the number of sockets in it.
    pub(super) fn finish(self) -> io::Result<(PathBuf, usize)> {
        let path = self.folder.join("config.capnp");
        let extensions = match &self.dispatcher {
            Some(file) => format!(
                "(modules = [(name = {}, internal = true, esModule = {file})])",
                quoted(DISPATCH)
            ),
            None => String::new(),
        };
        let text = format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\n\
             const config :Workerd.Config = (\n  services = [\n    {}\n  ],\n  sockets = [\n    {}\n  ],\n  extensions = [{extensions}]\n);\n",
            self.services.join(",\n    "),
            self.sockets.join(",\n    ")
        );
        fs::write(&path, text)?;
        Ok((path, self.sockets.len()))
    }

    /// One entry of `env`, or nothing if what it points to is not there any more.
    fn binding(
        &mut self,
        worker: &ServedWorker,
        binding: &ServedBinding,
        owners: &Owners<'_>,
    ) -> io::Result<Option<String>> {
        Ok(match binding {
            ServedBinding::Text { name, value } => {
                let file = self.embed(value.as_bytes())?;
                Some(format!("(name = {}, text = {file})", quoted(name)))
            }
            ServedBinding::Json { name, value } => {
                let file = self.embed(value.as_bytes())?;
                Some(format!("(name = {}, json = {file})", quoted(name)))
            }
            ServedBinding::Assets { name } => worker.assets.is_some().then(|| {
                format!(
                    "(name = {}, service = (name = {}, entrypoint = \"AssetWorker\"))",
                    quoted(name),
                    quoted(&assets_name(&worker.name))
                )
            }),
            ServedBinding::Data { name, value } => {
                let file = self.embed(value)?;
                Some(format!("(name = {}, data = {file})", quoted(name)))
            }
            ServedBinding::Wasm { name, value } => {
                let file = self.embed(value)?;
                Some(format!("(name = {}, wasmModule = {file})", quoted(name)))
            }
            ServedBinding::Key {
                name,
                material,
                algorithm,
                usages,
            } => {
                let (form, text) = match material {
                    KeyMaterial::Raw(text) => ("base64", text.clone()),
                    KeyMaterial::Pkcs8(text) => ("pkcs8", pem("PRIVATE KEY", text)),
                    KeyMaterial::Spki(text) => ("spki", pem("PUBLIC KEY", text)),
                    KeyMaterial::Jwk(text) => ("jwk", text.clone()),
                };
                let (key, algorithm) = (
                    self.embed(text.as_bytes())?,
                    self.embed(algorithm.as_bytes())?,
                );
                Some(format!(
                    "(name = {}, cryptoKey = ({form} = {key}, algorithm = (json = {algorithm}), usages = [{}]))",
                    quoted(name),
                    usages.join(", ")
                ))
            }
            ServedBinding::DurableObject { name, namespace_id } => owners
                .namespaces
                .get(namespace_id.as_str())
                .map(|(worker, class)| {
                    format!(
                        "(name = {}, durableObjectNamespace = (className = {}, serviceName = {}))",
                        quoted(name),
                        quoted(class),
                        quoted(&service_name(worker))
                    )
                }),
            ServedBinding::Service {
                name,
                worker,
                entrypoint,
            } => owners
                .designator(worker, entrypoint.as_deref())
                .map(|service| format!("(name = {}, service = {service})", quoted(name))),
            ServedBinding::Dispatcher { name, workers } => {
                if self.dispatcher.is_none() {
                    self.dispatcher = Some(self.embed(include_bytes!("dispatch.js"))?);
                }
                let workers = workers.iter().filter_map(|(short, worker)| {
                    let service = owners.designator(worker, None)?;
                    let name = quoted(&service_name(short));
                    Some(format!("(name = {name}, service = {service})"))
                });
                Some(format!(
                    "(name = {}, wrapped = (moduleName = {}, innerBindings = {}))",
                    quoted(name),
                    quoted(DISPATCH),
                    list(workers)
                ))
            }
            ServedBinding::Store { name, store } => owners
                .stores
                .kept
                .contains(store)
                .then(|| engines::binding(name, store)),
        })
    }

    pub(super) fn embed(&mut self, bytes: &[u8]) -> io::Result<String> {
        let name = self.files.to_string();
        fs::write(self.folder.join(&name), bytes)?;
        self.files += 1;
        Ok(format!("embed {}", quoted(&name)))
    }
}

/// The code of a Worker, whether it is going to be served or only probed.
#[derive(Clone, Copy)]
pub(super) struct Code<'a> {
    pub(super) main: &'a str,
    pub(super) syntax: Syntax,
    pub(super) modules: &'a [ModuleFile],
    pub(super) compatibility_date: &'a str,
    pub(super) compatibility_flags: &'a [String],
}

impl<'a> From<&'a ServedWorker> for Code<'a> {
    fn from(worker: &'a ServedWorker) -> Self {
        Self {
            main: &worker.main,
            syntax: worker.syntax,
            modules: &worker.modules,
            compatibility_date: &worker.compatibility_date,
            compatibility_flags: &worker.compatibility_flags,
        }
    }
}

/// Who implements what, for bindings that point to it.
struct Owners<'a> {
    workers: HashMap<&'a str, &'a ServedWorker>,
    namespaces: HashMap<&'a str, (&'a str, &'a str)>,
    stores: &'a ServedStores,
}

impl<'a> Owners<'a> {
    fn of(workers: &'a [ServedWorker], stores: &'a ServedStores) -> Self {
        Self {
            stores,
            workers: workers
                .iter()
                .map(|worker| (worker.name.as_str(), worker))
                .collect(),
            namespaces: workers
                .iter()
                .flat_map(|worker| worker.namespaces.iter().map(move |owned| (worker, owned)))
                .map(|(worker, owned)| {
                    (
                        owned.unique_key.as_str(),
                        (worker.name.as_str(), owned.class.as_str()),
                    )
                })
                .collect(),
        }
    }
}

impl Owners<'_> {
    /// What another Worker reaches: files come before code, but a named entrypoint is code alone.
    fn designator(&self, worker: &str, entrypoint: Option<&str>) -> Option<String> {
        let worker = self.workers.get(worker)?;
        match entrypoint {
            None => Some(format!("(name = {})", quoted(&front_name(worker)))),
            Some(_) if worker.modules.is_empty() => None,
            Some(entrypoint) => Some(format!(
                "(name = {}, entrypoint = {})",
                quoted(&service_name(&worker.name)),
                quoted(entrypoint)
            )),
        }
    }
}

/// A Worker may be called `internet`, which is a service of workerd's own; the prefix keeps them apart.
pub(super) fn service_name(worker: &str) -> String {
    format!("worker {worker}")
}

/// The service of a Worker's files.
pub(super) fn assets_name(worker: &str) -> String {
    format!("assets {worker}")
}

/// The service that gets a Worker's requests.
fn front_name(worker: &ServedWorker) -> String {
    match worker.assets {
        Some(_) => assets_name(&worker.name),
        None => service_name(&worker.name),
    }
}

/// The date and the flags that choose the runtime's behaviour.
pub(super) fn dated(date: &str, flags: &[String]) -> String {
    format!(
        "compatibilityDate = {}, compatibilityFlags = {}",
        quoted(date),
        list(flags.iter().map(|flag| quoted(flag)))
    )
}

/// The kind of module an upload part's content type asks for; source maps are not modules.
fn module_kind(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/javascript+module" | "text/javascript+module" => Some("esModule"),
        "application/javascript" | "text/javascript" => Some("commonJsModule"),
        "text/plain" => Some("text"),
        "application/json" => Some("json"),
        "application/wasm" => Some("wasm"),
        "text/x-python" => Some("pythonModule"),
        "application/source-map" => None,
        _ => Some("data"),
    }
}

/// A key in base 64 as workerd wants it.
fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A Cap'n Proto string literal. There is no `\u` escape in this format; bytes of UTF-8 are escaped one by one.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' => literal.push_str("\\\""),
            b'\\' => literal.push_str("\\\\"),
            b' '..=b'~' => literal.push(char::from(byte)),
            _ => write!(literal, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_byte_by_byte() {
        for (text, literal) in [
            ("plain name-1", r#""plain name-1""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("line\nbreak\0", r#""line\x0abreak\x00""#),
            ("é", r#""\xc3\xa9""#),
            ("\u{7f}", r#""\x7f""#),
        ] {
            assert_eq!(quoted(text), literal);
        }
    }

    #[test]
    fn content_types_choose_the_module_kind() {
        for (content_type, kind) in [
            ("application/javascript+module", Some("esModule")),
            (
                "application/javascript+module; charset=utf-8",
                Some("esModule"),
            ),
            ("application/javascript", Some("commonJsModule")),
            ("text/plain", Some("text")),
            ("application/octet-stream", Some("data")),
            ("application/source-map", None),
        ] {
            assert_eq!(module_kind(content_type), kind, "{content_type}");
        }
    }
}
