//! Whatever sources hold, the answer is a bundle or a text that a person can read: no crash, no wait, no flood.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use acceptance_tests::provider::provider_binary;
use futures_util::StreamExt as _;
use futures_util::stream;
use tempfile::TempDir;
use terraform_provider_cloudflare::bundle::{Bundler, Failure, Options};

/// How many mutations are tried unless the variable says otherwise.
const MUTATIONS: usize = 150;
const VARIABLE: &str = "BUNDLE_MUTATIONS";

/// The longest text of one problem that a person would read.
const LONGEST: usize = 4_000;

/// The widest line.
const WIDEST: usize = 600;

/// A project that is broken in one way.
struct Case {
    name: String,
    folder: TempDir,
}

impl Case {
    fn new(name: impl Into<String>, files: &[(&str, &[u8])]) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it is below")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let name = name.into();
        Case { name, folder }
    }

    /// A Worker that is this text.
    fn text(name: &str, text: &str) -> Case {
        Case::new(name, &[("worker.tsx", text.as_bytes())])
    }

    /// A Worker that imports one file with this content.
    fn importing(file: &str, content: &[u8]) -> Case {
        let worker = format!("import x from './{file}';\nexport default {{ x }};\n");
        let name = format!(
            "importing {file}: {:?}",
            String::from_utf8_lossy(&content[..content.len().min(12)])
        );
        Case::new(name, &[("worker.tsx", worker.as_bytes()), (file, content)])
    }

    fn entry(&self) -> PathBuf {
        self.folder.path().join("worker.tsx")
    }

    /// What came of it, in a word, if it can be read.
    async fn outcome(&self, bundler: &Bundler, options: &Options) -> Result<&'static str, String> {
        let texts = match bundler.bundle(&self.entry(), options).await {
            Ok(_) => return Ok("bundled"),
            Err(Failure::NoBundler) => return Err("there is no bundler".to_owned()),
            Err(Failure::Stopped(why)) => vec![why],
            Err(Failure::Sources(problems)) => problems
                .into_iter()
                .map(|it| format!("{}\n{}\n{}", it.message, it.frame, it.help))
                .collect(),
        };
        if texts.is_empty() || texts.len() > 21 {
            return Err(format!("{} problems", texts.len()));
        }
        for text in &texts {
            let unreadable = [
                "\u{1b}",
                "panicked at",
                "stack backtrace",
                "rolldown/rolldown",
            ];
            let wide = text.lines().any(|line| line.chars().count() > WIDEST);
            if wide
                || text.len() > LONGEST
                || text.trim().is_empty()
                || unreadable.iter().any(|it| text.contains(it))
            {
                return Err(text.chars().take(2_000).collect());
            }
        }
        Ok("refused")
    }
}

/// Tries all, some at a time, and fails with all that cannot be read.
async fn assert_readable(cases: Vec<Case>, options: Options) -> Vec<(String, &'static str)> {
    let bundler = Bundler::with_program(&provider_binary());
    let outcomes =
        stream::iter(&cases).map(async |case| (case, case.outcome(&bundler, &options).await));
    let outcomes: Vec<_> = outcomes.buffered(8).collect().await;
    let mut unreadable = String::new();
    let mut readable = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Ok(outcome) => readable.push((case.name.clone(), outcome)),
            Err(text) => {
                let _ = writeln!(unreadable, "--- {}\n{text}", case.name);
            }
        }
    }
    assert!(unreadable.is_empty(), "\n{unreadable}");
    readable
}

