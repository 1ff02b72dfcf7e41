//! Bindings of an upload: their shapes, what survives from the version before, and what they reach.
//! A binding reaches a namespace or Worker by its immutable id, found once, at upload. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::account::{Account, Plan};
use super::dispatch;
use super::failure::ApiFailure;
use super::versions::Version;

/// A stored binding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The name in `env`.
    pub name: String,
    /// Cloudflare's type name.
    pub kind: String,
    /// All members as they were sent, secrets included.
    pub members: Map<String, Value>,
    /// What it reaches.
    pub target: Target,
}

/// What a binding was found to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Nothing that this account keeps track of.
    Elsewhere,
    /// A Durable Object namespace, by id.
    Namespace(String),
    /// A Worker, by immutable id.
    Worker(String),
}

/// Members without which a binding of a type is refused. Types that are not listed are stored as they are.
const REQUIRED: [(&str, &str); 19] = [
    ("plain_text", "text"),
    ("json", "json"),
    ("kv_namespace", "namespace_id"),
    ("r2_bucket", "bucket_name"),
    ("queue", "queue_name"),
    ("service", "service"),
    ("dispatch_namespace", "namespace"),
    ("workflow", "workflow_name"),
    ("hyperdrive", "id"),
    ("vectorize", "index_name"),
    ("analytics_engine", "dataset"),
    ("ratelimit", "simple"),
    ("mtls_certificate", "certificate_id"),
    ("secrets_store_secret", "secret_name"),
    ("secret_key", "format"),
    ("vpc_service", "service_id"),
    ("wasm_module", "part"),
    ("text_blob", "part"),
    ("data_blob", "part"),
];

/// Members that are never read back.
const WRITE_ONLY: [(&str, &str); 3] = [
    ("secret_text", "text"),
    ("secret_key", "key_base64"),
    ("secret_key", "key_jwk"),
];

/// The types whose values are never shown.
pub const SECRETS: [&str; 2] = ["secret_text", "secret_key"];

impl Binding {
    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        SECRETS.contains(&self.kind.as_str())
    }

    /// A member that is a string.
    pub fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member).and_then(Value::as_str)
    }

    /// The binding as the API shows it, without secret values.
    pub fn shown(&self, account: &Account, script: &str) -> Value {
        let mut members = self.members.clone();
        for (kind, member) in WRITE_ONLY {
            if kind == self.kind {
                members.remove(member);
            }
        }
        if self.kind == "d1" {
            let id = self
                .text("database_id")
                .or(self.text("id"))
                .unwrap_or_default()
                .to_owned();
            members.insert("id".into(), json!(id));
            members.insert("database_id".into(), json!(id));
        }
        if let Target::Namespace(id) = &self.target {
            members.insert("namespace_id".into(), json!(id));
            if let Some(namespace) = account.namespace_by_id(id) {
                if namespace.script == script {
                    members.insert("class_name".into(), json!(namespace.class));
                    members.remove("script_name");
                    members.remove("dispatch_namespace");
                } else {
                    // Names of another Worker's class are shown as they were sent; the id is what follows a rename.
                    members
                        .entry("class_name")
                        .or_insert_with(|| json!(namespace.class));
                    members
                        .entry("script_name")
                        .or_insert_with(|| json!(dispatch::name(&namespace.script)));
                    if let Some(dispatch) = dispatch::namespace(&namespace.script) {
                        members.insert("dispatch_namespace".into(), json!(dispatch));
                    }
                }
            }
        }
        Value::Object(members)
    }
}

/// A binding of an upload before anything was looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    name: String,
    kind: String,
    members: Map<String, Value>,
}

