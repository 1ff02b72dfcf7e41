//! `/workers/workers`: the JSON way to the same Workers, by name or immutable id. A Worker is made without code here, and its versions are
//! uploaded and deployed on their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::versions::{AUTHOR_EMAIL, AUTHOR_ID};
use super::{Answer, Api, ok, page, scripts, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::ModuleFile;
use crate::cloudflare::script::{SCRIPT_SETTINGS, Script, ScriptSubdomain, Syntax};
use crate::cloudflare::upload::{
    Metadata, Unmentioned, Upload, apply_upload, apply_version, check_request,
};
use crate::cloudflare::versions::Version;

pub(super) async fn all(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => list(api),
        "POST" => {
            let wish = Wish::read(&api.json()?)?;
            let name = wish.name.clone().ok_or_else(no_name)?;
            let worker = api
                .cloud
                .change(|account| {
                    check_request(account, &name, &wish.settings)?;
                    account.create_worker(&name, &clock::now())?;
                    wish.apply(account, &name)?;
                    Ok(shown(account, &name))
                })
                .await?;
            Ok(ok(worker))
        }
        _ => Err(wrong_method()),
    }
}

fn list(api: &Api) -> Answer {
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 20, 1..=100)?,
    );
    let account = &api.seen;
    let mut names: Vec<&String> = account.workers().map(|(name, _)| name).collect();
    let deployed = |name: &String| account.scripts[name].deployments.first().cloned();
    match api.query("order_by").unwrap_or("name") {
        "name" => {}
        "created_on" => names.sort_by_key(|name| &account.scripts[*name].created_on),
        "updated_on" => names.sort_by_key(|name| &account.scripts[*name].modified_on),
        "deployed_on" => names.sort_by_key(|name| deployed(name).map(|it| it.created_on.clone())),
        _ => {
            return Err(ApiFailure::refused(
                10077,
                "Invalid value for parameter 'order_by'.",
            ));
        }
    }
    if api.query("order") == Some("desc") {
        names.reverse();
    }
    let found: Vec<Value> = names
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|name| shown(account, name))
        .collect();
    let info = json!({
        "page": number, "per_page": size, "count": found.len(), "total_count": names.len(),
        "total_pages": names.len().div_ceil(size),
    });
    Ok(page(found.into(), Some(info)))
}

pub(super) async fn one(api: &Api, id: &str) -> Answer {
    let wish = match api.method.as_str() {
        "GET" => return Ok(ok(shown(&api.seen, name_of(&api.seen, id)?))),
        "DELETE" => {
            let name = name_of(&api.cloud.account(), id)?.to_owned();
            return scripts::delete(api, &name).await;
        }
        "PUT" => {
            let wish = Wish::read(&whole(api.json()?))?;
            wish.name.is_some().then_some(wish).ok_or_else(no_name)?
        }
        "PATCH" => {
            let account = api.cloud.account();
            let mut body = api.json()?;
            // A part of these settings changes that part.
            if let Some(part) = body.get_mut("observability") {
                let script = &account.scripts[name_of(&account, id)?];
                let mut merged = script.settings.get("observability");
                merge(&mut merged, part);
                *part = merged;
            }
            Wish::read(&body)?
        }
        _ => return Err(wrong_method()),
    };
    let worker = api
        .cloud
        .change(|account| {
            let old = name_of(account, id)?.to_owned();
            let name = wish.name.clone().unwrap_or_else(|| old.clone());
            account.rename_worker(&old, &name)?;
            check_request(account, &name, &wish.settings)?;
            wish.apply(account, &name)?;
            Ok(shown(account, &name))
        })
        .await?;
    Ok(ok(worker))
}

pub(super) async fn versions(api: &Api, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let (number, size) = (
                api.number("page", 1, 1..=usize::MAX)?,
                api.number("per_page", 20, 1..=100)?,
            );
            let versions = &api.seen.scripts[name_of(&api.seen, id)?].versions;
            let found: Vec<Value> = versions
                .iter()
                .rev()
                .skip((number - 1).saturating_mul(size))
                .take(size)
                .map(|version| version_shown(&api.seen, id, version, false))
                .collect();
            let info = json!({
                "page": number, "per_page": size, "count": found.len(), "total_count": versions.len(),
                "total_pages": versions.len().div_ceil(size),
            });
            Ok(page(found.into(), Some(info)))
        }
        "POST" => upload(api, id).await,
        _ => Err(wrong_method()),
    }
}

