//! What the provider bundles behaves in the runtime as its sources say, and as esbuild's bundle of the same sources does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acceptance_tests::cloudflare::runtime::{
    ModuleFile, Runtime, RuntimeOptions, ServedBinding, ServedNamespace, ServedWorker,
};
use acceptance_tests::install::{self, Packages};
use acceptance_tests::provider::provider_binary;
use acceptance_tests::terraform::copy_folder;
use serde_json::{Value, json};
use tempfile::TempDir;
use terraform_provider_cloudflare::bundle::{Bundle, Bundler, ModuleKind, Options};

const ES_MODULE: &str = "application/javascript+module";

/// Lets CommonJS that esbuild leaves as it is ask for what Node.js has built in.
const REQUIRE: &str =
    r#"import { createRequire as __cr } from "node:module"; const require = __cr("/");"#;

/// A copy of the sources of `tests/bundles/<name>`, with packages.
struct Project {
    folder: TempDir,
}

impl Project {
    fn copy(name: &str, packages: &Packages) -> Project {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles");
        copy_folder(&sources.join(name), folder.path());
        link(&packages.node_modules, &folder.path().join("node_modules"));
        Project { folder }
    }

    fn entry(&self) -> PathBuf {
        let names = ["worker.ts", "worker.tsx"];
        let paths = names.map(|name| self.folder.path().join(name));
        let entry = paths.into_iter().find(|path| path.exists());
        entry.expect("a project has an entry")
    }

    async fn bundle(&self, options: &Options) -> Bundle {
        let bundler = Bundler::with_program(&provider_binary());
        let bundle = bundler.bundle(&self.entry(), options).await;
        bundle.unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    async fn ours(&self, minify: bool) -> Vec<ModuleFile> {
        let bundle = self
            .bundle(&Options {
                minify,
                ..Options::default()
            })
            .await;
        assert_eq!(bundle.warnings, []);
        bundle.modules.into_iter().map(module_file).collect()
    }

    /// The same by esbuild, told what wrangler tells it.
    fn esbuilds(&self, packages: &Packages, minify: bool) -> Vec<ModuleFile> {
        let out = tempfile::tempdir().expect("a folder");
        let mut command = packages.bundle(&self.entry());
        command
            .args(
                [".wasm", ".txt", ".html", ".sql", ".bin"].map(|it| format!("--loader:{it}=copy")),
            )
            .arg(format!("--banner:js={REQUIRE}"))
            .arg(format!("--outdir={}", out.path().display()));
        if minify {
            command.arg("--minify");
        }
        let ran = command.output().expect("esbuild starts");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let files = fs::read_dir(out.path()).expect("a folder");
        let mut modules: Vec<ModuleFile> = files
            .map(|file| {
                let path = file.expect("a file").path();
                let name = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                ModuleFile {
                    content_type: content_type(&name).to_owned(),
                    body: fs::read(&path).expect("a file").into(),
                    name,
                }
            })
            .collect();
        modules.sort_by_key(|module| module.content_type != ES_MODULE);
        modules
    }
}

fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).expect("a link");
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("wasm") => "application/wasm",
        Some("bin") => "application/octet-stream",
        Some("js") => ES_MODULE,
        _ => "text/plain",
    }
}

fn module_file(module: terraform_provider_cloudflare::bundle::Module) -> ModuleFile {
    let content_type = match module.kind {
        ModuleKind::EsModule => ES_MODULE,
        ModuleKind::Wasm => "application/wasm",
        ModuleKind::Text => "text/plain",
        ModuleKind::Data => "application/octet-stream",
        ModuleKind::SourceMap => "application/source-map",
    };
    ModuleFile {
        name: module.name,
        content_type: content_type.to_owned(),
        body: module.body,
    }
}

/// A Worker with one namespace, if it has a class.
fn worker(name: &str, modules: Vec<ModuleFile>, object: Option<(&str, &str)>) -> ServedWorker {
    let namespaces = object.map(|(_, class)| ServedNamespace {
        class: class.to_owned(),
        unique_key: format!("{name}-{class}"),
        sqlite: true,
    });
    let bindings = object.map(|(binding, _)| ServedBinding::DurableObject {
        name: binding.to_owned(),
        namespace_id: format!(
            "{name}-{}",
            object.map(|(_, class)| class).unwrap_or_default()
        ),
    });
    ServedWorker {
        name: name.to_owned(),
        main: modules[0].name.clone(),
        modules: Arc::from(modules),
        compatibility_date: "2026-11-01".to_owned(),
        namespaces: namespaces.into_iter().collect(),
        bindings: bindings.into_iter().collect(),
        ..ServedWorker::default()
    }
}

struct Served {
    runtime: Runtime,
    client: reqwest::Client,
    _disk: TempDir,
}

impl Served {
    async fn start(workers: Vec<ServedWorker>) -> Served {
        let disk = tempfile::tempdir().expect("a folder");
        let options = RuntimeOptions {
            workerd: install::workerd().await.expect("workerd can be installed"),
            disk: disk.path().join("objects"),
            port: 0,
            visits: Default::default(),
            guard: None,
        };
        let runtime = Runtime::start(options).await.expect("the runtime starts");
        runtime
            .deploy(workers, &[])
            .await
            .expect("the bundles start");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Served {
            runtime,
            client: reqwest::Client::new(),
            _disk: disk,
        }
    }