/// Reads `bindings` of an upload and checks each by itself.
pub fn parse(list: &Value) -> Result<Vec<Draft>, ApiFailure> {
    let list = list.as_array().ok_or_else(|| {
        ApiFailure::invalid("json: cannot unmarshal into bindings: an array is expected")
    })?;
    let mut names = BTreeSet::new();
    list.iter()
        .map(|value| {
            let draft = parse_one(value)?;
            if !names.insert(draft.name.clone()) {
                return Err(name_in_use(&draft.name));
            }
            Ok(draft)
        })
        .collect()
}

/// Another binding has the name: 10053.
pub fn name_in_use(name: &str) -> ApiFailure {
    ApiFailure::refused(
        10053,
        format!("Binding name '{name}' already in use. Please use a different name and try again."),
    )
}

/// Reads one secret by itself.
pub fn secret(value: &Value) -> Result<Binding, ApiFailure> {
    let binding = parse_one(value)?.alone();
    if !binding.is_secret() {
        return Err(ApiFailure::invalid(format!(
            "binding {} of type {} is not a secret",
            binding.name, binding.kind
        )));
    }
    Ok(binding)
}

fn parse_one(value: &Value) -> Result<Draft, ApiFailure> {
    let members = value.as_object().ok_or_else(|| {
        ApiFailure::invalid("json: cannot unmarshal into a binding: an object is expected")
    })?;
    let text = |member: &str| {
        members
            .get(member)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    let name =
        text("name").ok_or_else(|| ApiFailure::refused(10052, "binding must have a name"))?;
    let kind = text("type").ok_or_else(|| {
        ApiFailure::invalid(format!("binding {name} must have a valid `type` specified"))
    })?;
    let missing = |member: &str| {
        ApiFailure::invalid(format!(
            "binding {name} of type {kind} must have a valid `{member}` specified"
        ))
    };
    for (needs, member) in REQUIRED {
        let present = match (needs, members.get(member)) {
            (_, None) => false,
            ("json", Some(_)) => true,
            ("ratelimit", Some(value)) => value.is_object(),
            ("plain_text", Some(value)) => value.is_string(),
            (_, Some(value)) => value.as_str().is_some_and(|text| !text.is_empty()),
        };
        if needs == kind && !present {
            return Err(missing(member));
        }
    }
    match kind.as_str() {
        "secret_text" if !members.get("text").is_some_and(Value::is_string) => {
            return Err(ApiFailure::invalid(format!(
                "binding {name} of type secret_text has an invalid or missing text property"
            )));
        }
        "d1" if text("database_id").or_else(|| text("id")).is_none() => return Err(missing("id")),
        "durable_object_namespace"
            if text("class_name")
                .or_else(|| text("namespace_id"))
                .is_none() =>
        {
            return Err(missing("class_name"));
        }
        "kv_namespace" => {
            let id = text("namespace_id").unwrap_or_default();
            if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ApiFailure::refused(
                    10042,
                    format!(
                        "KV namespace '{id}' is not valid. Please verify the namespace_id in your configuration."
                    ),
                ));
            }
        }
        _ => {}
    }
    let value = members.get(if kind == "json" { "json" } else { "text" });
    let size = value.map_or(0, |v| {
        v.as_str().map_or_else(|| v.to_string().len(), str::len)
    });
    if ["plain_text", "json", "secret_text"].contains(&kind.as_str()) && size > 5 * 1024 {
        return Err(ApiFailure::refused(
            10054,
            format!("The value of binding '{name}' is larger than 5 kB."),
        ));
    }
    Ok(Draft {
        name,
        kind,
        members: members.clone(),
    })
}

/// What becomes of the bindings of the version before.
#[derive(Clone, Debug, Default)]
pub struct Inheritance<'a> {
    /// Types whose bindings stay when they are not mentioned.
    pub keep: BTreeSet<String>,
    /// Whether an `inherit` binding without a source is an error (10057) or left out.
    pub strict: bool,
    /// The versions that an `inherit` binding may name.
    pub versions: &'a [Arc<Version>],
}

