//! The documentation says what the provider does.

use std::fs;

use acceptance_tests::docs::{pages, repository};
use acceptance_tests::stage::Stage;

#[test]
fn the_pages_are_those_of_the_schemas() {
    for page in pages().expect("the examples are there") {
        let written = fs::read_to_string(repository().join(&page.path)).unwrap_or_default();
        assert_eq!(
            written.replace("\r\n", "\n"),
            page.text.replace("\r\n", "\n"),
            "{} is old: run `cargo run --package acceptance-tests --bin docs`",
            page.path.display()
        );
    }
}

/// The HCL blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<&str> {
    markdown
        .split("```hcl\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[tokio::test]
async fn the_bundled_worker_of_the_readme_is_applied() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("it is there");
    let blocks = blocks(&readme);
    let block = blocks.iter().find(|it| it.contains("bundle = {"));
    let stage = Stage::with(block.expect("there is one")).await;
    fs::create_dir(stage.workspace.path().join("src")).expect("a folder");
    let code =
        "declare const VERSION: string;\nexport default { fetch: () => new Response(VERSION) };";
    stage.workspace.write("src/worker.ts", code);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("api").await, "1.2.3");
}

#[tokio::test]
async fn the_first_configuration_of_the_readme_is_applied() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("it is there");
    let block = blocks(&readme)[0].replace(" # was \"Counter\"", "");
    let stage = Stage::with(&block).await;
    let code =
        fs::read_to_string(repository().join("examples/rename/MyCounter.js")).expect("it is there");
    stage.workspace.write("worker.ts", &code);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("counter").await, "1");
}
