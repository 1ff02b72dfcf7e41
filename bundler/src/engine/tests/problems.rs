//! What people read when sources cannot be bundled.

use super::{Project, told};
use crate::bundle::Options;

const IMPORTABLE: &str = "JavaScript, TypeScript and JSON can be imported; `.txt`, `.html` and `.sql` files as text, `.wasm` files as \
     WebAssembly, and `.bin` files as data. Static files of other kinds are served as assets.";

#[track_caller]
fn fails(files: &[(&str, &str)], expect: &str) {
    assert_eq!(Project::new(files).problems(), expect);
}

#[test]
fn syntax_errors_are_shown_in_their_file() {
    fails(
        &[("worker.ts", "export default {\n  n: 1 +;\n};")],
        "worker.ts:2:9: Unexpected token\n  1 | export default {\n  2 |   n: 1 +;\n    |         ^",
    );
    fails(
        &[
            (
                "worker.ts",
                "import './b';\nimport './a';\nexport default {};",
            ),
            ("a.ts", "const = 1;"),
            ("b.ts", "x = = 1;"),
        ],
        "a.ts:1:7: Unexpected token\n  1 | const = 1;\n    |       ^\n\
         b.ts:1:5: Unexpected token\n  1 | x = = 1;\n    |     ^",
    );
    fails(
        &[
            ("worker.ts", "import d from './d.json';\nexport default d;"),
            ("d.json", "{\n  \"a\": ,\n}"),
        ],
        "d.json:2:8: No JSON: expected value\n  1 | {\n  2 |   \"a\": ,\n    |        ^",
    );
    fails(
        &[
            ("worker.ts", "import h from './h.js';\nexport default h;"),
            ("h.js", "export default <p/>;"),
        ],
        "h.js:1:16: Unexpected JSX expression\n  1 | export default <p/>;\n    |                ^\n  Files with JSX end with `.jsx` or `.tsx`.",
    );
}

#[test]
fn what_the_language_forbids_beyond_its_grammar_is_told() {
    fails(
        &[("worker.ts", "export default class { a() { super(); } }")],
        "worker.ts:1:30: Super calls are not permitted outside constructors or in nested functions inside constructors\n  \
         1 | export default class { a() { super(); } }\n    |                              ^",
    );
}

/// They would be bundled so that everybody else sees the first value for ever.
#[test]
fn a_namespace_that_exports_a_variable_is_refused() {
    fails(
        &[(
            "worker.ts",
            "namespace N {\n  export let n = 1;\n  export const up = () => ++n;\n}\nexport default { N };",
        )],
        "worker.ts:2:14: A namespace exports a variable\n  1 | namespace N {\n  2 |   export let n = 1;\n    |              ^\n  Outside of the \
         namespace it would keep its first value. Export a constant, or functions that read and change the variable.",
    );
    let project = Project::new(&[(
        "worker.ts",
        "namespace N { export const n = 1; }\nexport default { n: N.n };",
    )]);
    assert!(project.code().contains("N.n"));
}

#[test]
fn exports_inside_of_functions_are_found_before_they_do_harm() {
    for statement in [
        "export const a = 1;",
        "export { f };",
        "export * from './x';",
        "export default 1;",
    ] {
        let source = format!("export function f() {{\n  {statement}\n}}\nexport default {{ f }};");
        let expect = format!(
            "worker.ts:2:3: `export` stands inside of a function or block\n  1 | export function f() {{\n  2 |   {statement}\n    |   ^\n  \
             Only a module as a whole can export."
        );
        fails(
            &[("worker.ts", &source), ("x.ts", "export const x = 1;")],
            &expect,
        );
    }
}