    /// What a Worker answers: status and text. `request` is a path, after a JSON body if something is posted.
    async fn ask(&self, worker: &str, request: &str) -> String {
        let (body, path) = match request.split_once(" /") {
            Some((body, path)) => (Some(body.to_owned()), path),
            None => (None, request.trim_start_matches('/')),
        };
        let url = format!("http://{}/{path}", self.runtime.address());
        let request = match body {
            Some(body) => self.client.post(url).body(body),
            None => self.client.get(url),
        };
        let answer = request.header("x-local-worker", worker).send().await;
        let answer = answer.expect("the gate answers");
        let status = answer.status().as_u16();
        format!(
            "{status} {}",
            answer.text().await.expect("the answer is text")
        )
    }
}

/// Bundles a project in four ways, asks each Worker the same, and gives the answer that all agree on.
async fn agreed(name: &str, object: Option<(&str, &str)>, requests: &[&str]) -> Vec<String> {
    let packages = install::packages()
        .await
        .expect("packages can be installed");
    let project = Project::copy(name, &packages);
    let workers = vec![
        worker("ours", project.ours(false).await, object),
        worker("ours-minified", project.ours(true).await, object),
        worker("esbuilds", project.esbuilds(&packages, false), object),
        worker(
            "esbuilds-minified",
            project.esbuilds(&packages, true),
            object,
        ),
    ];
    let names: Vec<String> = workers.iter().map(|worker| worker.name.clone()).collect();
    let served = Served::start(workers).await;
    let mut agreed = Vec::new();
    for request in requests {
        let mut answers = Vec::new();
        for name in &names {
            answers.push(served.ask(name, request).await);
        }
        for (name, answer) in names.iter().zip(&answers) {
            assert_eq!(
                answer, &answers[0],
                "{name} differs from {}: {request}",
                names[0]
            );
        }
        agreed.push(answers.swap_remove(0));
    }
    served.runtime.stop().await;
    agreed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_classes_modules_assets_and_node_work_in_a_bundle() {
    let answers = agreed("features", Some(("ROOMS", "Room")), &["/"]).await;
    let said: Value = answers[0]
        .strip_prefix("200 ")
        .and_then(|text| serde_json::from_str(text).ok())
        .expect("the Worker answers");
    for (program, answer) in said.as_object().expect("it says something") {
        assert!(
            !answer.to_string().starts_with("\"failed"),
            "{program}: {answer}"
        );
    }
    let is = |pointer: &str, expected: Value| {
        assert_eq!(
            said.pointer(pointer),
            Some(&expected),
            "{pointer} of {said:#}"
        );
    };
    is("/names", json!(["Room", "Hidden", "", "names"]));
    is("/objects", json!([2, ["hello", "again"]]));
    is("/assets/sum", json!(42));
    is("/assets/text", json!("a note\n"));
    is("/assets/same", json!(true));
    is("/assets/data", json!([0, 1, 254, 255]));
    is("/builtins/stored", json!("kept"));
    is("/builtins/events", json!(["x"]));
    is(
        "/classes/names",
        json!(["Square", "Inner", "Inner", "Anonymous", "Member"]),
    );
    is("/language/used", json!(["used", "disposed", "after"]));
    is("/language/level", json!(4));
    is("/modules/order", json!(["second", "first"]));
    is("/modules/counter", json!([0, 1]));
    is(
        "/markup",
        json!(
            "<ul><li class=\"item\" data-long=\"3\">one!</li><li class=\"item\" data-long=\"5\">&lt;two&gt;!</li></ul>"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hono_and_zod_serve_durable_objects_in_a_bundle() {
    let requests = [
        "/",
        "{\"amount\": 2} /counters/a",
        "{\"amount\": 3} /counters/a",
        "{\"amount\": -1, \"note\": \"too long\"} /counters/a",
        "/counters/a",
        "/nowhere",
    ];
    let answers = agreed("api", Some(("COUNTERS", "Counter")), &requests).await;
    assert_eq!(
        answers,
        [
            "200 ready",
            "200 {\"value\":2}",
            "200 {\"value\":5}",
            "400 {\"issues\":[[\"amount\",\"too_small\"],[\"note\",\"too_big\"]]}",
            "200 {\"value\":5}",
            "404 nothing here",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_every_make_work_in_a_bundle() {
    let requests = [
        "/dates", "/graphql", "/jose", "/lodash", "/pg", "/react", "/zod", "/ajv",
    ];
    let answers = agreed("many", None, &requests).await;
    assert!(
        answers.iter().all(|answer| answer.starts_with("200 ")),
        "{answers:#?}"
    );
    assert_eq!(answers[0], "200 2026-03-01 Sunday");
    assert_eq!(answers[5], "200 <ul><li>a</li><li>b</li></ul>");
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_decorators_work_in_a_bundle() {
    let answers = agreed("legacy", None, &["/"]).await;
    assert!(answers[0].ends_with(",14,3,\"Service\"]"), "{answers:?}");
}
