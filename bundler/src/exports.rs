//! What the main module of a Worker exports, and what is a class.
//!
//! Certain answers only: what cannot be told is [`Shape::Unknown`], and a list that may be longer is open.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::thread;

use crate::depth;
use crate::surface::{self, Surface, Target};

/// What may nest in a source that is parsed. Code that people or bundlers write stays far below.
const DEPTH: usize = 4_000;

/// The stack on which that much nesting is parsed: five times what was measured (1 to 2.7 KiB a level, debug build). It is memory
/// only as far as it is used.
const STACK: usize = 64 << 20;

/// Longer sources are not parsed: a tree takes many times the memory of its source.
const LENGTH: usize = 16 << 20;

/// How many modules a name is followed through.
const HOPS: usize = 64;

/// A module as it is uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, to which imports are relative.
    pub name: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// Whether it is an ES module.
    pub is_es_module: bool,
}

/// What can be told of a value without running the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A class.
    Class,
    /// Certainly not.
    NotClass {
        /// What it is instead: `an arrow function`.
        what: &'static str,
        /// Whether a Worker that exports it does not start.
        stops: bool,
    },
    /// It depends.
    Unknown,
}

impl Shape {
    pub(super) fn not_class(what: &'static str) -> Shape {
        Shape::NotClass { what, stops: false }
    }

    /// A value with which the runtime refuses to start: "Incorrect type for map entry".
    pub(super) fn value(what: &'static str) -> Shape {
        Shape::NotClass { what, stops: true }
    }
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub shape: Shape,
}

/// Where a module stops being one. Holds no more of its text than a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The module.
    pub module: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// What the main module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Main {
    /// An ES module that was read.
    EsModule,
    /// An ES module that was not read, because of this.
    Unread(&'static str),
    /// An ES module that no runtime can read.
    Broken(SyntaxError),
    /// CommonJS, Python, or whatever else.
    Other,
}

/// Whether something is exported, and a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassExport {
    /// There is certainly no such export.
    Missing,
    /// There is, but it is this: `an arrow function`.
    NotClass(&'static str),
    /// There is, and it is a class.
    Fine,
    /// It may be.
    Unknown,
}

/// What a Worker exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exports {
    main: Main,
    exports: Vec<Export>,
    open: bool,
}

impl Exports {
    fn of_unread(main: Main) -> Exports {
        Exports {
            main,
            exports: Vec::new(),
            open: true,
        }
    }

    /// What the main module is.
    pub fn main(&self) -> &Main {
        &self.main
    }

    /// Whether the main module is an ES module, so that another one can pass its exports on.
    pub fn is_es_module(&self) -> bool {
        !matches!(self.main, Main::Other)
    }

    /// Whether there may be exports that are not listed.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The exports, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Export> {
        self.exports.iter()
    }

    /// The names of the exports, without the default.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.exports.iter().map(|export| export.name.as_str());
        names.filter(|name| *name != "default")
    }

    /// Whether there is a default export. `None` if the main module was not read. `export *` passes none on.
    pub fn has_default(&self) -> Option<bool> {
        let read = self.main == Main::EsModule;
        read.then(|| self.exports.iter().any(|export| export.name == "default"))
    }

    /// Whether a class of that name is exported.
    pub fn exports_class(&self, name: &str) -> ClassExport {
        match self.exports.iter().find(|export| export.name == name) {
            Some(export) => match export.shape {
                Shape::Class => ClassExport::Fine,
                Shape::NotClass { what, .. } => ClassExport::NotClass(what),
                Shape::Unknown => ClassExport::Unknown,
            },
            None if self.open => ClassExport::Unknown,
            None => ClassExport::Missing,
        }
    }

    /// The exports with which the Worker does not start, and what they are.
    pub fn that_stop(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.exports.iter().filter_map(|export| match export.shape {
            Shape::NotClass { what, stops: true } => Some((export.name.as_str(), what)),
            _ => None,
        })
    }
}

/// Reads what the main module of some modules exports. Blocks: about 10 ms a megabyte.
pub fn exports(main: &str, modules: &[Source<'_>]) -> Exports {
    let Some(source) = modules.iter().find(|module| module.name == main) else {
        return Exports::of_unread(Main::Other);
    };
    if !source.is_es_module {
        return Exports::of_unread(Main::Other);
    }
    // The parser recurses, so it gets a stack of its own; and where it gives up with a panic, nothing is known.
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || Graph::new(modules).exports(main));
        let read = reading.ok().and_then(|reading| reading.join().ok());
        read.unwrap_or_else(|| Exports::of_unread(Main::Unread("the parser failed")))
    })
}

