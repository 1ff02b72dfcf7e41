//! The code of a Worker: from `script`, `entrypoint` or `modules` to the modules that are uploaded, and their hash.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::bundled::{self, Bundled};
use crate::bundle::Bundler;
use crate::cloudflare::Module;
use crate::tf::{AttributePath, Diagnostic, Diagnostics, Value};

/// The arguments that hold code. At most one of them is set.
const SOURCES: [&str; 3] = ["script", "entrypoint", "modules"];
/// What `script` is uploaded as.
pub const SCRIPT_MODULE: &str = "worker.js";
const ES_MODULE: &str = "application/javascript+module";

/// How `-refresh=false` helps when a plan error stands in the way of a destroy.
pub const DESTROY_HINT: &str =
    "To destroy the Worker all the same: `terraform destroy -refresh=false`.";

/// The code as configured.
#[derive(Debug)]
pub enum Code {
    /// Neither `script` nor `entrypoint` nor `modules`: somebody else uploads it.
    Unmanaged,
    /// Part of it is not known before apply.
    Unknown,
    /// Known.
    Known(Modules),
}

/// The modules of a Worker.
#[derive(Clone, Debug)]
pub struct Modules {
    /// The module that the runtime starts.
    pub main: String,
    /// All modules, by name.
    pub modules: Arc<[Module]>,
    /// The hash of each content, in the same order.
    pub hashes: Vec<String>,
    /// The hash of all names, types and contents.
    pub sha256: String,
    /// How they were made, if they are a bundle.
    pub bundled: Option<Arc<Bundled>>,
}

impl Modules {
    /// The modules in order, with their hashes.
    pub fn new(main: String, mut modules: Vec<Module>) -> Modules {
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let hashes: Vec<String> = modules
            .iter()
            .map(|module| hex::encode(Sha256::digest(&module.body)))
            .collect();
        let mut all = Sha256::new();
        for (module, hash) in modules.iter().zip(&hashes) {
            for part in [&module.name, &module.content_type, hash] {
                all.update((part.len() as u64).to_be_bytes());
                all.update(part);
            }
        }
        Modules {
            main,
            modules: modules.into(),
            hashes,
            sha256: hex::encode(all.finalize()),
            bundled: None,
        }
    }

    /// The main module, or the file that the user knows it by.
    pub fn shown(&self) -> &str {
        match &self.bundled {
            Some(bundled) => &bundled.entry,
            None => &self.main,
        }
    }

    /// What may be wrong, for a plan that uploads them; with the modules of Node.js that they need, if it decides about that too.
    pub fn warnings(&self, planned: &Value, judges_builtins: bool) -> Diagnostics {
        let Some(bundled) = &self.bundled else {
            return Diagnostics::default();
        };
        let mut diagnostics = bundled.warnings();
        if judges_builtins {
            for warning in bundled.missing_builtins(planned) {
                diagnostics.push(warning);
            }
        }
        diagnostics
    }

    /// The same as part of a sentence.
    pub fn subject(&self) -> String {
        match &self.bundled {
            Some(bundled) => format!("`{}`", bundled.entry),
            None => format!("the main module `{}`", self.main),
        }
    }
}

/// Whether a configuration or a state has its code from here. An unknown argument counts as set.
pub fn is_managed(value: &Value) -> bool {
    SOURCES.iter().any(|source| !value.get(source).is_null())
}

