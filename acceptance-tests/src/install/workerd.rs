//! Installs the Workers runtime with npm, in the version the lock file pins.

use std::env::consts::{ARCH, OS};
use std::path::PathBuf;

use super::InstallError;
use super::npm::Pinned;

const WORKERD: Pinned = Pinned {
    tool: "workerd",
    version: "1.20261117.1",
    package: include_str!("../../workerd/package.json"),
    lock: include_str!("../../workerd/package-lock.json"),
};

/// The workerd binary for this machine, installed if it is not there yet.
pub async fn workerd() -> Result<PathBuf, InstallError> {
    let binary = binary(OS, ARCH)?;
    Ok(WORKERD.folder(binary.clone()).await?.join(binary))
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
            WORKERD.check(package.trim_start_matches("node_modules/"));
        }
    }
}
