//! The documentation says what the provider has, in the words of its schemas and its examples.

use std::fs;

use acceptance_tests::docs::{pages, root};
use acceptance_tests::install;
use acceptance_tests::terraform::Workspace;
use terraform_provider_cloudflare::provider::provider;
use terraform_provider_cloudflare::tf::{Attribute, Kind};

#[test]
fn the_pages_are_those_of_the_schemas_and_the_examples() {
    for page in pages().expect("the examples are readable") {
        let path = root().join(&page.path);
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written.replace('\r', "") == page.text.replace('\r', ""),
            "{} is out of date: cargo run -p acceptance-tests --bin docs",
            page.path.display()
        );
    }
}

#[test]
fn every_attribute_is_described_in_a_sentence() {
    fn assert_described(within: &str, attributes: &[Attribute]) {
        for attribute in attributes {
            let name = format!("{within}.{}", attribute.name);
            assert!(attribute.description.ends_with('.'), "{name}");
            if let Kind::Nested(_, members) = &attribute.kind {
                assert_described(&name, members);
            }
        }
    }
    let provider = provider();
    assert_described("provider", &provider.schema().attributes);
    for resource in provider.resources() {
        assert_described(resource.type_name(), &resource.schema().attributes);
    }
}

#[tokio::test]
async fn every_example_is_formatted_as_the_core_does() {
    let core = install::core().await.expect("a core is there");
    let workspace = Workspace::without_provider(&core);
    for entry in fs::read_dir(root().join("examples")).expect("the examples are there") {
        let example = entry.expect("the examples are readable");
        let text = fs::read_to_string(example.path().join("main.tf")).expect("it is a root module");
        let name = format!("{}.tf", example.file_name().to_string_lossy());
        workspace.write(&name, &text);
    }
    let run = workspace.run(&["fmt", "-check", "-diff"]).await;
    assert!(run.status.success(), "{run}");
}
