//! The folder of installed tools. A tool's folder appears complete or not at all, whoever installs at the same time.
//! Knows nothing about particular tools.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::InstallError;

/// A command that installs something, and what to say when its program is missing.
pub(super) struct Installer<'a> {
    /// The tool it installs, for people.
    pub(super) tool: &'a str,
    /// Said on stderr before it starts.
    pub(super) announcement: &'a str,
    /// What to install, and where to get it, if the program is missing.
    pub(super) advice: &'a str,
}

/// Returns the folder `name` of the cache, after `install` filled it if this is the first time.
pub(super) async fn folder(
    name: String,
    install: impl FnOnce(&Path) -> Result<(), InstallError> + Send + 'static,
) -> Result<PathBuf, InstallError> {
    let root = root();
    // Waiting for the lock and for the installation blocks a thread for minutes.
    let installed = tokio::task::spawn_blocking(move || fill(&root, &name, install)).await;
    match installed {
        Ok(result) => result,
        Err(error) => Err(InstallError::io("finish installing", "a tool")(
            io::Error::other(error),
        )),
    }
}

fn fill(
    root: &Path,
    name: &str,
    install: impl FnOnce(&Path) -> Result<(), InstallError>,
) -> Result<PathBuf, InstallError> {
    let folder = root.join(name);
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(root).map_err(InstallError::io("create", root))?;
    let lock_path = root.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(InstallError::io("create", &lock_path))?;
    // Released when the file is closed, even by a process that is killed.
    lock.lock().map_err(InstallError::io("lock", &lock_path))?;
    if folder.exists() {
        return Ok(folder);
    }
    let unfinished = tempfile::Builder::new()
        .prefix(&format!("{name}.unfinished-"))
        .tempdir_in(root)
        .map_err(InstallError::io("create a folder in", root))?;
    install(unfinished.path())?;
    fs::rename(unfinished.path(), &folder).map_err(InstallError::io("create", &folder))?;
    Ok(folder)
}

impl Installer<'_> {
    /// Runs a command with its output shown on stderr.
    pub(super) fn run(&self, program: &str, mut command: Command) -> Result<(), InstallError> {
        say(self.announcement);
        let shown = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        // Standard output belongs to whoever called; progress is for people.
        let status = command
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => self.missing(program),
                _ => InstallError::io("run", program)(error),
            })?;
        if status.success() {
            return Ok(());
        }
        Err(InstallError::Failed {
            tool: self.tool.into(),
            command: shown,
            status: status.to_string(),
        })
    }

    fn missing(&self, program: &str) -> InstallError {
        InstallError::Missing {
            tool: self.tool.into(),
            program: program.into(),
            advice: self.advice.into(),
        }
    }
}

/// Tells the person in front of the terminal what is going on.
pub(super) fn say(text: &str) {
    // If nobody can read it, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A short name for contents: other contents, another folder.
pub(super) fn fingerprint(contents: &[&str]) -> String {
    let mut hash = Sha256::new();
    for content in contents {
        // Git may check a file out with other line ends; it is the same file.
        hash.update(content.replace("\r\n", "\n"));
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..6])
}

/// `ACCEPTANCE_CACHE`, or the place where the operating system wants caches to be.
fn root() -> PathBuf {
    if let Some(chosen) = variable("ACCEPTANCE_CACHE") {
        return chosen;
    }
    let home = || variable("HOME").unwrap_or_else(env::temp_dir);
    let caches = if cfg!(windows) {
        variable("LOCALAPPDATA").unwrap_or_else(env::temp_dir)
    } else if cfg!(target_os = "macos") {
        home().join("Library").join("Caches")
    } else {
        variable("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"))
    };
    caches.join("terraform-provider-cloudflare")
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn many_at_once_install_a_tool_once() {
        let root = tempfile::tempdir().expect("a temporary folder can be created");
        let runs = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let folder = fill(root.path(), "tool-1", |unfinished| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        fs::write(unfinished.join("binary"), "x")
                            .map_err(InstallError::io("write", unfinished))
                    })
                    .expect("the tool installs");
                    assert!(folder.join("binary").exists());
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_installation_leaves_nothing_and_can_be_repeated() {
        let root = tempfile::tempdir().expect("a temporary folder can be created");
        let failed = fill(root.path(), "tool-1", |unfinished| {
            fs::write(unfinished.join("half"), "x").expect("the folder is writable");
            Err(InstallError::Platform("a toaster".into()))
        });
        assert!(failed.is_err());
        assert!(!root.path().join("tool-1").exists());
        let folder = fill(root.path(), "tool-1", |_| Ok(())).expect("the tool installs");
        assert!(!folder.join("half").exists());
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let installer = Installer {
            tool: "workerd",
            announcement: "installing",
            advice: "install Node.js",
        };
        let program = "a-program-that-does-not-exist";
        let error = installer
            .run(program, Command::new(program))
            .expect_err("it is missing");
        assert_eq!(
            error.to_string(),
            "workerd needs a-program-that-does-not-exist, which is not on PATH: install Node.js"
        );
    }
}