/// Judges the arguments, as far as they are known.
pub fn judge(config: &Value) -> Diagnostics {
    let mut diagnostics = bundled::judge(config);
    let (script, modules) = (config.get("script"), config.get("modules"));
    let is_known = |value: &Value| !value.is_null() && !value.is_unknown();
    let mut set = SOURCES.iter().filter(|source| is_known(config.get(source)));
    if let Some(first) = set.next() {
        for second in set {
            diagnostics.push(
                Diagnostic::error(
                    "Two sources of code",
                    format!("`{first}` and `{second}` exclude each other. Remove one of them."),
                )
                .at(AttributePath::root(second)),
            );
        }
    }
    if script.as_str().is_some_and(|text| text.trim().is_empty()) {
        diagnostics.push(
            Diagnostic::error(
                "Empty script",
                "`script` holds no code. It must be the text of an ES module.",
            )
            .at(AttributePath::root("script")),
        );
    }
    let main = config.get("main_module");
    if !main.is_null() && modules.is_null() {
        let detail = match is_known(config.get("entrypoint")) {
            true => {
                "The runtime starts `entrypoint`. `main_module` names one of `modules`, but there are none; remove it."
            }
            false => "`main_module` names one of `modules`, but there are none.",
        };
        diagnostics.push(
            Diagnostic::error("No modules to start", detail).at(AttributePath::root("main_module")),
        );
    }
    let Some(map) = modules.as_map() else {
        return diagnostics;
    };
    if map.is_empty() {
        diagnostics.push(
            Diagnostic::error(
                "No modules",
                "`modules` is empty. Give it at least one module, or remove it.",
            )
            .at(AttributePath::root("modules")),
        );
    }
    match main.as_str() {
        Some(main) if !map.contains_key(main) => {
            let names: Vec<String> = map.keys().map(|name| format!("`{name}`")).collect();
            diagnostics.push(
                Diagnostic::error(
                    "Main module does not exist",
                    format!(
                        "`main_module` is {main:?}, but `modules` has {}.",
                        names.join(", ")
                    ),
                )
                .at(AttributePath::root("main_module")),
            );
        }
        None if main.is_null() && map.len() > 1 => {
            diagnostics.push(
                Diagnostic::error(
                    "Missing main module",
                    "With several modules `main_module` has to name the one that the runtime starts.",
                )
                .at(AttributePath::root("main_module")),
            );
        }
        _ => {}
    }
    for (name, module) in map {
        let path = AttributePath::root("modules").key(name);
        let sources = ["content", "content_file", "content_base64"];
        let set = sources
            .iter()
            .filter(|source| !module.get(source).is_null())
            .count();
        if set != 1 && module.as_map().is_some() {
            diagnostics.push(
                Diagnostic::error(
                    "A module needs one source",
                    format!("`{path}` must have exactly one of `content`, `content_file` and `content_base64`; it has {set}."),
                )
                .at(path.clone()),
            );
        }
        if module.as_map().is_some()
            && module.get("content_type").is_null()
            && content_type(name).is_none()
        {
            let place = path.attribute("content_type");
            diagnostics.push(
                Diagnostic::error(
                    "Unknown type of module",
                    format!(
                        "The name `{name}` does not tell what the module is. Set `{place}`, for example to `{ES_MODULE}`, \
                         `text/plain` or `application/octet-stream`."
                    ),
                )
                .at(place),
            );
        }
    }
    diagnostics
}

/// What Cloudflare calls the content of a module with that name.
fn content_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending {
        "js" | "mjs" => ES_MODULE,
        "cjs" => "application/javascript",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "txt" | "html" | "sql" | "css" | "md" => "text/plain",
        "bin" => "application/octet-stream",
        "py" => "text/x-python",
        "map" => "application/source-map",
        _ => return None,
    })
}