pub(super) async fn version(api: &Api, id: &str, version: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = &api.seen.scripts[name_of(&api.seen, id)?];
            let found = find(script, version)?;
            let modules = api.query("include") == Some("modules");
            Ok(ok(version_shown(&api.seen, id, found, modules)))
        }
        "PATCH" if version == "latest" => change_latest(api, id).await,
        "DELETE" => {
            api.cloud
                .change(|account| {
                    let name = name_of(account, id)?.to_owned();
                    let script = account.scripts.get_mut(&name).expect("found above");
                    let id = find(script, version)?.id.clone();
                    let served = script.deployments.first();
                    let mut shares = served.iter().flat_map(|deployment| &deployment.versions);
                    if shares.any(|share| share.version_id == id) {
                        // Code and text of this refusal are not published.
                        return Err(ApiFailure::invalid(
                            "A version that is deployed cannot be deleted.",
                        ));
                    }
                    script.versions.retain(|version| version.id != id);
                    Ok(())
                })
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// A new version from modules in the body; `?deploy=true` serves it at once.
async fn upload(api: &Api, id: &str) -> Answer {
    let mut body = api.json()?;
    let account = api.cloud.account();
    let name = name_of(&account, id)?.to_owned();
    let fields = body
        .as_object_mut()
        .ok_or_else(|| ApiFailure::invalid("the version must be a JSON object"))?;
    let modules = modules(fields.remove("modules"))?;
    let deploy = api.query("deploy") == Some("true");
    // What belongs to the Worker is not a version's business.
    for setting in SCRIPT_SETTINGS {
        let value = account.scripts[&name].settings.get(setting);
        fields.insert(setting.into(), value);
    }
    let metadata = Metadata::parse(&body)?;
    check_request(&account, &name, &metadata)?;
    let upload = scripts::new_code(api, &name, metadata, modules, None).await?;
    add(api, id, &name, upload, deploy).await
}

/// A new version like the newest one but for some bindings.
async fn change_latest(api: &Api, id: &str) -> Answer {
    let body = api.json()?;
    let account = api.cloud.account();
    let name = name_of(&account, id)?.to_owned();
    let latest = find(&account.scripts[&name], "latest")?.clone();
    let no_changes = Map::new();
    let changes = body.get("env").and_then(Value::as_object);
    let changes = changes.unwrap_or(&no_changes);
    let mut bindings: Vec<Value> = latest
        .bindings
        .iter()
        .filter(|binding| !changes.contains_key(&binding.name))
        .map(|binding| json!({"name": binding.name, "type": "inherit"}))
        .collect();
    for (name, change) in changes.iter().filter(|(_, change)| !change.is_null()) {
        let mut binding = change.clone();
        binding["name"] = json!(name);
        bindings.push(binding);
    }
    let mut metadata = json!({"bindings": bindings, "annotations": body.get("annotations")});
    for (field, value) in version_settings(&latest) {
        metadata[field] = value;
    }
    let upload = Upload {
        script: name.clone(),
        metadata: Metadata::parse(&metadata)?,
        code: Some(latest.code.clone()),
        unmentioned: Unmentioned::Reset,
        strict: true,
        source: api.client().into(),
    };
    add(api, id, &name, upload, false).await
}

async fn add(api: &Api, id: &str, name: &str, upload: Upload, deploy: bool) -> Answer {
    let version = api
        .cloud
        .change(|account| {
            if deploy {
                apply_upload(account, upload, &clock::now())?;
            } else {
                apply_version(account, upload, &clock::now())?;
            }
            let latest = find(&account.scripts[name], "latest")?.clone();
            Ok(version_shown(account, id, &latest, false))
        })
        .await?;
    Ok(ok(version))
}

/// What a request says about a Worker.
struct Wish {
    name: Option<String>,
    settings: Metadata,
    subdomain: Option<(bool, Option<bool>)>,
}

impl Wish {
    fn read(body: &Value) -> Result<Self, ApiFailure> {
        let given = body
            .as_object()
            .ok_or_else(|| ApiFailure::invalid("the Worker must be a JSON object"))?;
        let name = match given.get("name") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(no_name()),
        };
        let mut settings = Map::new();
        for field in SCRIPT_SETTINGS {
            if let Some(value) = given.get(field) {
                settings.insert(field.into(), value.clone());
            }
        }
        // Elsewhere in the API a consumer is a `service`.
        let consumers = settings.get_mut("tail_consumers");
        for consumer in consumers
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            *consumer = json!({"service": consumer["name"]});
        }
        let subdomain = given.get("subdomain").filter(|value| !value.is_null());
        let subdomain = subdomain.map(|subdomain| {
            let flag = |name: &str| subdomain.get(name).and_then(Value::as_bool);
            (flag("enabled").unwrap_or(false), flag("previews_enabled"))
        });
        Ok(Self {
            name,
            settings: Metadata::parse(&Value::Object(settings))?,
            subdomain,
        })
    }

    fn apply(&self, account: &mut Account, name: &str) -> Result<(), ApiFailure> {
        let hosts = account.namespaces_of(name).next().is_some();
        let script = account
            .scripts
            .get_mut(name)
            .ok_or_else(ApiFailure::no_worker)?;
        script.settings = self.settings.settings(script.settings.clone());
        script.modified_on = clock::now();
        if let Some((enabled, previews)) = self.subdomain {
            // Without a word about previews they follow the address, where they can.
            let previews_enabled = previews.unwrap_or(enabled && !hosts);
            if previews_enabled && hosts {
                return Err(ApiFailure::refused(
                    100_331,
                    "Cannot use Durable Objects with Preview URLs",
                ));
            }
            script.subdomain = ScriptSubdomain {
                enabled,
                previews_enabled,
            };
        }
        Ok(())
    }
}

