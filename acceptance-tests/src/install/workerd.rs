//! Installs the Workers runtime with npm, in the version the lock file pins.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::InstallError;
use super::cache::{self, Installer};

const PACKAGE: &str = include_str!("../../workerd/package.json");
const LOCK: &str = include_str!("../../workerd/package-lock.json");
/// Kept equal to the lock file by a test.
const VERSION: &str = "1.20261117.1";

/// The workerd binary for this machine, installed if it is not there yet.
pub async fn workerd() -> Result<PathBuf, InstallError> {
    let binary = binary(OS, ARCH)?;
    let name = format!("workerd-{VERSION}-{}", cache::fingerprint(&[PACKAGE, LOCK]));
    let wanted = binary.clone();
    let folder = cache::folder(name, move |folder| install(folder, &wanted)).await?;
    Ok(folder.join(binary))
}

fn install(folder: &Path, binary: &Path) -> Result<(), InstallError> {
    for (name, content) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        let path = folder.join(name);
        fs::write(&path, content).map_err(InstallError::io("write", &path))?;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(npm);
    // The package's own install script only replaces a launcher that is not used here.
    command
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--progress=true",
        ])
        .current_dir(folder);
    let installer = Installer {
        tool: "workerd",
        announcement: &format!("installing workerd {VERSION} with npm (first run only)..."),
        advice: "install Node.js 20 or newer, which brings npm, from https://nodejs.org",
    };
    installer.run(npm, command)?;
    let path = folder.join(binary);
    if path.exists() {
        return Ok(());
    }
    Err(InstallError::Failed {
        tool: "workerd".into(),
        command: "npm ci".into(),
        status: format!(
            "success, but without {} (are optional packages disabled?)",
            path.display()
        ),
    })
}

/// Where npm puts the binary of a platform.
fn binary(os: &str, arch: &str) -> Result<PathBuf, InstallError> {
    let package = match (os, arch) {
        ("linux", "x86_64") => "workerd-linux-64",
        ("linux", "aarch64") => "workerd-linux-arm64",
        ("macos", "x86_64") => "workerd-darwin-64",
        ("macos", "aarch64") => "workerd-darwin-arm64",
        ("windows", "x86_64") => "workerd-windows-64",
        _ => return Err(InstallError::Platform(format!("{os} on {arch}"))),
    };
    let file = if os == "windows" {
        "workerd.exe"
    } else {
        "workerd"
    };
    Ok(["node_modules", "@cloudflare", package, "bin", file]
        .iter()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_of_the_lock_file_has_its_binary() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).expect("the lock file is JSON");
        let packages = lock["packages"]
            .as_object()
            .expect("the lock file lists packages");
        for (os, arch) in [
            ("linux", "x86_64"),
            ("linux", "aarch64"),
            ("macos", "x86_64"),
            ("macos", "aarch64"),
            ("windows", "x86_64"),
        ] {
            let path = binary(os, arch).expect("the platform is known");
            let package = path.iter().take(3).collect::<PathBuf>();
            let package = package.to_string_lossy().replace('\\', "/");
            assert_eq!(packages[&package]["version"], VERSION, "{package}");
        }
    }

    #[test]
    fn the_lock_file_leaves_the_choice_of_registry_to_the_user() {
        assert!(LOCK.contains("\"integrity\""));
        assert!(!LOCK.contains("\"resolved\""));
    }
}
