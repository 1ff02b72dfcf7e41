//! Finds the core that runs the provider, Terraform or OpenTofu, and builds the pinned OpenTofu if there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::InstallError;
use super::cache::{self, Installer};

const GO_MOD: &str = include_str!("../../opentofu/go.mod");
const GO_SUM: &str = include_str!("../../opentofu/go.sum");
const PACKAGE: &str = "github.com/opentofu/opentofu/cmd/tofu";
/// Kept equal to `go.mod` by a test.
const VERSION: &str = "1.12.6";

/// Which of the two cores a binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreKind {
    /// HashiCorp Terraform.
    Terraform,
    /// OpenTofu.
    OpenTofu,
}

/// A program that reads configurations and runs providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// Which of the two it is.
    pub kind: CoreKind,
    /// The binary.
    pub path: PathBuf,
    /// Its version, without a leading `v`.
    pub version: String,
}

/// The core to use: the one `TF_CORE` chooses (`terraform`, `tofu` or an absolute path), else the first of
/// `terraform` and `tofu` on PATH, else the pinned OpenTofu, built with Go.
pub async fn core() -> Result<Core, InstallError> {
    let choice = env::var("TF_CORE").ok().filter(|value| !value.is_empty());
    match choice.as_deref() {
        None => match on_path("terraform").or_else(|| on_path("tofu")) {
            Some(path) => inspect(path),
            None => inspect(opentofu().await?),
        },
        Some("tofu") => match on_path("tofu") {
            Some(path) => inspect(path),
            None => inspect(opentofu().await?),
        },
        Some("terraform") => match on_path("terraform") {
            Some(path) => inspect(path),
            None => Err(choice_error(
                "terraform",
                "it is not on PATH; install it from https://developer.hashicorp.com/terraform/install, \
                 or set TF_CORE=tofu",
            )),
        },
        Some(path) if Path::new(path).is_absolute() => {
            if Path::new(path).is_file() {
                inspect(path.into())
            } else {
                Err(choice_error(path, "there is no such file"))
            }
        }
        Some(other) => Err(choice_error(
            other,
            "write `terraform`, `tofu`, or the absolute path of one of them",
        )),
    }
}

/// The pinned OpenTofu, built with Go if it is not there yet.
pub async fn opentofu() -> Result<PathBuf, InstallError> {
    let name = format!(
        "opentofu-{VERSION}-{}",
        cache::fingerprint(&[GO_MOD, GO_SUM])
    );
    let folder = cache::folder(name, build).await?;
    Ok(folder.join(tofu_file()))
}

fn build(folder: &Path) -> Result<(), InstallError> {
    let source = folder.join("source");
    fs::create_dir(&source).map_err(InstallError::io("create", &source))?;
    for (name, content) in [("go.mod", GO_MOD), ("go.sum", GO_SUM)] {
        let path = source.join(name);
        fs::write(&path, content).map_err(InstallError::io("write", &path))?;
    }
    let mut command = Command::new("go");
    // Without the flag the binary calls itself a development version. `-v` names packages as they are done.
    command
        .args([
            "build",
            "-v",
            "-trimpath",
            "-mod=readonly",
            "-buildvcs=false",
        ])
        .args([
            "-ldflags",
            "-s -w -X github.com/opentofu/opentofu/version.dev=no",
            "-o",
        ])
        .arg(folder.join(tofu_file()))
        .arg(PACKAGE)
        .env("CGO_ENABLED", "0")
        .current_dir(&source);
    let installer = Installer {
        tool: "OpenTofu",
        announcement: &format!(
            "building OpenTofu {VERSION} with Go (first run only; it takes some minutes)..."
        ),
        advice: "install Terraform from https://developer.hashicorp.com/terraform/install, or OpenTofu from \
                 https://opentofu.org/docs/intro/install, or Go 1.26 from https://go.dev/dl to have OpenTofu \
                 built here",
    };
    installer.run("go", command)
}

/// Asks a binary what it is.
fn inspect(path: PathBuf) -> Result<Core, InstallError> {
    let output = Command::new(&path)
        .arg("version")
        .env("CHECKPOINT_DISABLE", "1")
        // Extra arguments for other commands would be refused here.
        .env_remove("TF_CLI_ARGS")
        .env_remove("TF_CLI_ARGS_version")
        .stdin(Stdio::null())
        .output()
        .map_err(InstallError::io("run", &path))?;
    match product(&String::from_utf8_lossy(&output.stdout)) {
        Some((kind, version)) => Ok(Core {
            kind,
            version,
            path,
        }),
        None => Err(InstallError::NotACore(path)),
    }
}

/// Reads the line `OpenTofu v1.12.6`. Warnings may come before it, even before JSON if that is asked for.
fn product(answer: &str) -> Option<(CoreKind, String)> {
    answer.lines().find_map(|line| {
        let (product, version) = line.split_once(" v")?;
        let kind = match product {
            "Terraform" => CoreKind::Terraform,
            "OpenTofu" => CoreKind::OpenTofu,
            _ => return None,
        };
        Some((kind, version.trim().into()))
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(&file))
        .find(|candidate| candidate.is_file())
}

fn tofu_file() -> String {
    format!("tofu{}", env::consts::EXE_SUFFIX)
}

fn choice_error(value: &str, why: &str) -> InstallError {
    InstallError::Choice {
        value: value.into(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_and_version_are_read_from_the_version_text() {
        use CoreKind::{OpenTofu, Terraform};
        for (text, expected) in [
            (
                "Terraform v1.14.1\non linux_amd64\n",
                Some((Terraform, "1.14.1")),
            ),
            (
                "\nWarning: something\n\nOpenTofu v1.12.6\non linux_amd64",
                Some((OpenTofu, "1.12.6")),
            ),
            (
                "Terraform v1.15.0-beta1\n",
                Some((Terraform, "1.15.0-beta1")),
            ),
            ("git version 2.47\n", None),
        ] {
            assert_eq!(
                product(text),
                expected.map(|(kind, v)| (kind, v.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn the_built_version_is_the_pinned_one() {
        assert!(GO_MOD.contains(&format!("github.com/opentofu/opentofu v{VERSION}")));
    }
}
