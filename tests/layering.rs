//! Fails when a layer uses one that it must not know, or when a file stops being about one thing.
//! Reads the source text: what a layer names is what it knows. Must not depend on the provider.

#[path = "layering/rust_source.rs"]
mod rust_source;

use std::fs;
use std::path::{Path, PathBuf};

use rust_source::{Reference, references};

/// What each layer of `src/` may use of the others.
const LAYERS: [(&str, &[&str]); 7] = [
    ("tf", &[]),
    ("durable", &[]),
    ("bundle", &[]),
    ("cloudflare", &["durable"]),
    ("resources", &["tf", "durable", "cloudflare", "bundle"]),
    ("provider", &["tf", "resources", "cloudflare"]),
    ("rpc", &["tf", "provider"]),
];

/// What the process entry may use.
const ENTRY: &[&str] = &["rpc", "provider", "bundle"];

/// Crates that belong to some layers: the wire and TLS to `rpc`, HTTP to `cloudflare`.
const OWNED_CRATES: [(&str, &[&str]); 12] = [
    ("tonic", &["rpc"]),
    ("tonic_prost", &["rpc"]),
    ("prost", &["rpc"]),
    ("prost_types", &["rpc"]),
    ("rmp", &["rpc"]),
    ("rcgen", &["rpc"]),
    ("tokio_rustls", &["rpc"]),
    // Also the HTTP client, which is told where its cryptography comes from.
    ("rustls", &["rpc", "cloudflare"]),
    ("rustix", &["rpc", "bundle"]),
    ("reqwest", &["cloudflare"]),
    ("httpdate", &["cloudflare"]),
    ("bundler", &["bundle"]),
];

/// Layers without I/O, and the only crates that they may name.
const PURE_LAYERS: [(&str, &[&str]); 2] = [
    (
        "durable",
        &[
            "base64",
            "hex",
            "percent_encoding",
            "proptest",
            "serde",
            "sha2",
            "thiserror",
            "unicode_ident",
        ],
    ),
    (
        "tf",
        &[
            "async_trait",
            "proptest",
            "serde_json",
            "thiserror",
            "tokio_util",
        ],
    ),
];

const SOFT_NAMES: [&str; 5] = ["utils", "helpers", "common", "types", "misc"];
const LONGEST_FILE: usize = 800;

/// What a file of `src/` names and must not, each as `line: what`.
fn violations(path: &str, source: &str, dependencies: &[String]) -> Vec<String> {
    let relative = path.strip_prefix("src/").unwrap_or(path);
    let module: Vec<&str> = relative
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .collect();
    let layer = module[0];
    if layer == "lib" {
        return Vec::new();
    }
    let allowed = match LAYERS.iter().find(|(name, _)| *name == layer) {
        Some((_, allowed)) => *allowed,
        None if layer == "main" => ENTRY,
        None => return vec![format!("{path}: `{layer}` is no layer of the table")],
    };
    let pure = PURE_LAYERS.iter().find(|(name, _)| *name == layer);
    references(source, module.len())
        .into_iter()
        .filter_map(|(line, reference)| {
            let refused = match &reference {
                Reference::Module(name) => {
                    let known = LAYERS.iter().any(|(other, _)| other == name);
                    known && name != layer && !allowed.contains(&name.as_str())
                }
                Reference::Crate(name) => {
                    let dependency = dependencies.contains(name);
                    let owners = OWNED_CRATES.iter().find(|(owned, _)| owned == name);
                    owners.is_some_and(|(_, owners)| !owners.contains(&layer))
                        || pure.is_some_and(|(_, may)| dependency && !may.contains(&name.as_str()))
                }
            };
            refused.then(|| format!("{path}:{line}: `{layer}` must not know {reference}"))
        })
        .collect()
}

