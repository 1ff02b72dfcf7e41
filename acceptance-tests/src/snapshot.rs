//! A world as somebody left it, from which any number of stages start.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::stage::Stage;

/// A root module with its state, and an account with the data of its Durable Objects.
#[derive(Debug)]
pub struct Snapshot(TempDir);

impl Snapshot {
    /// What is left of an empty stage after `build`.
    pub async fn of(build: impl AsyncFnOnce(&Stage)) -> Self {
        Self::left(Stage::on(Some(temporary())).await, build).await
    }

    /// What is left of a stage that goes on from here, after `build`.
    pub async fn then(&self, build: impl AsyncFnOnce(&Stage)) -> Self {
        Self::left(self.stage().await, build).await
    }

    async fn left(mut stage: Stage, build: impl AsyncFnOnce(&Stage)) -> Self {
        let folder = temporary();
        build(&stage).await;
        let state = stage.state.take().expect("the stage was given one");
        copy(&stage.workspace.path(), &folder.path().join("module"));
        // Data is complete on disk only when the runtime has ended.
        stage.cloudflare.stop().await;
        copy(state.path(), &folder.path().join("state"));
        Self(folder)
    }

    /// A stage that goes on from here, with a copy of everything.
    pub async fn stage(&self) -> Stage {
        let state = temporary();
        copy(&self.0.path().join("state"), state.path());
        let stage = Stage::on(Some(state)).await;
        copy(&self.0.path().join("module"), &stage.workspace.path());
        stage
    }
}

fn temporary() -> TempDir {
    let folder = tempfile::Builder::new().prefix("snapshot-").tempdir();
    folder.expect("a temporary directory can be created")
}

fn copy(from: &Path, to: &Path) {
    fn files(from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let (entry, target) = entry.map(|it| (it.path(), to.join(it.file_name())))?;
            if entry.is_dir() {
                files(&entry, &target)?;
            } else {
                fs::copy(&entry, &target)?;
            }
        }
        Ok(())
    }
    let copied = files(from, to);
    copied.unwrap_or_else(|error| panic!("{} cannot be copied: {error}", from.display()));
}
