//! The reference documentation, from the provider's schemas and the examples.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use terraform_provider_cloudflare::provider::provider;
use terraform_provider_cloudflare::tf::{Attribute, Kind, Mode, Nesting, Schema, Type};

/// One page: its path below the repository, and its text.
pub struct Page {
    /// `docs/…`.
    pub path: PathBuf,
    /// Markdown.
    pub text: String,
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page, made anew.
///
/// # Errors
/// When an example cannot be read.
pub fn pages() -> std::io::Result<Vec<Page>> {
    let provider = provider();
    let mut pages = vec![Page {
        path: "docs/index.md".into(),
        text: page("cloudflare Provider", provider.schema(), "minimal", "")?,
    }];
    for resource in provider.resources() {
        let name = resource.type_name();
        let (example, import) = match name {
            "cloudflare_do_namespace" => (
                "rename",
                "## Import\n\n```sh\nterraform import cloudflare_do_namespace.rooms <script_name>/<class_name>\nterraform import \
                 cloudflare_do_namespace.rooms <namespace id>\n```\n\nEither may follow `<account_id>/`.\n",
            ),
            _ => (
                "bind-to-worker",
                "## Import\n\n```sh\nterraform import cloudflare_worker.api <name>\nterraform import cloudflare_worker.api \
                 <account_id>/<name>\n```\n\nWith a configuration that matches, the next apply uploads nothing and changes no class.\n",
            ),
        };
        let short = name.trim_start_matches("cloudflare_");
        pages.push(Page {
            path: format!("docs/resources/{short}.md").into(),
            text: page(
                &format!("{name} (Resource)"),
                resource.schema(),
                example,
                import,
            )?,
        });
    }
    Ok(pages)
}

fn page(title: &str, schema: &Schema, example: &str, end: &str) -> std::io::Result<String> {
    let hcl = std::fs::read_to_string(repository().join("examples").join(example).join("main.tf"))?;
    let mut text = format!(
        "---\npage_title: \"{title}\"\n---\n\n# {title}\n\n{}\n\n## Example Usage\n\n```hcl\n{}\n```\n\n## Schema\n",
        schema.description,
        hcl.trim_end()
    );
    members(&mut text, &schema.attributes, 0);
    if !end.is_empty() {
        text.push('\n');
        text.push_str(end);
    }
    Ok(text)
}

fn members(text: &mut String, attributes: &[Attribute], depth: usize) {
    for (heading, belongs) in [
        ("Required", [Mode::Required, Mode::Required]),
        ("Optional", [Mode::Optional, Mode::OptionalComputed]),
        ("Read-Only", [Mode::Computed, Mode::Computed]),
    ] {
        let mut sorted: Vec<&Attribute> = attributes
            .iter()
            .filter(|it| belongs.contains(&it.mode))
            .collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        if sorted.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match depth {
            0 => write!(text, "\n### {heading}\n\n"),
            _ => writeln!(text, "{:depth$}- {heading}:", ""),
        };
        let indent = if depth == 0 { 0 } else { depth + 2 };
        for attribute in sorted {
            let sensitive = if attribute.sensitive {
                ", sensitive"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "{:indent$}- `{}` ({}{sensitive}) {}",
                "",
                attribute.name,
                kind(&attribute.kind),
                attribute.description
            );
            if let Kind::Nested(_, inner) = &attribute.kind {
                members(text, inner, indent + 2);
            }
        }
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Plain(ty) => type_name(ty),
        Kind::Nested(Nesting::Single, _) => "Object".to_owned(),
        Kind::Nested(Nesting::List, _) => "List of Object".to_owned(),
        Kind::Nested(Nesting::Set, _) => "Set of Object".to_owned(),
        Kind::Nested(Nesting::Map, _) => "Map of Object".to_owned(),
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "Boolean".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::String => "String".to_owned(),
        Type::List(inner) => format!("List of {}", type_name(inner)),
        Type::Set(inner) => format!("Set of {}", type_name(inner)),
        Type::Map(inner) => format!("Map of {}", type_name(inner)),
        Type::Object(_) => "Object".to_owned(),
    }
}
