//! Bundling by the provider's child process, beside esbuild on the same sources.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use acceptance_tests::install::{self, Packages};
use acceptance_tests::terraform::copy_folder;
use futures_util::future::join_all;
use tempfile::TempDir;
use terraform_provider_cloudflare::bundle::{Bundle, Bundler, Failure, Options};

const TIMES: usize = 20;
const ESBUILD_TIMES: usize = 5;
const WORKERS: usize = 50;

/// What was measured of one project.
pub struct Measured {
    /// The directory's name below `tests/bundles`.
    pub name: &'static str,
    /// From asking to having the bundle, with the child's start.
    pub ours: Vec<Duration>,
    /// The same as if the machine had one core.
    pub on_one_core: Vec<Duration>,
    /// From starting esbuild to its end.
    pub esbuilds: Vec<Duration>,
    /// The bundles' sizes in bytes: ours, and esbuild's.
    pub sizes: (usize, u64),
}

/// All that was measured.
pub struct Bundling {
    /// A Worker of hono and zod, and one of ten large packages.
    pub projects: Vec<Measured>,
    /// Many Workers like the first, asked for at once.
    pub many: Duration,
}

/// Measures the release build of the provider.
pub async fn measure(binary: &Path) -> Result<Bundling, Box<dyn Error>> {
    let packages = install::packages().await?;
    let mut projects = Vec::new();
    for (name, entry) in [("api", "worker.ts"), ("many", "worker.tsx")] {
        let (folder, entry) = project(name, entry, &packages.node_modules)?;
        let mut measured = Measured {
            name,
            ours: Vec::new(),
            on_one_core: Vec::new(),
            esbuilds: Vec::new(),
            sizes: (0, 0),
        };
        for _ in 0..TIMES {
            let (took, bundle) = bundle(&Bundler::with_program(binary), &entry).await?;
            measured.ours.push(took);
            measured.sizes.0 = bundle.modules[0].body.len();
            let one = Bundler::with_program(binary).with_cores(1);
            measured.on_one_core.push(bundle_time(&one, &entry).await?);
        }
        for _ in 0..ESBUILD_TIMES {
            let out = folder.path().join("out.js");
            measured.esbuilds.push(esbuild(&packages, &entry, &out)?);
            measured.sizes.1 = std::fs::metadata(out)?.len();
        }
        projects.push(measured);
    }
    Ok(Bundling {
        projects,
        many: many(binary, &packages.node_modules).await?,
    })
}

/// A copy of a project with its packages, and its entry.
fn project(
    name: &str,
    entry: &str,
    node_modules: &Path,
) -> Result<(TempDir, PathBuf), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles");
    copy_folder(&sources.join(name), folder.path());
    #[cfg(unix)]
    std::os::unix::fs::symlink(node_modules, folder.path().join("node_modules"))?;
    let entry = folder.path().join(entry);
    Ok((folder, entry))
}

async fn bundle(bundler: &Bundler, entry: &Path) -> Result<(Duration, Bundle), Box<dyn Error>> {
    let started = Instant::now();
    let bundle = bundler.bundle(entry, &Options::default()).await;
    let bundle = bundle.map_err(|failure: Failure| format!("{failure:?}"))?;
    Ok((started.elapsed(), bundle))
}

async fn bundle_time(bundler: &Bundler, entry: &Path) -> Result<Duration, Box<dyn Error>> {
    Ok(bundle(bundler, entry).await?.0)
}

fn esbuild(packages: &Packages, entry: &Path, out: &Path) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let status = packages
        .bundle(entry)
        .arg(format!("--outfile={}", out.display()))
        .status()?;
    match status.success() {
        true => Ok(started.elapsed()),
        false => Err(format!("esbuild ended with {status}").into()),
    }
}

/// Workers with an entry each.
async fn many(binary: &Path, node_modules: &Path) -> Result<Duration, Box<dyn Error>> {
    let (folder, entry) = project("api", "worker.ts", node_modules)?;
    let entries: Vec<PathBuf> = (0..WORKERS)
        .map(|n| folder.path().join(format!("worker-{n}.ts")))
        .collect();
    for copy in &entries {
        std::fs::copy(&entry, copy)?;
    }
    let bundler = Bundler::with_program(binary);
    let started = Instant::now();
    let options = Options::default();
    let bundles = join_all(entries.iter().map(|entry| bundler.bundle(entry, &options))).await;
    let took = started.elapsed();
    match bundles.into_iter().find_map(Result::err) {
        Some(failure) => Err(format!("{failure:?}").into()),
        None => Ok(took),
    }
}
