//! Code that is bundled from `entrypoint`: what may be asked for, the modules that come out, and what is said of the sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::code::{DESTROY_HINT, Modules};
use super::node_compat;
use crate::bundle::{BuiltinImport, Bundle, Bundler, Failure, ModuleKind, Options, Problem};
use crate::cloudflare::Module;
use crate::tf::{AttributePath, Diagnostic, Diagnostics, Value};

/// What the runtime takes for the date of a Worker that has none.
const DATE_OF_NONE: &str = "2021-11-02";

/// Where the code came from, if it is a bundle.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// The entry file as the user wrote it.
    pub entry: String,
    /// What the code imports of Node.js.
    builtins: Vec<BuiltinImport>,
    /// What may be wrong with the sources.
    warnings: Vec<Problem>,
}

impl Bundled {
    /// What the code imports of Node.js and the planned Worker does not have, as far as that is known.
    pub fn missing_builtins(&self, planned: &Value) -> Vec<Diagnostic> {
        let date = match planned.get("compatibility_date") {
            Value::String(date) => date,
            Value::Null => DATE_OF_NONE,
            _ => return Vec::new(),
        };
        let flags = planned.get("compatibility_flags");
        if !flags.is_wholly_known() {
            return Vec::new();
        }
        let flags = texts(flags).unwrap_or_default();
        node_compat::warnings(date, &flags, &self.builtins)
    }

    /// What may be wrong with the sources.
    pub fn warnings(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for problem in &self.warnings {
            let summary = format!("Bundling {}: {}", self.entry, printable(&problem.message));
            diagnostics.push(Diagnostic::warning(summary, detail(problem)).at(place()));
        }
        diagnostics
    }
}

fn place() -> AttributePath {
    AttributePath::root("entrypoint")
}

/// Judges `entrypoint` and `bundle`, as far as they are known. Opens no file.
pub fn judge(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let (entrypoint, bundle) = (config.get("entrypoint"), config.get("bundle"));
    if entrypoint
        .as_str()
        .is_some_and(|path| path.trim().is_empty())
    {
        diagnostics.push(
            Diagnostic::error(
                "Empty entrypoint",
                "`entrypoint` names no file. It must be the path of a TypeScript or JavaScript file, such as \
                 `\"${path.module}/src/worker.ts\"`.",
            )
            .at(place()),
        );
    }
    if bundle.as_map().is_some() && entrypoint.is_null() {
        diagnostics.push(
            Diagnostic::error(
                "Nothing to bundle",
                "`bundle` says how `entrypoint` is bundled, but there is no `entrypoint`. Other code is uploaded as it is.",
            )
            .at(AttributePath::root("bundle")),
        );
    }
    let bundle_path = |member: &str| AttributePath::root("bundle").attribute(member);
    let mut empty = |value: &Value, path: AttributePath, what: &str| {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            let text = format!("`{path}` is empty. It must be {what}; leave it out otherwise.");
            diagnostics.push(Diagnostic::error("Empty text", text).at(path));
        }
    };
    for (member, what) in [
        ("external", "the name of a package"),
        ("conditions", "a condition, such as `workerd`"),
    ] {
        let list = bundle.get(member).as_list().unwrap_or_default();
        for (index, element) in list.iter().enumerate() {
            empty(element, bundle_path(member).index(index), what);
        }
    }
    let tsconfig = bundle.get("tsconfig");
    empty(
        tsconfig,
        bundle_path("tsconfig"),
        "the path of a `tsconfig.json`",
    );
    for (name, value) in bundle.get("define").as_map().into_iter().flatten() {
        let path = bundle_path("define").key(name);
        if !is_name(name) {
            diagnostics.push(
                Diagnostic::error(
                    "Not a name to define",
                    format!("`{path}`: {name:?} is no global name. It must be one such as `VERSION` or `process.env.STAGE`."),
                )
                .at(path),
            );
        } else if value.as_str().is_some_and(|text| !stands_for_a_name(text)) {
            // What it is may be meant for few eyes.
            diagnostics.push(
                Diagnostic::error(
                    "Not a value to define",
                    format!("`{path}` must be JSON or a name, as JavaScript writes it. For text use `jsonencode(\"…\")`."),
                )
                .at(path),
            );
        }
    }
    diagnostics
}

/// Whether JavaScript reads this as one name, or as the member of one.
fn is_name(text: &str) -> bool {
    let starts = |c: char| matches!(c, '$' | '_') || unicode_ident::is_xid_start(c);
    text.split('.').all(|part| {
        part.starts_with(starts)
            && part
                .chars()
                .all(|c| c == '$' || unicode_ident::is_xid_continue(c))
    })
}

