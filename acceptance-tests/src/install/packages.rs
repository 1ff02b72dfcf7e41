//! Installs with npm what Workers are bundled from, and another bundler to compare with, in the versions the lock file pins.

use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::InstallError;
use super::npm::Pinned;

const PACKAGES: Pinned = Pinned {
    tool: "packages-with-esbuild",
    version: "0.28.2",
    package: include_str!("../../packages/package.json"),
    lock: include_str!("../../packages/package-lock.json"),
};

/// Packages that Workers import, and esbuild.
#[derive(Clone, Debug)]
pub struct Packages {
    /// Where the packages are.
    pub node_modules: PathBuf,
    /// The program, which needs no Node.js.
    esbuild: PathBuf,
}

impl Packages {
    /// A command that bundles an entry file with esbuild, told what wrangler tells it. Where to is still to be said.
    pub fn bundle(&self, entry: &Path) -> Command {
        let mut command = Command::new(&self.esbuild);
        command
            .arg(entry)
            .args([
                "--bundle",
                "--format=esm",
                "--target=es2024",
                "--keep-names",
                "--log-level=error",
            ])
            .args(["--platform=node", "--main-fields=browser,module,main"])
            .args([
                "--conditions=workerd,worker,browser",
                "--external:cloudflare:*",
            ])
            .args(["--define:process.env.NODE_ENV=\"production\""])
            .args(["--define:navigator.userAgent=\"Cloudflare-Workers\""]);
        command
    }
}

/// The packages, installed if they are not there yet.
pub async fn packages() -> Result<Packages, InstallError> {
    let esbuild = esbuild(OS, ARCH);
    let folder = PACKAGES.folder(esbuild.clone()).await?;
    Ok(Packages {
        node_modules: folder.join("node_modules"),
        esbuild: folder.join(esbuild),
    })
}

/// Where npm puts esbuild's program on a platform.
fn esbuild(os: &str, arch: &str) -> PathBuf {
    let os = match os {
        "macos" => "darwin",
        "windows" => "win32",
        os => os,
    };
    let arch = if arch == "aarch64" { "arm64" } else { "x64" };
    let file = match os {
        "win32" => Path::new("esbuild.exe").to_owned(),
        _ => Path::new("bin").join("esbuild"),
    };
    Path::new("node_modules/@esbuild")
        .join(format!("{os}-{arch}"))
        .join(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_pins_esbuild() {
        PACKAGES.check("esbuild");
        PACKAGES.check("@esbuild/linux-x64");
    }
}
