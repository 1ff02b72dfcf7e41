//! A scenario's stage: a workspace of a core, on a local Cloudflare of its own, with somebody who visits what is deployed.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::cloudflare::{Call, LocalCloudflare, Options};
use crate::install::{self, Core};
use crate::terraform::{Run, Workspace};
use crate::visitor::Visitor;

/// One scenario's own world.
pub struct Stage {
    /// Where the core runs.
    pub workspace: Workspace,
    /// What it talks to.
    pub cloudflare: LocalCloudflare,
    /// Who calls the deployed Workers.
    pub visitor: Visitor,
    /// Where local Cloudflare keeps everything, if that is to be read by others. Removed last.
    pub(crate) state: Option<TempDir>,
}

impl Stage {
    /// An empty workspace.
    ///
    /// # Panics
    /// When a tool is missing; the message says how to install it.
    pub async fn empty() -> Self {
        Self::on(None).await
    }

    /// An empty workspace, before what a folder holds of an account.
    pub(crate) async fn on(state: Option<TempDir>) -> Self {
        // Asking a core for its version takes longer than starting everything else.
        static CORE: OnceCell<Core> = OnceCell::const_new();
        let core = CORE.get_or_try_init(install::core).await;
        let core = core.expect("a core is there");
        let workerd = install::workerd().await.expect("workerd is there");
        let options = Options {
            state_dir: state.as_ref().map(|folder| folder.path().to_owned()),
            ..Options::new(workerd)
        };
        let cloudflare = LocalCloudflare::start(options).await;
        let cloudflare = cloudflare.expect("local Cloudflare starts");
        let workspace = Workspace::new(core, &cloudflare);
        let visitor = Visitor::new(&cloudflare);
        Self {
            workspace,
            cloudflare,
            visitor,
            state,
        }
    }

    /// A workspace with a copy of a root module.
    pub async fn of(module: &Path) -> Self {
        let stage = Self::empty().await;
        stage.workspace.copy_from(module);
        stage
    }

    /// A workspace whose `main.tf` requires the provider, and has this besides.
    pub async fn with(configuration: &str) -> Self {
        let stage = Self::empty().await;
        stage.configure(configuration);
        stage
    }

    /// Replaces `main.tf` by one that requires the provider, and has this besides.
    pub fn configure(&self, configuration: &str) {
        const PROVIDER: &str = "terraform {\n  required_providers {\n    cloudflare = {\n      source = \
            \"durable-objects/cloudflare\"\n    }\n  }\n}\n";
        self.workspace
            .write("main.tf", &format!("{PROVIDER}{configuration}"));
    }

    /// Applies, and sees that there is nothing left to do, before and after what is there was read again.
    pub async fn apply(&self, extra: &[&str]) -> Run {
        let run = self.workspace.apply(extra).await;
        self.workspace.assert_plan_is_empty(extra).await;
        self.workspace.refresh(extra).await;
        self.workspace.assert_plan_is_empty(extra).await;
        run
    }

    /// What a Worker answers to a visit.
    pub async fn visit(&self, script: &str) -> String {
        self.visitor.read(script, "/").await
    }

    /// The calls since the last `clear_calls` that were not reads.
    pub fn writes(&self) -> Vec<Call> {
        let calls = self.cloudflare.calls().into_iter();
        calls.filter(|call| call.method != "GET").collect()
    }

    /// The `metadata` of every upload of a script so far.
    pub fn uploads(&self, script: &str) -> Vec<Value> {
        let path = format!("/workers/scripts/{script}");
        let calls = self.cloudflare.calls().into_iter();
        calls
            .filter(|call| call.method == "PUT" && call.path.ends_with(&path))
            .filter_map(|call| call.metadata)
            .collect()
    }

    /// The ids of all namespaces, by `<script>/<class>`, in order.
    pub fn namespaces(&self) -> Vec<(String, String)> {
        let account = self.cloudflare.account();
        let mut all: Vec<_> = account
            .namespaces
            .iter()
            .map(|it| (format!("{}/{}", it.script, it.class), it.id.clone()))
            .collect();
        all.sort();
        all
    }
}
