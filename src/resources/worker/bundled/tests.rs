//! What is refused before anything is bundled, and the literal texts of what is said of sources.

use bytes::Bytes;

use super::*;
use crate::bundle::{self, Place};
use crate::tf::Severity;

fn worker(entrypoint: impl Into<Value>, bundle: Value) -> Value {
    Value::object([("entrypoint", entrypoint.into()), ("bundle", bundle)])
}

fn bundle<const N: usize>(members: [(&str, Value); N]) -> Value {
    worker("src/worker.ts", Value::object(members))
}

#[track_caller]
fn judged(config: &Value, expect: &[&str]) {
    let places: Vec<String> = judge(config)
        .iter()
        .map(|it| it.path.clone().unwrap_or_default().to_string())
        .collect();
    assert_eq!(places, expect);
}

#[test]
fn what_cannot_be_bundled_is_refused_at_its_place() {
    judged(&worker("src/worker.ts", Value::Null), &[]);
    judged(&worker(" ", Value::Null), &["entrypoint"]);
    let minified = Value::object([("minify", Value::from(true))]);
    judged(&worker(Value::Null, minified.clone()), &["bundle"]);
    judged(&worker(Value::Unknown, minified), &[]);
    judged(&worker(Value::Null, Value::Unknown), &[]);
    let list = |texts: &[&str]| Value::List(texts.iter().map(|text| (*text).into()).collect());
    judged(
        &bundle([
            ("external", list(&["pg", ""])),
            ("conditions", list(&[" "])),
            ("tsconfig", "".into()),
        ]),
        &[
            "bundle.external[1]",
            "bundle.conditions[0]",
            "bundle.tsconfig",
        ],
    );
    judged(
        &bundle([("conditions", list(&[])), ("tsconfig", Value::Unknown)]),
        &[],
    );
}

#[test]
fn a_name_is_defined_as_json_or_another_name() {
    for (name, value, is_fine) in [
        ("process.env.STAGE", "\"live\"", true),
        ("VERSION", "[1, {\"a\": null}]", true),
        ("DEBUG", "false", true),
        ("$größe", "-1.5", true),
        ("global", "globalThis", true),
        ("import.meta.env.MODE", "a.b", true),
        ("VERSION", "1.2.3", false),
        ("VERSION", "", false),
        ("VERSION", "never in a message", false),
        ("", "1", false),
        ("1st", "1", false),
        ("a..b", "1", false),
        ("a-b", "1", false),
        ("a[0]", "1", false),
    ] {
        let define = Value::object([(name, Value::from(value))]);
        let config = bundle([("define", define)]);
        let path = format!("bundle.define[{name:?}]");
        match is_fine {
            true => judged(&config, &[]),
            false => judged(&config, &[&path]),
        }
        for diagnostic in judge(&config).iter() {
            assert!(!diagnostic.detail.contains("never in a message"));
        }
    }
    let define = Value::object([("VERSION", Value::Unknown)]);
    judged(&bundle([("define", define)]), &[]);
}

#[test]
fn options_are_what_the_configuration_says() {
    assert_eq!(options(&Value::Null), Options::default());
    let written = Value::object([
        ("minify", Value::from(true)),
        ("source_map", true.into()),
        ("external", vec!["pg"].into()),
        (
            "define",
            Value::object([("STAGE", Value::from("\"live\""))]),
        ),
        ("conditions", Value::List(Vec::new())),
        ("tsconfig", "config/tsconfig.json".into()),
    ]);
    let expected = Options {
        minify: true,
        source_map: true,
        external: vec!["pg".to_owned()],
        define: BTreeMap::from([("STAGE".to_owned(), "\"live\"".to_owned())]),
        conditions: Some(Vec::new()),
        tsconfig: Some("config/tsconfig.json".into()),
    };
    assert_eq!(options(&written), expected);
}

#[test]
fn every_kind_of_module_is_uploaded_as_what_it_is() {
    let module = |name: &str, kind| bundle::Module {
        name: name.to_owned(),
        kind,
        body: Bytes::copy_from_slice(name.as_bytes()),
    };
    let made = modules(
        "./src/worker.ts".to_owned(),
        Bundle {
            modules: vec![
                module("index.js", ModuleKind::EsModule),
                module("a.bin", ModuleKind::Data),
                module("a.txt", ModuleKind::Text),
                module("a.wasm", ModuleKind::Wasm),
                module("index.js.map", ModuleKind::SourceMap),
            ],
            builtins: Vec::new(),
            warnings: Vec::new(),
        },
    );
    assert_eq!(
        (made.main.as_str(), made.shown()),
        ("index.js", "./src/worker.ts")
    );
    assert_eq!(made.subject(), "`./src/worker.ts`");
    let types: Vec<(&str, &str)> = made
        .modules
        .iter()
        .map(|module| (module.name.as_str(), module.content_type.as_str()))
        .collect();
    assert_eq!(
        types,
        [
            ("a.bin", "application/octet-stream"),
            ("a.txt", "text/plain"),
            ("a.wasm", "application/wasm"),
            ("index.js", "application/javascript+module"),
            ("index.js.map", "application/source-map"),
        ]
    );
}

fn problem(message: &str) -> Problem {
    Problem {
        message: message.to_owned(),
        place: None,
        frame: String::new(),
        help: String::new(),
    }
}

/// What is said: severity, summary and detail, all at `entrypoint`.
fn said(diagnostics: &Diagnostics) -> Vec<(Severity, &str, &str)> {
    diagnostics
        .iter()
        .map(|it| {
            assert_eq!(it.path, Some(AttributePath::root("entrypoint")));
            (it.severity, it.summary.as_str(), it.detail.as_str())
        })
        .collect()
}

