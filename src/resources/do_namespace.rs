//! `cloudflare_do_namespace`: the declaration of a namespace. Only an import asks Cloudflare anything.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::session::Session;
use super::worker::element::BINDING_TYPE;
use super::{diagnose, worker};
use crate::cloudflare::AccountId;
use crate::durable::{ClassName, InvalidName, NamespaceId, ScriptName, StableId, Storage};
use crate::tf::{
    ApplyRequest, ApplyResponse, Attr, Attribute, AttributePath, Diagnostic, Diagnostics, Imported,
    Mode, PlanRequest, PlanResponse, ReadRequest, ReadResponse, Resource, Schema, Type, Value,
};

/// Private data that marks a stable ID which an import made up: it may be replaced in place.
const PROVISIONAL: &[u8] = br#"{"provisional_stable_id":true}"#;

/// The resource.
pub struct DoNamespace {
    schema: Schema,
    session: Arc<Session>,
}

impl DoNamespace {
    /// The resource, sharing a session with the others.
    pub fn new(session: Arc<Session>) -> DoNamespace {
        DoNamespace {
            schema: schema(),
            session,
        }
    }
}

fn schema() -> Schema {
    use Mode::{Computed, Optional, OptionalComputed, Required};
    let text = |name, mode, description| Attribute::new(name, mode, Type::String, description);
    let flag = |name, mode, description| Attribute::new(name, mode, Type::Bool, description);
    Schema {
        version: 0,
        description: Cow::Borrowed(
            "A Durable Object namespace, known by an immutable stable ID. Pass the whole object to `bindings` or `durable_objects` \
             of the `cloudflare_worker` that hosts it, and of every Worker that uses it.",
        ),
        attributes: vec![
            text(
                "stable_id",
                Required,
                "The identity of the namespace, unique for its Worker: 1 to 255 bytes of any characters, not starting with `class:`. A \
                 change means another namespace, and forces replacement.",
            ),
            text(
                "class_name",
                Optional,
                "The class that implements it, which the main module of the hosting Worker exports: the plan looks. A change renames the \
                 class in place and keeps all data. Required unless `namespace_id` is set.",
            ),
            flag(
                "sqlite",
                OptionalComputed,
                "Whether it is backed by SQLite (default) or by the older key-value storage. Cloudflare cannot convert one into the other.",
            ),
            text(
                "script_name",
                Optional,
                "The Worker that hosts it. Null: the Worker that binds this object hosts it. A change moves the namespace, with its data; for the \
                 apply that moves it the old host keeps it in `bindings` or `durable_objects`.",
            ),
            text(
                "environment",
                Optional,
                "The environment of the hosting Worker, for a binding of another Worker.",
            ),
            text(
                "namespace_id",
                Optional,
                "Binds an existing namespace by Cloudflare's id. It is never created or deleted.",
            ),
            flag(
                "force_destroy",
                OptionalComputed,
                "Consent to delete the namespace although it holds data. Has to be applied before the change that deletes it.",
            ),
            text(
                "transferred_from",
                OptionalComputed,
                "The Worker that hosted it before. Filled in when `script_name` changes; `\"\"` clears it.",
            ),
            text(
                "previous_class_name",
                Optional,
                "The class to take over under the new name when a Worker is adopted that another tool deployed.",
            ),
            text("id", Computed, "The stable ID."),
            text("type", Computed, "Always `durable_object_namespace`."),
        ],
    }
}

#[async_trait]
impl Resource for DoNamespace {
    fn type_name(&self) -> &'static str {
        "cloudflare_do_namespace"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        validate(config)
    }

    async fn plan(&self, request: PlanRequest) -> PlanResponse {
        plan(&request)
    }

    async fn apply(&self, request: ApplyRequest) -> ApplyResponse {
        // Whatever the stable ID was before, it is the user's now.
        ApplyResponse {
            state: request.planned,
            private: Vec::new(),
            diagnostics: Diagnostics::default(),
        }
    }

    async fn read(&self, request: ReadRequest) -> ReadResponse {
        ReadResponse {
            state: request.state,
            private: request.private,
            diagnostics: Diagnostics::default(),
        }
    }

    async fn import(&self, id: &str, stop: CancellationToken) -> Result<Imported, Diagnostics> {
        self.find(id, stop).await.map_err(Diagnostics::from)
    }
}