#[track_caller]
fn assert_refused(outcomes: &[(String, &'static str)]) {
    let bundled: Vec<&str> = outcomes
        .iter()
        .filter(|it| it.1 != "refused")
        .map(|it| it.0.as_str())
        .collect();
    assert_eq!(bundled, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn syntax_errors_of_every_kind_are_told() {
    let texts = [
        "export default 'unterminated",
        "export default `unterminated ${",
        "export default /* unterminated",
        "export default /unterminated",
        "export default <div>",
        "export default <div></span>;",
        "export default <div {...}/>;",
        "export default { a: 1",
        "export default (((((((",
        "export default function (",
        "export default class { constructor( }",
        "export default async () => { await",
        "type X = ;\nexport default {};",
        "enum { A }\nexport default {};",
        "import { from 'x';\nexport default {};",
        "export default 0x;",
        "export default 08n;",
        "export default '\\u{110000}';",
        "export default \"a\nb\";",
        "let let = 1;\nexport default {};",
        "with (a) {}\nexport default {};",
        "break;\nexport default {};",
        "new.target;\nexport default {};",
        "export default { await };\nawait = 1;",
        "#!not first\n#!second\nexport default {};",
        "export default @;",
        "export default \u{202e}{};",
        "<<<<<<< HEAD\nexport default {};\n=======\n>>>>>>> main",
        "",
        "   \n\n",
        "//",
    ];
    let cases = texts.iter().map(|text| Case::text(text, text)).collect();
    assert_refused(&assert_readable(cases, Options::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_what_they_seem_are_told() {
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend("export default 1".encode_utf16().flat_map(u16::to_le_bytes));
    let refused = vec![
        Case::importing("x.ts", b"export default '\xff\xfe';"),
        Case::importing("x.js", &utf16),
        Case::importing("x.js", b"\x7fELF\x02\x01\x01\x00\x00\x00"),
        Case::importing("x.png", b"\x89PNG\r\n\x1a\n\xff"),
        Case::importing("x.css", b"p { color: red }"),
        Case::importing("x.json", b"{ not json"),
        Case::importing("x.json", b""),
        Case::importing("x.vue", b"<template></template>"),
    ];
    assert_refused(&assert_readable(refused, Options::default()).await);
    let package = |json: &[u8]| {
        Case::new(
            format!("package.json: {}", String::from_utf8_lossy(json)),
            &[
                ("worker.tsx", b"import p from 'p';\nexport default p;"),
                ("node_modules/p/package.json", json),
                ("node_modules/p/index.js", b"export default {};"),
            ],
        )
    };
    let config = |json: &[u8]| {
        Case::new(
            format!("tsconfig.json: {}", String::from_utf8_lossy(json)),
            &[
                ("worker.tsx", b"export default {};"),
                ("tsconfig.json", json),
            ],
        )
    };
    let any = vec![
        package(b"{"),
        package(b"[]"),
        package(b"\xff"),
        package(br#"{ "main": "./nowhere.js" }"#),
        package(br#"{ "main": 1, "exports": null }"#),
        package(br#"{ "exports": { ".": { "import": { "worker": [] } } } }"#),
        package(br#"{ "exports": "../../../../etc/passwd" }"#),
        package(br##"{ "name": "p", "imports": { "#a": "p" }, "exports": "p" }"##),
        config(b"{"),
        config(b"\xff"),
        config(br#"{ "extends": "./tsconfig.json" }"#),
        config(br#"{ "extends": "nowhere" }"#),
        config(br#"{ "compilerOptions": { "paths": 1, "jsx": 7, "target": "es1" } }"#),
        Case::new(
            "a package that is a file",
            &[
                ("worker.tsx", b"import p from 'p';\nexport default p;"),
                ("node_modules", b""),
            ],
        ),
        Case::new(
            "a null byte",
            &[("worker.tsx", b"export default { a: '\0' };\0")],
        ),
        Case::new(
            "line ends",
            &[(
                "worker.tsx",
                "export default {\r\n a: `\r\u{2028}`, };".as_bytes(),
            )],
        ),
        Case::text(
            "itself",
            "import self from './worker';\nexport default { self };",
        ),
        Case::text(
            "addresses",
            "import a from 'data:,x';\nimport b from 'file:///etc/passwd';\nimport c from 'http://x';\nexport default { a, b, c };",
        ),
        Case::text(
            "an absolute path",
            "import a from '/etc/hostname';\nexport default { a };",
        ),
        Case::text(
            "odd names",
            "import a from './\\'\\n\"%\\u0000x';\nimport b from '';\nimport c from '#';\nimport d from '@';\nexport default { a, b, c, d };",
        ),
        Case::text(
            "a long name",
            &format!(
                "import a from './{}';\nexport default {{ a }};",
                "x".repeat(70_000)
            ),
        ),
    ];
    assert_readable(any, Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_ends_nothing_but_its_bundle() {
    let nest = |name: &str, open: &str, inner: &str, close: &str, depth: usize| {
        let text = format!(
            "export default {}{inner}{};",
            open.repeat(depth),
            close.repeat(depth)
        );
        Case::text(&format!("{name}, {depth} deep"), &text)
    };
    for depth in [1_000, 20_000] {
        let cases = vec![
            nest("arrays", "[", "1", "]", depth),
            nest("objects", "{a:", "1", "}", depth),
            nest("calls", "f(", "1", ")", depth),
            nest("chains", "", "f", "()", depth),
            nest("members", "", "f", ".a", depth),
            nest("sums", "1+", "1", "", depth),
            nest("ternaries", "1?1:", "1", "", depth),
            nest("templates", "`${", "1", "}`", depth),
            nest("arrows", "()=>", "1", "", depth),
            nest("functions", "function(){return ", "1", "}", depth),
            nest("parentheses", "(", "1", ")", depth),
            nest("nots", "!", "1", "", depth),
            nest("markup", "<a>", "", "</a>", depth),
            nest("types", "null as A<", "1", ">", depth),
            nest("classes", "class extends ", "A", "{}", depth),
        ];
        assert_readable(cases, Options::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_sources_are_bundled_or_refused() {
    let long = format!("export default '{}';", "x".repeat(20 << 20));
    let exports: String = (0..20_000)
        .map(|n| format!("export const e{n} = {n};\n"))
        .collect();
    let mut chain = vec![(
        "worker.tsx".to_owned(),
        "import { f } from './m0';\nexport default { f };".to_owned(),
    )];
    for n in 0..3_000 {
        let next = n + 1;
        chain.push((
            format!("m{n}.ts"),
            format!("import {{ f as g }} from './m{next}';\nexport const f = () => g;"),
        ));
    }
    chain.push(("m3000.ts".to_owned(), "export const f = 1;".to_owned()));
    let chain: Vec<(&str, &[u8])> = chain
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_bytes()))
        .collect();
    let bundled = vec![
        Case::text("20 MiB in one line", &long),
        Case::text("20,000 exports", &format!("{exports}export default {{}};")),
        Case::new("3,000 files in a chain", &chain),
    ];
    for (name, outcome) in assert_readable(bundled, Options::default()).await {
        assert_eq!(outcome, "bundled", "{name}");
    }
    let sparse = Case::text("a file of 10 GiB", "");
    let file = fs::File::create(sparse.entry()).expect("a file");
    file.set_len(10 << 30).expect("a sparse file");
    assert_refused(&assert_readable(vec![sparse], Options::default()).await);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_no_files_are_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let case = |name: &str, make: &dyn Fn(&Path)| {
        let case = Case::new(name, &[]);
        make(&case.entry());
        case
    };
    let cases = vec![
        case("nothing", &|_| {}),
        case("a folder", &|path| fs::create_dir(path).expect("a folder")),
        case("a loop", &|path| symlink(path, path).expect("a link")),
        case("a link to nothing", &|path| {
            symlink("nowhere", path).expect("a link")
        }),
        case("a device", &|path| {
            symlink("/dev/zero", path).expect("a link")
        }),
        case("a pipe", &|path| {
            let made = Command::new("mkfifo")
                .arg(path)
                .status()
                .expect("mkfifo starts");
            assert!(made.success());
        }),
        Case::new(
            "a folder that links to itself",
            &[("worker.tsx", b"import './a/a/a/a/b';\nexport default {};")],
        ),
    ];
    let last = cases.last().expect("it is there").folder.path();
    symlink(last, last.join("a")).expect("a link");
    assert_refused(&assert_readable(cases, Options::default()).await);

    let secret = Case::text("no permission", "export default {};");
    let none = fs::Permissions::from_mode(0o000);
    fs::set_permissions(secret.entry(), none).expect("permissions");
    // The administrator reads it all the same.
    assert_readable(vec![secret], Options::default()).await;
}

/// A number that looks random, and is the same in every run.
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 33).expect("31 bits fit")
}

/// A text with a few changes by line or by character.
fn mutated(text: &str, seed: &mut u64) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=next(seed) % 3 {
        let (one, other) = (next(seed) % lines.len(), next(seed) % lines.len());
        match next(seed) % 6 {
            0 => lines.swap(one, other),
            1 => drop(lines.remove(one)),
            2 => lines.insert(one, lines[other].clone()),
            3 => {
                let characters = lines[one].chars().count().max(1);
                lines[one] = lines[one].chars().take(next(seed) % characters).collect();
            }
            4 => {
                lines[one].extend(['}', '(', '`', '@', '/', '<', '\u{7f}', 'é'].get(next(seed) % 8))
            }
            _ => lines[one] = format!("{}{}", lines[other], lines[one]),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_with_random_mistakes_are_bundled_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles/features");
    let sources = [
        "classes.ts",
        "language.ts",
        "modules.ts",
        "assets.ts",
        "worker.ts",
        "markup.tsx",
        "lib/common.cjs",
    ];
    let sources = sources.map(|name| fs::read_to_string(folder.join(name)).expect("a source"));
    let count = std::env::var(VARIABLE).ok().and_then(|it| it.parse().ok());
    let mut seed = 0x2026_1125;
    let cases = (0..count.unwrap_or(MUTATIONS))
        .map(|n| {
            let text = mutated(&sources[n % sources.len()], &mut seed);
            let worker = "import * as all from './x';\nexport default { all };";
            Case::new(
                format!("mutation {n}:\n{text}"),
                &[
                    ("worker.tsx", worker.as_bytes()),
                    ("x.tsx", text.as_bytes()),
                    (
                        "tsconfig.json",
                        br#"{ "compilerOptions": { "jsx": "react" } }"#,
                    ),
                ],
            )
        })
        .collect();
    assert_readable(
        cases,
        Options {
            minify: true,
            ..Options::default()
        },
    )
    .await;
}
