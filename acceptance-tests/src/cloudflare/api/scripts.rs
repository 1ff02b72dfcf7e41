//! `/workers/scripts`: list, upload, content, delete and references.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Api, assets, form, ok, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::{Code, Script};
use crate::cloudflare::upload::{Metadata, Upload, apply_upload, check_request, no_main_module};

/// The fields that a Worker has in every answer.
pub(super) fn shown(name: &str, script: &Script) -> Map<String, Value> {
    let named_handlers: Vec<Value> = script
        .code
        .exports
        .classes
        .iter()
        .map(|class| json!({"name": class, "handlers": ["class"]}))
        .chain(
            script
                .code
                .exports
                .entrypoints
                .iter()
                .map(|(name, handlers)| json!({"name": name, "handlers": handlers})),
        )
        .collect();
    let tags = if script.settings.tags.is_empty() {
        Value::Null
    } else {
        script.settings.get("tags")
    };
    let mut fields = Map::new();
    for (field, value) in [
        ("id", json!(name)),
        ("tag", json!(script.tag)),
        ("tags", tags),
        ("etag", json!(script.code.etag)),
        ("handlers", json!(script.code.exports.handlers)),
        ("named_handlers", json!(named_handlers)),
        ("has_assets", json!(script.code.assets.is_some())),
        ("has_modules", json!(!script.code.modules.is_empty())),
        ("last_deployed_from", json!("api")),
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
        "exports",
    ] {
        let value = script.settings.get(field);
        if !value.is_null() || field == "tail_consumers" {
            fields.insert(field.into(), value);
        }
    }
    fields
}

pub(super) fn list(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let filters: Vec<(&str, bool)> = api
        .query("tags")
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter_map(|filter| filter.rsplit_once(':'))
        .map(|(tag, wanted)| (tag, wanted == "yes"))
        .collect();
    let found: Vec<Value> = api
        .seen
        .scripts
        .iter()
        .filter(|(_, script)| {
            filters
                .iter()
                .all(|(tag, wanted)| script.settings.tags.iter().any(|t| t == tag) == *wanted)
        })
        .map(|(name, script)| {
            let mut fields = shown(name, script);
            let routes = api.seen.routes_to(&script.tag);
            let routes: Vec<Value> = routes.map(|route| api.seen.shown_route(route)).collect();
            let routes = (!routes.is_empty()).then_some(routes);
            fields.insert("routes".into(), json!(routes));
            if let Some(tag) = &script.migration_tag {
                fields.insert("migration_tag".into(), json!(tag));
            }
            fields.into()
        })
        .collect();
    Ok(ok(found.into()))
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
    let uploaded = assets::uploaded(api, metadata.assets.as_ref()).await?;
    let (hosting, settings) = (&api.cloud.hosting, metadata.settings(Default::default()));
    if let Some(draft) = &metadata.assets {
        hosting.check_assets(&draft.config, &settings).await?;
    }
    let started = std::time::Instant::now();
    let mut code = match metadata.main_module.clone() {
        Some(main) => hosting.probe(main, form.modules, &settings).await?,
        None if metadata.brings_assets() => Code::without_modules(),
        None => return Err(no_main_module()),
    };
    code.assets = uploaded;
    let startup = started.elapsed().as_millis() as u64;
    let upload = Upload {
        script: name.into(),
        metadata,
        code: Some(code),
        strict: api.query("bindings_inherit") == Some("strict"),
    };
    let mut fields = api
        .cloud
        .change(|account| {
            apply_upload(account, upload, &clock::now())?;
            let script = &account.scripts[name];
            let mut fields = shown(name, script);
            fields.insert("deployment_id".into(), json!(script.deployment_id));
            Ok(fields)
        })
        .await?;
    fields.insert("startup_time_ms".into(), json!(startup));
    fields.insert(
        "entry_point".into(),
        json!(
            api.cloud
                .account()
                .scripts
                .get(name)
                .map(|s| s.code.main.clone())
        ),
    );
    Ok(ok(fields.into()))
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
    let boundary = format!("----{}", script.deployment_id);
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
    let entry = |service: &str, binding: &str| json!({"service": service, "environment": "production", "name": binding});
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
