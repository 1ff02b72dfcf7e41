//! The switches under `/__local`: faults, the call log, and acting as another tool. The same is available in process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::account::{Account, NamespaceNames, Plan, Secrets};
use super::bindings::{Binding, Target};
use super::clock;
use super::exports::{Declaration, Lifecycle};
use super::failure::ApiFailure;
use super::faults::{Bucket, Fault};
use super::server::Cloud;
use super::status::Status;
use super::stores::UnknownStores;
use super::switches;
use super::triggers::Trigger;
use super::versions::record_edits;

/// Something that another tool, or the dashboard, does to the account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Moves the migration tag of a Worker.
    SetMigrationTag {
        /// The Worker.
        script: String,
        /// The new tag.
        tag: Option<String>,
    },
    /// Replaces the script tags of a Worker.
    SetTags {
        /// The Worker.
        script: String,
        /// The new tags.
        tags: Vec<String>,
    },
    /// Deletes a class with its namespace; bindings to it stay and lead nowhere.
    DeleteClass {
        /// The Worker.
        script: String,
        /// The class.
        class: String,
    },
    /// Deletes a class with its namespace and creates it again: the same name, bound as before, with another id.
    ReplaceClass {
        /// The Worker.
        script: String,
        /// The class.
        class: String,
    },
    /// Gives a namespace to another class of its Worker. The code is expected to export it already.
    RenameClass {
        /// The Worker.
        script: String,
        /// The class so far.
        from: String,
        /// The class from now on.
        to: String,
    },
    /// Adds or replaces a plain-text binding.
    SetVar {
        /// The Worker.
        script: String,
        /// The name in `env`.
        name: String,
        /// The value.
        text: String,
    },
    /// Adds or replaces a binding of any kind, also of one that nobody knows yet.
    SetBinding {
        /// The Worker.
        script: String,
        /// The binding as the API shows it.
        binding: Map<String, Value>,
    },
    /// Removes a binding.
    RemoveBinding {
        /// The Worker.
        script: String,
        /// The name in `env`.
        name: String,
    },
    /// Sets a secret.
    SetSecret {
        /// The Worker.
        script: String,
        /// The name in `env`.
        name: String,
        /// The value.
        text: String,
    },
    /// Sets one of the settings that are stored as they are, such as `observability`, or the declared `exports`.
    SetSetting {
        /// The Worker.
        script: String,
        /// The setting's name in the API.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Changes the stored content hash, as if other code had been uploaded.
    ChangeEtag {
        /// The Worker.
        script: String,
    },
    /// Renames a Worker.
    RenameWorker {
        /// The name so far.
        from: String,
        /// The name from now on.
        to: String,
    },
    /// Deletes a Worker by force.
    DeleteWorker {
        /// The Worker.
        script: String,
    },
    /// Changes the account's plan.
    SetPlan {
        /// The plan.
        plan: Plan,
    },
    /// Decides whether namespace names follow renames.
    SetNamespaceNames {
        /// The reading.
        names: NamespaceNames,
    },
    /// Gives the account a domain, as its owner does in the dashboard.
    AddZone {
        /// The domain.
        name: String,
    },
    /// Decides whether secrets survive uploads that do not mention them.
    SetSecrets {
        /// The reading.
        secrets: Secrets,
    },
    /// Decides what a binding to a KV namespace, database, bucket or queue does that is not there.
    SetUnknownStores {
        /// The reading.
        unknown: UnknownStores,
    },
    /// Registers or removes the account's workers.dev subdomain.
    SetSubdomain {
        /// The subdomain.
        subdomain: Option<String>,
    },
}

