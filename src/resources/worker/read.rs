//! Reads a Worker: what is there now, in the words of the state.

use std::collections::BTreeMap;

use super::code::{self, Modules};
use super::element::BINDING_TYPE;
use super::hosting::{self, Entry};
use super::identity::{self, Private};
use super::{Worker, attempts, live};
use crate::cloudflare::{AccountId, ApiError, Client, ListedScript, ScriptSubdomain, Settings};
use crate::durable::tag::Decoded;
use crate::durable::{ClassName, LiveNamespace, NamespaceId, ScriptName, StableId};
use crate::resources::diagnose;
use crate::resources::session::NoClient;
use crate::tf::{Diagnostic, Diagnostics, ReadRequest, ReadResponse, Value};

/// Reads the Worker of a state.
pub async fn read(worker: &Worker, request: ReadRequest) -> ReadResponse {
    let ReadRequest {
        state,
        private,
        stop,
    } = request;
    let keep = |diagnostics: Diagnostics| ReadResponse {
        state: state.clone(),
        private: private.clone(),
        diagnostics,
    };
    let client = match worker.session.client(&stop) {
        Ok(client) => client,
        Err(NoClient::Unknown(attribute)) => {
            let mut diagnostics = Diagnostics::default();
            if worker.session.first_time("not refreshed") {
                diagnostics.push(Diagnostic::warning(
                    "Workers were not refreshed",
                    format!("`{attribute}` of the provider block is not known yet, so the state is taken as it is."),
                ));
            }
            return keep(diagnostics);
        }
        Err(unusable) => return keep(unusable.diagnostic().into()),
    };
    let (Some(name), Some(account)) =
        (state.get("name").as_str(), state.get("account_id").as_str())
    else {
        return keep(
            Diagnostic::error(
                "Incomplete state",
                "The state of this Worker has no name or no account.",
            )
            .into(),
        );
    };
    let (name, account) = (ScriptName::from_api(name), AccountId::new(account));
    let kept = Private::decode(&private);
    let outcome = if kept.imported {
        discover(&client, &account, &name).await
    } else {
        refresh(&client, &account, &name, &state, kept).await
    };
    match outcome {
        Ok(Some((state, private))) => ReadResponse {
            state,
            private: private.encode(),
            diagnostics: Diagnostics::default(),
        },
        Ok(None) => ReadResponse {
            state: Value::Null,
            private: Vec::new(),
            diagnostics: Diagnostics::default(),
        },
        Err(diagnostics) => keep(diagnostics),
    }
}

type Found = Result<Option<(Value, Private)>, Diagnostics>;

fn cannot_read(name: &ScriptName) -> impl Fn(ApiError) -> Diagnostics {
    let summary = format!("Cannot read Worker {name}");
    move |error| diagnose::error(summary.clone(), &error).into()
}

/// The state of a Worker that no state has yet, code included: for import, adoption, and going on with a create.
pub async fn discover(client: &Client, account: &AccountId, name: &ScriptName) -> Found {
    let failed = cannot_read(name);
    let listed = match find(client, account, name, None).await.map_err(&failed)? {
        Some(listed) => listed,
        None => return Ok(None),
    };
    let live = look(client, account, listed).await.map_err(&failed)?;
    if live.settings.uses_exports() {
        return Err(attempts::uses_exports(name).into());
    }
    let content = client.content(account, name).await.map_err(&failed)?;
    let mut state = Value::object(
        super::schema::schema()
            .attributes
            .into_iter()
            .map(|a| (a.name, Value::Null)),
    );
    state.set("account_id", account.as_str());
    let mark = live.mark.clone();
    let etag = live.listed.etag.clone();
    let hashed = identity::hashed_claims(&live.listed.tags);
    assemble(client, account, &mut state, live)
        .await
        .map_err(&failed)?;
    show_unbound(&mut state, name);
    if !content.modules.is_empty() {
        let main = content.main_module.unwrap_or_default();
        state.set("content_sha256", Modules::new(main, content.modules).sha256);
    }
    Ok(Some((
        state,
        Private {
            mark,
            etag,
            hashed,
            ..Private::default()
        },
    )))
}

