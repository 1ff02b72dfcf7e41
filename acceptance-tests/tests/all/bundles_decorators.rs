//! Standard decorators do in a bundle what the proposal says. The answers are those of esbuild, but where it differs from the proposal:
//! classes in loops, names of class expressions, computed names that are objects, and decorators that are methods of an object.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use acceptance_tests::cloudflare::runtime::{ModuleFile, Runtime, RuntimeOptions, ServedWorker};
use acceptance_tests::install;
use acceptance_tests::provider::provider_binary;
use terraform_provider_cloudflare::bundle::{Bundler, Options};

/// Title, program and what it says, of each.
const CASES: &str = include_str!("bundles_decorators.txt");

/// What every program starts with.
const TOOLS: &str = r#"
export function tools() {
    const log: string[] = [];
    const shown = (it: unknown) => {
        if (typeof it === "function") return "fn:" + it.name;
        return typeof it === "symbol" || typeof it === "string" ? String(it) : JSON.stringify(it);
    };
    const say = (...all: unknown[]) => { log.push(all.map(shown).join(" ").trimEnd()); };
    const d = (name: unknown) => {
        say("eval", name);
        return (value: any, c: any): any => say("apply", name, c.kind, c.name, c.static, c.private, value);
    };
    const wrap = (name: string) => (value: any, c: any): any =>
        function (this: any, ...all: any[]) { return name + "(" + value.apply(this, all) + ")"; };
    const init = (name: unknown) => (value: any, c: any): any => {
        c.addInitializer(function (this: any) { say("init", name, typeof this, this && this.tag); });
    };
    const attempt = (work: () => unknown) => {
        try { say("ok", work()); } catch (error: any) { say("threw", error.constructor.name); }
    };
    return { log, say, d, wrap, init, attempt };
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn decorators_do_in_a_bundle_what_the_proposal_says() {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let sources = folder.path().join("src");
    fs::create_dir(&sources).expect("a folder");
    fs::write(sources.join("tools.ts"), TOOLS).expect("a file");
    let mut entry = "const said: Record<string, string> = {};\n".to_owned();
    let mut expected = BTreeMap::new();
    for (number, case) in CASES.trim_start_matches("# ").split("\n# ").enumerate() {
        let (title, case) = case.split_once('\n').expect("a title is a line");
        let (program, says) = case.split_once("\n---\n").expect("there is an answer");
        let program = format!(
            "import {{ tools }} from './tools';\nconst {{ log, say, d, wrap, init, attempt }} = tools();\n{program}\nexport default log;\n"
        );
        fs::write(sources.join(format!("case{number}.ts")), program).expect("a file");
        writeln!(
            entry,
            "import log{number} from './case{number}';\nsaid[{title:?}] = log{number}.join('\\n');"
        )
        .expect("writing to a String cannot fail");
        expected.insert(title.to_owned(), says.trim_end().to_owned());
    }
    entry += "export default { fetch: () => Response.json(said) };\n";
    let path = sources.join("worker.ts");
    fs::write(&path, entry).expect("a file");

    let bundler = Bundler::with_program(&provider_binary());
    let mut workers = Vec::new();
    for minify in [false, true] {
        let options = Options {
            minify,
            ..Options::default()
        };
        let bundle = bundler.bundle(&path, &options).await.expect("it bundles");
        workers.push(ServedWorker {
            name: format!("minify-{minify}"),
            main: "index.js".into(),
            modules: Arc::new([ModuleFile {
                name: "index.js".into(),
                content_type: "application/javascript+module".into(),
                body: bundle.modules[0].body.clone(),
            }]),
            compatibility_date: "2026-01-01".into(),
            ..ServedWorker::default()
        });
    }
    let runtime = Runtime::start(RuntimeOptions {
        workerd: install::workerd().await.expect("workerd can be installed"),
        disk: folder.path().join("objects"),
        port: 0,
        visits: Default::default(),
        guard: None,
    })
    .await
    .expect("the runtime starts");
    runtime
        .deploy(workers, &[])
        .await
        .expect("the bundles start");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for minify in [false, true] {
        let said: BTreeMap<String, String> = reqwest::Client::new()
            .get(format!("http://{}/", runtime.address()))
            .header("x-local-worker", format!("minify-{minify}"))
            .send()
            .await
            .expect("the gate answers")
            .json()
            .await
            .expect("the Worker answers");
        for (title, expected) in &expected {
            assert_eq!(said.get(title), Some(expected), "{title}, minify: {minify}");
        }
    }
    runtime.stop().await;
}