/// Text that is shared with the value it came from.
struct Shared(Arc<str>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn body(text: &Value) -> Option<Bytes> {
    match text {
        Value::String(text) => Some(Bytes::from_owner(Shared(text.clone()))),
        _ => None,
    }
}

/// Reads the code. Arguments that [`judge`] refuses must not reach this.
///
/// # Errors
/// A file that cannot be read, content that is not base64, or sources that cannot be bundled, at its place.
pub async fn load(
    config: &Value,
    bundler: &Bundler,
    stop: &CancellationToken,
) -> Result<Code, Diagnostics> {
    let (script, modules) = (config.get("script"), config.get("modules"));
    let (entrypoint, bundle) = (config.get("entrypoint"), config.get("bundle"));
    if let Some(body) = body(script) {
        let module = Module {
            name: SCRIPT_MODULE.to_owned(),
            content_type: ES_MODULE.to_owned(),
            body,
        };
        return Ok(Code::Known(Modules::new(
            SCRIPT_MODULE.to_owned(),
            vec![module],
        )));
    }
    let unknown = [script, entrypoint, modules, config.get("main_module")];
    if unknown.iter().any(|value| value.is_unknown()) || !bundle.is_wholly_known() {
        return Ok(Code::Unknown);
    }
    if let Some(entry) = entrypoint.as_str() {
        let bundling = bundled::load(entry, bundle, bundler, stop);
        return Ok(Code::Known(bundling.await?));
    }
    let Some(map) = modules.as_map() else {
        return Ok(Code::Unmanaged);
    };
    let mut diagnostics = Diagnostics::default();
    let mut known = Vec::new();
    let mut unknown = false;
    for (name, module) in map {
        match load_module(name, module).await {
            Ok(Some(module)) => known.push(module),
            Ok(None) => unknown = true,
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    if unknown {
        return Ok(Code::Unknown);
    }
    let main = config
        .get("main_module")
        .as_str()
        .map(str::to_owned)
        .or_else(|| map.keys().next().cloned());
    Ok(Code::Known(Modules::new(main.unwrap_or_default(), known)))
}

async fn load_module(name: &str, module: &Value) -> Result<Option<Module>, Diagnostic> {
    let path = AttributePath::root("modules").key(name);
    let ty = module.get("content_type");
    let body = if let Some(body) = body(module.get("content")) {
        body
    } else if let Some(file) = module.get("content_file").as_str() {
        Bytes::from(tokio::fs::read(file).await.map_err(|error| {
            let place = path.clone().attribute("content_file");
            Diagnostic::error(
                format!("Cannot read module `{name}`"),
                format!("Failed to read the file {file:?}: {error}.\n\n{DESTROY_HINT}"),
            )
            .at(place)
        })?)
    } else if let Some(base64) = module.get("content_base64").as_str() {
        Bytes::from(STANDARD.decode(base64).map_err(|error| {
            let place = path.clone().attribute("content_base64");
            Diagnostic::error(
                format!("Module `{name}` is not base64"),
                format!("`{place}`: {error}."),
            )
            .at(place)
        })?)
    } else {
        return Ok(None);
    };
    if ty.is_unknown() {
        return Ok(None);
    }
    let content_type = ty
        .as_str()
        .or_else(|| content_type(name))
        .unwrap_or(ES_MODULE)
        .to_owned();
    Ok(Some(Module {
        name: name.to_owned(),
        content_type,
        body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, body: &str) -> Module {
        Module {
            name: name.into(),
            content_type: ES_MODULE.into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn the_hash_depends_on_names_types_and_bytes_but_not_on_the_order() {
        let hash = |modules| Modules::new("a.js".into(), modules).sha256;
        let one = hash(vec![module("a.js", "1"), module("b.js", "2")]);
        assert_eq!(one, hash(vec![module("b.js", "2"), module("a.js", "1")]));
        assert_ne!(one, hash(vec![module("a.js", "2"), module("b.js", "1")]));
        assert_ne!(one, hash(vec![module("a.js", "1"), module("c.js", "2")]));
    }

    #[track_caller]
    fn judged(config: Value, expect: &[&str]) {
        let places: Vec<String> = judge(&config)
            .iter()
            .map(|d| d.path.clone().unwrap_or_default().to_string())
            .collect();
        assert_eq!(places, expect);
    }

    #[test]
    fn impossible_code_is_refused_at_its_place() {
        let content = |text: &str| Value::object([("content", Value::from(text))]);
        judged(Value::object([("script", Value::from("  "))]), &["script"]);
        judged(
            Value::object([
                ("script", Value::from("x")),
                ("modules", Value::object([("a.js", content("x"))])),
            ]),
            &["modules"],
        );
        judged(
            Value::object([(
                "modules",
                Value::object([("a.js", content("x")), ("b.js", content("x"))]),
            )]),
            &["main_module"],
        );
        judged(
            Value::object([
                ("modules", Value::object([("a.unheard", content("x"))])),
                ("main_module", Value::from("b.js")),
            ]),
            &["main_module", "modules[\"a.unheard\"].content_type"],
        );
        judged(
            Value::object([(
                "modules",
                Value::object([("a.js", Value::object([("content_type", Value::Null)]))]),
            )]),
            &["modules[\"a.js\"]"],
        );
        judged(
            Value::object([("script", Value::Unknown), ("modules", Value::Null)]),
            &[],
        );
    }

    #[test]
    fn code_has_one_source() {
        let script = ("script", Value::from("x"));
        let entrypoint = ("entrypoint", Value::from("a.ts"));
        let content = Value::object([("content", Value::from("x"))]);
        let modules = ("modules", Value::object([("a.js", content)]));
        let main = ("main_module", Value::from("a.js"));
        for (config, expect) in [
            (
                vec![script.clone(), entrypoint.clone()],
                &["entrypoint"][..],
            ),
            (vec![entrypoint.clone(), modules.clone()], &["modules"]),
            (
                vec![script.clone(), entrypoint.clone(), modules.clone()],
                &["entrypoint", "modules"],
            ),
            (vec![entrypoint.clone(), main], &["main_module"]),
            // What is not known may turn out to be null.
            (vec![script, ("entrypoint", Value::Unknown)], &[]),
            (vec![("script", Value::Unknown), modules], &[]),
            (vec![entrypoint], &[]),
        ] {
            judged(Value::object(config), expect);
        }
    }
}