/// The state of a Worker as it is now.
async fn refresh(
    client: &Client,
    account: &AccountId,
    name: &ScriptName,
    state: &Value,
    private: Private,
) -> Found {
    let failed = cannot_read(name);
    let worker_id = state.get("worker_id").as_str();
    let Some(listed) = find(client, account, name, worker_id)
        .await
        .map_err(&failed)?
    else {
        return Ok(None);
    };
    let live = look(client, account, listed).await.map_err(&failed)?;
    let mut now = state.clone();
    let etag = live.listed.etag.clone();
    let unfinished = identity::decode(&live.listed.tags)
        .ours
        .is_some_and(|ours| ours.unfinished);
    assemble(client, account, &mut now, live)
        .await
        .map_err(&failed)?;
    let overwritten = matches!((&private.etag, &etag), (Some(ours), Some(live)) if ours != live);
    if (overwritten || unfinished) && code::is_managed(state) {
        now.set("content_sha256", Value::Null);
    }
    Ok(Some((now, private.kept())))
}

/// Finds a Worker by its immutable id, or by name where none is known.
///
/// `None` only when it is proven to be gone: neither its name nor its id is there, looked for twice, or its name belongs to another.
async fn find(
    client: &Client,
    account: &AccountId,
    name: &ScriptName,
    worker_id: Option<&str>,
) -> Result<Option<ListedScript>, ApiError> {
    let is_ours = |listed: &&ListedScript| match (worker_id, listed.worker_id.as_deref()) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => listed.name == *name,
    };
    let scripts = client.listings().scripts(account).await?;
    if let Some(listed) = scripts.iter().find(is_ours) {
        return Ok(Some(listed.clone()));
    }
    // Listings lag behind: a Worker that was just made may be missing, so the Worker itself is asked.
    if let Some(service) = client.service(account, name).await?
        && worker_id.is_none_or(|id| id == service.worker_id)
    {
        return Ok(Some(ListedScript {
            name: service.name,
            worker_id: Some(service.worker_id),
            tags: service.tags,
            etag: service.etag,
            migration_tag: service.migration_tag,
            modified_on: None,
            uses_exports: false,
        }));
    }
    let again = client.scripts(account).await?;
    Ok(again.iter().find(is_ours).cloned())
}

/// A live Worker.
struct Live {
    listed: ListedScript,
    settings: Settings,
    subdomain: ScriptSubdomain,
    account_subdomain: Option<String>,
    namespaces: std::sync::Arc<[LiveNamespace]>,
    mark: Option<String>,
}

async fn look(
    client: &Client,
    account: &AccountId,
    listed: ListedScript,
) -> Result<Live, ApiError> {
    let listings = client.listings();
    let (settings, subdomain, account_subdomain, namespaces) = tokio::join!(
        client.settings(account, &listed.name),
        client.script_subdomain(account, &listed.name),
        listings.account_subdomain(account),
        listings.namespaces(account),
    );
    let mark = identity::decode(&listed.tags)
        .ours
        .map(|ours| ours.mark)
        .filter(|mark| !mark.is_empty());
    Ok(Live {
        listed,
        settings: settings?,
        subdomain: subdomain?,
        account_subdomain: account_subdomain?.map(|name| name.to_string()),
        namespaces: namespaces?,
        mark,
    })
}

/// The address of a Worker on workers.dev.
pub fn url(name: &ScriptName, enabled: bool, account_subdomain: Option<&str>) -> Value {
    match account_subdomain.filter(|_| enabled) {
        Some(subdomain) => format!("https://{name}.{subdomain}.workers.dev").into(),
        None => Value::Null,
    }
}

async fn assemble(
    client: &Client,
    account: &AccountId,
    state: &mut Value,
    live: Live,
) -> Result<(), ApiError> {
    let Live {
        listed,
        settings,
        subdomain,
        account_subdomain,
        namespaces,
        ..
    } = live;
    let name = listed.name.clone();
    let former = state
        .get("name")
        .as_str()
        .map_or_else(|| name.clone(), ScriptName::from_api);
    let prior = hosting::entries(state);
    let entries = hosted_now(
        client,
        account,
        &name,
        &former,
        &prior,
        &namespaces,
        &listed,
        &settings,
    )
    .await?;
    state.set("name", name.as_str());
    state.set("service", name.as_str());
    state.set("type", "service");
    if state.get("worker_id").is_null() {
        state.set("worker_id", listed.worker_id.clone());
    }
    state.set("etag", listed.etag.clone());
    state.set(
        "migration_tag",
        listed
            .migration_tag
            .as_ref()
            .map(|tag| Value::from(tag.as_str())),
    );
    state.set("compatibility_date", settings.compatibility_date.clone());
    set_flags(state, &settings.compatibility_flags);
    state.set("workers_dev", subdomain.enabled);
    state.set(
        "url",
        url(&name, subdomain.enabled, account_subdomain.as_deref()),
    );
    set_bindings(state, &settings, &entries, &name);
    set_unbound(state, &entries, &former, &name);
    let namespaces: BTreeMap<String, Value> = entries
        .iter()
        .map(|entry| (entry.key(), entry.value()))
        .collect();
    state.set("durable_object_namespaces", Value::Map(namespaces));
    if state.get("migrations").is_null() {
        state.set("migrations", Value::Map(BTreeMap::new()));
    }
    Ok(())
}

