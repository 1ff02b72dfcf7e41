//! What people read when their sources cannot be bundled.

use std::fs;
use std::path::{Path, PathBuf};

use rolldown_error::{BuildDiagnostic, DiagnosticOptions, EventKind};

use super::frame::{Position, frame};
use crate::bundle::{Place, Problem, Request};

/// Of how many problems each is told.
const TOLD: usize = 20;

/// How long a message or a piece of advice may be.
const LONGEST_TEXT: usize = 500;

/// What a file can be that is imported.
const IMPORTABLE: &str = "JavaScript, TypeScript and JSON can be imported; `.txt`, `.html` and `.sql` files as text, `.wasm` files as \
                          WebAssembly, and `.bin` files as data. Static files of other kinds are served as assets.";

/// Endings of files that the bundler reads as code.
const CODE: [&str; 9] = ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "json"];

impl Problem {
    /// One that is at no place.
    pub(super) fn plain(message: impl Into<String>) -> Problem {
        Problem {
            message: message.into(),
            place: None,
            frame: String::new(),
            help: String::new(),
        }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Problem {
        Problem {
            help: help.into(),
            ..self
        }
    }
}

/// An entry in the format before ES modules, or one that forgot.
pub(super) fn no_exports(entry: &str) -> Problem {
    Problem::plain(format!("`{entry}` exports nothing")).with_help(
        "A Worker is an ES module that exports its handlers: `export default { async fetch(request, env, ctx) { … } }`. A script that \
         calls `addEventListener` has to be rewritten as one, as Durable Objects need it.",
    )
}

/// Sorts, removes what is said twice, and shortens.
pub(super) fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    let place = |problem: &Problem| {
        let place = problem.place.as_ref();
        place.map(|place| (place.file.clone(), place.line, place.column))
    };
    for problem in &mut problems {
        clip(&mut problem.message);
        clip(&mut problem.help);
    }
    problems.sort_by(|a, b| (place(a), &a.message).cmp(&(place(b), &b.message)));
    problems.dedup();
    if problems.len() > TOLD {
        let more = problems.len() - TOLD;
        problems.truncate(TOLD);
        problems.push(Problem::plain(format!("There are {more} more problems")));
    }
    problems
}

/// Shortens what quotes an endless name.
fn clip(text: &mut String) {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
}

/// How places are shown.
pub(super) struct Shown {
    /// What Rolldown's places are relative to.
    root: PathBuf,
    from: PathBuf,
}

impl Shown {
    pub(super) fn new(request: &Request, root: &Path) -> Shown {
        let from = &request.shown_from;
        Shown {
            root: root.to_owned(),
            // The root has no symbolic links.
            from: fs::canonicalize(from).unwrap_or_else(|_| from.clone()),
        }
    }

    /// A file as it is shown.
    pub(super) fn file(&self, path: &Path) -> String {
        let path = self.root.join(path);
        let shown = path.strip_prefix(&self.from).unwrap_or(&path);
        shown.display().to_string()
    }

    /// A problem at a byte of a source.
    pub(super) fn at(&self, path: &Path, source: &str, offset: usize, message: String) -> Problem {
        let position = Position::of(source, offset);
        Problem {
            place: Some(self.place(path, position)),
            frame: frame(source, position),
            ..Problem::plain(message)
        }
    }

    fn place(&self, path: &Path, position: Position) -> Place {
        Place {
            file: self.file(path),
            line: position.line,
            column: position.column,
        }
    }

    /// What one of Rolldown's says.
    pub(super) fn problem(&self, diagnostic: &BuildDiagnostic) -> Problem {
        let options = DiagnosticOptions {
            cwd: self.root.clone(),
        };
        let report = diagnostic.to_diagnostic_with(&options);
        let drawn = report.convert_to_string(false);
        let told = Told {
            message: message(&drawn),
            label: label(&drawn),
            path: report.get_primary_location().map(|it| PathBuf::from(it.0)),
            specifier: diagnostic.exporter().unwrap_or_default(),
            importer: diagnostic.id().map(PathBuf::from),
        };
        let (message, help) = self.words(diagnostic.kind(), &told);
        let mut problem = Problem::plain(message).with_help(help);
        if let Some((file, line, column, _)) = report.get_primary_location() {
            let position = Position {
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            };
            let path = self.root.join(file);
            problem.place = Some(self.place(&path, position));
            if let Ok(source) = fs::read_to_string(path) {
                problem.frame = frame(&source, position);
            }
        }
        problem
    }

