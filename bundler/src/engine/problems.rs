//! What people read when their sources cannot be bundled.

use std::fs;
use std::path::{Path, PathBuf};

use rolldown_error::{BatchedBuildDiagnostic, BuildDiagnostic, DiagnosticOptions, EventKind};

use crate::bundle::{Place, Problem, Request};

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
}

/// The entry file, canonical.
pub(super) fn entry(request: &Request) -> Result<PathBuf, Vec<Problem>> {
    let shown = request
        .entry
        .strip_prefix(&request.shown_from)
        .unwrap_or(&request.entry);
    let shown = shown.display();
    let metadata = fs::metadata(&request.entry)
        .map_err(|error| vec![Problem::plain(format!("Cannot read `{shown}`: {error}"))])?;
    if !metadata.is_file() {
        return Err(vec![Problem::plain(format!("`{shown}` is no file"))]);
    }
    fs::canonicalize(&request.entry)
        .map_err(|error| vec![Problem::plain(format!("Cannot read `{shown}`: {error}"))])
}

/// An entry in the format before ES modules, or one that forgot.
pub(super) fn no_exports() -> Problem {
    Problem {
        message: "The entry file exports nothing".to_owned(),
        place: None,
        frame: String::new(),
        help: "A Worker is an ES module with a default export, for example `export default { async fetch(request, env, ctx) { … } }`. \
               Scripts that call `addEventListener` have to be written as one: Durable Objects and bindings need it."
            .to_owned(),
    }
}

/// How places are shown.
pub(super) struct Shown<'a> {
    root: &'a Path,
    from: &'a Path,
}

impl<'a> Shown<'a> {
    pub(super) fn new(root: &'a Path, from: &'a Path) -> Shown<'a> {
        Shown { root, from }
    }

    /// A file as it is shown.
    pub(super) fn file(&self, path: &str) -> String {
        let path = self.root.join(path);
        path.strip_prefix(self.from)
            .unwrap_or(&path)
            .display()
            .to_string()
    }

    /// Everything that is wrong.
    pub(super) fn problems(
        &self,
        errors: Vec<BuildDiagnostic>,
        mut own: Vec<Problem>,
    ) -> Vec<Problem> {
        own.extend(errors.iter().map(|error| self.problem(error)));
        own
    }

    /// What may be wrong.
    pub(super) fn warnings(&self, warnings: Vec<BuildDiagnostic>) -> Vec<Problem> {
        warnings
            .iter()
            .map(|warning| self.problem(warning))
            .collect()
    }

    pub(super) fn problem(&self, diagnostic: &BuildDiagnostic) -> Problem {
        let options = DiagnosticOptions {
            cwd: self.root.to_owned(),
        };
        let report = diagnostic.to_diagnostic_with(&options);
        let place = report
            .get_primary_location()
            .map(|(file, line, column, _)| Place {
                file: self.file(&file),
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            });
        let drawn = report.convert_to_string(false);
        let (head, frame) = drawn.split_once('\n').unwrap_or((&drawn, ""));
        let message = head.split_once("] ").map_or(head, |(_, message)| message);
        let help = match diagnostic.kind() {
            EventKind::UnresolvedImport => "If it is a package, install it: `npm install`.",
            _ => "",
        };
        Problem {
            message: message.trim_end_matches('.').to_owned(),
            place,
            frame: frame.trim_end().to_owned(),
            help: help.to_owned(),
        }
    }
}

/// Of a batch, each.
pub(super) fn each(batch: BatchedBuildDiagnostic) -> Vec<BuildDiagnostic> {
    batch.into_vec()
}
