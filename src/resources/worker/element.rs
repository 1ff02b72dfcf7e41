//! Elements of `bindings` and `durable_objects`: what they are, what is wrong with them, and what they are to Cloudflare.

use std::sync::Arc;

use secrecy::SecretString;

use crate::cloudflare::upload::Binding;
use crate::durable::{ClassName, NamespaceId, ScriptName, StableId, Storage};
use crate::tf::{Attr, AttributePath, Diagnostic, Diagnostics, Value};

/// The type of a Durable Object binding, and of every `cloudflare_do_namespace`.
pub const BINDING_TYPE: &str = "durable_object_namespace";

/// A kind of binding besides Durable Objects: its type, its required members, its optional ones.
type Kind = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const KINDS: [Kind; 8] = [
    ("plain_text", &["text"], &[]),
    ("json", &["json"], &[]),
    ("secret_text", &["text"], &[]),
    (
        "service",
        &["service"],
        &["service_entrypoint", "environment"],
    ),
    ("kv_namespace", &["namespace_id"], &[]),
    ("r2_bucket", &["bucket_name"], &["jurisdiction"]),
    ("d1", &["database_id"], &[]),
    ("queue", &["queue_name"], &[]),
];

const DURABLE_OBJECT_MEMBERS: [&str; 9] = [
    "stable_id",
    "class_name",
    "script_name",
    "environment",
    "namespace_id",
    "sqlite",
    "force_destroy",
    "transferred_from",
    "previous_class_name",
];

/// Whether a type of binding can be written in HCL.
pub fn is_known_type(ty: &str) -> bool {
    ty == BINDING_TYPE || KINDS.iter().any(|(known, ..)| *known == ty)
}

/// When an element is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In ValidateResourceConfig, where `mock_provider` puts random text into what comes from resources.
    Validate,
    /// In PlanResourceChange.
    Plan,
}

/// A Durable Object binding as it stands in HCL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurableObject {
    /// Its identity.
    pub stable_id: Attr<StableId>,
    /// The class.
    pub class_name: Attr<ClassName>,
    /// The hosting Worker.
    pub script_name: Attr<ScriptName>,
    /// The environment of the hosting Worker.
    pub environment: Attr<Arc<str>>,
    /// Cloudflare's id.
    pub namespace_id: Attr<NamespaceId>,
    /// The storage.
    pub storage: Attr<Storage>,
    /// Consent to delete data.
    pub force_destroy: Attr<bool>,
    /// The former host; null for the empty text.
    pub transferred_from: Attr<ScriptName>,
    /// The class to take over.
    pub previous_class: Attr<ClassName>,
}

/// Where the namespace of a Durable Object binding lives, seen from the Worker that binds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Home {
    /// In this Worker, under a stable ID.
    Here(StableId),
    /// In this Worker, bound by class only.
    HereByClass,
    /// In another Worker.
    There(ScriptName),
    /// Wherever the namespace of its id is.
    ById,
    /// Not decided yet.
    Unknown,
}

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// Nothing is known, or not enough to tell what it is.
    Unknown,
    /// A Durable Object namespace.
    DurableObject(Box<DurableObject>),
    /// Any other kind; its members are read from the value.
    Other(&'static str),
}

impl Element {
    /// What a value is. `None` where nothing tells, which [`judge`] reports.
    pub fn of(value: &Value) -> Option<Element> {
        if value.is_unknown() {
            return Some(Element::Unknown);
        }
        match value.get("type").text() {
            Attr::Known(ty) if &*ty == BINDING_TYPE => Some(Element::durable_object(value)),
            Attr::Known(ty) => KINDS
                .iter()
                .find(|(known, ..)| *known == &*ty)
                .map(|(known, ..)| Element::Other(known)),
            Attr::Null | Attr::Unknown
                if !value.get("stable_id").is_null() || !value.get("class_name").is_null() =>
            {
                Some(Element::durable_object(value))
            }
            Attr::Null | Attr::Unknown if !value.get("service").is_null() => {
                Some(Element::Other("service"))
            }
            Attr::Unknown => Some(Element::Unknown),
            Attr::Null => None,
        }
    }

    fn durable_object(value: &Value) -> Element {
        let script = |name: &str| value.get(name).text();
        Element::DurableObject(Box::new(DurableObject {
            stable_id: match value.get("stable_id").text() {
                Attr::Known(text) => StableId::new(&text).ok().into(),
                Attr::Unknown => Attr::Unknown,
                Attr::Null => Attr::Null,
            },
            class_name: value
                .get("class_name")
                .text()
                .map(|text| ClassName::from_api(&text)),
            script_name: script("script_name").map(|text| ScriptName::from_api(&text)),
            environment: value.get("environment").text(),
            namespace_id: value
                .get("namespace_id")
                .text()
                .map(|text| NamespaceId::new(&text)),
            storage: value.get("sqlite").bool().map(storage),
            force_destroy: value.get("force_destroy").bool(),
            transferred_from: match script("transferred_from") {
                Attr::Known(text) if text.is_empty() => Attr::Null,
                other => other.map(|text| ScriptName::from_api(&text)),
            },
            previous_class: value
                .get("previous_class_name")
                .text()
                .map(|text| ClassName::from_api(&text)),
        }))
    }
}