/// The dependencies in the root manifest, as Rust spells them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is readable");
    let start = manifest.find("[dependencies]").expect("there are some");
    manifest[start..]
        .lines()
        .filter(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(['.', ' ', '=']))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .filter(|name| !name.is_empty())
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder: path from the root with `/`, and content.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).expect("the source is readable");
        for entry in entries {
            let path = entry.expect("the source is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "no Rust files in {folder}");
    found
        .into_iter()
        .map(|path| {
            let source = fs::read_to_string(&path).expect("the source is UTF-8");
            let relative = path.strip_prefix(root()).expect("it was found there");
            (relative.display().to_string().replace('\\', "/"), source)
        })
        .collect()
}

fn all_rust_files() -> Vec<(String, String)> {
    let folders = [
        "src",
        "bundler/src",
        "proto",
        "tests",
        "acceptance-tests/src",
        "acceptance-tests/tests",
    ];
    folders.into_iter().flat_map(rust_files).collect()
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn no_layer_uses_one_that_it_must_not_know() {
    let dependencies = dependencies();
    assert!(dependencies.contains(&"percent_encoding".to_owned()));
    let found: Vec<_> = rust_files("src")
        .iter()
        .flat_map(|(path, source)| violations(path, source, &dependencies))
        .collect();
    assert_none(&found);
}

#[test]
fn local_cloudflare_shares_no_code_with_the_provider_that_it_tests() {
    let found: Vec<_> = rust_files("acceptance-tests/src/cloudflare")
        .iter()
        .flat_map(|(path, source)| {
            let named = references(source, usize::MAX).into_iter();
            named.filter_map(move |(line, reference)| {
                let provider =
                    reference == Reference::Crate("terraform_provider_cloudflare".into());
                provider.then(|| format!("{path}:{line}: names the provider"))
            })
        })
        .collect();
    assert_none(&found);
}

#[test]
fn a_file_is_about_one_thing_and_says_which() {
    let mut found = Vec::new();
    for (path, source) in all_rust_files() {
        let lines = source.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("{path}: {lines} lines; split it by concept"));
        }
        let mut parts = path.trim_end_matches(".rs").split('/');
        if let Some(name) = parts.find(|part| SOFT_NAMES.contains(part)) {
            found.push(format!("{path}: `{name}` is no concept"));
        }
        if !source.starts_with("//!") {
            found.push(format!(
                "{path}: does not begin with what it is for (`//!`)"
            ));
        }
    }
    assert_none(&found);
}

#[track_caller]
fn check(path: &str, source: &str, expected: &[&str]) {
    assert_eq!(
        violations(path, source, &dependencies()),
        expected,
        "{source}"
    );
}

#[test]
fn a_layer_may_use_what_the_table_allows() {
    check("src/tf/value.rs", "use super::schema::Schema;", &[]);
    check("src/durable/tag.rs", "use sha2::Digest;", &[]);
    check(
        "src/cloudflare/upload.rs",
        "use crate::durable::ClassName;",
        &[],
    );
    check(
        "src/resources/worker/plan.rs",
        "use super::super::mock;",
        &[],
    );
    check(
        "src/rpc/mod.rs",
        "use crate::{provider::Provider, tf};",
        &[],
    );
    check(
        "src/main.rs",
        "terraform_provider_cloudflare::rpc::serve();",
        &[],
    );
    check("src/lib.rs", "pub use crate::rpc::serve;", &[]);
}

#[test]
fn every_way_to_name_a_forbidden_layer_is_found() {
    let told = &["src/durable/plan.rs:1: `durable` must not know the layer `cloudflare`"];
    for source in [
        "use crate::cloudflare::Client;",
        "use crate::cloudflare;",
        "use crate::{durable::Name, cloudflare::Client};",
        "use crate::{durable::{self, Name}, cloudflare};",
        "fn f(client: &crate::cloudflare::Client) {}",
        "pub(in crate::cloudflare) fn f() {}",
        "use super::super::cloudflare::Client;",
        "mod tests { use super::super::super::cloudflare::Client; }",
        "use terraform_provider_cloudflare::cloudflare::Client;",
    ] {
        check("src/durable/plan.rs", source, told);
    }
    check(
        "src/rpc/mod.rs",
        "\nuse crate::resources::Worker;",
        &["src/rpc/mod.rs:2: `rpc` must not know the layer `resources`"],
    );
    check(
        "src/main.rs",
        "use terraform_provider_cloudflare::durable;",
        &["src/main.rs:1: `main` must not know the layer `durable`"],
    );
    check(
        "src/extra.rs",
        "",
        &["src/extra.rs: `extra` is no layer of the table"],
    );
}

#[test]
fn a_crate_of_another_layer_is_found() {
    for (path, source, told) in [
        (
            "src/tf/value.rs",
            "use tonic::Status;",
            "`tf` must not know the crate `tonic`",
        ),
        (
            "src/provider.rs",
            "#[tonic::async_trait] impl X for Y {}",
            "`provider` must not know the crate `tonic`",
        ),
        (
            "src/rpc/mod.rs",
            "let client = reqwest::Client::new();",
            "`rpc` must not know the crate `reqwest`",
        ),
        (
            "src/durable/mod.rs",
            "use ::serde_json::Value;",
            "`durable` must not know the crate `serde_json`",
        ),
    ] {
        check(path, source, &[&format!("{path}:1: {told}")]);
    }
}

#[test]
fn what_only_looks_like_a_path_is_not_found() {
    for source in [
        "// use crate::cloudflare::Client;",
        "/* crate::cloudflare /* nested */ reqwest::Client */",
        "/// See [`crate::cloudflare`].",
        r#"let text = "crate::cloudflare \" reqwest::get";"#,
        r##"let text = r#"crate::cloudflare " reqwest::get"#;"##,
        "let quote = '\"'; let a: &'static str = crate::durable::NAME; let b = '\\'';",
        "use super::reqwest; use crate::durable::reqwest::x;",
    ] {
        check("src/durable/plan.rs", source, &[]);
    }
}
