//! One local Cloudflare, one client, and the folders it works in. Must not know what a test is about.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install::{self, Client};
use acceptance_tests::visitor::Visitor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

/// The code of a Worker with a counter in the Durable Object class `CLASS`: each call says the class and a number that rises.
pub const COUNTER: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class CLASS extends DurableObject {
  async next() {
    const n = ((await this.ctx.storage.get("n")) ?? 0) + 1;
    await this.ctx.storage.put("n", n);
    return "CLASS " + n;
  }
}
export default { async fetch(request, env) { return new Response(await env.COUNTER.getByName("one").next()); } };
"#;

/// The code of a Worker that binds a class of another one as `COUNTER`.
pub const VISITOR: &str = "export default { async fetch(request, env) { return new Response(await env.COUNTER.getByName('one').next()); } };";

/// The code of a Worker that says one thing.
pub const PLAIN: &str = "export default { fetch() { return new Response('plain'); } };";

/// A counter whose class has a name.
pub fn counter(class: &str) -> String {
    COUNTER.replace("CLASS", class)
}

/// What a test holds in its hands.
pub struct Bench {
    /// What the client believes to be Cloudflare.
    pub local: LocalCloudflare,
    client: Client,
    script: PathBuf,
    visitor: Visitor,
    folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Run {
    /// The arguments, for messages.
    command: String,
    code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    stderr: String,
}

impl Bench {
    /// With wrangler.
    pub async fn wrangler() -> Self {
        let client = install::wrangler()
            .await
            .expect("wrangler can be installed");
        let script = client.node_modules().join("wrangler/bin/wrangler.js");
        Self::start(client, script).await
    }

    /// With alchemy, whose programs are `alchemy.run.mjs` of a project.
    pub async fn alchemy() -> Self {
        let client = install::alchemy().await.expect("alchemy can be installed");
        Self::start(client, "alchemy.run.mjs".into()).await
    }

    async fn start(client: Client, script: PathBuf) -> Self {
        let workerd = install::workerd().await.expect("workerd can be installed");
        let local = LocalCloudflare::start(Options::new(workerd)).await;
        let local = local.expect("local Cloudflare starts");
        let folder = tempfile::Builder::new().prefix("real-client-").tempdir();
        let bench = Self {
            visitor: Visitor::new(&local),
            local,
            client,
            script,
            folder: folder.expect("a folder can be created"),
        };
        fs::create_dir(bench.folder.path().join("home")).expect("the folder is empty");
        // Scripts find their packages beside them or above.
        std::os::unix::fs::symlink(
            bench.client.node_modules(),
            bench.folder.path().join("node_modules"),
        )
        .expect("the folder is empty");
        bench
    }

    /// Writes a file of a project, which is a folder.
    pub fn write(&self, project: &str, file: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(project).join(file);
        let folder = path.parent().expect("the file is in a folder");
        fs::create_dir_all(folder).expect("the folder can be created");
        fs::write(path, content).expect("the file can be written");
    }

    /// Runs the client in a project; it must succeed.
    pub async fn run(&self, project: &str, arguments: &[&str]) -> Run {
        self.run_with(project, arguments, "").await
    }

    /// Runs the client with an input; it must succeed.
    pub async fn run_with(&self, project: &str, arguments: &[&str], input: &str) -> Run {
        let run = self.attempt(project, arguments, input).await;
        assert_eq!(
            run.code,
            Some(0),
            "should have succeeded:\n{}",
            self.told(&run)
        );
        run
    }

    /// Runs the client, which must fail and say so.
    pub async fn fail(&self, project: &str, arguments: &[&str], message: &str) {
        let run = self.attempt(project, arguments, "").await;
        let told = self.told(&run);
        assert_ne!(run.code, Some(0), "should have failed:\n{told}");
        assert!(run.says(message), "should have said {message}:\n{told}");
    }

    async fn attempt(&self, project: &str, arguments: &[&str], input: &str) -> Run {
        let folder = self.folder.path();
        self.local.clear_calls();
        let mut command = self.client.command(&self.script);
        command
            .args(arguments)
            .current_dir(folder.join(project))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.join("home"))
            .env("TMPDIR", folder)
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("FORCE_COLOR", "0")
            .env("DO_NOT_TRACK", "1")
            .env("CLOUDFLARE_API_TOKEN", self.local.token())
            .env("CLOUDFLARE_ACCOUNT_ID", self.local.account_id())
            // Wrangler's name for it, and alchemy's.
            .env("CLOUDFLARE_API_BASE_URL", self.local.api_url())
            .env("CLOUDFLARE_BASE_URL", self.local.api_url())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_SEND_ERROR_REPORTS", "false")
            .env("WRANGLER_HIDE_BANNER", "true")
            .env("ALCHEMY_TELEMETRY_DISABLED", "1")
            .env("ALCHEMY_CI_STATE_STORE_CHECK", "false")
            .env("ALCHEMY_STAGE", "test")
            .env("ALCHEMY_PASSWORD", "only for this test")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .expect("the client can be started");
        let mut stdin = child.stdin.take().expect("it has an input");
        // A client that has not asked may have gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("the client ends");
        Run::new(arguments, output)
    }

    /// What happened, for messages.
    fn told(&self, run: &Run) -> String {
        let calls: Vec<String> = self
            .local
            .calls()
            .iter()
            .map(|call| format!("{} {} {}", call.status, call.method, call.path))
            .collect();
        let Run {
            command,
            code,
            stdout,
            stderr,
        } = run;
        format!(
            "--- `{command}` ended with {code:?}\n{stdout}\n--- stderr\n{stderr}\n--- calls\n{}\n---",
            calls.join("\n")
        )
    }

    /// What a Worker answers at `/`.
    pub async fn visit(&self, worker: &str) -> String {
        self.visitor.read(worker, "/").await
    }

    /// Status and answer of a Worker at a path.
    pub async fn get(&self, worker: &str, path: &str) -> (u16, String) {
        let answer = self.visitor.get(worker, path).await;
        answer.expect("the runtime answers")
    }

    /// The result of a read below the account.
    pub async fn api(&self, path: &str) -> Value {
        let url = format!(
            "{}/accounts/{}{path}",
            self.local.api_url(),
            self.local.account_id()
        );
        let request = reqwest::Client::new().get(url);
        let response = request.bearer_auth(self.local.token()).send().await;
        let body: Value = response
            .expect("the API answers")
            .json()
            .await
            .expect("JSON");
        assert_eq!(body["success"], true, "{path}: {body}");
        body["result"].clone()
    }

    /// Which Worker implements which class, in order of creation.
    pub fn namespaces(&self) -> Vec<String> {
        let account = self.local.account();
        let shown = account
            .namespaces
            .iter()
            .map(|namespace| format!("{}/{}", namespace.script, namespace.class));
        shown.collect()
    }

    /// The names of all Workers.
    pub fn workers(&self) -> Vec<String> {
        self.local.account().scripts.keys().cloned().collect()
    }

    /// The tag of a Worker's last migration.
    pub fn migration_tag(&self, worker: &str) -> Option<String> {
        self.local.account().scripts[worker].migration_tag.clone()
    }
}

impl Run {
    fn new(arguments: &[&str], output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command: arguments.join(" "),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Whether a text was printed.
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// The output, which must be JSON, without what a client may say before it.
    pub fn json(&self) -> Value {
        let start = self.stdout.find(['{', '[']).unwrap_or_default();
        serde_json::from_str(&self.stdout[start..]).unwrap_or_else(|error| {
            panic!(
                "{} printed no JSON ({error}):\n{}",
                self.command, self.stdout
            )
        })
    }
}