/// What became of a module.
enum Read {
    Fine(Surface),
    Unread(&'static str),
    Broken(SyntaxError),
}

fn read(source: &Source<'_>) -> Read {
    if source.content.len() > LENGTH {
        return Read::Unread("it is too long");
    }
    if depth::exceeds(source.content, DEPTH) {
        return Read::Unread("it nests too deeply");
    }
    match surface::read(source.name, &String::from_utf8_lossy(source.content)) {
        Ok(surface) => Read::Fine(surface),
        Err(error) => Read::Broken(error),
    }
}

/// The modules that have been read because exports lead there.
struct Graph<'a> {
    sources: HashMap<&'a str, &'a Source<'a>>,
    surfaces: HashMap<&'a str, Option<Surface>>,
}

impl<'a> Graph<'a> {
    fn new(modules: &'a [Source<'a>]) -> Graph<'a> {
        Graph {
            sources: modules.iter().map(|module| (module.name, module)).collect(),
            surfaces: HashMap::new(),
        }
    }

    fn exports(mut self, main: &str) -> Exports {
        let Some((main, source)) = self.sources.get_key_value(main) else {
            return Exports::of_unread(Main::Other);
        };
        let main = *main;
        match read(source) {
            Read::Fine(surface) => self.surfaces.insert(main, Some(surface)),
            Read::Unread(why) => return Exports::of_unread(Main::Unread(why)),
            Read::Broken(error) => return Exports::of_unread(Main::Broken(error)),
        };
        let (modules, open) = self.starred(main);
        let mut names: BTreeSet<String> = BTreeSet::new();
        for module in &modules {
            let own = self.surface(module).map(|surface| &surface.exports);
            let passed_on = own.into_iter().flat_map(BTreeMap::keys);
            names.extend(
                passed_on
                    .filter(|name| *module == main || *name != "default")
                    .cloned(),
            );
        }
        let exports = names
            .into_iter()
            .map(|name| {
                let shape = self.shape(main, &name);
                Export { name, shape }
            })
            .collect();
        Exports {
            main: Main::EsModule,
            exports,
            open,
        }
    }

    /// A module, if it could be read.
    fn surface(&mut self, name: &'a str) -> Option<&Surface> {
        let source = *self.sources.get(name)?;
        let surface = self
            .surfaces
            .entry(source.name)
            .or_insert_with(|| match read(source) {
                Read::Fine(surface) if source.is_es_module => Some(surface),
                _ => None,
            });
        surface.as_ref()
    }

    /// The module that an import means, if it is among ours.
    fn resolve(&self, from: &str, specifier: &str) -> Option<&'a str> {
        let path = resolve(from, specifier)?;
        self.sources
            .get_key_value(path.as_str())
            .map(|(name, _)| *name)
    }

    /// A module and all that it passes on by `export *`; and whether some of that could not be read.
    fn starred(&mut self, module: &'a str) -> (Vec<&'a str>, bool) {
        let mut open = false;
        let mut found = vec![module];
        let mut queue = VecDeque::from([module]);
        while let Some(module) = queue.pop_front() {
            let Some(surface) = self.surface(module) else {
                open = true;
                continue;
            };
            for specifier in surface.stars.clone() {
                match self.resolve(module, &specifier) {
                    Some(target) if !found.contains(&target) => {
                        found.push(target);
                        queue.push_back(target);
                    }
                    Some(_) => {}
                    None => open = true,
                }
            }
        }
        (found, open)
    }

    /// What an export of a module is, through all modules that pass it on.
    fn shape(&mut self, module: &'a str, name: &str) -> Shape {
        let (mut module, mut name) = (module, name.to_owned());
        for _ in 0..HOPS {
            match self.target(module, &name) {
                Some((_, Target::Here(shape))) => return shape,
                Some((
                    owner,
                    Target::There {
                        specifier,
                        name: there,
                    },
                )) => {
                    let Some(target) = self.resolve(owner, &specifier) else {
                        return Shape::Unknown;
                    };
                    (module, name) = (target, there);
                }
                None => return Shape::Unknown,
            }
        }
        Shape::Unknown
    }

    /// Which module has an export explicitly, and as what: the module itself, or the only one that it has it from by `export *`.
    fn target(&mut self, module: &'a str, name: &str) -> Option<(&'a str, Target)> {
        if let Some(target) = self.surface(module)?.exports.get(name) {
            return Some((module, target.clone()));
        }
        if name == "default" {
            return None;
        }
        let mut found = Vec::new();
        for starred in self.starred(module).0 {
            let target = self
                .surface(starred)
                .and_then(|surface| surface.exports.get(name));
            found.extend(target.map(|target| (starred, target.clone())));
        }
        match found.len() {
            1 => found.pop(),
            _ => None, // With two, it is one of them or none.
        }
    }
}

/// The name of the module that a relative import means.
fn resolve(from: &str, specifier: &str) -> Option<String> {
    if !specifier.starts_with("./") && !specifier.starts_with("../") {
        return None;
    }
    let mut path: Vec<&str> = from.split('/').collect();
    path.pop();
    for part in specifier.split('/') {
        match part {
            "." => {}
            ".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}
