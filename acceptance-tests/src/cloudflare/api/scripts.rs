//! `/workers/scripts`: list, upload, content, delete and references.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Api, assets, form, ok, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::ModuleFile;
use crate::cloudflare::script::{Code, Script, Settings, Syntax};
use crate::cloudflare::upload::{
    Metadata, Unmentioned, Upload, apply_upload, check_blobs, check_request, check_size,
    no_main_module,
};

/// The fields that a Worker has in every answer.
pub(super) fn shown(name: &str, script: &Script) -> Map<String, Value> {
    let tags = if script.settings.tags.is_empty() {
        Value::Null
    } else {
        script.settings.get("tags")
    };
    let mut fields = Map::new();
    for (field, value) in [
        ("id", json!(dispatch::name(name))),
        ("tag", json!(script.tag)),
        ("tags", tags),
        ("etag", json!(script.code.etag)),
        ("handlers", json!(script.code.exports.handlers)),
        ("named_handlers", script.code.named_handlers()),
        ("has_assets", json!(script.code.assets.is_some())),
        ("has_modules", json!(has_modules(script))),
        ("last_deployed_from", json!(last_deployed_from(script))),
        ("created_on", json!(script.created_on)),
        ("modified_on", json!(script.modified_on)),
    ] {
        fields.insert(field.into(), value);
    }
    for field in [
        "compatibility_date",
        "compatibility_flags",
        "logpush",
        "usage_model",
        "observability",
        "placement",
        "tail_consumers",
    ] {
        let value = script.settings.get(field);
        if !value.is_null() || field == "tail_consumers" {
            fields.insert(field.into(), value);
        }
    }
    if let Some(exports) = script.exports.shown() {
        fields.insert("exports".into(), exports);
    }
    fields
}

fn has_modules(script: &Script) -> bool {
    script.code.syntax == Syntax::Modules && !script.code.modules.is_empty()
}

fn last_deployed_from(script: &Script) -> &str {
    script
        .deployments
        .first()
        .map_or("api", |deployment| deployment.source.as_str())
}

pub(super) fn list(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let filter = TagFilter::of(api);
    let found = api.seen.workers();
    let found = found.filter(|(_, script)| filter.fits(script));
    let found: Vec<Value> = found
        .map(|(name, script)| {
            let mut fields = listed(name, script);
            let routes = api.seen.routes_to(&script.tag);
            let routes: Vec<Value> = routes.map(|route| api.seen.shown_route(route)).collect();
            fields["routes"] = json!((!routes.is_empty()).then_some(routes));
            fields
        })
        .collect();
    Ok(ok(found.into()))
}

/// A Worker as lists show it.
pub(super) fn listed(name: &str, script: &Script) -> Value {
    let mut fields = shown(name, script);
    if let Some(tag) = &script.migration_tag {
        fields.insert("migration_tag".into(), json!(tag));
    }
    fields.into()
}

/// `tags=team:yes,old:no`: which tags a Worker must have and must not have.
pub(super) struct TagFilter<'a>(Vec<(&'a str, bool)>);

impl<'a> TagFilter<'a> {
    pub(super) fn of(api: &'a Api) -> Self {
        let list = api.query("tags").into_iter();
        let filters = list
            .flat_map(|list| list.split(','))
            .filter_map(|filter| filter.rsplit_once(':'))
            .map(|(tag, wanted)| (tag, wanted == "yes"));
        Self(filters.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn fits(&self, script: &Script) -> bool {
        let has = |tag: &str| script.settings.tags.iter().any(|it| it == tag);
        self.0.iter().all(|(tag, wanted)| has(tag) == *wanted)
    }
}

pub(super) async fn one(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => content(api, name),
        "PUT" => upload(api, name).await,
        "DELETE" => delete(api, name).await,
        _ => Err(wrong_method()),
    }
}

pub(super) async fn delete(api: &Api, name: &str) -> Answer {
    let force = api.query("force") == Some("true");
    api.cloud
        .change(|account| account.delete_worker(name, force))
        .await?;
    Ok(ok(Value::Null))
}

async fn upload(api: &Api, name: &str) -> Answer {
    let form = form::read(api, "metadata").await?;
    let metadata = Metadata::parse(&form.metadata)?;
    check_request(&api.cloud.account(), name, &metadata)?;
    let upload = new_code(api, name, metadata, form.modules, None).await?;
    let fields = api
        .cloud
        .change(|account| {
            apply_upload(account, upload, &clock::now())?;
            Ok(uploaded(account, name))
        })
        .await?;
    Ok(ok(fields))
}

/// The Worker as the answer to an upload shows it.
fn uploaded(account: &Account, name: &str) -> Value {
    let script = &account.scripts[name];
    let mut fields = shown(name, script);
    fields.insert("deployment_id".into(), json!(script.deployment_id()));
    if let Some(report) = script.exports.report() {
        fields.insert("exports_reconciliation".into(), json!(report));
    }
    fields.insert("startup_time_ms".into(), json!(script.code.startup_ms));
    fields.insert("entry_point".into(), json!(script.code.main));
    fields.into()
}

/// Runs the modules of a request once and makes an upload of it. Of a Worker that keeps everything but its code they
/// run with its present settings and bindings.
pub(super) async fn new_code(
    api: &Api,
    name: &str,
    metadata: Metadata,
    modules: Vec<ModuleFile>,
    keeps: Option<&Script>,
) -> Result<Upload, ApiFailure> {
    check_size(&modules)?;
    let account = api.cloud.account();
    let latest = account.scripts.get(name).and_then(Script::latest);
    let before = latest.map_or(&[][..], |version| &version.bindings);
    let (settings, bindings) = match keeps {
        Some(script) => (script.settings.clone(), script.bindings.clone()),
        None => (
            metadata.settings(Settings::default()),
            metadata.expected_bindings(before, account.secrets),
        ),
    };
    let (hosting, uploaded) = (&api.cloud.hosting, metadata.assets.as_ref());
    let uploaded = assets::uploaded(api, uploaded, &settings).await?;
    let mut code = match metadata.entry.clone() {
        Some(entry) => {
            check_blobs(&bindings, entry.syntax, &modules)?;
            hosting.probe(entry, modules, &settings, &bindings).await?
        }
        None if metadata.brings_assets() => {
            hosting.check_keys(&bindings).await?;
            Code::without_modules()
        }
        None => return Err(no_main_module()),
    };
    code.assets = uploaded;
    Ok(Upload {
        script: name.into(),
        metadata,
        code: Some(code),
        unmentioned: match keeps {
            Some(_) => Unmentioned::Stay,
            None => Unmentioned::Reset,
        },
        strict: api.query("bindings_inherit") == Some("strict"),
        source: api.client().into(),
    })
}

/// The code of a Worker: one module by itself, several as a form.
fn content(api: &Api, name: &str) -> Answer {
    let script = find(api, name)?;
    match &script.code.modules[..] {
        [module] => {
            let response = Response::builder()
                .header("etag", script.code.etag.as_str())
                .header("content-type", "application/javascript")
                .body(Body::from(module.body.clone()));
            Ok(response.expect("an etag is hex digits"))
        }
        _ => Ok(content_form(script)),
    }
}

/// `/content`: the code, read as in `/content/v2`, or replaced while everything else stays.
pub(super) async fn content_alone(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => find(api, name).map(content_form),
        "PUT" => replace_content(api, name).await,
        _ => Err(wrong_method()),
    }
}