/// Judges every name that is known.
fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let mut judge =
        |attribute: &str, what: &str, verdict: &dyn Fn(&str) -> Result<(), InvalidName>| {
            let Attr::Known(text) = config.get(attribute).text() else {
                return;
            };
            if let Err(why) = verdict(&text) {
                diagnostics.push(
                    Diagnostic::error(
                        format!("Invalid {what}"),
                        format!("`{attribute}` is {text:?}: {why}."),
                    )
                    .at(AttributePath::root(attribute)),
                );
            }
        };
    judge("stable_id", "stable ID", &|text| {
        StableId::new(text).map(drop)
    });
    judge("class_name", "class name", &|text| {
        ClassName::new(text).map(drop)
    });
    judge("previous_class_name", "class name", &|text| {
        ClassName::new(text).map(drop)
    });
    judge("script_name", "Worker name", &|text| {
        ScriptName::new(text).map(drop)
    });
    judge("transferred_from", "Worker name", &|text| match text {
        "" => Ok(()),
        _ => ScriptName::new(text).map(drop),
    });
    judge(
        "namespace_id",
        "namespace id",
        &|text| match is_hex_id(text) {
            true => Ok(()),
            false => Err(InvalidName("a namespace id is 32 hex digits".to_owned())),
        },
    );
    if config.get("class_name").is_null() && config.get("namespace_id").is_null() {
        diagnostics.push(
            Diagnostic::error(
                "Missing class name",
                "`class_name` has to name the exported class that implements the namespace. Only a namespace that is bound by \
                 `namespace_id` can do without.",
            )
            .at(AttributePath::root("class_name")),
        );
    }
    diagnostics
}

/// A pure function of config and prior, so that a Worker's plan never waits for it.
fn plan(request: &PlanRequest) -> PlanResponse {
    let PlanRequest {
        prior,
        config,
        proposed,
        prior_private,
        ..
    } = request;
    if proposed.is_null() {
        return PlanResponse {
            private: prior_private.clone(),
            ..PlanResponse::default()
        };
    }
    let mut diagnostics = validate(config);
    let mut requires_replace = Vec::new();
    let mut planned = config.clone();
    let stable_id = config.get("stable_id");
    planned.set("id", stable_id.clone());
    planned.set("type", BINDING_TYPE);
    planned.set(
        "force_destroy",
        config.get("force_destroy").bool().or(|| Attr::Known(false)),
    );

    // A made-up ID was never the user's: whatever they write is the identity of the same namespace.
    let provisional = prior_private.as_slice() == PROVISIONAL;
    let same_identity = prior.is_null() || provisional || prior.get("stable_id") == stable_id;
    if !prior.is_null() && stable_id.is_unknown() {
        diagnostics.push(
            Diagnostic::error(
                "Stable ID is not known yet",
                "`stable_id` decides whether this namespace and its data stay, so it must be known at plan. Write it as a constant, or \
                 apply what it depends on first.",
            )
            .at(AttributePath::root("stable_id")),
        );
    } else if !same_identity {
        requires_replace.push(AttributePath::root("stable_id"));
    }

    let sqlite = config
        .get("sqlite")
        .bool()
        .or(|| prior.get("sqlite").bool())
        .or(|| Attr::Known(true));
    planned.set("sqlite", sqlite);
    if let (Attr::Known(before), Attr::Known(after)) = (prior.get("sqlite").bool(), sqlite)
        && before != after
        && same_identity
    {
        diagnostics.push(storage_change(
            stable_id.as_str().unwrap_or_default(),
            before,
        ));
    }

    let former = prior.get("script_name");
    let host = config.get("script_name");
    let moves =
        former.as_str().is_some() && (host.as_str().is_some() || host.is_null()) && former != host;
    let transferred_from = match config.get("transferred_from") {
        Value::Null if moves => former.clone(),
        Value::Null if former.as_str().is_some() && host.is_unknown() => Value::Unknown,
        Value::Null => prior.get("transferred_from").clone(),
        written => written.clone(),
    };
    planned.set("transferred_from", transferred_from);
    let host_changes = !prior.is_null() && !host.is_unknown() && former != host;
    if host_changes && same_identity && prior.get("force_destroy").as_bool() == Some(true) {
        diagnostics.push(consent_while_moving(former.as_str()));
    }
    // A replacement calls again without the prior state; that call must not look like a plain create of an imported object.
    PlanResponse {
        planned,
        requires_replace,
        private: prior_private.clone(),
        diagnostics,
    }
}

fn storage_change(stable_id: &str, before: bool) -> Diagnostic {
    let (from, to) = if before {
        ("SQLite", "key-value")
    } else {
        ("key-value", "SQLite")
    };
    Diagnostic::error(
        "Storage of a namespace cannot change",
        format!(
            "The namespace with the stable ID `{stable_id}` is backed by {from} storage, and Cloudflare cannot turn that into {to} \
             storage. Set `sqlite = {before}`. To start over with {to} storage, declare another namespace with another `stable_id` and \
             `class_name`, copy the data in your own code, and remove the old one afterwards."
        ),
    )
    .at(AttributePath::root("sqlite"))
}

