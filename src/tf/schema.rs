//! Schemas, and the checks that hold for every schema and that cores leave to the provider.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{AttributePath, Diagnostic, Diagnostics, Type, Value};

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The configuration, always.
    Required,
    /// The configuration, or nobody.
    Optional,
    /// The provider only.
    Computed,
    /// The configuration, or else the provider.
    OptionalComputed,
}

/// How the elements of a nested attribute are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nesting {
    /// One object.
    Single,
    /// Objects by position.
    List,
    /// Distinct objects.
    Set,
    /// Objects by name.
    Map,
}

/// What an attribute holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value of a type.
    Plain(Type),
    /// Objects whose members have modes of their own.
    Nested(Nesting, Vec<Attribute>),
}

/// One attribute of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in HCL.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub kind: Kind,
    /// Who sets it.
    pub mode: Mode,
    /// Whether cores hide it in output. State keeps it in clear.
    pub sensitive: bool,
    /// Whether it never reaches plan or state.
    pub write_only: bool,
    /// Markdown, for the documentation.
    pub description: Cow<'static, str>,
}

impl Attribute {
    /// An attribute of a plain type.
    pub fn new(name: &'static str, mode: Mode, ty: Type, description: &'static str) -> Attribute {
        Attribute {
            name: Cow::Borrowed(name),
            kind: Kind::Plain(ty),
            mode,
            sensitive: false,
            write_only: false,
            description: Cow::Borrowed(description),
        }
    }

    /// An attribute with members.
    pub fn nested(
        name: &'static str,
        mode: Mode,
        nesting: Nesting,
        members: Vec<Attribute>,
        description: &'static str,
    ) -> Attribute {
        Attribute {
            kind: Kind::Nested(nesting, members),
            ..Attribute::new(name, mode, Type::Bool, description)
        }
    }

    /// The same, hidden in output.
    #[must_use]
    pub fn sensitive(mut self) -> Attribute {
        self.sensitive = true;
        self
    }

    /// The same, never kept.
    #[must_use]
    pub fn write_only(mut self) -> Attribute {
        self.write_only = true;
        self
    }

    /// The type of its value.
    pub fn ty(&self) -> Type {
        match &self.kind {
            Kind::Plain(ty) => ty.clone(),
            Kind::Nested(nesting, members) => {
                let object = Box::new(object_type(members));
                match nesting {
                    Nesting::Single => *object,
                    Nesting::List => Type::List(object),
                    Nesting::Set => Type::Set(object),
                    Nesting::Map => Type::Map(object),
                }
            }
        }
    }
}

fn object_type(members: &[Attribute]) -> Type {
    Type::Object(
        members
            .iter()
            .map(|attribute| (attribute.name.clone().into_owned(), attribute.ty()))
            .collect::<BTreeMap<_, _>>(),
    )
}

/// The shape of a resource's or the provider's configuration. Nested blocks are not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The version that stored state carries.
    pub version: i64,
    /// Markdown, for the documentation.
    pub description: Cow<'static, str>,
    /// The attributes.
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// The type of a whole value of this schema.
    pub fn ty(&self) -> Type {
        object_type(&self.attributes)
    }

    /// Judges a configuration by the schema alone: what cores accept although it can never be meant.
    ///
    /// `write_only_allowed` is whether the calling core keeps write-only attributes out of state.
    pub fn check(&self, config: &Value, write_only_allowed: bool) -> Diagnostics {
        let mut checker = Checker {
            write_only_allowed,
            diagnostics: Diagnostics::default(),
        };
        checker.members(&self.attributes, config, &AttributePath::default());
        checker.diagnostics
    }

    /// Makes every write-only attribute null, for values that are kept.
    pub fn forget_write_only(&self, value: &mut Value) {
        forget_members(&self.attributes, value);
    }
}

fn forget_members(attributes: &[Attribute], object: &mut Value) {
    let Value::Map(object) = object else { return };
    for attribute in attributes {
        let Some(value) = object.get_mut(&*attribute.name) else {
            continue;
        };
        if attribute.write_only {
            *value = Value::Null;
            continue;
        }
        match (&attribute.kind, value) {
            (Kind::Plain(_), _) => {}
            (Kind::Nested(Nesting::Single, members), value) => forget_members(members, value),
            (Kind::Nested(_, members), Value::List(list)) => {
                list.iter_mut()
                    .for_each(|value| forget_members(members, value));
            }
            (Kind::Nested(_, members), Value::Map(map)) => {
                map.values_mut()
                    .for_each(|value| forget_members(members, value));
            }
            (Kind::Nested(..), _) => {}
        }
    }
}

struct Checker {
    write_only_allowed: bool,
    diagnostics: Diagnostics,
}

impl Checker {
    fn members(&mut self, attributes: &[Attribute], object: &Value, path: &AttributePath) {
        if object.as_map().is_none() {
            return;
        }
        for attribute in attributes {
            let path = path.clone().attribute(&attribute.name);
            self.attribute(attribute, object.get(&attribute.name), path);
        }
    }

