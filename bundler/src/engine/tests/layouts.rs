//! Where packages lie, and what TypeScript calls them.

use super::{Project, assert_holds};

const PACKAGE: &str = r#"{ "name": "p", "exports": {
    ".": { "workerd": "./workerd.js", "browser": "./browser.js", "node": "./node.js", "default": "./any.js" },
    "./cjs": { "import": "./any.js", "require": "./required.cjs" } } }"#;

#[test]
fn packages_are_entered_by_the_conditions_of_workers() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import p from 'p';\nimport q from './q.cjs';\nexport default { p, q };",
        ),
        ("q.cjs", "module.exports = require('p/cjs');"),
        ("node_modules/p/package.json", PACKAGE),
        ("node_modules/p/workerd.js", "export default 'for workerd';"),
        (
            "node_modules/p/browser.js",
            "export default 'for browsers';",
        ),
        ("node_modules/p/node.js", "export default 'for node';"),
        ("node_modules/p/any.js", "export default 'for any';"),
        (
            "node_modules/p/required.cjs",
            "module.exports = 'required';",
        ),
    ]);
    let code = project.code();
    assert_holds(
        &code,
        &["for workerd", "'required'".replace('\'', "\"").as_str()],
    );
    assert!(
        !code.contains("for browsers") && !code.contains("for any"),
        "{code}"
    );
}

#[test]
fn names_of_tsconfig_and_package_json_are_known() {
    let project = Project::new(&[
        (
            "src/worker.ts",
            "import { a } from '@/a';\nimport { b } from '#b';\nimport { c } from './c.js';\nimport sql from '@/q.sql';\n\
             export default { a, b, c, sql };",
        ),
        ("src/a.ts", "export const a = 'from a';"),
        ("src/b.ts", "export const b = 'from b';"),
        ("src/c.ts", "export const c = 'from c';"),
        ("src/q.sql", "select 1"),
        ("package.json", r##"{ "imports": { "#b": "./src/b.ts" } }"##),
        ("tsconfig.json", r#"{ "extends": "./base.json" }"#),
        (
            "base.json",
            r#"{ /* with comments */ "compilerOptions": { "paths": { "@/*": ["./src/*"] } } }"#,
        ),
    ]);
    let bundle = project.bundle_entry("src/worker.ts", crate::Options::default());
    let bundle = bundle.expect("it bundles");
    assert_holds(&super::code(&bundle), &["from a", "from b", "from c"]);
    assert_eq!(bundle.modules.len(), 2);
}

/// Each package sees only what it depends on, through links into one store.
#[cfg(unix)]
#[test]
fn the_layout_of_pnpm_is_followed() {
    let project = Project::new(&[
        ("worker.ts", "import { p } from 'p';\nexport default { p };"),
        (
            "node_modules/.pnpm/p@1.0.0/node_modules/p/package.json",
            r#"{ "main": "p.js" }"#,
        ),
        (
            "node_modules/.pnpm/p@1.0.0/node_modules/p/p.js",
            "import { q } from 'q'; export const p = q;",
        ),
        (
            "node_modules/.pnpm/q@1.0.0/node_modules/q/package.json",
            r#"{ "module": "q.mjs" }"#,
        ),
        (
            "node_modules/.pnpm/q@1.0.0/node_modules/q/q.mjs",
            "export const q = 'deep';",
        ),
    ]);
    let store = |name: &str| {
        project.path(&format!(
            "node_modules/.pnpm/{name}@1.0.0/node_modules/{name}"
        ))
    };
    super::link(&store("p"), &project.path("node_modules/p"));
    super::link(
        &store("q"),
        &project.path("node_modules/.pnpm/p@1.0.0/node_modules/q"),
    );
    assert_holds(&project.code(), &["deep"]);
}

#[cfg(unix)]
#[test]
fn the_packages_of_a_workspace_are_bundled_from_their_sources() {
    let project = Project::new(&[
        ("package.json", r#"{ "workspaces": ["packages/*"] }"#),
        ("packages/api/package.json", r#"{ "name": "api" }"#),
        (
            "packages/api/worker.ts",
            "import { shared } from '@org/shared';\nexport default { shared };",
        ),
        (
            "packages/shared/package.json",
            r#"{ "name": "@org/shared", "exports": "./index.ts" }"#,
        ),
        (
            "packages/shared/index.ts",
            "export const shared: string = 'shared source';",
        ),
    ]);
    super::link(
        &project.path("packages/shared"),
        &project.path("node_modules/@org/shared"),
    );
    let bundle = project.bundle_entry("packages/api/worker.ts", crate::Options::default());
    assert_holds(
        &super::code(&bundle.expect("it bundles")),
        &["shared source"],
    );
}

/// As zod sets the language of its messages, in a package that says that its modules do nothing.
#[test]
fn what_a_package_does_where_it_passes_on_exports_is_kept() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import { z } from 'p';\nexport default { is: z.is };",
        ),
        (
            "node_modules/p/package.json",
            r#"{ "sideEffects": false, "exports": "./index.js" }"#,
        ),
        (
            "node_modules/p/index.js",
            "import * as z from './external.js';\nexport * from './external.js';\nexport { z };",
        ),
        (
            "node_modules/p/external.js",
            "export {\n  is,\n} from './is.js';\nexport { unused } from './unused.js';\nimport { set } from './set.js';\nset('a language');",
        ),
        (
            "node_modules/p/is.js",
            "import { language } from './set.js';\nexport const is = () => language;",
        ),
        (
            "node_modules/p/set.js",
            "export let language;\nexport const set = (it) => { language = it; };",
        ),
        (
            "node_modules/p/unused.js",
            "globalThis.unused = true;\nexport const unused = 1;",
        ),
    ]);
    let code = project.code();
    assert_holds(&code, &["set(\"a language\");"]);
    assert!(!code.contains("unused"), "{code}");
}