impl Action {
    pub(super) fn apply(self, account: &mut Account) -> Result<(), ApiFailure> {
        match self {
            Self::SetMigrationTag { script, tag } => {
                script_mut(account, &script)?.migration_tag = tag
            }
            Self::SetTags { script, tags } => script_mut(account, &script)?.settings.tags = tags,
            Self::SetSetting {
                script,
                name,
                value,
            } if name == "exports" => {
                script_mut(account, &script)?.exports =
                    Lifecycle::declaring(Declaration::parse(Some(&value), None)?);
            }
            Self::SetSetting {
                script,
                name,
                value,
            } => {
                script_mut(account, &script)?
                    .settings
                    .others
                    .insert(name, value);
            }
            Self::ChangeEtag { script } => {
                let etag = account.issue_id();
                script_mut(account, &script)?.code.etag = format!("{etag}{etag}");
            }
            Self::SetVar { script, name, text } => {
                set_text(account, &script, name, "plain_text", text)?
            }
            Self::SetSecret { script, name, text } => {
                set_text(account, &script, name, "secret_text", text)?
            }
            Self::SetBinding { script, binding } => set_binding(account, &script, binding)?,
            Self::RemoveBinding { script, name } => {
                script_mut(account, &script)?
                    .bindings
                    .retain(|binding| binding.name != name);
                account.serving += 1;
            }
            Self::DeleteClass { script, class } => {
                account
                    .namespaces
                    .retain(|ns| ns.script != script || ns.class != class);
                account.serving += 1;
            }
            Self::ReplaceClass { script, class } => {
                let id = account.issue_id();
                let namespace = account
                    .namespaces
                    .iter_mut()
                    .find(|ns| ns.script == script && ns.class == class);
                let namespace = namespace.ok_or_else(ApiFailure::no_worker)?;
                let former = std::mem::replace(&mut namespace.id, id.clone());
                for binding in &mut script_mut(account, &script)?.bindings {
                    if binding.target == Target::Namespace(former.clone()) {
                        binding.target = Target::Namespace(id.clone());
                    }
                }
                account.serving += 1;
            }
            Self::RenameClass { script, from, to } => {
                let namespace = account
                    .namespaces
                    .iter_mut()
                    .find(|ns| ns.script == script && ns.class == from);
                namespace.ok_or_else(ApiFailure::no_worker)?.class = to;
                account.serving += 1;
            }
            Self::RenameWorker { from, to } => account.rename_worker(&from, &to)?,
            Self::DeleteWorker { script } => account.delete_worker(&script, true)?,
            Self::SetPlan { plan } => account.plan = plan,
            Self::SetNamespaceNames { names } => account.names = names,
            Self::AddZone { name } => account.add_zone(&name)?,
            Self::SetSecrets { secrets } => account.secrets = secrets,
            Self::SetUnknownStores { unknown } => account.stores.unknown = unknown,
            Self::SetSubdomain { subdomain } => account.subdomain = subdomain,
        }
        record_edits(account, &clock::now());
        Ok(())
    }
}

fn script_mut<'a>(
    account: &'a mut Account,
    name: &str,
) -> Result<&'a mut super::script::Script, ApiFailure> {
    account
        .scripts
        .get_mut(name)
        .ok_or_else(ApiFailure::no_worker)
}

fn set_text(
    account: &mut Account,
    script: &str,
    name: String,
    kind: &str,
    text: String,
) -> Result<(), ApiFailure> {
    let binding = json!({"name": name, "type": kind, "text": text});
    let binding = binding.as_object().cloned();
    set_binding(
        account,
        script,
        binding.expect("it is written as an object"),
    )
}

fn set_binding(
    account: &mut Account,
    script: &str,
    members: Map<String, Value>,
) -> Result<(), ApiFailure> {
    let text = |member: &str| {
        let text = members.get(member).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| ApiFailure::invalid(format!("a binding has a {member}")))
    };
    let (name, kind) = (text("name")?, text("type")?);
    let bindings = &mut script_mut(account, script)?.bindings;
    bindings.retain(|binding| binding.name != name);
    bindings.push(Binding {
        name,
        kind,
        members,
        target: Target::Elsewhere,
    });
    account.serving += 1;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Latency {
    ms: u64,
}

/// Answers a request below `/__local`.
pub(super) async fn answer(
    cloud: &Arc<Cloud>,
    path: &str,
    request: Request<Body>,
) -> Response<Body> {
    let method = request.method().clone();
    let body = to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap_or_default();
    match switch(cloud, &method, path, &body).await {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err((status, text)) => {
            let advice = "GET /__local lists the switches, with examples.";
            json_response(status, &json!({"error": text, "advice": advice}))
        }
    }
}

