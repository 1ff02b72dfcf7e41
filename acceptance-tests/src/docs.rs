//! The registry's pages in `docs/`, written from the provider's schemas and the examples, so that they cannot drift from either.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use terraform_provider_cloudflare::provider::provider;
use terraform_provider_cloudflare::tf::{Attribute, Kind, Mode, Nesting, Schema, Type};

const IMPORT_NAMESPACE: &str = "By the Worker that hosts it and the class, or by Cloudflare's id of it; the account may stand \
    before either:\n\n```shell\nterraform import cloudflare_do_namespace.rooms chat/ChatRoom\n\
    terraform import cloudflare_do_namespace.rooms <namespace_id>\n\
    terraform import cloudflare_do_namespace.rooms <account_id>/chat/ChatRoom\n```\n";

const IMPORT_WORKER: &str = "By name; the account may stand before it:\n\n```shell\n\
    terraform import cloudflare_worker.chat chat\n\
    terraform import cloudflare_worker.chat <account_id>/chat\n```\n\n\
    The same ids work in an `import` block.\n";

/// One file of the documentation.
#[derive(Debug)]
pub struct Page {
    /// Where it belongs, from the root of the repository.
    pub path: PathBuf,
    /// Markdown.
    pub text: String,
}

/// Every page.
///
/// # Errors
/// If an example cannot be read.
pub fn pages() -> Result<Vec<Page>, io::Error> {
    let provider = provider();
    let mut index = Page::new("index", "Cloudflare Provider", provider.schema());
    index.examples(&["minimal"])?;
    index.schema(provider.schema());
    let mut pages = vec![index];
    for resource in provider.resources() {
        let name = resource.type_name();
        let short = name.trim_start_matches("cloudflare_");
        let schema = resource.schema();
        let mut page = Page::new(
            &format!("resources/{short}"),
            &format!("{name} (Resource)"),
            schema,
        );
        let (examples, import): (&[&str], _) = match short {
            "worker" => (
                &["bind-to-worker", "cross-script-script-name"],
                IMPORT_WORKER,
            ),
            _ => (&["minimal", "rename", "production"], IMPORT_NAMESPACE),
        };
        page.examples(examples)?;
        page.schema(schema);
        let _ = write!(page.text, "\n## Import\n\n{import}");
        pages.push(page);
    }
    Ok(pages)
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

impl Page {
    fn new(name: &str, title: &str, schema: &Schema) -> Self {
        let description = &schema.description;
        Self {
            path: PathBuf::from(format!("docs/{name}.md")),
            text: format!(
                "---\npage_title: \"{title}\"\ndescription: |-\n  {description}\n---\n\n# {title}\n\n{description}\n\n## Example Usage\n"
            ),
        }
    }

    /// Shows root modules as they are. The first line of each is a sentence that says what it shows.
    fn examples(&mut self, names: &[&str]) -> Result<(), io::Error> {
        for name in names {
            let text = fs::read_to_string(root().join("examples").join(name).join("main.tf"))?;
            let _ = write!(self.text, "\n```terraform\n{text}```\n");
        }
        Ok(())
    }

    fn schema(&mut self, schema: &Schema) {
        self.text.push_str("\n## Schema\n");
        self.attributes("", &schema.attributes);
    }

    /// The attributes of an object by who sets them, then the objects within it.
    fn attributes(&mut self, within: &str, attributes: &[Attribute]) {
        let groups: [(&str, &[Mode]); 3] = [
            ("Required", &[Mode::Required]),
            ("Optional", &[Mode::Optional, Mode::OptionalComputed]),
            ("Read-Only", &[Mode::Computed]),
        ];
        for (title, modes) in groups {
            let mut members: Vec<_> = attributes
                .iter()
                .filter(|it| modes.contains(&it.mode))
                .collect();
            members.sort_by(|a, b| a.name.cmp(&b.name));
            if members.is_empty() {
                continue;
            }
            let _ = match within {
                "" => write!(self.text, "\n### {title}\n\n"),
                _ => write!(self.text, "\n{title}:\n\n"),
            };
            for member in members {
                self.attribute(within, member);
            }
        }
        for attribute in attributes {
            if let Kind::Nested(_, members) = &attribute.kind {
                let path = path(within, attribute);
                let _ = write!(
                    self.text,
                    "\n<a id=\"{}\"></a>\n### Nested Schema for `{path}`\n",
                    anchor(&path)
                );
                self.attributes(&path, members);
            }
        }
    }

    fn attribute(&mut self, within: &str, attribute: &Attribute) {
        let mut kind = match &attribute.kind {
            Kind::Plain(ty) => type_name(ty),
            Kind::Nested(nesting, _) => match nesting {
                Nesting::Single => "Attributes".to_owned(),
                Nesting::List => "Attributes List".to_owned(),
                Nesting::Set => "Attributes Set".to_owned(),
                Nesting::Map => "Attributes Map".to_owned(),
            },
        };
        if attribute.sensitive {
            kind.push_str(", Sensitive");
        }
        if attribute.write_only {
            kind.push_str(", Write-only");
        }
        let _ = write!(
            self.text,
            "- `{}` ({kind}) {}",
            attribute.name, attribute.description
        );
        if matches!(attribute.kind, Kind::Nested(..)) {
            let anchor = anchor(&path(within, attribute));
            let _ = write!(self.text, " (see [below for nested schema](#{anchor}))");
        }
        self.text.push('\n');
    }
}

fn path(within: &str, attribute: &Attribute) -> String {
    match within {
        "" => attribute.name.to_string(),
        _ => format!("{within}.{}", attribute.name),
    }
}

fn anchor(path: &str) -> String {
    format!("nestedatt--{}", path.replace('.', "--"))
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
