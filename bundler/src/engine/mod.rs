//! The bundler: Rolldown, told what a Worker needs.
//!
//! `options` says how, `plugin` what becomes of imports, `decorators` what becomes of those, `problems` what people read when it fails.

mod decorators;
mod options;
mod plugin;
mod problems;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rolldown::{Bundler, BundlerBuilder};
use rolldown_common::{Output, OutputChunk};
use rolldown_error::{BuildDiagnostic, EventKind};
use rolldown_sourcemap::SourceMap;

use crate::bundle::{BuiltinImport, Bundle, Module, ModuleKind, Problem, Request};
use decorators::Lowering;
use plugin::WorkerModules;
use problems::Shown;

/// What the bundle is called; other modules have names of their own.
const MAIN_MODULE: &str = "worker.js";

/// The stack of every thread: the parser goes one level down for each level of the source.
const STACK: usize = 64 << 20;

/// Bundles, on threads of its own.
///
/// # Errors
/// Everything that is wrong with the sources, at least one problem.
pub fn bundle(request: &Request) -> Result<Bundle, Vec<Problem>> {
    let entry = problems::entry(request)?;
    let root = project_root(&entry);
    // Built once a process; a second request finds it.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads.max(1))
        .stack_size(STACK)
        .build_global();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(request.threads.max(1))
        .max_blocking_threads(request.threads.max(1) * 2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(|error| vec![Problem::plain(format!("Cannot start threads: {error}"))])?;
    let shown = Shown::new(&root, &request.shown_from);
    let plugin = Arc::new(WorkerModules::new(&request.options.external));
    let lowering = Arc::new(Lowering::default());
    let built = runtime.block_on(run(
        request,
        &entry,
        &root,
        plugin.clone(),
        lowering.clone(),
    ));
    let (output, warnings) = match built {
        Ok(built) => built,
        Err(errors) => return Err(shown.problems(errors, plugin.take_problems())),
    };
    let mut refused = plugin.take_problems();
    refused.extend(lowering.take_problems(&shown));
    // Rolldown leaves imports that it does not find as they are; the Worker would not start.
    let (unresolved, warnings): (Vec<_>, Vec<_>) = warnings
        .into_iter()
        .partition(|warning| matches!(warning.kind(), EventKind::UnresolvedImport));
    if !refused.is_empty() || !unresolved.is_empty() {
        return Err(shown.problems(unresolved, refused));
    }
    if output.exports.is_empty() {
        return Err(vec![problems::no_exports()]);
    }
    Ok(finish(
        request,
        &entry,
        &output,
        &plugin,
        &shown,
        shown.warnings(warnings),
    ))
}

/// Lets Rolldown work, without writing anything.
async fn run(
    request: &Request,
    entry: &Path,
    root: &Path,
    plugin: Arc<WorkerModules>,
    lowering: Arc<Lowering>,
) -> Result<(Arc<OutputChunk>, Vec<BuildDiagnostic>), Vec<BuildDiagnostic>> {
    let mut bundler: Bundler = BundlerBuilder::default()
        .with_options(options::options(&request.options, entry, root))
        .with_plugins(vec![plugin, lowering])
        .build()
        .map_err(problems::each)?;
    let output = bundler.generate().await.map_err(problems::each)?;
    let main = output.assets.into_iter().find_map(|output| match output {
        Output::Chunk(chunk) => Some(chunk),
        Output::Asset(_) => None,
    });
    match main {
        Some(main) => Ok((main, output.warnings)),
        None => Err(output.warnings),
    }
}

/// The modules of the Worker from what Rolldown made and the plugin collected.
fn finish(
    request: &Request,
    entry: &Path,
    output: &OutputChunk,
    plugin: &WorkerModules,
    shown: &Shown<'_>,
    warnings: Vec<Problem>,
) -> Bundle {
    let imported = |name: &str| {
        let mut imports = output.imports.iter().chain(&output.dynamic_imports);
        imports.any(|import| import.as_str() == name)
    };
    let included: HashSet<&str> = output.modules.keys.iter().map(|id| id.as_str()).collect();
    let builtins = plugin
        .builtins()
        .into_iter()
        .filter(|(module, importer)| imported(module) && included.contains(importer.as_str()))
        .map(|(module, importer)| BuiltinImport {
            module,
            importer: shown.file(&importer),
        })
        .collect();
    let mut modules = vec![Module {
        name: MAIN_MODULE.to_owned(),
        kind: ModuleKind::EsModule,
        body: output.code.clone().into(),
    }];
    if let (true, Some(map)) = (request.options.source_map, &output.map) {
        modules.push(Module {
            name: format!("{MAIN_MODULE}.map"),
            kind: ModuleKind::SourceMap,
            body: source_map(map, entry).into(),
        });
    }
    let collected = plugin.take_modules().into_iter();
    modules.extend(
        collected
            .filter(|(name, _)| imported(&format!("./{name}")))
            .map(|(name, (kind, body))| Module {
                name,
                kind,
                body: body.into(),
            }),
    );
    modules[1..].sort_by(|a, b| a.name.cmp(&b.name));
    Bundle {
        modules,
        builtins,
        warnings,
    }
}

/// The map with sources that are named alike on every machine.
fn source_map(map: &SourceMap, entry: &Path) -> String {
    let mut map = map.clone();
    let sources: Vec<String> = map
        .get_sources()
        .map(|source| named_alike(source, entry))
        .collect();
    map.set_sources(sources);
    map.to_json_string()
}

/// A source by its package if it is in one, else by its way from the entry's directory.
fn named_alike(source: &str, _entry: &Path) -> String {
    match source.rfind("node_modules/") {
        Some(at) => source[at..].to_owned(),
        None => source.to_owned(),
    }
}

/// The nearest directory above the entry that is a project, else the entry's own.
fn project_root(entry: &Path) -> PathBuf {
    let own = entry.parent().unwrap_or(entry);
    let is_project = |directory: &&Path| {
        ["package.json", "tsconfig.json"]
            .iter()
            .any(|file| directory.join(file).is_file())
    };
    own.ancestors().find(is_project).unwrap_or(own).to_owned()
}