/// Reads a body; a member that nothing would read is refused, as it is a mistake.
pub(super) fn read<T: Serialize + DeserializeOwned>(
    body: &[u8],
) -> Result<T, (StatusCode, String)> {
    let refused = |text: String| (StatusCode::BAD_REQUEST, text);
    let sent: Value = serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
    let found: T =
        serde_json::from_value(sent.clone()).map_err(|error| refused(error.to_string()))?;
    match serde_json::to_value(&found)
        .ok()
        .and_then(|read| unread(&sent, &read))
    {
        Some(member) => Err(refused(format!("nothing reads the member `{member}`"))),
        None => Ok(found),
    }
}

/// A member of what was sent that is not in what was read.
fn unread(sent: &Value, read: &Value) -> Option<String> {
    let (sent, read) = (sent.as_object()?, read.as_object()?);
    sent.iter().find_map(|(name, value)| match read.get(name) {
        None => Some(name.clone()),
        Some(read) => unread(value, read),
    })
}

async fn switch(
    cloud: &Arc<Cloud>,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Value, (StatusCode, String)> {
    match (method.as_str(), path) {
        ("GET", "") => return Ok(switches::listing()),
        ("GET", "/status") => return Ok(json!(Status::of(cloud).await)),
        ("GET", "/calls") => return Ok(json!(cloud.calls.all())),
        ("DELETE", "/calls") => cloud.calls.clear(),
        ("GET", "/faults") => {
            return Ok(json!({"faults": cloud.faults.in_force(), "met": cloud.faults.met()}));
        }
        ("POST", "/faults") => {
            let fault: Fault = read(body)?;
            fault
                .check()
                .map_err(|text| (StatusCode::BAD_REQUEST, text.to_owned()))?;
            cloud.faults.add(fault, cloud.account());
        }
        ("POST", "/faults/release") => cloud.faults.release(),
        ("DELETE", "/faults") => cloud.faults.clear(),
        ("PUT", "/latency") => {
            cloud
                .faults
                .set_latency(Duration::from_millis(read::<Latency>(body)?.ms));
        }
        ("PUT", "/bucket") => {
            let bucket: Option<Bucket> = read(body)?;
            if bucket.is_some_and(|it| !(it.capacity >= 1.0 && it.per_second > 0.0)) {
                let text = "`capacity` is at least 1, and `per_second` more than 0";
                return Err((StatusCode::BAD_REQUEST, text.into()));
            }
            cloud.faults.set_bucket(bucket);
        }
        ("POST", "/act") => {
            let action: Action = read(body)?;
            cloud
                .change(|account| action.apply(account))
                .await
                .map_err(|failure| (StatusCode::BAD_REQUEST, failure.to_string()))?;
        }
        ("POST", "/trigger") => {
            let trigger: Trigger = read(body)?;
            let done = cloud.trigger(trigger).await;
            return done.map(|done| json!(done)).map_err(|failure| {
                let status = StatusCode::from_u16(failure.status);
                (
                    status.unwrap_or(StatusCode::BAD_REQUEST),
                    failure.to_string(),
                )
            });
        }
        ("POST", "/reset") => {
            cloud
                .change(|account| {
                    account.clear();
                    Ok(())
                })
                .await
                .map_err(|failure| (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string()))?;
            cloud.faults.clear();
            cloud.calls.clear();
        }
        _ => {
            let others = switches::all().into_iter().filter(|it| it.path == path);
            let others: Vec<&str> = others.map(|it| it.method).collect();
            return Err(if others.is_empty() {
                let text = format!("there is no switch /__local{path}");
                (StatusCode::NOT_FOUND, text)
            } else {
                let text = format!(
                    "/__local{path} is for {}, not {method}",
                    others.join(" and ")
                );
                (StatusCode::METHOD_NOT_ALLOWED, text)
            });
        }
    }
    Ok(json!({"ok": true}))
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
        .header("cross-origin-resource-policy", "same-origin")
        .body(Body::from(value.to_string()))
        .expect("status and headers are valid")
}