fn consent_while_moving(former: Option<&str>) -> Diagnostic {
    let former = former.map_or_else(
        || "no `script_name`".to_owned(),
        |name| format!("`script_name = {name:?}`"),
    );
    Diagnostic::error(
        "Cannot move a namespace that may be destroyed",
        format!(
            "`script_name` changes while `force_destroy = true` is in effect, so a mistake could delete what shall be kept. First apply \
             `force_destroy = false` with {former}, then change `script_name`."
        ),
    )
    .at(AttributePath::root("script_name"))
}

/// What an import id names.
enum ImportId<'a> {
    Class(&'a str, &'a str),
    Namespace(&'a str),
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `[<account>/]<script>/<class>` or `[<account>/]<namespace id>`; ids are 32 hex digits.
fn parse_import(id: &str) -> Option<(Option<AccountId>, ImportId<'_>)> {
    let parts: Vec<&str> = id.split('/').collect();
    let account = |text: &str| is_hex_id(text).then(|| AccountId::new(text));
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    match parts.as_slice() {
        [id] if is_hex_id(id) => Some((None, ImportId::Namespace(id))),
        [first, id] if is_hex_id(first) && is_hex_id(id) => {
            Some((account(first), ImportId::Namespace(id)))
        }
        [script, class] => Some((None, ImportId::Class(script, class))),
        [first, script, class] => Some((Some(account(first)?), ImportId::Class(script, class))),
        _ => None,
    }
}

impl DoNamespace {
    async fn find(&self, id: &str, stop: CancellationToken) -> Result<Imported, Diagnostic> {
        let Some((account, wanted)) = parse_import(id) else {
            return Err(Diagnostic::error(
                "Invalid import id",
                format!(
                    "{id:?} is none of `<script_name>/<class_name>`, `<namespace id>`, or one of these after `<account_id>/`. Account \
                     and namespace ids are 32 hex digits."
                ),
            ));
        };
        let client = self
            .session
            .client(&stop)
            .map_err(super::session::NoClient::diagnostic)?;
        let account = match account {
            Some(account) => account,
            None => self.session.resolve_account(&client).await?,
        };
        let summary = || format!("Cannot import namespace `{id}`");
        let namespaces = client
            .listings()
            .namespaces(&account)
            .await
            .map_err(|e| diagnose::error(summary(), &e))?;
        let found = namespaces.iter().find(|namespace| match wanted {
            ImportId::Namespace(id) => namespace.id == NamespaceId::new(id),
            ImportId::Class(script, class) => {
                namespace
                    .script
                    .as_ref()
                    .is_some_and(|s| s.as_str() == script)
                    && namespace
                        .class
                        .as_ref()
                        .is_some_and(|c| c.as_str() == class)
            }
        });
        let Some((namespace, (script, class))) = found.and_then(|namespace| {
            Some((
                namespace,
                namespace.script.as_ref().zip(namespace.class.as_ref())?,
            ))
        }) else {
            return Err(Diagnostic::error(
                summary(),
                format!(
                    "Account {account} lists no such Durable Object namespace that belongs to a Worker and a class."
                ),
            ));
        };
        let scripts = client
            .listings()
            .scripts(&account)
            .await
            .map_err(|e| diagnose::error(summary(), &e))?;
        let tags = scripts
            .iter()
            .find(|listed| listed.name == *script)
            .map(|listed| listed.tags.as_slice());
        let tags = worker::identity::decode(tags.unwrap_or_default());
        let known = match tags.alchemy.is_empty() || tags.ours.is_some() {
            true => worker::identity::stable_id_of(class, &tags, []),
            false => {
                let settings = client
                    .settings(&account, script)
                    .await
                    .map_err(|e| diagnose::error(summary(), &e))?;
                worker::identity::stable_id_of(
                    class,
                    &tags,
                    worker::live::own_classes(&settings.bindings),
                )
            }
        };
        let private = if known.is_some() {
            Vec::new()
        } else {
            PROVISIONAL.to_vec()
        };
        let stable_id = known.map_or_else(|| class.to_string(), |id| id.to_string());
        let mut state = Value::object(
            self.schema
                .attributes
                .iter()
                .map(|a| (a.name.clone(), Value::Null)),
        );
        state.set("id", stable_id.as_str());
        state.set("stable_id", stable_id);
        state.set("class_name", class.as_str());
        state.set("sqlite", namespace.storage == Storage::Sqlite);
        state.set("force_destroy", false);
        state.set("type", BINDING_TYPE);
        Ok(Imported { state, private })
    }
}

#[cfg(test)]
mod tests;