    /// Message and help for a kind of problem.
    fn words(&self, kind: EventKind, told: &Told) -> (String, String) {
        match kind {
            EventKind::UnresolvedImport | EventKind::ResolveError => self.unresolved(told),
            EventKind::MissingExportError => (
                told.message.clone(),
                "If it is a type, import or export it with `type`: `import { type Name }`, `export type { Name }`."
                    .to_owned(),
            ),
            EventKind::UnloadableDependencyError if told.label.contains("UTF-8") => (
                format!("{}: it is not text in UTF-8", told.message),
                IMPORTABLE.to_owned(),
            ),
            EventKind::UnloadableDependencyError => {
                (format!("{}: {}", told.message, told.label), String::new())
            }
            EventKind::ToleratedTransform => (
                "A namespace exports a variable".to_owned(),
                "Outside of the namespace it would keep its first value. Export a constant, or functions that read and change the variable."
                    .to_owned(),
            ),
            EventKind::JsonParseError => {
                let message = told.message.split(" at line ").next().unwrap_or_default();
                (format!("No JSON: {message}"), String::new())
            }
            EventKind::ParseError => (told.message.clone(), self.unread(told)),
            EventKind::Eval => (
                "The runtime refuses `eval`".to_owned(),
                "Code that is not part of the upload cannot be run.".to_owned(),
            ),
            _ => (told.message.clone(), String::new()),
        }
    }

    /// An import that leads nowhere.
    fn unresolved(&self, told: &Told) -> (String, String) {
        let specifier = &told.specifier;
        let reason = match told.label.trim_end_matches('.') {
            "" => String::new(),
            reason if reason.starts_with("Module not found") => String::new(),
            reason => format!("{reason}."),
        };
        let Some(package) = package(specifier) else {
            return (format!("Cannot find `{specifier}`"), reason);
        };
        let message = format!("Cannot find the package `{package}`");
        let from = told.importer.as_deref().unwrap_or(&self.root);
        let from = self.root.join(from);
        let above = || from.ancestors().skip(1);
        if let Some(folder) = above().find(|it| it.join("node_modules").join(package).is_dir()) {
            let folder = self.file(&folder.join("node_modules").join(package));
            let help = format!("The package is in {folder}. {reason}");
            return (
                format!("Cannot find `{specifier}`"),
                help.trim_end().to_owned(),
            );
        }
        let project = above().find(|it| it.join("package.json").is_file());
        let named = project.is_some_and(|it| {
            let text = fs::read_to_string(it.join("package.json")).unwrap_or_default();
            text.contains(&format!("\"{package}\""))
        });
        let place = match project.map(|it| self.file(it)) {
            Some(place) if !place.is_empty() => format!(" in {place}"),
            _ => String::new(),
        };
        let mut help = match named {
            true => format!(
                "`package.json` names it, but it is not installed: run `npm install`{place}."
            ),
            false => format!("Install it{place}: `npm install {package}`."),
        };
        if specifier.ends_with("/jsx-runtime") {
            help.push_str(" JSX is compiled to calls of it; another library is named by `jsxImportSource` in `tsconfig.json`.");
        } else {
            help.push_str(" Or name it in `bundle.external` if the runtime provides it.");
        }
        (message, help)
    }

    /// What may be wrong with a file that is no code.
    fn unread(&self, told: &Told) -> String {
        let ending = told.path.as_deref().and_then(Path::extension);
        let ending = ending.unwrap_or_default().to_string_lossy();
        if told.message == "Unexpected JSX expression" {
            return "Files with JSX end with `.jsx` or `.tsx`.".to_owned();
        }
        match CODE.contains(&&*ending) {
            true => String::new(),
            false => format!("The file was read as JavaScript. {IMPORTABLE}"),
        }
    }
}

/// What a diagnostic of Rolldown's holds, as far as it can be asked.
struct Told {
    message: String,
    label: String,
    path: Option<PathBuf>,
    specifier: String,
    importer: Option<PathBuf>,
}

/// The first line without the kind.
fn message(drawn: &str) -> String {
    let head = drawn.lines().next().unwrap_or_default();
    let text = match head.strip_prefix('[').and_then(|it| it.split_once("] ")) {
        Some((_, text)) => text,
        None => head,
    };
    text.trim_end_matches('.').to_owned()
}

/// What is written below the first mark.
fn label(drawn: &str) -> String {
    let below = drawn.lines().find_map(|line| line.split_once('╰'));
    let text = below.map_or("", |(_, text)| text);
    text.trim_start_matches('─').trim().to_owned()
}

/// The name of the package that an import names, if it is one.
fn package(specifier: &str) -> Option<&str> {
    if specifier.starts_with(['.', '/', '#']) {
        return None;
    }
    let parts = if specifier.starts_with('@') { 2 } else { 1 };
    let end = specifier.match_indices('/').nth(parts - 1);
    Some(end.map_or(specifier, |(at, _)| &specifier[..at]))
}

/// What the file at the end of a path is wrong for, if it is no file that can be read.
///
/// # Errors
/// One sentence without a full stop, without the path.
pub(super) fn readable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    // Pipes and devices may never end.
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if metadata.len() > LONGEST_FILE {
        let size = metadata.len() >> 20;
        return Err(format!("it has {size} MiB, more than a Worker may have"));
    }
    fs::File::open(path)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Cloudflare takes no Worker of that size; parsing it would take many times the memory.
const LONGEST_FILE: u64 = 64 << 20;