fn set_flags(state: &mut Value, live: &[String]) {
    let mut before: Vec<&str> = state
        .get("compatibility_flags")
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut now: Vec<&str> = live.iter().map(String::as_str).collect();
    before.sort_unstable();
    now.sort_unstable();
    if before != now || state.get("compatibility_flags").is_null() {
        state.set("compatibility_flags", live.to_vec());
    }
}

/// Bindings that the state had in `vars` stay there; everything else is in `bindings`.
fn set_bindings(state: &mut Value, settings: &Settings, entries: &[Entry], own: &ScriptName) {
    let mut bindings = BTreeMap::new();
    let mut vars = BTreeMap::new();
    for binding in &settings.bindings {
        let Some(name) = live::text(binding, "name") else {
            continue;
        };
        let is_var = live::text(binding, "type") == Some("plain_text")
            && !state.get("vars").get(name).is_null();
        if is_var {
            let text = binding
                .get("text")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            vars.insert(name.to_owned(), Value::from(text));
        } else {
            let prior = state.get("bindings").get(name);
            let prior = (!prior.is_null()).then_some(prior);
            if let Some(element) = live::element(binding, prior, entries, own) {
                bindings.insert(name.to_owned(), element);
            }
        }
    }
    for (attribute, map) in [("bindings", bindings), ("vars", vars)] {
        // Nothing and an empty map are the same to Cloudflare, but not to Terraform.
        if !(map.is_empty() && state.get(attribute).is_null()) {
            state.set(attribute, Value::Map(map));
        }
    }
}

/// The namespaces without a binding follow what happened to their classes.
fn set_unbound(state: &mut Value, entries: &[Entry], former: &ScriptName, own: &ScriptName) {
    let Value::Map(mut map) = state.get("durable_objects").clone() else {
        return;
    };
    for element in map.values_mut() {
        let id = element
            .get("stable_id")
            .as_str()
            .and_then(|id| StableId::new(id).ok());
        let Some(entry) = entries
            .iter()
            .find(|entry| id.is_some() && entry.stable_id == id)
        else {
            continue;
        };
        element.set("class_name", entry.class.as_str());
        element.set(
            "namespace_id",
            entry
                .namespace_id
                .as_ref()
                .map(|id| Value::from(id.as_str())),
        );
        if element.get("script_name").as_str() == Some(former.as_str()) {
            element.set("script_name", own.as_str());
        }
    }
    state.set("durable_objects", Value::Map(map));
}

/// A namespace with a stable ID that nothing binds would be deleted by a configuration that is generated from this state.
fn show_unbound(state: &mut Value, own: &ScriptName) {
    let bound: Vec<NamespaceId> = state
        .get("bindings")
        .as_map()
        .into_iter()
        .flatten()
        .filter_map(|(_, element)| element.get("namespace_id").as_str().map(NamespaceId::new))
        .collect();
    let mut unbound = BTreeMap::new();
    for entry in hosting::entries(state) {
        let (Some(stable_id), Some(id)) = (&entry.stable_id, &entry.namespace_id) else {
            continue;
        };
        if bound.contains(id) {
            continue;
        }
        let mut element = live::blank();
        for (member, text) in [
            ("type", BINDING_TYPE),
            ("stable_id", stable_id.as_str()),
            ("class_name", entry.class.as_str()),
            ("script_name", own.as_str()),
            ("namespace_id", id.as_str()),
        ] {
            element.set(member, text);
        }
        unbound.insert(entry.key(), element);
    }
    if !unbound.is_empty() {
        state.set("durable_objects", Value::Map(unbound));
    }
}

