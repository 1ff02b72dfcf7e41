//! What each option does.

use std::collections::BTreeMap;

use rolldown_sourcemap::SourceMap;

use super::{Project, assert_holds, code, told};
use crate::bundle::{ModuleKind, Options};

fn conditional() -> Project {
    Project::new(&[
        (
            "worker.ts",
            "import p from 'p';\nexport default { p, env: process.env.NODE_ENV, stage: process.env.STAGE, v: VERSION };",
        ),
        (
            "node_modules/p/package.json",
            r#"{ "exports": { "special": "./special.js", "workerd": "./workerd.js", "default": "./any.js" } }"#,
        ),
        ("node_modules/p/special.js", "export default 'special';"),
        ("node_modules/p/workerd.js", "export default 'workerd';"),
        ("node_modules/p/any.js", "export default 'any';"),
    ])
}

#[test]
fn conditions_take_the_place_of_the_usual_ones() {
    let with = |conditions: Option<&[&str]>| {
        let conditions = conditions.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        let options = Options {
            conditions,
            ..Options::default()
        };
        code(&conditional().bundle_with(options).expect("it bundles"))
    };
    assert_holds(&with(None), &["\"workerd\""]);
    assert_holds(&with(Some(&["special"])), &["\"special\""]);
    assert_holds(&with(Some(&[])), &["\"any\""]);
}

#[test]
fn definitions_stand_for_names() {
    let define = BTreeMap::from([
        ("process.env.STAGE".to_owned(), "\"live\"".to_owned()),
        ("VERSION".to_owned(), "{\"major\":3}".to_owned()),
    ]);
    let options = Options {
        define,
        ..Options::default()
    };
    let code = code(&conditional().bundle_with(options).expect("it bundles"));
    assert_holds(&code, &["env: \"production\"", "stage: \"live\"", "major"]);
    let plain = super::code(&conditional().bundle());
    assert_holds(&plain, &["stage: process.env.STAGE", "v: VERSION"]);
}

#[test]
fn external_packages_stay_imports() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import a from 'given';\nimport b from 'given/sub';\nimport c from 'set:c';\nimport d from './d.cjs';\nexport default { a, b, c, d };",
        ),
        ("d.cjs", "module.exports = require('given');"),
    ]);
    let external = vec!["given".to_owned(), "set:*".to_owned()];
    let options = Options {
        external,
        ..Options::default()
    };
    let code = code(&project.bundle_with(options).expect("it bundles"));
    assert_holds(
        &code,
        &["from \"given\"", "from \"given/sub\"", "from \"set:c\""],
    );
    assert!(!code.contains("require(\"given\")"), "{code}");
}

#[test]
fn minified_code_is_shorter_and_keeps_the_names_of_classes() {
    let project = Project::new(&[(
        "worker.ts",
        "class Inner { get(): string { const explanation = 'x'; return explanation } }\nexport class Room extends Inner {}\n\
         export default { names: [Inner.name, Room.name] };",
    )]);
    let options = Options {
        minify: true,
        ..Options::default()
    };
    let short = code(&project.bundle_with(options).expect("it bundles"));
    assert!(short.len() < project.code().len(), "{short}");
    assert_holds(&short, &["Inner", "Room"]);
    assert!(!short.contains("explanation"), "{short}");
}

#[test]
fn a_source_map_is_a_module_that_names_sources_alike_everywhere() {
    let project = Project::new(&[
        ("package.json", "{}"),
        (
            "src/worker.ts",
            "import { p } from 'p';\nimport { x } from '../lib/x';\nexport default { p, x };",
        ),
        ("lib/x.ts", "export const x = Math.random();"),
        ("node_modules/p/package.json", r#"{ "main": "p.js" }"#),
        ("node_modules/p/p.js", "export const p = Math.random();"),
    ]);
    let options = Options {
        source_map: true,
        ..Options::default()
    };
    let bundle = project
        .bundle_entry("src/worker.ts", options)
        .expect("it bundles");
    assert!(code(&bundle).ends_with("\n//# sourceMappingURL=worker.js.map"));
    let map = &bundle.modules[1];
    assert_eq!(
        (map.name.as_str(), map.kind),
        ("worker.js.map", ModuleKind::SourceMap)
    );
    let map = String::from_utf8(map.body.to_vec()).expect("JSON");
    assert_holds(
        &map,
        &[
            r#""sources":["node_modules/p/p.js","../lib/x.ts","worker.ts"]"#,
            r#""mappings":""#,
        ],
    );
    assert!(!map.contains("sourcesContent"), "{map}");
}

#[test]
fn a_tsconfig_can_be_named() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import { x } from '~x';\nexport default { x };",
        ),
        (
            "other.json",
            r#"{ "compilerOptions": { "paths": { "~x": ["./x.ts"] } } }"#,
        ),
        ("x.ts", "export const x = 'found';"),
    ]);
    let named = |file: &str| Options {
        tsconfig: Some(project.path(file)),
        ..Options::default()
    };
    let bundle = project
        .bundle_with(named("other.json"))
        .expect("it bundles");
    assert_holds(&code(&bundle), &["found"]);
    let missing = project
        .bundle_with(named("nowhere.json"))
        .expect_err("there is none");
    assert_holds(&told(&missing), &["nowhere.json"]);
}

#[test]
fn a_source_map_leads_back_to_the_sources() {
    let project = Project::new(&[
        (
            "worker.ts",
            "import { late } from './late';\n\ninterface Env {}\nconst note = (f: any, c: any) => f;\n\
             export class A {\n  @note m(): void { throw new Error('first place'); }\n}\nexport default { late };",
        ),
        (
            "late.ts",
            "type A = 1;\n\nexport const late = () => { throw new Error('second place'); };",
        ),
    ]);
    for minify in [false, true] {
        let options = Options {
            source_map: true,
            minify,
            ..Options::default()
        };
        let bundle = project.bundle_with(options).expect("it bundles");
        let code = code(&bundle);
        let map = serde_json::from_slice(&bundle.modules[1].body).expect("it is JSON");
        let map = SourceMap::from_json(map).expect("it is a map");
        let table = map.generate_lookup_table();
        let source_of = |text: &str| {
            let before = &code[..code.find(text).expect("it is in the code")];
            let line = before.matches('\n').count();
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
            let (line, column) = (u32::try_from(line), u32::try_from(column));
            let (line, column) = (line.expect("it is short"), column.expect("it is short"));
            let token = map.lookup_source_view_token(&table, line, column);
            let token = token.expect("it comes from somewhere");
            (
                token.get_source().map(str::to_owned),
                token.get_src_line() + 1,
            )
        };
        // The quotes differ, so the search is for what stands in them.
        let at = |file: &str, line| (Some(file.to_owned()), line);
        assert_eq!(
            source_of("first place"),
            at("worker.ts", 6),
            "minify: {minify}"
        );
        assert_eq!(
            source_of("second place"),
            at("late.ts", 3),
            "minify: {minify}"
        );
    }
}
