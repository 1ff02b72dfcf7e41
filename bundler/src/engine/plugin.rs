//! What becomes of imports that are no JavaScript of the project: the runtime's own modules, and files that are modules by themselves.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nodejs_built_in_modules::is_nodejs_builtin_module;
use rolldown::plugin::{
    HookLoadArgs, HookLoadOutput, HookLoadReturn, HookResolveIdArgs, HookResolveIdOutput,
    HookResolveIdReturn, HookTransformArgs, HookTransformAstArgs, HookTransformAstReturn,
    HookTransformOutput, HookTransformReturn, HookUsage, Plugin, PluginContext,
    PluginContextResolveOptions, PluginHookMeta, PluginOrder, SharedLoadPluginContext,
    SharedTransformPluginContext,
};
use rolldown_common::side_effects::HookSideEffects;
use rolldown_common::{ImportKind, ModuleType, ResolvedExternal};
use sha2::{Digest, Sha256};

use super::nested;
use super::problems::{Shown, readable};
use crate::bundle::{ModuleKind, Problem};

/// Stands before an import that CommonJS asks for with `require`: an ES module of ours passes it on.
const REQUIRED: &str = "\0required:";

/// How many digits of a hash are in a module's name.
const DIGITS: usize = 16;

/// What the plugin finds out while Rolldown works.
#[derive(Debug, Default)]
struct Found {
    /// Module of Node.js, and the file that imports it.
    builtins: BTreeSet<(String, String)>,
    /// By name.
    modules: BTreeMap<String, (ModuleKind, Vec<u8>)>,
    refused: Vec<Refused>,
}

/// A file that cannot be part of a bundle.
#[derive(Debug)]
enum Refused {
    /// It cannot be read, or is nothing that can be imported: why.
    File(PathBuf, String),
    /// It has this source, in which an export is nested at this byte.
    NestedExport(PathBuf, String, usize),
    /// It imports code by this address.
    Address(PathBuf, String),
}

/// Keeps the runtime's modules as imports, and makes modules of files that are none.
#[derive(Debug)]
pub(super) struct WorkerModules {
    external: Vec<String>,
    found: Mutex<Found>,
}