/// A body that says something about everything: what is missing is reset.
fn whole(body: Value) -> Value {
    let mut whole = json!({"subdomain": {"enabled": false, "previews_enabled": false}});
    for field in SCRIPT_SETTINGS {
        whole[field] = Value::Null;
    }
    if let (Some(whole), Value::Object(body)) = (whole.as_object_mut(), body) {
        whole.extend(body);
    }
    whole
}

/// Puts members of `change` into `value`, deeply.
fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                merge(value.entry(name).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change.clone(),
    }
}

fn no_name() -> ApiFailure {
    ApiFailure::invalid("`name` of a Worker must be a string")
}

/// The Worker with an immutable id or a name.
fn name_of<'a>(account: &'a Account, id: &str) -> Result<&'a str, ApiFailure> {
    let mut workers = account.workers();
    let found = match account.worker(id) {
        Some(_) => workers.find(|(name, _)| *name == id),
        None => workers.find(|(_, script)| script.tag == id),
    };
    found
        .map(|(name, _)| name.as_str())
        .ok_or_else(ApiFailure::no_worker)
}

/// The version with an id, or the newest one as `latest`.
fn find<'a>(script: &'a Script, id: &str) -> Result<&'a Version, ApiFailure> {
    if id == "latest" {
        let latest = script.latest().map(AsRef::as_ref);
        return latest.ok_or_else(|| ApiFailure::new(404, 10222, "This Worker has no versions."));
    }
    let version = script.version(id).map(AsRef::as_ref);
    version.ok_or_else(|| ApiFailure::new(404, 10071, "The version could not be found."))
}

/// The modules of a body: name, type, and content in base64.
fn modules(value: Option<Value>) -> Result<Vec<ModuleFile>, ApiFailure> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ApiFailure::invalid("`modules` must be an array")),
    };
    let module = |module: &Value| {
        let text = |field: &str| {
            let text = module.get(field).and_then(Value::as_str);
            text.ok_or_else(|| {
                ApiFailure::invalid(format!("`{field}` of a module must be a string"))
            })
        };
        let content = STANDARD.decode(text("content_base64")?);
        Ok(ModuleFile {
            name: text("name")?.into(),
            content_type: text("content_type")?.into(),
            body: content
                .map_err(|_| ApiFailure::invalid("`content_base64` of a module must be base64"))?
                .into(),
        })
    };
    list.iter().map(module).collect()
}

/// A Worker as this API shows it. `name` is in the account.
fn shown(account: &Account, name: &str) -> Value {
    let script = &account.scripts[name];
    // What nobody has set is shown with its default here.
    let mut observability = json!({
        "enabled": false, "head_sampling_rate": 1,
        "logs": {
            "enabled": false, "head_sampling_rate": 1, "invocation_logs": true, "persist": true, "destinations": [],
        },
        "traces": {"enabled": false, "head_sampling_rate": 1, "persist": true, "destinations": []},
    });
    if let set @ Value::Object(_) = script.settings.get("observability") {
        merge(&mut observability, &set);
    }
    let consumers = script.settings.get("tail_consumers");
    let consumers = consumers.as_array().into_iter().flatten();
    let consumers: Vec<Value> = consumers.map(|it| json!({"name": it["service"]})).collect();
    let mut subdomain = json!({
        "enabled": script.subdomain.enabled, "previews_enabled": script.subdomain.previews_enabled,
    });
    if let Some(of_account) = &account.subdomain {
        let address = format!("{name}.{of_account}.workers.dev");
        subdomain["url"] = json!(format!("https://{address}"));
        subdomain["preview_url_suffix"] = json!(format!("-{address}"));
    }
    let deployed = script.deployments.first().map(|it| it.created_on.as_str());
    json!({
        "id": script.tag,
        "name": name,
        "created_on": script.created_on,
        "updated_on": script.modified_on,
        "deployed_on": deployed,
        "logpush": script.settings.logpush,
        "tags": script.settings.tags,
        "observability": observability,
        "tail_consumers": consumers,
        "subdomain": subdomain,
        "references": references(account, name, script),
    })
}

