//! Projects of a few files each, and what becomes of them.

mod imports;
mod layouts;
mod options;
mod problems;
mod sameness;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::bundle;
use crate::bundle::{Bundle, ModuleKind, Options, Problem, Request};

/// A directory with sources, of which `worker.ts` is the entry.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let project = Project {
            folder: TempDir::new().expect("a folder"),
        };
        for (name, content) in files {
            project.write(name, content.as_bytes());
        }
        project
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bundle_with(&self, options: Options) -> Result<Bundle, Vec<Problem>> {
        self.bundle_entry("worker.ts", options)
    }

    fn bundle_entry(&self, entry: &str, options: Options) -> Result<Bundle, Vec<Problem>> {
        bundle(&Request {
            entry: self.path(entry),
            shown_from: self.folder.path().to_owned(),
            options,
            threads: 2,
        })
    }

    #[track_caller]
    fn bundle(&self) -> Bundle {
        match self.bundle_with(Options::default()) {
            Ok(bundle) => bundle,
            Err(problems) => panic!("{}", told(&problems)),
        }
    }

    /// The code of the bundle.
    #[track_caller]
    fn code(&self) -> String {
        code(&self.bundle())
    }

    #[track_caller]
    fn problems(&self) -> String {
        match self.bundle_with(Options::default()) {
            Ok(bundle) => panic!("{}", code(&bundle)),
            Err(problems) => told(&problems),
        }
    }
}

fn code(bundle: &Bundle) -> String {
    let main = &bundle.modules[0];
    assert_eq!(
        (main.name.as_str(), main.kind),
        ("worker.js", ModuleKind::EsModule)
    );
    String::from_utf8(main.body.to_vec()).expect("code is text")
}

/// Problems as they are told, without the lines of the frames that hold nothing but the source.
fn told(problems: &[Problem]) -> String {
    let mut lines = Vec::new();
    for problem in problems {
        match &problem.place {
            Some(place) => lines.push(format!(
                "{}:{}:{}: {}",
                place.file, place.line, place.column, problem.message
            )),
            None => lines.push(problem.message.clone()),
        }
        for text in [&problem.frame, &problem.help] {
            lines.extend(text.lines().map(|line| format!("  {line}")));
        }
    }
    lines.join("\n")
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Links a directory of a project to another.
#[cfg(unix)]
fn link(to: &Path, at: &Path) {
    fs::create_dir_all(at.parent().expect("it is below")).expect("a folder");
    std::os::unix::fs::symlink(to, at).expect("a link");
}