fn stands_for_a_name(text: &str) -> bool {
    is_name(text) || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_list()?.iter();
    Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// How to bundle. What [`judge`] refuses must not reach this, nor what is unknown.
fn options(bundle: &Value) -> Options {
    let define: BTreeMap<String, String> = bundle
        .get("define")
        .as_map()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    Options {
        minify: bundle.get("minify").as_bool() == Some(true),
        source_map: bundle.get("source_map").as_bool() == Some(true),
        external: texts(bundle.get("external")).unwrap_or_default(),
        define,
        conditions: texts(bundle.get("conditions")),
        tsconfig: bundle.get("tsconfig").as_str().map(PathBuf::from),
    }
}

/// Bundles an entry file.
///
/// # Errors
/// Everything that is wrong with the sources, or why nobody knows.
pub async fn load(
    entry: &str,
    bundle: &Value,
    bundler: &Bundler,
    stop: &CancellationToken,
) -> Result<Modules, Diagnostics> {
    let options = options(bundle);
    let shown = printable(entry);
    let outcome = tokio::select! {
        outcome = bundler.bundle(Path::new(entry), &options) => outcome,
        () = stop.cancelled() => {
            let text = "The run was interrupted. Nothing was changed.";
            return Err(Diagnostic::error(format!("Cannot bundle {shown}: interrupted"), text).at(place()).into());
        }
    };
    outcome
        .map(|bundle| modules(shown.clone(), bundle))
        .map_err(|failure| refusals(&shown, failure))
}

fn modules(entry: String, bundle: Bundle) -> Modules {
    let main = bundle
        .modules
        .first()
        .map(|module| module.name.clone())
        .unwrap_or_default();
    let modules = bundle.modules.into_iter().map(|module| Module {
        name: module.name,
        content_type: content_type(module.kind).to_owned(),
        body: module.body,
    });
    Modules {
        bundled: Some(Arc::new(Bundled {
            entry,
            builtins: bundle.builtins,
            warnings: bundle.warnings,
        })),
        ..Modules::new(main, modules.collect())
    }
}

/// What Cloudflare calls a module.
fn content_type(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::EsModule => "application/javascript+module",
        ModuleKind::Wasm => "application/wasm",
        ModuleKind::Text => "text/plain",
        ModuleKind::Data => "application/octet-stream",
        ModuleKind::SourceMap => "application/source-map",
    }
}

/// Why there is no bundle: one error for each problem, and once how to destroy the Worker without one.
fn refusals(entry: &str, failure: Failure) -> Diagnostics {
    let mut errors: Vec<(String, String)> = match failure {
        Failure::Sources(problems) => problems
            .iter()
            .map(|problem| (printable(&problem.message), detail(problem)))
            .collect(),
        Failure::Stopped(why) => vec![(
            "the bundler did not finish".to_owned(),
            format!("{why}\n\nBundling runs in a process of its own, so nothing else was affected, and nothing was changed."),
        )],
        Failure::NoBundler => vec![(
            "this build has no bundler".to_owned(),
            "This build of the provider was made without its bundler. Bundle with another tool and set `modules`, or install the complete \
             build."
                .to_owned(),
        )],
    };
    if let Some((_, detail)) = errors.last_mut() {
        if !detail.is_empty() {
            detail.push_str("\n\n");
        }
        detail.push_str(DESTROY_HINT);
    }
    let mut diagnostics = Diagnostics::default();
    for (message, detail) in errors {
        let summary = format!("Cannot bundle {entry}: {message}");
        diagnostics.push(Diagnostic::error(summary, detail).at(place()));
    }
    diagnostics
}

/// Where, what it looks like there, and what to do. Cores wrap lines, but none that starts with a space.
fn detail(problem: &Problem) -> String {
    let mut parts = Vec::new();
    if let Some(place) = &problem.place {
        let file = printable(&place.file);
        parts.push(format!("{file}:{}:{}", place.line, place.column));
    }
    let indented: Vec<String> = problem
        .frame
        .trim_end()
        .lines()
        .map(|line| format!("  {}", printable(line.trim_end())))
        .collect();
    for part in [indented.join("\n"), printable(&problem.help)] {
        if !part.is_empty() {
            parts.push(part);
        }
    }
    parts.join("\n\n")
}

/// What comes from sources, without what a terminal would obey.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests;
