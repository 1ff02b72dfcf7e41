//! What becomes of imports of every kind.

use super::{Project, assert_holds};
use crate::bundle::{BuiltinImport, ModuleKind, Options};

#[test]
fn typescript_of_several_files_becomes_one_module() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import { type Env, name } from './name';\n\
             import { DurableObject } from 'cloudflare:workers';\n\
             export class Room extends DurableObject<Env> { get(): string { return name } }\n\
             export { Room as Hall };\nexport default { fetch: (): Response => new Response(name) };",
        ),
        (
            "name.ts",
            "export interface Env { ROOM: unknown }\nexport const name: string = 'n' as string;",
        ),
    ]);
    let bundle = project.bundle();
    let code = super::code(&bundle);
    assert_holds(
        &code,
        &[
            "import { DurableObject } from \"cloudflare:workers\";",
            "class extends DurableObject {",
            "Room as Hall",
            "Room",
            "as default",
        ],
    );
    assert!(
        !code.contains("interface") && !code.contains(": string"),
        "{code}"
    );
    assert_eq!(bundle.modules.len(), 1);
    assert_eq!((bundle.builtins, bundle.warnings), (vec![], vec![]));
}

#[test]
fn files_that_are_no_code_become_modules_of_their_own() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import a from './a.txt';\nimport again from './copy/a.txt';\nimport page from './page.html';\n\
             import query from './query.sql';\nimport wasm from './add.wasm?module';\n\
             export default { a, again, page, query, wasm, data: () => import('./raw.bin') };",
        ),
        ("a.txt", "hello"),
        ("copy/a.txt", "hello"),
        ("page.html", "<p>"),
        ("query.sql", "select 1"),
        ("add.wasm", "\0asm"),
        ("raw.bin", "\u{1}"),
    ]);
    let bundle = project.bundle();
    let modules: Vec<(&str, ModuleKind, &[u8])> = bundle
        .modules
        .iter()
        .skip(1)
        .map(|module| (module.name.as_str(), module.kind, module.body.as_ref()))
        .collect();
    assert_eq!(
        modules,
        [
            ("2cf24dba5fb0a30e-a.txt", ModuleKind::Text, &b"hello"[..]),
            ("33f2799467177287-page.html", ModuleKind::Text, b"<p>"),
            ("4bf5122f344554c5-raw.bin", ModuleKind::Data, b"\x01"),
            ("822ae07d4783158b-query.sql", ModuleKind::Text, b"select 1"),
            ("cd5d4935a48c0672-add.wasm", ModuleKind::Wasm, b"\0asm"),
        ]
    );
    let code = super::code(&bundle);
    for (name, ..) in modules {
        assert_holds(&code, &[&format!("\"./{name}\"")]);
    }
}

#[test]
fn what_node_has_built_in_stays_and_is_told() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import { readFileSync } from 'fs';\nimport types from 'node:util/types';\nimport old from './old.cjs';\n\
             import './unused';\nimport { one } from './rest';\nexport default { readFileSync, types, old, one };",
        ),
        (
            "old.cjs",
            "const { EventEmitter } = require('events');\nmodule.exports = new EventEmitter(require('node:fs'));",
        ),
        ("unused.ts", "import net from 'net';"),
        (
            "rest.js",
            "import os from 'os';\nimport { EmailMessage } from 'cloudflare:email';\nexport const one = 1;\n\
             export const two = () => [os, EmailMessage];",
        ),
        ("node_modules/fs/package.json", r#"{ "main": "index.js" }"#),
        (
            "node_modules/fs/index.js",
            "module.exports = 'an old package'",
        ),
    ]);
    let bundle = project.bundle();
    let code = super::code(&bundle);
    assert_holds(
        &code,
        &[
            "from \"node:fs\"",
            "from \"node:util/types\"",
            "from \"node:events\"",
        ],
    );
    assert!(!code.contains("require(\""), "{code}");
    assert!(
        !code.contains("node:os") && !code.contains("email"),
        "{code}"
    );
    let told = |module: &str, importer: &str| BuiltinImport {
        module: module.to_owned(),
        importer: importer.to_owned(),
    };
    assert_eq!(
        bundle.builtins,
        [
            told("node:events", "old.cjs"),
            told("node:fs", "old.cjs"),
            told("node:fs", "worker.ts"),
            told("node:util/types", "worker.ts"),
        ]
    );
}

