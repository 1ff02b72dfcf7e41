//! What a bundler is asked and what it answers, whoever does the work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What is bundled, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The file that the runtime starts; absolute.
    pub entry: PathBuf,
    /// The directory that places in messages are relative to; absolute. It has no influence on what is bundled.
    pub shown_from: PathBuf,
    /// How it is bundled.
    pub options: Options,
    /// How many threads work at a time; at least one. It has no influence on what is bundled.
    pub threads: usize,
}

/// How sources are bundled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Options {
    /// Whether names and white space are shortened.
    pub minify: bool,
    /// Whether a source map is made.
    pub source_map: bool,
    /// Packages that stay imports.
    pub external: Vec<String>,
    /// Expressions that stand for global names, such as `process.env.STAGE` for `"live"` (with the quotes).
    pub define: BTreeMap<String, String>,
    /// The conditions that choose among the exports of a package; `None` means `workerd`, `worker` and `browser`.
    pub conditions: Option<Vec<String>>,
    /// The configuration of TypeScript; absolute. `None` means the nearest `tsconfig.json` of each file.
    pub tsconfig: Option<PathBuf>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The main module first, then the others by name.
    pub modules: Vec<Module>,
    /// What it imports of Node.js, by module, and then by importer.
    pub builtins: Vec<BuiltinImport>,
    /// What may be wrong.
    pub warnings: Vec<Problem>,
}

/// A module of the Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The name by which others import it, without `./`.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Its content.
    pub body: Bytes,
}

/// What a module is to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleKind {
    /// JavaScript.
    EsModule,
    /// Compiled WebAssembly; imported as a `WebAssembly.Module`.
    Wasm,
    /// Imported as a string.
    Text,
    /// Imported as an `ArrayBuffer`.
    Data,
    /// Not imported: which source a line of the main module comes from.
    SourceMap,
}

/// An import of a module that Node.js has built in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuiltinImport {
    /// Such as `node:fs`, always with the prefix.
    pub module: String,
    /// The file that imports it, as shown.
    pub importer: String,
}

/// What is wrong with the sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence without the place, without a full stop.
    pub message: String,
    /// Where, if it is at one place.
    pub place: Option<Place>,
    /// The lines around it, drawn. Empty if there are none to show.
    pub frame: String,
    /// What can be done, in sentences. Empty if nothing is known.
    pub help: String,
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file as shown: relative to [`Request::shown_from`] if it is below.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters of UTF-16, as editors do.
    pub column: u32,
}
