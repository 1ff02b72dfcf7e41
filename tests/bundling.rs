//! Bundles are made by a child of the provider's program, and whatever happens to it, the parent goes on.

#![cfg(unix)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bundler::{Request, wire};
use futures_util::future::join_all;
use tempfile::TempDir;
use terraform_provider_cloudflare::bundle::{
    Bundle, Bundler, CHILD_MODE, Failure, Module, ModuleKind, Options, Problem,
};

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

async fn bundle(bundler: &Bundler, entry: &Path) -> Result<Bundle, Failure> {
    bundler.bundle(entry, &Options::default()).await
}

fn code(bundle: &Bundle) -> &str {
    assert_eq!(bundle.modules[0].kind, ModuleKind::EsModule);
    std::str::from_utf8(&bundle.modules[0].body).expect("code is text")
}

#[track_caller]
fn assert_holds(bundle: Result<Bundle, Failure>, part: &str) {
    let bundle = bundle.expect("it bundles");
    assert!(code(&bundle).contains(part), "{}", code(&bundle));
}

#[track_caller]
fn assert_stopped(result: Result<Bundle, Failure>, beginning: &str) {
    match result {
        Err(Failure::Stopped(why)) => assert!(why.starts_with(beginning), "{why}"),
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
    assert_holds(bundle(&bundler(), &entry).await, "from x");
}

#[tokio::test]
async fn a_module_larger_than_any_pipe_arrives_whole() {
    let text = "0123456789abcdef".repeat(500_000);
    let (_folder, entry) = sources(&[
        (
            "worker.ts",
            "import text from './large.txt'; export default { text }",
        ),
        ("large.txt", &text),
    ]);
    let bundle = bundle(&bundler(), &entry).await.expect("it bundles");
    assert_eq!(bundle.modules[1].kind, ModuleKind::Text);
    assert!(bundle.modules[1].body == text.as_bytes());
}

#[tokio::test]
async fn a_source_that_overflows_the_stack_is_a_failure_and_nothing_more() {
    let deep = format!(
        "export default {}{}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let (_folder, entry) = sources(&[("worker.ts", &deep)]);
    let bundler = bundler();
    let expected = "Its stack overflowed (signal 6, SIGABRT): ";
    assert_stopped(bundle(&bundler, &entry).await, expected);
    fs::write(&entry, "export default 'shallow'").expect("a file");
    assert_holds(bundle(&bundler, &entry).await, "shallow");
}

#[tokio::test]
async fn a_source_on_which_the_bundler_panics_is_told_as_its_problem() {
    let source = "function f() {\n  export const x = 1\n  return x\n}\nexport default { f }\n";
    let (_folder, entry) = sources(&[("worker.ts", source)]);
    let Err(Failure::Sources(problems)) = bundle(&bundler(), &entry).await else {
        panic!("an `export` in a function does not pass");
    };
    assert_eq!(problems[0].place.as_ref().expect("it is known").line, 2);
}

#[tokio::test]
async fn a_bundle_is_made_once_until_it_is_forgotten() {
    let (folder, entry) = sources(&[
        ("worker.ts", "export { x as default } from './x'"),
        ("x.ts", "export const x = 'first'"),
    ]);
    let bundler = bundler();
    let first = bundle(&bundler, &entry).await.expect("it bundles");
    fs::remove_file(folder.path().join("x.ts")).expect("it is there");
    assert_eq!(bundle(&bundler, &entry).await, Ok(first));
    fs::write(folder.path().join("x.ts"), "export const x = 'second'").expect("a file");
    let minified = Options {
        minify: true,
        ..Options::default()
    };
    assert_holds(bundler.bundle(&entry, &minified).await, "second");
    assert_holds(bundle(&bundler, &entry).await, "first");
    bundler.forget();
    assert_holds(bundle(&bundler, &entry).await, "second");
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (_folder, entry) = sources(&[("worker.ts", "export default (")]);
    let bundler = bundler();
    let failed = bundle(&bundler, &entry).await;
    assert!(matches!(failed, Err(Failure::Sources(_))), "{failed:?}");
    fs::write(&entry, "export default 'mended'").expect("a file");
    assert_holds(bundle(&bundler, &entry).await, "mended");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_that_is_not_unicode_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let (folder, _) = sources(&[]);
    let folder = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).expect("a folder");
    let entry = folder.join("worker.ts");
    fs::write(&entry, "export default {}").expect("a file");
    let Err(Failure::Sources(problems)) = bundle(&bundler(), &entry).await else {
        panic!("it is not Unicode");
    };
    let message = &problems[0].message;
    assert!(
        message.ends_with("caf\u{fffd}/worker.ts` is not valid Unicode"),
        "{message}"
    );
}

/// The child without a parent that knows how to talk to it.
fn start() -> Child {
    Command::new(PROGRAM)
        .arg(CHILD_MODE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there")
}

/// What it says to that and nothing else.
fn child(request: &[u8]) -> Output {
    let mut child = start();
    // Waiting closes stdin.
    let _ = child
        .stdin
        .as_mut()
        .expect("it is piped")
        .write_all(request);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_child_that_is_not_asked_properly_says_that_it_is_internal() {
    let request = wire::request(&Request::default()).expect("it is Unicode");
    for garbage in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &request[..20]] {
        let output = child(garbage);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        assert!(said.starts_with("No request: "), "{said}");
        assert!(said.contains("This mode is internal: "), "{said}");
    }
}

#[test]
fn a_child_whose_parent_is_gone_does_not_work_on() {
    // Shortening it takes the time of the number of terms squared: much longer than anybody waits.
    let terms: Vec<_> = (0..60_000).map(|at| format!("a{at}")).collect();
    let source = format!(
        "const {} = globalThis;\nexport default {{}};\nexport const sum = {};",
        format_args!("{{ {} }}", terms.join(", ")),
        terms.join(" + ")
    );
    let (folder, entry) = sources(&[("worker.ts", &source)]);
    let request = wire::request(&Request {
        entry,
        shown_from: folder.path().to_owned(),
        options: Options {
            minify: true,
            ..Options::default()
        },
        threads: 1,
    });
    let output = child(&request.expect("it is Unicode"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(output.stderr.is_empty());
}

#[test]
fn a_parent_may_leave_once_it_has_the_answer() {
    let (folder, entry) = sources(&[("worker.ts", "export default {}")]);
    let request = wire::request(&Request {
        entry,
        shown_from: folder.path().to_owned(),
        ..Request::default()
    });
    let request = request.expect("it is Unicode");
    for _ in 0..20 {
        let mut child = start();
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(&request).expect("it is read");
        let mut answer = Vec::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        stdout.read_to_end(&mut answer).expect("it is written");
        wire::read_answer(&answer.into())
            .expect("it is an answer")
            .expect("it bundles");
        // Waiting closes stdin.
        assert!(child.wait().expect("it ends").success());
    }
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_told_apart_by_how_it_ended() {
    let (_folder, entry) = sources(&[("worker.ts", "export default {}")]);
    for (program, expected) in [
        (
            "/bin/false",
            "The process that bundles ended early: exit status: 1.",
        ),
        (
            "/bin/echo",
            "Its answer cannot be read: it does not begin with the mark.",
        ),
        (
            "/nonexistent",
            "The process that bundles could not be started from `/nonexistent`: ",
        ),
        (
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundling/killed.sh"),
            "It was killed (signal 9, SIGKILL). ",
        ),
    ] {
        let bundler = Bundler::with_program(Path::new(program));
        assert_stopped(bundle(&bundler, &entry).await, expected);
    }
}

/// Puts a stand-in for the program into a folder, with an answer and a pipe.
fn stand_in(folder: &Path, script: &str, answer: &wire::Outcome) -> Bundler {
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundling"));
    let program = folder.join("program.sh");
    std::os::unix::fs::symlink(scripts.join(script), &program).expect("a link");
    fs::create_dir(folder.join("running")).expect("a folder");
    let file = fs::File::create(folder.join("answer")).expect("a file");
    wire::write_answer(answer, file).expect("it is written");
    Bundler::with_program(&program)
}

fn some_bundle() -> Bundle {
    Bundle {
        modules: vec![Module {
            name: "worker.js".to_owned(),
            kind: ModuleKind::EsModule,
            body: "export default {}".into(),
        }],
        builtins: Vec::new(),
        warnings: Vec::new(),
    }
}

/// How many of its kind each stand-in has seen running, itself among them.
fn seen(folder: &Path) -> Vec<usize> {
    let seen = fs::read_to_string(folder.join("seen")).expect("some have run");
    let numbers = seen.lines().map(|line| line.trim().parse());
    numbers.collect::<Result<_, _>>().expect("they are numbers")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_gets_no_variables_no_directory_and_no_interrupts() {
    let (folder, entry) = sources(&[]);
    let bundler = stand_in(folder.path(), "notes.sh", &Ok(some_bundle()));
    assert_eq!(bundle(&bundler, &entry).await, Ok(some_bundle()));
    let start = fs::read_to_string(folder.path().join("start")).expect("it was noted");
    assert_eq!(
        start,
        format!("arguments: {CHILD_MODE}\nvariables: \ndirectory: /\nleads its group: yes\n")
    );
}

#[tokio::test]
async fn fifty_bundles_at_a_time_are_made_by_as_many_children_as_there_are_cores() {
    let (folder, _) = sources(&[]);
    let bundler = stand_in(folder.path(), "notes.sh", &Ok(some_bundle())).with_cores(3);
    let entries: Vec<_> = (0..50)
        .map(|number| folder.path().join(format!("{number}.ts")))
        .collect();
    let bundles = join_all(entries.iter().map(|entry| bundle(&bundler, entry))).await;
    assert!(
        bundles
            .into_iter()
            .all(|bundle| bundle == Ok(some_bundle()))
    );
    let seen = seen(folder.path());
    assert_eq!(seen.len(), 50);
    assert!(seen.iter().all(|running| *running <= 3), "{seen:?}");
}

#[tokio::test]
async fn whoever_asks_for_the_same_meanwhile_shares_the_child_and_its_end() {
    let problem = Problem {
        message: "Unexpected token".to_owned(),
        place: None,
        frame: String::new(),
        help: String::new(),
    };
    for answer in [Ok(some_bundle()), Err(vec![problem])] {
        let (folder, entry) = sources(&[("worker.ts", "")]);
        let link = folder.path().join("link.ts");
        std::os::unix::fs::symlink(&entry, &link).expect("a link");
        let bundler = stand_in(folder.path(), "notes.sh", &answer);
        let expected = answer.map_err(Failure::Sources);
        let asked = [&entry, &link, &entry, &link].map(|entry| bundle(&bundler, entry));
        for outcome in join_all(asked).await {
            assert_eq!(outcome, expected);
        }
        assert_eq!(seen(folder.path()), [1]);
    }
}

/// Waits until a stand-in lives, and then for its end.
struct Life {
    began: tokio::sync::oneshot::Receiver<()>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Life {
    fn watch(folder: &Path) -> Life {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let pipe = folder.join("alive");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &pipe, FileType::Fifo, mode, 0).expect("a pipe");
        let (tell_began, began) = tokio::sync::oneshot::channel();
        let (tell_ended, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // Opens once somebody writes, and ends once nobody does.
            let pipe = fs::File::open(pipe).expect("it is there");
            let _ = tell_began.send(());
            let _ = std::io::copy(&mut &pipe, &mut std::io::sink());
            let _ = tell_ended.send(());
        });
        Life { began, ended }
    }
}

#[tokio::test]
async fn a_child_ends_when_nobody_waits_for_it_any_more() {
    let (folder, entry) = sources(&[]);
    let bundler = stand_in(folder.path(), "waits.sh", &Ok(some_bundle()));
    let life = Life::watch(folder.path());
    tokio::select! {
        outcome = bundle(&bundler, &entry) => panic!("it does not answer: {outcome:?}"),
        began = life.began => began.expect("it is told"),
    }
    life.ended.await.expect("it is told");
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_given_up() {
    let (folder, entry) = sources(&[]);
    let _life = Life::watch(folder.path());
    let limit = Duration::from_millis(10);
    let bundler = stand_in(folder.path(), "waits.sh", &Ok(some_bundle())).with_time_limit(limit);
    let outcome = bundle(&bundler, &entry).await;
    assert_stopped(outcome, "It was not done after 0.01 seconds. ");
}