/// The storage that `sqlite` means.
pub fn storage(sqlite: bool) -> Storage {
    if sqlite {
        Storage::Sqlite
    } else {
        Storage::KeyValue
    }
}

impl DurableObject {
    /// Where its namespace lives, seen from the Worker of this name.
    pub fn home(&self, own: &Attr<ScriptName>) -> Home {
        match (&self.script_name, own) {
            (Attr::Unknown, _) => Home::Unknown,
            (Attr::Known(_), Attr::Unknown) => Home::Unknown,
            (Attr::Known(script), Attr::Known(own)) if script != own => Home::There(script.clone()),
            // An id that is only known later is an id all the same.
            (Attr::Null, _) if !self.namespace_id.is_null() => Home::ById,
            _ => match &self.stable_id {
                Attr::Unknown => Home::Unknown,
                Attr::Known(stable_id) => Home::Here(stable_id.clone()),
                Attr::Null => Home::HereByClass,
            },
        }
    }

    /// Whether anything that decides classes is unknown.
    pub fn undecided(&self) -> bool {
        self.stable_id.is_unknown()
            || self.class_name.is_unknown()
            || self.script_name.is_unknown()
            || self.storage.is_unknown()
            || self.transferred_from.is_unknown()
            || self.previous_class.is_unknown()
    }
}

/// Says what is wrong with an element at `path`.
pub fn judge(value: &Value, path: &AttributePath, phase: Phase) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    if value.as_map().is_none() {
        return diagnostics;
    }
    let from_resource = !value.get("stable_id").is_null() || !value.get("service").is_null();
    if phase == Phase::Validate && from_resource {
        return diagnostics;
    }
    let ty = value.get("type").text();
    let Some(element) = Element::of(value) else {
        diagnostics.push(match ty.known() {
            Some(ty) => unknown_type(ty, path),
            None => no_binding(path),
        });
        return diagnostics;
    };
    let (ty, required, optional): Kind = match element {
        Element::Unknown => return diagnostics,
        Element::DurableObject(_) => (BINDING_TYPE, &[], &DURABLE_OBJECT_MEMBERS),
        Element::Other(ty) => KINDS
            .into_iter()
            .find(|(known, ..)| *known == ty)
            .unwrap_or(("", &[], &[])),
    };
    for member in required {
        if value.get(member).is_null() {
            let article = path.clone().attribute(member);
            diagnostics.push(
                Diagnostic::error(
                    format!("Missing member of a {ty} binding"),
                    format!("`{article}` is required for the type `{ty}`. A misspelt name is dropped by Terraform without a word."),
                )
                .at(article),
            );
        }
    }
    for (member, content) in value.as_map().into_iter().flatten() {
        let belongs = member == "type"
            || required.contains(&member.as_str())
            || optional.contains(&member.as_str());
        if !belongs && !content.is_null() {
            let place = path.clone().attribute(member);
            diagnostics.push(
                Diagnostic::error(
                    format!("Member does not belong to a {ty} binding"),
                    format!(
                        "`{place}` means nothing for the type `{ty}`. Remove it, or correct `type`."
                    ),
                )
                .at(place),
            );
        }
    }
    if let Element::DurableObject(object) = &element {
        judge_durable_object(object, value, path, &mut diagnostics);
    }
    if ty == "json"
        && let Some(json) = value.get("json").as_str()
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(json)
    {
        let place = path.clone().attribute("json");
        diagnostics.push(
            Diagnostic::error(
                "Invalid JSON in a json binding",
                format!(
                    "`{place}` must be JSON as text; use `jsonencode(…)`. The parser stopped at line {}, column {}.",
                    error.line(),
                    error.column()
                ),
            )
            .at(place),
        );
    }
    diagnostics
}

fn judge_durable_object(
    object: &DurableObject,
    value: &Value,
    path: &AttributePath,
    diagnostics: &mut Diagnostics,
) {
    let mut invalid = |member: &str, what: &str, why: String| {
        let place = path.clone().attribute(member);
        diagnostics.push(
            Diagnostic::error(
                format!("Invalid {what}"),
                format!(
                    "`{place}` is {:?}: {why}.",
                    value.get(member).as_str().unwrap_or_default()
                ),
            )
            .at(place),
        );
    };
    if let Some(text) = value.get("stable_id").as_str()
        && let Err(why) = StableId::new(text)
    {
        invalid("stable_id", "stable ID", why.to_string());
    }
    for member in ["class_name", "previous_class_name"] {
        if let Some(text) = value.get(member).as_str()
            && let Err(why) = ClassName::new(text)
        {
            invalid(member, "class name", why.to_string());
        }
    }
    if object.class_name.is_null() && object.namespace_id.is_null() {
        let place = path.clone().attribute("class_name");
        diagnostics.push(
            Diagnostic::error(
                "Missing class name",
                format!("`{place}` has to name the class, or `namespace_id` the namespace."),
            )
            .at(place),
        );
    }
}

