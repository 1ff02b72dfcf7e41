//! The bundler: Rolldown, told what a Worker needs.
//!
//! `options` says how, `plugin` what becomes of imports, `decorators` what becomes of those, `problems` what people read when it fails.

mod decorators;
mod frame;
mod nested;
mod options;
mod plugin;
mod problems;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rolldown::{Bundler, BundlerBuilder};
use rolldown_common::{Output, OutputChunk};
use rolldown_error::{BatchedBuildDiagnostic, BuildDiagnostic, EventKind};
use rolldown_sourcemap::SourceMap;
use sugar_path::SugarPath;
use tokio::runtime::Runtime;

use crate::bundle::{BuiltinImport, Bundle, Module, ModuleKind, Problem, Request};
use decorators::Lowering;
use plugin::WorkerModules;
use problems::Shown;

/// What the bundle is called; other modules have names of their own.
const MAIN_MODULE: &str = "worker.js";

/// The directory that Rolldown thinks it writes to, below the project.
const OUTPUT: &str = "dist";

/// The stack of every thread: the parser goes one level down for each level of the source.
const STACK: usize = 64 << 20;

/// Bundles, on threads of its own.
///
/// # Errors
/// Everything that is wrong with the sources, at least one problem.
pub fn bundle(request: &Request) -> Result<Bundle, Vec<Problem>> {
    let entry = entry(request).map_err(|problem| vec![problem])?;
    let root = project_root(&entry);
    let shown = Shown::new(request, &root);
    let runtime = runtime(request.threads.max(1)).map_err(|error| {
        let message = format!("Cannot start the threads that bundle: {error}");
        vec![Problem::plain(message)]
    })?;
    let plugin = Arc::new(WorkerModules::new(&request.options.external));
    let lowering = Arc::new(Lowering::default());
    let plugins = (plugin.clone(), lowering.clone());
    let built = runtime.block_on(run(request, &entry, &root, plugins));
    let mut problems = plugin.take_problems(&shown);
    problems.extend(lowering.take_problems(&shown));
    let (output, warnings) = match built {
        Ok((output, warnings)) => (Some(output), warnings),
        Err(errors) => {
            // What the plugins refuse is told by themselves.
            let told = |it: &&BuildDiagnostic| !matches!(it.kind(), EventKind::PluginError);
            let told = errors.iter().filter(|it| problems.is_empty() || told(it));
            problems.extend(told.map(|error| shown.problem(error)).collect::<Vec<_>>());
            (None, Vec::new())
        }
    };
    problems.extend(warnings.iter().filter(is_wrong).map(|it| shown.problem(it)));
    match output {
        Some(output) if problems.is_empty() && output.exports.is_empty() => {
            Err(vec![problems::no_exports(&shown.file(&entry))])
        }
        Some(output) if problems.is_empty() => {
            let warnings = warnings.iter().filter(is_told).map(|it| shown.problem(it));
            let warnings = problems::told(warnings.filter(is_own).collect());
            Ok(finish(
                request,
                (&root, &entry),
                &output,
                &plugin,
                &shown,
                warnings,
            ))
        }
        _ => Err(problems::told(problems)),
    }
}

/// The entry file, without symbolic links.
fn entry(request: &Request) -> Result<PathBuf, Problem> {
    let entry = &request.entry;
    let shown = entry.strip_prefix(&request.shown_from).unwrap_or(entry);
    let refuse = |why: String| Problem::plain(format!("Cannot read `{}`: {why}", shown.display()));
    problems::readable(entry).map_err(refuse)?;
    fs::canonicalize(entry).map_err(|error| refuse(error.to_string()))
}

/// Threads on which Rolldown works: it parses on Tokio's and on Rayon's.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    // Built once a process; a second request finds it.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .build_global();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(threads * 2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
}

/// Whether a warning is about code that would not start, or would do something else than it says: Rolldown leaves imports that it does
/// not find as they are, and variables that a namespace exports as they were at first.
fn is_wrong(warning: &&BuildDiagnostic) -> bool {
    match warning.kind() {
        EventKind::UnresolvedImport => true,
        EventKind::ToleratedTransform => warning
            .to_string()
            .starts_with("Namespaces exporting non-const"),
        _ => false,
    }
}

/// Whether a warning is about what happens when the Worker runs.
fn is_told(warning: &&BuildDiagnostic) -> bool {
    matches!(
        warning.kind(),
        EventKind::Eval
            | EventKind::ImportIsUndefined
            | EventKind::CommonJsVariableInEsm
            | EventKind::CannotCallNamespace
            | EventKind::UnsupportedTsconfigOption
    )
}

/// Whether the author of the Worker can do something about it.
fn is_own(warning: &Problem) -> bool {
    let place = warning.place.as_ref();
    !place.is_some_and(|place| place.file.contains("node_modules"))
}

/// Lets Rolldown work, without writing anything.
async fn run(
    request: &Request,
    entry: &Path,
    root: &Path,
    (modules, decorators): (Arc<WorkerModules>, Arc<Lowering>),
) -> Result<(Arc<OutputChunk>, Vec<BuildDiagnostic>), Vec<BuildDiagnostic>> {
    let mut bundler: Bundler = BundlerBuilder::default()
        .with_options(options::options(&request.options, entry, root))
        .with_plugins(vec![modules, decorators])
        .build()
        .map_err(BatchedBuildDiagnostic::into_vec)?;
    let output = bundler
        .generate()
        .await
        .map_err(BatchedBuildDiagnostic::into_vec)?;
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
    (root, entry): (&Path, &Path),
    output: &OutputChunk,
    plugin: &WorkerModules,
    shown: &Shown,
    warnings: Vec<Problem>,
) -> Bundle {
    // Rolldown's own list of imports has some that are not in the code any more, and not those of `export * from`.
    let imported = |name: &str| {
        let mut quotes = ['"', '\'', '`'].into_iter();
        quotes.any(|quote| output.code.contains(&format!("{quote}{name}{quote}")))
    };
    let included: HashSet<&str> = output.modules.keys.iter().map(|id| id.as_str()).collect();
    let builtins = plugin
        .builtins()
        .into_iter()
        .filter(|(module, importer)| imported(module) && included.contains(importer.as_str()))
        .map(|(module, importer)| BuiltinImport {
            module,
            importer: shown.file(Path::new(&importer)),
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
            body: source_map(map, root, entry).into(),
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
fn source_map(map: &SourceMap, root: &Path, entry: &Path) -> String {
    let mut map = map.clone();
    let directory = entry.parent().unwrap_or(root);
    let sources: Vec<String> = map
        .get_sources()
        .map(|source| named_alike(&root.join(OUTPUT).join(source).normalize(), directory))
        .collect();
    map.set_sources(sources);
    map.to_json_string()
}

/// A source by its package if it is in one, else by its way from the entry's directory.
fn named_alike(source: &Path, directory: &Path) -> String {
    let path = source.relative(directory);
    let path = path.to_string_lossy().replace('\\', "/");
    match path.rfind("node_modules/") {
        Some(at) => path[at..].to_owned(),
        None => path,
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