/// The complete new set of a Worker. `account` already has the namespaces as they are after the upload.
pub fn resolve(
    account: &Account,
    script: &str,
    before: &[Binding],
    drafts: Vec<Draft>,
    inheritance: &Inheritance<'_>,
) -> Result<Vec<Binding>, ApiFailure> {
    let mentioned: BTreeSet<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
    let (mut after, mut unresolved) = (Vec::new(), Vec::new());
    for draft in drafts {
        if draft.kind == "inherit" {
            let source = draft
                .members
                .get("old_name")
                .and_then(Value::as_str)
                .unwrap_or(&draft.name);
            let version = draft.members.get("version_id").and_then(Value::as_str);
            let before = match version.filter(|id| *id != "latest") {
                None => before,
                Some(id) => inheritance
                    .versions
                    .iter()
                    .find(|version| version.id == id)
                    .map_or(&[][..], |version| &version.bindings),
            };
            match before.iter().find(|binding| binding.name == source) {
                Some(binding) => after.push(inherited(account, binding, &draft.name)?),
                None => unresolved.push(draft.name),
            }
        } else {
            let target = find_target(account, script, &draft)?;
            after.push(Binding {
                name: draft.name,
                kind: draft.kind,
                members: draft.members,
                target,
            });
        }
    }
    if inheritance.strict && !unresolved.is_empty() {
        let mut failure = ApiFailure {
            status: 400,
            errors: Vec::new(),
        };
        for name in unresolved {
            failure.errors.extend(ApiFailure::refused(10057, format!(
                "inherit binding '{name}' is invalid: the previous version has no such binding"
            )).errors);
        }
        return Err(failure);
    }
    for binding in before
        .iter()
        .filter(|binding| !mentioned.contains(&binding.name))
    {
        if inheritance.keep.contains(&binding.kind) {
            after.push(inherited(account, binding, &binding.name)?);
        }
    }
    check_count(account, &after)?;
    Ok(after)
}

/// Refuses too many variables and secrets: 10055.
pub fn check_count(account: &Account, bindings: &[Binding]) -> Result<(), ApiFailure> {
    let variables = bindings
        .iter()
        .filter(|b| ["plain_text", "json", "secret_text"].contains(&b.kind.as_str()))
        .count();
    if variables > if account.plan == Plan::Free { 64 } else { 128 } {
        return Err(ApiFailure::refused(
            10055,
            "Too many text and secret variables.",
        ));
    }
    Ok(())
}

/// A binding taken over from the version before. It follows a renamed class, not a deleted one.
fn inherited(account: &Account, source: &Binding, name: &str) -> Result<Binding, ApiFailure> {
    let mut binding = source.clone();
    binding.name = name.into();
    binding.members.insert("name".into(), json!(name));
    if let Target::Namespace(id) = &source.target {
        let namespace = account
            .namespace_by_id(id)
            .ok_or_else(|| not_configured(source.text("class_name").unwrap_or_default()))?;
        binding
            .members
            .insert("class_name".into(), json!(namespace.class));
        if binding.members.contains_key("script_name") {
            binding.members.insert(
                "script_name".into(),
                json!(dispatch::name(&namespace.script)),
            );
        }
    }
    Ok(binding)
}

fn not_configured(class: &str) -> ApiFailure {
    ApiFailure::refused(
        10061,
        format!(
            "Cannot create binding for class '{class}' because it is not currently configured to implement Durable \
         Objects. Configure a migration in your configuration to add this class."
        ),
    )
}