fn unknown_type(ty: &str, path: &AttributePath) -> Diagnostic {
    let known: Vec<&str> = KINDS
        .iter()
        .map(|(known, ..)| *known)
        .chain([BINDING_TYPE])
        .collect();
    let place = path.clone().attribute("type");
    Diagnostic::error(
        "Unknown binding type",
        format!(
            "`{place}` is {ty:?}. This version of the provider knows: {}.",
            known.join(", ")
        ),
    )
    .at(place)
}

fn no_binding(path: &AttributePath) -> Diagnostic {
    Diagnostic::error(
        "Not a binding",
        format!(
            "Nothing in `{path}` says what it binds. Pass a whole `cloudflare_do_namespace` or `cloudflare_worker` (without `.id` or \
             `.name`), an element of another Worker's `bindings`, or an object with `type`."
        ),
    )
    .at(path.clone())
}

/// The binding that an element with nothing unknown in it is to Cloudflare, seen from the Worker of this name.
pub fn wire(name: &str, value: &Value, own: &ScriptName) -> Option<Binding> {
    let name = name.to_owned();
    let text = |member: &str| value.get(member).as_str().map(str::to_owned);
    Some(match Element::of(value)? {
        Element::Unknown => return None,
        Element::DurableObject(object) => {
            let environment = text("environment");
            match object.home(&Attr::Known(own.clone())) {
                Home::Here(_) | Home::HereByClass => Binding::DurableObjectNamespace {
                    name,
                    class_name: object.class_name.known().cloned(),
                    script_name: None,
                    namespace_id: None,
                    environment: None,
                },
                Home::There(script) if object.class_name.known().is_some() => {
                    Binding::DurableObjectNamespace {
                        name,
                        class_name: object.class_name.known().cloned(),
                        script_name: Some(script),
                        namespace_id: None,
                        environment,
                    }
                }
                Home::There(_) | Home::ById => Binding::DurableObjectNamespace {
                    name,
                    class_name: None,
                    script_name: None,
                    namespace_id: text("namespace_id"),
                    environment,
                },
                Home::Unknown => return None,
            }
        }
        Element::Other(ty) => match ty {
            "plain_text" => Binding::PlainText {
                name,
                text: text("text")?,
            },
            "json" => Binding::Json {
                name,
                json: serde_json::from_str(value.get("json").as_str()?).ok()?,
            },
            "secret_text" => Binding::SecretText {
                name,
                text: SecretString::from(text("text")?),
            },
            "service" => Binding::Service {
                name,
                service: text("service")?,
                environment: text("environment"),
                entrypoint: text("service_entrypoint"),
            },
            "kv_namespace" => Binding::KvNamespace {
                name,
                namespace_id: text("namespace_id")?,
            },
            "r2_bucket" => Binding::R2Bucket {
                name,
                bucket_name: text("bucket_name")?,
                jurisdiction: text("jurisdiction"),
            },
            "d1" => Binding::d1(name, text("database_id")?),
            "queue" => Binding::Queue {
                name,
                queue_name: text("queue_name")?,
                delivery_delay: None,
            },
            _ => return None,
        },
    })
}

/// The members of an element that decide what Cloudflare binds, for telling whether two elements bind the same.
///
/// A Durable Object is compared by class and host; what only we keep (stable ID, consent, …) makes no difference.
pub fn essence(value: &Value, own: &Attr<ScriptName>) -> Option<Vec<(&'static str, Value)>> {
    let members: Vec<&'static str> = match Element::of(value)? {
        Element::Unknown => return None,
        Element::DurableObject(object) => match object.home(own) {
            Home::Unknown => return None,
            Home::Here(_) | Home::HereByClass => vec!["class_name"],
            Home::ById => vec!["namespace_id"],
            Home::There(_) if object.class_name.is_null() => vec!["namespace_id"],
            Home::There(_) => vec!["class_name", "script_name", "environment"],
        },
        Element::Other(ty) => {
            let (_, required, optional) = KINDS.iter().find(|(known, ..)| *known == ty)?;
            let mut essence = vec![("type", Value::from(ty))];
            for member in required.iter().chain(*optional) {
                let content = value.get(member);
                if content.is_unknown() {
                    return None;
                }
                let content = match (*member, content.as_str()) {
                    ("json", Some(json)) => canonical_json(json).into(),
                    _ => content.clone(),
                };
                essence.push((member, content));
            }
            return Some(essence);
        }
    };
    let mut essence = vec![("type", Value::from(BINDING_TYPE))];
    for member in members {
        let content = value.get(member);
        if content.is_unknown() {
            return None;
        }
        essence.push((member, content.clone()));
    }
    Some(essence)
}

/// JSON without insignificant white space and with sorted members; the text itself if it is no JSON.
pub fn canonical_json(text: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(mut json) => {
            json.sort_all_objects();
            json.to_string()
        }
        Err(_) => text.to_owned(),
    }
}
