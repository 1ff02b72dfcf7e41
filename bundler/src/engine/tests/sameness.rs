//! The same sources give the same bytes, wherever and however they are bundled.

use std::path::Path;

use super::{Project, bundle};
use crate::bundle::{Bundle, Options, Request};

const FILES: [(&str, &str); 8] = [
    ("package.json", r#"{ "name": "project" }"#),
    (
        "src/worker.ts",
        "import { a } from './a';\nimport p from 'p';\nimport text from './text.txt';\nimport { readFile } from 'fs';\n\
         export default { a, p, text, readFile, url: import.meta.url, late: () => import('./late') };",
    ),
    (
        "src/a.ts",
        "import { b } from './b';\nexport const a = () => b;",
    ),
    (
        "src/b.ts",
        "import { a } from './a';\nexport const b = [a];",
    ),
    ("src/late.ts", "export class Late {}"),
    ("src/text.txt", "text"),
    ("node_modules/p/package.json", r#"{ "main": "p.js" }"#),
    (
        "node_modules/p/p.js",
        "module.exports = { file: typeof __filename, e: require('events') };",
    ),
];

fn bundled(entry: &Path, shown_from: &Path, threads: usize, minify: bool) -> Bundle {
    let request = Request {
        entry: entry.to_owned(),
        shown_from: shown_from.to_owned(),
        options: Options {
            minify,
            source_map: true,
            ..Options::default()
        },
        threads,
    };
    bundle(&request).expect("it bundles")
}

fn modules(bundle: Bundle) -> Vec<(String, bytes::Bytes)> {
    bundle
        .modules
        .into_iter()
        .map(|module| (module.name, module.body))
        .collect()
}

#[test]
fn neither_the_directory_nor_the_threads_nor_the_run_matter() {
    for minify in [false, true] {
        let (one, other) = (Project::new(&FILES), Project::new(&[]));
        for (name, content) in FILES {
            other.write(&format!("a folder/ünïcode/{name}"), content.as_bytes());
        }
        let entry = one.path("src/worker.ts");
        let expected = modules(bundled(&entry, one.folder.path(), 1, minify));
        for threads in [1, 2, 8] {
            assert_eq!(
                modules(bundled(&entry, Path::new("/"), threads, minify)),
                expected
            );
        }
        let elsewhere = other.path("a folder/ünïcode/src/worker.ts");
        assert_eq!(
            modules(bundled(&elsewhere, other.folder.path(), 2, minify)),
            expected
        );
        #[cfg(unix)]
        {
            let linked = other.path("linked");
            super::link(one.folder.path(), &linked);
            assert_eq!(
                modules(bundled(&linked.join("src/worker.ts"), &linked, 2, minify)),
                expected
            );
        }
    }
}

#[test]
fn nothing_of_the_machine_is_in_a_bundle() {
    let project = Project::new(&FILES);
    let folder = project
        .folder
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy();
    for (name, body) in modules(bundled(
        &project.path("src/worker.ts"),
        project.folder.path(),
        2,
        false,
    )) {
        assert!(!String::from_utf8_lossy(&body).contains(&*folder), "{name}");
    }
}