async fn replace_content(api: &Api, name: &str) -> Answer {
    let (metadata, modules) = form::read_parts(api, "metadata").await?;
    // Of the metadata only the part that is started counts; a header may name it instead.
    let mut entry = Map::new();
    for (field, header) in [
        ("main_module", "cf-worker-main-module-part"),
        ("body_part", "cf-worker-body-part"),
    ] {
        let header = api.headers.get(header).and_then(|it| it.to_str().ok());
        let given = metadata.as_ref().and_then(|metadata| metadata.get(field));
        if let Some(part) = given.cloned().or(header.map(Value::from)) {
            entry.insert(field.into(), part);
        }
    }
    let metadata = Metadata::parse(&entry.into())?;
    let account = api.cloud.account();
    let before = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    check_request(&account, name, &metadata)?;
    let upload = new_code(api, name, metadata, modules, Some(before)).await?;
    let fields = api
        .cloud
        .change(|account| {
            if !account.scripts.contains_key(name) {
                return Err(ApiFailure::no_worker());
            }
            apply_upload(account, upload, &clock::now())?;
            Ok(uploaded(account, name))
        })
        .await?;
    Ok(ok(fields))
}

/// The code as it was uploaded, always as a form when it is made of modules.
pub(super) fn content_v2(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let script = find(api, name)?;
    if script.code.modules.is_empty() {
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    Ok(content_form(script))
}

fn find<'a>(api: &'a Api, name: &str) -> Result<&'a Script, ApiFailure> {
    api.seen.scripts.get(name).ok_or_else(ApiFailure::no_worker)
}

fn content_form(script: &Script) -> Response<Body> {
    if script.code.modules.is_empty() {
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return nothing;
    }
    let boundary = format!("----{}", script.deployment_id());
    let mut body = Vec::new();
    for module in script.code.modules.iter() {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{0}\"; filename=\"{0}\"\r\n\
                 Content-Type: {1}\r\n\r\n",
                module.name, module.content_type
            )
            .as_bytes(),
        );
        body.extend_from_slice(&module.body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut response = Response::builder()
        .header("etag", script.code.etag.as_str())
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(Body::from(body))
        .expect("etag and boundary are hex digits");
    // A name that no header can hold is left out, as the part itself is enough to find it.
    if let Ok(main) = axum::http::HeaderValue::from_str(&script.code.main) {
        response.headers_mut().insert("cf-entrypoint", main);
    }
    response
}

/// Who binds this Worker and its Durable Objects, itself included, and whom it binds.
pub(super) fn references(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let account = &api.seen;
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    let entry = |service: &str, binding: &str| json!({"service": dispatch::name(service), "environment": "production", "name": binding});
    let incoming: Vec<Value> = account
        .bindings_to_worker(&script.tag)
        .map(|(from, binding)| entry(from, &binding.name))
        .collect();
    let outgoing: Vec<Value> = script
        .bindings
        .iter()
        .filter(|binding| binding.kind == "service")
        .map(|binding| entry(binding.text("service").unwrap_or_default(), &binding.name))
        .collect();
    let objects: Vec<Value> = account
        .bindings_to_namespaces(|ns| ns.script == name)
        .map(|(from, binding, namespace)| {
            let mut entry = entry(from, &binding.name);
            entry["durable_object_namespace_id"] = json!(namespace.id);
            entry["durable_object_namespace_name"] = json!(namespace.name);
            entry
        })
        .collect();
    Ok(ok(json!({
        "services": {"incoming": incoming, "outgoing": outgoing, "pages_function": false},
        "durable_objects": objects,
        "dispatch_outbounds": [],
    })))
}