#[test]
fn a_package_that_is_missing_is_an_error_that_says_how_to_get_it() {
    let worker = (
        "worker.ts",
        "import { Hono } from 'hono/tiny';\nexport default new Hono();",
    );
    let place = "worker.ts:1:22: Cannot find the package `hono`\n  1 | import { Hono } from 'hono/tiny';\n    |                      ^\n  ";
    let external = "Or name it in `bundle.external` if the runtime provides it.";
    fails(
        &[worker],
        &format!("{place}Install it: `npm install hono`. {external}"),
    );
    fails(
        &[
            worker,
            ("package.json", r#"{ "dependencies": { "hono": "4" } }"#),
        ],
        &format!(
            "{place}`package.json` names it, but it is not installed: run `npm install`. {external}"
        ),
    );
    fails(
        &[
            worker,
            (
                "node_modules/hono/package.json",
                r#"{ "exports": { ".": "./index.js" } }"#,
            ),
        ],
        "worker.ts:1:22: Cannot find `hono/tiny`\n  1 | import { Hono } from 'hono/tiny';\n    |                      ^\n  \
         The package is in node_modules/hono. Package subpath is not defined by exports.",
    );
    fails(
        &[
            (
                "worker.ts",
                "import { view } from './v';\nexport default { view };",
            ),
            ("v.tsx", "export const view = <p/>;"),
        ],
        "Cannot find the package `react`\n  Install it: `npm install react`. JSX is compiled to calls of it; another library is named by \
         `jsxImportSource` in `tsconfig.json`.",
    );
}

#[test]
fn imports_that_lead_nowhere_are_shown() {
    fails(
        &[(
            "worker.ts",
            "import wasm from './x.wasm';\nexport default { wasm, late: () => import('./late') };",
        )],
        "worker.ts:1:18: Cannot find `./x.wasm`\n  1 | import wasm from './x.wasm';\n    |                  ^\n\
         worker.ts:2:43: Cannot find `./late`\n  1 | import wasm from './x.wasm';\n  2 | export default { wasm, late: () => import('./late') };\n    |                                           ^",
    );
    fails(
        &[
            (
                "worker.ts",
                "import { typo } from './x';\nexport default { typo };",
            ),
            ("x.ts", "export interface typo {}"),
        ],
        "worker.ts:1:10: \"typo\" is not exported by \"x.ts\"\n  1 | import { typo } from './x';\n    |          ^\n  \
         If it is a type, import or export it with `type`: `import { type Name }`, `export type { Name }`.",
    );
    fails(
        &[(
            "worker.ts",
            "import x from 'https://example.com/x.js';\nexport default x;",
        )],
        "worker.ts:1:16: Cannot import from the address `https://example.com/x.js`\n  1 | import x from 'https://example.com/x.js';\n    |                ^\n  \
         A Worker runs the code that is uploaded. Install the package, and import it by its name.",
    );
}

#[test]
fn files_that_are_no_code_are_told_from_those_that_are() {
    fails(
        &[
            ("worker.ts", "import './a.css';\nexport default {};"),
            ("a.css", "p { color: red }"),
        ],
        "Cannot read `a.css`: CSS is no part of a Worker's code; serve it as an asset",
    );
    fails(
        &[
            ("worker.ts", "import t from './t.md';\nexport default t;"),
            ("t.md", "# Title"),
        ],
        &format!(
            "t.md:1:2: Invalid Character ` `\n  1 | # Title\n    |  ^\n  The file was read as JavaScript. {IMPORTABLE}"
        ),
    );
    let project = Project::new(&[("worker.ts", "import p from './p.png';\nexport default p;")]);
    project.write("p.png", b"\x89PNG\xff\xfe");
    assert_eq!(
        project.problems(),
        format!(
            "worker.ts:1:15: Could not load p.png: it is not text in UTF-8\n  1 | import p from './p.png';\n    |               ^\n  {IMPORTABLE}"
        )
    );
}

#[test]
fn an_entry_that_is_no_worker_is_refused() {
    let project = Project::new(&[
        ("worker.ts", "addEventListener('fetch', () => {});"),
        ("folder/x", ""),
    ]);
    assert_eq!(
        project.problems(),
        "`worker.ts` exports nothing\n  A Worker is an ES module that exports its handlers: `export default { async fetch(request, env, ctx) \
         { … } }`. A script that calls `addEventListener` has to be rewritten as one, as Durable Objects need it."
    );
    for (entry, expect) in [
        (
            "nowhere.ts",
            "Cannot read `nowhere.ts`: there is no such file",
        ),
        ("folder", "Cannot read `folder`: it is a directory"),
        (
            "folder/x/y",
            "Cannot read `folder/x/y`: Not a directory (os error 20)",
        ),
    ] {
        let problems = project
            .bundle_entry(entry, Options::default())
            .expect_err(entry);
        assert_eq!(told(&problems), expect);
    }
}

#[test]
fn decorators_that_cannot_be_lowered_are_refused_in_their_source() {
    fails(
        &[
            ("worker.ts", "export { A } from './a';\nexport default {};"),
            ("a.ts", "const d: any = 1;\n\n@d\nexport class A {}"),
        ],
        "a.ts:3:1: The decorator `@d` of class `A` is not supported\n  2 |\n  3 | @d\n    | ^\n  Of standard decorators only those of public \
         methods, getters and setters can be bundled. Call it by hand on the finished class instead. If it is a decorator of TypeScript's \
         older kind, set \"experimentalDecorators\": true in tsconfig.json.",
    );
}

#[test]
fn of_many_problems_the_first_are_told() {
    let imports: String = (0..30)
        .map(|n| format!("import './missing-{n:02}';\n"))
        .collect();
    let text = Project::new(&[("worker.ts", &format!("{imports}export default {{}};"))]).problems();
    assert_eq!(text.matches("Cannot find").count(), 20, "{text}");
    assert!(text.ends_with("\nThere are 10 more problems"), "{text}");
}

#[test]
fn warnings_are_about_the_own_code_when_it_runs() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import p from 'p';\nexport default { p, run: (code: string) => eval(code) };",
        ),
        ("node_modules/p/package.json", r#"{ "main": "p.js" }"#),
        (
            "node_modules/p/p.js",
            "export default (code) => eval(code);",
        ),
    ]);
    let warnings = project.bundle().warnings;
    assert_eq!(
        told(&warnings),
        "worker.ts:2:44: The runtime refuses `eval`\n  1 | import p from 'p';\n  2 | export default { p, run: (code: string) => eval(code) };\n    |                                            ^\n  \
         Code that is not part of the upload cannot be run."
    );
}

/// A pipe without a writer never ends, and a device may neither.
#[cfg(unix)]
#[test]
fn files_that_never_end_are_not_read() {
    let project = Project::new(&[(
        "worker.ts",
        "import './endless.js';\nimport text from './endless.txt';\nexport default { text };",
    )]);
    super::link(
        std::path::Path::new("/dev/zero"),
        &project.path("endless.js"),
    );
    super::link(
        std::path::Path::new("/dev/zero"),
        &project.path("endless.txt"),
    );
    let text = project.problems();
    assert!(text.contains("Cannot find `./endless.js`"), "{text}");
    assert!(text.contains("Cannot find `./endless.txt`"), "{text}");
    super::link(
        std::path::Path::new("/dev/zero"),
        &project.path("endless.ts"),
    );
    let text = told(
        &project
            .bundle_entry("endless.ts", Options::default())
            .expect_err("it never ends"),
    );
    assert_eq!(text, "Cannot read `endless.ts`: it is no regular file");
    super::link(std::path::Path::new("loop"), &project.path("loop"));
    let text = told(
        &project
            .bundle_entry("loop", Options::default())
            .expect_err("it is a loop"),
    );
    assert!(
        text.starts_with("Cannot read `loop`: Too many levels of symbolic links"),
        "{text}"
    );
}