impl WorkerModules {
    pub(super) fn new(external: &[String]) -> WorkerModules {
        WorkerModules {
            external: external.to_vec(),
            found: Mutex::default(),
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was wrong, by the plugin's own rules.
    pub(super) fn take_problems(&self, shown: &Shown) -> Vec<Problem> {
        let refused = std::mem::take(&mut self.found().refused);
        refused.into_iter().map(|it| it.problem(shown)).collect()
    }

    fn refuse(&self, refused: Refused) {
        self.found().refused.push(refused);
    }

    /// Every module of Node.js with each file that imports it.
    pub(super) fn builtins(&self) -> BTreeSet<(String, String)> {
        self.found().builtins.clone()
    }

    /// Takes the collected modules out.
    pub(super) fn take_modules(&self) -> BTreeMap<String, (ModuleKind, Vec<u8>)> {
        std::mem::take(&mut self.found().modules)
    }

    fn is_external(&self, specifier: &str) -> bool {
        self.external
            .iter()
            .any(|pattern| matches(pattern, specifier))
    }

    /// Stays an import of the bundle.
    fn stays(&self, args: &HookResolveIdArgs<'_>, specifier: &str) -> HookResolveIdOutput {
        if args.kind == ImportKind::Require {
            return HookResolveIdOutput::from_id(format!("{REQUIRED}{specifier}"));
        }
        HookResolveIdOutput {
            id: specifier.into(),
            external: Some(ResolvedExternal::Bool(true)),
            normalize_external_id: Some(false),
            ..HookResolveIdOutput::default()
        }
    }

    /// Stays an import if something of it is used: modules of the runtime do nothing by being imported.
    fn stays_if_used(&self, args: &HookResolveIdArgs<'_>, specifier: &str) -> HookResolveIdOutput {
        HookResolveIdOutput {
            side_effects: Some(HookSideEffects::False),
            ..self.stays(args, specifier)
        }
    }

    /// Nothing in place of a file that cannot be read to its end, or that Rolldown would speak wrongly about.
    fn unreadable(&self, path: &Path) -> Option<HookLoadOutput> {
        let why = match readable(path) {
            _ if !path.is_absolute() => return None,
            Ok(()) if path.extension().is_some_and(|it| it == "css") => {
                "CSS is no part of a Worker's code; serve it as an asset".to_owned()
            }
            Ok(()) => return None,
            Err(why) => why,
        };
        self.refuse(Refused::File(path.to_owned(), why));
        Some(HookLoadOutput {
            module_type: Some(ModuleType::Js),
            ..HookLoadOutput::default()
        })
    }

    /// A file that is a module by itself, by the ending of its name.
    async fn module(
        &self,
        ctx: &PluginContext,
        args: &HookResolveIdArgs<'_>,
    ) -> HookResolveIdReturn {
        let specifier = args.specifier.split('?').next().unwrap_or_default();
        if kind(specifier).is_none() {
            return Ok(None);
        }
        let options = PluginContextResolveOptions {
            import_kind: ImportKind::Import,
            ..PluginContextResolveOptions::default()
        };
        let Ok(resolved) = ctx.resolve(specifier, args.importer, Some(options)).await? else {
            // Rolldown says so itself.
            return Ok(None);
        };
        let path = Path::new(resolved.id.as_str());
        let Some(kind) = kind(resolved.id.as_str()) else {
            return Ok(None);
        };
        let body = match readable(path) {
            Ok(()) => tokio::fs::read(path)
                .await
                .map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        let body = body.unwrap_or_else(|why| {
            self.refuse(Refused::File(path.to_owned(), why));
            Vec::new()
        });
        let mut hash = hex::encode(Sha256::digest(&body));
        hash.truncate(DIGITS);
        let name = format!("{hash}-{}", plain(path));
        self.found().modules.insert(name.clone(), (kind, body));
        Ok(Some(self.stays(args, &format!("./{name}"))))
    }
}

impl Refused {
    fn problem(self, shown: &Shown) -> Problem {
        match self {
            Refused::File(path, why) => {
                Problem::plain(format!("Cannot read `{}`: {why}", shown.file(&path)))
            }
            Refused::NestedExport(path, source, at) => {
                let message = "`export` stands inside of a function or block".to_owned();
                let problem = shown.at(&path, &source, at, message);
                problem.with_help("Only a module as a whole can export.")
            }
            Refused::Address(path, address) => {
                let source = fs::read_to_string(&path).unwrap_or_default();
                let at = source.find(&address).unwrap_or_default();
                let message = format!("Cannot import from the address `{address}`");
                let problem = shown.at(&path, &source, at, message);
                problem.with_help("A Worker runs the code that is uploaded. Install the package, and import it by its name.")
            }
        }
    }
}

/// What a file is to the runtime if it is no code, by the ending of its name. The endings are wrangler's.
fn kind(path: &str) -> Option<ModuleKind> {
    let (_, ending) = path.rsplit_once('.')?;
    match ending {
        "wasm" => Some(ModuleKind::Wasm),
        "txt" | "html" | "sql" => Some(ModuleKind::Text),
        "bin" => Some(ModuleKind::Data),
        _ => None,
    }
}

/// The name of a file without what means something to forms, addresses or code.
fn plain(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(
        |c: char| !c.is_ascii_alphanumeric() && !".-_".contains(c),
        "_",
    )
}

/// Whether a pattern names what is imported: the whole of it, or the package of a path; `*` stands for anything.
fn matches(pattern: &str, specifier: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            specifier.len() >= before.len() + after.len()
                && specifier.starts_with(before)
                && specifier.ends_with(after)
        }
        None => specifier
            .strip_prefix(pattern)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// Whether a module exports what others export.
///
/// Rolldown leaves such modules out of packages that say `sideEffects: false`, with what they do by the way: zod would lose its messages.
/// Wrangler's bundler runs them if anything is imported through them, and packages are written for that.
fn passes_on(code: &str) -> bool {
    let mut is_open = false;
    code.lines().map(str::trim_start).any(|line| {
        let is_export = line.starts_with("export") || (is_open && line.starts_with('}'));
        if is_export {
            is_open = line.contains('{') && !line.contains('}');
        }
        is_export && line.contains("from")
    })
}

/// A module of Node.js by its full name, if that is one.
fn builtin(specifier: &str) -> Option<String> {
    match specifier.strip_prefix("node:") {
        Some(_) => Some(specifier.to_owned()),
        None if is_nodejs_builtin_module(specifier) => Some(format!("node:{specifier}")),
        None => None,
    }
}

impl Plugin for WorkerModules {
    fn name(&self) -> Cow<'static, str> {
        "worker-modules".into()
    }

    fn register_hook_usage(&self) -> HookUsage {
        HookUsage::ResolveId | HookUsage::Load | HookUsage::Transform | HookUsage::TransformAst
    }

    fn resolve_id_meta(&self) -> Option<PluginHookMeta> {
        Some(PluginHookMeta {
            order: Some(PluginOrder::Pre),
        })
    }

    async fn resolve_id(
        &self,
        ctx: &PluginContext,
        args: &HookResolveIdArgs<'_>,
    ) -> HookResolveIdReturn {
        if args.is_entry {
            return Ok(None);
        }
        let specifier = args.specifier;
        // The module that passes on what was required imports nothing else.
        if args
            .importer
            .is_some_and(|importer| importer.starts_with(REQUIRED))
        {
            return Ok(Some(self.stays(args, specifier)));
        }
        if self.is_external(specifier) {
            return Ok(Some(self.stays(args, specifier)));
        }
        if specifier.starts_with("cloudflare:") {
            return Ok(Some(self.stays_if_used(args, specifier)));
        }
        if let Some(module) = builtin(specifier) {
            let importer = args.importer.unwrap_or_default().to_owned();
            self.found().builtins.insert((module.clone(), importer));
            return Ok(Some(self.stays_if_used(args, &module)));
        }
        if ["http://", "https://"]
            .iter()
            .any(|it| specifier.starts_with(it))
        {
            let importer = PathBuf::from(args.importer.unwrap_or_default());
            self.refuse(Refused::Address(importer, specifier.to_owned()));
            return Ok(Some(self.stays(args, specifier)));
        }
        self.module(ctx, args).await
    }

    async fn load(&self, _ctx: SharedLoadPluginContext, args: &HookLoadArgs<'_>) -> HookLoadReturn {
        let Some(specifier) = args.id.strip_prefix(REQUIRED) else {
            return Ok(self.unreadable(Path::new(args.id)));
        };
        // The default is what `require` would give; packages that have none are given as a whole.
        let code = if builtin(specifier).is_some() || specifier.starts_with("./") {
            format!("import required from {specifier:?};\nmodule.exports = required;\n")
        } else {
            format!("import * as required from {specifier:?};\nmodule.exports = required;\n")
        };
        Ok(Some(HookLoadOutput {
            code: code.into(),
            module_type: Some(ModuleType::Js),
            ..HookLoadOutput::default()
        }))
    }

    async fn transform(
        &self,
        _ctx: SharedTransformPluginContext,
        args: &HookTransformArgs<'_>,
    ) -> HookTransformReturn {
        Ok(passes_on(args.code).then(|| HookTransformOutput {
            side_effects: Some(HookSideEffects::True),
            ..HookTransformOutput::default()
        }))
    }

    async fn transform_ast(
        &self,
        _ctx: &PluginContext,
        args: HookTransformAstArgs<'_>,
    ) -> HookTransformAstReturn {
        if matches!(args.module_type, ModuleType::Ts | ModuleType::Tsx)
            && let Some(at) = nested::find(args.ast.program())
        {
            let source = args.ast.source().to_string();
            self.refuse(Refused::NestedExport(args.id.into(), source, at));
            // Rolldown would go on to panic.
            return Err(anyhow::anyhow!("nested export"));
        }
        Ok(args.ast)
    }
}
