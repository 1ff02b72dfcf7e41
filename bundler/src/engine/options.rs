//! How Rolldown is told to bundle for the Workers runtime.

use std::collections::BTreeMap;
use std::path::Path;

use rolldown::{
    BundlerOptions, InputItem, OutputFormat, Platform, RawMinifyOptions, ResolveOptions,
    SourceMapType, TsConfig,
};
use rolldown_common::{
    AttachDebugInfo, BundlerTransformOptions, ChunkFilenamesOutputOption, CodeSplittingMode,
    Either, ExperimentalOptions, PreserveEntrySignatures,
};

use super::MAIN_MODULE;
use crate::bundle::Options;

/// The conditions that a package may have exports of its own for. `import` and `require` are added by the kind of import.
const CONDITIONS: [&str; 3] = ["workerd", "worker", "browser"];

/// The language that the runtime speaks on every compatibility date.
const TARGET: &str = "es2024";

/// The options for one entry file below `root`, both canonical.
pub(super) fn options(options: &Options, entry: &Path, root: &Path) -> BundlerOptions {
    let conditions = match &options.conditions {
        Some(conditions) => conditions.clone(),
        None => CONDITIONS.map(str::to_owned).to_vec(),
    };
    BundlerOptions {
        input: Some(vec![InputItem {
            name: Some("index".to_owned()),
            import: entry.to_string_lossy().into_owned(),
        }]),
        cwd: Some(root.to_owned()),
        platform: Some(Platform::Browser),
        format: Some(OutputFormat::Esm),
        entry_filenames: Some(ChunkFilenamesOutputOption::String(MAIN_MODULE.to_owned())),
        // One file: a dynamic import runs where it stands.
        code_splitting: Some(CodeSplittingMode::Bool(false)),
        preserve_entry_signatures: Some(PreserveEntrySignatures::Strict),
        resolve: Some(ResolveOptions {
            condition_names: Some(conditions),
            ..ResolveOptions::default()
        }),
        // The names of Durable Object classes are read by people, in stack traces and dashboards.
        keep_names: Some(true),
        transform: Some(BundlerTransformOptions {
            target: Some(Either::Left(TARGET.to_owned())),
            ..BundlerTransformOptions::default()
        }),
        minify: Some(RawMinifyOptions::Bool(options.minify)),
        // With the comment that names it, as wrangler uploads it: nobody says that a map is found without.
        sourcemap: options.source_map.then_some(SourceMapType::File),
        sourcemap_exclude_sources: Some(true),
        define: Some(defines(options).into_iter().collect()),
        tsconfig: Some(match &options.tsconfig {
            Some(path) => TsConfig::Manual(path.clone()),
            None => TsConfig::Auto(true),
        }),
        experimental: Some(ExperimentalOptions {
            // Comments that name files would make the code depend on where it lies.
            attach_debug_info: Some(AttachDebugInfo::None),
            ..ExperimentalOptions::default()
        }),
        ..BundlerOptions::default()
    }
}

/// What global names stand for: what packages ask to choose code for production and for Workers, and what the user says.
fn defines(options: &Options) -> BTreeMap<String, String> {
    let mut defines = BTreeMap::from([
        (
            "process.env.NODE_ENV".to_owned(),
            "\"production\"".to_owned(),
        ),
        (
            "navigator.userAgent".to_owned(),
            "\"Cloudflare-Workers\"".to_owned(),
        ),
    ]);
    defines.extend(options.define.clone());
    defines
}