fn find_target(account: &Account, script: &str, draft: &Draft) -> Result<Target, ApiFailure> {
    let text = |member: &str| {
        draft
            .members
            .get(member)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    match draft.kind.as_str() {
        "durable_object_namespace" => {
            let Some(class) = text("class_name") else {
                let id = text("namespace_id").unwrap_or_default();
                let found = account.namespace_by_id(id).ok_or_else(|| {
                    ApiFailure::refused(
                        10066,
                        format!("Durable Object namespace '{id}' not found."),
                    )
                })?;
                return Ok(Target::Namespace(found.id.clone()));
            };
            if let Some(namespace) = text("dispatch_namespace") {
                account.dispatch_namespace(namespace)?;
            }
            let key = draft.host(script);
            if let Some(namespace) = account.namespace(&key, class) {
                return Ok(Target::Namespace(namespace.id.clone()));
            }
            let host = dispatch::name(&key);
            Err(if key == script {
                not_configured(class)
            } else if account.scripts.contains_key(&key) {
                ApiFailure::refused(
                    10061,
                    format!(
                        "Cannot create binding for class '{class}' that is not exported by script '{host}'."
                    ),
                )
            } else {
                ApiFailure::refused(
                    10061,
                    format!(
                        "Cannot create binding for class in script '{host}' that does not exist."
                    ),
                )
            })
        }
        "service" => {
            let name = text("service").unwrap_or_default();
            let Some(target) = account.worker(name) else {
                return Err(ApiFailure::refused(
                    10143,
                    format!(
                        "Service binding '{}' references Worker '{name}' which was not found.",
                        draft.name
                    ),
                ));
            };
            match text("environment") {
                None | Some("production") => Ok(Target::Worker(target.tag.clone())),
                Some(environment) => Err(ApiFailure::refused(
                    10144,
                    format!(
                        "Service binding '{}' references environment '{environment}' on Worker '{name}' which was \
                     not found.",
                        draft.name
                    ),
                )),
            }
        }
        "dispatch_namespace" => {
            account.dispatch_namespace(text("namespace").unwrap_or_default())?;
            Ok(Target::Elsewhere)
        }
        _ => Ok(Target::Elsewhere),
    }
}

/// The types whose value is a part of the upload. Only classic scripts have them; modules import what they need.
pub const BLOBS: [&str; 3] = ["wasm_module", "text_blob", "data_blob"];

impl Draft {
    /// The binding as it is stored when it has nothing to find.
    pub fn alone(&self) -> Binding {
        Binding {
            name: self.name.clone(),
            kind: self.kind.clone(),
            members: self.members.clone(),
            target: Target::Elsewhere,
        }
    }

    /// The name in `env`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it binds a Durable Object namespace.
    pub fn is_durable_object(&self) -> bool {
        self.kind == "durable_object_namespace"
    }

    /// The Durable Object class that the binding names, if it is of that type.
    pub fn class(&self) -> Option<&str> {
        (self.kind == "durable_object_namespace")
            .then(|| self.members.get("class_name").and_then(Value::as_str))
            .flatten()
    }

    /// The class of the Worker itself that the binding names.
    pub fn own_class(&self, script: &str) -> Option<&str> {
        self.class().filter(|_| self.host(script) == script)
    }

    /// The Worker that a Durable Object binding of `script` names, which is `script` itself if it names none.
    fn host(&self, script: &str) -> String {
        let text = |member: &str| {
            let text = self.members.get(member).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let own = dispatch::name(script);
        match (text("dispatch_namespace"), text("script_name")) {
            (Some(namespace), named) => dispatch::key(namespace, named.unwrap_or(own)),
            (None, Some(named)) if named != own => dispatch::outside(named),
            _ => script.into(),
        }
    }

    /// The namespace that a Durable Object binding gives by id alone.
    pub fn namespace_id(&self) -> Option<&str> {
        (self.kind == "durable_object_namespace" && self.class().is_none())
            .then(|| self.members.get("namespace_id").and_then(Value::as_str))
            .flatten()
    }

    /// The binding of the version before that an `inherit` binding takes.
    pub fn inherits(&self) -> Option<&str> {
        (self.kind == "inherit").then(|| {
            self.members
                .get("old_name")
                .and_then(Value::as_str)
                .unwrap_or(&self.name)
        })
    }
}