#[test]
fn what_node_has_built_in_is_told_however_it_is_imported() {
    let project = Project::new(&[
        (
            "worker.ts",
            "export * from 'path';\nexport * from './barrel';\nexport { EventEmitter } from 'events';\nimport * as all from './all.js';\n\
             export default { all, late: () => import('tls') };",
        ),
        ("barrel.js", "export * from 'os';"),
        (
            "all.js",
            "export * from 'url';\nimport net from 'net';\nimport 'http';\nexport const one = 1;",
        ),
    ]);
    for minify in [false, true] {
        let options = Options {
            minify,
            ..Options::default()
        };
        let bundle = project.bundle_with(options).expect("it is bundled");
        let told: Vec<(&str, &str)> = bundle
            .builtins
            .iter()
            .map(|import| (import.module.as_str(), import.importer.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("node:events", "worker.ts"),
                ("node:os", "barrel.js"),
                ("node:path", "worker.ts"),
                ("node:tls", "worker.ts"),
                ("node:url", "all.js"),
            ]
        );
    }
}

#[test]
fn json_jsx_and_enums_are_code() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import data from './data.json' with { type: 'json' };\nimport { view } from './view';\n\
             const enum Size { Small = 3 }\nexport default { data, view, size: Size.Small };",
        ),
        ("data.json", r#"{ "from": "json" }"#),
        (
            "view.tsx",
            "/** @jsxImportSource ui */\nexport const view = <b id='x'>hi</b>;",
        ),
        (
            "node_modules/ui/package.json",
            r#"{ "exports": { "./jsx-runtime": "./jsx.js" } }"#,
        ),
        (
            "node_modules/ui/jsx.js",
            "export const jsx = (tag, props) => ['ui', tag, props];",
        ),
    ]);
    assert_holds(
        &project.code(),
        &["from: \"json\"", "\"ui\"", "jsx(\"b\"", "size: 3"],
    );
}

#[test]
fn commonjs_can_be_the_whole_worker() {
    let project = Project::new(&[("worker.ts", "module.exports = { fetch() {} };")]);
    assert_holds(&project.code(), &["export default require_worker()"]);
}

#[test]
fn legacy_decorators_are_lowered_where_typescript_is_told_so() {
    let project = Project::new(&[
        (
            "worker.ts",
            "const d = (t: any, k: string) => {};\nexport class A { @d x = 1; @d m(): void {} }\nexport default {};",
        ),
        (
            "tsconfig.json",
            r#"{ "compilerOptions": { "experimentalDecorators": true } }"#,
        ),
    ]);
    let code = project.code();
    assert_holds(&code, &["__decorate([d], A.prototype, \"x\""]);
    assert!(!code.contains("@d"), "{code}");
}

#[test]
fn standard_decorators_of_methods_are_lowered() {
    let project = Project::new(&[(
        "worker.ts",
        "const d = (f: any, context: any) => f;\nexport class A { @d m(): void {} }\nexport default {};",
    )]);
    let code = project.code();
    assert!(!code.contains("@d"), "{code}");
}

#[test]
fn the_name_of_a_module_is_plain_whatever_its_file_is_called() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import a from './ä \\\"%20;\\\\.txt';\nimport b from './sub/it\\'s.sql';\nexport default { a, b };",
        ),
        ("ä \"%20;\\.txt", "a"),
        ("sub/it's.sql", "b"),
    ]);
    let bundle = project.bundle();
    let names: Vec<&str> = bundle.modules.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "worker.js",
            "3e23e8160039594a-it_s.sql",
            "ca978112ca1bbdca-____20__.txt"
        ]
    );
    let code = super::code(&bundle);
    assert_holds(
        &code,
        &[
            "\"./3e23e8160039594a-it_s.sql\"",
            "\"./ca978112ca1bbdca-____20__.txt\"",
        ],
    );
}