/// What the Worker hosts now, and what it hosted last and lives elsewhere. Namespaces are known by their ids.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing that was read, and nothing else needs them together"
)]
async fn hosted_now(
    client: &Client,
    account: &AccountId,
    own: &ScriptName,
    former: &ScriptName,
    prior: &[Entry],
    namespaces: &[LiveNamespace],
    listed: &ListedScript,
    settings: &Settings,
) -> Result<Vec<Entry>, ApiError> {
    let tags = identity::decode(&listed.tags);
    let own_classes = live::own_classes(&settings.bindings);
    let mut entries = Vec::new();
    let mut matched: Vec<&Entry> = Vec::new();
    // After a rename the listing may still say the former name, which another Worker may have by now.
    let known = |id: &NamespaceId| {
        prior
            .iter()
            .any(|entry| entry.namespace_id.as_ref() == Some(id))
    };
    let here = |namespace: &&LiveNamespace| {
        let script = namespace.script.as_ref();
        script == Some(own) || (script == Some(former) && known(&namespace.id))
    };
    for namespace in namespaces.iter().filter(here) {
        let Some(class) = &namespace.class else {
            continue;
        };
        let same = prior.iter().find(|entry| match &entry.namespace_id {
            Some(id) => *id == namespace.id,
            None => entry.lives_in(former) && is_class_of(entry, class, &tags),
        });
        // The tag knows more than the state when an adoption was interrupted.
        let stable_id = same.and_then(|entry| entry.stable_id.clone()).or_else(|| {
            identity::stable_id_of(class, &tags, own_classes.iter().copied()).filter(|id| {
                let mut others = prior.iter();
                !others.any(|entry| entry.stable_id.as_ref() == Some(id))
            })
        });
        matched.extend(same);
        entries.push(Entry {
            stable_id,
            class: class.clone(),
            namespace_id: Some(namespace.id.clone()),
            server_name: Some(namespace.name.clone()),
            storage: namespace.storage,
            consent: same.is_some_and(|entry| entry.consent),
            script: Some(own.clone()),
        });
    }
    for entry in prior.iter().filter(|entry| !matched.contains(entry)) {
        let mut entry = entry.clone();
        if entry.namespace_id.is_none() && !still_claimed(&entry, &tags) {
            continue;
        }
        if let Some(id) = &entry.namespace_id {
            match namespaces.iter().find(|namespace| namespace.id == *id) {
                Some(elsewhere) => moved(&mut entry, elsewhere),
                None if is_gone(client, account, id).await? => continue,
                None => {}
            }
        }
        if entry.lives_in(former) {
            entry.script = Some(own.clone());
        }
        if !entries.iter().any(|other| other.key() == entry.key()) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Whether a class is that of a namespace whose id nobody has seen yet: our tag says so, or says nothing of it.
fn is_class_of(entry: &Entry, class: &ClassName, tags: &Decoded) -> bool {
    match claimed_class(entry, tags) {
        Some(claimed) => claimed == class,
        None => entry.class == *class,
    }
}

/// Whether a namespace whose id nobody has seen yet may only be missing from a listing that lags: our tag still has it.
fn still_claimed(entry: &Entry, tags: &Decoded) -> bool {
    tags.ours.is_none() || claimed_class(entry, tags).is_some()
}

fn claimed_class<'a>(entry: &Entry, tags: &'a Decoded) -> Option<&'a ClassName> {
    let stable_id = entry.stable_id.as_ref()?;
    let mut claims = tags.ours.as_ref()?.claims.iter();
    let claim = claims.find(|claim| claim.stable_id.names(stable_id))?;
    Some(&claim.class)
}

fn moved(entry: &mut Entry, namespace: &LiveNamespace) {
    if let (Some(script), Some(class)) = (&namespace.script, &namespace.class) {
        entry.script = Some(script.clone());
        entry.class = ClassName::clone(class);
    }
}

/// Only Cloudflare's own word proves that a namespace is gone: listings lag.
async fn is_gone(client: &Client, account: &AccountId, id: &NamespaceId) -> Result<bool, ApiError> {
    match client.objects(account, id).await {
        Ok(_) => Ok(false),
        Err(ApiError::UnknownNamespace(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
