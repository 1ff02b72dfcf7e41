//! Uploads of static assets: a session a manifest, then the files that are missing.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Answer, Api, form, ok, respond, wrong_method};
use crate::cloudflare::account::check_script_name;
use crate::cloudflare::assets::{Assets, AssetsDraft};
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Settings;

pub(super) async fn session(api: &Api, name: &str) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    check_script_name(dispatch::name(name))?;
    let (request, cloud) = (api.json()?, api.cloud.clone());
    let plan = cloud.account().plan;
    let session = blocking(move || cloud.assets.begin(&request, plan)).await?;
    Ok(ok(json!({"jwt": session.jwt, "buckets": session.buckets})))
}

/// Authorised by the session's token, not by the account's.
pub(super) async fn upload(api: &Api) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    let token = api
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    if api.query("base64") != Some("true") {
        return Err(ApiFailure::invalid(
            "Files are accepted in base64 alone: `base64=true` is expected.",
        ));
    }
    let files = form::parts(api)
        .await?
        .into_iter()
        .map(|part| {
            let content = STANDARD.decode(&part.body).map_err(|_| {
                ApiFailure::invalid(format!("The file {} is not valid base64.", part.name))
            })?;
            Ok((part.name, Bytes::from(content)))
        })
        .collect::<Result<Vec<_>, ApiFailure>>()?;
    let cloud = api.cloud.clone();
    let jwt = blocking(move || cloud.assets.upload(&token, &files)).await?;
    let status = if jwt.is_some() { 201 } else { 202 };
    Ok(respond(
        status,
        &json!({"success": true, "errors": [], "messages": [], "result": {"jwt": jwt}}),
    ))
}

/// The assets that an upload of a Worker brings, looked up by their token; how they are served is checked.
pub(super) async fn uploaded(
    api: &Api,
    draft: Option<&AssetsDraft>,
    settings: &Settings,
) -> Result<Option<Assets>, ApiFailure> {
    let Some(AssetsDraft { jwt, config }) = draft else {
        return Ok(None);
    };
    api.cloud.hosting.check_assets(config, settings).await?;
    let Some(jwt) = jwt.clone() else {
        return Ok(None);
    };
    let cloud = api.cloud.clone();
    let manifest = blocking(move || cloud.assets.complete(&jwt)).await?;
    Ok(Some(Assets {
        manifest,
        config: config.clone(),
    }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiFailure> + Send + 'static,
) -> Result<T, ApiFailure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(ApiFailure::internal()))
}