    fn attribute(&mut self, attribute: &Attribute, value: &Value, path: AttributePath) {
        match (attribute.mode, value) {
            (_, Value::Unknown) => return,
            (Mode::Required, Value::Null) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Missing value for a required attribute",
                        format!("`{path}` must be set, and not to null."),
                    )
                    .at(path),
                );
                return;
            }
            (_, Value::Null) => return,
            (Mode::Computed, _) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Value for a read-only attribute",
                        format!(
                            "`{path}` is set by the provider. Remove it from the configuration."
                        ),
                    )
                    .at(path),
                );
                return;
            }
            _ => {}
        }
        if attribute.write_only && !self.write_only_allowed {
            self.diagnostics.push(
                Diagnostic::error(
                    "Write-only attributes are not supported by this core",
                    format!(
                        "`{path}` must not be stored, and this version of Terraform or OpenTofu would \
                         store it. Use Terraform 1.11, OpenTofu 1.11 or newer."
                    ),
                )
                .at(path),
            );
            return;
        }
        match &attribute.kind {
            Kind::Plain(ty) => self.plain(ty, value, &path),
            Kind::Nested(Nesting::Single, members) => self.members(members, value, &path),
            Kind::Nested(_, members) => {
                self.elements(value, &path, |checker, element, path| {
                    checker.members(members, element, path);
                });
            }
        }
    }

    fn plain(&mut self, ty: &Type, value: &Value, path: &AttributePath) {
        if let Type::List(inner) | Type::Set(inner) | Type::Map(inner) = ty {
            self.elements(value, path, |checker, element, path| {
                checker.plain(inner, element, path);
            });
        }
    }

    fn elements(
        &mut self,
        value: &Value,
        path: &AttributePath,
        each: impl Fn(&mut Checker, &Value, &AttributePath),
    ) {
        let elements: Vec<(AttributePath, &Value)> = match value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(index, element)| (path.clone().index(index), element))
                .collect(),
            Value::Map(map) => map
                .iter()
                .map(|(key, element)| (path.clone().key(key), element))
                .collect(),
            _ => return,
        };
        for (path, element) in elements {
            if element.is_null() {
                self.diagnostics.push(
                    Diagnostic::error(
                        "Null element",
                        format!(
                            "`{path}` is null. Leave the element out instead, for example with \
                             `merge({{…}}, condition ? {{ KEY = value }} : {{}})`."
                        ),
                    )
                    .at(path),
                );
            } else {
                each(self, element, &path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema {
            version: 0,
            description: Cow::Borrowed(""),
            attributes: vec![
                Attribute::new("name", Mode::Required, Type::String, ""),
                Attribute::new("id", Mode::Computed, Type::String, ""),
                Attribute::new("secret", Mode::Optional, Type::String, "").write_only(),
                Attribute::new(
                    "tags",
                    Mode::Optional,
                    Type::List(Box::new(Type::String)),
                    "",
                ),
                Attribute::nested(
                    "bindings",
                    Mode::Optional,
                    Nesting::Map,
                    vec![Attribute::new(
                        "type",
                        Mode::OptionalComputed,
                        Type::String,
                        "",
                    )],
                    "",
                ),
            ],
        }
    }

    #[track_caller]
    fn check(members: Vec<(&str, Value)>, expect: &[&str]) {
        let diagnostics = schema().check(&Value::object(members), false);
        let found: Vec<String> = diagnostics
            .iter()
            .map(|d| format!("{} @ {}", d.summary, d.path.clone().unwrap_or_default()))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn what_cores_let_pass_is_an_error_with_its_path() {
        check(vec![("name", "x".into())], &[]);
        check(vec![], &["Missing value for a required attribute @ name"]);
        check(vec![("name", Value::Unknown), ("id", Value::Unknown)], &[]);
        check(
            vec![("name", "x".into()), ("id", "y".into())],
            &["Value for a read-only attribute @ id"],
        );
        check(
            vec![("name", "x".into()), ("secret", "y".into())],
            &["Write-only attributes are not supported by this core @ secret"],
        );
        check(
            vec![
                ("name", "x".into()),
                ("tags", vec![Value::from("a"), Value::Null].into()),
                ("bindings", Value::object([("ROOMS", Value::Null)])),
            ],
            &[
                "Null element @ tags[1]",
                "Null element @ bindings[\"ROOMS\"]",
            ],
        );
    }

    #[test]
    fn write_only_attributes_are_forgotten_at_every_depth() {
        let mut schema = schema();
        if let Kind::Nested(_, members) = &mut schema.attributes[4].kind {
            members.push(Attribute::new("text", Mode::Optional, Type::String, "").write_only());
        }
        let value = |secret: Value, text: Value| {
            let element = Value::object([("type", "x".into()), ("text", text)]);
            let bindings = Value::object([("A", element), ("B", Value::Unknown)]);
            Value::object([("secret", secret), ("bindings", bindings)])
        };
        let mut kept = value("hidden".into(), Value::Unknown);
        schema.forget_write_only(&mut kept);
        assert_eq!(kept, value(Value::Null, Value::Null));
    }

    #[test]
    fn unknown_collections_and_elements_are_no_errors() {
        check(
            vec![
                ("name", "x".into()),
                ("tags", vec![Value::Unknown].into()),
                ("bindings", Value::Unknown),
            ],
            &[],
        );
    }
}
