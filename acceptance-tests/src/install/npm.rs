//! Installs a package with npm, in the version a lock file pins. Knows nothing about particular packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::InstallError;
use super::cache::{self, Installer};

/// A package and everything it depends on.
pub(super) struct Pinned {
    /// The tool it brings, for people and for the name of its folder.
    pub(super) tool: &'static str,
    /// Kept equal to the lock file by a test.
    pub(super) version: &'static str,
    /// The content of `package.json`.
    pub(super) package: &'static str,
    /// The content of `package-lock.json`.
    pub(super) lock: &'static str,
}

impl Pinned {
    /// The folder with `node_modules` in it, installed if it is not there yet. The file `wanted` is in it.
    pub(super) async fn folder(&'static self, wanted: PathBuf) -> Result<PathBuf, InstallError> {
        let fingerprint = cache::fingerprint(&[self.package, self.lock]);
        let name = format!("{}-{}-{fingerprint}", self.tool, self.version);
        cache::folder(name, move |folder| self.install(folder, &wanted)).await
    }

    fn install(&self, folder: &Path, wanted: &Path) -> Result<(), InstallError> {
        for (name, content) in [
            ("package.json", self.package),
            ("package-lock.json", self.lock),
        ] {
            let path = folder.join(name);
            fs::write(&path, content).map_err(InstallError::io("write", &path))?;
        }
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        let mut command = Command::new(npm);
        // Install scripts only replace launchers that are not used here, and the lock file has no peers that somebody
        // else would have to bring.
        command
            .args([
                "ci",
                "--ignore-scripts",
                "--legacy-peer-deps",
                "--no-audit",
                "--no-fund",
                "--progress=true",
            ])
            .current_dir(folder);
        let installer = Installer {
            tool: self.tool,
            announcement: &format!(
                "installing {} {} with npm (first run only)...",
                self.tool, self.version
            ),
            advice: "install Node.js 20 or newer, which brings npm, from https://nodejs.org",
        };
        installer.run(npm, command)?;
        let path = folder.join(wanted);
        if path.exists() {
            return Ok(());
        }
        Err(InstallError::Failed {
            tool: self.tool.into(),
            command: "npm ci".into(),
            status: format!(
                "success, but without {} (are optional packages disabled?)",
                path.display()
            ),
        })
    }

    /// Fails a test whose lock file names another version, or a registry: the choice of it is the user's.
    #[cfg(test)]
    pub(super) fn check(&self, package: &str) {
        let lock: serde_json::Value =
            serde_json::from_str(self.lock).expect("the lock file is JSON");
        let path = format!("node_modules/{package}");
        assert_eq!(lock["packages"][&path]["version"], self.version, "{path}");
        assert!(self.lock.contains("\"integrity\""));
        assert!(!self.lock.contains("\"resolved\""));
    }
}