/// Who else depends on the Worker.
fn references(account: &Account, name: &str, script: &Script) -> Value {
    let worker = |from: &str| {
        (
            json!(account.scripts[from].tag),
            json!(dispatch::name(from)),
        )
    };
    let objects = account.bindings_to_namespaces(|ns| ns.script == name);
    let objects: Vec<Value> = objects
        .filter(|(from, _, _)| *from != name)
        .map(|(from, _, namespace)| {
            let (worker_id, worker_name) = worker(from);
            json!({
                "namespace_id": namespace.id, "namespace_name": namespace.name,
                "worker_id": worker_id, "worker_name": worker_name,
            })
        })
        .collect();
    let mut services: Vec<&str> = account
        .bindings_to_worker(&script.tag)
        .map(|(from, _)| from)
        .filter(|from| *from != name)
        .collect();
    services.dedup();
    let services: Vec<Value> = services
        .into_iter()
        .map(|from| {
            let (id, name) = worker(from);
            json!({"id": id, "name": name})
        })
        .collect();
    let domains: Vec<Value> = account
        .domains_of(&script.tag)
        .map(|domain| {
            json!({
                "id": domain.id, "certificate_id": domain.certificate, "hostname": domain.hostname,
                "zone_id": domain.zone, "zone_name": account.zone(&domain.zone).map(|zone| &zone.name),
            })
        })
        .collect();
    json!({
        "dispatch_namespace_outbounds": [],
        "domains": domains,
        "durable_objects": objects,
        "queues": [],
        "workers": services,
    })
}

/// The settings of a version that are set.
fn version_settings(version: &Version) -> Map<String, Value> {
    let mut settings = Map::new();
    for field in [
        "compatibility_date",
        "compatibility_flags",
        "placement",
        "limits",
        "usage_model",
        "cache_options",
    ] {
        let value = version.settings.get(field);
        if !value.is_null() && value != json!([]) {
            settings.insert(field.into(), value);
        }
    }
    if let Some(exports) = version.declaration.shown() {
        settings.insert("exports".into(), exports);
    }
    settings
}

fn version_shown(account: &Account, worker: &str, version: &Version, modules: bool) -> Value {
    let name = name_of(account, worker).unwrap_or(worker);
    let code = &version.code;
    let mut fields = version_settings(version);
    for (field, value) in [
        ("id", json!(version.id)),
        ("number", json!(version.number)),
        ("created_on", json!(version.created_on)),
        ("source", json!(version.source)),
        ("author_id", json!(AUTHOR_ID)),
        ("author_email", json!(AUTHOR_EMAIL)),
        ("annotations", json!(version.annotations)),
        ("startup_time_ms", json!(code.startup_ms)),
        ("urls", json!([])),
    ] {
        fields.insert(field.into(), value);
    }
    let script = &account.scripts.get(name);
    let served = script.filter(|script| {
        script
            .deployments
            .first()
            .is_some_and(|it| it.served() == version.id)
    });
    if let Some(report) = served.and_then(|script| script.exports.report()) {
        fields.insert("exports_reconciliation".into(), json!(report));
    }
    if let Some(tag) = &version.migration_tag {
        fields.insert("migration_tag".into(), json!(tag));
    }
    if !version.bindings.is_empty() {
        let shown = version.bindings.iter();
        let shown = shown.map(|binding| binding.shown(account, name)).collect();
        fields.insert("bindings".into(), shown);
    }
    match code.syntax {
        Syntax::Modules => {
            if !code.modules.is_empty() {
                fields.insert("main_module".into(), json!(code.main));
            }
            if modules {
                fields.insert(
                    "modules".into(),
                    code.modules.iter().map(module_shown).collect(),
                );
            }
        }
        Syntax::ServiceWorker => {
            let main = code.modules.iter().find(|module| module.name == code.main);
            let content = main.map(|module| STANDARD.encode(&module.body));
            fields.insert("main_script_base64".into(), json!(content));
        }
    }
    fields.into()
}

fn module_shown(module: &ModuleFile) -> Value {
    json!({
        "name": module.name,
        "content_type": module.content_type,
        "content_base64": STANDARD.encode(&module.body),
    })
}