#[test]
fn every_problem_is_an_error_with_its_place_and_what_it_looks_like() {
    let syntax = Problem {
        place: Some(Place {
            file: "src/rooms.ts".to_owned(),
            line: 4,
            column: 18,
        }),
        frame: "  ╭─[ src/rooms.ts:4:18 ]\n4 │     const n = 1 +;\n  │                  ┬ \n\n"
            .to_owned(),
        ..problem("Unexpected token")
    };
    let missing = Problem {
        help: "Install the package, for example with `npm install hono`.".to_owned(),
        ..problem("Cannot find the package `hono`")
    };
    let failure = Failure::Sources(vec![syntax, missing]);
    let error = Severity::Error;
    assert_eq!(
        said(&refusals("src/worker.ts", failure)),
        [
            (
                error,
                "Cannot bundle src/worker.ts: Unexpected token",
                "src/rooms.ts:4:18\n\n    ╭─[ src/rooms.ts:4:18 ]\n  4 │     const n = 1 +;\n    │                  ┬",
            ),
            (
                error,
                "Cannot bundle src/worker.ts: Cannot find the package `hono`",
                "Install the package, for example with `npm install hono`.\n\nTo destroy the Worker all the same: `terraform destroy \
                 -refresh=false`.",
            ),
        ]
    );
}

#[test]
fn sources_cannot_speak_to_the_terminal() {
    let sly = Problem {
        frame: "1 │ \u{1b}[2Jx\n2 │\ty".to_owned(),
        ..problem("Unexpected \u{7}")
    };
    assert_eq!(detail(&sly), "  1 │ \u{fffd}[2Jx\n  2 │\ty");
    let failure = Failure::Sources(vec![sly]);
    let summary = "Cannot bundle a.ts: Unexpected \u{fffd}";
    assert_eq!(said(&refusals("a.ts", failure))[0].1, summary);
}

#[test]
fn a_bundler_that_stopped_or_is_not_there_has_an_error_of_its_own() {
    let stopped = Failure::Stopped("It needed more than 2 GB of memory.".to_owned());
    assert_eq!(
        said(&refusals("a.ts", stopped)),
        [(
            Severity::Error,
            "Cannot bundle a.ts: the bundler did not finish",
            "It needed more than 2 GB of memory.\n\nBundling runs in a process of its own, so nothing else was affected, and nothing was \
             changed.\n\nTo destroy the Worker all the same: `terraform destroy -refresh=false`.",
        )]
    );
    assert_eq!(
        said(&refusals("a.ts", Failure::NoBundler)),
        [(
            Severity::Error,
            "Cannot bundle a.ts: this build has no bundler",
            "This build of the provider was made without its bundler. Bundle with another tool and set `modules`, or install the complete \
             build.\n\nTo destroy the Worker all the same: `terraform destroy -refresh=false`.",
        )]
    );
}

#[test]
fn modules_of_node_are_judged_by_what_is_known_of_the_worker() {
    let bundled = Bundled {
        entry: "a.ts".to_owned(),
        builtins: vec![BuiltinImport {
            module: "node:http".to_owned(),
            importer: "src/a.ts".to_owned(),
        }],
        warnings: Vec::new(),
    };
    let flags = |flags: &[&str]| Value::List(flags.iter().map(|it| (*it).into()).collect());
    for (date, flags, count) in [
        (Value::from("2026-11-01"), flags(&[]), 0),
        ("2025-01-01".into(), flags(&[]), 1),
        ("2025-01-01".into(), Value::Null, 1),
        ("2026-03-17".into(), flags(&["nodejs_compat"]), 0),
        (Value::Null, flags(&[]), 1),
        (Value::Unknown, flags(&[]), 0),
        ("2025-01-01".into(), Value::Unknown, 0),
        ("2025-01-01".into(), Value::List(vec![Value::Unknown]), 0),
    ] {
        let planned = Value::object([
            ("compatibility_date", date.clone()),
            ("compatibility_flags", flags.clone()),
        ]);
        let warnings = bundled.missing_builtins(&planned);
        assert_eq!(warnings.len(), count, "{date:?} {flags:?}");
        assert!(warnings.iter().all(|it| it.severity == Severity::Warning));
    }
}

#[cfg(all(unix, feature = "bundler"))]
#[tokio::test]
async fn an_interrupted_run_waits_for_no_bundle() {
    let stop = CancellationToken::new();
    stop.cancel();
    let bundler = Bundler::with_program(Path::new("/bin/cat"));
    let outcome = load("a.ts", &Value::Null, &bundler, &stop).await;
    let refused = outcome.map(|_| ()).expect_err("it was interrupted");
    assert_eq!(said(&refused)[0].1, "Cannot bundle a.ts: interrupted");
}

#[cfg(all(unix, feature = "bundler"))]
#[tokio::test]
async fn a_program_that_does_not_bundle_is_no_reason_to_hang() {
    let bundler = Bundler::with_program(Path::new("/bin/cat"));
    let stop = CancellationToken::new();
    let outcome = load("a.ts", &Value::Null, &bundler, &stop).await;
    let refused = outcome.map(|_| ()).expect_err("there is no bundle");
    let summary = "Cannot bundle a.ts: the bundler did not finish";
    assert_eq!(said(&refused)[0].1, summary);
}

#[test]
fn what_may_be_wrong_is_a_warning_that_names_the_entry() {
    let bundled = Bundled {
        entry: "a.ts".to_owned(),
        builtins: Vec::new(),
        warnings: vec![problem("`eval` may not do what it seems to")],
    };
    assert_eq!(
        said(&bundled.warnings()),
        [(
            Severity::Warning,
            "Bundling a.ts: `eval` may not do what it seems to",
            "",
        )]
    );
}
