//! A generated main module, for the time in which the server knows classes by other names than the code exports them by.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::code::Modules;
use crate::cloudflare::Module;
use crate::durable::ClassName;
use crate::durable::plan::Alias;

/// That classes cannot be handed on.
pub const IMPOSSIBLE: &str = "These class changes need two applies";

/// Why, and what to do. `main` is the main module; `None` where other tools upload the code.
pub fn impossible(main: Option<&str>) -> String {
    let why = match main {
        Some(main) => format!(
            "between them a generated module hands on the classes of the main module under temporary names. `{main}` is no ES module, so \
             nothing can hand on its classes"
        ),
        None => "between them the code has to export its classes under temporary names, but other tools upload the code of this Worker"
            .to_owned(),
    };
    format!(
        "A class name passes from one namespace to another, or was the name of another namespace before. That takes two uploads, and {why}. \
         Do it in two applies: in the first one give the namespace that takes the name a `class_name` that nothing has had so far, and \
         export the class under that name; in the second one the final `class_name`."
    )
}

/// What a generated main module adds to the user's one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Additions {
    /// Classes under further names.
    pub aliases: Vec<Alias>,
    /// Names under which a class has to exist that must not be used: its namespace is on its way to another Worker.
    pub stubs: BTreeSet<ClassName>,
}

impl Additions {
    /// Whether the user's module will do.
    pub fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.stubs.is_empty()
    }
}

/// The same modules with a main module of ours in front, which hands on everything that the user's main module exports.
///
/// What it exports by name itself wins over `export *`: a stub hides the class of that name.
pub fn with_additions(modules: &Modules, has_default: bool, additions: &Additions) -> Modules {
    let taken = |name: &str| modules.modules.iter().any(|module| module.name == name);
    let mut name = "durable-objects-entry.js".to_owned();
    while taken(&name) {
        name.insert(0, '_');
    }
    let main = serde_json::Value::from(format!("./{}", modules.main));
    let mut text = format!("export * from {main};\n");
    if has_default {
        text.push_str(&format!("export {{ default }} from {main};\n"));
    }
    for Alias { held, exported } in &additions.aliases {
        text.push_str(&format!("export {{ {exported} as {held} }} from {main};\n"));
    }
    for (number, stub) in additions.stubs.iter().enumerate() {
        text.push_str(&format!(
            "class Moving{number} {{\n  constructor() {{\n    throw new Error(\"The Durable Objects of class {stub} are moving to \
             another Worker.\");\n  }}\n}}\nexport {{ Moving{number} as {stub} }};\n"
        ));
    }
    let entry = Module {
        name: name.clone(),
        content_type: "application/javascript+module".to_owned(),
        body: Bytes::from(text),
    };
    let all = modules.modules.iter().cloned().chain([entry]).collect();
    Modules::new(name, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(main: &str) -> Modules {
        let module = |name: &str| Module {
            name: name.to_owned(),
            content_type: "application/javascript+module".to_owned(),
            body: Bytes::from_static(b"export class A {}"),
        };
        Modules::new(main.to_owned(), vec![module(main), module("lib.js")])
    }

    fn class(name: &str) -> ClassName {
        ClassName::from_api(name)
    }

    fn text(modules: &Modules) -> String {
        let mut all = modules.modules.iter();
        let entry = all.find(|module| module.name == modules.main);
        String::from_utf8(entry.expect("a main module").body.to_vec()).expect("text")
    }

    #[test]
    fn everything_is_handed_on_and_classes_get_further_names() {
        let additions = Additions {
            aliases: vec![Alias {
                held: class("Parked_1"),
                exported: class("A"),
            }],
            stubs: [class("Gone")].into(),
        };
        let with = with_additions(&modules("src/main.js"), true, &additions);
        assert_eq!(with.modules.len(), 3);
        assert_eq!(with.main, "durable-objects-entry.js");
        let text = text(&with);
        for line in [
            "export * from \"./src/main.js\";",
            "export { default } from \"./src/main.js\";",
            "export { A as Parked_1 } from \"./src/main.js\";",
            "export { Moving0 as Gone };",
        ] {
            assert!(text.lines().any(|it| it == line), "{text}");
        }
    }

    #[test]
    fn no_module_of_the_user_is_hidden_and_no_default_is_invented() {
        let with = with_additions(
            &modules("durable-objects-entry.js"),
            false,
            &Additions::default(),
        );
        assert_eq!(with.main, "_durable-objects-entry.js");
        assert!(!text(&with).contains("default"));
    }
}
