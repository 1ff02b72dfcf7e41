//! Bundles are made by a child of the provider's program, and whatever happens to it, the parent goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use terraform_provider_cloudflare::bundle::{Bundle, Bundler, Failure, ModuleKind, Options};

const PROGRAM: &str = env!("CARGO_BIN_EXE_terraform-provider-cloudflare");

fn bundler() -> Bundler {
    Bundler::with_program(Path::new(PROGRAM))
}

/// Sources in a directory of their own, and the entry `worker.ts`.
fn sources(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    let entry = folder.path().join("worker.ts");
    (folder, entry)
}

fn code(bundle: &Bundle) -> &str {
    assert_eq!(bundle.modules[0].kind, ModuleKind::EsModule);
    std::str::from_utf8(&bundle.modules[0].body).expect("code is text")
}

fn stopped(result: Result<Bundle, Failure>) -> String {
    match result {
        Err(Failure::Stopped(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_bundle_holds_the_code_of_all_files() {
    let (_folder, entry) = sources(&[
        (
            "worker.ts",
            "import { x } from './x'; export default { fetch: () => new Response(x as string) }",
        ),
        ("x.ts", "export const x: string = 'from x'"),
    ]);
    let bundle = bundler()
        .bundle(&entry, &Options::default())
        .await
        .expect("it bundles");
    assert!(code(&bundle).contains("from x"), "{}", code(&bundle));
}

#[tokio::test]
async fn a_source_that_overflows_the_stack_is_a_failure_and_nothing_more() {
    let deep = format!(
        "export default {}1{}",
        "[".repeat(300_000),
        "]".repeat(300_000)
    );
    let (_folder, entry) = sources(&[("worker.ts", &deep)]);
    let why = stopped(bundler().bundle(&entry, &Options::default()).await);
    assert_eq!(
        why,
        "Its stack overflowed: a source nests expressions too deeply."
    );
}

#[tokio::test]
async fn a_bundle_that_takes_too_long_is_given_up() {
    let (_folder, entry) = sources(&[("worker.ts", "export default {}")]);
    let bundler = bundler().with_time_limit(Duration::ZERO);
    let why = stopped(bundler.bundle(&entry, &Options::default()).await);
    assert_eq!(why, "It took longer than 0 seconds.");
}

#[tokio::test]
async fn the_child_sees_nothing_of_the_environment() {
    let (_folder, entry) = sources(&[("worker.ts", "export default { path: process.env.PATH }")]);
    let bundle = bundler()
        .bundle(&entry, &Options::default())
        .await
        .expect("it bundles");
    assert!(
        code(&bundle).contains("process.env.PATH"),
        "{}",
        code(&bundle)
    );
}

#[tokio::test]
async fn a_bundle_is_made_once_until_it_is_forgotten() {
    let (folder, entry) = sources(&[("worker.ts", "export default 'first'; export class A {}")]);
    let bundler = Arc::new(bundler());
    let first = bundler
        .bundle(&entry, &Options::default())
        .await
        .expect("it bundles");
    fs::write(folder.path().join("worker.ts"), "export default 'second'").expect("a file");
    let again = bundler
        .bundle(&entry, &Options::default())
        .await
        .expect("it is kept");
    assert_eq!(again, first);
    let minified = Options {
        minify: true,
        ..Options::default()
    };
    let other = bundler.bundle(&entry, &minified).await.expect("it bundles");
    assert!(code(&other).contains("second"), "{}", code(&other));
    bundler.forget();
    let second = bundler
        .bundle(&entry, &Options::default())
        .await
        .expect("it bundles");
    assert!(code(&second).contains("second"), "{}", code(&second));
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (folder, entry) = sources(&[("worker.ts", "export default (")]);
    let bundler = bundler();
    let failed = bundler.bundle(&entry, &Options::default()).await;
    assert!(matches!(failed, Err(Failure::Sources(_))), "{failed:?}");
    fs::write(folder.path().join("worker.ts"), "export default {}").expect("a file");
    bundler
        .bundle(&entry, &Options::default())
        .await
        .expect("it bundles now");
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_named_by_how_it_ended() {
    let (_folder, entry) = sources(&[("worker.ts", "export default {}")]);
    for (program, expect) in [
        (
            "/bin/false",
            "The process that bundles ended early: exit status: 1.",
        ),
        (
            "/bin/true",
            "Its answer cannot be read: it does not begin with the mark.",
        ),
        (
            "/bin/echo",
            "Its answer cannot be read: it does not begin with the mark.",
        ),
    ] {
        let bundler = Bundler::with_program(Path::new(program));
        assert_eq!(
            stopped(bundler.bundle(&entry, &Options::default()).await),
            expect
        );
    }
    let missing = Bundler::with_program(Path::new("/nonexistent"));
    let why = stopped(missing.bundle(&entry, &Options::default()).await);
    assert!(
        why.starts_with("The process that bundles could not be started: "),
        "{why}"
    );
}
